"""What a person sees on standard error while a run goes on: a bar, plain lines, or only what is urgent."""

from __future__ import annotations

import asyncio
import sys
import time
import warnings
from collections.abc import Callable
from typing import Protocol, TextIO, runtime_checkable

from tqdm import TqdmWarning

from batch_runner.errors import ExitCode
from batch_runner.events import BatchFinished, BatchStarted, Event, Notice
from batch_runner.progress.lines import first_line, last_line, told
from batch_runner.progress.tally import Tally
from batch_runner.stream import CarefulStream

with warnings.catch_warnings():
    # In a notebook without widgets the bar is drawn with characters, which is no reason to alarm anybody.
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm

_TICK_S = 1.0
_REDRAW_S = 0.1


@runtime_checkable
class Progress(Protocol):
    """An observer of a run that must be closed at its end, however it ends."""

    def __call__(self, event: Event) -> None:
        """Take note of an event; never raises on account of the stream."""

    def close(self) -> None:
        """Leave the terminal as it should be; safe to call twice."""


_NEEDS_A_PERSON = frozenset({ExitCode.ITEMS_FAILED, ExitCode.BUDGET, ExitCode.UNRESOLVED})
"""Other ends either ask for nothing or have told their trouble in an urgent notice."""


class QuietProgress:
    """Says nothing but what needs a person."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = CarefulStream(stream)
        self._title = "batch-runner"

    def __call__(self, event: Event) -> None:
        """Pass on urgent notices, and an end that somebody has to act on."""
        if isinstance(event, BatchStarted):
            self._title = event.batch
        elif isinstance(event, Notice) and event.urgent:
            self._stream.line(told(event) or "")
        elif isinstance(event, BatchFinished) and event.exit_code in _NEEDS_A_PERSON:
            self._stream.line(last_line(event, self._title))

    def close(self) -> None:
        """Nothing is open."""


class PlainProgress:
    """Lines for a log: at the start, every so often while something happens, for trouble, at the end."""

    def __init__(self, stream: TextIO | None, now_s: Callable[[], float] = time.monotonic, every_s: float = 30) -> None:
        self._stream = CarefulStream(stream)
        self._now_s = now_s
        self._every_s = every_s
        self._tally = Tally(now_s)
        self._told_at_s = now_s()

    def __call__(self, event: Event) -> None:
        """Write what the event deserves."""
        self._tally.note(event)
        line = told(event)
        if isinstance(event, BatchStarted):
            self._told_at_s, line = self._now_s(), first_line(event, self._tally.title)
        elif isinstance(event, BatchFinished):
            line = last_line(event, self._tally.title)
        elif line is None and self._now_s() - self._told_at_s >= self._every_s:
            self._told_at_s, line = self._now_s(), self._standing()
        if line is not None:
            self._stream.line(line)

    def _standing(self) -> str:
        tally = self._tally
        return f"{tally.title}: {tally.settled} of {tally.total} done, {', '.join(tally.facts())}"

    def close(self) -> None:
        """Nothing is open."""


class _Bar(tqdm):  # type: ignore[type-arg] # tqdm is generic in its stubs alone, not when it runs
    """A bar without tqdm's watching thread: the run's own loop keeps it moving."""

    monitor_interval = 0


class TqdmProgress:
    """One bar, in a terminal or a notebook, with lines above it for trouble and notices."""

    def __init__(self, stream: TextIO | None, now_s: Callable[[], float] = time.monotonic) -> None:
        self._stream = CarefulStream(stream)
        self._now_s = now_s
        self._tally = Tally(now_s)
        self._bar: _Bar | None = None
        self._drawn_at_s = float("-inf")
        self._tick: asyncio.TimerHandle | None = None

    def __call__(self, event: Event) -> None:
        """Move the bar, and write what the event deserves above it."""
        self._tally.note(event)
        if isinstance(event, BatchStarted):
            self._open(event)
        elif isinstance(event, BatchFinished):
            self.close()
            self._stream.line(last_line(event, self._tally.title))
        else:
            self._say(told(event))
            self._redraw()

    def _open(self, event: BatchStarted) -> None:
        self.close()
        self._stream.line(first_line(event, self._tally.title))
        self._bar = _Bar(
            desc=self._tally.title,
            total=event.total,
            initial=event.done,
            file=self._stream,
            dynamic_ncols=self._stream.has_width(),
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
        )
        self._tick_later()

    def _say(self, line: str | None) -> None:
        if line is None:
            return
        if self._bar is None:
            self._stream.line(line)
        else:
            self._bar.write(line, file=self._stream)

    def _redraw(self, *, now: bool = False) -> None:
        """Draw the bar; what comes too fast for the eye waits for the next tick."""
        ticking = self._tick is not None and not now
        if self._bar is None or (ticking and self._now_s() - self._drawn_at_s < _REDRAW_S):
            return
        self._drawn_at_s = self._now_s()
        self._bar.n = self._tally.settled
        self._bar.set_postfix_str(", ".join(self._tally.facts()), refresh=True)

    def _tick_later(self) -> None:
        """Keep elapsed time and time left moving while a loop runs; without one, events alone do."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._tick = loop.call_later(_TICK_S, self._ticked)

    def _ticked(self) -> None:
        self._redraw(now=True)
        self._tick_later()

    def close(self) -> None:
        """Draw the bar a last time and let go of the terminal."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        if self._bar is not None:
            self._redraw(now=True)
            self._bar.close()
            self._bar = None


def running_in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config


def choose(stream: TextIO | None, *, quiet: bool, in_notebook: bool | None = None) -> Progress:
    """The progress that suits a standard error: none but urgent, a bar for people, lines for logs.

    ``in_notebook`` is found out when it is None.
    """
    if quiet:
        return QuietProgress(stream)
    if (running_in_notebook() if in_notebook is None else in_notebook) or CarefulStream(stream).is_terminal():
        return TqdmProgress(stream)
    return PlainProgress(stream)
