"""Room on the disk: nothing is bought that could not be stored, and a full disk loses nothing that was."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, BinaryIO

import aiofiles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import Scenario, Simulation, audit, simulate

from batch_runner import catalog
from batch_runner.errors import DiskError, ExitCode
from batch_runner.events import ItemFinished, Notice
from batch_runner.records import SummaryRecord
from batch_runner.runner import Halt
from batch_runner.runner.room import RESERVE_BYTES
from batch_runner.sandbox import FaultPlan, WorldConfig

Work = Callable[[Simulation], Coroutine[Any, Any, None]]
CLIP_BYTES = catalog.expected_bytes("text2video", {"prompt": "x", "duration": "5"})


def play(
    tmp_path: Path,
    work: Work,
    count: int,
    *,
    slots: int = 2,
    speed: float = 1.0,
    slow: int | None = None,
    faults: FaultPlan | None = None,
) -> None:
    prompts = [f"scene {number}{' [sandbox:slow]' if number == slow else ''}" for number in range(count)]
    lines = tuple(json.dumps({"id": f"i{number}", "prompt": prompt}) for number, prompt in enumerate(prompts))
    world = WorldConfig(max_concurrent=slots, rpm=60, speed=speed)
    simulate(Scenario(slots=slots, lines=lines, world=world, faults=faults or FaultPlan()), tmp_path, work)


async def done(simulation: Simulation, **options: Any) -> SummaryRecord:
    summary = await simulation.run(**options)
    assert summary is not None
    audit(simulation, summary)
    return summary


def statuses(simulation: Simulation) -> list[tuple[str, str | None]]:
    return [(row["status"], row["reason"]) for row in simulation.results()]


def shortages(simulation: Simulation) -> list[str]:
    texts = [event.text for event in simulation.events if isinstance(event, Notice) and event.urgent]
    return [text for text in texts if "until there is room" in text]


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(3600):
        while not is_so():  # noqa: ASYNC110 - looks at the world from outside, under virtual time
            await asyncio.sleep(1)


# --- how much a file needs -----------------------------------------------------------------------------------------


def test_the_estimate_covers_the_largest_file_that_was_measured() -> None:
    assert catalog.expected_bytes("text2video", {"mode": "pro", "duration": "5"}) >= 27_000_000
    assert catalog.expected_bytes("text2video", {"mode": "std", "duration": "3", "model_name": "kling-v3"}) >= 2_100_000


@given(st.sampled_from(["std", "pro", "4k", "of a model yet unknown"]), st.integers(1, 60))
def test_a_longer_clip_never_needs_less(mode: str, seconds: int) -> None:
    fields = {"model_name": "kling-v3", "mode": mode}
    shorter = catalog.expected_bytes("text2video", {**fields, "duration": str(seconds)})
    assert 0 < shorter < catalog.expected_bytes("text2video", {**fields, "duration": str(seconds + 1)})


@pytest.mark.parametrize("kind", catalog.kinds())
def test_every_product_has_an_estimate_even_of_an_unknown_model(kind: str) -> None:
    assert catalog.expected_bytes(kind, {}) > 0
    assert catalog.expected_bytes(kind, {"model_name": "kling-v99", "duration": "soon"}) > 0


# --- before a submission -------------------------------------------------------------------------------------------


def test_nothing_is_submitted_while_there_is_no_room(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        simulation.free_bytes = RESERVE_BYTES + CLIP_BYTES - 1
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.DISK
        assert (simulation.world.tasks, statuses(simulation)) == ([], [("pending", "disk")] * 3)
        assert summary.credits["video"].held == 0
        assert summary.requests.submit == 0
        assert len(simulation.ledger()) == 2, "one hold and its release, not one for every slot"
        simulation.free_bytes += 1
        again = await done(simulation)
        assert (again.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 3)

    play(tmp_path, work, 3)


def test_what_is_in_flight_counts_so_that_a_small_disk_takes_one_at_a_time(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        simulation.free_bytes = RESERVE_BYTES + 2 * CLIP_BYTES - 1
        summary = await done(simulation)
        assert (summary.exit_code, simulation.world.peak_in_flight) == (ExitCode.OK, 1)
        assert len(shortages(simulation)) < 4, "it is said now and then, not once a file"

    play(tmp_path, work, 4, slots=3)


def test_tasks_of_an_earlier_run_count_too(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await done(simulation, max_runtime_s=20)
        assert len(simulation.world.tasks) == 2
        simulation.free_bytes = RESERVE_BYTES + 3 * CLIP_BYTES - 1
        began_s = simulation.clock.wall_s()
        assert (await done(simulation)).exit_code == ExitCode.OK
        ends = sorted(task.ended_at_s for task in simulation.world.tasks[:2])
        assert began_s < ends[0] <= simulation.world.tasks[2].created_at_s

    play(tmp_path, work, 3, slots=2)


def test_submitting_pauses_while_the_disk_is_full_and_goes_on_by_itself(tmp_path: Path) -> None:
    """The disk fills up in the middle of a run; what is in flight is followed and collected all the same."""

    async def work(simulation: Simulation) -> None:
        run = asyncio.ensure_future(done(simulation))
        await asyncio.sleep(30)
        submitted = len(simulation.world.tasks)
        assert submitted == 2
        simulation.free_bytes = 0
        await until(lambda: any(isinstance(event, ItemFinished) for event in simulation.events))
        assert len(simulation.world.tasks) == submitted
        assert shortages(simulation)
        simulation.free_bytes = 10**12
        assert (await run).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 6

    play(tmp_path, work, 6)


def test_when_nothing_moves_any_more_the_run_ends_with_what_there_was_room_for(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        run = asyncio.ensure_future(done(simulation))
        await asyncio.sleep(30)
        simulation.free_bytes = 0
        summary = await run
        assert summary.exit_code == ExitCode.DISK
        assert sorted(statuses(simulation)) == [("pending", "disk")] * 4 + [("succeeded", None)] * 2

    play(tmp_path, work, 6)


def test_a_stop_does_not_wait_for_room(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        halt = Halt()
        run = asyncio.ensure_future(done(simulation, halt=halt))
        await asyncio.sleep(30)
        simulation.free_bytes = 0
        await until(lambda: bool(shortages(simulation)))
        before_s = simulation.clock.wall_s()
        halt.leave()
        summary = await run
        assert summary.exit_code == ExitCode.STOPPED
        assert simulation.clock.wall_s() - before_s < 10
        assert summary.credits["video"].held == len(simulation.world.tasks) - summary.credits["video"].consumed

    play(tmp_path, work, 6)


def test_a_disk_that_does_not_tell_ends_the_run_before_anything_is_bought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(simulation: Simulation) -> None:
        def broken(_: object) -> int:
            raise DiskError("cannot look at outputs: the disk reported an error")

        monkeypatch.setattr(Simulation, "free_bytes", property(broken, lambda *_: None), raising=False)
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.DISK
        assert summary.credits["video"].held == 0
        assert "the disk reported an error" in "".join(
            event.text for event in simulation.events if isinstance(event, Notice)
        )
        assert simulation.world.tasks == []

    play(tmp_path, work, 2)


# --- in the middle of a download -----------------------------------------------------------------------------------


class SmallDisk:
    """Lets part files grow only as far as there is room, as a full file system does."""

    def __init__(self, simulation: Simulation, room: int) -> None:
        self.simulation = simulation
        self.room = room
        self.refusals = 0

    def used(self) -> int:
        return sum(path.stat().st_size for path in self.simulation.output_dir.glob("batch/*.part"))

    def write(self, file: BinaryIO, data: bytes) -> int:
        if self.used() + len(data) > self.room:
            self.refusals += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        written = file.write(data)
        file.flush()
        return written


Install = Callable[[Simulation, int], SmallDisk]


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> Install:
    opened = aiofiles.open

    def install(simulation: Simulation, room: int) -> SmallDisk:
        disk = SmallDisk(simulation, room)

        async def opening(*args: Any, **named: Any) -> Any:
            file = await opened(*args, **named)
            raw = file._file

            async def write(data: bytes) -> int:
                return await asyncio.get_running_loop().run_in_executor(None, disk.write, raw, data)

            file.write = write
            return file

        monkeypatch.setattr(aiofiles, "open", opening)
        return disk

    return install


def test_a_disk_that_fills_up_under_a_download_costs_no_video(tmp_path: Path, small_disk: Install) -> None:
    async def work(simulation: Simulation) -> None:
        disk = small_disk(simulation, 0)
        run = asyncio.ensure_future(done(simulation))
        await until(lambda: disk.refusals > 0)
        submitted = len(simulation.world.tasks)
        simulation.free_bytes = 0
        await asyncio.sleep(60)
        assert len(simulation.world.tasks) == submitted, "submitting pauses"
        assert list(simulation.output_dir.glob("batch/*.part")) == [], "what lay half is given back"
        simulation.free_bytes = disk.room = 10**12
        summary = await run
        assert summary.exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 4

    play(tmp_path, work, 4, slow=1)


def test_a_disk_that_stays_full_ends_in_exit_6_and_the_next_run_fetches_what_was_paid(
    tmp_path: Path, small_disk: Install
) -> None:
    async def work(simulation: Simulation) -> None:
        disk = small_disk(simulation, 0)
        run = asyncio.ensure_future(done(simulation))
        await until(lambda: disk.refusals > 0)
        simulation.free_bytes = 0
        summary = await run
        assert summary.exit_code == ExitCode.DISK
        paid = len(simulation.world.tasks)
        assert sorted(statuses(simulation)) == [("pending", "asset")] * paid + [("pending", "disk")] * (4 - paid)
        simulation.free_bytes = disk.room = 10**12
        again = await done(simulation)
        assert (again.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 4)

    play(tmp_path, work, 4)


def test_files_that_fill_the_disk_together_arrive_one_after_the_other(tmp_path: Path, small_disk: Install) -> None:
    """Three lie half, and there is no room for the other halves: each that gives up leaves its share to the others."""

    async def work(simulation: Simulation) -> None:
        disk = small_disk(simulation, 10**12)
        run = asyncio.ensure_future(done(simulation))
        await until(lambda: len(list(simulation.output_dir.glob("batch/*.part"))) == 3)
        await asyncio.sleep(5)
        disk.room = disk.used() + 1000
        assert (await run).exit_code == ExitCode.OK
        assert disk.refusals >= 1
        assert len(simulation.world.tasks) == 3

    play(tmp_path, work, 3, slots=3, speed=20.0, faults=FaultPlan(slow_s=25.0, script={"download": ["slow"] * 3}))


def test_a_quota_that_no_figure_shows_is_tried_again_only_while_something_else_moves(
    tmp_path: Path, small_disk: Install
) -> None:
    async def work(simulation: Simulation) -> None:
        disk = small_disk(simulation, 0)
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.DISK
        assert disk.refusals <= 12
        assert summary.credits["video"].consumed == len(simulation.world.tasks)

    play(tmp_path, work, 4)


def test_a_file_that_cannot_be_had_does_not_keep_the_room_that_others_wait_for(
    tmp_path: Path, small_disk: Install
) -> None:
    """The disk was full; the first file that is tried again then meets a dead server, and the others still come."""

    async def work(simulation: Simulation) -> None:
        disk = small_disk(simulation, 10**12)
        run = asyncio.ensure_future(done(simulation))
        await until(lambda: len(list(simulation.output_dir.glob("batch/*.part"))) == 3)
        await asyncio.sleep(5)
        disk.room = 0
        await until(lambda: disk.refusals == 3)
        disk.room = 10**12
        summary = await run
        assert summary.exit_code == ExitCode.STOPPED
        assert sorted(statuses(simulation)) == [("pending", "asset"), ("succeeded", None), ("succeeded", None)]

    downloads = [*["slow"] * 3, *["html_download"] * 8]
    play(tmp_path, work, 3, slots=3, speed=20.0, faults=FaultPlan(slow_s=25.0, script={"download": downloads}))
