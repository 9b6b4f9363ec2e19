"""The one list of what a run tells its observers (progress display, log lines, tests). Free of secrets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class BatchStarted:
    """A run begins. ``done`` items need nothing more; limits are None where there is none."""

    batch: str
    sandbox: bool
    total: int
    done: int
    max_concurrent: int
    rpm: int


@dataclass(frozen=True, slots=True)
class ItemSubmitted:
    """A task of this item was accepted (or found on the account) and holds a slot."""

    item: str
    task_id: str
    adopted: bool


@dataclass(frozen=True, slots=True)
class ItemFinished:
    """An item reached the end it has in this run: ``succeeded``, ``failed``, ``pending`` or ``unknown``."""

    item: str
    status: str
    reason: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Balance:
    """Credits of one pack in this batch changed; ``budget`` is None where there is none."""

    pack: str
    consumed: Decimal
    held: Decimal
    budget: Decimal | None


@dataclass(frozen=True, slots=True)
class InFlight:
    """How many tasks hold a slot now."""

    count: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person may want to know; ``urgent`` ones need a person and pass ``--quiet``."""

    text: str
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class BatchFinished:
    """A run ends."""

    exit_code: int
    text: str


Event = BatchStarted | ItemSubmitted | ItemFinished | Balance | InFlight | Notice | BatchFinished
Observer = Callable[[Event], None]
