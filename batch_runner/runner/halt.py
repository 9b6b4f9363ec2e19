"""Why a run submits no more, and whether it leaves the tasks in flight to the next run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from batch_runner.errors import BatchRunnerError, ExitCode, NotDurableError, StoppedError

T = TypeVar("T")


class HaltedError(Exception):
    """Waiting was cut short because nothing more is to be submitted."""


class Halt:
    """The one switch of a run; the first reason stands, unless it is a disk that failed."""

    def __init__(self) -> None:
        self._no_more = asyncio.Event()
        self._leaving = asyncio.Event()
        self._abandoned = asyncio.Event()
        self.is_concluded = False
        self.error: BatchRunnerError | None = None
        self._left_for: BatchRunnerError | None = None
        self.noted: BatchRunnerError | None = None

    @property
    def is_set(self) -> bool:
        """Whether submitting is over."""
        return self._no_more.is_set()

    @property
    def is_leaving(self) -> bool:
        """Whether even tasks in flight are left to the next run."""
        return self._leaving.is_set()

    @property
    def is_abandoned(self) -> bool:
        """Whether nothing is waited for any more, not even answers and downloads under way."""
        return self._abandoned.is_set()

    def submit_no_more(self, error: BatchRunnerError) -> None:
        """Submit nothing more; what runs is followed to its end and downloaded."""
        self.error = error if isinstance(error, NotDurableError) else self.error or error
        self._no_more.set()

    def note(self, error: BatchRunnerError) -> None:
        """Something a person has to mend for some item; it stops nobody else, but it is why the run ends as it does."""
        self.noted = self.noted or error

    def leave(self, error: BatchRunnerError | None = None) -> None:
        """Submit nothing more and leave soon; everything is recorded, the next run goes on."""
        if self.is_concluded:
            return
        error = error or StoppedError("stopped: run the same command again to go on")
        self._left_for = self._left_for or error
        self.submit_no_more(error)
        self._leaving.set()

    def abandon(self) -> None:
        """Leave at once; how everything stands is recorded all the same, and the next run goes on."""
        self.leave()
        self._abandoned.set()

    def conclude(self) -> None:
        """The work is over: how it ended is about to be recorded, and nothing that comes later changes that."""
        self.is_concluded = True

    async def leaving(self) -> None:
        """Return when the run is to be left."""
        await self._leaving.wait()

    async def unless(self, work: Awaitable[T]) -> T:
        """The result of ``work``, unless submitting ends first.

        Raises:
            HaltedError: submitting ended; ``work`` was cancelled.
        """
        task = asyncio.ensure_future(work)
        halted = asyncio.ensure_future(self._no_more.wait())
        try:
            await asyncio.wait({task, halted}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise HaltedError
        finally:
            await _put_down(task, halted)

    async def unless_abandoned(self, work: Awaitable[T]) -> T:
        """The result of ``work``, unless it is abandoned first.

        Raises:
            HaltedError: it was abandoned; ``work`` was cancelled and has come to rest.
        """
        task = asyncio.ensure_future(work)
        abandoned = asyncio.ensure_future(self._abandoned.wait())
        try:
            await asyncio.wait({task, abandoned}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await _put_down(task)
            if task.cancelled() and self.is_abandoned:
                raise HaltedError
            return task.result()
        finally:
            await _put_down(task, abandoned)

    @property
    def reason(self) -> str:
        """The contract's word for items that the halt keeps from being submitted."""
        return _word(self.error)

    @property
    def reason_in_flight(self) -> str:
        """The contract's word for items that are left while their task or download is under way.

        An empty pack ends submitting, not these: if a signal ends the run after that, the signal leaves them.
        """
        return _word(self._left_for or self.error)


def _word(error: BatchRunnerError | None) -> str:
    code = error.exit_code if error else ExitCode.STOPPED
    return {ExitCode.ACCOUNT: "account", ExitCode.DISK: "disk"}.get(code, "stopped")


async def _put_down(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
