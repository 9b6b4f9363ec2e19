"""Every released schema: its recorded stores are opened, migrated and resumed; newer ones are left alone.

How the stores in ``tests/states`` were recorded is told there.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from doors_kit import run_here
from simulation import Scenario, Simulation, audit

from batch_runner.errors import ExitCode, StoreError
from batch_runner.sandbox import Sandbox, SandboxTask, WorldConfig
from batch_runner.sandbox.results import files
from batch_runner.service import sandbox_price
from batch_runner.store import StoreReader, connection
from batch_runner.virtual_time import VirtualClock, VirtualTimeLoop

STATES = Path(__file__).parent / "states"
AWAY_S = 90.0
"""So much later, and after another boot, the new version is started."""

Work = Callable[[Simulation], Coroutine[Any, Any, None]]


class Recorded(NamedTuple):
    """One recorded store, and the account and manifest that belong to it."""

    schema: int
    name: str

    def __str__(self) -> str:
        return f"{self.schema}-{self.name}"

    @property
    def scene(self) -> dict[str, Any]:
        text = (STATES / f"schema_{self.schema}_{self.name}.json").read_text(encoding="utf-8")
        scene: dict[str, Any] = json.loads(text)
        return scene

    def scripts(self) -> Iterator[str]:
        for stem in (f"schema_{self.schema}", f"schema_{self.schema}_{self.name}"):
            yield (STATES / f"{stem}.sql").read_text(encoding="utf-8")

    def restore(self, output_dir: Path) -> Path:
        """The store as a kill leaves it: everything that was committed stands in the write-ahead log."""
        output_dir.mkdir(parents=True)
        path, made = output_dir / "state.db", output_dir / "made.db"
        with closing(sqlite3.connect(made, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA wal_autocheckpoint = 0")
            for script in self.scripts():
                db.executescript(script)
            for suffix in ("", "-wal"):
                shutil.copy(f"{made}{suffix}", f"{path}{suffix}")
        made.unlink()
        return path


def recorded() -> list[Recorded]:
    stems = (path.stem.split("_", 2) for path in sorted(STATES.glob("schema_*_*.sql")))
    return [Recorded(int(schema), name) for _, schema, name in stems]


every_recorded = pytest.mark.parametrize("was", recorded(), ids=str)


def resume(was: Recorded, folder: Path, work: Work, **account: Any) -> None:
    """Run ``work`` where the recorded batch stands: its folder, its account, a minute and a half later."""
    scene = was.scene
    lines = tuple(json.dumps(line) for line in scene["manifest"])
    numbers = {"max_concurrent": 3, "rpm": 60, "speed": 30.0, "repeat_policy": scene["repeat_policy"], **account}
    world = WorldConfig(**numbers)

    async def main() -> None:
        clock = VirtualClock(asyncio.get_running_loop(), scene["wall_s"] + AWAY_S)
        async with Sandbox(world, clock=clock, price=sandbox_price) as sandbox:
            for record in scene["tasks"]:
                sandbox.world.add(SandboxTask.from_json(record))
            here = Simulation(Scenario(slots=3, rpm=60, world=world, lines=lines), folder, sandbox, clock)
            shutil.copy(STATES / "still.png", folder)
            was.restore(here.output_dir)
            _put_finished_files_back(here)
            await work(here)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


def _put_finished_files_back(here: Simulation) -> None:
    query = "SELECT path, task_id FROM files JOIN attempts USING (attempt_id) WHERE state = 'published'"
    clips = {task.task_id: here.sandbox.film(next(files(task))) for task in here.world.tasks if task.will_succeed}
    for path, task_id in rows_of(here.output_dir / "state.db", query):
        (here.output_dir / path).parent.mkdir(exist_ok=True)
        (here.output_dir / path).write_bytes(clips[task_id])


def rows_of(path: Path, query: str) -> list[Any]:
    """Read without touching: the copy is opened, so that the log beside the original stays where it is."""
    copy = path.with_name("looked-at.db")
    for suffix in ("", "-wal"):
        if Path(f"{path}{suffix}").exists():
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    try:
        with closing(sqlite3.connect(copy)) as db:
            return list(db.execute(query))
    finally:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{copy}{suffix}").unlink(missing_ok=True)


ENDS = {
    "finished": (ExitCode.ITEMS_FAILED, {"failed": 3, "succeeded": 2}),
    "overdue": (ExitCode.STOPPED, {"pending": 1, "succeeded": 1}),
}
"""How a recorded batch ends, where it does not simply succeed."""
OPTIONS: dict[str, dict[str, Any]] = {"overdue": {"task_deadline_s": 60}, "asset_gone": {"retry_failed": True}}


def test_every_kind_of_state_was_recorded() -> None:
    found = {state for was in recorded() if was.schema == 1 for state in was.scene["states"]}
    assert found == {
        "ready", "sending", "unknown", "in_flight", "missing", "succeeded", "published", "asset_gone", "failed",
        "refused", "withdrawn",
    }  # fmt: skip


@every_recorded
def test_a_recorded_store_is_resumed_to_its_right_end_and_nothing_is_paid_twice(was: Recorded, tmp_path: Path) -> None:
    async def work(here: Simulation) -> None:
        code, counts = ENDS.get(was.name, (ExitCode.OK, {"succeeded": len(was.scene["manifest"])}))
        paid = [task.external_task_id for task in here.world.tasks if task.will_succeed]
        summary = await here.run(**OPTIONS.get(was.name, {}))
        assert summary is not None
        audit(here, summary)
        assert summary.exit_code == code
        assert Counter(row["status"] for row in here.results()) == counts
        made = [task.external_task_id for task in here.world.tasks if task.will_succeed]
        assert made[: len(paid)] == paid
        assert len(set(made)) == len(made)
        assert rows_of(here.output_dir / "state.db", "PRAGMA user_version") == [(connection.SCHEMA_VERSION,)]
        for row in here.results():
            for file in row["files"]:
                assert (here.output_dir / file["path"]).is_file()

    resume(was, tmp_path, work)


def test_what_this_version_leaves_can_be_recorded_and_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the day of its release would be too late: recordings of sealed rows once read as damaged."""
    spec = importlib.util.spec_from_file_location("record", STATES / "record.py")
    assert spec is not None
    assert spec.loader is not None
    record = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "record", record)
    spec.loader.exec_module(record)
    states, played = tmp_path / "states", tmp_path / "played"
    for folder in (states, played):
        folder.mkdir()
    shutil.copy(STATES / "still.png", states)
    monkeypatch.setattr(record, "HERE", states)
    monkeypatch.setattr(sys.modules[__name__], "STATES", states)
    for recording in record.RECORDINGS:
        if recording.name in {"asset_gone", "withdrawn"}:
            record._record(recording, played)
    assert [str(was) for was in recorded()] == [f"{connection.SCHEMA_VERSION}-{n}" for n in ("asset_gone", "withdrawn")]
    for was in recorded():
        folder = tmp_path / was.name
        folder.mkdir()
        test_a_recorded_store_is_resumed_to_its_right_end_and_nothing_is_paid_twice(was, folder)


