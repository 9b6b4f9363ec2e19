"""Brings a succeeded task's files under their final names; a bad download never causes a second generation.

The order, each step durable before the next: part file whole and fsynced, its digest in the store, the final
name, the folder, the event. A crash between any two of them is finished by the next run without a request to
the account where the bytes are already here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from batch_runner.download import Downloader, TargetExists, make_batch_folder, tidy
from batch_runner.errors import DiskError, DiskFullError, NotDurableError, StoppedError
from batch_runner.events import ItemFinished
from batch_runner.lifecycle import Event
from batch_runner.manifest.file_names import file_names
from batch_runner.model import Task
from batch_runner.runner.context import Context
from batch_runner.runner.fetching import AssetGoneError, AssetLaterError, Fetcher
from batch_runner.runner.filing import Filing, part_of
from batch_runner.runner.restoring import Restorer
from batch_runner.runner.shortfall import fewer_now_text, files_asked, shortfall_text
from batch_runner.store import Attempt, Facts, StoredFile

_GIVEN_UP_MOST = 5


class Collector:
    """Downloads and publishes, a few at a time; holds no task slot.

    Args:
        context: the run's parts.
        downloader: fetches one file at a time, and checks it.
        at_once: downloads under way at the same time.
    """

    def __init__(self, context: Context, downloader: Downloader, at_once: int = 8) -> None:
        self._context = context
        self._filing = Filing(context.output_dir)
        self._fetcher = Fetcher(context, downloader, self._filing, at_once)
        self._restorer = Restorer(context, self._fetcher, self._filing)
        self._given_up_in_row = 0

    @property
    def is_broken(self) -> bool:
        """Whether a sync failed: nothing more is written."""
        return self._filing.is_broken

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
            return "; ".join(await self._restorer.restore(attempt)) or None
        except (AssetGoneError, AssetLaterError, TargetExists, DiskError) as error:
            return str(error)

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

    async def _collect(self, attempt: Attempt, task: Task | None) -> int:
        """Bring home every file that is not here; returns how many the task made."""
        folder = await self._filing.do(make_batch_folder, self._context.output_dir, self._context.batch.name)
        stored = {file.ordinal: file for file in await self._context.store.files_of(attempt)}
        finished = {file.ordinal for file in stored.values() if await self._filing.finish(file)}
        recorded = max((file.count for file in stored.values()), default=0)
        if stored and len(finished) == recorded:
            return recorded
        task = await self._fetcher.in_full(attempt, task, max(recorded, files_asked(attempt)))
        if fewer := fewer_now_text(len(task.assets), recorded):
            raise AssetLaterError(fewer)
        for ordinal, name in enumerate(file_names(attempt.item_id, [asset.suffix for asset in task.assets])):
            if ordinal not in finished:
                others = {file.sha256: file.ordinal for file in stored.values() if file.ordinal != ordinal}
                stored[ordinal] = await self._fetch_and_publish(attempt, task, ordinal, folder / name, others)
        return len(task.assets)

    async def _fetch_and_publish(
        self, attempt: Attempt, task: Task, ordinal: int, final_path: Path, others: Mapping[str, int]
    ) -> StoredFile:
        part_path = part_of(final_path)
        size, digest = await self._fetch_own(attempt, task, ordinal, part_path, others)
        path = final_path.relative_to(self._context.output_dir).as_posix()
        file = StoredFile(ordinal, path, size, digest, len(task.assets))
        await self._context.store.record_file(attempt, file)
        if await self._filing.has(final_path, file):  # a lost state.db: the finished file is already here
            await self._filing.do(tidy, part_path, final_path)
        else:
            await self._filing.put(part_path, final_path)
        return file

    async def _fetch_own(
        self, attempt: Attempt, task: Task, ordinal: int, part_path: Path, others: Mapping[str, int]
    ) -> tuple[int, str]:
        """Fetch the file of this number, whichever place an answer has it at; its size and SHA-256 hex.

        Where another recorded file has come in its place, it is looked for in that one's: the order has changed since.
        A place that has its own file still ends the search, for then two files of the task are alike.

        Args:
            attempt: whose file it is.
            task: as it was told now.
            ordinal: the number, counted from 0.
            part_path: where to.
            others: the numbers of the other recorded files, by SHA-256 hex.
        """
        place, seen = ordinal, set[int]()
        while True:
            size, digest = await self._fetcher.fetch(attempt, task, place, part_path)
            seen.add(place)
            place = others.get(digest, place)
            if place in seen:
                return size, digest
