"""Where rows of the books say different things of the same, which of them wins, and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations

from batch_runner.catalog.load import packaged
from batch_runner.catalog.offers import Package, packages
from batch_runner.catalog.price_rows import PriceRow


@dataclass(frozen=True, slots=True)
class PriceDispute:
    """Two price rows that fit one body and differ.

    Attributes:
        kinds: the products that both are about.
        winner: the row that counts.
        loser: the other one.
        why: what decides.
    """

    kinds: tuple[str, ...]
    winner: PriceRow
    loser: PriceRow
    why: str


@dataclass(frozen=True, slots=True)
class PackageDispute:
    """Two packages of as many units that differ in price, validity or concurrency.

    Attributes:
        winner: what is sold now, as far as is known.
        loser: what was sold before.
        why: what decides.
    """

    winner: Package
    loser: Package
    why: str


def price_rows_of(book: str) -> tuple[PriceRow, ...]:
    """Every row of a price book."""
    prices = packaged().prices
    return tuple(row for row in prices.price if (row.book or prices.default) == book)


@cache
def price_disputes(book: str) -> tuple[PriceDispute, ...]:
    """Every two rows of a book that fit one body and differ."""
    pairs = combinations(price_rows_of(book), 2)
    return tuple(_dispute(older, newer) for older, newer in pairs if _overlap(older, newer) and _differ(older, newer))


@cache
def package_disputes() -> tuple[PackageDispute, ...]:
    """Every two packages of one pack and size that are not the same, the newer one first."""
    found = []
    for one, other in combinations(packages().values(), 2):
        if (one.pack, one.units) == (other.pack, other.units) and one.units is not None and one.dated != other.dated:
            loser, winner = sorted((one, other), key=lambda package: package.dated)
            found.append(PackageDispute(winner, loser, f"newer: {winner.dated} after {loser.dated}"))
    return tuple(found)


def _overlap(one: PriceRow, other: PriceRow) -> bool:
    return (
        _meet(one.kinds, other.kinds)
        and _meet(one.models, other.models)
        and _meet(one.modes, other.modes)
        and set(one.with_).isdisjoint(other.without)
        and set(other.with_).isdisjoint(one.without)
    )


def _meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether something fits both selections, of which an empty one fits everything."""
    return not one or not other or not set(one).isdisjoint(other)


def _differ(one: PriceRow, other: PriceRow) -> bool:
    return (one.pack, one.words) != (other.pack, other.words)


def _dispute(one: PriceRow, other: PriceRow) -> PriceDispute:
    """Of one rank, the later in the file counts."""
    winner, loser = (one, other) if one.rank > other.rank else (other, one)
    kinds = tuple(kind for kind in winner.kinds if kind in loser.kinds)
    if winner.vendor is not loser.vendor:
        return PriceDispute(kinds, winner, loser, "the vendor's own table before others'")
    newer = f"newer: {winner.dated} after {loser.dated}"
    return PriceDispute(kinds, winner, loser, newer if winner.dated != loser.dated else "later in the same list")
