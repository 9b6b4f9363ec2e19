"""What the ledger command reads: charges and holds by day, model and batch, and the attempts to look at."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal

from batch_runner.clock import iso_utc
from batch_runner.ledger import ZERO
from batch_runner.lifecycle import MAY_EXIST, State
from batch_runner.model import Pack
from batch_runner.records import CaseRecord, SpentRecord
from batch_runner.store.rows import BookedTask

_CHARGED = """
SELECT b.realm, b.name, date(e.at, 'unixepoch') AS day, i.model, i.kind, e.pack, a.estimate, e.credits,
       count(*) AS tasks
  FROM entries e JOIN attempts a USING (attempt_id) JOIN items i USING (item_key)
  JOIN batches b ON b.batch_id = e.batch_id
 WHERE e.entry = 'charge' AND e.batch_id IN (SELECT value FROM json_each(?))
 GROUP BY b.batch_id, day, i.model, i.kind, e.pack, a.estimate, e.credits
"""

_HELD = """
SELECT b.realm, b.name, '' AS day, i.model, i.kind, a.pack, a.held
  FROM attempts a JOIN items i USING (item_key) JOIN batches b USING (batch_id)
 WHERE a.held <> '0' AND b.batch_id IN (SELECT value FROM json_each(?))
"""

_BOOKED = """
SELECT b.realm, b.name, i.item_id, i.model, i.kind, i.error_message, a.*, e.at
  FROM attempts a JOIN items i USING (item_key) JOIN batches b USING (batch_id)
  JOIN (SELECT attempt_id, max(seq) AS seq FROM entries GROUP BY attempt_id) newest USING (attempt_id)
  JOIN entries e ON e.seq = newest.seq
 WHERE b.batch_id IN (SELECT value FROM json_each(?))
 ORDER BY a.attempt_id
"""

_Key = tuple[str, str, str, str, str, str]


def spent(db: sqlite3.Connection, batch_ids: Sequence[int]) -> list[SpentRecord]:
    """What the tasks of these batches were charged and hold, at the finest grain; equal rows are added up by SQLite."""
    ids = json.dumps(list(batch_ids))
    found: defaultdict[_Key, list[tuple[int, Decimal, Decimal, Decimal]]] = defaultdict(list)
    for row in db.execute(_CHARGED, (ids,)):
        tasks = row["tasks"]
        found[_key(row)].append((tasks, tasks * Decimal(row["estimate"]), tasks * Decimal(row["credits"]), ZERO))
    for row in db.execute(_HELD, (ids,)):
        found[_key(row)].append((0, ZERO, ZERO, Decimal(row["held"])))
    return [_spent(key, figures) for key, figures in sorted(found.items())]


def _key(row: sqlite3.Row) -> _Key:
    return (row["realm"], row["name"], row["day"], row["model"], row["kind"], row["pack"])


def _spent(key: _Key, figures: Sequence[tuple[int, Decimal, Decimal, Decimal]]) -> SpentRecord:
    tasks, estimated, consumed, held = (sum(column) for column in zip(*figures, strict=True))
    estimated, consumed, held = Decimal(estimated), Decimal(consumed), Decimal(held)
    return SpentRecord(*key, int(tasks), estimated, consumed, consumed - estimated, held)


def cases(db: sqlite3.Connection, batch_ids: Sequence[int]) -> Iterator[CaseRecord]:
    """The attempts of these batches that somebody may want to look at, in the order they were made."""
    for row in db.execute(_BOOKED, (json.dumps(list(batch_ids)),)):
        case = _case(row)
        if case is not None:
            yield CaseRecord(
                case=case,
                realm=row["realm"],
                batch=row["name"],
                item=row["item_id"],
                attempt=row["number"],
                model=row["model"],
                kind=row["kind"],
                pack=row["pack"],
                estimated=Decimal(row["estimate"]),
                charged=None if row["charged"] is None else Decimal(row["charged"]),
                held=Decimal(row["held"]),
                task_id=row["task_id"],
                external_task_id=row["external_task_id"],
                at=iso_utc(row["at"]),
            )


def booked(db: sqlite3.Connection, batch_ids: Sequence[int]) -> Iterator[BookedTask]:
    """Every attempt of these batches that the ledger has entries of, in the order they were made."""
    for row in db.execute(_BOOKED, (json.dumps(list(batch_ids)),)):
        yield BookedTask(
            batch=row["name"],
            item=row["item_id"],
            attempt=row["number"],
            task_id=row["task_id"],
            pack=Pack(row["pack"]),
            estimate=Decimal(row["estimate"]),
            charged=None if row["charged"] is None else Decimal(row["charged"]),
            held=Decimal(row["held"]),
            charge_source=row["charge_source"],
            at_s=row["at"],
        )


def first_entry_at_s(db: sqlite3.Connection, batch_ids: Sequence[int]) -> float | None:
    """Wall time of the first entry of these batches, or None without any."""
    query = "SELECT min(at) FROM entries WHERE batch_id IN (SELECT value FROM json_each(?))"
    found: float | None = db.execute(query, (json.dumps(list(batch_ids)),)).fetchone()[0]
    return found


_OF_STATE = {
    State.SUCCEEDED: "asset_pending",
    State.ASSET_GONE: "no_asset",
    State.LOST: "lost",
    **dict.fromkeys(MAY_EXIST, "unknown"),
}


def _case(row: sqlite3.Row) -> str | None:
    """Why an attempt is worth a row of its own, the most pressing reason first; None for a plain one."""
    state, charged = State(row["state"]), row["charged"]
    if state in _OF_STATE:
        return _OF_STATE[state]
    if charged is None:
        return None
    if state is State.PUBLISHED and row["error_message"]:
        return "fewer_files"
    if state is State.FAILED:
        return "failed_charged" if Decimal(charged) else None
    if Decimal(charged) != Decimal(row["estimate"]):
        return "drift"
    return "estimated" if row["charge_source"] == "estimate" else None
