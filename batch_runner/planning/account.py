"""The account's packs beside a plan: what they hold, until when, and whether they last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batch_runner.clock import SystemClock, iso_utc
from batch_runner.errors import AccountError, StoppedError
from batch_runner.inert import inert
from batch_runner.kling import AccountPack, Trouble
from batch_runner.records import credits_named, credits_text
from batch_runner.runner import PACKS_WINDOW_S, supply_warnings
from batch_runner.service import limits_of, open_client, open_service
from batch_runner.settings import NO_KEYS_TEXT, Settings, load_keys
from batch_runner.store import LeftRow
from batch_runner.wording import plural


async def account_packs(settings: Settings, environ: Mapping[str, str]) -> list[AccountPack]:
    """The account's packs, asked for now; this is the only thing that ``plan --account`` sends.

    Raises:
        AccountError: there are no keys, or the account may not ask.
        StoppedError: no answer now.
    """
    clock = SystemClock()
    keys = None if settings.sandbox else load_keys(environ, settings.keys_path)
    if keys is None and not settings.sandbox:
        raise AccountError(NO_KEYS_TEXT)
    now_ms = int(clock.wall_s() * 1000)
    async with (
        open_service(settings, limits_of(settings), keys, clock, journal_path=None) as service,
        open_client(service, clock) as client,
    ):
        try:
            return await client.packs(now_ms - PACKS_WINDOW_S * 1000, now_ms)
        except Trouble as trouble:
            text = f"the account's packs cannot be read now ({trouble}); run the same command again"
            raise StoppedError(text) from None


def account_lines(packs: Sequence[AccountPack], left: Sequence[LeftRow], max_concurrent: int) -> list[str]:
    """The packs for people, and where they will not last for what is left."""
    lines = ["packs of the account:"] if packs else ["the account has no pack"]
    for pack in packs:
        held = "an unknown number of credits" if pack.remaining is None else credits_named(pack.remaining)
        at_a_time = "" if pack.concurrency is None else f", {plural(pack.concurrency, 'task')} at a time"
        until = "a date that is not said" if pack.lapses_at_s is None else iso_utc(pack.lapses_at_s)
        lines.append(f"  {inert(pack.name)}: {inert(pack.status)}, {held} left, until {until}{at_a_time}")
    return lines + list(supply_warnings(packs, left, SystemClock().wall_s(), max_concurrent))


def account_data(packs: Sequence[AccountPack]) -> list[dict[str, Any]]:
    """The packs for programs."""
    return [
        {
            "name": pack.name,
            "pack": None if pack.pack is None else pack.pack.value,
            "status": pack.status,
            "remaining": None if pack.remaining is None else credits_text(pack.remaining),
            "expires_at": None if pack.lapses_at_s is None else iso_utc(pack.lapses_at_s),
            "max_concurrent": pack.concurrency,
        }
        for pack in packs
    ]
