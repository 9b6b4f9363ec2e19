"""The body of a submission: local files read, and what an item takes from others put in their place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from batch_runner import catalog
from batch_runner.errors import BatchRunnerError
from batch_runner.kling import Trouble
from batch_runner.limits import Backoff
from batch_runner.manifest import load_body
from batch_runner.manifest.media_fields import Place, places
from batch_runner.media import read_base64
from batch_runner.model import SUFFIXES, Asset
from batch_runner.runner.assets import AGREEING_LOOKS
from batch_runner.runner.context import Context
from batch_runner.store import Attempt, Source
from batch_runner.wording import plural

_KEPT_S = 30 * 86_400
"""Kling forgets what it made, and the ids of it, after 30 days (kling-api 4.5)."""


class UnusableSourceError(Exception):
    """A submission cannot be put together; ``reason`` is the word for where the item stands then."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


async def body_to_send(context: Context, attempt: Attempt) -> dict[str, Any]:
    """The API's fields of an attempt, with local files as base64 and results of other items filled in.

    Raises:
        UnusableSourceError: a file or another item's result cannot be had any more.
        Trouble: a link to another item's result cannot be had now.
        AccountError: the account may not ask for it.
    """
    try:
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(None, load_body, attempt.body, read_base64)
    except (OSError, BatchRunnerError) as error:
        raise UnusableSourceError("rejected", f"a file cannot be read any more: {error}") from None
    product = catalog.product(attempt.kind, attempt.model)
    for field in product.media:
        for place in _chained(body, field.path):
            result = await _result(context, place.get())
            place.put(await (result.file(field.type) if field.takes_file else result.address(field.type)))
    for path, ref in product.refs.items():
        for place in _chained(body, path):
            place.put((await _result(context, place.get())).made_id(ref))
    return body


def _chained(body: dict[str, Any], path: str) -> Iterator[Place]:
    for place in places(body, path):
        if isinstance(place.get(), Mapping) and "item" in place.get():
            yield place


async def _result(context: Context, chain: Mapping[str, Any]) -> _Result:
    name = chain["item"]
    source = await context.store.source(context.batch, name)
    if source is None:
        raise UnusableSourceError("source", f"its source {name!r} has no result in this batch")
    return _Result(context, name, chain.get("asset", 1), source)


@dataclass(frozen=True, slots=True)
class _Result:
    """What another item of the batch made; ``number`` says which of its files or ids, counted from 1.

    Files are counted among those of the type a field takes: the sounds of a task that made a video too have numbers of
    their own.
    """

    context: Context
    name: str
    number: int
    source: Source

    async def file(self, type_: str) -> str:
        """The finished file here, as base64."""
        files = [file for file in self.source.files if PurePosixPath(file.path).suffix in SUFFIXES[type_]]
        if self.number > len(files):
            raise self._lacks(f"{plural(len(files), 'file')} of the type {type_}")
        file = files[self.number - 1]
        path = self.context.output_dir / file.path
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(None, read_base64, path, file.sha256)
        except OSError as error:
            text = (
                f"the file of its source {self.name!r} is not as it was ({error.strerror}); verify --repair restores it"
            )
            raise UnusableSourceError("source", text) from None

    async def address(self, type_: str) -> str:
        """A fresh link to the file at Kling; one look that shows none may be a stale one.

        Raises:
            UnusableSourceError: several looks agree that there is none.
            Trouble: a look was from before the task's end, or brought no answer.
        """
        self._require_young()
        backoff = Backoff(2.0, 30.0, self.context.rng)
        for look in range(AGREEING_LOOKS):
            if look:
                await asyncio.sleep(backoff.next_s())
            assets = await self._assets()
            links = [asset.url for asset in assets if asset.suffix in SUFFIXES[type_]]
            if any(links[self.number - 1 : self.number]):  # an empty one would be sent, and taken for none
                return links[self.number - 1]
        if assets and self.number > len(links):
            raise self._lacks(f"{plural(len(links), 'file')} of the type {type_}")
        text = f"Kling hands out no file of its source {self.name!r} any more, asked {AGREEING_LOOKS} times"
        raise UnusableSourceError("source", f"{text}; --retry-failed asks again")

    async def _assets(self) -> tuple[Asset, ...]:
        """What the source's task, whose end is recorded here, made; nothing where nobody knows such a task."""
        attempt = self.source.attempt
        route = catalog.route(attempt.kind, attempt.model)
        task = await self.context.client.find(route, attempt.task_id or attempt.external_task_id)
        if task is not None and not task.status.is_terminal:
            raise Trouble(f"the account shows the finished task of the source {self.name!r} as it was before its end")
        return task.assets if task is not None else ()

    def made_id(self, ref: str) -> Any:
        """The id of that kind which the source's task made."""
        self._require_young()
        made = self.source.made
        ids = made.get(f"{ref}s", [made[ref]] if ref in made else [])
        if self.number > len(ids):
            raise self._lacks(f"{plural(len(ids), 'id')} of the kind {ref}")
        return ids[self.number - 1]

    def _require_young(self) -> None:
        if self.context.clock.wall_s() - self.source.finished_at > _KEPT_S:
            text = f"its source {self.name!r} is older than the 30 days for which Kling keeps results"
            raise UnusableSourceError("source", text)

    def _lacks(self, has: str) -> UnusableSourceError:
        return UnusableSourceError("source", f"its source {self.name!r} has {has}; number {self.number} was asked for")
