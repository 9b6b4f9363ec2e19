"""What every part of a run is handed: the rooms with effects, the settings that matter, the observers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from batch_runner.budgets import Purse, RollingBudget
from batch_runner.clock import Clock
from batch_runner.errors import BatchRunnerError, StoppedError, StoreError
from batch_runner.events import Balance, InFlight, Notice, Observer
from batch_runner.kling import AccountPack
from batch_runner.lifecycle import Event, IllegalEventError
from batch_runner.limits import RateLimitMonitor, TaskLimiter, loop_now_s
from batch_runner.model import CreateOutcome, Page, Route, Task
from batch_runner.records import RequestCounts
from batch_runner.runner.calls import CallLog
from batch_runner.runner.halt import Halt
from batch_runner.runner.hints import Hints
from batch_runner.runner.lists import BatchLists
from batch_runner.runner.put_off import LIMIT_S, PutOff
from batch_runner.runner.room import DiskRoom
from batch_runner.schedule import Patience
from batch_runner.store import Attempt, Batch, Facts, Store

_MONEY_EVENTS = frozenset({Event.SUCCEED, Event.FAIL, Event.REFUSE, Event.WITHDRAW, Event.HOLD})


class TaskClient(Protocol):
    """What a run asks of the API; ``kling.KlingClient`` is one, a rehearsal has another."""

    @property
    def requests(self) -> RequestCounts:
        """Requests so far."""

    async def create(
        self, route: Route, body: Mapping[str, Any], external_task_id: str, intend: Callable[[], Awaitable[None]]
    ) -> CreateOutcome:
        """See ``KlingClient.create``."""

    async def find(self, route: Route, task_or_external_id: str, *, by_external_id: bool = False) -> Task | None:
        """See ``KlingClient.find``."""

    async def page(self, route: Route, page_num: int, page_size: int) -> Page:
        """See ``KlingClient.page``."""

    async def find_many(self, *, task_ids: Sequence[str] = (), external_task_ids: Sequence[str] = ()) -> Page:
        """See ``KlingClient.find_many``."""

    async def packs(self, start_ms: int, end_ms: int) -> list[AccountPack]:
        """See ``KlingClient.packs``."""

    async def tasks(self, cursor: str | None = None, *, limit: int = 100) -> tuple[list[Task], str | None]:
        """See ``KlingClient.tasks``."""


class Collecting(Protocol):
    """What brings a succeeded task's files home; ``Collector`` is one."""

    async def collect(self, attempt: Attempt, task: Task | None) -> None:
        """See ``Collector.collect``."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that shape a run.

    Attributes:
        settle_s: how long a submission that cannot be found is given to appear before it is repeated.
        task_deadline_s: after this a task is overdue: told, and no longer waited for alone.
        max_attempts: attempts an item may get in one run when its failures are transient.
        repeat_lost: whether calls whose answer was lost for ever are counted as paid and made again.
        max_sends: how often one attempt is sent in a run before its fate is left open.
        grace_s: how long a stopped run lets submissions and downloads under way come to their end.
    """

    settle_s: float = 15.0
    task_deadline_s: float = 7200.0
    max_attempts: int = 1
    repeat_lost: bool = False
    max_sends: int = 4
    grace_s: float = 8.0


