"""The canonical form of a body: durations as text, bool-likes as bools, empty fields left out. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from batch_runner.catalog.schema import FieldRow, FieldType

_DIGITS = re.compile(r"[0-9]{1,4}")
_BOOLS = {"true": True, "false": False}


def says_nothing(value: object) -> bool:
    """Whether Kling reads a field of this value as absent: null, blank text, an empty list."""
    if isinstance(value, str):
        return not value or value.isspace()
    return value is None or value == []


def normaliser(row: FieldRow) -> Callable[[Any], Any] | None:
    """What brings a value of this field into canonical form (and leaves a wrong one as it is), or None."""
    match row.type:
        case FieldType.BOOL:
            return _bool
        case FieldType.SECONDS:
            return _seconds
        case FieldType.OBJECT:
            return _object(row)
        case FieldType.LIST:
            return _list(row)
        case _:
            return None


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
