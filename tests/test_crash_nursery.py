"""A program that was forked from one that has imported it is like a fresh one."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crash_kit
import pytest
from crash_kit import ENVIRONMENT, Scene
from crash_nursery import Nursery
from crash_proxy import Cut, Place

_NUMBER = re.compile(r"\d+")
_SAME_LINES = ("Umask:", "SigBlk:", "SigIgn:", "SigCgt:", "NoNewPrivs:", "Seccomp:")


def seen_from_outside(pid: int, folder: Path) -> dict[str, Any]:
    """What a process was given and has made of it: folder, signals, limits, open files, group, terminal."""
    proc = Path(f"/proc/{pid}")
    stat = proc.joinpath("stat").read_text().rpartition(")")[2].split()
    opened = {str(path.readlink()).replace(str(folder), "F") for path in proc.joinpath("fd").iterdir()}
    kept = [name for name in opened if not name.startswith("/proc/")]  # which it reads now and then, for a moment
    return {
        "status": [line for line in proc.joinpath("status").read_text().splitlines() if line.startswith(_SAME_LINES)],
        "limits": proc.joinpath("limits").read_text(),
        "open files": sorted({_NUMBER.sub("#", name) for name in kept}),
        "standard": [str(proc.joinpath("fd", str(number)).readlink()).replace(str(folder), "F") for number in range(3)],
        "folder": str(proc.joinpath("cwd").readlink()).replace(str(folder), "F"),
        "leads its group": int(stat[2]) == pid,
        "terminal": stat[4],
        "niceness": stat[16],
    }


def test_in_the_middle_of_a_run_a_forked_program_is_like_a_fresh_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at where it waits for the answer to its first submission, then killed there."""
    seen = []
    real = crash_kit.killer

    async def look(name: str, nursery: Nursery | None) -> None:
        async with Scene(tmp_path / name, nursery=nursery) as scene:

            def looking(pid: int) -> Callable[[], None]:
                def kill() -> None:
                    seen.append(seen_from_outside(pid, scene.folder))
                    real(pid)()

                return kill

            monkeypatch.setattr(crash_kit, "killer", looking)
            assert await scene.start(Cut("submit", 1, Place.ANSWERED)) == -signal.SIGKILL

    async def both() -> None:
        async with Nursery(ENVIRONMENT) as nursery:
            await look("forked", nursery)
        await look("fresh", None)

    asyncio.run(both())
    forked, fresh = seen
    assert forked == fresh
    assert "F/out/state.db-wal" in forked["open files"]
    assert forked["leads its group"]


PROBE = """
import os, random, signal, sys, threading
print(sys.argv[1:], sorted(os.environ.items()), sys.path, os.getcwd(), sys.flags, sys.stdout.encoding,
      sys.stdout.line_buffering, sys.stderr.line_buffering, threading.active_count(), file=sys.stderr)
print([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)],
      signal.set_wakeup_fd(-1), os.listdir("/proc/self/fd"), file=sys.stderr)
"""


def test_what_the_program_finds_when_it_begins_is_the_same(tmp_path: Path) -> None:
    """A stand-in for the program that tells what it finds."""
    package = tmp_path / "stand-in" / "batch_runner"
    package.mkdir(parents=True)
    package.joinpath("__init__.py").touch()
    package.joinpath("__main__.py").write_text("from batch_runner.cli import entry\nentry()\n")
    told = "".join(f"    {line}\n" for line in PROBE.strip().splitlines())
    package.joinpath("cli.py").write_text(f"def entry():\n{told}    sys.exit(7)\n")
    package.joinpath("commands.py").write_text("def run(): ...\ndef sandbox(): ...\n")
    said_path = tmp_path / "said"
    environment = {**ENVIRONMENT, "PYTHONPATH": str(package.parent)}
    own, arguments = {**environment, "HOME": "/there"}, ["run", "a b", "--quiet"]

    async def forked() -> int:
        async with Nursery(environment) as nursery:
            _, end = await nursery.start(arguments, own, tmp_path, said_path)
            return await end

    assert asyncio.run(forked()) == 7
    fresh = subprocess.run(
        [sys.executable, "-m", "batch_runner", *arguments],
        cwd=tmp_path,
        env=own,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert fresh.returncode == 7
    assert said_path.read_text() == fresh.stderr
    assert "/there" in fresh.stderr


def test_who_waits_for_a_nursery_that_is_gone_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with Scene(tmp_path / "scene") as scene, Nursery(ENVIRONMENT) as nursery:
            arguments = ["sandbox", "--port", "0"]
            pid, end = await nursery.start(arguments, ENVIRONMENT, scene.folder, scene.folder / "said")
            nursery._process.kill()
            with pytest.raises(ChildProcessError):
                await end
            with pytest.raises(ChildProcessError):
                await nursery.start(arguments, ENVIRONMENT, scene.folder, scene.folder / "said")
            os.killpg(pid, signal.SIGKILL)

    asyncio.run(main())
