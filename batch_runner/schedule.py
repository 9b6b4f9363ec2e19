"""When to poll, how much to ask for, and when waiting is over. Pure: times are handed in, in seconds."""

from __future__ import annotations

from collections import deque

MIN_INTERVAL_S = 0.5
MAX_INTERVAL_S = 10.0
USABLE_SHARE = 0.97
"""Share of the request limit that is spent at all; the rest absorbs retries."""

SHOWN_FOR_S = 29 * 86_400.0
"""So long a task is surely shown: Kling purges after 30 days (kling-api 4.5), and a day is for wrong clocks."""

MIN_PAGE_SIZE = 30
MAX_PAGE_SIZE = 500
"""kling-api 4.3: ``pageSize`` is 1..500, 30 unless told."""


def poll_interval_s(rpm: int, completions_per_s: float) -> float:
    """Seconds between two polls: what the request limit leaves after submissions, which go first.

    Args:
        rpm: requests allowed in any 60 s; 0 is no limit.
        completions_per_s: tasks ending per second, each of which costs one submission.
    """
    if rpm == 0:
        return MIN_INTERVAL_S
    left_per_minute = USABLE_SHARE * rpm - 60 * completions_per_s
    if left_per_minute <= 0:
        return MAX_INTERVAL_S
    return min(max(60 / left_per_minute, MIN_INTERVAL_S), MAX_INTERVAL_S)


class CompletionRate:
    """Tasks ending per second, over a sliding window.

    Args:
        window_s: how far back to look.
    """

    def __init__(self, window_s: float = 120.0) -> None:
        self._window_s = window_s
        self._ended: deque[float] = deque()

    def record(self, now_s: float) -> None:
        """A task ended now."""
        self._ended.append(now_s)

    def per_s(self, now_s: float) -> float:
        """Completions per second over the window that ends now."""
        while self._ended and self._ended[0] <= now_s - self._window_s:
            self._ended.popleft()
        return len(self._ended) / self._window_s


class PageSize:
    """How many rows of the list route to ask for, learned from what pages lacked.

    Ordering of the list is undocumented (kling-api 4.3): a full page that lacks a task of ours was too small.
    """

    def __init__(self) -> None:
        self._floor = MIN_PAGE_SIZE

    def for_tasks(self, watched: int) -> int:
        """Rows to ask for when ``watched`` tasks are of interest."""
        return min(max(self._floor, 2 * watched), MAX_PAGE_SIZE)

    def lacked(self) -> None:
        """A full page lacked a task of ours: ask for twice as many next time."""
        self._floor = min(2 * self._floor, MAX_PAGE_SIZE)


def task_age_s(wall_age_s: float, boot_age_s: float | None) -> float:
    """How old a task of an earlier run is.

    Args:
        wall_age_s: since its acceptance by the wall clock, which somebody may have set since.
        boot_age_s: since its hold, which came before, by the clock that nobody sets; None after another boot.
    """
    if boot_age_s is None:
        return max(0.0, wall_age_s)
    return min(wall_age_s, boot_age_s) if wall_age_s >= 0 else boot_age_s


class Patience:
    """How long trouble is borne before a run gives up until later.

    Between two troubles no more than half of the limit counts: a process that was stopped, or a machine that slept,
    has not been trying.

    Args:
        limit_s: seconds of unbroken trouble.
        first_limit_s: the same while nothing has ever gone well: a wrong address should be told soon.
    """

    def __init__(self, limit_s: float, first_limit_s: float) -> None:
        self._limit_s = limit_s
        self._first_limit_s = first_limit_s
        self._last_s: float | None = None
        self._borne_s = 0.0
        self._went_well = False

    def well(self) -> None:
        """Something went well: the trouble is over."""
        self._last_s, self._borne_s = None, 0.0
        self._went_well = True

    def trouble(self, now_s: float) -> bool:
        """Trouble at ``now_s``; True when patience is at its end."""
        limit_s = self._limit_s if self._went_well else self._first_limit_s
        if self._last_s is not None:
            self._borne_s += min(now_s - self._last_s, limit_s / 2)
        self._last_s = now_s
        return self._borne_s >= limit_s


def settle_left_s(now_s: float, last_sent_at_s: float, settle_s: float) -> float:
    """Seconds until "not found" may be believed of a submission last sent at ``last_sent_at_s``."""
    return max(0.0, last_sent_at_s + settle_s - now_s)
