"""Searches the account for tasks of this batch that the store does not know: a lost ``state.db`` pays nothing twice."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice, takewhile
from pathlib import Path

from batch_runner import catalog
from batch_runner.download import sha256_of
from batch_runner.errors import AccountError
from batch_runner.kling import failure_of
from batch_runner.lifecycle import ExternalId
from batch_runner.limits import loop_now_s
from batch_runner.manifest.file_names import numbered_names, plain_names
from batch_runner.model import FACTS, FACTS_SUFFIX, Generation, Route, Task, TaskStatus
from batch_runner.runner.context import Context
from batch_runner.runner.crew import first_of_ours
from batch_runner.runner.inquiry import Line, UnsettledError, ask_by_name, asked_patiently
from batch_runner.runner.lineless import Lineless, is_owed, tell_lineless
from batch_runner.runner.lists import LISTS
from batch_runner.schedule import MAX_PAGE_SIZE
from batch_runner.store import FoundTask, StoredFile
from batch_runner.wording import by_count, plural

_NAMED = 5
"""So many items are named in a notice about many."""
_LAST_PAGE = 1000
"""kling-api 4.3: ``pageNum`` is 1..1000."""
_MOST_LOOKS = 6
"""An account on which others work shows new tasks at every look, but leaves none out."""


async def adopt_from_account(context: Context) -> Lineless:
    """Take up every task of this batch that the account has, then let the items be submitted.

    Of calls that are answered at once the account knows nothing: their files here tell, and the log of calls.

    One request a product on an empty account, two where a store was lost; only items that were never searched for ask.
    Where no answer repeats our ids, one request an item. Items of which the account does not tell are not submitted by
    this run; the others are not kept waiting for them.
    What is found is taken up beyond any budget too, for it is paid already: that is told, and stops what is new.

    Returns:
        What there is of tasks that a lost store may have known and that have no line any more.

    Raises:
        ManifestError: the account has a live or finished task of a line that was edited since.
        StoppedError: the API does not answer.
        AccountError: the keys are refused.
    """
    is_found = await _recover_calls(context)
    told = await _search(context)
    if await _adopt(context, told) or is_found:
        for pack in sorted({*context.budgets, *(budget.pack for budget in context.rolling)}):
            await context.tell_balance(pack, "with what was found of earlier runs, ")
    return await tell_lineless(context, told.found, is_all=told.is_all)


@dataclass(frozen=True, slots=True)
class _Told:
    """What the account says of the items of some lists.

    Attributes:
        found: their tasks.
        unsettled: those of which it does not tell, with why.
        is_all: whether every list told.
    """

    found: list[FoundTask] = field(default_factory=list)
    unsettled: Mapping[str, str] = field(default_factory=dict)
    is_all: bool = True


async def _search(context: Context) -> _Told:
    routes = await _routes_to_search(context)
    if not routes:
        return _Told()
    await asyncio.sleep(max(0.0, context.lost_at_s + context.policy.settle_s - loop_now_s()))
    told = await _ask_everywhere(context, routes)
    found = [each for one in told for each in one.found]
    unsettled = {item_id: why for one in told for item_id, why in one.unsettled.items()}
    return _Told(found, unsettled, all(one.is_all for one in told))


async def _routes_to_search(context: Context) -> list[Route]:
    """Those of the lines that were never searched for; after a loss also of what they may have been before an edit."""
    kinds = await context.store.unlooked_kinds(context.batch)
    is_wanted = bool(kinds) or await is_owed(context.store, context.batch)
    if is_wanted and context.was_lost and context.lists is not None:
        kinds = [*kinds, *await context.lists.noted()]
    routes = (catalog.route(kind, model) for kind, model in kinds)
    return list({route.list_path: route for route in routes if not route.is_sync}.values())


async def _adopt(context: Context, told: _Told) -> int:
    count = await context.store.adopt(context.batch, told.found, context.budgets, told.unsettled.keys())
    _tell_unsettled(context, told.unsettled)
    if count:
        words = by_count(count, "was found on the account and is", "were found on the account and are")
        context.notice(f"{plural(count, 'task')} of this batch {words} taken up, not paid again")
    return count


async def _ask_everywhere(context: Context, routes: Sequence[Route]) -> list[_Told]:
    """All lists at once, so that one that does not answer is told from an API that does not."""
    try:
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(_told_of(context, route)) for route in routes]
    except BaseExceptionGroup as group_of_errors:
        error = first_of_ours(group_of_errors)
        if error is None:
            raise
        raise error from None
    return [each.result() for each in asking]


async def _told_of(context: Context, route: Route) -> _Told:
    try:
        if route.tells_external_id:
            return _Told(await _tasks_of_batch(context, route))
        return await _tasks_by_name(context, route, await _items_on(context, route))
    except (UnsettledError, AccountError) as error:
        items = await _items_on(context, route)
        is_beyond_these_keys = route.needs_api_key and not items
        if isinstance(error, AccountError) and not is_beyond_these_keys:
            raise
        if not items:
            text = f"{route.list_path} does not tell whether it has tasks of lines that are gone ({error})"
            remedy = f"run the same command again later, or, if you miss nothing of it, remove {LISTS} of the batch"
            context.notice(f"{text}; {remedy}", urgent=True)
        return _Told(unsettled=dict.fromkeys((item_id for item_id, _ in items), str(error)), is_all=False)


async def _items_on(context: Context, route: Route) -> list[tuple[str, str]]:
    """Id and fingerprint of the items whose tasks a route's list shows."""
    items: list[tuple[str, str]] = []
    for kind, model in await context.store.unlooked_kinds(context.batch):
        if catalog.route(kind, model).list_path == route.list_path:
            items += await context.store.unlooked_items(context.batch, kind, model)
    return items


