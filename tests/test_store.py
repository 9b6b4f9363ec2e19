"""The conformance suite: what every store must do. Each backend is one parameter of ``backend``."""

from __future__ import annotations

import re
import sqlite3
import struct
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from store_kit import item, items, with_store

from batch_runner.errors import ManifestError, StoreError
from batch_runner.lifecycle import LIVE, Event, ExternalId, IllegalEventError, State
from batch_runner.model import Realm, Task, TaskStatus
from batch_runner.store import (
    LOST_SCOPE,
    Attempt,
    Batch,
    Facts,
    FoundTask,
    RunRow,
    Stamp,
    Store,
    StoredFile,
    StoreReader,
)

BUDGET = {"video": Decimal(5)}


async def loaded(store: Store, *rows: object, searched: bool = True) -> Batch:
    batch = await store.load_batch("b", realm=Realm.REAL, manifest="b.jsonl", items=items(*rows))  # type: ignore[arg-type]  # rows are items
    if searched:
        await store.adopt(batch, [], {})
    return batch


async def claimed(store: Store, batch: Batch, budgets: dict[str, Decimal] | None = None) -> Attempt:
    claim = await store.claim_next(batch, budgets or {})
    assert claim.attempt is not None
    return claim.attempt


async def finish(store: Store, attempt: Attempt, charged: str = "2") -> Attempt:
    for event, facts in (
        (Event.SEND, Facts()),
        (Event.ACCEPT, Facts(task_id=f"t{attempt.attempt_id}")),
        (Event.SUCCEED, Facts(charged=Decimal(charged))),
    ):
        attempt = await store.apply(attempt, event, {}, facts)
    file = StoredFile(0, f"b/{attempt.item_id}.mp4", 3, "00" * 32, 1)
    await store.record_file(attempt, file)
    return await store.apply(attempt, Event.PUBLISH, {})


def test_items_are_claimed_by_priority_then_in_manifest_order(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("a", 1), item("b", 2, priority=5), item("c", 3))
        ids = [(await claimed(store, batch)).item_id for _ in range(3)]
        assert ids == ["b", "a", "c"]
        assert (await store.claim_next(batch, {})).attempt is None

    with_store(tmp_path / "state.db", work)


@pytest.mark.parametrize("recorded", [0, 2])
def test_what_would_be_read_as_damage_is_not_published(tmp_path: Path, recorded: int) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("a"))
        attempt = await claimed(store, batch)
        for event in (Event.SEND, Event.ACCEPT, Event.SUCCEED):
            attempt = await store.apply(attempt, event, {})
        for ordinal in range(recorded):
            await store.record_file(attempt, StoredFile(ordinal, f"b/a-{ordinal + 1}.png", 3, "00" * 32, 3))
        with pytest.raises(AssertionError, match="must not be published"):
            await store.apply(attempt, Event.PUBLISH, {})
        assert [row.state for row in await store.in_states(batch, list(State))] == [State.SUCCEEDED]

    with_store(tmp_path / "state.db", work)


def test_nothing_is_submitted_before_the_account_was_searched(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("a"), searched=False)
        assert await store.unlooked_kinds(batch) == [("text2video", "")]
        assert (await store.claim_next(batch, {})).attempt is None
        await store.adopt(batch, [], {})
        assert await store.unlooked_kinds(batch) == []
        assert (await claimed(store, batch)).state is State.READY

    with_store(tmp_path / "state.db", work)


def test_the_budget_is_a_hard_gate_and_dear_items_do_not_delay_cheap_ones(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("a", 1, "3"), item("b", 2, "4"), item("c", 3, "2"), item("d", 4, "0.5"))
        first = await claimed(store, batch, BUDGET)
        second = await claimed(store, batch, BUDGET)
        assert (first.item_id, second.item_id) == ("a", "c")
        claim = await store.claim_next(batch, BUDGET)
        assert (claim.attempt, claim.blocked) == (None, True)
        await store.apply(first, Event.WITHDRAW, BUDGET)
        assert (await claimed(store, batch, BUDGET)).item_id == "a"

    with_store(tmp_path / "state.db", work)


