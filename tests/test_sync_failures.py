"""A failed sync is fatal: the run stops, nothing is synced a second time, and the next run finds its way."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from pathlib import Path

import pytest
from crash_kit import Scene, strace_trouble
from crash_oracle import BATCH
from crash_steps import Syscall
from simulation import Scenario, Simulation, audit, simulate
from store_kit import item, items, with_store

from batch_runner.errors import ExitCode, NotDurableError, StoreError
from batch_runner.model import Realm
from batch_runner.sandbox import WorldConfig
from batch_runner.store import SqliteStore, Store

DISK, DONE = ExitCode.DISK, ExitCode.OK
EIO = "error=EIO"


async def fail(scene: Scene, step: Syscall) -> None:
    """One start whose sync fails, and one that ends the batch."""
    assert step.path is not None
    assert await scene.start(step) == DISK, scene.said
    assert "durable" in scene.said or "disk I/O error" in scene.said, scene.said
    calls = sync_calls(scene, step.path)
    assert "EIO" in calls[-1], f"a sync that failed was tried again: {calls}"
    assert len(calls) >= step.number, "each thread's calls are counted by themselves"
    assert not scene.wrongs_now()
    assert await scene.start() == DONE, scene.said
    assert not scene.wrongs_at_the_end()


def sync_calls(scene: Scene, path: str) -> list[str]:
    """The sync calls of that very file (a folder's do not count for what is in it)."""
    lines = (scene.folder / "trace").read_text().splitlines()
    return [line for line in lines if f"<{scene.output_dir / path}>" in line]


@pytest.mark.parametrize(
    "step",
    [
        Syscall("fsync", 1, f"{BATCH}/item0.mp4.part", EIO),
        Syscall("fsync", 1, BATCH, EIO),
        Syscall("fsync", 1, ".", EIO),
        Syscall("fdatasync", 1, "state.db-wal", EIO),
        Syscall("fdatasync", 7, "state.db-wal", EIO),
    ],
    ids=str,
)
def test_the_program_stops_at_a_failed_sync(tmp_path: Path, step: Syscall) -> None:
    trouble = strace_trouble()
    if trouble is not None:
        pytest.skip(trouble)

    async def main() -> None:
        async with Scene(tmp_path / "scene", items=1) as scene:  # one: several threads may be in a sync at once
            await fail(scene, step)

    asyncio.run(main())


class FailingSync:
    """Lets the first sync of a file or folder with this ending fail; counts all of them."""

    def __init__(self, patch: pytest.MonkeyPatch, ending: str) -> None:
        self._ending = ending
        self._fsync = os.fsync
        self.calls: list[str] = []
        self.after: list[str] = []
        patch.setattr(os, "fsync", self)

    def __call__(self, descriptor: int) -> None:
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if path.endswith(self._ending):
            self.calls.append(path)
            if len(self.calls) == 1:
                raise OSError(5, "Input/output error")
        if self.calls:
            self.after.append(path)
        self._fsync(descriptor)


@pytest.mark.parametrize("ending", ["i0.mp4.part", "/batch"])
def test_after_a_failed_sync_nothing_is_bought_published_or_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    async def work(simulation: Simulation) -> None:
        simulation.output_dir.joinpath("batch").mkdir(parents=True)
        with monkeypatch.context() as patch:
            disk = FailingSync(patch, ending)
            with pytest.raises(NotDurableError, match="durable"):
                await simulation.run()
            assert disk.after == []
        assert len(simulation.world.tasks) <= 3, "two slots, and at most one more before the first file came"
        bought = len(simulation.world.tasks)
        summary = await simulation.run()
        assert summary is not None
        audit(simulation, summary)
        assert (summary.exit_code, len(simulation.world.tasks)) == (DONE, 8)
        assert bought < 8

    lines = tuple(json.dumps({"id": f"i{number}", "prompt": f"scene {number}"}) for number in range(8))
    simulate(Scenario(slots=2, lines=lines, world=WorldConfig(max_concurrent=2, rpm=60)), tmp_path, work)


def test_a_repair_stops_at_a_failed_sync_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(simulation: Simulation) -> None:
        await simulation.run()
        for path in simulation.output_dir.glob("batch/*.mp4"):
            path.unlink()
        with monkeypatch.context() as patch:
            disk = FailingSync(patch, ".part")
            reasons = await simulation.repair()
        assert set(reasons) == {"i0", "i1", "i2"}
        assert all("durable" in reason for reason in reasons.values())
        assert [path for path in disk.after if path.endswith(".part")] == []
        assert await simulation.repair() == {}
        assert len(simulation.world.tasks) == 3

    lines = tuple(json.dumps({"id": f"i{number}", "prompt": f"scene {number}"}) for number in range(3))
    simulate(Scenario(slots=3, lines=lines, world=WorldConfig(max_concurrent=3, rpm=60)), tmp_path, work)


# --- state.db -----------------------------------------------------------------------------------------------------


async def load(store: Store, count: int = 3) -> None:
    rows = [item(f"item{number}", number + 1) for number in range(count)]
    await store.load_batch("batch", realm=Realm.SANDBOX, manifest="m.jsonl", items=items(*rows))


def test_a_full_disk_under_the_store_is_waited_out(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        assert isinstance(store, SqliteStore)
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        loading = asyncio.ensure_future(load(store, 500))
        await asyncio.sleep(20)
        assert not loading.done()
        store._connection.execute("PRAGMA max_page_count = 100000")
        await loading

    with_store(tmp_path / "state.db", work)


def test_a_store_on_a_disk_that_stays_full_says_so_and_records_nothing_by_halves(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        assert isinstance(store, SqliteStore)
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(StoreError, match="Make room and run again"):
            await load(store, 500)
        assert 30 <= asyncio.get_running_loop().time() - began_s < 40
        assert store._connection.execute("SELECT count(*) FROM items").fetchone()[0] == 0
        assert store._connection.execute("SELECT count(*) FROM batches").fetchone()[0] == 0

    with_store(tmp_path / "state.db", work)


def test_a_store_whose_disk_failed_once_is_not_written_to_again(tmp_path: Path) -> None:
    def failing(_: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    async def work(store: Store) -> None:
        assert isinstance(store, SqliteStore)
        with pytest.raises(StoreError, match="disk I/O error"):
            await store._do(failing)
        with pytest.raises(StoreError, match="disk I/O error"):
            await load(store)
        assert store._connection.execute("SELECT count(*) FROM items").fetchone()[0] == 0

    with_store(tmp_path / "state.db", work)


def test_a_run_whose_store_cannot_record_leaves_and_the_next_one_pays_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up right after the account accepted a task: its id is not recorded, and is found again."""
    real = SqliteStore.apply
    calls = 0

    async def work(simulation: Simulation) -> None:
        short = await simulation.run()
        assert short is not None
        assert (short.exit_code, short.items.pending + short.items.unknown) == (DISK, 4)
        assert len(simulation.world.tasks) >= 1
        monkeypatch.setattr(SqliteStore, "apply", real)
        summary = await simulation.run()
        assert summary is not None
        audit(simulation, summary)
        assert (summary.exit_code, len(simulation.world.tasks)) == (DONE, 4)

    async def apply(store: SqliteStore, *args: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        if calls >= 2:
            store._connection.execute("PRAGMA max_page_count = 1")
            await store._do(lambda db: db.execute("CREATE TABLE filler AS SELECT zeroblob(1000000) AS x"))
        return await real(store, *args, **named)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(SqliteStore, "apply", apply)
    lines = tuple(json.dumps({"id": f"i{number}", "prompt": f"scene {number}"}) for number in range(4))
    simulate(Scenario(slots=2, lines=lines, world=WorldConfig(max_concurrent=2, rpm=60)), tmp_path, work)
