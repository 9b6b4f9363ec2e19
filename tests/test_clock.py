"""Clocks that jump, are wrong, or stood still: nothing bursts, and nothing expires that should not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import Scenario, Simulation, audit, simulate

from batch_runner.errors import ExitCode
from batch_runner.events import Notice
from batch_runner.kling.transport import Answer, Transport
from batch_runner.records import SummaryRecord
from batch_runner.sandbox import FaultPlan, WorldConfig
from batch_runner.schedule import Patience
from batch_runner.virtual_time import VirtualTimeLoop

Work = Callable[[Simulation], Coroutine[Any, Any, None]]
HOUR_S = 3600.0


def stand_still(seconds: float) -> None:
    """The process stood still so long (SIGSTOP, a suspended machine): all that was to happen meanwhile is due now."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop._jumping.now_s += seconds


def play(tmp_path: Path, work: Work, *prompts: str, faults: FaultPlan | None = None, **world: Any) -> None:
    lines = tuple(json.dumps({"id": f"i{number}", "prompt": prompt}) for number, prompt in enumerate(prompts))
    config = WorldConfig(**{"max_concurrent": 2, "rpm": 60, **world})
    scenario = Scenario(slots=2, rpm=config.rpm or 0, lines=lines, world=config, faults=faults or FaultPlan())
    simulate(scenario, tmp_path, work)


async def done(simulation: Simulation, **options: Any) -> SummaryRecord:
    summary = await simulation.run(**options)
    assert summary is not None
    audit(simulation, summary)
    return summary


def urgent(simulation: Simulation) -> list[str]:
    return [event.text for event in simulation.events if isinstance(event, Notice) and event.urgent]


# --- the wall clock ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("after_s", "shift_s"), [(0.5, 5 * HOUR_S), (40.0, -5 * HOUR_S), (40.0, 600.0), (0.5, -600.0)])
def test_a_wall_clock_that_jumps_in_the_middle_of_a_run_changes_nothing(
    tmp_path: Path, shift_s: float, after_s: float
) -> None:
    async def work(simulation: Simulation) -> None:
        run = asyncio.ensure_future(done(simulation))
        await asyncio.sleep(after_s)
        simulation.machine_clock.offset_s = shift_s
        await asyncio.sleep(60)
        simulation.machine_clock.offset_s = -shift_s
        summary = await run
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 4)
        assert summary.requests.refused <= 4, "each jump costs a refused token or two"
        assert urgent(simulation) == []

    play(tmp_path, work, "a", "b", "c", "d")


@pytest.mark.parametrize(("shift_s", "costs"), [(600.0, True), (-600.0, False), (90_000.0, True), (-90_000.0, True)])
def test_a_clock_that_is_wrong_all_the_time_costs_a_refused_request(
    tmp_path: Path,
    shift_s: float,
    costs: bool,  # noqa: FBT001 - parameter
) -> None:
    """One for each request that was under way with the first token; ten minutes slow, that is valid all the same."""

    async def work(simulation: Simulation) -> None:
        simulation.machine_clock.offset_s = shift_s
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.OK
        assert (0 < summary.requests.refused <= 2) is costs
        assert (await done(simulation)) == summary
        assert urgent(simulation) == []

    play(tmp_path, work, "a", "b", "c")


@pytest.mark.parametrize("shift_s", [HOUR_S, -HOUR_S])
def test_a_clock_that_was_set_between_two_runs_makes_no_burst(tmp_path: Path, shift_s: float) -> None:
    async def work(simulation: Simulation) -> None:
        for _ in range(6):
            await done(simulation, max_runtime_s=15)
            simulation.machine_clock.offset_s += shift_s
        assert (await done(simulation)).exit_code == ExitCode.OK
        assert urgent(simulation) == []

    play(tmp_path, work, "a", "b", "c", "d", "e", "f", speed=4.0)


def test_a_run_of_several_hours_renews_its_token_in_time(tmp_path: Path) -> None:
    """A token lives for 1800 s: not one request of hours is refused."""

    async def work(simulation: Simulation) -> None:
        began_s = simulation.clock.wall_s()
        summary = await done(simulation, task_deadline_s=20 * HOUR_S)
        assert simulation.clock.wall_s() - began_s > 2 * HOUR_S
        assert (summary.exit_code, summary.requests.refused) == (ExitCode.OK, 0)
        assert not simulation.world.refusals

    play(tmp_path, work, "a", "b", "c", speed=0.025, rpm=6)


