"""Brings a manifest's items into the store, and tells edited lines that are already paid or under way."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from batch_runner import catalog
from batch_runner.errors import Problem, UsageError
from batch_runner.lifecycle import ExternalId
from batch_runner.manifest.names import file_name, file_number
from batch_runner.model import Item, Realm
from batch_runner.records import credits_text
from batch_runner.store import chains
from batch_runner.store.rows import Batch

_COLUMNS = ("line", "in_manifest", "kind", "priority", "body", "fingerprint", "pack", "model", "slots", "credits")


class EditedLinesError(Exception):
    """Lines were edited whose attempt is under way or paid; the transaction is rolled back."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{len(problems)} edited lines")
        self.problems = problems


def load(
    db: sqlite3.Connection, name: str, *, realm: Realm, manifest: str, items: Iterable[Item], has_past: bool
) -> Batch:
    """Insert or update the batch so that it mirrors the manifest; writes nothing if it already does.

    What is answered at once cannot be looked for on the account: such an item only waits for a look (at the files)
    where the batch is new here and ``has_past``.

    Raises:
        EditedLinesError: lines whose attempt is in flight or done were edited.
    """
    batch, is_new = _batch(db, name, realm=realm, manifest=manifest)
    looked = frozenset() if is_new and has_past else _answered_at_once()
    db.execute("CREATE TEMP TABLE IF NOT EXISTS seen (item_key INTEGER PRIMARY KEY)")
    db.execute("DELETE FROM temp.seen")
    problems: list[Problem] = []
    for item in items:
        problem = _load_item(db, batch, item, looked, is_new=is_new)
        if problem is not None:
            problems.append(problem)
    if problems:
        raise EditedLinesError(problems)
    db.execute(
        "UPDATE items SET in_manifest = 0 WHERE batch_id = ? AND in_manifest = 1"
        " AND item_key NOT IN (SELECT item_key FROM temp.seen)",
        (batch.batch_id,),
    )
    chains.count_waits(db, batch.batch_id)
    chains.queue_dependents(db, batch.batch_id)
    return batch


def _answered_at_once() -> frozenset[str]:
    return frozenset(kind for kind in catalog.kinds() if catalog.route(kind, "").is_sync)


def _batch(db: sqlite3.Connection, name: str, *, realm: Realm, manifest: str) -> tuple[Batch, bool]:
    """The batch, and whether it is new here."""
    row = db.execute("SELECT batch_id, realm FROM batches WHERE name = ?", (name,)).fetchone()
    if row is not None:
        if row["realm"] != realm:
            raise UsageError(
                f"the batch {name!r} was begun on {_PLACES[Realm(row['realm'])]}; on {_PLACES[realm]} it needs another "
                f"--name or --output-dir"
            )
        return Batch(row["batch_id"], name, realm), False
    cursor = db.execute("INSERT INTO batches (name, realm, manifest) VALUES (?, ?, ?)", (name, realm, manifest))
    assert cursor.lastrowid is not None
    return Batch(cursor.lastrowid, name, realm), True


_PLACES = {
    Realm.REAL: "the real API",
    Realm.LOCAL: "a test server on this machine",
    Realm.SANDBOX: "the embedded sandbox",
}


def _values(item: Item) -> tuple[object, ...]:
    price = item.price
    return (item.line, 1, item.kind, item.priority, item.body, item.fingerprint, price.pack.value,
            item.model, item.slots, credits_text(price.credits))  # fmt: skip


def _load_item(
    db: sqlite3.Connection, batch: Batch, item: Item, looked: frozenset[str], *, is_new: bool
) -> Problem | None:
    row = db.execute(
        "SELECT i.*, (SELECT a.state FROM attempts a WHERE a.item_key = i.item_key"
        " ORDER BY a.number DESC LIMIT 1) AS state FROM items i WHERE i.batch_id = ? AND i.item_id = ?",
        (batch.batch_id, item.id),
    ).fetchone()
    if row is None:
        item_key = _insert(db, batch, item, is_looked=item.kind in looked)
    else:
        item_key = row["item_key"]
        if row["fingerprint"] != item.fingerprint and _is_taken(row):
            return _edited(item, row)
        _update(db, row, item)
    if not is_new and (row is None or row["fingerprint"] != item.fingerprint or not row["in_manifest"]):
        problem = _rivalry(db, batch, item)
        if problem is not None:
            return problem
    db.execute("INSERT INTO temp.seen VALUES (?)", (item_key,))
    return None


