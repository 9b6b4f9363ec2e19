"""Nothing outside of the output folder is created, changed or followed, whoever chose the names."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from doors_kit import FAST, few, run_here, write_manifest
from simulation import Scenario, Simulation, simulate

from batch_runner.errors import DiskError, ExitCode
from batch_runner.sandbox import WorldConfig

Work = Callable[[Simulation], Coroutine[Any, Any, None]]
PRECIOUS = b"precious"


def play(tmp_path: Path, work: Work, count: int = 2) -> None:
    lines = tuple(json.dumps({"id": f"i{number}", "prompt": f"scene {number}"}) for number in range(count))
    folder = tmp_path / "work"
    folder.mkdir()
    simulate(Scenario(slots=2, lines=lines, world=WorldConfig(max_concurrent=2, rpm=60)), folder, work)


def looks(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything below a folder: kind, mode, times and content."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""  # noqa: PTH115
        found[str(path)] = (status.st_mode, status.st_mtime_ns, status.st_ino, content)
    return found


# --- links planted under every name a run uses ------------------------------------------------------------------------

REFUSED = [".lock", "state.db", "state.db-wal", "state.db-shm", "state.db-journal", "batch"]
"""Nothing is sent: the run stops before it."""
HELD_UP = ["batch/i0.mp4", "batch/i0.mp4.part", "batch/i0.mp4.part.meta"]
"""That item's file cannot be put there; exit 6 until the link is removed."""
REPLACED = ["batch/results.jsonl", "batch/ledger.jsonl", "batch/summary.json", "batch/report.html"]
"""Made anew at every end of a run: the link itself gives way."""


def plant(simulation: Simulation, name: str, target: Path) -> Path:
    link = simulation.output_dir / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    return link


@pytest.fixture(params=["to a file", "to a folder", "to nothing"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(PRECIOUS)
    (outside / "folder").mkdir()
    return outside / {"to a file": "file", "to a folder": "folder", "to nothing": "nothing"}[request.param]


@pytest.mark.parametrize("name", REFUSED)
def test_a_link_in_place_of_what_a_run_stands_on_ends_it_before_anything_is_sent(
    tmp_path: Path, target: Path, name: str
) -> None:
    async def work(simulation: Simulation) -> None:
        link = plant(simulation, name, target)
        before = looks(tmp_path / "outside")
        with pytest.raises(DiskError, match="link") as caught:
            await simulation.run()
        assert link.name in str(caught.value)
        assert looks(tmp_path / "outside") == before
        assert simulation.world.request_stamps == []
        link.unlink()
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.OK

    play(tmp_path, work)


@pytest.mark.parametrize("name", HELD_UP)
def test_a_link_in_place_of_a_file_holds_up_that_item_alone(tmp_path: Path, target: Path, name: str) -> None:
    async def work(simulation: Simulation) -> None:
        link = plant(simulation, name, target)
        before = looks(tmp_path / "outside")
        summary = await simulation.run()
        assert summary is not None
        assert (summary.exit_code, summary.items.succeeded) == (ExitCode.DISK, 1)
        assert link.is_symlink()
        assert looks(tmp_path / "outside") == before
        link.unlink()
        again = await simulation.run()
        assert again is not None
        assert (again.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 2)

    play(tmp_path, work)


@pytest.mark.parametrize("name", REPLACED)
def test_a_link_in_place_of_a_derived_file_gives_way(tmp_path: Path, target: Path, name: str) -> None:
    async def work(simulation: Simulation) -> None:
        link = plant(simulation, name, target)
        before = looks(tmp_path / "outside")
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.OK
        assert link.is_file()
        assert not link.is_symlink()
        assert looks(tmp_path / "outside") == before

    play(tmp_path, work)


@pytest.mark.parametrize("name", ["batch", "batch/i0.mp4", "batch/i0.mp4.part"])
def test_a_repair_follows_no_link(tmp_path: Path, target: Path, name: str) -> None:
    async def work(simulation: Simulation) -> None:
        await simulation.run()
        place = simulation.output_dir / name
        if name == "batch":
            place.rename(simulation.output_dir / "moved")
        else:
            (simulation.output_dir / "batch/i0.mp4").unlink()
        place.symlink_to(target)
        before = looks(tmp_path / "outside")
        try:
            reasons = await simulation.repair()
        except DiskError:
            reasons = {}
        assert looks(tmp_path / "outside") == before
        assert len(simulation.world.tasks) == 2
        if name == "batch/i0.mp4":
            assert reasons == {}
            assert place.is_file()
            assert not place.is_symlink()
            assert place.with_name("i0.mp4.damaged-1").is_symlink()

    play(tmp_path, work)


def test_a_journal_of_the_sandbox_that_is_a_link_is_not_followed(tmp_path: Path, target: Path) -> None:
    manifest = write_manifest(tmp_path / "films.jsonl", few(1))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.sandbox.jsonl").symlink_to(target)
    before = looks(tmp_path / "outside")
    ended = run_here(str(manifest), *FAST, "--output-dir", str(tmp_path / "out"), "--json")
    assert ended.code == ended.json["exit_code"] == ExitCode.DISK
    assert ".sandbox.jsonl" in ended.err
    assert looks(tmp_path / "outside") == before


@pytest.mark.parametrize("command", ["status", "ledger", "verify", "report"])
@pytest.mark.parametrize("name", ["state.db", "state.db-wal", "films-sandbox"])
def test_commands_that_look_follow_no_link(tmp_path: Path, command: str, name: str) -> None:
    manifest = write_manifest(tmp_path / "films.jsonl", few(1))
    out = tmp_path / "out"
    where = ("--sandbox", "--output-dir", str(out))
    assert run_here(str(manifest), *FAST, "--output-dir", str(out)).code == 0
    outside = tmp_path / "outside"
    outside.mkdir()
    (out / name).rename(outside / name) if (out / name).exists() else (outside / name).write_bytes(PRECIOUS)
    (out / name).symlink_to(outside / name)
    before = looks(outside)
    ended = run_here(command, str(manifest), *where)
    assert looks(outside) == before
    looks_at_files = command in {"verify", "report"}
    assert ended.code == (ExitCode.DISK if looks_at_files or name != "films-sandbox" else ExitCode.OK)
    assert "fault of the program" not in ended.err