def test_hold_charge_release_and_balances(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("a", 1), item("b", 2), item("c", 3))
        a, b, c = [await claimed(store, batch, {"video": Decimal(9)}) for _ in range(3)]
        assert (await store.balances(batch, "video")).held == 6
        await finish(store, a, "2.4")
        b = await store.apply(b, Event.SEND, {})
        await store.apply(b, Event.REFUSE, {}, Facts(reason="policy", error_code=1301, error_message="no"))
        c = await store.apply(c, Event.SEND, {})
        c = await store.apply(c, Event.ACCEPT, {}, Facts(task_id="c"))
        await store.apply(c, Event.FAIL, {}, Facts(reason="generation", error_message="broke", charged=Decimal(0)))
        balances = await store.balances(batch, "video")
        assert (balances.consumed, balances.held) == (Decimal("2.4"), Decimal(0))
        entries = [(e.entry, str(e.credits), str(e.consumed), str(e.held)) for e in await store.ledger(batch)]
        assert entries == [
            ("hold", "2", "0", "2"),
            ("hold", "2", "0", "4"),
            ("hold", "2", "0", "6"),
            ("charge", "2.4", "2.4", "4"),
            ("release", "2", "2.4", "2"),
            ("release", "2", "2.4", "0"),
        ]
        results = {row.id: row for row in await store.results(batch)}
        assert results["a"].status == "succeeded"
        assert results["a"].credits_charged == Decimal("2.4")
        assert (results["b"].status, results["b"].reason) == ("failed", "policy")
        assert results["b"].error is not None
        assert results["b"].error.code == 1301
        assert results["c"].reason == "generation"

    with_store(tmp_path / "state.db", work)


def test_an_attempt_that_turns_out_to_have_another_items_task_has_none_in_memory_as_in_its_row(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("a"))
        attempt = await claimed(store, batch)
        for event in (Event.SEND, Event.ACCEPT, Event.LOSE_ANSWER):
            attempt = await store.apply(attempt, event, {}, Facts(task_id=None if event is Event.SEND else "t"))
            assert [attempt] == await store.in_states(batch, [attempt.state])
        assert (attempt.state, attempt.task_id) == (State.UNKNOWN, None)

    with_store(tmp_path / "state.db", work)


def test_an_illegal_event_changes_nothing(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("a"))
        attempt = await claimed(store, batch)
        before = (await store.results(batch), await store.ledger(batch))
        with pytest.raises(IllegalEventError):
            await store.apply(attempt, Event.SUCCEED, {}, Facts(charged=Decimal(99)))
        assert (await store.results(batch), await store.ledger(batch)) == before

    with_store(tmp_path / "state.db", work)


def test_loading_the_same_manifest_again_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"

    async def work(store: Store) -> None:
        batch = await loaded(store, item("a", 1), item("b", 2))
        await finish(store, await claimed(store, batch))

    async def again(store: Store) -> None:
        await loaded(store, item("a", 1), item("b", 2), searched=False)

    with_store(path, work)
    before = path.read_bytes()
    with_store(path, again)
    assert path.read_bytes() == before


def test_edited_lines_conflict_while_their_attempt_is_live_or_paid(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("live", 1), item("done", 2), item("failed", 3), item("new", 4))
        await store.apply(await claimed(store, batch), Event.SEND, {})
        await finish(store, await claimed(store, batch))
        failed = await store.apply(await claimed(store, batch), Event.SEND, {})
        await store.apply(failed, Event.REFUSE, {}, Facts(reason="policy"))
        with pytest.raises(ManifestError) as raised:
            await loaded(store, item("live", 1, text="x"), item("done", 2, text="x"))
        assert [problem.line for problem in raised.value.problems] == [1, 2]
        rows = (item("live", 1), item("done", 2), item("failed", 3, text="x"), item("new", 4, text="x"))
        await loaded(store, *rows)
        attempt = await claimed(store, batch)
        assert (attempt.item_id, attempt.number) == ("failed", 2)

    with_store(tmp_path / "state.db", work)


def test_reordered_added_and_removed_lines_are_harmless(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("a", 1), item("b", 2))
        await finish(store, await claimed(store, batch))
        await loaded(store, item("c", 1), item("a", 2))
        rows = await store.results(batch)
        assert [(row.id, row.line, row.status) for row in rows] == [("c", 1, "pending"), ("a", 2, "succeeded")]
        assert (await store.counts(batch)).total == 2
        assert (await claimed(store, batch)).item_id == "c"
        assert (await store.claim_next(batch, {})).attempt is None

    with_store(tmp_path / "state.db", work)


