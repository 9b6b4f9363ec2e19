"""The stage of a rehearsal: the real scheduler, ledger and store, a clock that jumps, and no files."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from batch_runner.clock import Clock
from batch_runner.events import Event, InFlight
from batch_runner.lifecycle import Event as LifeEvent
from batch_runner.lifecycle import ExternalId
from batch_runner.limits import RateLimitMonitor, TaskLimiter, loop_now_s
from batch_runner.model import Item, Realm, Task
from batch_runner.rehearsal.account import Part, ThinAirAccount
from batch_runner.runner import Context, Policy, Poller, work_through
from batch_runner.sandbox import WorldConfig
from batch_runner.store import Attempt, Batch, SqliteStore, Store, StoredFile
from batch_runner.virtual_time import VirtualClock, run_virtual

_DOWNLOAD_S = 3.0
"""What a file takes to come home; it holds no slot, so that only the last ones count."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """How one rehearsal went.

    Attributes:
        wall_s: seconds from the first submission to the last file.
        busy_share: how much of that time the slots were held, 0 to 1.
        finished: items that were brought home; fewer than all where a budget stopped it.
    """

    wall_s: float
    busy_share: float
    finished: int


def rehearse(
    seed: int,
    *,
    items: Sequence[Item],
    usual_s: Mapping[str, float],
    name: str,
    max_concurrent: int,
    rpm: int,
    budgets: Mapping[str, Decimal],
) -> Rehearsed:
    """Run a batch to its end under virtual time, with the scheduler that a real run has.

    Args:
        seed: from which the tasks' fates are drawn.
        items: what is to be made, sources among them.
        usual_s: the usual seconds of each task from submission to its end, by its item's id.
        name: the batch's; with the seed it decides the fates, as it does in the sandbox.
        max_concurrent: slots.
        rpm: requests allowed in any 60 s; 0 is no limit.
        budgets: credits by pack, as in a run.
    """
    parts = {ExternalId.of(name, item.id, 1, "").item: Part(usual_s[item.id], item.price.credits) for item in items}

    async def main() -> Rehearsed:
        clock = VirtualClock(asyncio.get_running_loop())
        store = await SqliteStore.open(Path(":memory:"), clock, in_thread=False)
        try:
            batch = await store.load_batch(name, realm=Realm.SANDBOX, manifest=name, items=lambda: map(_bare, items))
            await store.adopt(batch, [], {})
            rng = random.Random(seed)  # noqa: S311 - a simulation
            account = ThinAirAccount(WorldConfig(seed=seed), parts, RateLimitMonitor(rpm, rng=rng))
            home = _Home(store, batch, account, TaskLimiter(max_concurrent, rng=rng), clock, rng, budgets)
            await work_through(home.context, Poller(home.context, rpm, account.pause), home, _nothing)
            return home.outcome(max_concurrent)
        finally:
            await store.close()

    return run_virtual(main, settle_s=0)


class _Home:
    """Where files would come home; keeps the figures of the rehearsal."""

    def __init__(
        self,
        store: Store,
        batch: Batch,
        account: ThinAirAccount,
        limiter: TaskLimiter,
        clock: Clock,
        rng: random.Random,
        budgets: Mapping[str, Decimal],
    ) -> None:
        self.context = Context(
            store=store,
            batch=batch,
            client=account,
            clock=clock,
            limiter=limiter,
            output_dir=Path(),
            budgets=budgets,
            policy=Policy(),
            rng=rng,
            observer=self.observe,
        )
        self._finished = 0
        self._began_s = self._ended_s = self._changed_s = 0.0
        self._held = 0
        self._held_s = 0.0

    async def collect(self, attempt: Attempt, task: Task | None) -> None:  # noqa: ARG002 - thin air makes no files
        """Let some time pass, and call it published."""
        await asyncio.sleep(_DOWNLOAD_S)
        path = f"{self.context.batch.name}/{attempt.item_id}"
        await self.context.store.record_file(attempt, StoredFile(0, path, 0, "0" * 64, 1))
        await self.context.apply(attempt, LifeEvent.PUBLISH)
        self._finished += 1
        self._ended_s = loop_now_s()

    def observe(self, event: Event) -> None:
        """Add up how many slots are held for how long."""
        if isinstance(event, InFlight):
            self._held_s += self._held * (loop_now_s() - self._changed_s)
            self._held, self._changed_s = event.count, loop_now_s()

    def outcome(self, max_concurrent: int) -> Rehearsed:
        """What there is to tell at the end."""
        worked_s = self._changed_s - self._began_s
        share = self._held_s / (max_concurrent * worked_s) if worked_s else 0.0
        return Rehearsed(self._ended_s - self._began_s, share, self._finished)


async def _nothing(_context: Context, _attempt: Attempt) -> dict[str, Any]:
    return {}


def _bare(item: Item) -> Item:
    """The item without its text, which only costs time here."""
    return replace(item, body="{}")
