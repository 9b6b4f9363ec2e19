"""Rows of the account's lists that cannot be read: any may stand for a task, and they take up room in a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sandbox_kit import somebody_elses
from simulation import Scenario, Simulation, simulate
from test_run import done, play
from test_run_products import TURBO, run, scenario

from batch_runner.errors import ExitCode, ManifestError
from batch_runner.kling.client import KlingClient
from batch_runner.kling.transport import Answer, Transport
from batch_runner.model import Page, Route, Task
from batch_runner.sandbox import FaultPlan, SandboxTask
from batch_runner.sandbox.faults import RequestClass
from batch_runner.sandbox.world import World

THEIRS = somebody_elses("text2video")
ILLEGIBLE = replace(THEIRS, task_id="")
TALK = {
    "id": "talk",
    "kind": "advanced-lip-sync",
    "session_id": "1",
    "seconds": 5,
    "face_choose": [
        {
            "face_id": "1",
            "sound_file": "https://example.com/a.mp3?sandbox-seconds=5",
            "sound_start_time": 0,
            "sound_end_time": 3000,
            "sound_insert_time": 500,
        }
    ],
}

Show = Callable[[int], Sequence[SandboxTask]]


def full_but_for_one(size: int) -> Sequence[SandboxTask]:
    return [ILLEGIBLE, *(replace(THEIRS, task_id=str(number)) for number in range(1, size))]


def nothing_else(_: int) -> Sequence[SandboxTask]:
    return [ILLEGIBLE]


@pytest.mark.parametrize("show", [full_but_for_one, nothing_else])
def test_a_list_with_a_row_that_cannot_be_read_leaves_it_to_two_looks_by_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, show: Show
) -> None:
    """The first look by id is a stale one, on an account that would make a second task of a used id."""
    looks, find = count(), World.find

    def find_late(self: World, *args: Any) -> SandboxTask | None:
        return find(self, *args) if next(looks) else None

    monkeypatch.setattr(World, "find", find_late)
    monkeypatch.setattr(World, "page", lambda *args: show(args[3]))

    async def work(simulation: Simulation) -> None:
        await simulation.run()
        assert len(simulation.world.tasks) == 1

    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer"]}))
    play(tmp_path, work, "a", scenario=start, repeat_policy="second", max_concurrent=2, speed=20.0)


@pytest.mark.parametrize("row", [{"id": None}, {"id": "9", "external_id": "x-9", "status": "processing"}])
def test_an_answer_in_place_of_which_came_something_else_is_no_look_in_the_second_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: dict[str, str | None]
) -> None:
    """As above: one look by id is stale, and two are needed."""
    looks, is_of_many = count(), False
    find, find_many, exchange = KlingClient.find, KlingClient.find_many, Transport.exchange

    async def find_late(client: KlingClient, *args: Any, **options: Any) -> Task | None:
        return await find(client, *args, **options) if next(looks) else None

    async def find_many_in_vain(client: KlingClient, **ids: Any) -> Page:
        nonlocal is_of_many
        is_of_many = True
        try:
            return await find_many(client, **ids)
        finally:
            is_of_many = False

    async def mixed_up(transport: Transport, method: str, path: str, *args: Any) -> Answer:
        if is_of_many and "external" in path:
            return Answer(200, {}, json.dumps({"code": 0, "data": [row]}).encode())
        return await exchange(transport, method, path, *args)

    monkeypatch.setattr(KlingClient, "find", find_late)
    monkeypatch.setattr(KlingClient, "find_many", find_many_in_vain)
    monkeypatch.setattr(Transport, "exchange", mixed_up)

    async def work(simulation: Simulation) -> None:
        await run(simulation)
        assert len(simulation.world.tasks) == 1

    faults = FaultPlan(script={"create": ["lost_answer"]})
    simulate(scenario(TURBO, repeat_policy="second", faults=faults), tmp_path, work)


def test_after_a_loss_a_page_that_cannot_be_read_does_not_hide_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an older text of the line only a list can tell."""
    right = World.page

    def page(self: World, kind: str, page_num: int, page_size: int, now_s: float) -> Sequence[SandboxTask]:
        return [ILLEGIBLE] * page_size if page_num == 1 else right(self, kind, page_num - 1, page_size, now_s)

    async def work(simulation: Simulation) -> None:
        assert (await done(simulation)).exit_code == ExitCode.OK
        simulation.lose_store()
        simulation.manifest.write_text(simulation.manifest.read_text(encoding="utf-8").replace('"a"', '"b"'))
        monkeypatch.setattr(World, "page", page)
        with pytest.raises(ManifestError, match="i0"):
            await simulation.run()
        assert len(simulation.world.tasks) == 1

    play(tmp_path, work, "a", scenario=Scenario(slots=1), speed=20.0)


def test_a_list_of_which_nothing_can_be_read_is_not_searched_to_its_last_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World, "page", lambda *_: [ILLEGIBLE])

    async def work(simulation: Simulation) -> None:
        assert (await done(simulation)).exit_code == ExitCode.OK
        assert simulation.sandbox.faults._seen[RequestClass.LIST] < 100

    play(tmp_path, work, "a", scenario=Scenario(slots=1), speed=20.0)


def test_a_list_that_names_nobody_is_not_taken_for_empty_because_its_row_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, find = [], KlingClient.find

    async def illegible(_: KlingClient, route: Route, *args: int) -> Page:
        return Page(illegible=1)

    async def find_and_tell(client: KlingClient, route: Route, name: str, **options: Any) -> Task | None:
        asked.append((name.startswith("br-"), len(simulated[0].world.tasks)))
        return await find(client, route, name, **options)

    simulated: list[Simulation] = []
    monkeypatch.setattr(KlingClient, "page", illegible)
    monkeypatch.setattr(KlingClient, "find", find_and_tell)

    async def work(simulation: Simulation) -> None:
        simulated.append(simulation)
        await run(simulation)
        assert asked[0] == (True, 0), "by its name, before it was first submitted"

    simulate(scenario(TALK), tmp_path, work)
