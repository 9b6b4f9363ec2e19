"""The shape of ``rules.toml``: one class for each kind of combination rule."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from batch_runner.catalog.conditions import Condition, Row
from batch_runner.model import Generation


class _RuleBase(Row):
    kinds: tuple[str, ...]
    generation: Generation = Generation.V1
    what: str
    hint: str = ""
    source: str


class NeedsRule(_RuleBase):
    """When the condition holds, every one of ``fields`` must be there."""

    rule: Literal["needs"]
    fields: tuple[str, ...]
    when: Condition = ()


class ForbidsRule(_RuleBase):
    """When the condition holds, none of ``fields`` may be there."""

    rule: Literal["forbids"]
    fields: tuple[str, ...]
    when: Condition = ()


class AnyOfRule(_RuleBase):
    """When the condition holds, at least one of ``fields`` must be there."""

    rule: Literal["any_of"]
    fields: tuple[str, ...]
    when: Condition = ()


class ExactlyOneRule(_RuleBase):
    """When the condition holds, one of ``fields`` must be there, and no second one."""

    rule: Literal["exactly_one"]
    fields: tuple[str, ...]
    when: Condition = ()


class AtMostOneRule(_RuleBase):
    """Fields of at most one of ``groups`` may be there."""

    rule: Literal["at_most_one"]
    groups: tuple[tuple[str, ...], ...]


class LimitsRule(_RuleBase):
    """When the condition holds, what stands at ``field`` (or its default) is one of ``values``, and no longer text."""

    rule: Literal["limits"]
    field: str
    values: tuple[str | bool, ...] = ()
    max_chars: int | None = None
    when: Condition = ()


class EntriesRule(_RuleBase):
    """When the condition holds, so many values stand at the ``lists`` together."""

    rule: Literal["entries"]
    lists: tuple[str, ...]
    min: int = 0
    max: int
    when: Condition = ()


class SumRule(_RuleBase):
    """The whole numbers at ``addends`` add up to the one at ``total``."""

    rule: Literal["sum"]
    addends: str
    total: str


class SpanRule(_RuleBase):
    """The number at ``end`` exceeds the one at ``start`` by at least ``min``."""

    rule: Literal["span"]
    start: str
    end: str
    min: int


class ShotsRule(_RuleBase):
    """When the condition holds, shots written in a text are so many at most, as long as ``total`` and no wordier."""

    rule: Literal["shots"]
    field: str
    total: str
    max: int
    max_chars: int
    when: Condition = ()


class ProductRule(_RuleBase):
    """The product of ``1 + the sum of a group's numbers``, over the groups, is at most ``max``."""

    rule: Literal["product"]
    groups: tuple[tuple[str, ...], ...]
    max: Decimal


class OneNonzeroRule(_RuleBase):
    """Exactly one number in the object at ``field`` differs from 0."""

    rule: Literal["one_nonzero"]
    field: str


class DistinctRule(_RuleBase):
    """The values at ``field`` differ from one another."""

    rule: Literal["distinct"]
    field: str


class ReferencesRule(_RuleBase):
    """Every ``<<<name_n>>>`` in ``texts`` has an n-th entry in the list."""

    rule: Literal["references"]
    name: str
    list_: str = Field(alias="list")
    texts: tuple[str, ...]


RuleRow = Annotated[
    NeedsRule
    | ForbidsRule
    | AnyOfRule
    | ExactlyOneRule
    | AtMostOneRule
    | LimitsRule
    | EntriesRule
    | SumRule
    | SpanRule
    | ShotsRule
    | ProductRule
    | OneNonzeroRule
    | DistinctRule
    | ReferencesRule,
    Field(discriminator="rule"),
]


class RulesFile(Row):
    """``rules.toml``."""

    rule: tuple[RuleRow, ...] = ()
