"""The shape of ``prices``, ``wall_times.toml`` and ``tiers.toml``: rows of figures with their sources."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import NamedTuple, Self

from pydantic import Field, model_validator

from batch_runner.catalog.conditions import Row
from batch_runner.model import Pack
from batch_runner.records import credits_text


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


class Quantity(NamedTuple):
    """How much a body asks for: seconds of the clip, how many files, seconds of a source; None: not known."""

    clip_s: int | None
    files: int
    source_s: Decimal | None


class Begun(Row):
    """Credits for every ``seconds`` that are begun."""

    seconds: int = Field(ge=1)
    credits: Decimal


class PriceRow(_Selector):
    """Credits in one of five ways; no ``book`` is the default one, no ``pack`` the product's.

    ``per_clip`` by the clip's length in seconds; ``per_second`` of the asked clip or, with ``length_of``, of the
    source in one of those fields, rounded to the nearest second; ``per_begun`` so many seconds of such a source;
    ``per_image`` each; ``per_call``. ``vendor`` says whether the source is the vendor's own table, ``about`` that its
    figure is a rough one.
    """

    book: str = ""
    pack: Pack | None = None
    per_clip: dict[int, Decimal] = Field(default_factory=dict)
    per_second: Decimal | None = None
    per_begun: Begun | None = None
    per_image: Decimal | None = None
    per_call: Decimal | None = None
    length_of: tuple[str, ...] = ()
    vendor: bool = True
    about: bool = False
    dated: str

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = (self.per_clip or None, self.per_second, self.per_begun, self.per_image, self.per_call)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("a price needs exactly one of per_clip, per_second, per_begun, per_image, per_call")
        if self.per_begun is not None and not self.length_of:
            raise ValueError("per_begun needs length_of")
        return self

    @property
    def rank(self) -> tuple[bool, str]:
        """What decides between rows that fit: the vendor's before others', then the newer date."""
        return self.vendor, self.dated

    @property
    def words(self) -> str:
        """The price as people read it: ``0.3 a second``."""
        about = "about " if self.about else ""
        source = f" of {' or '.join(self.length_of)}" if self.length_of else ""
        if self.per_clip:
            return ", ".join(f"{about}{credits_text(price)} for {clip_s} s" for clip_s, price in self.per_clip.items())
        if self.per_begun is not None:
            credits_, seconds = credits_text(self.per_begun.credits), self.per_begun.seconds
            return f"{about}{credits_} for every {seconds} s begun{source}"
        if self.per_second is not None:
            return f"{about}{credits_text(self.per_second)} a second{source}"
        if self.per_image is not None:
            return f"{about}{credits_text(self.per_image)} an image"
        assert self.per_call is not None
        return f"{about}{credits_text(self.per_call)} a call"

    def credits_for(self, asked: Quantity) -> Decimal | None:
        """Credits for that much, or None when the row has none or a length is not known."""
        if self.per_call is not None:
            return self.per_call
        if self.per_image is not None:
            return self.per_image * asked.files
        if self.length_of:
            return None if asked.source_s is None else self._by_source(asked.source_s)
        if asked.clip_s is None:
            return None
        return self.per_clip.get(asked.clip_s) if self.per_second is None else self.per_second * asked.clip_s

    def _by_source(self, source_s: Decimal) -> Decimal:
        if self.per_begun is not None:
            begun = (source_s / self.per_begun.seconds).to_integral_value(ROUND_CEILING)
            return self.per_begun.credits * begun
        assert self.per_second is not None
        return self.per_second * source_s.to_integral_value(ROUND_HALF_UP)


class PricesFile(Row):
    """``prices.toml``; ``default`` names the book that the API charges by."""

    default: str = ""
    book: tuple[BookRow, ...] = ()
    price: tuple[PriceRow, ...] = ()


class WallTimeRow(_Selector):
    """Mean wall seconds by clip seconds, as points on a line; a single point stands for any length."""

    points: tuple[tuple[float, float], ...] = Field(min_length=1)

    def at(self, clip_s: float) -> float:
        """The line through the points around (or nearest to) this length."""
        if len(self.points) == 1:
            return self.points[0][1]
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


class TiersFile(Row):
    """``tiers.toml``."""

    default: str
    tier: tuple[TierRow, ...]
