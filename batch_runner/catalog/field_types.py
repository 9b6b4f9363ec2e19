"""The types of a product's fields: data rows as pydantic models. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from types import GenericAlias
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    StrictBool,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
)
from pydantic import Field as PydanticField
from pydantic_core import PydanticCustomError, SchemaValidator

from batch_runner.catalog.normal import names_an_item
from batch_runner.catalog.schema import FieldRow, FieldType

TOO_FINE = "decimals"
"""The kind of error that a number with too many decimals is."""
# The API reads seconds as text; no clip is longer than a few hundred of them.
_SECONDS = r"^[1-9][0-9]{0,3}$"


def validator(name: str, rows: Mapping[str, FieldRow]) -> SchemaValidator:
    """What checks a body of these fields, strictly."""
    made = _model(name, rows).__pydantic_validator__
    assert isinstance(made, SchemaValidator)
    return made


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
            raise PydanticCustomError(TOO_FINE, "too fine")
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


def opened(row: FieldRow) -> FieldRow:
    """The row with values that may grow taken as any text."""
    type_ = FieldType.TEXT if row.open and row.type is FieldType.ENUM else row.type
    return row.model_copy(update={"type": type_, **_inside(row, opened)})


def loosened(row: FieldRow) -> FieldRow:
    """The row with nothing but its type."""
    type_ = FieldType.TEXT if row.type is FieldType.ENUM else row.type
    unlimited = {"max_chars": None, "min": None, "max": None, "min_items": 0, "max_items": None, "decimals": None}
    return row.model_copy(update={"type": type_, **unlimited, **_inside(row, loosened)})


def _inside(row: FieldRow, change: Callable[[FieldRow], FieldRow]) -> dict[str, Any]:
    fields = {name: change(field) for name, field in row.fields.items()}
    return {"fields": fields, "item": change(row.item) if row.item else None}
