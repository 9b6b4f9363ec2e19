"""Tasks that never end or take very long in a wide story, and the deadline beyond which no run waits for them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import replace

from simulation import Simulation
from simulation_books import item_digest
from simulation_families import Line, sources
from simulation_scenario import FEWEST_SLOTS, Scenario

from batch_runner.sandbox.fate import SLOW, STUCK

_DEADLINE = "task_deadline_s"


def with_stuck_tasks(scenario: Scenario, dice: random.Random) -> Scenario:
    """The same story, some of whose tasks get stuck; the shorter deadlines call healthy tasks overdue, too."""
    deadline_s = dice.choice([20, 60, 60, 240])
    return replace(scenario, options={**scenario.options, _DEADLINE: deadline_s})


class Stuck:
    """Which lines get stuck, and what that keeps from coming to its end."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._dice = simulation.dice("stuck lines")
        self._is_drawn = _DEADLINE in simulation.scenario.options

    def marked(self, line: Line) -> Line:
        """The line, or one that asks the simulated service to take long, or for ever."""
        if not self._is_drawn or "prompt" not in line:
            return line
        mark = self._dice.choice(["", "", STUCK, SLOW])
        return {**line, "prompt": f"{line['prompt']} {mark}"} if mark else line

    def explains(self, lines: Iterable[Line]) -> bool:
        """Whether all that is pending waits for tasks that never end: for their own, for its result or for slots."""
        simulation = self._simulation
        endless = [task for task in simulation.tasks_of_all if math.isinf(task.ended_at_s)]
        world = simulation.world.config
        most = min(simulation.scenario.slots, world.max_concurrent, *world.slots.values())
        items = {simulation.batch.item_of(task) for task in endless}
        if most - sum(task.slots for task in endless) < FEWEST_SLOTS:
            return bool(endless) and self._overdue() <= items
        hanging = {line["id"] for line in lines if item_digest(line["id"]) in items}
        while more := {line["id"] for line in lines if sources(line) & hanging} - hanging:
            hanging |= more
        pending = {row["id"] for row in simulation.results() if row["status"] == "pending"}
        return bool(endless) and pending <= hanging

    def _overdue(self) -> set[str]:
        """Items whose task took too long for the last run; where it has an end, the next run may see it."""
        return {item_digest(row["id"]) for row in self._simulation.results() if row["reason"] == "overdue"}
