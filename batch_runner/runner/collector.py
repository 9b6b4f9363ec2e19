"""Brings a succeeded task's files under their final names; a bad download never causes a second generation.

The order, each step durable before the next: part file whole and fsynced, its digest in the store, the final
name, the folder, the event. A crash between any two of them is finished by the next run without a request to
the account where the bytes are already here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from batch_runner import catalog
from batch_runner.download import (
    BadDownload,
    BadLink,
    Downloader,
    LinkExpired,
    TargetExists,
    is_as_recorded,
    make_batch_folder,
    publish,
    set_aside,
    tidy,
    write_part,
)
from batch_runner.errors import AccountError, DiskError, DiskFullError, NotDurableError, StoppedError
from batch_runner.events import ItemFinished
from batch_runner.kling import Trouble
from batch_runner.lifecycle import Event
from batch_runner.limits import Backoff
from batch_runner.manifest.file_names import file_names
from batch_runner.model import Task
from batch_runner.runner.context import Context
from batch_runner.runner.shortfall import files_asked, shortfall_text
from batch_runner.store import Attempt, Facts, StoredFile

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_TRIES = 8
_FRESH_LINKS = 4
"""So many fresh links in a row that the server does not honour mean that the file is gone for ever."""

_ODD_PAUSE_S = 60.0
"""Before what is of no known kind is fetched once more: a fault on the way would send the same bytes again at once."""
_GIVEN_UP_MOST = 5


class AssetGoneError(Exception):
    """The server does not hand out the file any more."""


class AssetLaterError(Exception):
    """The file could not be had now; the next run tries again."""


class Collector:
    """Downloads and publishes, a few at a time; holds no task slot.

    Args:
        context: the run's parts.
        downloader: fetches one file at a time, and checks it.
        at_once: downloads under way at the same time.
    """

    def __init__(self, context: Context, downloader: Downloader, at_once: int = 8) -> None:
        self._context = context
        self._downloader = downloader
        self._room = asyncio.Semaphore(at_once)
        self._given_up_in_row = 0
        self._broken: NotDurableError | None = None

    @property
    def is_broken(self) -> bool:
        """Whether a sync failed: nothing more is written."""
        return self._broken is not None

    async def collect(self, attempt: Attempt, task: Task | None) -> None:
        """Publish every file of a succeeded attempt, or say where it stands.

        ``task`` is None when an earlier run saw the success: links are never stored, so it is asked for again.
        """
        context = self._context
        try:
            made = await self._collect_with_room(attempt, task)
        except AssetGoneError as error:
            context.room.settle(attempt)
            facts = Facts(reason="asset", error_message=str(error))
            await context.apply(attempt, Event.LOSE_ASSET, facts)
            context.observer(ItemFinished(attempt.item_id, "failed", "asset", str(error)))
        except AssetLaterError as error:
            await self._later(attempt, str(error))
            self._given_up()
        except TargetExists as error:
            await self._later(attempt, f"{error}; move that file away and run again")
            context.halt.note(DiskError(str(error)))
        except DiskError as error:
            await self._later(attempt, str(error))
            context.notice(str(error), urgent=True)
            (context.halt.leave if isinstance(error, NotDurableError) else context.halt.submit_no_more)(error)
        else:
            context.room.settle(attempt)
            self._given_up_in_row = 0
            await self._published(attempt, made)

    async def _published(self, attempt: Attempt, made: int) -> None:
        """Every file of its task is here; what was asked for and is none of them is told."""
        missing = shortfall_text(files_asked(attempt), made)
        await self._context.apply(attempt, Event.PUBLISH, Facts(error_message=missing))
        self._context.observer(ItemFinished(attempt.item_id, "succeeded", None, missing or ""))
        if missing:
            self._context.notice(f"{attempt.item_id}: {missing}", urgent=True)

    async def _collect_with_room(self, attempt: Attempt, task: Task | None) -> int:
        while True:
            try:
                return await self._collect(attempt, task)
            except DiskFullError as error:
                if not await self._context.room.again(attempt, error):
                    raise

    async def restore(self, attempt: Attempt) -> str | None:
        """Fetch missing or altered files of a finished item again; returns why that was not possible, or None.

        Nothing is generated and nothing is charged; the attempt stays finished either way. An altered file is set
        aside only when its whole successor is here.
        """
        try:
            await self._collect(attempt, None, replace=True)
        except (AssetGoneError, AssetLaterError, TargetExists, DiskError) as error:
            return str(error)
        return None

    async def _on_disk(self, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """Do disk work in a thread; after a failed sync there is no more of it, for it would only hide the failure."""
        with self._breaking():
            return await asyncio.get_running_loop().run_in_executor(None, work, *args)

    @contextmanager
    def _breaking(self) -> Iterator[None]:
        if self._broken is not None:
            raise NotDurableError(str(self._broken))
        try:
            yield
        except NotDurableError as error:
            self._broken = error
            raise

    def _given_up(self) -> None:
        """Where file after file cannot be had, buying more would be spending blindly."""
        self._given_up_in_row += 1
        if self._given_up_in_row == _GIVEN_UP_MOST and not self._context.halt.is_set:
            text = "file after file cannot be downloaded now; nothing more is submitted: run this again later"
            self._context.notice(text, urgent=True)
            self._context.halt.submit_no_more(StoppedError(text))

    async def _later(self, attempt: Attempt, text: str) -> None:
        self._context.room.put_off(attempt)
        await self._context.store.mark(attempt, "asset", text)
        self._context.notice(f"{attempt.item_id}: paid for, but its file is not here yet: {text}", urgent=True)

    async def _collect(self, attempt: Attempt, task: Task | None, *, replace: bool = False) -> int:
        """Bring home every file that is not here; returns how many the task made."""
        folder = await self._on_disk(make_batch_folder, self._context.output_dir, self._context.batch.name)
        stored = await self._context.store.files_of(attempt)
        finished = {file.ordinal for file in stored if await self._finish(file, replace=replace)}
        if stored and len(finished) == stored[0].count:
            return len(finished)
        task = await self._in_full(attempt, task)
        for ordinal, name in enumerate(file_names(attempt.item_id, [asset.suffix for asset in task.assets])):
            if ordinal not in finished:
                await self._fetch_and_publish(attempt, task, ordinal, folder / name, replace=replace)
        return len(task.assets)

    async def _in_full(self, attempt: Attempt, task: Task | None) -> Task:
        """The task with its files; a page that names fewer than were asked for is not believed alone."""
        if task is None or not task.assets:
            return await self._ask(attempt)
        if len(task.assets) >= files_asked(attempt):
            return task
        again = await self._renewed(attempt, task, is_refused=False)
        return max(task, again, key=lambda each: len(each.assets))

    async def _finish(self, file: StoredFile, *, replace: bool) -> bool:
        """Whether a file with a durable digest is, or can be put, under its final name without a download."""
        final_path = self._context.output_dir / file.path
        part_path = _part_of(final_path)
        if await self._on_disk(_has, final_path, file):
            await self._on_disk(tidy, part_path, final_path)
            return True
        if not await self._on_disk(_has, part_path, file):
            return False
        await self._publish(part_path, final_path, replace=replace)
        return True

    async def _publish(self, part_path: Path, final_path: Path, *, replace: bool) -> None:
        if replace:  # an altered file makes room only now that its whole successor is here
            await self._on_disk(set_aside, final_path)
        await self._on_disk(publish, part_path, final_path)

    async def _fetch_and_publish(
        self, attempt: Attempt, task: Task, ordinal: int, final_path: Path, *, replace: bool
    ) -> None:
        part_path = _part_of(final_path)
        size, digest = await self._fetch(attempt, task, ordinal, part_path)
        path = final_path.relative_to(self._context.output_dir).as_posix()
        file = StoredFile(ordinal, path, size, digest, len(task.assets))
        await self._context.store.record_file(attempt, file)
        if await self._on_disk(_has, final_path, file):  # a lost state.db: the finished file is already here
            await self._on_disk(tidy, part_path, final_path)
            return
        await self._publish(part_path, final_path, replace=replace)

    async def _fetch(self, attempt: Attempt, task: Task, ordinal: int, part_path: Path) -> tuple[int, str]:
        backoff = Backoff(1.0, 60.0, self._context.rng)
        refused_links = 0
        why = odd_sha256 = ""
        for _ in range(_TRIES):
            retry_after_s = None
            if refused_links or odd_sha256:
                task = await self._renewed(attempt, task, is_refused=bool(refused_links))
            try:
                asset = task.assets[ordinal]
                if asset.content:
                    return await self._on_disk(write_part, part_path, asset.content)
                async with self._room:  # not while backing off: one bad link must not keep good ones waiting
                    with self._breaking():
                        done = await self._downloader.fetch(asset.url, part_path, asset.suffix, odd_sha256)
            except (LinkExpired, BadLink, IndexError) as error:
                refused_links += 1
                why = "the task names fewer files than before" if isinstance(error, IndexError) else str(error)
                if refused_links > _FRESH_LINKS:
                    raise AssetGoneError(f"the server does not hand the file out ({why})") from None
            except BadDownload as error:
                why, retry_after_s, odd_sha256 = str(error), error.retry_after_s, error.odd_sha256
            else:
                if done.sha256 == odd_sha256:
                    text = f"the service sent the same odd file twice ({why}), and it was kept; look at it"
                    self._context.notice(f"{attempt.item_id}: {text}", urgent=True)
                return done.bytes, done.sha256
            await asyncio.sleep(max(backoff.next_s(retry_after_s), _ODD_PAUSE_S if odd_sha256 else 0.0))
        raise AssetLaterError(f"{_TRIES} downloads failed, the last one: {why}")

    async def _renewed(self, attempt: Attempt, task: Task, *, is_refused: bool) -> Task:
        """The task with fresh links; as it was where nobody gives any, unless its own were refused."""
        try:
            return await self._ask(attempt)
        except AssetGoneError:
            if is_refused:
                raise
            return task

    async def _ask(self, attempt: Attempt) -> Task:
        """The succeeded task with fresh links; one look that shows it otherwise may be a stale one."""
        route = catalog.route(attempt.kind, attempt.model)
        if route.is_sync:
            raise AssetGoneError("its links stood in the answer alone, which cannot be asked for again")
        backoff = Backoff(2.0, 30.0, self._context.rng)
        assert attempt.task_id is not None
        looks_without = 0
        for _ in range(_TRIES):
            try:
                task = await self._context.client.find(route, attempt.task_id)
            except Trouble as trouble:
                self._context.trouble(str(trouble))
            except AccountError as error:
                self._context.halt.leave(error)
                raise AssetLaterError(str(error)) from None
            else:
                self._context.well()
                if task is not None and task.assets:
                    return task
                looks_without += 1
                if looks_without == _FRESH_LINKS:
                    raise AssetGoneError(_without_files(task))
            await asyncio.sleep(backoff.next_s())
        raise AssetLaterError("the API gives no usable answer about the task")


def _without_files(task: Task | None) -> str:
    return "the account no longer shows the task" if task is None else "the task succeeded, but names no file"


def _part_of(final_path: Path) -> Path:
    return final_path.with_name(final_path.name + ".part")


def _has(path: Path, file: StoredFile) -> bool:
    return is_as_recorded(path, file.bytes, file.sha256)