# --- a process that stood still ----------------------------------------------------------------------------------

STILL_S = [20.0, 400.0, 3 * HOUR_S]


@pytest.mark.parametrize(("after_s", "still_s"), list(zip([70.0, 0.3, 20.0], STILL_S, strict=True)))
def test_a_process_that_stood_still_goes_on_as_if_nothing_had_been(
    tmp_path: Path, still_s: float, after_s: float
) -> None:
    async def work(simulation: Simulation) -> None:
        run = asyncio.ensure_future(done(simulation))
        await asyncio.sleep(after_s)
        stand_still(still_s)
        summary = await run
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 6)
        assert urgent(simulation) == []

    play(tmp_path, work, "a", "b", "c", "d", "e", "f")


@pytest.mark.parametrize("still_s", STILL_S)
def test_an_answer_that_came_while_the_process_stood_still_is_not_paid_for_again(
    tmp_path: Path, still_s: float
) -> None:
    async def work(simulation: Simulation) -> None:
        run = asyncio.ensure_future(done(simulation))
        await asyncio.sleep(3)
        assert len(simulation.world.tasks) == 2
        stand_still(still_s)
        assert ((await run).exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 2)
        assert urgent(simulation) == []

    faults = FaultPlan(slow_s=10.0, script={"create": ["slow", "slow"]})
    play(tmp_path, work, "a", "b", faults=faults, repeat_policy="second")


def test_a_fate_that_is_open_while_the_process_stands_still_is_settled_after_it(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        run = asyncio.ensure_future(done(simulation))
        await asyncio.sleep(5)
        stand_still(600)
        summary = await run
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)
        assert urgent(simulation) == []

    play(tmp_path, work, "a", faults=FaultPlan(script={"create": ["server_error_before"]}), repeat_policy="second")


