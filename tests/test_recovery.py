"""What it takes to find out how things stand: after a kill, a lost answer, or an answer that is wrong."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import chain, count, pairwise, repeat
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from death_moments import stride
from sandbox_kit import somebody_elses
from simulation import MachineClock, Scenario, Simulation, simulate
from test_clock import stand_still
from test_run import done, forbid_one_create, lines, notices, play, rows

from batch_runner.errors import DiskError, ExitCode, ManifestError
from batch_runner.events import ItemSubmitted
from batch_runner.folder import while_held
from batch_runner.kling import KlingClient, Trouble
from batch_runner.kling.transport import Answer, Transport
from batch_runner.launch import Launch
from batch_runner.lifecycle import ExternalId
from batch_runner.limits import RateLimitMonitor
from batch_runner.model import Task
from batch_runner.runner.sources import UnusableSourceError, body_to_send
from batch_runner.sandbox import Fault, FaultPlan, SandboxTask, WorldConfig, wire, world
from batch_runner.sandbox.codes import Code, Denied
from batch_runner.sandbox.config import RepeatPolicy
from batch_runner.sandbox.faults import RequestClass
from batch_runner.sandbox.world import World
from batch_runner.schedule import poll_interval_s
from batch_runner.store import Batch, HoldAge, Store

SLOTS = 3
RPM = 60


class Requests(NamedTuple):
    """What the account was asked so far."""

    submits: int
    finds: int
    lists: int

    @classmethod
    def of(cls, simulation: Simulation) -> Requests:
        seen = simulation.sandbox.faults._seen
        return cls(seen[RequestClass.CREATE], seen[RequestClass.QUERY], seen[RequestClass.LIST])

    def since(self, earlier: Requests) -> Requests:
        return Requests(*(now - before for now, before in zip(self, earlier, strict=True)))


class Noting(list[Any]):
    """The events of a run, and the requests there had been at each submission or adoption."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self._simulation = simulation
        self.at_submissions: list[Requests] = []

    def append(self, event: Any) -> None:
        super().append(event)
        if isinstance(event, ItemSubmitted):
            self.at_submissions.append(Requests.of(self._simulation))


def scenario(repeat: RepeatPolicy = "refuse", faults: FaultPlan = FaultPlan(), **config: Any) -> Scenario:  # noqa: B008 - frozen
    account = WorldConfig(**{"max_concurrent": SLOTS, "rpm": RPM, "repeat_policy": repeat, **config})
    prompts = lines(*"abc", model_name="kling-v2-5-turbo")
    return Scenario(slots=SLOTS, rpm=RPM, world=account, faults=faults, lines=prompts)


def after_a_death(tmp_path: Path, start: Scenario, submits: int, work: Callable[[Simulation], Any]) -> None:
    """Let the program die when so many submissions were sent and none was looked for, and go on from there."""
    wanted = Requests(submits, finds=0, lists=1)  # the account is searched before the first submission

    def played(moment: int, play_on: Callable[[Simulation], Any] | None = None) -> Requests:
        async def die(simulation: Simulation) -> Requests:
            await simulation.run(die_at=moment)
            seen = Requests.of(simulation)
            if play_on is not None and seen == wanted:
                await play_on(simulation)
            return seen

        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        told: Requests = simulate(start, folder, die)
        return told

    about = bisect_left(range(2000), submits, lo=1, key=lambda moment: played(moment).submits)
    assert any(played(moment, work) == wanted for moment in range(max(1, about - 8), about + 8))


@pytest.mark.parametrize("fault", ["lost_answer", "reset_before"])
@pytest.mark.parametrize("repeat", ["refuse", "second"])
def test_submissions_whose_answers_were_lost_are_found_with_a_look_each_and_two_more(
    tmp_path: Path, repeat: RepeatPolicy, fault: str
) -> None:
    """Nothing else is under way, so that every request until the last fate is known is the recovery's own."""

    async def work(simulation: Simulation) -> None:
        before = Requests.of(simulation)
        simulation.events = noting = Noting(simulation)
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == SLOTS
        needed = noting.at_submissions[SLOTS - 1].since(before)
        assert needed.submits == (0 if fault == "lost_answer" else SLOTS)
        assert needed.finds + needed.lists <= SLOTS + 2

    start = scenario(repeat, FaultPlan(script={"create": [fault] * SLOTS}))
    after_a_death(tmp_path, start, SLOTS, work)


def test_a_kill_at_any_moment_costs_at_most_a_request_for_each_task_in_flight_and_two_more(tmp_path: Path) -> None:
    """Against an undisturbed run; lists may also be as many more as the longer way home takes at the usual pace."""
    undisturbed: list[Requests] = []

    async def quiet(simulation: Simulation) -> None:
        await done(simulation)
        undisturbed.append(Requests.of(simulation))

    simulate(scenario(), tmp_path, quiet)
    moment = died = 0
    while died == moment:
        moment += stride(35)
        folder = tmp_path / str(moment)
        folder.mkdir()

        async def work(simulation: Simulation, moment: int = moment) -> int:
            await simulation.run(die_at=moment)
            in_flight = simulation.world.in_flight(simulation.clock.wall_s())
            killed_at_s = simulation.clock.wall_s()
            summary = await done(simulation)
            assert summary.exit_code == ExitCode.OK
            extra = Requests.of(simulation).since(undisturbed[0])
            wall_s = simulation.clock.wall_s() - killed_at_s
            usual = undisturbed[0].lists + wall_s / poll_interval_s(RPM, 0.0)
            lists = max(0, Requests.of(simulation).lists - int(usual))
            assert extra.submits + extra.finds + lists <= in_flight + 2, (moment, extra, in_flight)
            return moment if simulation.died else 0

        died = simulate(scenario(), folder, work)
    assert moment > 100, "the moments were counted"


