"""Items that take the results of other items of their batch: who waits, who may go, who never will."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

_WAITS = (
    "(SELECT count(*) FROM sources s LEFT JOIN items p ON p.batch_id = items.batch_id AND p.item_id = s.source_id"
    " WHERE s.item_key = items.item_key AND coalesce(p.status, '') <> 'succeeded')"
)
_FAILED_SOURCE = (
    "(SELECT s.source_id FROM sources s JOIN items p ON p.batch_id = items.batch_id AND p.item_id = s.source_id"
    " WHERE s.item_key = items.item_key AND p.status = 'failed' LIMIT 1)"
)


_QUEUE_AGAIN = (
    "UPDATE items SET status = 'queued', reason = NULL, error_message = NULL"
    f" WHERE status = 'failed' AND reason = 'source' AND {_FAILED_SOURCE} IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.item_key = items.item_key AND a.state = 'refused')"
)


def put_sources(db: sqlite3.Connection, item_key: int, sources: Sequence[str]) -> None:
    """Let the item take the results of exactly these items."""
    db.execute("DELETE FROM sources WHERE item_key = ?", (item_key,))
    db.executemany(
        "INSERT INTO sources (item_key, source_id) VALUES (?, ?)", [(item_key, source) for source in sources]
    )


def count_waits(db: sqlite3.Connection, batch_id: int) -> None:
    """Count anew for every item how many of its sources have not succeeded yet."""
    db.execute(
        f"UPDATE items SET waits = {_WAITS} WHERE batch_id = ? AND waits IS NOT {_WAITS}"
        " AND (waits > 0 OR item_key IN (SELECT item_key FROM sources))",
        (batch_id,),
    )


def put_aside(db: sqlite3.Connection, attempt_id: int) -> None:
    """Count a source that does not hand out its result as one that has not succeeded, until all are counted anew."""
    query = "UPDATE items SET waits = waits + 1 WHERE item_key = (SELECT item_key FROM attempts WHERE attempt_id = ?)"
    db.execute(query, (attempt_id,))


def tell_dependents(db: sqlite3.Connection, batch_id: int, item_id: str) -> None:
    """An item's standing changed: those that take its results may wait for one source less."""
    db.execute(
        # The plus keeps SQLite from walking all items of the batch in place of the few that take this one's results.
        f"UPDATE items SET waits = {_WAITS} WHERE +batch_id = ?"
        " AND item_key IN (SELECT item_key FROM sources WHERE source_id = ?)",
        (batch_id, item_id),
    )


def fail_dependents(db: sqlite3.Connection, batch_id: int) -> list[tuple[str, str]]:
    """Fail the queued items of which a source failed, and those that take theirs; returns id and message of each."""
    told = []
    while rows := db.execute(
        f"SELECT item_key, item_id, {_FAILED_SOURCE} AS source FROM items"
        f" WHERE batch_id = ? AND status = 'queued' AND in_manifest = 1 AND waits > 0 AND source IS NOT NULL",
        (batch_id,),
    ).fetchall():
        for row in rows:
            message = f"its source {row['source']!r} failed, so it was not submitted"
            query = "UPDATE items SET status = 'failed', reason = 'source', error_message = ? WHERE item_key = ?"
            db.execute(query, (message, row["item_key"]))
            told.append((row["item_id"], message))
    return told


def queue_dependents(db: sqlite3.Connection, batch_id: int) -> None:
    """Queue the items again that only failed for their sources, once no source of theirs is failed any more.

    One that was refused for what its source left is a failure of its own: it is not tried again unasked.
    """
    while db.execute(f"{_QUEUE_AGAIN} AND batch_id = ?", (batch_id,)).rowcount:
        pass


def queue_dependents_of(db: sqlite3.Connection, batch_id: int, item_id: str) -> None:
    """An item that had failed has its files after all: what failed for it alone is queued, and what failed for that."""
    query = f"{_QUEUE_AGAIN} AND +batch_id = ? AND item_key IN (SELECT item_key FROM sources WHERE source_id = ?)"
    freed = [item_id]
    while freed:
        rows = db.execute(f"{query} RETURNING item_id", (batch_id, freed.pop())).fetchall()
        freed += [row["item_id"] for row in rows]
