"""The catalogue against facts that were typed in by hand: a legal row has its price, an illegal one is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from walk import Illegal, Legal, Step, walk

from batch_runner import catalog

STEPS: tuple[Step, ...] = tuple(walk())
LEGAL = [step for step in STEPS if isinstance(step, Legal)]
ILLEGAL = [step for step in STEPS if isinstance(step, Illegal)]


def told(step: Step) -> str:
    problems = catalog.check(step.kind, step.fields).problems
    return "; ".join(f"{problem.field}: {problem.what} ({problem.hint})" for problem in problems)


def listed(failures: Iterable[str]) -> str:
    found = list(failures)
    return "\n".join([f"{len(found)} rows:", *found[:25]])


def test_the_walk_is_as_long_as_the_facts() -> None:
    names = Counter((type(step), step.kind, step.name) for step in STEPS)
    assert [name for name, count in names.items() if count > 1] == []
    assert {step.kind for step in LEGAL} == {step.kind for step in ILLEGAL} == set(catalog.kinds())
    assert (len(LEGAL), len(ILLEGAL)) > (2000, 2000)


@pytest.mark.parametrize("kind", catalog.kinds())
def test_every_legal_row_passes_with_the_price_of_its_row(kind: str) -> None:
    failures = [f"{step.name}: {trouble}" for step in LEGAL if step.kind == kind and (trouble := fault(step))]
    assert not failures, listed(failures)


def fault(step: Legal) -> str:
    """What the catalogue says otherwise of a legal row, or an empty text."""
    if problems := told(step):
        return problems
    body = catalog.check(step.kind, step.fields).body
    path = catalog.length_of(step.kind, body)
    if path is not None and step.source_s is None:
        return f"depends on the length of {path}"
    if path is not None and catalog.price(step.kind, body) is not None:
        return f"has a price without the length of {path}"
    lengths = {} if path is None or step.source_s is None else {path: step.source_s}
    price = catalog.price(step.kind, body, lengths, step.inherited)
    found = (None, step.pack) if price is None else (price.credits, str(price.pack))
    if found != (step.credits, step.pack):
        return f"costs {found[0]} {found[1]}, not {step.credits} {step.pack}"
    slots = catalog.slots(step.kind, body)
    return "" if slots == step.slots else f"holds {slots} slots, not {step.slots}"


@pytest.mark.parametrize("kind", catalog.kinds())
def test_every_illegal_row_is_refused_by_its_field(kind: str) -> None:
    failures = [f"{step.name}: {told(step) or 'passes'}" for step in ILLEGAL if step.kind == kind and not refused(step)]
    assert not failures, listed(failures)


def refused(step: Illegal) -> bool:
    return step.field in {problem.field for problem in catalog.check(step.kind, step.fields).problems}


def test_refusals_name_their_source() -> None:
    problems = [(step, problem) for step in ILLEGAL for problem in catalog.check(step.kind, step.fields).problems]
    assert listed(f"{step.name}: {problem.what}" for step, problem in problems if not problem.source) == "0 rows:"


def test_models_that_make_a_product_are_walked_in_every_mode() -> None:
    """No model of the catalogue stays outside the walk."""
    for kind in catalog.kinds():
        walked = {catalog.model_of(kind, step.fields) for step in LEGAL if step.kind == kind}
        assert walked >= set(catalog.models(kind)), kind
