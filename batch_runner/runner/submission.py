"""Carries one attempt from its hold to the end of its task: send, settle what is unknown, follow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from batch_runner import catalog
from batch_runner.errors import AccountError
from batch_runner.events import ItemFinished, ItemSubmitted
from batch_runner.kling import Trouble, failure_of, for_person
from batch_runner.lifecycle import SLOT_HOLDING, Event, State, events_of
from batch_runner.limits import Backoff
from batch_runner.model import (
    Accepted,
    CreateOutcome,
    NotSent,
    Refusal,
    Refused,
    Route,
    Task,
    TaskStatus,
    Unknown,
    Verdict,
)
from batch_runner.runner.context import Context
from batch_runner.runner.halt import HaltedError
from batch_runner.runner.poller import Poller, Watch, is_of_another
from batch_runner.runner.sources import UnusableSourceError
from batch_runner.schedule import task_age_s
from batch_runner.store import Attempt, Facts

Prepare = Callable[[Context, Attempt], Coroutine[Any, Any, dict[str, Any]]]
"""Puts together the API's fields of an attempt; see ``sources.body_to_send``."""

_LOOK_PAUSE_S = 1.0
_LIST_PATIENCE_S = 10.0
"""So long after the settle time the look by id waits for the one in the list, for it is to be the last one."""
_ASK_AGAIN_S = 3.0
_ANSWERS_INSTEAD = 2
"""Looks by id that are needed where no list can show every task."""
_VANISHED_LOOKS = 4
_EXISTS_LOOKS = 12
_FULL_LOOKS = 3
_REPEAT_TEXT = "it may have been paid: --repeat-lost counts it as paid and makes it again"
_LOST_TEXT = f"its answer was lost, and such a call cannot be asked for again; {_REPEAT_TEXT}"
_SETTLE_LIMIT = 12
_UNCLEAR_LOOKS = 6
"""After so many settle times and questions without a clear word the run no longer waits for this attempt alone; the
questions count too, for a process that stood still has asked nothing meanwhile."""
_LAST_LOOK_S = 60.0
"""So long a task whose deadline has passed is given to be seen once more before it is called overdue."""


