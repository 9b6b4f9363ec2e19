"""Proves that the balances, holds and charges a store keeps are what the moves of its entries add up to."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from itertools import groupby

from batch_runner import ledger
from batch_runner.ledger import ZERO, Account, Balances, Entry, Move
from batch_runner.records import credits_text
from batch_runner.store.entries import entry_of

_Pot = tuple[int, str]
"""A batch and a pack: the ledger keeps balances for each."""


def disagreement(db: sqlite3.Connection) -> str | None:
    """Where the newest balances are not the sums of the moves, or None: cheap enough for every opening of a store."""
    summed, kept = _sums(db), _newest(db)
    for pot in sorted({*summed, *kept}):
        is_, should_be = kept.get(pot, Balances()), summed.get(pot, Balances())
        if is_ != should_be:
            return f"batch {pot[0]}, {pot[1]} credits: {_words(is_)}, but its entries add up to {_words(should_be)}"
    return None


def _sums(db: sqlite3.Connection) -> dict[_Pot, Balances]:
    """Equal moves are counted by SQLite and added up here, where credits are decimals."""
    rows = db.execute(
        "SELECT e.batch_id, e.pack, m.source, m.target, m.credits, count(*) AS times"
        " FROM entries e JOIN moves m USING (seq) GROUP BY e.batch_id, e.pack, m.source, m.target, m.credits"
    )
    moves: defaultdict[_Pot, list[tuple[Move, int]]] = defaultdict(list)
    for row in rows:
        moves[row["batch_id"], row["pack"]].append((_move(row), row["times"]))
    return {pot: ledger.sums(made) for pot, made in moves.items()}


def _newest(db: sqlite3.Connection) -> dict[_Pot, Balances]:
    rows = db.execute(
        "SELECT batch_id, pack, consumed, held FROM entries WHERE seq IN"
        " (SELECT max(seq) FROM entries GROUP BY batch_id, pack)"
    )
    return {(row["batch_id"], row["pack"]): _balances(row) for row in rows}


def faults(db: sqlite3.Connection) -> list[str]:
    """Everything of money that does not follow from the moves, entry by entry; empty when the ledger is sound."""
    held: dict[int, Decimal] = {}
    charged: dict[int, Decimal] = {}
    found = list(_entry_faults(db, held, charged))
    for row in db.execute("SELECT attempt_id, external_task_id, held, charged FROM attempts"):
        is_ = Decimal(row["held"]), Decimal(row["charged"] or 0)
        should_be = held.get(row["attempt_id"], ZERO), charged.get(row["attempt_id"], ZERO)
        if is_ != should_be:
            found.append(f"attempt {row['external_task_id']}: its hold and charge are not what its entries say")
    return found


def _entry_faults(db: sqlite3.Connection, held: dict[int, Decimal], charged: dict[int, Decimal]) -> Iterator[str]:
    """Follows all entries; leaves in ``held`` and ``charged`` what the attempts have in the end."""
    after: defaultdict[_Pot, Balances] = defaultdict(Balances)
    for row, entry in _entries(db):
        attempt_id, pot = row["attempt_id"], (row["batch_id"], row["pack"])
        was_held = held.pop(attempt_id, None)
        if (entry.entry == "hold") == (was_held is not None):
            yield f"entry {row['seq']}: a hold was opened twice, or settled without being open"
        if entry != entry_of(entry.entry, entry.credits, was_held or ZERO):
            yield f"entry {row['seq']}: its moves are not those of this {entry.entry}"
        after[pot] = entry.apply(after[pot])
        if after[pot] != _balances(row):
            yield f"entry {row['seq']}: {_words(_balances(row))}, but its moves add up to {_words(after[pot])}"
        if entry.entry == "hold":
            held[attempt_id] = entry.credits
        charged[attempt_id] = entry.legs[Account.CONSUMED]


def _entries(db: sqlite3.Connection) -> Iterator[tuple[sqlite3.Row, Entry]]:
    rows = db.execute(
        "SELECT e.seq, e.batch_id, e.pack, e.entry, e.credits AS total, e.attempt_id, e.consumed, e.held,"
        " m.source, m.target, m.credits FROM entries e LEFT JOIN moves m USING (seq) ORDER BY e.seq, m.number"
    )
    for _, group in groupby(rows, key=lambda row: row["seq"]):
        made = list(group)
        moves = tuple(_move(row) for row in made if row["source"] is not None)
        yield made[0], Entry(made[0]["entry"], Decimal(made[0]["total"]), moves)


def _move(row: sqlite3.Row) -> Move:
    return Move(Account(row["source"]), Account(row["target"]), Decimal(row["credits"]))


def _balances(row: sqlite3.Row) -> Balances:
    return Balances(Decimal(row["consumed"]), Decimal(row["held"]))


def _words(balances: Balances) -> str:
    return f"{credits_text(balances.consumed)} consumed and {credits_text(balances.held)} held"
