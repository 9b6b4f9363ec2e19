"""``doctor``: keys, clock, disk, versions, state.db, the account's packs; each with what to do when it is not well."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp

from batch_runner.answer import Answer
from batch_runner.clock import Clock, SystemClock, iso_utc
from batch_runner.download import free_bytes
from batch_runner.errors import AccountError, ExitCode, StoreError
from batch_runner.kling import KlingClient, NotConnectedError, TokenSource, Trouble, explained
from batch_runner.records import credits_text
from batch_runner.runner import PACKS_WINDOW_S
from batch_runner.service import limits_of, open_client, open_service
from batch_runner.settings import NO_KEYS_TEXT, Settings, load_keys
from batch_runner.store import StoreReader
from batch_runner.wording import plural

_LITTLE_DISK_BYTES = 2_000_000_000
_PATIENCE_S = 20.0
_CLOCK_WORRY_S = 5.0
"""``nbf`` allows our clock to be 5 s fast (kling-api 2.1)."""
_REACH_OF_A_PAIR = "the models of the first API generation; those of the new standard need KLING_API_KEY"
_LIBRARIES = ("aiohttp", "PyJWT", "aiofiles", "tqdm")


class _Findings:
    """Lines, data and the worst exit code so far."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.data: dict[str, Any] = {}
        self.exit_code = ExitCode.OK

    def add(self, name: str, text: str, *, bad: ExitCode | None = None) -> None:
        self.lines += f"{'!!' if bad else 'ok'}  {name}: {text}".split("\n")
        self.data[name] = {"ok": bad is None, "text": text}
        if bad is not None and self.exit_code is ExitCode.OK:
            self.exit_code = bad


async def examine(settings: Settings, environ: Mapping[str, str]) -> Answer:
    """Look at everything a run needs; the first thing that is not well gives the exit code (5 account, 6 disk)."""
    findings = _Findings()
    _versions(findings)
    _disk(findings, settings.output_dir)
    await asyncio.get_running_loop().run_in_executor(None, _state, findings, settings.output_dir / "state.db")
    try:
        await _account(findings, settings, environ)
    except AccountError as error:
        findings.add("account", str(error), bad=error.exit_code)
    return Answer(findings.lines, findings.data, findings.exit_code)


def _versions(findings: _Findings) -> None:
    names = [f"{name} {version(name)}" for name in _LIBRARIES]
    own = f"batch_runner {version('batch-runner')}, Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}"
    findings.add("versions", ", ".join([own, *names]))


def _disk(findings: _Findings, output_dir: Path) -> None:
    folder = output_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        findings.add("disk", f"{folder} cannot be written; choose another --output-dir", bad=ExitCode.DISK)
        return
    free = free_bytes(folder)
    text = f"{free / 1e9:.1f} GB free for {output_dir}"
    if free < _LITTLE_DISK_BYTES:
        findings.add("disk", f"{text}; a 5 s clip is 5 to 30 MB, make room first", bad=ExitCode.DISK)
    else:
        findings.add("disk", text)


def _state(findings: _Findings, state_path: Path) -> None:
    """Whether what earlier runs left can be read and built on; nothing where there was no run yet."""
    if not state_path.is_file():
        return
    try:
        with StoreReader.open(state_path) as reader:
            reader.require_sound()
            count = len(reader.batches())
    except StoreError as error:
        findings.add("state", str(error), bad=error.exit_code)
    else:
        findings.add("state", f"{state_path} can be read and holds {plural(count, 'batch', 'batches')}")


async def _account(findings: _Findings, settings: Settings, environ: Mapping[str, str]) -> None:
    clock = SystemClock()
    keys = None if settings.sandbox else load_keys(environ, settings.keys_path)
    if keys is None and not settings.sandbox:
        raise AccountError(NO_KEYS_TEXT)
    async with open_service(settings, limits_of(settings), keys, clock, journal_path=None) as service:
        findings.add("address", service.base_url + (" (SIMULATED)" if settings.sandbox else ""))
        if not await _is_reached(findings, service.base_url, clock):
            return
        has_api_key = TokenSource(service.credentials, clock).has_api_key
        async with open_client(service, clock) as client:
            await _packs(findings, client, clock, reach="every model" if has_api_key else _REACH_OF_A_PAIR)


async def _is_reached(findings: _Findings, base_url: str, clock: Clock) -> bool:
    """Compare with the service's ``Date`` header, asked without keys; False if no connection came about."""
    try:
        timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(base_url, allow_redirects=False) as response,
        ):
            date = response.headers.get("Date", "")
        offset_s = clock.wall_s() - parsedate_to_datetime(date).timestamp()
    except (aiohttp.ClientError, TimeoutError) as error:
        trouble = explained(error, _PATIENCE_S)
        findings.add("connection", str(trouble), bad=ExitCode.STOPPED)
        return not isinstance(trouble, NotConnectedError)
    except (ValueError, TypeError):
        findings.add("clock", "the service does not state its time")
    else:
        text = f"{abs(offset_s):.0f} s {'ahead of' if offset_s >= 0 else 'behind'} the service"
        late = abs(offset_s) > _CLOCK_WORRY_S
        findings.add("clock", f"{text}; the runner allows for it, but set the clock right" if late else text)
    return True


async def _packs(findings: _Findings, client: KlingClient, clock: Clock, *, reach: str) -> None:
    now_ms = int(clock.wall_s() * 1000)
    try:
        packs = await client.packs(now_ms - PACKS_WINDOW_S * 1000, now_ms)
    except Trouble as trouble:
        findings.add("account", f"packs cannot be read now: {trouble}", bad=ExitCode.STOPPED)
        return
    findings.add("keys", f"accepted; they reach {reach}")
    if not packs:
        findings.add(
            "packs", f"none in the last {PACKS_WINDOW_S // 86_400} days; buy one in the console", bad=ExitCode.ACCOUNT
        )
    for pack in packs:
        remaining, total = (None if each is None else credits_text(each) for each in (pack.remaining, pack.total))
        until = "not said" if pack.lapses_at_s is None else iso_utc(pack.lapses_at_s)
        left = f"{remaining or 'unknown'} of {total or 'unknown'} credits left"
        at_a_time = "" if pack.concurrency is None else f", {plural(pack.concurrency, 'task')} at a time"
        findings.add(f"pack {pack.name}", f"{pack.status}, {left}, valid until {until}{at_a_time}")
