"""Gathers the files of a task under their final names; one that cannot be had keeps no other from being fetched.

The order, each step durable before the next: part file whole and fsynced, its digest in the store, the final
name, the folder. A crash between any two of them is finished by the next run without a request to the account where
the bytes are already here.

Where an answer names as many files as ever, a file's number is its place, unless its digest is another one's. Where it
names fewer, a place tells nothing, and only digests tell which of the files is which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from batch_runner.download import keep_beside, make_batch_folder, tidy
from batch_runner.manifest.file_names import file_names
from batch_runner.model import Task
from batch_runner.runner.context import Context
from batch_runner.runner.fetching import AssetGoneError, AssetLaterError, Fetcher
from batch_runner.runner.filing import Filing, part_of
from batch_runner.runner.shortfall import fewer_now_text, files_asked
from batch_runner.store import Attempt, StoredFile


@dataclass(frozen=True, slots=True)
class _Stock:
    """What is known of an attempt's files: all that are recorded by number, and the numbers of those that are here."""

    attempt: Attempt
    folder: Path
    stored: dict[int, StoredFile]
    finished: set[int]

    @property
    def count(self) -> int:
        """How many files the task was ever said to have made; 0 where none is recorded."""
        return max((file.count for file in self.stored.values()), default=0)

    @property
    def is_whole(self) -> bool:
        """Whether every file is here."""
        return bool(self.stored) and len(self.finished) == self.count

    def unrecorded(self) -> list[int]:
        """The numbers of which nothing is recorded, the lowest first."""
        return [number for number in range(self.count) if number not in self.stored]

    def known(self, sha256: str) -> StoredFile | None:
        """The recorded file of these bytes; of two that are alike the one that is not here."""
        alike = [file for file in self.stored.values() if file.sha256 == sha256]
        return min(alike, key=lambda file: file.ordinal in self.finished, default=None)

    def others(self, ordinal: int) -> dict[str, int]:
        """The numbers of the other recorded files, by SHA-256 hex."""
        return {file.sha256: file.ordinal for file in self.stored.values() if file.ordinal != ordinal}

    def kept_text(self) -> str:
        """What is here, for the end of a sentence about what is not; the results list files of whole items alone."""
        paths = ", ".join(file.path for number, file in sorted(self.stored.items()) if number in self.finished)
        return f" (kept here: {paths})" if paths else ""

    def name(self, ordinal: int, suffix: str, count: int) -> Path:
        """What the file of this number is called where there are so many."""
        return self.folder / file_names(self.attempt.item_id, [suffix] * count)[ordinal]


class _Troubles:
    """Why single files of a task cannot be had; they are told when the others are here."""

    def __init__(self, named: int) -> None:
        self._named = named
        self._errors: list[AssetGoneError | AssetLaterError] = []
        self.texts: list[str] = []

    @contextmanager
    def of(self, place: int) -> Iterator[None]:
        """A block that fetches what stands at a place, counted from 0."""
        try:
            yield
        except (AssetGoneError, AssetLaterError) as error:
            self._errors.append(error)
            self.texts.append(str(error) if self._named == 1 else f"file {place + 1} of {self._named}: {error}")

    def tell(self) -> None:
        """Raise ``AssetLaterError`` where one of them may be had later, ``AssetGoneError`` where none may."""
        if self._errors:
            may_come = any(isinstance(error, AssetLaterError) for error in self._errors)
            raise (AssetLaterError if may_come else AssetGoneError)("; ".join(self.texts))


