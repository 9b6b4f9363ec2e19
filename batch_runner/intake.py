"""The manifest that a door was given: a file, or standard input read to its end."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from batch_runner.errors import UsageError
from batch_runner.manifest import Format, Manifest, Source, format_of
from batch_runner.media import inspect
from batch_runner.naming import STDIN, batch_name
from batch_runner.service import limits_of
from batch_runner.settings import Settings
from batch_runner.store import StoreReader

MAX_STDIN_BYTES: Final = 256 * 1024 * 1024
"""A manifest is read more than once, so what comes through a pipe is kept in memory."""


def manifest_of(path: Path, settings: Settings) -> Manifest:
    """The manifest of a path; ``-`` is standard input, which is read now.

    Raises:
        UsageError: standard input has no name, is not there, or is too long.
    """
    format_ = None if settings.format is None else Format(settings.format)
    slots, standing = limits_of(settings).max_concurrent, partial(_standing, path, settings)
    if path != STDIN:
        return Manifest(Source(path, format_ or format_of(path)), inspect, slots, standing)
    batch_name(path, settings)  # without a name for it, nobody needs to wait for what comes
    content = _read(getattr(sys.stdin, "buffer", None))
    return Manifest(Source(path, format_ or Format.JSONL, content), inspect, slots, standing)


def _standing(path: Path, settings: Settings) -> Mapping[str, bool]:
    """The ids of the manifest's items that earlier runs took in, and whether each is finished, paid or under way.

    Raises:
        StoreError: state.db is damaged, or newer than this program.
    """
    name, state_path = batch_name(path, settings), settings.output_dir / "state.db"
    if not state_path.is_file():
        return {}
    with StoreReader.open(state_path) as reader:
        batch = reader.batch(name)
        rows = {} if batch is None else reader.standings(batch)
        return {id_: row.taken is not None for id_, row in rows.items()}


def _read(stdin: BinaryIO | None) -> bytes:
    if stdin is None:
        raise UsageError("there is no standard input here; give the manifest as a file")
    content = stdin.read(MAX_STDIN_BYTES + 1)
    if len(content) > MAX_STDIN_BYTES:
        raise UsageError(f"standard input is longer than {MAX_STDIN_BYTES // 1024**2} MiB; give the manifest as a file")
    return content