@pytest.mark.parametrize("blind", ["find", "page"])
def test_either_look_alone_saves_a_task_that_the_other_does_not_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blind: str
) -> None:
    """On an account that would make a second task of a used id."""
    monkeypatch.setattr(World, blind, _blind_to_young_tasks(getattr(World, blind)))

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 1

    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer"]}))
    play(tmp_path, work, "a", scenario=start, repeat_policy="second", visible_after_s=6.0)


def _blind_to_young_tasks(look: Callable[..., Any], for_s: float = 60) -> Callable[..., Any]:
    """That look as it was a minute ago, or so long ago."""

    def stale(*args: Any) -> Any:
        return look(*args[:-1], args[-1] - for_s)

    return stale


def test_a_look_in_the_list_before_the_settle_time_is_over_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list shows the task exactly when the settle time is over, and the look by id never does."""
    monkeypatch.setattr(World, "find", lambda *_: None)

    async def work(simulation: Simulation) -> None:
        await simulation.run()
        assert len(simulation.world.tasks) == 1

    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer"]}))
    play(tmp_path, work, "a", scenario=start, repeat_policy="second", visible_after_s=15.0, max_concurrent=2)


@pytest.mark.parametrize("fault", ["server_error_before", "html_200"])
def test_what_no_look_by_id_shows_is_not_believed_absent_while_there_is_no_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """On an account that would make a second task of a used id; as soon as there is a list, it shows the first one."""
    monkeypatch.setattr(World, "find", lambda *_: None)

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert (summary.exit_code, rows(simulation)["i0"]) == (ExitCode.UNRESOLVED, ("unknown", "unresolved"))
        assert len(simulation.world.tasks) == summary.credits["video"].held == 1
        simulation.sandbox.faults.plan = FaultPlan()
        assert (await done(simulation)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 1

    faults = FaultPlan(script={"create": ["lost_answer"], "list": ["", *[fault] * 500]})
    play(tmp_path, work, "a", scenario=Scenario(slots=1, faults=faults), repeat_policy="second", visible_after_s=6.0)


@pytest.mark.parametrize("wrong", [1, 2, 20])
def test_wrong_lists_one_after_the_other_do_not_hide_what_an_edited_line_was_paid_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: int
) -> None:
    """Of an older text of the line only a list can tell; two wrong ones that contradicted each other were believed."""
    answers = ([somebody_elses("text2video")] if left % 2 else [] for left in range(wrong, 0, -1))
    right = World.page

    def page(self: World, kind: str, page_num: int, page_size: int, now_s: float) -> Sequence[SandboxTask]:
        answer = next(answers, None) if page_num == 1 else []
        return right(self, kind, page_num, page_size, now_s) if answer is None else answer

    async def work(simulation: Simulation) -> None:
        assert (await done(simulation)).exit_code == ExitCode.OK
        simulation.lose_store()
        simulation.manifest.write_text(simulation.manifest.read_text(encoding="utf-8").replace('"a"', '"b"'))
        monkeypatch.setattr(World, "page", page)
        if wrong > 6:
            assert (summary := await simulation.run()) is not None
            assert summary.exit_code == ExitCode.STOPPED
            assert "contradict one another" in notices(simulation)
        else:
            with pytest.raises(ManifestError, match="i0"):
                await simulation.run()
        assert len(simulation.world.tasks) == 1

    play(tmp_path, work, "a")


def test_a_list_that_cannot_show_every_task_leaves_it_to_two_looks_by_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every page is full of other people's tasks."""

    def full(self: World, kind: str, page_num: int, page_size: int, now_s: float) -> list[SandboxTask]:
        found = [task for task in self.tasks if task.kind == kind and now_s >= task.ended_at_s]
        theirs = somebody_elses(kind)
        return [*found, *(replace(theirs, task_id=str(number)) for number in range(page_size - len(found)))]

    monkeypatch.setattr(World, "page", full)

    async def work(simulation: Simulation) -> None:
        simulation.sandbox.faults.plan = FaultPlan(script={"create": ["reset_before"]})
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 1

    play(tmp_path, work, "a", scenario=Scenario(slots=1), speed=20.0)


