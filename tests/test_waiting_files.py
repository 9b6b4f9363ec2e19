"""Paid files that cannot come home yet: what waits for a name or for its task keeps nothing else away."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from shortfall_kit import ANEW, Service, answer_with, has_all, lose, make_anew, now, play, urgent
from simulation import Scenario, Simulation, audit, simulate
from test_gathering import LOST, WAITS, ends, here

from batch_runner.errors import ExitCode
from batch_runner.model import Task
from batch_runner.sandbox import WorldConfig

MOVE = "already exists and was not overwritten; move that file away and run again"


def foreign(simulation: Simulation, name: str) -> Path:
    """A file that is not the program's, under the name of one that is to come."""
    simulation.batch_dir.mkdir(parents=True, exist_ok=True)
    path = simulation.batch_dir / name
    path.write_bytes(b"mine")
    return path


async def blocked(simulation: Simulation) -> str:
    """A run that ends for want of a name, paid once; what is told of it. The audit would take the file for ours."""
    summary = await simulation.run()
    assert summary is not None
    [row] = simulation.results()
    assert (summary.exit_code, row["status"], row["reason"]) == (ExitCode.DISK, "pending", "asset")
    assert len(simulation.world.tasks) == 1
    return str(row["error"]["message"])


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_foreign_file_under_one_name_keeps_no_other_file_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """What came after it was left at the service, where it is purged after 30 days."""
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        mine = foreign(simulation, f"hero-{number}.png")
        for _ in range(2):
            assert (await blocked(simulation)).endswith(f"hero-{number}.png {MOVE}")
            assert sorted(service.fetched) == [0, 1, 2], "each once, in all runs"
            assert mine.read_bytes() == b"mine"
        mine.unlink()
        await has_all(simulation)
        assert sorted(service.fetched) == [0, 1, 2]
        assert here(simulation) == {f"hero-{each}.png": each - 1 for each in (1, 2, 3)}

    play(tmp_path, work, "a fox")


def test_a_foreign_file_is_told_before_another_file_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        mine = foreign(simulation, "hero-1.png")
        service.gone = {1}
        assert (await blocked(simulation)).endswith(f"hero-1.png {MOVE}")
        mine.unlink()
        assert "file 2 of 3: the server does not hand the file out (" in await ends(simulation, LOST)
        assert here(simulation) == {"hero-1.png": 0, "hero-3.png": 2}

    play(tmp_path, work, "a fox")


def test_what_waits_for_its_name_is_kept_whole_while_the_order_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its part has the name of the place at which another file stands now."""
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        mine = foreign(simulation, "hero-1.png")
        service.busy = {1, 2}
        await blocked(simulation)
        service.busy, service.named = set(), [1, 0, 2]
        for _ in range(2):
            await blocked(simulation)
            assert now(simulation).keys() >= {"hero-1.png.part", "hero-2.png", "hero-3.png"}
        mine.unlink()
        await has_all(simulation)
        assert service.fetched.count(0) == 2, "once more, to see what it is"
        assert here(simulation) == {f"hero-{each}.png": each - 1 for each in (1, 2, 3)}

    play(tmp_path, work, "a fox")


def test_a_file_that_came_at_anothers_place_waits_for_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes lay in the other's part, which the next download begins anew."""
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.withheld = {"hero-3.png"}
        await simulation.run()
        lose(simulation, "hero-1.png", "hero-2.png")
        mine = foreign(simulation, "hero-1.png")
        service.withheld, service.named = set(), [1, 0, 2]
        service.fetched.clear()
        for _ in range(2):
            await blocked(simulation)
            assert sorted(service.fetched) == [0, 1, 2]
        mine.unlink()
        await has_all(simulation)
        assert sorted(service.fetched) == [0, 1, 2]
        assert here(simulation) == {f"hero-{each}.png": each - 1 for each in (1, 2, 3)}

    play(tmp_path, work, "a fox")


def test_items_that_wait_for_what_their_tasks_name_no_more_do_not_keep_a_run_from_buying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five of them, and every later run submitted nothing: downloads were said to fail, and none did."""
    waiting = 5
    service = Service(monkeypatch)
    lines = tuple(
        json.dumps({"id": f"p{n}", "kind": "images", "model_name": "kling-v2-1", "prompt": f"fox {n}", "n": 3})
        for n in range(waiting + 3)
    )

    async def work(simulation: Simulation) -> None:
        service.withheld = {f"p{n}-3.png" for n in range(waiting)}
        while len(simulation.world.tasks) < waiting:
            await simulation.run()
        old = {task.task_id for task in simulation.world.tasks}

        def fewer(task: Task) -> Task:
            return replace(task, assets=task.assets[:2]) if task.task_id in old else task

        answer_with(monkeypatch, fewer)
        simulation.manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
        service.withheld.clear()
        simulation.events.clear()
        summary = await simulation.run()
        assert summary is not None
        audit(simulation, summary)
        assert not any("file after file cannot be downloaded" in text for text in urgent(simulation))
        statuses = {row["id"]: row["status"] for row in simulation.results()}
        assert statuses == {f"p{n}": "pending" if n < waiting else "succeeded" for n in range(waiting + 3)}

    world = WorldConfig(max_concurrent=8, rpm=60)
    simulate(Scenario(slots=8, world=world, lines=lines[:waiting]), tmp_path, work)


def test_what_is_here_is_not_fetched_again_for_a_file_that_may_be_had_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was made anew got the number of the file that was waited for, which was never fetched."""
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.busy = {1}
        await ends(simulation, WAITS)
        with monkeypatch.context() as patch:
            make_anew(patch, 0)
            service.fetched.clear()
            await ends(simulation, WAITS)
        assert set(service.fetched) == {1}
        assert here(simulation) == {"hero-1.png": 0, "hero-3.png": 2}
        service.busy = set()
        await has_all(simulation)

    play(tmp_path, work, "a fox")


def test_a_file_made_anew_is_not_taken_for_one_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The item was told as finished; nobody can tell whether it is that file, which a person has to judge."""
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.gone = {1}
        await ends(simulation, LOST)
        make_anew(monkeypatch, 0)
        assert await simulation.run(retry_failed=True) is not None
        [row] = simulation.results()
        assert (row["status"], row["reason"]) == ("failed", "asset")
        assert (
            "it is none of the recorded ones; look at it, it is kept as hero-2.png.other-1" in row["error"]["message"]
        )
        files = now(simulation)
        assert files.pop("hero-2.png.other-1") == ANEW
        assert {name for name in files if name.startswith("hero")} == {"hero-1.png", "hero-3.png"}

    play(tmp_path, work, "a fox")
