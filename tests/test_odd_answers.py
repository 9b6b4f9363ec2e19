"""Answers from a seed, each with files left out or in another order and links that are dead: nothing is lost."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from shortfall_kit import Service, answer_with, has_all, lose, now, play
from simulated_film import digest
from simulation import Simulation, audit

from batch_runner.model import Task

NAMES = ("hero-1.png", "hero-2.png", "hero-3.png")
FOREIGN = b"of somebody else"


class OddService(Service):
    """Draws anew with every answer which files it names, in which order, and which links are dead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> None:
        super().__init__(monkeypatch)
        self.rng = rng
        self.is_odd = True
        answer_with(monkeypatch, lambda task: self._oddly(task) if self.is_odd else task)

    def some(self, most: int) -> set[int]:
        return set(self.rng.sample(range(3), self.rng.randint(0, most)))

    def _oddly(self, task: Task) -> Task:
        if self.rng.random() < 0.3:
            self.gone = self.some(2)
        is_other, is_fewer = self.rng.random() < 0.4, self.rng.random() < 0.15
        assets = self.rng.sample(task.assets, len(task.assets)) if is_other else list(task.assets)
        return replace(task, assets=tuple(assets[: self.rng.randint(1, len(assets)) if is_fewer else None]))

    def draw(self) -> None:
        self.gone, self.busy = self.some(2), self.some(1)
        self.withheld = {NAMES[number] for number in self.some(1)}

    def calm(self) -> None:
        self.is_odd, self.gone, self.busy, self.withheld = False, set(), set(), set()


def foreign(simulation: Simulation, rng: random.Random) -> Path | None:
    path = simulation.batch_dir / rng.choice(NAMES)
    if path.exists() or rng.random() < 0.6:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(FOREIGN)
    return path


async def lived(simulation: Simulation, rng: random.Random) -> None:
    """A run that may be killed, beside a file that may be in its way; no file is under two names after it."""
    in_the_way = foreign(simulation, rng)
    summary = await simulation.run(retry_failed=True, die_before_sync=rng.choice([None, None, rng.randint(1, 12)]))
    if in_the_way is not None:
        assert in_the_way.read_bytes() == FOREIGN
        in_the_way.unlink()
    elif summary is not None:
        audit(simulation, summary)
    digests = [digest(content) for name, content in now(simulation).items() if name in NAMES]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_answers_name_every_file_comes_home_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)
    service = OddService(monkeypatch, rng)

    async def work(simulation: Simulation) -> None:
        for _ in range(4):
            service.draw()
            await lived(simulation, rng)
        service.calm()
        await simulation.run(retry_failed=True)
        await has_all(simulation)
        there = lose(simulation, *rng.sample(NAMES, 2))
        service.is_odd = True
        await simulation.repair()
        assert not [name for name in now(simulation) if "other" in name]
        service.calm()
        assert await simulation.repair() == {}
        assert now(simulation) == there

    play(tmp_path, work, "a fox")