@pytest.mark.parametrize("blind", ["find", "page"])
@pytest.mark.parametrize("put_off", [[], ["rate_429"]], ids=["waits once", "was put off meanwhile"])
def test_what_is_sent_again_after_a_long_wait_for_its_request_is_looked_for_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blind: str, put_off: list[str]
) -> None:
    """The task shows while the last submission waits, on an account that would make a second one of a used id."""
    monkeypatch.setattr(World, blind, _blind_to_young_tasks(getattr(World, blind), for_s=10_000))
    monkeypatch.setattr(RateLimitMonitor, "permit", _slow_for_submission(2 + len(put_off)))

    async def work(simulation: Simulation) -> None:
        await simulation.run()
        assert len(simulation.world.tasks) == 1

    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer", *put_off]}))
    play(tmp_path, work, "a", scenario=start, repeat_policy="second", visible_after_s=45.0)


def _slow_for_submission(number: int) -> Callable[[RateLimitMonitor, str], AbstractAsyncContextManager[float]]:
    """Leave to send a request, which the submission of that number gets a minute late."""
    permits, real = count(1), RateLimitMonitor.permit

    @asynccontextmanager
    async def slow(self: RateLimitMonitor, kind: str) -> AsyncIterator[float]:
        if kind == "submit" and next(permits) == number:
            await asyncio.sleep(60)
        async with real(self, kind) as sent_at:
            yield sent_at

    return slow


@pytest.mark.parametrize("left_behind", [[], [".lock"]], ids=["new", "lost"])
def test_a_run_whose_requests_are_rarer_than_the_settle_time_sends_again_and_ends(
    tmp_path: Path, left_behind: list[str]
) -> None:
    """Every wait for a request is longer than a look is believed for."""

    async def work(simulation: Simulation) -> None:
        for name in left_behind:  # of a run whose state.db is lost
            simulation.output_dir.mkdir()
            (simulation.output_dir / name).touch()
        summary = await simulation.run(die_after_s=3000)
        assert summary is not None
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)

    start = Scenario(slots=1, rpm=1, faults=FaultPlan(script={"create": ["reset_before"]}))
    play(tmp_path, work, "a", scenario=start)


def test_an_answer_with_another_items_task_is_never_taken_for_the_items_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy hands out the answer to the first create once more; the body does not repeat our id."""
    first: list[dict[str, Any]] = []

    def created(task: SandboxTask, now_s: float) -> dict[str, Any]:
        data: dict[str, Any] = {"task_id": task.task_id, "task_status": "submitted", "task_info": {}}
        first.append(data)
        return first[0] if len(first) == 2 else data

    monkeypatch.setattr(wire, "created", created)

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 3

    play(tmp_path, work, "a", "b", "c", scenario=Scenario(slots=2))


@pytest.mark.parametrize("is_known", [True, False])
def test_a_stale_answer_about_a_finished_task_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_known: bool
) -> None:
    """The first item is long finished when its answer is given to the second; of another folder's only a list tells."""
    first: list[dict[str, Any]] = []

    def created(task: SandboxTask, now_s: float) -> dict[str, Any]:
        data: dict[str, Any] = {"task_id": task.task_id, "task_status": "submitted", "task_info": {}}
        first.append(data)
        return first[0]

    monkeypatch.setattr(wire, "created", created)

    async def work(simulation: Simulation) -> None:
        both = simulation.manifest.read_text(encoding="utf-8").splitlines(keepends=True)
        for number, line in enumerate(both):
            simulation.manifest.write_text(line, encoding="utf-8")
            summary = await simulation.run()
            assert summary is not None
            assert summary.exit_code == ExitCode.OK
            if not number and not is_known:
                simulation.output_dir = simulation.folder / "another"
        assert len(simulation.world.tasks) == 2
        assert "another item's" in notices(simulation)
        assert simulation.results()[0]["task_id"] == simulation.world.tasks[1].task_id

    play(tmp_path, work, "a", "b", scenario=Scenario(slots=1), visible_after_s=6.0)


def refuse_tokens(monkeypatch: pytest.MonkeyPatch, is_refused: Callable[[int], bool]) -> Iterator[int]:
    """The token of some submissions is refused, by their number from 1; returns the numbers still to come."""
    exchange, posts = Transport.exchange, count(1)
    refused = Answer(401, {}, b'{"code": 1004, "message": "expired"}')

    async def exchanged(self: Transport, method: str, *args: Any) -> Answer:
        return refused if method == "POST" and is_refused(next(posts)) else await exchange(self, method, *args)

    monkeypatch.setattr(Transport, "exchange", exchanged)
    return posts


def test_a_second_sending_whose_token_is_refused_is_looked_for_again_before_it_goes_out_with_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new request waits a minute for its turn, in which the first sending's task shows."""
    posts = refuse_tokens(monkeypatch, lambda post: post == 2)

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)
        assert next(posts) > 2, "a token was refused"

    monkeypatch.setattr(RateLimitMonitor, "permit", _slow_for_submission(3))
    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer"]}))
    play(tmp_path, work, "a", scenario=start, repeat_policy="second", visible_after_s=45.0, max_concurrent=2)


