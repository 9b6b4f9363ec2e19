"""Attempts and the money they move: one function, one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from decimal import Decimal

from batch_runner import catalog, ledger, lifecycle
from batch_runner.budgets import Shortage
from batch_runner.lifecycle import SLOT_HOLDING, Event, ExternalId, Money, State
from batch_runner.model import Pack
from batch_runner.store import chains, entries, windows
from batch_runner.store.rows import Attempt, Batch, Claim, Facts, HoldAge, Moment, StoredFile, Terms

_SELECT = (
    "SELECT a.*, i.batch_id, i.item_id, i.kind, i.model, i.slots, i.body, i.in_manifest"
    " FROM attempts a JOIN items i USING (item_key)"
)


def _attempt(row: sqlite3.Row) -> Attempt:
    return Attempt(
        attempt_id=row["attempt_id"],
        batch_id=row["batch_id"],
        item_id=row["item_id"],
        kind=row["kind"],
        model=row["model"],
        slots=row["slots"],
        body=row["body"],
        number=row["number"],
        external_task_id=row["external_task_id"],
        state=State(row["state"]),
        task_id=row["task_id"],
        pack=Pack(row["pack"]),
        estimate=Decimal(row["estimate"]),
        submitted_at=row["submitted_at"],
        sends=row["sends"],
        in_manifest=bool(row["in_manifest"]),
    )


def get(db: sqlite3.Connection, attempt_id: int) -> Attempt:
    """One attempt by its key."""
    row = db.execute(_SELECT + " WHERE a.attempt_id = ?", (attempt_id,)).fetchone()
    return _attempt(row)


def in_states(db: sqlite3.Connection, batch_id: int, states: Sequence[State]) -> list[Attempt]:
    """The batch's attempts in these states, oldest first; lines that left the manifest included."""
    rows = db.execute(
        _SELECT + " WHERE i.batch_id = ? AND a.state IN (SELECT value FROM json_each(?)) ORDER BY a.attempt_id",
        (batch_id, json.dumps([state.value for state in states])),
    )
    return [_attempt(row) for row in rows]


def in_flight_elsewhere(db: sqlite3.Connection, batch: Batch) -> list[Attempt]:
    """Attempts of other batches in the batch's realm whose task may be in flight, oldest first."""
    states = json.dumps(sorted(SLOT_HOLDING - {State.READY}))
    rows = db.execute(
        _SELECT + " JOIN batches b USING (batch_id) WHERE b.realm = ? AND b.batch_id <> ?"
        " AND a.state IN (SELECT value FROM json_each(?)) ORDER BY a.attempt_id",
        (batch.realm.value, batch.batch_id, states),
    )
    return [_attempt(row) for row in rows]


def hold_ages(db: sqlite3.Connection, batch_id: int, now: Moment) -> dict[int, HoldAge]:
    """How old the newest hold of each attempt is that may have a slot; one of no credits is as old as any other."""
    rows = db.execute(
        "SELECT a.attempt_id, max(e.seq), e.at, e.epoch, e.uptime_s FROM entries e JOIN attempts a USING (attempt_id)"
        " WHERE e.batch_id = ? AND e.entry = 'hold' AND a.state IN (SELECT value FROM json_each(?))"
        " GROUP BY a.attempt_id",
        (batch_id, json.dumps(sorted(SLOT_HOLDING))),
    )
    return {row["attempt_id"]: _hold_age(row, now) for row in rows}


def _hold_age(row: sqlite3.Row, now: Moment) -> HoldAge:
    is_of_this_boot = row["epoch"] == now.epoch
    boot_s = max(0.0, now.uptime_s - row["uptime_s"]) if is_of_this_boot else None
    return HoldAge(boot_s, now.wall_s - row["at"])


def claim_next(db: sqlite3.Connection, batch_id: int, terms: Terms, slots: int) -> Claim:
    """Take the next queued item that fits the budget: mint its attempt and hold its credits.

    Highest priority first, then manifest order; an item that does not fit does not delay those that do: neither one
    dearer than what the budget leaves, nor one that needs more than ``slots``, nor one that waits for its sources.
    """
    if not terms.budgets and not terms.rolling:
        row = db.execute(f"SELECT item_key FROM items {_QUEUED} {_TURN}", (batch_id, slots)).fetchone()
        return Claim(None if row is None else _claim(db, row["item_key"], terms))
    prices = db.execute(f"SELECT DISTINCT pack, credits FROM items {_QUEUED}", (batch_id, _ANY_SLOTS)).fetchall()
    purses = {row["pack"]: windows.purse(db, batch_id, row["pack"], terms) for row in prices}
    needs = {(row["pack"], row["credits"]): terms.book.with_buffer(Decimal(row["credits"])) for row in prices}
    fitting = [price for price, needed in needs.items() if purses[price[0]].fits(needed)]
    if not fitting:
        return Claim(None, _shortages(db, batch_id, terms))
    marks = ", ".join("(?, ?)" for _ in fitting)
    values = [value for pair in fitting for value in pair]
    query = f"SELECT item_key FROM items {_QUEUED} AND (pack, credits) IN (VALUES {marks}) {_TURN}"
    row = db.execute(query, (batch_id, slots, *values)).fetchone()
    return Claim(None if row is None else _claim(db, row["item_key"], terms))


