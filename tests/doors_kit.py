"""What the tests of the doors share: the program as a process or in this one, a served sandbox, README's blocks."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch_runner import cli
from batch_runner.clock import SystemClock
from batch_runner.sandbox import FaultPlan, Sandbox, WorldConfig
from batch_runner.service import sandbox_price

ROOT = Path(__file__).parents[1]
FAST = ("--sandbox", "--sandbox-speed", "500", "--rpm", "0")
KEYS = {"KLING_ACCESS_KEY": "a" * 32, "KLING_SECRET_KEY": "s" * 32}
_OURS = ("KLING_", "BATCH_RUNNER_")


@dataclass(frozen=True)
class Ended:
    """How one start of the program ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON object and nothing else."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


def clean_environ(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment without keys and settings, with an empty home, and with Python's own streams as users have them.

    Unbuffered ones hide what Python does on leaving with a line that nobody took.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith((*_OURS, "PYTHONUNBUFFERED"))}
    return {**kept, "HOME": str(home), **(extra or {})}


def process_args(*args: str) -> list[str]:
    return [sys.executable, "-m", "batch_runner", *args]


def run_process(cwd: Path, *args: str, env: Mapping[str, str] | None = None) -> Ended:
    """The program as a process of its own."""
    done = subprocess.run(process_args(*args), cwd=cwd, env=clean_environ(cwd, env), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def run_here(*args: str) -> Ended:
    """The program in this process, with the environment and the folder as they are."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.main(list(args))
    return Ended(int(code), out.getvalue(), err.getvalue())


def write_manifest(path: Path, items: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return path


def few(count: int) -> list[dict[str, Any]]:
    """Cheap items with ids i0, i1, ..."""
    return [{"id": f"i{number}", "prompt": f"a paper boat, take {number}"} for number in range(count)]


class Trap:
    """An address that must never be asked."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def was_asked(self) -> bool:
        """Whether anybody has connected."""
        try:
            connection, _ = self._socket.accept()
        except BlockingIOError:
            return False
        connection.close()
        return True

    def close(self) -> None:
        self._socket.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def served_sandbox(
    *,
    speed: float = 500,
    access_key: str = "a" * 32,
    secret_key: str = "s" * 32,
    faults: FaultPlan | None = None,
    config: WorldConfig | None = None,
) -> Iterator[Sandbox]:
    """A simulated service in a thread of its own, for programs that are handed its address."""
    ready, done = threading.Event(), threading.Event()
    sandbox = Sandbox(
        config or WorldConfig(speed=speed, max_concurrent=20),
        clock=SystemClock(),
        price=sandbox_price,
        fault_plan=faults,
        access_key=access_key,
        secret_key=secret_key,
    )

    async def serve() -> None:
        async with sandbox:
            ready.set()
            await asyncio.get_running_loop().run_in_executor(None, done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="sandbox")
    thread.start()
    try:
        assert ready.wait(30)
        yield sandbox
    finally:
        done.set()
        thread.join(30)


def until(is_so: Callable[[], object], seconds: float = 60.0) -> None:
    deadline_s = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline_s, "it did not come to pass"
        time.sleep(0.02)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: when it was written, and its bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(files)}


_BLOCK = re.compile(r"^(?:<!-- run: ([a-z-]+) -->\n)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block of README.md; ``name`` is empty where the marker is missing."""

    name: str
    language: str
    text: str


def readme_blocks() -> list[Block]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return [Block(*match.groups(default="")) for match in _BLOCK.finditer(text)]


def run_cells(cwd: Path, *cells: str, env: Mapping[str, str] | None = None) -> list[str]:
    """Run cells in a notebook kernel of this very Python; what each of them printed. Raises if one of them does."""
    specs = cwd / ".jupyter/kernels/here"
    specs.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (specs / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "here", "language": "python"}))
    (cwd / "cells.json").write_text(json.dumps(cells))
    environ = clean_environ(
        cwd, {"JUPYTER_PATH": str(cwd / ".jupyter"), "IPYTHONDIR": str(cwd / ".ipython"), **(env or {})}
    )
    kit = str(Path(__file__).with_name("notebook_kit.py"))
    done = subprocess.run([sys.executable, kit], cwd=cwd, env=environ, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=180, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert isinstance(printed, list)
    return printed
