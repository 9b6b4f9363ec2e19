"""What credits are sold in: prepaid packages of the API, subscriptions of the app."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from types import MappingProxyType

from batch_runner.catalog.load import packaged
from batch_runner.model import Pack


@dataclass(frozen=True, slots=True)
class Package:
    """A prepaid package of the API. What is None is not published, or negotiated.

    Attributes:
        name: what it is called here, and as a tier.
        pack: the currency it holds.
        price_usd: what one costs.
        units: what one holds; unused ones lapse.
        valid_days: how long.
        max_concurrent: the tasks in flight it allows; of several packages the highest counts.
        once: whether an account can buy it once only.
        min_periods: how many must be bought at once.
        discount_pct: on the list price, as the source says.
        source: where the figures come from.
        dated: and of when they are.
    """

    name: str
    pack: Pack
    price_usd: Decimal | None
    units: int | None
    valid_days: int | None
    max_concurrent: int | None
    once: bool
    min_periods: int
    discount_pct: Decimal | None
    source: str
    dated: str

    @property
    def unit_usd(self) -> Decimal | None:
        """What one of its units costs."""
        return None if self.price_usd is None or self.units is None else self.price_usd / self.units


@dataclass(frozen=True, slots=True)
class Plan:
    """A subscription of the app, whose credits are no API units.

    Attributes:
        name: what the app calls it.
        monthly_credits: credits a month, or None for the free one.
        daily_credits: credits a day that are not carried over, or None.
        price_usd: a month, in the first months.
        renewal_usd: a month when it is renewed, or None.
        annual_usd: a month when paid by the year, which adds no credits, or None.
        max_concurrent: jobs at a time, or None where not published.
        max_resolution: the finest resolution, or an empty text where not published.
        max_clip_s: the longest video, or None where not published.
        source: where the figures come from.
        dated: and of when they are.
    """

    name: str
    monthly_credits: int | None
    daily_credits: int | None
    price_usd: Decimal
    renewal_usd: Decimal | None
    annual_usd: Decimal | None
    max_concurrent: int | None
    max_resolution: str
    max_clip_s: int | None
    source: str
    dated: str

    def credit_usd(self, price_usd: Decimal) -> Decimal | None:
        """What one credit costs at this price a month, or None for the free plan."""
        return None if self.monthly_credits is None else price_usd / self.monthly_credits


@cache
def packages() -> Mapping[str, Package]:
    """Every package by name, of all generations that were sold."""
    rows = packaged().packages.package
    return MappingProxyType({row.name: Package(**row.model_dump(exclude={"more_than_units"})) for row in rows})


@cache
def plans() -> Mapping[str, Plan]:
    """Every subscription of the app by name, the smallest first."""
    return MappingProxyType({row.name: Plan(**row.model_dump()) for row in packaged().plans.plan})


@cache
def list_prices_usd() -> Mapping[Pack, Decimal]:
    """What one unit of each pack costs by the list."""
    return MappingProxyType({row.pack: row.price_usd for row in packaged().packages.list_price})
