"""The part file: what an earlier try left, and whether the next may go on from it. Call in an executor.

Beside ``<part>`` stands ``<part>.meta``: the server's strong ETag, the full size if it was told, and the boot
it was written in. Bytes and ETag are one statement, so the sidecar goes first when the part goes and comes
last when it comes: whenever the process dies, a sidecar never describes bytes that are not there.
After another boot nothing is resumed: after a loss of power a file may have its length but not its bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch_runner.download.disk import (
    SAFE_FLAGS,
    disk_errors,
    is_ours_alone,
    open_new,
    reading,
    remove,
    require_regular,
    status_of,
    sync_file,
)
from batch_runner.download.failures import MissingFileError, UnusableNameError

_MAX_SIDECAR_BYTES = 4096
STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,256}"')
"""What a file is resumed under."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first ``bytes`` bytes of the server's file with this strong ``etag``; ``total`` if it is known."""

    bytes: int
    etag: str
    total: int | None


def sidecar_of(part_path: Path) -> Path:
    """Where the part's ETag is kept."""
    return part_path.with_name(part_path.name + ".meta")


def find_head(part_path: Path, epoch: str) -> Head | None:
    """What can be resumed, or None to start anew. Raises ``DiskError``.

    A complete part counts as one byte short: asking for nothing is an error in HTTP, and the last byte
    asked again proves that the server still has the same file.
    """
    note = _read_note(sidecar_of(part_path))
    if note is None or note["epoch"] != epoch:
        return None
    with disk_errors("look at", part_path):
        status = status_of(part_path)
    if status is None or not is_ours_alone(status):
        return None
    total: int | None = note["total"]
    if total is not None and status.st_size > total:
        return None
    size = status.st_size if total is None else min(status.st_size, total - 1)
    return Head(size, note["etag"], total) if size > 0 else None


def _read_note(sidecar: Path) -> dict[str, Any] | None:
    try:
        with reading(sidecar) as file:
            raw = file.read(_MAX_SIDECAR_BYTES + 1)
        note = json.loads(raw)
    except (MissingFileError, ValueError, RecursionError):
        return None
    return note if _is_note(note) else None


def _is_note(note: Any) -> bool:
    if not isinstance(note, dict) or note.keys() != {"etag", "total", "epoch"}:
        return False
    etag, total = note["etag"], note["total"]
    # It is sent in a header: what a damaged note says must not reach it.
    is_etag = isinstance(etag, str) and STRONG_ETAG.fullmatch(etag) is not None
    return is_etag and (total is None or (type(total) is int and total > 0))


def clear(part_path: Path) -> None:
    """Delete the part and its sidecar. Raises ``DiskError``, also when the part is no regular file."""
    remove(sidecar_of(part_path))
    with disk_errors("look at", part_path):
        status = status_of(part_path)
    if status is not None:
        require_regular(status, part_path)
        remove(part_path)


def move_part(part_path: Path, other_path: Path) -> None:
    """Make a whole part that of another file in its folder, in place of what there is of that. Raises ``DiskError``."""
    if part_path == other_path:
        return
    remove(sidecar_of(part_path))
    remove(sidecar_of(other_path))
    with disk_errors("rename", part_path):
        part_path.replace(other_path)


def open_at(path: str, flags: int, size: int) -> int:
    """An opener for mode ``ab`` that goes on after the first ``size`` bytes of a part that must exist."""
    descriptor = os.open(path, (flags & ~os.O_CREAT) | SAFE_FLAGS)
    try:
        _cut(descriptor, path, size)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _cut(descriptor: int, path: str, size: int) -> None:
    status = os.fstat(descriptor)
    if not is_ours_alone(status) or status.st_size < size:
        raise UnusableNameError(f"{path} was changed by somebody else during the download; run it again")
    os.ftruncate(descriptor, size)


def remember(part_path: Path, etag: str, total: int | None, epoch: str) -> None:
    """Keep what the server said of the part just begun, so that a later try can go on."""
    sidecar = sidecar_of(part_path)
    note = json.dumps({"etag": etag, "total": total, "epoch": epoch})
    with (
        disk_errors("write", sidecar),
        open(sidecar, "x", encoding="ascii", opener=open_new) as file,
    ):
        file.write(note)


def write_part(part_path: Path, content: bytes) -> tuple[int, str]:
    """Make ``content`` a whole, synced part, for a result that came inside an answer; its size and SHA-256 hex.

    Raises:
        DiskError: the disk refused; a failed sync must not be retried.
    """
    clear(part_path)
    with (
        disk_errors("write", part_path),
        open(part_path, "xb", opener=open_new) as file,
    ):
        file.write(content)
        file.flush()
        sync_file(file.fileno(), part_path)
    return len(content), hashlib.sha256(content).hexdigest()
