"""The fields that a manifest's first line gives to later lines, and those of them that no line could take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from batch_runner import catalog
from batch_runner.catalog import FieldRow
from batch_runner.catalog.problems import json_type, label, nearest
from batch_runner.errors import Problem
from batch_runner.manifest.own_words import OF_ONE_ITEM, OWN_WORDS, WORDS

WORD: Final = "defaults"

_PROMPTS: Final = frozenset({"prompt", "prompt_file"})
"""A line that writes one of the two has its prompt, and takes neither from the defaults."""


class Defaults:
    """The defaults of one manifest; until a line of them is read, none."""

    def __init__(self) -> None:
        self.line: int | None = None
        self._fields: dict[str, Any] = {}
        self._untaken: set[str] = set()
        self._has_served = False
        self._is_judged = True

    def read(self, line: int, record: Mapping[str, Any], *, is_first: bool) -> list[Problem]:
        """Take the defaults from the line that holds them; whatever is wrong with it."""
        if not is_first:
            return [Problem(line, WORD, "stands on the first line of a manifest, or nowhere")]
        if len(record) > 1:
            other = next(name for name in record if name != WORD)
            return [
                Problem(line, WORD, f"stands alone on its line, not beside {other}", "give items lines of their own")
            ]
        given = record[WORD]
        if not isinstance(given, dict):
            return [Problem(line, WORD, f"must be an object, not {json_type(given)}", '{"defaults": {"mode": "pro"}}')]
        strange = {name: trouble for name in given if (trouble := _trouble(name)) is not None}
        self.line = line
        self._fields = {name: value for name, value in given.items() if name not in strange}
        self._untaken = set(_paths(self._fields))
        return [Problem(line, f"{WORD}.{label(name)}", *trouble) for name, trouble in strange.items()]

    def under(self, record: dict[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
        """The record with what it does not set itself, and the names of the fields that came from here."""
        if not self._fields:
            return record, frozenset()
        self._has_served = True
        kind = _kind({**self._fields, **record})
        if kind is None:
            self.unjudged()
            return record, frozenset()
        fitting = self._fitting(kind, record)
        self._untaken.difference_update(fitting)
        if not _PROMPTS.isdisjoint(record):
            fitting = {name: value for name, value in fitting.items() if name not in _PROMPTS}
        merged = {**fitting, **record}
        if isinstance(record.get("vars"), dict) and isinstance(fitting.get("vars"), dict):
            merged["vars"] = {**fitting["vars"], **record["vars"]}
        return merged, frozenset(name for name in fitting if name not in record)

    def _fitting(self, kind: str, record: Mapping[str, Any]) -> dict[str, Any]:
        """The defaults that such a line has a place for, whether it sets them itself or not."""
        rows = catalog.field_rows(kind, {**self._fields, **record})
        return {name: value for name, value in self._fields.items() if _has_place(kind, name, value, rows)}

    def used(self, variables: Iterable[str]) -> None:
        """A line's text has taken these variables."""
        self._untaken.difference_update(f"vars.{name}" for name in variables)

    def unjudged(self) -> None:
        """A line is so wrong that nobody knows what it would have taken: then nothing counts as untaken."""
        self._is_judged = False

    def untaken(self) -> list[Problem]:
        """The defaults that no line could take, once all lines were read."""
        if not (self._is_judged and self._has_served):
            return []  # a manifest without items is one with nothing to do
        what = "no line of the manifest has a place for it"
        return [Problem(self.line, f"{WORD}.{name}", what, "leave it out") for name in sorted(self._untaken)]


def _has_place(kind: str, name: str, value: object, rows: Mapping[str, FieldRow]) -> bool:
    """Whether a line of this kind, which has these fields, can take such a default."""
    if name == "model_name":
        return name in rows and (not isinstance(value, str) or _may_make(kind, value))
    return name in rows or (name in WORDS and (name != "prompt_file" or "prompt" in rows))


@lru_cache(maxsize=256)
def _may_make(kind: str, model: str) -> bool:
    """Whether the model is for this product: it makes it, or nobody here knows what it makes."""
    return model in catalog.models(kind) or not any(model in catalog.models(other) for other in catalog.kinds())


def _trouble(name: str) -> tuple[str, str] | None:
    """Why this can be no default, and a hint."""
    if name in OF_ONE_ITEM:
        return "names one item, so that every line has its own", ""
    if name in OWN_WORDS or name in catalog.field_names():
        return None
    return "no product has such a field", nearest(name, (*sorted(catalog.field_names()), *OWN_WORDS))


def _paths(fields: Mapping[str, Any]) -> Iterable[str]:
    """The names of these fields; of variables each one's."""
    for name, value in fields.items():
        if name == "vars" and isinstance(value, dict):
            yield from (f"vars.{variable}" for variable in value)
        else:
            yield name


def _kind(record: Mapping[str, Any]) -> str | None:
    kind = record.get("kind")
    if kind is None:
        return catalog.default_kind(record)
    return kind if isinstance(kind, str) and kind in catalog.kinds() else None
