"""What a run does when something particular happens; the whole program, the sandbox, virtual time."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import traceback
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from simulation import Scenario, Simulation, audit, simulate

from batch_runner import looking
from batch_runner.errors import (
    AccountError,
    BatchRunnerError,
    DiskError,
    ExitCode,
    ManifestError,
    NotDurableError,
    OutputFolderLockedError,
    StoppedError,
)
from batch_runner.events import BatchFinished, ItemSubmitted, Notice
from batch_runner.kling import KlingClient
from batch_runner.kling.transport import Answer, Transport
from batch_runner.lifecycle import Event, ExternalId, State
from batch_runner.limits import TaskLimiter
from batch_runner.model import Realm, Task, TaskStatus
from batch_runner.planning import plan
from batch_runner.records import ItemCounts, SummaryRecord
from batch_runner.reporting import report
from batch_runner.runner import Halt
from batch_runner.runner.run import exit_code
from batch_runner.sandbox import FaultPlan, SandboxTask, WorldConfig, wire
from batch_runner.sandbox.world import World
from batch_runner.settings import resolve
from batch_runner.store import SqliteStore
from batch_runner.store.connection import FullStoreError

Work = Callable[[Simulation], Coroutine[Any, Any, None]]


LOSSES = [
    *("lost_answer", "reset_before", "server_error_before", "server_error_after", "html_200", "cut_answer"),
    "other_answer",
]
SPOILS = ["cut_download", "html_download", "range_ignored", "etag_changed", "expired_link", "reset_before", "slow"]


def lines(*prompts: str, **fields: object) -> tuple[str, ...]:
    return tuple(json.dumps({"id": f"i{number}", "prompt": prompt, **fields}) for number, prompt in enumerate(prompts))


def play(tmp_path: Path, work: Work, *prompts: str, scenario: Scenario | None = None, **world: object) -> None:
    base = scenario or Scenario(slots=2)
    config = WorldConfig(**{"max_concurrent": base.slots, "rpm": base.rpm, **world})  # type: ignore[arg-type]  # named in each test
    simulate(replace(base, world=config, lines=lines(*prompts)), tmp_path, work)


async def done(simulation: Simulation, **options: Any) -> SummaryRecord:
    summary = await simulation.run(**options)
    assert summary is not None
    audit(simulation, summary)
    return summary


def notices(simulation: Simulation) -> str:
    return "\n".join(event.text for event in simulation.events if isinstance(event, Notice))


def rows(simulation: Simulation) -> dict[str, tuple[str, str | None]]:
    return {row["id"]: (row["status"], row["reason"]) for row in simulation.results()}


def test_every_kind_of_failure_is_told_by_its_reason(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.ITEMS_FAILED
        assert rows(simulation) == {
            "i0": ("succeeded", None),
            "i1": ("failed", "generation"),
            "i2": ("failed", "policy"),
            "i3": ("failed", "policy"),
        }
        assert summary.credits["video"].consumed == 1
        again = await done(simulation)
        assert again == summary, "a failed item is not tried again unless asked"
        retried = await done(simulation, retry_failed=True)
        assert retried.exit_code == ExitCode.ITEMS_FAILED
        assert [row["attempts"] for row in simulation.results()] == [1, 2, 2, 2]

    play(tmp_path, work, "good", "[sandbox:fail]", "[sandbox:policy]", "[sandbox:late-policy]")


def test_transient_failures_are_tried_again_only_within_max_attempts(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await done(simulation, max_attempts=3)
        attempts = {row["id"]: row["attempts"] for row in simulation.results()}
        transient = {
            row["id"] for row in simulation.results() if "pixel" not in (row["error"] or {}).get("message", "")
        }
        assert attempts["i1"] == 1, "policy is not transient"
        assert attempts["i0"] == (3 if "i0" in transient else 1)
        assert len(simulation.world.tasks) == sum(attempts.values())

    play(tmp_path, work, "[sandbox:fail]", "[sandbox:late-policy]")


def test_the_budget_is_kept_to_the_last_credit(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation, budget={"video": "2.5"})
        assert summary.exit_code == ExitCode.BUDGET
        assert summary.credits["video"].consumed == 2
        assert sorted(status for status, _ in rows(simulation).values()) == ["pending"] * 2 + ["succeeded"] * 2
        assert [reason for status, reason in rows(simulation).values() if status == "pending"] == ["budget"] * 2
        more = await done(simulation, budget={"video": 4})
        assert more.exit_code == ExitCode.OK
        assert more.credits["video"].available == 0

    play(tmp_path, work, "a", "b", "c", "d")


def test_a_failed_item_gives_its_credits_to_the_next(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation, budget={"video": 1})
        assert rows(simulation)["i1"] == ("succeeded", None)
        assert summary.exit_code == ExitCode.ITEMS_FAILED

    play(tmp_path, work, "[sandbox:fail]", "b")


def test_an_empty_pack_stops_submitting_and_finishes_what_runs(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.ACCOUNT
        assert summary.items.succeeded == 2
        assert summary.items.failed == 0
        assert [reason for status, reason in rows(simulation).values() if status == "pending"] == ["account"] * 3
        assert simulation.world.refusals[1102] <= 2, "nothing is asked again and again"
        assert "1102" in notices(simulation)

    play(tmp_path, work, "a", "b", "c", "d", "e", pack_credits=Decimal(2))


def test_a_pack_that_is_still_empty_at_the_next_start_leaves_the_rest_pending_and_holds_nothing(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        for _ in range(3):
            summary = await done(simulation)
            assert (summary.exit_code, rows(simulation)["i1"]) == (ExitCode.ACCOUNT, ("pending", "account"))
            assert summary.credits["video"].held == 0

    play(tmp_path, work, "a", "b", pack_credits=Decimal(1), scenario=Scenario(slots=1))


def test_what_is_in_flight_when_the_time_is_over_is_not_left_for_the_empty_pack(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation, max_runtime_s=30.0)
        assert summary.exit_code == ExitCode.ACCOUNT
        assert rows(simulation) == {
            "i0": ("pending", "stopped"),
            "i1": ("pending", "account"),
            "i2": ("pending", "account"),
        }

    play(tmp_path, work, "a", "b", "c", pack_credits=Decimal(1))


def test_wrong_keys_end_the_run_at_once(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        simulation.environ["KLING_SECRET_KEY"] = "x" * 40
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.ACCOUNT
        assert rows(simulation) == {"i0": ("pending", "account"), "i1": ("pending", "account")}
        assert len(simulation.world.request_stamps) <= 2

    play(tmp_path, work, "a", "b")


def test_no_keys_is_told_with_both_ways_on(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        with pytest.raises(AccountError, match="--sandbox"):
            await simulation.run(environ={"HOME": str(tmp_path)})

    play(tmp_path, work, "a")


def test_slots_of_other_programs_are_waited_for_without_using_up_attempts(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        now = simulation.clock.wall_s()
        for number in range(2):
            body = {"prompt": "theirs", "external_task_id": f"foreign-{number}"}
            World.create(simulation.world, "text2video", body, now)
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.OK
        assert {row["attempts"] for row in simulation.results()} == {1}
        waited_s = max(task.ended_at_s for task in simulation.world.tasks[:2]) - now
        assert simulation.world.refusals[1303] <= 2 + waited_s / 5, "probes are 5 to 20 s apart"
        assert summary.requests.refused == simulation.world.refusals[1303]

    play(tmp_path, work, "a", "b", "c")


def test_a_service_that_puts_every_submission_off_is_told_once_and_left_in_the_end(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        before_s = simulation.clock.wall_s()
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.STOPPED
        assert 7200 <= simulation.clock.wall_s() - before_s < 7200 + 600
        assert set(rows(simulation).values()) == {("pending", "stopped")}
        told = notices(simulation)
        assert told.count("the service puts submissions off (Kling: requests come too fast") == 1
        assert told.count("the service has put every submission off for 2 hours (Kling: requests come too fast") == 1
        assert simulation.world.tasks == []
        assert (await done(simulation)).exit_code == ExitCode.OK

    script = {"create": ["rate_429"] * 340}
    play(tmp_path, work, "a", "b", scenario=Scenario(slots=2, faults=FaultPlan(script=script)))


def test_a_soft_rate_limit_pauses_the_whole_run_as_long_as_asked(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.OK
        assert summary.requests.refused == 3

    script = {"create": ["rate_429", "", "rate_429"], "list": ["rate_429"]}
    play(tmp_path, work, "a", "b", scenario=Scenario(slots=2, faults=FaultPlan(script=script)))


@pytest.mark.parametrize("fault", LOSSES)
@pytest.mark.parametrize("repeat", ["refuse", "same", "second"])
def test_a_create_without_a_clear_answer_never_pays_twice(tmp_path: Path, fault: str, repeat: str) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 2

    scenario = Scenario(slots=2, faults=FaultPlan(script={"create": [fault, fault]}))
    # The account has room for a second task of each: a full one would refuse what must not be sent.
    account: dict[str, Any] = {"repeat_policy": repeat, "visible_after_s": 6.0, "max_concurrent": 4}
    play(tmp_path, work, "a", "b", scenario=scenario, **account)


def test_an_answer_that_another_submission_got_is_not_adopted(tmp_path: Path) -> None:
    """One slot: the first task has ended and is no longer followed when its answer comes once more."""

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.OK
        assert len({row["task_id"] for row in simulation.results()}) == len(simulation.world.tasks) == 2

    scenario = Scenario(slots=1, faults=FaultPlan(script={"create": ["", "other_answer"]}))
    play(tmp_path, work, "a", "b", scenario=scenario)


def test_a_fate_that_cannot_be_settled_stays_unknown_and_is_taken_up_later(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.UNRESOLVED
        assert rows(simulation)["i0"] == ("unknown", "unresolved")
        assert summary.credits["video"].held == 1
        again = await done(simulation)
        assert again.exit_code == ExitCode.OK

    faults = FaultPlan(script={"create": ["server_error_before", "", *["server_error_before"] * 3]})
    play(tmp_path, work, "a", "b", scenario=Scenario(slots=2, faults=faults))


def test_a_late_task_is_reported_its_success_is_still_collected(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation, task_deadline_s=100)
        assert summary.exit_code == ExitCode.STOPPED
        assert rows(simulation)["i0"] == ("pending", "overdue")
        assert rows(simulation)["i1"] == ("succeeded", None)
        assert "overdue" in notices(simulation)
        again = await done(simulation)
        assert again.exit_code == ExitCode.OK

    play(tmp_path, work, "[sandbox:slow]", "b", "c", speed=5.0)


def test_a_run_ends_even_if_a_task_never_does(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation, task_deadline_s=600)
        assert summary.exit_code == ExitCode.STOPPED
        assert summary.items.succeeded == 3
        assert summary.credits["video"].held == 1

    play(tmp_path, work, "a", "[sandbox:stuck]", "b", "c")


def test_a_run_ends_when_stuck_tasks_hold_every_slot(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation, task_deadline_s=600)
        assert summary.exit_code == ExitCode.STOPPED
        assert rows(simulation)["i2"] == ("pending", "stopped")
        assert simulation.world.peak_in_flight == 2

    play(tmp_path, work, "[sandbox:stuck]", "[sandbox:stuck]", "c")


def test_a_full_request_window_is_told_once_a_run(tmp_path: Path) -> None:
    """The poller fills it again and again: that is what the limit is for."""

    async def work(simulation: Simulation) -> None:
        await done(simulation, rpm=6)
        assert notices(simulation).count("of the limit of 6 a minute is in use") == 1

    play(tmp_path, work, "a", "b", "c", "d")


def test_max_runtime_leaves_the_rest_to_the_next_run(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        before = simulation.clock.wall_s()
        summary = await done(simulation, max_runtime_s=60)
        assert summary.exit_code == ExitCode.STOPPED
        assert simulation.clock.wall_s() - before < 60 + 10
        assert set(rows(simulation).values()) == {("pending", "stopped")}
        last = [event.text for event in simulation.events if isinstance(event, BatchFinished)][-1]
        assert "the --max-runtime of 60 s is over: run the same command again" in last
        assert (await done(simulation)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 4

    play(tmp_path, work, "a", "b", "c", "d")


def test_a_stop_waits_for_the_answer_of_a_submission_under_way(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation, max_runtime_s=0.5)
        assert summary.exit_code == ExitCode.STOPPED
        assert all(row["task_id"] for row in simulation.results()[:1])
        assert (await done(simulation)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 2

    faults = FaultPlan(slow_s=5.0, script={"create": ["slow"]})
    play(tmp_path, work, "a", "b", scenario=Scenario(slots=1, faults=faults))


@pytest.mark.parametrize(
    ("part", "fails_at", "waits_from"),
    [(KlingClient, "page", 99), (KlingClient, "packs", 1), (SqliteStore, "claim_next", 2)],
)
def test_a_full_store_stops_a_run_that_records_how_it_stands_and_lets_submissions_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: type, fails_at: str, waits_from: int
) -> None:
    """Their answers take two seconds, and the disk is full in the middle of the first one."""
    exchange, does, is_sent, calls = Transport.exchange, getattr(part, fails_at), asyncio.Event(), count(1)

    async def slow(self: Transport, method: str, *args: Any) -> Answer:
        answer = await exchange(self, method, *args)
        if method == "POST":
            is_sent.set()
            await asyncio.sleep(2)
        return answer

    async def full(*args: Any, **named: Any) -> Any:
        if next(calls) >= waits_from:
            await is_sent.wait()
        if is_sent.is_set():
            raise FullStoreError("the disk is full")
        return await does(*args, **named)

    async def work(simulation: Simulation) -> None:
        monkeypatch.setattr(Transport, "exchange", slow)
        monkeypatch.setattr(part, fails_at, full)
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.DISK
        assert rows(simulation)["i0"] == ("pending", "disk"), "its answer was waited for"
        monkeypatch.setattr(part, fails_at, does)
        assert (await done(simulation)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 2

    play(tmp_path, work, "a", "b")


@pytest.mark.parametrize("fault", SPOILS)
def test_a_bad_download_is_repeated_and_never_generated_again(tmp_path: Path, fault: str) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 1

    faults = FaultPlan(slow_s=100.0, script={"download": ["cut_download", fault, fault, ""]})
    play(tmp_path, work, "a", scenario=Scenario(slots=1, faults=faults))


def test_an_expired_link_is_renewed(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        assert (await done(simulation)).exit_code == ExitCode.OK

    faults = FaultPlan(script={"download": ["cut_download", "cut_download", "cut_download"]})
    play(tmp_path, work, "a", scenario=Scenario(slots=1, faults=faults), link_ttl_s=2.0)


def test_a_file_that_is_gone_for_ever_is_a_state_of_its_own_and_not_paid_again(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.ITEMS_FAILED
        assert rows(simulation) == {"i0": ("failed", "asset")}
        assert summary.credits["video"].consumed == 1
        assert (await done(simulation)) == summary
        again = await done(simulation, retry_failed=True)
        assert (again.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)

    faults = FaultPlan(script={"download": ["expired_link"] * 5})
    play(tmp_path, work, "a", scenario=Scenario(slots=1, faults=faults))


def test_a_download_that_keeps_failing_is_left_to_the_next_run(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.STOPPED
        assert rows(simulation) == {"i0": ("pending", "asset")}
        again = await done(simulation)
        assert (again.exit_code, again.requests.submit) == (ExitCode.OK, 0)

    faults = FaultPlan(script={"download": ["html_download"] * 8})
    play(tmp_path, work, "a", scenario=Scenario(slots=1, faults=faults))


def test_a_file_of_the_users_own_is_not_overwritten(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        own = simulation.output_dir / "batch" / "i0.mp4"
        own.parent.mkdir(parents=True)
        own.write_bytes(b"my holiday")
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.DISK
        assert own.read_bytes() == b"my holiday"
        assert rows(simulation) == {"i0": ("pending", "asset")}
        assert [str(own) in event.text for event in simulation.events if isinstance(event, BatchFinished)] == [True]
        own.rename(own.with_name("holiday.txt"))
        assert (await done(simulation)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 1

    play(tmp_path, work, "a")


def test_the_status_of_a_stopped_batch_says_what_is_held(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await done(simulation, max_runtime_s=5.0)
        settings = resolve(
            {"output_dir": str(simulation.output_dir), "base_url": simulation.sandbox.base_url}, {}, None
        )
        assert looking.status(simulation.manifest, settings).lines[-1].endswith("credits: video 0 consumed and 2 held")

    play(tmp_path, work, "a", "b")


def test_an_edited_line_is_a_conflict_while_its_video_is_paid(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await done(simulation)
        simulation.manifest.write_text("\n".join(lines("other words", "b")), encoding="utf-8")
        tree, stamps = simulation.tree(), len(simulation.world.request_stamps)
        with pytest.raises(ManifestError, match="edited"):
            await simulation.run()
        assert (simulation.tree(), len(simulation.world.request_stamps)) == (tree, stamps)
        simulation.manifest.write_text("\n".join([*reversed(lines("a", "b")), lines("c", "d", "e")[2]]))
        summary = await done(simulation)
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 3)

    play(tmp_path, work, "a", "b")


def test_an_edited_line_of_which_nothing_was_sent_is_made_as_it_stands_now(tmp_path: Path) -> None:
    """Its run was killed while it waited for its request: it was called paid or under way, and was to be put back."""

    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=80) is None
        assert 0 < len(simulation.world.tasks) < 3
        simulation.manifest.write_text("\n".join([*lines("a", "b"), lines("", "", "other words")[2]]), encoding="utf-8")
        flags = {"output_dir": str(simulation.output_dir), "base_url": simulation.sandbox.base_url}
        assert plan(simulation.manifest, resolve(flags, {}, None)).data["problems"] == []
        summary = await done(simulation)
        assert (summary.exit_code, summary.credits["video"].consumed) == (ExitCode.OK, Decimal(3))
        assert [task.body["prompt"] for task in simulation.world.tasks] == ["a", "b", "other words"]

    play(tmp_path, work, "a", "b", "c", scenario=Scenario(slots=3, rpm=2))


def test_a_summary_never_says_that_all_is_done_beside_lines_that_wait(tmp_path: Path) -> None:
    """A later run took in another line, and was killed."""

    async def work(simulation: Simulation) -> None:
        assert (await done(simulation)).exit_code == ExitCode.OK
        simulation.manifest.write_text("\n".join(lines("a", "b")), encoding="utf-8")
        assert await simulation.run(die_after_s=20) is None
        flags = {"output_dir": str(simulation.output_dir), "base_url": simulation.sandbox.base_url}
        report(simulation.manifest, resolve(flags, {}, None))
        summary = json.loads((simulation.batch_dir / "summary.json").read_bytes())
        assert (summary["items"]["pending"], summary["exit_code"]) == (1, ExitCode.STOPPED)
        assert (await done(simulation)).exit_code == ExitCode.OK

    play(tmp_path, work, "a")


def test_samples_stand_in_their_order(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        assert await simulation.run() is not None
        assert list(rows(simulation)) == [f"i0-{number}" for number in range(1, 7)]

    simulate(Scenario(slots=3, lines=lines("a", samples=6)), tmp_path, work)


def test_a_finished_item_that_took_more_slots_than_there_are_now_costs_nothing(tmp_path: Path) -> None:
    four = json.dumps({"id": "a", "kind": "images", "model_name": "kling-v2-1", "prompt": "a", "n": 4})

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        tree = simulation.tree()
        assert summary.exit_code == ExitCode.OK
        assert await simulation.run(max_concurrent=3) == summary
        assert simulation.tree() == tree
        with simulation.manifest.open("a", encoding="utf-8") as manifest:
            manifest.write(four.replace('"a"', '"b"'))
        with pytest.raises(ManifestError, match="makes 4 pictures at once"):
            await simulation.run(max_concurrent=3)

    simulate(Scenario(slots=4, world=WorldConfig(max_concurrent=4), lines=(four,)), tmp_path, work)


@pytest.mark.parametrize("stop_at_s", [5.0, 60.0, 4000.0])
def test_a_lost_store_is_rebuilt_from_the_account_and_the_files(tmp_path: Path, stop_at_s: float) -> None:
    async def work(simulation: Simulation) -> None:
        await done(simulation, max_runtime_s=stop_at_s)
        files = {path: path.stat().st_mtime_ns for path in simulation.output_dir.glob("batch/*.mp4")}
        (simulation.output_dir / "state.db").unlink()
        summary = await done(simulation)
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 3)
        assert {path: path.stat().st_mtime_ns for path in files} == files, "a finished file is not touched"

    play(tmp_path, work, "a", "b", "c")


def test_a_lost_store_and_an_edited_line_are_told_and_not_mixed_up(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await done(simulation)
        (simulation.output_dir / "state.db").unlink()
        simulation.manifest.write_text("\n".join(lines("other words")), encoding="utf-8")
        with pytest.raises(ManifestError, match="earlier text"):
            await simulation.run()
        assert len(simulation.world.tasks) == 1

    play(tmp_path, work, "a")


def test_what_a_lost_store_paid_for_lines_that_are_gone_ends_the_next_run_with_8_and_only_that_one(
    tmp_path: Path,
) -> None:
    async def work(simulation: Simulation) -> None:
        await done(simulation)
        simulation.has_lost = True
        (simulation.output_dir / "state.db").unlink()
        whole = simulation.manifest.read_text(encoding="utf-8")
        simulation.manifest.write_text("\n".join(lines("a")), encoding="utf-8")
        first = await done(simulation)
        assert (first.exit_code, first.items.succeeded, first.items.unknown) == (ExitCode.UNRESOLVED, 1, 0)
        assert "put them back" in [event.text for event in simulation.events if isinstance(event, BatchFinished)][-1]
        simulation.manifest.write_text("\n".join(lines("a", "b")), encoding="utf-8")
        second = await done(simulation)
        assert second.exit_code == ExitCode.OK, "told once; a line of its own goes on"
        simulation.manifest.write_text(whole, encoding="utf-8")
        third = await done(simulation)
        assert (third.exit_code, third.items.succeeded, len(simulation.world.tasks)) == (ExitCode.OK, 3, 3)

    play(tmp_path, work, "a", "b", "c")


def test_tasks_of_another_folder_under_this_batch_name_are_told_and_no_trouble(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        name = str(ExternalId.of("batch", "elsewhere", 1, "0" * 64))
        simulation.world.create("text2video", {"prompt": "theirs", "external_task_id": name}, simulation.clock.wall_s())
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.OK
        assert "not in the manifest" in notices(simulation)

    play(tmp_path, work, "a")


def test_priority_goes_first_then_manifest_order(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        manifest = [
            json.dumps({"id": name, "prompt": name, "priority": p}) for name, p in (("a", 0), ("b", 9), ("c", 0))
        ]
        simulation.manifest.write_text("\n".join(manifest), encoding="utf-8")
        await done(simulation)
        order = [event.item for event in simulation.events if isinstance(event, ItemSubmitted)]
        assert order == ["b", "a", "c"]

    play(tmp_path, work, "-", scenario=Scenario(slots=1))


def forbid_one_create(monkeypatch: pytest.MonkeyPatch, status: int, *, is_made: bool) -> None:
    """A proxy turns the first create away, having passed it on or not."""
    exchange, creates = Transport.exchange, 0

    async def forbidden_once(self: Transport, method: str, *args: Any) -> Answer:
        nonlocal creates
        creates += method == "POST"
        if method != "POST" or creates != 1:
            return await exchange(self, method, *args)
        if is_made:
            await exchange(self, method, *args)
        return Answer(status, {}, b"<html>Forbidden</html>")

    monkeypatch.setattr(Transport, "exchange", forbidden_once)


@pytest.mark.parametrize("is_made", [True, False])
@pytest.mark.parametrize("status", [401, 403])
def test_a_proxy_that_forbids_a_create_does_not_tell_whether_there_is_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, *, is_made: bool
) -> None:
    forbid_one_create(monkeypatch, status, is_made=is_made)

    async def work(simulation: Simulation) -> None:
        first = await done(simulation)
        assert first.exit_code == ExitCode.ACCOUNT
        assert f"HTTP {status}" in notices(simulation)
        assert (await done(simulation)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 2

    play(tmp_path, work, "a", "b", scenario=Scenario(slots=1), repeat_policy="second")


@pytest.mark.parametrize(
    ("prompts", "code"),
    [(("a",), ExitCode.OK), (("a", "[sandbox:fail]"), ExitCode.ITEMS_FAILED)],
)
def test_the_exit_code_tells_how_the_items_stand_whatever_ended_submissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prompts: Sequence[str], code: ExitCode
) -> None:
    """The account's trouble ended submissions, yet there was nothing left to submit, and every task was found."""
    forbid_one_create(monkeypatch, 403, is_made=True)

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert (summary.exit_code, summary.items.pending) == (code, 0)
        assert "HTTP 403" in notices(simulation), "told all the same"

    play(tmp_path, work, *prompts)


