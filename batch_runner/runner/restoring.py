"""Fetches missing or altered files of finished items again, by what was recorded of them, which is never changed."""

from __future__ import annotations

from pathlib import Path

from batch_runner.download import is_as_recorded, keep_beside, make_batch_folder
from batch_runner.runner.assets import AssetGoneError, AssetLaterError, Places
from batch_runner.runner.context import Context
from batch_runner.runner.fetching import Fetcher
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
        places = Places(attempt, await self._fetcher.in_full(attempt, None, len(stored)))
        search = _Search(self._fetcher, self._filing, places, frozenset(file.sha256 for file in stored))
        whys = [await search.restore(file) for file in away]
        return [why for why in (fewer_now_text(places.named, len(stored)), *whys) if why] if any(whys) else []


class _Search:
    """Where a task has the files of an item now: their order may have changed, and one may have been made anew."""

    def __init__(self, fetcher: Fetcher, filing: Filing, places: Places, recorded: frozenset[str]) -> None:
        self._fetcher = fetcher
        self._filing = filing
        self._places = places
        self._recorded = recorded

    async def restore(self, file: StoredFile) -> str | None:
        """Put a file back under its name; returns why that was not possible, or None."""
        final_path = self._filing.path_of(file)
        part_path, is_whole = part_of(final_path), False
        self._places.allow_looks()
        while (place := self._next(file)) is not None:
            is_whole = await self._look(place, part_path)
            if is_whole and self._places.contents[place][1] == file.sha256:
                await self._filing.put(part_path, final_path, replace=True)
                return None
        instead = await self._instead(file, part_path, final_path)
        if is_whole or not self._places.troubles:  # else a later repair may go on with it
            await self._filing.drop(part_path)
        whys = [*dict.fromkeys(map(str, self._places.troubles.values())), *instead]
        return f"{file.path}: {'; '.join(whys)}"

    def _next(self, file: StoredFile) -> int | None:
        """A place that has the file, or of which that is not known: its own one first."""
        found = [place for place, content in self._places.contents.items() if content[1] == file.sha256]
        return min(found or self._places.unseen(), key=lambda place: (place != file.ordinal, place), default=None)

    async def _look(self, place: int, part_path: Path) -> bool:
        """Whether what stands at a place is in the part now, whole."""
        try:
            self._places.came(place, await self._fetcher.fetch(self._places, place, part_path))
        except (AssetGoneError, AssetLaterError) as error:
            self._places.failed(place, error)
            return False
        return True

    async def _instead(self, file: StoredFile, part_path: Path, final_path: Path) -> list[str]:
        """Keep what the task has in its place, if that is no other file of the item, for a person to judge."""
        new = [place for place, content in self._places.contents.items() if content[1] not in self._recorded]
        if new:
            return await self._keep(min(new, key=lambda place: (place != file.ordinal, place)), part_path, final_path)
        # A place that is troubled may have been the file's own: what came of it is told.
        return [] if self._places.troubles else ["none of the files that its task hands out now is the recorded one"]

    async def _keep(self, place: int, part_path: Path, final_path: Path) -> list[str]:
        if not await self._filing.do(is_as_recorded, part_path, *self._places.contents[place]):
            if not await self._look(place, part_path):
                return []
            if self._places.contents[place][1] in self._recorded:
                return ["its task named its files in another order while they were looked for; repair again"]
        kept = await self._filing.do(keep_beside, part_path, final_path)
        return [f"its task hands out another file now than the recorded one; look at it, it is kept as {kept.name}"]
