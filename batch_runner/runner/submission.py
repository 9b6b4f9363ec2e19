"""Carries one attempt from its hold to the end of its task: send, settle what is unknown, follow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from batch_runner.errors import AccountError
from batch_runner.kling import Trouble
from batch_runner.lifecycle import SLOT_HOLDING, Event, State
from batch_runner.limits import loop_now_s
from batch_runner.model import Accepted, Task, Unknown
from batch_runner.runner.context import Context
from batch_runner.runner.halt import HaltedError
from batch_runner.runner.outcomes import Outcomes, is_put_off
from batch_runner.runner.passage import REPEAT_TEXT, Passage
from batch_runner.runner.pursuit import Pursuit
from batch_runner.runner.search import Search
from batch_runner.runner.sources import UnusableSourceError
from batch_runner.schedule import Patience
from batch_runner.store import Attempt, Facts

_UNPREPARED_S = 600.0
"""So long a link to another item's result is asked for while everything else is answered."""

Prepare = Callable[[Context, Attempt], Coroutine[Any, Any, dict[str, Any]]]
"""Puts together the API's fields of an attempt; see ``sources.body_to_send``."""


class OutdatedLookError(Exception):
    """A submission's turn came so late that the account is to be looked at once more; nothing was sent."""


@dataclass(slots=True)
class Courier:
    """The worker of one attempt, as long as the attempt holds a slot.

    Attributes:
        passage: the attempt, and what is known of it.
        is_sending: a submission of it is under way, and its outcome is not recorded yet.
    """

    passage: Passage
    prepare: Prepare
    is_sending: bool = False
    _is_waiting: bool = False
    _sends: int = 0
    _put_offs: int = 0
    _patience: Patience = field(default_factory=lambda: Patience(_UNPREPARED_S, _UNPREPARED_S))
    _search: Search = field(init=False)
    _pursuit: Pursuit = field(init=False)
    _outcomes: Outcomes = field(init=False)

    def __post_init__(self) -> None:
        self._search = Search(self.passage)
        self._pursuit = Pursuit(self.passage, self._search)
        self._outcomes = Outcomes(self.passage)

    @property
    def context(self) -> Context:
        """The run's parts."""
        return self.passage.context

    @property
    def attempt(self) -> Attempt:
        """The attempt as it was recorded last."""
        return self.passage.attempt

    @property
    def task(self) -> Task | None:
        """The attempt's task as it ended."""
        return self.passage.task

    @property
    def is_at_risk(self) -> bool:
        """Whether it is in the middle of a submission, or about to give back a hold that nothing was sent for."""
        return self.is_sending or self.attempt.state is State.READY

    async def carry(self) -> None:
        """Bring the attempt to a state that holds no slot, and free the slot then."""
        if self.attempt.was_left_open:
            await self.passage.leave_open()
        if self.attempt.state is not State.READY:
            self.passage.poller.add(self.passage.watch)
        try:
            while self.attempt.state in SLOT_HOLDING and not self.passage.is_over:
                await self._move()
        finally:
            self.passage.poller.remove(self.passage.watch)
        if self.passage.is_lost_call:
            self.context.notice(f"{self.attempt.item_id}: {self.passage.over_text}", urgent=True)
        self.context.free_slots(self.attempt)

    async def _move(self) -> None:
        if self.attempt.state is State.READY:
            await self._send_or_withdraw()
        elif self.attempt.state in {State.SENDING, State.UNKNOWN}:
            await self._settle()
        else:
            await self._pursuit.follow()

    @property
    def is_idle(self) -> bool:
        """Whether it does not move for now: stuck, or waiting for a slot that only others can free."""
        is_kept_waiting = self._is_waiting and not self.context.limiter.can_refill(self.attempt.slots)
        return not self.is_sending and (self.passage.is_stuck or is_kept_waiting)

    # --- sending ------------------------------------------------------------------------------------------

    async def _send_or_withdraw(self) -> None:
        halt = self.context.halt
        try:
            await halt.unless(self.context.room.admitted(self.attempt))
            admission = await halt.unless(self.context.limiter.admitted(self.attempt.pack))
            await self._send(admission)
        except HaltedError:
            await self._stand_back()

    async def _stand_back(self) -> None:
        """It is not sent any more; its hold is only given back where no earlier sending can have made a task."""
        task = await self.passage.watch.next_task(None) if self.passage.watch.has_task else None
        if task is not None:
            await self.passage.adopt(task)
        elif self.passage.was_unknown:
            await self.passage.leave_open()
        else:
            await self.passage.record(Event.WITHDRAW, Facts(reason=self.context.halt.reason))

    async def _send(self, admission: int) -> None:
        """Everything that takes time first, then the intent, durable, then the request at once."""
        if not await self._is_new():
            if self._is_untold:
                await self._put_aside("the account does not tell whether it was sent before; the next run asks again")
            return
        try:
            body = await self.context.halt.unless(self.prepare(self.context, self.attempt))
        except UnusableSourceError as error:
            await self._unusable(error)
            return
        except Trouble as trouble:
            await self._unprepared(str(trouble))
            return
        except AccountError as error:
            self.context.leave(error)
            raise HaltedError from None
        self._patience.well()
        name = self.attempt.external_task_id
        try:
            outcome = await self.context.client.create(self.passage.route, body, name, self._intend)
            self._sends += 1
            self.passage.watch.sent()
            self._search.begin()
            if isinstance(outcome, Accepted) and await self._outcomes.is_anothers(outcome.task, body):
                outcome = Unknown("the answer was another item's")
            self._put_offs += is_put_off(outcome)
            await self._outcomes.take(outcome, admission)
        except OutdatedLookError:
            self._search.look_again()
        finally:
            self.is_sending = False
            self.context.changed.set()

    async def _unusable(self, error: UnusableSourceError) -> None:
        """It cannot be sent; if it was before, no second sending tells of the first, which is looked for for long."""
        if self.passage.watch.has_task:  # its turn comes again at once, and takes the task up
            return
        if self.passage.was_unknown and self.attempt.state is State.READY:
            await self.passage.leave_open()
        elif self.passage.was_unknown and not self._search.is_long():
            await self._rest()
        else:
            await self.passage.refused(None, error.reason, str(error))

    async def _unprepared(self, why: str) -> None:
        """What it takes from another item cannot be had now: wait, though not as long as others keep the run going."""
        self.context.trouble(why)
        if self._patience.trouble(loop_now_s()):
            await self._put_aside(f"what it takes from its source cannot be had now ({why}); the next run tries again")
        if self.attempt.state in SLOT_HOLDING:
            await self.context.halt.unless(asyncio.sleep(self.passage.backoff.next_s()))

    async def _put_aside(self, why: str) -> None:
        """Leave it to the next run and its slot to others; where a task of it may be there, only wait no longer."""
        if self.passage.watch.has_task:  # its turn comes again at once, and takes the task up
            return
        if self.passage.was_unknown:
            await self.passage.leave_open()
            self.passage.stuck(why)
            return
        self.context.notice(f"{self.attempt.item_id}: {why}", urgent=True)
        await self.context.store.put_aside(self.attempt)  # first: what is withdrawn could be claimed again at once
        await self.passage.record(Event.WITHDRAW)

    async def _intend(self) -> None:
        """From here on a crash reads as "may exist"; while the request waited for its turn, nothing was sent."""
        await self.context.room.check()
        if self.attempt.state is State.SENDING:  # with another token: the request before it was turned away
            await self.passage.record(Event.PUT_BACK)
        await self.passage.note_for_a_loss()
        if self._is_in_doubt and not self._search.may_send():  # last, for all before it may have waited for the disk
            raise OutdatedLookError
        if not self.passage.was_unknown:
            self.passage.first_sent()
        await self.passage.record(Event.SEND)
        self.passage.poller.add(self.passage.watch)
        self.is_sending = True  # until its outcome is recorded: a stopped run waits for that

    @property
    def _is_in_doubt(self) -> bool:
        """Whether it is only sent upon a look at the account that was answered a moment ago.

        Where it may have been sent before; and where a store was lost, for a list may come from somebody's memory on
        the way: what it does not show is asked for by its id.
        """
        is_first_after_loss = self.context.was_lost and not self.passage.route.is_sync and not self._sends
        return self.passage.was_unknown or self.passage.watch.has_task or is_first_after_loss

    async def _is_new(self) -> bool:
        """Whether it may be sent; False when its task was found and taken up, or when it is to be asked again."""
        if not self._is_in_doubt or self._search.may_send():
            return True
        self.passage.poller.add(self.passage.watch)
        task = await self._search.look()
        if task is not None:
            await self.passage.adopt(task)
        else:
            self.passage.look_no_more()
        return task is None and self._search.may_send()

    @property
    def _is_untold(self) -> bool:
        """Whether the look that it is only sent upon has been in vain for too long."""
        return self.attempt.state is State.READY and self._search.is_vain() and not self._search.is_known_absent

    # --- settling what is unknown -------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Find the task, or believe that there is none: only after the settle time and a second look."""
        if self.attempt.state is State.SENDING:  # an earlier run died while its request was under way
            if self.passage.route.is_sync:
                await self.passage.lost("the run ended before it came")
                return
            await self.passage.record(Event.LOSE_ANSWER)
        task = await self._search.next_task()
        if task is not None:
            await self.passage.adopt(task)
        elif self._search.is_settled():
            await self._absent()
        elif self._search.is_vain():
            self.passage.stuck("the account does not tell the fate of its submission; the next run takes it up")

    async def _absent(self) -> None:
        """The account definitely has no such task: send the same id again, within reason."""
        untraceable_why = self.passage.untraceable_why
        if untraceable_why and self.passage.is_given_up:
            await self.passage.record(Event.GIVE_UP, Facts(reason="unresolved"))
            await self.context.store.queue_item(self.context.batch, self.attempt.item_id)
        elif untraceable_why:
            self.passage.stuck(f"{untraceable_why}; {REPEAT_TEXT}")
            await self._rest()
        elif self.passage.odd is not None and self._search.is_long():
            await self.passage.refused_by(self.passage.odd)
        elif self.passage.odd is not None:
            await self._rest()
        elif self.context.halt.is_set or self.passage.watch.exists or self._is_sent_often():
            self.passage.stuck("the fate of its submission cannot be settled now; the next run takes it up")
            await self._rest()
        elif self.attempt.in_manifest:
            await self._send_again()
        elif self._search.is_long():
            await self.passage.withdraw()
        else:
            await self._rest()

    def _is_sent_often(self) -> bool:
        return self._sends - self._put_offs >= self.context.policy.max_sends

    async def _rest(self) -> None:
        """Wait before the same looks are made once more, unless nobody will ever tell."""
        if not self.passage.is_over:
            self._search.begin_again()
            await asyncio.sleep(self.context.policy.settle_s)

    async def _send_again(self) -> None:
        try:
            await self._hold_back()
            await self._refill()
            admission = await self.context.halt.unless(self.context.limiter.admitted(self.attempt.pack))
            if self._search.may_send():
                await self._send(admission)
            else:
                self._search.look_again()
        except HaltedError:
            if self.attempt.state is State.SENDING:
                await self.passage.record(Event.LOSE_ANSWER)

    async def _hold_back(self) -> None:
        """What was put off waits longer each time; until it is over no list can tell more than the last one."""
        if not self.passage.is_put_off:
            return
        self.passage.is_put_off = False
        self.passage.poller.remove(self.passage.watch)
        try:
            await self.context.halt.unless(asyncio.sleep(self.passage.backoff.next_s()))
        finally:
            self.passage.poller.add(self.passage.watch)

    async def _refill(self) -> None:
        """Wait for a slot of this run's limit, which may be lower than that of the run that held this one's."""
        self._is_waiting = True
        try:
            await self.context.halt.unless(self.context.limiter.refill(self.attempt.slots))
        finally:
            self._is_waiting = False
