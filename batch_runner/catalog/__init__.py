"""What Kling offers, as data: products, fields, models, rules, prices and tiers, each with source and date.

Everything in ``data`` is read once, at the first question. Adding a product, a model, a field, a rule, a price or
a tier is an edit there. Pure: no clock, no network, no asyncio.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cache

from batch_runner.catalog.book import Book, Checked, fields_of_product
from batch_runner.catalog.disputes import (
    PackageDispute,
    PriceDispute,
    package_disputes,
    price_disputes,
    price_rows_of,
)
from batch_runner.catalog.load import CatalogError, packaged
from batch_runner.catalog.made_files import MadeFiles
from batch_runner.catalog.normal import names_an_item, says_nothing
from batch_runner.catalog.offers import Package, Plan, list_prices_usd, packages, plans
from batch_runner.catalog.price_book import PriceBook, default_price_book, price_books
from batch_runner.catalog.price_rows import PriceRow
from batch_runner.catalog.problems import FieldProblem
from batch_runner.catalog.product import MediaField, Origin, Product
from batch_runner.catalog.schema import FieldRow, MediaLimits
from batch_runner.catalog.shelf import Shelf
from batch_runner.catalog.tier import Tier, default_tier, tiers
from batch_runner.model import NOTHING, Price, Route

__all__ = [
    "CatalogError",
    "Checked",
    "FieldProblem",
    "FieldRow",
    "MadeFiles",
    "MediaField",
    "MediaLimits",
    "Origin",
    "Package",
    "PackageDispute",
    "Plan",
    "PriceBook",
    "PriceDispute",
    "PriceRow",
    "Product",
    "Tier",
    "answered_at_once",
    "check",
    "count",
    "default_kind",
    "default_price_book",
    "default_tier",
    "expected_bytes",
    "expected_duration_s",
    "feature_words",
    "field_names",
    "field_rows",
    "kinds",
    "length_of",
    "list_prices_usd",
    "made_files",
    "media_limits",
    "model_of",
    "models",
    "nameless_routes",
    "names_an_item",
    "package_disputes",
    "packages",
    "plans",
    "price",
    "price_books",
    "price_disputes",
    "price_rows",
    "price_rows_of",
    "product",
    "route",
    "slots",
    "tiers",
    "traits",
]


@cache
def _shelf(kind: str) -> Shelf:
    if kind not in kinds():
        raise KeyError(kind)
    return Shelf(kind, packaged())


def _book(kind: str, body: Mapping[str, object]) -> Book:
    return _shelf(kind).of(body)


@cache
def kinds() -> tuple[str, ...]:
    """The products a manifest can ask for."""
    return tuple(dict.fromkeys(row.kind for row in packaged().products.product))


@cache
def answered_at_once() -> frozenset[str]:
    """The products of which there is no task to ask for: the answer to the request is the result."""
    return frozenset(row.kind for row in packaged().products.product if row.sync)


@cache
def nameless_routes() -> tuple[Route, ...]:
    """Where tasks are asked for of which no answer says whose they are."""
    routes = (route(kind, "") for kind in kinds() if kind not in answered_at_once())
    return tuple(found for found in routes if not (found.has_external_id and found.tells_external_id))


def models(kind: str) -> tuple[str, ...]:
    """The models that make this product, of both generations; none where it has no model. KeyError as below."""
    return tuple(name for book in _shelf(kind).books for name in book.models)


def default_kind(fields: Mapping[str, object]) -> str:
    """The product that fields without a ``kind`` mean: implied by a field they fill, else the common one."""
    for name, kind in _implied():
        if name in fields and not says_nothing(fields[name]):
            return kind
    return packaged().products.default_kind


@cache
def _implied() -> tuple[tuple[str, str], ...]:
    """The fields that imply a product, with that product; the first that is filled decides."""
    return tuple((name, row.kind) for row in packaged().products.product for name in row.implied_by)


def field_rows(kind: str, fields: Mapping[str, object]) -> Mapping[str, FieldRow]:
    """The fields that an item of this kind may set, by name; KeyError for an unknown kind.

    ``fields`` are those it sets: where the generation of its model decides which fields there are, the model does.
    """
    return _book(kind, fields).rows


@cache
def feature_words() -> Mapping[str, str]:
    """What people call the features that models grant and price rows name, by name."""
    return {row.name: row.words for row in reversed(packaged().models.feature)}


@cache
def field_names() -> frozenset[str]:
    """The names of the fields of all products."""
    data = packaged()
    return frozenset(name for row in data.products.product for name in fields_of_product(row, data))


def product(kind: str, model: str = "") -> Product:
    """The facts of a product as this model makes it; KeyError for an unknown kind."""
    return _shelf(kind).book(model).product


def route(kind: str, model: str) -> Route:
    """Where a task of this product and model is asked for; KeyError for an unknown kind."""
    return _shelf(kind).book(model).route(model)


def model_of(kind: str, body: Mapping[str, object]) -> str:
    """The model that a canonical body means, or an empty text where the product has none; KeyError as above."""
    return _book(kind, body).model_of(body)


def slots(kind: str, body: Mapping[str, object]) -> int:
    """How many of the account's slots a task of a canonical body holds (kling-api 5.3); KeyError as above."""
    return _book(kind, body).slots(body)