def test_a_service_that_refuses_every_token_of_a_second_sending_ends_submitting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its questions are answered, and every request waits longer than a look is believed for."""
    refuse_tokens(monkeypatch, lambda post: post > 1)

    async def work(simulation: Simulation) -> None:
        summary = await simulation.run(die_after_s=3000)
        assert summary is not None
        assert (summary.exit_code, rows(simulation)["i0"]) == (ExitCode.ACCOUNT, ("unknown", "unresolved"))

    start = Scenario(slots=1, rpm=1, faults=FaultPlan(script={"create": ["reset_before"]}))
    play(tmp_path, work, "a", scenario=start)


def test_another_questions_not_found_is_not_believed_of_a_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first list after the settle time is an old one, and the question by id is answered with another's answer."""
    others = iter([str(ExternalId.of("batch", "i1", 1, "f" * 64))])
    lists: Iterator[bool] = repeat(True)
    page, exchange = World.page, Transport.exchange

    def old(self: World, kind: str, page_num: int, page_size: int, now_s: float) -> Sequence[SandboxTask]:
        return page(self, kind, page_num, page_size, now_s if next(lists) else 0.0)

    async def exchanged(self: Transport, method: str, path: str, *args: Any) -> Answer:
        of_a_task, slash, asked = path.rpartition("/text2video/")
        return await exchange(self, method, f"{of_a_task}{slash}{next(others, asked) if slash else asked}", *args)

    async def work(simulation: Simulation) -> None:
        nonlocal lists
        assert await simulation.run(die_after_s=5) is None
        lists = chain([False, False], repeat(True))
        summary = await done(simulation)
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)
        assert next(others, None) is None, "one question was answered wrongly"

    monkeypatch.setattr(World, "page", old)
    monkeypatch.setattr(Transport, "exchange", exchanged)
    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer"]}))
    play(tmp_path, work, "a", scenario=start, repeat_policy="second", visible_after_s=6.0, max_concurrent=2)


def test_a_refusal_of_a_second_sending_is_no_word_about_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task becomes visible late, and the server says "exists" in words that nobody has heard."""
    strange = Denied(Code.BAD_VALUE, "this identifier was taken before")
    monkeypatch.setattr(world, "already_exists", lambda _: strange)

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert (summary.exit_code, rows(simulation)["i0"]) == (ExitCode.OK, ("succeeded", None))
        assert len(simulation.world.tasks) == 1

    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer"]}))
    play(tmp_path, work, "a", scenario=start, visible_after_s=20.0)


def test_a_second_sending_that_finds_the_pack_empty_withdraws_nothing_of_the_first_one(tmp_path: Path) -> None:
    """The task that took the last credits becomes visible late, on an account that makes a second one of a used id."""

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert simulation.world.refusals[1102] == 1
        assert (summary.exit_code, rows(simulation)["i0"]) == (ExitCode.OK, ("succeeded", None))
        assert summary.credits["video"].consumed == len(simulation.world.tasks) == 1

    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer"]}))
    options = {"repeat_policy": "second", "visible_after_s": 20.0, "pack_credits": Decimal(1)}
    play(tmp_path, work, "a", scenario=start, **options)


def test_what_shows_while_its_second_sending_waits_is_not_withdrawn_when_the_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RateLimitMonitor, "permit", _slow_for_submission(3))

    async def work(simulation: Simulation) -> None:
        summary = await simulation.run(max_runtime_s=65)
        assert summary is not None
        assert rows(simulation)["i0"] == ("pending", "stopped")
        assert summary.credits["video"].held == 1
        again = await done(simulation)
        assert (again.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)

    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer", "rate_429"]}))
    play(tmp_path, work, "a", scenario=start, repeat_policy="second", visible_after_s=45.0)


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_a_second_sending_that_an_ended_run_was_put_off_with_is_looked_for_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Its first one's task shows only then, on an account that makes a second one of a used id."""
    monkeypatch.setattr(RateLimitMonitor, "permit", _slow_for_submission(3))

    async def work(simulation: Simulation) -> None:
        await (simulation.run(die_after_s=40) if end == "killed" else simulation.run(max_runtime_s=40))
        assert simulation.sandbox.faults.injected == {Fault.LOST_ANSWER: 1, Fault.RATE_429: 1}
        await asyncio.sleep(60)
        again = await done(simulation)
        assert (again.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)

    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer", "rate_429"]}))
    play(tmp_path, work, "a", scenario=start, repeat_policy="second", visible_after_s=90.0)


def test_a_stop_does_not_wait_once_a_second_sending_that_was_put_off_is_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RateLimitMonitor, "permit", _slow_for_submission(3))

    async def work(simulation: Simulation) -> None:
        began_s = simulation.clock.wall_s()
        await done(simulation, max_runtime_s=25)
        assert simulation.clock.wall_s() - began_s < 27
        assert simulation.sandbox.faults.injected == {Fault.LOST_ANSWER: 1, Fault.RATE_429: 1}
        assert rows(simulation)["i0"][0] == "unknown"

    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer", "rate_429"]}))
    play(tmp_path, work, "a", scenario=start, visible_after_s=90.0)


