"""A look at ``state.db`` without a lock: for status, ledger, verify and report while a run may be writing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from batch_runner.budgets import RollingBudget, Window
from batch_runner.model import Realm
from batch_runner.records import (
    CaseRecord,
    CreditsRecord,
    FileRecord,
    ItemCounts,
    LedgerRecord,
    ResultRecord,
    SpentRecord,
    SummaryRecord,
)
from batch_runner.store import audit, soundness, statement, views, windows
from batch_runner.store.connection import mapped_errors, open_reader, require_sound
from batch_runner.store.rows import Batch, BookedTask, Moment, StandingRow


class StoreReader:
    """Read-only views of one output folder; make it with ``open``."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[StoreReader]:
        """Open ``path`` read-only for the length of a block.

        Raises:
            StoreError: missing, damaged, another program's, or newer.
        """
        connection = open_reader(path)
        try:
            with mapped_errors(path):
                yield cls(path, connection)
        finally:
            connection.close()

    def batches(self) -> list[Batch]:
        """Every batch of the output folder, oldest first."""
        return views.all_batches(self._connection)

    def batch(self, name: str) -> Batch | None:
        """The batch of that name, or None."""
        return views.find_batch(self._connection, name)

    def standings(self, batch: Batch) -> dict[str, StandingRow]:
        """Where every item of the manifest stands, and the text it was made of, by its id."""
        return views.standings(self._connection, batch.batch_id)

    def counts(self, batch: Batch) -> ItemCounts:
        """How many items stand where."""
        return views.counts(self._connection, batch.batch_id)

    def results(self, batch: Batch) -> list[ResultRecord]:
        """One record an item, in manifest order."""
        return list(views.results(self._connection, batch.batch_id))

    def finished_files(self, batch: Batch) -> list[FileRecord]:
        """The files of every finished item, also of those whose lines have left the manifest."""
        return views.finished_files(self._connection, batch.batch_id)

    def ledger(self, batch: Batch) -> list[LedgerRecord]:
        """One record an entry, oldest first."""
        return list(views.ledger(self._connection, batch.batch_id))

    def disagreement(self) -> str | None:
        """Where the newest balances are not the sums of the moves, or None; see also ``ledger_faults``."""
        with self._at_one_moment():
            return audit.disagreement(self._connection)

    def alteration(self) -> str | None:
        """Where a row is not as it was written, or does not fit the others, in words, or None; reads every row."""
        with self._at_one_moment():
            return soundness.altered(self._connection)

    def require_sound(self) -> None:
        """Look at every row as a run does before it builds on them.

        Raises:
            StoreError: the ledger does not add up, or a row is not as it was written.
        """
        with self._at_one_moment():
            require_sound(self._connection, self._path)

    def ledger_faults(self) -> list[str]:
        """Everything in the folder's ledger that is not what its moves add up to; empty when it is sound."""
        with self._at_one_moment():
            return audit.faults(self._connection)

    @contextmanager
    def _at_one_moment(self) -> Iterator[None]:
        """Several questions, one answer: what a run writes between them is not seen."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            if self._connection.in_transaction:  # a disk that fails has ended it, and is what has to be told
                self._connection.execute("ROLLBACK")

    def summary(self, batch: Batch) -> SummaryRecord | None:
        """The summary as the newest run left it, or None."""
        return views.summary(self._connection, batch)

    def credits(self, batch: Batch, given: Mapping[str, Decimal] | None = None) -> dict[str, CreditsRecord]:
        """Balances of every pack, against the budget of the newest run, else the ``given`` one."""
        summary = self.summary(batch)
        budget: dict[str, Decimal] = {}
        if summary is not None:
            budget = {pack: record.budget for pack, record in summary.credits.items() if record.budget is not None}
        return views.credits_by_pack(self._connection, batch.batch_id, {**(given or {}), **budget})

    def windows(self, realm: Realm, budgets: Sequence[RollingBudget], now: Moment) -> list[Window]:
        """How rolling budgets stand for all batches of a realm."""
        return windows.windows(self._connection, realm, budgets, now)

    def spent(self, batches: Iterable[Batch]) -> list[SpentRecord]:
        """What the tasks of these batches were charged and hold, by day, model and pack."""
        return statement.spent(self._connection, [batch.batch_id for batch in batches])

    def booked(self, batches: Iterable[Batch]) -> list[BookedTask]:
        """Every attempt of these batches with entries in the ledger."""
        return list(statement.booked(self._connection, [batch.batch_id for batch in batches]))

    def first_entry_at_s(self, batches: Iterable[Batch]) -> float | None:
        """Wall time of the first entry of these batches, or None without any."""
        return statement.first_entry_at_s(self._connection, [batch.batch_id for batch in batches])

    def cases(self, batches: Iterable[Batch]) -> list[CaseRecord]:
        """The attempts of these batches whose money needs a look."""
        return list(statement.cases(self._connection, [batch.batch_id for batch in batches]))
