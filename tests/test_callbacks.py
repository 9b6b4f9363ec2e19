"""A run that is called when its tasks change: the real program and sandbox, and a caller of many kinds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from doors_kit import free_port
from simulation import Scenario, Simulation, audit, simulate

from batch_runner import run_sync
from batch_runner.callbacks import callbacks_of
from batch_runner.errors import AccountError, UsageError
from batch_runner.events import ItemSubmitted, Notice
from batch_runner.kling import WebhookSecret
from batch_runner.records import SummaryRecord
from batch_runner.sandbox import FaultPlan, SandboxTask, WorldConfig
from batch_runner.settings import resolve

TEXT = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
OTHER = "whsec_Zm9yZ2VkIGJ5IHNvbWVib2R5IGVsc2UgZW50aXJlbHk="
NO_FAULTS = FaultPlan()
RPM = 20
"""So few that the pauses between two questions are long, and being called makes a difference."""


class Caller:
    """Stands for the service: calls the run's address about tasks, signed or not."""

    def __init__(self, simulation: Simulation, session: aiohttp.ClientSession, url: str, secret: WebhookSecret) -> None:
        self.simulation, self._session, self._url, self._secret = simulation, session, url, secret
        self.answers: list[int] = []

    async def call(self, payload: dict[str, Any]) -> None:
        body, at = json.dumps(payload).encode(), str(int(self.simulation.clock.wall_s()))
        signed = {
            "webhook-id": "c-1",
            "webhook-timestamp": at,
            "webhook-signature": self._secret.signature("c-1", at, body),
        }
        try:
            async with self._session.post(self._url, data=body, headers=signed) as response:
                self.answers.append(response.status)
        except aiohttp.ClientConnectorError:
            pass  # the run is over

    async def tell_ends(self, payload_of: Callable[[SandboxTask], dict[str, Any]], times: int = 1) -> None:
        """Call about every task as soon as it has ended."""
        told: set[str] = set()
        while True:
            now_s = self.simulation.clock.wall_s()
            ended = [task for task in self.simulation.world.tasks if task.ended_at_s <= now_s]
            for task in [task for task in ended if task.task_id not in told]:
                told.add(task.task_id)
                for _ in range(times):
                    await self.call(payload_of(task))
            await asyncio.sleep(0.2)


def legacy(task: SandboxTask) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "task_status": "succeed",
        "task_info": {"external_task_id": task.external_task_id},
        "task_result": {"videos": [{"id": "v", "url": "https://cdn.example/never-asked.mp4"}]},
    }


def newer(task: SandboxTask) -> dict[str, Any]:
    return {"id": task.task_id, "status": "succeeded", "external_id": task.external_task_id, "outputs": []}


def play(
    tmp_path: Path,
    work: Callable[[Simulation], Awaitable[Any]],
    *,
    items: int = 6,
    faults: FaultPlan = NO_FAULTS,
) -> Any:
    tmp_path.mkdir(exist_ok=True)
    world = WorldConfig(max_concurrent=3, rpm=RPM, failure_rate=0.2, seed=3)
    return simulate(Scenario(items=items, slots=3, rpm=RPM, world=world, faults=faults), tmp_path, work)


@asynccontextmanager
async def called(
    simulation: Simulation, act: Callable[[Caller], Awaitable[None]], secret: str = TEXT
) -> AsyncIterator[tuple[dict[str, Any], Caller]]:
    """The options of a run that is called, while ``act`` calls it."""
    url = f"http://127.0.0.1:{free_port()}/calls"
    keys = {"KLING_ACCESS_KEY": simulation.sandbox.access_key, "KLING_SECRET_KEY": simulation.sandbox.secret_key}
    async with aiohttp.ClientSession() as session:
        caller = Caller(simulation, session, url, WebhookSecret.from_text(secret))
        calling = asyncio.ensure_future(act(caller))
        try:
            yield {"callback_url": url, "environ": {**keys, "KLING_WEBHOOK_SECRET": TEXT}}, caller
        finally:
            calling.cancel()
            (end,) = await asyncio.gather(calling, return_exceptions=True)
            assert end is None or isinstance(end, asyncio.CancelledError), end


async def done(simulation: Simulation, **options: Any) -> SummaryRecord:
    summary = await simulation.run(**options)
    assert summary is not None
    audit(simulation, summary)
    return summary


def lags_s(simulation: Simulation) -> list[float]:
    """How long after each task's end the run got to know of it."""
    ends = {task.external_task_id: task.ended_at_s for task in simulation.world.tasks}
    return sorted(
        datetime.fromisoformat(row["at"]).timestamp() - ends[row["external_task_id"]]
        for row in simulation.ledger()
        if row["entry"] in {"charge", "release"}
    )


def notices(simulation: Simulation) -> str:
    return "\n".join(event.text for event in simulation.events if isinstance(event, Notice))


async def silence(_: Caller) -> None:
    """Nobody calls."""


