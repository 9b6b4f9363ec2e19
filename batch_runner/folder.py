"""The output folder as one run's own: its lock, and the name of its batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from batch_runner.download import sync_folder
from batch_runner.errors import DiskError, OutputFolderLockedError, UsageError
from batch_runner.settings import Settings, check_batch_name

SANDBOX_SUFFIX = "-sandbox"
STDIN = Path("-")
"""What stands for standard input where a manifest's path is asked for."""


@contextmanager
def held_folder(output_dir: Path) -> Iterator[bool]:
    """Make the folder if need be and hold it alone; the kernel lets go of the lock when the process dies.

    Yields whether there were runs here before: then a ``state.db`` that is gone, or empty, has forgotten them.

    Raises:
        OutputFolderLockedError: another run holds it.
        DiskError: it cannot be made or written.
    """
    try:
        _make(output_dir)
        lock_path = output_dir / ".lock"
        if lock_path.is_symlink():
            raise DiskError(f"{lock_path} is a symbolic link, and links are not followed; remove it")
        has_past = lock_path.exists()
        lock = FileLock(lock_path, timeout=0, fallback_to_soft=False)
        lock.acquire()
    except Timeout:
        raise OutputFolderLockedError(
            f"another run holds {output_dir}; wait for it, or choose another --output-dir"
        ) from None
    except OSError as error:
        raise DiskError(
            f"{output_dir} cannot be used as the output folder ({error.strerror or error}); choose another --output-dir"
        ) from error
    try:
        yield has_past
    finally:
        lock.release()


def _make(output_dir: Path) -> None:
    """Make the folder and its parents where need be; until it holds a store, make sure of its own name too."""
    made = [path for path in (output_dir, *output_dir.parents) if not path.exists()]
    output_dir.mkdir(parents=True, exist_ok=True)
    if not (output_dir / "state.db").exists():
        for folder in [path.parent for path in made] or [output_dir.parent]:
            if os.access(folder, os.R_OK):  # whoever may not open a folder cannot make it durable either
                sync_folder(folder)


def batch_name(manifest_path: Path, settings: Settings) -> str:
    """The folder of the batch below the output folder. A simulated batch lives apart from a real one.

    Raises:
        UsageError: the name cannot be a folder's.
    """
    if manifest_path == STDIN and settings.name is None:
        raise UsageError("standard input has no name that the batch could take: add --name NAME")
    if settings.name is None and manifest_path.name in {"", ".."}:
        raise UsageError(
            f"{manifest_path} is a folder, not a manifest; name a file of items, such as prompts/demo.jsonl"
        )
    try:
        name = check_batch_name(manifest_path.stem if settings.name is None else settings.name)
    except ValueError as error:
        raise UsageError(f"the batch takes its name from the manifest: {error}; or choose one with --name") from None
    if name.endswith(SANDBOX_SUFFIX):
        raise UsageError(f"the batch's name {name!r} ends in {SANDBOX_SUFFIX}, which is kept for simulated batches")
    return name + SANDBOX_SUFFIX if settings.sandbox else name
