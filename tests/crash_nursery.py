"""Bears processes of the program quickly: imports it once, then forks one for each start.

Run as a script it obeys lines of JSON on standard input, one a start; ``Nursery`` is its other end. What is born has
the arguments, environment, folder, descriptors and signals of a fresh ``python -m batch_runner``
(``test_crash_nursery`` compares them) and dies of the same signals.
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
    """Enter it to use it; leaving it ends it and whatever it still has.

    Args:
        environment: what every process has, and the interpreter itself looks at.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._births: list[asyncio.Future[int]] = []

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(__file__))),
            env=dict(self._environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # no terminal, as for a program that is started directly
        )
        self._listening = asyncio.ensure_future(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._listening
        await self._process.wait()

    async def start(
        self, argv: Sequence[str], environment: Mapping[str, str], folder: Path, said_path: Path
    ) -> tuple[int, asyncio.Future[int]]:
        """A new process's id, and its exit code to come, negative for a signal; it speaks to ``said_path``.

        ``environment`` is added to the nursery's own.

        Raises:
            ChildProcessError: the nursery is gone.
        """
        assert self._process.stdin is not None
        order = {"argv": list(argv), "environ": dict(environment), "folder": str(folder), "said": str(said_path)}
        birth: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._births.append(birth)
        if self._listening.done():
            self._mourn()
        else:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
        pid = await birth
        return pid, self._ends[pid]

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            word, pid, *code = line.split()
            if word == b"born":
                self._ends[int(pid)] = asyncio.get_running_loop().create_future()
                self._births.pop(0).set_result(int(pid))
            else:
                self._ends[int(pid)].set_result(int(code[0]))
        self._mourn()

    def _mourn(self) -> None:
        """Nobody waits for ever for a nursery that is gone."""
        for future in [*self._births, *self._ends.values()]:
            if not future.done():
                future.set_exception(ChildProcessError("the nursery of the program is gone"))
                future.exception()  # who waits gets it; who does not, need not hear of it
        self._births.clear()


def serve() -> None:
    """Obey until standard input ends, then kill what is left."""
    _become_like_the_program()
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
            os.killpg(pid, signal.SIGKILL)


def _become_like_the_program() -> None:
    import batch_runner.cli  # noqa: F401, PLC0415 - here, so that the other end need not pay for it
    from batch_runner import commands  # noqa: PLC0415

    commands.run()
    commands.sandbox()

    threads, descriptors = (list(Path("/proc/self", name).iterdir()) for name in ("task", "fd"))
    assert len(threads) == 1, "an import began a thread, which no fork would have"
    assert len(descriptors) == 4, "an import opened a file, which all forks would share"  # 0, 1, 2 and this look


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
    os.setpgid(pid, pid)  # before anybody knows the number: what kills it kills its group
    _tell(f"born {pid}")
    return pid


def _live(order: dict[str, Any]) -> NoReturn:
    from batch_runner.cli import entry  # noqa: PLC0415 - see ``_become_like_the_program``

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    null = os.open(os.devnull, os.O_RDWR)
    said = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for descriptor, here in ((null, 0), (null, 1), (said, 2)):
        os.dup2(descriptor, here)
    os.closerange(3, said + 1)
    os.chdir(order["folder"])
    os.environ.update(order["environ"])
    sys.argv = ["batch_runner", *order["argv"]]
    sys.path[0] = order["folder"]  # as with ``-m``; it was the folder of this script
    entry()
    raise AssertionError("unreachable: it exits")


if __name__ == "__main__":
    serve()
