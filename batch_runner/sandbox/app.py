"""The simulated service over HTTP: the first API generation's routes, envelope and statuses."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Any
from uuid import UUID

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from batch_runner.sandbox import wire
from batch_runner.sandbox.cdn import ROUTE, Cdn
from batch_runner.sandbox.codes import BROKEN, MISSING_PARAMETER, UNREADABLE, Code, Denied, invalid, not_found
from batch_runner.sandbox.faults import Fault, Faults, RequestClass
from batch_runner.sandbox.interference import hang_up, page, reset, soft_limit
from batch_runner.sandbox.journal import Journal
from batch_runner.sandbox.keys import Keys
from batch_runner.sandbox.products import PRODUCTS, Product
from batch_runner.sandbox.task import SandboxTask
from batch_runner.sandbox.world import World

_LARGEST_BODY_BYTES = 64 * 1024 * 1024
_LAST_PAGE, _LARGEST_PAGE, _USUAL_PAGE = 1000, 500, 30
_ROUTER_CODES = {404: Code.NO_RESOURCE, 405: Code.WRONG_METHOD}

Answer = dict[str, Any] | list[dict[str, Any]] | Denied
"""An envelope's data, or a refusal."""

Answering = Callable[[web.Request], Awaitable[Answer]]


class Api:
    """The routes of one simulated account.

    Args:
        world: decides.
        faults: drawn once a request.
        keys: who may speak.
        cdn: signs links to results.
        now: the service's wall seconds.
        journal: an open journal that remembers tasks, or None.
    """

    def __init__(
        self,
        *,
        world: World,
        faults: Faults,
        keys: Keys,
        cdn: Cdn,
        now: Callable[[], float],
        journal: Journal | None,
    ) -> None:
        self._world = world
        self._faults = faults
        self._keys = keys
        self._cdn = cdn
        self._now = now
        self._journal = journal
        self._creating = asyncio.Lock()
        self._answers = 0

    def routes(self) -> Iterable[web.RouteDef]:
        """Every product's three routes, and the account's."""
        for product in PRODUCTS.values():
            one = product.path + "/{id}"
            yield web.post(product.path, self._guarded(RequestClass.CREATE, partial(self._create, product)))
            if product.is_sync:
                continue
            yield web.get(product.path, self._guarded(RequestClass.LIST, partial(self._list, product)))
            yield web.get(one, self._guarded(RequestClass.QUERY, partial(self._query, product)))
        yield web.get("/account/costs", self._guarded(RequestClass.ACCOUNT, self._costs))

    def _guarded(self, request_class: RequestClass, answering: Answering) -> Handler:
        """A handler around which the request is counted and faults happen."""

        async def handler(request: web.Request) -> web.StreamResponse:
            self._world.stamp(self._now())
            fault = self._faults.draw(request_class)
            prevented = self._before(request, fault)
            if prevented is not None:
                return prevented
            answer = await self._answered(request, answering)
            return await self._after(request, fault, answer)

        return handler

    def _before(self, request: web.Request, fault: Fault | None) -> web.Response | None:
        match fault:
            case Fault.RESET_BEFORE:
                return reset(request)
            case Fault.SERVER_ERROR_BEFORE:
                return self._envelope(BROKEN)
            case Fault.RATE_429:
                return soft_limit()
        return None

    async def _after(self, request: web.Request, fault: Fault | None, answer: Answer) -> web.Response:
        match fault:
            case Fault.LOST_ANSWER:
                return hang_up(request)
            case Fault.SERVER_ERROR_AFTER:
                return self._envelope(BROKEN)
            case Fault.HTML_200:
                return page()
            case Fault.SLOW:
                await asyncio.sleep(self._faults.plan.slow_s)
        return self._envelope(answer)

    async def _answered(self, request: web.Request, answering: Answering) -> Answer:
        now_s = self._now()
        denied = self._keys.check(request.headers.get(hdrs.AUTHORIZATION), now_s)
        if denied is not None:
            return self._world.deny(denied)
        return self._world.throttle(now_s) or await answering(request)

    def _envelope(self, answer: Answer) -> web.Response:
        denied = answer if isinstance(answer, Denied) else None
        envelope: dict[str, Any] = {
            "code": Code.OK if denied is None else denied.code,
            "message": "SUCCEED" if denied is None else denied.message,
            "request_id": self._request_id(),
        }
        if denied is None:
            envelope["data"] = answer
        return web.json_response(envelope, status=200 if denied is None else denied.http_status)

    def misrouted(self, http_status: int) -> web.Response:
        """The envelope for what the router itself turns away."""
        code = _ROUTER_CODES.get(http_status, Code.BAD_REQUEST)
        if http_status in _ROUTER_CODES:
            self._world.stamp(self._now())
        return self._envelope(self._world.deny(Denied(code, HTTPStatus(http_status).phrase)))

    def _request_id(self) -> str:
        self._answers += 1
        digest = hashlib.sha256(f"{self._world.config.seed}:{self._answers}".encode()).digest()
        return str(UUID(bytes=digest[:16], version=4))

    async def _create(self, product: Product, request: web.Request) -> Answer:
        body = await _json_object(request)
        if body is None:
            return self._world.deny(UNREADABLE)
        # One at a time: while a task is written to the journal, no other may take its slot or its id.
        async with self._creating:
            now_s = self._now()
            outcome = self._world.prepare(product.kind, body, now_s)
            if isinstance(outcome, Denied):
                return outcome
            await self._remember(outcome)
        if product.is_sync:
            return wire.answered(outcome, now_s, partial(self._cdn.link, request.url.origin()))
        return wire.created(outcome, now_s)

    async def _remember(self, task: SandboxTask) -> None:
        """Nobody may see a task that a kill at this moment would erase: the journal comes first."""
        if self._world.knows(task):
            return
        if self._journal is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._journal.append, task)
        self._world.add(task)

    async def _query(self, product: Product, request: web.Request) -> Answer:
        now_s, any_id = self._now(), request.match_info["id"]
        task = self._world.find(product.kind, any_id, now_s)
        if task is None:
            return self._world.deny(not_found(any_id))
        return wire.queried(task, now_s, partial(self._cdn.link, request.url.origin()))

    async def _list(self, product: Product, request: web.Request) -> Answer:
        page_num = _within(request, "pageNum", 1, _LAST_PAGE)
        page_size = _within(request, "pageSize", _USUAL_PAGE, _LARGEST_PAGE)
        for wrong in (page_num, page_size):
            if isinstance(wrong, Denied):
                return self._world.deny(wrong)
        assert isinstance(page_num, int)
        assert isinstance(page_size, int)
        now_s = self._now()
        link_of = partial(self._cdn.link, request.url.origin())
        tasks = self._world.page(product.kind, page_num, page_size, now_s)
        return [wire.queried(task, now_s, link_of) for task in tasks]

    async def _costs(self, request: web.Request) -> Answer:
        if not all(request.query.get(name, "").isdecimal() for name in ("start_time", "end_time")):
            return self._world.deny(MISSING_PARAMETER)
        name = request.query.get("resource_pack_name")
        states = self._world.packs(self._now())
        return wire.packs(state for state in states if name in {None, "", state.name})


def make_app(api: Api, cdn: Cdn, now: Callable[[], float]) -> web.Application:
    """The application; its ``Date`` header follows the service's clock."""

    async def date(_: web.BaseRequest, response: web.StreamResponse) -> None:
        response.headers[hdrs.DATE] = formatdate(now(), usegmt=True)

    @web.middleware
    async def speak_json(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            return api.misrouted(error.status)
        except ConnectionResetError:
            return hang_up(request)  # the client left, or a fault made it leave: there is nobody to answer

    app = web.Application(client_max_size=_LARGEST_BODY_BYTES, middlewares=[speak_json])
    app.on_response_prepare.append(date)
    app.add_routes(api.routes())
    app.router.add_get(ROUTE, cdn.serve)
    return app


async def _json_object(request: web.Request) -> dict[str, Any] | None:
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _within(request: web.Request, name: str, usual: int, most: int) -> int | Denied:
    text = request.query.get(name, str(usual))
    value = int(text) if text.isdecimal() else 0
    return value if 1 <= value <= most else invalid(name, text)
