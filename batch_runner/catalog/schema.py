"""The shape of the data files: what a row may say. Anything else is refused with the offending key."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from batch_runner.catalog.conditions import Condition, Row
from batch_runner.catalog.price_rows import PricesFile, TiersFile, WallTimesFile
from batch_runner.catalog.rule_rows import RulesFile
from batch_runner.model import Pack


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


class FieldRow(Row):
    """One field of a product; ``item`` is a list's element, ``fields`` an object's content.

    A media field takes a ``file`` (sent as base64), an ``address``, or both. ``ref`` says which id of an earlier
    result stands in the field, in the words of ``ProductRow.makes``.
    """

    type: FieldType
    required: bool = False
    default: str | bool | Decimal | None = None
    values: tuple[str, ...] = ()
    values_from: Literal["models"] | None = None
    max_chars: int | None = None
    min: Decimal | None = None
    max: Decimal | None = None
    min_items: int = 0
    max_items: int | None = None
    media: Literal["image", "video", "audio"] | None = None
    forms: tuple[Literal["file", "address"], ...] = ("file", "address")
    ref: str | None = None
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


class OwnedRow(Row):
    """A field that the runner writes itself."""

    name: str
    hint: str


class ProductRow(Row):
    """One product: where it is created, what it is paid with, what it makes.

    ``makes`` are the kinds of file (image, video, audio) and of id that another item can take from a result of it.
    """

    kind: str
    create_path: str
    pack: Pack
    result_key: str
    suffix: str
    makes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    implied_by: tuple[str, ...] = ()
    fields: dict[str, FieldRow] = Field(default_factory=dict)
    source: str


class ProductsFile(Row):
    """``products.toml``."""

    default_kind: str
    owned: tuple[OwnedRow, ...] = ()
    groups: dict[str, dict[str, FieldRow]] = Field(default_factory=dict)
    product: tuple[ProductRow, ...]


class FeatureRow(Row):
    """Something a body may use; ``granted`` features are refused unless the model allows them."""

    name: str
    words: str
    field: str
    when: Condition
    granted: bool = True


class GrantRow(Row):
    """Where a model allows a feature; empty lists mean everywhere the model itself works."""

    feature: str
    kinds: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    durations: tuple[int, ...] = ()
    without: tuple[str, ...] = ()
    only: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class ModelRow(Row):
    """One model: products, modes (none: it takes no ``mode``) and clip lengths in seconds."""

    name: str
    kinds: tuple[str, ...]
    modes: tuple[str, ...]
    durations: tuple[int, ...]
    output: str
    source: str
    dated: str
    grants: tuple[GrantRow, ...] = ()


class ModelsFile(Row):
    """``models.toml``."""

    feature: tuple[FeatureRow, ...]
    model: tuple[ModelRow, ...]


class CatalogData(Row):
    """All data files, each under its name."""

    products: ProductsFile
    models: ModelsFile
    rules: RulesFile
    prices: PricesFile
    wall_times: WallTimesFile
    tiers: TiersFile

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        kinds = {row.kind for row in self.products.product}
        features = {row.name for row in self.models.feature}
        models = {row.name for row in self.models.model}
        for where, known, used in self._references(kinds, features, models):
            if lost := sorted(set(used) - known):
                raise ValueError(f"{where}: no such name: {', '.join(lost)}")
        return self

    def _references(self, kinds: set[str], features: set[str], models: set[str]) -> list[tuple[str, set[str], Any]]:
        selectors = [*self.prices.price, *self.wall_times.wall_time]
        grants = [grant for row in self.models.model for grant in row.grants]
        tier_names = {row.name for row in (*self.tiers.tier, *self.tiers.package)}
        book_names = {row.name for row in self.prices.book}
        return [
            ("products.default_kind", kinds, [self.products.default_kind]),
            ("tiers.default", tier_names, [self.tiers.default]),
            ("prices.default", book_names, [self.prices.default]),
            *((f"{row.source}: book", book_names | {""}, [row.book]) for row in self.prices.price),
            *((f"products.{row.kind}.groups", set(self.products.groups), row.groups) for row in self.products.product),
            *((f"models.{row.name}.kinds", kinds, row.kinds) for row in self.models.model),
            *((f"models.grants.{row.feature}", features, (row.feature, *row.without)) for row in grants),
            *((f"models.grants.{row.feature}", kinds, row.kinds) for row in grants),
            *((f"rules.{row.rule}.kinds", kinds, row.kinds) for row in self.rules.rule),
            *((f"{row.source}: kinds", kinds, row.kinds) for row in selectors),
            *((f"{row.source}: models", models, row.models) for row in selectors),
            *((f"{row.source}: features", features, (*row.with_, *row.without)) for row in selectors),
        ]
