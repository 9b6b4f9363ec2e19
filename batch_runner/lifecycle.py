"""What can happen to an attempt: states, events, and one table that decides every pair. Pure.

The order that keeps promises 1 and 2: the intent (SENDING, with its hold) is durable before a byte of the
submission leaves; an attempt whose fate is open is never replaced; only a definite end lets a new one begin.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

from batch_runner.model import Task, TaskStatus


class State(StrEnum):
    """Where an attempt stands."""

    READY = "ready"
    """Credits are held; no task exists: not sent yet, or refused for want of a slot or by the rate limit."""
    SENDING = "sending"
    """The intent is durable and a request may be under way; after a crash this reads as UNKNOWN."""
    UNKNOWN = "unknown"
    """A request was sent and its fate is open."""
    IN_FLIGHT = "in_flight"
    """A task exists and holds a slot."""
    MISSING = "missing"
    """A task was accepted, and the account no longer shows it."""
    SUCCEEDED = "succeeded"
    """The task ended well and is charged; its files are still to be published."""
    PUBLISHED = "published"
    """Every file is whole under its final name."""
    ASSET_GONE = "asset_gone"
    """Charged, but the server no longer hands out its files."""
    FAILED = "failed"
    """The task definitely failed."""
    LOST = "lost"
    """The answer of a call that cannot be asked for again was lost, and its user chose to count it as paid."""
    REFUSED = "refused"
    """The submission was definitely refused for the item's own sake; no task was made."""
    WITHDRAWN = "withdrawn"
    """The hold was given back before any task was made; the same attempt may be sent by a later run."""


class Event(StrEnum):
    """What can happen to an attempt."""

    HOLD = "hold"
    SEND = "send"
    ACCEPT = "accept"
    PUT_BACK = "put_back"
    LOSE_ANSWER = "lose_answer"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"
    GIVE_UP = "give_up"
    VANISH = "vanish"
    SUCCEED = "succeed"
    FAIL = "fail"
    PUBLISH = "publish"
    LOSE_ASSET = "lose_asset"


class Money(StrEnum):
    """What a step does to the ledger."""

    NOTHING = "nothing"
    HOLD = "hold"
    CHARGE = "charge"
    SETTLE_FAILED = "settle_failed"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Step:
    """The decided outcome of an event: the next state and what it does to the ledger."""

    state: State
    money: Money = Money.NOTHING


class IllegalEventError(Exception):
    """An event that cannot happen in this ``state``; the attempt is left as it was."""

    def __init__(self, state: State, event: Event) -> None:
        self.state = state
        super().__init__(f"{event.value} cannot happen to an attempt that is {state.value}")


SLOT_HOLDING = frozenset({State.READY, State.SENDING, State.UNKNOWN, State.IN_FLIGHT, State.MISSING})
"""States in which the account's slot is, or may be, taken."""

LIVE = SLOT_HOLDING | {State.SUCCEEDED}
"""States that still need work; an item with a live attempt never gets another one."""

MAY_EXIST = frozenset({State.SENDING, State.UNKNOWN, State.MISSING})
"""States in which nobody can say whether the account has a live task."""

RETRYABLE = frozenset({State.FAILED, State.REFUSED, State.LOST})
"""Ends without a video, definite or declared so by the user: policy may allow another attempt."""

_S, _E = State, Event