def _shortages(db: sqlite3.Connection, batch_id: int, terms: Terms) -> tuple[Shortage, ...]:
    """What stops the cheapest item of each pack that has no room: queued, or a call a lost store may have paid for."""
    calls = json.dumps(sorted(catalog.answered_at_once()))
    prices = db.execute(f"SELECT DISTINCT pack, credits FROM items {_WAITING}", (batch_id, calls)).fetchall()
    purses = {row["pack"]: windows.purse(db, batch_id, row["pack"], terms) for row in prices}
    needs: dict[str, Decimal] = {}
    for row in prices:
        needed = terms.book.with_buffer(Decimal(row["credits"]))
        if not purses[row["pack"]].fits(needed):
            needs[row["pack"]] = min(needed, needs.get(row["pack"], needed))
    return tuple(short for pack, needed in needs.items() for short in purses[pack].shortages(needed, terms.now.wall_s))


_IN_LINE = "WHERE batch_id = ? AND status = 'queued' AND in_manifest = 1 AND waits = 0"
_QUEUED = f"{_IN_LINE} AND looked = 1 AND slots <= ?"
_WAITING = f"{_IN_LINE} AND (looked = 1 OR kind IN (SELECT value FROM json_each(?)))"
_ANY_SLOTS = 1_000_000
_TURN = "ORDER BY priority DESC, line, item_key LIMIT 1"


def _claim(db: sqlite3.Connection, item_key: int, terms: Terms) -> Attempt:
    item = db.execute(
        "SELECT i.*, b.name FROM items i JOIN batches b USING (batch_id) WHERE item_key = ?", (item_key,)
    ).fetchone()
    last = db.execute("SELECT * FROM attempts WHERE item_key = ? ORDER BY number DESC LIMIT 1", (item_key,)).fetchone()
    if last is not None and last["state"] == State.WITHDRAWN and last["fingerprint"] == item["fingerprint"]:
        db.execute("UPDATE attempts SET estimate = ? WHERE attempt_id = ?", (item["credits"], last["attempt_id"]))
        return apply(db, last["attempt_id"], Event.HOLD, Facts(), terms)
    if last is not None and State(last["state"]) not in lifecycle.RETRYABLE | {State.WITHDRAWN}:
        raise AssertionError(f"attempt {last['external_task_id']} may live; another one must not be minted")
    number = 1 if last is None else last["number"] + 1
    return mint(db, item, ExternalId.of(item["name"], item["item_id"], number, item["fingerprint"]), terms)


def mint(db: sqlite3.Connection, item: sqlite3.Row, name: ExternalId, terms: Terms) -> Attempt:
    """A new attempt of an item under this name, in state READY, with its credits held."""
    cursor = db.execute(
        "INSERT INTO attempts (item_key, number, external_task_id, fingerprint, state, pack, estimate, held)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, '0')",
        (item["item_key"], name.number, str(name), item["fingerprint"], State.READY.value, item["pack"],
         item["credits"]),
    )  # fmt: skip
    assert cursor.lastrowid is not None
    _book(db, get(db, cursor.lastrowid), Money.HOLD, Facts(), terms)
    db.execute(
        "UPDATE items SET status = 'active', reason = NULL, error_code = NULL, error_message = NULL WHERE item_key = ?",
        (item["item_key"],),
    )
    return get(db, cursor.lastrowid)


_SUBMITTED = frozenset({Event.ACCEPT, Event.SUCCEED, Event.FAIL})
_FINISHED = frozenset({Event.SUCCEED, Event.FAIL, Event.REFUSE, Event.GIVE_UP})
_NOT_TAKEN_IN = frozenset({(State.SENDING, Event.PUT_BACK), (State.SENDING, Event.WITHDRAW)})
"""What was put off, or refused for the account's sake, never made a task: the sendings that count are those whose fate
was open once."""


