"""Items that take the results of others: who waits, who may go, who never will."""

from __future__ import annotations

import dataclasses
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from store_kit import item, items, with_store

from batch_runner import catalog
from batch_runner.budgets import RollingBudget
from batch_runner.errors import StoreError
from batch_runner.lifecycle import Event, State
from batch_runner.model import Generation, Item, Realm, Route
from batch_runner.store import Attempt, Batch, Facts, SqliteStore, Store, StoredFile


async def loaded(store: Store, *rows: Item) -> Batch:
    batch = await store.load_batch("b", realm=Realm.SANDBOX, manifest="b.jsonl", items=items(*rows))
    await store.adopt(batch, [], {})
    return batch


def after(item_id: str, line: int, *sources: str, slots: int = 1) -> Item:
    return dataclasses.replace(item(item_id, line), sources=sources, slots=slots)


async def claimed_ids(store: Store, batch: Batch, slots: int = 9) -> list[str]:
    found = []
    while (claim := await store.claim_next(batch, {}, slots)).attempt is not None:
        found.append(claim.attempt.item_id)
    return found


async def bring_to(store: Store, batch: Batch, item_id: str, *events: Event, **facts: object) -> Attempt:
    [attempt] = [each for each in await store.in_states(batch, list(State)) if each.item_id == item_id]
    for event in events:
        if event is Event.PUBLISH:
            await store.record_file(attempt, StoredFile(0, f"b/{item_id}.mp4", 4, "0" * 64, 1))
        attempt = await store.apply(attempt, event, {}, Facts(**facts))  # type: ignore[arg-type]  # any fact
    return attempt


def test_an_item_waits_until_every_source_has_succeeded(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, after("film", 1, "hero", "voice"), item("hero", 2), item("voice", 3))
        assert await claimed_ids(store, batch) == ["hero", "voice"]
        await bring_to(store, batch, "hero", Event.SEND, Event.ACCEPT, Event.SUCCEED, Event.PUBLISH)
        assert await claimed_ids(store, batch) == []
        await bring_to(store, batch, "voice", Event.SEND, Event.SUCCEED, Event.PUBLISH)
        assert await claimed_ids(store, batch) == ["film"]

    with_store(tmp_path / "state.db", work)


def test_what_a_source_made_can_be_had_once_it_is_published(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("hero"))
        await claimed_ids(store, batch)
        await bring_to(store, batch, "hero", Event.SEND, Event.ACCEPT)
        await bring_to(store, batch, "hero", Event.SUCCEED, made={"video_id": "v-1"}, charged=Decimal(2))
        assert await store.source(batch, "hero") is None
        await bring_to(store, batch, "hero", Event.PUBLISH)
        source = await store.source(batch, "hero")
        assert source is not None
        assert (source.made, [file.path for file in source.files]) == ({"video_id": "v-1"}, ["b/hero.mp4"])

    with_store(tmp_path / "state.db", work)


