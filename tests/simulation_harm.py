"""Harm to files and the disk in a wide story: finished files removed, cut or altered, repairs, a disk without room."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from simulation import DiskFault, Simulation
from simulation_audit import entries_in, store_of
from simulation_books import CALLS
from simulation_story import DISK_FAULTS, Story

from batch_runner.errors import DiskError

ROOM = 10**12
_LOW = (0, 20_000_000, 60_000_000, 150_000_000)
"""Free bytes: none; less than the reserve; room for a clip or so; for a few."""
_SPOILABLE = (".mp4", ".png", ".mp3", ".wav", ".json")
_DERIVED = {"summary.json"}


class HarmedStory(Story):
    """A story whose finished files are harmed and repaired, on a disk that may fill up."""

    _wide: random.Random

    def __init__(self, simulation: Simulation) -> None:
        self._harm = simulation.dice("harm")
        super().__init__(simulation)

    def _forget(self) -> None:
        """A harmed file would be taken for the user's own by a store that never heard of it."""
        super()._forget()
        self._simulation.budget_was_lowered = True  # what was paid is taken up beyond any budget
        for name in self._simulation.spoiled:
            (self._simulation.output_dir / name).unlink(missing_ok=True)

    def _spoil(self) -> None:
        """Remove, cut or alter a finished file."""
        folder = self._simulation.batch_dir
        paths = sorted(path for path in folder.glob("*") if path.suffix in _SPOILABLE and path.name not in _DERIVED)
        if not paths:
            return
        path = self._wide.choice(paths)
        content = path.read_bytes()
        self._simulation.spoiled.setdefault(f"{folder.name}/{path.name}", content)
        how = self._wide.choice(["removed", "removed", "cut", "altered"])
        path.unlink()
        if how != "removed":
            path.write_bytes(content[: len(content) // 2] if how == "cut" else content[:-1] + b"?")
        self.tally[f"files {how}"] += 1

    def _look_for_mended(self) -> None:
        for name, content in list(self._simulation.spoiled.items()):
            path = self._simulation.output_dir / name
            if path.exists() and path.read_bytes() == content:
                del self._simulation.spoiled[name]

    @property
    def _can_mend(self) -> bool:
        return (self._simulation.output_dir / "state.db").exists() and not self._simulation.is_damaged

    async def _repair(self) -> None:
        """``verify --repair``: every finished file is whole again, or its item is told with a reason."""
        simulation = self._simulation
        reasons = await self._repaired()
        if reasons is None:
            return
        self.tally["repairs"] += 1
        if not simulation.has_lost and (simulation.batch_dir / "results.jsonl").exists():
            for row in simulation.results():
                harmed = simulation.spoiled.keys() & {file["path"] for file in row["files"]}
                assert not harmed or row["id"] in reasons, f"promise 2: {harmed} are neither mended nor told"

    async def _hurt_repairs(self) -> None:
        """Repairs that are killed, lose their power or meet a bad disk, one after the other."""
        dice = self._harm
        for _ in range(dice.choice([0, 0, 1, 1, 2, 4])):
            if not self._can_mend:
                return
            if dice.random() < 0.8:
                cut = dice.choice(["worst", "mixed", None]) if self._simulation.durable.is_kept else None
                await self._repaired(die_at=int(2 ** dice.uniform(0, 8)), power_cut=cut)
            else:
                call, number, most = dice.choice(DISK_FAULTS)
                fault = DiskFault(call, dice.randint(1, most // 4 + 1), number, lasts=dice.random() < 0.5)
                await self._repaired(fault=fault)

    async def _repaired(self, **trouble: Any) -> dict[str, str] | None:
        """Why items were not restored; None when that came to no end."""
        simulation = self._simulation
        tasks, outside = simulation.tasks, self._outside()
        reasons = None
        try:
            reasons = await simulation.mortal_repair(**trouble)
        except DiskError:
            if "fault" not in trouble:
                raise
            self.tally["repairs ended by the disk"] += 1
        else:
            self.tally["repairs that died"] += reasons is None
        assert simulation.tasks == tasks, "promise 1: a repair buys nothing"
        assert self._outside() == outside, "promise 10: nothing outside the output folder is made or changed"
        self._look_for_mended()
        self._audit_always()
        return reasons

    async def _starve(self) -> None:
        """The disk fills up, and somebody makes room."""
        while True:
            await asyncio.sleep(self._wide.expovariate(1 / 60))
            self._simulation.free_bytes = self._wide.choice(_LOW)
            self._simulation.was_low = True
            self.tally["low disks"] += 1
            await asyncio.sleep(self._wide.expovariate(1 / 60))
            self._simulation.free_bytes = ROOM

    def _move_away(self) -> bool:
        """What stands under the name of a file that is still to come is moved away, as the program asks.

        It is a harmed file, or one of a call that a lost store forgot and that was made again.
        """
        simulation = self._simulation
        here = f"{simulation.batch.name}/"
        paths = [simulation.output_dir / name for name in simulation.spoiled if name.startswith(here)]
        waiting = [row["id"] for row in simulation.results() if row["kind"] in CALLS and row["reason"] == "asset"]
        for item in waiting if simulation.has_lost else ():
            found = [
                *simulation.batch_dir.glob(f"{item}.*"),
                *simulation.batch_dir.glob(f"{item}-[0-9].*"),
            ]
            paths += [path for path in found if path.suffix in _SPOILABLE]
        there = [path for path in paths if path.exists()]
        for path in there:
            path.unlink(missing_ok=True)
        return bool(there)

    async def _run_without_room(self) -> None:
        """Nothing is submitted for the first time where no file could be stored."""
        simulation = self._simulation
        self._feed()
        begun, tasks = self._begun(), simulation.tasks
        simulation.free_bytes = 0
        await self._run()
        simulation.free_bytes = ROOM
        new = {task.external_task_id for task in simulation.tasks[len(tasks) :]}
        assert new <= begun, f"bought without room for it: {new - begun}"
        self.tally["runs without room"] += 1

    def _begun(self) -> set[str | None]:
        """Attempts that hold credits already, and may have been submitted."""
        with store_of(self._simulation) as reader:
            entries = [] if reader is None else entries_in(reader, self._simulation.batch.name)
        return {entry["external_task_id"] for entry in entries if entry["entry"] == "hold"}

    def _feed(self) -> None:
        """From now on there is room, whichever of two batches' stories it was taken from."""
        for starving in self._simulation.starving:
            starving.cancel()
        self._simulation.free_bytes = ROOM
