"""Where a run's requests go and how fast: the real API or the embedded sandbox, tiers, and stamps of earlier runs."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yarl import URL

from batch_runner import catalog
from batch_runner.catalog import PriceBook
from batch_runner.clock import Clock
from batch_runner.errors import AccountError, UsageError
from batch_runner.events import Notice, Observer
from batch_runner.kling import NEEDS_API_KEY, Credentials, KlingClient, TokenSource, open_session
from batch_runner.limits import MINUTE_S, RateLimitMonitor, loop_now_s
from batch_runner.model import NOTHING, Realm
from batch_runner.naming import realm_of
from batch_runner.sandbox import WorldConfig
from batch_runner.settings import Keys, Settings
from batch_runner.store import LOST_SCOPE, OpenRow, Stamp, Store
from batch_runner.wording import plural, request_rate

if TYPE_CHECKING:
    from batch_runner.sandbox import Sandbox

_STAMPS_KEPT = 2000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run keeps to.

    Attributes:
        max_concurrent: tasks in flight.
        rpm: requests in any 60 s; 0 is no limit.
        source: which tier or setting they come from, in words.
    """

    max_concurrent: int
    rpm: int
    source: str


@dataclass(frozen=True, slots=True)
class Service:
    """Where a run's requests go, and with which keys."""

    base_url: str
    credentials: Credentials
    is_local: bool


async def request_monitor(
    service: Service,
    store: Store,
    limits: Limits,
    clock: Clock,
    rng: random.Random,
    observer: Observer,
) -> RateLimitMonitor:
    """The request limiter, with the requests of earlier runs still counted.

    Where a store was lost within the last minute, a full minute of requests is assumed.
    """
    scope = str(URL(service.base_url).host)
    epoch = clock.epoch()

    async def journal(loop_s: float) -> None:
        await store.add_stamp(scope, Stamp(epoch, loop_s, clock.wall_s()), max(_STAMPS_KEPT, 4 * limits.rpm))

    monitor = RateLimitMonitor(
        limits.rpm,
        rng=rng,
        warning_pct=100.0,  # the poller spends what submissions leave, so that only a full window is news
        journal=journal,
        notice=_told_once(observer),
    )
    monitor.restore(on_this_loop(await store.stamps(scope), clock))
    lost_s = await lost_at_s(store, clock)
    if limits.rpm and loop_now_s() - lost_s < MINUTE_S:
        monitor.restore([lost_s] * limits.rpm)
        observer(Notice("state.db was lost: waiting a minute, so that the request limit holds for what it knew"))
    return monitor


def _told_once(observer: Observer) -> Callable[[str], None]:
    """A full window is news the first time; the poller keeps it full on purpose."""
    told: set[str] = set()

    def tell(text: str) -> None:
        if text not in told:
            told.add(text)
            observer(Notice(text))

    return tell


@asynccontextmanager
async def open_service(
    settings: Settings,
    limits: Limits,
    keys: Keys | None,
    clock: Clock,
    *,
    journal_path: Path | None,
    webhook_secrets: Sequence[str] = (),
) -> AsyncIterator[Service]:
    """The service that a run talks to, for the length of a block: the real API with keys, else the sandbox.

    The sandbox signs its calls with ``webhook_secrets``.

    Raises:
        DiskError: the sandbox's journal cannot be used.
    """
    if keys is not None:
        credentials = Credentials.from_keys(keys.access_key, keys.secret_key, keys.api_key)
        yield Service(settings.base_url, credentials, is_local=realm_of(settings) is Realm.LOCAL)
        return
    config = WorldConfig(
        seed=settings.sandbox_seed,
        speed=settings.sandbox_speed,
        max_concurrent=limits.max_concurrent,
        rpm=limits.rpm or None,
    )
    async with embedded_sandbox()(
        config, clock=clock, price=sandbox_price, journal_path=journal_path, webhook_secrets=webhook_secrets
    ) as sandbox:
        credentials = Credentials.from_keys(sandbox.access_key, sandbox.secret_key, sandbox.api_key)
        yield Service(sandbox.base_url, credentials, is_local=True)


