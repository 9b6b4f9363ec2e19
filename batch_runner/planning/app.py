"""What the app's subscriptions would cost for the same videos, and what a finished video costs on each. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from batch_runner import catalog

BOOK = "app"
_DAYS_A_MONTH = 30


@dataclass(frozen=True, slots=True)
class AppNeed:
    """What a batch needs in the app.

    Attributes:
        credits_each: the app's price of a result, and how many of them there are.
        credits: all of them, with the buffer that the app's guide advises, for failures cost their credits there.
        unpriced: items for which the app's book has no row.
        buffer_pct: that buffer.
    """

    credits_each: tuple[tuple[Decimal, int], ...]
    credits: Decimal
    unpriced: int
    buffer_pct: Decimal


@dataclass(frozen=True, slots=True)
class PlanCost:
    """What a subscription costs for a batch; amounts are None for the free one.

    Attributes:
        months: how many months' credits it takes.
        monthly_usd: those months, the first at its price and the others at the renewal price.
        annual_usd: the years they lie in, paid by the year.
        each: for each price of a result, how many a month's credits make, and what one then costs.
    """

    plan: catalog.Plan
    months: int
    monthly_usd: Decimal | None
    annual_usd: Decimal | None
    each: tuple[tuple[Decimal, int, Decimal | None], ...]


def app_credits(kind: str, body: Mapping[str, Any]) -> Decimal | None:
    """What the app takes for a result of this body, or None where its book has no row."""
    price = catalog.price(kind, body, book=BOOK)
    return None if price is None else price.credits


def app_need(credits_each: Iterable[Decimal | None]) -> AppNeed:
    """What a batch needs in the app whose items cost so much there each (None: not priced)."""
    book = catalog.price_books()[BOOK]
    counts: Counter[Decimal] = Counter()
    unpriced = 0
    for credits_ in credits_each:
        if credits_ is None:
            unpriced += 1
        else:
            counts[credits_] += 1
    total = sum((credits_ * count for credits_, count in counts.items()), Decimal(0))
    return AppNeed(tuple(sorted(counts.items())), book.with_buffer(total), unpriced, book.buffer_pct)


def plan_cost(plan: catalog.Plan, need: AppNeed) -> PlanCost:
    """What a subscription costs for this need."""
    a_month = plan.monthly_credits or (plan.daily_credits or 0) * _DAYS_A_MONTH
    months = max(1, math.ceil(need.credits / a_month))
    return PlanCost(
        plan,
        months,
        _monthly_usd(plan, months),
        None if plan.annual_usd is None else plan.annual_usd * 12 * math.ceil(months / 12),
        tuple((credits_, *_each(plan, credits_)) for credits_, _ in need.credits_each),
    )


def _monthly_usd(plan: catalog.Plan, months: int) -> Decimal | None:
    if plan.monthly_credits is None:
        return None
    return plan.price_usd + (months - 1) * (plan.renewal_usd or plan.price_usd)


def _each(plan: catalog.Plan, credits_: Decimal) -> tuple[int, Decimal | None]:
    """How many whole results a month's credits (the free plan: a day's) make, and what one costs then."""
    count = int((plan.monthly_credits or plan.daily_credits or 0) // credits_) if credits_ else 0
    return count, plan.price_usd / count if count and plan.monthly_credits else None
