"""The door for programs and notebooks: ``await batch_runner.run(...)``; the command line uses it too."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from batch_runner.callbacks import callbacks_of
from batch_runner.clock import Clock, SystemClock
from batch_runner.download import free_bytes
from batch_runner.events import Observer
from batch_runner.intake import manifest_of
from batch_runner.launch import Keyring, Launch, ignore
from batch_runner.manifest import Manifest
from batch_runner.naming import batch_name, realm_of
from batch_runner.progress import choose, running_in_notebook
from batch_runner.records import SummaryRecord
from batch_runner.runner import BatchLists, FreeBytes, Halt, has_work
from batch_runner.service import check_keys, embedded_sandbox, limits_of
from batch_runner.settings import SETTINGS_FILE, Settings, resolve


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
    settings = resolve(options, os.environ, SETTINGS_FILE)
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
    if settings.sandbox:
        embedded_sandbox()
    await launch.check()
    keys, callbacks = Keyring(settings, environ), callbacks_of(settings, environ)
    if not (settings.output_dir / "state.db").exists() and any(True for _ in manifest.items()):
        keys.get()  # a first run without keys stops before it makes anything
    async with launch.held() as (launch, store):
        batch = await launch.load(store)
        lists = BatchLists(settings.output_dir, batch)
        if not await has_work(store, batch, lists, retry_failed=settings.retry_failed):
            return await launch.nothing_to_do(store, batch)
        found = keys.get()
        if found is not None:
            check_keys(await store.open_rows(batch, with_failed=settings.retry_failed), found)
        return await launch.run(store, batch, found, callbacks)


async def repair_settings(
    path: Path,
    settings: Settings,
    *,
    environ: Mapping[str, str],
    observer: Observer = ignore,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> dict[str, str]:
    """Fetch finished files that are missing or altered again; never generates, never pays.

    The manifest only tells the batch: what stands in it by now, or that it cannot be read any more, changes nothing.

    What stands altered under a final name is kept beside it as ``NAME.damaged-1``, and what the service hands out now
    instead of the recorded file as ``NAME.other-1``. The arguments are those of ``run_settings``.

    Returns:
        For every item that could not be restored, why.
    """
    launch = _launch(path, settings, observer, clock, None)
    launch = replace(launch, rng=rng or launch.rng)
    async with launch.held() as (launch, store):
        batch = await store.known_batch(launch.name, realm_of(settings))
        return {} if batch is None else await launch.repair(store, batch, Keyring(settings, environ))


def _launch(
    manifest: Path | Manifest, settings: Settings, observer: Observer, clock: Clock | None, halt: Halt | None
) -> Launch:
    source = manifest if isinstance(manifest, Manifest) else manifest_of(manifest, settings)
    limits, name = limits_of(settings), batch_name(source.path, settings)
    return Launch(source, name, settings, limits, clock or SystemClock(), halt or Halt(), observer)
