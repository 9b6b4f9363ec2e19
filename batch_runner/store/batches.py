"""Brings a manifest's items into the store, and tells edited lines that are already paid or under way."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice

from batch_runner import catalog
from batch_runner.catalog import MadeFiles
from batch_runner.errors import Problem, UsageError
from batch_runner.lifecycle import Event, ExternalId
from batch_runner.manifest.file_names import rivals
from batch_runner.model import Item, Realm
from batch_runner.records import credits_text
from batch_runner.store import attempts, chains
from batch_runner.store.edits import NEWEST, edited, is_unsent, taken_as
from batch_runner.store.rows import Batch, Facts, Terms

_COLUMNS = ("line", "in_manifest", "kind", "priority", "body", "fingerprint", "pack", "model", "slots", "credits")


class EditedLinesError(Exception):
    """Lines were edited whose attempt is under way or paid; the transaction is rolled back."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{len(problems)} edited lines")
        self.problems = problems


def load(
    db: sqlite3.Connection,
    name: str,
    *,
    realm: Realm,
    manifest: str,
    items: Iterable[Item],
    has_past: bool,
    terms: Terms,
) -> Batch:
    """Insert or update the batch so that it mirrors the manifest; writes nothing if it already does.

    The hold of an edited line of which nothing was sent is given back.

    What is answered at once cannot be looked for on the account: such an item only waits for a look (at the files)
    in a batch of which a lost store knew (``has_past`` when it was new here), whenever its line comes.

    Raises:
        EditedLinesError: lines whose attempt is in flight or done were edited.
    """
    batch, is_new = _batch(db, name, realm=realm, manifest=manifest, has_past=has_past)
    looked = frozenset() if _was_lost(db, batch) else catalog.answered_at_once()
    db.execute("CREATE TEMP TABLE IF NOT EXISTS seen (item_key INTEGER PRIMARY KEY)")
    db.execute("DELETE FROM temp.seen")
    problems: list[Problem] = []
    rivalling: list[Item] = []
    for item in items:
        problem, is_other = _load_item(db, batch, item, looked, terms)
        if problem is not None:
            problems.append(problem)
        elif is_other and not is_new and any(_rivals(db, batch, item)):
            rivalling.append(item)
    # Judged when all lines have come: the other's may have gone, or been edited too.
    problems += [problem for item in rivalling for problem in islice(_rivalries(db, batch, item), 1)]
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


def _was_lost(db: sqlite3.Connection, batch: Batch) -> bool:
    """For good: a line that is away now may come back in any later run, and may have been paid for."""
    row = db.execute("SELECT was_lost FROM batches WHERE batch_id = ?", (batch.batch_id,)).fetchone()
    return bool(row["was_lost"])


def begun_items(db: sqlite3.Connection, batch: Batch) -> list[str] | None:
    """Every item that ever had an attempt, whatever its product was; see ``Store``."""
    kinds = {row["kind"] for row in db.execute("SELECT DISTINCT kind FROM items WHERE batch_id = ?", (batch.batch_id,))}
    if _was_lost(db, batch) or kinds.isdisjoint(catalog.answered_at_once()):
        return None
    query = "SELECT DISTINCT item_id FROM items JOIN attempts USING (item_key) WHERE batch_id = ?"
    return [row["item_id"] for row in db.execute(query, (batch.batch_id,))]


def kinds(db: sqlite3.Connection, batch_id: int) -> list[tuple[str, str]]:
    """Products and models of all items that have a line now, or ever had an attempt."""
    query = (
        "SELECT DISTINCT kind, model FROM items WHERE batch_id = ? AND"
        " (in_manifest = 1 OR item_key IN (SELECT item_key FROM attempts)) ORDER BY kind, model"
    )
    rows = db.execute(query, (batch_id,))
    return [(row["kind"], row["model"]) for row in rows]


def _batch(db: sqlite3.Connection, name: str, *, realm: Realm, manifest: str, has_past: bool) -> tuple[Batch, bool]:
    """The batch, and whether it is new here."""
    found = known(db, name, realm)
    if found is not None:
        return found, False
    query = "INSERT INTO batches (name, realm, manifest, was_lost) VALUES (?, ?, ?, ?)"
    cursor = db.execute(query, (name, realm, manifest, has_past))
    assert cursor.lastrowid is not None
    return Batch(cursor.lastrowid, name, realm, _has_others(db, name, realm)), True