async def nobodys_calls(caller: Caller) -> None:
    """Genuine calls that mean nothing: about strangers, about no change, twice, out of order, about nothing at all."""
    while True:
        await caller.call({"task_id": "1", "task_status": "succeed", "task_info": {"external_task_id": "stranger"}})
        await caller.call({"id": "2", "status": "failed", "external_id": "stranger"})
        await caller.call({"hello": "there"})
        for task in list(caller.simulation.world.tasks):
            await caller.call({**legacy(task), "task_status": "processing"})
            await caller.call({**newer(task), "status": "submitted"})
        await asyncio.sleep(1.0)


async def lies(caller: Caller) -> None:
    """Genuine calls that say of every task that it has ended, all the time."""
    while True:
        for task in list(caller.simulation.world.tasks):
            await caller.call(legacy(task))
        await asyncio.sleep(0.5)


MODELS = {"older": "kling-v2-5-turbo", "newer": "kling-2.5-turbo"}


def clips(model_name: str, count: int = 6) -> tuple[str, ...]:
    rows = [{"id": f"i{number}", "prompt": f"scene {number}", "model_name": model_name} for number in range(count)]
    return tuple(map(json.dumps, rows))


def simulated(tmp_path: Path, model_name: str, faults: FaultPlan = NO_FAULTS, **options: Any) -> tuple[float, Any]:
    """A run that the simulated service itself calls if it is asked to: its lag behind the tasks, and its summary."""

    async def work(simulation: Simulation) -> tuple[float, SummaryRecord]:
        environ = {"KLING_API_KEY": simulation.sandbox.api_key, "KLING_WEBHOOK_SECRET": TEXT}
        summary = await done(simulation, environ=environ, **options)
        outcomes = simulation.sandbox.callbacks.outcomes
        assert bool(outcomes["answered"]) is bool(options)
        assert outcomes["unanswered"] == 0
        return sum(lags_s(simulation)), summary

    tmp_path.mkdir()
    world = WorldConfig(max_concurrent=3, rpm=RPM, failure_rate=0.2, seed=3)
    scenario = Scenario(
        slots=3, rpm=RPM, world=world, lines=clips(model_name), faults=faults, webhook_secrets=(OTHER, TEXT)
    )
    found: tuple[float, Any] = simulate(scenario, tmp_path, work)
    return found


@pytest.mark.parametrize("model", MODELS)
def test_a_called_run_knows_sooner_and_asks_no_more(tmp_path: Path, model: str) -> None:
    url = f"http://127.0.0.1:{free_port()}/calls"
    lag_s, summary = simulated(tmp_path / "called", MODELS[model], callback_url=url)
    lag_alone_s, summary_alone = simulated(tmp_path / "alone", MODELS[model])
    assert lag_s < lag_alone_s / 2
    assert summary.wall_s < summary_alone.wall_s
    assert summary.requests.poll <= summary_alone.requests.poll
    assert summary.credits == summary_alone.credits


@pytest.mark.parametrize("fault", ["callback_lost", "callback_twice", "callback_late"])
@pytest.mark.parametrize("model", MODELS)
def test_calls_that_are_lost_doubled_or_late_change_no_outcome(tmp_path: Path, model: str, fault: str) -> None:
    url = f"http://127.0.0.1:{free_port()}/calls"
    faults = FaultPlan(**{fault: 0.7})  # type: ignore[arg-type]  # a share by its name
    _, summary = simulated(tmp_path / "called", MODELS[model], faults, callback_url=url)
    _, summary_alone = simulated(tmp_path / "alone", MODELS[model])
    assert (summary.items, summary.credits) == (summary_alone.items, summary_alone.credits)


def test_the_embedded_service_calls_a_run_that_asks_for_it(tmp_path: Path) -> None:
    manifest = tmp_path / "films.jsonl"
    manifest.write_text("\n".join(clips("kling-3.0-turbo", 2)), encoding="utf-8")
    events: list[Any] = []
    summary = run_sync(
        manifest,
        observer=events.append,
        output_dir=str(tmp_path / "outputs"),
        sandbox=True,
        sandbox_speed=200,
        callback_url=f"http://127.0.0.1:{free_port()}/calls",
    )
    assert summary.exit_code == 0
    told = "\n".join(event.text for event in events if isinstance(event, Notice))
    assert "listening at http://127.0.0.1:" in told
    assert "not signed" not in told