TRANSITIONS: dict[tuple[State, Event], Step] = {
    (_S.READY, _E.SEND): Step(_S.SENDING),
    (_S.READY, _E.ACCEPT): Step(_S.IN_FLIGHT),
    (_S.READY, _E.REFUSE): Step(_S.REFUSED, Money.RELEASE),
    (_S.READY, _E.WITHDRAW): Step(_S.WITHDRAWN, Money.RELEASE),
    (_S.SENDING, _E.ACCEPT): Step(_S.IN_FLIGHT),
    (_S.SENDING, _E.PUT_BACK): Step(_S.READY),
    (_S.SENDING, _E.LOSE_ANSWER): Step(_S.UNKNOWN),
    (_S.SENDING, _E.REFUSE): Step(_S.REFUSED, Money.RELEASE),
    (_S.SENDING, _E.WITHDRAW): Step(_S.WITHDRAWN, Money.RELEASE),
    (_S.SENDING, _E.SUCCEED): Step(_S.SUCCEEDED, Money.CHARGE),
    (_S.SENDING, _E.FAIL): Step(_S.FAILED, Money.SETTLE_FAILED),
    (_S.UNKNOWN, _E.SEND): Step(_S.SENDING),
    (_S.UNKNOWN, _E.ACCEPT): Step(_S.IN_FLIGHT),
    (_S.UNKNOWN, _E.LOSE_ANSWER): Step(_S.UNKNOWN),
    (_S.UNKNOWN, _E.REFUSE): Step(_S.REFUSED, Money.RELEASE),
    (_S.UNKNOWN, _E.GIVE_UP): Step(_S.LOST, Money.CHARGE),
    (_S.IN_FLIGHT, _E.ACCEPT): Step(_S.IN_FLIGHT),
    (_S.IN_FLIGHT, _E.LOSE_ANSWER): Step(_S.UNKNOWN),
    (_S.IN_FLIGHT, _E.VANISH): Step(_S.MISSING),
    (_S.IN_FLIGHT, _E.SUCCEED): Step(_S.SUCCEEDED, Money.CHARGE),
    (_S.IN_FLIGHT, _E.FAIL): Step(_S.FAILED, Money.SETTLE_FAILED),
    (_S.MISSING, _E.ACCEPT): Step(_S.IN_FLIGHT),
    (_S.MISSING, _E.LOSE_ANSWER): Step(_S.UNKNOWN),
    (_S.MISSING, _E.VANISH): Step(_S.MISSING),
    (_S.MISSING, _E.GIVE_UP): Step(_S.LOST, Money.CHARGE),
    (_S.SUCCEEDED, _E.SUCCEED): Step(_S.SUCCEEDED),
    (_S.SUCCEEDED, _E.PUBLISH): Step(_S.PUBLISHED),
    (_S.SUCCEEDED, _E.LOSE_ASSET): Step(_S.ASSET_GONE),
    (_S.ASSET_GONE, _E.LOSE_ASSET): Step(_S.ASSET_GONE),
    (_S.ASSET_GONE, _E.PUBLISH): Step(_S.PUBLISHED),
    (_S.PUBLISHED, _E.PUBLISH): Step(_S.PUBLISHED),
    (_S.FAILED, _E.FAIL): Step(_S.FAILED),
    (_S.WITHDRAWN, _E.ACCEPT): Step(_S.IN_FLIGHT, Money.HOLD),
    (_S.WITHDRAWN, _E.HOLD): Step(_S.READY, Money.HOLD),
}
"""A pair that is not here is illegal; repeats that a late or doubled answer can cause stand here as no change.

An attempt in flight becomes unknown again when its task turns out to be another item's (a proxy's stale answer). From
SENDING an attempt ends at once where the create itself brings the result; GIVE_UP charges what was held, for
the call may have been paid.
"""


def step(state: State, event: Event) -> Step:
    """The outcome of ``event`` in ``state``.

    Raises:
        IllegalEventError: the pair is not in the table.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalEventError(state, event) from None


def events_of(task: Task, state: State) -> list[Event]:
    """The events that bring an attempt in ``state`` to where the server says its task stands."""
    events = [] if state is State.IN_FLIGHT else [Event.ACCEPT]
    if task.status is TaskStatus.SUCCEEDED:
        events.append(Event.SUCCEED)
    elif task.status is TaskStatus.FAILED:
        events.append(Event.FAIL)
    return events


def item_status(state: State) -> str:
    """The contract's word for an item whose newest attempt is in ``state``."""
    if state is State.PUBLISHED:
        return "succeeded"
    if state in RETRYABLE or state is State.ASSET_GONE:
        return "failed"
    return "unknown" if state in MAY_EXIST else "pending"


_EXTERNAL_ID = re.compile(r"br-([0-9a-f]{10})-([0-9a-f]{14})-([1-9][0-9]{0,5})-([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class ExternalId:
    """An attempt's name on the account, the same from every machine and after a lost ``state.db``.

    It carries digests of the batch, the item and the content, and the attempt's number, so that a listing of
    the account alone tells which attempt a task belongs to and whether the line was edited since.
    """

    batch: str
    item: str
    number: int
    content: str

    @classmethod
    def of(cls, batch: str, item: str, number: int, fingerprint: str) -> ExternalId:
        """The name of attempt ``number`` of ``item`` in ``batch`` with this content fingerprint."""
        return cls(_digest("batch", batch, 10), _digest("item", item, 14), number, fingerprint[:8])

    @classmethod
    def parse(cls, text: str | None) -> ExternalId | None:
        """The parts of an external id this program minted, or None for anybody else's."""
        match = _EXTERNAL_ID.fullmatch(text or "")
        return None if match is None else cls(match[1], match[2], int(match[3]), match[4])

    def __str__(self) -> str:
        return f"br-{self.batch}-{self.item}-{self.number}-{self.content}"


def _digest(role: str, text: str, length: int) -> str:
    return hashlib.sha256(f"{role}\0{text}".encode()).hexdigest()[:length]
