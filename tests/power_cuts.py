"""The power is cut right before each sync in turn: the latest at which the disk can lack what the server has seen.

Between two syncs nothing gets to the disk for certain, so these are all the states that a disk can be left in at the
worst; "mixed" ones, in which some of the later changes have got there too, are drawn.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from seeded_loop import prompt_settle_s
from simulation import PowerCut, Scenario, Simulation, simulate
from simulation_audit import audit, audit_always, audit_end

from batch_runner.sandbox import WorldConfig


@dataclass(frozen=True)
class Cut:
    """One cut: how many lines the batch has, how much gets to the disk, before which sync, and what dice are drawn."""

    items: int
    power_cut: PowerCut
    sync: int
    seed: int = 0


def play_cut(cut: Cut) -> bool:
    """Cut the power, start again and run to the end; False when the run ended before the sync came.

    Raises:
        AssertionError: a promise was broken.
    """

    async def work(simulation: Simulation) -> bool:
        await simulation.run(die_before_sync=cut.sync, power_cut=cut.power_cut)
        audit_always(simulation)
        summary = await simulation.run()
        assert summary is not None
        audit(simulation, summary)
        audit_end(simulation, summary)
        assert (summary.exit_code, len(simulation.world.tasks)) == (0, cut.items), "every line is paid for once"
        return bool(simulation.died)

    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        came: bool = simulate(_scenario(cut), Path(folder), work)
        return came


def _scenario(cut: Cut) -> Scenario:
    """A server that accepts an id twice and shows a task late: nothing but the program's own record saves it."""
    world = WorldConfig(max_concurrent=cut.items, speed=60.0, repeat_policy="second", visible_after_s=3.0)
    return Scenario(
        seed=cut.seed,
        items=cut.items,
        slots=cut.items,
        rpm=0,
        world=world,
        settle_s=prompt_settle_s(),
        watches_sqlite=True,
    )
