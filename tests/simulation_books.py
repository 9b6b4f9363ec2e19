"""Whose task is whose, and what it comes to: the sandbox's books in the words of the batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from batch_runner.lifecycle import ExternalId
from batch_runner.sandbox import SandboxTask

OF_A_SESSION = frozenset({"add-selection", "delete-selection", "clear-selection", "preview-selection"})
"""Calls that change or show what is selected in a session."""
CALLS = frozenset({"tts", "identify-face", "image-recognize", "init-selection"}) | OF_A_SESSION
"""Kinds that are answered at once, and never to be asked for again."""
UNNAMED = frozenset({"lip-sync"})
"""Kinds for which no id of ours is documented."""
UNCERTAIN = CALLS | UNNAMED
"""What these cost, and whether they are made twice, may be the user's word alone (``--repeat-lost``)."""
FACTS = frozenset({"identify-face", "init-selection", "elements", "voices"}) | OF_A_SESSION
"""Kinds whose result is ids and facts."""
WITH_FACTS = frozenset({"image-recognize"})
"""Kinds whose result is files, and facts about them."""


def item_digest(item_id: str) -> str:
    """How an item's tasks name it."""
    return ExternalId.of("batch", item_id, 1, "").item


@dataclass
class BatchBooks:
    """One batch of the output folder, and what of the account is its own.

    Attributes:
        name: as the program calls it.
        manifest: the file with its lines.
        dice: what tells its dice from those of the folder's first batch.
        item_of: which item a task of the account was made for.
        uncertain: items that are made once, or cost what they say, only as far as their answers are heard.
        repeats: runs in which the user gave the word to make calls again whose answer was lost.
    """

    name: str
    manifest: Path
    dice: str = ""
    item_of: Callable[[SandboxTask], str | None] = field(init=False)
    _digest: str = field(init=False)
    uncertain: set[str] = field(default_factory=set)
    repeats: int = 0

    def __post_init__(self) -> None:
        self._digest = ExternalId.of(self.name, "", 1, "").batch
        self.item_of = self.item_by_name

    def item_by_name(self, task: SandboxTask) -> str | None:
        """The item that a task's external id names, if it is one of the batch's."""
        name = ExternalId.parse(task.external_task_id)
        return None if name is None or name.batch != self._digest else name.item


def by_item(tasks: Iterable[tuple[str | None, SandboxTask]]) -> dict[str, list[SandboxTask]]:
    """The tasks of each item, oldest first."""
    found: defaultdict[str, list[SandboxTask]] = defaultdict(list)
    for item, task in tasks:
        if item is not None:
            found[item].append(task)
    return found


def most_slots(tasks: Iterable[SandboxTask]) -> int:
    """The most slots held at one moment; a task that ends when another begins has made room for it."""
    moments = sorted(
        moment for task in tasks for moment in ((task.ended_at_s, -task.slots), (task.created_at_s, task.slots))
    )
    most = held = 0
    for _, change in moments:
        held += change
        most = max(most, held)
    return most


def most_charged(charges: Sequence[tuple[float, Decimal]], window_s: float) -> Decimal:
    """The most credits charged within any span that is shorter than ``window_s``; charges by their moments."""
    most, first, within = Decimal(0), 0, Decimal(0)
    ordered = sorted(charge for charge in charges if charge[1])
    for at_s, credits_ in ordered:
        within += credits_
        while ordered[first][0] <= at_s - window_s:
            within -= ordered[first][1]
            first += 1
        most = max(most, within)
    return most
