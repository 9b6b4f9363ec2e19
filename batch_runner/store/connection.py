"""Opens ``state.db``: pragmas, schema migrations, damage; every foreign exception is mapped here."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from batch_runner.errors import StoreError
from batch_runner.store import audit, entries, soundness

T = TypeVar("T")

SCHEMA_VERSION = 2
_APPLICATION_ID = 0x42527531  # "BRu1": tells state.db from somebody else's SQLite file


class FullStoreError(StoreError):
    """The disk has no room for a transaction: nothing of it was recorded, and it can be tried again."""


class BrokenStoreError(StoreError):
    """The disk failed under ``state.db``, a sync perhaps: what is in it now must not be built upon by this process."""


@contextmanager
def mapped_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's exceptions into words for the person whose file it is.

    Raises:
        FullStoreError, BrokenStoreError: see there.
        StoreError: the file is locked, or not ours.
    """
    try:
        yield
    except UnicodeDecodeError as error:  # what SQLite has to say holds bytes of the file that are no text
        raise BrokenStoreError(f"{path}: {error.reason} in what stands there{_DAMAGED}") from error
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK:  # only the making has a journal
            raise StoreError(f"{path} {_HALF_MADE}") from error
        # Python's own complaints carry no code of SQLite's; extended codes keep the primary one in the low byte.
        kind, advice = _KINDS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, (StoreError, ""))
        raise kind(f"{path}: {error}. Nothing more was recorded{advice}") from error


_HALF_MADE = (
    "is half-made: the run that made it was stopped before it was done, and before it sent anything. Looking alone"
    " cannot finish it: start that run again, which does"
)
_DAMAGED = (
    ". Check the disk and run again; if that says that the file is damaged, move it away and run again: the batch is"
    " rebuilt from the account and the files"
)
_KINDS: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_READONLY: (StoreError, ". Check who may write to the file and to its folder"),
    sqlite3.SQLITE_FULL: (FullStoreError, ". Make room and run again"),
    sqlite3.SQLITE_IOERR: (BrokenStoreError, _DAMAGED),
    sqlite3.SQLITE_CORRUPT: (BrokenStoreError, _DAMAGED),
    sqlite3.SQLITE_NOTADB: (BrokenStoreError, _DAMAGED),
}


def open_writer(path: Path, first: Callable[[sqlite3.Connection], None] | None = None) -> sqlite3.Connection:
    """The one writing connection; creates or migrates the schema.

    ``first`` runs in the transaction that creates a store, and not at all on one that exists.

    Raises:
        StoreError: damaged, foreign, or written by a newer version (which is left untouched).
    """
    _refuse_link(path)
    beside = {suffix for suffix in ("-wal", "-journal") if path.with_name(path.name + suffix).exists()}
    # A log without its store means nothing; a journal is from the making of a store, and has to be undone by writing.
    if path.exists() and beside == {"-wal"}:
        # The last writing connection puts the log into the file when it closes, even where it only looked.
        open_reader(path).close()
    with mapped_errors(path):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path, first)
        except BaseException:
            connection.close()
            raise
        return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection for looking at a batch while a run may be writing.

    Raises:
        StoreError: missing, damaged, foreign or newer.
    """
    _refuse_link(path)
    with mapped_errors(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            version = _check_version(connection, path)
            found = connection if version == SCHEMA_VERSION else _migrated_copy(connection)
            _require(soundness.unreadable(found), path)
        except BaseException:
            connection.close()
            raise
        return found


def _migrated_copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    """The store of an earlier version as this one would have it, in memory: looking changes nothing on the disk."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    copy.row_factory = sqlite3.Row
    connection.backup(copy)
    connection.close()
    _migrate(copy)
    return copy


def _refuse_link(path: Path) -> None:
    """SQLite would follow a link, in place of the file or of its logs, and write where nobody asked it to."""
    for each in (path, *(path.with_name(path.name + ending) for ending in ("-wal", "-shm", "-journal"))):
        if each.is_symlink():
            text = f"{each} is a symbolic link, which is not followed; remove it or choose another --output-dir"
            raise StoreError(text)


def _prepare(connection: sqlite3.Connection, path: Path, first: Callable[[sqlite3.Connection], None] | None) -> None:
    connection.row_factory = sqlite3.Row
    version = _check_version(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    if version:
        _check_pages(connection, path)
        _require(soundness.misshapen(connection, _shape_as_made(version)), path)

    def create(db: sqlite3.Connection) -> None:
        if version >= _FIRST_SEALED:
            _require(soundness.altered(db), path)  # before the rows get another shape, and new seals with it
        _migrate(db)
        _check_rows(db, path)  # here, so that a store whose old rows are not sound stays as it was
        soundness.install(db)
        if first is not None and not version:
            first(db)

    if version < SCHEMA_VERSION:
        transaction(connection, create)
    else:
        _check_rows(connection, path)
        soundness.install(connection)


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    if tables and application != _APPLICATION_ID:
        raise StoreError(f"{path} is an SQLite file of another program; choose another --output-dir")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a newer version (schema {version}, this one knows {SCHEMA_VERSION}); "
            f"it was left untouched: upgrade batch_runner"
        )
    return version


def _check_pages(connection: sqlite3.Connection, path: Path) -> None:
    """Indexes too, which a quick check leaves out: one that lost an entry hides an attempt that lives."""
    verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    _require(None if verdict == "ok" else verdict, path)


def _require(damage: str | None, path: Path) -> None:
    if damage is not None:
        raise StoreError(
            f"{path} is damaged ({damage}); nothing was sent. Move it away and run again: the batch is rebuilt "
            f"from the account and the files"
        )


def _check_rows(connection: sqlite3.Connection, path: Path) -> None:
    _require(soundness.unreadable(connection), path)
    require_sound(connection, path)


def require_sound(connection: sqlite3.Connection, path: Path) -> None:
    """Make sure that what can be read is what was written.

    Raises:
        StoreError: the ledger does not add up, or a row is not as it was written.
    """
    _check_ledger(connection, path)
    _require(soundness.altered(connection), path)


def _check_ledger(connection: sqlite3.Connection, path: Path) -> None:
    wrong = audit.disagreement(connection)
    if wrong is not None:
        raise StoreError(
            f"the ledger in {path} does not add up ({wrong}); nothing was sent. Move it away and run "
            f"again: the batch is rebuilt from the account and the files"
        )


@cache
def _shape_as_made(version: int) -> soundness.Shape:
    """The shape of an empty store of that schema."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        made.row_factory = sqlite3.Row
        _migrate(made, version)
        return soundness.shape(made)


def _migrate(connection: sqlite3.Connection, until: int = SCHEMA_VERSION) -> None:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    for number in range(version + 1, until + 1):
        script = files("batch_runner.store").joinpath(f"sql/schema_{number}.sql").read_text(encoding="utf-8")
        for statement in _statements(script):
            connection.execute(statement)
        if number in _AFTER:
            _AFTER[number](connection)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {number}")
    if until >= _FIRST_SEALED:
        soundness.seal_all(connection)


_FIRST_SEALED = 2
"""The schema since which rows carry seals."""
_AFTER: dict[int, Callable[[sqlite3.Connection], None]] = {2: entries.backfill}
"""What a migration does beyond its script, which cannot count in decimals."""


def _statements(script: str) -> Iterator[str]:
    """The script's statements one by one: ``executescript`` would commit the transaction around them."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


def transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run ``work`` in one transaction: all of it is durable when this returns, or none of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full or broken disk has already rolled back
            connection.execute("ROLLBACK")
        raise
    return result
