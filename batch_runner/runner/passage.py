"""One attempt on its way through a run: what is known of its task, and each step recorded and told."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field, replace

from batch_runner import catalog
from batch_runner.errors import AccountError
from batch_runner.events import ItemFinished, ItemSubmitted
from batch_runner.kling import Trouble, failure_of
from batch_runner.lifecycle import MAY_EXIST, Event, State, events_of
from batch_runner.limits import Backoff, loop_now_s
from batch_runner.model import Refusal, Route, Task, TaskStatus, Verdict
from batch_runner.runner.context import Context
from batch_runner.runner.poller import Poller
from batch_runner.runner.watch import Watch
from batch_runner.schedule import SHOWN_FOR_S, task_age_s
from batch_runner.store import Attempt, Facts, HoldAge, Moment

REPEAT_TEXT = "it may have been paid (the account's records tell): --repeat-lost counts it as paid and makes it again"
HIDDEN_AGE_TEXT = (
    "this machine's clock stands more than a day behind its submission, so that nobody knows how long ago that was"
    " (set the clock right and run again)"
)
_FULL_LOOKS = 3


@dataclass(slots=True)
class Passage:
    """What the parts of one attempt's worker share.

    Attributes:
        hold_age: how long ago an earlier run made its hold, when it was taken up; None where this run made it.
        was_unknown: some submission of it may have been accepted, whatever a later one is answered with.
        odd: what it fails with if there turns out to be no task.
        is_put_off: its last submission was turned away as too fast, though not by Kling, so that it is looked for.
        lost_why: why its fate is open; None where an earlier run found it so.
        since_s: loop time from which its task's age counts.
        task: its task as it ended.
    """

    context: Context
    poller: Poller
    attempt: Attempt
    hold_age: HoldAge | None = None
    was_unknown: bool = False
    odd: Refusal | None = None
    is_put_off: bool = False
    lost_why: str | None = None
    since_s: float = 0.0
    task: Task | None = None
    watch: Watch = field(init=False)
    route: Route = field(init=False)
    backoff: Backoff = field(init=False)
    _was_lost_before: bool = field(init=False)
    _taken_up: Moment = field(init=False)
    _longest_age_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.attempt, self.context.policy.settle_s)
        self.route = catalog.route(self.attempt.kind, self.attempt.model)
        self.backoff = Backoff(2.0, 60.0, self.context.rng)
        self.was_unknown = self.attempt.was_left_open or self.attempt.state in {State.SENDING, State.UNKNOWN}
        self._was_lost_before = self.attempt.was_left_open or self.attempt.state in MAY_EXIST
        self._taken_up = Moment.of(self.context.clock)
        self._longest_age_s = 0.0 if self.hold_age is None else self.hold_age.longest_s
        submitted_at = self.attempt.submitted_at
        wall_age_s = 0.0 if submitted_at is None else self.context.clock.wall_s() - submitted_at
        boot_age_s = None if self.hold_age is None else self.hold_age.boot_s
        self.since_s = loop_now_s() - task_age_s(wall_age_s, boot_age_s)

    @property
    def is_stuck(self) -> bool:
        """Whether nothing this run does moves the attempt any more."""
        return self.watch.is_stuck

    @property
    def may_be_purged(self) -> bool:
        """Whether its task may be so old that the service has forgotten it, by whichever clock says so."""
        now = Moment.of(self.context.clock)
        since_s = max(now.wall_s - self._taken_up.wall_s, now.uptime_s - self._taken_up.uptime_s)
        return self._longest_age_s + since_s >= SHOWN_FOR_S

    @property
    def is_age_hidden(self) -> bool:
        """Whether it ``may_be_purged`` only as the one clock that could tell its age was set back since."""
        return math.isinf(self._longest_age_s)

    @property
    def untraceable_why(self) -> str | None:
        """Why its absence does not show that it was never made, for a person; None where it does."""
        if not self.route.has_external_id:
            return "its answer was lost, and Kling knows no id of ours for it"
        if self.is_age_hidden:
            return f"its answer was lost, and {HIDDEN_AGE_TEXT}"
        if self.may_be_purged:
            return "its answer was lost so long ago that Kling may have made and forgotten its task since"
        return None

    @property
    def is_given_up(self) -> bool:
        """Whether the user gave the word to count what an earlier run lost as paid; not what this one loses."""
        return self.context.policy.repeat_lost and self._was_lost_before and not self.context.halt.is_set

    @property
    def is_given_up_as_purged(self) -> bool:
        """Whether what was taken up is so old that the service has forgotten it, and the user gave the word."""
        is_of_earlier_run = self.hold_age is not None
        is_asked = self.context.policy.repeat_lost and not self.context.halt.is_set
        return is_of_earlier_run and is_asked and self.may_be_purged

    @property
    def is_lost_call(self) -> bool:
        """Whether the call was one that is answered at once, and its answer was lost: nobody can ask for it again."""
        return self.route.is_sync and self.attempt.state is State.UNKNOWN

    @property
    def is_over(self) -> bool:
        """Whether nobody can tell its fate any more, and it takes no slot of the account: what is so old has ended."""
        return self.is_lost_call or (self.is_stuck and self.attempt.state in MAY_EXIST and self.may_be_purged)

    def first_sent(self) -> None:
        """Nothing that was sent for it before can have made a task, so that its age counts from now."""
        self._taken_up = Moment.of(self.context.clock)
        self._longest_age_s = 0.0

    @property
    def over_text(self) -> str:
        """For a person, where it ``is_lost_call``: what happened and what to do."""
        got = "an earlier run got no clear answer" if self.lost_why is None else f"no clear answer ({self.lost_why})"
        return f"{got}, and such a call cannot be asked for again; {REPEAT_TEXT}"

    async def record(self, event: Event, facts: Facts = Facts()) -> None:
        """Take one step of the attempt's life, durably."""
        self.attempt = await self.context.apply(self.attempt, event, facts)

    def stuck(self, text: str) -> None:
        """Nothing this run does moves it any more; ``text`` says why, once."""
        if not self.is_stuck:
            self.watch.is_stuck = True
            self.context.notice(f"{self.attempt.item_id}: {text}", urgent=True)
            self.context.changed.set()

    async def note_for_a_loss(self) -> None:
        """Note what no list of the account could tell if the store were lost."""
        route, context = self.route, self.context
        if route.is_sync and context.calls is not None:
            await context.calls.note(self.attempt.item_id)
        elif not route.tells_external_id and context.lists is not None:
            await context.lists.note_name(self.attempt.external_task_id)

    async def put_back(self) -> None:
        """The submission was not taken in, and made no task: it is to be sent later."""
        self.look_no_more()
        await self.record(Event.PUT_BACK)

    async def leave_open(self) -> None:
        """Nothing is sent now, but an earlier sending may have made its task: it is unknown, by way of an intent."""
        if self.attempt.state is State.READY:
            await self.record(Event.SEND)
        await self.record(Event.LOSE_ANSWER)
        self.context.changed.set()

    async def withdraw(self) -> None:
        """It was never made, and has no line any more: nothing is sent, by way of an intent that is taken back."""
        await self.record(Event.SEND)
        await self.record(Event.WITHDRAW)
        text = "its line left the manifest, and the account shows no task for it"
        self.context.notice(f"{self.attempt.item_id}: {text}: nothing is sent, and its hold is given back")

    def look_no_more(self) -> None:
        """In the lists, unless an earlier sending may still show there."""
        if not self.was_unknown:
            self.poller.remove(self.watch)

    async def accepted(self, task: Task, *, adopted: bool) -> None:
        """The account has a task for it."""
        self.watch.follow(task)
        self.backoff.reset()
        if self.attempt.submitted_at is None:
            self.since_s = loop_now_s()
        await self.record(Event.ACCEPT, Facts(task_id=task.task_id))
        self.watch.is_stuck = False
        self.context.observer(ItemSubmitted(self.attempt.item_id, task.task_id, adopted))
        self.context.changed.set()

    async def adopt(self, task: Task) -> None:
        """A task that was found is its own: go on from where the account says it stands."""
        await self.accepted(task, adopted=True)
        await self.take_task(task)

    async def answered(self, task: Task) -> None:
        """A call that is answered at once: there is no task to follow, and no second look at the result."""
        self.task = task
        self.context.observer(ItemSubmitted(self.attempt.item_id, task.task_id, adopted=False))
        await self._end(Event.FAIL if task.status is TaskStatus.FAILED else Event.SUCCEED, task)

    async def refused(self, code: int | None, reason: str, message: str) -> None:
        """There is no task for it, and there will be none."""
        await self.record(Event.REFUSE, Facts(reason=reason, error_code=code, error_message=message))
        self.context.observer(ItemFinished(self.attempt.item_id, "failed", reason, message))

    async def refused_by(self, refusal: Refusal) -> None:
        """The service's word ends it."""
        reason = "policy" if refusal.verdict is Verdict.POLICY else "rejected"
        await self.refused(refusal.code, reason, refusal.message)

    async def lost(self, why: str, odd: Refusal | None = None) -> None:
        """The fate is open; ``odd`` is what the item fails with if there turns out to be no task."""
        await self._lose(why, odd)
        if not self.is_lost_call:
            self.context.notice(f"{self.attempt.item_id}: no clear answer to its submission ({why}); looking for it")

    async def put_off(self) -> None:
        """The fate is open, though it was probably not taken in: it is looked for before it is sent later."""
        is_first = not self.was_unknown
        await self._lose("submissions were put off", None)
        self.is_put_off = True
        if is_first:
            text = "something that is not Kling puts its submission off; it is looked for before it is sent again"
            self.context.notice(f"{self.attempt.item_id}: {text}")

    async def _lose(self, why: str, odd: Refusal | None) -> None:
        self.odd, self.lost_why = odd, why
        self.was_unknown, self.is_put_off = True, False
        await self.record(Event.LOSE_ANSWER)

    async def take_task(self, task: Task) -> None:
        """Record what the account says; a finished task that says too little is asked for once by itself."""
        if self.attempt.state is State.MISSING:
            await self.accepted(task, adopted=True)
        if not task.status.is_terminal:
            return
        try:
            self.task = await self._in_full(task)
        except AccountError as error:
            self.context.halt.leave(error)  # what it cost is not guessed: the next run is told
            return
        for event in events_of(self.task, self.attempt.state):
            await self._end(event, self.task)

    async def _in_full(self, task: Task) -> Task:
        """The task as its own answer tells it, where the page left out the charge or the files.

        Raises:
            AccountError: the keys are refused meanwhile.
        """
        for _ in range(_FULL_LOOKS):
            if task.charged is not None and (task.assets or task.message):
                break
            found = await self._by_itself(task)
            if found is not None:
                charged = task.charged if found.charged is None else found.charged
                return replace(found, charged=charged, assets=found.assets or task.assets)
            await asyncio.sleep(self.backoff.next_s())
        return task

    async def _by_itself(self, task: Task) -> Task | None:
        """The task's own answer; None where none came, or one that is behind what the page said."""
        try:
            found = await self.context.client.find(self.route, task.task_id)
        except Trouble:
            return None
        return found if found is not None and found.status is task.status else None

    async def _end(self, event: Event, task: Task) -> None:
        self.poller.ended(self.watch)
        if event is Event.FAIL:
            reason = failure_of(task.message).reason
            facts = Facts(task_id=task.task_id, charged=task.charged, reason=reason, error_message=task.message)
            await self.record(event, facts)
            self.context.observer(ItemFinished(self.attempt.item_id, "failed", reason, task.message))
        else:
            facts = Facts(task_id=task.task_id, charged=task.charged, reason="asset", made=task.made)
            await self.record(event, facts)
