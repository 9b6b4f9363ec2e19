"""The manifest that a door was given: a file, or standard input read to its end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO, Final

from batch_runner.errors import UsageError
from batch_runner.folder import STDIN, batch_name
from batch_runner.manifest import Format, Manifest, Source, format_of
from batch_runner.media import inspect
from batch_runner.service import limits_of
from batch_runner.settings import Settings

MAX_STDIN_BYTES: Final = 256 * 1024 * 1024
"""A manifest is read more than once, so what comes through a pipe is kept in memory."""


def manifest_of(path: Path, settings: Settings) -> Manifest:
    """The manifest of a path; ``-`` is standard input, which is read now.

    Raises:
        UsageError: standard input has no name, is not there, or is too long.
    """
    format_ = None if settings.format is None else Format(settings.format)
    slots = limits_of(settings).max_concurrent
    if path != STDIN:
        return Manifest(Source(path, format_ or format_of(path)), inspect, slots)
    batch_name(path, settings)  # without a name for it, nobody needs to wait for what comes
    content = _read(getattr(sys.stdin, "buffer", None))
    return Manifest(Source(path, format_ or Format.JSONL, content), inspect, slots)


def _read(stdin: BinaryIO | None) -> bytes:
    if stdin is None:
        raise UsageError("there is no standard input here; give the manifest as a file")
    content = stdin.read(MAX_STDIN_BYTES + 1)
    if len(content) > MAX_STDIN_BYTES:
        raise UsageError(f"standard input is longer than {MAX_STDIN_BYTES // 1024**2} MiB; give the manifest as a file")
    return content