def embedded_sandbox() -> type[Sandbox]:
    """The simulated service. A run that will need it asks before it holds anything, so that it is loaded by then."""
    from batch_runner.sandbox import Sandbox  # noqa: PLC0415 - a tenth of a start, for simulated runs alone

    return Sandbox


@asynccontextmanager
async def open_client(service: Service, clock: Clock) -> AsyncIterator[KlingClient]:
    """A client for a question or two about the account, outside of any run."""
    async with open_session(service.base_url) as session:
        gate = RateLimitMonitor(0, rng=random.Random())  # noqa: S311 - jitter, not cryptography
        yield KlingClient(session, service.base_url, TokenSource(service.credentials, clock), gate)


def check_keys(rows: Sequence[OpenRow], keys: Keys) -> None:
    """See that every item can be asked for with these keys; the rows in the order of their lines.

    Raises:
        AccountError: some are made by models that only an API key reaches.
    """
    beyond = [row for row in rows if catalog.route(row.kind, row.model).needs_api_key]
    if not beyond or keys.api_key:
        return
    first, more = beyond[0], sum(row.count for row in beyond) - 1
    text = f"{first.item_id} (line {first.line}, {first.model})" + (f" and {more:,} more" if more else "")
    raise AccountError(f"nothing was sent, for {text}: {NEEDS_API_KEY}")


def on_this_loop(stamps: Iterable[Stamp], clock: Clock) -> list[float]:
    """The stamps as moments of the running loop's clock.

    Another boot's are placed by the wall clock, which somebody may have set since, but never within this boot.
    """
    epoch, uptime_s = clock.epoch(), clock.uptime_s()
    now_s, now_wall_s = loop_now_s(), clock.wall_s()

    def age_s(stamp: Stamp) -> float:
        return min(uptime_s, max(0.0, now_wall_s - stamp.wall_s))

    return [stamp.loop_s if stamp.epoch == epoch else now_s - age_s(stamp) for stamp in stamps]


async def lost_at_s(store: Store, clock: Clock) -> float:
    """When a store was lost here, on the running loop's clock; minus infinity for never."""
    return max(on_this_loop(await store.stamps(LOST_SCOPE), clock), default=float("-inf"))


def limits_of(settings: Settings) -> Limits:
    """The limits that the settings ask for: a tier's, or the polite default's, each overridden by its own option.

    Raises:
        UsageError: there is no such tier.
    """
    tiers = catalog.tiers()
    tier = catalog.default_tier()
    if settings.tier is not None:
        if settings.tier not in tiers:
            near = get_close_matches(settings.tier, tiers, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(tiers)}"
            given = "as --tier, as BATCH_RUNNER_TIER or in the settings file"
            raise UsageError(f"there is no tier {settings.tier!r} (given {given}); {hint}")
        tier = tiers[settings.tier]
    return Limits(
        tier.max_concurrent if settings.max_concurrent is None else settings.max_concurrent,
        tier.rpm if settings.rpm is None else settings.rpm,
        f"tier {tier.name}: {tier.source}",
    )


def price_book_of(settings: Settings) -> PriceBook:
    """The price book that a run is charged by, with the buffer that the settings ask for."""
    book = catalog.default_price_book()
    return book if settings.price_buffer_pct is None else replace(book, buffer_pct=settings.price_buffer_pct)


def say_limits(limits: Limits, settings: Settings, observer: Observer) -> None:
    """Say the default limits aloud, where nobody chose any."""
    if settings.tier is None and (settings.max_concurrent is None or settings.rpm is None):
        tasks, rate = plural(limits.max_concurrent, "task"), request_rate(limits.rpm)
        observer(Notice(f"no --tier given: at most {tasks} at a time, {rate} ({limits.source})"))


def sandbox_price(
    kind: str,
    body: Mapping[str, Any],
    lengths: Mapping[str, Decimal] = NOTHING,
    inherited: Mapping[str, str] = NOTHING,
) -> Decimal:
    """What the simulated service deducts: the catalogue's price, 0 for what it does not list."""
    if kind not in catalog.kinds():
        return Decimal(0)
    price = catalog.price(kind, body, lengths, inherited)
    return Decimal(0) if price is None else price.credits
