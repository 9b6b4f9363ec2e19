"""What a task still names is fetched at once, whatever cannot be had of it: the service may remove it any day."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from shortfall_kit import ANEW, Service, answer_with, has_all, lose, make_anew, now, play, stopped_by_the_disk
from simulated_film import digest
from simulation import Simulation, audit

from batch_runner.errors import ExitCode

WAITS = (ExitCode.STOPPED, "pending", "asset")
LOST = (ExitCode.ITEMS_FAILED, "failed", "asset")


async def ends(simulation: Simulation, end: tuple[ExitCode, str, str]) -> str:
    """A run that ends the item so, paid once; what is told of it."""
    summary = await simulation.run()
    assert summary is not None
    audit(simulation, summary)
    [row] = simulation.results()
    assert (summary.exit_code, row["status"], row["reason"]) == end
    assert len(simulation.world.tasks) == 1
    return str(row["error"]["message"])


def here(simulation: Simulation) -> dict[str, int]:
    """Which of the task's files stands under each name; nothing else stands there."""
    numbers = {sha256: number for number, sha256 in enumerate(simulation.asset_digests(simulation.world.tasks[0]))}
    return {name: numbers[digest(content)] for name, content in now(simulation).items() if name.startswith("hero")}


@pytest.mark.parametrize(
    ("first", "named", "then"),
    [
        ([0], [2], {"hero-1.png": 0, "hero-2.png": 2}),
        ([0], [0, 2], {"hero-1.png": 0, "hero-2.png": 2}),
        ([0, 1], [0, 1], {"hero-1.png": 0, "hero-2.png": 1}),
        ([1], [2, 1], {"hero-1.png": 2, "hero-2.png": 1}),
    ],
)
def test_what_a_task_still_names_is_fetched_though_it_names_fewer_files_than_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: list[int], named: list[int], then: dict[str, int]
) -> None:
    """It was left at the service until all were named again, or all were purged."""
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.busy = {0, 1, 2} - set(first)
        await ends(simulation, WAITS)
        assert here(simulation) == {f"hero-{number + 1}.png": number for number in first}
        service.busy, service.named = set(), named
        for _ in range(2):
            service.fetched.clear()
            text = await ends(simulation, WAITS)
            assert text.startswith(f"its task names {len(named)} file")
            assert "now, and named 3 before; all that it names is here; run this again for the rest" in text
            assert here(simulation) == then
            assert sorted(service.fetched) == sorted(named), "each once a run"
        service.named = None
        await has_all(simulation)

    play(tmp_path, work, "a fox")


def test_a_file_that_was_recorded_comes_back_under_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.withheld = {"hero-3.png.part", "hero-3.png"}
        await stopped_by_the_disk(simulation)
        there = lose(simulation, "hero-1.png")
        service.withheld, service.named = set(), [1, 0]
        await ends(simulation, WAITS)
        assert here(simulation) == {"hero-1.png": 0, "hero-2.png": 1}
        assert now(simulation)["hero-1.png"] == there["hero-1.png"]
        service.named = None
        await has_all(simulation)

    play(tmp_path, work, "a fox")


def test_an_item_is_finished_as_soon_as_all_its_files_were_named_by_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.withheld = {"hero-2.png", "hero-3.png"}
        await stopped_by_the_disk(simulation)
        service.withheld, service.named = set(), [2, 0]
        await ends(simulation, WAITS)
        service.named, service.fetched[:] = [1, 2], []
        await has_all(simulation)
        assert service.fetched == [1], "nothing can be missing after that"

    play(tmp_path, work, "a fox")


def test_a_place_that_hands_nothing_out_keeps_no_other_file_away_where_fewer_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.withheld = {"hero-2.png", "hero-3.png"}
        await stopped_by_the_disk(simulation)
        service.withheld, service.named, service.gone = set(), [1, 2], {1}
        text = await ends(simulation, WAITS)
        assert "file 1 of 2: the server does not hand the file out" in text
        assert here(simulation) == {"hero-1.png": 0, "hero-2.png": 2}
        service.named, service.gone = None, set()
        await has_all(simulation)

    play(tmp_path, work, "a fox")


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_file_that_is_gone_for_ever_keeps_no_other_one_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: int
) -> None:
    """The item failed at once, and what came after that file was never fetched."""
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.gone = {gone}
        text = await ends(simulation, LOST)
        assert text.startswith(f"file {gone + 1} of 3: the server does not hand the file out (")
        assert here(simulation) == {f"hero-{number + 1}.png": number for number in {0, 1, 2} - {gone}}
        kept = ", ".join(f"batch/hero-{number + 1}.png" for number in range(3) if number != gone)
        assert text.endswith(f" (kept here: {kept})")
        service.gone = set()
        assert (await simulation.run(retry_failed=True)) is not None
        await has_all(simulation)

    play(tmp_path, work, "a fox")


