"""One start of the program on one batch: its folder held, its store open, its service reached."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace

from batch_runner.callbacks import Callbacks, open_callbacks
from batch_runner.clock import Clock
from batch_runner.download import (
    Downloader,
    LinkPolicy,
    check_batch_folder,
    free_bytes,
    is_as_recorded,
    open_download_session,
)
from batch_runner.errors import AccountError, BatchRunnerError, StoppedError
from batch_runner.events import Event, Notice, Observer
from batch_runner.folder import held_folder, while_held
from batch_runner.kling import KlingClient, TokenSource, open_session
from batch_runner.lifecycle import State
from batch_runner.limits import TaskLimiter
from batch_runner.manifest import Manifest
from batch_runner.model import Item
from batch_runner.naming import realm_of
from batch_runner.records import SummaryRecord
from batch_runner.runner import (
    CALL_LOG,
    LISTS,
    BatchLists,
    CallLog,
    Collector,
    Context,
    DiskRoom,
    FreeBytes,
    Halt,
    HaltedError,
    Hints,
    Policy,
    Run,
    SubmissionGate,
    TaskClient,
    idle_words,
    record_idle,
    stray_text,
    strays_of,
    tell_files_away,
    write_derived,
)
from batch_runner.service import (
    Limits,
    Service,
    lost_at_s,
    open_service,
    price_book_of,
    request_monitor,
    say_limits,
)
from batch_runner.settings import NO_KEYS_TEXT, Keys, Settings, load_keys
from batch_runner.store import Attempt, Batch, SqliteStore, Store, StoredFile

_NOTES = (CALL_LOG, LISTS)
"""In the folder of a batch: what outlives a lost store."""
SANDBOX_JOURNAL = ".sandbox.jsonl"
"""Below the output folder: the embedded sandbox remembers its tasks here, and survives a kill as Kling would."""


def ignore(_: Event) -> None:
    """An observer for callers that want none."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys, looked for when they are needed: a finished batch needs none."""

    settings: Settings
    environ: Mapping[str, str]

    def get(self) -> Keys | None:
        """The keys, or None for the sandbox.

        Raises:
            AccountError: there are none, or they are no keys.
        """
        if self.settings.sandbox:
            return None
        keys = load_keys(self.environ, self.settings.keys_path)
        if keys is None:
            raise AccountError(NO_KEYS_TEXT)
        return keys


