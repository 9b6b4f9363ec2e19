"""Double entry in the store: balances are sums of moves at every prefix, and a store where they are not is told."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_kit import item, items, with_store

from batch_runner import catalog
from batch_runner.errors import StoreError
from batch_runner.ledger import Account, Move, sums
from batch_runner.lifecycle import TRANSITIONS, Event
from batch_runner.model import Realm
from batch_runner.store import Attempt, Facts, SqliteStore, Store, StoreReader
from batch_runner.store.connection import BrokenStoreError
from batch_runner.virtual_time import VirtualClock, run_virtual

BUDGETS = {"video": Decimal(12)}


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        return list(db.execute(query))


def faults(path: Path) -> list[str]:
    with StoreReader.open(path) as reader:
        return reader.ledger_faults()


def summed(path: Path) -> dict[str, Any]:
    moves = rows(path, "SELECT source, target, credits FROM moves")
    balances = sums((Move(Account(source), Account(target), Decimal(text)), 1) for source, target, text in moves)
    return {"consumed": balances.consumed, "held": balances.held}


events = st.lists(
    st.tuples(st.sampled_from([*Event, "claim"]), st.integers(0, 4), st.sampled_from([None, "0", "1.5", "2", "4.25"])),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(events)
def test_after_every_transaction_the_balances_are_the_sums_of_the_moves(
    steps: list[tuple[Event | str, int, str | None]],
) -> None:
    async def play(store: Store, path: Path) -> None:
        batch = await store.load_batch(
            "b", realm=Realm.REAL, manifest="m", items=items(*(item(f"i{n}", n + 1) for n in range(5)))
        )
        await store.adopt(batch, [], {})
        attempts: list[Attempt] = []
        entries = 0
        for event, which, charged in steps:
            if event == "claim":
                claim = await store.claim_next(batch, BUDGETS)
                if claim.attempt is not None:  # perhaps one that was withdrawn before
                    again = claim.attempt.attempt_id
                    attempts = [*(each for each in attempts if each.attempt_id != again), claim.attempt]
            elif which < len(attempts) and (attempts[which].state, event) in TRANSITIONS:
                facts = Facts(task_id="t", charged=None if charged is None else Decimal(charged))
                attempts[which] = await store.apply(attempts[which], Event(event), BUDGETS, facts)
            assert faults(path) == []
            ledger = await store.ledger(batch)
            for entry in ledger[entries:]:
                assert entry.budget is not None
                assert entry.entry != "hold" or entry.consumed + entry.held <= entry.budget
            entries = len(ledger)
            balances = await store.balances(batch, "video")
            assert {"consumed": balances.consumed, "held": balances.held} == summed(path)

    with TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        with_store(path, lambda store: play(store, path))


def played(path: Path) -> None:
    """Two charges, one of them at another figure than its hold, a release, and an open hold."""

    async def play(store: Store) -> None:
        batch = await store.load_batch(
            "b", realm=Realm.REAL, manifest="m", items=items(*(item(f"i{n}", n + 1) for n in range(4)))
        )
        await store.adopt(batch, [], {})
        for charged in ("2", "2.5", None):
            attempt = (await store.claim_next(batch, BUDGETS)).attempt
            assert attempt is not None
            for event in (Event.SEND, Event.ACCEPT, Event.SUCCEED if charged else Event.FAIL):
                facts = Facts(task_id="t", charged=None if charged is None else Decimal(charged))
                attempt = await store.apply(attempt, event, BUDGETS, facts)
        await store.claim_next(batch, BUDGETS)

    with_store(path, play)


def test_moves_are_written_with_their_entries(tmp_path: Path) -> None:
    played(tmp_path / "state.db")
    assert rows(
        tmp_path / "state.db", "SELECT entry, number, source, target, m.credits FROM entries JOIN moves m USING (seq)"
    ) == [
        ("hold", 1, "available", "held", "2"),
        ("charge", 1, "held", "consumed", "2"),
        ("hold", 1, "available", "held", "2"),
        ("charge", 1, "held", "consumed", "2"),
        ("charge", 2, "available", "consumed", "0.5"),
        ("hold", 1, "available", "held", "2"),
        ("release", 1, "held", "available", "2"),
        ("hold", 1, "available", "held", "2"),
    ]
    assert faults(tmp_path / "state.db") == []


@pytest.mark.parametrize(
    ("tampering", "words", "is_in_sums"),
    [
        ("UPDATE entries SET consumed = '4' WHERE seq = 7", "4 consumed and 2 held", True),
        ("UPDATE entries SET held = '0' WHERE seq = 7", "4.5 consumed and 0 held", True),
        ("UPDATE moves SET credits = '0.4' WHERE seq = 4 AND number = 2", "add up to 4.4 consumed", True),
        ("DELETE FROM moves WHERE seq = 6", "add up to 4.5 consumed and 4 held", True),
        ("UPDATE entries SET consumed = '3' WHERE seq = 4", "entry 4: 3 consumed", False),
        ("UPDATE entries SET entry = 'release' WHERE seq = 2", "its moves are not those of this release", False),
        ("UPDATE entries SET entry = 'hold' WHERE seq = 2", "a hold was opened twice", False),
        ("UPDATE attempts SET held = '0' WHERE attempt_id = 4", "its hold and charge are not", False),
        ("UPDATE attempts SET charged = '2.4' WHERE attempt_id = 2", "its hold and charge are not", False),
    ],
)
def test_a_ledger_that_does_not_add_up_is_told(tmp_path: Path, tampering: str, words: str, *, is_in_sums: bool) -> None:
    path = tmp_path / "state.db"
    played(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(tampering)
        db.commit()
    assert any(words in fault for fault in faults(path)), faults(path)

    async def look(_: Store) -> None:
        return

    before = path.read_bytes()
    with pytest.raises(StoreError, match="does not add up" if is_in_sums else "is not as it was written"):
        with_store(path, look)
    assert path.read_bytes() == before


def as_schema_1(path: Path) -> None:
    """Write the store as schema 1 would have it: its tables, its columns, the rows as they are."""
    script = files("batch_runner.store").joinpath("sql/schema_1.sql").read_text(encoding="utf-8")
    new = path.with_name("schema-1.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        application = db.execute("PRAGMA application_id").fetchone()[0]
        with closing(sqlite3.connect(new, isolation_level=None)) as made:
            made.executescript(f"PRAGMA journal_mode = WAL; PRAGMA application_id = {application}; {script}")
            made.execute("PRAGMA user_version = 1")
            tables = [row[0] for row in made.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                columns = ", ".join(row[1] for row in made.execute(f"PRAGMA table_info({table})"))
                found = list(db.execute(f"SELECT {columns} FROM {table}"))
                marks = ", ".join("?" * (columns.count(",") + 1))
                made.executemany(f"INSERT INTO {table} VALUES ({marks})", found)
    new.replace(path)


def test_entries_of_schema_1_get_the_moves_they_made(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    played(path)
    moves = rows(path, "SELECT * FROM moves")
    as_schema_1(path)

    async def look(_: Store) -> None:
        return

    with_store(path, look)
    assert rows(path, "SELECT * FROM moves") == moves
    assert faults(path) == []


def break_the_disk_below(path: Path) -> None:
    """Nothing can be read from the open file any more."""
    [held] = [fd for fd in Path("/proc/self/fd").iterdir() if fd.exists() and fd.resolve() == path.resolve()]
    os.close(int(held.name))


def test_a_disk_that_fails_while_rows_are_checked_is_what_is_told(tmp_path: Path) -> None:
    """Giving up the view of one moment failed too, and hid it."""
    path = tmp_path / "state.db"
    played(path)
    with pytest.raises(BrokenStoreError, match="disk"), StoreReader.open(path) as reader:  # noqa: PT012 - breaks while open
        break_the_disk_below(path)
        reader.require_sound()


def test_a_store_of_schema_1_is_looked_at_without_changing_it(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    played(path)
    as_schema_1(path)
    before = path.read_bytes()
    assert faults(path) == []
    with StoreReader.open(path) as reader:
        assert len(reader.ledger(reader.batches()[0])) == 7
    assert path.read_bytes() == before


def test_a_store_of_schema_1_that_does_not_add_up_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    played(path)
    as_schema_1(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE entries SET consumed = '4.4' WHERE seq >= 4")
        db.commit()

    async def look(_: Store) -> None:
        raise AssertionError("it must not open")

    with pytest.raises(StoreError, match="does not add up"):
        with_store(path, look)
    assert rows(path, "PRAGMA user_version") == [(1,)]


def test_the_price_books_buffer_is_held_and_its_failures_are_charged(tmp_path: Path) -> None:
    async def main() -> None:
        clock = VirtualClock(asyncio.get_running_loop())
        store = await SqliteStore.open(tmp_path / "state.db", clock, book=catalog.price_books()["app"])
        batch = await store.load_batch("b", realm=Realm.REAL, manifest="m", items=items(item("a", 1), item("b", 2)))
        await store.adopt(batch, [], {})
        budgets = {"video": Decimal("4.7")}
        attempt = (await store.claim_next(batch, budgets)).attempt
        assert attempt is not None
        assert (await store.balances(batch, "video")).held == Decimal("2.4")
        assert (await store.claim_next(batch, budgets)).blocked, "2.4 of 4.7 are held, and 2.3 are too few"
        for event in (Event.SEND, Event.ACCEPT, Event.FAIL):
            attempt = await store.apply(attempt, event, budgets, Facts(task_id="t"))
        assert (await store.balances(batch, "video")).consumed == 2
        assert (await store.claim_next(batch, budgets)).attempt is not None
        await store.close()

    run_virtual(main)
    assert rows(tmp_path / "state.db", "SELECT charged, charge_source FROM attempts") == [
        ("2", "estimate"),
        (None, None),
    ]
    assert faults(tmp_path / "state.db") == []
