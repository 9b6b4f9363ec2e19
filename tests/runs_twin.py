"""What somebody with a pencil would know of a batch: its lines, and what may have been paid for them.

None of the program's own code is in it, and no store: what there is to pay for is told by the account's books.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

FAILS = "[sandbox:fail]"
AGAINST_POLICY = "[sandbox:policy]"
TAKES = ("", "again", "once more", FAILS, AGAINST_POLICY)

_KINDS: Mapping[str, Mapping[str, Any]] = {
    "a": {"model_name": "kling-v2-5-turbo", "duration": "5"},
    "b": {"model_name": "kling-3.0-turbo", "duration": 5},
    "c": {"model_name": "kling-v1", "mode": "pro"},
    "d": {"kind": "image2video", "model_name": "kling-v2-1", "image": "media/start.png"},
    "e": {"kind": "video-extend", "video_id": {"item": "c"}},
}
IDS = tuple(_KINDS)
SOURCE = {"e": "c"}
"""Whose result an item takes."""


@dataclass(frozen=True)
class Line:
    """One line of the manifest: an edit changes its take."""

    id: str
    take: str = ""

    @property
    def prompt(self) -> str:
        return f"scene {self.id} {self.take}".strip()

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, "prompt": self.prompt, **_KINDS[self.id]}


@dataclass(frozen=True)
class Paid:
    """One task of the account's books: for which text of which line, and how it ends."""

    id: str
    prompt: str
    fails: bool
    is_over: bool

    @property
    def binds(self) -> bool:
        """Whether the line must stay as it was."""
        return not (self.fails and self.is_over)


class Twin:
    """Lines and permissions.

    Attributes:
        lines: the manifest.
        removed: lines that were taken out of it.
    """

    def __init__(self, lines: Iterable[Line]) -> None:
        self.lines: list[Line] = []
        self.removed: list[Line] = []
        self._tasks_allowed: Counter[str] = Counter(dict.fromkeys(IDS, 1))
        self._begun: defaultdict[str, list[str]] = defaultdict(list)
        self._failed: set[str] = set()
        self._free_to_edit: set[str] = set()
        for line in lines:
            self.add(line, len(self.lines))

    # --- the manifest ---------------------------------------------------------------------------------------

    def edit(self, id_: str, take: str) -> None:
        """Another text may be another task, once what was made of the earlier one has failed."""
        self.lines = [replace(line, take=take) if line.id == id_ else line for line in self.lines]
        self._tasks_allowed[id_] += 1

    def add(self, line: Line, place: int) -> None:
        """Put a line of no such id there is yet into its place, with its source."""
        if all(each.id != line.id for each in self.lines):
            if line.id in SOURCE:
                self.add(Line(SOURCE[line.id]), place)
            self.removed = [each for each in self.removed if each.id != line.id]
            self.lines.insert(place, line)
            self._tasks_allowed[line.id] += 1

    def remove(self, id_: str) -> None:
        """Take a line out, and those that take its result."""
        for each, source in SOURCE.items():
            if source == id_:
                self.remove(each)
        self.removed += [line for line in self.lines if line.id == id_]
        self.lines = [line for line in self.lines if line.id != id_]

    def put_back(self) -> None:
        self.lines, self.removed = self.lines + self.removed, []

    def take_back(self, told: Iterable[str], books: Iterable[Paid]) -> None:
        """The way out that the program names: these lines as they were when their tasks were made, or else begun."""
        paid = {each.id: each.prompt for each in books if each.binds}
        for id_ in told:
            line = next(line for line in self.lines if line.id == id_)
            begun = [prompt for prompt in self._begun[id_] if prompt != line.prompt]
            prompt = paid.get(id_, begun[0])
            self._begun[id_].remove(line.prompt)  # what was told is tried last, so that each has its turn
            self._begun[id_].append(line.prompt)
            self.edit(id_, next(take for take in TAKES if Line(id_, take).prompt == prompt))

    # --- runs -----------------------------------------------------------------------------------------------

    def begin(self, *, retry_failed: bool) -> None:
        """The program is started on the lines as they are: from now on another attempt may be under way."""
        self._free_to_edit, self._failed = self._failed, set()
        for line in self.lines:
            if line.prompt not in self._begun[line.id]:
                self._begun[line.id].append(line.prompt)
            self._tasks_allowed[line.id] += retry_failed

    def must_be_told(self, books: Iterable[Paid]) -> set[str]:
        """Lines that no run may work on: they are paid for with another text."""
        prompts = {line.id: line.prompt for line in self.lines}
        return {paid.id for paid in books if not paid.fails and prompts.get(paid.id, paid.prompt) != paid.prompt}

    def may_be_told(self) -> set[str]:
        """Lines that were another text in an earlier run, which may have sent it, and are not known to have failed."""
        edited = {line.id for line in self.lines if set(self._begun[line.id]) - {line.prompt}}
        return edited - self._free_to_edit

    def ended(self, failed: Iterable[str]) -> None:
        """A run came to its end: what failed may be edited before the next one."""
        self._failed = set(failed)

    def forget(self) -> None:
        """The store is lost."""
        self._failed = set()

    def require_allowed(self, made: Mapping[str, int]) -> None:
        """No item has more tasks than its lines, edits and ``--retry-failed`` allowed."""
        for id_, count in made.items():
            assert count <= self._tasks_allowed[id_], f"promise 1: {id_} has {count} tasks"


@dataclass(frozen=True)
class RollingRoom:
    """What a rolling budget leaves, by the ledger.

    Attributes:
        most: credits of the budget.
        window_s: how long a charge counts.
        ledger: its entries as they are told.
    """

    most: int
    window_s: float
    ledger: Sequence[Mapping[str, Any]]

    def left(self, count: int, at: str) -> Decimal:
        """What it left at a moment, after so many entries."""
        young = (
            entry for entry in self.ledger[:count] if entry["entry"] == "charge" and _age_s(entry, at) < self.window_s
        )
        held = Decimal(self.ledger[count - 1]["held"]) if count else Decimal(0)
        return self.most - held - sum((Decimal(entry["credits"]) for entry in young), Decimal(0))

    def require_kept(self, since: str) -> None:
        """No hold from a moment on took more than there was."""
        for count, entry in enumerate(self.ledger, start=1):
            if entry["entry"] == "hold" and entry["at"] >= since:
                assert self.left(count, entry["at"]) >= 0, f"promise 4: {entry} with {self.most} in {self.window_s} s"


def _age_s(entry: Mapping[str, Any], at: str) -> float:
    return (datetime.fromisoformat(at) - datetime.fromisoformat(entry["at"])).total_seconds()


def fits(row: Mapping[str, Any], available: Decimal | None) -> bool:
    """Whether the budget has room for a pending item."""
    return available is None or Decimal(row["credits_estimated"]) <= available
