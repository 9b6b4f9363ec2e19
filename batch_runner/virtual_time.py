"""An event loop whose clock jumps to the next timer when nothing is ready.

Real sockets and real executor threads run under it: the loop only jumps when no socket is ready and no
executor job is under way, so minutes of waiting pass in milliseconds and every order of events is kept.
"""

from __future__ import annotations

import asyncio
import select
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

SETTLE_S = 0.0001
"""Real seconds a quiet selector is given before the clock jumps: loopback delivery is not always instant."""
_IDLE_S = 0.01
"""Real seconds between two looks while there is no timer to jump to."""
_RESOLUTION_S = 1e-8
"""A timer that is due this soon is due. After half a year the usual 1e-9 s are too few to change the time, and asyncio
would wait for ever for a timer that is due right now."""
_PASSES_MOST = 500_000
"""So many passes of the loop at one moment of its time are a busy wait, which would never end."""


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that turns the loop's wish to sleep into a jump of its clock."""

    def __init__(self, settle_s: float) -> None:
        super().__init__()
        self.now_s = 0.0
        self.jobs = 0
        self._settle_s = settle_s
        self._passes = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._passes += 1
        if self._passes > _PASSES_MOST:
            self._passes = 0  # whoever cleans up must be able to
            raise RuntimeError(f"virtual time stands still at {self.now_s} s: something waits busily")
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self.jobs or timeout is None:
            return super().select(None if self.jobs else _IDLE_S)
        if not self._is_stirring():
            self.now_s += timeout
            self._passes = 0
        return super().select(0)

    def _is_stirring(self) -> bool:
        """Whether anything arrives within the settle time. An epoll's own timeout would be a whole millisecond."""
        return bool(self._settle_s) and bool(select.select([self], (), (), self._settle_s)[0])


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio loop under virtual time; ``time()`` starts at 0.

    ``settle_s``: real seconds a quiet loop is given before the clock jumps; 0 where there are no sockets to wait for.
    """

    def __init__(self, settle_s: float = SETTLE_S) -> None:
        self._jumping = _JumpingSelector(settle_s)
        super().__init__(self._jumping)
        self._clock_resolution = _RESOLUTION_S

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.now_s

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run a job in a thread; the clock stands still until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self._jumping.jobs += 1
        future.add_done_callback(self._job_done)
        return future

    def _job_done(self, _: asyncio.Future[Any]) -> None:
        self._jumping.jobs -= 1


class VirtualClock:
    """Wall time that follows a virtual loop from a fixed start (2026-01-01 UTC unless told)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start_wall_s: float = 1_767_225_600.0) -> None:
        self._loop = loop
        self._start_wall_s = start_wall_s

    def wall_s(self) -> float:
        """Seconds since 1970-01-01 UTC in the simulated world."""
        return self._start_wall_s + self._loop.time()

    def epoch(self) -> str:
        """One epoch for everything that shares the loop."""
        return f"virtual-{id(self._loop)}"

    def uptime_s(self) -> float:
        """The loop's seconds."""
        return self._loop.time()


def run_virtual(main: Callable[[], Coroutine[Any, Any, T]], settle_s: float = SETTLE_S) -> T:
    """Run ``main()`` to its end on a fresh virtual-time loop and close it."""
    with asyncio.Runner(loop_factory=partial(VirtualTimeLoop, settle_s)) as runner:
        return runner.run(main())