def test_a_second_sending_of_what_was_given_up_comes_to_its_end_when_all_else_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody told of the first one for so long that the run no longer waited for it; then its absence is told."""
    exchange, find, creates = Transport.exchange, KlingClient.find, count(1)

    async def work(simulation: Simulation) -> None:
        async def silent_at_first(self: KlingClient, *args: Any, **named: Any) -> Task | None:
            if named.get("by_external_id") and "does not tell the fate" not in notices(simulation):
                raise Trouble("nothing came")
            return await find(self, *args, **named)

        async def slow(self: Transport, method: str, *args: Any) -> Answer:
            if method == "POST" and next(creates) == 3:
                while not (simulation.batch_dir / "i1.mp4").exists():  # noqa: ASYNC110 - a file is no event
                    await asyncio.sleep(1)
                await asyncio.sleep(10)
            return await exchange(self, method, *args)

        monkeypatch.setattr(KlingClient, "find", silent_at_first)
        monkeypatch.setattr(Transport, "exchange", slow)
        summary = await done(simulation)
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 2)

    start = Scenario(slots=2, faults=FaultPlan(script={"create": ["reset_before"]}))
    play(tmp_path, work, "a", "[sandbox:slow]", scenario=start)


@pytest.mark.parametrize("end", ["killed", "stopped"])
@pytest.mark.parametrize("becomes", ["removed", "edited"])
def test_a_second_sending_that_an_ended_run_was_put_off_with_is_not_forgotten_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, becomes: str, end: str
) -> None:
    """Its first one's task shows only after the run, as on an account that is slow to list what it made."""
    permit = RateLimitMonitor.permit
    monkeypatch.setattr(RateLimitMonitor, "permit", _slow_for_submission(3))

    async def work(simulation: Simulation) -> None:
        await (simulation.run(die_after_s=40) if end == "killed" else simulation.run(max_runtime_s=40))
        assert simulation.sandbox.faults.injected == {Fault.LOST_ANSWER: 1, Fault.RATE_429: 1}
        await asyncio.sleep(60)
        monkeypatch.setattr(RateLimitMonitor, "permit", permit)
        left = lines("a, but in red", "b")[becomes == "removed" :]
        simulation.manifest.write_text("\n".join(left), encoding="utf-8")
        if becomes == "edited":
            with pytest.raises(ManifestError, match=r"i0.*edited"):
                await simulation.run()
            assert len(simulation.world.tasks) == 1
            return
        summary = await done(simulation, task_settle_s=100)
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 2)
        assert (simulation.output_dir / "batch" / "i0.mp4").exists()

    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer", "rate_429"]}))
    play(tmp_path, work, "a", "b", scenario=start, visible_after_s=90.0)


def test_a_submission_that_never_arrived_is_not_sent_for_a_line_that_left_but_when_it_comes_back(
    tmp_path: Path,
) -> None:
    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=10) is None
        simulation.manifest.write_text("\n".join(lines("a", "b")[1:]), encoding="utf-8")
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.OK
        assert summary.credits["video"].held == 0
        assert [task.body["prompt"] for task in simulation.world.tasks] == ["b"]
        assert "i0: its line left the manifest" in notices(simulation)
        simulation.manifest.write_text("\n".join(lines("a", "b")), encoding="utf-8")
        again = await done(simulation)
        assert (again.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 2)

    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["reset_before"]}))
    play(tmp_path, work, "a", "b", scenario=start)


def test_what_a_line_that_left_was_paid_for_is_looked_for_for_long(tmp_path: Path) -> None:
    """No second sending tells of it, so that the settle time alone does not show that there is no task."""

    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=10) is None
        simulation.manifest.write_text(lines(*prompts)[1], encoding="utf-8")
        summary = await done(simulation)
        assert (summary.items.total, summary.items.failed) == (1, 1)
        assert (simulation.output_dir / "batch" / "i0.mp4").exists()

    prompts = ("a", "[sandbox:policy]")
    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer"]}))
    play(tmp_path, work, *prompts, scenario=start, visible_after_s=90.0)


def test_a_second_sending_that_is_refused_for_the_items_own_sake_fails_it(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert (summary.exit_code, rows(simulation)["i0"]) == (ExitCode.ITEMS_FAILED, ("failed", "policy"))
        assert summary.credits["video"].held == 0

    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["reset_before"]}))
    play(tmp_path, work, "[sandbox:policy]", scenario=start)


@pytest.mark.parametrize("visible_after_s", [20.0, 90.0])
@pytest.mark.parametrize("is_made", [True, False])
def test_what_something_on_the_way_turned_away_is_looked_for_for_long_before_it_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, visible_after_s: float, is_made: bool
) -> None:
    """No second sending tells of the first one, which the proxy may have passed on."""
    forbid_one_create(monkeypatch, 404, is_made=is_made)

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert rows(simulation)["i0"] == (("succeeded", None) if is_made else ("failed", "rejected"))
        assert summary.credits["video"].held == 0
        assert len(simulation.world.tasks) == is_made

    play(tmp_path, work, "a", scenario=Scenario(slots=1), visible_after_s=visible_after_s)


