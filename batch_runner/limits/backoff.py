"""How long to hold back after the n-th trouble in a row. Pure but for the dice it is handed."""

from __future__ import annotations

import random


class Backoff:
    """Exponential delays with jitter; every delay lies between half the base and the cap.

    The dice spread each delay over the upper half of its step, so that several programs that were
    turned away together do not come back together.
    """

    def __init__(self, base_s: float, cap_s: float, rng: random.Random, factor: float = 2.0) -> None:
        if not 0 < base_s <= cap_s or factor < 1:
            raise ValueError("a backoff needs 0 < base_s <= cap_s and a factor of at least 1")
        self._base_s = base_s
        self._cap_s = cap_s
        self._factor = factor
        self._rng = rng
        self._step_s = base_s

    def next_s(self, retry_after_s: float | None = None) -> float:
        """Seconds to wait now; the next call answers a longer step.

        A server's ``retry_after_s`` lengthens the wait up to the cap and never shortens it.
        """
        delay_s = self._rng.uniform(self._step_s / 2, self._step_s)
        self._step_s = min(self._cap_s, self._step_s * self._factor)
        return min(self._cap_s, max(delay_s, retry_after_s or 0.0))

    def reset(self) -> None:
        """The trouble is over: begin at the base again."""
        self._step_s = self._base_s