@every_recorded
def test_a_recorded_store_can_be_looked_at_before_it_is_resumed(was: Recorded, tmp_path: Path) -> None:
    path = was.restore(tmp_path / "outputs")
    manifest = tmp_path / "batch.jsonl"
    shutil.copy(STATES / "still.png", tmp_path)
    manifest.write_text("".join(json.dumps(line) + "\n" for line in was.scene["manifest"]), encoding="utf-8")
    before = rows_of(path, "SELECT * FROM attempts ORDER BY attempt_id")
    for command in ("status", "ledger"):
        for arguments in ([], [str(manifest)]):
            shown = run_here(command, *arguments, "--output-dir", str(path.parent))
            assert shown.code == 0, shown
            assert "batch" in shown.out
    with StoreReader.open(path) as reader:
        batch = reader.batch("batch")
        assert batch is not None
        assert sum(entry.entry == "hold" for entry in reader.ledger(batch)) >= len(before)
        assert len(reader.results(batch)) <= len(was.scene["manifest"])
    assert rows_of(path, "SELECT * FROM attempts ORDER BY attempt_id") == before


def bytes_of(path: Path) -> dict[str, bytes]:
    return {suffix: Path(f"{path}{suffix}").read_bytes() for suffix in ("", "-wal") if Path(f"{path}{suffix}").exists()}


@every_recorded
def test_a_migrated_store_is_made_like_a_new_one(was: Recorded, tmp_path: Path) -> None:
    path = was.restore(tmp_path / "old")
    before = rows_of(path, "SELECT * FROM entries ORDER BY seq")
    connection.open_writer(path).close()
    connection.open_writer(tmp_path / "new.db").close()
    assert shape_of(path) == shape_of(tmp_path / "new.db")
    assert [row[: len(before[0])] for row in rows_of(path, "SELECT * FROM entries ORDER BY seq")] == before


