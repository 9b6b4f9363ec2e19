"""Reads the data files that come with the package, and refuses ones that do not fit their shape."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib import resources

from pydantic import ValidationError

from batch_runner.catalog.schema import CatalogData
from batch_runner.errors import BatchRunnerError


class CatalogError(BatchRunnerError):
    """The catalog's data is wrong: a fault of the program, told with file and key."""


def file_names() -> tuple[str, ...]:
    """The data files' names without their ending."""
    return tuple(CatalogData.model_fields)


def packaged_texts() -> dict[str, str]:
    """The text of every data file that comes with the package."""
    folder = resources.files("batch_runner.catalog") / "data"
    return {name: (folder / f"{name}.toml").read_text("utf-8") for name in file_names()}


def parse(texts: Mapping[str, str]) -> CatalogData:
    """The data of these texts; raises CatalogError with the offending file and key."""
    try:
        tables = {name: _table(name, text) for name, text in texts.items()}
        return CatalogData.model_validate(tables)
    except ValidationError as error:
        raise CatalogError("the catalog's data is wrong:\n" + "\n".join(_lines(error))) from error


@cache
def packaged() -> CatalogData:
    """The packaged data, read once."""
    return parse(packaged_texts())


def _table(name: str, text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"the catalog's data is wrong:\n  {name}.toml: {error}") from error


def _lines(error: ValidationError) -> list[str]:
    return [f"  {_place(found['loc'])}{found['msg']}" for found in error.errors(include_url=False)]


def _place(loc: tuple[int | str, ...]) -> str:
    if not loc:
        return ""
    return f"{loc[0]}.toml: " + "".join(f"{step}: " for step in [".".join(map(str, loc[1:]))] if step)
