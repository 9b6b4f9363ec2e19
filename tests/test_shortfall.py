"""Tasks that made fewer files than their lines ask for: kept, told with what to do, and never paid for again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from shortfall_kit import ALL, ANEW, Service, done, has_all, lose, make_anew, now, play, stopped_by_the_disk, urgent
from simulation import Simulation

from batch_runner.accounting import ledger
from batch_runner.errors import ExitCode
from batch_runner.kling.client import KlingClient
from batch_runner.looking import status
from batch_runner.model import Page, Route
from batch_runner.runner.fetching import Fetcher
from batch_runner.settings import resolve
from batch_runner.wording import plural

SHORT = "a fox [sandbox:fewer]"


def test_fewer_pictures_than_were_asked_for_are_kept_and_told(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await done(simulation)
        [row], [text] = simulation.results(), urgent(simulation)
        assert (row["status"], row["reason"], len(row["files"])) == ("succeeded", None, 2)
        assert text.startswith("hero: it asked for 3 files and the service made 2")
        assert row["error"] == {"code": None, "message": text.removeprefix("hero: ")}
        page = simulation.tree()["batch/report.html"].decode()
        assert "it asked for 3 files and the service made 2" in page
        assert "<q>" not in page, "the words are ours and no quotation"

    play(tmp_path, work, SHORT)


def test_the_ledger_lists_what_was_paid_for_them(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await done(simulation)
        settings = resolve({"output_dir": str(simulation.output_dir)}, {}, None)
        [case] = ledger(None, settings, simulation.machine_clock).data["cases"]
        assert (case["case"], case["item"], case["charged"]) == ("fewer_files", "hero", case["estimated"])

    play(tmp_path, work, SHORT)


def test_status_tells_it_beside_the_files(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await done(simulation)
        settings = resolve({"output_dir": str(simulation.output_dir)}, {}, None)
        [row] = [line for line in status(simulation.manifest, settings).lines if "hero" in line]
        assert "batch/hero-2.png; it asked for 3 files and the service made 2" in row

    play(tmp_path, work, SHORT)


def test_a_rerun_is_free_and_a_lost_store_finds_out_again(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        rows, tree = simulation.results(), simulation.tree()
        assert await done(simulation) == summary
        assert simulation.tree() == tree
        simulation.lose_store()
        await done(simulation)
        assert simulation.results()[0]["error"] == rows[0]["error"]

    play(tmp_path, work, SHORT)


@pytest.mark.parametrize("count", [1, 3])
def test_what_came_whole_is_told_as_ever(tmp_path: Path, count: int) -> None:
    async def work(simulation: Simulation) -> None:
        await done(simulation)
        [row] = simulation.results()
        assert (len(row["files"]), row["error"], urgent(simulation)) == (count, None, [])

    play(tmp_path, work, "a fox", count)


def test_a_page_that_names_fewer_files_than_the_task_itself_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = KlingClient.page

    async def short_page(self: KlingClient, route: Route, page_num: int, page_size: int) -> Page:
        tasks = (await page(self, route, page_num, page_size)).tasks
        return Page([replace(task, assets=task.assets[:-1]) for task in tasks])

    async def work(simulation: Simulation) -> None:
        await done(simulation)
        [row] = simulation.results()
        assert (len(row["files"]), row["error"], urgent(simulation)) == (3, None, [])

    monkeypatch.setattr(KlingClient, "page", short_page)
    play(tmp_path, work, "a fox")


@pytest.mark.parametrize("here", [0, 2])
def test_one_answer_that_names_fewer_files_is_not_believed_by_a_later_run_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: int
) -> None:
    """The service was said to have made two, and the batch to be done; with two here already, state.db was damaged."""
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.withheld = set(sorted(ALL)[here:])
        await stopped_by_the_disk(simulation)
        service.withheld, service.named, service.looks = set(), [0, 1], 1
        await has_all(simulation)

    play(tmp_path, work, "a fox")


def test_what_a_later_answer_named_counts_though_an_earlier_one_named_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.named, service.withheld = [0, 1], {"hero-2.png"}
        await stopped_by_the_disk(simulation)
        service.named, service.withheld = None, {"hero-3.png"}
        await stopped_by_the_disk(simulation)
        service.withheld = set()
        await has_all(simulation)

    play(tmp_path, work, "a fox")


def test_while_a_task_names_fewer_files_than_before_its_item_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.withheld = {"hero-3.png"}
        await stopped_by_the_disk(simulation)
        service.withheld, service.named = set(), [0, 1]
        summary = await simulation.run()
        assert summary is not None
        [row] = simulation.results()
        assert (summary.exit_code, row["status"], row["reason"]) == (ExitCode.STOPPED, "pending", "asset")
        assert "names 2 files now, and named 3 before" in row["error"]["message"]
        service.named = None
        await has_all(simulation)

    play(tmp_path, work, "a fox")


def test_a_later_run_that_is_told_the_files_in_another_order_leaves_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One picture was kept under two names, and another never fetched."""
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        service.withheld = {"hero-2.png", "hero-3.png"}
        await stopped_by_the_disk(simulation)
        service.withheld, service.named = set(), [1, 2, 0]
        await has_all(simulation)

    play(tmp_path, work, "a fox")


