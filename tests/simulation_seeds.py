"""One seed, one batch, one story; the numbers decide which kind of story it is."""

from __future__ import annotations

import math
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from simulated_film import digest
from simulation import Scenario, Simulation, simulate
from simulation_months import MonthsStory
from simulation_pair import PairStory
from simulation_scenario import pair_scenario_of, scenario_of, wide_scenario_of
from simulation_story import Story
from simulation_stuck import with_stuck_tasks
from simulation_supply import with_short_packs
from simulation_wide import WideStory

FIRST_WIDE_SEED = 1_000_000
"""Seeds from here on tell wide stories; those below stay as they are."""
FIRST_MONTHS_SEED = 2_000_000
"""Seeds from here on tell stories with months in them."""
FIRST_SHORT_SEED = 3_000_000
"""Seeds from here on tell short stories."""
_SHARES = {"pair": 0.06, "short packs": 0.1, "stuck tasks": 0.1, "rare lines": 0.2}
"""How many of the wide stories have it."""


@dataclass(frozen=True)
class Played:
    """What a seed came to.

    Attributes:
        tally: what befell the batch, by name.
        trace: a digest over every request, every task and the ledger: a replay has the same.
    """

    tally: Counter[str]
    trace: str


def play_seed(seed: int) -> Played:
    """Play one seed in a folder that is gone afterwards.

    Raises:
        BrokenPromiseError: with the command that replays it.
    """

    kind_of_story, its_scenario = _kind(seed)

    async def work(simulation: Simulation) -> Played:
        story = kind_of_story(simulation)
        await story.tell()
        return Played(_tally(story, simulation), _trace(simulation))

    with tempfile.TemporaryDirectory(dir=_memory(), prefix="simulation-") as folder:
        try:
            played: Played = simulate(its_scenario(seed), Path(folder), work)
        except Exception as error:
            raise BrokenPromiseError(seed, error) from error
        return played


class ShortStory(Story):
    """A few lines and seldom more than one harmed run: what begins a batch and what ends it, at half the time."""

    _rounds = (0, 1, 1, 2)


def _kind(seed: int) -> tuple[Callable[[Simulation], Story], Callable[[int], Scenario]]:
    if seed >= FIRST_SHORT_SEED:
        return ShortStory, _short_scenario_of
    if seed >= FIRST_MONTHS_SEED:
        return MonthsStory, scenario_of
    if seed < FIRST_WIDE_SEED:
        return Story, scenario_of
    return (PairStory if _is_drawn("pair", seed) else WideStory), _wide_scenario_of


def _short_scenario_of(seed: int) -> Scenario:
    return replace(scenario_of(seed), items=random.Random(f"short {seed}").randint(1, 4))


def _wide_scenario_of(seed: int) -> Scenario:
    scenario = pair_scenario_of(seed) if _is_drawn("pair", seed) else wide_scenario_of(seed)
    if _is_drawn("short packs", seed):
        scenario = with_short_packs(scenario, random.Random(f"packs {seed}"))
    if _is_drawn("stuck tasks", seed):
        scenario = with_stuck_tasks(scenario, random.Random(f"stuck tasks {seed}"))
    return replace(scenario, has_rare_families=_is_drawn("rare lines", seed))


def _is_drawn(what: str, seed: int) -> bool:
    """Whether a wide story has something that came later: the seeds that have not stay what they were."""
    return random.Random(f"{what} {seed}").random() < _SHARES[what]


class BrokenPromiseError(AssertionError):
    """A seed showed a violation, or a fault of the program."""

    def __init__(self, seed: int, error: Exception) -> None:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        super().__init__(f"seed {seed}: {what}; replay: python benchmarks/simulation_sweep.py {seed} 1")


def _tally(story: Story, simulation: Simulation) -> Counter[str]:
    faults = Counter({f"answer {fault}": number for fault, number in simulation.sandbox.faults.injected.items()})
    disk = Counter({f"disk {name}": number for name, number in simulation.failed.items()})
    cuts = simulation.machine_clock.boots - 1
    states = simulation.world.packs(simulation.clock.wall_s()) if simulation.world.config.packs else ()
    packs = Counter(f"packs in the end: {state.status}" for state in states)
    stuck = Counter({"tasks that never end": sum(math.isinf(task.ended_at_s) for task in simulation.world.tasks)})
    kinds = Counter(f"{task.generation.value} {task.kind}" for task in simulation.world.tasks)
    deaths = Counter({"kills": simulation.died - cuts, "power cuts": cuts, "batches": 1})
    return story.tally + faults + disk + packs + stuck + kinds + deaths


def _trace(simulation: Simulation) -> str:
    world = simulation.world
    tasks = [(task.task_id, task.created_at_s) for task in world.tasks]
    told = repr((world.request_stamps, tasks, sorted(world.refusals.items()), simulation.ledger()))
    return digest(told.encode())


@cache
def _memory() -> str | None:
    """A folder in memory, where the machine has one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
