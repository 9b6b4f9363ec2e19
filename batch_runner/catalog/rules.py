"""Which fields go together: the rows of ``rules.toml`` applied to a body. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import chain
from typing import Any

from batch_runner.catalog.conditions import Body, holds, judged_fields, top_field, triggers, values
from batch_runner.catalog.problems import FieldProblem, shown
from batch_runner.catalog.rule_rows import (
    AnyOfRule,
    AtMostOneRule,
    DistinctRule,
    ForbidsRule,
    NeedsRule,
    OneNonzeroRule,
    ReferencesRule,
    RuleRow,
    SumRule,
)


class Rules:
    """The combination rules of one product, in the order of the data."""

    def __init__(self, rows: tuple[RuleRow, ...], defaults: Body) -> None:
        self._defaults = defaults
        self._rules = [(_touched(row, defaults), _judged(row), row) for row in rows]
        # Manifests repeat a few sets of fields over many lines; this halves the time a line takes.
        self._breakable = lru_cache(maxsize=256)(self._find_breakable)

    def problems(self, body: Body, bad: frozenset[str]) -> list[FieldProblem]:
        """Every broken rule; rules about a ``bad`` field are not judged."""
        found: list[FieldProblem] = []
        for judged, row in self._breakable(frozenset(body)):
            if judged.isdisjoint(bad):
                found += _BROKEN[type(row)](row, body, self._defaults)
        return found

    def _find_breakable(self, present: frozenset[str]) -> list[tuple[frozenset[str], RuleRow]]:
        return [(judged, row) for touched, judged, row in self._rules if not touched or touched & present]


def _touched(row: RuleRow, defaults: Body) -> frozenset[str]:
    """Top-level fields of which a body must have one to break the rule; empty: it needs none."""
    paths: Iterable[str]
    match row:
        case AnyOfRule():
            paths = ()
        case NeedsRule():
            paths = triggers(row.when, defaults)
        case ForbidsRule():
            paths = row.fields
        case AtMostOneRule():
            paths = chain.from_iterable(row.groups)
        case ReferencesRule():
            paths = row.texts
        case SumRule():
            paths = (row.addends,)
        case OneNonzeroRule() | DistinctRule():
            paths = (row.field,)
    return frozenset(map(top_field, paths))


def _judged(row: RuleRow) -> frozenset[str]:
    """Top-level fields whose value, not only their presence, decides."""
    match row:
        case NeedsRule() | ForbidsRule():
            return judged_fields(row.when)
        case SumRule():
            return frozenset({top_field(row.addends), top_field(row.total)})
        case OneNonzeroRule() | DistinctRule():
            return frozenset({top_field(row.field)})
        case ReferencesRule():
            return frozenset({top_field(row.list_), *map(top_field, row.texts)})
        case _:
            return frozenset()


def _needs(row: NeedsRule, body: Body, defaults: Body) -> Iterator[FieldProblem]:
    lacking = [path for path in row.fields if not values(body, path)]
    if lacking and holds(row.when, body, defaults):
        yield from (FieldProblem(path, row.what, row.hint) for path in lacking)


def _forbids(row: ForbidsRule, body: Body, defaults: Body) -> Iterator[FieldProblem]:
    standing = [path for path in row.fields if values(body, path)]
    if standing and holds(row.when, body, defaults):
        yield from (FieldProblem(path, row.what, row.hint) for path in standing)


def _any_of(row: AnyOfRule, body: Body, _defaults: Body) -> Iterator[FieldProblem]:
    if not any(values(body, path) for path in row.fields):
        yield FieldProblem(row.fields[0], row.what, row.hint)


def _at_most_one(row: AtMostOneRule, body: Body, _defaults: Body) -> Iterator[FieldProblem]:
    standing = [found[0] for group in row.groups if (found := [path for path in group if values(body, path)])]
    if len(standing) > 1:
        yield FieldProblem(standing[1], row.what, row.hint or f"leave out {' or '.join(standing)}")


def _sum(row: SumRule, body: Body, defaults: Body) -> Iterator[FieldProblem]:
    addends = [int(value) for value in values(body, row.addends)]
    total = [int(value) for value in values(body, row.total) or values(defaults, row.total)]
    if addends and sum(addends) != sum(total):
        yield FieldProblem(row.addends, f"{row.what}: {sum(addends)} is not {sum(total)}", row.hint)


def _one_nonzero(row: OneNonzeroRule, body: Body, _defaults: Body) -> Iterator[FieldProblem]:
    for config in values(body, row.field):
        moving = [name for name, value in config.items() if value]
        if len(moving) != 1:
            said = ", ".join(moving) if moving else "none does"
            yield FieldProblem(row.field, f"{row.what} ({said})", row.hint)


def _distinct(row: DistinctRule, body: Body, _defaults: Body) -> Iterator[FieldProblem]:
    found: list[Any] = values(body, row.field)
    twice = next((value for i, value in enumerate(found) if value in found[:i]), None)
    if twice is not None:
        yield FieldProblem(row.field, f"{row.what}: {shown(twice)} stands twice", row.hint)


def _references(row: ReferencesRule, body: Body, _defaults: Body) -> Iterator[FieldProblem]:
    for path in row.texts:
        marked = [text for text in values(body, path) if "<<<" in text]
        for text in marked:
            for number in re.findall(rf"<<<{row.name}_([0-9]{{1,9}})>>>", text):
                if not 1 <= int(number) <= len(values(body, f"{row.list_}[]")):
                    yield FieldProblem(path, f"{row.what}: <<<{row.name}_{number}>>>", row.hint)


_BROKEN: dict[type, Callable[[Any, Body, Body], Iterator[FieldProblem]]] = {
    NeedsRule: _needs,
    ForbidsRule: _forbids,
    AnyOfRule: _any_of,
    AtMostOneRule: _at_most_one,
    SumRule: _sum,
    OneNonzeroRule: _one_nonzero,
    DistinctRule: _distinct,
    ReferencesRule: _references,
}
"""How each kind of rule is judged. A table: matching on pydantic classes costs more than judging does."""
