"""Paid tasks that a lost ``state.db`` left without a line: news of their own until a run has ended with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batch_runner.errors import ExitCode
from batch_runner.limits import loop_now_s
from batch_runner.runner.context import Context
from batch_runner.runner.lists import BatchLists
from batch_runner.store import LOST_SCOPE, Batch, FoundTask, Stamp, Store
from batch_runner.wording import by_count, plural

_TOLD_BY = frozenset({ExitCode.OK, ExitCode.ITEMS_FAILED})
"""No run ends so that owes word of such tasks to the next one."""


@dataclass(frozen=True, slots=True)
class Lineless:
    """What a search of the account said of such tasks.

    Attributes:
        count: how many there are, where no run has ended with that news yet.
        is_all: whether every list told, so that there are no more.
    """

    count: int = 0
    is_all: bool = False


async def is_owed(store: Store, batch: Batch) -> bool:
    """Whether a store was lost here, and no run has ended yet that told what that left without a line."""
    return bool(await store.stamps(LOST_SCOPE)) and not await store.stamps(_scope(batch))


async def is_left_to_tell(store: Store, batch: Batch, lists: BatchLists) -> bool:
    """Whether a run left it to the next one: a search is work even where every item is finished."""
    summary = await store.summary(batch)
    if summary is not None and summary.exit_code in _TOLD_BY:
        return False
    return await is_owed(store, batch) and bool(await store.kinds(batch) or await lists.noted())


async def tell_lineless(context: Context, found: Sequence[FoundTask], *, is_all: bool) -> Lineless:
    """Tell a person of them. Where no store was lost, they are those of another folder, and nobody's trouble here."""
    number = await context.store.without_line(context.batch, found)
    if number:
        context.notice(_words(number), urgent=True)
    if not await is_owed(context.store, context.batch):
        return Lineless(is_all=True)
    if is_all and not number:
        await told(context)
    return Lineless(number, is_all)


def _words(number: int) -> str:
    belong = by_count(number, "belongs to a line that is", "belong to lines that are")
    gone = "not in the manifest any more, or not with that text"
    back = by_count(number, "the line back as it was to have its", "the lines back as they were to have their")
    return f"{plural(number, 'task')} of this batch on the account {belong} {gone}; put {back} files"


async def told(context: Context) -> None:
    """From now on nothing is owed: a run has ended with the news, or there is none."""
    now = Stamp(context.clock.epoch(), loop_now_s(), context.clock.wall_s())
    await context.store.add_stamp(_scope(context.batch), now, keep=1)


def _scope(batch: Batch) -> str:
    """Of the stamp that says so; a lost store takes it along."""
    return f"told {batch.name}"