@pytest.mark.parametrize("named", [[1, 0, 2], [1, 0], [0]])
def test_a_file_is_restored_by_what_was_recorded_wherever_the_task_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: list[int]
) -> None:
    """Another picture was put under its name, and recorded in the place of the one that was paid for."""
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        await has_all(simulation)
        there = lose(simulation, "hero-1.png")
        service.named = named
        assert await simulation.repair() == {}
        assert now(simulation) == there

    play(tmp_path, work, "a fox")


@pytest.mark.parametrize("gone", [0, 1])
def test_a_place_that_hands_nothing_out_does_not_end_the_search_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: int
) -> None:
    """The file that was lost stood at the next place, and was told as one that is not handed out any more."""
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        await has_all(simulation)
        there = lose(simulation, "hero-3.png")
        service.named, service.gone = [2, 1 - gone, gone], {gone}
        assert await simulation.repair() == {}
        assert now(simulation) == there

    play(tmp_path, work, "a fox")


def test_what_no_other_place_has_is_told_with_the_place_that_hands_nothing_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        await has_all(simulation)
        there = lose(simulation, "hero-2.png")
        service.gone = {1}
        [why] = (await simulation.repair()).values()
        assert why.startswith("batch/hero-2.png: the server does not hand the file out (")
        assert "the recorded one" not in why
        assert now(simulation) == {name: content for name, content in there.items() if name != "hero-2.png"}

    play(tmp_path, work, "a fox")


@pytest.mark.parametrize(("lost", "named"), [({"hero-3.png"}, [0, 1]), ({"hero-1.png", "hero-3.png"}, [1])])
def test_what_a_task_names_no_more_is_told_and_stays_as_it_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: set[str], named: list[int]
) -> None:
    service = Service(monkeypatch)

    async def work(simulation: Simulation) -> None:
        await has_all(simulation)
        there = lose(simulation, *lost)
        service.named = named
        [why] = (await simulation.repair()).values()
        assert f"its task names {plural(len(named), 'file')} now, and named 3 before" in why
        assert all(f"batch/{name}: none of the files" in why for name in lost)
        assert now(simulation) == {name: content for name, content in there.items() if name not in lost}
        service.named = None
        assert await simulation.repair() == {}
        assert now(simulation) == there

    play(tmp_path, work, "a fox")


@pytest.mark.parametrize("harm", ["removed", "altered"])
def test_a_file_that_the_service_has_made_anew_is_kept_beside_the_recorded_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    fetches = 0
    fetch = Fetcher.fetch

    async def counted(fetcher: Fetcher, *args: Any) -> tuple[int, str]:
        nonlocal fetches
        fetches += 1
        return await fetch(fetcher, *args)

    async def work(simulation: Simulation) -> None:
        await done(simulation)
        there = lose(simulation, "hero.png")
        left = {name: content for name, content in there.items() if name != "hero.png"}
        if harm == "altered":
            left["hero.png"] = b"altered"
            (simulation.batch_dir / "hero.png").write_bytes(b"altered")
        with monkeypatch.context() as patch:
            make_anew(patch, 0)
            patch.setattr(Fetcher, "fetch", counted)
            for repairs in (1, 2):
                assert "it is kept as hero.png.other-1" in (await simulation.repair())["hero"]
                assert now(simulation) == left | {"hero.png.other-1": ANEW}, "kept once, and the record is as it was"
                assert fetches == repairs, "what came is kept, and not fetched for that once more"
        assert await simulation.repair() == {}
        assert now(simulation)["hero.png"] == there["hero.png"]

    play(tmp_path, work, "a fox", 1)
