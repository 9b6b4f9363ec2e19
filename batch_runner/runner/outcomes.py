"""What the answer to a submission makes of its attempt, and of the run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batch_runner.errors import AccountError
from batch_runner.kling import for_person
from batch_runner.lifecycle import Event
from batch_runner.model import FACTS_SUFFIX, Accepted, CreateOutcome, NotSent, Refusal, Refused, Task, Unknown, Verdict
from batch_runner.runner.context import Context
from batch_runner.runner.passage import Passage
from batch_runner.store import Facts


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Takes the outcomes of one attempt's submissions."""

    passage: Passage

    @property
    def _context(self) -> Context:
        return self.passage.context

    async def take(self, outcome: CreateOutcome, admission: int) -> None:
        """Record what is certain now; ``admission`` is what the limiter let the submission in with."""
        match outcome:
            case Accepted(task) if self.passage.poller.follows(task.task_id, besides=self.passage.watch):
                await self.passage.lost("it was answered with another item's task")
            case Accepted(task):
                self._context.well()
                self._context.put_offs.over()
                self._context.limiter.mark_room(self.passage.attempt.pack)
                await self._take_up(task)
            case NotSent(why):
                await self.passage.put_back()
                self._context.trouble(why)
                await self._context.halt.unless(asyncio.sleep(self.passage.backoff.next_s()))
            case Unknown(why, refusal):
                await self._take_unknown(why, refusal)
            case Refused(refusal):
                self._context.well()
                await self._take_refusal(refusal, admission)

    async def _take_unknown(self, why: str, refusal: Refusal | None) -> None:
        verdict = None if refusal is None else refusal.verdict
        if verdict is Verdict.RATE and not self.passage.route.is_sync:
            await self.passage.put_off()
            self._context.put_off(why)
        else:
            await self.passage.lost(why, refusal if verdict is Verdict.ODD else None)
        if refusal is not None and verdict is Verdict.ACCOUNT:
            self._account_trouble(refusal)

    async def _take_up(self, task: Task) -> None:
        if self.passage.route.is_sync:
            await self.passage.answered(task)
        else:
            await self.passage.accepted(task, adopted=False)

    async def _take_refusal(self, refusal: Refusal, admission: int) -> None:
        match refusal.verdict:
            case Verdict.RATE:
                await self.passage.put_back()
                self._context.put_off(for_person(refusal))
            case Verdict.SLOT:
                await self.passage.put_back()
                self._context.limiter.mark_full(admission, self.passage.attempt.pack)
                self._note_full(refusal)
            case Verdict.EXISTS:
                self.passage.watch.exists = self.passage.was_unknown = True
                await self.passage.record(Event.LOSE_ANSWER)
            case Verdict.ACCOUNT | Verdict.TOKEN:
                self._account_trouble(refusal)  # first: what is withdrawn could be claimed again in the same moment
                if self.passage.was_unknown:  # the first sending may have taken the last credits
                    await self.passage.lost("the account refused to have it sent again")
                else:
                    await self.passage.record(Event.WITHDRAW, Facts(reason="account"))
            case _ if self.passage.was_unknown:
                # It speaks of this sending alone, and may be a new wording of "exists": look once more.
                await self.passage.lost(f"it was refused when it was sent again: {refusal.message}", refusal)
            case _:
                await self.passage.refused_by(refusal)

    def _note_full(self, refusal: Refusal) -> None:
        """Slots that tasks of this run hold become free with them, unless they are stuck: nobody else is waited for."""
        if self.passage.poller.is_following:
            self._context.put_offs.over()
        else:
            self._context.put_off(for_person(refusal))

    def _account_trouble(self, refusal: Refusal) -> None:
        if not self._context.halt.is_set:
            text = f"the account cannot submit, so nothing more is submitted: {for_person(refusal)}"
            self._context.notice(text, urgent=True)
            self._context.halt.submit_no_more(AccountError(text))

    async def is_anothers(self, task: Task, body: Mapping[str, Any]) -> bool:
        """Whether an answer that bears no name of ours is seen to belong to another item."""
        if not self.passage.route.is_sync:
            is_nameless, name = task.external_task_id is None, self.passage.attempt.external_task_id
            return is_nameless and await self._context.is_task_of_another(task, name)
        asked, told = body.get("session_id"), task.made.get("session_id")
        if asked is not None:
            return (told is not None and told != asked) or _is_of_another_call(task, body)
        return await self._context.store.has_answered_another(self.passage.attempt, task.task_id, task.made)


def is_put_off(outcome: CreateOutcome) -> bool:
    """Whether a submission was turned away for its rate or for want of a slot, or never left: none of the tries."""
    match outcome:
        case Refused(refusal) | Unknown(_, Refusal() as refusal):
            return refusal.verdict in {Verdict.RATE, Verdict.SLOT}
        case _:
            return isinstance(outcome, NotSent)


def _is_of_another_call(task: Task, body: Mapping[str, Any]) -> bool:
    """Whether an answer within a session says what this call's never does: another frame, or what opens one.

    Source: kling-api 3.6, the answers of the selection calls.
    """
    said = [json.loads(asset.content) for asset in task.assets if asset.suffix == FACTS_SUFFIX and asset.content]
    facts = said[0] if said and isinstance(said[0], dict) else {}
    result = facts.get("res")
    frame = result.get("frame_index") if isinstance(result, dict) else None
    return "total_frame" in facts or (isinstance(frame, int) and str(frame) != str(body.get("frame_index")))
