"""Media in manifests, looked at for real: masks, base64, sounds, addresses, and the lengths that prices need."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from manifest_kit import write_lines
from media_kit import film, sound
from PIL import Image

from batch_runner.errors import Problem
from batch_runner.manifest import Manifest
from batch_runner.media import inspect
from batch_runner.model import Item

PICTURE = "https://example.com/a.png"
POINTS = [{"x": 1, "y": 2}, {"x": 3, "y": 4}]
BRUSH = {"prompt": "x", "model_name": "kling-v1", "duration": 5}
AVATAR = {"kind": "avatar", "image": PICTURE}
MOVED = {"kind": "motion-control", "image_url": PICTURE, "character_orientation": "image", "mode": "std"}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes lines as a manifest and returns its path."""
    return lambda *content: write_lines(tmp_path / "shots.jsonl", *content)


def problems(path: Path) -> list[Problem]:
    return Manifest(path, inspect).problems()[0]


def only(path: Path) -> Problem:
    (problem,) = problems(path)
    return problem


def one(path: Path) -> Item:
    (item,) = Manifest(path, inspect).items()
    return item


def picture(width: int, height: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, height), 80).convert("RGB").save(file, kind)
    return file.getvalue()


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


# --- masks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "static", "dynamic", "words"),
    [
        ((640, 360), (640, 360), [(640, 360)], []),
        ((640, 360), (1280, 720), [], []),
        ((641, 360), (640, 360), [], []),
        ((640, 360), None, [(640, 360), (640, 360)], []),
        ((640, 360), (360, 640), [], ["static_mask: is 360 x 640 px, and image 640 x 360; both need one shape"]),
        ((640, 360), None, [(500, 500)], ["dynamic_masks[0].mask: is 500 x 500 px, and image 640 x 360; both need"]),
        ((640, 360), (640, 360), [(1280, 720)], ["dynamic_masks[0].mask: is 1280 x 720 px, and static_mask"]),
        (None, None, [(640, 360), (1280, 720)], ["dynamic_masks[1].mask: is 1280 x 720 px, and dynamic_masks[0]"]),
        ((640, 360), (299, 168), [], ["static_mask: 'static.png' is 299 x 168 px; each side needs 300"]),
    ],
)  # fmt: skip
def test_masks_have_the_shape_of_their_image_and_one_size(
    write: Write,
    tmp_path: Path,
    image: tuple[int, int] | None,
    static: tuple[int, int] | None,
    dynamic: list[tuple[int, int]],
    words: list[str],
) -> None:
    line: dict[str, object] = BRUSH | {"image": PICTURE}
    if image:
        (tmp_path / "image.png").write_bytes(picture(*image))
        line["image"] = "image.png"
    if static:
        (tmp_path / "static.png").write_bytes(picture(*static))
        line["static_mask"] = "static.png"
    for number, size in enumerate(dynamic):
        (tmp_path / f"{number}.png").write_bytes(picture(*size))
    if dynamic:
        line["dynamic_masks"] = [{"mask": f"{number}.png", "trajectories": POINTS} for number in range(len(dynamic))]
    found = [str(problem).removeprefix("line 1, ") for problem in problems(write(line))]
    assert len(found) == len(words)
    assert all(problem.startswith(word) for problem, word in zip(found, words, strict=True))


def test_masks_in_base64_are_looked_at_too(write: Write, tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(picture(640, 360))
    good, turned = (in_base64(picture(*size)) for size in ((640, 360), (360, 640)))
    assert problems(write(BRUSH | {"image": "image.png", "static_mask": good})) == []
    assert "is 360 x 640 px" in only(write(BRUSH | {"image": "image.png", "static_mask": turned})).what


# --- base64 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (in_base64(picture(400, 400)), None),
        (in_base64(picture(200, 400)), "its base64 is 200 x 400 px; each side needs 300"),
        (in_base64(picture(400, 400))[:1000], "its base64 is a damaged image"),
        (in_base64(picture(400, 400))[:999], "its base64 is cut off: no whole number of bytes"),
        (in_base64(b"text" * 100), "its base64 is no jpg or png image, or a damaged one"),
        (in_base64(bytes(10 * 1024**2 + 1)), "its base64 has 10.0 MB; at most 10"),
    ],
)
def test_base64_is_looked_at_like_a_file(write: Write, content: str, words: str | None) -> None:
    found = problems(write({"prompt": "x", "image": content}))
    assert [problem.what for problem in found] == ([words] if words else [])


# --- where files and addresses may stand ----------------------------------------------------------------------


@pytest.mark.parametrize("source", ["clip.mp4", in_base64(bytes(400))])
def test_a_file_where_only_an_address_is_read(write: Write, tmp_path: Path, source: str) -> None:
    (tmp_path / "clip.mp4").write_bytes(film(size=(640, 360)))
    problem = only(write(MOVED | {"video_url": source, "seconds": 3}))
    assert problem.field == "video_url"
    assert problem.what.endswith(", and Kling reads only an address here")
    assert problem.hint == 'put it where Kling can fetch it, or take an item\'s result: {"item": "..."}'
    assert len(str(problem)) < 300


def test_what_looks_like_an_address_keeps_its_signature(write: Write) -> None:
    for line in ({"prompt": "x", "image": "example.com/a.png?sig=s3cret"}, MOVED | {"video_url": "e.com/a?sig=s3cret"}):
        assert "s3cret" not in str(problems(write(line)))


