"""What ``plan`` found out, for its page and for its object alike. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from batch_runner import catalog
from batch_runner.budgets import Window
from batch_runner.errors import Problem
from batch_runner.inert import inert
from batch_runner.model import Item
from batch_runner.planning.app import AppNeed, PlanCost
from batch_runner.planning.purchase import Purchase
from batch_runner.planning.reach import Reach
from batch_runner.planning.standing import Standing
from batch_runner.planning.timing import Timing
from batch_runner.records import credits_text
from batch_runner.settings import Settings


@dataclass(frozen=True, slots=True)
class Planned:
    """One item: where it stands, its mode or resolution, its usual seconds, and its price in the app."""

    item: Item
    standing: Standing
    mode: str
    usual_s: float
    app_credits: Decimal | None


@dataclass(frozen=True, slots=True)
class Planning:
    """Everything that ``plan`` found out; amounts by pack are what is left to be spent, with the book's buffer.

    A run of a manifest with ``problems`` would send nothing.
    """

    name: str
    settings: Settings
    planned: Sequence[Planned]
    problems: Sequence[Problem]
    book: catalog.PriceBook
    needed: Mapping[str, Decimal]
    spent: Mapping[str, Decimal]
    windows: Sequence[Window]
    reach: Reach | None
    timing: Timing | None
    what_if: Mapping[str, Timing | None]
    buying: Mapping[str, Sequence[Purchase]]
    best: Mapping[str, Purchase]
    app: AppNeed
    plan_costs: Sequence[PlanCost]


def price_rows(planned: Sequence[Planned]) -> Iterator[tuple[str, ...]]:
    """Alike items together, what each and all of them cost; the first row names the columns."""
    rows: Counter[tuple[str, ...]] = Counter()
    sums: defaultdict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for each in planned:
        price = each.item.price
        each_credits = credits_text(price.credits)
        names = (each.item.kind, inert(each.item.model), inert(each.mode), price.pack.value)
        row = (*names, each_credits, inert(price.source))
        rows[row] += 1
        sums[row] += price.credits
    yield ("items", "kind", "model", "mode", "pack", "credits each", "in all", "price row")
    for key, count in sorted(rows.items()):
        yield (str(count), *key[:5], credits_text(sums[key]), key[5])
