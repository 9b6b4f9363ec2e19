"""A small model of one batch, its money and its account, written anew in plain Python: what the store is held to.

It knows no SQL, no transition table and no ledger of the program; only the words of the contract.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal

from batch_runner.lifecycle import State

FREE = Decimal(0)
HOLDING = {State.READY, State.SENDING, State.UNKNOWN, State.IN_FLIGHT, State.MISSING}
PAID = {State.SUCCEEDED, State.PUBLISHED, State.ASSET_GONE}
OPEN = {State.SENDING, State.UNKNOWN, State.MISSING}
OVER = {State.FAILED, State.REFUSED, State.LOST}


def content_of(text: str) -> str:
    return hashlib.sha256(f'{{"prompt":"{text}"}}'.encode()).hexdigest()


@dataclass(frozen=True)
class Line:
    """One line of the manifest; its place in the list is its line number."""

    id: str
    text: str
    credits: Decimal
    priority: int = 0


@dataclass
class TwinTask:
    """A task on the account. ``failed`` stays None while it runs; one that did not fail is paid or will be."""

    item: str
    number: int
    text: str
    failed: bool | None = None
    charged: Decimal | None = None


@dataclass
class TwinAttempt:
    number: int
    text: str
    estimate: Decimal
    state: State = State.READY
    task: TwinTask | None = None
    held: Decimal = FREE
    entries: list[tuple[str, Decimal]] = field(default_factory=list)
    files: int = 0
    sends: int = 0

    @property
    def is_unsent(self) -> bool:
        return self.state is State.READY and not self.sends


@dataclass
class TwinItem:
    line: Line
    place: int
    in_manifest: bool = True
    searched: bool = False
    queued: bool = True
    attempts: list[TwinAttempt] = field(default_factory=list)

    @property
    def last(self) -> TwinAttempt | None:
        return max(self.attempts, key=lambda attempt: attempt.number, default=None)

    @property
    def is_taken(self) -> bool:
        """Paid for or under way: the line must stay as it is."""
        return self.last is not None and self.last.state in HOLDING | PAID and not self.last.is_unsent

    @property
    def is_held(self) -> bool:
        """Credits are held for it, and nothing was sent."""
        return self.last is not None and self.last.is_unsent

    @property
    def word(self) -> str:
        if self.queued or self.last is None:
            return "pending"
        state = self.last.state
        if state is State.PUBLISHED:
            return "succeeded"
        if state in OPEN:
            return "unknown"
        return "failed" if state in OVER | {State.ASSET_GONE} else "pending"


class Conflict(Exception):  # noqa: N818 - what the user is told, not a fault
    """Lines that cannot be taken over, by line number."""

    def __init__(self, places: Iterable[int]) -> None:
        super().__init__(sorted(places))
        self.places = sorted(places)


class Twin:
    """The store as it should be. The account outlives it, as the vendor's does."""

    def __init__(self, account: list[TwinTask]) -> None:
        self.account = account
        self.items: dict[str, TwinItem] = {}

    # --- the manifest -------------------------------------------------------------------------------------

    def load(self, lines: list[Line]) -> None:
        changed = [place for place, line in enumerate(lines, 1) if self._is_edit_of_taken(line)]
        if changed:
            raise Conflict(changed)
        for item in self.items.values():
            item.in_manifest = False
        for place, line in enumerate(lines, 1):
            self._load_line(line, place)

    def _is_edit_of_taken(self, line: Line) -> bool:
        item = self.items.get(line.id)
        return item is not None and item.is_taken and item.line.text != line.text

    def _load_line(self, line: Line, place: int) -> None:
        item = self.items.get(line.id)
        if item is None:
            self.items[line.id] = TwinItem(line, place)
            return
        if item.line.text != line.text and item.last is not None and item.last.is_unsent:
            item.last.state = State.WITHDRAWN
            self.settle(item.last, None)
        if item.line.text != line.text and not item.queued:
            item.queued = True
        keeps_price = item.is_taken or item.is_held
        price = item.line.credits if keeps_price and not item.queued else line.credits
        item.line, item.place, item.in_manifest = replace(line, credits=price), place, True

    # --- the account --------------------------------------------------------------------------------------

    def search(self) -> int:
        """Take up what the account has of lines that were never searched for; returns how many tasks."""
        asking = [item for item in self.items.values() if item.in_manifest and not item.searched]
        conflicts = [item.place for item in asking if self._has_video_of_other_text(item)]
        if conflicts:
            raise Conflict(conflicts)
        taken = sum(self._adopt(item) for item in asking)
        for item in asking:
            item.searched = True
        return taken

    def tasks_of(self, item_id: str) -> list[TwinTask]:
        return [task for task in self.account if task.item == item_id]

    def _has_video_of_other_text(self, item: TwinItem) -> bool:
        return any(task.text != item.line.text and not task.failed for task in self.tasks_of(item.line.id))

    def _adopt(self, item: TwinItem) -> int:
        chosen: dict[int, TwinTask] = {}
        for task in self.tasks_of(item.line.id):
            if task.number not in chosen or not task.failed:
                chosen[task.number] = task
        for number, task in sorted(chosen.items(), key=lambda pair: (not pair[1].failed, pair[0])):
            attempt = TwinAttempt(number, task.text, item.line.credits, State.IN_FLIGHT, task)
            item.attempts.append(attempt)
            self.hold(attempt)
            item.queued = False
            if task.failed:
                self.fail(attempt, task.charged)
                newest = item.last is attempt
                item.queued = item.queued or (newest and task.text != item.line.text)
        return len(chosen)

    # --- the next submission ------------------------------------------------------------------------------

    def candidates(self) -> list[TwinItem]:
        free = [item for item in self.items.values() if item.queued and item.searched and item.in_manifest]
        return sorted(free, key=lambda item: (-item.line.priority, item.place))

    def next_item(self, budget: Decimal | None) -> TwinItem | None:
        spent = self.consumed + self.held
        fitting = [each for each in self.candidates() if budget is None or spent + each.line.credits <= budget]
        return fitting[0] if fitting else None

    def claim(self, item: TwinItem) -> TwinAttempt:
        last = item.last
        if last is not None and last.state is State.WITHDRAWN and last.text == item.line.text:
            last.state, last.estimate, attempt = State.READY, item.line.credits, last
        else:
            assert last is None or last.state in OVER | {State.WITHDRAWN}, "an attempt may still live"
            attempt = TwinAttempt(1 if last is None else last.number + 1, item.line.text, item.line.credits)
            item.attempts.append(attempt)
        self.hold(attempt)
        item.queued = False
        return attempt

    # --- money --------------------------------------------------------------------------------------------

    def hold(self, attempt: TwinAttempt) -> None:
        assert attempt.held == FREE
        attempt.held = attempt.estimate
        attempt.entries.append(("hold", attempt.estimate))

    def settle(self, attempt: TwinAttempt, charged: Decimal | None) -> None:
        """A charge of what was taken; None gives the hold back."""
        word = ("release", attempt.held) if charged is None else ("charge", charged)
        attempt.entries.append(word)
        attempt.held = FREE

    def fail(self, attempt: TwinAttempt, charged: Decimal | None) -> None:
        attempt.state = State.FAILED
        self.settle(attempt, charged or None)

    def attempts(self) -> Iterator[tuple[TwinItem, TwinAttempt]]:
        for item in self.items.values():
            for attempt in item.attempts:
                yield item, attempt

    @property
    def held(self) -> Decimal:
        return sum((attempt.held for _, attempt in self.attempts()), FREE)

    @property
    def consumed(self) -> Decimal:
        taken = (amount for _, each in self.attempts() for word, amount in each.entries if word == "charge")
        return sum(taken, FREE)

    def retry(self) -> None:
        for item in self.items.values():
            if item.in_manifest and not item.queued and item.last is not None and item.last.state in OVER:
                item.queued = True
