"""Answers that are another item's and bear no name: whose film it is, and whose task, is found out all the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pytest
from simulated_film import digest
from simulation import Simulation, simulate
from test_lost_store import FACE, talk
from test_run import notices
from test_run_products import rows, run, scenario, write

from batch_runner.errors import ExitCode
from batch_runner.kling.transport import Answer, Transport
from batch_runner.lifecycle import ExternalId
from batch_runner.sandbox import FaultPlan
from batch_runner.sandbox.config import RepeatPolicy

DAY_S = 86_400.0
CLIP: Mapping[str, object] = {"id": "clip", "prompt": "[sandbox:policy]"}


def films(simulation: Simulation) -> dict[str, str]:
    return {path.stem: digest(path.read_bytes()) for path in simulation.batch_dir.glob("*.mp4")}


def test_of_two_items_that_were_answered_with_one_task_each_gets_its_own_film(tmp_path: Path) -> None:
    """The second took the first one's film, and its own was paid for and never fetched."""

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.UNRESOLVED, (
            "its task looked like the second one's till then"
        )
        assert (await run(simulation)).exit_code == ExitCode.OK
        first, second = simulation.world.tasks[1:]
        own = {"talk-1": simulation.asset_digests(first), "talk-2": simulation.asset_digests(second)}
        assert {name: [film] for name, film in films(simulation).items()} == own

    faults = FaultPlan(script={"create": ["", "lost_answer", "other_answer"]})
    simulate(scenario(FACE, talk(name="talk-1"), talk(name="talk-2", ends_ms=4000), faults=faults), tmp_path, work)


def test_two_items_that_were_answered_with_each_others_task_get_their_own_films(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked by name, the account told each of the other's task, which was known as the other's: neither ever ended."""
    exchange, made, both = Transport.exchange, list[Answer](), asyncio.Event()

    async def crossed(self: Transport, method: str, path: str, *args: object) -> Answer:
        answer = await exchange(self, method, path, *args)  # type: ignore[arg-type]  # handed on as they came
        if method != "POST" or not path.endswith("advanced-lip-sync"):
            return answer
        made.append(answer)
        number = len(made)
        if number == 2:
            both.set()
        await both.wait()
        return made[2 - number]

    monkeypatch.setattr(Transport, "exchange", crossed)

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        own = {simulation.asset_digests(task)[0] for task in simulation.world.tasks[1:]}
        assert set(films(simulation).values()) == own
        first, second = simulation.world.tasks[1:]
        by_id = {row["task_id"]: row["external_task_id"] for row in simulation.results()}
        assert [by_id[task.task_id] for task in (first, second)] == [first.external_task_id, second.external_task_id]

    simulate(scenario(FACE, talk(name="talk-1"), talk(name="talk-2", ends_ms=4000)), tmp_path, work)


@pytest.mark.parametrize("stale", [3, 6])
def test_answers_that_stay_another_items_for_a_while_make_no_film_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stale: int
) -> None:
    """What insists is no proof: the other item's own name has to be told of another task."""
    exchange, names, told = Transport.exchange, list[str](), list[str]()

    async def mixed_up(self: Transport, method: str, path: str, *args: object) -> Answer:
        if method == "GET" and len(names) == 2 and path.endswith(names[1]) and len(told) < stale:
            told.append(path)
            path = path.replace(names[1], names[0])
        if method == "POST" and path.endswith("advanced-lip-sync"):
            names.append(json.loads(args[0])["external_task_id"])  # type: ignore[arg-type]  # the body
        return await exchange(self, method, path, *args)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(Transport, "exchange", mixed_up)

    async def work(simulation: Simulation) -> None:
        codes = [(await simulation.run(environ={"KLING_API_KEY": simulation.sandbox.api_key})) for _ in range(3)]
        assert [code.exit_code for code in codes if code] == [7] * (stale // 3) + [0] * (3 - stale // 3)
        first, second = simulation.world.tasks[1:]
        own = {"talk-1": simulation.asset_digests(first)[0], "talk-2": simulation.asset_digests(second)[0]}
        assert films(simulation) == own

    simulate(scenario(FACE, talk(name="talk-1"), talk(name="talk-2", ends_ms=4000)), tmp_path, work)


@pytest.mark.parametrize("policy", get_args(RepeatPolicy))
def test_a_task_that_bore_our_name_once_is_not_doubted_for_an_answer_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: RepeatPolicy
) -> None:
    """Its own product hid it for a while, another one told of it by its number: it was sent once more."""
    exchange, made = Transport.exchange, list[str]()
    own, other = "/v1/videos/text2video", "/v1/videos/lip-sync"

    async def hidden(self: Transport, method: str, path: str, *args: object) -> Answer:
        if method == "GET" and path.startswith(f"{own}?"):
            return Answer(200, {}, b'{"code": 0, "message": "", "data": []}')
        if method == "GET" and path.startswith(f"{own}/"):
            return Answer(400, {}, b'{"code": 1201, "message": "Task not found"}')
        if made and path == f"{other}/{made[0]}":
            data = {"task_id": made[0], "task_status": "processing", "task_info": {}}
            return Answer(200, {}, json.dumps({"code": 0, "message": "", "data": data}).encode())
        answer = await exchange(self, method, path, *args)  # type: ignore[arg-type]  # handed on as they came
        if method == "POST":
            made.append(json.loads(answer.body)["data"]["task_id"])
        return answer

    async def work(simulation: Simulation) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Transport, "exchange", hidden)
            assert (await run(simulation)).exit_code == ExitCode.UNRESOLVED
        assert len(made) == 1
        assert (await run(simulation)).exit_code == ExitCode.OK

    simulate(scenario({"id": "clip", "prompt": "a fox"}, repeat_policy=policy), tmp_path, work)


