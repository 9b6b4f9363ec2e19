"""One product in one API generation with everything the data says about it, and the check of a body. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from batch_runner.catalog.capabilities import Capabilities
from batch_runner.catalog.conditions import Body, holds, top_field, values
from batch_runner.catalog.fields import Fields, Strictness
from batch_runner.catalog.file_sizes import expected_bytes
from batch_runner.catalog.made_files import MadeFiles
from batch_runner.catalog.price_list import UNPRICED, PriceList, Quote
from batch_runner.catalog.problems import FieldProblem, few, listed, nearest, shown
from batch_runner.catalog.product import MediaField, Origin, Product
from batch_runner.catalog.rules import Rules
from batch_runner.catalog.schema import CatalogData, CountRow, FieldRow, MediaLimits, MediaUse, ProductRow
from batch_runner.model import FACTS, NOTHING, SUFFIXES, Generation, Pack, Route

_NOTHING: frozenset[str] = frozenset()
_SLOWEST_KNOWN_S = 455.0
"""Mean of the slowest job anybody measured (lip-sync, 2025): stands in where no row fits."""
_USUAL_CLIP_S = 5
"""Stands in for a length that follows from a source."""
_V2_TASKS: Final = "/tasks"
"""Where every task of the second generation is asked for (kling-api 3.20)."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A body in canonical form, and everything that is wrong with the fields it came from."""

    body: dict[str, Any]
    problems: tuple[FieldProblem, ...]


class Book:
    """What the data says about one product in one generation."""

    def __init__(self, row: ProductRow, data: CatalogData) -> None:
        rows = fields_of_product(row, data)
        defaults = {name: field.default for name, field in rows.items() if field.default is not None}
        self._row = row
        self._defaults = defaults
        self._capabilities = Capabilities(row, rows, data)
        self.models = self._capabilities.models
        self.rows: Mapping[str, FieldRow] = {name: _with_models(field, self.models) for name, field in rows.items()}
        self._fields = Fields(
            row.kind,
            self.rows,
            owned={entry.name: entry.hint for entry in data.products.owned},
            instead=row.instead,
            elsewhere=_elsewhere(row.kind, data),
            source=row.source,
        )
        self._rules = Rules(tuple(rule for rule in data.rules.rule if _is_about(rule, row)), defaults)
        self._default_book = data.prices.default
        self._prices = {book.name: PriceList(row, data.prices, book.name) for book in data.prices.book}
        self._wall_times = data.wall_times.wall_time
        self._elsewhere = _models_elsewhere(row.kind, data)
        self._all_models = tuple(model.name for model in data.models.model if row.kind in model.kinds)
        limits = {entry.name: entry for entry in data.products.media}
        self._media_uses = {path: _uses(field, limits) for path, field in _places(rows) if field.media}
        self._places = MappingProxyType({name: field.place for name, field in rows.items() if field.place is not None})
        self.product = _product(row, rows, limits)

    def route(self, model: str) -> Route:
        """Where a task of this model is asked for."""
        row = self._row
        # A model to come may be called anything that begins like one; it must not lead to another path.
        path = row.create_path.replace("{model}", quote(model, safe=""))
        if row.generation is Generation.V2:
            return Route(row.generation, path, _V2_TASKS, "", self._places)
        list_path = None if row.sync else path
        return Route(
            row.generation,
            path,
            list_path,
            row.result_key,
            has_external_id=row.external_id,
            tells_external_id=row.external_id_told,
        )

    def model_of(self, body: Body) -> str:
        """The model that a canonical body means."""
        return self._capabilities.model_of(body)

    def slots(self, body: Body) -> int:
        """How many of the account's slots a task of this body holds: an image's task one for each image."""
        return self.count(body) if self._row.pack is Pack.IMAGE else 1

    def count(self, body: Body) -> int:
        """How many files a task of this body makes, as far as that is asked for; at most so many with ``auto``."""
        row = self._count_row(body)
        return 1 if row is None else _counted(row, body, self._defaults)[0]

    def _count_row(self, body: Body) -> CountRow | None:
        return next((row for row in self._row.count if holds(row.when, body, self._defaults)), None)

    def made_files(self, body: Body) -> MadeFiles:
        """Which files a task of this body may make: as many as the body asks for, if it says so."""
        kinds = tuple(kind for kind in self._row.makes if kind in SUFFIXES)
        row = self._count_row(body)
        if row is not None and kinds:
            count, is_told = _counted(row, body, self._defaults)
            return MadeFiles(((kinds[0], count),), count if is_told else 1)
        most = self._row.files
        kinds += (FACTS,) if FACTS in most or not kinds else ()
        return MadeFiles(tuple((kind, most.get(kind, 1)) for kind in kinds))

    def media_limits(self, path: str, body: Body) -> MediaLimits:
        """What a file in that media field may be, in this body; KeyError for another field."""
        uses = self._media_uses[path]
        return next(limits for when, limits in uses if holds(when, body, self._defaults))

    def check(self, fields: Body, also: tuple[str, ...] = (), *, allow_unknown: bool = False) -> Checked:
        """The canonical body and all problems; ``also`` are further names an unknown one may have meant."""
        body = self._fields.normal(fields)
        strictness = self._strictness(body) if allow_unknown else Strictness.FULL
        typed = self._fields.problems(body, strictness)
        bad = frozenset(top_field(problem.field) for problem in typed) if typed else _NOTHING
        unknown = self._fields.unknown(fields, also)
        meant = self._fields.meant(fields, also) if unknown else _NOTHING
        problems = [
            *unknown,
            *(self._with_model_words(problem, body) for problem in typed),
            *self._capabilities.problems(body, bad | meant),
            *(problem for problem in self._rules.problems(body, bad | meant) if top_field(problem.field) not in meant),
        ]
        return Checked(body, tuple(problems))

    def _strictness(self, body: Body) -> Strictness:
        is_known = not self.models or self.model_of(body) in self.models
        return Strictness.OPEN if is_known else Strictness.TYPES

    def _with_model_words(self, problem: FieldProblem, body: Body) -> FieldProblem:
        model = body["model_name"] if problem.field == "model_name" else None
        if not isinstance(model, str):
            return problem
        elsewhere = self._elsewhere.get(model, ())
        there_are = f"there are {few(list(self.models))}"
        hint = (
            f"{model} makes {listed(elsewhere, 'and')}" if elsewhere else nearest(model, self._all_models) or there_are
        )
        return FieldProblem("model_name", f"{shown(model)} is no model of {self._row.kind}", hint, problem.source)

    def quote(
        self, body: Body, lengths: Mapping[str, Decimal] = NOTHING, inherited: Body = NOTHING, book: str = ""
    ) -> Quote:
        """What the body costs by a price book (KeyError for an unknown one; by none: the API's), and by which rows."""
        shape = self._capabilities.shape({**inherited, **body} if inherited else body)
        prices = self._prices[book or self._default_book]
        plain = prices.plain(shape)
        if plain is not None or shape is None:
            return plain or UNPRICED
        return prices.quote(shape, body, self.count(body), lengths)

    def traits(self, body: Body, inherited: Body = NOTHING) -> dict[str, str]:
        """Model and mode of a task of this body, as far as it has them, for tasks that inherit them."""
        shape = self._capabilities.shape({**inherited, **body} if inherited else body)
        found = {} if shape is None else {"model_name": shape.model, "mode": shape.mode or ""}
        return {name: value for name, value in found.items() if value}

    def expected_duration_s(self, body: Body) -> float:
        """Mean wall seconds from submission to the end of the task."""
        shape = self._capabilities.shape(body)
        if shape is None:
            return _SLOWEST_KNOWN_S
        asked = (self.product.kind, shape.model, shape.mode, shape.features)
        row = next((row for row in self._wall_times if row.covers(*asked)), None)
        return row.at(shape.clip_s or _USUAL_CLIP_S) if row else _SLOWEST_KNOWN_S

    def expected_bytes(self, body: Body) -> int:
        """Bytes to keep free on the disk for the files of a task of this body."""
        shape = self._capabilities.shape(body)
        grade = (shape.mode if shape else None) or str(body.get("resolution", self._defaults.get("resolution", "")))
        return expected_bytes(self.made_files(body).kinds, grade, shape.clip_s if shape else None)


