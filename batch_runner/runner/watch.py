"""What is learned about one attempt's task while somebody looks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from batch_runner import catalog
from batch_runner.lifecycle import ExternalId
from batch_runner.limits import loop_now_s
from batch_runner.model import Task
from batch_runner.schedule import settle_left_s
from batch_runner.store import Attempt

_LAST_LOOK_S = 60.0
"""So long a task whose deadline has passed is given to be seen once more before it is called overdue."""


class Watch:
    """What the poller has learned about one attempt; its worker waits here.

    Args:
        attempt: whose task is looked for.
        settle_s: so long after a submission its task may still become visible.
        is_guest: see the attribute.

    Attributes:
        task_id: the server's id once it is known.
        sent_at_s: loop time at which the newest submission was over; earlier looks prove nothing.
        absent_looks: complete looks since then that did not show a task.
        late_lists, late_answers: those of them that began after the settle time, in the list and by id.
        vain_lists: looks in the list after the settle time that could not tell: there are more tasks than it showed, or
            rows that are illegible.
        exists: the server said that the external id already has a task.
        vain_looks: looks so far that brought no answer.
        asked_at_s: loop time at which its task was last asked for by id.
        is_mistaken: the task that was taken for this attempt's turned out to be another item's.
        is_named: some answer about the task bore the attempt's own name.
        is_guest: it is another batch's, and followed for its slots alone.
        is_stuck: nothing this run does moves the attempt any more (overdue, missing, unresolved); it is still
            watched while the run has other work.
    """

    def __init__(self, attempt: Attempt, settle_s: float, *, is_guest: bool = False) -> None:
        self._settle_s = settle_s
        self.is_guest = is_guest
        self.external_task_id = attempt.external_task_id
        self.route = catalog.route(attempt.kind, attempt.model)
        self.task_id = attempt.task_id
        self.sent()
        self.exists = False
        self.is_mistaken = self.is_stuck = False
        self.vain_looks = 0
        self.asked_at_s = float("-inf")
        self._task: Task | None = None
        self._news = asyncio.Event()

    def sent(self) -> None:
        """A submission is over: what was seen before it does not count."""
        self.sent_at_s = loop_now_s()
        self.absent_looks = self.late_lists = self.late_answers = self.vain_lists = 0
        self._is_looked_for = self.is_named = False

    def settle_left_s(self, at_s: float) -> float:
        """Seconds from ``at_s`` until "not found" may be believed."""
        return settle_left_s(at_s, self.sent_at_s, self._settle_s)

    @property
    def wants_a_look(self) -> bool:
        """Whether a list now can tell anything new.

        A task that is not known to exist is looked for at once and after the settle time: what lies between would
        only cost requests. While other tasks are followed, their lists show it sooner.
        """
        is_followed = self.task_id is not None or self.exists
        return is_followed or not self._is_looked_for or not self.settle_left_s(loop_now_s())

    @property
    def has_task(self) -> bool:
        """Whether an answer about the task waits to be taken."""
        return self._task is not None

    def tell(self, task: Task) -> None:
        """The account shows the task, or it shows that the task is another item's."""
        self.absent_looks = 0
        self.is_mistaken = is_of_another(task, self.external_task_id)
        if self.is_mistaken:
            self.task_id = None
        else:
            self.follow(task)
        self._task = None if self.is_mistaken else task
        self._news.set()

    def follow(self, task: Task) -> None:
        """This is its task."""
        is_known = self.is_named and task.task_id == self.task_id
        self.is_named = is_known or task.external_task_id == self.external_task_id
        self.task_id = task.task_id

    def answered(self, task: Task | None, asked_at_s: float) -> None:
        """A question by id that was asked at ``asked_at_s`` brought this task, or that there is none."""
        if task is None:
            self.absent(asked_at_s, in_list=False)
        else:
            self.tell(task)

    def absent(self, looked_at_s: float, *, in_list: bool) -> None:
        """A complete look that began at ``looked_at_s`` did not show the task."""
        if looked_at_s < self.sent_at_s:
            return
        self.absent_looks += 1
        self._is_looked_for = True
        if not self.settle_left_s(looked_at_s):
            self.late_lists += in_list
            self.late_answers += not in_list
        self._news.set()

    def listed_in_vain(self, looked_at_s: float) -> None:
        """A list that began at ``looked_at_s`` did not show the task, and did not show every task either."""
        self._is_looked_for = True
        self.vain_lists += not self.settle_left_s(looked_at_s)

    async def next_task(self, timeout_s: float | None) -> Task | None:
        """The newest answer about the task, or None when there is news of absence or time is up."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return None
        self._news.clear()
        task, self._task = self._task, None
        return task

    async def next_or_overdue(self, overdue_at_s: float) -> tuple[Task | None, bool]:
        """What ``next_task`` brings, and whether the task is overdue if this shows no end of it.

        Only a look after the deadline can tell: the process may have stood still till then. Where looks bring nothing
        about the task for a minute more, in which the process was awake, it is overdue all the same; without a look
        nothing is: the request limit may leave room for none.
        """
        began_s, absent_looks, vain_looks = loop_now_s(), self.absent_looks, self.vain_looks
        is_late = began_s >= overdue_at_s
        last_look_s = None if self.is_stuck else _LAST_LOOK_S
        task = await self.next_task(last_look_s if is_late else overdue_at_s - began_s)
        was_awake = loop_now_s() - began_s < 2 * _LAST_LOOK_S
        is_silent = self.absent_looks == absent_looks and self.vain_looks > vain_looks
        is_seen = task is not None or (is_late and was_awake and is_silent)
        is_overdue = is_seen and loop_now_s() >= overdue_at_s
        return task, is_overdue


def is_of_another(task: Task, external_task_id: str) -> bool:
    """Whether a task bears the name of another attempt of this program; a name in another form tells nothing."""
    return task.external_task_id != external_task_id and ExternalId.parse(task.external_task_id) is not None


def tell_found(watches: Sequence[Watch], rows: Sequence[Task]) -> list[Watch]:
    """Tell every watch whose task is among ``rows``; returns those that none of them is about."""
    by_external_id = {row.external_task_id: row for row in rows if row.external_task_id}
    by_task_id = {row.task_id: row for row in rows}
    lacking = []
    for watch in watches:
        row = by_external_id.get(watch.external_task_id) or by_task_id.get(watch.task_id or "")
        if row is None:
            lacking.append(watch)
        else:
            watch.tell(row)
    return lacking
