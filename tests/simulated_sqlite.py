"""Stands between SQLite and its files: tells of every write, sync and removal before it happens, and may make it fail.

SQLite reaches files through a table of functions that a program may replace (https://www.sqlite.org/vfs.html). Here
the machine's own table is copied and four of its entries are wrapped; the real ones still do the work.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, Protocol

OK = 0
FULL = 13
CANNOT_WRITE, CANNOT_SYNC, CANNOT_DELETE = 10 | 3 << 8, 10 | 4 << 8, 10 | 10 << 8
"""Result codes of SQLite: a full disk, and the disk's own errors."""


class Watcher(Protocol):
    """Whoever wants to know; the calls come from inside SQLite, on the thread of the transaction."""

    def write(self, path: str) -> int:
        """Bytes are about to be written, or the file cut; a result code of SQLite, 0 to let it happen."""

    def sync(self, path: str) -> int:
        """The file is about to be synced; a result code."""

    def synced(self, path: str) -> None:
        """The file is on the disk."""

    def folder_synced(self, path: str) -> None:
        """The names in the folder of this file are on the disk."""

    def delete(self, path: str) -> int:
        """The file is about to be removed; a result code."""


class _Methods(Structure):
    _fields_ = [
        ("version", c_int),
        *((name, c_void_p) for name in ("close", "read", "write", "truncate", "sync", "size", "lock", "unlock")),
        *((name, c_void_p) for name in ("check_lock", "control", "sector", "device")),
        *((name, c_void_p) for name in ("shm_map", "shm_lock", "shm_barrier", "shm_unmap", "fetch", "unfetch")),
    ]


class _File(Structure):
    _fields_ = [("methods", POINTER(_Methods))]


class _Vfs(Structure):
    _fields_ = [
        ("version", c_int),
        ("file_size", c_int),
        ("longest_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("app_data", c_void_p),
        *((name, c_void_p) for name in ("open", "delete", "access", "full_path", "dl_open", "dl_error", "dl_sym")),
        *((name, c_void_p) for name in ("dl_close", "randomness", "sleep", "time", "last_error", "time64")),
        *((name, c_void_p) for name in ("set_system_call", "get_system_call", "next_system_call")),
    ]


_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, POINTER(_File), c_int, c_void_p)
_DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
_OPEN_FOLDER = CFUNCTYPE(c_int, c_char_p, c_void_p)
_SET_SYSTEM_CALL = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)
_GET_SYSTEM_CALL = CFUNCTYPE(c_void_p, c_void_p, c_char_p)
_VFS_NAME = b"watched"


