"""The files of a task as its newest answer names them, and why one cannot be had. Pure.

A place says little across answers: the service may name the files in another order in the next one.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

from batch_runner.model import Task
from batch_runner.store import Attempt

Content: TypeAlias = tuple[int, str]
"""Size in bytes and SHA-256 hex."""

AGREEING_LOOKS = 4
"""So many looks at a finished task, seconds apart, that show no file of it are believed; one alone may be stale."""
_MOST_LOOKS = 2
"""At one place: an order that changes time after time must not keep a run looking for ever."""


class AssetGoneError(Exception):
    """The server does not hand out the file any more."""


class AssetLaterError(Exception):
    """The file could not be had now; the next run tries again."""


class AssetAwaitedError(AssetLaterError):
    """Whatever the task names now could be had, but the file is not among it."""


class FewerFilesError(Exception):
    """An answer names fewer files than the one before; nothing tells which of them are left out."""


class Places:
    """What the newest answer about a task names, and what came of it.

    Args:
        attempt: whose task it is.
        task: with its files.

    Attributes:
        task: as the newest answer has it; it never names fewer files than the first.
        contents: what stood at places of the newest answer, counted from 0.
        troubles: why what stands at a place could not be had when it was last tried.
    """

    def __init__(self, attempt: Attempt, task: Task) -> None:
        self.attempt = attempt
        self.task = task
        self.contents: dict[int, Content] = {}
        self.troubles: dict[int, AssetGoneError | AssetLaterError] = {}
        self._seen: set[int] = set()
        self._looks: Counter[int] = Counter()

    @property
    def named(self) -> int:
        """How many files the newest answer names."""
        return len(self.task.assets)

    @property
    def may_come(self) -> bool:
        """Whether something that could not be had may be had later."""
        return any(isinstance(error, AssetLaterError) for error in self.troubles.values())

    def renew(self, task: Task) -> None:
        """Go on with another answer, of which nothing is known yet. Raises ``FewerFilesError``."""
        if len(task.assets) < self.named:
            raise FewerFilesError("the task names fewer files than before")
        if task is not self.task:
            self.task = task
            self.contents.clear()
            self._seen.clear()

    def came(self, place: int, content: Content) -> None:
        """Note what stands at a place of the newest answer."""
        self._note(place)
        self.contents[place] = content
        self.troubles.pop(place, None)

    def failed(self, place: int, error: AssetGoneError | AssetLaterError) -> None:
        """Note why what stands at a place of the newest answer could not be had."""
        self._note(place)
        self.contents.pop(place, None)
        self.troubles[place] = error

    def _note(self, place: int) -> None:
        self._seen.add(place)
        self._looks[place] += 1

    def allow_looks(self) -> None:
        """Begin another search: a place that was looked at often may be looked at again."""
        self._looks.clear()

    def unseen(self) -> list[int]:
        """The places of the newest answer that were not looked at and still may be, the first first."""
        places = range(self.named)
        return [place for place in places if place not in self._seen and self._looks[place] < _MOST_LOOKS]

    def times(self, sha256: str) -> int:
        """At how many places of the newest answer these bytes stood."""
        return sum(content[1] == sha256 for content in self.contents.values())

    def texts(self) -> list[str]:
        """Every trouble with its place, for a person."""
        if self.named == 1:
            return [str(error) for error in self.troubles.values()]
        return [f"file {place + 1} of {self.named}: {self.troubles[place]}" for place in sorted(self.troubles)]
