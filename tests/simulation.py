"""The whole program under virtual time: real runner, store, client, sockets and sandbox, faults and deaths from a seed.

A death is exact: what the disk holds at that moment is what the next run finds, whatever the dying program still
does. The sandbox lives on, and its books are the oracle.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from seeded_loop import SeededLoop
from simulated_disk import MACHINE, Durable, Tree
from simulated_film import digest, small_film
from simulated_sqlite import can_watch
from simulation_audit import audit
from simulation_books import BatchBooks
from simulation_life import DiskFault, Life, MachineClock, PowerCut, mortal
from simulation_scenario import Scenario

from batch_runner import api
from batch_runner.manifest import Format, Manifest, Source
from batch_runner.media import inspect
from batch_runner.model import Item
from batch_runner.records import SummaryRecord
from batch_runner.runner import Halt
from batch_runner.sandbox import Sandbox, SandboxTask
from batch_runner.sandbox.results import files
from batch_runner.service import sandbox_price
from batch_runner.settings import resolve
from batch_runner.virtual_time import VirtualClock, VirtualTimeLoop

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
        starving: what fills the disk up and makes room again, of every story that is told here.
        was_low: the disk was short of room at some time of the newest run.
        has_lost: there was a ``state.db`` that is no more.
        budget_was_lowered: below what may have been spent or held already.
        environ: the account's keys, as the program finds them.
        settings_path: the settings file, if there is one.
        batch: the one that is run and audited now.
        batches: all that live in the output folder.
        spoiled: what stood in finished files that somebody harmed, by their path below the output folder.
    """

    def __init__(self, scenario: Scenario, folder: Path, sandbox: Sandbox, clock: VirtualClock) -> None:
        self.scenario = scenario
        self.folder = folder
        self.output_dir = folder / "outputs"
        self.batch = BatchBooks("batch", folder / "batch.jsonl")
        self.batches = [self.batch]
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
        self.starving = list[asyncio.Future[None]]()
        self.life: Life | None = None
        self.failed: Counter[str] = Counter()
        self.shares_rate = self.is_damaged = self.has_lost = self.budget_was_lowered = self.was_low = False
        self.environ = {"KLING_ACCESS_KEY": sandbox.access_key, "KLING_SECRET_KEY": sandbox.secret_key}
        self.settings_path: Path | None = None
        self.spoiled: dict[str, bytes] = {}
        self.manifest.write_text("".join(line + "\n" for line in scenario.manifest_lines()), encoding="utf-8")

    @property
    def manifest(self) -> Path:
        """Of the batch that is run now."""
        return self.batch.manifest

    @property
    def batch_dir(self) -> Path:
        """The folder of its files."""
        return self.output_dir / self.batch.name

    def dice(self, what: str) -> random.Random:
        """Dice for something about the batch, of its own, as the seed has them."""
        return random.Random(f"{what} {self.scenario.seed}{self.batch.dice}")

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

    def lose_store(self) -> None:
        """Somebody removes ``state.db`` and its logs."""
        for path in self.output_dir.glob("state.db*"):
            path.unlink()

    def items(self) -> list[Item]:
        """The items of the manifest as it is now."""
        return list(Manifest(Source(self.manifest, Format.JSONL), inspect).items())

    def results(self) -> list[dict[str, Any]]:
        return _json_lines(self.batch_dir / "results.jsonl")

    def ledger(self) -> list[dict[str, Any]]:
        return _json_lines(self.batch_dir / "ledger.jsonl")

    @property
    def exchanges(self) -> bool:
        """Whether answers are exchanged on the way: one that is the result itself bears no name of ours."""
        return self.scenario.faults.other_answer > 0

    @property
    def tasks(self) -> list[SandboxTask]:
        """The account's tasks that are this batch's."""
        return [task for task in self.world.tasks if self.batch.item_of(task) is not None]

    @property
    def tasks_of_all(self) -> list[SandboxTask]:
        """Those that are any batch's of the output folder."""
        return [task for task in self.world.tasks if any(batch.item_of(task) for batch in self.batches)]

    def asset_digests(self, task: SandboxTask) -> list[str]:
        """The SHA-256 of each file that the sandbox hands out for a task."""
        if task.task_id not in self._digests:
            self._digests[task.task_id] = [digest(self.sandbox.film(file)) for file in files(task)]
        return self._digests[task.task_id]

    def tree(self) -> dict[str, bytes]:
        """Every file below the output folder, and its bytes."""
        tree = Tree.read(self.output_dir)
        return {name: tree.content[inode] for name, inode in tree.names.items()}


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


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
        with mortal(simulation):
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
