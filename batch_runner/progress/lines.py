"""The lines that events deserve; text from outside is made inert in them. Pure."""

from __future__ import annotations

from batch_runner.events import BatchFinished, BatchStarted, Event, ItemFinished, Notice
from batch_runner.inert import inert
from batch_runner.wording import plural, request_rate

_TEXT_LIMIT = 400


def first_line(event: BatchStarted, title: str) -> str:
    """How a run announces itself."""
    done = f", {event.done:,} already done" if event.done else ""
    pace = request_rate(event.rpm)
    simulated = "; no real task, no real credits" if event.sandbox else ""
    items = f"{plural(event.total, 'item')}{done}"
    return f"{title}: {items}; up to {plural(event.max_concurrent, 'task')} at once, {pace}{simulated}"


def last_line(event: BatchFinished, title: str) -> str:
    """How a run takes its leave."""
    return f"{title}: {inert(event.text, _TEXT_LIMIT)} (exit code {event.exit_code})"


def told(event: Event) -> str | None:
    """The line that an event deserves for itself, if any."""
    if isinstance(event, Notice):
        return f"{'attention: ' if event.urgent else ''}{inert(event.text, _TEXT_LIMIT)}"
    if isinstance(event, ItemFinished) and event.status in {"failed", "unknown"}:
        reason = f" ({inert(event.reason, _TEXT_LIMIT)})" if event.reason else ""
        message = f": {inert(event.message, _TEXT_LIMIT)}" if event.message else ""
        return f"{event.status} {inert(event.item, _TEXT_LIMIT)}{reason}{message}"
    return None
