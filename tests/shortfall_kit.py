"""A service that names and hands out only some files of a task, for tests of what is kept and told then."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulation import Scenario, Simulation, audit, simulate

from batch_runner.download import BadDownload, Downloaded, Downloader, LinkExpired
from batch_runner.errors import DiskError, ExitCode
from batch_runner.events import Notice
from batch_runner.kling.client import KlingClient
from batch_runner.model import Page, Task
from batch_runner.records import SummaryRecord
from batch_runner.sandbox import WorldConfig


def play(tmp_path: Path, work: Callable[[Simulation], Coroutine[Any, Any, None]], prompt: str, count: int = 3) -> None:
    line = {"id": "hero", "kind": "images", "model_name": "kling-v2-1", "prompt": prompt, "n": count}
    world = WorldConfig(max_concurrent=3, rpm=60)
    simulate(Scenario(slots=3, world=world, lines=(json.dumps(line),)), tmp_path, work)


async def done(simulation: Simulation) -> SummaryRecord:
    summary = await simulation.run()
    assert summary is not None
    audit(simulation, summary)
    assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)
    return summary


def urgent(simulation: Simulation) -> list[str]:
    return [event.text for event in simulation.events if isinstance(event, Notice) and event.urgent]


class Service:
    """Names and hands out only some files of a task, as long as it is told to.

    Attributes:
        named: the numbers of the files that are named, in this order; None: all.
        looks: how many answers to come name no others.
        withheld: names that no file comes under, for the disk refuses.
        gone: the numbers of the files of which no link is honoured.
        busy: the numbers of the files that cannot be had now.
        fetched: the numbers of all files that were asked for, in order.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.named: list[int] | None = None
        self.looks = 10**9
        self.withheld: set[str] = set()
        self.gone: set[int] = set()
        self.busy: set[int] = set()
        self.fetched: list[int] = []
        numbers: dict[str, int] = {}
        find, page, fetch = KlingClient.find, KlingClient.page, Downloader.fetch

        def short(task: Task) -> Task:
            named = self.named
            numbers.update((asset.url.partition("?")[0], number) for number, asset in enumerate(task.assets))
            return (
                task
                if named is None
                else replace(task, assets=tuple(task.assets[place] for place in named[: len(task.assets)]))
            )

        async def short_find(client: KlingClient, *args: Any, **options: Any) -> Task | None:
            task = await find(client, *args, **options)
            if task is None or not task.assets:
                return task
            self.looks -= 1
            shortened = short(task)
            return shortened if self.looks >= 0 else task

        async def short_page(client: KlingClient, *args: Any) -> Page:
            return Page([short(task) for task in (await page(client, *args)).tasks])

        async def some(downloader: Downloader, url: str, part_path: Path, *args: Any) -> Downloaded:
            if part_path.name.removesuffix(".part") in self.withheld:
                raise DiskError("the disk is away")
            number = numbers[url.partition("?")[0]]
            self.fetched.append(number)
            if number in self.gone:
                raise LinkExpired("the server", 403)
            if number in self.busy:
                raise BadDownload("the server is busy")
            return await fetch(downloader, url, part_path, *args)

        monkeypatch.setattr(KlingClient, "find", short_find)
        monkeypatch.setattr(KlingClient, "page", short_page)
        monkeypatch.setattr(Downloader, "fetch", some)


def answer_with(patch: pytest.MonkeyPatch, change: Callable[[Task], Task]) -> None:
    """From now on questions for a task that has files are answered so."""
    find = KlingClient.find

    async def find_other(client: KlingClient, *args: Any, **options: Any) -> Task | None:
        task = await find(client, *args, **options)
        return change(task) if task is not None and task.assets else task

    patch.setattr(KlingClient, "find", find_other)


def make_anew(patch: pytest.MonkeyPatch, *numbers: int) -> None:
    """From now on the service hands out other bytes for these files of a task, by their places."""

    def anew(task: Task) -> Task:
        assets = (replace(one, content=ANEW) if place in numbers else one for place, one in enumerate(task.assets))
        return replace(task, assets=tuple(assets))

    answer_with(patch, anew)


ANEW = b"made anew"
ALL = {"hero-1.png", "hero-2.png", "hero-3.png"}


async def stopped_by_the_disk(simulation: Simulation) -> None:
    summary = await simulation.run()
    assert summary is not None
    assert summary.exit_code == ExitCode.DISK


async def has_all(simulation: Simulation) -> None:
    """Every picture is here, each once, and the next run has nothing to do or to complain about."""
    summary = await done(simulation)
    [row] = simulation.results()
    assert (len(row["files"]), row["error"]) == (3, None)
    assert len({file["sha256"] for file in row["files"]}) == 3
    assert await done(simulation) == summary


def lose(simulation: Simulation, *names: str) -> dict[str, bytes]:
    """Everything in the batch's folder; then some of it is removed."""
    there = {path.name: path.read_bytes() for path in simulation.batch_dir.iterdir()}
    for name in names:
        (simulation.batch_dir / name).unlink()
    return there


def now(simulation: Simulation) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in simulation.batch_dir.iterdir()}
