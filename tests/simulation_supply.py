"""Packs of the account that run out or lapse in the middle of a batch, and new ones that somebody buys for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from simulation import Simulation
from simulation_scenario import Scenario

from batch_runner.model import Pack
from batch_runner.sandbox import PackConfig, WorldConfig
from batch_runner.sandbox.codes import NO_CREDITS

_BEGIN_S = 1_767_225_600.0
"""When the simulation begins, by the wall clock."""
_SMALL = {Pack.VIDEO: (2, 15), Pack.IMAGE: (8, 40), Pack.TRY_ON: (1, 2)}
"""Credits of a pack that is likely to run out."""


def with_short_packs(scenario: Scenario, dice: random.Random) -> Scenario:
    """The same account, whose packs run out or lapse one after the other; the last one of each currency does not."""
    packs = tuple(pack for currency in Pack for pack in _packs(scenario.world, currency, dice))
    return replace(scenario, world=replace(scenario.world, packs=packs))


def _packs(world: WorldConfig, currency: Pack, dice: random.Random) -> Sequence[PackConfig]:
    slots = world.slots.get(currency, world.max_concurrent)
    last = PackConfig(currency, world.pack_credits, slots)
    if currency is not Pack.VIDEO and dice.random() < 0.5:
        return [last]
    packs, begins_s = [], _BEGIN_S
    for _ in range(dice.randint(1, 2)):
        credits_ = Decimal(dice.choice([dice.randint(*_SMALL[currency]), 1000]))
        lasts_s = dice.choice([10.0, 60.0, 600.0]) * dice.uniform(0.5, 2)
        packs.append(PackConfig(currency, credits_, slots, bought_at_s=begins_s, valid_s=lasts_s))
        begins_s += lasts_s + dice.choice([-0.5 * lasts_s, 0.0, 300.0, 4000.0])
    return [*packs, replace(last, bought_at_s=begins_s)]


async def wait_for_pack(simulation: Simulation) -> bool:
    """Whether another pack was to come, which can be used from now on."""
    now_s = simulation.clock.wall_s()
    begin_s = [pack.bought_at_s for pack in simulation.world.config.packs if pack.bought_at_s is not None]
    coming_s = [each for each in begin_s if each > now_s]
    if coming_s:
        await asyncio.sleep(min(coming_s) - now_s)
    return bool(coming_s)


def times_unpaid(simulation: Simulation) -> int:
    """How often the account had no credits for what was to be submitted."""
    return simulation.world.refusals[NO_CREDITS.code]
