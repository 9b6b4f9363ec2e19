"""Follows a task that is known to exist, to its end or to where this run can do no more for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from batch_runner import catalog
from batch_runner.errors import AccountError
from batch_runner.kling import Trouble
from batch_runner.lifecycle import Event, State
from batch_runner.limits import loop_now_s
from batch_runner.model import Route, Task
from batch_runner.runner.passage import HIDDEN_AGE_TEXT, REPEAT_TEXT, Passage
from batch_runner.runner.search import Search
from batch_runner.store import Facts

_VANISHED_LOOKS = 4
_ASKS_AGAIN = 3


@dataclass(frozen=True, slots=True)
class Pursuit:
    """The attempt's way from its accepted task to the end of it."""

    passage: Passage
    search: Search

    async def follow(self) -> None:
        """Wait for the next news of the task, and take it."""
        passage, watch = self.passage, self.passage.watch
        task, is_overdue = await watch.next_or_overdue(self._overdue_at_s())
        if task is not None:
            await self._seen(task)
        elif watch.is_mistaken:
            await self._mistaken()
        elif watch.absent_looks >= _VANISHED_LOOKS and not watch.settle_left_s(loop_now_s()):
            await self._vanished()
        if is_overdue and passage.attempt.state is State.IN_FLIGHT and not passage.is_stuck:
            await passage.context.store.mark(passage.attempt, "overdue")
            passage.stuck("its task is overdue; it is asked for as long as this run lasts, and by the next one")

    def _overdue_at_s(self) -> float:
        return self.passage.since_s + self.passage.context.policy.task_deadline_s

    async def _seen(self, task: Task) -> None:
        """What was missing and shows again without our name may be in an answer to another item's question."""
        passage = self.passage
        is_doubtful = passage.attempt.state is State.MISSING and task.external_task_id is None
        if await self._is_anothers_end(task):
            return
        if not is_doubtful or not passage.route.has_external_id or not passage.route.tells_external_id:
            await passage.take_task(task)
        elif (named := await self.search.ask()) is not None:
            await self._found(named)
        else:
            passage.stuck(self._vanished_text())

    async def _is_anothers_end(self, task: Task) -> bool:
        """Where no answer says whose a task is, its end is taken once a question by our own name has not shown another.

        That costs a question for each such task; without it an item takes the film of another one whose create was
        answered with the same task, and its own is paid for and never fetched.
        """
        route, is_named = self.passage.route, task.external_task_id is not None
        if route.tells_external_id or not route.has_external_id or is_named or not task.status.is_terminal:
            return False
        named = await self._asked_by_name()
        if named is not None and named.task_id != task.task_id:
            await self.passage.adopt(named)
            return True
        if named is None and not self.search.is_known_absent:
            self.passage.stuck("nobody tells whether the task that ended is its own; the next run asks again")
            return True
        return False

    async def _asked_by_name(self) -> Task | None:
        """What the account says of its name; also another item's task, if that one's name is told yet another."""
        for _ in range(_ASKS_AGAIN):
            named = await self.search.ask()
            if named is not None or self.search.is_known_absent:
                return named
        disputed = self.search.disputed
        return disputed if disputed is not None and await self._is_exchanged(disputed) else None

    async def _is_exchanged(self, task: Task) -> bool:
        """Whether another item was only answered with this task, and the account tells a different one of its name.

        Else neither of two items that were answered with each other's task would ever get its own.
        """
        context, own = self.passage.context, self.passage.attempt.external_task_id
        owners = (await context.store.owners(context.batch, [task.task_id])).get(task.task_id, ())
        told = [await self._asked(self.passage.route, name, by_external_id=True) for name in owners if name != own]
        return all(each is not None and each.task_id != task.task_id for each in told)

    async def _mistaken(self) -> None:
        self.passage.watch.is_mistaken, self.passage.watch.task_id = False, None
        self.passage.watch.sent()
        await self.passage.lost("the task it was answered with is another item's")

    async def _vanished(self) -> None:
        """It may have been answered with a task that is not its own, where no answer says whose a task is."""
        if not self.passage.is_stuck:
            task = await self.search.ask()
            if task is not None:
                await self._found(task)
                return
            if await self._is_anothers() or await self._is_of_nameless_product():
                await self._mistaken()
                return
        if self.passage.attempt.state is not State.MISSING:
            await self.passage.record(Event.VANISH)
        if self.passage.is_given_up_as_purged and self.search.is_known_absent:
            await self._give_up()
        else:
            self.passage.stuck(self._vanished_text())

    async def _found(self, task: Task) -> None:
        """It is there, whether lists and questions by its own id show it or not; or another one is its own."""
        if task.task_id == self.passage.watch.task_id:
            self.passage.watch.absent_looks = 0
            await self.passage.take_task(task)
        else:
            await self.passage.adopt(task)

    async def _is_anothers(self) -> bool:
        """Whether the task it was answered with is followed, or was finished, as another item's by now."""
        task_id, name = self.passage.watch.task_id, self.passage.attempt.external_task_id
        store, batch = self.passage.context.store, self.passage.context.batch
        owners = await store.owners(batch, [task_id] if task_id else [])
        missing = {attempt.external_task_id for attempt in await store.in_states(batch, [State.MISSING])}
        return bool({owner for names in owners.values() for owner in names} - missing - {name})

    async def _is_of_nameless_product(self) -> bool:
        """Whether the task it was answered with is one of a product whose tasks bear no name: nobody claims those."""
        task_id, own = self.passage.watch.task_id, self.passage.route
        if self.passage.watch.is_named:
            return False
        routes = [route for route in catalog.nameless_routes() if route.list_path != own.list_path]
        if task_id is None or not own.has_external_id:
            return False
        for route in routes:
            task = await self._asked(route, task_id)
            if task is not None and task.external_task_id is None:
                return True
        return False

    async def _asked(self, route: Route, asked_id: str, *, by_external_id: bool = False) -> Task | None:
        """What another product, or another name, is told; asked for again and again, for nothing asks so later."""
        for _ in range(_ASKS_AGAIN):
            try:
                return await self.passage.context.client.find(route, asked_id, by_external_id=by_external_id)
            except AccountError:  # the account may not ask for that product; about its own it was told a moment ago
                return None
            except Trouble as trouble:
                self.passage.context.trouble(str(trouble))
                await asyncio.sleep(self.passage.backoff.next_s())
        return None

    async def _give_up(self) -> None:
        context, attempt = self.passage.context, self.passage.attempt
        await self.passage.record(Event.GIVE_UP, Facts(task_id=attempt.task_id, reason="unresolved"))
        await context.store.queue_item(context.batch, attempt.item_id)

    def _vanished_text(self) -> str:
        text = "its task was accepted, but the account no longer shows it; its hold stays"
        if self.passage.is_age_hidden:
            text += f"; {HIDDEN_AGE_TEXT}; {REPEAT_TEXT}"
        elif self.passage.may_be_purged:
            text += f"; it is older than Kling keeps tasks, so {REPEAT_TEXT}"
        return text
