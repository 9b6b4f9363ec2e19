"""Whether the account's packs last for what is left of a batch: told before money is spent, never in the way."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal

from batch_runner import catalog
from batch_runner.clock import iso_utc
from batch_runner.errors import AccountError, BatchRunnerError
from batch_runner.kling import AccountPack, Trouble
from batch_runner.model import Pack
from batch_runner.records import credits_named, credits_text
from batch_runner.runner.context import Context
from batch_runner.store import LeftRow

PACKS_WINDOW_S = 200 * 86_400
"""Packs bought this long ago and later are asked for: none that is sold is valid for longer than 180 days."""


async def tell_supply(context: Context) -> None:
    """Ask the account for its packs, if anything is left to be submitted, and tell where they will not last.

    What cannot be read now is said and changes nothing: the account itself refuses what it cannot pay.
    """
    left = await context.store.left(context.batch)
    if not left or context.halt.is_set:
        return
    now_s = context.clock.wall_s()
    try:
        packs = await context.client.packs(int((now_s - PACKS_WINDOW_S) * 1000), int(now_s * 1000))
    except (Trouble, AccountError) as error:
        context.notice(f"the account does not tell its packs now ({error}); whether they last is not known")
        return
    for text in supply_warnings(packs, left, now_s, context.limiter.max_concurrent):
        context.notice(text, urgent=True)


def supply_warnings(
    packs: Sequence[AccountPack], left: Sequence[LeftRow], now_s: float, max_concurrent: int
) -> Iterator[str]:
    """Where the packs run out or lapse before the batch is done.

    Args:
        packs: the account's; without any, nothing is said: an account may pay by invoice.
        left: what is to be submitted.
        now_s: wall seconds.
        max_concurrent: tasks at a time, which with the usual times gives the earliest end.
    """
    needed: defaultdict[Pack, Decimal] = defaultdict(Decimal)
    work_s = 0.0
    for row in left:
        needed[row.pack] += row.credits * row.count
        body = {"model_name": row.model} if row.model else {}
        work_s += catalog.expected_duration_s(row.kind, body) * row.slots * row.count
    ends_at_s = now_s + work_s / max_concurrent
    for pack, credits_ in sorted(needed.items()):
        active = [each for each in packs if each.pack is pack and each.is_active(now_s)]
        if active:
            yield from _of_pack(pack, credits_, active, ends_at_s)


def _of_pack(pack: Pack, needed: Decimal, active: Sequence[AccountPack], ends_at_s: float) -> Iterator[str]:
    remaining = [each.remaining for each in active if each.remaining is not None]
    if len(remaining) == len(active) and sum(remaining) < needed:
        held = credits_named(sum(remaining, Decimal(0)))
        yield (
            f"the account's {pack} packs hold {held} and the rest of the batch needs {credits_text(needed)}:"
            " they will run out; buy more, or set a --budget"
        )
    last = max(math.inf if each.lapses_at_s is None else each.lapses_at_s for each in active)
    if last < ends_at_s:
        yield (
            f"the account's {pack} packs lapse at {iso_utc(last)}, and the batch takes until {iso_utc(ends_at_s)} at"
            " least: what is not submitted before stays pending"
        )


async def told_within(context: Context, seconds: float) -> None:
    """``tell_supply``, given up after so long: a warning must not hold a batch up."""
    try:
        async with asyncio.timeout(seconds):
            await tell_supply(context)
    except BatchRunnerError as error:
        context.leave(error)
    except TimeoutError:
        context.notice("the account took too long to tell its packs; whether they last is not known")
