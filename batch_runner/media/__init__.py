"""Media files: what they are, whether the field that names them takes them, their digest and their base64 form.

What a field takes are rows of the catalog, with their sources. Base64 is raw, without a prefix (kling-api 3.0).
"""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import stat
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from batch_runner.catalog import MediaLimits
from batch_runner.manifest import MediaFacts
from batch_runner.media.films import film, is_film
from batch_runner.media.found import UNKNOWN, Found
from batch_runner.media.limits import problems, size_problem
from batch_runner.media.sounds import sound

__all__ = ["inspect", "read_base64"]


def inspect(source: Path | bytes, limits: MediaLimits) -> MediaFacts:
    """A file's digest and every reason why its field would refuse it; never raises for a bad file.

    ``source`` is a path or the bytes themselves. What was found in a file is kept while path, size and modification
    time stay the same: a batch names one image in many lines.
    """
    if isinstance(source, bytes):
        digest = hashlib.sha256(source).hexdigest()
        trouble = size_problem(len(source), limits)
        return (
            MediaFacts(digest, (trouble,))
            if trouble
            else _facts(digest, _found(io.BytesIO(source), limits.type), limits)
        )
    try:
        return _of_file(source, limits)
    except FileNotFoundError:
        return MediaFacts("", trouble="is no file that exists")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return MediaFacts("", trouble=f"cannot be read: {reason or 'no path that this system knows'}")


def read_base64(path: Path, digest: str) -> str:
    """The file as raw base64, as the API wants it.

    Raises:
        OSError: it cannot be read, or is no longer the file with that SHA-256, which was checked and priced.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise OSError(errno.ESTALE, "it changed since the manifest was read", str(path))
    return base64.b64encode(content).decode("ascii")


def _of_file(path: Path, limits: MediaLimits) -> MediaFacts:
    stated = path.stat()
    if not stat.S_ISREG(stated.st_mode):
        return MediaFacts("", trouble="is a folder" if stat.S_ISDIR(stated.st_mode) else "is no regular file")
    if trouble := size_problem(stated.st_size, limits):
        return MediaFacts("", (trouble,))
    return _facts(*_looked_at(path, stated.st_size, stated.st_mtime_ns, limits.type), limits)


def _facts(digest: str, found: Found, limits: MediaLimits) -> MediaFacts:
    return MediaFacts(digest, problems(found, limits), "", found.width, found.height, found.length_s)


@lru_cache(maxsize=4096)  # what raises is not kept, so that the next look tries again
def _looked_at(path: Path, _size: int, _mtime_ns: int, type_: str) -> tuple[str, Found]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, _found(file, type_)


def _found(file: BinaryIO, type_: str) -> Found:
    """What a file is, read as one of its type would be."""
    if type_ == "image":
        from batch_runner.media.images import image  # noqa: PLC0415 - Pillow, for batches with pictures

        return image(file)
    if is_film(file):
        return film(file, file.seek(0, io.SEEK_END))
    file.seek(0)
    return sound(file.read()) if type_ == "audio" else UNKNOWN
