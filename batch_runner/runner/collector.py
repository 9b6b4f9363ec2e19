"""Brings a succeeded task's files home and says where they stand; a bad download never causes a second generation."""

from __future__ import annotations

from batch_runner.download import Downloader, TargetExists, UnusableNameError
from batch_runner.errors import DiskError, DiskFullError, NotDurableError, StoppedError
from batch_runner.events import ItemFinished
from batch_runner.lifecycle import Event
from batch_runner.model import Task
from batch_runner.runner.assets import AssetAwaitedError, AssetGoneError, AssetLaterError
from batch_runner.runner.context import Context
from batch_runner.runner.fetching import Fetcher
from batch_runner.runner.filing import Filing
from batch_runner.runner.gathering import Gatherer
from batch_runner.runner.restoring import Restorer
from batch_runner.runner.shortfall import files_asked, shortfall_text
from batch_runner.store import Attempt, Facts

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
        fetcher = Fetcher(context, downloader, self._filing, at_once)
        self._gatherer = Gatherer(context, fetcher, self._filing)
        self._restorer = Restorer(context, fetcher, self._filing)
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
        except AssetAwaitedError as error:
            await self._later(attempt, str(error))
        except AssetLaterError as error:
            await self._later(attempt, str(error))
            self._given_up()
        except TargetExists as error:
            await self._later(attempt, f"{error}; move that file away and run again")
            context.halt.note(DiskError(str(error)))
        except UnusableNameError as error:
            await self._later(attempt, str(error))
            context.halt.note(error)
            self._given_up()  # a folder that is gone makes every name unusable
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
                return await self._gatherer.gather(attempt, task)
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
