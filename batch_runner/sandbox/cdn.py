"""The result files: signed links that expire, entity tags, partial content."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
from collections.abc import Callable
from functools import partial

from aiohttp import hdrs, web
from yarl import URL

from batch_runner.sandbox.faults import Fault, Faults, RequestClass
from batch_runner.sandbox.interference import hang_up, page, reset
from batch_runner.sandbox.parts import Part, UnsatisfiableError, wanted_part
from batch_runner.sandbox.results import File, files
from batch_runner.sandbox.world import World

ROUTE = "/cdn/{task_id}/{name}"

Film = Callable[[File], bytes]
"""The bytes of a file. The same file has the same; it may be called in an executor."""


class Cdn:
    """Serves the files of finished tasks.

    Args:
        world: knows the tasks.
        faults: drawn once a request.
        secret: signs the links.
        now: the service's wall seconds.
        film: what a file holds.
    """

    def __init__(self, world: World, faults: Faults, secret: bytes, now: Callable[[], float], film: Film) -> None:
        self._world = world
        self._faults = faults
        self._secret = secret
        self._now = now
        self._film = film

    def links(self, request: web.Request) -> Callable[[str, str], str]:
        """Signs links that lead back to where a request came in."""
        return partial(self.link, request.url.origin())

    def link(self, origin: URL, task_id: str, name: str) -> str:
        """A fresh address of a finished task's file; whoever holds it can fetch the file for a while."""
        path = f"/cdn/{task_id}/{name}"
        expires = str(math.ceil(self._now() + self._world.config.link_ttl_s))
        return str(origin.with_path(path).with_query(Expires=expires, Signature=self._signature(path, expires)))

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(self._secret, f"{path}\n{expires}".encode(errors="replace"), hashlib.sha256).hexdigest()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a download."""
        fault = self._faults.draw(RequestClass.DOWNLOAD)
        if fault is Fault.RESET_BEFORE:
            return reset(request)
        if fault is Fault.HTML_DOWNLOAD:
            return page()
        if fault is Fault.EXPIRED_LINK or not self._may_fetch(request):
            return web.Response(status=403, text="This link is not or no longer valid.")
        task = self._world.finished(request.match_info["task_id"], self._now())
        name = request.match_info["name"]
        file = None if task is None else next((each for each in files(task) if each.name == name), None)
        if file is None:
            return web.Response(status=404, text="There is no such file.")
        return await self._send(request, file, fault)

    def _may_fetch(self, request: web.Request) -> bool:
        expires, signature = request.query.get("Expires", ""), request.query.get("Signature", "")
        right = self._signature(request.path, expires)
        genuine = hmac.compare_digest(right.encode(), signature.encode(errors="replace"))
        return genuine and self._now() < int(expires)

    async def _send(self, request: web.Request, file: File, fault: Fault | None) -> web.StreamResponse:
        content = await asyncio.get_running_loop().run_in_executor(None, self._film, file)
        etag = self._etag(content, fault)
        headers: dict[str, str] = {hdrs.ETAG: etag, hdrs.ACCEPT_RANGES: "bytes", hdrs.CONTENT_TYPE: file.media_type}
        wanted = None if fault is Fault.RANGE_IGNORED else request.headers.get(hdrs.RANGE)
        try:
            part = wanted_part(wanted, request.headers.get(hdrs.IF_RANGE), etag, len(content))
        except UnsatisfiableError:
            return web.Response(status=416, headers={hdrs.CONTENT_RANGE: f"bytes */{len(content)}"})
        return await self._deliver(request, content, part, headers, fault)

    def _etag(self, content: bytes, fault: Fault | None) -> str:
        change = self._faults.injected[Fault.ETAG_CHANGED] if fault is Fault.ETAG_CHANGED else ""
        return f'"{hashlib.sha256(content).hexdigest()[:32]}{change}"'

    async def _deliver(
        self,
        request: web.Request,
        content: bytes,
        part: Part | None,
        headers: dict[str, str],
        fault: Fault | None,
    ) -> web.StreamResponse:
        status = 200
        if part is not None:
            status, content = 206, content[part.first : part.last + 1]
            headers[hdrs.CONTENT_RANGE] = part.content_range
        if request.method == hdrs.METH_GET and fault in {Fault.CUT_DOWNLOAD, Fault.SLOW}:
            return await self._falter(request, content, status, headers, fault)
        return web.Response(status=status, body=content, headers=headers)

    async def _falter(
        self, request: web.Request, content: bytes, status: int, headers: dict[str, str], fault: Fault
    ) -> web.StreamResponse:
        """Send half of it; then pause, or stop for good."""
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = len(content)
        await response.prepare(request)
        await response.write(content[: len(content) // 2])
        if fault is Fault.CUT_DOWNLOAD:
            hang_up(request)
            return response
        await asyncio.sleep(self._faults.plan.slow_s)
        await response.write(content[len(content) // 2 :])
        return response
