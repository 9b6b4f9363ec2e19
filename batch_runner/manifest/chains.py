"""References to other items' results in a body: ``{"item": "hero", "asset": 2}``, and what their fields want."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from batch_runner import catalog
from batch_runner.catalog import MediaLimits, Product
from batch_runner.catalog.normal import names_an_item
from batch_runner.catalog.problems import FieldProblem, json_type, label, nearest
from batch_runner.catalog.product import Origin
from batch_runner.manifest.media_fields import Place, places
from batch_runner.manifest.names import composed, id_trouble

_WORDS = ("item", "asset")
_MOST_ASSETS = 1000


class Want(NamedTuple):
    """What a field takes of another item's result.

    Attributes:
        made: the kind of file or of id, in the words of ``Product.makes``.
        limits: what a file may be; None for an id.
        origin: which results an id may be of.
        source: where that stands.
    """

    made: str
    source: str
    limits: MediaLimits | None = None
    origin: Origin = Origin()


class Chain(NamedTuple):
    """One reference: the field's path, the place it stands at, the item it names, the number of the file, the want."""

    path: str
    field: str
    item: str
    asset: int
    want: Want


def chains(product: Product, body: dict[str, Any]) -> tuple[list[Chain], list[FieldProblem]]:
    """The references of a canonical body, which are brought into canonical form there, and what is wrong with them."""
    found: list[Chain] = []
    problems: list[FieldProblem] = []
    for path, place, want in _named(product, body):
        table = place.get()
        troubles = list(_troubles(table, place.label))
        problems += troubles
        if not troubles:
            chain = Chain(path, place.label, composed(table["item"]), int(table.get("asset") or 1), want)
            place.put({"item": chain.item} if chain.asset == 1 else {"item": chain.item, "asset": chain.asset})
            found.append(chain)
    return found, problems


def _named(product: Product, body: dict[str, Any]) -> Iterator[tuple[str, Place, Want]]:
    """Every place of a body where another item is named, with its field and what that wants."""
    for field in product.media:
        for place in places(body, field.path):
            if names_an_item(place.get()):
                limits = catalog.media_limits(product.kind, body, field.path)
                yield field.path, place, Want(limits.type, limits.source, limits)
    for path, made in product.refs.items():
        for place in places(body, path):
            if names_an_item(place.get()):
                yield path, place, Want(made, product.source, None, product.origins.get(path, Origin()))


def _troubles(table: dict[str, Any], at: str) -> Iterator[FieldProblem]:
    for name in table:
        if name not in _WORDS:
            yield FieldProblem(f"{at}.{label(name)}", "no such word beside item", nearest(name, _WORDS))
    if not isinstance(table["item"], str):
        yield FieldProblem(f"{at}.item", f"must be the id of an item, not {json_type(table['item'])}")
    elif id_trouble(composed(table["item"])):
        yield FieldProblem(f"{at}.item", "is no id that an item could have")
    asset = table.get("asset", 1)
    is_cell = isinstance(asset, str) and asset.isascii() and asset.isdigit()
    if not is_cell and (type(asset) is not int or not 1 <= asset <= _MOST_ASSETS):
        yield FieldProblem(f"{at}.asset", f"must be the number of a file, from 1, not {json_type(asset)}")
