from __future__ import annotations

import asyncio
import io
import os
import pty
import termios
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import TextIO

import pytest

from batch_runner.events import (
    Balance,
    BatchFinished,
    BatchStarted,
    Event,
    InFlight,
    ItemFinished,
    ItemSubmitted,
    Notice,
)
from batch_runner.progress import PlainProgress, Progress, QuietProgress, TqdmProgress, choose, running_in_notebook
from batch_runner.progress.tally import Tally
from batch_runner.virtual_time import run_virtual

NASTY = "a\x1b]0;title\x07\x1b[31m\r\nb\u202ec\ud800\x9b"


class Clock:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class BrokenStream(io.StringIO):
    """A pipe whose reader has gone; counts how often it is still written to."""

    writes = 0

    def write(self, _: str) -> int:
        self.writes += 1
        raise BrokenPipeError(32, "Broken pipe")


def started(*, sandbox: bool = False, total: int = 4, done: int = 0) -> BatchStarted:
    return BatchStarted(batch="demo", sandbox=sandbox, total=total, done=done, max_concurrent=5, rpm=60)


def finished_item(item: str, status: str = "succeeded", reason: str | None = None, message: str = "") -> ItemFinished:
    return ItemFinished(item=item, status=status, reason=reason, message=message)


STORY: tuple[Event, ...] = (
    started(sandbox=True),
    Notice("tier: a polite default"),
    ItemSubmitted("one", "t1", adopted=False),
    InFlight(1),
    Balance("video", Decimal(0), Decimal("3.50"), Decimal(100)),
    finished_item("one"),
    Balance("video", Decimal("3.50"), Decimal(0), Decimal(100)),
    finished_item("two", "failed", "policy", f"server says {NASTY}"),
    finished_item("three", "unknown", "unresolved"),
    finished_item("four", "pending", "budget"),
    Notice(f"look at the account {NASTY}", urgent=True),
    BatchFinished(4, "the budget stopped it"),
)


def tell(progress: Progress, events: tuple[Event, ...] = STORY) -> None:
    for event in events:
        progress(event)
    progress.close()
    progress.close()


def plain_text(events: tuple[Event, ...] = STORY) -> str:
    stream = io.StringIO()
    tell(PlainProgress(stream, Clock()), events)
    return stream.getvalue()


def test_plain_lines_tell_start_trouble_and_end_of_a_simulated_run() -> None:
    lines = plain_text().splitlines()
    assert lines[0].startswith("SIMULATED demo: 4 items; up to 5 tasks at once, 60 requests a minute")
    assert lines[1] == "tier: a polite default"
    assert lines[2].startswith("failed two (policy): server says a")
    assert lines[3] == "unknown three (unresolved)"
    assert lines[4].startswith("attention: look at the account")
    assert lines[-1] == "SIMULATED demo: the budget stopped it (exit code 4)"
    assert len(lines) == 6


def test_a_real_run_is_not_called_simulated() -> None:
    assert "SIMULATED" not in plain_text((started(done=3), BatchFinished(0, "done")))
    assert "3 already done" in plain_text((started(done=3),))


@pytest.mark.parametrize("make", [lambda s: PlainProgress(s, Clock()), TqdmProgress, QuietProgress])
def test_text_from_outside_is_inert(make: Callable[[TextIO], Progress]) -> None:
    stream = io.StringIO()
    tell(make(stream))
    text = stream.getvalue()
    assert "look at the account a" in text
    for char in "\x1b\x07\u202e\ud800\x9b":
        assert char not in text.replace("\x1b[A", "")
    text.encode("utf-8")


def test_plain_tells_where_it_stands_only_every_so_often() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = PlainProgress(stream, clock, every_s=30)
    progress(started(total=10))
    for clock.s in range(1, 100):
        progress(InFlight(3))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + 3
    assert lines[-1] == "demo: 0 of 10 done, 3 in flight"


@pytest.mark.parametrize(
    ("consumed", "held", "budget", "words"),
    [
        ("1", "0", None, "1 credit"),
        ("0", "1", None, "0 (+1 held) credit"),
        ("1", "0", "5", "1 of 5 credits"),
        ("0.5", "0", "1", "0.5 of 1 credit"),
        ("2", "0", None, "2 credits"),
    ],
)
def test_a_balance_of_one_credit_is_told_in_the_singular(
    consumed: str, held: str, budget: str | None, words: str
) -> None:
    tally = Tally(lambda: 0.0)
    tally.note(Balance("video", Decimal(consumed), Decimal(held), None if budget is None else Decimal(budget)))
    assert words in tally.facts()


def test_plain_standing_names_credits_failures_and_time_left() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = PlainProgress(stream, clock)
    progress(started(total=11))
    progress(InFlight(2))
    progress(ItemSubmitted("a", "t", adopted=False))
    clock.s = 29.0
    progress(finished_item("a", "failed", "generation", "service busy"))
    progress(Balance("image", Decimal(3), Decimal(0), None))
    clock.s = 31.0
    progress(Balance("video", Decimal("10.50"), Decimal("3.50"), Decimal(200)))
    assert stream.getvalue().splitlines()[-1] == (
        "demo: 1 of 11 done, 2 in flight, 1 failed, 10.5 of 200 (+3.5 held) credits, 3 image credits, about 2 min left"
    )


