"""Calls that a lost ``state.db`` forgot: no account tells of them, but their files here do, and the log of calls."""

from __future__ import annotations

from collections.abc import Sequence

from batch_runner.runner.context import Context
from batch_runner.runner.left_files import finished_files
from batch_runner.store import StoredFile


async def recover_calls(context: Context) -> tuple[bool, list[str]]:
    """Take up what was finished or may have been paid for.

    Returns:
        Whether any was taken up, and counts from now on; and the ids of those that are new as calls, and may be made
        unless the account has a task of theirs, from when their line was another product's.
    """
    calls = await context.store.unlooked_calls(context.batch)
    called = await context.calls.called() if calls and context.calls else None
    is_found, new = False, []
    for item_id, kind in calls:
        if called is not None and item_id not in called:
            new.append(item_id)  # a file of its name is not a call's: its line may have been another product's
            continue
        files = await finished_files(context, item_id, kind)
        is_found |= await _recover(context, item_id, files)
    return is_found, new


async def _recover(context: Context, item_id: str, files: Sequence[StoredFile]) -> bool:
    attempt = await context.store.recover_call(context.batch, item_id, files, context.budgets, context.rolling)
    if attempt is None:
        text = "state.db was lost, and the budget has no room for what it may have cost; raise --budget"
        context.notice(f"{item_id}: {text}", urgent=True)
    elif not files:
        text = "state.db was lost, and nobody can tell whether it was paid for; --repeat-lost makes it (again)"
        context.notice(f"{item_id}: {text}", urgent=True)
    return attempt is not None