class Gatherer:
    """Fetches, records and publishes the files of succeeded attempts.

    Args:
        context: the run's parts.
        fetcher: asks for tasks and downloads.
        filing: does what is done on the disk.
    """

    def __init__(self, context: Context, fetcher: Fetcher, filing: Filing) -> None:
        self._context = context
        self._fetcher = fetcher
        self._filing = filing

    async def gather(self, attempt: Attempt, task: Task | None) -> int:
        """Bring home every file that is not here; returns how many the task made.

        Raises:
            AssetGoneError: the server does not hand some of them out any more; the others are here.
            AssetLaterError: some cannot be had now, or are not named now; the others are here.
            TargetExists: something else has the name of one.
            DiskError: the disk refused.
        """
        stock = await self._stock(attempt)
        if stock.is_whole:
            return stock.count
        try:
            return await self._gather_rest(stock, task)
        except (AssetGoneError, AssetLaterError) as error:
            raise type(error)(f"{error}{stock.kept_text()}") from None

    async def _gather_rest(self, stock: _Stock, task: Task | None) -> int:
        task = await self._fetcher.in_full(stock.attempt, task, max(stock.count, files_asked(stock.attempt)))
        if fewer := fewer_now_text(len(task.assets), stock.count):
            await self._by_digest(stock, task, fewer)
            return stock.count
        await self._by_place(stock, task)
        return len(task.assets)

    async def _stock(self, attempt: Attempt) -> _Stock:
        folder = await self._filing.do(make_batch_folder, self._context.output_dir, self._context.batch.name)
        stored = {file.ordinal: file for file in await self._context.store.files_of(attempt)}
        finished = {file.ordinal for file in stored.values() if await self._filing.finish(file)}
        return _Stock(attempt, folder, stored, finished)

    async def _by_place(self, stock: _Stock, task: Task) -> None:
        troubles = _Troubles(len(task.assets))
        for ordinal in range(len(task.assets)):
            if ordinal not in stock.finished:
                with troubles.of(ordinal):
                    await self._fetch_own(stock, task, ordinal, stock.others(ordinal))
        troubles.tell()

    async def _fetch_own(self, stock: _Stock, task: Task, ordinal: int, others: Mapping[str, int]) -> None:
        """Fetch the file of this number, whichever place an answer has it at.

        Where another recorded file has come in its place, it is looked for in that one's: the order has changed since.
        A place that has its own file still ends the search, for then two files of the task are alike.
        """
        place, seen, count = ordinal, set[int](), len(task.assets)
        while True:
            final_path = stock.name(ordinal, task.assets[place].suffix, count)
            content = await self._fetcher.fetch(stock.attempt, task, place, part_of(final_path))
            seen.add(place)
            place = others.get(content[1], place)
            if place in seen:
                return await self._record(stock, ordinal, final_path, content, count)
            await self._filing.do(tidy, part_of(final_path), final_path)

    async def _by_digest(self, stock: _Stock, task: Task, fewer: str) -> None:
        """Bring home what the task still names and is not here: the service may remove that, too, any day."""
        troubles = _Troubles(len(task.assets))
        for place in range(len(task.assets)):
            # However many are here: they may be just those that are named no more. So a run that waits for the rest
            # fetches each place once, for nothing but its bytes tells what it is.
            if not stock.is_whole:
                with troubles.of(place):
                    await self._take(stock, task, place)
        if not stock.is_whole:
            state = "; ".join(troubles.texts) or "all that it names is here"
            raise AssetLaterError(
                f"{fewer}; {state}; run this again for the rest, which Kling keeps for 30 days at most"
            )

    async def _take(self, stock: _Stock, task: Task, place: int) -> None:
        """Fetch what stands at a place, and put it where its bytes belong."""
        ordinal, final_path = self._room_for(stock, task, place)
        part_path = part_of(final_path)
        content = await self._fetcher.fetch(stock.attempt, task, place, part_path)
        known = stock.known(content[1])
        if known is not None and known.ordinal in stock.finished:
            await self._filing.do(tidy, part_path, final_path)
        elif known is not None:
            await self._put(stock, part_path, known)
        elif ordinal in stock.stored:
            kept = await self._filing.do(keep_beside, part_path, final_path)
            raise AssetLaterError(f"it is none of those that were recorded; look at it, it is kept as {kept.name}")
        else:
            await self._record(stock, ordinal, final_path, content, stock.count)

    def _room_for(self, stock: _Stock, task: Task, place: int) -> tuple[int, Path]:
        """The number and the name of a file that was never recorded; those of one that is away where all were.

        No number is taken from a file that was recorded: this one may be another of them, made anew.
        """
        if free := stock.unrecorded():
            ordinal = place if place in free else free[0]
            return ordinal, stock.name(ordinal, task.assets[place].suffix, stock.count)
        away = min(stock.stored.keys() - stock.finished)
        return away, self._filing.path_of(stock.stored[away])

    async def _record(
        self, stock: _Stock, ordinal: int, final_path: Path, content: tuple[int, str], count: int
    ) -> None:
        """Make the digest of a part durable, then give it its name."""
        path = final_path.relative_to(self._context.output_dir).as_posix()
        file = StoredFile(ordinal, path, *content, count)
        await self._context.store.record_file(stock.attempt, file)
        await self._put(stock, part_of(final_path), file)

    async def _put(self, stock: _Stock, part_path: Path, file: StoredFile) -> None:
        final_path = self._filing.path_of(file)
        if await self._filing.has(final_path, file):  # a lost state.db: the finished file is already here
            await self._filing.do(tidy, part_path, final_path)
        else:
            await self._filing.put(part_path, final_path)
        if part_path != part_of(final_path):  # what an earlier try began of it is needed no more
            await self._filing.do(tidy, part_of(final_path), final_path)
        stock.stored[file.ordinal] = file
        stock.finished.add(file.ordinal)