def _rivalry(db: sqlite3.Connection, batch: Batch, item: Item) -> Problem | None:
    """What is wrong where an item that is paid for has, or will have, a file of the name of one of this item's.

    Of two lines the manifest itself is told; here the other's line may be gone, and its files are not.
    """
    named = file_number(item.id)
    if named is not None and named[1] <= _paid_files(db, batch, named[0], fewest=2):
        return _rivals(item, named[0], item.id)
    most = catalog.most_files(item.kind, json.loads(item.body))
    names = (file_name(item.id, number) for number in range(1, most + 1)) if most > 1 else ()
    name = next((name for name in names if _paid_files(db, batch, name, fewest=1)), None)
    return None if name is None else _rivals(item, name, name)


def _paid_files(db: sqlite3.Connection, batch: Batch, item_id: str, *, fewest: int) -> int:
    """The most files an item of this id has or will have, paid for or under way; 0 if that is less than ``fewest``."""
    row = db.execute(
        "SELECT i.kind, i.body FROM items i JOIN attempts a USING (item_key) WHERE i.batch_id = ? AND i.item_id = ?"
        " AND a.state NOT IN ('failed', 'refused', 'lost', 'withdrawn') LIMIT 1",
        (batch.batch_id, item_id),
    ).fetchone()
    most = 0 if row is None else catalog.most_files(row["kind"], json.loads(row["body"]))
    return most if most >= fewest else 0


def _rivals(item: Item, other: str, name: str) -> Problem:
    what = f"{item.id!r} and {other!r}, which is paid for or under way, may both make a file called {name!r}"
    return Problem(item.line, "id", what, "give this line another id")


def _is_taken(row: sqlite3.Row) -> bool:
    """Whether the item's attempt is under way, done or paid: then its line must stay as it was."""
    return row["status"] in {"active", "succeeded"} or row["state"] == "asset_gone"


def _edited(item: Item, row: sqlite3.Row) -> Problem:
    stands = "finished" if row["status"] == "succeeded" else "paid or under way"
    return Problem(
        item.line,
        "id",
        f"{item.id!r} was edited, but the video of its earlier text is already {stands}",
        "put the line back as it was, or give the edited line an id of its own",
    )


def _insert(db: sqlite3.Connection, batch: Batch, item: Item, *, is_looked: bool) -> int:
    digest = ExternalId.of(batch.name, item.id, 1, item.fingerprint).item
    cursor = db.execute(
        f"INSERT INTO items (batch_id, item_id, digest, looked, {', '.join(_COLUMNS)})"
        f" VALUES ({', '.join('?' * (4 + len(_COLUMNS)))})",
        (batch.batch_id, item.id, digest, is_looked, *_values(item)),
    )
    assert cursor.lastrowid is not None
    if item.sources:
        chains.put_sources(db, cursor.lastrowid, item.sources)
    return cursor.lastrowid


def _update(db: sqlite3.Connection, row: sqlite3.Row, item: Item) -> None:
    values = _values(item)
    if tuple(row[column] for column in _COLUMNS) == values:
        return
    if _is_taken(row):
        values = (*values[:-1], row["credits"])  # a new price list does not rewrite what was held or paid
    assignments = ", ".join(f"{column} = ?" for column in _COLUMNS)
    db.execute(f"UPDATE items SET {assignments} WHERE item_key = ?", (*values, row["item_key"]))
    if row["fingerprint"] != item.fingerprint:
        chains.put_sources(db, row["item_key"], item.sources)
    if row["status"] == "failed" and row["fingerprint"] != item.fingerprint:
        _queue_again(db, "item_key = ?", (row["item_key"],))


def queue_failed(db: sqlite3.Connection, batch_id: int) -> None:
    """Let every item that definitely ended without a video be attempted once more."""
    _queue_again(db, "batch_id = ? AND in_manifest = 1", (batch_id,))
    chains.queue_dependents(db, batch_id)


def queue_item(db: sqlite3.Connection, batch_id: int, item_id: str) -> None:
    """Let one failed item be attempted once more in this run."""
    _queue_again(db, "batch_id = ? AND item_id = ?", (batch_id, item_id))


def _queue_again(db: sqlite3.Connection, where: str, values: tuple[object, ...]) -> None:
    """Queue the failed items among those whose newest attempt definitely ended without a video."""
    db.execute(
        "UPDATE items SET status = 'queued', reason = NULL, error_code = NULL, error_message = NULL"
        " WHERE status = 'failed' AND (SELECT a.state FROM attempts a WHERE a.item_key = items.item_key"
        f" ORDER BY a.number DESC LIMIT 1) IN ('failed', 'refused', 'lost') AND {where}",
        values,
    )
