"""The whole program under virtual time: real runner, store, client, sockets and sandbox, faults and deaths from a seed.

A death is exact: what the disk holds at that moment is what the next run finds, whatever the dying program still
does. The sandbox lives on, and its books are the oracle.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from seeded_loop import SeededLoop
from simulated_disk import MACHINE, Durable, SimulatedDisk, Tree
from simulated_film import digest, small_film
from simulated_sqlite import can_watch
from simulation_audit import audit
from simulation_books import item_by_name
from simulation_life import DiskFault, Life, MachineClock, MortalStore, PowerCut, before_job

from batch_runner import api, launch
from batch_runner.manifest import Format, Manifest, Source
from batch_runner.media import inspect
from batch_runner.model import Item
from batch_runner.records import SummaryRecord
from batch_runner.runner import Halt
from batch_runner.sandbox import FaultPlan, Sandbox, SandboxTask, WorldConfig
from batch_runner.sandbox.results import files
from batch_runner.service import sandbox_price
from batch_runner.settings import resolve
from batch_runner.virtual_time import SETTLE_S, VirtualClock, VirtualTimeLoop

__all__ = [
    "DiskFault",
    "Life",
    "MachineClock",
    "PowerCut",
    "Scenario",
    "Simulation",
    "audit",
    "runner_of",
    "simulate",
    "simulated",
]

T = TypeVar("T")


@dataclass(frozen=True)
class Scenario:
    """One simulated batch.

    With ``threads``, executor jobs run in real ones, as they come. With ``watches_sqlite`` a run can also die, and
    calls can fail, inside a transaction, and a power cut takes from ``state.db`` too what was not fsynced.
    """

    seed: int = 0
    items: int = 6
    slots: int = 3
    rpm: int = 60
    world: WorldConfig = field(default_factory=WorldConfig)
    faults: FaultPlan = field(default_factory=FaultPlan)
    options: Mapping[str, object] = field(default_factory=dict)
    lines: tuple[str, ...] | None = None
    threads: bool = False
    webhook_secrets: tuple[str, ...] = ()
    settle_s: float = SETTLE_S
    watches_sqlite: bool = False


class Simulation:
    """An account, an output folder, and any number of runs on them.

    Attributes:
        clock: the sandbox's, which is right.
        machine_clock: the program's.
        died: runs that were killed or lost their power.
        life: the newest run.
        failed: disk calls that failed on purpose, over all runs.
        shares_rate: other programs make requests on the account too.
        is_damaged: somebody harmed ``state.db``.
        has_lost: there was a ``state.db`` that is no more.
        budget_was_lowered: below what may have been spent or held already.
        environ: the account's keys, as the program finds them.
        settings_path: the settings file, if there is one.
        item_of: which item a task of the account was made for (see ``simulation_books``).
        uncertain: items that are made once, or cost what they say, only as far as their answers are heard.
        repeats: runs in which the user gave the word to make calls again whose answer was lost.
        spoiled: what stood in finished files that somebody harmed, by their path below the output folder.
    """

    def __init__(self, scenario: Scenario, folder: Path, sandbox: Sandbox, clock: VirtualClock) -> None:
        self.scenario = scenario
        self.folder = folder
        self.output_dir = folder / "outputs"
        self.manifest = folder / "batch.jsonl"
        self.sandbox = sandbox
        self.world = sandbox.world
        self.clock = clock
        self.machine_clock = MachineClock(clock)
        trusted = () if scenario.watches_sqlite and can_watch() else ("state.db", ".lock")
        self.durable = Durable(self.output_dir, trusted)
        self.events: list[Any] = []
        self._digests: dict[str, list[str]] = {}
        self.died = 0
        self.free_bytes = 10**12
        self.life: Life | None = None
        self.failed: Counter[str] = Counter()
        self.shares_rate = self.is_damaged = self.has_lost = self.budget_was_lowered = False
        self.environ = {"KLING_ACCESS_KEY": sandbox.access_key, "KLING_SECRET_KEY": sandbox.secret_key}
        self.settings_path: Path | None = None
        self.item_of: Callable[[SandboxTask], str | None] = item_by_name
        self.uncertain: set[str] = set()
        self.repeats = 0
        self.spoiled: dict[str, bytes] = {}
        self.manifest.write_text("".join(line + "\n" for line in self._lines()), encoding="utf-8")

    def _lines(self) -> list[str]:
        if self.scenario.lines is not None:
            return list(self.scenario.lines)
        dice = random.Random(f"lines {self.scenario.seed}")
        lines = []
        for number in range(self.scenario.items):
            line = {"id": f"item-{number}", "prompt": f"scene {number}", **dice.choice(_KINDS)}
            if dice.random() < 0.1:
                line["priority"] = dice.randrange(3)
            lines.append(json.dumps(line))
        return lines

    async def run(
        self,
        die_at: int | None = None,
        *,
        die_after_s: float | None = None,
        die_before_sync: int | None = None,
        power_cut: PowerCut | None = None,
        fault: DiskFault | None = None,
        environ: Mapping[str, str] | None = None,
        halt: Halt | None = None,
        **options: object,
    ) -> SummaryRecord | None:
        """One start of the program; None when it died by SIGKILL or for want of power.

        It dies at a moment, after some time, or right before it makes something durable for the so many-th time.
        """
        flags = {
            "output_dir": str(self.output_dir),
            "max_concurrent": self.scenario.slots,
            "rpm": self.scenario.rpm,
            "base_url": self.sandbox.base_url,
            **self.scenario.options,
            **options,
        }
        program = api.run_settings(
            self.manifest,
            resolve(flags, {}, self.settings_path),
            environ=self.environ if environ is None else environ,
            halt=halt,
            observer=self.events.append,
            clock=self.machine_clock,
            free_bytes=lambda _: self.free_bytes,
            rng=random.Random(f"jitter {self.scenario.seed}"),
        )
        life = Life(die_at, self._burial(power_cut), fault, die_before_sync)
        return await self._lived(life, program, power_cut, die_after_s)

    def _burial(self, power_cut: PowerCut | None) -> Callable[[], Tree]:
        """What reads from the disk what a death leaves on it."""
        if power_cut is None:
            return partial(Tree.read, self.output_dir)
        dice = random.Random(f"cut {self.scenario.seed} {self.died}") if power_cut == "mixed" else None
        return partial(self.durable.after_power_cut, dice)

    async def _lived(
        self, life: Life, program: Coroutine[Any, Any, T], power_cut: PowerCut | None, die_after_s: float | None = None
    ) -> T | None:
        self.life, timer = life, None
        if die_after_s is not None:
            timer = asyncio.get_running_loop().call_later(die_after_s, life.end)
        try:
            return await self._alive(life, program)
        finally:
            if timer is not None:
                timer.cancel()
            self.failed += life.failed
            if life.remains is not None:
                self._bury(life, life.remains, had_power=power_cut is None)

    async def _alive(self, life: Life, program: Coroutine[Any, Any, T]) -> T | None:
        """The program's result, or None when it died. It alone sees its life; the sandbox and the test do not."""
        token = MACHINE.set(life)
        work = asyncio.ensure_future(program)
        MACHINE.reset(token)
        death = asyncio.ensure_future(life.over.wait())
        await asyncio.wait({work, death}, return_when=asyncio.FIRST_COMPLETED)
        for task in (work, death):
            task.cancel()
        await asyncio.gather(work, death, return_exceptions=True)
        return None if life.over.is_set() else work.result()

    def _bury(self, life: Life, remains: Tree, *, had_power: bool) -> None:
        """Undo what the dead program did to the disk on its way out."""
        self.died += 1
        for connection in life.connections:
            connection.close()
        numbers = remains.write(self.output_dir)
        if had_power:
            self.durable.rewritten(numbers)
        else:
            self.durable.settled()
            self.machine_clock.boots += 1
            self.machine_clock.booted_at_s = self.clock.uptime_s()

    async def repair(self) -> dict[str, str]:
        """``verify --repair`` on the account as it is."""
        reasons = await self.mortal_repair(None)
        assert reasons is not None
        return reasons

    async def mortal_repair(
        self, die_at: int | None = None, *, power_cut: PowerCut | None = None, fault: DiskFault | None = None
    ) -> dict[str, str] | None:
        """The same; None when it died at a moment, by SIGKILL or for want of power."""
        flags = {"output_dir": str(self.output_dir), "base_url": self.sandbox.base_url, "rpm": self.scenario.rpm}
        program = api.repair_settings(
            self.manifest,
            resolve(flags, {}, self.settings_path),
            environ=self.environ,
            clock=self.machine_clock,
            rng=random.Random(f"jitter of repairs {self.scenario.seed}"),
        )
        return await self._lived(Life(die_at, self._burial(power_cut), fault), program, power_cut)

    def items(self) -> list[Item]:
        """The items of the manifest as it is now."""
        return list(Manifest(Source(self.manifest, Format.JSONL), inspect).items())

    def results(self) -> list[dict[str, Any]]:
        return _json_lines(self.output_dir / "batch" / "results.jsonl")

    def ledger(self) -> list[dict[str, Any]]:
        return _json_lines(self.output_dir / "batch" / "ledger.jsonl")

    @property
    def exchanges(self) -> bool:
        """Whether answers are exchanged on the way: one that is the result itself bears no name of ours."""
        return self.scenario.faults.other_answer > 0

    @property
    def tasks(self) -> list[SandboxTask]:
        """The account's tasks that are this batch's."""
        return [task for task in self.world.tasks if self.item_of(task) is not None]

    def asset_digests(self, task: SandboxTask) -> list[str]:
        """The SHA-256 of each file that the sandbox hands out for a task."""
        if task.task_id not in self._digests:
            self._digests[task.task_id] = [digest(self.sandbox.film(file)) for file in files(task)]
        return self._digests[task.task_id]

    def tree(self) -> dict[str, bytes]:
        """Every file below the output folder, and its bytes."""
        tree = Tree.read(self.output_dir)
        return {name: tree.content[inode] for name, inode in tree.names.items()}


