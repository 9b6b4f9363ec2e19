"""The account's own routes, which have no version in their paths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from aiohttp import web

from batch_runner.sandbox import wire
from batch_runner.sandbox.billing import read_statement
from batch_runner.sandbox.codes import MISSING_PARAMETER, Denied
from batch_runner.sandbox.door import Answer, Door
from batch_runner.sandbox.faults import RequestClass
from batch_runner.sandbox.purses import Deduction


class Account:
    """What the account has and has paid."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def routes(self) -> Iterable[web.RouteDef]:
        """The page of packs and the pages of deductions."""
        guarded = partial(self._door.guarded, RequestClass.ACCOUNT)
        yield web.get("/account/costs", guarded(self._costs))
        yield web.post("/account/billing/package", guarded(self._from_packs))
        yield web.post("/account/billing/balance", guarded(self._from_balance))

    async def _costs(self, request: web.Request) -> Answer:
        world = self._door.world
        if not all(request.query.get(name, "").isdecimal() for name in ("start_time", "end_time")):
            return world.deny(MISSING_PARAMETER)
        name = request.query.get("resource_pack_name")
        states = world.packs(self._door.now())
        return wire.packs(state for state in states if name in {None, "", state.name})

    async def _from_packs(self, request: web.Request) -> Answer:
        return await self._statement(request, self._door.world.deductions(self._door.now()))

    async def _from_balance(self, request: web.Request) -> Answer:
        """The account is prepaid: nothing is ever taken from a balance in money."""
        return await self._statement(request, ())

    async def _statement(self, request: web.Request, deductions: Sequence[Deduction]) -> Answer:
        body = await self._door.json_object(request)
        if isinstance(body, Denied):
            return body
        statement = read_statement(body)
        return self._door.world.deny(statement) if isinstance(statement, Denied) else statement.answer(deductions)
