"""The account of a simulated batch, what goes wrong with its answers, and its first lines, drawn from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from seeded_loop import prompt_settle_s

from batch_runner.model import Pack
from batch_runner.sandbox import FaultPlan, WorldConfig
from batch_runner.virtual_time import SETTLE_S

WEBHOOK_SECRET = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
FEWEST_SLOTS = 3
"""A task may make so many pictures at once."""
_HIT_MOST = 0.7
"""No more of the creates than this are hit: where nobody is ever heard, nothing can come to its end."""


_KINDS: tuple[dict[str, object], ...] = (
    {"model_name": "kling-v2-5-turbo", "duration": "5"},
    {"model_name": "kling-v2-6", "duration": "10"},
    {"model_name": "kling-v1", "mode": "pro"},
    {"model_name": "kling-v3", "duration": 3, "aspect_ratio": "9:16"},
)


@dataclass(frozen=True)
class Scenario:
    """One simulated batch.

    With ``threads``, executor jobs run in real ones, as they come. With ``watches_sqlite`` a run can also die, and
    calls can fail, inside a transaction, and a power cut takes from ``state.db`` too what was not fsynced.
    """

    seed: int = 0
    items: int = 6
    slots: int = 3
    rpm: int = 60
    world: WorldConfig = field(default_factory=WorldConfig)
    faults: FaultPlan = field(default_factory=FaultPlan)
    options: Mapping[str, object] = field(default_factory=dict)
    lines: tuple[str, ...] | None = None
    threads: bool = False
    webhook_secrets: tuple[str, ...] = ()
    settle_s: float = SETTLE_S
    watches_sqlite: bool = False
    has_rare_families: bool = False

    def manifest_lines(self) -> list[str]:
        """The lines that the batch begins with."""
        if self.lines is not None:
            return list(self.lines)
        dice = random.Random(f"lines {self.seed}")
        lines = []
        for number in range(self.items):
            line = {"id": f"item-{number}", "prompt": f"scene {number}", **dice.choice(_KINDS)}
            if dice.random() < 0.1:
                line["priority"] = dice.randrange(3)
            lines.append(json.dumps(line))
        return lines


def scenario_of(seed: int) -> Scenario:
    """A random account, random faults of its answers."""
    dice = random.Random(f"scenario {seed}")
    slots = dice.randint(1, 5)

    def rate(most: float) -> float:
        return dice.choice([0.0, 0.0, dice.random() * most])

    world = WorldConfig(
        seed=seed,
        max_concurrent=max(1, slots + dice.choice([0, 0, 0, -1, 2])),
        rpm=60,
        speed=dice.choice([15.0, 60.0]),
        failure_rate=rate(0.3),
        moderation_create_rate=rate(0.2),
        moderation_late_rate=rate(0.2),
        visible_after_s=dice.choice([0.0, 0.0, 2.0, 10.0]),
        repeat_policy=dice.choice(["refuse", "same", "second"]),
        newest_first=dice.random() < 0.7,
        link_ttl_s=dice.choice([2_592_000.0, 3.0]),
    )
    most = {"lost_answer": 0.5, "reset_before": 0.3, "server_error_before": 0.3, "server_error_after": 0.3}
    most |= {"html_200": 0.3, "cut_answer": 0.1, "other_answer": 0.1}
    of_creates = {name: rate(share) for name, share in most.items()}
    within = max(1.0, sum(of_creates.values()) / _HIT_MOST)
    faults = FaultPlan(
        seed=seed,
        lost_answer=of_creates["lost_answer"] / within,
        reset_before=of_creates["reset_before"] / within,
        server_error_before=of_creates["server_error_before"] / within,
        server_error_after=of_creates["server_error_after"] / within,
        html_200=of_creates["html_200"] / within,
        cut_answer=of_creates["cut_answer"] / within,
        other_answer=of_creates["other_answer"] / within,
        rate_429=rate(0.05),
        read_error=rate(0.3),
        slow=rate(0.1),
        slow_s=dice.choice([5.0, 100.0]),
        cut_download=rate(0.4),
        html_download=rate(0.3),
        range_ignored=rate(0.5),
        etag_changed=rate(0.3),
        expired_link=rate(0.3),
    )
    return Scenario(seed, dice.randint(1, 8), slots, 60, world, faults, settle_s=prompt_settle_s(), watches_sqlite=True)


def wide_scenario_of(seed: int) -> Scenario:
    """An account as any other, with slots of its own for pictures, that may charge for failures."""
    dice = random.Random(f"wide scenario {seed}")
    usual = scenario_of(seed)
    slots = max(usual.slots, FEWEST_SLOTS)
    world = replace(
        usual.world,
        max_concurrent=max(FEWEST_SLOTS, slots + dice.choice([0, 0, -1, 2])),
        slots={Pack.IMAGE: max(FEWEST_SLOTS, slots + dice.choice([0, -1, 3]))},
        charged_failures=dice.choice([0.0, 0.0, 0.5]),
        pack_credits=Decimal(dice.randint(3, 40) if dice.random() < 0.1 else 100_000),
    )
    faults = usual.faults
    secrets: tuple[str, ...] = ()
    if dice.random() < 0.2:
        lost, twice, late = (dice.random() * 0.5 for _ in range(3))
        faults = replace(faults, callback_lost=lost, callback_twice=twice / 2, callback_late=late / 2)
        secrets = (WEBHOOK_SECRET,)
    items = dice.randint(1, 4)
    return replace(usual, items=items, slots=slots, world=world, faults=faults, webhook_secrets=secrets)


def pair_scenario_of(seed: int) -> Scenario:
    """The account of two batches with few slots; it may have room for more tasks than one run may have."""
    dice, usual = random.Random(f"pair scenario {seed}"), wide_scenario_of(seed)
    most = FEWEST_SLOTS + dice.choice([0, 3, 6])
    world = replace(usual.world, max_concurrent=most, slots={Pack.IMAGE: most})
    return replace(usual, items=dice.randint(2, 4), slots=FEWEST_SLOTS, world=world)


def tight_rolling_budgets(dice: random.Random) -> dict[tuple[str, int], int]:
    """Rolling budgets that two batches are likely to reach."""
    return {("video", dice.choice([600, 5400, 86_400])): dice.randint(3, 12), ("image", 86_400): dice.randint(8, 40)}


def rolling_budgets(dice: random.Random) -> dict[tuple[str, int], int]:
    """Rolling budgets: how many credits of which pack, in how many seconds."""
    possible = {("video", 86_400): 20, ("video", 600): 8, ("image", 5400): 24, ("image", 86_400): 40}
    possible |= {("try_on", 86_400): 1, ("video", 30 * 86_400): 30}
    return {key: dice.randint(most // 2 or 1, 2 * most) for key, most in possible.items() if dice.random() < 0.4}
