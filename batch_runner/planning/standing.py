"""How the lines of a manifest stand against what earlier runs left: new, changed, done, in flight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from batch_runner.budgets import Window
from batch_runner.clock import SystemClock
from batch_runner.errors import Problem
from batch_runner.ledger import ZERO
from batch_runner.model import Item
from batch_runner.naming import batch_name, realm_of
from batch_runner.settings import Settings
from batch_runner.store import Moment, StandingRow, StoreReader, edited


class Standing(StrEnum):
    """Where a line stands before the next run."""

    NEW = "new"
    CHANGED = "changed"
    CONFLICT = "conflict"
    """Edited, though the video of its earlier text is paid or under way: a run refuses it."""
    WAITING = "waiting"
    IN_FLIGHT = "in_flight"
    FAILED = "failed"
    DONE = "done"

    @property
    def is_left(self) -> bool:
        """Whether the next run would submit it."""
        return self in {Standing.NEW, Standing.CHANGED, Standing.WAITING}


_WORDS = {"pending": Standing.WAITING, "failed": Standing.FAILED, "succeeded": Standing.DONE}


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier runs of a batch left.

    Attributes:
        rows: by the item's id.
        spent: credits consumed and held, by pack.
        windows: how the rolling budgets of the settings stand now, for the whole output folder.
    """

    rows: Mapping[str, StandingRow] = field(default_factory=dict)
    spent: Mapping[str, Decimal] = field(default_factory=dict)
    windows: Sequence[Window] = ()

    def available(self, budgets: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """What the batch's budgets and the rolling ones leave together, by pack; one without any is left out."""
        left = [(pack, budget - self.spent.get(pack, ZERO)) for pack, budget in budgets.items()]
        left += [(window.budget.pack, window.available) for window in self.windows]
        packs = {pack for pack, _ in left}
        return {pack: max(ZERO, min(room for each, room in left if each == pack)) for pack in packs}

    def of(self, item: Item, *, retry_failed: bool) -> Standing:
        """Where a line stands."""
        row = self.rows.get(item.id)
        if row is None:
            return Standing.NEW
        stands = Standing.IN_FLIGHT if row.is_live else _WORDS[row.status]
        if row.fingerprint != item.fingerprint:
            return Standing.CHANGED if row.taken is None else Standing.CONFLICT
        return Standing.WAITING if stands is Standing.FAILED and retry_failed else stands

    def problem(self, item: Item) -> Problem | None:
        """Why a run would refuse the line, or None."""
        row = self.rows.get(item.id)
        if row is None or row.taken is None or row.fingerprint == item.fingerprint:
            return None
        return edited(item, row.taken)


def past_of(path: Path, settings: Settings) -> Past:
    """What the output folder knows of the manifest's batch; nothing where there was no run of it yet.

    Raises:
        StoreError: state.db is damaged, or newer than this program.
        UsageError: the manifest's name can be no batch's.
    """
    name, state_path = batch_name(path, settings), settings.output_dir / "state.db"
    rolling = list(settings.rolling_budget.values())
    if not state_path.is_file():
        return Past(windows=[Window(budget, ZERO) for budget in rolling])
    with StoreReader.open(state_path) as reader:
        batch, windows = reader.batch(name), reader.windows(realm_of(settings), rolling, Moment.of(SystemClock()))
        if batch is None:
            return Past(windows=windows)
        spent = {pack: row.consumed + row.held for pack, row in reader.credits(batch).items()}
        return Past(reader.standings(batch), spent, windows)
