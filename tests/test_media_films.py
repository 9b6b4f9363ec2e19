"""Films and sounds: what is read of them, and what of them a field takes."""

from __future__ import annotations

import hashlib
import io
import struct
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_kit import film, sound

from batch_runner import media
from batch_runner.catalog import MediaLimits
from batch_runner.media import films, sounds
from batch_runner.media.found import UNKNOWN, Found


def of_film(content: bytes) -> Found:
    return films.film(io.BytesIO(content), len(content))


def about(length_s: Decimal | None, seconds: float) -> bool:
    return length_s is not None and abs(length_s - Decimal(seconds)) < Decimal("0.1")


# --- what is read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["mp4", "mov"])
@pytest.mark.parametrize(("seconds", "size", "fps"), [(3, (320, 240), 25), (7, (128, 256), 30), (2, (64, 64), 60)])
def test_a_film_tells_its_length_size_and_rate(form: str, seconds: int, size: tuple[int, int], fps: int) -> None:
    assert of_film(film(form, seconds=seconds, size=size, fps=fps)) == Found(
        form, *size, Decimal(seconds), Decimal(fps)
    )


def test_a_film_in_fragments_does_not_tell_its_length() -> None:
    found = of_film(film(options={"movflags": "frag_keyframe+empty_moov"}))
    assert (found.format, found.width, found.length_s, found.damage) == ("mp4", 320, None, "")


def test_a_film_that_is_shown_turned_has_its_sides_turned() -> None:
    content = bytearray(film())
    matrix_at = content.index(b"tkhd") + 4 + 40
    content[matrix_at : matrix_at + 20] = struct.pack(">5I", 0, 0x10000, 0, 0xFFFF0000, 0)
    found = of_film(bytes(content))
    assert (found.width, found.height) == (240, 320)


def test_wide_times_are_read() -> None:
    def box(kind: bytes, *parts: bytes) -> bytes:
        body = b"".join(parts)
        return struct.pack(">I", 8 + len(body)) + kind + body

    clock = b"\x01\0\0\0" + bytes(16) + struct.pack(">IQ", 600, 600 * 4000) + bytes(80)
    header = b"\x01\0\0\0" + bytes(48) + bytes(36) + struct.pack(">II", 640 << 16, 360 << 16)
    handler = box(b"hdlr", bytes(8) + b"vide" + bytes(12))
    track = box(b"trak", box(b"tkhd", header), box(b"mdia", box(b"mdhd", clock), handler))
    content = box(b"ftyp", b"qt  ") + box(b"moov", box(b"mvhd", clock), track) + box(b"mdat", b"x")
    assert of_film(content) == Found("mov", 640, 360, Decimal(4000))


@pytest.mark.parametrize(
    ("form", "rate", "options"),
    [
        ("mp3", 44100, {}),
        ("mp3", 22050, {}),
        ("mp3", 8000, {}),
        ("mp3", 48000, {"write_xing": "0", "id3v2_version": "3"}),
        ("aac", 44100, {}),
        ("aac", 8000, {}),
        ("wav", 44100, {}),
        ("m4a", 44100, {}),
    ],
)
@pytest.mark.parametrize("seconds", [2, 11])
def test_a_sound_tells_its_length(form: str, rate: int, options: dict[str, str], seconds: int) -> None:
    content = sound(form, seconds=seconds, rate=rate, options=options)
    found = of_film(content) if form == "m4a" else sounds.sound(content)
    slack_s = Decimal("0.3") if rate == 8000 else Decimal("0.1")  # a frame or two of what the encoder pads with
    assert (found.format, found.damage) == (form, "")
    assert found.length_s is not None
    assert abs(found.length_s - seconds) < slack_s


def test_tags_are_no_sound() -> None:
    content = sound("mp3")
    tagged = b"ID3\x04\0\x10" + bytes([0, 0, 2, 0]) + b"x" * 256 + b"3DI" + bytes(7) + content + b"TAG" + b"x" * 3000
    assert sounds.sound(tagged) == sounds.sound(content)


def test_a_stream_that_was_never_told_its_length() -> None:
    content = sound("wav")
    data_at = content.index(b"data") + 4
    for length in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
        assert about(sounds.sound(content[:data_at] + length + content[data_at + 4 :]).length_s, 3)


