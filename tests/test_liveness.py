"""A run ends, although some question of it is never answered, or some task of it never ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulation import Scenario, Simulation, audit, simulate
from simulation_books import BatchBooks
from test_run import notices, rows

from batch_runner.errors import ExitCode
from batch_runner.events import BatchFinished
from batch_runner.kling.client import KlingClient
from batch_runner.kling.transport import Answer, Transport
from batch_runner.model import Page, Task
from batch_runner.records import SummaryRecord
from batch_runner.sandbox import Fault, FaultPlan, SandboxTask, WorldConfig
from batch_runner.sandbox.fate import STUCK
from batch_runner.sandbox.world import World

Work = Callable[[Simulation], Coroutine[Any, Any, None]]
NO_ANSWER = Answer(503, {}, b'{"code": 5001, "message": "maintenance"}')
DEADLINE_S = 60.0
A_WHILE_S = 1500.0
"""Long past the deadline and every patience but the two hours of a full account."""


def play(
    tmp_path: Path,
    work: Work,
    *lines: Mapping[str, object],
    room: int,
    slots: int = 2,
    rpm: int = 60,
    creates: Sequence[str] = (),
) -> None:
    """A batch of these lines, on an account that has room for so many tasks, and these faults of submissions."""
    faults = FaultPlan(script={"create": creates})
    world = WorldConfig(max_concurrent=room, rpm=rpm)
    manifest = tuple(json.dumps(line) for line in lines)
    simulate(Scenario(slots=slots, rpm=rpm, world=world, lines=manifest, faults=faults), tmp_path, work)


def item(name: str, prompt: str = "scene") -> dict[str, object]:
    return {"id": name, "prompt": prompt}


async def ended(simulation: Simulation, within_s: float = A_WHILE_S, **options: Any) -> SummaryRecord:
    summary = await simulation.run(die_after_s=within_s, **{"task_deadline_s": DEADLINE_S, **options})
    assert summary is not None, "the run had not ended"
    audit(simulation, summary)
    return summary


class Silence:
    """Lists do not show some tasks, and after a few times "not found" questions about them get no answer any more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, not_found: int = 0, are_listed: bool = False) -> None:
        self._left = not_found
        self._ids: set[str] = set()
        self.are_names_unheard = False
        page, exchange = World.page, Transport.exchange

        def listed(world: World, *args: Any) -> list[SandboxTask]:
            return [task for task in page(world, *args) if are_listed or task.task_id not in self._ids]

        async def asked(transport: Transport, method: str, path: str, *args: Any) -> Answer:
            name = path.rpartition("/")[2]
            is_silent = name in self._ids or (self.are_names_unheard and name.startswith("br-"))
            return self._answer(name) if is_silent else await exchange(transport, method, path, *args)

        monkeypatch.setattr(World, "page", listed)
        monkeypatch.setattr(Transport, "exchange", asked)

    def about(self, *tasks: SandboxTask) -> None:
        self._ids = {task.task_id for task in tasks}

    def _answer(self, name: str) -> Answer:
        self._left -= 1
        body = {"code": 1201, "message": f"Task not found by id/external id: {name}"}
        return NO_ANSWER if self._left < 0 else Answer(400, {}, json.dumps(body).encode())


# --- a full account ----------------------------------------------------------------------------------------------


