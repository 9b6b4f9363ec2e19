"""Starts of the program that send themselves signals at a chosen moment, forked from one that has imported it.

A moment is a call, in any thread, that writes: to a file, a folder, a stream or ``state.db``. They are counted from the
first one after a function of the program was entered (``since``). Run as a script it obeys lines of JSON on standard
input, one a start; ``play`` is its other end.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NoReturn

from doors_kit import clean_environ

AT_A_TIME = 3
_WRITING = frozenset({
    "close", "commit", "execute", "flock", "flush", "fsync", "link", "mkdir", "pwrite", "release", "rename", "replace",
    "rmdir", "send", "shutdown", "truncate", "unlink", "write", "writelines",
})  # fmt: skip
_IN_MEMORY = ("str.", "bytes.", "StringIO.", "BytesIO.", "Event.")
_CHATTY = frozenset({"enum", "signal", "weakref", "_weakrefset"})


@dataclass(frozen=True)
class Start:
    """One start: its signals come at the ``moment``-th call that writes (or any call) after ``since`` was entered."""

    folder: Path
    argv: Sequence[str]
    moment: int
    since: str = "entry"
    signals: Sequence[int] = (signal.SIGTERM,)
    every_call: bool = False


@dataclass(frozen=True)
class End:
    """How it ended; ``place`` is where it was when the signals came, empty if it ended before that moment."""

    code: int
    out: str
    err: str
    place: str


def play(starts: Iterable[Start]) -> list[End]:
    """All of them, a few at a time; each needs a folder of its own, which has to be there."""
    starts = list(starts)
    orders = [{**vars(start), "folder": str(start.folder)} for start in starts]
    done = subprocess.run([sys.executable, __file__], input="".join(json.dumps(order) + "\n" for order in orders),
                          env=clean_environ(starts[0].folder), text=True, capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    codes = dict(json.loads(line) for line in done.stdout.splitlines())
    return [_end(start.folder, codes[number]) for number, start in enumerate(starts)]


def _end(folder: Path, code: int) -> End:
    out, err, place = ((folder / name).read_text() for name in ("out", "err", "place"))
    return End(code, out, err, place)


def serve() -> None:
    """Obey, and tell the exit code of each start (negative for a signal) as it ends."""
    import batch_runner.api  # noqa: PLC0415 - here, so that the other end need not pay for it
    import batch_runner.cli  # noqa: F401, PLC0415

    orders = [json.loads(line) for line in sys.stdin.read().splitlines()]
    _warm_up(orders[0])
    under_way: dict[int, int] = {}
    for number, order in enumerate(orders):
        if len(under_way) >= AT_A_TIME:
            _bury(under_way)
        pid = os.fork()
        if pid == 0:
            _live(order)
        under_way[pid] = number
    while under_way:
        _bury(under_way)


def _warm_up(order: dict[str, Any]) -> None:
    """Make here, in a copy of the folder, what every start would make for itself: templates, pictures of films."""
    from batch_runner.cli import main  # noqa: PLC0415 - see ``serve``

    with TemporaryDirectory() as folder, redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        shutil.copytree(order["folder"], folder, dirs_exist_ok=True)
        with chdir(folder):
            main(order["argv"])
    assert threading.active_count() == 1, "a fork would take the locks of other threads along"


def _bury(under_way: dict[int, int]) -> None:
    pid, status = os.wait()
    sys.stdout.write(json.dumps([under_way.pop(pid), os.waitstatus_to_exitcode(status)]) + "\n")
    sys.stdout.flush()  # else the next fork would say it too


def _live(order: dict[str, Any]) -> NoReturn:
    from batch_runner.cli import entry  # noqa: PLC0415 - see ``serve``

    os.chdir(order["folder"])
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for path, here in (("out", 1), ("err", 2), ("place", 3)):
        os.dup2(os.open(path, flags, 0o600), here)
    os.closerange(4, 64)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    watch = _Watch(order["moment"], order["since"], order["signals"], every_call=order["every_call"])
    threading.setprofile(watch)
    sys.setprofile(watch)
    sys.argv = ["batch_runner", *order["argv"]]
    entry()
    raise AssertionError("unreachable: it exits")


class _Watch:
    def __init__(self, moment: int, since: str, signals: Sequence[int], *, every_call: bool) -> None:
        self._moment, self._since, self._signals, self._every_call = moment, since, signals, every_call
        self._calls = itertools.count(1)
        self._counts = False

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "call" and not self._counts:
            self._counts = frame.f_code.co_name == self._since
        if self._counts and self._is_counted(frame, event, arg) and next(self._calls) == self._moment:
            os.write(3, f"{frame.f_code.co_qualname}: {getattr(arg, '__qualname__', 'entered')}".encode())
            for number in self._signals:
                os.kill(os.getpid(), number)

    def _is_counted(self, frame: FrameType, event: str, called: Any) -> bool:
        if self._every_call:
            return event in {"call", "c_call"} and frame.f_globals.get("__name__") not in _CHATTY
        return event == "c_call" and _writes(called)


def _writes(called: Any) -> bool:
    return called.__name__ in _WRITING and not called.__qualname__.startswith(_IN_MEMORY)


if __name__ == "__main__":
    serve()