@pytest.mark.parametrize(
    ("creates", "row"),
    [
        (["lost_answer"], ("succeeded", None)),
        (["lost_answer", "rate_429"], ("succeeded", None)),
        (["reset_before"], ("failed", "source")),
    ],
)
def test_what_cannot_be_sent_again_for_want_of_its_source_is_looked_for_for_long_before_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, creates: list[str], row: tuple[str, str | None]
) -> None:
    """The task of its first sending becomes visible only when its second one could not be put together."""
    sendings = count(1)

    async def body_once(*args: Any) -> dict[str, Any]:
        if next(sendings) > len(creates):
            raise UnusableSourceError("source", "its source is gone")
        return await body_to_send(*args)

    monkeypatch.setattr("batch_runner.runner.run.body_to_send", body_once)

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert rows(simulation)["i0"] == row
        assert summary.credits["video"].held == 0
        assert len(simulation.world.tasks) == (row[0] == "succeeded")

    start = Scenario(slots=1, faults=FaultPlan(script={"create": creates}))
    play(tmp_path, work, "a", scenario=start, visible_after_s=90.0)


def test_an_accepted_task_is_given_the_settle_time_to_become_visible(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation, task_settle_s=60)
        assert summary.exit_code == ExitCode.OK

    play(tmp_path, work, "a", scenario=Scenario(slots=1), visible_after_s=40.0)


@pytest.mark.parametrize("line_count", [4, 1], ids=["lowered", "removed"])
def test_attempts_that_a_killed_run_never_sent_keep_to_the_next_runs_limit_and_lines(
    tmp_path: Path, line_count: int
) -> None:
    """They waited at a full account; the next run may submit one at a time, or three lines are gone."""

    async def work(simulation: Simulation) -> None:
        for number in range(4):
            body = {"prompt": "theirs", "external_task_id": f"foreign-{number}"}
            simulation.world.create("text2video", body, simulation.clock.wall_s())
        assert await simulation.run(die_after_s=12) is None
        assert not simulation.tasks
        await asyncio.sleep(3000)
        simulation.manifest.write_text("\n".join(prompts[:line_count]), encoding="utf-8")
        summary = await done(simulation, max_concurrent=1)
        tasks = sorted(simulation.tasks, key=lambda task: task.created_at_s)
        assert (summary.exit_code, summary.items.succeeded, len(tasks)) == (ExitCode.OK, line_count, line_count)
        assert all(task.ended_at_s <= later.created_at_s for task, later in pairwise(tasks))

    prompts = lines(*"abcd", model_name="kling-v2-5-turbo")
    account = WorldConfig(max_concurrent=4, rpm=RPM)
    simulate(Scenario(slots=4, rpm=RPM, world=account, lines=prompts), tmp_path, work)


@pytest.mark.parametrize("budget", [0, 2])
def test_attempts_that_a_killed_run_never_sent_keep_to_the_next_runs_budget(tmp_path: Path, budget: int) -> None:
    async def work(simulation: Simulation) -> None:
        for number in range(3):
            body = {"prompt": "theirs", "external_task_id": f"foreign-{number}"}
            simulation.world.create("text2video", body, simulation.clock.wall_s())
        assert await simulation.run(die_after_s=12, budget={"video": 100}) is None
        assert not simulation.tasks
        summary = await done(simulation, budget={"video": budget})
        assert (summary.exit_code, summary.items.pending) == (ExitCode.BUDGET, 3 - budget)
        assert len(simulation.tasks) == summary.credits["video"].consumed == budget
        assert summary.credits["video"].held == 0

    start = Scenario(slots=3, rpm=RPM, world=WorldConfig(max_concurrent=3, rpm=RPM), lines=lines(*"abc"))
    simulate(start, tmp_path, work)


@pytest.mark.parametrize("repeat_policy", ["refuse", "same"])
def test_an_old_copy_of_the_store_pays_nothing_again_where_used_ids_are_refused_or_answered(
    tmp_path: Path, repeat_policy: RepeatPolicy
) -> None:
    async def work(simulation: Simulation) -> None:
        await done(simulation, budget={"video": 1})
        copy = (simulation.output_dir / "state.db").read_bytes()
        await done(simulation)
        files = {path: path.read_bytes() for path in simulation.output_dir.glob("batch/*.mp4")}
        simulation.lose_store()
        (simulation.output_dir / "state.db").write_bytes(copy)
        await asyncio.sleep(90)  # the copy knows nothing of the last minute's requests
        summary = await done(simulation)
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 3)
        assert {path: path.read_bytes() for path in files} == files

    play(tmp_path, work, "a", "b", "c", repeat_policy=repeat_policy)


PURGED_S = 31 * 86_400.0


def rebooted(clock: MachineClock) -> None:
    clock.boots += 1


def set_back(clock: MachineClock) -> None:
    clock.offset_s -= 20 * 86_400.0


