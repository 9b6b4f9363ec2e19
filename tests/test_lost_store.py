"""What a lost ``state.db`` leaves behind while its batch goes on: removed and edited lines, runs that die or stop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from simulation import Simulation
from test_run import done, lines, notices, play

from batch_runner.errors import ExitCode
from batch_runner.runner import Run

IN_FLIGHT_S = 25.0
"""By then the lines were submitted, and no task has ended."""


async def lost_in_flight(simulation: Simulation) -> None:
    """The program dies with every line's task in flight, and its store is lost."""
    assert await simulation.run(die_after_s=IN_FLIGHT_S) is None
    assert simulation.world.tasks
    for path in simulation.output_dir.glob("state.db*"):
        path.unlink()
    simulation.has_lost = True


def write(simulation: Simulation, *kept: str) -> None:
    simulation.manifest.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


@pytest.mark.parametrize("ending", [{"die_after_s": 3}, {"max_runtime_s": 3}], ids=["killed", "stopped"])
def test_a_line_that_left_after_a_run_which_did_not_come_to_its_search_is_told(
    tmp_path: Path, ending: dict[str, Any]
) -> None:
    async def work(simulation: Simulation) -> None:
        await lost_in_flight(simulation)
        await simulation.run(**ending)
        write(simulation, lines("a", "b")[1])
        assert (await done(simulation)).exit_code == ExitCode.UNRESOLVED
        assert "belongs to a line that is not in the manifest any more" in notices(simulation)
        assert (await done(simulation)).exit_code == ExitCode.OK, "told once"
        write(simulation, *lines("a", "b"))
        summary = await done(simulation)
        assert (summary.exit_code, summary.items.succeeded, len(simulation.world.tasks)) == (ExitCode.OK, 2, 2)

    play(tmp_path, work, "a", "b")


@pytest.mark.parametrize("stop_after_s", [3, 70, 100, 130])
def test_what_has_no_line_is_news_until_a_run_has_ended_with_it(tmp_path: Path, stop_after_s: float) -> None:
    """A run that is stopped before its search is over, and one that is after it, leave the news to the next one."""

    async def work(simulation: Simulation) -> None:
        await lost_in_flight(simulation)
        write(simulation, lines("a", "b")[1])
        assert (await done(simulation, max_runtime_s=stop_after_s)).exit_code == ExitCode.STOPPED
        summary = await done(simulation)
        assert (summary.exit_code, summary.items.succeeded) == (ExitCode.UNRESOLVED, 1)
        last = await done(simulation)
        assert (last.exit_code, last.requests.total) == (ExitCode.OK, 0), "told, and a finished batch costs nothing"

    play(tmp_path, work, "a", "b")


def test_a_run_that_dies_when_every_item_is_finished_leaves_the_news_to_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(simulation: Simulation) -> None:
        await lost_in_flight(simulation)
        write(simulation, lines("a", "b")[1])
        with monkeypatch.context() as patch:
            patch.setattr(Run, "_record", lambda *_: asyncio.sleep(1e6))
            assert await simulation.run(die_after_s=1000) is None
        assert (await done(simulation)).exit_code == ExitCode.UNRESOLVED

    play(tmp_path, work, "a", "b")
