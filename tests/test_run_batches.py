"""Several batches in one output folder share the account's slots, whichever of them runs."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from seeded_loop import prompt_settle_s
from simulation import Scenario, Simulation, simulate
from simulation_books import BatchBooks, most_slots
from store_kit import item, items, with_store

from batch_runner.errors import ExitCode, NotPermittedError
from batch_runner.events import BatchFinished
from batch_runner.kling import KlingClient
from batch_runner.lifecycle import Event
from batch_runner.model import Page, Realm, Route
from batch_runner.records import SummaryRecord
from batch_runner.sandbox import FaultPlan, WorldConfig
from batch_runner.sandbox.fate import STUCK
from batch_runner.store import Batch, Facts, Store
from batch_runner.store.connection import FullStoreError

SLOTS = 3


def lines(name: str, count: int, prompt: str = "scene") -> tuple[str, ...]:
    return tuple(
        json.dumps({"id": f"{name}-{n}", "prompt": f"{prompt} {n}", "model_name": "kling-v1"}) for n in range(count)
    )


def play(
    folder: Path,
    work: Callable[[Simulation, BatchBooks], Awaitable[None]],
    prompt: str = "scene",
    **scenario: Any,
) -> None:
    """Two batches: the first one's lines, and a second one of four, on an account that has room for more."""

    async def main(simulation: Simulation) -> None:
        second = BatchBooks("second", folder / "second.jsonl")
        second.manifest.write_text("\n".join(lines("second", 4)), encoding="utf-8")
        simulation.batches.append(second)
        await work(simulation, second)

    world = WorldConfig(max_concurrent=9, rpm=60, speed=20.0)
    first = lines("first", SLOTS, prompt)
    simulate(Scenario(lines=first, slots=SLOTS, world=world, settle_s=prompt_settle_s(), **scenario), folder, main)


async def ran(simulation: Simulation, batch: BatchBooks, **options: Any) -> SummaryRecord:
    before, simulation.batch = simulation.batch, batch
    summary = await simulation.run(**options)
    simulation.batch = before
    assert summary is not None
    return summary