@pytest.mark.parametrize("meanwhile", [lambda _: None, rebooted, set_back], ids=["untouched", "rebooted", "set back"])
def test_what_was_sent_so_long_ago_that_its_task_may_be_purged_is_not_sent_again_unasked(
    tmp_path: Path, meanwhile: Callable[[MachineClock], None]
) -> None:
    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=8) is None
        assert len(simulation.world.tasks) == 1
        await asyncio.sleep(PURGED_S)
        meanwhile(simulation.machine_clock)
        summary = await done(simulation)
        assert (summary.exit_code, rows(simulation)["i0"]) == (ExitCode.UNRESOLVED, ("unknown", "unresolved"))
        assert len(simulation.world.tasks) == summary.credits["video"].held == 1
        assert "--repeat-lost" in notices(simulation)
        again = await simulation.run(repeat_lost=True)
        assert again is not None
        assert (again.exit_code, rows(simulation)["i0"]) == (ExitCode.OK, ("succeeded", None))
        assert len(simulation.world.tasks) == again.credits["video"].consumed == 2

    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer"]}))
    play(tmp_path, work, "a", scenario=start, repeat_policy="second", visible_after_s=10.0)


def test_what_costs_nothing_is_as_old_as_anything_else(tmp_path: Path) -> None:
    """Its hold had no age, so its slot was kept for ever, and no word of a person's let it go."""
    free = json.dumps({"id": "free", "prompt": "a", "credits": 0})

    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=20) is None
        assert len(simulation.world.tasks) == 1
        await asyncio.sleep(PURGED_S)
        assert (await done(simulation)).exit_code == ExitCode.UNRESOLVED
        assert rows(simulation) == {"free": ("unknown", "unresolved"), "i0": ("succeeded", None)}
        again = await simulation.run(repeat_lost=True)
        assert again is not None
        assert again.exit_code == ExitCode.OK

    simulate(Scenario(slots=1, lines=(free, *lines("b"))), tmp_path, work)


@pytest.mark.parametrize("fault", ["reset_before", "lost_answer"], ids=["never made", "made"])
def test_what_a_clock_set_back_over_a_reboot_hides_is_settled_once_the_clock_is_right(
    tmp_path: Path, fault: str
) -> None:
    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=8) is None
        rebooted(simulation.machine_clock)
        simulation.machine_clock.offset_s = -25 * 3600.0
        summary = await done(simulation)
        if fault == "reset_before":
            assert (summary.exit_code, rows(simulation)["i0"]) == (ExitCode.UNRESOLVED, ("unknown", "unresolved"))
            assert "set the clock right" in notices(simulation)
            assert "so long ago" not in notices(simulation)
            simulation.machine_clock.offset_s = 0.0
            summary = await done(simulation)
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)
        assert summary.credits["video"].consumed == 1

    start = Scenario(slots=1, faults=FaultPlan(script={"create": [fault]}))
    play(tmp_path, work, "a", scenario=start, repeat_policy="second")


def test_of_a_purged_task_a_clock_set_back_over_a_reboot_says_only_that_it_is_wrong(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=20) is None
        await asyncio.sleep(PURGED_S)
        rebooted(simulation.machine_clock)
        simulation.machine_clock.offset_s = -40 * 86_400.0
        assert (await done(simulation)).exit_code == ExitCode.UNRESOLVED
        assert "set the clock right" in notices(simulation)
        assert "older than Kling keeps tasks" not in notices(simulation)
        simulation.machine_clock.offset_s = 0.0
        assert (await done(simulation)).exit_code == ExitCode.UNRESOLVED
        assert "older than Kling keeps tasks" in notices(simulation)

    play(tmp_path, work, "a", scenario=Scenario(slots=1))


def test_what_was_sent_shortly_before_it_could_be_purged_is_found(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=8) is None
        await asyncio.sleep(28 * 86_400.0)
        summary = await done(simulation)
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)

    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer"]}))
    play(tmp_path, work, "a", scenario=start, visible_after_s=10.0)


def test_a_task_in_flight_that_was_purged_is_unknown_and_not_overdue_and_made_again_when_asked(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=20) is None
        await asyncio.sleep(PURGED_S)
        summary = await done(simulation)
        assert (summary.exit_code, rows(simulation)["i0"]) == (ExitCode.UNRESOLVED, ("unknown", "unresolved"))
        assert "overdue" not in notices(simulation)
        assert "--repeat-lost" in notices(simulation)
        assert len(simulation.world.tasks) == 1
        again = await simulation.run(repeat_lost=True)
        assert again is not None
        assert (again.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 2)
        assert again.credits["video"].consumed == 2

    play(tmp_path, work, "a", scenario=Scenario(slots=1))


def test_a_purged_task_is_counted_as_paid_under_its_id_in_the_first_run_that_is_told_to(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=20) is None
        await asyncio.sleep(PURGED_S)
        summary = await simulation.run(repeat_lost=True)
        assert summary is not None
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 2)
        charged = {entry["task_id"] for entry in simulation.ledger() if entry["entry"] == "charge"}
        assert charged == {task.task_id for task in simulation.world.tasks}

    play(tmp_path, work, "a", scenario=Scenario(slots=1))


