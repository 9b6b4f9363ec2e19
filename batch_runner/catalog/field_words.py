"""What is wrong with the value of a field, and what to write instead: the errors of pydantic in our words. Pure."""

from __future__ import annotations

from pydantic_core import ErrorDetails

from batch_runner.catalog.field_types import TOO_FINE
from batch_runner.catalog.problems import MOST_LISTED, json_type, listed, nearest, shown
from batch_runner.catalog.schema import FieldRow, FieldType
from batch_runner.wording import by_count, plural

_INSIST = 'add "allow_unknown_model": true to send it all the same'


def what_is_wrong(row: FieldRow, error: ErrorDetails) -> str:
    """What keeps a value from being one of the row's."""
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
    if kind == TOO_FINE:
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


def hint(row: FieldRow, error: ErrorDetails) -> str:
    """What to write instead, where that can be told; else an empty text."""
    if error["type"] == "missing":
        return ""
    if row.type is FieldType.ENUM and error["input"] in (*row.former, *row.withdrawn):
        return _INSIST
    if row.type is FieldType.ENUM:
        return nearest(error["input"], row.values) or (_INSIST if row.open else "")
    return 'such as 5 or "5"' if row.type is FieldType.SECONDS else ""
