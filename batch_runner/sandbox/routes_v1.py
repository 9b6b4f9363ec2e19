"""The first API generation's routes: a product has a path of its own, and the model stands in the body."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from aiohttp import web

from batch_runner.sandbox import wire, wire_calls
from batch_runner.sandbox.cdn import Cdn
from batch_runner.sandbox.codes import Denied, not_found
from batch_runner.sandbox.desk import Desk
from batch_runner.sandbox.door import Answer, Door
from batch_runner.sandbox.faults import RequestClass
from batch_runner.sandbox.products import PRODUCTS, Product

_LAST_PAGE, _LARGEST_PAGE, _USUAL_PAGE = 1000, 500, 30
_LARGEST_PAGE_OF = {"voices": 1000}
_PRESETS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "/v1/general/advanced-presets-elements": wire_calls.preset_elements,
    "/v1/general/presets-voices": wire_calls.preset_voices,
}


class FirstGeneration:
    """Creates, lists and queries of every product."""

    def __init__(self, door: Door, desk: Desk, cdn: Cdn) -> None:
        self._door = door
        self._desk = desk
        self._cdn = cdn

    def routes(self) -> Iterable[web.RouteDef]:
        """Every product's routes: a call that is answered at once has one, a task three."""
        guarded = self._door.guarded
        for product in PRODUCTS.values():
            yield web.post(product.path, guarded(RequestClass.CREATE, partial(self._create, product)))
            if not product.is_sync:
                most = _LARGEST_PAGE_OF.get(product.kind, _LARGEST_PAGE)
                yield web.get(product.path, guarded(RequestClass.LIST, partial(self._list, product, most)))
                one = product.path + "/{id}"
                yield web.get(one, guarded(RequestClass.QUERY, partial(self._query, product)))
        for path, presets in _PRESETS.items():
            yield web.get(path, guarded(RequestClass.LIST, partial(self._presets, presets)))

    async def _create(self, product: Product, request: web.Request) -> Answer:
        body = await self._door.json_object(request)
        if isinstance(body, Denied):
            return body
        links = self._cdn.links(request)
        task = await self._desk.create(product, body, links)
        if isinstance(task, Denied):
            return task
        now_s = self._door.now()
        if product.is_sync:
            return wire_calls.answered(task, now_s, links)
        return wire.created(task, now_s)

    async def _query(self, product: Product, request: web.Request) -> Answer:
        world, now_s, any_id = self._door.world, self._door.now(), request.match_info["id"]
        task = world.find(product.kind, any_id, now_s)
        if task is None:
            return world.deny(not_found(any_id))
        return wire.queried(world.told(task), now_s, self._cdn.links(request))

    async def _list(self, product: Product, most: int, request: web.Request) -> Answer:
        page = self._page(request, most)
        if isinstance(page, Denied):
            return page
        world, now_s, links = self._door.world, self._door.now(), self._cdn.links(request)
        return [wire.queried(world.told(task), now_s, links) for task in world.page(product.kind, *page, now_s)]

    async def _presets(self, presets: Callable[[], list[dict[str, Any]]], request: web.Request) -> Answer:
        page = self._page(request, _LAST_PAGE)
        if isinstance(page, Denied):
            return page
        number, size = page
        return presets()[(number - 1) * size : number * size]

    def _page(self, request: web.Request, most: int) -> tuple[int, int] | Denied:
        number = self._door.within(request, "pageNum", 1, _LAST_PAGE)
        size = self._door.within(request, "pageSize", _USUAL_PAGE, most)
        if isinstance(number, Denied):
            return number
        return size if isinstance(size, Denied) else (number, size)
