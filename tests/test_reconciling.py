"""``ledger --reconcile`` against the simulated account, over real sockets and under virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from doors_kit import FAST, few, run_here, write_manifest
from filelock import FileLock
from simulation import Scenario, Simulation, simulate

from batch_runner.answer import Answer
from batch_runner.errors import AccountError, ExitCode, OutputFolderLockedError, StoppedError
from batch_runner.kling import Deduction, KlingClient, Trouble
from batch_runner.model import Pack
from batch_runner.reconciling import reconcile
from batch_runner.sandbox import FaultPlan, WorldConfig, wire
from batch_runner.settings import resolve

DAY_S = 86_400
Work = Callable[[Simulation], Coroutine[Any, Any, None]]


def play(folder: Path, work: Work, *prompts: str, **scenario: Any) -> None:
    lines = tuple(json.dumps({"id": f"i{n}", "prompt": prompt}) for n, prompt in enumerate(prompts or ("a", "b")))
    simulate(Scenario(**{"lines": lines, "world": WorldConfig(max_concurrent=3, rpm=60), **scenario}), folder, work)


async def reconciled(simulation: Simulation, **options: object) -> Answer:
    flags = {"output_dir": str(simulation.output_dir), "base_url": simulation.sandbox.base_url, "rpm": 60, **options}
    keys = {"KLING_ACCESS_KEY": simulation.sandbox.access_key, "KLING_SECRET_KEY": simulation.sandbox.secret_key}
    return await reconcile(resolve(flags, {}, None), keys, simulation.clock)


@pytest.fixture
def listing(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Lets the account list what it deducted: by task, changed as a test wants."""
    told: dict[str, Any] = {"rows": [], "money": [], "pages": [], "page": 500}

    async def deductions(
        _: KlingClient, cursor: str | None = None, *, of_balance: bool = False, **asked: int
    ) -> tuple[list[Deduction], str | None]:
        told["pages"].append((asyncio.get_running_loop().time(), cursor, asked["start_ms"]))
        rows = told["money" if of_balance else "rows"]
        begin = int(cursor or 0)
        end = begin + told["page"]
        return rows[begin:end], str(end) if end < len(rows) else None

    monkeypatch.setattr(KlingClient, "deductions", deductions)
    return told


def rows_of(simulation: Simulation) -> list[Deduction]:
    done = [task for task in simulation.world.tasks if task.will_succeed]
    return [Deduction(task.task_id, task.ended_at_s, "", "", task.credits, None, Pack.VIDEO) for task in done]


@pytest.fixture
def no_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that lists no deductions."""

    async def broken(*_: object, **__: object) -> None:
        raise Trouble("the service is busy")

    monkeypatch.setattr(KlingClient, "deductions", broken)


def test_a_quiet_folder_and_its_account_add_up_to_the_task(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await simulation.run()
        assert summary is not None
        asked = len(simulation.world.request_stamps)
        answer = await reconciled(simulation)
        assert answer.exit_code is ExitCode.OK
        (row,) = answer.data["packs"]
        assert (row["finding"], row["consumed"], row["deducted"], row["others"]) == ("adds_up", "3", "3", "0")
        assert (row["least"], row["most"]) == ("3", "3")
        assert any("adds up" in line for line in answer.lines)
        assert any("Sandbox-Video" in line and "3 of 100000 credits used" in line for line in answer.lines)
        stamps = simulation.world.request_stamps[asked:]
        assert len(stamps) == 3
        assert all(later - earlier >= 1 for earlier, later in pairwise(stamps)), "politely"

    world = WorldConfig(max_concurrent=3, rpm=60, charged_failures=1.0)
    play(tmp_path, work, "a", "b", "[sandbox:fail]", world=world)


def test_use_by_others_is_told_and_nobodys_fault(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await simulation.run()
        simulation.world.create("text2video", {"prompt": "somebody else's"}, simulation.clock.wall_s())
        await asyncio.sleep(DAY_S)
        answer = await reconciled(simulation)
        assert answer.exit_code is ExitCode.OK
        (row,) = answer.data["packs"]
        assert (row["finding"], row["deducted"], row["others"]) == ("adds_up", "2", "1")
        assert any("1 was deducted for tasks that are not in this ledger" in line for line in answer.lines)

    play(tmp_path, work)


@pytest.mark.usefixtures("no_listing")
def test_totals_alone_do_not_tell_who_used_more(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await simulation.run()
        assert (await reconciled(simulation)).data["packs"][0]["finding"] == "adds_up"
        simulation.world.create("text2video", {"prompt": "somebody else's"}, simulation.clock.wall_s())
        await asyncio.sleep(DAY_S)
        answer = await reconciled(simulation)
        assert answer.exit_code is ExitCode.OK
        assert answer.data["packs"][0]["finding"] == "cannot_tell"
        assert any("lists no deductions (the service is busy)" in line for line in answer.lines)
        assert any("used at least 1 more: other programs" in line for line in answer.lines)

    play(tmp_path, work)


@pytest.mark.usefixtures("no_listing")
def test_an_account_that_took_less_than_the_ledger_says_is_exit_5_once_it_cannot_be_the_lag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each task says that it cost 1, and its pack loses a half."""
    monkeypatch.setattr("simulation.sandbox_price", lambda *_: Decimal("0.5"))
    real = wire.queried

    def dearer(*positional: Any, **named: Any) -> dict[str, Any]:
        return real(*positional, **named) | {"final_unit_deduction": "1"}

    monkeypatch.setattr(wire, "queried", dearer)

    async def work(simulation: Simulation) -> None:
        await simulation.run()
        early = await reconciled(simulation)
        assert (early.exit_code, early.data["packs"][0]["finding"]) == (ExitCode.OK, "cannot_tell")
        await asyncio.sleep(DAY_S / 2)
        late = await reconciled(simulation)
        assert late.exit_code is ExitCode.ACCOUNT
        assert any("DOES NOT ADD UP" in line for line in late.lines)
        assert any("show 1 less than was charged" in line for line in late.lines)

    play(tmp_path, work)