def count(kind: str, body: Mapping[str, object]) -> int:
    """How many files a canonical body asks for; the most there can be where Kling decides. KeyError as above."""
    return _book(kind, body).count(body)


def made_files(kind: str, body: Mapping[str, object]) -> MadeFiles:
    """Which files a task of a canonical body may make, of every kind of file together; KeyError as above."""
    return _book(kind, body).made_files(body)


def media_limits(kind: str, body: Mapping[str, object], path: str) -> MediaLimits:
    """What a file in the media field at ``path`` may be, in this body; KeyError as above, and for another field."""
    return _book(kind, body).media_limits(path, body)


def check(
    kind: str, fields: Mapping[str, object], also: tuple[str, ...] = (), *, allow_unknown_model: bool = False
) -> Checked:
    """The canonical API body of these fields and everything wrong with them; KeyError for an unknown kind.

    Canonical: a duration is text, ``"true"`` is true, null, blank text and empty lists are left out; defaults
    are not filled in. ``also`` names further words that an unknown field may have been meant to be. With
    ``allow_unknown_model`` a model that is not known here is let through: the fields are held to their types and to
    the rules that name no model; a scene of effects that is not known is let through too. A table that stands for
    another item's result is not judged where a file or an id may stand.
    """
    return _book(kind, fields).check(fields, also, allow_unknown=allow_unknown_model)


def price(
    kind: str,
    body: Mapping[str, object],
    lengths: Mapping[str, Decimal] = NOTHING,
    inherited: Mapping[str, object] = NOTHING,
    book: str = "",
) -> Price | None:
    """Credits a canonical body is expected to consume, None when no price is known; KeyError as above.

    ``lengths`` are the seconds of source files by field; which one counts, if any, says ``length_of``, and without it
    there is no price. ``inherited`` are ``model_name`` and ``mode`` of the task that ``Product.inherits`` names.
    ``book`` is the price book that counts, the API's unless told; KeyError for an unknown one.
    """
    return _book(kind, body).quote(body, lengths, inherited, book).price


def price_rows(
    kind: str, body: Mapping[str, object], inherited: Mapping[str, object] = NOTHING, book: str = ""
) -> tuple[PriceRow, ...]:
    """The price rows that fit a canonical body, the one that decides first; KeyError as above."""
    return _book(kind, body).quote(body, NOTHING, inherited, book).rows


def traits(kind: str, body: Mapping[str, object], inherited: Mapping[str, object] = NOTHING) -> dict[str, str]:
    """``model_name`` and ``mode`` of a canonical body's task, for tasks that inherit them; KeyError as above.

    ``inherited`` are those of the task that this one inherits from itself.
    """
    return _book(kind, body).traits(body, inherited)


def length_of(kind: str, body: Mapping[str, object]) -> str | None:
    """The path of the field whose length decides the price of a canonical body, or None; KeyError as above."""
    return _book(kind, body).quote(body).length_of


def expected_duration_s(kind: str, body: Mapping[str, object]) -> float:
    """Mean wall seconds from submission to the task's end, to order and forecast by; KeyError as above."""
    return _book(kind, body).expected_duration_s(body)


def expected_bytes(kind: str, body: Mapping[str, object]) -> int:
    """Bytes to keep free on the disk for the files of a task, on the safe side; KeyError as above."""
    return _book(kind, body).expected_bytes(body)
