"""Tasks that made fewer files than their lines ask for: kept, told with what to do, and never paid for again."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulation import Scenario, Simulation, audit, simulate

from batch_runner.accounting import ledger
from batch_runner.errors import ExitCode
from batch_runner.events import Notice
from batch_runner.kling.client import KlingClient
from batch_runner.looking import status
from batch_runner.model import Route, Task
from batch_runner.records import SummaryRecord
from batch_runner.sandbox import WorldConfig
from batch_runner.settings import resolve

SHORT = "a fox [sandbox:fewer]"


def play(tmp_path: Path, work: Callable[[Simulation], Coroutine[Any, Any, None]], prompt: str, count: int = 3) -> None:
    line = {"id": "hero", "kind": "images", "model_name": "kling-v2-1", "prompt": prompt, "n": count}
    world = WorldConfig(max_concurrent=3, rpm=60)
    simulate(Scenario(slots=3, world=world, lines=(json.dumps(line),)), tmp_path, work)


async def done(simulation: Simulation) -> SummaryRecord:
    summary = await simulation.run()
    assert summary is not None
    audit(simulation, summary)
    assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)
    return summary


def urgent(simulation: Simulation) -> list[str]:
    return [event.text for event in simulation.events if isinstance(event, Notice) and event.urgent]


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
        for path in simulation.output_dir.glob("state.db*"):
            path.unlink()
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

    async def short_page(self: KlingClient, route: Route, page_num: int, page_size: int) -> list[Task]:
        return [replace(task, assets=task.assets[:-1]) for task in await page(self, route, page_num, page_size)]

    async def work(simulation: Simulation) -> None:
        await done(simulation)
        [row] = simulation.results()
        assert (len(row["files"]), row["error"], urgent(simulation)) == (3, None, [])

    monkeypatch.setattr(KlingClient, "page", short_page)
    play(tmp_path, work, "a fox")
