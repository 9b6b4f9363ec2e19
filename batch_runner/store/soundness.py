"""Whether the rows of a store are as the program left them: damage is told, never guessed at.

Two questions. *Unreadable*: is there a value that its column cannot hold (a state nobody knows, credits that are no
number, a path out of the batch's folder)? *Altered*: is a row no longer what was written, or does it not fit the
others? Rows carry a seal, a checksum that the writing connection renews with every change.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence

from batch_runner import catalog, lifecycle
from batch_runner.errors import ExitCode
from batch_runner.ledger import Account
from batch_runner.lifecycle import ExternalId, State
from batch_runner.model import Pack, Realm

SEALED = ("batches", "items", "sources", "attempts", "files", "entries", "runs", "request_stamps")
"""Not moves, which have to add up to the balances."""

Shape = Mapping[str, Sequence[tuple[object, ...]]]
"""Tables and indexes by name, each with its columns."""

_LATEST_S = 253_402_300_799
"""The last second of the year 9999: later ones cannot be written as a date."""


def _words(*words: str) -> str:
    return "(" + ", ".join(f"'{word}'" for word in words) + ")"


def _no_credits(column: str) -> str:
    """True of a text that is no plain decimal, such as every credit is kept as."""
    return (
        f"({column} NOT GLOB '[0-9]*' OR {column} GLOB '*[^0-9.]*' OR {column} GLOB '*.*.*' OR length({column}) > 60)"
    )


def _no_time(column: str) -> str:
    return f"{column} NOT BETWEEN 0 AND {_LATEST_S}"


def _no_object(column: str) -> str:
    """True of a text that is no JSON object; CASE, because SQLite fails on what is no JSON at all."""
    return f"CASE WHEN json_valid({column}) THEN json_type({column}) <> 'object' ELSE 1 END"


_PACKS = _words(*Pack)
_UNREADABLE = {
    "batches": (f"realm NOT IN {_words(*Realm)}", "name = ''", "name GLOB '*/*'", "was_lost NOT IN (0, 1)"),
    "items": (
        "kind NOT IN (SELECT value FROM json_each(:kinds))",
        f"pack NOT IN {_PACKS}",
        "status NOT IN ('queued', 'active', 'succeeded', 'failed')",
        _no_credits("credits"),
        _no_object("body"),
        "slots < 1",
    ),
    "attempts": (
        f"state NOT IN {_words(*State)}",
        f"pack NOT IN {_PACKS}",
        *(_no_credits(column) for column in ("estimate", "held", "charged")),
        *(_no_time(column) for column in ("submitted_at", "finished_at")),
        f"made IS NOT NULL AND {_no_object('made')}",
        "number < 1",
    ),
    "files": (
        "bytes < 0 OR count < 1 OR ordinal NOT BETWEEN 0 AND count - 1",
        "length(sha256) <> 64",
        "path NOT GLOB '*/*' OR path GLOB '*/*/*' OR path GLOB '*/..' OR path GLOB '../*' OR path GLOB '*/.'",
    ),
    "entries": (
        "entry NOT IN ('hold', 'charge', 'release')",
        f"pack NOT IN {_PACKS}",
        *(_no_credits(column) for column in ("credits", "consumed", "held", "budget")),
        _no_time("at"),
    ),
    "moves": (
        _no_credits("credits"),
        *(f"{column} NOT IN {_words(*Account)}" for column in ("source", "target")),
    ),
    "runs": (
        _no_object("budget"),
        _no_object("requests"),
        f"exit_code NOT IN ({', '.join(str(int(code)) for code in ExitCode)})",
        *(_no_time(column) for column in ("started_at", "finished_at", "wall_s")),
    ),
}  # fmt: skip


def misshapen(db: sqlite3.Connection, should_be: Shape) -> str | None:
    """The table or index that is not as in the shape of an empty store, in words, or None."""
    is_ = shape(db)
    wrong = sorted(name for name in is_.keys() | should_be.keys() if is_.get(name) != should_be.get(name))
    return f"{wrong[0]!r} is not made as this version makes it" if wrong else None


def shape(db: sqlite3.Connection) -> Shape:
    """Every table and index with its columns."""
    columns = 'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_xinfo(?)'
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'index')")]
    return {name: [tuple(row) for row in db.execute(columns, (name,))] for name in names}


def unreadable(db: sqlite3.Connection) -> str | None:
    """The table in which a value stands that its column cannot hold, in words, or None."""
    known = {"kinds": json.dumps(catalog.kinds())}
    for table, wrongs in _UNREADABLE.items():
        if db.execute(f"SELECT 1 FROM {table} WHERE {' OR '.join(wrongs)} LIMIT 1", known).fetchone():
            return f"{table} hold a value that cannot be"
    return None


def install(db: sqlite3.Connection) -> None:
    """Let this connection seal every row that it writes."""
    db.create_function("seal_of", -1, _seal_of)
    for table in SEALED:
        columns = _columns(db, table)
        values = ", ".join(f"NEW.{column}" for column in columns)
        work = f"BEGIN UPDATE {table} SET seal = seal_of({values}) WHERE rowid = NEW.rowid; END"
        db.execute(f"CREATE TEMP TRIGGER seal_new_{table} AFTER INSERT ON main.{table} {work}")
        changed = f"AFTER UPDATE OF {', '.join(columns)} ON main.{table}"
        db.execute(f"CREATE TEMP TRIGGER seal_changed_{table} {changed} {work}")


def seal_all(db: sqlite3.Connection) -> None:
    """Seal every row as it stands, after a migration gave the tables another shape."""
    db.create_function("seal_of", -1, _seal_of)
    for table in SEALED:
        db.execute(f"UPDATE {table} SET seal = seal_of({', '.join(_columns(db, table))})")


def _seal_of(*values: object) -> int:
    return zlib.crc32(repr(values).encode("utf-8", "surrogatepass"))


def _columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[1] != "seal"]


def altered(db: sqlite3.Connection) -> str | None:
    """Where a row is not as it was written, or does not fit the others, in words; None for a sound store."""
    db.create_function("seal_of", -1, _seal_of)
    db.create_function("item_digest", 2, lambda batch, item: ExternalId.of(batch, item, 1, "").item, deterministic=True)
    return next(_alterations(db), None)


def _alterations(db: sqlite3.Connection) -> Iterator[str]:
    """What says most comes first."""
    for row in db.execute("PRAGMA foreign_key_check"):
        yield f"a row of {row[0]} belongs to none of {row[2]}"
    for item_id, what in db.execute(_MISFITS):
        yield f"{item_id!r} {what}"
    for table in SEALED:
        query = f"SELECT 1 FROM {table} WHERE seal IS NOT seal_of({', '.join(_columns(db, table))}) LIMIT 1"
        if db.execute(query).fetchone():
            yield f"a row of {table} is not as it was written"


_LIVE, _OVER = _words(*lifecycle.LIVE), _words(*lifecycle.RETRYABLE)
_MISFITS = f"""
WITH newest AS (
    SELECT i.*, b.name, a.state, a.attempt_id, a.external_task_id, a.fingerprint AS sent FROM items i
    JOIN batches b USING (batch_id) LEFT JOIN attempts a ON a.item_key = i.item_key
        AND a.number = (SELECT max(number) FROM attempts WHERE item_key = i.item_key)
)
SELECT item_id, 'bears a name that is not its own' FROM newest
 WHERE digest <> item_digest(name, item_id)
    OR external_task_id IS NOT NULL AND substr(external_task_id, 15, 14) <> digest
