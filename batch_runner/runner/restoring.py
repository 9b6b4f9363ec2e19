"""Fetches missing or altered files of finished items again, by what was recorded of them, which is never changed."""

from __future__ import annotations

from pathlib import Path

from batch_runner.download import is_as_recorded, keep_beside, make_batch_folder, tidy
from batch_runner.model import Task
from batch_runner.runner.context import Context
from batch_runner.runner.fetching import AssetGoneError, AssetLaterError, Fetcher
from batch_runner.runner.filing import Filing, part_of
from batch_runner.runner.shortfall import fewer_now_text
from batch_runner.store import Attempt, StoredFile


class Restorer:
    """Puts what was recorded back under its final name, and nothing else.

    Args:
        context: the run's parts.
        fetcher: asks for the task and downloads.
        filing: does what is done on the disk.
    """

    def __init__(self, context: Context, fetcher: Fetcher, filing: Filing) -> None:
        self._context = context
        self._fetcher = fetcher
        self._filing = filing

    async def restore(self, attempt: Attempt) -> list[str]:
        """Restore every file of a finished item that is not as it was recorded; returns why one is not, for each.

        Raises:
            AssetGoneError: the account has nothing of it any more.
            AssetLaterError: it cannot be asked for now.
            DiskError: the disk refused.
        """
        await self._filing.do(make_batch_folder, self._context.output_dir, self._context.batch.name)
        stored = await self._context.store.files_of(attempt)
        away = [file for file in stored if not await self._filing.finish(file, replace=True)]
        if not away:
            return []
        task = await self._fetcher.in_full(attempt, None, len(stored))
        search = _Search(self._fetcher, self._filing, attempt, task, frozenset(file.sha256 for file in stored))
        whys = [fewer_now_text(len(task.assets), len(stored)), *[await search.restore(file) for file in away]]
        return [why for why in whys if why] if any(whys[1:]) else []


class _Search:
    """Where a task has the files of an item now: their order may have changed, and one may have been made anew."""

    def __init__(
        self, fetcher: Fetcher, filing: Filing, attempt: Attempt, task: Task, recorded: frozenset[str]
    ) -> None:
        self._fetcher = fetcher
        self._filing = filing
        self._attempt = attempt
        self._task = task
        self._recorded = recorded
        self._contents: dict[int, tuple[int, str]] = {}
        self._troubles: dict[int, str] = {}

    async def restore(self, file: StoredFile) -> str | None:
        """Put a file back under its name; returns why that was not possible, or None."""
        final_path = self._filing.path_of(file)
        part_path = part_of(final_path)
        for place in self._places(file):
            if await self._is_at(place, file, part_path):
                await self._filing.put(part_path, final_path, replace=True)
                return None
        whys = [*dict.fromkeys(self._troubles.values()), await self._instead(file, part_path, final_path)]
        return f"{file.path}: {'; '.join(why for why in whys if why)}"

    def _places(self, file: StoredFile) -> list[int]:
        return sorted(range(len(self._task.assets)), key=lambda place: place != file.ordinal)

    async def _is_at(self, place: int, file: StoredFile, part_path: Path) -> bool:
        """Whether this is the place of the file, which is in the part then; one that is troubled is not asked again."""
        _, digest = self._contents.get(place, (0, file.sha256))
        if digest != file.sha256 or place in self._troubles:
            return False
        try:
            self._contents[place] = await self._fetcher.fetch(self._attempt, self._task, place, part_path)
        except (AssetGoneError, AssetLaterError) as error:
            self._troubles[place] = str(error)
            return False
        return self._contents[place][1] == file.sha256

    async def _instead(self, file: StoredFile, part_path: Path, final_path: Path) -> str | None:
        """Keep what the task has in its place, if that is no other file of the item, for a person to judge."""
        places = [place for place in self._places(file) if place not in self._troubles]
        new = [place for place in places if self._contents[place][1] not in self._recorded]
        if new:
            return await self._keep(new[0], part_path, final_path)
        if self._troubles:  # which may have been the file's own: what came of it is gone on from
            return None
        await self._filing.do(tidy, part_path, final_path)
        return "none of the files that its task hands out now is the recorded one"

    async def _keep(self, place: int, part_path: Path, final_path: Path) -> str:
        if not await self._filing.do(is_as_recorded, part_path, *self._contents[place]):
            try:
                await self._fetcher.fetch(self._attempt, self._task, place, part_path)
            except (AssetGoneError, AssetLaterError) as error:
                return str(error)
        kept = await self._filing.do(keep_beside, part_path, final_path)
        return f"its task hands out another file now than the recorded one; look at it, it is kept as {kept.name}"
