"""Which fields go together: the rows of ``rules.toml`` applied to a body. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from math import prod
from typing import Any

from batch_runner.catalog.conditions import Body, holds, judged_fields, top_field, triggers, values
from batch_runner.catalog.problems import FieldProblem, shown
from batch_runner.catalog.rule_rows import (
    AnyOfRule,
    AtMostOneRule,
    DistinctRule,
    EntriesRule,
    ExactlyOneRule,
    ForbidsRule,
    LimitsRule,
    NeedsRule,
    OneNonzeroRule,
    ProductRule,
    ReferencesRule,
    RuleRow,
    ShotsRule,
    SpanRule,
    SumRule,
)

_Broken = tuple[str, str, str]
"""The field where a rule is broken, what is wrong there, and a hint for rules that have none."""


_SHOT = re.compile(r"shot\s*[0-9]{1,3}\s*,\s*([0-9]{1,4})\s*,([^;]*)", re.IGNORECASE)
_SHOTS = re.compile(rf"\s*{_SHOT.pattern}(;\s*{_SHOT.pattern})*\s*;?\s*", re.IGNORECASE)
"""Several shots in one text, as the new standard wants them: ``shot 1, 3, a door opens; shot 2, 2, a cat;``."""


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
                broken = _BROKEN[type(row)](row, body, self._defaults)
                found += (FieldProblem(field, what, row.hint or hint, row.source) for field, what, hint in broken)
        return found

    def _find_breakable(self, present: frozenset[str]) -> list[tuple[frozenset[str], RuleRow]]:
        return [(judged, row) for touched, judged, row in self._rules if not touched or touched & present]


def _touched(row: RuleRow, defaults: Body) -> frozenset[str]:
    """Top-level fields of which a body must have one to break the rule; empty: it needs none."""
    paths: Iterable[str]
    match row:
        case NeedsRule() | AnyOfRule() | ExactlyOneRule():
            paths = triggers(row.when, defaults)
        case ForbidsRule():
            paths = row.fields
        case AtMostOneRule() | ProductRule():
            paths = chain.from_iterable(row.groups)
        case ReferencesRule():
            paths = row.texts
        case SumRule():
            paths = (row.addends,)
        case EntriesRule():
            paths = triggers(row.when, defaults) if row.min else row.lists
        case LimitsRule():
            paths = triggers(row.when, defaults) if top_field(row.field) in defaults else (row.field,)
        case SpanRule():
            paths = (row.start,)
        case OneNonzeroRule() | DistinctRule() | ShotsRule():
            paths = (row.field,)
    return frozenset(map(top_field, paths))


def _judged(row: RuleRow) -> frozenset[str]:
    """Top-level fields whose value, not only their presence, decides."""
    paths: Iterable[str] = ()
    match row:
        case LimitsRule() | OneNonzeroRule() | DistinctRule():
            paths = (row.field,)
        case EntriesRule():
            paths = row.lists
        case SumRule():
            paths = (row.addends, row.total)
        case SpanRule():
            paths = (row.start, row.end)
        case ShotsRule():
            paths = (row.field, row.total)
        case ProductRule():
            paths = chain.from_iterable(row.groups)
        case ReferencesRule():
            paths = (row.list_, *row.texts)
    return frozenset(map(top_field, paths)) | judged_fields(getattr(row, "when", ()))


def _needs(row: NeedsRule, body: Body, defaults: Body) -> Iterator[_Broken]:
    lacking = [path for path in row.fields if not values(body, path)]
    if lacking and holds(row.when, body, defaults):
        yield from ((path, row.what, "") for path in lacking)


def _forbids(row: ForbidsRule, body: Body, defaults: Body) -> Iterator[_Broken]:
    standing = [path for path in row.fields if values(body, path)]
    if standing and holds(row.when, body, defaults):
        yield from ((path, row.what, "") for path in standing)


def _any_of(row: AnyOfRule, body: Body, defaults: Body) -> Iterator[_Broken]:
    if not any(values(body, path) for path in row.fields) and holds(row.when, body, defaults):
        yield row.fields[0], row.what, ""


def _exactly_one(row: ExactlyOneRule, body: Body, defaults: Body) -> Iterator[_Broken]:
    standing = [path for path in row.fields if values(body, path)]
    if len(standing) != 1 and holds(row.when, body, defaults):
        hint = f"leave out {' or '.join(standing)}" if standing else ""
        yield standing[1] if standing else row.fields[0], row.what, hint


def _at_most_one(row: AtMostOneRule, body: Body, _defaults: Body) -> Iterator[_Broken]:
    standing = [found[0] for group in row.groups if (found := [path for path in group if values(body, path)])]
    if len(standing) > 1:
        yield standing[1], row.what, f"leave out {' or '.join(standing)}"


def _limits(row: LimitsRule, body: Body, defaults: Body) -> Iterator[_Broken]:
    found = values(body, row.field) or values(defaults, row.field)
    if any(_exceeds(row, value) for value in found) and holds(row.when, body, defaults):
        yield row.field, row.what, ""


def _exceeds(row: LimitsRule, value: Any) -> bool:
    too_long = row.max_chars is not None and isinstance(value, str) and len(value) > row.max_chars
    return too_long or (bool(row.values) and value not in row.values)


def _entries(row: EntriesRule, body: Body, defaults: Body) -> Iterator[_Broken]:
    counts = {path: len(values(body, path)) for path in row.lists}
    total = sum(counts.values())
    if not row.min <= total <= row.max and holds(row.when, body, defaults):
        at = next((path for path, count in counts.items() if count), row.lists[0])
        yield at.removesuffix("[]"), f"{row.what}; these are {total}", ""


def _sum(row: SumRule, body: Body, defaults: Body) -> Iterator[_Broken]:
    addends = [int(value) for value in values(body, row.addends)]
    total = [int(value) for value in values(body, row.total) or values(defaults, row.total)]
    if addends and sum(addends) != sum(total):
        yield row.addends, f"{row.what}: {sum(addends)} is not {sum(total)}", ""


def _span(row: SpanRule, body: Body, _defaults: Body) -> Iterator[_Broken]:
    for start, end in zip(values(body, row.start), values(body, row.end), strict=False):
        if end - start < row.min:
            yield row.end, f"{row.what}; these are {end - start}", ""


def _shots(row: ShotsRule, body: Body, defaults: Body) -> Iterator[_Broken]:
    for text in values(body, row.field):
        shots = _SHOT.findall(text) if _SHOTS.fullmatch(text) else []
        if shots and holds(row.when, body, defaults):
            yield from (
                (row.field, f"{row.what} {trouble}", "") for trouble in _shot_troubles(row, shots, body, defaults)
            )


def _shot_troubles(row: ShotsRule, shots: list[tuple[str, str]], body: Body, defaults: Body) -> Iterator[str]:
    lengths_s = [int(seconds) for seconds, _ in shots]
    total_s = sum(int(value) for value in values(body, row.total) or values(defaults, row.total))
    if len(shots) > row.max:
        yield f"are {len(shots)}; at most {row.max}"
    if not all(lengths_s):
        yield "must be a second long at least"
    if sum(lengths_s) != total_s:
        yield f"must add up to {row.total}: {sum(lengths_s)} is not {total_s}"
    if (longest := max(len(words.strip()) for _, words in shots)) > row.max_chars:
        yield f"have {longest} characters; at most {row.max_chars} each"


def _product(row: ProductRule, body: Body, _defaults: Body) -> Iterator[_Broken]:
    def factor(group: tuple[str, ...]) -> Decimal:
        return sum((Decimal(str(value)) for path in group for value in values(body, path)), Decimal(1))

    if (result := prod(map(factor, row.groups), start=Decimal(1))) > row.max:
        yield row.groups[0][0], f"{row.what}; this is {format(result.normalize(), 'f')}", ""


def _one_nonzero(row: OneNonzeroRule, body: Body, _defaults: Body) -> Iterator[_Broken]:
    for config in values(body, row.field):
        moving = [name for name, value in config.items() if value]
        if len(moving) != 1:
            said = ", ".join(moving) if moving else "none does"
            yield row.field, f"{row.what} ({said})", ""


def _distinct(row: DistinctRule, body: Body, _defaults: Body) -> Iterator[_Broken]:
    found: list[Any] = values(body, row.field)
    twice = next((value for i, value in enumerate(found) if value in found[:i]), None)
    if twice is not None:
        yield row.field, f"{row.what}: {shown(twice)} stands twice", ""


def _references(row: ReferencesRule, body: Body, _defaults: Body) -> Iterator[_Broken]:
    for path in row.texts:
        marked = [text for text in values(body, path) if "<<<" in text]
        for text in marked:
            for number in re.findall(rf"<<<{row.name}_([0-9]{{1,9}})>>>", text):
                if not 1 <= int(number) <= len(values(body, f"{row.list_}[]")):
                    yield path, f"{row.what}: <<<{row.name}_{number}>>>", ""


_BROKEN: dict[type, Callable[[Any, Body, Body], Iterator[_Broken]]] = {
    NeedsRule: _needs,
    ForbidsRule: _forbids,
    AnyOfRule: _any_of,
    ExactlyOneRule: _exactly_one,
    AtMostOneRule: _at_most_one,
    LimitsRule: _limits,
    EntriesRule: _entries,
    SumRule: _sum,
    SpanRule: _span,
    ShotsRule: _shots,
    ProductRule: _product,
    OneNonzeroRule: _one_nonzero,
    DistinctRule: _distinct,
    ReferencesRule: _references,
}
"""How each kind of rule is judged. A table: matching on pydantic classes costs more than judging does."""
