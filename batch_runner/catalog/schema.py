"""The shape of the data files: what a row may say. Anything else is refused with the offending key."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from batch_runner.catalog.conditions import Condition, Row
from batch_runner.catalog.model_rows import ModelsFile
from batch_runner.catalog.offer_rows import PackagesFile, PlansFile
from batch_runner.catalog.price_rows import PricesFile, TiersFile, WallTimesFile
from batch_runner.catalog.rule_rows import RulesFile
from batch_runner.model import FACTS, Generation, Pack


class FieldType(StrEnum):
    """What a field of the API holds. ``seconds`` is a whole number that the API wants as text."""

    TEXT = "text"
    ENUM = "enum"
    BOOL = "bool"
    INTEGER = "integer"
    NUMBER = "number"
    SECONDS = "seconds"
    OBJECT = "object"
    LIST = "list"
    MEDIA = "media"


class MediaUse(Row):
    """Other limits of a media field for bodies that fit a condition."""

    when: Condition
    media: str


class FieldRow(Row):
    """One field of a product; ``item`` is a list's element, ``fields`` an object's content.

    Attributes:
        values_from: takes the values from the product's models.
        open: whether the values may grow, so that an item can insist on one that is not listed.
        former: values that no longer stand in Kling's list.
        withdrawn: values that are refused with these words unless insisted on.
        words: texts that may stand in the place of a number.
        also_text: whether a number as text is taken too.
        media: a row of limits.
        media_when: other limits for some bodies.
        ref: which id of an earlier result stands in the field, in the words of ``ProductRow.makes``.
        ref_kinds: of which products; none: of any that makes such an id.
        ref_models: of which models; none: of any.
        place: where it goes in a body of the second generation.
    """

    type: FieldType
    required: bool = False
    default: str | bool | Decimal | None = None
    values: tuple[str, ...] = ()
    values_from: Literal["models"] | None = None
    open: bool = False
    former: tuple[str, ...] = ()
    withdrawn: dict[str, str] = Field(default_factory=dict)
    words: tuple[str, ...] = ()
    also_text: bool = False
    max_chars: int | None = None
    min: Decimal | None = None
    max: Decimal | None = None
    decimals: int | None = None
    min_items: int = 0
    max_items: int | None = None
    media: str | None = None
    media_when: tuple[MediaUse, ...] = ()
    ref: str | None = None
    ref_kinds: tuple[str, ...] = ()
    ref_models: tuple[str, ...] = ()
    place: str | None = None
    item: FieldRow | None = None
    fields: dict[str, FieldRow] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed: dict[FieldType, bool] = {
            FieldType.ENUM: bool(self.values or self.values_from),
            FieldType.OBJECT: bool(self.fields),
            FieldType.LIST: self.item is not None,
            FieldType.MEDIA: self.media is not None,
        }
        if not needed.get(self.type, True):
            raise ValueError(f"a field of type {self.type} needs values, fields, item or media")
        return self


class MediaLimits(Row):
    """What a file in a media field may be; what is left out is not limited.

    Attributes:
        name: what fields call these limits.
        type: what the file holds.
        forms: whether a local ``file`` can be sent (as base64), an ``address``, or both.
        formats: the formats it may have, by file ending without the dot.
        max_bytes: the most bytes it may have.
        min_side_px: the least pixels of its shorter side.
        max_side_px: the most pixels of its longer side.
        max_area_px: the most pixels in all.
        max_ratio: how many times the shorter side the longer one may be.
        aspects: the shapes it may have; none listed: any.
        seconds: the ranges its length may be in.
        fps: the least and the most frames a second.
        shape_of: the field with a picture whose shape this one must have, if both are known.
        one_size: whether all pictures with these limits in a body must have one size.
        source: where that stands.
    """

    name: str
    type: Literal["image", "video", "audio"]
    forms: tuple[Literal["file", "address"], ...] = ("file", "address")
    formats: tuple[str, ...] = ()
    max_bytes: int | None = None
    min_side_px: int | None = None
    max_side_px: int | None = None
    max_area_px: int | None = None
    max_ratio: Decimal | None = None
    aspects: tuple[str, ...] = ()
    seconds: tuple[tuple[Decimal, Decimal], ...] = ()
    fps: tuple[Decimal, Decimal] | None = None
    shape_of: str = ""
    one_size: bool = False
    source: str


class OwnedRow(Row):
    """A field that the runner writes itself."""

    name: str
    hint: str


class CountRow(Row):
    """Which field says how many files a task makes, for bodies that fit ``when``; ``words``: its words as numbers."""

    when: Condition = ()
    field: str
    words: dict[str, int] = Field(default_factory=dict)


class ProductRow(Row):
    """One product in one API generation: where it is created, what it is paid with, what it makes.

    Attributes:
        create_path: where it is created; ``{model}`` stands for the model's name.
        result_key: where a finished task of the first generation lists its files.
        sync: whether the create is answered with the result.
        external_id: whether an id of the caller's for a task is documented.
        external_id_told: whether answers about a task repeat that id.
        makes: the kinds of file (image, video, audio) and of id that another item can take from a result of it.
        grade: the field that price rows and models call ``mode``.
        count: which field says how many files a task makes; none: one.
        files: the most files of a kind, or ids, that a task makes where no field says how many, 1 of a kind that is
            not named; ``facts`` is the file that tells which of them is which.
        inherits: the id field whose task this one has model and mode of.
        instead: fields of the other generation, with what to write instead.
        unknown_models: a regular expression for names of models to come that would be of this generation.
    """

    kind: str
    generation: Generation = Generation.V1
    create_path: str
    pack: Pack
    result_key: str = ""
    suffix: str
    sync: bool = False
    external_id: bool = True
    external_id_told: bool = True
    makes: tuple[str, ...] = ()
    grade: str = "mode"
    count: tuple[CountRow, ...] = ()
    files: dict[str, int] = Field(default_factory=dict)
    inherits: str = ""
    instead: dict[str, str] = Field(default_factory=dict)
    unknown_models: str = ""
    groups: tuple[str, ...] = ()
    implied_by: tuple[str, ...] = ()
    fields: dict[str, FieldRow] = Field(default_factory=dict)
    source: str

    @property
    def name(self) -> str:
        """The product and its generation, for messages about the data."""
        return self.kind if self.generation is Generation.V1 else f"{self.kind} {self.generation}"


class ProductsFile(Row):
    """``products.toml``. ``lists`` are values that other lists take in by name: ``["@effects_dual"]``."""

    default_kind: str = ""
    lists: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    owned: tuple[OwnedRow, ...] = ()
    media: tuple[MediaLimits, ...] = ()
    groups: dict[str, dict[str, FieldRow]] = Field(default_factory=dict)
    product: tuple[ProductRow, ...] = ()


class CatalogData(Row):
    """All data files, each under its name."""

    products: ProductsFile
    models: ModelsFile
    rules: RulesFile
    prices: PricesFile
    wall_times: WallTimesFile
    tiers: TiersFile
    packages: PackagesFile
    plans: PlansFile

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for where, known, used in self._references():
            if lost := sorted(set(used) - known):
                raise ValueError(f"{where}: no such name: {', '.join(lost)}")
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        models = [f"{kind} {row.name}" for row in self.models.model for kind in row.kinds]
        products = [row.name for row in self.products.product]
        for names in (models, products, [row.name for row in self.products.media]):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"stands twice: {', '.join(twice)}")
        return self

    def _references(self) -> Iterator[tuple[str, set[str], Any]]:
        """Where names are used: the place, the names there are, those used."""
        kinds = {row.kind for row in self.products.product}
        features = {row.name for row in self.models.feature}
        tiers = {row.name for row in self.tiers.tier} | {row.name for row in self.packages.package}
        yield "products.default_kind", kinds, [self.products.default_kind]
        yield "tiers.default", tiers, [self.tiers.default]
        yield from self._of_products(kinds)
        for model in self.models.model:
            yield f"models.{model.name}.kinds", kinds, model.kinds
            for grant in model.grants:
                yield f"models.grants.{grant.feature}", features, (grant.feature, *grant.without)
                yield f"models.grants.{grant.feature}", kinds, grant.kinds
        for feature in self.models.feature:
            yield f"models.feature.{feature.name}", kinds, feature.kinds
        for rule in self.rules.rule:
            yield f"rules.{rule.rule}.kinds", kinds, rule.kinds
        yield from self._of_selectors(kinds, features)

    def _of_products(self, kinds: set[str]) -> Iterator[tuple[str, set[str], Any]]:
        groups, media = set(self.products.groups), {row.name for row in self.products.media}
        fields = [field for group in self.products.groups.values() for field in group.values()]
        for row in self.products.product:
            yield f"products.{row.name}.groups", groups, row.groups
            yield f"products.{row.name}.files", {*row.makes, FACTS}, row.files
            fields += row.fields.values()
        for field in _all_fields(fields):
            yield "products: media", media, [*filter(None, [field.media]), *(use.media for use in field.media_when)]
            yield "products: ref_kinds", kinds, field.ref_kinds

    def _of_selectors(self, kinds: set[str], features: set[str]) -> Iterator[tuple[str, set[str], Any]]:
        models, books = {row.name for row in self.models.model} | {""}, {row.name for row in self.prices.book}
        yield "prices.default", books, [self.prices.default]
        for price in self.prices.price:
            yield f"{price.source}: book", books | {""}, [price.book]
        for row in (*self.prices.price, *self.wall_times.wall_time):
            yield f"{row.source}: kinds", kinds, row.kinds
            yield f"{row.source}: models", models, row.models
            yield f"{row.source}: features", features, (*row.with_, *row.without)


def _all_fields(fields: list[FieldRow]) -> Iterator[FieldRow]:
    for field in fields:
        yield field
        yield from _all_fields([*field.fields.values(), *([field.item] if field.item else [])])
