"""The store, the lifecycle and the ledger against a model: any order of events, crashes and edits.

``MODEL_EXAMPLES=5000 MODEL_STEPS=80 pytest tests/test_model_store.py`` looks deeper than a usual run.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from store_kit import item as checked_item
from store_twin import FREE, HOLDING, OVER, Conflict, Line, Twin, TwinAttempt, TwinItem, TwinTask, content_of

from batch_runner.errors import ManifestError
from batch_runner.lifecycle import Event, ExternalId, IllegalEventError, State
from batch_runner.model import Item, Realm, Task, TaskStatus
from batch_runner.store import Attempt, Batch, Facts, FoundTask, SqliteStore, StoredFile
from batch_runner.virtual_time import VirtualClock, VirtualTimeLoop

T = TypeVar("T")
P = ParamSpec("P")

NAME = "b"
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "60"))
STEPS = int(os.environ.get("MODEL_STEPS", "40"))

CREDITS = st.sampled_from([Decimal("0.5"), Decimal(1), Decimal("2.75"), Decimal(4)])
CHARGES = st.sampled_from([None, FREE, Decimal("0.25"), Decimal(1), Decimal("3.125")])
BUDGETS = st.sampled_from([None, Decimal("0.25"), Decimal(1), Decimal("3.5"), Decimal(8)])
IDS = st.sampled_from("abcdef")
TEXTS = st.sampled_from(["old", "new", "newer"])


class DiedError(Exception):
    """The process is gone before its transaction was committed."""


class DoomedStore(SqliteStore):
    """The real store, which may die when the work of a transaction is done and nothing of it is committed."""

    doomed = False

    async def _do(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        if not self.doomed:
            return await super()._do(work, *args, **kwargs)

        def die(db: sqlite3.Connection) -> T:
            work(db, *args, **kwargs)
            raise DiedError

        return await super()._do(die)


class StoreMachine(RuleBasedStateMachine):
    """Every rule does one thing to the real store and the same to its twin; afterwards they must agree."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="store-model-"))
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.twin = Twin([])
        self.lines: list[Line] = []
        self.starts = 0

    def teardown(self) -> None:
        self.do(self.store.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    # --- starting -----------------------------------------------------------------------------------------

    @initialize(lines=st.lists(st.builds(Line, IDS, TEXTS, CREDITS), min_size=1, max_size=4, unique_by=lambda x: x.id))
    def begin(self, lines: list[Line]) -> None:
        self.lines = lines
        self.path = self.folder / "state.db"
        self.open()
        self.load(lines)
        self.search()

    def open(self) -> None:
        store = self.do(DoomedStore.open(self.path, VirtualClock(self.runner.get_loop())))
        assert isinstance(store, DoomedStore)
        self.store = store

    @rule()
    def crash(self) -> None:
        """As after kill -9: what is committed stands in the log, and nobody put it into the file."""
        self.starts += 1
        fresh = self.folder / f"start-{self.starts}" / "state.db"
        fresh.parent.mkdir()
        for suffix in ("", "-wal"):
            if Path(f"{self.path}{suffix}").exists():
                shutil.copy(f"{self.path}{suffix}", f"{fresh}{suffix}")
        self.do(self.store.close())
        self.path = fresh
        self.open()
        self.load(self.lines)

    def die_in(self, work: Coroutine[Any, Any, object]) -> None:
        """Do it, but die before the commit: as if it had never been asked for."""
        self.store.doomed = True
        try:
            self.do(work)
        except DiedError:
            pass
        else:
            raise AssertionError("the work made no transaction")
        finally:
            self.store.doomed = False
        self.crash()

    # --- the manifest -------------------------------------------------------------------------------------

    def load(self, lines: list[Line]) -> None:
        rows = [_item_of(line, place) for place, line in enumerate(lines, 1)]
        expected: list[int] = []
        try:
            self.twin.load(lines)
        except Conflict as conflict:
            expected = conflict.places
        work = self.store.load_batch(NAME, realm=Realm.REAL, manifest="b.jsonl", items=lambda: iter(rows))
        batch, told = self.told(work)
        assert told == expected
        if batch is not None:
            self.batch: Batch = batch
            self.lines = lines

    def told(self, work: Coroutine[Any, Any, T]) -> tuple[T | None, list[int]]:
        """What came of it, or the lines that were told instead."""
        try:
            return self.do(work), []
        except ManifestError as error:
            return None, sorted(problem.line or 0 for problem in error.problems)

    @rule(id_=IDS, text=TEXTS)
    def edit(self, id_: str, text: str) -> None:
        self.load([Line(each.id, text, each.credits, each.priority) if each.id == id_ else each for each in self.lines])

    @rule(id_=IDS, text=TEXTS, credits_=CREDITS, place=st.integers(0, 6))
    def add(self, id_: str, text: str, credits_: Decimal, place: int) -> None:
        rest = [line for line in self.lines if line.id != id_]
        self.load([*rest[:place], Line(id_, text, credits_), *rest[place:]])

    @rule(id_=IDS)
    def remove(self, id_: str) -> None:
        self.load([line for line in self.lines if line.id != id_])

    @rule(data=st.data())
    def reorder(self, data: st.DataObject) -> None:
        self.load(data.draw(st.permutations(self.lines)))

    @rule(id_=IDS, credits_=CREDITS, priority=st.integers(0, 2))
    def reprice(self, id_: str, credits_: Decimal, priority: int) -> None:
        self.load([Line(each.id, each.text, credits_, priority) if each.id == id_ else each for each in self.lines])

    # --- the account --------------------------------------------------------------------------------------

    @rule()
    def search(self) -> None:
        found = [_found(task) for task in self.twin.account]
        expected: list[int] = []
        count = None
        try:
            count = self.twin.search()
        except Conflict as conflict:
            expected = conflict.places
        assert self.told(self.store.adopt(self.batch, found, {})) == (count, expected)

    @rule(search=st.booleans())
    def lose_the_store(self, search: bool) -> None:  # noqa: FBT001 - hypothesis hands it over by name
        self.do(self.store.close())
        self.starts += 1
        self.path = self.folder / f"start-{self.starts}" / "state.db"
        self.path.parent.mkdir()
        self.twin = Twin(self.twin.account)
        self.open()
        self.load(self.lines)
        if search:
            self.search()

    @rule(item=st.sampled_from(["a", "zz"]), number=st.integers(1, 3))
    def a_foreign_task(self, item: str, number: int) -> None:
        """Somebody else's task on the account, or one of a line that nobody has: not ours to take up."""
        other = FoundTask(ExternalId.of("other", item, number, "f" * 64), Task("1", None, TaskStatus.PROCESSING))
        unlisted = FoundTask(ExternalId.of(NAME, "zz", number, "f" * 64), Task("2", None, TaskStatus.SUCCEEDED))
        if not self.unsearched():
            assert self.do(self.store.adopt(self.batch, [other, unlisted], {})) == 0

    def unsearched(self) -> bool:
        return any(item.in_manifest and not item.searched for item in self.twin.items.values())

    # --- submitting ---------------------------------------------------------------------------------------

    @rule(budget=BUDGETS, dies=st.booleans())
    def claim(self, budget: Decimal | None, dies: bool) -> None:  # noqa: FBT001 - hypothesis hands it over by name
        budgets = {} if budget is None else {"video": budget}
        expected = self.twin.next_item(budget)
        if dies and expected is not None:
            self.die_in(self.store.claim_next(self.batch, budgets))
            return
        claim = self.do(self.store.claim_next(self.batch, budgets))
        if expected is None:
            assert claim.attempt is None
            assert claim.blocked == (budget is not None and bool(self.twin.candidates()))
            return
        attempt = self.twin.claim(expected)
        assert claim.attempt is not None
        assert (claim.attempt.item_id, claim.attempt.number) == (expected.line.id, attempt.number)
        assert claim.attempt.external_task_id == str(_name_of(expected.line.id, attempt))
        assert budget is None or self.twin.consumed + self.twin.held <= budget, "a hold must fit"

    def pick(self, data: st.DataObject, *states: State) -> tuple[TwinItem, TwinAttempt] | None:
        found = [pair for pair in self.twin.attempts() if pair[1].state in states]
        return data.draw(st.sampled_from(found)) if found else None

    def apply(self, item: TwinItem, attempt: TwinAttempt, event: Event, facts: Facts = Facts()) -> Attempt:
        return self.do(self.store.apply(self.stored(item, attempt), event, {}, facts))

    def stored(self, item: TwinItem, attempt: TwinAttempt) -> Attempt:
        rows = self.do(self.store.in_states(self.batch, list(State)))
        return next(row for row in rows if (row.item_id, row.number) == (item.line.id, attempt.number))

    @rule(data=st.data(), made=st.booleans())
    def send(self, data: st.DataObject, made: bool) -> None:  # noqa: FBT001 - hypothesis hands it over by name
        """The intent, then the request; the account makes a task of it or not. Unknown ones only if there is none."""
        pair = self.pick(data, State.READY, State.UNKNOWN)
        if pair is None or self.task_of(*pair) is not None:
            return
        item, attempt = pair
        self.apply(item, attempt, Event.SEND)
        attempt.state = State.SENDING
        attempt.sends += 1
        if made:
            self.twin.account.append(TwinTask(item.line.id, attempt.number, attempt.text))

    def task_of(self, item: TwinItem, attempt: TwinAttempt) -> TwinTask | None:
        wanted = (item.line.id, attempt.number, attempt.text)
        return next((t for t in self.twin.account if (t.item, t.number, t.text) == wanted), None)

    @rule(data=st.data(), dies=st.booleans())
    def answer(self, data: st.DataObject, dies: bool) -> None:  # noqa: FBT001 - hypothesis hands it over by name
        """The answer arrives, or the task is found: accepted."""
        pair = self.pick(data, State.SENDING, State.UNKNOWN, State.MISSING, State.IN_FLIGHT)
        if pair is None or (task := self.task_of(*pair)) is None:
            return
        item, attempt = pair
        if dies:
            self.die_in(self.store.apply(self.stored(item, attempt), Event.ACCEPT, {}, Facts(task_id=_id_of(task))))
            return
        after = self.apply(item, attempt, Event.ACCEPT, Facts(task_id=_id_of(task)))
        assert after.task_id == _id_of(task)
        attempt.state, attempt.task = State.IN_FLIGHT, task

    @rule(data=st.data())
    def lose_the_answer(self, data: st.DataObject) -> None:
        """There was none; or the one that was believed turns out to be about another item's task."""
        if pair := self.pick(data, State.SENDING, State.UNKNOWN, State.IN_FLIGHT, State.MISSING):
            self.apply(*pair, Event.LOSE_ANSWER)
            pair[1].state = State.UNKNOWN

    @rule(data=st.data(), event=st.sampled_from([Event.REFUSE, Event.PUT_BACK, Event.WITHDRAW]))
    def turn_away(self, data: st.DataObject, event: Event) -> None:
        """Definitely no task: refused for its own sake, for want of room, or for the account's."""
        pair = self.pick(data, State.SENDING, State.READY)
        if pair is None or self.task_of(*pair) is not None:
            return
        item, attempt = pair
        if event is Event.PUT_BACK and attempt.state is State.READY:
            return
        self.apply(item, attempt, event, Facts(reason="why", error_code=1, error_message="said"))
        attempt.sends -= attempt.state is State.SENDING and event is not Event.REFUSE
        if event is Event.PUT_BACK:
            attempt.state = State.READY
            return
        attempt.state = State.REFUSED if event is Event.REFUSE else State.WITHDRAWN
        self.twin.settle(attempt, None)
        item.queued = event is Event.WITHDRAW

    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        """The user counts a submission without a task, whose fate nobody can tell, as paid."""
        pair = self.pick(data, State.UNKNOWN)
        if pair is not None and self.task_of(*pair) is None:
            item, attempt = pair
            self.apply(item, attempt, Event.GIVE_UP, Facts(reason="lost"))
            attempt.state = State.LOST
            self.twin.settle(attempt, attempt.estimate)

    @rule(data=st.data())
    def vanish(self, data: st.DataObject) -> None:
        if pair := self.pick(data, State.IN_FLIGHT, State.MISSING):
            self.apply(*pair, Event.VANISH)
            pair[1].state = State.MISSING

    # --- ends ---------------------------------------------------------------------------------------------

    @rule(data=st.data(), charged=CHARGES, dies=st.booleans())
    def succeed(self, data: st.DataObject, charged: Decimal | None, dies: bool) -> None:  # noqa: FBT001 - by name
        pair = self.pick(data, State.IN_FLIGHT)
        if pair is None:
            return
        item, attempt = pair
        facts = Facts(charged=charged)
        if dies:
            self.die_in(self.store.apply(self.stored(item, attempt), Event.SUCCEED, {}, facts))
            return
        self.apply(item, attempt, Event.SUCCEED, facts)
        assert attempt.task is not None
        attempt.state, attempt.task.failed = State.SUCCEEDED, False
        self.twin.settle(attempt, attempt.estimate if charged is None else charged)

    @rule(data=st.data(), charged=CHARGES)
    def fail(self, data: st.DataObject, charged: Decimal | None) -> None:
        pair = self.pick(data, State.IN_FLIGHT)
        if pair is None or pair[1].task is None or pair[1].task.failed is False:
            return
        item, attempt = pair
        self.apply(item, attempt, Event.FAIL, Facts(charged=charged, reason="generation", error_message="broke"))
        assert attempt.task is not None
        attempt.task.failed, attempt.task.charged = True, charged
        self.twin.fail(attempt, charged)

    @rule(data=st.data())
    def hear_it_again(self, data: st.DataObject) -> None:
        """A late or doubled answer about an end changes nothing."""
        if pair := self.pick(data, State.SUCCEEDED):
            self.apply(*pair, Event.SUCCEED, Facts(charged=Decimal(99)))
        if pair := self.pick(data, State.FAILED):
            self.apply(*pair, Event.FAIL, Facts(charged=Decimal(99)))

    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        if pair := self.pick(data, State.SUCCEEDED, State.ASSET_GONE, State.PUBLISHED):
            item, attempt = pair
            file = StoredFile(0, f"b/{item.line.id}.mp4", 3, "00" * 32, 1)
            self.do(self.store.record_file(self.stored(item, attempt), file))
            self.apply(item, attempt, Event.PUBLISH)
            attempt.state, attempt.files = State.PUBLISHED, 1

    @rule(data=st.data())
    def lose_the_asset(self, data: st.DataObject) -> None:
        if pair := self.pick(data, State.SUCCEEDED, State.ASSET_GONE):
            self.apply(*pair, Event.LOSE_ASSET, Facts(reason="asset"))
            pair[1].state = State.ASSET_GONE

    @rule()
    def retry_failed(self) -> None:
        self.do(self.store.queue_failed(self.batch))
        self.twin.retry()

    @rule(data=st.data(), event=st.sampled_from(Event))
    def something_impossible(self, data: st.DataObject, event: Event) -> None:
        pair = self.pick(data, *State)
        if pair is None or event in _POSSIBLE[pair[1].state]:
            return
        try:
            self.apply(*pair, event, Facts(task_id="9", charged=Decimal(99), reason="x"))
        except IllegalEventError:
            return
        raise AssertionError(f"{event} happened to an attempt that is {pair[1].state}")

    # --- what must hold after every step ------------------------------------------------------------------

    @invariant()
    def attempts_agree(self) -> None:
        rows = self.do(self.store.in_states(self.batch, list(State)))
        found = {(row.item_id, row.number, row.state, row.external_task_id, row.estimate) for row in rows}
        assert found == {
            (item.line.id, each.number, each.state, str(_name_of(item.line.id, each)), each.estimate)
            for item, each in self.twin.attempts()
        }
        assert len(rows) == len(found)

    @invariant()
    def no_item_has_two_lives(self) -> None:
        for item in self.twin.items.values():
            states = [attempt.state for attempt in sorted(item.attempts, key=lambda each: each.number)]
            assert sum(state in HOLDING | {State.SUCCEEDED} for state in states) <= 1
            assert all(state in OVER | {State.WITHDRAWN} for state in states[:-1])
        paid = Counter(task.item for task in self.twin.account if not task.failed)
        assert all(count == 1 for count in paid.values()), f"paid twice: {paid}"

    @invariant()
    def the_ledger_conserves_and_agrees(self) -> None:
        entries = self.do(self.store.ledger(self.batch))
        told: dict[tuple[str, int], list[tuple[str, Decimal]]] = {}
        held = consumed = FREE
        for number, entry in enumerate(entries, 1):
            of_attempt = told.setdefault((entry.item, entry.attempt), [])
            opened = len(of_attempt) % 2 == 1
            assert opened == (entry.entry != "hold"), "a hold is settled once, and before the next one"
            held += entry.credits if entry.entry == "hold" else -of_attempt[-1][1]
            consumed += entry.credits if entry.entry == "charge" else 0
            of_attempt.append((entry.entry, entry.credits))
            assert (entry.seq, entry.held, entry.consumed) == (number, held, consumed)
            assert held >= 0
        assert told == {(item.line.id, each.number): each.entries for item, each in self.twin.attempts()}
        balances = self.do(self.store.balances(self.batch, "video"))
        assert (balances.held, balances.consumed) == (self.twin.held, self.twin.consumed) == (held, consumed)

    @invariant()
    def the_results_agree_and_add_up(self) -> None:
        rows = self.do(self.store.results(self.batch))
        listed = sorted((each for each in self.twin.items.values() if each.in_manifest), key=lambda each: each.place)
        assert [(row.id, row.line, row.status, row.attempts) for row in rows] == [
            (each.line.id, each.place, each.word, each.last.number if each.last else 0) for each in listed
        ]
        for row, each in zip(rows, listed, strict=True):
            charged = [amount for attempt in each.attempts for word, amount in attempt.entries if word == "charge"]
            assert row.credits_charged == (sum(charged, FREE) if charged else None)
            assert len(row.files) == (each.last.files if each.last and row.status == "succeeded" else 0)
        counts = self.do(self.store.counts(self.batch))
        words = Counter(each.word for each in listed)
        assert counts.total == len(self.lines) == len(listed)
        assert (counts.succeeded, counts.failed, counts.pending, counts.unknown) == tuple(
            words[word] for word in ("succeeded", "failed", "pending", "unknown")
        )


_POSSIBLE: dict[State, set[Event]] = {
    State.READY: {Event.SEND, Event.ACCEPT, Event.REFUSE, Event.WITHDRAW},
    State.SENDING: {
        Event.ACCEPT,
        Event.PUT_BACK,
        Event.LOSE_ANSWER,
        Event.REFUSE,
        Event.WITHDRAW,
        Event.SUCCEED,
        Event.FAIL,
    },
    State.UNKNOWN: {Event.SEND, Event.ACCEPT, Event.LOSE_ANSWER, Event.REFUSE, Event.GIVE_UP},
    State.IN_FLIGHT: {Event.ACCEPT, Event.LOSE_ANSWER, Event.VANISH, Event.SUCCEED, Event.FAIL},
    State.MISSING: {Event.ACCEPT, Event.LOSE_ANSWER, Event.VANISH, Event.GIVE_UP},
    State.SUCCEEDED: {Event.SUCCEED, Event.PUBLISH, Event.LOSE_ASSET},
    State.PUBLISHED: {Event.PUBLISH},
    State.ASSET_GONE: {Event.LOSE_ASSET, Event.PUBLISH},
    State.FAILED: {Event.FAIL},
    State.REFUSED: set(),
    State.LOST: set(),
    State.WITHDRAWN: {Event.ACCEPT, Event.HOLD},
}
"""What can happen to an attempt, said a second time: an event that is not here must be refused."""


def _item_of(line: Line, place: int) -> Item:
    return checked_item(line.id, place, str(line.credits), text=line.text, priority=line.priority)


def _name_of(item_id: str, attempt: TwinAttempt | TwinTask) -> ExternalId:
    return ExternalId.of(NAME, item_id, attempt.number, content_of(attempt.text))


def _id_of(task: TwinTask) -> str:
    return f"task-{_name_of(task.item, task)}"


def _found(task: TwinTask) -> FoundTask:
    status = {None: TaskStatus.PROCESSING, True: TaskStatus.FAILED, False: TaskStatus.SUCCEEDED}[task.failed]
    name = _name_of(task.item, task)
    return FoundTask(name, Task(_id_of(task), str(name), status, charged=task.charged))


def test_the_store_agrees_with_its_model_whatever_happens() -> None:
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=EXAMPLES <= 100,
            suppress_health_check=list(HealthCheck),
        ),
    )