UNION ALL
SELECT item_id, 'stands as ' || status || ' beside an attempt that is ' || coalesce(state, 'not there') FROM newest
 WHERE CASE
    WHEN state IS NULL THEN status IN ('active', 'succeeded')
    WHEN state IN {_LIVE} THEN status <> 'active'
    WHEN state = 'published' THEN status <> 'succeeded'
    WHEN state = 'asset_gone' THEN status <> 'failed'
    ELSE status IN ('active', 'succeeded') END
UNION ALL
SELECT item_id, 'has failed without a reason' FROM newest WHERE status = 'failed' AND coalesce(reason, '') = ''
UNION ALL
SELECT item_id, 'has another text than its attempt that is ' || state FROM newest
 WHERE (state IN {_LIVE} OR state IN ('published', 'asset_gone')) AND fingerprint <> sent
UNION ALL
SELECT item_id, 'lacks files' FROM newest WHERE state = 'published'
   AND (SELECT count(*) <> coalesce(max(count), -1) FROM files f WHERE f.attempt_id = newest.attempt_id)
UNION ALL
SELECT i.item_id, 'has an attempt in flight that another one followed' FROM attempts a JOIN items i USING (item_key)
 WHERE a.state NOT IN {_OVER} AND a.state <> 'withdrawn'
   AND EXISTS (SELECT 1 FROM attempts later WHERE later.item_key = a.item_key AND later.number > a.number)
LIMIT 1
"""