def test_deductions_are_compared_task_by_task(tmp_path: Path, listing: dict[str, Any]) -> None:
    async def work(simulation: Simulation) -> None:
        await simulation.run()
        listing["rows"] = rows_of(simulation)
        listing["page"] = 1
        answer = await reconciled(simulation)
        assert answer.data["packs"][0]["finding"] == "adds_up"
        assert answer.data["lists_deductions"]
        times = [at_s for at_s, _, _ in listing["pages"]]
        assert len(times) == 3
        assert all(later - earlier >= 1 for earlier, later in pairwise(times))
        started_ms = listing["pages"][0][2] / 1000
        assert started_ms < simulation.world.tasks[0].created_at_s

    play(tmp_path, work)


def test_a_deduction_of_another_figure_names_its_task(tmp_path: Path, listing: dict[str, Any]) -> None:
    async def work(simulation: Simulation) -> None:
        await simulation.run()
        first, *rest = rows_of(simulation)
        dearer = Deduction(first.task_id, first.deducted_at_s, "", "", Decimal(3), None, Pack.VIDEO)
        listing["rows"] = [dearer, *rest]
        answer = await reconciled(simulation)
        assert answer.exit_code is ExitCode.ACCOUNT
        (mismatch,) = answer.data["packs"][0]["mismatches"]
        assert (mismatch["task_id"], mismatch["ledger"], mismatch["account"]) == (first.task_id, "1", "3")
        assert any(f"task {first.task_id}): the ledger has 1, the account 3" in line for line in answer.lines)

    play(tmp_path, work)


def test_a_failed_task_that_the_account_charged_behind_our_back_is_found(
    tmp_path: Path, listing: dict[str, Any]
) -> None:
    async def work(simulation: Simulation) -> None:
        await simulation.run()
        (failed,) = simulation.world.tasks
        listing["rows"] = [Deduction(failed.task_id, None, "", "", Decimal(1), None, Pack.VIDEO)]
        answer = await reconciled(simulation)
        assert answer.exit_code is ExitCode.ACCOUNT
        assert any("the ledger has no charge, the account 1" in line for line in answer.lines)

    play(tmp_path, work, "[sandbox:fail]")


def test_without_keys_without_an_answer_or_with_a_run_going_on_it_says_so(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await simulation.run()
        settings = resolve(
            {"output_dir": str(simulation.output_dir), "base_url": simulation.sandbox.base_url}, {}, None
        )
        with pytest.raises(AccountError, match="No keys"):
            await reconcile(settings, {"HOME": str(tmp_path)}, simulation.clock)
        lock = FileLock(simulation.output_dir / ".lock", fallback_to_soft=False)
        with lock, pytest.raises(OutputFolderLockedError):
            await reconciled(simulation)
        with pytest.raises(StoppedError, match="cannot be read now"):
            await reconciled(simulation)

    play(tmp_path, work, faults=FaultPlan(script={"account": ["", "server_error_before"]}))  # the run asks first


def test_its_requests_count_against_the_limit_of_the_next_run(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await simulation.run()
        for _ in range(6):
            await reconciled(simulation, rpm=5)
        assert simulation.world.most_requests_in_window() <= 5

    play(tmp_path, work, "a", rpm=5)


def test_a_folder_without_entries_has_nothing_to_compare(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await simulation.run()
        settings = resolve({"output_dir": str(simulation.output_dir)}, {}, None)
        answer = await reconcile(settings, {}, simulation.clock)
        assert (answer.exit_code, answer.data) == (ExitCode.OK, {"realm": "real", "packs": []})

    play(tmp_path, work)


# --- through the door -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    write_manifest(tmp_path / "films.jsonl", few(1))
    assert run_here("films.jsonl", *FAST).code == 0
    return tmp_path


def test_the_simulated_account_is_asked_with_sandbox(folder: Path) -> None:
    ended = run_here("ledger", "--reconcile", *FAST)
    assert ended.code == 0
    assert "(SIMULATED)" in ended.out.splitlines()[0]
    assert "adds up" in ended.out
    found = run_here("ledger", "--reconcile", *FAST, "--json").json
    assert (found["realm"], found["packs"][0]["finding"]) == ("sandbox", "adds_up")


@pytest.mark.parametrize("more", [("films.jsonl",), ("--csv",)])
def test_reconcile_is_about_the_whole_folder(folder: Path, more: tuple[str, ...]) -> None:
    ended = run_here("ledger", "--reconcile", "--sandbox", *more)
    assert ended.code == 2
    assert "leave out --csv and the manifest" in ended.err
