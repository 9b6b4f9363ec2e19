"""The walk over MP4 boxes, and the checks of other kinds of content."""

from __future__ import annotations

import io
from pathlib import Path

import av
import pytest
from download_kit import box, moov, offsets_box, tiny_mp4
from hypothesis import given
from hypothesis import strategies as st

from batch_runner.download.content import check_content
from batch_runner.download.mp4 import check_mp4
from batch_runner.sandbox.sounds import SoundWish, render_sound

FTYP = box(b"ftyp", b"isom\0\0\2\0isommp42")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40) + b"\x00\x00\x00\x00IEND\xaeB`\x82"
JPG = b"\xff\xd8\xff\xe0" + bytes(40) + b"\xff\xd9"
WAV = b"RIFF" + (36).to_bytes(4, "little") + b"WAVE" + bytes(32)


def check(data: bytes) -> str | None:
    flaw = check_mp4(io.BytesIO(data), len(data))
    return None if flaw is None else flaw.why


def content(data: bytes, suffix: str, *, is_length_known: bool = True) -> str | None:
    flaw = check_content(io.BytesIO(data), len(data), suffix, is_length_known=is_length_known)
    return None if flaw is None else flaw.why


def may_be_so(data: bytes, suffix: str = ".mp4") -> bool:
    flaw = check_content(io.BytesIO(data), len(data), suffix, is_length_known=True)
    assert flaw is not None
    return flaw.may_be_so


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A second of real H.264 video."""
    path: Path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(24):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([number * 7 % 256]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


def test_a_really_encoded_video_is_whole(encoded: bytes) -> None:
    assert check(encoded) is None


def test_a_really_encoded_video_cut_in_half_is_not(encoded: bytes) -> None:
    assert check(encoded[: len(encoded) // 2]) is not None


def test_no_beginning_of_a_whole_file_passes_for_whole(encoded: bytes) -> None:
    for data in (encoded, tiny_mp4()):
        passed = [end for end in range(0, len(data), 7) if check(data[:end]) is None]
        assert passed == []


def test_trailing_bytes_are_noticed() -> None:
    assert check(tiny_mp4() + b"\0\0\0") is not None
    assert check(tiny_mp4() + bytes(100)) is not None


@pytest.mark.parametrize(
    "data",
    [
        FTYP + box(b"mdat", bytes(50)) + moov(offsets_box(b"stco", 36)),
        FTYP + moov(offsets_box(b"co64", 36)) + box(b"mdat", bytes(50)),
        box(b"free", bytes(4)) + FTYP + moov(offsets_box(b"stco")) + box(b"mdat", bytes(50)),
        FTYP + moov(b"") + (1).to_bytes(4, "big") + b"mdat" + (36).to_bytes(8, "big") + bytes(20),
        FTYP + moov(b"") + bytes(4) + b"mdat" + bytes(20),
        FTYP + moov(b"") + box(b"moof", bytes(16)) + box(b"mdat", bytes(9)) + box(b"moof") + box(b"mdat"),
    ],
    ids=["moov last", "co64", "free first", "64-bit length", "to the end", "fragments"],
)
def test_legal_layouts_pass(data: bytes) -> None:
    assert check(data) is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "ftyp"),
        (FTYP + box(b"mdat", bytes(9)), "no 'moov'"),
        (FTYP + moov(b""), "no 'mdat'"),
        (moov(b"") + box(b"mdat") + FTYP, "begins with 'moov'"),
        (FTYP + moov(offsets_box(b"stco", 10**6)) + box(b"mdat", bytes(9)), "past the end"),
        (FTYP + moov(offsets_box(b"co64", 2**63)) + box(b"mdat", bytes(9)), "past the end"),
        (FTYP + moov(box(b"stco", bytes(4), b"\xff" * 4)) + box(b"mdat", bytes(9)), "longer than its box"),
        (FTYP + (3).to_bytes(4, "big") + b"mdat", "impossible length"),
        (FTYP + (1).to_bytes(4, "big") + b"mdat", "cut off"),
        (FTYP + (1).to_bytes(4, "big") + b"mdat" + (9).to_bytes(8, "big"), "impossible length"),
        (FTYP + (1).to_bytes(4, "big") + b"mdat" + b"\xff" * 8, "lacks its last"),
        (FTYP + box(b"\0\1\2\3", bytes(9)), "no box"),
        (FTYP + box(b"moov", box(b"trak", b"\0\0\0\x99mdia")) + box(b"mdat"), "lacks its last"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, why: str) -> None:
    assert why in str(check(data))


def test_a_file_shorter_than_its_stated_size_is_not_whole() -> None:
    data = tiny_mp4()
    assert check_mp4(io.BytesIO(data[:40]), len(data)) is not None


def test_the_work_is_bounded() -> None:
    assert "too many" in str(check(FTYP + box(b"free") * 150_000))
    huge = offsets_box(b"stco", *[2**32 - 1] * 300_000)
    assert check(FTYP + moov(huge) + box(b"mdat")) is None, "a table beyond the bound is taken on trust"
    nested = b""
    for _ in range(3_000):
        nested = box(b"moov", nested)
    assert "no 'mdat'" in str(check(FTYP + nested))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    check(data)
    check(FTYP + data)
    check(FTYP + moov(data) + box(b"mdat"))


@given(st.data())
def test_a_damaged_file_never_raises(data: st.DataObject) -> None:
    damaged = bytearray(tiny_mp4())
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, 160))] = data.draw(st.integers(0, 255))
    check(bytes(damaged))


MP3 = render_sound(SoundWish("a voice", 3, "mp3"))


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (tiny_mp4(), ".mp4"),
        (PNG, ".png"),
        (JPG, ".jpg"),
        (JPG, ".JPEG"),
        (JPG, ".png"),
        (MP3, ".mp3"),
        (MP3[MP3.index(b"\xff") :], ".mp3"),
        (MP3 + b"TAG" + bytes(125), ".mp3"),
        (WAV, ".wav"),
        (b"\x01\x02", ".bin"),
    ],
)
def test_content_of_the_right_kind_passes(data: bytes, suffix: str) -> None:
    assert content(data, suffix) is None


@pytest.mark.parametrize(
    ("data", "suffix", "why"),
    [
        (b"", ".png", "empty"),
        (b"", ".bin", "empty"),
        (b"\n <!doctype html>", ".mp4", "text"),
        (b'\xef\xbb\xbf{"code": 1}', ".bin", "text"),
        (b"plain words", ".png", "not that of"),
        (WAV, ".png", "not that of"),
        (PNG, ".mp3", "not that of"),
        (PNG, ".mp4", "not a whole MP4"),
        (tiny_mp4()[:-1], ".mp4", "not a whole MP4"),
    ],
)
def test_content_of_the_wrong_kind_is_refused(data: bytes, suffix: str, why: str) -> None:
    assert why in str(content(data, suffix))


def test_a_film_that_was_cut_or_added_to_is_never_what_the_service_made(encoded: bytes) -> None:
    index, frames = moov(offsets_box(b"stco", len(FTYP))), box(b"mdat", bytes(99))
    moov_first, moov_last = FTYP + index + frames, FTYP + frames + index
    for whole in (encoded, tiny_mp4(), moov_first, moov_last):
        assert not any(may_be_so(whole[:end]) for end in (len(whole) - 1, len(whole) // 2, len(whole) // 3))
        assert not may_be_so(whole + b"more")
        assert not may_be_so(whole + b"another answer")


INDEX, FRAMES = moov(offsets_box(b"stco", len(FTYP))), box(b"mdat", bytes(99))
FRAGMENTS = moov(b"") + (box(b"moof", bytes(16)) + FRAMES) * 2


@pytest.mark.parametrize("whole", [FTYP + INDEX + FRAMES, FTYP + FRAMES + INDEX, box(b"moov", bytes(8)) + FRAMES])
def test_no_beginning_of_a_film_is_ever_what_the_service_made(whole: bytes) -> None:
    """One that was cut exactly between its boxes was taken for something else than a film, and kept."""
    assert [end for end in range(8, len(whole)) if may_be_so(whole[:end])] == []


@pytest.mark.parametrize("whole", [FTYP + FRAGMENTS, FTYP + FRAGMENTS + box(b"mfra", bytes(8))])
def test_a_film_in_fragments_is_whole_and_one_cut_before_its_first_frames_is_not(whole: bytes) -> None:
    assert check(whole) is None
    first_frames_at = whole.index(FRAMES)
    assert [end for end in range(8, first_frames_at + len(FRAMES)) if may_be_so(whole[:end])] == []


@pytest.mark.parametrize(
    "data", [FTYP, FTYP + INDEX, FTYP + FRAMES, FTYP + b"no boxes at all", FTYP[:10], b"\0\0\0\x01mdat\0"]
)
def test_a_film_that_lacks_a_box_is_damaged(data: bytes) -> None:
    assert not may_be_so(data)


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (b"plain words", ".mp4"),
        (bytes(500), ".mp4"),
        (PNG, ".mp4"),
        (box(b"styp", b"msdh") + box(b"moof", bytes(16)) + box(b"mdat", bytes(9)), ".mp4"),
        (box(b"wide") + box(b"mdat", bytes(50)) + moov(b""), ".mp4"),
        (b"plain words", ".png"),
        (PNG, ".mp3"),
    ],
)
def test_what_is_no_file_of_its_kind_at_all_may_be_what_the_service_made(data: bytes, suffix: str) -> None:
    assert may_be_so(data, suffix)


def test_a_sound_that_was_cut_or_added_to_is_noticed_and_may_be_what_the_service_made() -> None:
    """Its length as told was that of what was left of it, and it was kept as it came."""
    cut = [MP3[:end] for end in range(len(MP3) - 200, len(MP3))] + [MP3[: len(MP3) // 2]]
    assert all(may_be_so(data, ".mp3") for data in (*cut, MP3 + b"\1", MP3 + b"<html>"))


@pytest.mark.parametrize("data", [b"", b"<html>", b' {"code": 1}'])
def test_pages_and_nothing_are_never_what_the_service_made(data: bytes) -> None:
    assert not may_be_so(data)
    assert not may_be_so(data, ".png")


@pytest.mark.parametrize(("data", "suffix"), [(PNG, ".png"), (JPG, ".jpg"), (WAV, ".wav")])
def test_without_a_length_the_end_of_the_file_is_looked_at(data: bytes, suffix: str) -> None:
    assert content(data, suffix, is_length_known=False) is None
    assert content(data[:-3], suffix, is_length_known=False) == "its end is not that of a whole file"


@pytest.mark.parametrize(("data", "suffix"), [(PNG, ".png"), (JPG, ".jpg"), (WAV, ".wav")])
def test_a_file_that_was_cut_before_it_was_measured_is_taken_only_if_it_comes_so_again(
    data: bytes, suffix: str
) -> None:
    """A proxy once cut a picture and told the length of the rest; it was published."""
    assert content(data, suffix) is None
    assert content(data[:-3], suffix) == "its end is not that of a whole file"
    assert may_be_so(data[:-3], suffix), "some services measure a sound when they have begun to send it"


@pytest.mark.parametrize(("data", "suffix"), [(PNG, ".png"), (JPG, ".jpg")])
def test_a_picture_with_something_behind_its_end_is_taken_only_if_it_comes_so_again(data: bytes, suffix: str) -> None:
    assert content(data + b"<html>", suffix)
    assert may_be_so(data + b"<html>", suffix)
