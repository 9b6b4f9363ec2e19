"""The machine's disk in a simulation: what a killed program or a power cut leaves of it, and calls that fail."""

from __future__ import annotations

import errno
import os
import random
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest
from simulated_sqlite import CANNOT_DELETE, CANNOT_SYNC, CANNOT_WRITE, FULL, OK, watched

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_BLOCK_BYTES = 4096


class Dead(BaseException):
    """The program was killed: whatever it does now does not happen."""


class Machine(Protocol):
    """Whoever runs on the disk."""

    def disk_call(self, name: str) -> int:
        """One call is about to be made; the errno it fails with, or 0. Raises Dead."""


MACHINE: ContextVar[Machine | None] = ContextVar("MACHINE", default=None)
"""The running program, to its own tasks; the sandbox and the test see None."""


@dataclass
class Tree:
    """Everything below a folder: names, and the bytes behind them (names of one file share them)."""

    folders: set[str] = field(default_factory=set)
    names: dict[str, int] = field(default_factory=dict)
    content: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> Tree:
        tree = cls()
        for folder, _, names in os.walk(root):
            place = os.path.relpath(folder, root)
            tree.folders.add(place)
            for name in names:
                path = os.path.join(folder, name)  # noqa: PTH118 - thousands of trees are read
                inode = os.lstat(path).st_ino
                tree.names[os.path.normpath(os.path.join(place, name))] = inode  # noqa: PTH118 - the same
                if inode not in tree.content:
                    tree.content[inode] = _bytes_of(path)
        return tree

    def write(self, root: Path) -> dict[int, int]:
        """Make the folder hold exactly this; returns the new number of each file."""
        shutil.rmtree(root, ignore_errors=True)
        for folder in sorted(self.folders):
            (root / folder).mkdir(parents=True, exist_ok=True)
        first: dict[int, Path] = {}
        for name, inode in self.names.items():
            if inode in first:
                os.link(first[inode], root / name)
            else:
                (root / name).write_bytes(self.content[inode])
                first[inode] = root / name
        return {inode: path.stat().st_ino for inode, path in first.items()}


def _bytes_of(path: str) -> bytes:
    return Path(path).read_bytes()


class Durable:
    """What has reached the disk below a folder: bytes by fsync of their file, names by fsync of their folder.

    Args:
        root: the folder.
        trusted: beginnings of names that are taken to be durable as they are.

    Attributes:
        is_kept: whether anybody will ask; keeping account costs time.
    """

    def __init__(self, root: Path, trusted: tuple[str, ...] = ("state.db", ".lock")) -> None:
        self._root = root
        self._trusted = trusted
        self._content: dict[int, bytes] = {}
        self._names: dict[str, dict[str, int]] = {}
        self._lost_numbers = count(-1, -1)
        self.is_kept = True

    def created(self, inode: int) -> None:
        """A new file has nothing on the disk; a removed one that had its number before may still be there."""
        self._renumber({inode: next(self._lost_numbers)})

    def synced(self, descriptor: int) -> None:
        """An fsync succeeded."""
        found, path = os.fstat(descriptor), f"/proc/self/fd/{descriptor}"
        if stat.S_ISDIR(found.st_mode):
            self.folder_synced(Path(path).readlink())
        elif self.is_kept:
            self._content[found.st_ino] = _bytes_of(path)

    def file_synced(self, path: str) -> None:
        """The same of a file by its name."""
        if self.is_kept:
            self._content[Path(path).stat().st_ino] = _bytes_of(path)

    def folder_synced(self, folder: Path) -> None:
        """The names in a folder are durable."""
        if self.is_kept:
            self._names[str(folder)] = _names_in(folder)

    def rewritten(self, numbers: Mapping[int, int]) -> None:
        """The same files were written anew and have other numbers now."""
        gone = {inode: next(self._lost_numbers) for inode in self._content if inode not in numbers}
        self._renumber({**gone, **numbers})

    def settled(self) -> None:
        """All that is there now is on the disk: the machine has just started."""
        self._content = dict(Tree.read(self._root).content)
        self._names = {folder: _names_in(Path(folder)) for folder, _, _ in os.walk(self._root)}

    def _renumber(self, numbers: Mapping[int, int]) -> None:
        self._content = {numbers.get(inode, inode): content for inode, content in self._content.items()}
        for names in self._names.values():
            names.update({name: numbers.get(inode, inode) for name, inode in names.items()})

    def after_power_cut(self, dice: random.Random | None) -> Tree:
        """What is left: at the worst nothing that no fsync has reached; with dice, each such change as they fall."""
        now, left = Tree.read(self._root), Tree()
        left.folders = {folder for folder in sorted(now.folders) if self._is_left(folder, dice)}
        for folder in sorted(left.folders):
            for name, inode in self._names_left(now, folder, dice):
                left.names[os.path.normpath(f"{folder}/{name}")] = inode
                left.content[inode] = self._bytes_left(now, name, inode, dice)
        return left

    def _is_left(self, folder: str, dice: random.Random | None) -> bool:
        path = self._root / folder
        return path == self._root or path.name in self._names.get(str(path.parent), {}) or _survives(dice)

    def _names_left(self, now: Tree, folder: str, dice: random.Random | None) -> Iterator[tuple[str, int]]:
        known = self._names.get(str(self._root / folder), {})
        current = {Path(name).name: inode for name, inode in now.names.items() if str(Path(name).parent) == folder}
        for name in sorted(known.keys() | current.keys()):
            if name.endswith("-shm") and not self._trusted:  # it is shared memory, which nobody brings to the disk
                continue
            is_now = name.startswith(self._trusted or "\0") or known.get(name) == current.get(name) or _survives(dice)
            inode = (current if is_now else known).get(name)
            if inode is not None and (inode in now.content or inode in self._content):
                yield name, inode

    def _bytes_left(self, now: Tree, name: str, inode: int, dice: random.Random | None) -> bytes:
        known, current = self._content.get(inode, b""), now.content.get(inode)
        if current is None or (self._trusted and Path(name).name.startswith(self._trusted)):
            return known if current is None else current
        return known if dice is None or current == known else _mixed(known, current, dice)


