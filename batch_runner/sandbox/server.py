"""The simulated service on a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from batch_runner.clock import Clock
from batch_runner.listener import Listener
from batch_runner.sandbox.app import make_app
from batch_runner.sandbox.callbacks import Callbacks
from batch_runner.sandbox.cdn import Cdn, Film
from batch_runner.sandbox.desk import Desk
from batch_runner.sandbox.door import Door
from batch_runner.sandbox.faults import FaultPlan, Faults
from batch_runner.sandbox.journal import Journal
from batch_runner.sandbox.keys import Keys
from batch_runner.sandbox.results import File
from batch_runner.sandbox.routes_account import Account
from batch_runner.sandbox.routes_v1 import FirstGeneration
from batch_runner.sandbox.routes_v2 import SecondGeneration
from batch_runner.sandbox.world import PriceOf, World, WorldConfig

DEMO_ACCESS_KEY = "sandbox-access-key-for-demonstration"
DEMO_SECRET_KEY = "sandbox-secret-key-for-demonstration"  # noqa: S105 - opens nothing but the sandbox
DEMO_API_KEY = "sandbox-api-key-for-demonstration"

_SHUTDOWN_S = 0.05


class Sandbox:
    """An embedded simulated Kling API; enter it to serve, leave it to stop.

    The same journal path continues the same world: its tasks go on by wall time, also after a kill.

    Args:
        world_config: the account's numbers.
        clock: wall time.
        price: the credits of a task by kind and request body.
        fault_plan: what goes wrong; nothing by default.
        journal_path: where tasks are remembered, or None to forget them on leaving.
        host, port: where to listen; port 0 takes a free one.
        access_key, secret_key, api_key: what clients must show; the defaults are no secrets.
        webhook_secrets: sign callbacks (``whsec_...``); two while one replaces the other, none for unsigned calls.
        clock_skew_s: how far the service's clock is ahead of ``clock``.
        leeway_s: seconds of grace for a token's times.
        film: what files hold, or None for made-up clips, pictures and sounds.

    Attributes:
        film: what a file holds.
        world: the account and its books.
        faults: the plan at work, with its counts.
        callbacks: calls whoever a create names, with its counts.

    Raises: ValueError for a webhook secret that is none.
    Raises (on entering): DiskError for an unusable journal, OSError when the port cannot be had.
    """

    def __init__(
        self,
        world_config: WorldConfig,
        *,
        clock: Clock,
        price: PriceOf,
        fault_plan: FaultPlan | None = None,
        journal_path: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        access_key: str = DEMO_ACCESS_KEY,
        secret_key: str = DEMO_SECRET_KEY,
        api_key: str = DEMO_API_KEY,
        webhook_secrets: Sequence[str] = (),
        clock_skew_s: float = 0.0,
        leeway_s: float = 0.0,
        film: Film | None = None,
    ) -> None:
        self.world = World(world_config, price)
        self.fault_plan = fault_plan or FaultPlan()
        self.faults = Faults(self.fault_plan)
        self.access_key = access_key
        self.secret_key = secret_key
        self.api_key = api_key
        self.callbacks = Callbacks(self.faults, self.now_s, webhook_secrets)
        self._clock = clock
        self._clock_skew_s = clock_skew_s
        self._leeway_s = leeway_s
        self.film: Film = film or File.content
        self._listener = Listener(host, port, shutdown_s=_SHUTDOWN_S)
        self._journal = None if journal_path is None else Journal(journal_path)

    @property
    def base_url(self) -> str:
        """``http://host:port`` while it serves."""
        return self._listener.base_url

    def now_s(self) -> float:
        """The service's wall seconds."""
        return self._clock.wall_s() + self._clock_skew_s

    async def __aenter__(self) -> Self:
        await self._recall()
        try:
            self.callbacks.open()
            await self._listener.open(self._app())
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stop()

    async def _recall(self) -> None:
        if self._journal is None:
            return
        for task in await asyncio.get_running_loop().run_in_executor(None, self._journal.open):
            self.world.add(task)

    async def _stop(self) -> None:
        await self.callbacks.close()
        await self._listener.close()
        if self._journal is not None:
            self._journal.close()

    def _app(self) -> web.Application:
        keys = Keys(self.access_key, self.secret_key, self.api_key, self._leeway_s)
        cdn = Cdn(self.world, self.faults, self.secret_key.encode(), self.now_s, self.film)
        door = Door(self.world, self.faults, keys, self.now_s)
        desk = Desk(self.world, self.now_s, self._journal, self.callbacks)
        rooms = (FirstGeneration(door, desk, cdn), SecondGeneration(door, desk, cdn), Account(door))
        return make_app(door, cdn, (route for room in rooms for route in room.routes()))