def test_what_other_batches_may_have_in_flight_is_told_within_a_realm(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        async def sent(name: str, realm: Realm, *events: Event) -> Batch:
            batch = await store.load_batch(name, realm=realm, manifest=name, items=items(item(name)))
            await store.adopt(batch, [], {})
            attempt = (await store.claim_next(batch, {})).attempt
            assert attempt is not None
            for event in events:
                attempt = await store.apply(attempt, event, {}, Facts(task_id=f"task of {name}"))
            return batch

        one = await sent("one", Realm.REAL, Event.SEND, Event.ACCEPT)
        await sent("two", Realm.REAL, Event.SEND, Event.LOSE_ANSWER)
        await sent("unsent", Realm.REAL)
        await sent("over", Realm.REAL, Event.SEND, Event.ACCEPT, Event.FAIL)
        other = await sent("simulated", Realm.SANDBOX, Event.SEND)
        assert [attempt.item_id for attempt in await store.in_flight_elsewhere(one)] == ["two"]
        assert not await store.in_flight_elsewhere(other)

    with_store(tmp_path / "state.db", work)


def last_words(simulation: Simulation) -> str:
    return [event.text for event in simulation.events if isinstance(event, BatchFinished)][-1]


@pytest.mark.parametrize("die_after_s", [3, 5, 8])
def test_tasks_that_another_batch_left_in_flight_hold_their_slots(tmp_path: Path, die_after_s: float) -> None:
    """Twice as many were in flight as --max-concurrent allows."""

    async def work(simulation: Simulation, second: BatchBooks) -> None:
        assert await simulation.run(die_after_s=die_after_s) is None
        left = len(simulation.world.tasks)
        assert left
        other = await ran(simulation, second)
        assert (other.exit_code, other.items.succeeded) == (0, 4)
        assert most_slots(simulation.world.tasks) == SLOTS
        summary = await ran(simulation, simulation.batch)
        assert (summary.exit_code, len(simulation.world.tasks)) == (0, SLOTS + 4)

    play(tmp_path, work)


def test_a_run_with_nothing_to_submit_does_not_wait_for_another_batchs_tasks(tmp_path: Path) -> None:
    async def work(simulation: Simulation, second: BatchBooks) -> None:
        assert await simulation.run(die_after_s=5) is None
        second.manifest.write_text(lines("second", 1)[0], encoding="utf-8")
        end_s = max(task.ended_at_s for task in simulation.world.tasks)
        first_end_s = min(task.ended_at_s for task in simulation.world.tasks)
        assert (await ran(simulation, second)).exit_code == 0
        [own] = [task for task in simulation.world.tasks if second.item_of(task)]
        assert own.created_at_s >= first_end_s
        assert simulation.clock.wall_s() < max(own.ended_at_s + 30, end_s)

    play(tmp_path, work)


def test_another_batchs_task_that_never_ends_is_not_waited_for_beyond_its_deadline(tmp_path: Path) -> None:
    async def work(simulation: Simulation, second: BatchBooks) -> None:
        assert await simulation.run(die_after_s=5) is None
        began_s = simulation.clock.wall_s()
        other = await ran(simulation, second, task_deadline_s=100)
        assert (other.exit_code, other.items.pending, len(simulation.world.tasks)) == (7, 4, SLOTS)
        assert 90 < simulation.clock.wall_s() - began_s < 130
        assert "3 tasks that do not move hold every slot" in last_words(simulation)

    play(tmp_path, work, prompt=f"{STUCK} scene")


def test_another_batchs_tasks_that_the_account_may_no_longer_list_end_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = KlingClient.page

    async def videos_are_forbidden(self: KlingClient, route: Route, *args: int) -> Page:
        if "text2video" in str(route.list_path):
            raise NotPermittedError("the account may not use this API")
        return await page(self, route, *args)

    async def work(simulation: Simulation, second: BatchBooks) -> None:
        assert await simulation.run(die_after_s=5) is None
        taken = len(simulation.world.tasks)
        assert taken
        second.manifest.write_text('{"id": "a", "kind": "images", "prompt": "a hill"}', encoding="utf-8")
        monkeypatch.setattr(KlingClient, "page", videos_are_forbidden)
        other = await ran(simulation, second, max_concurrent=taken + 1)
        assert (other.exit_code, other.items.succeeded) == (ExitCode.OK, 1)
        monkeypatch.setattr(KlingClient, "page", page)
        assert (await ran(simulation, simulation.batch)).exit_code == ExitCode.OK

    play(tmp_path, work)


def test_a_full_store_stops_a_run_that_follows_another_batchs_submission_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any, **__: Any) -> None:
        raise FullStoreError("the disk is full")

    async def work(simulation: Simulation, second: BatchBooks) -> None:
        assert await simulation.run(die_after_s=5) is None
        find = KlingClient.find
        monkeypatch.setattr(KlingClient, "find", full)
        assert (await ran(simulation, second)).exit_code == ExitCode.DISK
        monkeypatch.setattr(KlingClient, "find", find)
        assert (await ran(simulation, second)).exit_code == ExitCode.OK

    play(tmp_path, work, faults=FaultPlan(script={"create": ["reset_before"] * 3}))


def test_a_submission_of_another_batch_that_made_no_task_holds_no_slot_for_long(tmp_path: Path) -> None:
    async def work(simulation: Simulation, second: BatchBooks) -> None:
        assert await simulation.run(die_after_s=1) is None
        assert not simulation.world.tasks
        assert (await ran(simulation, second)).exit_code == 0
        assert most_slots(simulation.world.tasks) == SLOTS
        assert (await ran(simulation, simulation.batch)).exit_code == 0

    script = {"create": ["reset_before"] * SLOTS}
    play(tmp_path, work, faults=FaultPlan(script=script))
