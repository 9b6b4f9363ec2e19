"""The shape of ``packages.toml`` and ``plans.toml``: what credits are sold in."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from batch_runner.catalog.conditions import Row
from batch_runner.model import Pack


class ListPriceRow(Row):
    """What one unit of a pack costs by the list."""

    pack: Pack
    price_usd: Decimal = Field(gt=0)
    source: str
    dated: str


class PackageRow(Row):
    """A prepaid package of the API; what is left out is not published, or negotiated.

    Attributes:
        price_usd: what one of it costs.
        more_than_units: the least that a negotiated one holds.
        max_concurrent: the tasks in flight that it allows, of its pack.
        once: whether an account can buy it once only.
        min_periods: how many must be bought at once.
        discount_pct: on the list price, as the source says.
    """

    name: str
    pack: Pack
    price_usd: Decimal | None = Field(default=None, gt=0)
    units: int | None = Field(default=None, gt=0)
    more_than_units: int | None = None
    valid_days: int | None = Field(default=None, gt=0)
    max_concurrent: int | None = Field(default=None, ge=1)
    once: bool = False
    min_periods: int = Field(default=1, ge=1)
    discount_pct: Decimal | None = None
    source: str
    dated: str


class PackagesFile(Row):
    """``packages.toml``."""

    list_price: tuple[ListPriceRow, ...]
    package: tuple[PackageRow, ...]


class PlanRow(Row):
    """A subscription of the app; ``annual_usd`` and ``renewal_usd`` are a month's."""

    name: str
    monthly_credits: int | None = Field(default=None, gt=0)
    daily_credits: int | None = Field(default=None, gt=0)
    price_usd: Decimal
    renewal_usd: Decimal | None = None
    annual_usd: Decimal | None = None
    max_concurrent: int | None = Field(default=None, ge=1)
    max_resolution: str = ""
    max_clip_s: int | None = None
    source: str
    dated: str


class PlansFile(Row):
    """``plans.toml``."""

    plan: tuple[PlanRow, ...]
