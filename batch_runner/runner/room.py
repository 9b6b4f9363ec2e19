"""Room on the disk: nothing is submitted whose file could not be stored, and a full disk is waited out."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from batch_runner import catalog
from batch_runner.errors import DiskError, DiskFullError
from batch_runner.events import Notice, Observer
from batch_runner.limits import loop_now_s
from batch_runner.store import Attempt

FreeBytes = Callable[[Path], int]

RESERVE_BYTES = 32 * 1024 * 1024
"""Kept free beside the files: state.db with its log, and the derived files."""
_MB = 1_000_000
_LOOK_S = 5.0
_TELL_EVERY_S = 600.0
_AGAIN_S, _AGAIN_MOST_S = 30.0, 600.0
"""A download that met a full disk waits at least so long, and longer each time: a quota shows in no figure."""
_UNSEEN_REFUSALS = 3
"""After so many, free bytes are no longer believed: once nothing else moves, the run ends."""


def file_bytes(attempt: Attempt) -> int:
    """Bytes to keep free for the files of an attempt."""
    return catalog.expected_bytes(attempt.kind, json.loads(attempt.body))


class DiskRoom:
    """Knows what is on its way to the disk, and holds back what would not fit.

    A file counts from its submission until it is published or known never to come; while it is being written its
    bytes count twice, which errs on the safe side.

    Args:
        folder: the output folder.
        free_bytes: how many bytes may still be written there (raises ``DiskError``); None: nothing is written at all.
        observer: is told when the room is short.
        changed: set when somebody begins to be held back.
    """

    def __init__(self, folder: Path, free_bytes: FreeBytes | None, observer: Observer, changed: asyncio.Event) -> None:
        self._folder = folder
        self._free_bytes = free_bytes
        self._observer = observer
        self._changed = changed
        self._expected: dict[int, int] = {}
        self._granted: int | None = None
        self._unwritten: set[int] = set()
        self._refusals: Counter[int] = Counter()
        self._held_back: dict[int, int] = {}
        self._news = 0
        self._stir = asyncio.Event()
        self._is_over = False
        self._words = ""
        self._told_at_s = float("-inf")

    @classmethod
    def without_end(cls) -> DiskRoom:
        """The room of a run that writes nothing."""
        return cls(Path(), None, lambda _: None, asyncio.Event())

    @property
    def is_short(self) -> bool:
        """Whether anybody waits for room: nothing more is to be begun."""
        return bool(self._held_back or self._unwritten)

    def is_held_back(self, attempt: Attempt) -> bool:
        """Whether the attempt waits for room, and nothing has changed since it was looked for."""
        return self._held_back.get(attempt.attempt_id) == self._news

    def expect(self, attempt: Attempt) -> None:
        """The attempt's file is on its way already."""
        self._expected[attempt.attempt_id] = file_bytes(attempt)

    def settle(self, attempt: Attempt) -> None:
        """The attempt's file is here, or will never come."""
        for each in (self._expected, self._held_back, self._refusals):
            each.pop(attempt.attempt_id, None)
        self._take_back(attempt)
        self._wake()

    def put_off(self, attempt: Attempt) -> None:
        """The attempt's file is left to the next run, which will need the room for it."""
        self._take_back(attempt)
        self._wake()

    async def offer(self, attempt: Attempt) -> bool:
        """Whether there is room for everything on its way and this attempt's file too; it counts from then on.

        Raises:
            DiskError: the disk does not tell.
        """
        if self._free_bytes is None or attempt.attempt_id in self._expected:
            return True
        file, news = file_bytes(attempt), self._news
        free = await self._free()
        needed = RESERVE_BYTES + sum(self._expected.values()) + file
        if free >= needed and not self._unwritten:
            self._expected[attempt.attempt_id] = file
            self._let_go(attempt)
            return True
        self._hold_back(attempt, news, free, needed)
        return False

    async def admitted(self, attempt: Attempt) -> None:
        """Wait until there is room for the attempt's file, and count it; without end once nobody waits any longer."""
        while not await self.offer(attempt):
            await self._change()

    async def check(self) -> None:
        """See that the disk still tells its room, as it does while the folder is the run's own.

        Raises:
            DiskError: it does not.
        """
        if self._free_bytes is not None:
            await self._free()

    async def again(self, attempt: Attempt, error: DiskFullError) -> bool:
        """Wait until a download that met a full disk may be tried again; False when nobody waits any longer.

        One at a time: files that filled the disk together would do so again.
        """
        self._words = str(error)
        self._tell()
        key, needed_bytes = attempt.attempt_id, max(file_bytes(attempt), error.needed_bytes)
        self._unwritten.add(key)
        self._take_back(attempt)
        self._refusals[key] += 1
        again_at_s = loop_now_s() + min(_AGAIN_S * 2 ** (self._refusals[key] - 1), _AGAIN_MOST_S)
        while not self._is_over and not await self._grant(attempt, needed_bytes, again_at_s):
            await self._change()
        self._unwritten.discard(key)
        self._let_go(attempt)
        return not self._is_over

    async def _grant(self, attempt: Attempt, needed_bytes: int, again_at_s: float) -> bool:
        news, free = self._news, await self._free()
        if free < needed_bytes or self._refusals[attempt.attempt_id] >= _UNSEEN_REFUSALS:
            self._hold_back(attempt, news, free, needed_bytes)
        else:  # there seems to be room, and it only waits for its turn
            self._let_go(attempt)
        is_early = loop_now_s() < again_at_s
        if free < needed_bytes or is_early or self._granted is not None:
            return False
        self._granted = attempt.attempt_id
        return True

    def _take_back(self, attempt: Attempt) -> None:
        if self._granted == attempt.attempt_id:
            self._granted = None

    def give_up(self) -> DiskError | None:
        """Let nobody wait for room any longer; why, if anybody did."""
        if not self._held_back:
            return None
        self._is_over = True
        self._held_back.clear()
        self._wake()
        return DiskError(f"{self._words}; make room and run the same command again")

    async def _free(self) -> int:
        assert self._free_bytes is not None, "where nothing is written, no disk is full"
        return await asyncio.get_running_loop().run_in_executor(None, self._free_bytes, self._folder)

    def _hold_back(self, attempt: Attempt, news: int, free: int, needed: int) -> None:
        if self._is_over:
            return
        if free < needed:
            has, wants = f"{free // _MB} MB free", f"{-(-needed // _MB)} MB"
            self._words = f"the disk of {self._folder} has {has}, and {wants} are needed for what is to come"
        self._tell()
        self._held_back[attempt.attempt_id] = news
        self._changed.set()

    def _let_go(self, attempt: Attempt) -> None:
        if self._held_back.pop(attempt.attempt_id, None) is not None:
            self._changed.set()

    def _tell(self) -> None:
        """Say it once, and again when it has lasted or come back: near the brim it may come and go with every file."""
        now_s = loop_now_s()
        if now_s - self._told_at_s >= _TELL_EVERY_S:
            self._told_at_s = now_s
            text = f"{self._words}: nothing more is submitted until there is room; free some space"
            self._observer(Notice(text, urgent=True))

    def _wake(self) -> None:
        self._news += 1
        stir, self._stir = self._stir, asyncio.Event()
        stir.set()

    async def _change(self) -> None:
        """Return when something was settled, or after a while."""
        try:
            async with asyncio.timeout(_LOOK_S):
                await self._stir.wait()
        except TimeoutError:
            return