def apply(db: sqlite3.Connection, attempt_id: int, event: Event, facts: Facts, terms: Terms) -> Attempt:
    """Record an event: the next state, its money and what became known, together.

    Raises:
        lifecycle.IllegalEventError: the event cannot happen in the attempt's state; nothing is changed.
    """
    attempt = get(db, attempt_id)
    step = lifecycle.step(attempt.state, event)
    if event is Event.PUBLISH:
        _require_every_file(db, attempt)
    at_s = terms.now.wall_s
    made = json.dumps(dict(facts.made)) if facts.made else None
    sends = (event is Event.SEND) - ((attempt.state, event) in _NOT_TAKEN_IN)
    db.execute(
        "UPDATE attempts SET state = ?, task_id = CASE WHEN ? THEN NULL ELSE coalesce(?, task_id) END,"
        " made = coalesce(?, made), sends = sends + ?,"
        " submitted_at = CASE WHEN ? THEN coalesce(submitted_at, ?) ELSE submitted_at END,"
        " finished_at = CASE WHEN ? THEN coalesce(finished_at, ?) ELSE finished_at END WHERE attempt_id = ?",
        (step.state.value, event is Event.LOSE_ANSWER, facts.task_id, made, sends, event in _SUBMITTED, at_s,
         event in _FINISHED, at_s, attempt_id),
    )  # fmt: skip
    after = get(db, attempt_id)
    _book(db, after, step.money, facts, terms)
    _stand(db, after, facts)
    if attempt.state is State.ASSET_GONE and after.state is State.PUBLISHED:
        chains.queue_dependents_of(db, after.batch_id, after.item_id)
    return after


def _require_every_file(db: sqlite3.Connection, attempt: Attempt) -> None:
    """What would be read as damage at the next opening is not written."""
    query = "SELECT count(*), coalesce(max(count), 1) FROM files WHERE attempt_id = ?"
    recorded, made = db.execute(query, (attempt.attempt_id,)).fetchone()
    if recorded != made:
        text = f"{recorded} of the {made} files of {attempt.external_task_id} are recorded; it must not be published"
        raise AssertionError(text)


def _book(db: sqlite3.Connection, attempt: Attempt, money: Money, facts: Facts, terms: Terms) -> None:
    """Make the entry of a step, if it makes one."""
    held = Decimal(db.execute("SELECT held FROM attempts WHERE attempt_id = ?", (attempt.attempt_id,)).fetchone()[0])
    entry = ledger.entry_for(money, held, attempt.estimate, facts.charged, terms.book)
    if entry is not None:
        entries.write(db, attempt, entry, terms, "estimate" if facts.charged is None else "server")


_UNTOLD = {
    State.FAILED: "generation",
    State.REFUSED: "rejected",
    State.LOST: "unresolved",
    State.ASSET_GONE: "asset",
}
"""Why an item failed, where nobody told more than how: a failed item always has a reason."""


def _stand(db: sqlite3.Connection, attempt: Attempt, facts: Facts) -> None:
    """Let the item's row say where its newest attempt leaves it; news of an older one changes nothing there."""
    word = lifecycle.item_status(attempt.state)
    status = word if word in {"succeeded", "failed"} else "active"
    if attempt.state is State.WITHDRAWN:
        status = "queued"
    reason = facts.reason or _UNTOLD.get(attempt.state)
    db.execute(
        "UPDATE items SET status = ?, reason = ?, error_code = ?, error_message = ?"
        " WHERE item_key = (SELECT item_key FROM attempts WHERE attempt_id = ?)"
        " AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.item_key = items.item_key AND a.number > ?)",
        (status, reason, facts.error_code, facts.error_message, attempt.attempt_id, attempt.number),
    )
    chains.tell_dependents(db, attempt.batch_id, attempt.item_id)


def record_file(db: sqlite3.Connection, attempt_id: int, file: StoredFile) -> None:
    """Make a file's digest durable before it gets its final name."""
    db.execute(
        "INSERT OR REPLACE INTO files (attempt_id, ordinal, path, bytes, sha256, count) VALUES (?, ?, ?, ?, ?, ?)",
        (attempt_id, file.ordinal, file.path, file.bytes, file.sha256, file.count),
    )


def files_of(db: sqlite3.Connection, attempt_id: int) -> list[StoredFile]:
    """The attempt's recorded files in order."""
    rows = db.execute("SELECT * FROM files WHERE attempt_id = ? ORDER BY ordinal", (attempt_id,))
    return [StoredFile(row["ordinal"], row["path"], row["bytes"], row["sha256"], row["count"]) for row in rows]


def give_reasons(db: sqlite3.Connection, batch_id: int, queued: str | None, active: str | None) -> None:
    """Say of every item that is not finished why this run leaves it there.

    An item that waits for its files or is overdue says so already; one whose fate is open is unresolved.
    """
    db.execute(
        "UPDATE items SET reason = ? WHERE batch_id = ? AND status = 'queued' AND reason IS NOT ?",
        (queued, batch_id, queued),
    )
    db.execute(
        "UPDATE items SET reason = ? WHERE batch_id = ? AND status = 'active'"
        " AND coalesce(reason, '') NOT IN ('asset', 'overdue') AND item_key IN"
        " (SELECT item_key FROM attempts WHERE state IN ('ready', 'in_flight', 'succeeded'))",
        (active, batch_id),
    )


def mark(db: sqlite3.Connection, attempt_id: int, reason: str, message: str | None) -> None:
    """Note why an attempt's item waits where it is, without any event."""
    db.execute(
        "UPDATE items SET reason = ?, error_message = ?"
        " WHERE item_key = (SELECT item_key FROM attempts WHERE attempt_id = ?)",
        (reason, message, attempt_id),
    )
