"""Names and types of a product's fields: data rows as pydantic models, their errors in our words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from functools import cached_property
from types import GenericAlias
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    StrictBool,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
)
from pydantic import Field as PydanticField
from pydantic_core import ErrorDetails, PydanticCustomError, SchemaValidator

from batch_runner.catalog.conditions import Body
from batch_runner.catalog.normal import names_an_item, normaliser, says_nothing
from batch_runner.catalog.problems import (
    LIKE_A_NAME,
    MOST_LISTED,
    FieldProblem,
    few,
    json_type,
    label,
    listed,
    nearest,
    nearest_name,
    shown,
)
from batch_runner.catalog.schema import FieldRow, FieldType
from batch_runner.wording import by_count, plural

# The API reads seconds as text; no clip is longer than a few hundred of them.
_SECONDS = r"^[1-9][0-9]{0,3}$"
_INSIST = 'add "allow_unknown_model": true to send it all the same'
_DECIMALS = "decimals"


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
        return _validator(self._kind, self._rows)

    @cached_property
    def _open(self) -> SchemaValidator:
        return _validator(self._kind, {name: _opened(row) for name, row in self._rows.items()})

    @cached_property
    def _types(self) -> SchemaValidator:
        return _validator(self._kind, {name: _loosened(row) for name, row in self._rows.items()})

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
            hint = nearest(error["loc"][-1], parent.fields if parent else ())
            return FieldProblem(place, "no such field", hint, self._source)
        row = _row_at(self._rows, error["loc"])
        if row is None:
            return FieldProblem(place, error["msg"])
        return FieldProblem(place, _what(row, error), _hint(row, error), self._source)


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


def _what(row: FieldRow, error: ErrorDetails) -> str:
    kind, value = error["type"], error["input"]
    if kind == "missing":
        return "is required"
    if kind == "string_unicode":
        return "holds half of a surrogate pair, which no text can hold"
    if kind in {"string_too_long", "too_long", "too_short"}:
        noun, nouns, bound = _LENGTH_WORDS[kind]
        return f"has {len(value)} {by_count(len(value), noun, nouns)}; {bound} {_length(row, kind)}"
    if kind in {"greater_than_equal", "less_than_equal"}:
        return f"{shown(value)} is outside {_bounds(row)}"
    if kind == _DECIMALS:
        return f"{shown(value)} has more than {plural(row.decimals or 0, 'decimal')}"
    return _expected(row, value)


_LENGTH_WORDS = {
    "string_too_long": ("character", "characters", "at most"),
    "too_long": ("entry", "entries", "at most"),
    "too_short": ("entry", "entries", "at least"),
}


def _length(row: FieldRow, kind: str) -> int | None:
    return {"string_too_long": row.max_chars, "too_long": row.max_items, "too_short": row.min_items}[kind]


def _expected(row: FieldRow, value: object) -> str:
    match row.type:
        case FieldType.ENUM:
            return f"{shown(value)} {_no_value(row, value)}"
        case FieldType.SECONDS:
            return f"{shown(value)} is no whole number of seconds"
        case FieldType.MEDIA:
            return f"must be a path, an http(s) address or raw base64, as text; this is {json_type(value)}"
        case _:
            words = f" or {listed(row.words)}" if row.words else ""
            return f"must be {_TYPE_WORDS[row.type]}{words}, not {json_type(value)}"


def _no_value(row: FieldRow, value: object) -> str:
    if isinstance(value, str) and value in row.withdrawn:
        return row.withdrawn[value]
    if value in row.former:
        return "no longer stands in Kling's list"
    if len(row.values) > MOST_LISTED:
        return f"is none of the {len(row.values)} values that are known"
    return f"is none of {listed(row.values, 'and')}"


_TYPE_WORDS = {
    FieldType.TEXT: "text",
    FieldType.BOOL: "true or false",
    FieldType.INTEGER: "a whole number",
    FieldType.NUMBER: "a number",
    FieldType.OBJECT: "an object",
    FieldType.LIST: "a list",
}


def _bounds(row: FieldRow) -> str:
    low = "any" if row.min is None else str(row.min)
    return f"{low} to {row.max}" if row.max is not None else f"{low} and above"


def _hint(row: FieldRow, error: ErrorDetails) -> str:
    if error["type"] == "missing":
        return ""
    if row.type is FieldType.ENUM and error["input"] in (*row.former, *row.withdrawn):
        return _INSIST
    if row.type is FieldType.ENUM:
        return nearest(error["input"], row.values) or (_INSIST if row.open else "")
    return 'such as 5 or "5"' if row.type is FieldType.SECONDS else ""


def _opened(row: FieldRow) -> FieldRow:
    """The row with values that may grow taken as any text."""
    type_ = FieldType.TEXT if row.open and row.type is FieldType.ENUM else row.type
    return row.model_copy(update={"type": type_, **_inside(row, _opened)})


def _loosened(row: FieldRow) -> FieldRow:
    """The row with nothing but its type."""
    type_ = FieldType.TEXT if row.type is FieldType.ENUM else row.type
    unlimited = {"max_chars": None, "min": None, "max": None, "min_items": 0, "max_items": None, "decimals": None}
    return row.model_copy(update={"type": type_, **unlimited, **_inside(row, _loosened)})


def _inside(row: FieldRow, change: Callable[[FieldRow], FieldRow]) -> dict[str, Any]:
    fields = {name: change(field) for name, field in row.fields.items()}
    return {"fields": fields, "item": change(row.item) if row.item else None}


def _inner(parent: str, row: FieldRow, name: str) -> str:
    """Where a field of this name stands inside of that one, or an empty text."""
    if name in row.fields:
        return f"{parent}.{name}"
    return f"{parent}[].{name}" if row.item is not None and name in row.item.fields else ""


def _validator(name: str, rows: Mapping[str, FieldRow]) -> SchemaValidator:
    validator = _model(name, rows).__pydantic_validator__
    assert isinstance(validator, SchemaValidator)
    return validator


def _model(name: str, rows: Mapping[str, FieldRow]) -> type[BaseModel]:
    """A strict model of these fields; an optional one that is absent is never looked at."""
    definitions: dict[str, Any] = {
        field: (_type(f"{name}.{field}", row), ... if row.required else None) for field, row in rows.items()
    }
    config = ConfigDict(extra="forbid", protected_namespaces=())
    return create_model(name, __config__=config, **definitions)


def _type(name: str, row: FieldRow) -> Any:
    if row.type is FieldType.OBJECT:
        return _model(name, row.fields)
    if row.type is FieldType.LIST:
        assert row.item is not None
        items = GenericAlias(list, (_type(f"{name}.item", row.item),))
        return Annotated[items, PydanticField(strict=True, min_length=row.min_items, max_length=row.max_items)]
    scalar = _scalar(row)
    if row.ref or row.media:
        return _passing(scalar, names_an_item)
    if row.words:
        return _passing(scalar, lambda value: value in row.words)
    return _refusing(row, scalar)


def _passing(scalar: Any, is_fine: Callable[[Any], bool]) -> Any:
    """The type, with some values let through unseen."""

    def validated(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        return value if is_fine(value) else handler(value)

    return Annotated[scalar, WrapValidator(validated)]


def _refusing(row: FieldRow, scalar: Any) -> Any:
    """The type, without numbers that are too fine."""
    decimals = row.decimals
    if decimals is None:
        return scalar

    def validated(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        checked = handler(value)
        if round(Decimal(str(checked)), decimals) != Decimal(str(checked)):
            raise PydanticCustomError(_DECIMALS, "too fine")
        return checked

    return Annotated[scalar, WrapValidator(validated)]


def _scalar(row: FieldRow) -> Any:
    match row.type:
        case FieldType.ENUM:
            return Literal[row.values]
        case FieldType.BOOL:
            return StrictBool
        case FieldType.SECONDS:
            return Annotated[str, StringConstraints(strict=True, pattern=_SECONDS)]
        case FieldType.INTEGER:
            return Annotated[int, PydanticField(strict=True, ge=_number(row.min), le=_number(row.max))]
        case FieldType.NUMBER:
            bounds = PydanticField(strict=True, allow_inf_nan=False, ge=_number(row.min), le=_number(row.max))
            return Annotated[float, bounds]
        case _:
            return Annotated[str, StringConstraints(strict=True, max_length=row.max_chars)]


def _number(bound: Any) -> Any:
    """A bound as pydantic compares it: whole ones as int, so that 64-bit bounds stay exact."""
    if bound is None:
        return None
    return int(bound) if bound == int(bound) else float(bound)
