"""The door for programs and notebooks: ``await batch_runner.run(...)``; the command line uses it too."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from batch_runner.callbacks import Callbacks, callbacks_of, open_callbacks
from batch_runner.clock import Clock, SystemClock
from batch_runner.download import (
    Downloader,
    LinkPolicy,
    check_batch_folder,
    free_bytes,
    is_as_recorded,
    open_download_session,
)
from batch_runner.errors import AccountError
from batch_runner.events import Event, Notice, Observer
from batch_runner.folder import batch_name, held_folder
from batch_runner.intake import manifest_of
from batch_runner.kling import KlingClient, TokenSource, open_session
from batch_runner.lifecycle import State
from batch_runner.limits import TaskLimiter
from batch_runner.manifest import Manifest
from batch_runner.progress import choose, running_in_notebook
from batch_runner.records import ResultRecord, SummaryRecord
from batch_runner.runner import (
    Collector,
    Context,
    DiskRoom,
    FreeBytes,
    Halt,
    Policy,
    Run,
    SubmissionGate,
    has_work,
    record_idle,
    write_derived,
)
from batch_runner.service import (
    Limits,
    check_keys,
    limits_of,
    lost_at_s,
    open_service,
    price_book_of,
    realm_of,
    request_monitor,
    say_limits,
)
from batch_runner.settings import NO_KEYS_TEXT, Keys, Settings, load_keys, resolve
from batch_runner.store import Attempt, Batch, SqliteStore, Store, StoredFile

SANDBOX_JOURNAL = ".sandbox.jsonl"
"""Below the output folder: the embedded sandbox remembers its tasks here, and survives a kill as Kling would."""


def ignore(_: Event) -> None:
    """An observer for callers that want none."""


async def run(manifest: str | Path, *, observer: Observer | None = None, **options: object) -> SummaryRecord:
    """Submit, poll, download and keep the ledger of one manifest; call it again to go on.

    Args:
        manifest: path of a file of items (JSON Lines, CSV or YAML), or ``-`` for standard input.
        observer: is handed every ``events.Event``. Without one, a notebook shows a progress bar and a script
            nothing; ``batch_runner.progress.choose`` makes ready ones.
        options: the options of ``run`` with underscores (``output_dir``, ``budget``, ``sandbox``, ...). What is
            not given comes from the environment, then ``batch_runner.toml``, then the default.

    Returns:
        The summary, the same object as ``summary.json``; ``exit_code`` says how the batch stands.

    Raises:
        UsageError: settings or manifest are wrong; nothing was sent.
        AccountError: there are no keys.
        DiskError: the output folder or the disk refuses.
        OutputFolderLockedError: another run holds the output folder.
    """
    settings = resolve(options, os.environ, Path("batch_runner.toml"))
    if observer is not None or not running_in_notebook():
        return await run_settings(Path(manifest), settings, environ=os.environ, observer=observer or ignore)
    bar = choose(sys.stderr, quiet=settings.quiet, in_notebook=True)
    try:
        return await run_settings(Path(manifest), settings, environ=os.environ, observer=bar)
    finally:
        bar.close()


def run_sync(manifest: str | Path, *, observer: Observer | None = None, **options: object) -> SummaryRecord:
    """``run`` for scripts without an event loop; see there."""
    return asyncio.run(run(manifest, observer=observer, **options))


async def run_settings(
    manifest: Path | Manifest,
    settings: Settings,
    *,
    environ: Mapping[str, str],
    observer: Observer = ignore,
    clock: Clock | None = None,
    halt: Halt | None = None,
    free_bytes: FreeBytes = free_bytes,
    rng: random.Random | None = None,
) -> SummaryRecord:
    """``run`` with settings that are already resolved.

    A path of ``-`` is read to its end first, and meanwhile nothing else can go on: a door that wants to hear signals
    hands the manifest instead.

    Args:
        manifest: what is to be made.
        settings: what the options came to.
        environ: where the keys are looked for.
        observer: is handed every event.
        clock: wall time; the machine's unless told.
        halt: lets the caller stop the run (signals).
        free_bytes: the room on the disk of a folder.
        rng: draws the jitter of waits.
    """
    launch = _launch(manifest, settings, observer, clock, halt)
    launch = replace(launch, free_bytes=free_bytes, rng=rng or launch.rng)
    manifest = launch.source
    await asyncio.get_running_loop().run_in_executor(None, manifest.check)
    keys, callbacks = _Keyring(settings, environ), callbacks_of(settings, environ)
    if not (settings.output_dir / "state.db").exists() and any(True for _ in manifest.items()):
        keys.get()  # a first run without keys stops before it makes anything
    async with launch.store() as store:
        batch = await launch.load(store)
        if not await has_work(store, batch, retry_failed=settings.retry_failed):
            return await launch.nothing_to_do(store, batch)
        found = keys.get()
        if found is not None:
            await asyncio.get_running_loop().run_in_executor(None, lambda: check_keys(manifest.items(), found))
        return await launch.run(store, batch, found, callbacks)


async def repair_settings(
    path: Path,
    settings: Settings,
    *,
    environ: Mapping[str, str],
    observer: Observer = ignore,
    clock: Clock | None = None,
) -> dict[str, str]:
    """Fetch finished files that are missing or altered again; never generates, never pays.

    What stands altered under a final name is kept beside it as ``NAME.damaged-1``.

    Returns:
        For every item that could not be restored, why.
    """
    launch = _launch(path, settings, observer, clock, None)
    async with launch.store() as store:
        return await launch.repair(store, await launch.load(store), _Keyring(settings, environ))


def _launch(
    manifest: Path | Manifest, settings: Settings, observer: Observer, clock: Clock | None, halt: Halt | None
) -> _Launch:
    source = manifest if isinstance(manifest, Manifest) else manifest_of(manifest, settings)
    limits, name = limits_of(settings), batch_name(source.path, settings)
    return _Launch(source, name, settings, limits, clock or SystemClock(), halt or Halt(), observer)


@dataclass(frozen=True, slots=True)
class _Keyring:
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
class _Launch:
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
    async def store(self) -> AsyncIterator[Store]:
        """The output folder held alone, and its store, for the length of a block."""
        folder = self.settings.output_dir
        with held_folder(folder) as has_past:
            book = price_book_of(self.settings)
            store = await SqliteStore.open(folder / "state.db", self.clock, has_forgotten=has_past, book=book)
            try:
                yield store
            finally:
                await store.close()

    async def load(self, store: Store) -> Batch:
        """Bring the manifest into the store."""
        items = self.source.items
        was_lost = await lost_at_s(store, self.clock) > float("-inf")
        return await store.load_batch(
            self.name,
            realm=realm_of(self.settings),
            manifest=self.manifest,
            items=items,
            has_past=was_lost and (self.settings.output_dir / self.name).exists(),
        )

    async def repair(self, store: Store, batch: Batch, keys: _Keyring) -> dict[str, str]:
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
        await record_idle(store, batch, manifest=self.manifest, budget=self.settings.budget, clock=self.clock)
        derived = await write_derived(store, batch, self.settings.output_dir)
        assert derived is not None
        self.observer(Notice(f"{batch.name}: nothing is left to do"))
        away = await asyncio.get_running_loop().run_in_executor(None, self._files_away, derived.results)
        if away:
            text = f"{away} finished files are no longer where they were put, or of another size (see verify --repair)"
            self.observer(Notice(text))
        return derived.summary

    def _files_away(self, results: list[ResultRecord]) -> int:
        paths = [(self.settings.output_dir / file.path, file.bytes) for row in results for file in row.files]
        return sum(path.is_symlink() or not path.is_file() or path.stat().st_size != size for path, size in paths)

    async def run(self, store: Store, batch: Batch, keys: Keys | None, callbacks: Callbacks | None) -> SummaryRecord:
        """Talk to the service until the batch is where it can be brought now."""
        say_limits(self.limits, self.settings, self.observer)
        async with self._parts(store, batch, keys, callbacks) as (context, collector):
            return await self._one_run(context, collector)()

    @asynccontextmanager
    async def _parts(
        self,
        store: Store,
        batch: Batch,
        keys: Keys | None,
        callbacks: Callbacks | None = None,
    ) -> AsyncIterator[tuple[Context, Collector]]:
        settings, clock, rng, changed = self.settings, self.clock, self.rng, asyncio.Event()
        journal_path = settings.output_dir / SANDBOX_JOURNAL
        async with (
            open_callbacks(callbacks, clock, self.observer) as hints,
            open_service(
                settings,
                self.limits,
                keys,
                clock,
                journal_path=journal_path,
                webhook_secrets=[callbacks.secret_text] if callbacks else [],
            ) as service,
        ):
            monitor = await request_monitor(service, store, self.limits, clock, rng, self.observer)
            links = LinkPolicy(allow_local=service.is_local)
            tokens = TokenSource(service.credentials, clock)
            async with open_session(service.base_url) as session, open_download_session(links) as downloads:
                gate, callback_url = SubmissionGate(monitor, self.halt), callbacks.url if callbacks else None
                context = Context(
                    store=store,
                    batch=batch,
                    client=KlingClient(session, service.base_url, tokens, gate, callback_url=callback_url),
                    clock=clock,
                    limiter=TaskLimiter(self.limits.max_concurrent, rng=rng),
                    output_dir=settings.output_dir,
                    room=DiskRoom(settings.output_dir, self.free_bytes, self.observer, changed),
                    changed=changed,
                    budgets=settings.budget,
                    rolling=tuple(settings.rolling_budget.values()),
                    policy=Policy(
                        settle_s=settings.task_settle_s,
                        task_deadline_s=settings.task_deadline_s,
                        max_attempts=settings.max_attempts,
                        repeat_lost=settings.repeat_lost,
                    ),
                    rng=rng,
                    observer=self.observer,
                    halt=self.halt,
                    hints=hints,
                    lost_at_s=await lost_at_s(store, clock),
                )
                downloader = Downloader(downloads, links, rng=rng, epoch=clock.epoch())
                yield context, Collector(context, downloader)

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
