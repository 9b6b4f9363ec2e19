"""Images that Kling takes, and those it would refuse only after a wait."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import struct
import zlib
from decimal import Decimal
from pathlib import Path

import pytest
from PIL import Image

from batch_runner import media
from batch_runner.catalog import MediaLimits
from batch_runner.manifest import Manifest, MediaFacts


def picture(width: int = 512, height: int = 512, kind: str = "PNG", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert(mode).save(file, kind)
    return file.getvalue()


IMAGE = MediaLimits(
    name="image",
    type="image",
    formats=("jpg", "jpeg", "png"),
    max_bytes=10 * 1024**2,
    min_side_px=300,
    max_ratio=Decimal("2.5"),
    source="a test",
)


def looked_at(path: Path) -> MediaFacts:
    return media.inspect(path, IMAGE)


def facts(tmp_path: Path, content: bytes, name: str = "a.png") -> tuple[str, ...]:
    path = tmp_path / name
    path.write_bytes(content)
    return looked_at(path).problems


@pytest.mark.parametrize(
    ("width", "height", "kind", "mode"),
    [
        (512, 512, "PNG", "RGB"),
        (300, 300, "JPEG", "RGB"),
        (300, 750, "PNG", "RGBA"),
        (750, 300, "JPEG", "L"),
        (640, 360, "JPEG", "CMYK"),
        (640, 360, "PNG", "P"),
        (640, 360, "MPO", "RGB"),
    ],
)
def test_good_images_have_only_a_digest(tmp_path: Path, width: int, height: int, kind: str, mode: str) -> None:
    content = picture(width, height, kind, mode)
    path = tmp_path / "named.anything"
    path.write_bytes(content)
    found = looked_at(path)
    assert found.problems == ()
    assert found.digest == hashlib.sha256(content).hexdigest()
    assert base64.b64decode(media.read_base64(path, found.digest)) == content
    with pytest.raises(OSError, match="changed"):
        media.read_base64(path, "0" * 64)


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [
        (299, 512, ["is 299 x 512 px; each side needs 300"]),
        (512, 299, ["is 512 x 299 px; each side needs 300"]),
        (751, 300, ["is 751 x 300 px; one side may be at most 2.5 times the other"]),
        (300, 751, ["is 300 x 751 px; one side may be at most 2.5 times the other"]),
        (100, 300, ["is 100 x 300 px; each side needs 300", "is 100 x 300 px; one side may be at most 2.5 times"]),
    ],
)
def test_sizes_that_fail_late_are_told_early(tmp_path: Path, width: int, height: int, words: list[str]) -> None:
    found = facts(tmp_path, picture(width, height))
    assert len(found) == len(words)
    assert all(said.startswith(word) for said, word in zip(found, words, strict=True))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "BMP", "TIFF"])
def test_other_formats_are_named_whatever_the_file_is_called(tmp_path: Path, kind: str) -> None:
    assert facts(tmp_path, picture(kind=kind), "a.jpg") == (f"is {kind}, not jpg or png",)


@pytest.mark.parametrize("content", [b"<html>not an image</html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"P6 x y"])
def test_what_is_no_image(tmp_path: Path, content: bytes) -> None:
    assert facts(tmp_path, content) == ("is no jpg or png image, or a damaged one",)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_half_a_file_is_noticed(tmp_path: Path, kind: str) -> None:
    content = Image.effect_noise((512, 512), 80)
    file = io.BytesIO()
    content.save(file, kind)
    assert facts(tmp_path, file.getvalue()[: len(file.getvalue()) // 2]) == ("is a damaged image",)


def test_a_flipped_bit_in_a_png_is_noticed(tmp_path: Path) -> None:
    content = bytearray(picture())
    content[len(content) // 2] ^= 1
    assert facts(tmp_path, bytes(content)) == ("is a damaged image",)


def test_an_enormous_picture_in_a_small_file_is_not_decoded(tmp_path: Path) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    for side in (12_000, 60_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        found = facts(tmp_path, b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
        assert len(found) == 1


def test_the_size_of_the_file_is_bounded(tmp_path: Path) -> None:
    assert facts(tmp_path, b"") == ("is empty",)
    path = tmp_path / "big.png"
    with path.open("wb") as file:
        file.write(picture())
        file.truncate(10 * 1024**2)
    assert looked_at(path).problems == ()
    os.truncate(path, 10 * 1024**2 + 1)
    assert looked_at(path).problems == ("has 10.0 MB; at most 10",)


def test_what_is_no_file(tmp_path: Path) -> None:
    def said(path: Path) -> str:
        found = looked_at(path)
        assert found.digest == ""
        return found.trouble

    assert said(tmp_path / "none.png") == "is no file that exists"
    assert said(tmp_path) == "is a folder"
    assert said(Path("/dev/null")) == "is no regular file"
    assert said(tmp_path / ("x" * 300)).startswith("cannot be read: ")
    assert said(Path("a\x00b")).startswith("cannot be read: ")


def test_an_unreadable_file_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(picture())
    opened = Path.open

    def refuse(*_: object, **__: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert looked_at(path).trouble == "cannot be read: Permission denied"
    monkeypatch.setattr(Path, "open", opened)
    assert looked_at(path).trouble == ""


def test_an_image_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(picture())
    first = looked_at(path)
    reads = []
    monkeypatch.setattr("batch_runner.media.hashlib.file_digest", lambda *_: reads.append(1))
    assert looked_at(path) == first
    assert reads == []
    monkeypatch.undo()
    path.write_bytes(picture(640, 480))
    assert looked_at(path).digest != first.digest


def test_a_manifest_tells_what_is_wrong_with_its_images(tmp_path: Path) -> None:
    (tmp_path / "small.png").write_bytes(picture(200, 200))
    path = tmp_path / "m.jsonl"
    path.write_text('{"prompt": "x", "image": "small.png"}\n{"prompt": "x", "image": "."}\n')
    found, _ = Manifest(path, media.inspect).problems()
    assert [str(problem) for problem in found] == [
        "line 1, image: 'small.png' is 200 x 200 px; each side needs 300 [Kling API reference, images, 2026-03]",
        "line 2, image: '.' is a folder (relative to the manifest)",
    ]


def test_the_demo_s_image_will_do() -> None:
    path = Path(__file__).parent.parent / "prompts" / "demo.jsonl"
    assert Manifest(path, media.inspect).problems() == ([], 0)