def found(item_id: str, number: int, status: TaskStatus, *, text: str = "") -> FoundTask:
    name = ExternalId.of("b", item_id, number, item(item_id, text=text).fingerprint)
    return FoundTask(name, Task(f"t-{item_id}-{number}", str(name), status))


def test_tasks_that_a_lost_store_forgot_are_taken_up_and_not_paid_again(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("a", 1), item("b", 2), item("c", 3), searched=False)
        tasks = [
            found("a", 1, TaskStatus.PROCESSING),
            found("b", 2, TaskStatus.SUCCEEDED),
            found("x", 1, TaskStatus.FAILED),
        ]
        assert await store.adopt(batch, tasks, {}) == 2
        live = {attempt.item_id: attempt for attempt in await store.in_states(batch, sorted(LIVE))}
        assert {(key, value.number, value.state) for key, value in live.items()} == {
            ("a", 1, State.IN_FLIGHT),
            ("b", 2, State.IN_FLIGHT),
        }
        assert (await claimed(store, batch)).item_id == "c"
        assert (await store.balances(batch, "video")).held == 6
        assert await store.adopt(batch, tasks, {}) == 0

    with_store(tmp_path / "state.db", work)


@pytest.mark.parametrize("second", [TaskStatus.SUCCEEDED, TaskStatus.FAILED])
def test_of_two_tasks_of_an_item_that_a_lost_store_forgot_one_is_followed_and_every_one_counts(
    tmp_path: Path, second: TaskStatus
) -> None:
    """As after --repeat-lost. What was written was taken for damage by every later start."""

    async def work(store: Store) -> None:
        batch = await loaded(store, item("a", 1), searched=False)
        tasks = [found("a", 1, TaskStatus.SUCCEEDED), found("a", 2, second)]
        paid = 1 + (second is TaskStatus.SUCCEEDED)
        assert await store.adopt(batch, tasks, {}) == paid
        [live] = await store.in_states(batch, sorted(LIVE))
        assert (live.number, live.state) == (paid, State.IN_FLIGHT)
        balances = await store.balances(batch, "video")
        assert [balances.consumed, balances.held] == [2 * paid - 2, 2]

    async def again(store: Store) -> None:
        assert len(await store.in_states(await loaded(store, item("a", 1)), sorted(LIVE))) == 1

    with_store(tmp_path / "state.db", work)
    with_store(tmp_path / "state.db", again)


def test_an_earlier_text_whose_task_was_followed_by_the_lines_own_is_no_conflict(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("a", 1), searched=False)
        earlier = found("a", 1, TaskStatus.SUCCEEDED, text="old")
        assert await store.adopt(batch, [earlier, found("a", 2, TaskStatus.SUCCEEDED)], {}) == 2

    with_store(tmp_path / "state.db", work)


def test_a_line_that_was_away_while_the_account_was_searched_is_searched_for_when_it_returns(tmp_path: Path) -> None:
    """A lost store, a line removed just then: it came back as searched for, and was paid a second time."""

    async def work(store: Store) -> None:
        await loaded(store, item("a", 1), item("b", 2), searched=False)
        batch = await loaded(store, item("a", 1), searched=False)
        tasks = [found("a", 1, TaskStatus.FAILED), found("b", 1, TaskStatus.SUCCEEDED)]
        assert await store.adopt(batch, tasks, {}) == 1
        assert await store.kinds(batch) == [("text2video", "")]
        await loaded(store, item("a", 1), item("b", 2), searched=False)
        assert await store.unlooked_kinds(batch) == [("text2video", "")]
        assert (await store.claim_next(batch, {})).attempt is None
        assert await store.adopt(batch, tasks, {}) == 1
        assert (await store.claim_next(batch, {})).attempt is None

    with_store(tmp_path / "state.db", work)


def test_a_task_of_a_removed_lines_earlier_text_is_no_conflict(tmp_path: Path) -> None:
    """The run was refused for a line that was not in the manifest."""

    async def work(store: Store) -> None:
        await loaded(store, item("a", 1), item("b", 2), searched=False)
        batch = await loaded(store, item("a", 1), searched=False)
        assert await store.adopt(batch, [found("b", 1, TaskStatus.SUCCEEDED, text="old")], {}) == 0
        assert (await claimed(store, batch)).item_id == "a"

    with_store(tmp_path / "state.db", work)


