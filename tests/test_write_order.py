"""Power loss: a final name is only ever given to bytes that were fsynced, and the folder is fsynced after it."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from simulation import Scenario, Simulation, audit, simulate

from batch_runner.sandbox import FaultPlan, SandboxTask, World, WorldConfig


class Disk:
    """Knows which files and folders an fsync has reached, and what was done in between."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.synced: dict[tuple[int, int], int] = {}
        self.named: list[str] = []
        self.unsynced_names: set[Path] = set()
        self._fsync, self._link, self._replace = os.fsync, os.link, os.replace
        patch.setattr(os, "fsync", self.fsync)
        patch.setattr(os, "link", self.link)
        patch.setattr(os, "replace", self.replace)

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        found = os.fstat(descriptor)
        self.synced[found.st_dev, found.st_ino] = found.st_size
        if stat.S_ISDIR(found.st_mode):
            folder = Path(f"/proc/self/fd/{descriptor}").readlink()
            self.unsynced_names = {path for path in self.unsynced_names if path.parent != folder}

    def link(self, source: Any, target: Any, **options: Any) -> None:
        self._naming(source, target)
        self._link(source, target, **options)

    def replace(self, source: Any, target: Any, **options: Any) -> None:
        self._naming(source, target)
        self._replace(source, target, **options)

    def _naming(self, source: Any, target: Any) -> None:
        found = Path(source).stat()
        size = self.synced.get((found.st_dev, found.st_ino))
        assert size == found.st_size, f"{target} got its name before its bytes were on the disk"
        self.named.append(Path(target).name)
        self.unsynced_names.add(Path(target).absolute())


@pytest.fixture
def disk() -> Iterator[Disk]:
    with pytest.MonkeyPatch.context() as patch:
        yield Disk(patch)


def test_every_final_name_is_given_to_bytes_that_are_on_the_disk(tmp_path: Path, disk: Disk) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await simulation.run()
        assert summary is not None
        audit(simulation, summary)
        videos = [name for name in disk.named if name.endswith(".mp4")]
        assert sorted(videos) == ["item-0.mp4", "item-1.mp4", "item-2.mp4"]
        assert {"results.jsonl", "ledger.jsonl", "summary.json", "report.html"} <= set(disk.named)
        assert not disk.unsynced_names, "the folder was fsynced after the last name"

    faults = FaultPlan(script={"download": ["cut_download"]})
    simulate(Scenario(items=3, world=WorldConfig(max_concurrent=3, speed=20.0), faults=faults), tmp_path, work)


def recorded(output_dir: Path, query: str) -> set[str]:
    """What ``state.db`` tells whoever opens it now, and so the next run after a kill."""
    with closing(sqlite3.connect(output_dir / "state.db")) as db:
        return {text for (text,) in db.execute(query)}


def test_a_digest_is_recorded_before_its_file_has_its_name_and_an_intent_before_its_task_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, made, link, add, output_dir = [], [], os.link, World.add, tmp_path / "outputs"

    def naming(source: Any, target: Any, **options: Any) -> None:
        if Path(target).suffix == ".mp4":
            named.append(str(Path(target).relative_to(output_dir)))
            assert named[-1] in recorded(output_dir, "SELECT path FROM files")
        link(source, target, **options)

    def making(world: World, task: SandboxTask) -> None:
        made.append(task.external_task_id)
        assert made[-1] in recorded(output_dir, "SELECT external_task_id FROM attempts WHERE state = 'sending'")
        add(world, task)

    async def work(simulation: Simulation) -> None:
        summary = await simulation.run()
        assert summary is not None
        assert (summary.exit_code, len(named), len(made)) == (0, 3, 3)

    monkeypatch.setattr(os, "link", naming)
    monkeypatch.setattr(World, "add", making)
    simulate(Scenario(items=3, world=WorldConfig(max_concurrent=3, speed=20.0)), tmp_path, work)
