"""What happens to every request before and after it is answered: it is counted, judged, hit by faults, wrapped up."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from uuid import UUID

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from batch_runner.sandbox.codes import BROKEN, UNREADABLE, Code, Denied, invalid
from batch_runner.sandbox.faults import Fault, Faults, RequestClass
from batch_runner.sandbox.interference import cut, hang_up, page, reset, soft_limit
from batch_runner.sandbox.keys import Keys
from batch_runner.sandbox.world import World

_ROUTER_CODES = {404: Code.NO_RESOURCE, 405: Code.WRONG_METHOD}

Answer = dict[str, Any] | list[dict[str, Any]] | Denied
"""An envelope's data, or a refusal."""

Answering = Callable[[web.Request], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Door:
    """The way in and out of the simulated account.

    Attributes:
        world: decides.
        faults: drawn once a request.
        keys: who may speak.
        now: the service's wall seconds.
    """

    world: World
    faults: Faults
    keys: Keys
    now: Callable[[], float]
    _earlier: dict[RequestClass, Answer] = field(default_factory=dict)

    def guarded(self, request_class: RequestClass, answering: Answering, *, needs_api_key: bool = False) -> Handler:
        """A handler around which the request is counted and faults happen."""

        async def handler(request: web.Request) -> web.StreamResponse:
            self.world.stamp(self.now())
            fault = self.faults.draw(request_class)
            prevented = self._before(request, fault)
            if prevented is not None:
                return prevented
            answer = self._refused(request, needs_api_key=needs_api_key) or await answering(request)
            if fault is Fault.OTHER_ANSWER:
                return self.envelope(self._earlier.get(request_class, BROKEN))
            if not isinstance(answer, Denied) or answer.is_of_a_task:
                self._earlier[request_class] = answer
            return await self._after(request, fault, answer)

        return handler

    def _before(self, request: web.Request, fault: Fault | None) -> web.Response | None:
        match fault:
            case Fault.RESET_BEFORE:
                return reset(request)
            case Fault.SERVER_ERROR_BEFORE:
                return self.envelope(BROKEN)
            case Fault.RATE_429:
                return soft_limit()
        return None

    async def _after(self, request: web.Request, fault: Fault | None, answer: Answer) -> web.StreamResponse:
        match fault:
            case Fault.LOST_ANSWER:
                return hang_up(request)
            case Fault.SERVER_ERROR_AFTER:
                return self.envelope(BROKEN)
            case Fault.HTML_200:
                return page()
            case Fault.CUT_ANSWER:
                return await cut(request, self.envelope(answer))
            case Fault.SLOW:
                await asyncio.sleep(self.faults.plan.slow_s)
        return self.envelope(answer)

    def _refused(self, request: web.Request, *, needs_api_key: bool) -> Denied | None:
        now_s = self.now()
        authorization = request.headers.get(hdrs.AUTHORIZATION)
        denied = self.keys.check(authorization, now_s, needs_api_key=needs_api_key)
        return self.world.throttle(now_s) if denied is None else self.world.deny(denied)

    def envelope(self, answer: Answer) -> web.Response:
        """The response around an answer."""
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
            self.world.stamp(self.now())
        return self.envelope(self.world.deny(Denied(code, HTTPStatus(http_status).phrase)))

    def _request_id(self) -> str:
        digest = hashlib.sha256(f"{self.world.config.seed}:{self.world.next_answer()}".encode()).digest()
        return str(UUID(bytes=digest[:16], version=4))

    async def json_object(self, request: web.Request) -> dict[str, Any] | Denied:
        """The body of a request."""
        try:
            body = json.loads(await request.read())
        except (ValueError, RecursionError):
            body = None
        return body if isinstance(body, dict) else self.world.deny(UNREADABLE)

    def within(self, request: web.Request, name: str, usual: int, most: int) -> int | Denied:
        """A whole number of a query, from 1 on."""
        text = request.query.get(name, str(usual))
        value = int(text) if text.isdecimal() else 0
        return value if 1 <= value <= most else self.world.deny(invalid(name, text))
