"""What is known of an attempt's files, and which number one belongs to that has come. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from batch_runner.download import TargetExists
from batch_runner.manifest.file_names import file_names
from batch_runner.store import Attempt, StoredFile


@dataclass(slots=True)
class Stock:
    """An attempt's files.

    Attributes:
        attempt: whose they are.
        folder: where they belong.
        stored: all that are recorded, by number.
        finished: the numbers of those that are here.
        blocked: why the numbers of these are not, though their bytes are: something else has their name.
        named: the most files that an answer of this run named.
    """

    attempt: Attempt
    folder: Path
    stored: dict[int, StoredFile]
    finished: set[int] = field(default_factory=set)
    blocked: dict[int, TargetExists] = field(default_factory=dict)
    named: int = 0

    @property
    def count(self) -> int:
        """How many files the task was ever said to have made; 0 where nothing tells."""
        return max([self.named, *(file.count for file in self.stored.values())])

    @property
    def needs_nothing(self) -> bool:
        """Whether the bytes of every file are here."""
        return 0 < self.count == len(self.finished | self.blocked.keys())

    def require_names(self) -> None:
        """Raise ``TargetExists`` where something else has the name of a file."""
        for error in self.blocked.values():
            raise error

    def alike(self, sha256: str) -> list[StoredFile]:
        """The recorded files of these bytes; those first that are not here."""
        found = [file for file in self.stored.values() if file.sha256 == sha256]
        return sorted(found, key=lambda file: not self.is_away(file.ordinal))

    def is_away(self, ordinal: int) -> bool:
        """Whether the bytes of this number are not here."""
        return ordinal not in self.finished and ordinal not in self.blocked

    def room(self, place: int) -> int:
        """The number for what stands at a place and was never recorded: the place's own, else the lowest free one.

        Where every number is recorded, one of a file that is away. Raises ``ValueError`` where none is away.
        """
        away = [ordinal for ordinal in range(self.count) if self.is_away(ordinal)]
        rooms = [ordinal for ordinal in away if ordinal not in self.stored] or away
        return place if place in rooms else min(rooms)

    def name(self, ordinal: int, suffix: str) -> Path:
        """What the file of this number is called."""
        return self.folder / file_names(self.attempt.item_id, [suffix] * self.count)[ordinal]

    def kept_text(self) -> str:
        """What is here, for the end of a sentence about what is not; the results list files of whole items alone."""
        paths = ", ".join(file.path for number, file in sorted(self.stored.items()) if number in self.finished)
        return f" (kept here: {paths})" if paths else ""