def test_a_download_under_way_survives_it(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        run = asyncio.ensure_future(done(simulation))
        async with asyncio.timeout(3600):
            while not list(simulation.output_dir.glob("batch/*.part")):  # noqa: ASYNC110 - looks from outside
                await asyncio.sleep(1)
        stand_still(HOUR_S)
        assert ((await run).exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)
        assert urgent(simulation) == []

    play(tmp_path, work, "a", faults=FaultPlan(slow_s=20.0, script={"download": ["slow"]}))


def test_a_task_is_called_overdue_only_by_a_look_after_its_deadline(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        run = asyncio.ensure_future(done(simulation, task_deadline_s=600))
        await asyncio.sleep(30)
        stand_still(HOUR_S)
        assert (await run).exit_code == ExitCode.OK
        assert urgent(simulation) == []

    play(tmp_path, work, "a", "b")


def test_nothing_is_overdue_while_the_request_limit_leaves_room_for_no_look(tmp_path: Path) -> None:
    """One request a minute: a look before the deadline, then one more than a minute later, which shows the end."""

    async def work(simulation: Simulation) -> None:
        assert (await done(simulation, task_deadline_s=122.5)).exit_code == ExitCode.OK
        sent_s, *looks_s = simulation.world.request_stamps[1:]
        [task] = simulation.world.tasks
        assert looks_s[-2] < sent_s + 122.5 < looks_s[-1] - 60
        assert looks_s[-2] < task.ended_at_s < looks_s[-1]

    play(tmp_path, work, "a", rpm=1)


def test_a_process_that_stood_still_after_the_deadline_calls_nothing_overdue_before_it_has_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange, is_away = Transport.exchange, asyncio.Event()

    async def away(self: Transport, *args: Any) -> Answer:
        return Answer(503, {}, b"") if is_away.is_set() else await exchange(self, *args)

    monkeypatch.setattr(Transport, "exchange", away)

    async def work(simulation: Simulation) -> None:
        run = asyncio.ensure_future(done(simulation, task_deadline_s=60))
        await asyncio.sleep(50)
        is_away.set()
        await asyncio.sleep(30)
        stand_still(HOUR_S)
        is_away.clear()
        assert (await run).exit_code == ExitCode.OK
        assert urgent(simulation) == []

    play(tmp_path, work, "a", "b")


def test_a_network_that_was_away_when_the_machine_slept_is_given_its_time(tmp_path: Path) -> None:
    """Trouble before and after the sleep is not trouble all night long."""

    async def work(simulation: Simulation) -> None:
        run = asyncio.ensure_future(done(simulation))
        await asyncio.sleep(30)
        stand_still(8 * HOUR_S)
        assert (await run).exit_code == ExitCode.OK

    script = {"list": [*[""] * 5, *["reset_before"] * 6]}
    play(tmp_path, work, "a", "b", faults=FaultPlan(script=script))


def test_a_pause_that_the_server_asked_for_and_a_sleep_together_make_no_burst(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        run = asyncio.ensure_future(done(simulation))
        for _ in range(5):
            await asyncio.sleep(20)
            stand_still(90)
        assert (await run).exit_code == ExitCode.OK

    play(tmp_path, work, *"abcdefgh", faults=FaultPlan(rate_429=0.1), speed=4.0)


# --- a machine that slept ----------------------------------------------------------------------------------------


def sleep_machine(simulation: Simulation, seconds: float) -> None:
    """Suspended so long, as Linux does it: all clocks go on, the service's too, but for the one that loops run on."""
    simulation.clock._start_wall_s += seconds
    simulation.machine_clock.booted_at_s -= seconds


@pytest.mark.parametrize("slept_s", [400.0, 3 * 24 * HOUR_S])
@pytest.mark.parametrize("after_s", [0.3, 20.0, 70.0])
def test_a_machine_that_slept_goes_on_as_if_nothing_had_been(tmp_path: Path, slept_s: float, after_s: float) -> None:
    async def work(simulation: Simulation) -> None:
        run = asyncio.ensure_future(done(simulation, task_deadline_s=HOUR_S))
        await asyncio.sleep(after_s)
        sleep_machine(simulation, slept_s)
        summary = await run
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 4)
        assert summary.requests.refused == 0, "the token that ran out meanwhile was renewed before it was sent"
        assert urgent(simulation) == []

    play(tmp_path, work, *"abcd")


@pytest.mark.parametrize("slept_s", [20.0, 3 * HOUR_S])
def test_fates_that_are_open_while_the_machine_sleeps_are_settled_after_it(tmp_path: Path, slept_s: float) -> None:
    async def work(simulation: Simulation) -> None:
        run = asyncio.ensure_future(done(simulation))
        await asyncio.sleep(3)
        sleep_machine(simulation, slept_s)
        assert ((await run).exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 2)
        assert urgent(simulation) == []

    account: dict[str, Any] = {"repeat_policy": "second", "visible_after_s": 6.0, "max_concurrent": 4}
    play(tmp_path, work, *"ab", faults=FaultPlan(script={"create": ["lost_answer", "server_error_before"]}), **account)


def test_a_machine_that_slept_for_a_month_in_a_submission_sends_nothing_again(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        run = asyncio.ensure_future(done(simulation))
        await asyncio.sleep(8)
        assert len(simulation.world.tasks) == 1
        sleep_machine(simulation, 31 * 24 * HOUR_S)
        assert ((await run).exit_code, len(simulation.world.tasks)) == (ExitCode.UNRESOLVED, 1)

    faults = FaultPlan(script={"create": ["lost_answer"]})
    play(tmp_path, work, "a", faults=faults, repeat_policy="second", visible_after_s=10.0)


def test_what_a_rolling_budget_counts_grows_old_while_the_machine_sleeps(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        assert (await done(simulation, rolling_budget="2/1d")).exit_code == ExitCode.BUDGET
        sleep_machine(simulation, 23 * HOUR_S)
        assert (await done(simulation, rolling_budget="2/1d")).exit_code == ExitCode.BUDGET
        sleep_machine(simulation, HOUR_S)
        assert (await done(simulation, rolling_budget="2/1d")).exit_code == ExitCode.OK

    play(tmp_path, work, *"abcd")


# --- patience ----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
def test_one_long_gap_alone_never_ends_patience(gaps_s: list[float]) -> None:
    patience, now_s, ends = Patience(300.0, 45.0), 0.0, []
    patience.well()
    for gap_s in gaps_s:
        now_s += gap_s
        ends.append(patience.trouble(now_s))
    assert not any(ends[:2]), "the second trouble ends the first gap, and that alone proves nothing"
    assert ends == sorted(ends), "what is over stays over"


def test_patience_ends_after_its_limit_of_steady_trouble_and_begins_anew_when_something_goes_well() -> None:
    patience = Patience(300.0, 45.0)
    first = [patience.trouble(second) for second in range(0, 60, 5)]
    assert first.index(True) * 5 == 45
    patience.well()
    later = [patience.trouble(1000.0 + second) for second in range(0, 400, 20)]
    assert later.index(True) * 20 == 300