def _tell_unsettled(context: Context, unsettled: Mapping[str, str]) -> None:
    """Once for all that got the same answer; a thousand lines would hide what else is said."""
    for why in dict.fromkeys(unsettled.values()):
        names = [item_id for item_id, each in unsettled.items() if each == why]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        text = f"the account does not tell whether it has a task of an earlier run ({why})"
        what_next = "not submitted now, for it might be paid twice; run the same command again later"
        context.notice(f"{', '.join(names[:_NAMED])}{more}: {text}; {what_next}", urgent=True)


async def _recover_calls(context: Context) -> bool:
    """Whether any was taken up, and counts from now on."""
    calls = await context.store.unlooked_calls(context.batch)
    called = await context.calls.called() if calls and context.calls else None
    is_found = False
    for item_id, kind in calls:
        may_be_paid = called is None or item_id in called
        is_found |= await _recover_call(context, item_id, kind, may_be_paid=may_be_paid)
    return is_found


async def _recover_call(context: Context, item_id: str, kind: str, *, may_be_paid: bool) -> bool:
    files = await asyncio.get_running_loop().run_in_executor(None, _finished_files, context, item_id, kind)
    if not files and not may_be_paid:
        await context.store.clear_call(context.batch, item_id)
        return False
    attempt = await context.store.recover_call(context.batch, item_id, files, context.budgets, context.rolling)
    if attempt is None:
        text = "state.db was lost, and the budget has no room for what it may have cost; raise --budget"
        context.notice(f"{item_id}: {text}", urgent=True)
    elif not files:
        text = "state.db was lost, and nobody can tell whether it was paid for; --repeat-lost makes it (again)"
        context.notice(f"{item_id}: {text}", urgent=True)
    return attempt is not None


def _finished_files(context: Context, item_id: str, kind: str) -> list[StoredFile]:
    """The files of an item under their final names, plain or numbered from 1; none where some are missing.

    Of several files the last one says what the others are, so that without it nobody knows how many there were.
    """
    folder = context.output_dir / context.batch.name
    made = catalog.made_files(kind, {})  # no field of a call says how many
    paths = _first_file(folder, plain_names(item_id, made))
    if not paths:
        numbered = (_first_file(folder, numbered_names(item_id, made, number)) for number in range(1, made.most + 1))
        paths = list(chain.from_iterable(takewhile(bool, numbered)))
        if made.kinds[-1][0] == FACTS and paths and paths[-1].suffix != FACTS_SUFFIX:
            return []
    found = []
    for ordinal, path in enumerate(paths):
        size, digest = sha256_of(path)
        found.append(StoredFile(ordinal, path.relative_to(context.output_dir).as_posix(), size, digest, len(paths)))
    return found


