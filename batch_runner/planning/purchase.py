"""Which prepaid packages pay for a batch, and what each choice costs. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from itertools import combinations

from batch_runner import catalog
from batch_runner.wording import plural

_CENT = Decimal("0.01")


def usd(amount: Decimal) -> str:
    """Dollars with their cents."""
    return format(amount.quantize(_CENT, ROUND_HALF_UP), "f")


@dataclass(frozen=True, slots=True)
class Offer:
    """A package of which everything that counts is published."""

    name: str
    price_usd: Decimal
    units: int
    valid_days: int
    max_concurrent: int
    once: bool
    min_periods: int
    dated: str


def offers(packages: Iterable[catalog.Package], pack: str) -> list[Offer]:
    """The packages of a pack whose price, units and validity are known."""
    rows = (row for row in packages if row.pack == pack)
    return [offer for row in rows if (offer := _offer(row)) is not None]


def _offer(row: catalog.Package) -> Offer | None:
    if row.price_usd is None or row.units is None or row.valid_days is None:
        return None
    return Offer(
        name=row.name,
        price_usd=row.price_usd,
        units=row.units,
        valid_days=row.valid_days,
        max_concurrent=row.max_concurrent or 1,
        once=row.once,
        min_periods=row.min_periods,
        dated=row.dated,
    )


Counts = tuple[tuple[Offer, int], ...]
"""Packages, and how many of each."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """A choice of packages that holds enough units.

    Attributes:
        counts: packages and how many of each.
        price_usd: what they cost together.
        units_left: units that would be left over; they lapse with the packages.
        warnings: what speaks against it, in words.
    """

    counts: Counts
    price_usd: Decimal
    units_left: Decimal
    warnings: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """``2 x package-1``."""
        return " + ".join(f"{count} x {package.name}" for package, count in self.counts)

    @property
    def max_concurrent(self) -> int:
        """Tasks at a time: the most that any of them brings; more packages bring no more."""
        return max(package.max_concurrent for package, _ in self.counts)

    @property
    def valid_days(self) -> int:
        """Days until the first of them lapses."""
        return min(package.valid_days for package, _ in self.counts)


def single_purchases(packages: Sequence[Offer], units: Decimal, work_s: float) -> list[Purchase]:
    """For each package, as many of it as hold ``units``; ``work_s`` is the batch's work in slot-seconds."""
    return [_judged(((package, _count(package, units)),), units, work_s) for package in packages]


def _count(package: Offer, units: Decimal) -> int:
    return max(package.min_periods, math.ceil(units / package.units))


def worth_showing(purchases: Sequence[Purchase]) -> list[Purchase]:
    """Those than which no other one of the same date is better in some way and worse in none."""
    return [one for one in purchases if not any(_is_better(other, one) for other in purchases)]


def _is_better(one: Purchase, other: Purchase) -> bool:
    if one.counts[0][0].dated != other.counts[0][0].dated:
        return False
    pairs = list(zip(_merits(one), _merits(other), strict=True))
    return all(mine >= theirs for mine, theirs in pairs) and any(mine > theirs for mine, theirs in pairs)


def _merits(purchase: Purchase) -> tuple[Decimal, ...]:
    """What speaks for a choice, each the better the greater."""
    merits = (purchase.valid_days, purchase.max_concurrent, -len(purchase.warnings))
    return -purchase.price_usd, *map(Decimal, merits)


def cheapest(packages: Sequence[Offer], units: Decimal, work_s: float) -> Purchase | None:
    """The cheapest choice against which nothing speaks, of one generation of packages; None where there is none.

    Packages that can be bought once stand in it at most once.
    """
    found = [_judged(counts, units, work_s) for counts in _choices(packages, units)]
    fit = [purchase for purchase in found if not purchase.warnings]
    return min(fit, key=lambda purchase: (purchase.price_usd, purchase.units_left), default=None)


def _choices(packages: Sequence[Offer], units: Decimal) -> Iterator[Counts]:
    once = [package for package in packages if package.once]
    often = [package for package in packages if not package.once]
    for number in range(len(once) + 1):
        for some in combinations(once, number):
            rest = units - sum(package.units for package in some)
            taken = tuple((package, 1) for package in some)
            if rest <= 0:
                if taken:
                    yield taken
            else:
                yield from ((*taken, *more) for more in _fillings(often, rest))


def _fillings(packages: Sequence[Offer], units: Decimal) -> Iterator[Counts]:
    """Up to all of the largest package, then one smaller one for the rest: what a cheapest filling looks like."""
    for large in packages:
        yield ((large, _count(large, units)),)
        whole = int(units // large.units)
        if whole >= large.min_periods:
            rest = units - whole * large.units
            smaller = (small for small in packages if rest and small.units < large.units)
            yield from (((large, whole), (small, _count(small, rest))) for small in smaller)


def _judged(counts: Counts, units: Decimal, work_s: float) -> Purchase:
    price = sum((package.price_usd * count for package, count in counts), Decimal(0))
    held = sum(package.units * count for package, count in counts)
    purchase = Purchase(counts, price, held - units)
    return replace(purchase, warnings=tuple(_warnings(purchase, work_s)))


def _warnings(purchase: Purchase, work_s: float) -> Iterator[str]:
    for package, count in purchase.counts:
        if package.once and count > 1:
            yield f"{package.name} can be bought once for an account"
    days = work_s / purchase.max_concurrent / 86_400
    if days > purchase.valid_days:
        yield f"it lapses after {plural(purchase.valid_days, 'day')}, the batch takes at least {math.ceil(days)}"
