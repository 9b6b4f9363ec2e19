"""One product with everything the data says about it, and the check of a body against that. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from batch_runner.catalog.capabilities import Capabilities, Shape
from batch_runner.catalog.conditions import Body, top_field
from batch_runner.catalog.fields import Fields
from batch_runner.catalog.price_rows import PriceRow
from batch_runner.catalog.problems import FieldProblem
from batch_runner.catalog.rules import Rules
from batch_runner.catalog.schema import CatalogData, FieldRow, ProductRow
from batch_runner.model import Generation, Pack, Price, Route

_NOTHING: frozenset[str] = frozenset()
_SLOWEST_KNOWN_S = 455.0
"""Mean of the slowest job anybody measured (lip-sync, 2025): stands in where no row fits."""


@dataclass(frozen=True, slots=True)
class MediaField:
    """A field that holds an image, a video or a sound.

    Attributes:
        path: where it stands in a body (``dynamic_masks[].mask``).
        type: ``image``, ``video`` or ``audio``.
        takes_file: whether a local file can be sent in it, as base64; else it takes an address alone.
    """

    path: str
    type: str
    takes_file: bool


@dataclass(frozen=True, slots=True)
class Product:
    """One thing Kling makes.

    Attributes:
        kind: its name in a manifest.
        create_path: where it is created, queried and listed, below the base address.
        pack: the currency it is paid with.
        result_key: where a finished task lists its assets.
        suffix: an asset file's ending with its dot.
        makes: kinds of file and of id that other items can take from a result (``image``, ``video_id``).
        media: the fields that hold files.
        refs: the fields that hold ids of earlier results, by path, each with the kind of id.
    """

    kind: str
    create_path: str
    pack: Pack
    result_key: str
    suffix: str
    makes: tuple[str, ...]
    media: tuple[MediaField, ...]
    refs: Mapping[str, str]

    @property
    def media_fields(self) -> tuple[str, ...]:
        """The paths of the fields that hold files."""
        return tuple(field.path for field in self.media)


@dataclass(frozen=True, slots=True)
class Checked:
    """A body in canonical form, and everything that is wrong with the fields it came from."""

    body: dict[str, Any]
    problems: tuple[FieldProblem, ...]


class Book:
    """What the data says about one product."""

    def __init__(self, row: ProductRow, data: CatalogData) -> None:
        rows = fields_of_product(row, data)
        defaults = {name: field.default for name, field in rows.items() if field.default is not None}
        self._capabilities = Capabilities(row.kind, data.models, defaults)
        models = self._capabilities.models
        rows = {name: _with_models(field, models) for name, field in rows.items()}
        self.rows: Mapping[str, FieldRow] = rows
        owned = {entry.name: entry.hint for entry in data.products.owned}
        self._fields = Fields(row.kind, rows, owned, _elsewhere(row.kind, data))
        self._rules = Rules(tuple(rule for rule in data.rules.rule if row.kind in rule.kinds), defaults)
        of_the_api = {"", data.prices.default}
        prices = [price for price in data.prices.price if price.book in of_the_api]
        self._prices = [price for price in prices if row.kind in (price.kinds or (row.kind,))]
        self._wall_times = data.wall_times.wall_time
        self._price_of = lru_cache(maxsize=1024)(self._find_price)
        places = list(_places(rows))
        self.product = Product(
            kind=row.kind,
            create_path=row.create_path,
            pack=row.pack,
            result_key=row.result_key,
            suffix=row.suffix,
            makes=row.makes,
            media=tuple(MediaField(path, field.media, "file" in field.forms) for path, field in places if field.media),
            refs={path: field.ref for path, field in places if field.ref},
        )

    def route(self, model: str) -> Route:  # noqa: ARG002 - one generation so far: the product alone decides
        """Where a task of this model is asked for."""
        path = self.product.create_path
        return Route(Generation.V1, path, path, self.product.result_key)

    def model_of(self, body: Body) -> str:
        """The model that a canonical body means."""
        return self._capabilities.model_of(body)

    def slots(self, body: Body) -> int:  # noqa: ARG002 - a video's task holds one
        """How many of the account's slots a task of this body holds."""
        return 1

    def check(self, fields: Body, also: tuple[str, ...] = ()) -> Checked:
        """The canonical body and all problems; ``also`` are further names an unknown one may have meant."""
        body = self._fields.normal(fields)
        typed = self._fields.problems(body)
        bad = frozenset(top_field(problem.field) for problem in typed) if typed else _NOTHING
        problems = [
            *self._fields.unknown(fields, also),
            *(self._with_model_hint(problem, body) for problem in typed),
            *self._capabilities.problems(body, bad),
            *self._rules.problems(body, bad),
        ]
        return Checked(body, tuple(problems))

    def _with_model_hint(self, problem: FieldProblem, body: Body) -> FieldProblem:
        hint = self._capabilities.made_elsewhere(body["model_name"]) if problem.field == "model_name" else ""
        return FieldProblem(problem.field, problem.what, hint) if hint else problem

    def price(self, body: Body) -> Price | None:
        """What the body is expected to consume, or None when no row has it."""
        shape = self._capabilities.shape(body)
        return self._price_of(shape) if shape else None

    def _find_price(self, shape: Shape) -> Price | None:
        if shape.clip_s is None:
            return None
        fitting = [row for row in self._prices if self._covers(row, shape)]
        newest = max(fitting, key=lambda row: row.dated, default=None)
        amount = newest.credits_for(shape.clip_s) if newest else None
        if newest is None or amount is None:
            return None
        return Price(self.product.pack, amount, f"{newest.source}, {newest.dated}")

    def _covers(self, row: PriceRow, shape: Shape) -> bool:
        return row.covers(self.product.kind, shape.model, shape.mode, shape.features)

    def expected_duration_s(self, body: Body) -> float:
        """Mean wall seconds from submission to the end of the task."""
        shape = self._capabilities.shape(body)
        if shape is None or shape.clip_s is None:
            return _SLOWEST_KNOWN_S
        asked = (self.product.kind, shape.model, shape.mode, shape.features)
        row = next((row for row in self._wall_times if row.covers(*asked)), None)
        return row.at(shape.clip_s) if row else _SLOWEST_KNOWN_S


def fields_of_product(row: ProductRow, data: CatalogData) -> dict[str, FieldRow]:
    """A product's own fields over those of its groups."""
    fields: dict[str, FieldRow] = {}
    for group in row.groups:
        fields |= data.products.groups[group]
    return fields | row.fields


def _with_models(field: FieldRow, models: tuple[str, ...]) -> FieldRow:
    return field.model_copy(update={"values": models}) if field.values_from == "models" else field


def _elsewhere(kind: str, data: CatalogData) -> dict[str, tuple[str, ...]]:
    """The fields that products other than this one have, with those products."""
    found: dict[str, tuple[str, ...]] = {}
    for row in data.products.product:
        if row.kind != kind:
            for name in fields_of_product(row, data):
                found[name] = (*found.get(name, ()), row.kind)
    return found


def _places(rows: Mapping[str, FieldRow], prefix: str = "") -> Iterator[tuple[str, FieldRow]]:
    """Every field of a product with its path, those inside lists and objects too."""
    for name, row in rows.items():
        path, field = f"{prefix}{name}", row
        while field.item is not None:
            path, field = f"{path}[]", field.item
        yield path, field
        yield from _places(field.fields, f"{path}.")
