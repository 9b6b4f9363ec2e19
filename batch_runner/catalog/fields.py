"""The fields of a product: the names there are, and what is wrong with what a body says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cached_property
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, SchemaValidator

from batch_runner.catalog.conditions import Body
from batch_runner.catalog.field_types import loosened, opened, validator
from batch_runner.catalog.field_words import hint, what_is_wrong
from batch_runner.catalog.normal import normaliser, says_nothing
from batch_runner.catalog.problems import LIKE_A_NAME, FieldProblem, few, label, listed, nearest, nearest_name
from batch_runner.catalog.schema import FieldRow


class Strictness(Enum):
    """How much of what the rows say a body is held to."""

    FULL = "full"
    OPEN = "open"
    """Values that may grow are taken as any text."""
    TYPES = "types"
    """Only the types of fields count: for a model that nobody knows here."""


class Fields:
    """The fields of one product.

    ``owned`` are names the runner writes itself, with a hint each; ``instead`` names of the other API generation,
    with what to write here; ``elsewhere`` the names other products have, with those products; ``source`` is where
    the fields are described.
    """

    def __init__(
        self,
        kind: str,
        rows: Mapping[str, FieldRow],
        *,
        owned: Mapping[str, str],
        instead: Mapping[str, str],
        elsewhere: Mapping[str, tuple[str, ...]],
        source: str,
    ) -> None:
        self._kind = kind
        self._rows = rows
        self._owned = owned
        self._instead = instead
        self._elsewhere = elsewhere
        self._source = source
        self._normalisers = {name: normal for name, row in rows.items() if (normal := normaliser(row)) is not None}

    @cached_property
    def _full(self) -> SchemaValidator:
        return validator(self._kind, self._rows)

    @cached_property
    def _open(self) -> SchemaValidator:
        return validator(self._kind, {name: opened(row) for name, row in self._rows.items()})

    @cached_property
    def _types(self) -> SchemaValidator:
        return validator(self._kind, {name: loosened(row) for name, row in self._rows.items()})

    def normal(self, fields: Body) -> dict[str, Any]:
        """The known fields that say something, in canonical form; wrong values stay as they are."""
        body = {}
        for name, value in fields.items():
            if name in self._rows and not says_nothing(value):
                normal = self._normalisers.get(name)
                body[name] = value if normal is None else normal(value)
        return body

    def unknown(self, fields: Body, also: tuple[str, ...]) -> list[FieldProblem]:
        """A problem for every name that is no field here; ``also`` are names a typo may have meant."""
        strange = [name for name in fields if name not in self._rows]
        return [self._unknown(name, also) for name in strange if not self._means_nothing(name, fields[name])]

    def meant(self, fields: Body, also: tuple[str, ...]) -> frozenset[str]:
        """The fields that misspelt names stand for, which are therefore given, after a fashion."""
        strange = (name for name in fields if name not in self._rows and name not in self._elsewhere)
        names = (nearest_name(name, (*self._rows, *also), LIKE_A_NAME) for name in strange)
        return frozenset(name for name in names if name is not None and name in self._rows)

    def _means_nothing(self, name: str, value: object) -> bool:
        """Whether it is the empty cell of a table that serves several products."""
        return name in self._elsewhere and says_nothing(value)

    def _unknown(self, name: str, also: tuple[str, ...]) -> FieldProblem:
        if name in self._owned:
            return FieldProblem(name, "is not for a manifest to set", self._owned[name])
        what = f"{self._kind} has no such field"
        if name in self._instead:
            return FieldProblem(name, f"{what} with this model", self._instead[name], self._source)
        if places := [f'"{place}"' for parent, row in self._rows.items() if (place := _inner(parent, row, name))]:
            return FieldProblem(name, what, f"did you mean {listed(places)}?", self._source)
        if name in self._elsewhere:
            return FieldProblem(name, what, f"it is a field of {few(self._elsewhere[name])}", self._source)
        return FieldProblem(label(name), what, nearest(name, (*self._rows, *also), LIKE_A_NAME), self._source)

    def problems(self, body: Body, strictness: Strictness = Strictness.FULL) -> list[FieldProblem]:
        """What is wrong with the types and values of a canonical body, field by field."""
        try:
            self._validator(strictness).validate_python(body)
        except ValidationError as error:
            return [self._translated(found) for found in error.errors(include_url=False)]
        return []

    def _validator(self, strictness: Strictness) -> SchemaValidator:
        if strictness is Strictness.FULL:
            return self._full
        return self._open if strictness is Strictness.OPEN else self._types

    def _translated(self, error: ErrorDetails) -> FieldProblem:
        place = _path(error["loc"])
        if error["type"] == "extra_forbidden":
            parent = _row_at(self._rows, error["loc"][:-1])
            near = nearest(error["loc"][-1], parent.fields if parent else ())
            return FieldProblem(place, "no such field", near, self._source)
        row = _row_at(self._rows, error["loc"])
        if row is None:
            return FieldProblem(place, error["msg"])
        return FieldProblem(place, what_is_wrong(row, error), hint(row, error), self._source)


def _path(loc: tuple[int | str, ...]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{label(step)}" for step in loc)
    return text.removeprefix(".")


def _row_at(rows: Mapping[str, FieldRow], loc: tuple[int | str, ...]) -> FieldRow | None:
    row: FieldRow | None = None
    for depth, step in enumerate(loc):
        if isinstance(step, int):
            row = row.item if row else None
        else:
            row = (row.fields if row else {} if depth else rows).get(step)
    return row


def _inner(parent: str, row: FieldRow, name: str) -> str:
    """Where a field of this name stands inside of that one, or an empty text."""
    if name in row.fields:
        return f"{parent}.{name}"
    return f"{parent}[].{name}" if row.item is not None and name in row.item.fields else ""