def test_a_file_that_is_named_no_more_while_its_link_is_renewed_is_not_lost_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The item failed, and no later run asked for the file unbidden."""
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.gone = {2}
        with monkeypatch.context() as patch:
            answer_with(patch, lambda task: replace(task, assets=task.assets[:2]))
            assert "the task names fewer files than before" in await ends(simulation, WAITS)
            assert here(simulation) == {"hero-1.png": 0, "hero-2.png": 1}
        service.gone = set()
        await has_all(simulation)

    play(tmp_path, work, "a fox")


@pytest.mark.parametrize("sync", range(1, 15, 2))
def test_a_death_while_fewer_are_named_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: int
) -> None:
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.withheld = {"hero-3.png"}
        await stopped_by_the_disk(simulation)
        lose(simulation, "hero-1.png")
        service.withheld, service.named = set(), [2, 0]
        assert await simulation.run(die_before_sync=sync) is None
        service.named = None
        await has_all(simulation)
        assert here(simulation) == {f"hero-{number + 1}.png": number for number in range(3)}

    play(tmp_path, work, "a fox")


def test_of_a_task_that_was_purged_the_files_that_came_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.withheld = {"hero-2.png", "hero-3.png"}
        await stopped_by_the_disk(simulation)
        service.withheld, service.named = set(), [2]
        await ends(simulation, WAITS)
        await asyncio.sleep(40 * 86_400)
        kept = "kept here: batch/hero-1.png, batch/hero-2.png"
        assert await ends(simulation, LOST) == f"the account no longer shows the task ({kept})"
        assert here(simulation) == {"hero-1.png": 0, "hero-2.png": 2}

    play(tmp_path, work, "a fox")


def test_a_file_made_anew_takes_no_place_of_a_recorded_one_that_is_named_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.withheld = {"hero-3.png"}
        await stopped_by_the_disk(simulation)
        lose(simulation, "hero-1.png", "hero-2.png")
        service.withheld, service.named = set(), [2]
        await ends(simulation, WAITS)
        assert here(simulation) == {"hero-3.png": 2}
        with monkeypatch.context() as patch:
            make_anew(patch, 0)
            for _ in range(2):
                assert "it is kept as hero-1.png.other-1" in await ends(simulation, WAITS)
                kept = {name for name in now(simulation) if name.startswith("hero")}
                assert kept == {"hero-3.png", "hero-1.png.other-1"}
        service.named = None
        await has_all(simulation)

    play(tmp_path, work, "a fox")


def test_a_record_is_given_up_for_a_file_made_anew_only_where_no_place_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stood at its place was recorded under its number, and the file itself was never fetched."""
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.withheld = {"hero-3.png"}
        await stopped_by_the_disk(simulation)
        lose(simulation, "hero-2.png")
        service.withheld, service.busy = set(), {1}
        await ends(simulation, WAITS)
        assert here(simulation) == {"hero-1.png": 0, "hero-3.png": 2}
        service.busy, service.named = set(), [1, 0, 2]
        make_anew(monkeypatch, 1)
        await has_all(simulation)
        assert here(simulation) == {"hero-1.png": 0, "hero-2.png": 1, "hero-3.png": 2}

    play(tmp_path, work, "a fox")


def test_a_file_made_anew_takes_the_number_of_one_that_is_at_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.withheld = {"hero-3.png"}
        await stopped_by_the_disk(simulation)
        lose(simulation, "hero-2.png")
        service.withheld = set()
        make_anew(monkeypatch, 1)
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.OK
        kept = {name: content for name, content in now(simulation).items() if name.startswith("hero")}
        assert kept.keys() == {"hero-1.png", "hero-2.png", "hero-3.png"}
        assert ANEW in kept.values()

    play(tmp_path, work, "a fox")
