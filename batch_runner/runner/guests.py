"""Tasks that other batches of the folder left in flight: they hold slots of the account until they end."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from batch_runner import catalog
from batch_runner.errors import AccountError, BatchRunnerError
from batch_runner.kling import Trouble
from batch_runner.limits import loop_now_s
from batch_runner.model import Task
from batch_runner.runner.context import Context
from batch_runner.runner.poller import Poller
from batch_runner.runner.watch import Watch
from batch_runner.schedule import task_age_s
from batch_runner.store import Attempt

_ABSENT_LOOKS = 4
"""A task that so many looks did not show holds no slot."""


class Guests:
    """Follows such tasks for their slots alone; what becomes of them is for a run of their own batch to record."""

    def __init__(self, context: Context, poller: Poller, group: asyncio.TaskGroup) -> None:
        self._context = context
        self._poller = poller
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()
        self._staying: dict[int, Watch] = {}

    async def take_up(self) -> None:
        """Hold the slots of all that may be in flight; calls that are answered at once hold none."""
        if not self._context.batch.has_others:
            return
        for attempt in await self._context.store.in_flight_elsewhere(self._context.batch):
            if catalog.route(attempt.kind, attempt.model).is_sync:
                continue
            self._context.limiter.adopt(attempt.slots)
            watch = self._staying[attempt.attempt_id] = Watch(attempt, self._context.policy.settle_s, is_guest=True)
            self._tasks.add(self._group.create_task(self._follow(attempt, watch), name=f"guest {attempt.attempt_id}"))

    @property
    def count(self) -> int:
        """How many hold slots now."""
        return len(self._staying)

    async def are_worth_waiting_for(self) -> bool:
        """Whether something is to be submitted for which only they leave too few slots, and some will end."""
        context = self._context
        if context.halt.is_set or all(watch.is_stuck for watch in self._staying.values()):
            return False
        return any(row.slots > context.limiter.free for row in await context.store.left(context.batch))

    async def go(self) -> None:
        """Look at none of them any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, attempt: Attempt, watch: Watch) -> None:
        self._poller.add(watch)
        try:
            with suppress(AccountError):  # whoever submits is told the same, and ends the run with it
                await self._until_over(attempt, watch)
        except BatchRunnerError as error:
            self._context.leave(error)
        finally:
            self._poller.remove(watch)
        self._staying.pop(attempt.attempt_id)
        self._context.free_slots(attempt)

    async def _until_over(self, attempt: Attempt, watch: Watch) -> None:
        """Until its task has ended, or nobody has seen one for long enough."""
        age_s = _age_s(attempt, self._context.clock.wall_s())
        overdue_at_s = loop_now_s() + self._context.policy.task_deadline_s - age_s
        while True:
            task, is_overdue = await self._next(attempt, watch, overdue_at_s)
            if _is_over(watch, task) or (is_overdue and watch.task_id is None):
                return
            if is_overdue and not watch.is_stuck:
                watch.is_stuck = True
                self._context.changed.set()

    async def _next(self, attempt: Attempt, watch: Watch, overdue_at_s: float) -> tuple[Task | None, bool]:
        """What is seen of its task next, and whether it is overdue by that; one without an id is asked for by name."""
        if watch.task_id is not None:
            return await watch.next_or_overdue(overdue_at_s)
        task = await watch.next_task(self._context.policy.settle_s)
        if task is None and watch.task_id is None:
            await self._ask(attempt, watch)
        is_told = task is not None or watch.task_id is None
        return task, is_told and loop_now_s() >= overdue_at_s

    async def _ask(self, attempt: Attempt, watch: Watch) -> None:
        """Look for the task of a submission whose answer is missing, beside the lists."""
        began_s = loop_now_s()
        try:
            task = await self._context.client.find(watch.route, attempt.external_task_id, by_external_id=True)
        except Trouble as trouble:
            self._context.trouble(str(trouble))
            return
        watch.answered(task, began_s)


def _is_over(watch: Watch, task: Task | None) -> bool:
    if task is not None:
        return task.status.is_terminal
    return watch.absent_looks >= _ABSENT_LOOKS and not watch.settle_left_s(loop_now_s())


def _age_s(attempt: Attempt, wall_s: float) -> float:
    return 0.0 if attempt.submitted_at is None else task_age_s(wall_s - attempt.submitted_at, None)
