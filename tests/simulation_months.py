"""A story with months in it: batches are left alone for longer than the service keeps what it made."""

from __future__ import annotations

import asyncio
from datetime import datetime

from simulation import Simulation
from simulation_books import item_digest
from simulation_story import QUIET, Story

from batch_runner.errors import ExitCode
from batch_runner.records import SummaryRecord

_DAY_S = 86_400.0
_PAUSES_DAYS = (20, 28, 35, 65)
_SURELY_SHOWN_S = 27 * _DAY_S
"""By a clock that somebody may have set by a day or two."""


class MonthsStory(Story):
    """Deaths, faults and edits as ever, and pauses; ``state.db`` stays, as without it nobody can tell of purged tasks.

    Nobody gives the word to make anything again, so that whatever may have been made stays paid for once.
    """

    _rounds = (2, 3, 4, 6)

    def __init__(self, simulation: Simulation) -> None:
        self._months = simulation.dice("months")
        super().__init__(simulation)

    def _between_runs(self) -> None:
        if self._months.random() < 0.3:
            self._edit()
        if self._months.random() < 0.1:
            self._change_budget()

    async def _hurt_run(self) -> None:
        await super()._hurt_run()
        if self._months.random() < 0.5:
            await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(self._months.choice(_PAUSES_DAYS) * _DAY_S)
        self.tally["pauses of weeks or months"] += 1

    async def _neighbours(self) -> None:
        """None: in months they would make more tasks than anybody could look at."""

    async def _is_quiet(self, summary: SummaryRecord) -> bool:
        """What is unknown for good is as old as that; anything else comes to its end in one of the next runs."""
        return summary.exit_code in QUIET or (summary.exit_code == ExitCode.UNRESOLVED and self._is_all_old())

    def _is_all_old(self) -> bool:
        simulation = self._simulation
        held_at = {entry["item"]: entry["at"] for entry in simulation.ledger() if entry["entry"] == "hold"}
        unknown = (row["id"] for row in simulation.results() if row["status"] == "unknown")
        now_s = simulation.machine_clock.wall_s()
        return all(now_s - datetime.fromisoformat(held_at[item]).timestamp() > _SURELY_SHOWN_S for item in unknown)

    def _audit_end(self, _: SummaryRecord) -> None:
        """Of everything but what is unknown the ledger tells what the account was charged."""
        simulation, now_s = self._simulation, self._simulation.clock.wall_s()
        rows = simulation.results()
        unknown = {item_digest(row["id"]) for row in rows if row["status"] == "unknown"}
        here = {item_digest(row["id"]) for row in rows}
        self.tally["items unknown in the end"] += len(unknown)
        told = {entry["task_id"] for entry in simulation.ledger() if entry["entry"] == "charge"}
        paid = {task.task_id for task in simulation.tasks if simulation.batch.item_of(task) in here - unknown}
        paid = {task.task_id for task in simulation.tasks if task.task_id in paid and task.charged_at(now_s)}
        assert told >= paid, "promise 5: what was charged is in the ledger"
        assert told <= {task.task_id for task in simulation.tasks}, "promise 5: and nothing else"