def known(db: sqlite3.Connection, name: str, realm: Realm) -> Batch | None:
    """The batch of that name, or None.

    Raises:
        UsageError: it lives in another realm.
    """
    row = db.execute("SELECT batch_id, realm FROM batches WHERE name = ?", (name,)).fetchone()
    if row is None:
        return None
    if row["realm"] != realm:
        raise UsageError(
            f"the batch {name!r} was begun on {_PLACES[Realm(row['realm'])]}; on {_PLACES[realm]} it needs another "
            f"--name or --output-dir"
        )
    return Batch(row["batch_id"], name, realm, _has_others(db, name, realm))


def _has_others(db: sqlite3.Connection, name: str, realm: Realm) -> bool:
    return db.execute("SELECT 1 FROM batches WHERE name <> ? AND realm = ?", (name, realm)).fetchone() is not None


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
    db: sqlite3.Connection, batch: Batch, item: Item, looked: frozenset[str], terms: Terms
) -> tuple[Problem | None, bool]:
    """What is wrong with the item, and whether it is new or not what it was in the last run."""
    row = db.execute(
        f"SELECT i.*, a.attempt_id, a.state, a.sends FROM items i {NEWEST} WHERE i.batch_id = ? AND i.item_id = ?",
        (batch.batch_id, item.id),
    ).fetchone()
    if row is None:
        item_key = _insert(db, batch, item, is_looked=item.kind in looked)
    else:
        item_key = row["item_key"]
        taken = taken_as(row)
        if row["fingerprint"] != item.fingerprint and taken is not None:
            return edited(item, taken), True
        if row["fingerprint"] != item.fingerprint and is_unsent(row):
            attempts.apply(db, row["attempt_id"], Event.WITHDRAW, Facts(), terms)
        _update(db, row, item)
        if row["kind"] != item.kind and item.kind in catalog.answered_at_once() - looked:
            db.execute("UPDATE items SET looked = 0 WHERE item_key = ?", (item_key,))
    db.execute("INSERT INTO temp.seen VALUES (?)", (item_key,))
    return None, row is None or row["fingerprint"] != item.fingerprint or not row["in_manifest"]


def _rivals(db: sqlite3.Connection, batch: Batch, item: Item) -> Iterator[tuple[str, str]]:
    """The items here that may make a file of the name of one of this item's, each with that name."""
    made = catalog.made_files(item.kind, json.loads(item.body))
    return rivals(item.id, made, lambda other: _made_by(db, batch, other))


def _made_by(db: sqlite3.Connection, batch: Batch, item_id: str) -> MadeFiles | None:
    query = "SELECT kind, body FROM items WHERE batch_id = ? AND item_id = ?"
    row = db.execute(query, (batch.batch_id, item_id)).fetchone()
    return None if row is None else catalog.made_files(row["kind"], json.loads(row["body"]))


def _rivalries(db: sqlite3.Connection, batch: Batch, item: Item) -> Iterator[Problem]:
    """What is wrong with the names of the item's files, where the other one has a line or is paid for."""
    for other, name in _rivals(db, batch, item):
        row = db.execute(
            "SELECT item_key IN (SELECT item_key FROM temp.seen) AS has_line, EXISTS (SELECT 1 FROM attempts a"
            " WHERE a.item_key = i.item_key AND a.state NOT IN ('failed', 'refused', 'lost', 'withdrawn')) AS is_paid"
            " FROM items i WHERE batch_id = ? AND item_id = ?",
            (batch.batch_id, other),
        ).fetchone()
        if row["has_line"] or row["is_paid"]:
            about = ", which is paid for or under way," if row["is_paid"] else ""
            what = f"{item.id!r} and {other!r}{about} may both make a file called {name!r}"
            yield Problem(item.line, "id", what, "give this line another id")


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
    is_held = row["status"] == "active" and row["fingerprint"] == item.fingerprint
    if is_held or taken_as(row) is not None:
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
