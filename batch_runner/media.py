"""Local images: whether Kling will take them, their digest, and their base64 form.

Facts of the vendor's API reference (2026-03): jpg or png, at most 10 MB, each side at least 300 px, sides between
1:2.5 and 2.5:1, base64 without a prefix.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import stat
import struct
import warnings
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final

from PIL import Image

from batch_runner.manifest import MediaFacts

MAX_BYTES: Final = 10 * 1024 * 1024
MIN_SIDE_PX: Final = 300
_FORMATS: Final = frozenset({"JPEG", "MPO", "PNG"})
"""MPO is the JPEG with a second picture behind it that some phones write."""
_UNDECODABLE: Final = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for files that are not what they claim."""


def inspect_image(path: Path) -> MediaFacts:
    """The file's digest and every reason why Kling would refuse it; never raises for a bad file.

    An answer is kept while path, size and modification time stay the same: a batch names one image in many lines.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return MediaFacts("", ("is no file that exists",))
    except (OSError, ValueError) as error:
        return MediaFacts("", (_unreadable(error),))
    if not stat.S_ISREG(found.st_mode):
        return MediaFacts("", ("is a folder" if stat.S_ISDIR(found.st_mode) else "is no regular file",))
    try:
        return _inspected(path, found.st_size, found.st_mtime_ns)
    except OSError as error:  # raised through the cache, so that the next look tries again
        return MediaFacts("", (_unreadable(error),))


def read_image_base64(path: Path, digest: str) -> str:
    """The file as raw base64, as the API wants it.

    Raises:
        OSError: it cannot be read, or is no longer the file with that SHA-256, which was checked and priced.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise OSError(errno.ESTALE, "it changed since the manifest was read", str(path))
    return base64.b64encode(content).decode("ascii")


@lru_cache(maxsize=4096)
def _inspected(path: Path, size: int, _mtime_ns: int) -> MediaFacts:
    if size == 0:
        return MediaFacts("", ("is empty",))
    if size > MAX_BYTES:
        return MediaFacts("", (f"has {size / 1024**2:.1f} MB; at most {MAX_BYTES // 1024**2}",))
    with path.open("rb") as file:
        hexdigest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        return MediaFacts(hexdigest, _image_problems(file))


def _unreadable(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return f"cannot be read: {reason or 'no path that this system knows'}"


def _image_problems(file: BinaryIO) -> tuple[str, ...]:
    with warnings.catch_warnings():
        # Pillow warns of enormous pictures before it refuses twice as enormous ones; neither is for Kling.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file) as image:
                if image.format not in _FORMATS:
                    return (f"is {image.format}, not jpg or png",)
                problems = _size_problems(*image.size)
                return problems or _decoding_problems(image)
        except Image.DecompressionBombWarning:
            return ("has more pixels than any video needs",)
        except _UNDECODABLE:
            return ("is no jpg or png image, or a damaged one",)


def _size_problems(width: int, height: int) -> tuple[str, ...]:
    found = []
    if min(width, height) < MIN_SIDE_PX:
        found.append(f"is {width} x {height} px; each side needs {MIN_SIDE_PX}")
    if 2 * max(width, height) > 5 * min(width, height):
        found.append(f"is {width} x {height} px; one side may be at most 2.5 times the other")
    return tuple(found)


def _decoding_problems(image: Image.Image) -> tuple[str, ...]:
    """Reads the picture to its end, so that half a file is found here and not by a failed task."""
    try:
        if image.format == "PNG":
            image.verify()
        else:
            image.draft("L", (image.width // 8, image.height // 8))
            image.load()
    except _UNDECODABLE:
        return ("is a damaged image",)
    return ()
