"""Two batches in one output folder, under the same rolling budgets: run one after the other, and in turns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from simulation import Simulation
from simulation_books import BatchBooks
from simulation_scenario import tight_rolling_budgets
from simulation_wide import WideStory

_NAME = "second"


class _OtherStory(WideStory):
    """The story of the second batch, told by the first one's."""

    _prefix = "other"

    def share(self, first: WideStory) -> None:
        """What befalls both is counted once, and one settings file limits both."""
        self.tally, self.rolling = first.tally, first.rolling

    async def round(self) -> None:
        """A run in trouble, and what comes before it."""
        self._between_runs()
        await self._hurt_run()

    async def run(self) -> None:
        """A run that nobody disturbs."""
        await self._run()

    async def end(self) -> None:
        """See ``Story``."""
        await self._end()


class PairStory(WideStory):
    """Deaths and harm befall whichever batch has its turn; the last credits of a window are spent once."""

    _rounds = (2, 3, 4, 6)

    def __init__(self, simulation: Simulation) -> None:
        self._turns = simulation.dice("turns")
        self._books = BatchBooks(_NAME, simulation.folder / f"{_NAME}.jsonl", f" {_NAME}")
        super().__init__(simulation)
        if self._turns.random() < 0.6:
            self.rolling |= tight_rolling_budgets(self._turns)
        simulation.batches.append(self._books)
        with self._others_turn():
            self._other = _OtherStory(simulation)
            self._other.share(self)
        self._write()

    @contextmanager
    def _others_turn(self) -> Iterator[None]:
        """The second batch is the one that is run and audited for the length of a block."""
        own, self._simulation.batch = self._simulation.batch, self._books
        try:
            yield
        finally:
            self._simulation.batch = own

    async def _hurt_run(self) -> None:
        kind = self._turns.random()
        if kind < 0.3:
            await super()._hurt_run()
        elif kind < 0.6:
            with self._others_turn():
                await self._other.round()
            self.tally["runs in trouble of a second batch"] += 1
        else:
            await self._pass_on()

    async def _pass_on(self) -> None:
        """A run dies, and the other batch is run at once, beside the tasks that it left in flight."""
        await self._run(die_after_s=self._turns.uniform(1, 30))
        now_s = self._simulation.clock.wall_s()
        left = [task for task in self._simulation.tasks if task.ended_at_s > now_s]
        self.tally["runs beside another batch's tasks"] += bool(left)
        with self._others_turn():
            await self._other.run()

    async def _end(self) -> None:
        """Each comes to its end, in either order."""
        self.tally["pairs of batches"] += 1
        self._feed()
        is_first = self._turns.random() < 0.5
        if is_first:
            await super()._end()
        with self._others_turn():
            await self._other.end()
        if not is_first:
            await super()._end()
