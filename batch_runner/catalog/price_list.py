"""Which price rows fit what a body asks for, which of them wins, and what it then costs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from batch_runner.catalog.capabilities import Shape
from batch_runner.catalog.conditions import Body, values
from batch_runner.catalog.price_rows import PriceRow, PricesFile, Quantity
from batch_runner.catalog.schema import ProductRow
from batch_runner.model import Price


class Quote(NamedTuple):
    """The answer to what a body costs.

    Attributes:
        price: the price, or None when no row has it or a length is not known.
        length_of: the field whose length the price depends on, or None where it depends on none.
        rows: the rows that fit, the one that decides first.
    """

    price: Price | None
    length_of: str | None = None
    rows: tuple[PriceRow, ...] = ()


UNPRICED = Quote(None)


class PriceList:
    """The price rows of one product in one price book."""

    def __init__(self, product: ProductRow, data: PricesFile, book: str) -> None:
        self._kind = product.kind
        self._pack = product.pack
        rows = [row for row in data.price if (row.book or data.default) == book]
        self._rows = [row for row in rows if product.kind in (row.kinds or (product.kind,))]
        self._fitting = lru_cache(maxsize=1024)(self._find_fitting)
        self._plain = lru_cache(maxsize=1024)(self._find_plain)

    def plain(self, shape: Shape | None) -> Quote | None:
        """What a body of this shape costs, if nothing else decides it (and no row is no price); else None."""
        return self._plain(shape)

    def quote(self, shape: Shape, body: Body, count: int, lengths: Mapping[str, Decimal]) -> Quote:
        """What a body of this shape costs, of which so many files are asked for; there are rows for it."""
        rows = self._fitting(shape)
        paths = rows[0].length_of
        path = next((path for path in paths if values(body, path)), paths[0]) if paths else None
        return self._priced(rows, Quantity(shape.clip_s, count, lengths.get(path) if path else None), path)

    def _find_fitting(self, shape: Shape) -> tuple[PriceRow, ...]:
        """The rows for this shape, the vendor's newest first; of the same date, the later in the file."""
        fitting = [row for row in self._rows if row.covers(self._kind, shape.model, shape.mode, shape.features)]
        can = [row for row in fitting if row.length_of or row.credits_for(Quantity(shape.clip_s, 1, None)) is not None]
        return tuple(sorted(can, key=lambda row: row.rank)[::-1])

    def _find_plain(self, shape: Shape | None) -> Quote | None:
        rows = self._fitting(shape) if shape else ()
        if shape is None or not rows:
            return UNPRICED
        depends = rows[0].length_of or rows[0].per_image is not None
        return None if depends else self._priced(rows, Quantity(shape.clip_s, 1, None), None)

    def _priced(self, rows: tuple[PriceRow, ...], quantity: Quantity, length_of: str | None) -> Quote:
        row = rows[0]
        amount = row.credits_for(quantity)
        source = f"{row.source}, {row.dated}"
        return Quote(None if amount is None else Price(row.pack or self._pack, amount, source), length_of, rows)
