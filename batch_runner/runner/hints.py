"""What the service says of its own accord, on its way to the poller: worth a question, and never an answer."""

from __future__ import annotations

import asyncio
from collections import deque

from batch_runner.model import Task

_MOST = 1000
"""Of more calls than this only the newest are kept; polling finds what they would have hinted at."""


class Hints:
    """Tasks that the service says have changed; one end is a receiver of its calls, the other the poller."""

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque(maxlen=_MOST)
        self._some = asyncio.Event()

    def tell(self, task: Task) -> None:
        """The service says that this task has changed."""
        self._tasks.append(task)
        self._some.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait for hints, but not longer than this; whether there are some."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._some.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> list[Task]:
        """All hints since the last time, oldest first."""
        taken = list(self._tasks)
        self._tasks.clear()
        self._some.clear()
        return taken
