"""The canonical form of a body: durations as text, bool-likes as bools, empty fields left out. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from batch_runner.catalog.schema import FieldRow, FieldType

_DIGITS = re.compile(r"[0-9]{1,4}")
_WHOLE = re.compile(r"-?[0-9]{1,20}")
_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_BOOLS = {"true": True, "false": False}


def says_nothing(value: object) -> bool:
    """Whether Kling reads a field of this value as absent: null, blank text, an empty list."""
    if isinstance(value, str):
        return not value or value.isspace()
    return value is None or value == []


def names_an_item(value: object) -> bool:
    """Whether it is a table that stands for another item's result (``{"item": "hero"}``)."""
    return isinstance(value, Mapping) and "item" in value


def normaliser(row: FieldRow) -> Callable[[Any], Any] | None:
    """What brings a value of this field into canonical form (and leaves a wrong one as it is), or None."""
    if row.type is FieldType.OBJECT:
        return _object(row)
    if row.type is FieldType.LIST:
        return _list(row)
    return _PLAIN.get((row.type, row.also_text))


def _bool(value: Any) -> Any:
    return _BOOLS.get(value.strip().lower(), value) if isinstance(value, str) else value


def _seconds(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int):
        return str(value) if abs(value) < 10**6 else value
    return str(int(value)) if isinstance(value, str) and _DIGITS.fullmatch(value.strip()) else value


def _integer(value: Any) -> Any:
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value.strip()) else value


def _number(value: Any) -> Any:
    """Whole numbers as such, so that ``5``, ``5.0`` and ``"5"`` are one item."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value.strip()):
        value = float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _object(row: FieldRow) -> Callable[[Any], Any]:
    inner = {name: normaliser(field) for name, field in row.fields.items()}

    def normal(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: _apply(inner.get(name), part) for name, part in value.items() if part is not None}

    return normal


def _list(row: FieldRow) -> Callable[[Any], Any]:
    assert row.item is not None
    inner = normaliser(row.item)
    return lambda value: [_apply(inner, part) for part in value] if isinstance(value, list) else value


def _apply(normal: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if normal is None else normal(value)


_PLAIN: dict[tuple[FieldType, bool], Callable[[Any], Any]] = {
    (FieldType.BOOL, False): _bool,
    (FieldType.SECONDS, False): _seconds,
    (FieldType.INTEGER, True): _integer,
    (FieldType.NUMBER, True): _number,
}
"""By type, and whether a number may stand there as text."""