@dataclass(frozen=True, slots=True)
class Launch:
    """What one start of the program was given."""

    source: Manifest
    name: str
    settings: Settings
    limits: Limits
    clock: Clock
    halt: Halt
    observer: Observer
    free_bytes: FreeBytes = free_bytes
    rng: random.Random = field(default_factory=random.Random)

    @property
    def manifest(self) -> str:
        """The manifest's path as text that any file can hold."""
        return os.fsencode(self.source.path).decode("utf-8", "backslashreplace")

    @asynccontextmanager
    async def held(self) -> AsyncIterator[tuple[Launch, Store]]:
        """The output folder held alone for the length of a block: the launch that sees that it stays so, and the store.

        Reading a large manifest takes long enough for somebody to take the folder away.
        """
        folder = self.settings.output_dir
        with held_folder(folder, _NOTES) as has_past:
            book = price_book_of(self.settings)
            store = await SqliteStore.open(folder / "state.db", self.clock, has_forgotten=has_past, book=book)
            try:
                yield replace(self, free_bytes=while_held(folder, self.free_bytes)), store
            finally:
                await store.close()

    async def check(self) -> None:
        """See that the manifest has no problems.

        Raises:
            ManifestError: it has some.
            StoppedError: the run was stopped before all of it was read.
        """
        reading = asyncio.get_running_loop().run_in_executor(None, self.source.check)
        try:
            await self.halt.unless(reading)
        except HaltedError:
            raise self._why_halted from None

    @property
    def _why_halted(self) -> BatchRunnerError:
        return self.halt.error or StoppedError("stopped")

    def _items(self) -> Iterator[Item]:
        for item in self.source.items():
            if self.halt.is_leaving:
                raise self._why_halted  # what is half read by then is rolled back
            yield item

    async def load(self, store: Store) -> Batch:
        """Bring the manifest into the store.

        Raises:
            StoppedError: the run was stopped before all of it was read.
        """
        was_lost = await lost_at_s(store, self.clock) > float("-inf")
        folder = self.settings.output_dir / self.name
        return await store.load_batch(
            self.name,
            realm=realm_of(self.settings),
            manifest=self.manifest,
            items=self._items,
            budgets=self.settings.budget,
            has_past=(was_lost and folder.exists()) or any((folder / name).exists() for name in _NOTES),
        )

    async def repair(self, store: Store, batch: Batch, keys: Keyring) -> dict[str, str]:
        """See ``repair_settings``."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, check_batch_folder, self.settings.output_dir, batch.name)
        damaged: list[Attempt] = []
        for attempt in await store.in_states(batch, [State.PUBLISHED]):
            files = await store.files_of(attempt)
            if not await loop.run_in_executor(None, self._are_as_recorded, files):
                damaged.append(attempt)
        if not damaged:
            return {}
        async with self._parts(store, batch, keys.get()) as (_, collector):
            reasons = await asyncio.gather(*(collector.restore(attempt) for attempt in damaged))
        if not collector.is_broken:
            await write_derived(store, batch, self.settings.output_dir)
        return {attempt.item_id: why for attempt, why in zip(damaged, reasons, strict=True) if why is not None}

    def _are_as_recorded(self, files: Sequence[StoredFile]) -> bool:
        folder = self.settings.output_dir
        return all(is_as_recorded(folder / file.path, file.bytes, file.sha256) for file in files)

    async def nothing_to_do(self, store: Store, batch: Batch) -> SummaryRecord:
        """A finished batch costs nothing: not a request, and not a byte where the files already say so."""
        self.halt.conclude()
        strays, budget = await strays_of(store, batch), self.settings.budget
        await record_idle(store, batch, strays, manifest=self.manifest, budget=budget, clock=self.clock)
        derived = await write_derived(store, batch, self.settings.output_dir)
        assert derived is not None
        self.observer(Notice(f"{batch.name}: {idle_words(derived.summary)}"))
        for stray in strays:
            self.observer(Notice(stray_text(stray), urgent=True))
        await tell_files_away(derived.results, self.settings.output_dir, self.observer)
        return derived.summary

    async def run(self, store: Store, batch: Batch, keys: Keys | None, callbacks: Callbacks | None) -> SummaryRecord:
        """Talk to the service until the batch is where it can be brought now."""
        say_limits(self.limits, self.settings, self.observer)
        async with self._parts(store, batch, keys, callbacks) as (context, collector):
            return await self._one_run(context, collector)()

    @asynccontextmanager
    async def _parts(
        self, store: Store, batch: Batch, keys: Keys | None, callbacks: Callbacks | None = None
    ) -> AsyncIterator[tuple[Context, Collector]]:
        async with (
            open_callbacks(callbacks, self.clock, self.observer) as hints,
            self._service(keys, callbacks) as service,
        ):
            monitor = await request_monitor(service, store, self.limits, self.clock, self.rng, self.observer)
            links, tokens = LinkPolicy(allow_local=service.is_local), TokenSource(service.credentials, self.clock)
            async with open_session(service.base_url) as session, open_download_session(links) as downloads:
                gate, callback_url = SubmissionGate(monitor, self.halt), callbacks.url if callbacks else None
                client = KlingClient(session, service.base_url, tokens, gate, callback_url=callback_url)
                context = self._context(store, batch, client, hints, await lost_at_s(store, self.clock))
                yield context, Collector(context, Downloader(downloads, links, rng=self.rng, epoch=self.clock.epoch()))

    def _service(self, keys: Keys | None, callbacks: Callbacks | None) -> AbstractAsyncContextManager[Service]:
        return open_service(
            self.settings,
            self.limits,
            keys,
            self.clock,
            journal_path=self.settings.output_dir / SANDBOX_JOURNAL,
            webhook_secrets=[callbacks.secret_text] if callbacks else [],
        )

    def _context(
        self, store: Store, batch: Batch, client: TaskClient, hints: Hints | None, lost_at_s: float
    ) -> Context:
        settings, changed = self.settings, asyncio.Event()
        return Context(
            store=store,
            batch=batch,
            client=client,
            clock=self.clock,
            limiter=TaskLimiter(self.limits.max_concurrent, rng=self.rng),
            output_dir=settings.output_dir,
            room=DiskRoom(settings.output_dir, self.free_bytes, self.observer, changed),
            changed=changed,
            budgets=settings.budget,
            rolling=tuple(settings.rolling_budget.values()),
            policy=_policy_of(settings),
            rng=self.rng,
            observer=self.observer,
            halt=self.halt,
            hints=hints,
            calls=CallLog(settings.output_dir, batch),
            lists=BatchLists(settings.output_dir, batch),
            lost_at_s=lost_at_s,
        )

    def _one_run(self, context: Context, collector: Collector) -> Run:
        return Run(
            context,
            collector,
            clock=self.clock,
            manifest=self.manifest,
            rpm=self.limits.rpm,
            retry_failed=self.settings.retry_failed,
            max_runtime_s=self.settings.max_runtime_s,
        )


def _policy_of(settings: Settings) -> Policy:
    return Policy(
        settle_s=settings.task_settle_s,
        task_deadline_s=settings.task_deadline_s,
        max_attempts=settings.max_attempts,
        repeat_lost=settings.repeat_lost,
    )