def test_a_full_account_is_not_waited_for_as_long_as_a_task_of_the_runs_own_never_ends(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        began_s = simulation.clock.wall_s()
        summary = await ended(simulation, within_s=9000.0)
        assert summary.exit_code == ExitCode.STOPPED
        assert rows(simulation) == {"a": ("pending", "overdue"), "b": ("pending", "stopped")}
        assert 7200 <= simulation.clock.wall_s() - began_s - DEADLINE_S < 7200 + 600
        assert "the service has put every submission off for 2 hours" in notices(simulation)

    play(tmp_path, work, item("a", STUCK), item("b"), room=1, rpm=6)


def test_a_full_account_is_not_waited_for_as_long_as_a_task_of_another_batch_never_ends(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await other_batch_after_death(simulation, "b")
        assert (await ended(simulation, within_s=9000.0)).exit_code == ExitCode.STOPPED
        assert "the service has put every submission off for 2 hours" in notices(simulation)

    play(tmp_path, work, item("a", STUCK), room=1, rpm=6)


def test_an_account_that_a_slow_task_of_the_runs_own_fills_is_waited_for(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        assert (await ended(simulation)).exit_code == ExitCode.STOPPED, "it is told, and its item not waited for alone"
        assert rows(simulation) == {"a": ("succeeded", None), "b": ("pending", "overdue")}

    play(tmp_path, work, item("a"), item("b"), room=1)


# --- nobody tells of a task --------------------------------------------------------------------------------------


@pytest.mark.parametrize("not_found", [0, 2, 3])
def test_a_task_of_which_nobody_tells_any_more_is_overdue_after_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, not_found: int
) -> None:
    silence = Silence(monkeypatch, not_found=not_found)

    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=20) is None
        silence.about(*simulation.world.tasks)
        assert (await ended(simulation)).exit_code == ExitCode.STOPPED
        assert rows(simulation) == {"a": ("pending", "overdue")}
        silence.about()
        assert (await ended(simulation, task_deadline_s=7200.0)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 1

    play(tmp_path, work, item("a"), room=1, slots=1)


def test_a_task_that_is_not_found_for_good_is_missing_and_not_overdue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = Silence(monkeypatch, not_found=1000)

    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=20) is None
        silence.about(*simulation.world.tasks)
        monkeypatch.setattr(World, "find", lambda *_: None)
        assert (await ended(simulation)).exit_code == ExitCode.UNRESOLVED
        assert "overdue" not in notices(simulation)

    play(tmp_path, work, item("a"), room=1, slots=1)


async def other_batch_after_death(simulation: Simulation, name: str) -> None:
    """The first batch's run is killed with its task in flight; the batch that runs next has one line."""
    assert await simulation.run(die_after_s=20) is None
    assert len(simulation.world.tasks) == 1
    other = BatchBooks("second", simulation.folder / "second.jsonl")
    other.manifest.write_text(json.dumps(item(name)), encoding="utf-8")
    simulation.batches.append(other)
    simulation.batch = other


@pytest.mark.parametrize("is_known_by_name", [True, False])
def test_a_missing_task_that_shows_again_without_its_name_is_believed_if_its_name_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_known_by_name: bool
) -> None:
    """The run did not end where it did not: every look brought news of it, which was not believed."""
    page, find = KlingClient.page, KlingClient.find
    is_hidden = True

    async def nameless_page(client: KlingClient, *args: Any) -> Page:
        rows = [] if is_hidden else (await page(client, *args)).tasks
        return Page([replace(row, external_task_id=None) for row in rows])

    async def nameless_find(client: KlingClient, *args: Any, by_external_id: bool = False) -> Task | None:
        is_told = not is_hidden and (is_known_by_name or not by_external_id)
        task = await find(client, *args, by_external_id=by_external_id) if is_told else None
        return task and replace(task, external_task_id=None)

    async def work(simulation: Simulation) -> None:
        nonlocal is_hidden
        await simulation.run(die_after_s=3.0)
        monkeypatch.setattr(KlingClient, "page", nameless_page)
        monkeypatch.setattr(KlingClient, "find", nameless_find)
        assert (await ended(simulation)).exit_code == ExitCode.UNRESOLVED
        is_hidden = False
        summary = await ended(simulation, task_deadline_s=7200.0)
        assert summary.exit_code == (ExitCode.OK if is_known_by_name else ExitCode.UNRESOLVED)
        assert len(simulation.world.tasks) == 1

    play(tmp_path, work, item("a"), room=1, slots=1)


def test_another_batchs_task_of_which_nobody_tells_is_not_waited_for_beyond_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = Silence(monkeypatch)

    async def work(simulation: Simulation) -> None:
        await other_batch_after_death(simulation, "b")
        silence.about(*simulation.world.tasks)
        began_s = simulation.clock.wall_s()
        assert (await ended(simulation)).exit_code == ExitCode.STOPPED
        assert simulation.clock.wall_s() - began_s < DEADLINE_S + 90
        last = [event.text for event in simulation.events if isinstance(event, BatchFinished)][-1]
        assert "1 task that does not move holds every slot" in last
        silence.about()
        assert (await ended(simulation, task_deadline_s=7200.0)).exit_code == ExitCode.OK

    play(tmp_path, work, item("a"), room=1, slots=1)


# --- a link to another item's result cannot be had -----------------------------------------------------------------

SOUND = {"id": "sound", "kind": "video-to-audio", "video_url": {"item": "source"}, "bgm_prompt": "a waltz"}