@pytest.mark.parametrize(
    ("error", "counts", "code"),
    [
        (AccountError("keys"), ItemCounts(2, 2, 0, 0, 0), ExitCode.OK),
        (AccountError("keys"), ItemCounts(2, 1, 1, 0, 0), ExitCode.ITEMS_FAILED),
        (AccountError("keys"), ItemCounts(2, 1, 0, 1, 0), ExitCode.ACCOUNT),
        (AccountError("keys"), ItemCounts(2, 1, 0, 0, 1), ExitCode.ACCOUNT),
        (DiskError("full"), ItemCounts(2, 2, 0, 0, 0), ExitCode.OK),
        (DiskError("full"), ItemCounts(2, 1, 0, 1, 0), ExitCode.DISK),
        (NotDurableError("sync"), ItemCounts(2, 2, 0, 0, 0), ExitCode.DISK),
        (StoppedError("stopped"), ItemCounts(2, 2, 0, 0, 0), ExitCode.OK),
        (StoppedError("stopped"), ItemCounts(2, 1, 0, 0, 1), ExitCode.STOPPED),
    ],
)
def test_a_halt_decides_the_exit_code_only_if_it_left_something(
    error: BatchRunnerError, counts: ItemCounts, code: ExitCode
) -> None:
    halt = Halt()
    halt.leave(error)
    assert exit_code(counts, halt, is_blocked=False) == code


