"""One poller for everything in flight: the list route first, single questions for what a page lacks."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from batch_runner.errors import BatchRunnerError, NotPermittedError
from batch_runner.kling import MOST_IDS, Trouble
from batch_runner.limits import Backoff, loop_now_s
from batch_runner.model import Generation, Page, Route, Task, Verdict
from batch_runner.runner.context import Context
from batch_runner.runner.watch import Watch, tell_found
from batch_runner.schedule import (
    MAX_INTERVAL_S,
    MIN_INTERVAL_S,
    CompletionRate,
    PageSize,
    poll_interval_s,
)

_ASK_AGAIN_S = 5.0
"""A task that pages lack is asked for by id at most this often."""
_FAILURES_UNTIL_BY_ID = 2
_LIST_AGAIN_S = 30.0
"""A list that failed so often is left alone for so long, while the tasks in it are asked for by id."""


@dataclass(slots=True)
class _Listing:
    """What was learned about one list of the account: how much to ask for, and whether it answers at all."""

    page_size: PageSize = field(default_factory=PageSize)
    failures: int = 0
    is_told: bool = False
    ask_again_at_s: float = float("-inf")

    @property
    def is_out_of_order(self) -> bool:
        """Whether what is in flight is better asked for by id for now."""
        return self.failures >= _FAILURES_UNTIL_BY_ID and loop_now_s() < self.ask_again_at_s

    def failed(self) -> None:
        self.failures += 1
        self.ask_again_at_s = loop_now_s() + _LIST_AGAIN_S


class Poller:
    """Asks for everything that is watched, at the pace the request limit leaves.

    Args:
        context: the run's parts.
        rpm: requests allowed in any 60 s; 0 is no limit.
        pause: waits so many seconds between two questions; a rehearsal leaves out the waits that bring no news.
    """

    def __init__(self, context: Context, rpm: int, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._pause = pause
        self._context = context
        self._rpm = rpm
        self._watches: dict[str, Watch] = {}
        self._listings: dict[str, _Listing] = defaultdict(_Listing)
        self._something = asyncio.Event()
        self._backoff = Backoff(2.0, 30.0, context.rng)
        self._completions = CompletionRate()
        self._hinted_ends: set[str] = set()
        self._are_calls_coming = False

    def add(self, watch: Watch) -> None:
        """Begin to look for a task of this attempt; what is answered at once has none."""
        if watch.route.is_sync:
            return
        self._watches[watch.external_task_id] = watch
        self._something.set()

    def remove(self, watch: Watch) -> None:
        """There is nothing to be learned about this attempt for now."""
        self._watches.pop(watch.external_task_id, None)
        if not self._watches:
            self._something.clear()

    def ended(self, watch: Watch) -> None:
        """This attempt's task has ended, and its end was taken note of; whether a call had told of it counts."""
        self._completions.record(loop_now_s())
        self._are_calls_coming = watch.external_task_id in self._hinted_ends
        self._hinted_ends.discard(watch.external_task_id)

    async def run(self) -> None:
        """Poll until cancelled; waiting costs nothing while nothing is watched."""
        while True:
            await self._something.wait()
            for list_path in sorted({watch.route.list_path or "" for watch in self._watches.values()}):
                await self._wait_for_turn()
                if any(watch.wants_a_look for watch in self._on(list_path)):
                    await self._look(list_path)

    def _on(self, list_path: str) -> list[Watch]:
        return [watch for watch in self._watches.values() if watch.route.list_path == list_path]

    @property
    def is_following(self) -> bool:
        """Whether any task that is known to exist is followed, and its end waited for."""
        return any(watch.task_id is not None and not watch.is_stuck for watch in self._watches.values())

    def follows(self, task_id: str, besides: Watch) -> bool:
        """Whether this task is another attempt's already."""
        return any(watch.task_id == task_id for watch in self._watches.values() if watch is not besides)

    async def _wait_for_turn(self) -> None:
        """Wait as long as the request limit asks for, and meanwhile look where the service hints at something.

        Such a look is taken from those to come, which are put off for it, though never for good: hints may be all
        about one product, and calls may fail to come.
        """
        interval_s, hints = self._interval_s(), self._context.hints
        if hints is None:
            await self._pause(interval_s)
            return
        if self._are_calls_coming:  # half the requests are kept for the looks that calls will be worth
            interval_s = min(2 * interval_s, MAX_INTERVAL_S)
        due_s = loop_now_s() + interval_s
        latest_s = due_s + MAX_INTERVAL_S
        while due_s > loop_now_s() and await hints.wait(due_s - loop_now_s()):
            for list_path in self._hinted(hints.take()):
                await self._look(list_path)
                due_s = min(due_s + interval_s, latest_s)
                await asyncio.sleep(MIN_INTERVAL_S)  # calls of one moment need but one look

    def _hinted(self, tasks: Sequence[Task]) -> list[str]:
        """Where to look after the service told of these tasks: where it may have news that we lack."""
        by_task_id = {watch.task_id: watch for watch in self._watches.values() if watch.task_id is not None}
        paths = set()
        for task in tasks:
            watch = self._watches.get(task.external_task_id or "") or by_task_id.get(task.task_id)
            if watch is None or watch.has_task:
                continue
            self._are_calls_coming = True
            if task.status.is_terminal:
                self._hinted_ends.add(watch.external_task_id)
            if task.status.is_terminal or watch.task_id is None:
                paths.add(watch.route.list_path or "")
        return sorted(paths)

    def _interval_s(self) -> float:
        return poll_interval_s(self._rpm, self._completions.per_s(loop_now_s()))

    async def _look(self, list_path: str) -> None:
        context = self._context
        try:
            await self._look_at(list_path)
        except Trouble as trouble:
            for watch in self._on(list_path):
                watch.vain_looks += 1
            context.trouble(str(trouble))
            await asyncio.sleep(self._backoff.next_s())
        except NotPermittedError as error:
            self._not_permitted(list_path, error)
        except BatchRunnerError as error:  # the account's, or the disk's, which must not tear the workers down
            context.leave(error)
            await asyncio.sleep(_ASK_AGAIN_S)
        else:
            context.well()
            self._backoff.reset()

    def _not_permitted(self, list_path: str, error: NotPermittedError) -> None:
        """It ends a run only for its own tasks: of others the slots stay taken, and nobody waits for them."""
        watches = self._on(list_path)
        if not watches or not all(watch.is_guest for watch in watches):
            self._context.leave(error)
            return
        for watch in watches:
            watch.is_stuck = True
            self.remove(watch)
        self._context.notice(f"another batch's tasks cannot be asked for, so their slots count as taken: {error}")
        self._context.changed.set()

    async def _look_at(self, list_path: str) -> None:
        watches = [watch for watch in self._watches.values() if watch.route.list_path == list_path]
        if watches and watches[0].route.generation is Generation.V2:
            for some in _batched(watches, MOST_IDS):
                await self._look_by_name(some)
        elif watches:
            await self._look_at_page(watches, list_path)

    async def _look_by_name(self, watches: Sequence[Watch]) -> None:
        """The second generation tells of the tasks that are named, and leaves out those it does not know."""
        looked_at_s = loop_now_s()
        page = await self._context.client.find_many(
            task_ids=[watch.task_id for watch in watches if watch.task_id is not None],
            external_task_ids=[watch.external_task_id for watch in watches if watch.task_id is None],
        )
        await self._ask_for(tell_found(watches, page.tasks), looked_at_s, is_complete=not page.illegible)

    async def _look_at_page(self, watches: Sequence[Watch], list_path: str) -> None:
        listing = self._listings[list_path]
        named = [watch for watch in watches if watch.task_id is not None]
        if named and listing.is_out_of_order:  # one a turn, so that other products' lists have theirs
            await self._ask(min(named, key=lambda watch: watch.asked_at_s))
            return
        size = listing.page_size.for_tasks(len(watches))
        looked_at_s = loop_now_s()
        page = await self._page(listing, watches[0].route, size, is_followed=bool(named))
        lacking = tell_found(watches, page.tasks)
        is_full = page.rows >= size
        if lacking and is_full:
            listing.page_size.lacked()
        await self._ask_for(lacking, looked_at_s, is_complete=not is_full and not page.illegible)

    async def _page(self, listing: _Listing, route: Route, size: int, *, is_followed: bool) -> Page:
        try:
            page = await self._context.client.page(route, 1, size)
        except Trouble as trouble:
            if trouble.refusal is None or trouble.refusal.verdict is not Verdict.RATE:
                listing.failed()
            if is_followed and listing.is_out_of_order and not listing.is_told:
                listing.is_told = True
                text = f"a list of tasks does not come ({trouble}); what is in flight is asked for one by one meanwhile"
                self._context.notice(text)
            raise
        listing.failures = 0
        return page

    async def _ask_for(self, lacking: Sequence[Watch], looked_at_s: float, *, is_complete: bool) -> None:
        for watch in lacking:
            if watch.task_id is not None:
                await self._ask_beside(watch)
            elif is_complete:
                watch.absent(looked_at_s, in_list=True)
            else:
                watch.listed_in_vain(looked_at_s)

    async def _ask_beside(self, watch: Watch) -> None:
        """Ask for what a page lacked, now and then; an illegible answer keeps no other task from being asked for."""
        if loop_now_s() - watch.asked_at_s < _ASK_AGAIN_S:
            return
        try:
            await self._ask(watch)
        except Trouble as trouble:
            watch.vain_looks += 1
            if trouble.refusal is not None:
                raise

    async def _ask(self, watch: Watch) -> None:
        """Ask for one task by its id: a page that lacks it proves nothing."""
        if watch.task_id is None:  # meanwhile it turned out to be another item's
            return
        now_s = watch.asked_at_s = loop_now_s()
        watch.answered(await self._context.client.find(watch.route, watch.task_id), now_s)


def _batched(watches: Sequence[Watch], size: int) -> Iterator[Sequence[Watch]]:
    return (watches[start : start + size] for start in range(0, len(watches), size))
