"""Reads the data files that come with the package, and refuses ones that do not fit their shape.

A section is one file, ``prices.toml``, or several in a folder, ``prices/image.toml``; its lists are then one list, in
the order of the files' names.
"""

from __future__ import annotations

import tomllib
from collections import ChainMap
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib import resources
from itertools import chain
from typing import Any

from pydantic import ValidationError

from batch_runner.catalog.conditions import Row
from batch_runner.catalog.schema import CatalogData
from batch_runner.errors import BatchRunnerError

_LISTED = "@"
"""Before the name of a list whose entries stand in this one's place."""


class CatalogError(BatchRunnerError):
    """The catalog's data is wrong: a fault of the program, told with file and key."""


def packaged_texts() -> dict[str, str]:
    """The text of every data file that comes with the package, by name without the ending."""
    folder = resources.files("batch_runner.catalog") / "data"
    texts: dict[str, str] = {}
    for entry in folder.iterdir():
        if entry.is_dir():
            texts |= {f"{entry.name}/{file.name[:-5]}": file.read_text("utf-8") for file in entry.iterdir()}
        else:
            texts[entry.name[:-5]] = entry.read_text("utf-8")
    return dict(sorted(texts.items()))


def parse(texts: Mapping[str, str]) -> CatalogData:
    """The data of these texts; raises CatalogError with the offending file and key."""
    tables = {name: _table(name, text) for name, text in texts.items()}
    lists = _lists(tables)
    parts: dict[str, list[Row]] = {section: [] for section in CatalogData.model_fields}
    for name, table in tables.items():
        section = name.partition("/")[0]
        if section not in parts:
            raise CatalogError(f"the catalog's data is wrong:\n  {name}.toml: no such section")
        parts[section].append(_part(name, section, _spelled_out(table, lists)))
    try:
        return CatalogData.model_validate({section: _merged(section, rows) for section, rows in parts.items()})
    except ValidationError as error:
        raise _wrong("", error) from error


@cache
def packaged() -> CatalogData:
    """The packaged data, read once."""
    return parse(packaged_texts())


def _table(name: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"the catalog's data is wrong:\n  {name}.toml: {error}") from error


def _lists(tables: Mapping[str, dict[str, Any]]) -> Mapping[str, list[str]]:
    return ChainMap(*(table["lists"] for table in tables.values() if "lists" in table))


def _spelled_out(value: Any, lists: Mapping[str, list[str]]) -> Any:
    """The value with ``"@name"`` inside lists replaced by the entries of that list."""
    if isinstance(value, dict):
        return {key: _spelled_out(part, lists) for key, part in value.items()}
    if isinstance(value, list):
        return list(chain.from_iterable(_entries(part, lists) for part in value))
    return value


def _entries(value: Any, lists: Mapping[str, list[str]]) -> list[Any]:
    if not isinstance(value, str) or not value.startswith(_LISTED):
        return [_spelled_out(value, lists)]
    if (name := value.removeprefix(_LISTED)) not in lists:
        raise CatalogError(f"the catalog's data is wrong:\n  no such list: {value}")
    return lists[name]


def _part(name: str, section: str, table: dict[str, Any]) -> Row:
    shape = CatalogData.model_fields[section].annotation
    assert isinstance(shape, type)
    assert issubclass(shape, Row)
    try:
        return shape.model_validate(table)
    except ValidationError as error:
        raise _wrong(f"{name}.toml: ", error) from error


def _merged(section: str, parts: list[Row]) -> Row:
    """The parts of a section as one: lists joined, tables joined, anything else stands in one part."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        raise CatalogError(f"the catalog's data is wrong:\n  no {section}.toml")
    joined: dict[str, Any] = {}
    for part in parts:
        for key in part.model_fields_set:
            joined[key] = _joined(f"{section}: {key}", joined.get(key), getattr(part, key))
    return type(parts[0]).model_construct(**joined)


def _joined(where: str, before: Any, value: Any) -> Any:
    if before is None:
        return value
    if isinstance(value, tuple):
        return (*before, *value)
    if isinstance(value, dict) and before.keys().isdisjoint(value):
        return before | value
    raise CatalogError(f"the catalog's data is wrong:\n  {where}: stands in two files")


def _wrong(place: str, error: ValidationError) -> CatalogError:
    lines = (f"  {place}{_key(found['loc'])}{found['msg']}" for found in error.errors(include_url=False))
    return CatalogError("\n".join(["the catalog's data is wrong:", *lines]))


def _key(loc: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, loc))}: " if loc else ""
