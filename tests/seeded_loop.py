"""A virtual-time loop without threads: when the job of an executor runs is drawn from a seed, so that runs replay."""

from __future__ import annotations

import asyncio
import random
import select
import socket
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Executor
from functools import cache, partial
from typing import Any, TypeVar, TypeVarTuple

from batch_runner.virtual_time import SETTLE_S, VirtualTimeLoop

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_PASSES = (0, 0, 0, 1, 2, 5)
"""How many passes of the loop a job may keep its caller waiting."""
_TRIALS = 500


class SeededLoop(VirtualTimeLoop):
    """Runs what is given to executors between the loop's own callbacks.

    Jobs of the default executor overtake one another as the dice fall; those of any other keep their order, as in
    a pool of one thread.

    Attributes:
        before_job: called before each job; the job fails with what it raises.

    Args:
        seed: decides the order.
        settle_s: see ``VirtualTimeLoop``.
    """

    def __init__(self, seed: int, settle_s: float = SETTLE_S) -> None:
        super().__init__(settle_s)
        self.before_job: Callable[[], None] = _nothing
        self._dice = random.Random(f"jobs {seed}")
        self._queues: defaultdict[Executor, deque[Callable[[], None]]] = defaultdict(deque)

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run the job on this thread, some passes later."""
        future: asyncio.Future[T] = self.create_future()
        queue = deque[Callable[[], None]]() if executor is None else self._queues[executor]
        queue.append(partial(self._run, future, func, args))
        self._pass_by(self._dice.choice(_PASSES), queue)
        return future

    def _pass_by(self, passes: int, queue: deque[Callable[[], None]]) -> None:
        if passes:
            self.call_soon(self._pass_by, passes - 1, queue)
        else:
            self.call_soon(queue.popleft())

    def _run(self, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if future.cancelled():
            return
        try:
            self.before_job()
            result = func(*args)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - as an executor does: whoever awaits the job gets what it raised
            future.set_exception(error)
        else:
            future.set_result(result)


def _nothing() -> None:
    pass


@cache
def prompt_settle_s() -> float:
    """No time to settle where this machine's loopback has what was sent ready at once, as Linux has; else the usual."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        far, _ = server.accept()
        with far:
            for _ in range(_TRIALS):
                near.send(b"x")
                if not select.select([far], (), (), 0)[0]:
                    return SETTLE_S
                far.recv(1)
    return 0.0
