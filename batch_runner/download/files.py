"""Files under their final names: how a whole one gets there, how it is read again. Call in an executor."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from batch_runner.download.disk import (
    digest,
    disk_errors,
    reading,
    remove,
    require_regular,
    status_of,
    sync_folder,
)
from batch_runner.download.failures import TargetExists
from batch_runner.download.part import sidecar_of
from batch_runner.errors import DiskError

_NO_LINKS_HERE = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}


def publish(part_path: Path, final_path: Path) -> None:
    """Give a whole, synced part its final name in the same folder; nothing is ever overwritten.

    A run killed half way leaves both names on one file, and publishing again finishes that.

    Raises:
        TargetExists: another file (or anything else) has the final name; both were left alone.
        MissingFileError: there is no part.
        DiskError: the disk refused; a failed sync of the folder must not be retried.
    """
    with disk_errors("publish", part_path):
        require_regular(part_path.lstat(), part_path)
    with disk_errors("create", final_path):
        _give_name(part_path, final_path)
    tidy(part_path, final_path)


def set_aside(path: Path) -> Path | None:
    """Give a file that is not as it was recorded another name beside its own; None where there is none.

    Raises:
        DiskError: the disk refused.
    """
    if status_of(path) is None:
        return None
    aside = next(name for name in _names_beside(path, "damaged") if status_of(name) is None)
    with disk_errors("rename", path):
        path.rename(aside)
    sync_folder(path.parent)
    return aside


def keep_beside(part_path: Path, final_path: Path) -> Path:
    """Give a whole, synced part that is not what belongs under the final name a name beside it; returns that name.

    One that was kept there before is not kept twice.

    Raises:
        DiskError: the disk refused; a failed sync of the folder must not be retried.
    """
    content = sha256_of(part_path)
    names = _names_beside(final_path, "other")
    kept = next(name for name in names if status_of(name) is None or is_as_recorded(name, *content))
    (publish if status_of(kept) is None else tidy)(part_path, kept)
    return kept


def _names_beside(path: Path, word: str) -> Iterator[Path]:
    """What is kept beside a file can be called so: numbered from 1, without end, after a word that says what it is."""
    return (path.with_name(f"{path.name}.{word}-{number}") for number in count(1))


def tidy(part_path: Path, final_path: Path) -> None:
    """Finish a publication of which the final name is known to be right: no part is left, the name is durable.

    Raises:
        DiskError: the disk refused; a failed sync of the folder must not be retried.
    """
    remove(part_path)
    remove(sidecar_of(part_path))
    sync_folder(final_path.parent)


def _give_name(part_path: Path, final_path: Path) -> None:
    try:
        os.link(part_path, final_path, follow_symlinks=False)
    except FileExistsError:
        if not os.path.samestat(part_path.lstat(), final_path.lstat()):
            raise TargetExists(final_path) from None
    except OSError as error:
        if error.errno not in _NO_LINKS_HERE:
            raise
        _rename(part_path, final_path)


def _rename(part_path: Path, final_path: Path) -> None:
    # Where links are unsupported, check and rename are two steps; the output folder's lock keeps other
    # runs out of the moment between them.
    if status_of(final_path) is not None:
        raise TargetExists(final_path)
    part_path.rename(final_path)


def sha256_of(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 hex of a regular file. Raises ``MissingFileError`` or ``DiskError``."""
    with reading(path) as file:
        return digest(file)


def is_as_recorded(path: Path, size: int, sha256: str) -> bool:
    """Whether ``path`` is a regular file with exactly these bytes. Raises ``DiskError``."""
    found = status_of(path)
    if found is None or not stat.S_ISREG(found.st_mode) or found.st_size != size:
        return False
    return sha256_of(path) == (size, sha256)


def make_batch_folder(output_dir: Path, name: str) -> Path:
    """The batch's folder ``output_dir/name``, made if need be, durable. Raises ``DiskError``.

    Parents are made for the output folder alone, which may itself be a link: the user named it.
    """
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise DiskError(f"{name!r} cannot be the name of a batch folder; choose another --name")
    folder = output_dir / name
    with disk_errors("create", folder):
        output_dir.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()
        except FileExistsError:
            _require_folder(folder)
    sync_folder(output_dir)  # also where it stood already: whoever made it may have been killed before this line
    return folder


def check_batch_folder(output_dir: Path, name: str) -> None:
    """Raise ``DiskError`` if something that is no folder of ours stands in the place of the batch's; none is fine."""
    folder = output_dir / name
    with disk_errors("look at", folder):
        if status_of(folder) is not None:
            _require_folder(folder)


def _require_folder(folder: Path) -> None:
    mode = folder.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise DiskError(f"{folder} is a symbolic link; remove it or choose another --name")
    if not stat.S_ISDIR(mode):
        raise DiskError(f"{folder} is not a folder; remove it or choose another --name")


def free_bytes(path: Path) -> int:
    """Bytes an ordinary user may still write to the file system of ``path``. Raises ``DiskError``."""
    with disk_errors("look at", path):
        return shutil.disk_usage(path).free