def shape_of(path: Path) -> dict[str, Any]:
    tables = [row[0] for row in rows_of(path, "SELECT name FROM sqlite_master WHERE type IN ('table', 'index')")]
    return {
        table: rows_of(path, f"SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('{table}')")
        for table in tables
    }


def newer(was: Recorded, folder: Path) -> Path:
    """A store as a later version, killed, would leave it: its log is not yet in the file."""
    path = was.restore(folder)
    made = path.with_name("newer.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("CREATE TABLE of_tomorrow (x TEXT) STRICT")
        db.execute(f"PRAGMA user_version = {connection.SCHEMA_VERSION + 1}")
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{made}{suffix}")
    for suffix in ("", "-wal"):
        shutil.move(f"{made}{suffix}", f"{path}{suffix}")
    return path


def test_a_newer_store_is_refused_without_a_byte_changed_even_with_its_log_beside_it(tmp_path: Path) -> None:
    path = newer(recorded()[0], tmp_path / "outputs")
    before = bytes_of(path)
    assert set(before) == {"", "-wal"}
    with pytest.raises(StoreError, match="newer version"):
        connection.open_writer(path)
    assert bytes_of(path) == before
    with pytest.raises(StoreError, match="newer version"), StoreReader.open(path):
        pass
    assert bytes_of(path) == before


def test_a_log_whose_file_was_deleted_does_not_keep_a_new_store_from_being_made(tmp_path: Path) -> None:
    path = recorded()[0].restore(tmp_path / "outputs")
    path.unlink()
    connection.open_writer(path).close()
    assert shape_of(path)["attempts"]
    assert rows_of(path, "SELECT count(*) FROM attempts") == [(0,)]


@pytest.mark.parametrize("command", ["run", "status", "ledger", "verify", "report"])
def test_every_command_refuses_a_newer_store_in_words(tmp_path: Path, command: str) -> None:
    path = newer(recorded()[0], tmp_path / "outputs")
    manifest = tmp_path / "batch.jsonl"
    manifest.write_text('{"id": "a", "prompt": "a"}\n', encoding="utf-8")
    before = bytes_of(path)
    shown = run_here(command, str(manifest), "--output-dir", str(path.parent), "--sandbox")
    assert (shown.code, shown.out) == (ExitCode.DISK, "")
    assert "upgrade batch_runner" in shown.err
    assert "Traceback" not in shown.err
    assert bytes_of(path) == before


_DIE_IN_THE_MIGRATION = """
import os, signal, sys
from pathlib import Path
from batch_runner.store import connection

def mortal(script, statements=connection._statements):
    for statement in statements(script):
        die()
        yield statement

def die():
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

connection._statements = mortal
for left, path in enumerate(sys.stdin):
    child = os.fork()
    if not child:
        connection.open_writer(Path(path.rstrip()))
        die()
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@contextmanager
def dying_in_the_migration() -> Iterator[Callable[[Path], int]]:
    """Migrates one store after the other, each time in a process that is killed a statement later than the one before.

    Returns the signal that ended it. One process imports the program for all of them, and is forked.
    """
    command = [sys.executable, "-c", _DIE_IN_THE_MIGRATION]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        asks, answers = nursery.stdin, nursery.stdout

        def killed_by(path: Path) -> int:
            print(path, file=asks, flush=True)
            return os.WTERMSIG(int(answers.readline()))

        yield killed_by
        asks.close()


def test_a_migration_killed_at_any_statement_leaves_the_old_schema_or_the_new_one(tmp_path: Path) -> None:
    was = next(each for each in recorded() if str(each) == "1-in_flight")
    whole = {1: shape_of(was.restore(tmp_path / "old"))}
    connection.open_writer(tmp_path / "new.db").close()
    whole[connection.SCHEMA_VERSION] = shape_of(tmp_path / "new.db")
    seen: list[int] = []
    with dying_in_the_migration() as killed_by:
        while seen[-1:] != [connection.SCHEMA_VERSION]:
            path = was.restore(tmp_path / str(len(seen)))
            rows = rows_of(path, "SELECT attempt_id, state, task_id, held FROM attempts")
            assert killed_by(path) == signal.SIGKILL
            seen.append(rows_of(path, "PRAGMA user_version")[0][0])
            assert shape_of(path) == whole[seen[-1]]
            assert rows_of(path, "SELECT attempt_id, state, task_id, held FROM attempts") == rows
            connection.open_writer(path).close()
            assert shape_of(path) == whole[connection.SCHEMA_VERSION]
    assert seen[:-1] == [1] * (len(seen) - 1)
    assert len(seen) > 4, "it was killed between its statements"
