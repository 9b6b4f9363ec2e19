"""Every task of the account, and the ways to look for one: by id, page by page of a product, by a search of all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice

from batch_runner.model import Generation
from batch_runner.sandbox.config import WorldConfig
from batch_runner.sandbox.products import PRODUCTS
from batch_runner.sandbox.search import Search
from batch_runner.sandbox.task import SandboxTask


class Shelf:
    """The tasks, each visible from a while after its creation until it is purged.

    Attributes:
        tasks: every task and every call that was answered at once, oldest first.
        by_external_id: those to which the caller gave an id, by it.
    """

    def __init__(self, config: WorldConfig) -> None:
        self.tasks: list[SandboxTask] = []
        self.by_external_id: dict[str, list[SandboxTask]] = defaultdict(list)
        self._config = config
        self._by_id: dict[str, SandboxTask] = {}
        self._by_kind: dict[str, list[SandboxTask]] = defaultdict(list)
        self._searchable: list[SandboxTask] = []

    def add(self, task: SandboxTask) -> None:
        """Put a new task there."""
        self.tasks.append(task)
        self._by_id[task.task_id] = task
        if task.generation is Generation.V1:
            self._by_kind[task.kind].append(task)
        if not PRODUCTS[task.kind].is_sync:
            self._searchable.append(task)
        if task.external_task_id is not None:
            self.by_external_id[task.external_task_id].append(task)

    def get(self, task_id: str) -> SandboxTask | None:
        """A task by the service's id, visible or not."""
        return self._by_id.get(task_id)

    def find(self, kind: str, any_id: str, now_s: float) -> SandboxTask | None:
        """A visible task of that product by the service's id or the caller's (of several, the newest).

        Tasks of the second generation are not asked for here, but by ``find_any``.
        """
        own = self._by_id.get(any_id)
        candidates = [own] if own else self.by_external_id.get(any_id, [])
        own_kind = [task for task in candidates if task.kind == kind and task.generation is Generation.V1]
        return self._newest_visible(own_kind, now_s)

    def find_any(self, some_id: str, now_s: float, *, is_external: bool) -> SandboxTask | None:
        """A visible task of any product and generation by one kind of id (of several, the newest)."""
        own = self._by_id.get(some_id)
        candidates = self.by_external_id.get(some_id, []) if is_external else [own] if own else []
        return self._newest_visible([task for task in candidates if not PRODUCTS[task.kind].is_sync], now_s)

    def _newest_visible(self, tasks: Sequence[SandboxTask], now_s: float) -> SandboxTask | None:
        return next((task for task in reversed(tasks) if self._is_visible(task, now_s)), None)

    def page(self, kind: str, page_num: int, page_size: int, now_s: float) -> Sequence[SandboxTask]:
        """One page of the visible tasks of a product; pages count from 1."""
        first = (page_num - 1) * page_size
        return list(islice(self._listed(kind, now_s), first, first + page_size))

    def _listed(self, kind: str, now_s: float) -> Iterator[SandboxTask]:
        made = self._by_kind[kind]
        ordered = reversed(made) if self._config.newest_first else iter(made)
        return (task for task in ordered if self._is_visible(task, now_s))

    def search(self, search: Search, limit: int, now_s: float) -> tuple[list[SandboxTask], int | None]:
        """Visible tasks of all products, newest first, and where the next search has to begin, if there are more."""
        found: list[SandboxTask] = []
        place = len(self._searchable) if search.before is None else min(search.before, len(self._searchable))
        while place > 0:
            task = self._searchable[place - 1]
            if self._is_visible(task, now_s) and search.fits(task, now_s):
                if len(found) == limit:
                    return found, place
                found.append(task)
            place -= 1
        return found, None

    def finished(self, task_id: str, now_s: float) -> SandboxTask | None:
        """The task whose file can be fetched: ended well, and not yet purged."""
        task = self._by_id.get(task_id)
        ready = task is not None and task.will_succeed and now_s >= task.ended_at_s
        return task if task is not None and ready and not self._is_purged(task, now_s) else None

    def _is_visible(self, task: SandboxTask, now_s: float) -> bool:
        return now_s >= task.created_at_s + self._config.visible_after_s and not self._is_purged(task, now_s)

    def _is_purged(self, task: SandboxTask, now_s: float) -> bool:
        return now_s >= task.ended_at_s + self._config.purge_after_s
