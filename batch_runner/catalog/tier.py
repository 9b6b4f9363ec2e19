"""Named limits: request tiers and the packages that bring a number of concurrent tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from batch_runner.catalog.load import packaged


@dataclass(frozen=True, slots=True)
class Tier:
    """A named row of limits.

    Attributes:
        name: what ``--tier`` takes.
        max_concurrent: tasks in flight, per account.
        rpm: requests in any 60 seconds; 0 is no limit.
        source: where the figures come from, and when.
    """

    name: str
    max_concurrent: int
    rpm: int
    source: str


@cache
def tiers() -> Mapping[str, Tier]:
    """Every tier by name, and every package that says how many tasks it allows."""
    data = packaged()
    found = [Tier(row.name, row.max_concurrent, row.rpm, f"{row.source}, {row.dated}") for row in data.tiers.tier]
    found += [
        Tier(row.name, row.max_concurrent, 0, f"{row.source}, {row.dated}")
        for row in data.packages.package
        if row.max_concurrent is not None
    ]
    return MappingProxyType({tier.name: tier for tier in found})


def default_tier() -> Tier:
    """The polite one: fits every paying account."""
    return tiers()[packaged().tiers.default]
