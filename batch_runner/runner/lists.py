"""What to ask the account about after a loss, kept beside a batch's files.

A lost ``state.db`` takes along what the lines were that have been removed or edited since.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path

from batch_runner import catalog
from batch_runner.download import MissingFileError, reading, write_atomically
from batch_runner.lifecycle import ExternalId
from batch_runner.runner.appending import Appender
from batch_runner.store import Batch

LISTS = ".lists.jsonl"
"""Its name in the folder of the batch."""

Kinds = Iterable[tuple[str, str]]


class BatchLists:
    """One product and model for each list of the account on which the batch may have tasks, a line each.

    Of products whose lists do not say whose a task is, also the name of every attempt that was sent.
    The file only ever gains lines, and only adds to a search: one that is gone, or a line that nobody can read, leaves
    the lists of the manifest.

    Args:
        output_dir: the output folder.
        batch: whose lines they were; its folder is there when anything is noted.
    """

    def __init__(self, output_dir: Path, batch: Batch) -> None:
        self._path = output_dir / batch.name / LISTS
        self._ours = ExternalId.of(batch.name, "", 1, "").batch
        self._appender = Appender(self._path)

    async def note(self, kinds: Kinds) -> None:
        """Make it durable that there are lines of these; to be awaited before any of them is submitted.

        Raises:
            DiskError: the folder cannot be written, or what stands there cannot be read.
        """
        await asyncio.get_running_loop().run_in_executor(None, self._note, kinds)

    def _note(self, kinds: Kinds) -> None:
        content = self._content()
        known = {list_of(kind, model) for kind, model in _pairs(content)} | {None}  # None: it is answered at once
        new = {list_of(kind, model): (kind, model) for kind, model in kinds}
        added = [json.dumps(pair).encode() + b"\n" for path, pair in new.items() if path not in known]
        if added:
            write_atomically(self._path, [content, *added])

    async def note_name(self, external_task_id: str) -> None:
        """Make the name of an attempt durable; to be awaited before it is sent, and after its product was noted.

        Raises:
            DiskError: the disk refused, or stayed full for half a minute.
        """
        await self._appender.add(json.dumps(external_task_id).encode() + b"\n")

    async def names(self) -> list[ExternalId]:
        """The attempts that were sent, each once; none where there is no such file, or it is another batch's copy.

        Raises:
            DiskError: it cannot be read.
        """
        content = await asyncio.get_running_loop().run_in_executor(None, self._content)
        values = map(_value, content.split(b"\n"))
        names = (ExternalId.parse(value) for value in values if isinstance(value, str))
        return list(dict.fromkeys(name for name in names if name is not None and name.batch == self._ours))

    async def noted(self) -> list[tuple[str, str]]:
        """A product and model of each list; none where there is no such file.

        Raises:
            DiskError: it cannot be read.
        """
        return _pairs(await asyncio.get_running_loop().run_in_executor(None, self._content))

    def _content(self) -> bytes:
        """The whole lines of the file."""
        try:
            with reading(self._path) as file:
                content = file.read()
        except MissingFileError:
            return b""
        return content[: content.rfind(b"\n") + 1]


def list_of(kind: str, model: str) -> str | None:
    """Path of the list that shows the tasks of a product and model; None of what is answered at once."""
    return catalog.route(kind, model).list_path


def _pairs(content: bytes) -> list[tuple[str, str]]:
    """The products and models that lines name, but for lines that nobody can read and products of later versions."""
    pairs = []
    for line in content.split(b"\n"):
        match _value(line):
            case [str(kind), str(model)] if kind in catalog.kinds():
                pairs.append((kind, model))
    return pairs


def _value(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
