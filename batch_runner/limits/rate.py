"""Lets API requests go so that the limit per minute holds, and makes the whole run pause when told to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from heapq import heappop, heappush

from batch_runner.limits.backoff import Backoff
from batch_runner.limits.loop_time import loop_now_s
from batch_runner.limits.window import NEVER, SlidingWindow

MINUTE_S = 60.0
RETRY_AFTER_CAP_S = 120.0
"""A longer ``Retry-After`` is not believed: a wrong header must not put a run to sleep for a day."""
BURST_AFTER = 5
BURST_PAUSE_S = (30.0, 60.0)

_FIRST = {"submit": 0}
_LATER = 1

Journal = Callable[[float], Awaitable[None]]
_Waiter = tuple[int, int, "asyncio.Future[None]"]


class RateLimitMonitor:
    """At most ``rpm`` API requests in any 60 seconds, all kinds together; ``rpm`` 0 is no limit.

    Args:
        rpm: requests a minute.
        rng: the dice for pauses.
        margin_s: seconds added to the minute, for two clocks that do not run quite alike.
        warning_pct: the share of the limit, in percent, from which ``notice`` is told once.
        journal: makes a request's stamp (in the event loop's time) durable; awaited before the request goes,
            so that a run killed right after still counts it. A request that was open for longer than the
            margin is journalled once more at its end: the server may have counted it that late.
        notice: takes one sentence for a person.
    """

    def __init__(
        self,
        rpm: int,
        *,
        rng: random.Random,
        margin_s: float = 1.0,
        warning_pct: float = 80.0,
        journal: Journal | None = None,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        self._rpm = rpm
        self._rng = rng
        self._margin_s = margin_s
        self._warning_pct = warning_pct
        self._journal = journal
        self._notice = notice
        self._window = SlidingWindow(rpm, MINUTE_S + margin_s) if rpm else None
        self._waiters: list[_Waiter] = []
        self._arrivals = 0
        self._timer: asyncio.TimerHandle | None = None
        self._paused_since = -NEVER
        self._paused_until = -NEVER
        self._backoff = Backoff(1.0, 60.0, rng)
        self._refused_in_row = 0
        self._warned = False

    @property
    def usage_pct(self) -> float:
        """The share of the limit that counts now, in percent; 0 without a limit."""
        return 100.0 * self._window.used(loop_now_s()) / self._rpm if self._window else 0.0

    @asynccontextmanager
    async def permit(self, kind: str) -> AsyncIterator[float]:
        """Wait for leave to send one request; ``submit`` goes before every other kind, each in its order.

        Yields the loop's time at which the request is let go. Leaving the block is the request's end.
        """
        await self._granted(kind)
        stamp_s = await self._journalled()
        cancellation = None
        try:
            yield loop_now_s()
        except asyncio.CancelledError as error:
            cancellation = error
            raise
        finally:
            await self._over(stamp_s, cancellation)

    async def _over(self, stamp_s: float, cancellation: asyncio.CancelledError | None) -> None:
        """A request has ended. A journal that fails then must not hide its cancellation: its caller would go on."""
        ended_s = loop_now_s()
        self._end(ended_s)
        if self._journal is None or ended_s - stamp_s <= self._margin_s:
            return
        try:
            await self._journal(ended_s)
        except Exception as error:
            if cancellation is None:
                raise
            raise cancellation from error

    def restore(self, stamps_s: Iterable[float]) -> None:
        """Count the requests of an earlier run, given as moments of this loop's time.

        A stamp from the future (somebody set a clock back) counts as now.
        """
        if self._window:
            now_s = loop_now_s()
            self._window.record(min(stamp_s, now_s) for stamp_s in stamps_s)
            self._pump()

    def pause(self, seconds: float) -> None:
        """Let nothing go for this long; a longer pause that is under way stays."""
        now_s = loop_now_s()
        if now_s >= self._paused_until:
            self._paused_since = now_s
        self._paused_until = max(self._paused_until, now_s + seconds)
        self._pump()

    def throttled(self, retry_after_s: float | None = None, sent_at: float | None = None) -> None:
        """A request was refused for its rate: hold the whole run back.

        Requests that were already under way when a pause began tell nothing new by being refused too:
        they neither lengthen the pause nor count as another refusal in a row.

        Args:
            retry_after_s: the server's wish, believed up to ``RETRY_AFTER_CAP_S``.
            sent_at: what ``permit`` yielded for that request; without it, any refusal during a pause is old.
        """
        now_s = loop_now_s()
        if now_s < self._paused_until or (sent_at is not None and sent_at <= self._paused_since):
            return
        self._refused_in_row += 1
        self.pause(max(self._pause_s(), min(retry_after_s or 0.0, RETRY_AFTER_CAP_S)))

    def answered(self) -> None:
        """A request was answered without a word about its rate: the refusals in a row are over."""
        self._refused_in_row = 0
        self._backoff.reset()

    def _pause_s(self) -> float:
        if self._refused_in_row >= BURST_AFTER:
            return self._rng.uniform(*BURST_PAUSE_S)
        return self._backoff.next_s()

    async def _granted(self, kind: str) -> None:
        granted = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heappush(self._waiters, (_FIRST.get(kind, _LATER), self._arrivals, granted))
        self._pump()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._withdraw()
            raise

    async def _journalled(self) -> float:
        stamp_s = loop_now_s()
        if self._journal:
            try:
                await self._journal(stamp_s)
            except BaseException:
                self._withdraw()
                raise
        return stamp_s

    def _withdraw(self) -> None:
        """A granted permit is not used: whoever waits next may have it."""
        if self._window:
            self._window.withdraw()
        self._pump()

    def _end(self, now_s: float) -> None:
        if self._window:
            self._window.end(now_s)
        self._pump()

    def _pump(self) -> None:
        """Grant what may go now, in order, and set the timer for the next moment something may."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while self._waiters:
            granted = self._waiters[0][2]
            if not granted.done():
                now_s = loop_now_s()
                free_at = self._next_free_at(now_s)
                if free_at > now_s:
                    self._wake_at(free_at)
                    return
                self._grant(granted)
            heappop(self._waiters)

    def _next_free_at(self, now_s: float) -> float:
        free_at = self._window.next_free_at(now_s) if self._window else now_s
        return max(free_at, self._paused_until)

    def _grant(self, granted: asyncio.Future[None]) -> None:
        if self._window:
            self._warn_below()
            self._window.begin()
            self._warn_above()
        granted.set_result(None)

    def _wake_at(self, free_at: float) -> None:
        if free_at < NEVER:
            self._timer = asyncio.get_running_loop().call_at(free_at, self._pump)

    def _warn_below(self) -> None:
        if self.usage_pct < self._warning_pct:
            self._warned = False

    def _warn_above(self) -> None:
        usage_pct = self.usage_pct
        if self._warned or usage_pct < self._warning_pct:
            return
        self._warned = True
        if self._notice:
            self._notice(f"{usage_pct:.0f} % of the limit of {self._rpm} a minute is in use; more may have to wait")
