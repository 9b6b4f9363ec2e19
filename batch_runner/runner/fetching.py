"""What a succeeded task left at the service: asked for with fresh links, and fetched into part files."""

from __future__ import annotations

import asyncio
from pathlib import Path

from batch_runner import catalog
from batch_runner.download import BadDownload, BadLink, Downloader, LinkExpired, write_part
from batch_runner.errors import AccountError
from batch_runner.kling import Trouble
from batch_runner.limits import Backoff
from batch_runner.model import Asset, Task
from batch_runner.runner.assets import AGREEING_LOOKS, AssetGoneError, AssetLaterError, Content, FewerFilesError, Places
from batch_runner.runner.context import Context
from batch_runner.runner.filing import Filing
from batch_runner.store import Attempt

_TRIES = 8
_FRESH_LINKS = 4
"""So many fresh links in a row that the server does not honour mean that the file is gone for ever."""

_ODD_PAUSE_S = 60.0
"""Before what is of no known kind is fetched once more: a fault on the way would send the same bytes again at once."""
_SHORT_PAUSE_S = 5.0
"""Before a question that brought too few files is asked once more: its answer may come out of something's store."""


class Fetcher:
    """Asks for tasks and downloads their files, a few at a time.

    Args:
        context: the run's parts.
        downloader: fetches one file at a time, and checks it.
        filing: does what is done on the disk.
        at_once: downloads under way at the same time.
    """

    def __init__(self, context: Context, downloader: Downloader, filing: Filing, at_once: int) -> None:
        self._context = context
        self._downloader = downloader
        self._filing = filing
        self._room = asyncio.Semaphore(at_once)

    async def in_full(self, attempt: Attempt, task: Task | None, least: int) -> Task:
        """The task with its files; one answer that names fewer than ``least`` may be stale, and is not believed alone.

        Args:
            attempt: whose task it is.
            task: as a page showed it, or None where it is to be asked for.
            least: how many files it should have; it may have fewer all the same.

        Raises:
            AssetGoneError: there is no such task any more, or it has no file.
            AssetLaterError: the service does not answer now.
        """
        pause_s = 0.0
        if task is None or not task.assets:
            task, pause_s = await self._ask(attempt), _SHORT_PAUSE_S
        if len(task.assets) >= least:
            return task
        await asyncio.sleep(pause_s)
        again = await self._renewed(attempt, task, is_refused=False)
        return max(task, again, key=lambda each: len(each.assets))

    async def fetch(self, places: Places, place: int, part_path: Path) -> Content:
        """Bring the file at a place, counted from 0, whole into the part.

        Where links are renewed, it is what stands there in the newest answer, which ``places`` goes on with.

        Raises:
            AssetGoneError: no fresh link to it is honoured.
            AssetLaterError: try after try failed.
            DiskError: the disk refused.
        """
        backoff = Backoff(1.0, 60.0, self._context.rng)
        refused_links = 0
        why = odd_sha256 = ""
        for _ in range(_TRIES):
            retry_after_s = None
            try:
                if refused_links or odd_sha256:
                    is_refused = bool(refused_links)
                    places.renew(await self._renewed(places.attempt, places.task, is_refused=is_refused))
                done = await self._download(places.task.assets[place], part_path, odd_sha256)
            except (LinkExpired, BadLink, FewerFilesError) as error:
                refused_links += 1
                why = str(error)
                if refused_links > _FRESH_LINKS:
                    # What is named no more may be named again, as long as there is a task.
                    kind = AssetLaterError if isinstance(error, FewerFilesError) else AssetGoneError
                    raise kind(f"the server does not hand the file out ({why})") from None
            except BadDownload as error:
                why, retry_after_s, odd_sha256 = str(error), error.retry_after_s, error.odd_sha256
            else:
                if done[1] == odd_sha256:
                    text = f"the service sent the same odd file twice ({why}), and it was kept; look at it"
                    self._context.notice(f"{places.attempt.item_id}: {text}", urgent=True)
                return done
            await asyncio.sleep(max(backoff.next_s(retry_after_s), _ODD_PAUSE_S if odd_sha256 else 0.0))
        raise AssetLaterError(f"{_TRIES} downloads failed, the last one: {why}")

    async def _download(self, asset: Asset, part_path: Path, odd_sha256: str) -> Content:
        """One try at a file."""
        if asset.content:
            return await self._filing.do(write_part, part_path, asset.content)
        async with self._room:  # not while backing off: one bad link must not keep good ones waiting
            with self._filing.while_sound():
                done = await self._downloader.fetch(asset.url, part_path, asset.suffix, odd_sha256)
        return done.bytes, done.sha256

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
                if looks_without == AGREEING_LOOKS:
                    raise AssetGoneError(_without_files(task))
            await asyncio.sleep(backoff.next_s())
        raise AssetLaterError("the API gives no usable answer about the task")


def _without_files(task: Task | None) -> str:
    return "the account no longer shows the task" if task is None else "the task succeeded, but names no file"
