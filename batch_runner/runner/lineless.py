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
        gone: ids of those whose lines can be put back to have the files, where no run has ended with that news yet.
        made_anew: the same of those whose lines cannot, for they were made with another text meanwhile.
        is_all: whether every list told, so that there are no more.
    """

    gone: Sequence[str] = ()
    made_anew: Sequence[str] = ()
    is_all: bool = False

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.gone) + len(self.made_anew)


async def is_owed(store: Store, batch: Batch) -> bool:
    """Whether a store was lost here, and no run has ended yet that told what that left without a line."""
    return bool(await store.stamps(LOST_SCOPE)) and not await store.stamps(_told_scope(batch))


async def may_be_away(store: Store, batch: Batch) -> bool:
    """Whether a store was lost here that may have paid for lines of which this one does not know.

    Not after a search that heard every list and found no task without a line: from then on this store knows them all.
    """
    return bool(await store.stamps(LOST_SCOPE)) and not await store.stamps(_whole_scope(batch))


async def is_left_to_tell(store: Store, batch: Batch, lists: BatchLists) -> bool:
    """Whether a run left it to the next one: a search is work even where every item is finished."""
    summary = await store.summary(batch)
    if summary is not None and summary.exit_code in _TOLD_BY:
        return False
    return await is_owed(store, batch) and bool(await store.kinds(batch) or await lists.noted())


async def tell_lineless(context: Context, found: Sequence[FoundTask], *, is_all: bool) -> Lineless:
    """Tell a person of them. Where no store was lost, they are those of another folder, and nobody's trouble here."""
    without = await context.store.without_line(context.batch, found)
    gone, made_anew = ([task_id for task_id, is_anew in without.items() if is_anew is which] for which in (False, True))
    for text in _words(gone, made_anew):
        context.notice(text, urgent=True)
    if not context.was_lost:
        return Lineless(is_all=True)
    lineless = Lineless(await _untold(context, gone), await _untold(context, made_anew), is_all)
    if is_all and not lineless.count:
        await told(context, lineless)
    if is_all and not without:
        await _stamp(context, _whole_scope(context.batch))
    return lineless


def _words(gone: Sequence[str], made_anew: Sequence[str]) -> list[str]:
    return [*([_gone_words(len(gone))] if gone else ()), *([_anew_words(made_anew)] if made_anew else ())]


def _gone_words(number: int) -> str:
    belong = by_count(number, "belongs to a line that is", "belong to lines that are")
    gone = "not in the manifest any more, or not with that text"
    back = by_count(number, "the line back as it was to have its", "the lines back as they were to have their")
    return f"{plural(number, 'task')} of this batch on the account {belong} {gone}; put {back} files"


def _anew_words(task_ids: Sequence[str]) -> str:
    number = len(task_ids)
    have = by_count(number, "has an earlier text of a line that was", "have earlier texts of lines that were")
    them = by_count(number, "it", "them")
    text = f"{plural(number, 'task')} of this batch on the account {have} made anew since"
    ids = ", ".join(task_ids)
    return f"{text}; no run fetches {them} ({ids}): do so by task id, if wanted, before the service removes {them}"


async def _untold(context: Context, task_ids: Sequence[str]) -> list[str]:
    """Those with which no run has ended yet."""
    return [each for each in task_ids if not await context.store.stamps(_task_scope(each))]


async def told(context: Context, lineless: Lineless) -> None:
    """From now on nothing of it is owed: a run has ended with the news, or there is none."""
    for task_id in (*lineless.gone, *lineless.made_anew):
        await _stamp(context, _task_scope(task_id))
    await _stamp(context, _told_scope(context.batch))


async def _stamp(context: Context, scope: str) -> None:
    now = Stamp(context.clock.epoch(), loop_now_s(), context.clock.wall_s())
    await context.store.add_stamp(scope, now, keep=1)


def _told_scope(batch: Batch) -> str:
    """Of the stamp that says that a run has ended with the news, or that there is none; a lost store takes it along."""
    return f"told {batch.name}"


def _whole_scope(batch: Batch) -> str:
    """Of the stamp that says that there is none."""
    return f"whole {batch.name}"


def _task_scope(task_id: str) -> str:
    """Of the stamp that says that a run has ended with the news of this task."""
    return f"told-task {task_id}"
