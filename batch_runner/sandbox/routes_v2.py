"""The second API generation's routes: the model stands in the path, and all tasks are asked for in one place."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from aiohttp import web

from batch_runner.sandbox import wire_v2
from batch_runner.sandbox.cdn import Cdn
from batch_runner.sandbox.codes import MISSING_PARAMETER, TOO_MANY_IDS, Denied, invalid
from batch_runner.sandbox.desk import Desk
from batch_runner.sandbox.door import Answer, Door
from batch_runner.sandbox.faults import RequestClass
from batch_runner.sandbox.products import standard
from batch_runner.sandbox.search import read_search
from batch_runner.sandbox.task import SandboxTask

TASKS = "/tasks"
_MOST_IDS = 20
_USUAL_LIMIT, _LARGEST_LIMIT = 100, 500


class SecondGeneration:
    """Creates, and the view of all tasks of the account. Everything here needs the API key."""

    def __init__(self, door: Door, desk: Desk, cdn: Cdn) -> None:
        self._door = door
        self._desk = desk
        self._cdn = cdn

    def routes(self) -> Iterable[web.RouteDef]:
        """A route for each family of models, and the two that tell tasks."""
        guarded = partial(self._door.guarded, needs_api_key=True)
        for family in standard.FAMILIES:
            creating = guarded(RequestClass.CREATE, partial(self._create, family))
            yield web.post(f"/{family}/{{model}}", creating)
        yield web.get(TASKS, guarded(RequestClass.QUERY, self._named))
        yield web.post(TASKS, guarded(RequestClass.LIST, self._search))

    async def _create(self, family: str, request: web.Request) -> Answer:
        product = standard.find(family, request.match_info["model"])
        if isinstance(product, Denied):
            return self._door.world.deny(product)
        body = await self._door.json_object(request)
        if isinstance(body, Denied):
            return body
        task = await self._desk.create(product, body, self._cdn.links(request))
        return task if isinstance(task, Denied) else wire_v2.created(task, self._door.now())

    async def _named(self, request: web.Request) -> Answer:
        """The tasks of a list of ids; what is not there is left out."""
        world, now_s = self._door.world, self._door.now()
        given = {name: request.query.get(name, "") for name in ("task_ids", "external_task_ids")}
        names = [name for name, text in given.items() if text]
        if len(names) != 1:
            return world.deny(MISSING_PARAMETER if not names else invalid(names[1], given[names[1]]))
        ids = [each for each in given[names[0]].split(",") if each]
        if len(ids) > _MOST_IDS:
            return world.deny(TOO_MANY_IDS)
        is_external = names[0] == "external_task_ids"
        found = [world.shelf.find_any(each, now_s, is_external=is_external) for each in dict.fromkeys(ids)]
        return self._told(request, [task for task in found if task is not None])

    async def _search(self, request: web.Request) -> Answer:
        world, now_s = self._door.world, self._door.now()
        body = await self._door.json_object(request)
        if isinstance(body, Denied):
            return body
        limit = body.get("limit", _USUAL_LIMIT)
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= _LARGEST_LIMIT:
            return world.deny(invalid("limit", limit))
        search = read_search(body, now_s)
        if isinstance(search, Denied):
            return world.deny(search)
        tasks, before = world.shelf.search(search, limit, now_s)
        return {
            "result": self._told(request, tasks),
            "count": len(tasks),
            "next_cursor": "" if before is None else search.cursor(before),
            "has_more": before is not None,
        }

    def _told(self, request: web.Request, tasks: Iterable[SandboxTask]) -> list[dict[str, Any]]:
        world, now_s, links = self._door.world, self._door.now(), self._cdn.links(request)
        return [wire_v2.told(world.told(task), now_s, links) for task in tasks]