class _Watch:
    """The wrapped table; one for the life of the process, for SQLite keeps pointers into it."""

    def __init__(self, library: ctypes.CDLL) -> None:
        library.sqlite3_vfs_find.restype = POINTER(_Vfs)
        library.sqlite3_vfs_register.argtypes = [c_void_p, c_int]
        self._library = library
        self._real = library.sqlite3_vfs_find(None)
        self._vfs = _Vfs()
        self._paths: dict[int, str] = {}
        self._wrapped: dict[int, _Methods] = {}
        self._kept: list[Any] = []
        self.watcher_of: Callable[[], Watcher | None] = lambda: None
        ctypes.memmove(ctypes.byref(self._vfs), self._real, ctypes.sizeof(_Vfs))
        self._vfs.name = _VFS_NAME
        self._vfs.open = self._keep(_OPEN(self._opening(_OPEN(self._real.contents.open))))
        self._vfs.delete = self._keep(_DELETE(self._deleting(_DELETE(self._real.contents.delete))))
        self._watch_folders()

    def _keep(self, function: Any) -> int | None:
        self._kept.append(function)
        return ctypes.cast(function, c_void_p).value

    def install(self) -> None:
        """From now on every file that SQLite opens is watched."""
        self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1)

    def uninstall(self) -> None:
        """Files opened from now on are not; those that are open stay so."""
        self._library.sqlite3_vfs_register(self._real, 1)

    def _watch_folders(self) -> None:
        """SQLite syncs a folder right after it opened it, for nothing else."""
        real = _OPEN_FOLDER(_GET_SYSTEM_CALL(self._real.contents.get_system_call)(self._real, b"openDirectory"))

        def open_folder(path: bytes, descriptor: int) -> int:
            code: int = real(path, descriptor)
            watcher = self.watcher_of()
            if watcher is not None and code == OK:
                watcher.folder_synced(os.fsdecode(path))
            return code

        pointer = self._keep(_OPEN_FOLDER(open_folder))
        _SET_SYSTEM_CALL(self._real.contents.set_system_call)(self._real, b"openDirectory", pointer)

    def _opening(self, real: Any) -> Callable[..., int]:
        def call(vfs: int, path: int | None, file: Any, flags: int, out_flags: int) -> int:
            code: int = real(vfs, path, file, flags, out_flags)  # the pointer itself: SQLite keeps it
            if code == OK and path is not None:
                self._paths[ctypes.addressof(file.contents)] = os.fsdecode(ctypes.string_at(path))
                file.contents.methods = ctypes.pointer(self._methods(file.contents.methods))
            return code

        return call

    def _deleting(self, real: Any) -> Callable[..., int]:
        def call(vfs: int, path: bytes, sync_folder: int) -> int:
            watcher = self.watcher_of()
            wrong = OK if watcher is None else watcher.delete(os.fsdecode(path))
            return wrong or int(real(vfs, path, sync_folder))

        return call

    def _methods(self, real: Any) -> _Methods:
        """The table of an open file with the changing calls wrapped; the same table is wrapped once."""
        address = ctypes.addressof(real.contents)
        if address not in self._wrapped:
            methods = _Methods()
            ctypes.memmove(ctypes.byref(methods), real, ctypes.sizeof(_Methods))
            methods.write = self._keep(_WRITE(self._changing(_WRITE(real.contents.write))))
            methods.truncate = self._keep(_TRUNCATE(self._changing(_TRUNCATE(real.contents.truncate))))
            methods.sync = self._keep(_SYNC(self._syncing(_SYNC(real.contents.sync))))
            self._wrapped[address] = methods
        return self._wrapped[address]

    def _changing(self, real: Any) -> Callable[..., int]:
        def call(file: int, *args: int) -> int:
            watcher = self.watcher_of()
            wrong = OK if watcher is None else watcher.write(self._paths[file])
            return wrong or int(real(file, *args))

        return call

    def _syncing(self, real: Any) -> Callable[..., int]:
        def call(file: int, flags: int) -> int:
            watcher = self.watcher_of()
            wrong = OK if watcher is None else watcher.sync(self._paths[file])
            code = wrong or int(real(file, flags))
            if watcher is not None and code == OK:
                watcher.synced(self._paths[file])
            return code

        return call


@cache
def _watch() -> _Watch | None:
    """None where SQLite is built into Python, so that its functions cannot be reached."""
    name = ctypes.util.find_library("sqlite3")
    if name is None:
        return None
    library = ctypes.CDLL(name)
    library.sqlite3_libversion.restype = c_char_p
    is_pythons = library.sqlite3_libversion() == sqlite3.sqlite_version.encode() and _is_loaded(name)
    return _Watch(library) if is_pythons else None


def _is_loaded(name: str) -> bool:
    """Whether the library of Python's own module is this one, and not a second copy."""
    module = importlib.import_module("_sqlite3").__file__
    return module is not None and name.encode() in Path(module).read_bytes()


def can_watch() -> bool:
    """Whether this machine's SQLite can be watched."""
    return _watch() is not None


@contextmanager
def watched(watcher_of: Callable[[], Watcher | None]) -> Iterator[None]:
    """Files that SQLite opens in this block are watched by whoever ``watcher_of`` names at each call, if anybody."""
    watch = _watch()
    if watch is None:
        yield
        return
    before = watch.watcher_of
    watch.watcher_of = watcher_of
    watch.install()
    try:
        yield
    finally:
        watch.watcher_of = before
        watch.uninstall()
