"""An answer with fresh links may name other files, or in another order: a place says nothing across answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from shortfall_kit import Service, answer_with, done, has_all, lose, now, play, stopped_by_the_disk
from simulation import Simulation
from test_gathering import LOST, WAITS, ends, here

from batch_runner.model import Task

ALL_IN_ORDER = {f"hero-{number + 1}.png": number for number in range(3)}


def renewed(monkeypatch: pytest.MonkeyPatch, order: Callable[[int], list[int]], then: Callable[[], None]) -> None:
    """Questions for the task are answered with these of its files, by how often it was asked; after each ``then``."""
    asked = count(1)

    def other(task: Task) -> Task:
        then()
        return replace(task, assets=tuple(task.assets[number] for number in order(next(asked))))

    answer_with(monkeypatch, other)


def test_a_file_that_a_renewed_answer_leaves_out_is_not_taken_for_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third picture was kept under two names, the second was never fetched, and the batch was done."""
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.gone = {1}
        with monkeypatch.context() as patch:
            renewed(patch, lambda _: [0, 2], lambda: None)
            assert "the task names fewer files than before" in await ends(simulation, WAITS)
            assert here(simulation) == {"hero-1.png": 0, "hero-3.png": 2}
        service.gone = set()
        await has_all(simulation)
        assert here(simulation) == ALL_IN_ORDER

    play(tmp_path, work, "a fox")


@pytest.mark.parametrize("order", [[1, 0, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1], [0, 1, 2]])
@pytest.mark.parametrize("refused", [0, 1, 2])
def test_files_that_a_renewed_answer_names_in_another_order_all_come_and_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: list[int], refused: int
) -> None:
    """The first picture was kept under two names, the second was never fetched, and the batch was done."""
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.gone = {refused}
        renewed(monkeypatch, lambda _: order, service.gone.clear)
        await has_all(simulation)
        assert sorted(here(simulation).values()) == [0, 1, 2]
        if order == [0, 1, 2]:
            assert service.fetched == [*range(refused + 1), *range(refused, 3)], "nothing is fetched twice for it"

    play(tmp_path, work, "a fox")


def test_an_order_that_changes_with_every_answer_ends_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.gone = {1, 2}
        renewed(monkeypatch, lambda asked: [[0, 1, 2], [1, 2, 0], [2, 0, 1]][asked % 3], lambda: None)
        summary = await simulation.run()
        assert summary is not None
        assert here(simulation) == {"hero-1.png": 0}
        assert len(service.fetched) < 40
        service.gone = set()
        await simulation.run(retry_failed=True)
        await has_all(simulation)

    play(tmp_path, work, "a fox")


def test_two_files_of_one_answer_that_are_alike_are_both_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.gone = {1}
        renewed(monkeypatch, lambda _: [0, 0, 2], service.gone.clear)
        summary = await simulation.run()
        assert summary is not None
        assert here(simulation) == {"hero-1.png": 0, "hero-2.png": 0, "hero-3.png": 2}

    play(tmp_path, work, "a fox")


def test_a_repair_whose_links_are_renewed_looks_at_the_places_of_the_newest_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It went on by what the answer before had had at them."""
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        await has_all(simulation)
        there = lose(simulation, "hero-1.png", "hero-2.png")
        service.gone = {1}
        renewed(monkeypatch, lambda asked: [2, 1, 0] if asked == 1 else [1, 2, 0], lambda: None)
        [why] = (await simulation.repair()).values()
        assert why.startswith("batch/hero-2.png: the server does not hand the file out (")
        left = {name: content for name, content in there.items() if name != "hero-2.png"}
        assert now(simulation) == left
        service.gone = set()
        assert await simulation.repair() == {}
        assert now(simulation) == there

    play(tmp_path, work, "a fox")


@pytest.mark.parametrize("named", [[1, 0, 2], [2, 0, 1], [1, 2, 0]])
def test_a_place_that_hands_nothing_out_hides_no_file_that_stands_at_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: list[int]
) -> None:
    """The first picture was here, and its link, in another place now, was dead: another that could be had was lost.

    It may as well be the first one made anew, so that a person has to judge: it is kept, and told.
    """
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.withheld = {"hero-2.png", "hero-3.png"}
        await stopped_by_the_disk(simulation)
        service.withheld, service.named, service.gone = set(), named, {0}
        assert ".png.other-1; file " in await ends(simulation, LOST)
        assert sorted(here(simulation).values()) == [0, 1, 2]
        service.gone = set()
        await simulation.run(retry_failed=True)
        assert (await done(simulation)).items.succeeded == 1

    play(tmp_path, work, "a fox")


def test_what_is_looked_for_elsewhere_in_vain_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.gone = {1}
        await ends(simulation, LOST)
        assert here(simulation) == {"hero-1.png": 0, "hero-3.png": 2}, "and no part of what came once more"

    play(tmp_path, work, "a fox")