def fields_of_product(row: ProductRow, data: CatalogData) -> dict[str, FieldRow]:
    """A product's own fields over those of its groups."""
    fields: dict[str, FieldRow] = {}
    for group in row.groups:
        fields |= data.products.groups[group]
    return fields | row.fields


def _product(row: ProductRow, rows: Mapping[str, FieldRow], limits: Mapping[str, MediaLimits]) -> Product:
    places = list(_places(rows))
    return Product(
        kind=row.kind,
        generation=row.generation,
        create_path=row.create_path,
        pack=row.pack,
        result_key=row.result_key,
        suffix=row.suffix,
        is_sync=row.sync,
        makes=row.makes,
        media=tuple(MediaField(path, limits[field.media]) for path, field in places if field.media),
        refs={path: field.ref for path, field in places if field.ref},
        origins={path: Origin(field.ref_kinds, field.ref_models) for path, field in places if field.ref},
        files=max(row.files.values(), default=1),
        inherits=row.inherits,
        source=row.source,
    )


def _is_about(rule: Any, row: ProductRow) -> bool:
    return row.kind in rule.kinds and rule.generation is row.generation


def _counted(row: CountRow, body: Body, defaults: Body) -> tuple[int, bool]:
    """How many files, and whether that is said; else they are the most there can be."""
    found = values(body, row.field) or values(defaults, row.field)
    text = str(found[0]) if found else "1"
    if text in row.words:
        return row.words[text], False
    return (int(text) if text.isascii() and text.isdigit() else 1), True


def _uses(field: FieldRow, limits: Mapping[str, MediaLimits]) -> list[tuple[Any, MediaLimits]]:
    assert field.media is not None
    rows = [*field.media_when, MediaUse(when=(), media=field.media)]
    return [(row.when, limits[row.media]) for row in rows]


def _with_models(field: FieldRow, models: tuple[str, ...]) -> FieldRow:
    return field.model_copy(update={"values": models}) if field.values_from == "models" else field


def _elsewhere(kind: str, data: CatalogData) -> dict[str, tuple[str, ...]]:
    """The fields that products other than this one have, with those products."""
    found: dict[str, tuple[str, ...]] = {}
    for row in data.products.product:
        if row.kind != kind:
            for name in fields_of_product(row, data):
                found[name] = tuple(dict.fromkeys((*found.get(name, ()), row.kind)))
    return found


def _models_elsewhere(kind: str, data: CatalogData) -> dict[str, tuple[str, ...]]:
    """The models of other products that do not make this one, with those products."""
    found: dict[str, tuple[str, ...]] = {}
    for row in data.models.model:
        found[row.name] = (*found.get(row.name, ()), *row.kinds)
    return {name: kinds for name, kinds in found.items() if kind not in kinds}


def _places(rows: Mapping[str, FieldRow], prefix: str = "") -> Iterator[tuple[str, FieldRow]]:
    """Every field of a product with its path, those inside lists and objects too."""
    for name, row in rows.items():
        path, field = f"{prefix}{name}", row
        while field.item is not None:
            path, field = f"{path}[]", field.item
        yield path, field
        yield from _places(field.fields, f"{path}.")
