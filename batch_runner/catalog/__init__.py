"""What Kling offers, as data: products, fields, models, rules, prices and tiers, each with source and date.

Everything in ``data/*.toml`` is read once, at the first question. Adding a model, a field, a rule, a price or
a tier is an edit there. Pure: no clock, no network, no asyncio.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from batch_runner.catalog.book import Book, Checked, MediaField, Product
from batch_runner.catalog.load import CatalogError, packaged
from batch_runner.catalog.normal import says_nothing
from batch_runner.catalog.price_book import PriceBook, default_price_book, price_books
from batch_runner.catalog.problems import FieldProblem
from batch_runner.catalog.schema import FieldRow
from batch_runner.catalog.tier import Tier, default_tier, tiers
from batch_runner.model import Price, Route

__all__ = [
    "CatalogError",
    "Checked",
    "FieldProblem",
    "FieldRow",
    "MediaField",
    "PriceBook",
    "Product",
    "Tier",
    "check",
    "default_kind",
    "default_price_book",
    "default_tier",
    "expected_duration_s",
    "field_names",
    "field_rows",
    "kinds",
    "model_of",
    "price",
    "price_books",
    "product",
    "route",
    "slots",
    "tiers",
]


@cache
def _books() -> dict[str, Book]:
    data = packaged()
    return {row.kind: Book(row, data) for row in data.products.product}


def kinds() -> tuple[str, ...]:
    """The products a manifest can ask for."""
    return tuple(_books())


def default_kind(fields: Mapping[str, object]) -> str:
    """The product that fields without a ``kind`` mean: implied by a field they fill, else the common one."""
    data = packaged().products
    for row in data.product:
        if any(name in fields and not says_nothing(fields[name]) for name in row.implied_by):
            return row.kind
    return data.default_kind


def field_rows(kind: str, fields: Mapping[str, object]) -> Mapping[str, FieldRow]:  # noqa: ARG001 - see below
    """The fields that an item of this kind may set, by name; KeyError for an unknown kind.

    ``fields`` are those it sets: where the generation of its model decides which fields there are, the model does.
    """
    return _books()[kind].rows


@cache
def field_names() -> frozenset[str]:
    """The names of the fields of all products."""
    return frozenset(name for book in _books().values() for name in book.rows)


def product(kind: str, model: str = "") -> Product:  # noqa: ARG001 - one generation so far: the kind alone decides
    """The facts of a product as this model makes it; KeyError for an unknown kind."""
    return _books()[kind].product


def route(kind: str, model: str) -> Route:
    """Where a task of this product and model is asked for; KeyError for an unknown kind."""
    return _books()[kind].route(model)


def model_of(kind: str, body: Mapping[str, object]) -> str:
    """The model that a canonical body means, or an empty text where the product has none; KeyError as above."""
    return _books()[kind].model_of(body)


def slots(kind: str, body: Mapping[str, object]) -> int:
    """How many of the account's slots a task of a canonical body holds (kling-api 5.3); KeyError as above."""
    return _books()[kind].slots(body)


def check(kind: str, fields: Mapping[str, object], also: tuple[str, ...] = ()) -> Checked:
    """The canonical API body of these fields and everything wrong with them; KeyError for an unknown kind.

    Canonical: a duration is text, ``"true"`` is true, null, blank text and empty lists are left out; defaults
    are not filled in. ``also`` names further words that an unknown field may have been meant to be.
    """
    return _books()[kind].check(fields, also)


def price(kind: str, body: Mapping[str, object]) -> Price | None:
    """Credits a canonical body is expected to consume, None when no price is known; KeyError as above."""
    return _books()[kind].price(body)


def expected_duration_s(kind: str, body: Mapping[str, object]) -> float:
    """Mean wall seconds from submission to the task's end, to order and forecast by; KeyError as above."""
    return _books()[kind].expected_duration_s(body)
