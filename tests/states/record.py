"""Records what a released version of the program leaves in ``state.db``, for ``test_upgrade.py``.

Run it from a checkout of the version that is to be recorded, with that checkout's own tests beside it:

    git worktree add ../released COMMIT && cd ../released
    python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]'
    PYTHONPATH=tests .venv/bin/python WHERE_THIS_IS/record.py

Every recording is a real batch on the simulated account under virtual time; deaths are those of ``simulation.py``.
"""

from __future__ import annotations

import base64
import itertools
import json
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import simulation
from simulation import Scenario, Simulation

from batch_runner.sandbox import FaultPlan, WorldConfig
from batch_runner.sandbox.results import File
from batch_runner.store.connection import SCHEMA_VERSION

HERE = Path(__file__).parent
PICTURE = base64.b64encode((HERE / "still.png").read_bytes()).decode()
FAST = 30.0

States = Counter[str]
Play = Callable[[Simulation, int], Awaitable[object]]
Wish = Callable[[Simulation, States], bool]


def _line(item_id: str, prompt: str, **fields: object) -> dict[str, object]:
    return {"id": item_id, "prompt": prompt, "model_name": "kling-v2-5-turbo", **fields}


def _plain(count: int) -> list[dict[str, object]]:
    return [_line(f"i{number}", f"scene {number}") for number in range(count)]


@dataclass(frozen=True)
class Recording:
    """One batch, how it is played, and what its states have to be when it is kept."""

    name: str
    lines: Sequence[dict[str, object]]
    play: Play
    wish: Wish
    world: WorldConfig = field(default_factory=lambda: WorldConfig(max_concurrent=3, rpm=60, speed=FAST))
    faults: FaultPlan = field(default_factory=FaultPlan)
    slots: int = 3


async def _die(on: Simulation, moment: int) -> None:
    await on.run(die_at=moment)


async def _run(on: Simulation, _: int) -> None:
    await on.run()


async def _run_twice(on: Simulation, _: int) -> None:
    await on.run(budget={"video": 20})
    await on.run(budget={"video": 20}, retry_failed=True)


async def _remove_a_line(on: Simulation, moment: int) -> None:
    await on.run(die_at=moment)
    lines = on.manifest.read_text(encoding="utf-8").splitlines(keepends=True)
    on.manifest.write_text("".join(lines[1:]), encoding="utf-8")
    await on.run(die_at=12)


async def _lose_sight(on: Simulation, moment: int) -> None:
    await on.run(die_at=moment)
    with mock.patch.multiple(type(on.world), find=lambda *_: None, page=lambda *_: []):
        await on.run()


async def _overdue(on: Simulation, _: int) -> None:
    await on.run(task_deadline_s=60)


def _wish(*states: str, unheard_of: int | None = None) -> Wish:
    """All these states at once; ``unheard_of`` tasks that the account has and the store knows no id of."""

    def fits(on: Simulation, found: States) -> bool:
        known = _known_tasks(on.output_dir / "state.db")
        extra = sum(task.task_id not in known for task in on.world.tasks)
        return not Counter(states) - found and unheard_of in {None, extra}

    return fits


def _a_file_without_its_name(on: Simulation, found: States) -> bool:
    """A digest is durable, and the death came before the file got its final name."""
    paths = [row[0] for row in _rows(on.output_dir / "state.db", "SELECT path FROM files")]
    return bool(found["in_flight"]) and any(not (on.output_dir / path).exists() for path in paths)


MANY = [
    *_plain(4),
    _line("still", "a picture that moves", image="still.png"),
    _line("long", "ten seconds", model_name="kling-v2-6", duration="10", priority=2),
]

