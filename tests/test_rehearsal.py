"""A rehearsal takes as long as the run that it rehearses."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest
from simulation import Scenario, Simulation, simulate
from store_kit import item

from batch_runner.catalog import expected_duration_s
from batch_runner.model import Item
from batch_runner.rehearsal import Rehearsed, forecast_of, rehearse
from batch_runner.sandbox import WorldConfig


def batch(count: int) -> list[Item]:
    return [item(f"item-{number}", number, text="turbo") for number in range(1, count + 1)]


def all_take(seconds: float, items: list[Item]) -> dict[str, float]:
    return {each.id: seconds for each in items}


def tried(
    seed: int, count: int, *, max_concurrent: int = 5, rpm: int = 60, budgets: Mapping[str, Decimal] | None = None
) -> Rehearsed:
    items = batch(count)
    return rehearse(
        seed,
        items=items,
        usual_s=all_take(100.0, items),
        name="b",
        max_concurrent=max_concurrent,
        rpm=rpm,
        budgets=budgets or {},
    )


@pytest.mark.parametrize("rpm", [60, 12])
def test_a_rehearsal_takes_as_long_as_the_run_on_the_sandbox(tmp_path: Path, rpm: int) -> None:
    """The same batch, seed and limits: every task has the same fate in both."""
    lines = tuple(
        json.dumps({"id": f"item-{number}", "prompt": "x", "model_name": "kling-v2-5-turbo"}) for number in range(24)
    )
    items: list[Item] = []

    async def work(simulation: Simulation) -> float:
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == 0
        items.extend(simulation.items())
        tasks = simulation.world.tasks
        return max(task.ended_at_s for task in tasks) - min(task.created_at_s for task in tasks)

    world = WorldConfig(seed=7, max_concurrent=5, rpm=rpm)
    real_s = simulate(Scenario(slots=5, rpm=rpm, world=world, lines=lines), tmp_path, work)
    rehearsed = rehearse(
        7, items=items, usual_s=all_take(37.0, items), name="batch", max_concurrent=5, rpm=rpm, budgets={}
    )
    assert rehearsed.finished == 24
    assert rehearsed.wall_s == pytest.approx(real_s, rel=0.06)


def test_more_slots_take_less_time_and_a_budget_ends_it() -> None:
    def wall_s(slots: int) -> float:
        return tried(1, 40, max_concurrent=slots, rpm=0).wall_s

    assert wall_s(10) < 0.7 * wall_s(5)
    budgets = {"video": Decimal(21)}
    poor = tried(1, 40, budgets=budgets)
    assert poor.finished == 10


def test_a_forecast_is_the_middle_of_its_rehearsals() -> None:
    dice = random.Random(3)
    several = [tried(dice.randrange(999), 12, max_concurrent=3) for _ in range(9)]
    forecast = forecast_of(several)
    assert forecast.low_s < forecast.median_s < forecast.high_s
    assert (forecast.rehearsals, 0.5 < forecast.busy_share <= 1.0) == (9, True)
    assert forecast_of(several[:1]).low_s == several[0].wall_s


def test_every_product_has_a_usual_time() -> None:
    assert expected_duration_s("text2video", {"prompt": "x", "model_name": "kling-v2-5-turbo"}) == 38.0
