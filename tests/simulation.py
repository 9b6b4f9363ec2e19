"""The whole program under virtual time: real runner, store, client, sockets and sandbox, faults and deaths from a seed.

A death is a switch: from that moment on nothing of the run reaches the store, the folder or the network, as after
kill -9. The sandbox lives on, and its books are the oracle.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import pytest

from batch_runner import api, download
from batch_runner.manifest import Format, Manifest, Source
from batch_runner.media import inspect
from batch_runner.model import Item
from batch_runner.records import SummaryRecord
from batch_runner.runner import Halt, collector
from batch_runner.sandbox import FaultPlan, Sandbox, SandboxTask, WorldConfig
from batch_runner.sandbox.clips import ClipWish, render
from batch_runner.service import sandbox_price
from batch_runner.settings import resolve
from batch_runner.store import SqliteStore, StoreReader
from batch_runner.virtual_time import VirtualClock, VirtualTimeLoop

T = TypeVar("T")
P = ParamSpec("P")


class Life:
    """Counts the moments at which a run can die, and ends it at one of them."""

    def __init__(self, die_at: int | None = None) -> None:
        self.moments = 0
        self.over = asyncio.Event()
        self.is_buried = False
        self._die_at = die_at

    def moment(self) -> bool:
        """One more moment; whether the run is dead now."""
        self.moments += 1
        if self.moments == self._die_at:
            self.over.set()
        return self.over.is_set()

    async def live(self) -> None:
        """Go on, or never again."""
        if self.is_buried:
            raise asyncio.CancelledError
        if self.moment():
            await asyncio.Event().wait()


class MortalStore(SqliteStore):
    """The real store; a run may die right before or right after each of its transactions."""

    life: Life

    async def _do(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        life = MortalStore.life
        await life.live()
        result = await super()._do(work, *args, **kwargs)
        await life.live()
        return result


@dataclass(frozen=True)
class Scenario:
    """One simulated batch."""

    seed: int = 0
    items: int = 6
    slots: int = 3
    rpm: int = 60
    world: WorldConfig = field(default_factory=WorldConfig)
    faults: FaultPlan = field(default_factory=FaultPlan)
    options: Mapping[str, object] = field(default_factory=dict)
    lines: tuple[str, ...] | None = None


class Simulation:
    """An account, an output folder, and any number of runs on them."""

    def __init__(self, scenario: Scenario, folder: Path, sandbox: Sandbox, clock: VirtualClock) -> None:
        self.scenario = scenario
        self.folder = folder
        self.output_dir = folder / "outputs"
        self.manifest = folder / "batch.jsonl"
        self.sandbox = sandbox
        self.world = sandbox.world
        self.clock = clock
        self.events: list[Any] = []
        self.died = 0
        self.free_bytes = 10**12
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
        environ: Mapping[str, str] | None = None,
        halt: Halt | None = None,
        **options: object,
    ) -> SummaryRecord | None:
        """One start of the program; None when it died."""
        flags = {
            "output_dir": str(self.output_dir),
            "max_concurrent": self.scenario.slots,
            "rpm": self.scenario.rpm,
            "base_url": self.sandbox.base_url,
            **self.scenario.options,
            **options,
        }
        keys = {"KLING_ACCESS_KEY": self.sandbox.access_key, "KLING_SECRET_KEY": self.sandbox.secret_key}
        life = Life(die_at)
        with _mortal(life, self.world):
            work = asyncio.ensure_future(
                api.run_settings(
                    self.manifest,
                    resolve(flags, {}, None),
                    environ=keys if environ is None else environ,
                    halt=halt,
                    observer=self.events.append,
                    clock=self.clock,
                    free_bytes=lambda _: self.free_bytes,
                )
            )
            death = asyncio.ensure_future(life.over.wait())
            await asyncio.wait({work, death}, return_when=asyncio.FIRST_COMPLETED)
            self.moments = life.moments
            if not work.done():
                self.died += 1
                life.is_buried = True
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                return None
            death.cancel()
            await asyncio.gather(death, return_exceptions=True)
            return work.result()

    async def repair(self) -> dict[str, str]:
        """``verify --repair`` on the account as it is."""
        flags = {"output_dir": str(self.output_dir), "base_url": self.sandbox.base_url, "rpm": self.scenario.rpm}
        keys = {"KLING_ACCESS_KEY": self.sandbox.access_key, "KLING_SECRET_KEY": self.sandbox.secret_key}
        settings = resolve(flags, {}, None)
        return await api.repair_settings(self.manifest, settings, environ=keys, clock=self.clock)

    def items(self) -> list[Item]:
        """The items of the manifest as it is now."""
        return list(Manifest(Source(self.manifest, Format.JSONL), inspect).items())

    def results(self) -> list[dict[str, Any]]:
        return _json_lines(self.output_dir / "batch" / "results.jsonl")

    def ledger(self) -> list[dict[str, Any]]:
        return _json_lines(self.output_dir / "batch" / "ledger.jsonl")

    def whole_files(self) -> None:
        """Promise 3: whatever has a final name has the server's bytes."""
        right = {digest(clip(task)) for task in self.world.tasks if task.will_succeed}
        for path in self.output_dir.glob("batch/*.mp4"):
            assert digest(path.read_bytes()) in right, f"{path.name} is not whole"

    def tree(self) -> dict[str, bytes]:
        """Every file below the output folder, and its bytes."""
        return {str(path): path.read_bytes() for path in sorted(self.output_dir.rglob("*")) if path.is_file()}