@pytest.mark.parametrize("die_after_s", [8, 20], ids=["sent", "in flight"])
def test_what_was_purged_holds_no_slot_and_keeps_nobody_waiting(tmp_path: Path, die_after_s: float) -> None:
    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=die_after_s) is None
        assert len(simulation.world.tasks) == 2
        await asyncio.sleep(PURGED_S)
        summary = await done(simulation)
        assert (summary.exit_code, summary.items.unknown, summary.items.succeeded) == (ExitCode.UNRESOLVED, 2, 2)
        assert summary.credits["video"].held == 2

    start = Scenario(slots=2, faults=FaultPlan(script={"create": ["lost_answer"] * 2}))
    play(tmp_path, work, *"abcd", scenario=start, visible_after_s=10.0)


@pytest.mark.parametrize("shift_s", [0.0, -40 * 86_400.0], ids=["right", "set back"])
def test_a_process_that_stood_still_for_a_month_in_a_submission_sends_nothing_again(
    tmp_path: Path, shift_s: float
) -> None:
    async def sleep_for_a_month(simulation: Simulation) -> None:
        await asyncio.sleep(8)
        assert len(simulation.world.tasks) == 1
        stand_still(PURGED_S)
        simulation.machine_clock.offset_s += shift_s

    async def work(simulation: Simulation) -> None:
        sleep = asyncio.ensure_future(sleep_for_a_month(simulation))
        summary = await done(simulation)
        await sleep
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.UNRESOLVED, 1)

    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer"]}))
    play(tmp_path, work, "a", scenario=start, repeat_policy="second", visible_after_s=10.0)


def test_what_waited_unsent_for_a_month_is_as_young_as_its_first_submission(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=0.5) is None
        assert not simulation.world.tasks
        await asyncio.sleep(PURGED_S)
        assert await simulation.run(die_after_s=8) is None
        summary = await done(simulation)
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)
        assert summary.credits["video"].consumed == 1

    start = Scenario(slots=1, faults=FaultPlan(script={"create": ["rate_429", "reset_before"]}))
    play(tmp_path, work, "a", scenario=start)


def test_the_age_of_a_hold_is_what_the_clock_that_says_more_tells() -> None:
    assert HoldAge(5.0, 7.0).longest_s == 7.0
    assert HoldAge(5.0, -9e9).longest_s == 5.0
    assert HoldAge(None, -60.0).longest_s == -60.0
    assert HoldAge(None, -90_000.0).longest_s == float("inf"), "after a reboot nothing else tells it"


@pytest.mark.parametrize("gone", [".lock", "state.db", ""], ids=["lock", "store", "folder"])
def test_a_run_whose_folder_is_taken_from_under_it_submits_no_more_and_the_next_one_finds_what_was_made(
    tmp_path: Path, gone: str
) -> None:
    async def work(simulation: Simulation) -> None:
        running = asyncio.ensure_future(simulation.run())
        await asyncio.sleep(50)
        if gone:
            (simulation.output_dir / gone).unlink()
        else:
            shutil.rmtree(simulation.output_dir)
        summary = await running
        assert summary is not None
        assert summary.exit_code == ExitCode.DISK
        assert "was removed or replaced under the run" in notices(simulation)
        assert 0 < len(simulation.world.tasks) < 4
        await asyncio.sleep(60)  # for with the store the requests of the last minute are forgotten
        again = await done(simulation)
        assert (again.exit_code, again.items.succeeded, len(simulation.world.tasks)) == (ExitCode.OK, 4, 4)

    play(tmp_path, work, *"abcd", scenario=Scenario(slots=1))


@pytest.mark.parametrize("gone", [".lock", "state.db"])
def test_what_waited_for_its_request_while_the_folder_was_taken_away_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    monkeypatch.setattr(RateLimitMonitor, "permit", _slow_for_submission(1))

    async def work(simulation: Simulation) -> None:
        running = asyncio.ensure_future(simulation.run())
        await asyncio.sleep(30)
        (simulation.output_dir / gone).unlink()
        summary = await running
        assert summary is not None
        assert (summary.exit_code, summary.items.pending, len(simulation.world.tasks)) == (ExitCode.DISK, 1, 0)
        assert f"{gone} was removed or replaced under the run" in notices(simulation)
        again = await done(simulation)
        assert (again.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)

    play(tmp_path, work, "a", scenario=Scenario(slots=1))


def test_a_folder_that_another_run_took_while_the_manifest_was_read_is_not_taken_for_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Launch.load

    async def load_and_lose(launch: Launch, store: Store) -> Batch:
        batch, others = await load(launch, store), launch.settings.output_dir / "others"
        others.touch()
        others.replace(others.with_name(".lock"))
        return batch

    monkeypatch.setattr(Launch, "load", load_and_lose)

    async def work(simulation: Simulation) -> None:
        summary = await simulation.run()
        assert summary is not None
        assert (summary.exit_code, summary.items.pending, len(simulation.world.tasks)) == (ExitCode.DISK, 1, 0)
        assert ".lock was removed or replaced under the run" in notices(simulation)

    play(tmp_path, work, "a", scenario=Scenario(slots=1))


def test_a_lock_that_was_gone_before_the_run_came_to_submit_is_missed_too(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    with pytest.raises(DiskError, match=r"\.lock was removed"):
        while_held(tmp_path, lambda _: 1)(tmp_path)
    (tmp_path / ".lock").touch()
    assert while_held(tmp_path, lambda _: 1)(tmp_path) == 1
