"""A file that only grows, a line at a time. Call in an executor."""

from __future__ import annotations

import os
from pathlib import Path

from batch_runner.download.disk import SAFE_FLAGS, disk_errors, reading, require_regular, sync_file

_LONGEST_LINE_BYTES = 4096


def append_line(path: Path, line: bytes) -> None:
    """Add a line, shorter than 4096 bytes and with its newline, to a regular file; it is durable on return.

    What a kill or a full disk left of an earlier line is cut off first: its ``append_line`` never returned.

    Raises:
        MissingFileError: there is no such file.
        DiskError: the disk refused; a failed sync must not be retried.
    """
    with reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - _LONGEST_LINE_BYTES))
        torn_bytes = len(file.read().rpartition(b"\n")[2])
    with disk_errors("write", path):
        require_regular(path.lstat(), path)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | SAFE_FLAGS)
        try:
            if torn_bytes:
                os.ftruncate(descriptor, size - torn_bytes)
            while line:
                line = line[os.write(descriptor, line) :]
            sync_file(descriptor, path)
        finally:
            os.close(descriptor)