def _names_in(folder: Path) -> dict[str, int]:
    """Each name and the number of its file; a folder's number may be one that a file had before, so it has none."""
    return {each.name: 0 if each.is_dir() else each.lstat().st_ino for each in folder.iterdir()}


def _mixed(known: bytes, current: bytes, dice: random.Random) -> bytes:
    """Each block as the disk had it or as it was to be, at the old or the new length; where it had none, zeros."""
    length = dice.choice((len(known), len(current)))
    blocks = (
        dice.choice((known, current))[at : at + _BLOCK_BYTES].ljust(_BLOCK_BYTES, b"\0")
        for at in range(0, length, _BLOCK_BYTES)
    )
    return b"".join(blocks)[:length]


def _survives(dice: random.Random | None) -> bool:
    return dice is not None and dice.random() < 0.5


class SimulatedDisk:
    """Stands between the program and the files below one folder, and keeps account of what is durable."""

    def __init__(self, root: Path, durable: Durable, *, watches_sqlite: bool) -> None:
        self._root = f"{root}/"
        self._durable = durable
        self._watches_sqlite = watches_sqlite

    @contextmanager
    def between(self) -> Iterator[None]:
        """Watch and fail the calls of whatever program runs in this block."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("link", "replace", "rename"):
                patch.setattr(os, name, self._naming(name, getattr(os, name)))
            for name in ("unlink", "mkdir"):
                patch.setattr(os, name, self._at_path(name, getattr(os, name)))
            patch.setattr(os, "open", self._opening(os.open))
            patch.setattr(os, "fsync", self._syncing(os.fsync))
            if not self._watches_sqlite:
                yield
                return
            with watched(lambda: self):
                yield

    def _concerns(self, path: Any) -> Machine | None:
        machine = MACHINE.get()
        return machine if machine is not None and f"{os.fspath(path)}/".startswith(self._root) else None

    def _call(self, machine: Machine, name: str, path: Any) -> None:
        number = machine.disk_call(name)
        if number:
            raise OSError(number, os.strerror(number), os.fspath(path))

    def _at_path(self, name: str, real: Callable[..., None]) -> Callable[..., None]:
        def call(path: Any, *args: Any, **options: Any) -> None:
            machine = self._concerns(path)
            if machine is not None:
                self._call(machine, name, path)
            real(path, *args, **options)

        return call

    def _naming(self, name: str, real: Callable[..., None]) -> Callable[..., None]:
        def call(source: Any, target: Any, **options: Any) -> None:
            machine = self._concerns(target)
            if machine is not None:
                self._call(machine, name, target)
            real(source, target, **options)

        return call

    def _opening(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(path: Any, flags: int, *args: Any, **options: Any) -> int:
            machine = self._concerns(path) if flags & _WRITING else None
            if machine is None:
                return real(path, flags, *args, **options)
            self._call(machine, "open", path)
            is_full = not os.fspath(path).endswith(".lock") and machine.disk_call("write")
            descriptor = real(path, flags, *args, **options)
            if flags & os.O_EXCL:
                self._durable.created(os.fstat(descriptor).st_ino)
            if is_full:
                _fill_up(real, descriptor)
            return descriptor

        return call

    def _syncing(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def call(descriptor: int) -> None:
            machine = self._concerns(Path(f"/proc/self/fd/{descriptor}").readlink())
            if machine is None:
                real(descriptor)
                return
            is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            self._call(machine, "fsync folder" if is_folder else "fsync", f"/proc/self/fd/{descriptor}")
            real(descriptor)
            self._durable.synced(descriptor)

        return call

    # --- what SQLite does (simulated_sqlite.Watcher) ------------------------------------------------------------

    def write(self, path: str) -> int:
        return self._ask(path, "db write", CANNOT_WRITE)

    def sync(self, path: str) -> int:
        return self._ask(path, "db sync", CANNOT_SYNC)

    def delete(self, path: str) -> int:
        return self._ask(path, "db delete", CANNOT_DELETE)

    def synced(self, path: str) -> None:
        if self._concerns(path) is not None:
            self._durable.file_synced(path)

    def folder_synced(self, path: str) -> None:
        if self._concerns(path) is not None:
            self._durable.folder_synced(Path(path).parent)

    def _ask(self, path: str, name: str, wrong: int) -> int:
        machine = self._concerns(path)
        if machine is None or path.endswith("-shm"):
            return OK
        try:
            number = machine.disk_call(name)
        except Dead:  # it cannot pass through SQLite, and need not: what is on the disk was kept at that moment
            return wrong
        return FULL if number == errno.ENOSPC else wrong if number else OK


def _fill_up(real_open: Callable[..., int], descriptor: int) -> None:
    """Every write to this descriptor now finds the disk full; the kernel itself says so."""
    full = real_open("/dev/full", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(full, descriptor, inheritable=False)
    os.close(full)
