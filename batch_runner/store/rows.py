"""What the store hands out: frozen rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from batch_runner.budgets import RollingBudget, Shortage
from batch_runner.catalog import PriceBook
from batch_runner.clock import Clock
from batch_runner.lifecycle import ExternalId, State
from batch_runner.model import Pack, Realm, Task

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as loaded for a run. ``name`` is the folder below DIR.

    ``has_others`` says that the store knew other batches of its realm by then.
    """

    batch_id: int
    name: str
    realm: Realm
    has_others: bool = False

    @property
    def sandbox(self) -> bool:
        """Whether its tasks are simulated ones."""
        return self.realm is Realm.SANDBOX


@dataclass(frozen=True, slots=True)
class Attempt:
    """One submission of an item, with what its worker needs to carry it on.

    Attributes:
        sends: how often it was sent, without the times that were definitely not taken in.
    """

    attempt_id: int
    batch_id: int
    item_id: str
    kind: str
    model: str
    slots: int
    body: str
    number: int
    external_task_id: str
    state: State
    task_id: str | None
    pack: Pack
    estimate: Decimal
    submitted_at: float | None
    sends: int
    in_manifest: bool

    @property
    def was_left_open(self) -> bool:
        """Whether it waits to be sent again, though an earlier sending may have made its task."""
        return self.state is State.READY and self.sends > 0


@dataclass(frozen=True, slots=True)
class HoldAge:
    """How long ago an open hold was made, which is before anything was sent for it.

    Attributes:
        boot_s: seconds by the boot's clock, which nobody sets; None where the hold is of another boot.
        wall_s: seconds by the wall clock, which somebody may have set since; then it can be negative.
    """

    boot_s: float | None
    wall_s: float

    @property
    def longest_s(self) -> float:
        """The age by whichever clock says more; infinite where the only one was set back since by more than a day."""
        if self.boot_s is not None:
            return max(self.boot_s, self.wall_s)
        return self.wall_s if self.wall_s > -_DAY_S else math.inf


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to "what is to be submitted next".

    ``attempt`` is None when nothing can be submitted now; ``shortages`` are the budgets that stop the items which wait.
    """

    attempt: Attempt | None
    shortages: tuple[Shortage, ...] = ()

    @property
    def blocked(self) -> bool:
        """Whether budgets are why nothing can be submitted."""
        return bool(self.shortages)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known beside the event itself; only what is set is recorded."""

    task_id: str | None = None
    charged: Decimal | None = None
    reason: str | None = None
    error_code: int | None = None
    error_message: str | None = None
    made: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A finished item whose results another one takes: its attempt, the ids it made, its files."""

    attempt: Attempt
    made: Mapping[str, Any]
    files: tuple[StoredFile, ...]
    finished_at: float


@dataclass(frozen=True, slots=True)
class FoundTask:
    """A task of this batch found on the account by its external id; ``reason`` tells why a failed one failed."""

    name: ExternalId
    task: Task
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class BookedTask:
    """An attempt with entries in the ledger, as it is compared with the account.

    Attributes:
        task_id: the server's id, or None where none is known.
        charged: what its newest settlement took, or None.
        held: its open hold, 0 once settled.
        charge_source: ``server`` or ``estimate``: whose figure ``charged`` is, or None where that is not known.
        at_s: wall time of its newest entry.
    """

    batch: str
    item: str
    attempt: int
    task_id: str | None
    pack: Pack
    estimate: Decimal
    charged: Decimal | None
    held: Decimal
    charge_source: str | None
    at_s: float


LOST_SCOPE = "*"
"""The scope of the stamp that says: here a store was lost, and with it up to a minute of requests."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When an API request was let go, on the loop's clock of ``epoch`` and on the wall."""

    epoch: str
    loop_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is recorded: on the wall, and on the clock of ``epoch``, which nobody can set."""

    wall_s: float
    epoch: str
    uptime_s: float

    @classmethod
    def of(cls, clock: Clock) -> Moment:
        """Now, as the clock tells it."""
        return cls(clock.wall_s(), clock.epoch(), clock.uptime_s())


@dataclass(frozen=True, slots=True)
class Terms:
    """What a transaction about money goes by: the batch's budgets, the rolling ones, the price book, and the moment."""

    budgets: Mapping[str, Decimal]
    book: PriceBook
    now: Moment
    rolling: tuple[RollingBudget, ...] = ()


@dataclass(frozen=True, slots=True)
class StandingRow:
    """Where an item stands.

    Attributes:
        status: the contract's word.
        is_live: whether an attempt of it lives.
        taken: why its line may not be edited any more, or None.
        fingerprint: its content's.
    """

    status: str
    is_live: bool
    taken: str | None
    fingerprint: str


@dataclass(frozen=True, slots=True)
class LeftRow:
    """Items that wait to be submitted and are alike in everything that counts: their price, each, and how many."""

    kind: str
    model: str
    pack: Pack
    credits: Decimal
    slots: int
    count: int


@dataclass(frozen=True, slots=True)
class OpenRow:
    """Items of one product and model that still have a way to go: how many, and the first of them."""

    kind: str
    model: str
    count: int
    item_id: str
    line: int


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run of a batch, as its summary tells it."""

    manifest: str
    budget: dict[str, Decimal]
    exit_code: int
    requests: dict[str, int]
    started_at: float
    finished_at: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file whose digest is durable: it may be published, or already is. ``count`` files belong together."""

    ordinal: int
    path: str
    bytes: int
    sha256: str
    count: int
