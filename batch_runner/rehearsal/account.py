"""An account of thin air: tasks that only have a beginning and an end, by the sandbox's law of how long they take.

It answers a run's client calls without a socket. Nothing fails here: a rehearsal tells how long a batch takes, not
what becomes of it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from batch_runner.kling import AccountPack
from batch_runner.lifecycle import ExternalId
from batch_runner.limits import MINUTE_S, RateLimitMonitor, loop_now_s
from batch_runner.model import Accepted, Asset, CreateOutcome, Page, Route, Task, TaskStatus
from batch_runner.records import RequestCounts
from batch_runner.sandbox import WorldConfig, decide

_FILE = (Asset(url="", suffix=".mp4"),)


@dataclass(frozen=True, slots=True)
class Part:
    """An item as the account knows it: its usual seconds and its price."""

    usual_s: float
    credits: Decimal


@dataclass(frozen=True, slots=True)
class _Running:
    """A task that runs until a moment, what it is then, and where it is listed."""

    ends_at_s: float
    done: Task
    list_path: str | None

    def as_seen(self, now_s: float) -> Task:
        """The task as an answer shows it."""
        if self.ends_at_s <= now_s:
            return self.done
        return Task(self.done.task_id, self.done.external_task_id, TaskStatus.PROCESSING)


class ThinAirAccount:
    """The client of a rehearsed run, and the account behind it.

    Args:
        config: the seed from which fates are drawn; its rates are not looked at.
        parts: by the item's part of an external id.
        monitor: paces requests as in a real run.
    """

    def __init__(self, config: WorldConfig, parts: Mapping[str, Part], monitor: RateLimitMonitor) -> None:
        self._config = config
        self._parts = parts
        self._monitor = monitor
        self._running: dict[str, _Running] = {}
        self._made = asyncio.Event()
        self._sent = 0

    @property
    def requests(self) -> RequestCounts:
        """Creates so far; looks that would bring no news are not made, and so not counted."""
        return RequestCounts(total=self._sent, submit=self._sent)

    async def create(
        self,
        route: Route,
        body: Mapping[str, Any],  # noqa: ARG002 - thin air takes any body
        external_task_id: str,
        intend: Callable[[], Awaitable[None]],
    ) -> CreateOutcome:
        """A task that will end when its fate says so."""
        async with self._monitor.permit("submit"):
            await intend()
            self._sent += 1
        name = ExternalId.parse(external_task_id)
        assert name is not None
        part = self._parts[name.item]
        fate = decide(self._config, external_task_id, "", part.usual_s, "")
        ends_at_s = loop_now_s() + fate.queued_s + fate.working_s
        done = Task(external_task_id, external_task_id, TaskStatus.SUCCEEDED, assets=_FILE, charged=part.credits)
        if route.is_sync:
            await asyncio.sleep(ends_at_s - loop_now_s())
            return Accepted(done)
        self._running[external_task_id] = _Running(ends_at_s, done, route.list_path)
        self._made.set()
        return Accepted(Task(external_task_id, external_task_id, TaskStatus.SUBMITTED))

    async def page(self, route: Route, page_num: int, page_size: int) -> Page:  # noqa: ARG002 - one page holds all
        """Every task of a route that runs, and every one that has ended since the last look."""
        names = [name for name, each in self._running.items() if each.list_path == route.list_path]
        return Page(await self._look(names))

    async def find_many(self, *, task_ids: Sequence[str] = (), external_task_ids: Sequence[str] = ()) -> Page:
        """Those tasks, of which both ids are one here."""
        return Page(await self._look([*task_ids, *external_task_ids]))

    async def find(self, route: Route, task_or_external_id: str, *, by_external_id: bool = False) -> Task | None:  # noqa: ARG002 - ids are one here
        """A running task."""
        rows = await self._look([task_or_external_id])
        return rows[0] if rows else None

    async def packs(self, start_ms: int, end_ms: int) -> list[AccountPack]:  # noqa: ARG002 - thin air sells nothing
        """None."""
        return []

    async def tasks(self, cursor: str | None = None, *, limit: int = 100) -> tuple[list[Task], str | None]:  # noqa: ARG002 - a new account
        """Nothing: the account is new."""
        return [], None

    async def pause(self, interval_s: float) -> None:
        """Wait for the first of a poller's looks that sees a task's end.

        Those before it would bring no news and are not made; the request limit counts them all the same.
        """
        began_s = loop_now_s()
        while True:
            self._made.clear()
            look_at_s = _first_look_s(began_s, interval_s, self._next_end_s())
            try:
                async with asyncio.timeout_at(look_at_s):
                    await self._made.wait()
            except TimeoutError:
                self._monitor.restore(_left_out_s(began_s, interval_s, loop_now_s()))
                return

    def _next_end_s(self) -> float:
        return min((each.ends_at_s for each in self._running.values()), default=math.inf)

    async def _look(self, names: Sequence[str]) -> list[Task]:
        async with self._monitor.permit("poll"):
            pass
        rows = [self._running[name].as_seen(loop_now_s()) for name in names if name in self._running]
        for row in rows:
            if row.status.is_terminal:
                del self._running[row.task_id]
        return rows


def _first_look_s(began_s: float, interval_s: float, end_s: float) -> float | None:
    """When the first look at or after ``end_s`` comes; None for never."""
    if math.isinf(end_s):
        return None
    looks = max(1, math.ceil((end_s - began_s) / interval_s))
    return began_s + looks * interval_s


def _left_out_s(began_s: float, interval_s: float, now_s: float) -> Iterator[float]:
    """The moments of the looks between two that were made, as far as they still count."""
    looks = round((now_s - began_s) / interval_s)
    first = max(1, looks - math.ceil(MINUTE_S / interval_s))
    return (began_s + look * interval_s for look in range(first, looks))
