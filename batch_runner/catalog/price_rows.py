"""The shape of ``prices.toml``, ``wall_times.toml`` and ``tiers.toml``: rows of figures with their sources."""

from __future__ import annotations

from decimal import Decimal
from typing import Self

from pydantic import Field, model_validator

from batch_runner.catalog.conditions import Row
from batch_runner.model import Pack


class _Selector(Row):
    """Which bodies a row is about: empty means any."""

    kinds: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    with_: tuple[str, ...] = Field(default=(), alias="with")
    without: tuple[str, ...] = ()
    source: str

    def covers(self, kind: str, model: str, mode: str | None, features: frozenset[str]) -> bool:
        """Whether a body of this product, model, mode and these features is meant."""
        return (
            (not self.kinds or kind in self.kinds)
            and (not self.models or model in self.models)
            and (not self.modes or mode in self.modes)
            and features.issuperset(self.with_)
            and features.isdisjoint(self.without)
        )


class BookRow(Row):
    """A price book: what holds for all of its rows. ``buffer_pct`` is what its source advises on top of an estimate."""

    name: str
    failures_charged: bool
    buffer_pct: Decimal = Field(ge=0, le=100)
    source: str
    dated: str


class PriceRow(_Selector):
    """Credits per clip by its length in seconds, or per second of the asked length; no ``book`` is the default one."""

    book: str = ""
    per_clip: dict[int, Decimal] = Field(default_factory=dict)
    per_second: Decimal | None = None
    dated: str

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.per_clip) == (self.per_second is not None):
            raise ValueError("a price needs exactly one of per_clip, per_second")
        return self

    def credits_for(self, clip_s: int) -> Decimal | None:
        """Credits for a clip of this many seconds, or None when the row has none."""
        return self.per_clip.get(clip_s) if self.per_second is None else self.per_second * clip_s


class PricesFile(Row):
    """``prices.toml``; ``default`` names the book that the API charges by."""

    default: str
    book: tuple[BookRow, ...]
    price: tuple[PriceRow, ...]


class WallTimeRow(_Selector):
    """Mean wall seconds by clip seconds, as points on a line."""

    points: tuple[tuple[float, float], ...] = Field(min_length=2)

    def at(self, clip_s: float) -> float:
        """The line through the points around (or nearest to) this length."""
        upper = next((i for i, (x, _) in enumerate(self.points) if i and x >= clip_s), len(self.points) - 1)
        (x0, y0), (x1, y1) = self.points[upper - 1], self.points[upper]
        return y0 + (y1 - y0) * (clip_s - x0) / (x1 - x0)


class WallTimesFile(Row):
    """``wall_times.toml``."""

    wall_time: tuple[WallTimeRow, ...]


class TierRow(Row):
    """Limits under a name; ``rpm`` 0 is no limit."""

    name: str
    max_concurrent: int = Field(ge=1)
    rpm: int = Field(default=0, ge=0)
    source: str
    dated: str


class PackageRow(TierRow):
    """A prepaid package: what it costs and holds, and the limits it brings."""

    pack: Pack
    price_usd: Decimal
    units: int
    valid_days: int


class TiersFile(Row):
    """``tiers.toml``."""

    default: str
    tier: tuple[TierRow, ...]
    package: tuple[PackageRow, ...] = ()
