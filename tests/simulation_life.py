"""One start of the simulated program: the moments at which it can die, disk calls that fail, the machine's clock.

A death is exact: what the disk holds at that moment is what the next run finds, whatever the dying program still
does.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Concatenate, Literal, ParamSpec, TypeVar

import pytest
from seeded_loop import SeededLoop
from simulated_disk import MACHINE, Dead, SimulatedDisk, Tree

from batch_runner import launch
from batch_runner.errors import StoreError
from batch_runner.sandbox import SandboxTask
from batch_runner.store import SqliteStore
from batch_runner.virtual_time import VirtualClock

if TYPE_CHECKING:
    from simulation import Simulation

T = TypeVar("T")
P = ParamSpec("P")

PowerCut = Literal["worst", "mixed"]
"""Nothing survives that no fsync has reached, or some of it does."""


@dataclass(frozen=True)
class DiskFault:
    """The ``number``-th call of one name fails, and all later ones if it ``lasts``.

    ``call`` is that of ``SimulatedDisk``, or ``store`` (a transaction that cannot be committed) or ``committed``
    (one that is committed, and yet reported as failed).
    """

    call: str
    number: int
    errno: int
    lasts: bool = False


SYNCS = frozenset({"fsync", "fsync folder", "db sync"})
"""Calls that make something durable."""


class Life:
    """One start of the program: counts the moments at which it can die, and ends it at one of them.

    Attributes:
        moments: how many there were.
        syncs: how often a file or a folder was to be synced.
        over: set by the death.
        remains: what was on the disk then.
        failed: disk calls that failed on purpose, by name and errno.
        connections: to ``state.db``; the operating system closes them.
    """

    def __init__(
        self, die_at: int | None, bury: Callable[[], Tree], fault: DiskFault | None, die_before_sync: int | None = None
    ) -> None:
        self.moments = 0
        self.syncs = 0
        self.over = asyncio.Event()
        self.remains: Tree | None = None
        self.failed: Counter[str] = Counter()
        self.connections: list[sqlite3.Connection] = []
        self._die_at = die_at
        self._die_before_sync = die_before_sync
        self._bury = bury
        self._fault = fault
        self._calls: Counter[str] = Counter()

    def pass_moment(self) -> None:
        """One more moment, seen from outside: it may be the last."""
        self.moments += 1
        if self.moments == self._die_at:
            self.end()

    def end(self) -> None:
        """Die, now."""
        if not self.over.is_set():
            self.remains = self._bury()
            self.over.set()

    def moment(self) -> None:
        """One more moment of the program itself. Raises Dead."""
        self.pass_moment()
        if self.over.is_set():
            raise Dead

    def disk_call(self, name: str) -> int:
        """See ``simulated_disk.Machine``."""
        self.syncs += name in SYNCS
        if name in SYNCS and self.syncs == self._die_before_sync:
            self.end()
        self.moment()
        fault = self._fault
        if fault is None or fault.call != name:
            return 0
        self._calls[name] += 1
        if self._calls[name] != fault.number and not (fault.lasts and self._calls[name] > fault.number):
            return 0
        self.failed[f"{name} {errno.errorcode[fault.errno]}"] += 1
        return fault.errno


class MortalStore(SqliteStore):
    """The real store; a run may die right before or right after each of its transactions, and each may fail."""

    async def _do(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        life = MACHINE.get()
        assert isinstance(life, Life)
        if self._connection not in life.connections:
            life.connections.append(self._connection)
        number = life.disk_call("store")

        def fragile(db: sqlite3.Connection) -> T:
            result = work(db, *args, **kwargs)
            if number:
                raise sqlite3.OperationalError(os.strerror(number))
            return result

        result = await super()._do(fragile)
        number = life.disk_call("committed")
        if number:
            raise StoreError(f"{self._path}: {os.strerror(number)}")
        return result


class MachineClock:
    """The wall clock of the program's machine, which can be wrong, and the name of its boot.

    Attributes:
        offset_s: how far it is ahead of the truth.
        boots: how often the machine was started.
        booted_at_s: the simulation's time of the newest start.
    """

    def __init__(self, truth: VirtualClock) -> None:
        self._truth = truth
        self.offset_s = 0.0
        self.boots = 1
        self.booted_at_s = 0.0

    def wall_s(self) -> float:
        """What the machine believes."""
        return self._truth.wall_s() + self.offset_s

    def epoch(self) -> str:
        """Another name after each start."""
        return f"boot-{self.boots}"

    def uptime_s(self) -> float:
        """Seconds since the newest start."""
        return self._truth.uptime_s() - self.booted_at_s


def before_job() -> None:
    """A job may be a dead program's last one, which closes a file: it is let go, its traces are undone."""
    machine = MACHINE.get()
    if isinstance(machine, Life):
        machine.pass_moment()


@contextmanager
def mortal(simulation: Simulation) -> Iterator[None]:
    """Let runs die around every transaction, disk call and job, when a request arrives and when a task is made."""
    world, loop = simulation.world, asyncio.get_running_loop()
    real_add, real_stamp = world.add, world.stamp

    def add(task: SandboxTask) -> None:
        real_add(task)
        if simulation.life is not None:
            simulation.life.pass_moment()

    def stamp(now_s: float) -> None:
        real_stamp(now_s)
        if simulation.life is not None:
            simulation.life.pass_moment()

    watches_sqlite = simulation.scenario.watches_sqlite
    disk = SimulatedDisk(simulation.output_dir, simulation.durable, watches_sqlite=watches_sqlite)
    with pytest.MonkeyPatch.context() as patch, disk.between():
        patch.setattr(launch, "SqliteStore", MortalStore)
        patch.setattr(world, "add", add)
        patch.setattr(world, "stamp", stamp)
        if isinstance(loop, SeededLoop):
            patch.setattr(loop, "before_job", before_job)
        yield
