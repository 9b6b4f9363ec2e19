"""The account's own routes, which have no version in their paths."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from batch_runner.sandbox import wire
from batch_runner.sandbox.codes import MISSING_PARAMETER
from batch_runner.sandbox.door import Answer, Door
from batch_runner.sandbox.faults import RequestClass


class Account:
    """What the account has and has paid."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def routes(self) -> Iterable[web.RouteDef]:
        """The page of packs."""
        yield web.get("/account/costs", self._door.guarded(RequestClass.ACCOUNT, self._costs))

    async def _costs(self, request: web.Request) -> Answer:
        world = self._door.world
        if not all(request.query.get(name, "").isdecimal() for name in ("start_time", "end_time")):
            return world.deny(MISSING_PARAMETER)
        name = request.query.get("resource_pack_name")
        states = world.packs(self._door.now())
        return wire.packs(state for state in states if name in {None, "", state.name})
