"""Price books: what holds for every price of one source, such as whether a failure costs anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from types import MappingProxyType

from batch_runner.catalog.load import packaged


@dataclass(frozen=True, slots=True)
class PriceBook:
    """The properties of one price book.

    Attributes:
        name: what price rows call it.
        failures_charged: whether a failed generation costs its price.
        buffer_pct: what to add to an estimate, in percent, for what goes wrong.
        source: where that stands, and when.
    """

    name: str
    failures_charged: bool
    buffer_pct: Decimal
    source: str

    def with_buffer(self, credits_: Decimal) -> Decimal:
        """An estimate with the book's buffer on top."""
        return credits_ + credits_ * self.buffer_pct / 100


@cache
def price_books() -> Mapping[str, PriceBook]:
    """Every price book by name."""
    rows = packaged().prices.book
    return MappingProxyType(
        {row.name: PriceBook(row.name, row.failures_charged, row.buffer_pct, f"{row.source}, {row.dated}")
         for row in rows}
    )  # fmt: skip


def default_price_book() -> PriceBook:
    """The book that the API charges by."""
    return price_books()[packaged().prices.default]
