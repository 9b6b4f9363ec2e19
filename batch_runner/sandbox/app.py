"""The simulated service over HTTP: all its routes in one application."""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import formatdate

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from batch_runner.sandbox.cdn import ROUTE, Cdn
from batch_runner.sandbox.door import Door
from batch_runner.sandbox.interference import hang_up

_LARGEST_BODY_BYTES = 64 * 1024 * 1024


def make_app(door: Door, cdn: Cdn, routes: Iterable[web.RouteDef]) -> web.Application:
    """The application; its ``Date`` header follows the service's clock."""

    async def date(_: web.BaseRequest, response: web.StreamResponse) -> None:
        response.headers[hdrs.DATE] = formatdate(door.now(), usegmt=True)

    @web.middleware
    async def speak_json(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            return door.misrouted(error.status)
        except ConnectionResetError:
            return hang_up(request)  # the client left, or a fault made it leave: there is nobody to answer

    app = web.Application(client_max_size=_LARGEST_BODY_BYTES, middlewares=[speak_json])
    app.on_response_prepare.append(date)
    app.add_routes(routes)
    app.router.add_get(ROUTE, cdn.serve)
    return app