def _first_file(folder: Path, names: Iterable[str]) -> list[Path]:
    """The first of these files that stands in the folder; none where there is none."""
    paths = (folder / name for name in names)
    return list(islice((path for path in paths if path.is_file() and not path.is_symlink()), 1))


async def _tasks_of_batch(context: Context, route: Route) -> list[FoundTask]:
    """Where a store was lost, looks have to agree: a proxy may answer with another request's page, even twice.

    Raises:
        UnsettledError: no look showed all that the look before it had shown, and nothing more of ours.
    """
    found: dict[str, FoundTask] = {}
    shown: set[str] | None = None
    for _ in range(_MOST_LOOKS):
        known, before, shown = len(found), shown, set()
        async for rows in _searched(context, route) if route.generation is Generation.V2 else _listed(context, route):
            shown.update(row.task_id for row in rows)
            found.update(_ours(context.batch.name, rows))
        does_agree = before == shown or bool(before and before < shown)
        if not context.was_lost or (does_agree and len(found) == known):
            return list(found.values())
    raise UnsettledError("its lists of tasks contradict one another")


def _ours(batch_name: str, rows: Iterable[Task]) -> dict[str, FoundTask]:
    ours = ExternalId.of(batch_name, "", 1, "").batch
    named = ((ExternalId.parse(row.external_task_id), row) for row in rows)
    return {str(name): FoundTask(name, row, _reason(row)) for name, row in named if name and name.batch == ours}


async def _tasks_by_name(context: Context, route: Route, items: Sequence[tuple[str, str]]) -> _Told:
    """Those of a product whose lists do not say whose a task is: asked for item by item, attempt by attempt."""
    if not context.was_lost and not await asked_patiently(context, route, partial(context.client.page, route, 1, 1)):
        return _Told()
    sent = await _sent(context)
    lines = [Line(item_id, fingerprint, sent[_digest(context, item_id)]) for item_id, fingerprint in items]
    await ask_by_name(context, route, lines)
    named = [each for line in lines if line.is_settled for each in line.found]
    unsettled = {line.item_id: line.why or "" for line in lines if not line.is_settled}
    return _Told([FoundTask(name, task, _reason(task)) for name, task in named], unsettled)


async def _sent(context: Context) -> Mapping[str, Sequence[ExternalId]]:
    """What a lost store is known to have sent of such products, by the digest of the item, the oldest first."""
    sent: defaultdict[str, list[ExternalId]] = defaultdict(list)
    names = await context.lists.names() if context.was_lost and context.lists is not None else []
    for name in sorted(names, key=lambda each: each.number):
        sent[name.item].append(name)
    return sent


def _digest(context: Context, item_id: str) -> str:
    return ExternalId.of(context.batch.name, item_id, 1, "").item


async def _listed(context: Context, route: Route) -> AsyncIterator[list[Task]]:
    """Pages of a product of the first generation, until one shows nothing new: a short one proves nothing."""
    seen: set[str] = set()
    for number in range(1, _LAST_PAGE + 1):
        rows = await asked_patiently(context, route, partial(context.client.page, route, number, MAX_PAGE_SIZE))
        yield rows
        ids = {row.task_id for row in rows}
        if ids <= seen:
            return
        seen |= ids


async def _searched(context: Context, route: Route) -> AsyncIterator[list[Task]]:
    """Everything that the second generation's search shows, cursor by cursor."""
    cursor = None
    for _ in range(_LAST_PAGE):
        rows, cursor = await asked_patiently(context, route, partial(context.client.tasks, cursor, limit=MAX_PAGE_SIZE))
        yield rows
        if cursor is None:
            return


def _reason(task: Task) -> str | None:
    return failure_of(task.message).reason if task.status is TaskStatus.FAILED else None
