"""Files that stand under the names of items when a lost ``state.db`` has forgotten them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable, Sequence
from itertools import chain, islice, takewhile
from pathlib import Path

from batch_runner import catalog
from batch_runner.catalog import MadeFiles
from batch_runner.download import sha256_of
from batch_runner.errors import DiskError
from batch_runner.lifecycle import ExternalId
from batch_runner.manifest.file_names import numbered_names, plain_names
from batch_runner.model import FACTS, FACTS_SUFFIX, Task
from batch_runner.runner.context import Context
from batch_runner.runner.inquiry import Line, ask_by_name
from batch_runner.runner.silence import tell_unsettled
from batch_runner.store import StoredFile
from batch_runner.wording import some_of

_MOST_ASKED = 50
"""So many items are asked about by name; more are only held back: a run must not spend an hour on questions first."""


async def finished_files(context: Context, item_id: str, kind: str) -> list[StoredFile]:
    """The files of a call under their final names, plain or numbered from 1; none where some are missing.

    Of several files the last one says what the others are, so that without it nobody knows how many there were.
    """
    return await asyncio.get_running_loop().run_in_executor(None, _finished_files, context, item_id, kind)


async def left_files(
    context: Context, taken: Collection[str], held: Collection[str]
) -> tuple[list[tuple[ExternalId, Task]], set[str]]:
    """Items of which no list showed a task, though a file of theirs is here: they were paid for, for all we know.

    The first of them are asked about by name, for a list may come from somebody's memory; not of a product whose lists
    tell no names, which were asked about so already.

    Args:
        context: the run's parts.
        taken: digests of the items of which a task was found.
        held: ids of those that are not submitted anyway, as the account does not tell of them.

    Returns:
        The tasks that were found so, and the ids of the items of which there is none, or nobody tells.

    Raises:
        StoppedError: the API does not answer, or the run is to end.
        AccountError: the keys are refused.
    """
    named, left, untold = list[tuple[ExternalId, Task]](), set[str](), dict[str, str]()
    for kind, model in await context.store.unlooked_kinds(context.batch):
        there = await _there(context, kind, model, taken, held)
        left |= there.keys()
        route = catalog.route(kind, model)
        lines = [Line(*item) for item in there.items()][:_MOST_ASKED] if route.tells_external_id else []
        await ask_by_name(context, route, lines)
        named += [each for line in lines if line.is_settled for each in line.found]
        untold |= {line.item_id: line.why for line in lines if line.why}
    shown = {name.item for name, _ in named}
    left -= {item_id for item_id in left if digest_of(context, item_id) in shown}
    tell_unsettled(context, untold)
    _tell(context, sorted(left - untold.keys()))
    return named, left


async def _there(
    context: Context, kind: str, model: str, taken: Collection[str], held: Collection[str]
) -> dict[str, str]:
    """Those of a product's items under whose names a file stands, with their fingerprints."""
    items = dict(await context.store.unlooked_items(context.batch, kind, model))
    bodies = await context.store.unlooked_bodies(context.batch, kind, model)

    def are_there() -> dict[str, str]:
        alone = (item_id for item_id in items if item_id not in held and digest_of(context, item_id) not in taken)
        return {item_id: items[item_id] for item_id in alone if _has_a_file(context, item_id, kind, bodies[item_id])}

    return await asyncio.get_running_loop().run_in_executor(None, are_there)


def digest_of(context: Context, item_id: str) -> str:
    """How the tasks of an item of this batch name it."""
    return ExternalId.of(context.batch.name, item_id, 1, "").item


def _tell(context: Context, item_ids: Sequence[str]) -> None:
    if not item_ids:
        return
    text = (
        f"{some_of(item_ids)}: state.db was lost, a file of that name is here, and the account's lists show no task for"
        " it (Kling shows 30 days), so it may have been paid for; not submitted: put state.db back, or move the file"
        " away and give the line an id of its own to have it made again"
    )
    context.notice(text, urgent=True)
    context.halt.note(DiskError(text))


def _has_a_file(context: Context, item_id: str, kind: str, body: str) -> bool:
    return bool(_first_file(_folder(context), _first_names(item_id, catalog.made_files(kind, json.loads(body)))))


def _first_names(item_id: str, made: MadeFiles) -> list[str]:
    return [*plain_names(item_id, made), *numbered_names(item_id, made, 1)]


def _folder(context: Context) -> Path:
    return context.output_dir / context.batch.name


def _finished_files(context: Context, item_id: str, kind: str) -> list[StoredFile]:
    folder = _folder(context)
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
