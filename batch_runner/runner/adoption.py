"""Searches the account for tasks of this batch that the store does not know: a lost ``state.db`` pays nothing twice."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

from batch_runner import catalog
from batch_runner.errors import AccountError, NotPermittedError
from batch_runner.kling import failure_of
from batch_runner.lifecycle import ExternalId
from batch_runner.limits import loop_now_s
from batch_runner.model import Generation, Route, Task, TaskStatus
from batch_runner.runner.call_recovery import recover_calls
from batch_runner.runner.context import Context
from batch_runner.runner.crew import first_of_ours
from batch_runner.runner.inquiry import ContradictionError, Line, UnsettledError, ask_by_name, asked_patiently
from batch_runner.runner.left_files import digest_of, left_files
from batch_runner.runner.lineless import Lineless, is_owed, may_be_away, tell_lineless
from batch_runner.runner.lists import list_of
from batch_runner.runner.silence import Silence, raise_refusal, tell_silences, tell_unsettled
from batch_runner.schedule import MAX_PAGE_SIZE
from batch_runner.store import FoundTask
from batch_runner.wording import by_count, plural

_LAST_PAGE = 1000
"""kling-api 4.3: ``pageNum`` is 1..1000."""
_MOST_UNREAD_PAGES = 10
"""A service that answers every question with the same rubbish must not be asked for a thousand pages of it."""
_MOST_LOOKS = 6
"""An account on which others work shows new tasks at every look, but leaves none out."""


async def adopt_from_account(context: Context) -> Lineless:
    """Take up every task of this batch that the account has, then let the items be submitted.

    Of calls that are answered at once the account knows nothing: their files here tell, and the log of calls.

    One request a product on an empty account, two where a store was lost; only items that were never searched for ask.
    Where no answer repeats our ids, one request an item. Items of which the account does not tell are not submitted by
    this run; others are not kept waiting for them, except after a loss, where any may have been of another product.
    What is found is taken up beyond any budget too, for it is paid already: that is told, and stops what is new.

    Returns:
        What there is of tasks that a lost store may have known and that have no line any more.

    Raises:
        ManifestError: the account has a live or finished task of a line that was edited since.
        StoppedError: the API does not answer.
        AccountError: the keys are refused.
    """
    is_found, new_calls = await recover_calls(context)
    told = await _search(context, new_calls)
    if await _adopt(context, told, new_calls) or is_found:
        for pack in sorted({*context.budgets, *(budget.pack for budget in context.rolling)}):
            await context.tell_balance(pack, "with what was found of earlier runs, ")
    return await tell_lineless(context, told.found, is_all=told.is_all)


@dataclass(frozen=True, slots=True)
class _Told:
    """What the account says of the items of a list.

    Attributes:
        found: their tasks.
        unsettled: those of which it does not tell, with why.
        silence: that the list does not tell, where this concerns other lines than its own as well.
        is_heard: whether it answered a question, so that the keys are good.
        is_all: whether it told everything.
    """

    found: Sequence[FoundTask] = ()
    unsettled: Mapping[str, str] = field(default_factory=dict)
    silence: Silence | None = None
    is_heard: bool = True
    is_all: bool = True


@dataclass(frozen=True, slots=True)
class _Findings:
    """What all lists say.

    Attributes:
        found: tasks of this batch.
        held: ids of the items that this run must not submit.
        is_all: whether every list was asked, and told.
    """

    found: Sequence[FoundTask] = ()
    held: Collection[str] = ()
    is_all: bool = False


async def _search(context: Context, new_calls: Sequence[str]) -> _Findings:
    kinds = await context.store.unlooked_kinds(context.batch)
    if not kinds and not new_calls and not await is_owed(context.store, context.batch):
        return _Findings()
    is_of_any = await may_be_away(context.store, context.batch)
    routes = await _routes_to_search(context, kinds, is_of_any=is_of_any)
    if routes:
        await asyncio.sleep(max(0.0, context.lost_at_s + context.policy.settle_s - loop_now_s()))
    told = await _ask_everywhere(context, routes, is_of_any=is_of_any)
    silences = [one.silence for one in told if one.silence is not None]
    raise_refusal(silences, is_heard=any(one.is_heard for one in told))
    await tell_silences(context, silences)
    unsettled = {item_id: why for one in told for item_id, why in one.unsettled.items()}
    tell_unsettled(context, unsettled)
    found = [each for one in told for each in one.found]
    held = {*unsettled, *(await _without_task(context, found) if silences else ())}
    if context.was_lost:
        named, left = await left_files(context, {each.name.item for each in found}, held)
        found, held = [*found, *(FoundTask(name, task, _reason(task)) for name, task in named)], held | left
    return _Findings(found, held, all(one.is_all for one in told))


async def _routes_to_search(context: Context, kinds: Sequence[tuple[str, str]], *, is_of_any: bool) -> list[Route]:
    """Those of the lines that were never searched for; after a loss also of what they may have been before an edit."""
    if is_of_any and context.lists is not None:
        kinds = [*kinds, *await context.lists.noted()]
    routes = (catalog.route(kind, model) for kind, model in kinds)
    return list({route.list_path: route for route in routes if not route.is_sync}.values())


async def _adopt(context: Context, told: _Findings, new_calls: Sequence[str]) -> int:
    count = await context.store.adopt(context.batch, told.found, context.budgets, told.held)
    for item_id in new_calls:
        if item_id not in told.held:
            await context.store.clear_call(context.batch, item_id)
    if count:
        words = by_count(count, "was found on the account and is", "were found on the account and are")
        context.notice(f"{plural(count, 'task')} of this batch {words} taken up, not paid again")
    return count


async def _ask_everywhere(context: Context, routes: Sequence[Route], *, is_of_any: bool) -> list[_Told]:
    """All lists at once, so that one that does not answer is told from an API that does not."""
    try:
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(_told_of(context, route, is_of_any=is_of_any)) for route in routes]
    except BaseExceptionGroup as group_of_errors:
        raise first_of_ours(group_of_errors) or group_of_errors from None
    return [each.result() for each in asking]


async def _told_of(context: Context, route: Route, *, is_of_any: bool) -> _Told:
    """``is_of_any`` says that this one may have tasks of any line that was never searched for."""
    try:
        if route.tells_external_id:
            return _Told(await _tasks_of_batch(context, route))
        return await _tasks_by_name(context, route)
    except (UnsettledError, AccountError) as error:
        items = await _items_on(context, route)
        if isinstance(error, AccountError) and items:
            raise
        if is_of_any:
            is_heard = isinstance(error, (ContradictionError, NotPermittedError))
            return _Told(silence=Silence(route, error), is_heard=is_heard, is_all=False)
        return _Told(unsettled=dict.fromkeys((item_id for item_id, _ in items), str(error)), is_all=False)


async def _without_task(context: Context, found: Iterable[FoundTask]) -> list[str]:
    """The items searched for of which no task was found that lives or is finished: any list may have one of them."""
    paid = {each.name.item for each in found if each.task.status is not TaskStatus.FAILED}
    return [item_id for item_id in await _unlooked(context) if digest_of(context, item_id) not in paid]


async def _unlooked(context: Context) -> list[str]:
    """Ids of the items that were never searched for, whatever their product is; of calls too."""
    calls = await context.store.unlooked_calls(context.batch)
    return [item_id for item_id, _ in chain(await _items_on(context), calls)]


async def _items_on(context: Context, route: Route | None = None) -> list[tuple[str, str]]:
    """Id and fingerprint of the items searched for: those whose tasks a route's list shows, or all."""
    items: list[tuple[str, str]] = []
    for kind, model in await context.store.unlooked_kinds(context.batch):
        if route is None or list_of(kind, model) == route.list_path:
            items += await context.store.unlooked_items(context.batch, kind, model)
    return items


