"""Where tasks are made: one at a time, and remembered before anybody hears of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from batch_runner.model import Generation
from batch_runner.sandbox.callbacks import Callbacks
from batch_runner.sandbox.codes import Denied
from batch_runner.sandbox.journal import Journal
from batch_runner.sandbox.products import Product
from batch_runner.sandbox.task import SandboxTask
from batch_runner.sandbox.wire import LinkOf
from batch_runner.sandbox.world import World


class Desk:
    """Takes creates of both generations.

    Args:
        world: decides.
        now: the service's wall seconds.
        journal: an open journal that remembers tasks, or None.
        callbacks: call whoever a create names.
    """

    def __init__(self, world: World, now: Callable[[], float], journal: Journal | None, callbacks: Callbacks) -> None:
        self._world = world
        self._callbacks = callbacks
        self._now = now
        self._journal = journal
        self._creating = asyncio.Lock()

    async def create(self, product: Product, body: Mapping[str, Any], link_of: LinkOf) -> SandboxTask | Denied:
        """The task a create makes, or why there is none; ``link_of`` is for those who are called about it."""
        # One at a time: while a task is written to the journal, no other may take its slot or its id.
        async with self._creating:
            outcome = self._world.prepare_for(product, body, self._now())
            if isinstance(outcome, SandboxTask) and not self._world.knows(outcome):
                await self._remember(outcome)
                self._announce(product, body, outcome, link_of)
        return outcome

    def _announce(self, product: Product, body: Mapping[str, Any], task: SandboxTask, link_of: LinkOf) -> None:
        options = body.get("options") if product.generation is Generation.V2 else body
        url = (options or {}).get("callback_url")
        if url and not product.is_sync:
            self._callbacks.follow(task, url, link_of)

    async def _remember(self, task: SandboxTask) -> None:
        """Nobody may see a task that a kill at this moment would erase: the journal comes first."""
        if self._journal is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._journal.append, task)
        self._world.add(task)
