"""The output folder as one run's own: its lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from batch_runner.download import sync_folder
from batch_runner.errors import DiskError, OutputFolderLockedError


@contextmanager
def held_folder(output_dir: Path, notes: Sequence[str] = ()) -> Iterator[bool]:
    """Make the folder if need be and hold it alone; the kernel lets go of the lock when the process dies.

    Yields whether there were runs here before: then a ``state.db`` that is gone, or empty, has forgotten them. The lock
    tells, and where it is gone too, ``notes``: the names of files that runs leave in the folders of batches.

    Raises:
        OutputFolderLockedError: another run holds it.
        DiskError: it cannot be made or written.
    """
    try:
        _make(output_dir)
        lock_path = output_dir / ".lock"
        if lock_path.is_symlink():
            raise DiskError(f"{lock_path} is a symbolic link, and links are not followed; remove it")
        has_past = lock_path.exists() or _has_any(output_dir, notes)
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


def _has_any(output_dir: Path, notes: Sequence[str]) -> bool:
    """Whether one of its folders holds a file of these names; links are not followed."""
    found = (path for name in notes for path in output_dir.glob(f"*/{name}"))
    return any(not path.parent.is_symlink() for path in found)


def _make(output_dir: Path) -> None:
    """Make the folder and its parents where need be; until it holds a store, make sure of its own name too."""
    made = [path for path in (output_dir, *output_dir.parents) if not path.exists()]
    output_dir.mkdir(parents=True, exist_ok=True)
    if not (output_dir / "state.db").exists():
        for folder in [path.parent for path in made] or [output_dir.parent]:
            if os.access(folder, os.R_OK):  # whoever may not open a folder cannot make it durable either
                sync_folder(folder)


def while_held(output_dir: Path, free_bytes: Callable[[Path], int]) -> Callable[[Path], int]:
    """``free_bytes``, as long as the folder's lock and store are those that are there now.

    Whoever removes them lets another run start that knows nothing of this one, and both would submit the same lines.
    What comes back raises ``DiskError`` then.
    """
    held = {path: _identity(path) for path in (output_dir / ".lock", output_dir / "state.db")}

    def free(folder: Path) -> int:
        gone = next((path for path, identity in held.items() if _identity(path) != (identity or ())), None)
        if gone is not None:
            text = f"{gone} was removed or replaced under the run, so nothing more is submitted"
            raise DiskError(f"{text}; run the same command again: what was made is found on the account")
        return free_bytes(folder)

    return free


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of its name while somebody has it open; None where it is not seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
