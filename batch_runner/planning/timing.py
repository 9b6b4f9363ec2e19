"""How long a batch takes: rehearsed several times, on every core."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from multiprocessing import active_children, get_context

from batch_runner.answer import Ask
from batch_runner.model import Item
from batch_runner.rehearsal import Forecast, Rehearsed, forecast_of, rehearse
from batch_runner.service import Limits

MOST_ITEMS = 1000
"""A larger batch is rehearsed by an even selection of its lines, and its time scaled up."""
_ITEMS_IN_ALL = 5000
_FEWEST, _MOST = 4, 24


@dataclass(frozen=True, slots=True)
class Timing:
    """A forecast, and what it was made of.

    Attributes:
        forecast: the figures.
        limits: what the run would keep to.
        share: which part of the items was rehearsed, 0 to 1.
    """

    forecast: Forecast
    limits: Limits
    share: float


def timing(
    items: Sequence[Item],
    usual_s: Mapping[str, float],
    limits: Limits,
    name: str,
    budgets: Mapping[str, Decimal],
    ask: Ask = asyncio.run,
) -> Timing | None:
    """The forecast for what is left of a batch; None where nothing is.

    Args:
        items: what is to be submitted, sources among them.
        usual_s: the usual seconds of each task, by its item's id.
        limits: tasks at a time and requests a minute.
        name: the batch's.
        budgets: what may still be spent, by pack.
        ask: what runs a coroutine.
    """
    some = _selection(items)
    if not some:
        return None
    one = partial(
        rehearse,
        items=some,
        usual_s={item.id: usual_s[item.id] for item in some},
        name=name,
        max_concurrent=limits.max_concurrent,
        rpm=limits.rpm,
        budgets={pack: left * len(some) / len(items) for pack, left in budgets.items()},
    )
    seeds = range(min(max(_ITEMS_IN_ALL // len(some), _FEWEST), _MOST))
    share = len(some) / len(items)
    return Timing(_scaled(forecast_of(_rehearsed(one, seeds, ask)), share), limits, share)


def _selection(items: Sequence[Item]) -> list[Item]:
    if len(items) <= MOST_ITEMS:
        some = list(items)
    else:
        some = [items[index * len(items) // MOST_ITEMS] for index in range(MOST_ITEMS)]
    ids = {item.id for item in some}
    return [replace(item, sources=tuple(source for source in item.sources if source in ids)) for item in some]


def _rehearsed(one: partial[Rehearsed], seeds: range, ask: Ask) -> list[Rehearsed]:
    cores = os.cpu_count() or 1
    if cores > 1 and _is_alone():
        return ask(_on_every_core(one, seeds, cores))
    with ThreadPoolExecutor(1) as thread:  # not in this one: somebody's event loop may be running here
        return list(thread.map(one, seeds))


def _is_alone() -> bool:
    """Whether nothing else goes on in this process: a fork would take the locks of other threads along."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return threading.active_count() == 1
    return False


_HEARD_WITHIN_S = 1.0
"""A signal to all processes of a group can end the workers before this one has heard of it."""
_SEEN_DEAD_WITHIN_S = 5.0
"""A pool whose workers die while it is handed jobs can lose some of them, which then never end."""


@contextmanager
def _unheard() -> Iterator[None]:
    """What is forked in the block never hears a terminal, which would end it too soon; this process does, after it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def _on_every_core(one: partial[Rehearsed], seeds: range, cores: int) -> list[Rehearsed]:
    """In a loop, so that a signal ends it where no lock is held; what others would still find out is of no use then."""
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(cores, mp_context=get_context("fork")) as pool:
        jobs = []
        try:
            # Where a signal ended the workers meanwhile, the jobs before this one tell of it.
            with suppress(BrokenProcessPool), _unheard():
                for seed in seeds:
                    jobs.append(loop.run_in_executor(pool, one, seed))  # noqa: PERF401 - those before a failure count
            await asyncio.wait(jobs)
            troubles = [job.exception() for job in jobs]  # of every one, or the loop complains of those left over
            if any(troubles):
                await asyncio.sleep(_HEARD_WITHIN_S)
        except asyncio.CancelledError:
            for process in active_children():
                process.kill()
            done, _ = await asyncio.wait(jobs, timeout=_SEEN_DEAD_WITHIN_S)
            for job in done:
                job.exception()  # or the loop complains of those left over
            raise
    return [job.result() for job in jobs]


def _scaled(forecast: Forecast, share: float) -> Forecast:
    return replace(
        forecast,
        median_s=forecast.median_s / share,
        low_s=forecast.low_s / share,
        high_s=forecast.high_s / share,
    )
