"""``state.db`` on SQLite: one writing connection in one thread, one function one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

from batch_runner import catalog
from batch_runner.budgets import Purse, RollingBudget
from batch_runner.catalog import PriceBook
from batch_runner.clock import Clock
from batch_runner.errors import ManifestError
from batch_runner.ledger import Balances
from batch_runner.lifecycle import Event, ExternalId, State
from batch_runner.model import Item, Realm
from batch_runner.records import ItemCounts, LedgerRecord, ResultRecord, SummaryRecord
from batch_runner.store import adoption, attempts, batches, chains, entries, views, windows
from batch_runner.store.connection import open_writer
from batch_runner.store.rows import (
    LOST_SCOPE,
    Attempt,
    Batch,
    Claim,
    Facts,
    FoundTask,
    HoldAge,
    LeftRow,
    Moment,
    OpenRow,
    RunRow,
    Source,
    Stamp,
    StoredFile,
    Terms,
)
from batch_runner.store.transactions import Here, Transactions


class SqliteStore(Transactions):
    """The store of one output folder; make it with ``open``."""

    def __init__(
        self, path: Path, clock: Clock, book: PriceBook, connection: sqlite3.Connection, thread: Executor
    ) -> None:
        super().__init__(path, connection, thread)
        self._clock = clock
        self._book = book

    @classmethod
    async def open(
        cls,
        path: Path,
        clock: Clock,
        *,
        has_forgotten: bool = False,
        book: PriceBook | None = None,
        in_thread: bool = True,
    ) -> SqliteStore:
        """Open or create ``path``; ``has_forgotten`` notes in a new one that an earlier one was lost just now.

        ``book`` is the price book by which holds are made and failures charged, the API's unless told. ``in_thread``
        is for stores on a disk; one in memory needs no thread of its own.

        Raises:
            StoreError: damaged, another program's, or written by a newer version.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="state.db") if in_thread else Here()
        loop = asyncio.get_running_loop()
        lost = _stamp(clock)

        def note_loss(db: sqlite3.Connection) -> None:
            views.add_stamp(db, LOST_SCOPE, lost, keep=1)

        try:
            first = note_loss if has_forgotten else None
            connection = await loop.run_in_executor(thread, open_writer, path, first)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(path, clock, book or catalog.default_price_book(), connection, thread)

    def _terms(self, budgets: Mapping[str, Decimal]) -> Terms:
        return Terms(budgets, self._book, Moment.of(self._clock))

    async def load_batch(
        self,
        name: str,
        *,
        realm: Realm,
        manifest: str,
        items: Callable[[], Iterable[Item]],
        has_past: bool = False,
        budgets: Mapping[str, Decimal] = MappingProxyType({}),
    ) -> Batch:
        """See ``Store``."""
        now, terms = _stamp(self._clock), self._terms(budgets)

        def load(db: sqlite3.Connection) -> Batch:
            if has_past and views.find_batch(db, name) is None and not views.stamps(db, LOST_SCOPE):
                views.add_stamp(db, LOST_SCOPE, now, keep=1)  # its folder came here without its store
            return batches.load(db, name, realm=realm, manifest=manifest, items=items(), has_past=has_past, terms=terms)

        try:
            return await self._do(load)
        except batches.EditedLinesError as error:
            raise ManifestError(manifest, error.problems) from None

    async def known_batch(self, name: str, realm: Realm) -> Batch | None:
        """See ``Store``."""
        return await self._do(batches.known, name, realm)

    async def queue_failed(self, batch: Batch) -> None:
        """See ``Store``."""
        await self._do(batches.queue_failed, batch.batch_id)

    async def queue_item(self, batch: Batch, item_id: str) -> None:
        """See ``Store``."""
        await self._do(batches.queue_item, batch.batch_id, item_id)

    async def unlooked_kinds(self, batch: Batch) -> list[tuple[str, str]]:
        """See ``Store``."""
        return await self._do(adoption.unlooked_kinds, batch.batch_id)

    async def kinds(self, batch: Batch) -> list[tuple[str, str]]:
        """See ``Store``."""
        return await self._do(batches.kinds, batch.batch_id)

    async def adopt(
        self,
        batch: Batch,
        found: Sequence[FoundTask],
        budgets: Mapping[str, Decimal],
        unsettled: Collection[str] = (),
    ) -> int:
        """See ``Store``."""
        terms = self._terms(budgets)

        def take_up(db: sqlite3.Connection) -> int:
            problems = adoption.edited_since(db, batch.batch_id, found)
            if problems:
                raise ManifestError(batch.name, problems)
            count = adoption.adopt(db, batch.batch_id, found, terms)
            adoption.mark_looked(db, batch.batch_id, unsettled)
            return count

        return await self._do(take_up)

    async def without_line(self, batch: Batch, found: Sequence[FoundTask]) -> Mapping[str, bool]:
        """See ``Store``."""
        return await self._do(adoption.without_line, batch.batch_id, found)

    async def has_unknown(self, names: Sequence[ExternalId]) -> bool:
        """See ``Store``."""
        return await self._do(adoption.has_unknown, names)

    async def unlooked_items(self, batch: Batch, kind: str, model: str) -> list[tuple[str, str]]:
        """See ``Store``."""
        return await self._do(adoption.unlooked_items, batch.batch_id, kind, model)

    async def unlooked_bodies(self, batch: Batch, kind: str, model: str) -> Mapping[str, str]:
        """See ``Store``."""
        return await self._do(adoption.unlooked_bodies, batch.batch_id, kind, model)

    async def unlooked_calls(self, batch: Batch) -> list[tuple[str, str]]:
        """See ``Store``."""
        return await self._do(adoption.unlooked_calls, batch.batch_id)

    async def recover_call(
        self,
        batch: Batch,
        item_id: str,
        files: Sequence[StoredFile],
        budgets: Mapping[str, Decimal],
        rolling: Sequence[RollingBudget] = (),
    ) -> Attempt | None:
        """See ``Store``."""
        terms = replace(self._terms(budgets), rolling=tuple(rolling))
        return await self._do(adoption.recover_call, batch.batch_id, item_id, files, terms)

    async def clear_call(self, batch: Batch, item_id: str) -> None:
        """See ``Store``."""
        await self._do(adoption.clear_call, batch.batch_id, item_id)

    async def begun_items(self, batch: Batch) -> list[str] | None:
        """See ``Store``."""
        return await self._do(batches.begun_items, batch)

    async def claim_next(
        self, batch: Batch, budgets: Mapping[str, Decimal], slots: int = 1, rolling: Sequence[RollingBudget] = ()
    ) -> Claim:
        """See ``Store``."""
        terms = replace(self._terms(budgets), rolling=tuple(rolling))
        return await self._do(attempts.claim_next, batch.batch_id, terms, slots)

    async def source(self, batch: Batch, item_id: str) -> Source | None:
        """See ``Store``."""
        return await self._do(views.source, batch.batch_id, item_id)

    async def has_answered_another(self, attempt: Attempt, task_id: str, made: Mapping[str, Any]) -> bool:
        """See ``Store``."""
        return await self._do(views.has_answered_another, attempt, task_id, made)

    async def owners(self, batch: Batch, task_ids: Collection[str]) -> Mapping[str, Collection[str]]:
        """See ``Store``."""
        return await self._do(views.owners, batch.realm, task_ids)

    async def fail_dependents(self, batch: Batch) -> list[tuple[str, str]]:
        """See ``Store``."""
        return await self._do(chains.fail_dependents, batch.batch_id)

    async def in_states(self, batch: Batch, states: Sequence[State]) -> list[Attempt]:
        """See ``Store``."""
        return await self._do(attempts.in_states, batch.batch_id, states)

    async def in_flight_elsewhere(self, batch: Batch) -> list[Attempt]:
        """See ``Store``."""
        return await self._do(attempts.in_flight_elsewhere, batch)

    async def hold_ages(self, batch: Batch) -> dict[int, HoldAge]:
        """See ``Store``."""
        return await self._do(attempts.hold_ages, batch.batch_id, Moment.of(self._clock))

    async def apply(
        self, attempt: Attempt, event: Event, budgets: Mapping[str, Decimal], facts: Facts = Facts()
    ) -> Attempt:
        """See ``Store``."""
        return await self._do(attempts.apply, attempt.attempt_id, event, facts, self._terms(budgets))

    async def mark(self, attempt: Attempt, reason: str, message: str | None = None) -> None:
        """See ``Store``."""
        await self._do(attempts.mark, attempt.attempt_id, reason, message)

    async def put_aside(self, attempt: Attempt) -> None:
        """See ``Store``."""
        await self._do(chains.put_aside, attempt.attempt_id)

    async def give_reasons(self, batch: Batch, queued: str | None, active: str | None) -> None:
        """See ``Store``."""
        await self._do(attempts.give_reasons, batch.batch_id, queued, active)

    async def record_file(self, attempt: Attempt, file: StoredFile) -> None:
        """See ``Store``."""
        await self._do(attempts.record_file, attempt.attempt_id, file)

    async def files_of(self, attempt: Attempt) -> list[StoredFile]:
        """See ``Store``."""
        return await self._do(attempts.files_of, attempt.attempt_id)

    async def balances(self, batch: Batch, pack: str) -> Balances:
        """See ``Store``."""
        return await self._do(entries.balances, batch.batch_id, pack)

    async def purse(
        self, batch: Batch, pack: str, budgets: Mapping[str, Decimal], rolling: Sequence[RollingBudget] = ()
    ) -> Purse:
        """See ``Store``."""
        terms = replace(self._terms(budgets), rolling=tuple(rolling))
        return await self._do(windows.purse, batch.batch_id, pack, terms)

    async def left(self, batch: Batch) -> list[LeftRow]:
        """See ``Store``."""
        return await self._do(views.left, batch.batch_id)

    async def open_rows(self, batch: Batch, *, with_failed: bool) -> list[OpenRow]:
        """See ``Store``."""
        return await self._do(views.open_rows, batch.batch_id, with_failed=with_failed)

    async def counts(self, batch: Batch) -> ItemCounts:
        """See ``Store``."""
        return await self._do(views.counts, batch.batch_id)

    async def results(self, batch: Batch) -> list[ResultRecord]:
        """See ``Store``."""
        return await self._do(lambda db: list(views.results(db, batch.batch_id)))

    async def ledger(self, batch: Batch) -> list[LedgerRecord]:
        """See ``Store``."""
        return await self._do(lambda db: list(views.ledger(db, batch.batch_id)))

    async def save_run(self, batch: Batch, run: RunRow) -> None:
        """See ``Store``."""
        await self._do(views.save_run, batch.batch_id, run)

    async def summary(self, batch: Batch) -> SummaryRecord | None:
        """See ``Store``."""
        return await self._do(views.summary, batch)

    async def stamps(self, scope: str) -> list[Stamp]:
        """See ``Store``."""
        return await self._do(views.stamps, scope)

    async def add_stamp(self, scope: str, stamp: Stamp, keep: int) -> None:
        """See ``Store``."""
        await self._do(views.add_stamp, scope, stamp, keep)


def _stamp(clock: Clock) -> Stamp:
    return Stamp(clock.epoch(), asyncio.get_running_loop().time(), clock.wall_s())
