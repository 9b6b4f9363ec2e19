"""What a signal does to work in an event loop: to a run step by step, to everything else at once."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from batch_runner.errors import StoppedError
from batch_runner.interruption import STOPPED, Interruption, Listener

if TYPE_CHECKING:  # most commands are stopped without a run's halt
    from batch_runner.runner import Halt

T = TypeVar("T")


async def in_steps(work: Coroutine[Any, Any, T], halt: Halt, interruption: Interruption) -> T:
    """The result of a run that ``halt`` stops: the first signal leaves, the second one abandons, the third one cancels.

    Raises:
        StoppedError: it was cancelled before it could say how the batch stands.
    """
    return await _attended(work, _steps(halt), interruption, "stopped at once: run the same command again to go on")


async def until_stopped(work: Coroutine[Any, Any, T], interruption: Interruption) -> T:
    """The result of ``work``, which the first signal cancels.

    Raises:
        StoppedError: it was cancelled.
    """
    try:
        return await _attended(work, _cancelling(), interruption, STOPPED)
    except Exception:
        if interruption.is_heard:  # processes that were stopped as well make what is no news
            raise StoppedError(STOPPED) from None
        raise


async def _attended(work: Coroutine[Any, Any, T], listener: Listener, interruption: Interruption, text: str) -> T:
    loop = asyncio.get_running_loop()
    with interruption.handed_to(listener, loop):
        try:
            return await work
        except asyncio.CancelledError:
            raise StoppedError(text) from None
        finally:
            if interruption.is_heard:  # whoever stopped it does not wait for a thread that looks up a name
                loop.set_default_executor(ThreadPoolExecutor(1))


def _steps(halt: Halt) -> Listener:
    """Signals are counted: a run that leaves already, for another reason, has not heard the user's first one yet."""
    cancel, count = _cancelling(), itertools.count(1)

    def step(number: signal.Signals) -> None:
        match next(count):
            case _ if halt.is_concluded:
                pass
            case 1:
                halt.leave(StoppedError(f"stopped by {number.name}: run the same command again to go on"))
            case 2:
                halt.abandon()
            case _:
                cancel(number)

    return step


def _cancelling() -> Listener:
    task = asyncio.current_task()
    assert task is not None

    def cancel(_: signal.Signals) -> None:
        if not task.cancelling():  # once: what it still does then is to put its things away
            task.cancel()

    return cancel
