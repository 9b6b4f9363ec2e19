"""``ledger --reconcile``: asks the account what was used, and says what does not add up with the ledger."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from batch_runner.answer import Answer, table
from batch_runner.clock import Clock, SystemClock, iso_utc
from batch_runner.errors import AccountError, ExitCode, StoppedError
from batch_runner.folder import held_folder
from batch_runner.inert import inert
from batch_runner.kling import AccountPack, Deduction, KlingClient, TokenSource, Trouble, open_session
from batch_runner.launch import SANDBOX_JOURNAL, ignore
from batch_runner.looking import reader_path
from batch_runner.model import Realm
from batch_runner.naming import realm_of
from batch_runner.reconciliation import Account, Comparison, Deductions, Finding, compare
from batch_runner.records import credits_named, credits_text
from batch_runner.service import limits_of, open_service, request_monitor
from batch_runner.settings import NO_KEYS_TEXT, Settings, load_keys
from batch_runner.statement import place
from batch_runner.store import BookedTask, SqliteStore, StoreReader
from batch_runner.wording import by_count

_PAUSE_S = 1.1
"""The vendor asks for at most one question about the account a second (kling-api 3.21)."""
_LONGEST_VALID_S = 200 * 86_400
"""Longer than any pack is valid: one that was bought that long before the first entry may have paid for it."""
_SKEW_S = 3600
_PAGE = 500
_MOST_PAGES = 200
_SHOWN_MISMATCHES = 20

_WORDS = {
    Finding.ADDS_UP: "adds up",
    Finding.CANNOT_TELL: "cannot be told exactly",
    Finding.DOES_NOT_ADD_UP: "DOES NOT ADD UP",
}


async def reconcile(settings: Settings, environ: Mapping[str, str], clock: Clock | None = None) -> Answer:
    """The ledger of the whole output folder against the account; exit 5 where they cannot both be right.

    The folder is held meanwhile, so that nothing moves and the questions count against the request limit.

    Raises:
        AccountError: there are no keys, or the account may not ask.
        StoppedError: the API gives no answer.
        OutputFolderLockedError: a run is going on.
    """
    realm = realm_of(settings)
    _, since_s = _booked(settings, realm)
    if since_s is None:
        line = f"the ledger of {settings.output_dir} has no entry{place(realm)}; there is nothing to compare"
        return Answer([line], {"realm": realm.value, "packs": []})
    now = clock or SystemClock()
    async with _client(settings, environ, now) as client:
        tasks, _ = _booked(settings, realm)  # again, now that nobody writes
        account, why_no_list = await _ask(client, since_s, now)
    return _answer(realm, account, compare(tasks, account), why_no_list)


def _booked(settings: Settings, realm: Realm) -> tuple[list[BookedTask], float | None]:
    with StoreReader.open(reader_path(settings)) as reader:
        batches = [batch for batch in reader.batches() if batch.realm is realm]
        return reader.booked(batches), reader.first_entry_at_s(batches)


@asynccontextmanager
async def _client(settings: Settings, environ: Mapping[str, str], clock: Clock) -> AsyncIterator[KlingClient]:
    keys = None if settings.sandbox else load_keys(environ, settings.keys_path)
    if keys is None and not settings.sandbox:
        raise AccountError(NO_KEYS_TEXT)
    limits, rng = limits_of(settings), random.Random()  # noqa: S311 - jitter, not cryptography
    with held_folder(settings.output_dir):
        store = await SqliteStore.open(settings.output_dir / "state.db", clock)
        try:
            journal_path = settings.output_dir / SANDBOX_JOURNAL
            async with open_service(settings, limits, keys, clock, journal_path=journal_path) as service:
                monitor = await request_monitor(service, store, limits, clock, rng, ignore)
                async with open_session(service.base_url) as session:
                    tokens = TokenSource(service.credentials, clock)
                    yield KlingClient(session, service.base_url, tokens, monitor)
        finally:
            await store.close()


async def _ask(client: KlingClient, since_s: float, clock: Clock) -> tuple[Account, str | None]:
    """What the account says, and why it lists no deductions where it does not."""
    end_ms = round(clock.wall_s() * 1000)
    try:
        packs = await client.packs(round((since_s - _LONGEST_VALID_S) * 1000), end_ms)
    except Trouble as trouble:
        raise StoppedError(f"the account's packs cannot be read now ({trouble}); run the same command again") from None
    deductions, why = None, None
    try:
        deductions = await _deductions(client, round((since_s - _SKEW_S) * 1000), end_ms)
    except Trouble as trouble:
        why = str(trouble)
    return Account(packs, deductions, since_s, clock.wall_s()), why


async def _deductions(client: KlingClient, start_ms: int, end_ms: int) -> Deductions:
    """Everything that was deducted for tasks of that time, from packs and in money."""
    rows, is_whole = await _pages(client, start_ms, end_ms, of_balance=False)
    money, is_money_whole = await _pages(client, start_ms, end_ms, of_balance=True)
    paid = frozenset(row.task_id for row in money)
    return Deductions(rows, paid, is_complete=is_whole and is_money_whole)


async def _pages(client: KlingClient, start_ms: int, end_ms: int, *, of_balance: bool) -> tuple[list[Deduction], bool]:
    rows: list[Deduction] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        await asyncio.sleep(_PAUSE_S)
        page, cursor = await client.deductions(
            cursor, of_balance=of_balance, start_ms=start_ms, end_ms=end_ms, limit=_PAGE
        )
        rows += page
        if cursor is None:
            return rows, True
    return rows, False


def _answer(realm: Realm, account: Account, found: Sequence[Comparison], why_no_list: str | None) -> Answer:
    lines = [f"ledger against account since {iso_utc(account.since_s)}{place(realm)}", ""]
    lines += table([("pack", "ledger", "held", "account", "finding"), *map(_row, found)])
    if why_no_list is not None:
        lines += ["", f"the account lists no deductions ({why_no_list}), so that only totals can be compared"]
    for comparison in found:
        lines += ["", *_details(comparison, account.packs)]
    data: dict[str, Any] = {
        "realm": realm.value,
        "since": iso_utc(account.since_s),
        "lists_deductions": account.deductions is not None,
        "packs": [comparison.as_json() for comparison in found],
    }
    is_wrong = any(comparison.finding is Finding.DOES_NOT_ADD_UP for comparison in found)
    return Answer(lines, data, ExitCode.ACCOUNT if is_wrong else ExitCode.OK)


def _row(comparison: Comparison) -> tuple[str, ...]:
    figures = (credits_text(comparison.consumed), credits_text(comparison.held))
    return (comparison.pack, *figures, _account_words(comparison), _WORDS[comparison.finding])


def _account_words(comparison: Comparison) -> str:
    """What the account says was used since the first entry: a figure where it lists deductions, else bounds."""
    if comparison.deducted is not None:
        return credits_text(comparison.deducted)
    if comparison.least is None or comparison.most is None:
        return "unknown"
    least, most = credits_text(comparison.least), credits_text(comparison.most)
    return least if least == most else f"{least} to {most}"


def _details(comparison: Comparison, packs: Sequence[AccountPack]) -> list[str]:
    lines = [f"{comparison.pack}: {note}" for note in comparison.notes]
    lines += [f"{comparison.pack}: {inert(str(each))}" for each in comparison.mismatches[:_SHOWN_MISMATCHES]]
    more = len(comparison.mismatches) - _SHOWN_MISMATCHES
    if more > 0:
        lines.append(f"{comparison.pack}: ... and {more:,} more {by_count(more, 'task', 'tasks')}, see --json")
    for pack in packs:
        if pack.pack is comparison.pack and pack.total is not None and pack.remaining is not None:
            used = f"{credits_text(pack.total - pack.remaining)} of {credits_named(pack.total)} used"
            lines.append(f"{comparison.pack}: the pack {inert(pack.name)} ({inert(pack.status)}) has {used}")
    return lines
