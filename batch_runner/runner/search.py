"""Questions about a submission whose fate is open, and what may be believed of their answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from batch_runner.errors import AccountError
from batch_runner.kling import Trouble
from batch_runner.limits import loop_now_s
from batch_runner.model import Task
from batch_runner.runner.passage import Passage
from batch_runner.runner.watch import is_of_another

_LOOK_PAUSE_S = 1.0
_LIST_PATIENCE_S = 10.0
"""So long after the settle time the look by id waits for the one in the list, for it is to be the last one."""
_ASK_AGAIN_S = 3.0
_ANSWERS_INSTEAD = 2
"""Looks by id that are needed where no list can show every task."""
_EXISTS_LOOKS = 12
_LOOKS_AGAIN = 2
"""So often a sending is put off for another look because it waited long for its turn: where requests are rarer than
the settle time is long, every wait is a long one, and a run must end all the same."""
_SETTLE_LIMIT = 12
_UNCLEAR_LOOKS = 6
"""After so many settle times and questions without a clear word the run no longer waits for this attempt alone; the
questions count too, for a process that stood still has asked nothing meanwhile."""


@dataclass(slots=True)
class Search:
    """Looks for an attempt's task by its external id, beside the poller that looks in the lists.

    Attributes:
        is_known_absent: the last question was answered: the account has no such task.
        disputed: what it was answered with instead, where that bears no name and is known as another item's.
    """

    passage: Passage
    is_known_absent: bool = False
    disputed: Task | None = None
    _asked_at_s: float = float("-inf")
    _answered_at_s: float = float("-inf")
    _asks: int = 0
    _looks_again: int = 0

    def begin(self) -> None:
        """A submission was sent: no earlier answer tells of it."""
        self.is_known_absent = False
        self._asks = self._looks_again = 0

    def begin_again(self) -> None:
        """What was seen is not enough to act on; the same looks are to be made once more."""
        watch = self.passage.watch
        watch.absent_looks = watch.late_lists = watch.vain_lists = 0

    async def next_task(self) -> Task | None:
        """The task that somebody sees next, the poller or a question by id; None when nobody has seen it yet."""
        watch = self.passage.watch
        task = await watch.next_task(max(watch.settle_left_s(loop_now_s()), _LOOK_PAUSE_S))
        return await self.ask() if task is None and self._may_ask() else task

    def _may_ask(self) -> bool:
        """Whether it is time to ask by id: the list has been looked at, or does not tell."""
        watch, now_s = self.passage.watch, loop_now_s()
        if watch.settle_left_s(now_s) or now_s - self._asked_at_s < _ASK_AGAIN_S:
            return False
        is_late = not watch.settle_left_s(now_s - _LIST_PATIENCE_S)
        return bool(watch.late_lists or watch.vain_lists) or is_late

    def is_settled(self) -> bool:
        """Whether it may be believed that there is no task."""
        watch = self.passage.watch
        if watch.exists and watch.absent_looks < _EXISTS_LOOKS:
            return False
        needed = 1 if watch.late_lists else _ANSWERS_INSTEAD
        is_listed = watch.late_lists or watch.vain_lists >= _ANSWERS_INSTEAD
        return self.is_known_absent and bool(is_listed) and watch.late_answers >= needed

    def is_vain(self) -> bool:
        """Whether it was asked for often and long enough without a clear word.

        What is to be believed after a long look alone has as long again for the look that tells.
        """
        is_slow = self.passage.odd is not None or not self.passage.attempt.in_manifest
        return self._asks >= _UNCLEAR_LOOKS and self._is_beyond(2 * _SETTLE_LIMIT if is_slow else _SETTLE_LIMIT)

    def is_long(self) -> bool:
        """Whether it was looked for so long that its absence is believed without the answer to a second sending."""
        return self._is_beyond(_SETTLE_LIMIT)

    def _is_beyond(self, settle_times: int) -> bool:
        limit_s = settle_times * self.passage.context.policy.settle_s
        return loop_now_s() - self.passage.watch.sent_at_s > limit_s

    def may_send(self) -> bool:
        """Whether the last look by id showed no task, nobody has seen one since, and the look is not too old."""
        is_old = loop_now_s() - self._answered_at_s > self.passage.context.policy.settle_s
        is_outdated = is_old and self._looks_again < _LOOKS_AGAIN
        return self.is_known_absent and not self.passage.watch.has_task and not is_outdated

    def look_again(self) -> None:
        """The wait for a slot or a request was long: what was seen before it is not acted upon."""
        self.is_known_absent = False
        self._looks_again += 1

    async def look(self) -> Task | None:
        """The task that the poller has seen, else what a question by id brings."""
        watch = self.passage.watch
        return await watch.next_task(None) if watch.has_task else await self.ask()

    async def ask(self) -> Task | None:
        """The task that bears the attempt's external id; None where there is none or nobody could tell."""
        context, attempt = self.passage.context, self.passage.attempt
        began_s = self._asked_at_s = loop_now_s()
        self._asks += 1
        self.is_known_absent, self.disputed = False, None
        try:
            task = await context.client.find(self.passage.route, attempt.external_task_id, by_external_id=True)
        except Trouble as trouble:
            context.trouble(str(trouble))
            await asyncio.sleep(self.passage.backoff.next_s())
            return None
        except AccountError as error:
            context.halt.leave(error)
            await context.halt.leaving()
            await asyncio.sleep(context.policy.grace_s)
            return None
        context.well()
        self._answered_at_s = loop_now_s()
        self.is_known_absent = task is None
        if task is None:
            self.passage.watch.absent(began_s, in_list=False)
        elif await self._is_of_another(task):
            self.disputed = task if task.external_task_id is None else None
            context.trouble("the answer about a submission is about another item's task")
            await asyncio.sleep(self.passage.backoff.next_s())
            return None
        return task

    async def _is_of_another(self, task: Task) -> bool:
        """Whether an answer is about another item's task: by its name, or where it has none by whose it is here."""
        attempt = self.passage.attempt
        if task.external_task_id is not None:
            return is_of_another(task, attempt.external_task_id)
        return await self.passage.context.is_task_of_another(task, attempt.external_task_id)