_KINDS: tuple[dict[str, object], ...] = (
    {"model_name": "kling-v2-5-turbo", "duration": "5"},
    {"model_name": "kling-v2-6", "duration": "10"},
    {"model_name": "kling-v1", "mode": "pro"},
    {"model_name": "kling-v3", "duration": 3, "aspect_ratio": "9:16"},
)


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@contextmanager
def _mortal(simulation: Simulation) -> Iterator[None]:
    """Let runs die around every transaction, disk call and job, when a request arrives and when a task is made."""
    world, loop = simulation.world, asyncio.get_running_loop()
    real_add, real_stamp = world.add, world.stamp

    def add(task: SandboxTask) -> None:
        real_add(task)
        if simulation.life is not None:
            simulation.life.pass_moment()

    def stamp(now_s: float) -> None:
        real_stamp(now_s)
        if simulation.life is not None:
            simulation.life.pass_moment()

    watches_sqlite = simulation.scenario.watches_sqlite
    disk = SimulatedDisk(simulation.output_dir, simulation.durable, watches_sqlite=watches_sqlite)
    with pytest.MonkeyPatch.context() as patch, disk.between():
        patch.setattr(launch, "SqliteStore", MortalStore)
        patch.setattr(world, "add", add)
        patch.setattr(world, "stamp", stamp)
        if isinstance(loop, SeededLoop):
            patch.setattr(loop, "before_job", before_job)
        yield


@asynccontextmanager
async def simulated(scenario: Scenario, folder: Path) -> AsyncIterator[Simulation]:
    """A simulation for the length of a block, on a loop of ``runner_of``."""
    clock = VirtualClock(asyncio.get_running_loop())
    sandbox = Sandbox(
        scenario.world,
        clock=clock,
        price=sandbox_price,
        fault_plan=scenario.faults,
        film=small_film,
        webhook_secrets=scenario.webhook_secrets,
    )
    async with sandbox:
        simulation = Simulation(scenario, folder, sandbox, clock)
        with _mortal(simulation):
            yield simulation


def runner_of(scenario: Scenario) -> asyncio.Runner:
    """Runs coroutines one after another on one virtual-time loop, whose time and connections go on between them."""
    loop_of = VirtualTimeLoop if scenario.threads else partial(SeededLoop, scenario.seed, scenario.settle_s)
    return asyncio.Runner(loop_factory=loop_of)


def simulate(scenario: Scenario, folder: Path, work: Callable[[Simulation], Any]) -> Any:
    """Run ``work`` with a simulation under virtual time."""

    async def main() -> Any:
        async with simulated(scenario, folder) as simulation:
            return await work(simulation)

    with runner_of(scenario) as runner:
        return runner.run(main())
