"""Which requests still count against the limit, and when the next one may go. Pure."""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Iterable

NEVER = math.inf
"""No moment can be named: only the answer to an open request can make room."""


class SlidingWindow:
    """An exact log of the requests that the server may have seen within the last ``span_s`` seconds.

    The server stamps a request somewhere between its sending and its answer. So a request counts from the
    moment it is let go, for as long as it is open, and then ``span_s`` seconds from its end. Whatever moments
    the server picked, no ``span_s`` seconds of its log can then hold more than ``limit`` requests.
    """

    def __init__(self, limit: int, span_s: float) -> None:
        if limit < 1 or span_s <= 0:
            raise ValueError("a window needs a limit of at least 1 and a span above 0")
        self._limit = limit
        self._span_s = span_s
        self._open = 0
        self._ended: deque[float] = deque()

    def used(self, now_s: float) -> int:
        """How many requests count at ``now_s``."""
        while self._ended and self._ended[0] + self._span_s <= now_s:
            self._ended.popleft()
        return self._open + len(self._ended)

    def next_free_at(self, now_s: float) -> float:
        """The first moment from ``now_s`` on at which one more may go as things stand; else ``NEVER``."""
        surplus = self.used(now_s) - self._limit
        if surplus < 0:
            return now_s
        if surplus >= len(self._ended):
            return NEVER
        return self._ended[surplus] + self._span_s

    def begin(self) -> None:
        """A request is let go and counts until it ends."""
        self._open += 1

    def end(self, now_s: float) -> None:
        """An open request got its answer, or was given up, at ``now_s``."""
        self._close_one()
        insort(self._ended, now_s)

    def withdraw(self) -> None:
        """An open request was never sent after all: it leaves no trace."""
        self._close_one()

    def record(self, stamps_s: Iterable[float]) -> None:
        """Count requests that happened at these moments, in any order."""
        for stamp_s in stamps_s:
            insort(self._ended, stamp_s)

    def _close_one(self) -> None:
        if not self._open:
            raise ValueError("no request is open")
        self._open -= 1
