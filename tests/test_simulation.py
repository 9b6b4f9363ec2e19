"""The promises of contract.md on the whole program under virtual time."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from simulation import Scenario, Simulation, audit, simulate

from batch_runner.sandbox import FaultPlan, WorldConfig
from batch_runner.sandbox.config import RepeatPolicy

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "60"))
FIRST_SEED = int(os.environ.get("SIMULATION_FIRST_SEED", "0"))


def test_a_quiet_batch_ends_well_and_costs_what_it_says(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == 0
        audit(simulation, summary)
        before, requests = simulation.tree(), len(simulation.world.request_stamps)
        again = await simulation.run()
        assert again == summary
        assert simulation.tree() == before, "promise 6"
        assert len(simulation.world.request_stamps) == requests

    simulate(Scenario(world=WorldConfig(max_concurrent=3, rpm=60)), tmp_path, work)


@pytest.mark.parametrize("repeat", ["refuse", "second"])
def test_a_run_may_die_at_any_moment(tmp_path: Path, repeat: RepeatPolicy) -> None:
    """One item, a death at each moment in turn: around every transaction, every file's name, at every task made."""
    world = WorldConfig(max_concurrent=1, speed=30.0, repeat_policy=repeat, visible_after_s=3.0)
    scenario = Scenario(items=1, slots=1, rpm=60, world=world)
    moment = died = 0
    while died == moment:
        moment += 1
        folder = tmp_path / str(moment)
        folder.mkdir()

        async def work(simulation: Simulation, moment: int = moment) -> int:
            await simulation.run(die_at=moment)
            simulation.whole_files()
            summary = await simulation.run()
            assert summary is not None
            audit(simulation, summary)
            assert (summary.exit_code, len(simulation.world.tasks)) == (0, 1), moment
            return simulation.died

        died += simulate(scenario, folder, work)
    assert moment > 30, "the moments were counted"


def test_restarts_do_not_reset_the_request_limit(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        for _ in range(8):
            await simulation.run(die_at=25)
        summary = await simulation.run()
        assert summary is not None
        audit(simulation, summary)
        assert simulation.world.most_requests_in_window() == 10, "the limit was reached, and kept"

    scenario = Scenario(items=3, slots=3, rpm=10, world=WorldConfig(max_concurrent=3, rpm=10))
    simulate(scenario, tmp_path, work)


def scenario_of(seed: int) -> Scenario:
    """A random account, random faults."""
    dice = random.Random(f"scenario {seed}")
    slots = dice.randint(1, 5)

    def rate(most: float) -> float:
        return dice.choice([0.0, 0.0, dice.random() * most])

    world = WorldConfig(
        seed=seed,
        max_concurrent=slots,
        rpm=60,
        speed=dice.choice([5.0, 30.0]),
        failure_rate=rate(0.3),
        moderation_create_rate=rate(0.2),
        moderation_late_rate=rate(0.2),
        visible_after_s=dice.choice([0.0, 0.0, 2.0, 10.0]),
        repeat_policy=dice.choice(["refuse", "same", "second"]),
        newest_first=dice.random() < 0.7,
        link_ttl_s=dice.choice([2_592_000.0, 3.0]),
    )
    faults = FaultPlan(
        seed=seed,
        lost_answer=rate(0.5),
        reset_before=rate(0.3),
        server_error_before=rate(0.3),
        server_error_after=rate(0.3),
        html_200=rate(0.3),
        read_error=rate(0.3),
        slow=rate(0.1),
        slow_s=dice.choice([5.0, 100.0]),
        cut_download=rate(0.4),
        html_download=rate(0.3),
        range_ignored=rate(0.5),
        etag_changed=rate(0.3),
        expired_link=rate(0.3),
    )
    options: dict[str, object] = {}
    if dice.random() < 0.3:
        options["budget"] = {"video": dice.randint(3, 30)}
    return Scenario(seed, dice.randint(1, 8), slots, 60, world, faults, options)


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_promises_hold_through_faults_and_deaths(seed: int, tmp_path: Path) -> None:
    dice = random.Random(f"deaths {seed}")

    async def work(simulation: Simulation) -> None:
        summary = None
        for _ in range(dice.choice([0, 1, 3])):
            if dice.random() < 0.2:
                (simulation.output_dir / "state.db").unlink(missing_ok=True)
                for name in ("state.db-wal", "state.db-shm"):
                    (simulation.output_dir / name).unlink(missing_ok=True)
            summary = await simulation.run(die_at=dice.randint(1, 120))
            simulation.whole_files()
        for _ in range(12):
            summary = await simulation.run()
            assert summary is not None
            audit(simulation, summary)
            if summary.exit_code not in {7, 8}:
                break
        assert summary is not None
        assert summary.exit_code in {0, 3, 4}, summary

    simulate(scenario_of(seed), tmp_path, work)