def test_news_of_an_older_attempt_does_not_speak_for_the_item(tmp_path: Path) -> None:
    """A lost store, a second attempt in flight: the first one's failure once let a third one be paid."""

    async def work(store: Store) -> None:
        batch = await loaded(store, item("a"), searched=False)
        tasks = [found("a", 1, TaskStatus.FAILED), found("a", 2, TaskStatus.PROCESSING)]
        await store.adopt(batch, tasks, {"video": Decimal(2)})
        assert [(entry.entry, entry.attempt, entry.held) for entry in await store.ledger(batch)] == [
            ("hold", 1, Decimal(2)),
            ("release", 1, Decimal(0)),
            ("hold", 2, Decimal(2)),
        ], "a failed task's hold must not stand beside a live one's"
        await store.queue_failed(batch)
        await store.queue_item(batch, "a")
        assert (await store.claim_next(batch, {})).attempt is None
        with pytest.raises(ManifestError):
            await loaded(store, item("a", text="edited"), searched=False)
        row = (await store.results(batch))[0]
        assert (row.status, row.attempts, row.error) == ("pending", 2, None)

    with_store(tmp_path / "state.db", work)


def test_the_failure_of_another_text_is_not_the_lines(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("a"), searched=False)
        both = [found("a", 1, TaskStatus.FAILED, text="old"), found("a", 2, TaskStatus.FAILED, text="older")]
        await store.adopt(batch, both, {})
        again = await claimed(store, batch)
        assert (again.item_id, again.number) == ("a", 3)

    with_store(tmp_path / "state.db", work)


def test_of_two_texts_with_one_number_the_paid_one_counts(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("a"), searched=False)
        both = [found("a", 1, TaskStatus.PROCESSING), found("a", 1, TaskStatus.FAILED, text="old")]
        assert await store.adopt(batch, both, {}) == 1
        assert (await store.claim_next(batch, {})).attempt is None

    with_store(tmp_path / "state.db", work)


def test_a_found_task_of_another_text_is_a_conflict_unless_it_failed(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("a"), searched=False)
        with pytest.raises(ManifestError, match="earlier text"):
            await store.adopt(batch, [found("a", 1, TaskStatus.SUCCEEDED, text="old")], {})
        assert await store.unlooked_kinds(batch) == [("text2video", "")]
        await store.adopt(batch, [found("a", 1, TaskStatus.FAILED, text="old")], {})

    with_store(tmp_path / "state.db", work)


def test_a_task_of_another_text_than_its_line_has_now_is_told_unless_it_is_known(tmp_path: Path) -> None:
    """A list that was not searched showed it when its line had been taken up elsewhere: paid, and nobody was told."""

    async def work(store: Store) -> None:
        batch = await loaded(store, item("a", 1), item("b", 2), searched=False)
        now, other = found("a", 1, TaskStatus.SUCCEEDED), found("b", 1, TaskStatus.FAILED, text="old")
        await store.adopt(batch, [now, other], {})
        older = found("a", 2, TaskStatus.PROCESSING, text="older")
        assert await store.without_line(batch, [now, other]) == {}
        assert await store.without_line(batch, [now, other, older]) == {older.task.task_id: True}, "made anew"
        assert await store.has_unknown([now.name, older.name])
        assert not await store.has_unknown([now.name, other.name])

    with_store(tmp_path / "state.db", work)


def test_a_withdrawn_attempt_keeps_its_number_and_its_name(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("a"))
        first = await claimed(store, batch)
        await store.apply(first, Event.WITHDRAW, {}, Facts(reason="account"))
        assert (await store.results(batch))[0].reason == "account"
        second = await claimed(store, batch)
        assert (second.attempt_id, second.external_task_id) == (first.attempt_id, first.external_task_id)

    with_store(tmp_path / "state.db", work)


def test_failed_items_get_a_new_attempt_only_when_asked(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("a", 1), item("gone", 2))
        attempt = await store.apply(await claimed(store, batch), Event.SEND, {})
        await store.apply(attempt, Event.REFUSE, {}, Facts(reason="rejected"))
        gone = await claimed(store, batch)
        for event in (Event.SEND, Event.ACCEPT, Event.SUCCEED, Event.LOSE_ASSET):
            gone = await store.apply(gone, event, {}, Facts(task_id="g", reason="asset"))
        assert (await store.claim_next(batch, {})).attempt is None
        await store.queue_failed(batch)
        again = await claimed(store, batch)
        assert (again.item_id, again.number) == ("a", 2), "what was paid for is never generated again"
        assert (await store.claim_next(batch, {})).attempt is None

    with_store(tmp_path / "state.db", work)


