"""The few ways this program touches a local file: never through a symbolic link, always a regular file."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from batch_runner.download.failures import MissingFileError, UnusableNameError
from batch_runner.errors import DiskError, DiskFullError, NotDurableError

SAFE_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Without O_NONBLOCK a named pipe planted under a file's name would hold the thread for ever."""
_FILE_MODE = 0o644

_FULL = {errno.ENOSPC, errno.EDQUOT}
_OF_THE_NAME = {errno.ELOOP, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}
_WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than the file system or a resource limit allows",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.EACCES: "permission denied; check the owner and mode of the output folder",
    errno.EPERM: "not permitted; check the owner and mode of the output folder",
    errno.EIO: "the disk reported an error; check it before running again",
    errno.ELOOP: "it is a symbolic link, and links are not followed; remove it",
    errno.EEXIST: "something else stands there; move it away and run again",
    errno.EISDIR: "a folder stands there; move it away and run again",
    errno.ENAMETOOLONG: "the name is too long for this file system; shorten the item's id",
}


@contextmanager
def disk_errors(action: str, path: Path) -> Iterator[None]:
    """Map an ``OSError`` of local file work to ``DiskError`` with words; ``action`` is like "write"."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingFileError(f"cannot {action} {path}: it does not exist") from error
    except OSError as error:
        raise _kind(error)(f"cannot {action} {path}: {_words(error)}") from error


def _kind(error: OSError) -> type[DiskError]:
    if error.errno in _OF_THE_NAME:
        return UnusableNameError
    return DiskFullError if error.errno in _FULL else DiskError


def _words(error: OSError) -> str:
    return _WORDS.get(error.errno or 0) or error.strerror or type(error).__name__


def require_regular(status: os.stat_result, path: Path) -> None:
    """Raise ``UnusableNameError`` unless the status is that of a regular file."""
    if stat.S_ISLNK(status.st_mode):
        raise UnusableNameError(f"{path} is a symbolic link, and links are not followed; remove it")
    if not stat.S_ISREG(status.st_mode):
        raise UnusableNameError(f"{path} is not a regular file; remove it")


def is_ours_alone(status: os.stat_result) -> bool:
    """Whether it may be written to: a second name may be a finished file (a kill while publishing) or one outside."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def status_of(path: Path) -> os.stat_result | None:
    """The status of what stands under this name (a link itself, not its target), or None."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


@contextmanager
def reading(path: Path) -> Iterator[BufferedReader]:
    """The regular file, open for reading. Raises ``MissingFileError`` or ``DiskError``."""
    with disk_errors("read", path), open(path, "rb", opener=_open_safely) as file:
        require_regular(os.fstat(file.fileno()), path)
        yield file


def _open_safely(path: str, flags: int) -> int:
    return os.open(path, flags | SAFE_FLAGS)


def digest(file: BufferedReader) -> tuple[int, str]:
    """Size in bytes and SHA-256 hex of an open file, from its beginning."""
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return file.tell(), sha256


def open_new(path: str, flags: int) -> int:
    """An ``opener`` for mode ``x``: the name must be free, not even taken by a dangling link."""
    return os.open(path, flags | SAFE_FLAGS, _FILE_MODE)


def remove(path: Path) -> None:
    """Delete the name, if it is there."""
    with disk_errors("delete", path), suppress(FileNotFoundError):
        path.unlink()


def sync_file(descriptor: int, path: Path) -> None:
    """Make the file's bytes durable.

    Raises:
        NotDurableError: final, for the kernel may have dropped the bytes already and would call a second try good.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise NotDurableError(f"cannot make {path} durable: {_words(error)}") from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises ``DiskError``, and ``NotDurableError`` as above."""
    with disk_errors("look at", folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_file(descriptor, folder)
    finally:
        os.close(descriptor)
