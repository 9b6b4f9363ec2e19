"""What people and derived files read: results, ledger, counts, runs. Nothing here writes but ``save_run``."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from batch_runner import catalog
from batch_runner.clock import iso_utc
from batch_runner.errors import ExitCode
from batch_runner.lifecycle import LIVE, State, item_status
from batch_runner.model import Pack, Realm
from batch_runner.records import (
    CreditsRecord,
    ErrorRecord,
    FileRecord,
    ItemCounts,
    LedgerRecord,
    RequestCounts,
    ResultRecord,
    SummaryRecord,
    credits_text,
)
from batch_runner.store import attempts
from batch_runner.store.edits import NEWEST, taken_as
from batch_runner.store.entries import balances
from batch_runner.store.rows import Attempt, Batch, LeftRow, OpenRow, RunRow, Source, Stamp, StandingRow

_RECENT = 1000
"""Attempts that an answer which strayed may belong to."""
_ITEMS = f"""
SELECT i.*, a.attempt_id, a.state, a.number, a.task_id, a.external_task_id, a.submitted_at,
       a.finished_at
FROM items i
{NEWEST}
WHERE i.batch_id = ? AND i.in_manifest = 1
ORDER BY i.line, i.item_key
"""


def source(db: sqlite3.Connection, batch_id: int, item_id: str) -> Source | None:
    """What a finished item left for those that take its results, or None when it is not finished."""
    row = db.execute(
        "SELECT a.attempt_id, a.made, a.finished_at FROM attempts a JOIN items i USING (item_key)"
        " WHERE i.batch_id = ? AND i.item_id = ? AND a.state = 'published' ORDER BY a.number DESC LIMIT 1",
        (batch_id, item_id),
    ).fetchone()
    if row is None:
        return None
    files = tuple(attempts.files_of(db, row["attempt_id"]))
    return Source(attempts.get(db, row["attempt_id"]), json.loads(row["made"] or "{}"), files, row["finished_at"])


def has_answered_another(db: sqlite3.Connection, attempt: Attempt, task_id: str, made: Mapping[str, Any]) -> bool:
    """Whether a recent attempt that asked for something else was answered with this id, or these.

    What stands for an id where the answer has none proves nothing: two calls may find the same, and the simulated
    service counts its requests anew at every start.
    """
    task_id = "" if task_id.startswith(("request-", "answer-")) else task_id
    row = db.execute(
        "SELECT 1 FROM (SELECT * FROM attempts ORDER BY attempt_id DESC LIMIT ?) a JOIN items i USING (item_key)"
        " WHERE a.attempt_id <> ? AND (i.kind <> ? OR i.body <> ?) AND (a.task_id = ? OR a.made = ?)",
        (_RECENT, attempt.attempt_id, attempt.kind, attempt.body, task_id, json.dumps(dict(made)) if made else None),
    ).fetchone()
    return row is not None


def owners(db: sqlite3.Connection, realm: str, task_ids: Iterable[str]) -> dict[str, set[str]]:
    """The external ids of the attempts that have these tasks, by task; in all batches of a realm.

    Not one that is missing, where its product's lists would say whose a task is: it was answered with somebody else's.
    """
    rows = db.execute(
        "SELECT a.task_id, a.external_task_id, a.state, i.kind, i.model FROM attempts a JOIN items i USING (item_key)"
        " JOIN batches b USING (batch_id) WHERE b.realm = ? AND a.task_id IN (SELECT value FROM json_each(?))",
        (realm, json.dumps(list(task_ids))),
    )
    found: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["state"] != State.MISSING or not catalog.route(row["kind"], row["model"]).tells_external_id:
            found[row["task_id"]].add(row["external_task_id"])
    return found


def find_batch(db: sqlite3.Connection, name: str) -> Batch | None:
    """The batch of that name, or None."""
    row = db.execute("SELECT * FROM batches WHERE name = ?", (name,)).fetchone()
    return None if row is None else Batch(row["batch_id"], row["name"], Realm(row["realm"]))


def all_batches(db: sqlite3.Connection) -> list[Batch]:
    """Every batch of the output folder, oldest first."""
    rows = db.execute("SELECT * FROM batches ORDER BY batch_id")
    return [Batch(row["batch_id"], row["name"], Realm(row["realm"])) for row in rows]


def results(db: sqlite3.Connection, batch_id: int) -> Iterator[ResultRecord]:
    """One record an item, in manifest order."""
    for row in db.execute(_ITEMS, (batch_id,)):
        yield _result(db, row)


def _status(row: sqlite3.Row) -> str:
    if row["status"] == "failed" and row["state"] in {None, State.WITHDRAWN}:
        return "failed"  # a source of it failed: it was never submitted
    if row["status"] == "queued" or row["state"] is None:
        return "pending"
    return item_status(State(row["state"]))


def _result(db: sqlite3.Connection, row: sqlite3.Row) -> ResultRecord:
    status = _status(row)
    message = row["error_message"]
    return ResultRecord(
        id=row["item_id"],
        line=row["line"],
        kind=row["kind"],
        status=status,
        reason=None if status == "succeeded" else row["reason"] or ("unresolved" if status == "unknown" else None),
        task_id=row["task_id"],
        external_task_id=row["external_task_id"],
        attempts=row["number"] or 0,
        credits_estimated=Decimal(row["credits"]),
        credits_charged=_charged(db, row["item_key"]) if row["number"] else None,
        pack=row["pack"],
        files=_files(db, row["attempt_id"]) if status == "succeeded" else (),
        error=None if message is None else ErrorRecord(row["error_code"], message),
        submitted_at=_iso(row["submitted_at"]),
        finished_at=_iso(row["finished_at"]),
    )


def _charged(db: sqlite3.Connection, item_key: int) -> Decimal | None:
    """What all attempts of an item were charged together, or None where nothing was."""
    rows = db.execute("SELECT charged FROM attempts WHERE item_key = ? AND charged IS NOT NULL", (item_key,))
    charges = [Decimal(row["charged"]) for row in rows]
    return sum(charges, Decimal(0)) if charges else None


def _files(db: sqlite3.Connection, attempt_id: int) -> tuple[FileRecord, ...]:
    rows = db.execute("SELECT * FROM files WHERE attempt_id = ? ORDER BY ordinal", (attempt_id,))
    return tuple(FileRecord(row["path"], row["bytes"], row["sha256"]) for row in rows)


def finished_files(db: sqlite3.Connection, batch_id: int) -> list[FileRecord]:
    """The files of every finished item, also of those whose lines have left the manifest."""
    rows = db.execute(
        "SELECT f.path, f.bytes, f.sha256 FROM files f JOIN attempts a USING (attempt_id) JOIN items i USING (item_key)"
        " WHERE i.batch_id = ? AND a.state = ?"
        " ORDER BY i.in_manifest DESC, i.line, i.item_key, f.attempt_id, f.ordinal",
        (batch_id, State.PUBLISHED),
    )
    return [FileRecord(row["path"], row["bytes"], row["sha256"]) for row in rows]


def _iso(wall_s: float | None) -> str | None:
    return None if wall_s is None else iso_utc(wall_s)


def ledger(db: sqlite3.Connection, batch_id: int) -> Iterator[LedgerRecord]:
    """One record an entry, oldest first; ``seq`` counts from 1 within the batch."""
    rows = db.execute(
        "SELECT e.*, i.item_id, a.number, a.external_task_id FROM entries e JOIN attempts a USING (attempt_id)"
        " JOIN items i USING (item_key) WHERE e.batch_id = ? ORDER BY e.seq",
        (batch_id,),
    )
    for seq, row in enumerate(rows, start=1):
        yield LedgerRecord(
            seq=seq,
            at=iso_utc(row["at"]),
            entry=row["entry"],
            pack=row["pack"],
            credits=Decimal(row["credits"]),
            item=row["item_id"],
            attempt=row["number"],
            external_task_id=row["external_task_id"],
            task_id=row["task_id"],
            consumed=Decimal(row["consumed"]),
            held=Decimal(row["held"]),
            budget=None if row["budget"] is None else Decimal(row["budget"]),
        )


def standings(db: sqlite3.Connection, batch_id: int) -> dict[str, StandingRow]:
    """Where every item of the manifest stands, by its id."""
    rows = db.execute(
        f"SELECT i.item_id, i.status, i.fingerprint, a.state, a.sends FROM items i {NEWEST}"
        " WHERE i.batch_id = ? AND i.in_manifest = 1",
        (batch_id,),
    )
    return {row["item_id"]: _standing(row) for row in rows}


def _standing(row: sqlite3.Row) -> StandingRow:
    return StandingRow(_status(row), row["state"] in LIVE, taken_as(row), row["fingerprint"])


def left(db: sqlite3.Connection, batch_id: int) -> list[LeftRow]:
    """What is queued, alike items together."""
    rows = db.execute(
        "SELECT kind, model, pack, credits, slots, count(*) AS count FROM items"
        " WHERE batch_id = ? AND status = 'queued' AND in_manifest = 1 GROUP BY kind, model, pack, credits, slots",
        (batch_id,),
    )
    return [
        LeftRow(row["kind"], row["model"], Pack(row["pack"]), Decimal(row["credits"]), row["slots"], row["count"])
        for row in rows
    ]


def open_rows(db: sqlite3.Connection, batch_id: int, *, with_failed: bool) -> list[OpenRow]:
    """The items that wait or are under way, or failed and are to be tried again, by product and model."""
    rows = db.execute(
        "SELECT kind, model, count(*) AS count, item_id, min(line) AS line FROM items"
        " WHERE batch_id = ? AND in_manifest = 1 AND status IN ('queued', 'active', ?)"
        " GROUP BY kind, model ORDER BY line",
        (batch_id, "failed" if with_failed else "queued"),
    )
    return [OpenRow(**row) for row in rows]


def counts(db: sqlite3.Connection, batch_id: int) -> ItemCounts:
    """How many items stand where."""
    tally = {"succeeded": 0, "failed": 0, "pending": 0, "unknown": 0}
    rows = db.execute(
        f"SELECT i.status, a.state, count(*) AS count FROM items i {NEWEST}"
        " WHERE i.batch_id = ? AND i.in_manifest = 1 GROUP BY i.status, a.state",
        (batch_id,),
    )
    for row in rows:
        tally[_status(row)] += row["count"]
    return ItemCounts(total=sum(tally.values()), **tally)


def credits_by_pack(db: sqlite3.Connection, batch_id: int, budget: dict[str, Decimal]) -> dict[str, CreditsRecord]:
    """Balances of every pack the batch uses or has a budget for."""
    packs = {row["pack"] for row in db.execute("SELECT DISTINCT pack FROM items WHERE batch_id = ?", (batch_id,))}
    return {pack: _credits(db, batch_id, pack, budget.get(pack)) for pack in sorted(packs | budget.keys())}


def _credits(db: sqlite3.Connection, batch_id: int, pack: str, budget: Decimal | None) -> CreditsRecord:
    after = balances(db, batch_id, pack)
    return CreditsRecord(budget, after.consumed, after.held, after.available(budget))


def save_run(db: sqlite3.Connection, batch_id: int, run: RunRow) -> None:
    """Keep what the summary of this run says."""
    budget = {pack: credits_text(credits_) for pack, credits_ in run.budget.items()}
    db.execute(
        "INSERT INTO runs (batch_id, manifest, budget, exit_code, requests, started_at, finished_at, wall_s)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (batch_id, run.manifest, json.dumps(budget), run.exit_code, json.dumps(run.requests), run.started_at,
         run.finished_at, run.wall_s),
    )  # fmt: skip


def summary(db: sqlite3.Connection, batch: Batch) -> SummaryRecord | None:
    """The summary as the newest run of the batch left it, or None when none has ended yet."""
    row = db.execute("SELECT * FROM runs WHERE batch_id = ? ORDER BY run_id DESC LIMIT 1", (batch.batch_id,)).fetchone()
    if row is None:
        return None
    budget = {pack: Decimal(text) for pack, text in json.loads(row["budget"]).items()}
    items = counts(db, batch.batch_id)
    return SummaryRecord(
        batch=batch.name,
        manifest=row["manifest"],
        sandbox=batch.sandbox,
        exit_code=_code_now(row["exit_code"], items),
        items=items,
        credits=credits_by_pack(db, batch.batch_id, budget),
        requests=RequestCounts(**json.loads(row["requests"])),
        started_at=iso_utc(row["started_at"]),
        finished_at=iso_utc(row["finished_at"]),
        wall_s=row["wall_s"],
    )


def _code_now(code: int, items: ItemCounts) -> int:
    """The run's exit code, or what fits the items where a later one took in new lines and did not come to its end."""
    if code not in {ExitCode.OK, ExitCode.ITEMS_FAILED}:
        return code
    if items.unknown:
        return ExitCode.UNRESOLVED
    if items.pending:
        return ExitCode.STOPPED
    return ExitCode.ITEMS_FAILED if items.failed else code


def stamps(db: sqlite3.Connection, scope: str) -> list[Stamp]:
    """Recent API requests that count against the limit of ``scope``."""
    rows = db.execute("SELECT * FROM request_stamps WHERE scope = ? ORDER BY stamp_id", (scope,))
    return [Stamp(row["epoch"], row["loop_s"], row["wall_s"]) for row in rows]


def add_stamp(db: sqlite3.Connection, scope: str, stamp: Stamp, keep: int) -> None:
    """Remember a request before it is let go; only the newest ``keep`` can still matter."""
    db.execute(
        "INSERT INTO request_stamps (scope, epoch, loop_s, wall_s) VALUES (?, ?, ?, ?)",
        (scope, stamp.epoch, stamp.loop_s, stamp.wall_s),
    )
    db.execute(
        "DELETE FROM request_stamps WHERE scope = :scope AND stamp_id <= (SELECT stamp_id FROM request_stamps"
        " WHERE scope = :scope ORDER BY stamp_id DESC LIMIT 1 OFFSET :keep)",
        {"scope": scope, "keep": keep},
    )
