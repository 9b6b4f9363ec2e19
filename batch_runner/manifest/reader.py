"""A manifest file as a whole: its items in order, or its problems."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from batch_runner.errors import ManifestError, Problem
from batch_runner.manifest.draft import Draft
from batch_runner.manifest.lines import lines, parsed
from batch_runner.manifest.media_fields import Inspect
from batch_runner.model import Item

MAX_PROBLEMS: Final = 100
"""Problems told one by one; the rest is counted."""


class Manifest:
    """A manifest file. Nothing is read before it is asked for; every question reads the file anew."""

    def __init__(self, path: Path, inspect: Inspect) -> None:
        self.path = path
        self._inspect = inspect
        self._folder = path.absolute().parent

    def problems(self) -> tuple[list[Problem], int]:
        """The first hundred problems in the order of the file, and how many more there are."""
        told: list[Problem] = []
        omitted = 0
        for outcome in self._outcomes():
            if not isinstance(outcome, Item):
                room = MAX_PROBLEMS - len(told)
                told += outcome[:room]
                omitted += len(outcome[room:])
        return told, omitted

    def check(self) -> None:
        """Raises ManifestError with all problems, if there are any."""
        found, omitted = self.problems()
        if found:
            raise ManifestError(str(self.path), found, omitted)

    def items(self) -> Iterator[Item]:
        """The items in the order of the file; raises ManifestError at the first line with a problem."""
        for outcome in self._outcomes():
            if not isinstance(outcome, Item):
                raise ManifestError(str(self.path), outcome)
            yield outcome

    def _outcomes(self) -> Iterator[Item | list[Problem]]:
        """What became of each line that is not blank."""
        first_lines: dict[int, int] = {}
        for line, content in lines(self.path):
            yield [content] if isinstance(content, Problem) else self._outcome(line, content, first_lines)

    def _outcome(self, line: int, text: str, first_lines: dict[int, int]) -> Item | list[Problem]:
        record = parsed(line, text)
        if isinstance(record, Problem):
            return [record]
        return Draft(line, record, self._folder, self._inspect).outcome(first_lines)
