"""Which items of a batch were ever called, kept beside their files: a call answered at once leaves nothing to ask for.

``state.db`` knows better as long as it is there. After a loss this tells what is new from what may be paid for.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from batch_runner.download import is_ours_alone, reading, status_of, write_atomically
from batch_runner.errors import DiskError
from batch_runner.runner.appending import Appender
from batch_runner.store import Batch, Store

CALL_LOG = ".calls.jsonl"
"""Its name in the folder of the batch."""


class CallLog:
    """The names of the items, a line each, behind the name of the batch; each with a checksum.

    The file is there or it is not: where it is, it names every item of which a call may have been sent. So it is begun
    with what the store knows, and never in a batch of which a lost store knew more.

    Args:
        output_dir: the output folder.
        batch: whose calls they are; its folder is there.
    """

    def __init__(self, output_dir: Path, batch: Batch) -> None:
        self._path = output_dir / batch.name / CALL_LOG
        self._batch = batch
        self._appender = Appender(self._path)
        self._is_kept = False

    async def begin(self, store: Store) -> None:
        """Make the file if it is not there, the batch has calls, and all that were ever made are known.

        Raises:
            DiskError: the folder cannot be written.
        """
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(None, self._is_there):
            items = await store.begun_items(self._batch)
            if items is None:
                return
            lines = map(_line, [self._batch.name, *items])
            await loop.run_in_executor(None, write_atomically, self._path, lines)
        self._is_kept = True

    def _is_there(self) -> bool:
        status = status_of(self._path)
        return status is not None and is_ours_alone(status)

    async def note(self, item_id: str) -> None:
        """Make it durable that this item is called now; to be awaited before anything is sent.

        Raises:
            DiskError: the disk refused, or stayed full for half a minute.
        """
        if not self._is_kept:
            return
        await self._appender.add(_line(item_id))

    async def called(self) -> frozenset[str] | None:
        """Every item that may ever have been called, or None where that is not known."""
        return await asyncio.get_running_loop().run_in_executor(None, self._read)

    def _read(self) -> frozenset[str] | None:
        try:
            with reading(self._path) as file:
                names = _texts(file.read())
                return frozenset(names) if next(names) == self._batch.name else None
        except (DiskError, ValueError, StopIteration):
            return None  # as if it were not there: what nobody can read proves nothing


def _line(text: str) -> bytes:
    return json.dumps([text, _seal(text)]).encode() + b"\n"


def _seal(text: str) -> int:
    return zlib.crc32(text.encode())


def _texts(content: bytes) -> Iterator[str]:
    """What the lines say; one without its end was never finished. Raises ValueError for anything else."""
    for line in content.split(b"\n")[:-1]:
        match json.loads(line):
            case [str(text), int(seal)] if seal == _seal(text):
                yield text
            case _:
                raise ValueError(f"{line!r} is no line of calls")