async def _tasks_of_batch(context: Context, route: Route) -> list[FoundTask]:
    """Where a store was lost, looks have to agree: a proxy may answer with another request's page, even twice.

    Raises:
        ContradictionError: no look showed all that the look before it had shown, and nothing more of ours.
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
    raise ContradictionError("its lists of tasks contradict one another")


def _ours(batch_name: str, rows: Iterable[Task]) -> dict[str, FoundTask]:
    ours = ExternalId.of(batch_name, "", 1, "").batch
    named = ((ExternalId.parse(row.external_task_id), row) for row in rows)
    return {str(name): FoundTask(name, row, _reason(row)) for name, row in named if name and name.batch == ours}


async def _tasks_by_name(context: Context, route: Route) -> _Told:
    """Those of a product whose lists do not say whose a task is: asked for item by item, attempt by attempt.

    Also those that were sent for an item which is no line of this product any more.
    """
    if not context.was_lost:
        first = await asked_patiently(context, route, partial(context.client.page, route, 1, 1))
        if not first.rows:
            return _Told()
    sent = await _sent(context)
    items = await _items_on(context, route)
    lines = [Line(item_id, fingerprint, sent.pop(digest_of(context, item_id), ())) for item_id, fingerprint in items]
    ids = {digest_of(context, item_id): item_id for item_id in await _unlooked(context)} if sent else {}
    gone = ((ids.get(digest, ""), names) for digest, names in sent.items())
    lines += [Line(item_id, None, names) for item_id, names in gone if await context.store.has_unknown(names)]
    await ask_by_name(context, route, lines)
    named = [each for line in lines if line.is_settled for each in line.found]
    return _Told(
        [FoundTask(name, task, _reason(task)) for name, task in named],
        {line.item_id: line.why or "" for line in lines if line.item_id and not line.is_settled},
        is_heard=any(line.is_settled for line in lines),
        is_all=all(line.is_settled for line in lines),
    )


async def _sent(context: Context) -> dict[str, list[ExternalId]]:
    """What a lost store is known to have sent of such products, by the digest of the item, the oldest first."""
    sent: defaultdict[str, list[ExternalId]] = defaultdict(list)
    names = await context.lists.names() if context.was_lost and context.lists is not None else []
    for name in sorted(names, key=lambda each: each.number):
        sent[name.item].append(name)
    return dict(sent)


async def _listed(context: Context, route: Route) -> AsyncIterator[Sequence[Task]]:
    """Pages of a product of the first generation, until one shows nothing new: a short one proves nothing.

    One of which no row can be read shows neither this nor that, so that the search goes on behind it.
    """
    seen: set[str] = set()
    unread = 0
    for number in range(1, _LAST_PAGE + 1):
        page = await asked_patiently(context, route, partial(context.client.page, route, number, MAX_PAGE_SIZE))
        yield page.tasks
        if page.illegible and not page.tasks and unread < _MOST_UNREAD_PAGES:
            unread += 1
            continue
        ids = {row.task_id for row in page.tasks}
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