def test_reasons_are_given_to_what_a_run_leaves(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("flying", 1), item("unknown", 2), item("queued", 3), item("waits", 4))
        flying = await store.apply(await claimed(store, batch), Event.SEND, {})
        await store.apply(flying, Event.ACCEPT, {}, Facts(task_id="1"))
        await store.apply(await claimed(store, batch), Event.SEND, {})
        await store.give_reasons(batch, "budget", "stopped")
        rows = {row.id: (row.status, row.reason) for row in await store.results(batch)}
        assert rows["flying"] == ("pending", "stopped")
        assert rows["unknown"] == ("unknown", "unresolved")
        assert rows["queued"] == rows["waits"] == ("pending", "budget")

    with_store(tmp_path / "state.db", work)


def test_the_summary_is_that_of_the_newest_run(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("a"))
        assert await store.summary(batch) is None
        requests = {"total": 3, "submit": 1, "poll": 2, "refused": 0}
        for code in (0, 7):
            await store.save_run(batch, RunRow("m.jsonl", BUDGET, code, requests, 10.0, 20.5, 10.5))
        summary = await store.summary(batch)
        assert summary is not None
        assert (summary.exit_code, summary.wall_s, summary.requests.poll) == (7, 10.5, 2)
        assert summary.as_json()["credits"]["video"] == {
            "budget": "5",
            "consumed": "0",
            "held": "0",
            "available": "5",
        }

    with_store(tmp_path / "state.db", work)


def test_request_stamps_are_kept_apart_by_scope_and_pruned(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        for second in range(10):
            await store.add_stamp("host", Stamp("e", float(second), 100.0 + second), keep=4)
            await store.add_stamp("other", Stamp("e", float(second), 0.0), keep=4)
        assert [stamp.loop_s for stamp in await store.stamps("host")] == [6.0, 7.0, 8.0, 9.0]

    with_store(tmp_path / "state.db", work)


def test_a_newer_store_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with_store(path, loaded_only)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer version"):
        with_store(path, loaded_only)
    assert path.read_bytes() == before


async def loaded_only(store: Store) -> None:
    await loaded(store, item("a"))


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be read", b"SQLite format 3\x00" + b"\xff" * 4000]
)
def test_a_damaged_store_is_told_and_not_guessed_at(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"state\.db"):
        with_store(path, loaded_only)
    assert path.read_bytes() == content


def test_a_store_whose_making_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    """After a power cut the journal of its very first write can be there again, beside the log that came next."""
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    undo_all = bytes.fromhex("d9d505f920a163d7") + struct.pack(">5I", 0, 1, 0, 512, 4096)
    (tmp_path / "state.db-journal").write_bytes(undo_all.ljust(512, b"\0"))
    (tmp_path / "state.db-wal").touch()
    with_store(path, loaded_only)


def test_a_log_that_its_store_was_deleted_from_means_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with_store(path, loaded_only)
    path.unlink()
    path.with_name("state.db-wal").write_bytes(b"\x37\x7f\x06\x82" * 100)
    with_store(path, loaded_only)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(StoreError, match="another program"):
        with_store(path, loaded_only)


def test_a_reader_looks_without_a_lock_while_a_writer_is_open(tmp_path: Path) -> None:
    path = tmp_path / "state.db"

    async def work(store: Store) -> None:
        batch = await loaded(store, item("a"))
        await claimed(store, batch)
        with StoreReader.open(path) as reader:
            assert [each.name for each in reader.batches()] == ["b"]
            assert reader.credits(batch)["video"].held == 2
            assert reader.results(batch)[0].attempts == 1

    with_store(path, work)


def test_a_file_of_which_even_the_complaint_is_no_text_is_told_as_damaged(tmp_path: Path) -> None:
    """Found by the fuzzing: SQLite quotes the broken definition of a table, and Python could not read the quotation."""
    path = tmp_path / "state.db"
    with_store(path, loaded_only)
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE files", b"CREATE T\x80BLE files", 1))
    with pytest.raises(StoreError, match="damaged"):
        with_store(path, loaded_only)


