"""Which files a task may make, and how they are numbered. Pure."""

from __future__ import annotations

from typing import NamedTuple

from batch_runner.model import SUFFIXES


class MadeFiles(NamedTuple):
    """Which files a task may make.

    Attributes:
        kinds: each kind of file (``image``, ``video``, ``audio``, ``facts``) with the most that there may be of it, in
            the order in which an answer lists them.
        fewest: how many files there are at least, of all kinds together.
    """

    kinds: tuple[tuple[str, int], ...] = ()
    fewest: int = 1

    @property
    def most(self) -> int:
        """How many files there may be, of all kinds together."""
        return sum(count for _, count in self.kinds)

    def endings_alone(self) -> tuple[str, ...]:
        """The endings that the file may have where it is the only one; none where there are always more."""
        return tuple(ending for kind, _ in self.kinds for ending in SUFFIXES[kind]) if self.fewest <= 1 else ()

    def endings_at(self, number: int) -> tuple[str, ...]:
        """The endings that the file of this number, counted from 1, may have where there are several.

        Nobody says how many there are of the kinds before it, so that any of those may be missing.
        """
        endings: list[str] = []
        last = 0
        for kind, count in self.kinds:
            last += count
            if number <= last:
                endings += SUFFIXES[kind]
        return tuple(endings) if self.most > 1 else ()
