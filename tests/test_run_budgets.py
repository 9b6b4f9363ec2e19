"""Rolling budgets in whole runs: over batches, restarts and a lost store, with words a person can act on."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from simulation import Scenario, Simulation, audit, simulate

from batch_runner.events import BatchFinished, Notice
from batch_runner.sandbox import WorldConfig
from batch_runner.sandbox.fate import Fate

DAY_S = 86_400
CHEAP = {"model_name": "kling-v1"}


def play(folder: Path, work: Any, count: int = 4, **scenario: Any) -> Any:
    lines = tuple(json.dumps({"id": f"i{n}", "prompt": f"scene {n}", **CHEAP}) for n in range(count))
    return simulate(Scenario(lines=lines, world=WorldConfig(max_concurrent=3, rpm=60), **scenario), folder, work)


async def ran(simulation: Simulation, **options: Any) -> Any:
    summary = await simulation.run(**options)
    assert summary is not None
    return summary


def last_words(simulation: Simulation) -> str:
    found = [event.text for event in simulation.events if isinstance(event, BatchFinished)]
    return str(found[-1])


def test_a_rolling_budget_stops_a_run_and_lets_it_go_on_when_room_appears(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await ran(simulation, rolling_budget="3/1d")
        audit(simulation, summary)
        assert (summary.exit_code, summary.items.succeeded, summary.items.pending) == (4, 3, 1)
        assert [row["reason"] for row in simulation.results() if row["status"] == "pending"] == ["budget"]
        words = last_words(simulation)
        assert "the rolling budget of 3 credits (video) in any 1d has 0 left and the next item needs 1" in words
        assert "room appears at 2026-01-02T00:" in words
        again = await ran(simulation, rolling_budget="3/1d")
        assert (again.exit_code, len(simulation.world.tasks)) == (4, 3)
        await asyncio.sleep(DAY_S)
        end = await ran(simulation, rolling_budget="3/1d")
        audit(simulation, end)
        assert (end.exit_code, end.items.succeeded) == (0, 4)

    play(tmp_path, work)


def test_all_batches_share_it_and_a_batchs_own_budget_stands_beside_it(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        first = await ran(simulation, name="batch", budget={"video": 2}, rolling_budget="3/1d")
        assert (first.exit_code, first.items.succeeded) == (4, 2)
        assert "the batch's budget of 2 credits (video) has 0 left" in last_words(simulation)
        assert "rolling" not in last_words(simulation)
        second = await ran(simulation, name="second", rolling_budget="3/1d")
        assert (second.exit_code, second.items.succeeded) == (4, 1)
        assert simulation.world.charged_total() == 3
        both = await ran(simulation, name="batch", budget={"video": 2}, rolling_budget="3/1d")
        assert both.exit_code == 4
        assert "the batch's budget" in last_words(simulation)
        assert "the rolling budget" in last_words(simulation)

    play(tmp_path, work)


def test_holds_of_a_killed_run_count(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        moment = 0
        while not simulation.world.tasks:
            moment += 1
            assert await simulation.run(die_at=moment, rolling_budget="1/1d") is None
        other = await ran(simulation, name="other", rolling_budget="1/1d")
        assert (other.exit_code, len(simulation.world.tasks)) == (4, 1)
        assert "that are not settled hold 1 of it: room appears when they end uncharged" in last_words(simulation)

    play(tmp_path, work)


def test_tasks_that_a_lost_store_forgot_count_when_they_are_taken_up(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await ran(simulation, budget={"video": 3})
        simulation.lose_store()
        again = await ran(simulation, rolling_budget="3/1d")
        assert (again.exit_code, again.items.succeeded, len(simulation.world.tasks)) == (4, 3, 3)
        assert again.credits["video"].consumed == Decimal(3)

    play(tmp_path, work)


def urgent_words(simulation: Simulation) -> list[str]:
    return [event.text for event in simulation.events if isinstance(event, Notice) and event.urgent]


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ({"budget": {"video": 2}}, "the budget of 2"),
        ({"rolling_budget": "2/1d"}, "the rolling budget of 2 credits (video) in any 1d"),
    ],
)
@pytest.mark.parametrize("are_live", [True, False])
def test_what_a_lost_store_paid_beyond_a_budget_is_taken_up_and_told_and_nothing_new_is_submitted(
    tmp_path: Path,
    limit: dict[str, Any],
    words: str,
    are_live: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def work(simulation: Simulation) -> None:
        await ran(simulation, **({"max_runtime_s": 20} if are_live else {"budget": {"video": 3}}))
        assert len(simulation.world.tasks) == 3
        simulation.lose_store()
        again = await ran(simulation, **limit)
        assert (again.exit_code, again.items.succeeded, again.items.pending) == (4, 3, 1)
        assert len(simulation.world.tasks) == 3, "nothing new is submitted"
        told = [text for text in urgent_words(simulation) if "over the" in text]
        found = "with what was found of earlier runs, 3 credits (video) are consumed or held, 1 over"
        assert told == [f"{found} {words}; nothing new is submitted beyond it"]
        assert "has 0 left (it is exceeded by 1)" in last_words(simulation)

    play(tmp_path, work)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ({"budget": {"video": 1}}, "the budget of 1"),
        ({"rolling_budget": "1/1d"}, "the rolling budget of 1 credit (video) in any 1d"),
    ],
)
def test_a_budget_lowered_below_what_is_held_is_told_once_also_by_a_run_in_which_no_task_ends(
    tmp_path: Path, limit: dict[str, Any], words: str
) -> None:
    async def work(simulation: Simulation) -> None:
        await ran(simulation, max_runtime_s=20)
        assert len(simulation.world.tasks) == 3
        again = await ran(simulation, max_runtime_s=4, **limit)
        assert (again.exit_code, again.items.succeeded) == (7, 0)
        told = [text for text in urgent_words(simulation) if "over the" in text]
        assert told == [f"3 credits (video) are consumed or held, 2 over {words}; nothing new is submitted beyond it"]

    play(tmp_path, work)


def test_a_rolling_budget_that_the_servers_charges_exceed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulation.sandbox_price", lambda *_: Decimal(3))

    async def work(simulation: Simulation) -> None:
        await ran(simulation, rolling_budget="2/1d")
        told = [text for text in urgent_words(simulation) if "over the rolling budget of 2" in text]
        assert len(told) == 1
        assert told[0].startswith("the server charged more than was estimated: ")

    play(tmp_path, work, count=2)


def test_items_that_end_in_the_same_instant_spend_the_last_credits_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three tasks end together and each end makes the runner claim; the world's books tell what was bought."""
    together = Fate(queued_s=10.0, working_s=50.0, failure="")
    monkeypatch.setattr("batch_runner.sandbox.world.decide", lambda *_: together)

    async def work(simulation: Simulation) -> None:
        summary = await ran(simulation, rolling_budget=["4/1d", "100/30d"])
        assert (summary.exit_code, summary.items.succeeded) == (4, 4)
        ends = {task.ended_at_s for task in simulation.world.tasks[:3]}
        assert len(ends) == 1, "they did not end together"
        assert simulation.world.charged_total() == 4

    play(tmp_path, work, count=9)


def test_a_price_buffer_is_held_beside_the_estimate_and_given_back(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await ran(simulation, budget={"video": "2.5"}, price_buffer_pct=30)
        holds = [entry for entry in simulation.ledger() if entry["entry"] == "hold"]
        assert {hold["credits"] for hold in holds} == {"1.3"}
        assert all(Decimal(hold["held"]) + Decimal(hold["consumed"]) <= Decimal("2.5") for hold in holds)
        assert (summary.exit_code, summary.items.succeeded) == (4, 2)
        assert "has 0.5 left and the next item needs 1.3" in last_words(simulation)
        assert summary.credits["video"].available == Decimal("0.5")
        audit(simulation, summary)

    play(tmp_path, work)