def test_time_left_shares_the_work_among_the_slots_in_use() -> None:
    clock = Clock()
    tally = Tally(clock)
    for event in (started(total=6), InFlight(2), ItemSubmitted("a", "t", adopted=False)):
        tally.note(event)
    assert tally.time_left_s() is None
    tally.note(ItemSubmitted("b", "t", adopted=False))
    clock.s = 100.0
    tally.note(finished_item("a"))
    tally.note(ItemSubmitted("c", "t", adopted=False))
    clock.s = 140.0
    # five items of a mean of 100 s, of which b has had its 100 s and c 40 s, on two slots
    assert tally.time_left_s() == pytest.approx((500 - 100 - 40) / 2)
    for item in "bcdef":
        tally.note(finished_item(item))
    assert tally.time_left_s() is None


def test_items_left_for_later_are_neither_done_nor_awaited() -> None:
    tally = Tally(Clock())
    for event in (started(total=2), finished_item("a", "pending", "budget"), finished_item("b", "unknown")):
        tally.note(event)
    assert (tally.settled, tally.left_over, tally.failed) == (0, 2, 0)


def test_quiet_passes_only_what_needs_a_person() -> None:
    stream = io.StringIO()
    tell(QuietProgress(stream))
    notice, end = stream.getvalue().splitlines()
    assert notice.startswith("attention: look at the account")
    assert end.endswith("(exit code 4)")


def test_quiet_says_nothing_of_an_end_that_needs_nobody() -> None:
    stream = io.StringIO()
    for code in (0, 7):
        QuietProgress(stream)(BatchFinished(code, "2 of 2 succeeded"))
    assert stream.getvalue() == ""


@pytest.mark.parametrize("make", [PlainProgress, TqdmProgress, QuietProgress])
def test_a_reader_who_leaves_does_not_end_the_run(make: Callable[[TextIO | None], Progress]) -> None:
    broken = BrokenStream()
    tell(make(broken))
    assert broken.writes == 1
    closed = io.StringIO()
    closed.close()
    tell(make(closed))
    tell(make(None))


def test_a_real_broken_pipe_is_survived() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w", encoding="utf-8")
    tell(PlainProgress(stream, Clock()))
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_stream_of_few_characters_gets_escapes() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    tell(PlainProgress(stream, Clock()), (started(), Notice("für 5 €")))
    assert b"f\\xfcr 5 \\u20ac\n" in raw.getvalue()


def on_terminal(act: Callable[[TextIO], None], columns: int) -> str:
    """What a real terminal receives."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, columns))
    received: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(leader, 65536):
                received.append(piece)
        except OSError:  # the far end has closed: how a pseudo-terminal says end of file
            return

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(follower, "w", encoding="utf-8") as stream:
        act(stream)
    reader.join(timeout=10)
    os.close(leader)
    return b"".join(received).decode("utf-8")


@pytest.mark.parametrize("columns", [200, 0])
def test_the_bar_on_a_real_terminal(columns: int) -> None:
    text = on_terminal(lambda stream: tell(choose(stream, quiet=False, in_notebook=False)), columns)
    assert "SIMULATED demo: 4 items" in text
    assert "2/4" in text
    assert "3.5 of 100 credits" in text
    assert "1 failed" in text
    assert text.rstrip().splitlines()[-1].endswith("SIMULATED demo: the budget stopped it (exit code 4)")
    assert not [thread for thread in threading.enumerate() if "TMonitor" in repr(thread)]


def test_a_narrow_terminal_never_gets_a_line_that_wraps() -> None:
    text = on_terminal(lambda stream: tell(TqdmProgress(stream), (started(), InFlight(3))), 40)
    bars = [piece for piece in text.split("\r") if "%|" in piece]
    assert bars
    assert all(len(bar.rstrip()) <= 40 for bar in bars)


def test_the_bar_moves_while_nothing_happens_and_lets_the_loop_end() -> None:
    stream = io.StringIO()

    async def main() -> int:
        clock = asyncio.get_running_loop().time
        progress = TqdmProgress(stream, clock)
        for event in (started(), InFlight(1), ItemSubmitted("a", "t", adopted=False)):
            progress(event)
        await asyncio.sleep(10)
        before = stream.getvalue().count("\r")
        progress(finished_item("a"))
        await asyncio.sleep(60)
        after = stream.getvalue().count("\r")
        progress.close()
        return after - before

    assert 60 <= run_virtual(main) <= 64
    assert "1 in flight" in stream.getvalue()


def test_a_burst_is_not_drawn_event_by_event() -> None:
    stream = io.StringIO()

    async def main() -> None:
        progress = TqdmProgress(stream, asyncio.get_running_loop().time)
        progress(started(total=5000))
        for number in range(5000):
            progress(finished_item(str(number)))
        progress.close()

    run_virtual(main)
    assert stream.getvalue().count("\r") < 20
    assert "5000/5000" in stream.getvalue()


def test_the_stream_chooses_the_progress() -> None:
    assert isinstance(choose(io.StringIO(), quiet=False, in_notebook=False), PlainProgress)
    assert isinstance(choose(Terminal(), quiet=False, in_notebook=False), TqdmProgress)
    assert isinstance(choose(io.StringIO(), quiet=False, in_notebook=True), TqdmProgress)
    assert isinstance(choose(Terminal(), quiet=True, in_notebook=True), QuietProgress)
    assert isinstance(choose(None, quiet=False, in_notebook=False), PlainProgress)
    closed = Terminal()
    closed.close()
    assert isinstance(choose(closed, quiet=False, in_notebook=False), Progress)


def test_this_is_no_notebook() -> None:
    assert running_in_notebook() is False