@pytest.mark.parametrize(
    "edit",
    [
        "status = 'queued', reason = NULL, error_code = NULL, error_message = NULL",
        "reason = 'source'",
        "reason = 'policy'",
    ],
)
def test_a_failure_that_somebody_made_another_is_not_tried_again_unasked(tmp_path: Path, edit: str) -> None:
    path = tmp_path / "state.db"

    async def fail(store: Store) -> None:
        attempt = await claimed(store, await loaded(store, item("a")))
        for event in (Event.SEND, Event.FAIL):
            attempt = await store.apply(attempt, event, {}, Facts(reason="generation"))

    with_store(path, fail)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"UPDATE items SET {edit}")
    with pytest.raises(StoreError, match="a row of items is not as it was written"):
        with_store(path, loaded_only)


@pytest.mark.parametrize("reason", ["NULL", "''"])
def test_a_failed_item_without_a_reason_is_told(tmp_path: Path, reason: str) -> None:
    path = tmp_path / "state.db"

    async def refuse(store: Store) -> None:
        attempt = await claimed(store, await loaded(store, item("a")))
        await store.apply(attempt, Event.REFUSE, {}, Facts(reason="policy"))

    with_store(path, refuse)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"UPDATE items SET reason = {reason}")
    with pytest.raises(StoreError, match="'a' has failed without a reason"):
        with_store(path, loaded_only)


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([Event.REFUSE], "rejected"),
        ([Event.SEND, Event.FAIL], "generation"),
        ([Event.SEND, Event.LOSE_ANSWER, Event.GIVE_UP], "unresolved"),
        ([Event.SEND, Event.SUCCEED, Event.LOSE_ASSET], "asset"),
    ],
)
def test_an_item_that_failed_for_no_reason_told_has_one_all_the_same(
    tmp_path: Path, events: list[Event], reason: str
) -> None:
    path = tmp_path / "state.db"

    async def fail(store: Store) -> None:
        batch = await loaded(store, item("a"))
        attempt = await claimed(store, batch)
        for event in events:
            attempt = await store.apply(attempt, event, {})
        assert [(row.status, row.reason) for row in await store.results(batch)] == [("failed", reason)]

    with_store(path, fail)
    with_store(path, loaded_only)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ("UPDATE attempts SET state = 'ready', task_id = NULL", "a row of attempts is not as it was written"),
        ("UPDATE attempts SET state = 'later'", "attempts hold a value that cannot be"),
        ("UPDATE items SET status = 'queued'", "'a' stands as queued beside an attempt that is in_flight"),
        ("UPDATE items SET item_id = 'b'", "'b' bears a name that is not its own"),
        ("UPDATE items SET fingerprint = 'f'", "'a' has another text than its attempt that is in_flight"),
        ("UPDATE items SET looked = 0", "a row of items is not as it was written"),
        ("UPDATE items SET in_manifest = 0", "a row of items is not as it was written"),
        ("UPDATE batches SET was_lost = 0", "a row of batches is not as it was written"),
        ("UPDATE batches SET was_lost = 2", "batches hold a value that cannot be"),
        (
            "UPDATE request_stamps SET scope = 'host' WHERE scope = '*'",
            "a row of request_stamps is not as it was written",
        ),
        ("UPDATE request_stamps SET wall_s = 9", "a row of request_stamps is not as it was written"),
        ("UPDATE entries SET held = '2E0'", "entries hold a value that cannot be"),
        ("DELETE FROM attempts", "a row of entries belongs to none of attempts"),
        ("DROP INDEX attempts_by_state", "is not made as this version makes it"),
        ("ALTER TABLE items RENAME COLUMN looked TO found", "is not made as this version makes it"),
    ],
)
def test_rows_that_somebody_else_changed_are_told_and_nothing_is_guessed(tmp_path: Path, edit: str, words: str) -> None:
    path = tmp_path / "state.db"

    async def submit(store: Store) -> None:
        lines = items(item("a"))
        batch = await store.load_batch("b", realm=Realm.REAL, manifest="b.jsonl", items=lines, has_past=True)
        await store.adopt(batch, [], {})
        attempt = await claimed(store, batch)
        await store.add_stamp(LOST_SCOPE, Stamp("e", 1.0, 100.0), keep=1)
        await store.add_stamp("host", Stamp("e", 2.0, 101.0), keep=4)
        for event in (Event.SEND, Event.ACCEPT):
            attempt = await store.apply(attempt, event, {}, Facts(task_id="t"))

    with_store(path, submit)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(edit)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=re.escape(words)):
        with_store(path, loaded_only)
    assert path.read_bytes() == before
