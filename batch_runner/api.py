"""The door for programs and notebooks: ``await batch_runner.run(...)``; the command line uses it too."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping
from pathlib import Path

from batch_runner.clock import Clock, SystemClock
from batch_runner.download import Downloader, LinkPolicy, open_download_session
from batch_runner.errors import AccountError
from batch_runner.events import Event, Notice, Observer
from batch_runner.folder import batch_name, held_folder
from batch_runner.kling import KlingClient, TokenSource, open_session
from batch_runner.limits import TaskLimiter
from batch_runner.manifest import Manifest
from batch_runner.media import inspect_image
from batch_runner.records import SummaryRecord
from batch_runner.runner import Context, Halt, Policy, Run, SubmissionGate, has_work, record_idle, write_derived
from batch_runner.service import Limits, Service, limits_of, open_service, request_monitor, say_limits
from batch_runner.settings import NO_KEYS_TEXT, Settings, load_keys, resolve
from batch_runner.store import Batch, SqliteStore, Store

SANDBOX_JOURNAL = ".sandbox.jsonl"
"""Below the output folder: the embedded sandbox remembers its tasks here, and survives a kill as Kling would."""


def ignore(_: Event) -> None:
    """An observer for callers that want none."""


async def run(manifest: str | Path, *, observer: Observer = ignore, **options: object) -> SummaryRecord:
    """Submit, poll, download and keep the ledger of one manifest; call it again to go on.

    Args:
        manifest: path of a JSON Lines file.
        observer: is handed every ``events.Event``; see ``batch_runner.progress.choose`` for ready ones.
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
    return await run_settings(Path(manifest), settings, environ=os.environ, observer=observer)


def run_sync(manifest: str | Path, *, observer: Observer = ignore, **options: object) -> SummaryRecord:
    """``run`` for scripts without an event loop; see there."""
    return asyncio.run(run(manifest, observer=observer, **options))


async def run_settings(
    path: Path,
    settings: Settings,
    *,
    environ: Mapping[str, str],
    observer: Observer = ignore,
    clock: Clock | None = None,
    halt: Halt | None = None,
) -> SummaryRecord:
    """``run`` with settings that are already resolved; ``halt`` lets the caller stop it (signals)."""
    clock = clock or SystemClock()
    halt = halt or Halt()
    limits = limits_of(settings)
    name = batch_name(path, settings)
    manifest = Manifest(path, inspect_image)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, manifest.check)
    with held_folder(settings.output_dir):
        store = await SqliteStore.open(settings.output_dir / "state.db", clock)
        try:
            batch = await store.load_batch(name, sandbox=settings.sandbox, manifest=str(path), items=manifest.items)
            if not await has_work(store, batch, retry_failed=settings.retry_failed):
                return await _nothing_to_do(store, batch, settings, path, clock, observer)
            keys = None if settings.sandbox else load_keys(environ, settings.keys_path)
            if keys is None and not settings.sandbox:
                raise AccountError(NO_KEYS_TEXT)
            say_limits(limits, settings, observer)
            journal_path = settings.output_dir / SANDBOX_JOURNAL
            async with open_service(settings, limits, keys, clock, journal_path=journal_path) as service:
                return await _run(service, store, batch, settings, limits, path, clock, halt, observer)
        finally:
            await store.close()


async def _nothing_to_do(
    store: Store, batch: Batch, settings: Settings, path: Path, clock: Clock, observer: Observer
) -> SummaryRecord:
    """A finished batch costs nothing: not a request, and not a byte where the files already say so."""
    await record_idle(store, batch, manifest=str(path), budget=settings.budget, clock=clock)
    summary = await write_derived(store, batch, settings.output_dir)
    assert summary is not None
    observer(Notice(f"{batch.name}: nothing is left to do"))
    return summary


async def _run(
    service: Service,
    store: Store,
    batch: Batch,
    settings: Settings,
    limits: Limits,
    path: Path,
    clock: Clock,
    halt: Halt,
    observer: Observer,
) -> SummaryRecord:
    rng = random.Random()  # noqa: S311 - jitter, not cryptography
    monitor = await request_monitor(service, store, limits, clock, rng, observer)
    policy = LinkPolicy(allow_local=service.is_local)
    async with open_session(service.base_url) as session, open_download_session(policy) as downloads:
        tokens = TokenSource(service.credentials, clock)
        context = Context(
            store=store,
            batch=batch,
            client=KlingClient(session, service.base_url, tokens, SubmissionGate(monitor, halt)),
            monitor=monitor,
            limiter=TaskLimiter(limits.max_concurrent, rng=rng),
            downloader=Downloader(downloads, policy, rng=rng, epoch=clock.epoch()),
            output_dir=settings.output_dir,
            budgets=settings.budget,
            policy=Policy(settings.task_settle_s, settings.task_deadline_s, settings.max_attempts),
            rng=rng,
            observer=observer,
            halt=halt,
        )
        one_run = Run(
            context,
            clock=clock,
            manifest=str(path),
            rpm=limits.rpm,
            retry_failed=settings.retry_failed,
            max_runtime_s=settings.max_runtime_s,
        )
        return await one_run()
