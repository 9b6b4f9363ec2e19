"""How many tasks may be in flight, and what to do while the account itself is full."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

PROBE_DELAY_S = (5.0, 20.0)
"""How long a full account is left alone before one create asks again (plans-and-prices F: a short probe)."""


class TaskLimiter:
    """At most ``max_concurrent`` tasks in flight, from acceptance to the end of the remote task.

    Beside the slots stands a door. It is open until the server says that the account is full (1303): other
    programs hold slots too. It opens when one of our own tasks ends, or when a create is accepted; and
    once every probe delay it lets one create through to ask.
    """

    def __init__(self, max_concurrent: int, *, rng: random.Random) -> None:
        if max_concurrent < 1:
            raise ValueError("max_concurrent must be at least 1")
        self._max_concurrent = max_concurrent
        self._rng = rng
        self._slots = asyncio.Semaphore(max_concurrent)
        self._active = 0
        self._unpaid = 0
        self._ended = 0
        self._open = asyncio.Event()
        self._open.set()
        self._probing = False
        self._probe_at = 0.0

    @property
    def max_concurrent(self) -> int:
        """The most tasks this limiter admits."""
        return self._max_concurrent

    @property
    def active_count(self) -> int:
        """How many slots are held now; adopted tasks may lift it above ``max_concurrent``."""
        return self._active

    @property
    def free(self) -> int:
        """How many slots can be had now."""
        return max(0, self._max_concurrent - self._active)

    async def acquire(self) -> None:
        """Wait for a slot and hold it."""
        await self._slots.acquire()
        while self._unpaid:
            # The semaphore has not heard of adopted tasks yet: the slot just taken is really one of theirs.
            self._unpaid -= 1
            await self._slots.acquire()
        self._active += 1

    def adopt(self, count: int = 1) -> None:
        """Hold slots for tasks that already run; beyond the maximum nothing is admitted until enough end."""
        self._active += count
        self._unpaid += count

    def release(self) -> None:
        """The remote task of a held slot has ended, so the account has room for one more."""
        if not self._active:
            raise ValueError("no slot is held")
        self._active -= 1
        self._ended += 1
        if self._unpaid:
            self._unpaid -= 1
        else:
            self._slots.release()
        self.mark_room()

    async def submit(self, job: Callable[[], Awaitable[T]]) -> T:
        """Run a job while holding a slot; the slot is free again when the job is over, however it ends."""
        await self.acquire()
        try:
            return await job()
        finally:
            self.release()

    async def admitted(self) -> int:
        """Wait while the account is full; what is returned goes to ``mark_full`` if a create finds it full."""
        while not self._open.is_set():
            if asyncio.get_running_loop().time() >= self._probe_at:
                # The next probe comes even if this one never reports back (cancelled, its answer lost).
                self._close_until_probe()
                self._probing = True
                break
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._probe_at):
                    await self._open.wait()
        return self._ended

    def mark_full(self, admission: int | None = None) -> None:
        """The account has no slot: send nothing until one of our tasks ends or the probe delay has passed.

        Args:
            admission: what ``admitted`` returned for the refused create. If a task of ours has ended since,
                the refusal is older than the news, and the door stays as it is.
        """
        if admission is not None and admission != self._ended:
            return
        if self._open.is_set() or self._probing:
            self._close_until_probe()

    def mark_room(self) -> None:
        """A create was accepted: the account is not full."""
        self._probing = False
        self._open.set()

    def _close_until_probe(self) -> None:
        self._open.clear()
        self._probing = False
        self._probe_at = asyncio.get_running_loop().time() + self._rng.uniform(*PROBE_DELAY_S)
