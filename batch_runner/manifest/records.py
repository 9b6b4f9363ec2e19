"""The objects of a manifest, each with its line, however it is written; a problem in place of what is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from batch_runner.errors import Problem
from batch_runner.manifest.lines import json_records
from batch_runner.manifest.source import Format, Source, UnreadableError
from batch_runner.manifest.table import table_records

Record = tuple[int, dict[str, Any] | Problem]

_WRAPPINGS = frozenset({"items", "prompts", "videos", "clips", "tasks", "jobs"})


def records(source: Source) -> Iterator[Record]:
    """Every object of the manifest with the line it begins on."""
    try:
        with source.opened() as file:
            for line, record in _reader(source.format)(file):
                yield line, _wrapped(line, record) or record
    except UnreadableError as error:
        yield 0, error.problem


def _reader(format_: Format) -> Callable[[BinaryIO], Iterator[Record]]:
    if format_ is Format.YAML:
        from batch_runner.manifest.yaml_records import yaml_records  # noqa: PLC0415 - PyYAML, for who writes YAML

        return yaml_records
    return table_records if format_ is Format.CSV else json_records


def _wrapped(line: int, record: dict[str, Any] | Problem) -> Problem | None:
    """A list of items under a name is one mistake, not as many as an item without a prompt would have."""
    if isinstance(record, Problem) or len(record) != 1:
        return None
    [(name, value)] = record.items()
    if name not in _WRAPPINGS or not isinstance(value, list):
        return None
    return Problem(line, name, "is a list of items, which stand by themselves, without a name over them")
