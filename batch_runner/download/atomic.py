"""Derived files, written anew as a whole or not at all. Call in an executor."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from batch_runner.download.disk import (
    disk_errors,
    open_new,
    reading,
    remove,
    status_of,
    sync_file,
    sync_folder,
)
from batch_runner.download.failures import MissingFileError
from batch_runner.errors import DiskError

_COPY_BYTES = 256 * 1024
_TEMP_SUFFIX = ".tmp"


def write_atomically(path: Path, chunks: Iterable[bytes]) -> bool:
    """Make ``chunks`` the whole content of ``path`` and return whether that changed anything.

    A file that already has this content is not touched. Readers see the old file or the new one; after a
    return the new one survives a loss of power. Temporary files of killed runs are removed; one that
    another process is writing is left to it. A symbolic link under this name is replaced, not followed.

    Raises:
        DiskError: the disk refused, or something that is no file stands there; the old content is intact.
    """
    _clear_leftovers(path)
    with _current(path) as current:
        rest = iter(chunks)
        same, first_other = _compare(current, rest)
        if first_other is None and _is_at_end(current):
            return False
        with _temporary(path) as (file, temp_path):
            _copy(current, same, file)
            file.write(first_other or b"")
            file.writelines(rest)
            file.flush()
            sync_file(file.fileno(), path)
            temp_path.replace(path)
    sync_folder(path.parent)
    return True


@contextmanager
def _current(path: Path) -> Iterator[BufferedReader | None]:
    """The present file, or None when there is none that could be compared."""
    with disk_errors("look at", path):
        status = status_of(path)
    if status is None or not stat.S_ISREG(status.st_mode):
        yield None
        return
    with reading(path) as file:
        yield file


def _compare(current: BufferedReader | None, chunks: Iterator[bytes]) -> tuple[int, bytes | None]:
    """How many bytes agree, and the first chunk that does not (None when all of them do)."""
    same = 0
    for chunk in chunks:
        if current is None or current.read(len(chunk)) != chunk:
            return same, chunk
        same += len(chunk)
    return same, None


def _is_at_end(current: BufferedReader | None) -> bool:
    return current is not None and not current.read(1)


def _copy(current: BufferedReader | None, count: int, file: BinaryIO) -> None:
    """The agreeing beginning comes from the present file, so that no content waits in memory."""
    if current is None:
        return
    current.seek(0)
    while count > 0:
        block = current.read(min(count, _COPY_BYTES))
        if not block:
            raise DiskError("a derived file was changed by somebody else while it was written; run it again")
        file.write(block)
        count -= len(block)


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file beside ``path``, locked while it is written and gone unless it got its final name."""
    temp_path = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_TEMP_SUFFIX}")
    try:
        with disk_errors("write", path), open(temp_path, "xb", opener=open_new) as file:
            _lock(file)
            yield file, temp_path
    except BaseException:
        remove(temp_path)
        raise


def _lock(file: BinaryIO) -> bool:
    """Lock the file until it is closed; False when somebody has it, or the file system knows no locks."""
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _clear_leftovers(path: Path) -> None:
    prefix = f".{path.name}."
    with disk_errors("look at", path.parent), os.scandir(path.parent) as entries:
        leftovers = [
            Path(entry.path)
            for entry in entries
            if entry.name.startswith(prefix)
            and entry.name.endswith(_TEMP_SUFFIX)
            and entry.is_file(follow_symlinks=False)
        ]
    for leftover in leftovers:
        if _is_abandoned(leftover):
            remove(leftover)


def _is_abandoned(temp_path: Path) -> bool:
    try:
        with reading(temp_path) as file:
            return _lock(file)
    except MissingFileError:
        return False
