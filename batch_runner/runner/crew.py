"""The workers of a run: one per attempt that is under way, fed lazily, a few at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

from batch_runner.budgets import Shortage
from batch_runner.errors import BatchRunnerError, DiskError, StoppedError
from batch_runner.events import InFlight
from batch_runner.kling import failure_of
from batch_runner.lifecycle import LIVE, SLOT_HOLDING, Event, State
from batch_runner.runner.context import Collecting, Context
from batch_runner.runner.guests import Guests
from batch_runner.runner.passage import Passage
from batch_runner.runner.poller import Poller
from batch_runner.runner.submission import Courier, Prepare
from batch_runner.store import Attempt, HoldAge
from batch_runner.wording import by_count

_DOWNLOADS_BEHIND = 24
"""So many finished tasks may wait for their files before new ones are submitted."""


_FRESH_S = 86_400.0


class Crew:
    """Starts workers, knows which of them still move, and feeds free slots from the queue."""

    def __init__(
        self, context: Context, poller: Poller, group: asyncio.TaskGroup, collector: Collecting, prepare: Prepare
    ) -> None:
        self._context = context
        self._poller = poller
        self._group = group
        self._collector = collector
        self._prepare = prepare
        self._guests = Guests(context, poller, group)
        self._couriers: dict[int, Courier] = {}
        self._busy: dict[int, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._tries: Counter[str] = Counter()
        self.shortages: tuple[Shortage, ...] = ()

    async def take_up(self, *, with_gone_assets: bool) -> None:
        """Go on with what earlier runs left: their tasks hold slots from the first moment."""
        await self._guests.take_up()
        states = [*sorted(LIVE - {State.READY}), *([State.ASSET_GONE] if with_gone_assets else [])]
        ages = await self._context.store.hold_ages(self._context.batch)
        sent = await self._context.store.in_states(self._context.batch, states)
        ready = await self._context.store.in_states(self._context.batch, [State.READY])
        for attempt in [*sent, *(each for each in ready if each.was_left_open)]:
            if attempt.state in SLOT_HOLDING:
                self._context.limiter.adopt(attempt.slots)
            self._context.room.expect(attempt)
            self._start(attempt, ages.get(attempt.attempt_id))
        for attempt in (each for each in ready if not each.was_left_open):
            await self._take_up_unsent(attempt, ages.get(attempt.attempt_id))
        await self._context.tell_overdrafts()  # now that holds of what was never sent are given back
        self._tell()

    async def _take_up_unsent(self, attempt: Attempt, hold_age: HoldAge | None) -> None:
        """Nothing was sent for it: without its line, or a slot or a budget of this run, its hold is given back.

        So is an old one: from a hold's age the next run tells how old a task can be.
        """
        context = self._context
        is_new = hold_age is None or hold_age.longest_s < _FRESH_S
        purse = await context.store.purse(context.batch, attempt.pack, context.budgets, context.rolling)
        has_room = attempt.slots <= context.limiter.free and not purse.overdrafts()
        if is_new and attempt.in_manifest and has_room:
            context.limiter.adopt(attempt.slots)
            self._start(attempt, hold_age)
        else:
            await context.apply(attempt, Event.WITHDRAW)

    async def feed(self) -> None:
        """Submit until the queue is empty, nothing fits the budget, or submitting is over; then wait for the rest."""
        context = self._context
        while not context.halt.is_leaving:
            context.changed.clear()
            if not context.halt.is_set and self._has_room and await self._may_claim():
                continue
            if not self._is_moving and not await self._waits():
                self._say_why_over()
                return
            await self._change()

    async def _may_claim(self) -> bool:
        """Whether one more is under way; a disk that fails meanwhile must not tear the others down."""
        try:
            return await self._claim()
        except BatchRunnerError as error:
            self._context.leave(error)
            return False

    async def _claim(self) -> bool:
        context = self._context
        claim = await context.store.claim_next(context.batch, context.budgets, context.limiter.free, context.rolling)
        self.shortages = claim.shortages
        if claim.attempt is None:
            return False
        await context.limiter.acquire(claim.attempt.slots)
        try:
            await context.room.offer(claim.attempt)  # where there is no room, its courier waits, and nobody is claimed
        except DiskError as error:
            context.leave(error)  # and the courier gives its hold back
        self._start(claim.attempt)
        self._tell()
        await context.tell_balance(claim.attempt.pack)
        return True

    async def _change(self) -> None:
        changed = asyncio.ensure_future(self._context.changed.wait())
        leaving = asyncio.ensure_future(self._context.halt.leaving())
        try:
            await asyncio.wait({changed, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            leaving.cancel()

    @property
    def _has_room(self) -> bool:
        """A free slot, and not so many downloads behind that videos would be bought which nobody can fetch."""
        if self._context.room.is_short:
            return False
        return bool(self._context.limiter.free) and len(self._busy) - len(self._couriers) < _DOWNLOADS_BEHIND

    @property
    def _is_moving(self) -> bool:
        stuck = {key for key, courier in self._couriers.items() if courier.is_idle}
        return any(key not in stuck and not self._context.room.is_held_back(busy) for key, busy in self._busy.items())

    async def _waits(self) -> bool:
        """Whether something may still come of waiting, though nothing of the batch moves; not on a disk that fails."""
        try:
            return self._ends_for_want_of_room() or await self._guests.are_worth_waiting_for()
        except BatchRunnerError as error:
            self._context.leave(error)
            return False

    @property
    def _is_at_risk(self) -> bool:
        """Whether somebody is in the middle of something that is better finished."""
        beyond_couriers = (busy for key, busy in self._busy.items() if key not in self._couriers)
        is_collecting = any(not self._context.room.is_held_back(busy) for busy in beyond_couriers)
        return is_collecting or any(courier.is_at_risk for courier in self._couriers.values())

    def _ends_for_want_of_room(self) -> bool:
        """Whether somebody waited for room on the disk while nothing moves any more; from now on nobody does."""
        error = self._context.room.give_up()
        if error is not None:
            self._context.notice(str(error), urgent=True)
            self._context.halt.submit_no_more(error)
        return error is not None

    def _say_why_over(self) -> None:
        count = len(self._couriers) + self._guests.count
        if count and not self._context.limiter.free and not self._context.halt.is_set:
            words = by_count(count, "task that does not move holds", "tasks that do not move hold")
            text = f"{count:,} {words} every slot; run the same command again later"
            self._context.halt.submit_no_more(StoppedError(text))

    def _tell(self) -> None:
        self._context.observer(InFlight(self._context.limiter.active_count))

    def _start(self, attempt: Attempt, hold_age: HoldAge | None = None) -> None:
        task = self._group.create_task(self._work(attempt), name=f"attempt {attempt.attempt_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._busy[attempt.attempt_id] = attempt
        if attempt.state in SLOT_HOLDING:
            passage = Passage(self._context, self._poller, attempt, hold_age)
            self._couriers[attempt.attempt_id] = Courier(passage, self._prepare)

    async def _work(self, attempt: Attempt) -> None:
        try:
            await self._bring_home(attempt)
        except BatchRunnerError as error:  # one worker's disk or account trouble must not tear the others down
            self._context.leave(error)
        finally:
            self._couriers.pop(attempt.attempt_id, None)
            self._busy.pop(attempt.attempt_id, None)
            self._context.changed.set()

    async def _bring_home(self, attempt: Attempt) -> None:
        task = None
        courier = self._couriers.get(attempt.attempt_id)
        if courier is not None:
            await courier.carry()
            attempt, task = courier.attempt, courier.task
            del self._couriers[attempt.attempt_id]
        if attempt.state in {State.SUCCEEDED, State.ASSET_GONE}:
            await self._collector.collect(attempt, task)
            return
        self._context.room.settle(attempt)
        if task is not None and attempt.state is State.FAILED:
            await self._maybe_again(attempt, task.message)

    async def _maybe_again(self, attempt: Attempt, message: str) -> None:
        """A definite, transient failure may get another attempt within this run."""
        self._tries[attempt.item_id] += 1
        if failure_of(message).is_transient and self._tries[attempt.item_id] < self._context.policy.max_attempts:
            await self._context.store.queue_item(self._context.batch, attempt.item_id)

    async def go_home(self) -> None:
        """Let what is at risk come to its end for a while, then cancel every worker; all of it is recorded."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._context.policy.grace_s):
                while self._context.halt.is_leaving and self._is_at_risk:
                    self._context.changed.clear()
                    await self._context.changed.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, self._guests.go(), return_exceptions=True)


async def work_through(
    context: Context, poller: Poller, collector: Collecting, prepare: Prepare, *, with_gone_assets: bool = False
) -> tuple[Shortage, ...]:
    """Bring the batch of the context as far as it can be brought now.

    ``prepare`` puts together the body of a submission; see ``body_to_send``.

    Returns:
        The budgets that kept items from being submitted; empty when none did.
    """
    async with asyncio.TaskGroup() as group:
        polling = group.create_task(poller.run(), name="poller")
        crew = Crew(context, poller, group, collector, prepare)
        await crew.take_up(with_gone_assets=with_gone_assets)
        await crew.feed()
        await crew.go_home()
        polling.cancel()
    return crew.shortages


def first_of_ours(group: BaseExceptionGroup[BaseException]) -> BatchRunnerError | None:
    """The error for a person among what a task group collected, or None when it holds only faults."""
    _, rest = group.split(asyncio.CancelledError)
    for error in rest.exceptions if rest else ():
        if isinstance(error, BaseExceptionGroup):
            inner = first_of_ours(error)
            if inner is not None:
                return inner
        elif isinstance(error, BatchRunnerError):
            return error
    return None
