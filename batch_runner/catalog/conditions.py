"""Tests on a body that data rows are written in: paths into it, and conditions over what stands there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Body = Mapping[str, Any]

_STEP = re.compile(r"([^.\[\]]+)(\[\])?")


class Row(BaseModel):
    """Base of everything read from a data file: an unknown key is an error, and nothing changes it later.

    Only the shapes that are validated themselves get a validator, when they first are; a part is in that of its whole.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Test(Row):
    """One test of one path: exactly one of the ways to test is given.

    ``present``: something stands there, or nothing; ``is``: one of these values, or its default is one; ``isnt``: none
    of these, and neither is its default; ``contains``: a text with this in it; ``at_least``: so many values; ``lacks``:
    an object without this key; ``all_have``: no object without it.
    """

    __test__ = False  # pytest collects classes of this name

    field: str
    present: bool | None = None
    is_: tuple[str | bool | int, ...] | None = Field(default=None, alias="is")
    isnt: tuple[str | bool | int, ...] | None = None
    contains: str | None = None
    at_least: int | None = None
    lacks: str | None = None
    all_have: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = (self.present, self.is_, self.isnt, self.contains, self.at_least, self.lacks, self.all_have)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("a test needs exactly one of present, is, isnt, contains, at_least, lacks, all_have")
        return self

    def holds(self, body: Body, defaults: Body) -> bool:
        """Whether the body, with defaults where it is silent, passes."""
        found = values(body, self.field)
        if self.present is not None:
            return bool(found) is self.present
        if self.is_ is not None:
            return any(value in self.is_ for value in found or values(defaults, self.field))
        if self.isnt is not None:
            return all(value not in self.isnt for value in found or values(defaults, self.field))
        return self._holds_inside(found)

    def _holds_inside(self, found: list[Any]) -> bool:
        if self.contains is not None:
            return any(isinstance(text, str) and self.contains in text for text in found)
        if self.at_least is not None:
            return len(found) >= self.at_least
        key = self.lacks if self.lacks is not None else self.all_have
        is_lacking = any(isinstance(table, Mapping) and key not in table for table in found)
        return is_lacking if self.lacks is not None else not is_lacking


Condition = tuple[tuple[Test, ...], ...]
"""Alternatives, each a list of tests that must all hold; an empty condition always holds."""


def holds(condition: Condition, body: Body, defaults: Body) -> bool:
    """Whether any alternative of the condition holds for the body."""
    if not condition:
        return True
    return any(all(test.holds(body, defaults) for test in tests) for tests in condition)


def triggers(condition: Condition, defaults: Body) -> frozenset[str]:
    """Top-level fields of which a body must have one for the condition to hold; empty: it needs none."""
    if holds(condition, {}, defaults):
        return frozenset()
    firsts = [next((test.field for test in tests if not test.holds({}, defaults)), None) for tests in condition]
    return frozenset(top_field(field) for field in firsts if field is not None)


def judged_fields(condition: Condition) -> frozenset[str]:
    """The top-level fields whose value, not only their presence, a condition looks at."""
    return frozenset(top_field(test.field) for tests in condition for test in tests if test.present is None)


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[tuple[str, bool], ...]:
    return tuple((name, bool(brackets)) for name, brackets in _STEP.findall(path))


@lru_cache(maxsize=1024)
def top_field(path: str) -> str:
    """The top-level field a path starts at: ``dynamic_masks`` of ``dynamic_masks[].mask``."""
    return _steps(path)[0][0]


def values(body: Body, path: str) -> list[Any]:
    """Everything that stands at a path such as ``multi_prompt[].duration``; nothing when it is absent."""
    steps = _steps(path)
    if len(steps) == 1 and not steps[0][1]:  # by far the most common path, and asked for on every line
        return [body[path]] if path in body else []
    if steps[0][0] not in body:
        return []
    found: list[Any] = [body]
    for name, is_list in steps:
        found = [node[name] for node in found if isinstance(node, Mapping) and name in node]
        if is_list:
            found = [item for node in found if isinstance(node, list) for item in node]
    return found
