"""The numbers that make one simulated account."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

DAY_S = 86_400.0

RepeatPolicy = Literal["refuse", "same", "second"]
"""What a create with a used external id gets: 400/1201, the first task once more, or a second task."""


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """How the simulated account and its service behave.

    Attributes:
        seed: decides every fate, together with the task's external id.
        speed: task durations are divided by it; limits, links and signatures stay in real seconds.
        max_concurrent: slots; a task holds one from its creation to its end.
        rpm: API requests accepted in any 60 seconds, or None for no limit.
        pack_credits: what the account's video pack holds.
        link_ttl_s: how long a signed result link works; every query signs a new one.
        failure_rate: share of tasks that fail for the service's own reasons.
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
    rpm: int | None = None
    pack_credits: Decimal = Decimal(100_000)
    link_ttl_s: float = 30 * DAY_S
    failure_rate: float = 0.0
    moderation_create_rate: float = 0.0
    moderation_late_rate: float = 0.0
    visible_after_s: float = 0.0
    repeat_policy: RepeatPolicy = "refuse"
    purge_after_s: float = 30 * DAY_S
    newest_first: bool = True

    def __post_init__(self) -> None:
        if self.speed <= 0:
            raise ValueError(f"speed {self.speed} is not above 0")
