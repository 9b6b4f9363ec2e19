"""Plays one crash: the program as a process, killed as its steps say, started again, and judged."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from crash_nursery import Nursery
from crash_oracle import (
    BATCH,
    MAX_CONCURRENT,
    changes,
    end_wrongs,
    file_wrongs,
    fingerprint,
    litter,
    payment_wrongs,
    secret_wrongs,
    tasks_by_item,
)
from crash_proxy import Cut, KillingProxy
from crash_steps import After, Lose, Step, Syscall
from crash_trace import Call, Made, died_at, read

import batch_runner
from batch_runner.clock import SystemClock
from batch_runner.sandbox import Sandbox, WorldConfig
from batch_runner.service import sandbox_price

SPEED = 100.0
"""The model of the manifest takes some 40 s; so a task takes about 0.4 s."""
_GIVE_UP_S = 90.0
_RUNS_TO_THE_END = 3
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(batch_runner.__file__).parents[1])}
_STRACE = ("strace", "-f", "-qq", "-o")


@dataclass
class Verdict:
    """How one crash went.

    ``submitted`` and ``in_flight`` count tasks on the account before the last start; ``made`` are the calls of a
    traced start, and ``died_at`` the one it was killed on.
    """

    steps: tuple[Step, ...]
    kills: int = 0
    wrongs: list[str] = field(default_factory=list)
    submitted: int = 0
    in_flight: int = 0
    recovery_requests: int = 0
    made: list[Made] = field(default_factory=list)
    died_at: Call | None = None
    words: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        steps = "; ".join(str(step) for step in self.steps)
        return "\n".join(
            [f"[{steps}]", *(f"    {wrong}" for wrong in self.wrongs), *(f"    | {w}" for w in self.words)]
        )


def manifest_lines(count: int) -> list[dict[str, Any]]:
    """Lines of different prices, whose tasks are quick."""
    modes = ("std", "pro", "std")
    return [
        {"id": f"item{n}", "prompt": f"wave {n}", "model_name": "kling-v2-5-turbo", "mode": modes[n % 3]}
        for n in range(count)
    ]


class Scene:
    """One account behind one proxy, one manifest, one output folder; starts the program as often as asked.

    Args:
        folder: a folder of its own, not there yet.
        items: lines of the manifest.
        config: the account; by default fast tasks and room for more of them than the program may have.
        options: further arguments for the program.
        spare: credits that the budget has beyond what the lines cost together.
        nursery: bears the processes; without one each is a fresh ``python -m batch_runner``, as it always is
            where its system calls are traced.
    """

    def __init__(
        self,
        folder: Path,
        items: int = 3,
        config: WorldConfig | None = None,
        options: Sequence[str] = (),
        spare: int = 0,
        nursery: Nursery | None = None,
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._nursery = nursery
        self.output_dir = folder / "out"
        self.item_ids = [line["id"] for line in manifest_lines(items)]
        self.sandbox = Sandbox(
            config or WorldConfig(speed=SPEED, max_concurrent=MAX_CONCURRENT + 2),
            clock=SystemClock(),
            price=sandbox_price,
        )
        self.said = ""
        self._options = options
        self._budget = spare + sum(sandbox_price("text2video", line) for line in manifest_lines(items))
        self._manifest = folder / f"{BATCH}.jsonl"
        lines = [json.dumps(line) + "\n" for line in manifest_lines(items)]
        self._manifest.write_text("".join(lines), encoding="utf-8")

    async def __aenter__(self) -> Self:
        await self.sandbox.__aenter__()
        self.proxy = KillingProxy(urlsplit(self.sandbox.base_url).port or 0)
        await self.proxy.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.proxy.__aexit__()
        await self.sandbox.__aexit__(None, None, None)

    async def start(self, step: Cut | Syscall | After | None = None) -> int:
        """Run the program to its end or its death; returns its exit code, negative when it was killed.

        Raises:
            TimeoutError: it neither ended nor died.
        """
        born: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.proxy.arm(
            step if isinstance(step, Cut) else None,
            lambda: born.add_done_callback(lambda found: killer(found.result())()),  # at once, where it is known
        )
        said_path = self.folder / "said"
        pid, end = await self._bear(step, said_path)
        born.set_result(pid)
        timer = asyncio.ensure_future(self._kill_later(step if isinstance(step, After) else After(_GIVE_UP_S), pid))
        try:
            code = await end
        finally:
            timer.cancel()
        self.said = said_path.read_text(encoding="utf-8", errors="replace")
        if timer.done() and not timer.cancelled() and not isinstance(step, After):
            raise TimeoutError(f"the program was still running after {_GIVE_UP_S} s")
        return code

    async def _kill_later(self, moment: After, pid: int) -> None:
        if moment.is_at_work:
            with suppress(TimeoutError):
                async with asyncio.timeout(_GIVE_UP_S):
                    await self.proxy.asked.wait()
        await asyncio.sleep(moment.seconds)
        killer(pid)()

    async def _bear(self, step: Cut | Syscall | After | None, said_path: Path) -> tuple[int, asyncio.Future[int]]:
        """Its process id, and its exit code to come."""
        if self._nursery is not None and not isinstance(step, Syscall):
            return await self._nursery.start(self._arguments(), self._environment(), self.folder, said_path)
        tracer = self._strace(step) if isinstance(step, Syscall) else []
        with said_path.open("wb") as said:
            process = await asyncio.create_subprocess_exec(
                *(*tracer, sys.executable, "-m", "batch_runner", *self._arguments()),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                env=self._environment(),
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
        return process.pid, asyncio.ensure_future(process.wait())

    def _arguments(self) -> list[str]:
        base_url = f"http://127.0.0.1:{self.proxy.port}"
        program = ["run", str(self._manifest), "--base-url", base_url]
        limits = ["--rpm", "0", "--max-concurrent", str(MAX_CONCURRENT), "--task-settle", "2"]
        limits += ["--budget", str(self._budget)]
        return [*program, "--output-dir", str(self.output_dir), "--quiet", *limits, *self._options]

    def _strace(self, step: Syscall) -> list[str]:
        where = [] if step.path is None else ["-P", str(self.output_dir / step.path)]
        inject = f"inject={step.name}:{step.effect}:when={step.number}"
        return [*_STRACE, str(self.folder / "trace"), "-y", "-e", f"trace={step.name}", "-e", inject, *where]

    def _environment(self) -> dict[str, str]:
        return {
            **ENVIRONMENT,
            "HOME": str(self.folder),
            "KLING_ACCESS_KEY": self.sandbox.access_key,
            "KLING_SECRET_KEY": self.sandbox.secret_key,
        }

    def wrongs_now(self) -> list[str]:
        """What may be asked after any kill."""
        tasks = tasks_by_item(self.sandbox, self.item_ids)
        keys = (self.sandbox.access_key, self.sandbox.secret_key)
        secrets = secret_wrongs(self.output_dir, self.said, keys)
        return [*payment_wrongs(tasks), *file_wrongs(self.output_dir / BATCH, tasks), *secrets]

    def wrongs_at_the_end(self) -> list[str]:
        """What must hold when all is quiet."""
        tasks = tasks_by_item(self.sandbox, self.item_ids)
        wrongs = end_wrongs(self.output_dir / BATCH, self.sandbox, tasks)
        return [*self.wrongs_now(), *wrongs, *litter(self.output_dir, self.item_ids)]

    def lose(self, loss: Lose) -> None:
        for pattern in loss.patterns:
            for path in self.output_dir.glob(pattern):
                path.unlink()


def killer(pid: int) -> Callable[[], None]:
    """Kills the process and everything it started (a tracer dies with what it traces)."""
    assert pid > 1, "a group of its own"

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)

    return kill


async def play(
    folder: Path,
    steps: Sequence[Step],
    *,
    items: int = 3,
    config: WorldConfig | None = None,
    options: Sequence[str] = (),
    spare: int = 0,
    to_the_end: Callable[[Scene], Iterable[str]] = Scene.wrongs_at_the_end,
    nursery: Nursery | None = None,
) -> Verdict:
    """Kill as the steps say, then run to the end, then once more for nothing."""
    verdict = Verdict(tuple(steps))
    async with Scene(folder, items, config, options, spare, nursery) as scene:
        try:
            await _kill_all(scene, verdict)
            await _end(scene, verdict)
            verdict.wrongs += to_the_end(scene)
            await _run_for_nothing(scene, verdict)
        except (TimeoutError, OSError, ValueError, KeyError) as error:
            verdict.wrongs.append(f"HUNG OR UNREADABLE: {type(error).__name__}: {error}")
        if verdict.wrongs:
            verdict.words += scene.said.splitlines()[-8:]
    if not verdict.wrongs:
        shutil.rmtree(folder)
    return verdict


async def _kill_all(scene: Scene, verdict: Verdict) -> None:
    for step in verdict.steps:
        if isinstance(step, Lose):
            scene.lose(step)
            continue
        code = await scene.start(step)
        if code in {-signal.SIGKILL, 128 + signal.SIGKILL}:
            verdict.kills += 1
        elif code != 0:
            verdict.wrongs.append(f"EXIT: {code} from a start that was to be killed at {step}")
            verdict.words += scene.said.splitlines()[-8:]
        if isinstance(step, Syscall):
            verdict.made = read(scene.folder / "trace", scene.output_dir)
            verdict.died_at = died_at(verdict.made, step.number) if code < 0 else None
        verdict.wrongs += scene.wrongs_now()


async def _end(scene: Scene, verdict: Verdict) -> None:
    """The last start: it has to bring the batch to its end by itself, held-back requests included."""
    verdict.submitted = len(scene.sandbox.world.tasks)
    verdict.in_flight = scene.sandbox.world.in_flight(SystemClock().wall_s())
    code = await scene.start()
    verdict.recovery_requests = sum(count for kind, count in scene.proxy.seen.items() if kind != "download")
    if code != 0:
        verdict.wrongs.append(f"EXIT: {code} from the recovery")
    await scene.proxy.settled()
    for _ in range(_RUNS_TO_THE_END - 1):
        if code == 0:
            return
        code = await scene.start()


async def _run_for_nothing(scene: Scene, verdict: Verdict) -> None:
    before = fingerprint(scene.output_dir)
    code = await scene.start()
    if code != 0 or scene.proxy.seen:
        verdict.wrongs.append(f"RERUN: exit code {code}, requests {dict(scene.proxy.seen)}")
    verdict.wrongs += changes(before, fingerprint(scene.output_dir))


async def play_all(
    folder: Path, crashes: Sequence[Sequence[Step]], *, at_once: int = 2, items: int = 3
) -> list[Verdict]:
    """Every crash in a world of its own, a few at a time."""
    room = asyncio.Semaphore(at_once)

    async def one(number: int, steps: Sequence[Step]) -> Verdict:
        async with room:
            return await play(folder / str(number), steps, items=items, nursery=nursery)

    async with Nursery(ENVIRONMENT) as nursery:
        return await asyncio.gather(*(one(number, steps) for number, steps in enumerate(crashes)))


def strace_trouble() -> str | None:
    """Why this machine cannot trace system calls, or None when it can."""
    try:
        done = subprocess.run([*_STRACE, os.devnull, "-e", "trace=write", "true"], capture_output=True, check=False)
    except OSError as error:
        return f"strace does not start: {error.strerror}"
    return None if done.returncode == 0 else f"strace cannot trace here: {done.stderr.decode(errors='replace').strip()}"