@pytest.mark.parametrize("form", ["mp3", "wav"])
def test_half_a_sound_is_noticed(form: str) -> None:
    content = sound(form)
    assert sounds.sound(content[: len(content) // 2]).damage.startswith("is cut off")


def test_a_sound_with_something_else_behind_it_is_noticed() -> None:
    assert sounds.sound(sound("aac") + b"\x99" * 5000).damage.startswith("is cut off or damaged after 3")


@pytest.mark.parametrize("form", ["mp4", "mov"])
def test_half_a_film_is_noticed(form: str) -> None:
    content = film(form)
    assert of_film(content[: len(content) // 2]).damage.startswith("is no whole file: ")


def test_a_film_without_a_track_is_none() -> None:
    content = b"\0\0\0\x0cftypisom" + b"\0\0\0\x08moov" + b"\0\0\0\x08mdat"
    assert of_film(content).damage == "is no whole file: it has no video or sound in it"


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", b"ID3", b"\xff\xfb", b"\xff\xf1" * 8, b"text" * 100, b"RIFF\0\0\0\0WAVE"]
)
def test_what_is_no_sound(content: bytes) -> None:
    found = sounds.sound(content)
    assert found == UNKNOWN or found.damage


@settings(max_examples=200)
@given(st.sampled_from(["mp4", "wav", "mp3", "aac", "m4a"]), st.data())
def test_no_bytes_at_all_break_the_readers(form: str, data: st.DataObject) -> None:
    content = bytearray(_made(form))
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, min(len(content) - 1, 2000)))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    for limits in (VIDEO, AUDIO):
        facts = media.inspect(cut, limits)
        assert all(len(problem) < 200 for problem in facts.problems)


_MADE: dict[str, bytes] = {}


def _made(form: str) -> bytes:
    if form not in _MADE:
        _MADE[form] = film(size=(32, 32)) if form == "mp4" else sound(form, seconds=2)
    return _MADE[form]


# --- what a field takes ---------------------------------------------------------------------------------------

VIDEO = MediaLimits(
    name="video",
    type="video",
    formats=("mp4", "mov"),
    max_bytes=1024**2,
    min_side_px=200,
    max_side_px=600,
    max_area_px=200_000,
    max_ratio=Decimal("2.5"),
    seconds=((Decimal(2), Decimal(5)), (Decimal(7), Decimal(10))),
    fps=(Decimal(24), Decimal(60)),
    source="a test",
)
AUDIO = MediaLimits(
    name="audio",
    type="audio",
    formats=("mp3", "wav"),
    max_bytes=500_000,
    seconds=((Decimal(2), Decimal(5)),),
    source="x",
)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, []),
        ({"form": "mov", "seconds": 8}, []),
        ({"seconds": 6}, ["is 6 s long; 2 to 5 or 7 to 10 s"]),
        ({"seconds": 1}, ["is 1 s long; 2 to 5 or 7 to 10 s"]),
        ({"fps": 12}, ["has 12 frames a second; 24 to 60"]),
        ({"size": (160, 240)}, ["is 160 x 240 px; each side needs 200"]),
        ({"size": (640, 300)}, ["is 640 x 300 px; each side has at most 600"]),
        ({"size": (480, 480)}, ["is 480 x 480 px; at most 200000 px in all"]),
        ({"size": (200, 512)}, ["is 200 x 512 px; one side may be at most 2.5 times the other"]),
        ({"form": "matroska"}, ["is no mp4 or mov video, or a damaged one"]),
    ],
)
def test_films_that_a_field_takes_and_refuses(tmp_path: Path, given: dict[str, object], words: list[str]) -> None:
    content = film(**given)  # type: ignore[arg-type]  # each row gives what the kit takes
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    facts = media.inspect(path, VIDEO)
    assert list(facts.problems) == words
    assert facts.digest == hashlib.sha256(content).hexdigest()
    assert media.inspect(content, VIDEO) == facts


def test_a_clip_may_be_a_few_frames_longer_than_it_is_called(tmp_path: Path) -> None:
    limits = VIDEO.model_copy(update={"seconds": ((Decimal(2), Decimal("2.95")),)})
    assert media.inspect(film(seconds=3), limits).problems == ()
    limits = VIDEO.model_copy(update={"seconds": ((Decimal(2), Decimal("2.8")),)})
    assert media.inspect(film(seconds=3), limits).problems == ("is 3 s long; 2 to 2.8 s",)


def test_the_shape_of_a_film_may_be_fixed() -> None:
    limits = VIDEO.model_copy(update={"aspects": ("16:9", "9:16")})
    assert media.inspect(film(size=(480, 270)), limits).problems == ()
    assert media.inspect(film(size=(270, 480)), limits).problems == ()
    assert media.inspect(film(), limits).problems == ("is 320 x 240 px; its sides must be 16:9 or 9:16",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: sound("wav"), []),
        (lambda: sound("mp3", seconds=4), []),
        (lambda: sound("wav", seconds=6, rate=8000), ["is 6 s long; 2 to 5 s"]),
        (lambda: sound("wav", seconds=6), ["has 0.5 MB; at most 0.476837"]),
        (lambda: sound("m4a"), ["is m4a, not mp3 or wav"]),
        (lambda: sound("aac"), ["is aac, not mp3 or wav"]),
        (film, ["is mp4, not mp3 or wav"]),
        (lambda: b"<html>", ["is no mp3 or wav sound, or a damaged one"]),
        (lambda: b"", ["is empty"]),
    ],
)
def test_sounds_that_a_field_takes_and_refuses(content: object, words: list[str]) -> None:
    assert callable(content)
    assert list(media.inspect(content(), AUDIO).problems) == words


def test_a_sound_is_no_film() -> None:
    assert media.inspect(sound("wav"), VIDEO).problems == ("is no mp4 or mov video, or a damaged one",)
    assert media.inspect(sound("m4a"), VIDEO).problems == ("is m4a, not mp4 or mov",)


@pytest.mark.parametrize("options", [{}, {"write_xing": "0", "id3v2_version": "3"}])
def test_whether_an_mp3_has_its_end_is_told_by_its_frames(options: dict[str, str]) -> None:
    content = sound("mp3", options=options)
    assert sounds.is_whole_mp3(content)
    assert sounds.is_whole_mp3(content + b"TAG" + bytes(125))
    assert sounds.is_whole_mp3(content + bytes(512)), "padding"
    assert sounds.is_whole_mp3(sound("aac")), "of no layer III nobody can tell"
    assert not sounds.is_whole_mp3(b"ID3\x04\x00\x00\x00\x00\x00\x05title"), "cut behind its tag"
    assert not sounds.is_whole_mp3(content[:-1])
    assert not sounds.is_whole_mp3(content[: len(content) // 2])
    assert not sounds.is_whole_mp3(content + b"more")
