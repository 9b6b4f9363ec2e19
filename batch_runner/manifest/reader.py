"""A manifest file as a whole: its items in order, or its problems."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from batch_runner.errors import ManifestError, Problem
from batch_runner.manifest.draft import Draft, Made
from batch_runner.manifest.expansion import Entry, Expansion
from batch_runner.manifest.media_fields import Inspect, load_body
from batch_runner.manifest.records import records
from batch_runner.manifest.source import Source, format_of
from batch_runner.model import Item

MAX_PROBLEMS: Final = 100
"""Problems told one by one; the rest is counted."""


class Manifest:
    """A manifest. Nothing is read before it is asked for; every question reads its text anew."""

    def __init__(self, source: Path | Source, inspect: Inspect) -> None:
        self._source = source if isinstance(source, Source) else Source(source, format_of(source))
        self._inspect = inspect
        self._folder = self._source.folder

    @property
    def path(self) -> Path:
        """The file, or what stands for its name."""
        return self._source.path

    def problems(self) -> tuple[list[Problem], int]:
        """The first hundred problems in the order of the file, and how many more there are."""
        told: list[Problem] = []
        omitted = 0
        for outcome in self._outcomes():
            if not isinstance(outcome, Made):
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
        return (made.item for made in self._made())

    def expanded(self) -> Iterator[str]:
        """The items as lines of a manifest with nothing left out; raises like ``items``."""
        return (expanded(made) for made in self._made())

    def _made(self) -> Iterator[Made]:
        for outcome in self._outcomes():
            if not isinstance(outcome, Made):
                raise ManifestError(str(self.path), outcome)
            yield outcome

    def _outcomes(self) -> Iterator[Made | list[Problem]]:
        """What became of each line that is not blank, and of the manifest as a whole."""
        first_lines: dict[int, int] = {}
        expansion = Expansion(self._folder)
        for line, record in records(self._source):
            if isinstance(record, Problem):
                expansion.unreadable()
                yield [record]
                continue
            entry = expansion.entry(line, record)
            if isinstance(entry, Entry):
                yield from Draft(entry, self._folder, self._inspect).outcomes(first_lines)
            elif entry:
                yield entry
        if problems := expansion.leftovers():
            yield problems


def expanded(made: Made) -> str:
    """An item as a line that gives the same item and fingerprint, whatever folder it stands in."""
    body = load_body(made.item.body, lambda path, _: str(path))
    return json.dumps({"id": made.item.id, "kind": made.item.kind, **made.words, **body}, ensure_ascii=False)
