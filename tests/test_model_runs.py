"""Whole runs against a model: any order of runs, deaths, edits, losses, faults, failures, budgets and repairs.

The program is the real one, under virtual time, and the sandbox's books are the oracle. What it must do is said a
second time in ``runs_twin``. ``MODEL_EXAMPLES=2000 MODEL_STEPS=40 pytest tests/test_model_runs.py`` looks deeper than a
usual run.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from runs_twin import IDS, SOURCE, TAKES, Line, Paid, RollingRoom, Twin, fits
from sandbox_kit import picture
from seeded_loop import prompt_settle_s
from simulated_film import digest
from simulation import PowerCut, Scenario, runner_of, simulated
from simulation_audit import audit, audit_always, audit_end

from batch_runner.clock import iso_utc
from batch_runner.errors import ExitCode, ManifestError
from batch_runner.lifecycle import ExternalId
from batch_runner.records import SummaryRecord
from batch_runner.runner import Halt
from batch_runner.sandbox import WorldConfig
from batch_runner.sandbox.config import RepeatPolicy
from batch_runner.sandbox.faults import POSSIBLE, Fault, RequestClass

T = TypeVar("T")

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "20"))
STEPS = int(os.environ.get("MODEL_STEPS", "20"))

LINES = st.builds(Line, st.sampled_from(IDS), st.sampled_from(TAKES))
BUDGETS = st.sampled_from([None, 0, 1, 3, 6, 20])
ROLLING = st.sampled_from([None, 4, 6, 10])
WINDOW_S = 3600.0
MOMENTS = st.one_of(st.integers(1, 60), st.integers(60, 600))
CUTS: st.SearchStrategy[PowerCut | None] = st.sampled_from([None, None, "worst"])
FAULTS: st.SearchStrategy[tuple[RequestClass, Fault]] = st.sampled_from(
    [
        (kind, fault)
        for kind in (RequestClass.CREATE, RequestClass.QUERY, RequestClass.LIST, RequestClass.DOWNLOAD)
        for fault in sorted(POSSIBLE[kind])
    ]
)
RUNS_TO_THE_END = 12
SEEN = Counter[str]()
"""What came up in all examples: a model that never meets something shows nothing of it."""
ENDED = {ExitCode.OK, ExitCode.ITEMS_FAILED, ExitCode.BUDGET}
_PICTURE = base64.b64decode(picture(320, 320))
MUST_BE_SEEN = (
    *("OK", "ITEMS_FAILED", "BUDGET", "STOPPED", "died", "edits told", "repairs", "repairs that died"),
    *(
        "lost with paid tasks",
        "second attempts",
        "wrong answers",
        "chains",
        "second generation",
        "no room in the window",
    ),
)


class RunsMachine(RuleBasedStateMachine):
    """One loop, one account and one output folder, through everything that is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="runs-model-"))
        self.stack = AsyncExitStack()
        self.has_begun = False

    @initialize(
        lines=st.lists(LINES, min_size=1, max_size=3, unique_by=lambda line: line.id),
        repeat=st.sampled_from(["refuse", "same", "second"]),
        visible_after_s=st.sampled_from([0.0, 10.0]),
        slots=st.integers(1, 3),
        rolling=ROLLING,
    )
    def begin(
        self, lines: list[Line], repeat: RepeatPolicy, visible_after_s: float, slots: int, rolling: int | None
    ) -> None:
        world = WorldConfig(
            max_concurrent=slots, rpm=60, speed=30.0, repeat_policy=repeat, visible_after_s=visible_after_s
        )
        scenario = Scenario(slots=slots, world=world, settle_s=prompt_settle_s(), watches_sqlite=True)
        self.runner = runner_of(scenario)
        self.simulation = self.do(self.stack.enter_async_context(simulated(scenario, self.folder)))
        self.simulation.environ = {"KLING_API_KEY": self.simulation.sandbox.api_key}
        self.has_begun = True
        self.has_run = False
        self.twin = Twin(lines)
        self.budget: int | None = None
        self.rolling = rolling
        self.strangers = 0
        self.known: dict[str, str] = {}
        (self.folder / "media").mkdir()
        (self.folder / "media" / "start.png").write_bytes(_PICTURE)
        self.write()

    def teardown(self) -> None:
        try:
            # What went wrong before would be hidden by what comes of it.
            if self.has_begun and sys.exc_info()[0] is None:
                self.come_to_the_end()
        finally:
            if self.has_begun:
                self.do(self.stack.aclose())
                self.runner.close()
            shutil.rmtree(self.folder)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def write(self) -> None:
        text = "".join(json.dumps(line.as_json()) + "\n" for line in self.twin.lines)
        self.simulation.manifest.write_text(text, encoding="utf-8")

    # --- the manifest ---------------------------------------------------------------------------------------

    @rule(place=st.integers(0, 3), take=st.sampled_from(TAKES))
    def edit_a_line(self, place: int, take: str) -> None:
        if lines := self.twin.lines:
            self.twin.edit(lines[place % len(lines)].id, take)
            self.write()

    @rule(how=st.sampled_from(["add", "remove", "put back", "reverse"]), line=LINES, place=st.integers(0, 3))
    def change_the_manifest(self, how: str, line: Line, place: int) -> None:
        if how == "add":
            self.twin.add(line, place)
        elif how == "remove":
            self.twin.remove(line.id)
            self.simulation.budget_was_lowered |= self.simulation.has_lost
        elif how == "put back":
            self.twin.put_back()
        else:
            self.twin.lines.reverse()
        self.write()

    # --- the account ----------------------------------------------------------------------------------------

    @rule(how=st.sampled_from(["moments pass", "minutes pass", "tasks fail", "tasks succeed", "a stranger submits"]))
    def something_happens_on_the_account(self, how: str) -> None:
        if how == "a stranger submits":
            self.a_stranger_submits()
        elif how.endswith("pass"):
            self.do(_pass(2.0 if how == "moments pass" else 1200.0))
        else:
            self.tasks_fail_from_now_on(fails=how == "tasks fail")

    def tasks_fail_from_now_on(self, *, fails: bool) -> None:
        world = self.simulation.world
        world.config = replace(world.config, failure_rate=float(fails))

    def a_stranger_submits(self) -> None:
        """Without an external id, with one of his own, and with one that reads like another batch of ours."""
        self.strangers += 1
        of_another_batch = str(ExternalId.of("another", "a", self.strangers, "0" * 64))
        name: tuple[dict[str, str], ...] = (
            {},
            {"external_task_id": f"x-{self.strangers}"},
            {"external_task_id": of_another_batch},
        )
        body = {"prompt": "theirs", **name[self.strangers % 3]}
        self.simulation.world.create("text2video", body, self.simulation.clock.wall_s())

    @rule(faults=st.lists(FAULTS, min_size=1, max_size=3))
    def the_next_answers_go_wrong(self, faults: list[tuple[RequestClass, Fault]]) -> None:
        """The next requests of their kind meet them, one after the other."""
        drawn = self.simulation.sandbox.faults
        for kind in {kind for kind, _ in faults}:
            words = [""] * drawn._seen[kind] + [fault.value for each, fault in faults if each is kind]
            drawn.plan = replace(drawn.plan, script={**drawn.plan.script, kind.value: words})

    # --- the disk -------------------------------------------------------------------------------------------

    @rule(keeps_log=st.booleans())
    def lose_the_store(self, keeps_log: bool) -> None:  # noqa: FBT001 - hypothesis hands it over by name
        simulation = self.simulation
        if (simulation.output_dir / "state.db").exists():
            for path in simulation.output_dir.glob("state.db" if keeps_log else "state.db*"):
                path.unlink()
            simulation.has_lost = True
            SEEN["lost with paid tasks"] += any(paid.binds for paid in self.books())
            simulation.budget_was_lowered |= bool(self.twin.removed)
            self.twin.forget()
            self.known = {}

    @rule(data=st.data(), how=st.sampled_from(["removed", "cut", "changed"]))
    def harm_a_file(self, data: st.DataObject, how: str) -> None:
        output_dir = self.simulation.output_dir
        if not (paths := sorted(output_dir.glob("batch/*.mp4"))):
            return
        path = data.draw(st.sampled_from(paths))
        content = path.read_bytes()
        path.unlink()
        self.simulation.spoiled.setdefault(str(path.relative_to(output_dir)), content)
        if how != "removed":
            path.write_bytes(content[:-100] if how == "cut" else content[:-1] + bytes([content[-1] ^ 1]))

    # --- the program ----------------------------------------------------------------------------------------

    @rule(budget=BUDGETS, rolling=ROLLING)
    def change_the_budgets(self, budget: int | None, rolling: int | None) -> None:
        self.do(_pass(0.01))  # what was held before was held under another one
        self.rolling = rolling
        before, self.budget = self.budget, budget
        if budget is not None and (before is None or budget < before):
            self.simulation.budget_was_lowered = True

    @rule(retry_failed=st.booleans())
    def run_to_the_end(self, retry_failed: bool) -> None:  # noqa: FBT001 - hypothesis hands it over by name
        summary = self.start(retry_failed=retry_failed)
        if summary is not None:
            self.require_the_end(summary)

    @rule(moments=st.lists(MOMENTS, min_size=1, max_size=3), cut=CUTS, retry_failed=st.booleans())
    def run_and_die(self, moments: list[int], cut: PowerCut | None, retry_failed: bool) -> None:  # noqa: FBT001 - the same
        """Once, or again and again while it finds its way."""
        for moment in moments:
            self.start(die_at=moment, power_cut=cut, retry_failed=retry_failed)

    @rule(seconds=st.sampled_from([0.5, 5.0, 30.0]))
    def run_and_stop(self, seconds: float) -> None:
        self.start(stop_after_s=seconds)

    @rule(moment=st.one_of(st.none(), st.none(), st.none(), st.integers(1, 40)))
    def repair(self, moment: int | None) -> None:
        tasks = len(self.simulation.world.tasks)
        self.twin.begin(retry_failed=False)
        try:
            reasons = self.do(self.simulation.mortal_repair(moment))
        except ManifestError as error:
            self.take_refusal(error)
            return
        assert len(self.simulation.world.tasks) == tasks, "what is paid for is fetched again, never generated again"
        if reasons is None:
            SEEN["repairs that died"] += 1
            return
        SEEN["repairs"] += bool(self.simulation.spoiled.keys() & self.known.keys())
        assert not reasons, reasons
        for path, right in self.known.items():
            assert self.is_whole(path, right), f"{path} was not repaired"
        self.forget_harm()

    def start(self, *, stop_after_s: float | None = None, **options: Any) -> SummaryRecord | None:
        """One start of the program; None when it died, or when an edited line was told."""
        self.twin.begin(retry_failed=options.get("retry_failed", False))
        requests = len(self.simulation.world.request_stamps)
        self.started_at = iso_utc(self.simulation.machine_clock.wall_s())
        try:
            summary = self.do(self.one_run(stop_after_s, **options))
        except ManifestError as error:
            assert self.simulation.has_lost or len(self.simulation.world.request_stamps) == requests, "told at once"
            self.take_refusal(error)
            return None
        self.has_run = True
        SEEN["died" if summary is None else ExitCode(summary.exit_code).name] += 1
        if summary is not None:
            audit(self.simulation, summary)
            if (room := self.rolling_room()) is not None and not self.simulation.has_lost:
                room.require_kept(self.started_at)
            rows = self.simulation.results()
            self.known |= {file["path"]: file["sha256"] for row in rows for file in row["files"]}
            self.forget_harm()
        return summary

    def forget_harm(self) -> None:
        for path, right in self.known.items():
            if self.is_whole(path, right):
                self.simulation.spoiled.pop(path, None)

    def is_whole(self, path: str, right: str) -> bool:
        here = self.simulation.output_dir / path
        return here.exists() and digest(here.read_bytes()) == right

    async def one_run(self, stop_after_s: float | None, **options: Any) -> SummaryRecord | None:
        options["budget"] = {} if self.budget is None else {"video": self.budget}
        options["rolling_budget"] = [] if self.rolling is None else [f"{self.rolling}/{WINDOW_S:.0f}s"]
        if stop_after_s is None:
            return await self.simulation.run(**options)
        halt = Halt()
        timer = asyncio.get_running_loop().call_later(stop_after_s, halt.leave)
        try:
            return await self.simulation.run(halt=halt, **options)
        finally:
            timer.cancel()

    def rolling_room(self) -> RollingRoom | None:
        """What a run found in the ledger, and left there."""
        return None if self.rolling is None else RollingRoom(self.rolling, WINDOW_S, self.simulation.ledger())

    def books(self) -> list[Paid]:
        """What the account says about this batch."""
        now_s = self.simulation.clock.wall_s()
        names = {ExternalId.of("batch", id_, 1, "").item: id_ for id_ in IDS}
        return [
            Paid(
                names[str(task.external_task_id).split("-")[2]],
                str(task.body["prompt"]),
                fails=bool(task.failure),
                is_over=task.ended_at_s <= now_s,
            )
            for task in self.simulation.tasks
        ]

    def take_refusal(self, error: ManifestError) -> None:
        """Lines may be told that were something else before; then they are put back as the program says."""
        told = {self.twin.lines[(problem.line or 0) - 1].id for problem in error.problems}
        assert told, "something is told"
        assert told <= self.twin.may_be_told(), f"told: {error}"
        SEEN["edits told"] += 1
        self.twin.take_back(told, self.books())
        self.write()

    # --- what must hold -------------------------------------------------------------------------------------

    def has_paid_for_lines_that_are_gone(self, books: Sequence[Paid]) -> bool:
        """What only the account can still tell of, and a run tells once."""
        here = {line.id for line in self.twin.lines}
        return self.simulation.has_lost and any(paid.id not in here for paid in books)

    def require_the_end(self, summary: SummaryRecord) -> None:
        """A run that nothing stops brings everything to its end, and says of each line what the books say."""
        in_the_way = [path for path in self.simulation.spoiled if (self.simulation.output_dir / path).exists()]
        if in_the_way and self.simulation.has_lost:
            return  # a file that no store knows is the user's own, and stands in the way
        books, rows = self.books(), self.simulation.results()
        is_unresolved = summary.exit_code == ExitCode.UNRESOLVED
        assert summary.exit_code in ENDED or (is_unresolved and self.has_paid_for_lines_that_are_gone(books)), summary
        assert not self.twin.must_be_told(books), "an edited line is told"
        made = {paid.id: paid.prompt for paid in books if not paid.fails}
        available = summary.credits["video"].available if "video" in summary.credits else None
        for line, row in zip(self.twin.lines, rows, strict=True):
            assert (row["status"] == "succeeded") == (made.get(line.id) == line.prompt), row
            assert row["status"] != "unknown", row
            if row["status"] == "pending":
                self.require_no_room(row, available)
            source = SOURCE.get(line.id, "")
            SEEN["chains"] += row["status"] == "succeeded" and bool(source)
            SEEN["second generation"] += row["status"] == "succeeded" and line.id == "b"
            assert row["reason"] != "source" or made.get(source) is None, (
                "what failed for its source is made once that is"
            )
        is_short = any(row["status"] == "pending" for row in rows)
        assert (summary.exit_code == ExitCode.BUDGET) == is_short or is_unresolved, summary
        self.twin.ended(row["id"] for row in rows if row["status"] == "failed")

    def require_no_room(self, row: Mapping[str, Any], available: Decimal | None) -> None:
        """Only a budget keeps an item waiting, and only where it has no room; or its source waits for one."""
        if (source := SOURCE.get(row["id"])) and self.standing(source) == "pending":
            return
        room = self.rolling_room()
        is_short = room is not None and not fits(row, room.left(len(room.ledger), self.started_at))
        SEEN["no room in the window"] += is_short
        assert is_short or not fits(row, available), row

    def standing(self, id_: str) -> str:
        return next(str(row["status"]) for row in self.simulation.results() if row["id"] == id_)

    def come_to_the_end(self) -> None:
        """No more harm: everything that was paid for is had, and then nothing costs anything."""
        simulation = self.simulation
        self.tasks_fail_from_now_on(fails=False)
        self.change_the_budgets(None, None)
        if simulation.has_lost:  # the account cannot name the removed lines that a lost store knew
            self.twin.put_back()
            self.write()
        for path in simulation.spoiled:
            (simulation.output_dir / path).unlink(missing_ok=True)
        summary = None
        for _ in range(RUNS_TO_THE_END):
            summary = self.start()
            if summary is not None:
                break
        assert summary is not None, "an edit could not be taken back"
        self.require_the_end(summary)
        self.repair(None)
        simulation.spoiled.clear()
        audit_end(simulation, summary)
        before, requests = simulation.tree(), len(simulation.world.request_stamps)
        assert self.start() == summary, "promise 6"
        assert simulation.tree() == before, "promise 6"
        SEEN["second attempts"] += sum(row["attempts"] > 1 for row in simulation.results())
        SEEN["wrong answers"] += simulation.sandbox.faults.injected.total()
        assert len(simulation.world.request_stamps) == requests, "promise 6"

    @invariant()
    def promises_hold(self) -> None:
        if not self.has_run:
            return  # nothing has changed that a run could have harmed
        self.has_run = False
        audit_always(self.simulation)
        self.require_sources()
        self.twin.require_allowed(Counter(paid.id for paid in self.books()))
        outside = {path.name for path in self.folder.rglob("*") if self.simulation.output_dir not in path.parents}
        assert outside <= {"batch.jsonl", "media", "start.png", "outputs"}, "promise 10"

    def require_sources(self) -> None:
        """What takes a result was given one that its source had made by then."""
        tasks = [task for task in self.simulation.tasks if task.kind == "video-extend"]
        for task in tasks:
            made = (each for each in self.simulation.tasks if each.video_id == task.body["video_id"])
            assert any(each.will_succeed and each.ended_at_s <= task.created_at_s for each in made), task


async def _pass(seconds: float) -> None:
    await asyncio.sleep(seconds)


def test_whole_runs_agree_with_their_model_whatever_happens() -> None:
    SEEN.clear()
    run_state_machine_as_test(
        RunsMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize="MODEL_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert not [what for what in MUST_BE_SEEN if SEEN[what] < EXAMPLES // 40], SEEN