def write(simulation: Simulation, *lines: Mapping[str, object]) -> None:
    simulation.manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_a_link_that_is_not_answered_is_left_to_the_next_run_and_its_slot_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = Silence(monkeypatch, are_listed=True)

    async def work(simulation: Simulation) -> None:
        await ended(simulation, task_deadline_s=7200.0)
        silence.about(*simulation.world.tasks)
        write(simulation, item("source"), SOUND, item("stuck", STUCK), item("late"))
        summary = await ended(simulation, within_s=3000.0, task_deadline_s=900.0)
        assert summary.exit_code == ExitCode.STOPPED
        assert rows(simulation)["sound"] == ("pending", "stopped")
        assert rows(simulation)["late"] == ("succeeded", None)
        assert summary.credits["video"].held == 1, "the task that is stuck"
        assert notices(simulation).count("sound: what it takes from its source cannot be had now") == 1
        silence.about()
        write(simulation, item("source"), SOUND)
        await ended(simulation, task_deadline_s=900.0)
        assert rows(simulation)["sound"] == ("succeeded", None)

    play(tmp_path, work, item("source"), room=3)


def test_a_link_that_is_not_answered_for_a_while_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silence = Silence(monkeypatch, are_listed=True)

    async def work(simulation: Simulation) -> None:
        await ended(simulation, task_deadline_s=7200.0)
        silence.about(*simulation.world.tasks)
        write(simulation, item("source"), SOUND, item("stuck", STUCK))
        asyncio.get_running_loop().call_later(500.0, silence.about)
        await ended(simulation, within_s=3000.0, task_deadline_s=1200.0)
        assert rows(simulation)["sound"] == ("succeeded", None)

    play(tmp_path, work, item("source"), room=3)


def test_a_submission_whose_fate_is_open_keeps_its_hold_while_its_link_is_not_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = Silence(monkeypatch, are_listed=True)

    async def work(simulation: Simulation) -> None:
        await ended(simulation, task_deadline_s=7200.0)
        source = simulation.world.tasks[0]
        write(simulation, item("source"), SOUND, item("stuck", STUCK))
        asyncio.get_running_loop().call_later(10.0, silence.about, source)
        summary = await ended(simulation, within_s=3000.0, task_deadline_s=900.0)
        assert (summary.exit_code, rows(simulation)["sound"]) == (ExitCode.UNRESOLVED, ("unknown", "unresolved"))
        silence.about()
        await ended(simulation, task_deadline_s=900.0)
        assert rows(simulation)["sound"] == ("succeeded", None)
        assert len(simulation.world.tasks) == 3

    play(tmp_path, work, item("source"), room=3, creates=["", "", "reset_before"])


def test_a_second_sending_that_was_put_off_is_unknown_while_its_link_is_not_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = Silence(monkeypatch, are_listed=True)

    async def fall_silent(simulation: Simulation, source: SandboxTask) -> None:
        while Fault.RATE_429 not in simulation.sandbox.faults.injected:  # noqa: ASYNC110 - it is a counter, without an event
            await asyncio.sleep(0.1)
        silence.about(source)

    async def work(simulation: Simulation) -> None:
        await ended(simulation, task_deadline_s=7200.0)
        write(simulation, item("source"), SOUND, item("stuck", STUCK))
        silent = asyncio.create_task(fall_silent(simulation, simulation.world.tasks[0]))
        summary = await ended(simulation, within_s=3000.0, task_deadline_s=900.0)
        await silent
        assert (summary.exit_code, rows(simulation)["sound"]) == (ExitCode.UNRESOLVED, ("unknown", "unresolved"))
        silence.about()
        await ended(simulation, task_deadline_s=900.0)
        assert rows(simulation)["sound"] == ("succeeded", None)
        assert len(simulation.world.tasks) == 3

    play(tmp_path, work, item("source"), room=3, creates=["", "", "reset_before", "rate_429"])


def test_a_submission_after_a_loss_of_which_the_account_does_not_tell_is_left_to_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = Silence(monkeypatch, are_listed=True)

    async def work(simulation: Simulation) -> None:
        await ended(simulation)
        simulation.lose_store()
        write(simulation, item("stuck", STUCK), item("new"))
        silence.are_names_unheard = True
        summary = await ended(simulation, within_s=3000.0)
        assert (summary.exit_code, rows(simulation)["new"]) == (ExitCode.STOPPED, ("pending", "stopped"))
        assert notices(simulation).count("new: the account does not tell whether it was sent before") == 1
        silence.are_names_unheard = False
        await ended(simulation, task_deadline_s=900.0)
        assert rows(simulation)["new"] == ("succeeded", None)
        assert len(simulation.world.tasks) == 2

    play(tmp_path, work, item("stuck", STUCK), room=3)
