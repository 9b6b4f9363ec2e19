"""Bears processes of the program quickly: imports it once, then forks one for each start.

Run as a script it obeys lines of JSON on standard input, one a start; ``Nursery`` is its other end. What is started
has the arguments, environment and folder of a process of its own, and dies of the same signals.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, Self


class Nursery:
    """Enter it to use it; leaving it ends it and whatever it still has."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._ended: dict[int, asyncio.Future[int]] = {}
        self._born: asyncio.Queue[int] = asyncio.Queue()
        self._one_at_a_time = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(__file__))),
            env=dict(self._environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._listening = asyncio.ensure_future(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._listening

    async def start(
        self, argv: Sequence[str], environment: Mapping[str, str], folder: Path, said_path: Path
    ) -> tuple[int, asyncio.Future[int]]:
        """A new process's id, and its exit code to come, negative for a signal; it speaks to ``said_path``."""
        assert self._process.stdin is not None
        order = {"argv": list(argv), "environ": dict(environment), "folder": str(folder), "said": str(said_path)}
        async with self._one_at_a_time:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            await self._process.stdin.drain()
            pid = await self._born.get()
        return pid, self._end_of(pid)

    def _end_of(self, pid: int) -> asyncio.Future[int]:
        return self._ended.setdefault(pid, asyncio.get_running_loop().create_future())

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            word, pid, *code = line.split()
            if word == b"born":
                self._ended.pop(int(pid), None)  # the number of one that has ended may come again
                self._born.put_nowait(int(pid))
            else:
                self._end_of(int(pid)).set_result(int(code[0]))


def serve() -> None:
    """Obey until standard input ends, then kill what is left."""
    import batch_runner.cli  # noqa: F401, PLC0415 - here, so that the other end need not pay for it

    children: set[int] = set()
    waking, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pending = b""
    while True:
        ready, _, _ = select.select([0, waking], [], [])
        if waking in ready:
            os.read(waking, 4096)
            _tell_ends(children)
        if 0 in ready:
            received = os.read(0, 65_536)
            if not received:
                break
            *orders, pending = (pending + received).split(b"\n")
            for order in orders:
                children.add(_bear(json.loads(order)))
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _tell_ends(children: set[int]) -> None:
    for pid in list(children):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            children.discard(pid)
            _tell(f"died {pid} {os.waitstatus_to_exitcode(status)}")


def _tell(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def _bear(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        _live(order)
    with suppress(PermissionError):  # it has already become its own group's leader
        os.setpgid(pid, pid)
    _tell(f"born {pid}")
    return pid


def _live(order: dict[str, Any]) -> NoReturn:
    from batch_runner.cli import entry  # noqa: PLC0415 - see ``serve``

    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    said = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for descriptor, here in ((null, 0), (null, 1), (said, 2)):
        os.dup2(descriptor, here)
    os.closerange(3, 64)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environ"])
    sys.argv = ["batch_runner", *order["argv"]]
    entry()
    raise SystemExit(0)


if __name__ == "__main__":
    serve()