def test_a_failed_source_fails_all_that_hangs_on_it_until_it_is_tried_again(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        rows = (item("hero"), after("walk", 2, "hero"), after("longer", 3, "walk"), item("other", 4))
        batch = await loaded(store, *rows)
        await claimed_ids(store, batch)
        await bring_to(store, batch, "hero", Event.SEND, Event.ACCEPT, Event.FAIL, reason="generation")
        told = await store.fail_dependents(batch)
        assert [name for name, _ in told] == ["walk", "longer"]
        assert "'hero'" in told[0][1]
        results = {row.id: row for row in await store.results(batch)}
        assert [results[name].status for name in ("walk", "longer", "other")] == ["failed", "failed", "pending"]
        assert (results["walk"].reason, results["walk"].attempts) == ("source", 0)
        assert (await store.counts(batch)).failed == 3
        await loaded(store, *rows)
        assert (await store.counts(batch)).failed == 3, "loading the manifest again changes nothing"
        await store.queue_failed(batch)
        assert (await store.counts(batch)).failed == 0
        assert await claimed_ids(store, batch) == ["hero"]

    with_store(tmp_path / "state.db", work)


def test_a_task_of_several_images_waits_for_as_many_slots_and_delays_nobody(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, after("nine", 1, slots=9), item("one", 2), item("two", 3))
        assert await claimed_ids(store, batch, slots=3) == ["one", "two"]
        claim = await store.claim_next(batch, {"video": Decimal(100)}, 3)
        assert (claim.attempt, claim.blocked) == (None, False), "it is no matter of the budget"
        assert await claimed_ids(store, batch, slots=9) == ["nine"]

    with_store(tmp_path / "state.db", work)


def test_a_lost_answer_that_is_given_up_is_charged_and_may_be_tried_again(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        batch = await loaded(store, item("say"))
        await claimed_ids(store, batch)
        attempt = await bring_to(store, batch, "say", Event.SEND, Event.LOSE_ANSWER, Event.GIVE_UP)
        assert attempt.state is State.LOST
        assert (await store.balances(batch, "video")).consumed == Decimal(2)
        await store.queue_item(batch, "say")
        claim = await store.claim_next(batch, {})
        assert claim.attempt is not None
        assert claim.attempt.number == 2

    with_store(tmp_path / "state.db", work)


def answer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = Route(Generation.V1, "/v1/audio/tts", None, "audios")
    monkeypatch.setattr(catalog, "route", lambda _kind, _model: at_once)


async def load_after_a_loss(store: Store) -> Batch:
    rows = items(item("say"))
    return await store.load_batch("b", realm=Realm.SANDBOX, manifest="b.jsonl", items=rows, has_past=True)


@pytest.mark.parametrize("has_file", [True, False])
def test_a_call_that_a_lost_store_forgot_counts_at_its_price_and_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_file: bool
) -> None:
    answer_at_once(monkeypatch)

    async def work(store: Store) -> None:
        batch = await load_after_a_loss(store)
        assert await store.unlooked_calls(batch) == [("say", "text2video")]
        files = [StoredFile(0, "b/say.mp3", 4, "0" * 64, 1)] if has_file else []
        await store.recover_call(batch, "say", files, {})
        assert await store.unlooked_calls(batch) == []
        counts, balances = await store.counts(batch), await store.balances(batch, "video")
        if has_file:
            assert (counts.succeeded, balances.consumed, balances.held) == (1, Decimal(2), Decimal(0))
        else:
            assert (counts.unknown, balances.consumed, balances.held) == (1, Decimal(0), Decimal(2))
        assert (await store.claim_next(batch, {})).attempt is None

    with_store(tmp_path / "state.db", work)


@pytest.mark.parametrize("rolls", [False, True])
def test_a_call_of_unknown_fate_is_taken_up_only_where_its_hold_with_the_buffer_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, rolls: bool
) -> None:
    """At its price alone it fitted, and what was held then was over the budget; rolling ones were not asked at all."""
    answer_at_once(monkeypatch)

    async def work(store: Store) -> None:
        batch = await load_after_a_loss(store)
        for credits_, is_taken in ((Decimal("2.1"), False), (Decimal("2.2"), True)):
            budgets = {} if rolls else {"video": credits_}
            rolling = [RollingBudget("video", 3600, credits_)] if rolls else []
            attempt = await store.recover_call(batch, "say", [], budgets, rolling)
            assert (attempt is not None) is is_taken
            assert (await store.balances(batch, "video")).held == (Decimal("2.2") if is_taken else 0)

    with_store(tmp_path / "state.db", work, dataclasses.replace(catalog.default_price_book(), buffer_pct=Decimal(10)))


def steps_of_an_event(path: Path, count: int) -> int:
    """How many steps SQLite takes to record an event in a batch of so many items."""
    taken: list[int] = []

    async def work(store: Store) -> None:
        batch = await loaded(store, *(item(f"i{number}", number + 1) for number in range(count)))
        claim = await store.claim_next(batch, {})
        assert claim.attempt is not None
        assert isinstance(store, SqliteStore)
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1

        store._connection.set_progress_handler(step, 1)
        await store.apply(claim.attempt, Event.SEND, {})
        store._connection.set_progress_handler(None, 1)
        taken.append(steps)

    with_store(path, work)
    return taken[0]


def test_an_event_costs_the_same_in_a_large_batch(tmp_path: Path) -> None:
    """It walked all items of the batch to find those that wait for this one."""
    small, large = (steps_of_an_event(tmp_path / f"{count}.db", count) for count in (10, 1000))
    assert large < 1.2 * small + 50


def test_a_source_that_somebody_exchanged_is_told(tmp_path: Path) -> None:
    """The item would wait for another one, or go before its own is there."""
    path = tmp_path / "state.db"

    async def load(store: Store) -> None:
        await loaded(store, after("film", 1, "hero"), item("hero", 2), item("voice", 3))

    with_store(path, load)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE sources SET source_id = 'voice'")
    with pytest.raises(StoreError, match="a row of sources is not as it was written"):
        with_store(path, load)