def test_calls_that_bring_no_news_cost_no_question(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> int:
        async with called(simulation, nobodys_calls) as (options, caller):
            summary = await done(simulation, **options)
        assert len(caller.answers) > 100
        return summary.requests.poll

    async def alone(simulation: Simulation) -> int:
        return (await done(simulation)).requests.poll

    assert play(tmp_path / "called", work) <= play(tmp_path / "alone", alone) + 2


def test_calls_are_not_believed(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        async with called(simulation, lies) as (options, caller):
            await done(simulation, **options)
        assert set(caller.answers) == {200}
        assert min(lags_s(simulation)) >= 0, "a task was taken for ended before it had"

    play(tmp_path, work)


def test_calls_that_nobody_signed_have_no_effect_and_are_told(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> float:
        async with called(simulation, lambda caller: caller.tell_ends(legacy), OTHER) as (options, caller):
            summary = await done(simulation, **options)
        assert set(caller.answers) == {401}
        assert "calls were not signed with the webhook secret" in notices(simulation)
        return summary.wall_s

    async def alone(simulation: Simulation) -> float:
        async with called(simulation, silence) as (options, _):
            return (await done(simulation, **options)).wall_s

    assert play(tmp_path / "called", work) == pytest.approx(play(tmp_path / "alone", alone), abs=1.0)


def test_a_run_that_nobody_calls_finishes_all_the_same(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> float:
        async with called(simulation, silence) as (options, caller):
            summary = await done(simulation, **options)
        assert caller.answers == []
        return summary.wall_s

    async def alone(simulation: Simulation) -> float:
        return (await done(simulation)).wall_s

    assert play(tmp_path / "called", work) == pytest.approx(play(tmp_path / "alone", alone), abs=5.0)


def test_a_call_settles_a_submission_whose_answer_was_lost(tmp_path: Path) -> None:
    async def tell_beginnings(caller: Caller) -> None:
        while True:
            for task in list(caller.simulation.world.tasks):
                await caller.call({**newer(task), "status": "submitted"})
            await asyncio.sleep(0.2)

    async def adopted_after_s(simulation: Simulation, act: Callable[[Caller], Awaitable[None]]) -> float:
        seen_at_s: list[float] = []

        class Events(list[Any]):
            def append(self, event: Any) -> None:
                if isinstance(event, ItemSubmitted):
                    assert event.adopted
                    seen_at_s.append(simulation.clock.wall_s())

        simulation.events = Events()
        async with called(simulation, act) as (options, _):
            await done(simulation, **options)
        (task,), (at_s,) = simulation.world.tasks, seen_at_s
        return at_s - task.created_at_s

    faults = FaultPlan(script={"create": ["lost_answer"]})
    with_calls_s = play(
        tmp_path / "called", lambda simulation: adopted_after_s(simulation, tell_beginnings), items=1, faults=faults
    )
    alone_s = play(tmp_path / "alone", lambda simulation: adopted_after_s(simulation, silence), items=1, faults=faults)
    assert with_calls_s < 1.0 < alone_s


# --- before anything is sent ----------------------------------------------------------------------------------


def settled(**options: object) -> Any:
    return resolve({"callback_url": "https://me.example/calls", **options}, {}, None)


def test_a_run_that_is_not_to_be_called_needs_no_secret() -> None:
    assert callbacks_of(resolve({}, {}, None), {}) is None


def test_calls_arrive_where_the_settings_say(tmp_path: Path) -> None:
    environ = {"KLING_WEBHOOK_SECRET": TEXT, "HOME": str(tmp_path)}
    places = {
        ("https://me.example/calls", None): ("127.0.0.1", 0),
        ("https://me.example:8443/calls", None): ("127.0.0.1", 8443),
        ("https://me.example:8443/calls", ":80"): ("0.0.0.0", 80),
    }
    for (url, listen), place in places.items():
        callbacks = callbacks_of(settled(callback_url=url, callback_listen=listen), environ)
        assert callbacks is not None
        assert (callbacks.url, callbacks.host, callbacks.port) == (url, *place)
        assert TEXT not in repr(callbacks)


def test_without_a_secret_nothing_is_listened_for(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    with pytest.raises(AccountError, match="KLING_WEBHOOK_SECRET"):
        callbacks_of(settled(), home)
    with pytest.raises(AccountError, match="copy it again"):
        callbacks_of(settled(), {**home, "KLING_WEBHOOK_SECRET": "whsec_***"})


def test_an_address_of_this_machine_is_no_address_for_the_real_service(tmp_path: Path) -> None:
    environ = {"KLING_WEBHOOK_SECRET": TEXT, "HOME": str(tmp_path)}
    here = "http://127.0.0.1:8080/"
    with pytest.raises(UsageError, match="--callback-url"):
        callbacks_of(settled(callback_url=here), environ)
    assert callbacks_of(settled(callback_url=here, base_url="http://127.0.0.1:8081"), environ)


def test_the_embedded_sandbox_signs_with_a_secret_of_its_own(tmp_path: Path) -> None:
    found = [callbacks_of(settled(sandbox=True), {"HOME": str(tmp_path)}) for _ in range(2)]
    texts = {callbacks.secret_text for callbacks in found if callbacks is not None}
    assert len(texts) == 2
    assert all(WebhookSecret.from_text(text) for text in texts)


def test_a_place_that_is_taken_stops_a_run_before_it_sends_anything(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        place = simulation.sandbox.base_url.removeprefix("http://")
        async with called(simulation, silence) as (options, _):
            with pytest.raises(UsageError, match="--callback-listen"):
                await simulation.run(**options, callback_listen=place)
        assert simulation.world.tasks == []

    play(tmp_path, work)