def test_a_dead_api_ends_the_run_with_everything_recorded(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        url = simulation.sandbox.base_url
        before = simulation.clock.wall_s()
        summary = await simulation.run(base_url="http://127.0.0.1:9")
        assert summary is not None
        assert summary.exit_code == ExitCode.STOPPED
        assert rows(simulation) == {"i0": ("pending", "stopped")}
        assert simulation.clock.wall_s() - before < 120
        assert notices(simulation).count("no usable answer") == 1, "said, and said once"
        assert (await done(simulation, base_url=url)).exit_code == ExitCode.OK

    play(tmp_path, work, "a")


def test_the_servers_charge_wins_over_the_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulation.sandbox_price", lambda *_: Decimal("1.37"))

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        row = simulation.results()[0]
        assert (row["credits_estimated"], row["credits_charged"]) == ("1", "1.37")
        assert summary.credits["video"].consumed == Decimal("1.37")

    play(tmp_path, work, "a")


def test_two_runs_at_once_keep_out_of_each_others_way(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        first = asyncio.ensure_future(simulation.run())
        await asyncio.sleep(5)
        with pytest.raises(OutputFolderLockedError):
            await simulation.run()
        summary = await first
        assert summary is not None
        assert summary.exit_code == ExitCode.OK

    play(tmp_path, work, "a")


@pytest.mark.parametrize("after_s", [0.3, 1.5, 20.0, 60.0, 75.0])
def test_a_run_that_is_abandoned_records_how_it_stands_and_the_next_one_finishes(
    tmp_path: Path, after_s: float
) -> None:
    async def work(simulation: Simulation) -> None:
        halt = Halt()
        asyncio.get_running_loop().call_later(after_s, halt.abandon)
        summary = await done(simulation, halt=halt)
        assert summary.exit_code == ExitCode.STOPPED
        assert summary.items.total == len(simulation.results()) == 3
        assert (await done(simulation)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 3

    play(tmp_path, work, "a", "b", "c")


@pytest.mark.parametrize("stop", [Halt.leave, Halt.abandon])
def test_a_run_that_is_stopped_while_its_manifest_is_read_has_done_nothing(
    tmp_path: Path, stop: Callable[[Halt], None]
) -> None:
    async def work(simulation: Simulation) -> None:
        halt = Halt()
        stop(halt)
        with pytest.raises(StoppedError, match="run the same command again"):
            await simulation.run(halt=halt)
        assert simulation.world.request_stamps == []

    play(tmp_path, work, "a")


def test_what_comes_after_the_end_was_settled_changes_nothing() -> None:
    halt = Halt()
    halt.conclude()
    halt.leave(StoppedError("stopped by SIGTERM"))
    assert (halt.is_leaving, halt.is_set, halt.error) == (False, False, None)


# --- what an examiner with a fake of his own found ------------------------------------------------------------


def altered_queries(monkeypatch: pytest.MonkeyPatch, alter: Callable[[dict[str, Any]], None]) -> None:
    """Let the sandbox's answers about tasks be altered on their way out."""
    original = wire.queried

    def queried(*positional: Any, **named: Any) -> dict[str, Any]:
        data = original(*positional, **named)
        alter(data)
        return data

    monkeypatch.setattr(wire, "queried", queried)


def test_a_server_that_does_not_repeat_our_ids_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    altered_queries(monkeypatch, lambda data: data.update(task_info={}))

    async def work(simulation: Simulation) -> None:
        assert (await done(simulation)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 1

    play(tmp_path, work, "a", scenario=Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer"]})))


def test_a_run_ends_when_nobody_tells_the_fate_of_a_submission(tmp_path: Path) -> None:
    """The list shows nothing for a day, and every question by id is answered with 500."""

    async def work(simulation: Simulation) -> None:
        before = simulation.clock.wall_s()
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.UNRESOLVED
        assert rows(simulation) == {"i0": ("unknown", "unresolved")}
        assert simulation.clock.wall_s() - before < 900

    script = {"create": ["lost_answer"], "query": ["server_error_before"] * 500}
    play(tmp_path, work, "a", scenario=Scenario(slots=1, faults=FaultPlan(script=script)), visible_after_s=86_400.0)


@pytest.mark.parametrize("url", [None, "", 5, "file:///etc/passwd", "https://10.0.0.1/a.mp4"])
def test_a_paid_task_without_a_usable_link_is_charged_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: object
) -> None:
    def alter(data: dict[str, Any]) -> None:
        for video in data.get("task_result", {}).get("videos", []):
            video["url"] = url

    altered_queries(monkeypatch, alter)

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.ITEMS_FAILED
        assert rows(simulation) == {"i0": ("failed", "asset")}
        assert (summary.credits["video"].consumed, summary.credits["video"].held) == (Decimal(1), Decimal(0))

    play(tmp_path, work, "a")


@pytest.mark.parametrize("kind", ["link", "file"])
def test_nothing_is_spent_when_the_batch_folder_cannot_be_used(tmp_path: Path, kind: str) -> None:
    async def work(simulation: Simulation) -> None:
        simulation.output_dir.mkdir()
        folder = simulation.output_dir / "batch"
        if kind == "link":
            (tmp_path / "elsewhere").mkdir()
            folder.symlink_to(tmp_path / "elsewhere")
        else:
            folder.write_text("a file")
        with pytest.raises(DiskError):
            await simulation.run()
        assert simulation.world.request_stamps == []

    play(tmp_path, work, "a")


def test_a_store_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        simulation.output_dir.mkdir()
        (simulation.output_dir / "state.db").symlink_to(tmp_path / "outside.db")
        with pytest.raises(DiskError, match="symbolic link"):
            await simulation.run()
        assert not (tmp_path / "outside.db").exists()

    play(tmp_path, work, "a")


def test_results_add_up_to_the_ledger_when_a_failure_was_charged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alter(data: dict[str, Any]) -> None:
        if data["task_status"] == "failed":
            data["final_unit_deduction"] = "0.25"

    altered_queries(monkeypatch, alter)

    async def work(simulation: Simulation) -> None:
        summary = await simulation.run(max_attempts=3)
        assert summary is not None
        row = simulation.results()[0]
        assert (row["status"], row["attempts"], row["credits_charged"]) == ("failed", 3, "0.75")
        assert summary.credits["video"].consumed == Decimal("0.75")

    play(tmp_path, work, "[sandbox:fail]")


def test_an_overdrawn_budget_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulation.sandbox_price", lambda *_: Decimal(3))

    async def work(simulation: Simulation) -> None:
        summary = await simulation.run(budget={"video": 2})
        assert summary is not None
        assert summary.credits["video"].consumed == 6
        urgent = [event.text for event in simulation.events if isinstance(event, Notice) and event.urgent]
        assert any("over the budget of 2" in text for text in urgent)

    play(tmp_path, work, "a", "b")


def test_a_rerun_notices_a_finished_file_that_is_gone(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await done(simulation)
        (simulation.output_dir / "batch" / "i0.mp4").unlink()
        summary = await simulation.run()
        assert summary is not None
        assert "1 finished file is no longer where it was put" in notices(simulation)
        assert len(simulation.world.tasks) == 1

    play(tmp_path, work, "a")


def test_a_run_with_work_to_do_notices_a_finished_file_that_is_gone(tmp_path: Path) -> None:
    """Whoever adds a line each night never heard of it: only runs with nothing to do looked."""

    async def work(simulation: Simulation) -> None:
        await done(simulation)
        (simulation.output_dir / "batch" / "i0.mp4").unlink()
        simulation.manifest.write_text("\n".join(lines("a", "b")), encoding="utf-8")
        simulation.events.clear()
        assert (await simulation.run(quiet=True)) is not None
        urgent = [event.text for event in simulation.events if isinstance(event, Notice) and event.urgent]
        assert [text for text in urgent if "1 finished file is no longer where it was put" in text]
        assert rows(simulation) == {"i0": ("succeeded", None), "i1": ("succeeded", None)}

    play(tmp_path, work, "a")


def test_a_disk_that_does_not_answer_for_a_finished_file_ends_no_run_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network disk that lost its handle, say: the run is over, and its exit code is written down already."""
    look = Path.lstat

    def stale(path: Path) -> os.stat_result:
        asking = [frame.name for frame in traceback.extract_stack(limit=6)]
        if path.name == "i0.mp4" and {"_count_away", "_is_away"} & set(asking):
            raise OSError(errno.ESTALE, "Stale file handle")
        return look(path)

    async def work(simulation: Simulation) -> None:
        await done(simulation)
        monkeypatch.setattr(Path, "lstat", stale)
        simulation.manifest.write_text("\n".join(lines("a", "b")), encoding="utf-8")
        assert (await done(simulation)).exit_code == ExitCode.OK
        assert "1 finished file is no longer where it was put" in notices(simulation)

    play(tmp_path, work, "a")


@pytest.mark.parametrize("harm", ["removed", "cut", "altered"])
def test_a_harmed_file_is_fetched_again_and_never_generated_again(tmp_path: Path, harm: str) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        victim = simulation.output_dir / "batch" / "i0.mp4"
        whole = victim.read_bytes()
        if harm == "removed":
            victim.unlink()
        else:
            victim.write_bytes(whole[:100] if harm == "cut" else bytes(len(whole)))
        assert await simulation.repair() == {}
        assert victim.read_bytes() == whole
        kept = sorted(path.name for path in victim.parent.glob("*.damaged-*"))
        assert kept == ([] if harm == "removed" else ["i0.mp4.damaged-1"])
        assert (await done(simulation), len(simulation.world.tasks)) == (summary, 2)
        requests = len(simulation.world.request_stamps)
        assert await simulation.repair() == {}
        assert len(simulation.world.request_stamps) == requests, "nothing is wrong: nothing is asked"

    play(tmp_path, work, "a", "b")


def test_a_repair_that_died_before_the_last_step_is_finished_by_the_next_one(tmp_path: Path) -> None:
    """The whole file is here beside the altered one, which was taken for the user's own and never replaced."""

    async def work(simulation: Simulation) -> None:
        await done(simulation)
        victim = simulation.output_dir / "batch" / "i0.mp4"
        whole = victim.read_bytes()
        victim.write_bytes(b"altered")
        victim.with_name("i0.mp4.part").write_bytes(whole)
        assert await simulation.repair() == {}
        assert victim.read_bytes() == whole
        kept = {path.name: path.read_bytes() for path in victim.parent.glob("i0.mp4.*")}
        assert kept == {"i0.mp4.damaged-1": b"altered"}

    play(tmp_path, work, "a")


def test_what_cannot_be_restored_is_told_and_stays_paid(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await done(simulation)
        (simulation.output_dir / "batch" / "i0.mp4").unlink()
        await asyncio.sleep(40 * 86_400)
        reasons = await simulation.repair()
        assert "no longer shows" in reasons["i0"]
        assert rows(simulation) == {"i0": ("succeeded", None)}

    play(tmp_path, work, "a")


def test_a_removed_line_whose_video_was_paid_is_told_by_the_exit_code(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await done(simulation, max_runtime_s=30)
        simulation.manifest.write_text(lines("a")[0], encoding="utf-8")
        summary = await simulation.run()
        assert summary is not None
        assert (summary.items.total, summary.items.succeeded) == (1, 1)
        assert summary.exit_code == ExitCode.ITEMS_FAILED
        assert "i1: its line left the manifest, but its task is paid for without a file" in notices(simulation)
        simulation.events.clear()
        again = await simulation.run()
        assert again == summary, "where nothing else is left to do, it is told as well"
        assert "i1: its line left the manifest, but its task is paid for without a file" in notices(simulation)
        fetched = await simulation.run(retry_failed=True)
        assert fetched is not None
        assert (fetched.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 2)
        assert (simulation.output_dir / "batch" / "i1.mp4").exists()

    script = {"download": ["", *["expired_link"] * 5]}
    scenario = Scenario(slots=2, faults=FaultPlan(script=script))
    play(tmp_path, work, "a", "b [sandbox:slow]", scenario=scenario)


def test_a_lost_store_is_rebuilt_from_short_pages_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(simulation: Simulation) -> None:
        await done(simulation)
        (simulation.output_dir / "state.db").unlink()
        page = simulation.world.page

        def short(kind: str, page_num: int, page_size: int, now_s: float) -> Sequence[SandboxTask]:
            return page(kind, page_num, min(page_size, 2), now_s)

        monkeypatch.setattr(simulation.world, "page", short)
        assert (await done(simulation)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 5

    play(tmp_path, work, "a", "b", "c", "d", "e", repeat_policy="second")


def test_a_task_seen_while_waiting_for_a_slot_is_not_submitted_again(tmp_path: Path) -> None:
    """The answer was lost, the task shows late, and meanwhile the account is full for the next attempt."""

    async def work(simulation: Simulation) -> None:
        limiter_full = TaskLimiter.admitted
        calls = 0

        async def admitted(limiter: TaskLimiter, lane: str) -> int:
            nonlocal calls
            calls += 1
            if calls == 2:
                await asyncio.sleep(60)
            return await limiter_full(limiter, lane)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TaskLimiter, "admitted", admitted)
            summary = await done(simulation)
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)

    scenario = Scenario(slots=1, faults=FaultPlan(script={"create": ["lost_answer"]}))
    play(tmp_path, work, "a", scenario=scenario, visible_after_s=25.0, repeat_policy="second")


def test_a_question_that_fails_is_asked_again_before_the_estimate_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulation.sandbox_price", lambda *_: Decimal("1.37"))
    from_list = wire.queried
    answers = 0

    def queried(*positional: Any, **named: Any) -> dict[str, Any]:
        nonlocal answers
        data = from_list(*positional, **named)
        if data["task_status"] == "succeed":
            answers += 1
            if answers <= 2:
                data.pop("final_unit_deduction")
        return data

    monkeypatch.setattr(wire, "queried", queried)

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert summary.credits["video"].consumed == Decimal("1.37")

    faults = FaultPlan(script={"query": ["server_error_before", "server_error_before"]})
    play(tmp_path, work, "a", scenario=Scenario(slots=1, faults=faults))


def test_a_question_that_is_answered_with_less_than_the_page_is_asked_again_before_the_estimate_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulation.sandbox_price", lambda *_: Decimal("1.37"))
    queried, find, behind = wire.queried, KlingClient.find, [TaskStatus.PROCESSING, None]

    def bare(*positional: Any, **named: Any) -> dict[str, Any]:
        data = queried(*positional, **named)
        return {key: value for key, value in data.items() if key != "final_unit_deduction" or not behind}

    async def find_behind(self: KlingClient, *args: Any, **named: Any) -> Task | None:
        task = await find(self, *args, **named)
        status = behind.pop() if behind else TaskStatus.SUCCEEDED
        return None if task is None or status is None else replace(task, status=status)

    monkeypatch.setattr(wire, "queried", bare)
    monkeypatch.setattr(KlingClient, "find", find_behind)

    async def work(simulation: Simulation) -> None:
        assert (await done(simulation)).credits["video"].consumed == Decimal("1.37")
        assert not behind

    play(tmp_path, work, "a", scenario=Scenario(slots=1))


def test_what_a_task_cost_is_not_guessed_where_the_account_refuses_to_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page lacks the charge, and the keys are refused when the task is asked for by itself."""
    monkeypatch.setattr("simulation.sandbox_price", lambda *_: Decimal("1.37"))
    queried, find, refusals = wire.queried, KlingClient.find, [AccountError("the key is not valid")]

    def bare(*positional: Any, **named: Any) -> dict[str, Any]:
        data = queried(*positional, **named)
        return {key: value for key, value in data.items() if key != "final_unit_deduction" or not refusals}

    async def refused(self: KlingClient, *args: Any, **named: Any) -> Task | None:
        if refusals:
            raise refusals.pop()
        return await find(self, *args, **named)

    monkeypatch.setattr(wire, "queried", bare)
    monkeypatch.setattr(KlingClient, "find", refused)

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert (summary.exit_code, rows(simulation)["i0"]) == (ExitCode.ACCOUNT, ("pending", "account"))
        again = await done(simulation)
        assert (again.exit_code, again.credits["video"].consumed) == (ExitCode.OK, Decimal("1.37"))

    play(tmp_path, work, "a", scenario=Scenario(slots=1))


def test_a_task_that_only_a_question_by_our_own_id_shows_is_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was called missing, although it had just been found."""
    find = World.find
    monkeypatch.setattr(World, "page", lambda *_: [])
    monkeypatch.setattr(
        World,
        "find",
        lambda self, kind, any_id, now_s: find(self, kind, any_id, now_s) if any_id.startswith("br-") else None,
    )

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)

    play(tmp_path, work, "a", scenario=Scenario(slots=1))


def test_the_age_of_a_task_counts_over_runs(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        for _ in range(3):
            summary = await done(simulation, max_runtime_s=300, task_deadline_s=700)
        assert summary.exit_code == ExitCode.STOPPED
        assert rows(simulation)["i0"] == ("pending", "overdue")
        assert "overdue" in notices(simulation)

    play(tmp_path, work, "[sandbox:stuck]")


def test_a_dead_cdn_does_not_let_a_batch_buy_what_it_cannot_fetch(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.STOPPED
        assert len(simulation.world.tasks) <= 24 + 5 + 4, "waiting for files, given up, in flight"
        assert "file after file" in notices(simulation)

    prompts = [f"scene {number}" for number in range(60)]
    faults = FaultPlan(script={"download": ["html_download"] * 5000})
    play(tmp_path, work, *prompts, scenario=Scenario(slots=4, rpm=0, faults=faults), rpm=None, speed=60.0)


def test_what_another_run_recorded_meanwhile_is_no_fault_of_the_program(tmp_path: Path) -> None:
    """Somebody removed the lock of the first run while it was on; the second one ended with a fault of the program."""

    async def work(simulation: Simulation) -> None:
        running = asyncio.ensure_future(simulation.run())
        await asyncio.sleep(25)
        other = await SqliteStore.open(simulation.output_dir / "state.db", simulation.clock)
        batch = await other.known_batch("batch", Realm.LOCAL)
        assert batch is not None
        [attempt] = await other.in_states(batch, [State.IN_FLIGHT])
        await other.apply(attempt, Event.FAIL, {})
        await other.close()
        summary = await running
        assert summary is not None
        assert (summary.exit_code, summary.items.failed) == (ExitCode.ITEMS_FAILED, 1)

    play(tmp_path, work, "a")


@pytest.mark.parametrize("are_films_here", [True, False])
def test_a_lost_store_does_not_believe_lists_of_the_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, are_films_here: bool
) -> None:
    """A stale page of somebody on the way lacked a paid task, and it was paid again; twice stale it is no better."""
    shown = World.page

    async def work(simulation: Simulation) -> None:
        await done(simulation)
        simulation.lose_store()
        for path in [] if are_films_here else [*simulation.batch_dir.glob("*.mp4")]:
            path.unlink()
        stale = iter([True, True])
        monkeypatch.setattr(World, "page", lambda *args: [] if next(stale, False) else shown(*args))
        summary = await done(simulation)
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 2)
        assert next(stale, None) is None, "both looks were answered with a stale page"

    play(tmp_path, work, "a", "b", repeat_policy="second")


def test_a_lost_store_looks_twice_for_what_an_edited_line_has_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one search of the account was once answered with another request's page, and the line was paid again."""
    shown = World.page

    async def work(simulation: Simulation) -> None:
        await done(simulation)
        simulation.lose_store()
        text = simulation.manifest.read_text(encoding="utf-8")
        simulation.manifest.write_text(text.replace("in the rain", "in the sun"), encoding="utf-8")
        others = iter([True])
        monkeypatch.setattr(World, "page", lambda *args: [] if next(others, False) else shown(*args))
        with pytest.raises(ManifestError, match="i0"):
            await simulation.run()
        assert len(simulation.world.tasks) == 1
        assert next(others, None) is None, "one search was answered wrongly"

    play(tmp_path, work, "a street in the rain", repeat_policy="second")


@pytest.mark.parametrize("is_emptied", [False, True])
def test_a_lost_store_waits_for_tasks_that_are_not_visible_yet(tmp_path: Path, is_emptied: bool) -> None:  # noqa: FBT001 - a parameter of the test
    async def work(simulation: Simulation) -> None:
        await simulation.run(max_runtime_s=2, rpm=0)
        (simulation.output_dir / "state.db").unlink()
        if is_emptied:  # it looks like a store that was never begun
            (simulation.output_dir / "state.db").touch()
        summary = await simulation.run(rpm=0)
        assert summary is not None
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 2)

    scenario = Scenario(slots=2, rpm=600)
    play(tmp_path, work, "a", "b", scenario=scenario, visible_after_s=12.0, repeat_policy="second")


def test_a_gone_file_that_is_fetched_after_all_lets_its_dependents_go_in_the_same_run(tmp_path: Path) -> None:
    """They had to wait for the next run, though the one they wait for is finished."""
    chain = (
        {"id": "walk", "prompt": "walks", "model_name": "kling-v1-6", "duration": 5},
        {"id": "on", "kind": "video-extend", "video_id": {"item": "walk"}},
        {"id": "further", "kind": "video-extend", "video_id": {"item": "on"}},
    )

    async def work(simulation: Simulation) -> None:
        first = await done(simulation)
        assert rows(simulation) == {
            "walk": ("failed", "asset"),
            "on": ("failed", "source"),
            "further": ("failed", "source"),
        }
        assert (first.exit_code, len(simulation.world.tasks)) == (ExitCode.ITEMS_FAILED, 1)
        again = await done(simulation, retry_failed=True)
        assert (again.exit_code, again.items.succeeded, len(simulation.world.tasks)) == (ExitCode.OK, 3, 3)

    faults = FaultPlan(script={"download": ["expired_link"] * 5})
    lines_of_chain = tuple(json.dumps(line) for line in chain)
    simulate(Scenario(slots=1, faults=faults, lines=lines_of_chain), tmp_path, work)


@pytest.mark.parametrize("fault", ["server_error_before", "html_200", "lost_answer", "cut_answer"])
def test_tasks_in_flight_are_asked_for_by_id_while_their_list_is_out_of_order(tmp_path: Path, fault: str) -> None:
    """A list that never comes back must not keep paid videos from anybody."""

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert (summary.exit_code, summary.items.succeeded) == (ExitCode.OK, 3)

    faults = FaultPlan(script={"list": ["", *[fault] * 5000]})
    play(tmp_path, work, "a", "b", "c", scenario=Scenario(slots=2, faults=faults))


@pytest.mark.parametrize("tasks", [3, 12])
def test_an_api_that_no_longer_answers_is_told_as_soon_with_many_tasks_in_flight(tmp_path: Path, tasks: int) -> None:
    async def work(simulation: Simulation) -> None:
        began_s = asyncio.get_running_loop().time()
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.STOPPED
        assert asyncio.get_running_loop().time() - began_s < 480

    faults = FaultPlan(slow_s=100.0, script={"list": ["", *["slow"] * 500], "query": ["slow"] * 500})
    play(tmp_path, work, *("a" * tasks), scenario=Scenario(slots=tasks, faults=faults))


def test_a_task_of_which_nobody_tells_keeps_no_other_one_from_being_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While their list is out of order, the first one is asked for in vain."""
    exchange, lists, ill = Transport.exchange, count(), []

    async def spoilt(self: Transport, method: str, path: str, body: bytes | None, timeout_s: float) -> Answer:
        answer = await exchange(self, method, path, body, timeout_s)
        broken = Answer(500, answer.headers, b'{"code": 5000, "message": "out of order"}')
        if method == "GET" and "pageSize" in path:
            return broken if next(lists) else answer
        if method == "GET" and "text2video/" in path:
            ill.append(path)
            return broken if path == ill[0] else answer
        return answer

    monkeypatch.setattr(Transport, "exchange", spoilt)

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert (summary.exit_code, summary.items.succeeded, summary.items.pending) == (ExitCode.STOPPED, 3, 1)

    play(tmp_path, work, *"abcd", scenario=Scenario(slots=4))


def test_a_list_that_is_only_asked_for_too_often_is_not_out_of_order(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        assert (await done(simulation)).exit_code == ExitCode.OK
        assert "list of tasks" not in notices(simulation)

    faults = FaultPlan(script={"list": ["", *["rate_429"] * 3]})
    play(tmp_path, work, *"abc", scenario=Scenario(slots=3, faults=faults))


def test_slots_that_tasks_of_the_run_hold_are_not_told_as_the_services_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account has fewer slots than the run was told of; the run ended before its own tasks did."""
    monkeypatch.setattr("batch_runner.runner.put_off.LIMIT_S", 100.0)

    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert (summary.exit_code, summary.items.succeeded) == (ExitCode.OK, 8)
        assert "puts submissions off" not in notices(simulation)

    start = Scenario(slots=3, world=WorldConfig(max_concurrent=2, speed=1.0), lines=lines(*"abcdefgh"))
    simulate(start, tmp_path, work)
