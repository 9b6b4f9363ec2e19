"""Writes entries with the moves they make, and keeps the balances after them."""

from __future__ import annotations

import sqlite3
from decimal import Decimal

from batch_runner import ledger
from batch_runner.ledger import ZERO, Account, Balances, Entry
from batch_runner.records import credits_text
from batch_runner.store.rows import Attempt, Terms


def balances(db: sqlite3.Connection, batch_id: int, pack: str) -> Balances:
    """The pack's balances after its newest entry."""
    row = db.execute(
        "SELECT consumed, held FROM entries WHERE batch_id = ? AND pack = ? ORDER BY seq DESC LIMIT 1",
        (batch_id, pack),
    ).fetchone()
    return Balances() if row is None else Balances(Decimal(row["consumed"]), Decimal(row["held"]))


def write(db: sqlite3.Connection, attempt: Attempt, entry: Entry, terms: Terms, charge_source: str | None) -> None:
    """Write the entry, its moves and the balances after it, and settle or open the attempt's hold.

    ``charge_source`` tells of a charge whose figure it is, ``server`` or ``estimate``.
    """
    after = entry.apply(balances(db, attempt.batch_id, attempt.pack))
    budget = terms.budgets.get(attempt.pack)
    cursor = db.execute(
        "INSERT INTO entries (batch_id, at, epoch, uptime_s, entry, pack, credits, attempt_id, task_id, consumed, held,"
        " budget) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (attempt.batch_id, terms.now.wall_s, terms.now.epoch, terms.now.uptime_s, entry.entry, attempt.pack.value,
         credits_text(entry.credits), attempt.attempt_id, attempt.task_id, credits_text(after.consumed),
         credits_text(after.held), None if budget is None else credits_text(budget)),
    )  # fmt: skip
    assert cursor.lastrowid is not None
    _write_moves(db, cursor.lastrowid, entry)
    charged = credits_text(entry.credits) if entry.entry == "charge" else None
    db.execute(
        "UPDATE attempts SET held = ?, charged = ?, charge_source = ? WHERE attempt_id = ?",
        (credits_text(max(entry.legs[Account.HELD], ZERO)), charged, charged and charge_source, attempt.attempt_id),
    )


def _write_moves(db: sqlite3.Connection, seq: int, entry: Entry) -> None:
    db.executemany(
        "INSERT INTO moves (seq, number, source, target, credits) VALUES (?, ?, ?, ?, ?)",
        [
            (seq, number, move.source.value, move.target.value, credits_text(move.credits))
            for number, move in enumerate(entry.moves, start=1)
        ],
    )


def backfill(db: sqlite3.Connection) -> None:
    """Give the entries of a store that knew no moves the ones they made."""
    held: dict[int, Decimal] = {}
    for row in db.execute("SELECT seq, attempt_id, entry, credits FROM entries ORDER BY seq").fetchall():
        entry = entry_of(row["entry"], Decimal(row["credits"]), held.pop(row["attempt_id"], ZERO))
        if entry.entry == "hold":
            held[row["attempt_id"]] = entry.credits
        _write_moves(db, row["seq"], entry)


def entry_of(word: str, credits_: Decimal, held: Decimal) -> Entry:
    """The entry of this word and these credits, made while ``held`` was the attempt's open hold."""
    if word == "hold":
        return ledger.hold(credits_)
    return ledger.charge(held, credits_) if word == "charge" else ledger.release(held)