def test_no_end_is_taken_for_an_items_own_while_nobody_tells_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question that failed, and the second item published the first one's film."""
    exchange, is_deaf = Transport.exchange, [True]

    async def deaf(self: Transport, method: str, path: str, *args: object) -> Answer:
        is_asked = path.startswith("/v1/videos/advanced-lip-sync/br-")
        if is_asked and is_deaf[0]:
            return Answer(503, {}, b"")
        return await exchange(self, method, path, *args)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(Transport, "exchange", deaf)

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.UNRESOLVED
        assert films(simulation) == {}
        is_deaf[0] = False
        for _ in range(2):
            await simulation.run()
        first, second = simulation.world.tasks[1:]
        own = {"talk-1": simulation.asset_digests(first), "talk-2": simulation.asset_digests(second)}
        assert {name: [film] for name, film in films(simulation).items()} == own

    faults = FaultPlan(script={"create": ["", "lost_answer", "other_answer"]})
    simulate(scenario(FACE, talk(name="talk-1"), talk(name="talk-2", ends_ms=4000), faults=faults), tmp_path, work)


def test_a_task_that_is_known_here_as_anothers_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A create and one question were answered as another item's had been; it published that one's film as its own."""
    exchange, heard = Transport.exchange, list[Answer]()

    async def mixed_up(self: Transport, method: str, path: str, *args: object) -> Answer:
        answer = await exchange(self, method, path, *args)  # type: ignore[arg-type]  # handed on as they came
        if path.startswith("/v1/videos/advanced-lip-sync?") and len(heard) < 3:
            return Answer(200, {}, b'{"code": 0, "message": "", "data": []}')  # so that it is asked for by its id
        if path.startswith("/v1/videos/advanced-lip-sync/") and answer.http_status == 200:
            heard.append(answer)
        is_about_it = path.startswith("/v1/videos/text2video/") and not path.startswith("/v1/videos/text2video/br-")
        return heard[-1] if is_about_it and heard else answer

    monkeypatch.setattr(Transport, "exchange", mixed_up)

    async def work(simulation: Simulation) -> None:
        write(simulation, FACE, talk())
        assert (await run(simulation)).exit_code == ExitCode.OK
        write(simulation, FACE, talk(), CLIP)
        assert (await run(simulation)).exit_code == ExitCode.ITEMS_FAILED
        assert rows(simulation)["clip"] == ("failed", "policy")
        assert set(films(simulation)) == {"talk"}

    faults = FaultPlan(script={"create": ["", "", "other_answer"]})
    simulate(scenario(FACE, talk(), CLIP, slots=2, faults=faults), tmp_path, work)


def test_a_task_of_another_folder_that_bears_no_name_is_not_followed_for_good(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        write(simulation, FACE, talk())
        assert (await run(simulation)).exit_code == ExitCode.OK
        simulation.output_dir = simulation.folder / "another"
        write(simulation, CLIP)
        assert (await simulation.run()) is not None
        assert rows(simulation) == {"clip": ("failed", "policy")}

    faults = FaultPlan(script={"create": ["", "", "other_answer"]})
    simulate(scenario(FACE, talk(), faults=faults), tmp_path, work)


def test_a_create_that_is_told_of_another_task_which_was_not_found_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody on the way exchanged the answer with that to a question; the task was made and paid for."""
    exchange, name = Transport.exchange, ExternalId.of("b", "x", 1, "0" * 8)
    told = json.dumps({"code": 1201, "message": f"Task not found by id/external id: {name}"}).encode()

    async def mixed_up(self: Transport, method: str, path: str, *args: object) -> Answer:
        answer = await exchange(self, method, path, *args)  # type: ignore[arg-type]  # handed on as they came
        return Answer(400, {}, told) if method == "POST" else answer

    async def work(simulation: Simulation) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Transport, "exchange", mixed_up)
            assert (await run(simulation)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 1

    simulate(scenario({"id": "clip", "prompt": "a fox"}), tmp_path, work)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_refused_when_it_is_sent_again_is_settled_on_a_network_of_troubles(tmp_path: Path, seed: int) -> None:
    """One question that failed in the last moment left it unknown, and so did the next run, from the start."""

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.ITEMS_FAILED

    faults = FaultPlan(seed=seed, read_error=0.3, script={"create": ["lost_answer"]})
    simulate(scenario(CLIP, faults=faults, speed=10.0), tmp_path, work)


@pytest.mark.parametrize("policy", get_args(RepeatPolicy))
@pytest.mark.parametrize("count", [1, 2])
def test_what_is_here_is_not_paid_for_again_once_store_and_account_have_forgotten_it(
    tmp_path: Path, policy: RepeatPolicy, count: int
) -> None:
    picture = {"id": "fox", "kind": "images", "model_name": "kling-v2-1", "prompt": "a fox", "n": count}

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        before = sorted(path.name for path in simulation.batch_dir.glob("*.png"))
        simulation.lose_store()
        await asyncio.sleep(31.5 * DAY_S)
        for _ in range(2):
            summary = await simulation.run()
            assert summary is not None
            assert (summary.exit_code, rows(simulation)) == (ExitCode.DISK, {"fox": ("pending", "stopped")})
            assert "a file of that name is here" in notices(simulation)
        assert len(simulation.world.tasks) == 1
        assert sorted(path.name for path in simulation.batch_dir.glob("*.png")) == before
        for name in before:
            (simulation.batch_dir / name).rename(simulation.folder / name)
        write(simulation, {**picture, "id": "fox-again"})
        summary = await simulation.run()
        assert summary is not None
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 2)

    simulate(scenario(picture, speed=10.0, repeat_policy=policy), tmp_path, work)


def test_what_is_here_is_asked_about_by_name_and_not_said_to_be_gone_unheard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a loss every list is empty, as a proxy says, and at first nobody answers a question by name."""
    clip = {"id": "clip", "prompt": "a fox"}
    exchange, is_deaf = Transport.exchange, [True]

    async def mixed_up(self: Transport, method: str, path: str, *args: object) -> Answer:
        if path.startswith("/v1/videos/text2video?"):
            return Answer(200, {}, b'{"code": 0, "message": "", "data": []}')
        if "/br-" in path and is_deaf[0]:
            return Answer(503, {}, b"")
        return await exchange(self, method, path, *args)  # type: ignore[arg-type]  # handed on as they came

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        simulation.lose_store()
        monkeypatch.setattr(Transport, "exchange", mixed_up)
        summary = await simulation.run()
        assert summary is not None
        assert (summary.exit_code, rows(simulation)) == (ExitCode.STOPPED, {"clip": ("pending", "stopped")})
        assert "does not tell whether it has a task of an earlier run" in notices(simulation)
        assert "a file of that name is here" not in notices(simulation)
        is_deaf[0] = False
        summary = await simulation.run()
        assert summary is not None
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)

    simulate(scenario(clip, speed=10.0), tmp_path, work)