def test_an_address_where_only_a_file_is_read(write: Write) -> None:
    spoken = {"mode": "audio2video", "video_url": PICTURE, "audio_type": "file", "audio_file": "https://example.com/a"}
    problem = only(write({"kind": "lip-sync", "seconds": 5, "input": spoken}))
    assert (problem.field, problem.what) == ("input.audio_file", "takes no address, only the file itself")


def test_the_new_standard_takes_larger_pictures(write: Write, tmp_path: Path) -> None:
    (tmp_path / "big.png").write_bytes(picture(400, 400) + bytes(11 * 1024**2))
    new = {"prompt": "x", "image": "big.png", "model_name": "kling-2.6"}
    assert problems(write(new)) == []
    assert "has 11.4 MB; at most 10" in only(write(new | {"model_name": "kling-v2-6"})).what


# --- lengths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "seconds", "price"), [("wav", 6, "2.4"), ("mp3", 6, "2.4"), ("m4a", 10, "4")])
def test_the_length_of_a_sound_is_its_price(write: Write, tmp_path: Path, form: str, seconds: int, price: str) -> None:
    (tmp_path / f"a.{form}").write_bytes(sound(form, seconds=seconds))
    assert one(write(AVATAR | {"sound_file": f"a.{form}"})).price.credits == Decimal(price)


def test_a_sound_may_stand_in_base64(write: Write) -> None:
    content = in_base64(sound("wav", seconds=6))
    assert one(write(AVATAR | {"sound_file": content})).price.credits == Decimal("2.4")


def test_a_sound_that_is_too_long_or_too_short(write: Write, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(sound("wav", seconds=1))
    problem = only(write(AVATAR | {"sound_file": "a.wav"}))
    assert problem.what == "'a.wav' is 1 s long; 2 to 300 s"
    assert problem.source == "Kling API reference, avatar, 2026-03"


def test_a_length_that_a_file_does_not_tell_is_asked_for(write: Write, tmp_path: Path) -> None:
    content = sound("m4a", options={"movflags": "frag_keyframe+empty_moov"})
    (tmp_path / "a.m4a").write_bytes(content)
    line = AVATAR | {"sound_file": "a.m4a"}
    problem = only(write(line))
    assert (problem.what, problem.hint) == ("'a.m4a' does not tell its length", 'say it: "seconds": 12.5')
    assert one(write(line | {"seconds": 3})).price.credits == Decimal("1.2")


def test_the_length_of_an_address_is_asked_for_where_it_counts(write: Write) -> None:
    line = MOVED | {"video_url": "https://example.com/a.mp4"}
    assert only(write(line)).what == "its length decides the price, and cannot be read from here"
    assert one(write(line | {"seconds": "4.0"})).price.credits == Decimal(2)
    assert one(write(line | {"credits": 7})).price.credits == Decimal(7)
    late = only(write(line | {"seconds": 11}))
    assert (late.what, late.hint) == ("is 11 s long; 3 to 10 s", "as seconds says")
    assert problems(write(line | {"seconds": 11, "character_orientation": "video"})) == []


def test_a_stated_length_must_be_that_of_something(write: Write, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(sound("wav", seconds=6))
    line = AVATAR | {"sound_file": "a.wav"}
    assert one(write(line | {"seconds": 6.4})).price.credits == Decimal("2.4")
    assert only(write(line | {"seconds": 9})).what == "is 9, and the file says 6"
    assert only(write({"prompt": "x", "seconds": 5})).what == "no source of this item has a length to tell"
    assert problems(write({"defaults": {"seconds": 6}}, {"prompt": "x"}, line)) == []


@pytest.mark.parametrize("seconds", [0, -1, "long", True, 36_001, "1e3"])
def test_lengths_that_are_none(write: Write, seconds: object) -> None:
    assert only(write({"kind": "identify-face", "video_url": PICTURE, "seconds": seconds})).field == "seconds"


# --- models nobody knows --------------------------------------------------------------------------------------


def test_an_unknown_model_is_refused_with_the_nearest(write: Write) -> None:
    problem = only(write({"prompt": "x", "model_name": "kling-v2-7"}))
    assert problem.what == "'kling-v2-7' is no model of text2video"
    assert problem.hint.startswith('did you mean "kling-v2-')


def test_an_unknown_model_may_be_let_through(write: Write) -> None:
    line = {"prompt": "x", "model_name": "kling-v9", "duration": 12, "mode": "4k", "allow_unknown_model": True}
    item = one(write(line | {"credits": "12"}))
    assert (item.model, item.price.credits) == ("kling-v9", Decimal(12))
    assert item.fingerprint == one(write(line | {"credits": 1})).fingerprint
    assert 'say what one item costs: "credits": "3.5"' in str(only(write(line)))
    assert only(write(line | {"credits": 1, "cfg_scale": "much"})).field == "cfg_scale"
    assert only(write(line | {"credits": 1, "promt": "x"})).field == "promt"


def test_the_word_changes_nothing_for_a_known_model(write: Write) -> None:
    line = {"prompt": "x", "model_name": "kling-v2-6", "allow_unknown_model": True}
    assert one(write(line)) == one(write(line | {"allow_unknown_model": False}))
    assert only(write(line | {"duration": 7})).field == "duration"


@pytest.mark.parametrize("word", ["perhaps", 1, 0, [True]])
def test_the_word_is_yes_or_no(write: Write, word: object) -> None:
    assert only(write({"prompt": "x", "allow_unknown_model": word})).field == "allow_unknown_model"
