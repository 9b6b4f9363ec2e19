"""The table of an attempt's life: every pair is decided, and what protects the money holds in all of them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_runner.lifecycle import (
    LIVE,
    MAY_EXIST,
    RETRYABLE,
    SLOT_HOLDING,
    TRANSITIONS,
    Event,
    ExternalId,
    IllegalEventError,
    Money,
    State,
    events_of,
    item_status,
    step,
)
from batch_runner.model import Task, TaskStatus

PAIRS = [(state, event) for state in State for event in Event]


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_is_decided(state: State, event: Event) -> None:
    if (state, event) in TRANSITIONS:
        assert step(state, event).state in State
    else:
        with pytest.raises(IllegalEventError, match=event.value):
            step(state, event)


def reachable(start: State, without: frozenset[State] = frozenset()) -> set[State]:
    found, todo = {start}, [start]
    while todo:
        state = todo.pop()
        for (source, _), outcome in TRANSITIONS.items():
            if source is state and outcome.state not in found | without:
                found.add(outcome.state)
                todo.append(outcome.state)
    return found


def test_an_attempt_that_may_exist_is_only_given_up_through_a_definite_answer() -> None:
    for (state, event), outcome in TRANSITIONS.items():
        if state in MAY_EXIST and outcome.state not in LIVE:
            assert event in {Event.REFUSE, Event.WITHDRAW, Event.FAIL, Event.GIVE_UP}, (state, event)
        if state is State.MISSING:
            assert outcome.state in {State.MISSING, State.IN_FLIGHT, State.UNKNOWN, State.LOST}
    assert (State.UNKNOWN, Event.WITHDRAW) not in TRANSITIONS
    assert (State.UNKNOWN, Event.FAIL) not in TRANSITIONS
    assert TRANSITIONS[State.UNKNOWN, Event.GIVE_UP].money is Money.CHARGE, "given up counts as paid"
    assert (State.UNKNOWN, Event.PUT_BACK) not in TRANSITIONS


def test_nothing_is_sent_before_the_durable_intent() -> None:
    sent = {State.UNKNOWN, State.IN_FLIGHT, State.FAILED, State.SUCCEEDED}
    without_intent = reachable(State.READY, without=frozenset({State.SENDING, State.IN_FLIGHT}))
    assert not without_intent & sent


def test_paid_is_forever() -> None:
    assert reachable(State.SUCCEEDED) == {State.SUCCEEDED, State.PUBLISHED, State.ASSET_GONE}
    assert not reachable(State.SUCCEEDED) & RETRYABLE


def test_a_hold_is_opened_and_settled_once_on_every_path() -> None:
    """Walk every path up to 9 events: holds and settlements alternate, and ends leave nothing held."""

    def walk(state: State, held: bool, depth: int) -> None:  # noqa: FBT001 - a test's little recursion
        if state in {State.FAILED, State.REFUSED, State.LOST, State.WITHDRAWN, State.SUCCEEDED, State.PUBLISHED}:
            assert not held, state
        if state in SLOT_HOLDING:
            assert held, state
        if depth == 0:
            return
        for (source, _), outcome in TRANSITIONS.items():
            if source is not state:
                continue
            after = held
            if outcome.money is Money.HOLD:
                assert not held
                after = True
            elif outcome.money is not Money.NOTHING:
                assert held
                after = False
            walk(outcome.state, after, depth - 1)

    walk(State.READY, True, 9)


def test_items_say_where_they_stand() -> None:
    words = {state: item_status(state) for state in State}
    assert words[State.PUBLISHED] == "succeeded"
    assert {state for state, word in words.items() if word == "unknown"} == MAY_EXIST
    assert {state for state, word in words.items() if word == "failed"} == RETRYABLE | {State.ASSET_GONE}


@pytest.mark.parametrize(
    ("state", "status", "expected"),
    [
        (State.IN_FLIGHT, TaskStatus.PROCESSING, []),
        (State.IN_FLIGHT, TaskStatus.SUCCEEDED, [Event.SUCCEED]),
        (State.UNKNOWN, TaskStatus.SUBMITTED, [Event.ACCEPT]),
        (State.MISSING, TaskStatus.FAILED, [Event.ACCEPT, Event.FAIL]),
    ],
)
def test_a_task_brings_an_attempt_to_where_it_stands(state: State, status: TaskStatus, expected: list[Event]) -> None:
    task = Task("1", None, status, charged=Decimal(1))
    assert events_of(task, state) == expected
    for event in expected:
        state = step(state, event).state


@given(st.text(), st.text(), st.integers(1, 999_999), st.text(min_size=1))
def test_external_ids_say_again_what_they_were_made_of(batch: str, item: str, number: int, content: str) -> None:
    fingerprint = f"{abs(hash(content)):064x}"
    name = ExternalId.of(batch, item, number, fingerprint)
    assert ExternalId.parse(str(name)) == name
    assert str(name) == str(ExternalId.of(batch, item, number, fingerprint))
    assert len(str(name)) <= 64


@given(st.text())
def test_other_peoples_ids_are_not_ours(text: str) -> None:
    assert ExternalId.parse(text) is None or text.startswith("br-")


def test_batch_item_and_attempt_each_change_the_id() -> None:
    names = {
        str(ExternalId.of(batch, item, number, "f" * 64))
        for batch in ("a", "b")
        for item in ("a", "b")
        for number in (1, 2)
    }
    assert len(names) == 8