@dataclass(slots=True)
class Courier:
    """The worker of one attempt, as long as the attempt holds a slot.

    Attributes:
        is_stuck: nothing this run does moves the attempt any more (overdue, missing, unresolved); it is still
            watched while the run has other work.
    """

    context: Context
    poller: Poller
    attempt: Attempt
    prepare: Prepare
    held_ago_s: float | None = None
    is_stuck: bool = False
    _is_waiting: bool = False
    is_sending: bool = False
    task: Task | None = None
    _watch: Watch = field(init=False)
    _sends: int = 0
    _is_known_absent: bool = False
    _was_unknown: bool = False
    _asked_at_s: float = float("-inf")
    _since_s: float = 0.0
    _asks: int = 0
    _odd: Refusal | None = None
    _backoff: Backoff = field(init=False)
    _route: Route = field(init=False)

    def __post_init__(self) -> None:
        self._watch = Watch(self.attempt, self.context.policy.settle_s)
        self._was_unknown = self.attempt.state in {State.SENDING, State.UNKNOWN}
        now_s, submitted_at = asyncio.get_running_loop().time(), self.attempt.submitted_at
        wall_age_s = 0.0 if submitted_at is None else self.context.clock.wall_s() - submitted_at
        self._since_s = now_s - task_age_s(wall_age_s, self.held_ago_s)
        self._backoff = Backoff(2.0, 60.0, self.context.rng)
        self._route = catalog.route(self.attempt.kind, self.attempt.model)

    @property
    def is_at_risk(self) -> bool:
        """Whether it is in the middle of a submission, or about to give back a hold that nothing was sent for."""
        return self.is_sending or self.attempt.state is State.READY

    async def carry(self) -> None:
        """Bring the attempt to a state that holds no slot, and free the slot then."""
        if self.attempt.state is not State.READY:
            self.poller.add(self._watch)
        try:
            while self.attempt.state in SLOT_HOLDING and not self._is_over:
                await self._move()
        finally:
            self.poller.remove(self._watch)
        if self._is_over:
            self.context.notice(f"{self.attempt.item_id}: {_LOST_TEXT}", urgent=True)
        self.context.free_slots(self.attempt)

    @property
    def _is_over(self) -> bool:
        """Whether the call was one that is answered at once, and its answer was lost: nobody can ask for it again."""
        return self._route.is_sync and self.attempt.state is State.UNKNOWN

    async def _move(self) -> None:
        if self.attempt.state is State.READY:
            await self._send_or_withdraw()
        elif self.attempt.state in {State.SENDING, State.UNKNOWN}:
            await self._settle()
        else:
            await self._follow()

    async def _record(self, event: Event, facts: Facts = Facts()) -> None:
        self.attempt = await self.context.apply(self.attempt, event, facts)

    @property
    def is_idle(self) -> bool:
        """Whether it does not move for now: stuck, or waiting for a slot that only others can free."""
        return self.is_stuck or (self._is_waiting and not self.context.limiter.can_refill(self.attempt.slots))

    def _stuck(self, text: str) -> None:
        if not self.is_stuck:
            self.is_stuck = True
            self.context.notice(f"{self.attempt.item_id}: {text}", urgent=True)
            self.context.changed.set()

    # --- sending ------------------------------------------------------------------------------------------

    async def _send_or_withdraw(self) -> None:
        halt = self.context.halt
        try:
            await halt.unless(self.context.room.admitted(self.attempt))
            admission = await halt.unless(self.context.limiter.admitted(self.attempt.pack))
            await self._send(admission)
        except HaltedError:
            if self.attempt.state is State.SENDING:
                await self._record(Event.PUT_BACK)
            await self._record(Event.WITHDRAW, Facts(reason=halt.reason))

    async def _send(self, admission: int) -> None:
        """The intent first, durable; then the request."""
        try:
            body = await self.context.halt.unless(self.prepare(self.context, self.attempt))
        except UnusableSourceError as error:
            await self._refused(None, error.reason, str(error))
            return
        except Trouble as trouble:
            self.context.trouble(str(trouble))
            await self.context.halt.unless(asyncio.sleep(self._backoff.next_s()))
            return
        except AccountError as error:
            self.context.notice(str(error), urgent=True)
            self.context.halt.leave(error)
            raise HaltedError from None
        if not await self._is_new():
            return
        await self._record(Event.SEND)
        self.poller.add(self._watch)
        self._is_known_absent = False
        self._asks = 0
        self._sends += 1
        self.is_sending = True  # until its outcome is recorded: a stopped run waits for that
        try:
            outcome = await self.context.client.create(self._route, body, self.attempt.external_task_id)
            self._watch.sent()
            await self._take_outcome(outcome, admission)
        finally:
            self.is_sending = False
            self.context.changed.set()

    async def _is_new(self) -> bool:
        """Whether it may be sent: where a store was lost, one list of the account is not believed on what is missing.

        A list may come from somebody's memory on the way; what it does not show is asked for by its id. False when the
        task was found and taken up, or when nobody could tell and it is to be asked again.
        """
        is_in_doubt = self.context.lost_at_s > float("-inf") and not self._route.is_sync
        if not is_in_doubt or self._sends or self._is_known_absent:
            return True
        self.poller.add(self._watch)
        task = await self._ask_by_external_id()
        if task is not None:
            await self._accepted(task, adopted=True)
            await self._take_task(task)
        else:
            self.poller.remove(self._watch)
        return task is None and self._is_known_absent

    async def _take_outcome(self, outcome: CreateOutcome, admission: int) -> None:
        match outcome:
            case Accepted(task) if self.poller.follows(task.task_id, besides=self._watch):
                await self._lost("it was answered with another item's task")
            case Accepted(task):
                self.context.well()
                self.context.limiter.mark_room(self.attempt.pack)
                await (self._answered(task) if self._route.is_sync else self._accepted(task, adopted=False))
            case NotSent(why):
                await self._put_back()
                self.context.trouble(why)
                await self.context.halt.unless(asyncio.sleep(self._backoff.next_s()))
            case Unknown(why, refusal):
                await self._lost(why, refusal if refusal and refusal.verdict is Verdict.ODD else None)
            case Refused(refusal):
                self.context.well()
                await self._take_refusal(refusal, admission)

    async def _put_back(self) -> None:
        self.poller.remove(self._watch)
        await self._record(Event.PUT_BACK)

    async def _take_refusal(self, refusal: Refusal, admission: int) -> None:
        match refusal.verdict:
            case Verdict.RATE:
                await self._put_back()
            case Verdict.SLOT:
                await self._put_back()
                self.context.limiter.mark_full(admission, self.attempt.pack)
            case Verdict.EXISTS:
                self._watch.exists = self._was_unknown = True
                await self._record(Event.LOSE_ANSWER)
            case Verdict.ACCOUNT | Verdict.TOKEN:
                await self._record(Event.WITHDRAW, Facts(reason="account"))
                self._account_trouble(refusal)
            case _ if self._was_unknown:
                # It speaks of this sending alone, and may be a new wording of "exists": look once more.
                await self._lost(f"it was refused when it was sent again: {refusal.message}", refusal)
            case _:
                await self._refused_by(refusal)

    async def _refused_by(self, refusal: Refusal) -> None:
        reason = "policy" if refusal.verdict is Verdict.POLICY else "rejected"
        await self._refused(refusal.code, reason, refusal.message)

    def _account_trouble(self, refusal: Refusal) -> None:
        if not self.context.halt.is_set:
            text = f"the account cannot submit, so nothing more is submitted: {for_person(refusal)}"
            self.context.notice(text, urgent=True)
            self.context.halt.submit_no_more(AccountError(text))

    async def _refused(self, code: int | None, reason: str, message: str) -> None:
        await self._record(Event.REFUSE, Facts(reason=reason, error_code=code, error_message=message))
        self.context.observer(ItemFinished(self.attempt.item_id, "failed", reason, message))

    async def _accepted(self, task: Task, *, adopted: bool) -> None:
        self._watch.task_id = task.task_id
        if self.attempt.submitted_at is None:
            self._since_s = asyncio.get_running_loop().time()
        await self._record(Event.ACCEPT, Facts(task_id=task.task_id))
        self.is_stuck = False
        self.context.observer(ItemSubmitted(self.attempt.item_id, task.task_id, adopted))

    async def _answered(self, task: Task) -> None:
        """A call that is answered at once: there is no task to follow, and no second look at the result."""
        self.task = task
        self.context.observer(ItemSubmitted(self.attempt.item_id, task.task_id, adopted=False))
        await self._end(Event.FAIL if task.status is TaskStatus.FAILED else Event.SUCCEED, task)

    async def _lost(self, why: str, odd: Refusal | None = None) -> None:
        """The fate is open; ``odd`` is what the item fails with if there turns out to be no task."""
        self._odd = odd
        self._was_unknown = True
        await self._record(Event.LOSE_ANSWER)
        if not self._is_over:
            self.context.notice(f"{self.attempt.item_id}: no clear answer to its submission ({why}); looking for it")

    # --- settling what is unknown -------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Find the task, or believe that there is none: only after the settle time and a second look."""
        if self.attempt.state is State.SENDING:  # an earlier run died while its request was under way
            if self._route.is_sync:
                await self._lost("the run ended before it came")
                return
            await self._record(Event.LOSE_ANSWER)
        task = await self._watch.next_task(self._settle_wait_s())
        if task is None and self._may_ask():
            task = await self._ask_by_external_id()
        if task is not None:
            await self._accepted(task, adopted=True)
            await self._take_task(task)
        elif self._is_settled():
            await self._absent()
        elif self._asks >= _UNCLEAR_LOOKS and _now_s() - self._watch.sent_at_s > self._settle_limit_s():
            self._stuck("the account does not tell the fate of its submission; the next run takes it up")

    def _settle_wait_s(self) -> float:
        return max(self._watch.settle_left_s(_now_s()), _LOOK_PAUSE_S)

    def _may_ask(self) -> bool:
        """Whether it is time to ask by id: the list has been looked at, or does not tell."""
        now_s = _now_s()
        if self._watch.settle_left_s(now_s) or now_s - self._asked_at_s < _ASK_AGAIN_S:
            return False
        is_late = not self._watch.settle_left_s(now_s - _LIST_PATIENCE_S)
        return bool(self._watch.late_lists or self._watch.vain_lists) or is_late

    def _is_settled(self) -> bool:
        watch = self._watch
        if watch.exists and watch.absent_looks < _EXISTS_LOOKS:
            return False
        needed = 1 if watch.late_lists else _ANSWERS_INSTEAD
        is_listed = watch.late_lists or watch.vain_lists >= _ANSWERS_INSTEAD
        return self._is_known_absent and bool(is_listed) and watch.late_answers >= needed

    def _settle_limit_s(self) -> float:
        return _SETTLE_LIMIT * self.context.policy.settle_s

    async def _ask_by_external_id(self) -> Task | None:
        began_s = self._asked_at_s = _now_s()
        self._asks += 1
        self._is_known_absent = False
        try:
            task = await self.context.client.find(self._route, self.attempt.external_task_id, by_external_id=True)
        except Trouble as trouble:
            self.context.trouble(str(trouble))
            await asyncio.sleep(self._backoff.next_s())
            return None
        except AccountError as error:
            self.context.halt.leave(error)
            await self.context.halt.leaving()
            await asyncio.sleep(self.context.policy.grace_s)
            return None
        self.context.well()
        self._is_known_absent = task is None
        if task is None:
            self._watch.absent(began_s, in_list=False)
        elif is_of_another(task, self.attempt.external_task_id):
            self.context.trouble("the answer about a submission is about another item's task")
            return None
        return task

    async def _absent(self) -> None:
        """The account definitely has no such task: send the same id again, within reason."""
        if not self._route.has_external_id:
            self._stuck(f"its answer was lost, and Kling knows no id of ours for it; {_REPEAT_TEXT}")
            self._watch.absent_looks = self._watch.late_lists = self._watch.vain_lists = 0
            await asyncio.sleep(self.context.policy.settle_s)
        elif self._odd is not None:
            await self._refused_by(self._odd)
        elif self.context.halt.is_set or self._watch.exists or self._sends >= self.context.policy.max_sends:
            self._stuck("the fate of its submission cannot be settled now; the next run takes it up")
            self._watch.absent_looks = self._watch.late_lists = self._watch.vain_lists = 0
            await asyncio.sleep(self.context.policy.settle_s)
        else:
            await self._send_again()

    async def _send_again(self) -> None:
        try:
            await self._refill()
            admission = await self.context.halt.unless(self.context.limiter.admitted(self.attempt.pack))
            if self._is_stale():
                self._is_known_absent = False  # the wait for a slot was long: look once more before sending
                return
            await self._send(admission)
        except HaltedError:
            if self.attempt.state is State.SENDING:
                await self._record(Event.LOSE_ANSWER)

    async def _refill(self) -> None:
        """Wait for a slot of this run's limit, which may be lower than that of the run that held this one's."""
        self._is_waiting = True
        try:
            await self.context.halt.unless(self.context.limiter.refill(self.attempt.slots))
        finally:
            self._is_waiting = False

    def _is_stale(self) -> bool:
        """Whether something may have been seen since the last look by id, or that look is too old."""
        age_s = asyncio.get_running_loop().time() - self._asked_at_s
        return self._watch.has_task or age_s > self.context.policy.settle_s

    # --- following a task ---------------------------------------------------------------------------------

    async def _follow(self) -> None:
        left_s = self._overdue_at_s() - _now_s()
        task = await self._watch.next_task(left_s if left_s > 0 else None if self.is_stuck else _LAST_LOOK_S)
        if task is not None:
            await self._take_task(task)
        elif self._watch.is_mistaken:
            await self._mistaken()
        elif self._watch.absent_looks >= _VANISHED_LOOKS and not self._watch.settle_left_s(_now_s()):
            await self._vanished()
        # Only what a look after the deadline shows unfinished is overdue: the process may have stood still till then.
        is_overdue = (task is not None or left_s <= 0) and _now_s() >= self._overdue_at_s()
        if is_overdue and self.attempt.state is State.IN_FLIGHT and not self.is_stuck:
            await self.context.store.mark(self.attempt, "overdue")
            self._stuck("its task is overdue; it is asked for as long as this run lasts, and by the next one")

    async def _mistaken(self) -> None:
        self._watch.is_mistaken = False
        self._watch.sent()
        await self._lost("the task it was answered with is another item's")

    def _overdue_at_s(self) -> float:
        return self._since_s + self.context.policy.task_deadline_s

    async def _vanished(self) -> None:
        if self.attempt.state is not State.MISSING:
            await self._record(Event.VANISH)
        self._stuck("its task was accepted, but the account no longer shows it; its hold stays")

    async def _take_task(self, task: Task) -> None:
        """Record what the account says; a finished task that says too little is asked for once by itself."""
        if self.attempt.state is State.MISSING:
            await self._accepted(task, adopted=True)
        if not task.status.is_terminal:
            return
        self.task = await self._in_full(task)
        for event in events_of(self.task, self.attempt.state):
            await self._end(event, self.task)

    async def _in_full(self, task: Task) -> Task:
        """The task as its own answer tells it, where the page left out the charge or the files."""
        for _ in range(_FULL_LOOKS):
            if task.charged is not None and (task.assets or task.message):
                break
            try:
                found = await self.context.client.find(self._route, task.task_id)
            except Trouble:
                await asyncio.sleep(self._backoff.next_s())
                continue
            except AccountError as error:
                self.context.halt.leave(error)
                break
            if found is not None and found.status is task.status:
                charged = task.charged if found.charged is None else found.charged
                return replace(found, charged=charged, assets=found.assets or task.assets)
            break
        return task

    async def _end(self, event: Event, task: Task) -> None:
        self.poller.ended(self._watch)
        if event is Event.FAIL:
            reason = failure_of(task.message).reason
            facts = Facts(task_id=task.task_id, charged=task.charged, reason=reason, error_message=task.message)
            await self._record(event, facts)
            self.context.observer(ItemFinished(self.attempt.item_id, "failed", reason, task.message))
        else:
            facts = Facts(task_id=task.task_id, charged=task.charged, reason="asset", made=task.made)
            await self._record(event, facts)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