_KINDS: tuple[dict[str, object], ...] = (
    {"model_name": "kling-v2-5-turbo", "duration": "5"},
    {"model_name": "kling-v2-6", "duration": "10"},
    {"model_name": "kling-v1", "mode": "pro"},
    {"model_name": "kling-v3", "duration": 3, "aspect_ratio": "9:16"},
)


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def clip(task: SandboxTask) -> bytes:
    return render(ClipWish(task.look, task.aspect, task.length_s))


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def _mortal(life: Life, world: Any) -> Iterator[None]:
    """Let the run die around every transaction, every final name, and every task the account makes."""
    with pytest.MonkeyPatch.context() as patch:
        MortalStore.life = life
        patch.setattr(api, "SqliteStore", MortalStore)
        real_publish, real_add = download.publish, type(world).add
        loop = asyncio.get_running_loop()

        def publish(part_path: Path, final_path: Path) -> None:
            if asyncio.run_coroutine_threadsafe(_moment(life), loop).result():
                return
            real_publish(part_path, final_path)
            asyncio.run_coroutine_threadsafe(_moment(life), loop).result()

        def add(task: SandboxTask) -> None:
            real_add(world, task)
            life.moment()

        patch.setattr(collector, "publish", publish)
        patch.setattr(world, "add", add)
        yield


async def _moment(life: Life) -> bool:
    return life.moment()


def simulate(scenario: Scenario, folder: Path, work: Callable[[Simulation], Any]) -> Any:
    """Run ``work`` with a simulation under virtual time; prints what replays it."""
    print(f"replay: {scenario}")  # noqa: T201 - the seed belongs into a failing test's output

    async def main() -> Any:
        clock = VirtualClock(asyncio.get_running_loop())
        sandbox = Sandbox(scenario.world, clock=clock, price=sandbox_price, fault_plan=scenario.faults)
        async with sandbox:
            return await work(Simulation(scenario, folder, sandbox, clock))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())


def audit(simulation: Simulation, summary: SummaryRecord) -> None:
    """Every promise that can be checked from outside once a batch is quiet."""
    world, scenario = simulation.world, simulation.scenario
    results, ledger = simulation.results(), simulation.ledger()
    _audit_payment(simulation)
    assert world.peak_in_flight <= scenario.slots, "promise 7: slots"
    if scenario.rpm:
        assert world.most_requests_in_window() <= scenario.rpm, "promise 7: requests"
    assert not world.refusals[1302], "no refusal for rate"
    _audit_ledger(ledger, summary)
    _audit_moves(simulation.output_dir / "state.db")
    if not summary.items.unknown and not summary.items.pending:
        consumed = sum((row.consumed for row in summary.credits.values()), Decimal(0))
        assert consumed == world.charged_total(simulation.clock.wall_s()), "promise 5"
        assert all(row.held == 0 for row in summary.credits.values()), "promise 5: nothing is held"
    _audit_files(simulation, results)
    counts = {"succeeded": 0, "failed": 0, "pending": 0, "unknown": 0}
    for row in results:
        counts[row["status"]] += 1
    items = summary.items
    assert [items.succeeded, items.failed, items.pending, items.unknown] == list(counts.values()), "promise 11"
    assert items.total == len(results)


def _audit_payment(simulation: Simulation) -> None:
    """Promise 1: no item has two live tasks, nor a second task unless the first failed."""
    by_item: dict[str, list[SandboxTask]] = {}
    for task in simulation.world.tasks:
        prefix = "-".join(str(task.external_task_id).split("-")[:3])
        by_item.setdefault(prefix, []).append(task)
    for prefix, tasks in by_item.items():
        for earlier, later in pairwise(tasks):
            assert earlier.failure, f"{prefix} was paid twice"
            assert earlier.ended_at_s <= later.created_at_s, f"{prefix} had two live tasks"


def _audit_ledger(ledger: list[dict[str, Any]], summary: SummaryRecord) -> None:
    """Promise 4, recomputed from the entries alone."""
    consumed = held = Decimal(0)
    open_holds: dict[str, Decimal] = {}
    for number, entry in enumerate(ledger, start=1):
        name, amount = entry["external_task_id"], Decimal(entry["credits"])
        if entry["entry"] == "hold":
            assert name not in open_holds, "a hold was opened twice"
            open_holds[name] = amount
            held += amount
        else:
            held -= open_holds.pop(name)
            consumed += amount if entry["entry"] == "charge" else 0
        assert (entry["seq"], Decimal(entry["consumed"]), Decimal(entry["held"])) == (number, consumed, held)
        if entry["budget"] is not None:
            assert consumed + held <= Decimal(entry["budget"])
    credits_ = summary.credits.get("video")
    if credits_ is not None:
        assert (credits_.consumed, credits_.held) == (consumed, held)


def _audit_moves(path: Path) -> None:
    """Promise 4 once more, by double entry; in a copy, for even a reader leaves files beside the store."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(path, folder)
        with StoreReader.open(Path(copy)) as reader:
            assert reader.ledger_faults() == [], "promise 4: balances are the sums of the moves"


def _audit_files(simulation: Simulation, results: list[dict[str, Any]]) -> None:
    """Promises 2 and 3: every succeeded item has exactly the server's bytes, and is told with its digest."""
    simulation.whole_files()
    by_task = {task.task_id: task for task in simulation.world.tasks}
    for row in results:
        if row["status"] != "succeeded":
            continue
        for file in row["files"]:
            content = (simulation.output_dir / file["path"]).read_bytes()
            assert (file["bytes"], file["sha256"]) == (len(content), digest(content))
            assert content == clip(by_task[row["task_id"]])