@dataclass(frozen=True, slots=True)
class Context:
    """The shared parts of one run.

    ``lost_at_s`` is when a store was lost here, on the loop's clock: tasks of that moment may still become visible.
    ``hints`` come from a receiver of the service's calls, where one listens. ``calls`` and ``lists`` outlive a lost
    store, and a rehearsal has none.
    """

    store: Store
    batch: Batch
    client: TaskClient
    clock: Clock
    limiter: TaskLimiter
    output_dir: Path
    budgets: Mapping[str, Decimal]
    policy: Policy
    rng: random.Random
    observer: Observer
    rolling: tuple[RollingBudget, ...] = ()
    halt: Halt = field(default_factory=Halt)
    room: DiskRoom = field(default_factory=DiskRoom.without_end)
    lost_at_s: float = float("-inf")
    patience: Patience = field(default_factory=lambda: Patience(limit_s=300.0, first_limit_s=45.0))
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    hints: Hints | None = None
    calls: CallLog | None = None
    lists: BatchLists | None = None
    put_offs: PutOff = field(default_factory=PutOff)
    overdrawn: set[tuple[str, str]] = field(default_factory=set)

    @property
    def was_lost(self) -> bool:
        """Whether a store was lost here, so that one answer of the account is not believed on what is missing."""
        return self.lost_at_s > float("-inf")

    async def apply(self, attempt: Attempt, event: Event, facts: Facts = Facts()) -> Attempt:
        """Record an event, then tell the observers what it did to the credits.

        Raises:
            StoreError: another run works here, too (somebody removed the lock), and was first.
        """
        try:
            after = await self.store.apply(attempt, event, self.budgets, facts)
        except IllegalEventError as error:
            if error.state is attempt.state:
                raise
            text = (
                f"{attempt.item_id}: another run recorded it meanwhile in state.db, whose lock was removed; run again"
            )
            raise StoreError(text) from None
        if event in _MONEY_EVENTS:
            is_dearer = facts.charged is not None and facts.charged > attempt.estimate
            await self.tell_balance(attempt.pack, "the server charged more than was estimated: " if is_dearer else "")
        return after

    async def is_task_of_another(self, task: Task, external_task_id: str) -> bool:
        """Whether a task that bears no name is known here as another attempt's."""
        owners = await self.store.owners(self.batch, [task.task_id])
        return any(owner != external_task_id for owner in owners.get(task.task_id, ()))

    async def tell_balance(self, pack: str, why_over: str = "") -> None:
        """Tell the observers how the pack stands, and a person, once, of each budget that is exceeded by now."""
        purse = await self.store.purse(self.batch, pack, self.budgets, self.rolling)
        self.observer(Balance(pack, purse.balances.consumed, purse.balances.held, purse.budget))
        self._tell_overdrafts(purse, why_over)
        self.changed.set()

    async def tell_overdrafts(self, why_over: str = "") -> None:
        """Tell a person, once, of each budget that is exceeded by now, whatever its pack."""
        for pack in sorted({*self.budgets, *(budget.pack for budget in self.rolling)}):
            self._tell_overdrafts(await self.store.purse(self.batch, pack, self.budgets, self.rolling), why_over)

    def _tell_overdrafts(self, purse: Purse, why_over: str) -> None:
        for overdraft in purse.overdrafts():
            if (purse.pack, overdraft.budget) not in self.overdrawn:
                self.overdrawn.add((purse.pack, overdraft.budget))
                self.notice(f"{why_over}{overdraft}", urgent=True)

    def free_slots(self, attempt: Attempt) -> None:
        """A remote task has ended, or is known never to have been: its slots are free again."""
        self.limiter.release(attempt.slots, attempt.pack)
        self.observer(InFlight(self.limiter.active_count))
        self.changed.set()

    def notice(self, text: str, *, urgent: bool = False) -> None:
        """Tell a person something."""
        self.observer(Notice(text, urgent))

    def leave(self, error: BatchRunnerError) -> None:
        """Nothing good can come of this run any more: say why, and end it soon."""
        self.notice(str(error), urgent=True)
        self.halt.leave(error)

    def well(self) -> None:
        """The API answered: whatever trouble there was is over."""
        self.patience.well()

    def trouble(self, why: str) -> None:
        """The API did not answer; when that has gone on for too long the run leaves."""
        if self.patience.trouble(loop_now_s()) and not self.halt.is_leaving:
            text = f"the API has given no usable answer for a while ({why}); run the same command again later"
            self.notice(text, urgent=True)
            self.halt.leave(StoppedError(text))

    def put_off(self, why: str) -> None:
        """The service takes no submission in now; what goes on is told, and what does not end ends submissions."""
        now_s = loop_now_s()
        if self.put_offs.is_news(now_s):
            self.notice(f"the service puts submissions off ({why}); waiting until it takes one")
        if self.put_offs.is_unbearable(now_s) and not self.halt.is_set:
            text = f"the service has put every submission off for {LIMIT_S / 3600:.0f} hours ({why})"
            self.notice(f"{text}; run the same command again later", urgent=True)
            self.halt.submit_no_more(StoppedError(f"{text}; run the same command again later"))


class SubmissionGate:
    """The request limiter as the client sees it: once submitting is over, no submission gets a permit."""

    def __init__(self, monitor: RateLimitMonitor, halt: Halt) -> None:
        self._monitor = monitor
        self._halt = halt

    def permit(self, kind: str) -> AbstractAsyncContextManager[float]:
        """Wait for a permit.

        Raises:
            HaltedError: submitting ended while a submission waited; no byte of it was sent.
        """
        return self._submit_permit() if kind == "submit" else self._monitor.permit(kind)

    @asynccontextmanager
    async def _submit_permit(self) -> AsyncIterator[float]:
        permit = self._monitor.permit("submit")
        sent_at = await self._halt.unless(permit.__aenter__())
        try:
            yield sent_at
        finally:
            await permit.__aexit__(None, None, None)

    def throttled(self, retry_after_s: float | None, sent_at: float | None) -> None:
        """See ``RateLimitMonitor.throttled``."""
        self._monitor.throttled(retry_after_s, sent_at)

    def answered(self) -> None:
        """See ``RateLimitMonitor.answered``."""
        self._monitor.answered()
