"""Listens for the service's calls: genuine ones become hints, all others are turned away."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web

from batch_runner.clock import Clock
from batch_runner.errors import UsageError
from batch_runner.kling.envelope import MalformedAnswer
from batch_runner.kling.webhook import SIGNATURE_HEADER, WebhookSecret, parse_call
from batch_runner.listener import Listener
from batch_runner.model import Task

MOST_BODY_BYTES = 1024 * 1024
"""A task with nine images is some 10 kB."""
READ_TIMEOUT_S = 10.0
_KEEPALIVE_S = 15.0
_SHUTDOWN_S = 1.0


class Receiver:
    """An HTTP server for callbacks, for the length of an ``async with`` block.

    A genuine call is answered 200 as soon as ``hint`` has been called, also if it makes no sense; one that is not
    signed with the secret, or not lately, is answered 401 and has no effect. Repeated and late calls are harmless
    as far as hints are: nothing is concluded from them.

    Args:
        secret: what genuine calls are signed with.
        clock: wall time.
        hint: is told the task that a call is about; must neither wait nor raise.
        host: the address of this machine to listen at.
        port: 0 is any free one.
        path: the path that the service was told.
    """

    def __init__(
        self,
        secret: WebhookSecret,
        clock: Clock,
        hint: Callable[[Task], None],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        path: str = "/",
    ) -> None:
        self._secret = secret
        self._clock = clock
        self._hint = hint
        self._place, self._path = f"{host}:{port}", path or "/"
        self._listener = Listener(host, port, shutdown_s=_SHUTDOWN_S, keepalive_s=_KEEPALIVE_S)
        self.accepted = 0
        """Genuine calls so far."""
        self.refused = 0
        """Calls that were turned away."""

    @property
    def address(self) -> str:
        """``http://host:port/path`` while it listens."""
        return self._listener.base_url + self._path

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MOST_BODY_BYTES)
        app.router.add_post(self._path, self._receive)
        try:
            await self._listener.open(app)
        except OSError as exc:
            why = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else "no such address"
            raise UsageError(
                f"callbacks cannot be listened for at {self._place} ({why}); see --callback-listen"
            ) from None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._listener.close()

    async def _receive(self, request: web.Request) -> web.Response:
        body = await self._read(request) if SIGNATURE_HEADER in request.headers else None
        if body is None or not self._secret.is_genuine(request.headers, body, self._clock.wall_s()):
            self.refused += 1
            # Whatever else of its body is still to come is not waited for.
            return web.Response(status=401, headers={"Connection": "close"})
        self.accepted += 1
        try:
            task = parse_call(body)
        except MalformedAnswer:
            return web.Response()  # a test call of the console, or a form of later times: nothing to be told
        self._hint(task)
        return web.Response()

    async def _read(self, request: web.Request) -> bytes | None:
        """The body, None for one that is too long or does not arrive."""
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                return await request.read()
        except (TimeoutError, web.HTTPRequestEntityTooLarge, ConnectionError):
            return None
