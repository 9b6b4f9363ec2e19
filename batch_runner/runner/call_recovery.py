"""Calls that a lost ``state.db`` forgot: no account tells of them, but their files here do, and the log of calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from itertools import chain, islice, takewhile
from pathlib import Path

from batch_runner import catalog
from batch_runner.download import sha256_of
from batch_runner.manifest.file_names import numbered_names, plain_names
from batch_runner.model import FACTS, FACTS_SUFFIX
from batch_runner.runner.context import Context
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
        files = await asyncio.get_running_loop().run_in_executor(None, _finished_files, context, item_id, kind)
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
