"""The numbers that make one simulated account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from batch_runner.model import Pack

DAY_S = 86_400.0

RepeatPolicy = Literal["refuse", "same", "second"]
"""What a create with a used external id gets: 400/1201, the first task once more, or a second task."""


@dataclass(frozen=True, slots=True)
class PackConfig:
    """One prepaid pack of the simulated account.

    Attributes:
        pack: its currency.
        credits: what it holds.
        max_concurrent: the slots it gives; of several packs of a currency the highest number counts.
        name: as the account page tells it; made up from the rest when empty.
        bought_at_s: wall seconds, or None for the moment the account is first used.
        valid_s: how long it can be used, or None: it never lapses.
    """

    pack: Pack
    credits: Decimal
    max_concurrent: int
    name: str = ""
    bought_at_s: float | None = None
    valid_s: float | None = None


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """How the simulated account and its service behave.

    Attributes:
        seed: decides every fate, together with the task's external id.
        speed: task durations are divided by it; limits, links and signatures stay in real seconds.
        max_concurrent: slots of each currency; a task holds one (``n`` for pictures) from its creation to its end.
        slots: another number of slots for some currencies.
        rpm: API requests accepted in any 60 seconds, or None for no limit.
        pack_credits: what the account's pack of each currency holds.
        packs: the account's packs instead of one of each currency that never lapses.
        link_ttl_s: how long a signed result link works; every query signs a new one.
        failure_rate: share of tasks that fail for the service's own reasons.
        charged_failures: share of failed tasks that are charged all the same.
        moderation_create_rate: share of creates that are refused by content policy (1301).
        moderation_late_rate: share of tasks that fail by content policy.
        visible_after_s: a created task is found by queries and lists only after so long.
        repeat_policy: see ``RepeatPolicy``.
        purge_after_s: files and records of ended tasks are deleted after so long.
        newest_first: the order of lists, which the vendor does not document.
    """

    seed: int = 0
    speed: float = 1.0
    max_concurrent: int = 5
    slots: Mapping[Pack, int] = field(default_factory=dict)
    rpm: int | None = None
    pack_credits: Decimal = Decimal(100_000)
    packs: tuple[PackConfig, ...] = ()
    link_ttl_s: float = 30 * DAY_S
    failure_rate: float = 0.0
    charged_failures: float = 0.0
    moderation_create_rate: float = 0.0
    moderation_late_rate: float = 0.0
    visible_after_s: float = 0.0
    repeat_policy: RepeatPolicy = "refuse"
    purge_after_s: float = 30 * DAY_S
    newest_first: bool = True

    def __post_init__(self) -> None:
        if self.speed <= 0:
            raise ValueError(f"speed {self.speed} is not above 0")

    def all_packs(self) -> tuple[PackConfig, ...]:
        """The account's packs: those that are given, else one of each currency."""
        return self.packs or tuple(
            PackConfig(pack, self.pack_credits, self.slots.get(pack, self.max_concurrent)) for pack in Pack
        )