RECORDINGS = (
    Recording(
        "finished",
        [
            *_plain(2),
            _line("fails", "[sandbox:fail]"),
            _line("forbidden", "[sandbox:policy]"),
            _line("late", "[sandbox:late-policy]"),
        ],
        _run_twice,
        _wish("published", "published", "failed", "failed", "failed", "failed", "refused", "refused"),
    ),
    Recording("in_flight", MANY, _die, _wish("published", "in_flight", "in_flight", "in_flight")),
    Recording("digest_recorded", MANY, _die, _a_file_without_its_name),
    Recording("sending_made", MANY, _die, _wish("in_flight", "sending", unheard_of=1)),
    Recording("held", MANY, _die, _wish("in_flight", "ready", "sending", unheard_of=0)),
    Recording(
        "unknown_made",
        MANY,
        _die,
        _wish("unknown", "unknown", unheard_of=2),
        WorldConfig(max_concurrent=3, rpm=60, speed=FAST, visible_after_s=6.0, repeat_policy="second"),
        FaultPlan(script={"create": ["lost_answer", "html_200"]}),
    ),
    Recording(
        "unknown_unmade",
        _plain(2),
        _run,
        _wish("unknown", "published", unheard_of=0),
        faults=FaultPlan(script={"create": ["server_error_before", "", *["server_error_before"] * 3]}),
        slots=2,
    ),
    Recording(
        "withdrawn",
        _plain(4),
        _run,
        _wish("withdrawn", "published"),
        WorldConfig(max_concurrent=3, rpm=60, speed=FAST, pack_credits=Decimal(2)),
    ),
    Recording(
        "asset_pending",
        _plain(2),
        _run,
        _wish("succeeded", "succeeded"),
        faults=FaultPlan(script={"download": ["html_download"] * 60}),
    ),
    Recording(
        "asset_gone",
        _plain(2),
        _run,
        _wish("asset_gone", "published"),
        faults=FaultPlan(script={"download": ["", *["expired_link"] * 8]}),
    ),
    Recording("missing", _plain(2), _lose_sight, _wish("missing", "missing")),
    Recording("overdue", [*_plain(1), _line("stuck", "[sandbox:stuck]")], _overdue, _wish("published", "in_flight")),
    Recording("removed_line", _plain(4), _remove_a_line, _wish("in_flight", "in_flight", "in_flight")),
)


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as db:
        return list(db.execute(query)) if list(db.execute("SELECT 1 FROM sqlite_master LIMIT 1")) else []


def _known_tasks(path: Path) -> set[str]:
    return {row[0] for row in _rows(path, "SELECT task_id FROM attempts WHERE task_id IS NOT NULL")}


def _states(path: Path) -> States:
    return Counter(row[0] for row in _rows(path, "SELECT state FROM attempts"))


def _schema(path: Path) -> Iterator[str]:
    for pragma in ("application_id", "user_version"):
        yield f"PRAGMA {pragma} = {_rows(path, f'PRAGMA {pragma}')[0][0]}"
    yield from (row[0] for row in _rows(path, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"))


def _contents(path: Path) -> Iterator[str]:
    with closing(sqlite3.connect(path)) as db:
        yield from (line for line in db.iterdump() if line.startswith("INSERT INTO"))


def _keep(recording: Recording, on: Simulation) -> None:
    path, start = on.output_dir / "state.db", HERE / f"schema_{SCHEMA_VERSION}"
    start.with_name(f"{start.name}.sql").write_text("".join(f"{sql};\n" for sql in _schema(path)), encoding="utf-8")
    stem = f"{start.name}_{recording.name}"
    text = "".join(f"{line}\n" for line in _contents(path))  # as it is: rows are sealed, and paths are in them
    start.with_name(f"{stem}.sql").write_text(text, encoding="utf-8")
    scene = {
        "wall_s": on.clock.wall_s(),
        "states": dict(sorted(_states(path).items())),
        "manifest": [json.loads(line) for line in on.manifest.read_text(encoding="utf-8").splitlines()],
        "repeat_policy": recording.world.repeat_policy,
        "tasks": [task.to_json() for task in on.world.tasks],
    }
    start.with_name(f"{stem}.json").write_text(json.dumps(scene, indent=1) + "\n", encoding="utf-8")


def _record(recording: Recording, folder: Path) -> None:
    for moment in itertools.count(1):
        here = folder / f"{recording.name}-{moment}"
        here.mkdir()
        (here / "still.png").write_bytes((HERE / "still.png").read_bytes())

        async def work(on: Simulation, moment: int = moment) -> bool:
            await recording.play(on, moment)
            fits = recording.wish(on, _states(on.output_dir / "state.db"))
            if fits:
                _keep(recording, on)
            return fits

        lines = tuple(json.dumps(line) for line in recording.lines)
        scenario = Scenario(slots=recording.slots, rpm=60, world=recording.world, faults=recording.faults, lines=lines)
        with mock.patch.object(simulation, "small_film", File.content):  # the files that test_upgrade puts back
            is_kept = simulation.simulate(scenario, here, work)
        if is_kept:
            return
        if moment > 400:
            raise SystemExit(f"{recording.name}: no moment shows the wished states")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for recording in RECORDINGS:
            _record(recording, Path(folder))


if __name__ == "__main__":
    main()
