"""How many tasks may be in flight, and what to do while the account itself is full."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from batch_runner.limits.loop_time import loop_now_s

T = TypeVar("T")

PROBE_DELAY_S = (5.0, 20.0)
"""How long a full account is left alone before one create asks again (plans-and-prices F: a short probe)."""


class _Door:
    """Stands before the account's slots of one pack; shut from the server's word that they are full (1303).

    Other programs hold slots too. It opens when one of our own tasks ends, or when a create is accepted; and once
    every probe delay it lets one create through to ask.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._ended = 0
        self._open = asyncio.Event()
        self._open.set()
        self._probing = False
        self._probe_at = 0.0

    async def admitted(self) -> int:
        """Wait while it is shut; what is returned goes to ``shut`` if a create finds the account full."""
        while not self._open.is_set():
            if loop_now_s() >= self._probe_at:
                # The next probe comes even if this one never reports back (cancelled, its answer lost).
                self._close_until_probe()
                self._probing = True
                break
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._probe_at):
                    await self._open.wait()
        return self._ended

    def shut(self, admission: int | None) -> None:
        """The account is full, unless a task of ours has ended since ``admission``: that news is younger."""
        if admission is not None and admission != self._ended:
            return
        if self._open.is_set() or self._probing:
            self._close_until_probe()

    def task_ended(self) -> None:
        """A task of ours gave its slot back."""
        self._ended += 1
        self.open()

    def open(self) -> None:
        """There is room."""
        self._probing = False
        self._open.set()

    def _close_until_probe(self) -> None:
        self._open.clear()
        self._probing = False
        self._probe_at = loop_now_s() + self._rng.uniform(*PROBE_DELAY_S)


class TaskLimiter:
    """At most ``max_concurrent`` slots in use, each from a task's acceptance to the end of the remote task.

    A task of several images holds several slots. Beside the slots stands a door for each pack (``lane``), shut while
    the account itself is full there.
    """

    def __init__(self, max_concurrent: int, *, rng: random.Random) -> None:
        if max_concurrent < 1:
            raise ValueError("max_concurrent must be at least 1")
        self._max_concurrent = max_concurrent
        self._slots = asyncio.Semaphore(max_concurrent)
        self._turn = asyncio.Lock()
        self._active = 0
        self._unpaid = 0
        self._empty = 0
        self._changed = asyncio.Event()
        self._doors: defaultdict[str, _Door] = defaultdict(lambda: _Door(rng))

    @property
    def max_concurrent(self) -> int:
        """The most slots this limiter hands out."""
        return self._max_concurrent

    @property
    def active_count(self) -> int:
        """How many slots are held now; adopted tasks may lift it above ``max_concurrent``."""
        return self._active

    @property
    def free(self) -> int:
        """How many slots can be had now."""
        return max(0, self._max_concurrent - self._active)

    async def acquire(self, slots: int = 1) -> None:
        """Wait for so many slots and hold them.

        Raises:
            ValueError: more than there are: it would wait for ever.
        """
        if slots > self._max_concurrent:
            raise ValueError(f"{slots} slots can never be had of {self._max_concurrent}")
        async with self._turn:  # two that each hold a half of what they need would wait for one another
            held = 0
            try:
                for held in range(1, slots + 1):  # noqa: B007 - counts what a cancellation has to give back
                    await self._acquire_one()
            except BaseException:
                self._give_back(held - 1)
                raise

    async def _acquire_one(self) -> None:
        await self._slots.acquire()
        while self._unpaid:
            # The semaphore has not heard of adopted tasks yet: the slot just taken is really one of theirs.
            self._unpaid -= 1
            await self._slots.acquire()
        self._active += 1

    def adopt(self, slots: int = 1) -> None:
        """Hold slots for tasks that already run; beyond the maximum nothing is admitted until enough end."""
        self._active += slots
        self._unpaid += slots

    def release(self, slots: int = 1, lane: str = "") -> None:
        """The remote task of held slots has ended, so the account has room for as many more."""
        if self._active < slots:
            raise ValueError("no slot is held, or not so many")
        self._give_back(slots)
        self._doors[lane].task_ended()

    def can_refill(self, slots: int = 1) -> bool:
        """Whether held slots that are known to be empty could be filled without exceeding the maximum."""
        return self._active - self._empty + slots <= self._max_concurrent

    async def refill(self, slots: int = 1) -> None:
        """Wait until held slots, whose task is known not to exist, may be filled by a task again.

        Tasks of earlier runs are adopted whatever the maximum is now, so that more may be held than it allows.
        """
        self._empty += slots
        self._tell()
        try:
            while not self.can_refill(slots):
                await self._changed.wait()
        finally:
            self._empty -= slots

    def _tell(self) -> None:
        """Wake those who wait for a change; the next ones wait for the next."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _give_back(self, slots: int) -> None:
        for _ in range(slots):
            self._active -= 1
            if self._unpaid:
                self._unpaid -= 1
            else:
                self._slots.release()
        self._tell()

    async def submit(self, job: Callable[[], Awaitable[T]]) -> T:
        """Run a job while holding a slot; the slot is free again when the job is over, however it ends."""
        await self.acquire()
        try:
            return await job()
        finally:
            self.release()

    async def admitted(self, lane: str = "") -> int:
        """Wait while the account is full; what is returned goes to ``mark_full`` if a create finds it full."""
        return await self._doors[lane].admitted()

    def mark_full(self, admission: int | None = None, lane: str = "") -> None:
        """The account has no slot: send nothing until one of our tasks ends or the probe delay has passed.

        Args:
            admission: what ``admitted`` returned for the refused create. If a task of ours has ended since,
                the refusal is older than the news, and the door stays as it is.
            lane: the pack whose slots are full.
        """
        self._doors[lane].shut(admission)

    def mark_room(self, lane: str = "") -> None:
        """A create was accepted: the account is not full."""
        self._doors[lane].open()
