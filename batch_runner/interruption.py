"""The signals that end the program, heard from its first moment to its last. Loaded first: it needs next to nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = "stopped: run the same command again to go on"

T = TypeVar("T")
Listener = Callable[[signal.Signals], None]


class Interruption:
    """What the signals do that want the program to end; one object for the whole life of the process.

    Its handlers are installed once and never taken back, while event loops come and go: a loop that resets handlers
    when it closes would leave moments in which a signal kills. What a signal does is decided when it comes: it ends
    work ``at_once``, is ``handed_to`` a listener, or waits for one. Without ``install`` nothing is heard.
    """

    def __init__(self) -> None:
        self.is_heard = False
        self._waiting: list[signal.Signals] = []
        self._ends_at_once = False
        self._last_code: int | None = None
        self._listener: Listener | None = None
        self._loop: AbstractEventLoop | None = None
        self._pid = 0

    def install(self) -> None:
        """Hear them from now on; those that whoever started the program wants ignored (``nohup``) stay so."""
        self._pid = os.getpid()
        for number in _wanted():
            signal.signal(number, self._hear)

    def end(self) -> None:
        """Ignore them from now on: nothing is left to be ended, and a leaving interpreter drops its handlers."""
        for number in _wanted():
            signal.signal(number, signal.SIG_IGN)

    def at_once(self, work: Callable[[], T], *, even_if_heard: bool = False) -> T:
        """The result of ``work``, which a signal ends wherever it is, also one that was heard before.

        Raises:
            KeyboardInterrupt: a signal came.
        """
        try:  # no call and no loop stands between a statement and its ``finally``, so no handler gets in between
            self._ends_at_once = True
            if self.is_heard and not even_if_heard:
                raise KeyboardInterrupt
            return work()
        finally:
            self._ends_at_once = False

    def patiently(self, work: Callable[[], T]) -> T:
        """The result of ``work`` within work that is ended ``at_once``: meanwhile signals wait to be handed on.

        Raises:
            KeyboardInterrupt: a signal came, and ``work`` is over.
        """
        before = self._ends_at_once
        try:
            self._ends_at_once = False
            result = work()
        finally:
            self._ends_at_once = before
        if self.is_heard:
            raise KeyboardInterrupt
        return result

    def last_words(self, exit_code: int) -> None:
        """From now on a signal ends the process at once: what is still to be said may find nobody who takes it."""
        self._last_code = exit_code

    @contextmanager
    def handed_to(self, listener: Listener, loop: AbstractEventLoop) -> Iterator[None]:
        """Within the block every signal is told to ``listener``, in the loop's own turn; first those that waited."""
        with _waking(loop) if self._pid else nullcontext():
            self._listener, self._loop = listener, loop
            try:
                self._hand_on()
                yield
            finally:
                self._loop = None

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a worker process has nothing to tell and nothing to lose
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if self._last_code is not None:
            os._exit(self._last_code)
        self.is_heard = True
        self._waiting.append(signal.Signals(number))
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._hand_on)
        elif self._ends_at_once:
            raise KeyboardInterrupt

    def _hand_on(self) -> None:
        while self._waiting and self._listener is not None:
            self._listener(self._waiting.pop(0))


def _wanted() -> list[signal.Signals]:
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def _waking(loop: AbstractEventLoop) -> Iterator[None]:
    """A signal that comes just before the loop goes to sleep wakes it, so that its handler runs."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    loop.add_reader(reading, os.read, reading, 4096)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)
