"""Questions to the account before anything is submitted: asked patiently, but for no item's sake for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from batch_runner.errors import StoppedError
from batch_runner.kling import Trouble
from batch_runner.lifecycle import ExternalId
from batch_runner.limits import Backoff, loop_now_s
from batch_runner.model import Route, Task, TaskStatus
from batch_runner.runner.context import Context
from batch_runner.runner.crew import first_of_ours

T = TypeVar("T")

_PATIENCE_S = 60.0
"""So long trouble with one product's list is borne, if it is only that one's."""
_AGAIN_FOR_S = 30.0
_FEWEST_VAIN_ROUNDS = 2
"""Items that got no clear answer when all were asked are asked again, at least once and for so long."""
_AT_ONCE = 16


class UnsettledError(Exception):
    """The account does not tell now; the text says why. Other questions may be answered all the same."""


class ContradictionError(UnsettledError):
    """It does answer, but says one thing and then another."""


async def asked_patiently(context: Context, route: Route, ask: Callable[[], Awaitable[T]]) -> T:
    """The answer to a question on a route, which is asked again as long as there is hope.

    Raises:
        UnsettledError: it was asked for long in vain, while others were answered.
        StoppedError: the API does not answer, or the run is to end.
        AccountError: the keys are refused.
    """
    backoff, began_s = Backoff(2.0, 30.0, context.rng), float("inf")
    while True:
        try:
            answer = await ask()
        except Trouble as trouble:
            why = _troubled(context, route, trouble)
        else:
            context.well()
            return answer
        began_s = min(began_s, loop_now_s())
        if loop_now_s() - began_s > _PATIENCE_S:
            raise UnsettledError(why)
        await asyncio.sleep(backoff.next_s())


@dataclass(slots=True)
class Line:
    """What is known of one item's tasks.

    Attributes:
        item_id: its id, or an empty text where the manifest has no such item.
        fingerprint: of its content now; None where it is no line of this product any more, so that only the names are
            asked for that were sent.
        sent: the names of its attempts that are known to have been sent; some may have made no task.
        found: the tasks there are, with their names; all but the last one have failed.
        asked: how many names the account was asked about, and answered.
        why: what came instead of a clear answer when it was asked last; None after one.
        is_settled: there are no more than these.
    """

    item_id: str
    fingerprint: str | None
    sent: Sequence[ExternalId] = ()
    found: list[tuple[ExternalId, Task]] = field(default_factory=list)
    asked: int = 0
    why: str | None = None
    is_settled: bool = False

    def next_name(self, batch: str) -> ExternalId:
        """Whom to ask about next: those that were sent, then the numbers after them."""
        if self.asked < len(self.sent):
            return self.sent[self.asked]
        assert self.fingerprint is not None, "a name is noted before it is sent, so that there are no more"
        last = self.sent[-1].number if self.sent else 0
        return ExternalId.of(batch, self.item_id, last + 1 + self.asked - len(self.sent), self.fingerprint)

    def take(self, name: ExternalId, task: Task | None) -> None:
        """The account's word about the next attempt."""
        self.why = None
        self.asked += 1
        if task is not None:
            self.found.append((name, task))
        has_failed = task is not None and task.status is TaskStatus.FAILED
        may_have_more = self.asked < len(self.sent) or (has_failed and self.fingerprint is not None)
        self.is_settled = (task is not None and not has_failed) or not may_have_more

    def doubt(self) -> None:
        """What was said of it was said of another one too: nothing of it is believed."""
        self.found.clear()
        self.asked, self.is_settled = 0, False
        self.why = "the answer about its submission is about another item's task too"


async def ask_by_name(context: Context, route: Route, lines: Sequence[Line]) -> None:
    """Ask about the items of a product whose lists do not say whose a task is, attempt by attempt.

    In rounds, whose answers are weighed together: a proxy may answer one question with what another one was told. An
    item of which there is no clear word keeps its ``why``, for the others are not to wait for it.

    Raises:
        StoppedError: the API does not answer, or the run is to end.
        AccountError: the keys are refused.
    """
    backoff, vain_rounds, began_s = Backoff(2.0, 30.0, context.rng), 0, float("inf")
    unsettled = lines
    while unsettled:
        await _round(context, route, unsettled)
        await _weigh(context, lines)
        unsettled = [line for line in lines if not line.is_settled]
        if not all(line.why for line in unsettled) or not unsettled:
            continue
        vain_rounds, began_s = vain_rounds + 1, min(began_s, loop_now_s())
        if vain_rounds >= _FEWEST_VAIN_ROUNDS and loop_now_s() - began_s > _AGAIN_FOR_S:
            return
        await asyncio.sleep(backoff.next_s())


async def _round(context: Context, route: Route, lines: Sequence[Line]) -> None:
    queue = iter(lines)

    async def work() -> None:
        for line in queue:
            await _ask(context, route, line)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(_AT_ONCE, len(lines))):
                group.create_task(work())
    except BaseExceptionGroup as group_of_errors:
        raise first_of_ours(group_of_errors) or group_of_errors from None


async def _ask(context: Context, route: Route, line: Line) -> None:
    name = line.next_name(context.batch.name)
    try:
        task = await context.client.find(route, str(name), by_external_id=True)
    except Trouble as trouble:
        line.why = _troubled(context, route, trouble)
    else:
        context.well()
        line.take(name, task)


async def _weigh(context: Context, lines: Sequence[Line]) -> None:
    """Nothing is believed of an item of which was said what was said of another, or is known here as another's."""
    told = Counter(task.task_id for line in lines for _, task in line.found)
    owners = await context.store.owners(context.batch, told.keys())
    for line in lines:
        named = [(str(name), task.task_id) for name, task in line.found]
        if any(told[task_id] > 1 or set(owners.get(task_id, ())) - {name} for name, task_id in named):
            line.doubt()


def _troubled(context: Context, route: Route, trouble: Trouble) -> str:
    """Why there was no answer; raises when the run is to end, for instance because nobody gets one."""
    context.trouble(
        f"{route.list_path}, which has to tell what earlier runs made before anything is submitted: {trouble}"
    )
    if context.halt.is_set:
        raise context.halt.error or StoppedError("stopped")
    return str(trouble)
