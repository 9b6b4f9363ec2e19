"""How injected faults are done to a connection."""

from __future__ import annotations

import socket
import struct

from aiohttp import hdrs, web

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_PAGE = (
    "<!doctype html><html><head><title>Gateway</title></head>"
    "<body><h1>Please stand by</h1><p>Your request is being checked.</p></body></html>"
)


def hang_up(request: web.BaseRequest) -> web.Response:
    """Close the connection in good order; the returned response goes nowhere."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


def reset(request: web.BaseRequest) -> web.Response:
    """Reset the connection (RST instead of FIN); the returned response goes nowhere."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    return web.Response()


async def cut(request: web.Request, answer: web.Response) -> web.StreamResponse:
    """Send the first half of an answer and close the connection."""
    body = answer.body
    assert isinstance(body, bytes)
    response = web.StreamResponse(status=answer.status, headers={hdrs.CONTENT_TYPE: "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    hang_up(request)
    return response


def page() -> web.Response:
    """What a proxy may answer on the way: HTML with status 200."""
    return web.Response(text=_PAGE, content_type="text/html")


def soft_limit() -> web.Response:
    """429 from a gateway that knows no body codes."""
    return web.Response(status=429, text="Too Many Requests", headers={"Retry-After": "1"})
