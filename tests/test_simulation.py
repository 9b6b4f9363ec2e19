"""The promises of the program, kept as a whole under virtual time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from death_moments import stride
from simulation import Scenario, Simulation, audit, simulate
from simulation_audit import audit_always
from simulation_seeds import FIRST_MONTHS_SEED, FIRST_SHORT_SEED, FIRST_WIDE_SEED, play_seed

from batch_runner.sandbox import WorldConfig
from batch_runner.sandbox.config import RepeatPolicy

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "300"))
FIRST_SEED = int(os.environ.get("SIMULATION_FIRST_SEED", "0"))
SHORT_SEEDS = int(os.environ.get("SIMULATION_SHORT_SEEDS", "1670"))
WIDE_SEEDS = int(os.environ.get("SIMULATION_WIDE_SEEDS", "20"))
MONTHS_SEEDS = int(os.environ.get("SIMULATION_MONTHS_SEEDS", "10"))
BLOCKS = min(10, SEEDS)
SHORT_BLOCKS = min(10, SHORT_SEEDS)
WIDE_BLOCKS = min(5, WIDE_SEEDS)
"""Few enough that pytest itself costs nothing, enough to share them out."""


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


@pytest.mark.parametrize(("repeat", "first_moment"), [("refuse", 1), ("second", 3)], ids=["refuse", "second"])
def test_a_run_may_die_at_any_moment(tmp_path: Path, repeat: RepeatPolicy, first_moment: int) -> None:
    """One item, a death at every thirteenth moment: around transactions, files' names, at tasks made.

    Each account has its own moments; a seed dies at any of them.
    """
    world = WorldConfig(max_concurrent=1, speed=30.0, repeat_policy=repeat, visible_after_s=3.0)
    scenario = Scenario(items=1, slots=1, rpm=60, world=world)
    tried = died = 0
    while died == tried:
        moment = first_moment + stride(13) * tried
        tried += 1
        folder = tmp_path / str(moment)
        folder.mkdir()

        async def work(simulation: Simulation, moment: int = moment) -> int:
            await simulation.run(die_at=moment)
            audit_always(simulation)
            summary = await simulation.run()
            assert summary is not None
            audit(simulation, summary)
            assert (summary.exit_code, len(simulation.world.tasks)) == (0, 1), moment
            return simulation.died

        died += simulate(scenario, folder, work)
    assert tried > 15, "the moments were counted"


def test_restarts_do_not_reset_the_request_limit(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        for _ in range(8):
            assert await simulation.run(die_after_s=1.5) is None
        summary = await simulation.run()
        assert summary is not None
        audit(simulation, summary)
        assert simulation.world.most_requests_in_window() == 10, "the limit was reached, and kept"

    scenario = Scenario(items=3, slots=3, rpm=10, world=WorldConfig(max_concurrent=3, rpm=10))
    simulate(scenario, tmp_path, work)


def test_a_clock_set_forward_after_a_power_cut_makes_no_burst(tmp_path: Path) -> None:
    """Requests of the boot before are placed by the wall clock, which was a day ahead of them once."""

    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=20, power_cut="worst") is None
        assert len(simulation.world.request_stamps) > 5
        simulation.machine_clock.offset_s += 86_400.0
        summary = await simulation.run()
        assert summary is not None
        audit(simulation, summary)
        assert simulation.world.most_requests_in_window() == 10, "the limit was reached, and kept"

    scenario = Scenario(items=8, slots=5, rpm=10, world=WorldConfig(max_concurrent=5, rpm=10, speed=30.0))
    simulate(scenario, tmp_path, work)


@pytest.mark.parametrize("first_moment", range(1, 60, 2))
def test_what_a_killed_run_began_is_durable_when_the_next_one_has_ended(tmp_path: Path, first_moment: int) -> None:
    """The folder of a batch once stood unsynced because its maker was killed, and a power cut took it all away."""

    async def work(simulation: Simulation) -> None:
        await simulation.run(die_at=first_moment)
        summary = await simulation.run()
        assert await simulation.run(die_at=1, power_cut="worst") is None
        assert summary is not None
        audit(simulation, summary)
        assert await simulation.run() == summary

    world = WorldConfig(max_concurrent=1, speed=30.0)
    simulate(Scenario(items=1, slots=1, world=world), tmp_path, work)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_promises_hold_through_everything_a_seed_has_in_store(block: int) -> None:
    _play_block(FIRST_SEED, SEEDS, block, BLOCKS)


@pytest.mark.parametrize("block", range(SHORT_BLOCKS))
def test_promises_hold_for_small_batches_of_few_troubles(block: int) -> None:
    _play_block(FIRST_SHORT_SEED, SHORT_SEEDS, block, SHORT_BLOCKS)


@pytest.mark.parametrize("block", range(WIDE_BLOCKS))
def test_promises_hold_for_every_product_and_for_chains_of_them(block: int) -> None:
    _play_block(FIRST_WIDE_SEED, WIDE_SEEDS, block, WIDE_BLOCKS)


def _play_block(first_seed: int, seeds: int, block: int, blocks: int) -> None:
    for seed in range(first_seed + block * seeds // blocks, first_seed + (block + 1) * seeds // blocks):
        play_seed(seed)


def test_promises_hold_for_batches_that_are_left_alone_for_months() -> None:
    for seed in (FIRST_MONTHS_SEED + 166, *range(FIRST_MONTHS_SEED, FIRST_MONTHS_SEED + MONTHS_SEEDS)):
        play_seed(seed)


def test_an_empty_pack_stops_submissions_before_what_it_refused_can_be_claimed_again() -> None:
    """Two workers of one attempt once met, and the run ended with a fault of the program."""
    play_seed(FIRST_WIDE_SEED + 3663)


def test_a_batch_whose_clock_was_set_back_over_a_power_cut_comes_to_its_end_once_it_is_right() -> None:
    assert play_seed(100_375).tally["clocks set right"] == 1


def test_a_store_that_fails_while_a_look_is_cut_off_ends_the_run_all_the_same() -> None:
    play_seed(FIRST_SHORT_SEED + 1281)


def test_a_call_that_another_create_was_answered_with_is_not_followed_for_good() -> None:
    play_seed(FIRST_WIDE_SEED + 140_045)


def test_a_seed_replays_exactly() -> None:
    """The same requests at the same moments, the same deaths, the same bytes in the ledger."""
    for seed in (1, 29, FIRST_WIDE_SEED + 5, FIRST_WIDE_SEED + 10):
        assert play_seed(seed) == play_seed(seed)
