"""Gathers the files of a task under their final names; one that cannot be had keeps no other from being fetched.

The order, each step durable before the next: part file whole and fsynced, its digest in the store, the final
name, the folder. A crash between any two of them is finished by the next run without a request to the account where
the bytes are already here.

A file is known by its digest alone: places are looked at until all is here, those first whose number is not, which
are enough as long as the order stays. What is new gets the number of its place where that is free.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import NoReturn

from batch_runner.download import TargetExists, keep_beside, make_batch_folder, move_part, tidy
from batch_runner.model import Task
from batch_runner.runner.assets import AssetAwaitedError, AssetGoneError, AssetLaterError, Content, Places
from batch_runner.runner.context import Context
from batch_runner.runner.fetching import Fetcher
from batch_runner.runner.filing import Filing, part_of
from batch_runner.runner.shortfall import fewer_now_text, files_asked
from batch_runner.runner.stock import Stock
from batch_runner.store import Attempt, StoredFile


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
            AssetAwaitedError: some are not named now; the others are here.
            AssetLaterError: some cannot be had now; the others are here.
            TargetExists: something else has the name of one; whatever could be had of the others is here.
            DiskError: the disk refused.
        """
        stock = await self._stock(attempt)
        try:
            if not stock.needs_nothing:
                await self._gather_rest(stock, task)
        except (AssetGoneError, AssetLaterError) as error:
            stock.require_names()
            raise type(error)(f"{error}{stock.kept_text()}") from None
        stock.require_names()
        return stock.count

    async def _stock(self, attempt: Attempt) -> Stock:
        folder = await self._filing.do(make_batch_folder, self._context.output_dir, self._context.batch.name)
        stock = Stock(attempt, folder, {file.ordinal: file for file in await self._context.store.files_of(attempt)})
        for number, file in stock.stored.items():
            try:
                if await self._filing.finish(file):
                    stock.finished.add(number)
            except TargetExists as error:
                stock.blocked[number] = error
        return stock

    async def _gather_rest(self, stock: Stock, task: Task | None) -> None:
        least = max(stock.count, files_asked(stock.attempt))
        places = Places(stock.attempt, await self._fetcher.in_full(stock.attempt, task, least))
        stock.named = places.named
        while not stock.needs_nothing and (place := _next(stock, places)) is not None:
            try:
                await self._take(stock, places, place)
            except (AssetGoneError, AssetLaterError) as error:
                places.failed(place, error)
        if not stock.needs_nothing:
            raise _missing(stock, places)

    async def _take(self, stock: Stock, places: Places, place: int) -> None:
        """Fetch what stands at a place, and put it where its bytes belong."""
        part_path = await self._fetch(stock, places, place)
        sha256 = places.contents[place][1]
        alike = stock.alike(sha256)
        if alike and stock.is_away(alike[0].ordinal):
            await self._put(stock, part_path, alike[0])
        elif places.times(sha256) > len(alike):  # more of them in one answer are files of their own
            await self._take_new(stock, places, place, part_path)
        else:
            await self._filing.drop(part_path)

    async def _fetch(self, stock: Stock, places: Places, place: int) -> Path:
        """Fetch what stands at a place; returns its part, which is never that of a file whose name is blocked."""
        number = stock.room(place) if place in stock.blocked else place
        part_path = part_of(stock.name(number, places.task.assets[place].suffix))
        try:
            places.came(place, await self._fetcher.fetch(places, place, part_path))
        except (AssetGoneError, AssetLaterError):
            if number in stock.finished:  # no later run goes on with it
                await self._filing.drop(part_path)
            raise
        finally:
            stock.named = places.named
        return part_path

    async def _take_new(self, stock: Stock, places: Places, place: int, part_path: Path) -> None:
        """Find a number for what was never recorded: a free one, else that of a file which no place has any more.

        While the service names fewer, or some place has nothing to look at, no record is given up: that file may be
        named again, or stand there.
        """
        number, is_anew = stock.room(place), _is_made_anew(stock, places, place)
        final_path = stock.name(number, places.task.assets[place].suffix)
        if number not in stock.stored and not is_anew:
            await self._record(stock, number, places.contents[place], part_path, final_path)
        elif places.named < stock.count:
            await self._keep(part_path, final_path, AssetAwaitedError)
        elif places.unseen():  # the recorded file may stand there; this one is fetched again when that is known
            await self._filing.drop(part_path)
        elif places.troubles:
            await self._keep(part_path, final_path, AssetAwaitedError if places.may_come else AssetGoneError)
        elif is_anew:
            await self._filing.drop(part_path)
        else:
            await self._record(stock, number, places.contents[place], part_path, final_path)

    async def _keep(
        self, part_path: Path, final_path: Path, kind: type[AssetAwaitedError | AssetGoneError]
    ) -> NoReturn:
        """Keep what may be a file that is not here or another one made anew, for a person to judge; raises ``kind``."""
        kept = await self._filing.do(keep_beside, part_path, final_path)
        raise kind(f"it is none of the recorded ones; look at it, it is kept as {kept.name}")

    async def _record(self, stock: Stock, number: int, content: Content, part_path: Path, final_path: Path) -> None:
        """Make the digest of a part durable, then give it its name."""
        path = final_path.relative_to(self._context.output_dir).as_posix()
        file = StoredFile(number, path, *content, stock.count)
        await self._context.store.record_file(stock.attempt, file)
        await self._put(stock, part_path, file)

    async def _put(self, stock: Stock, part_path: Path, file: StoredFile) -> None:
        """Give a part whose digest is durable its name."""
        stock.stored[file.ordinal] = file
        final_path = self._filing.path_of(file)
        await self._filing.do(move_part, part_path, part_of(final_path))
        try:
            if await self._filing.has(final_path, file):  # a lost state.db: the finished file is already here
                await self._filing.do(tidy, part_of(final_path), final_path)
            else:
                await self._filing.put(part_of(final_path), final_path)
            stock.finished.add(file.ordinal)
        except TargetExists as error:
            stock.blocked[file.ordinal] = error


def _next(stock: Stock, places: Places) -> int | None:
    """The place to fetch from next: of a number that is away, or else any other, or else one that found no number.

    Where a file may be had later, its order is told then: what is here is not fetched again for it, run after run.
    """
    unseen = places.unseen()
    if away := [place for place in unseen if stock.is_away(place)]:
        return away[0]
    if places.may_come and places.named == stock.count:
        return None
    new = (place for place, content in places.contents.items() if not stock.alike(content[1]))
    numberless = (place for place in new if places.troubles or not _is_made_anew(stock, places, place))
    return next(chain(unseen, numberless), None)


def _is_made_anew(stock: Stock, places: Places, place: int) -> bool:
    """Whether this may be what is here under its own number, made anew: that stands at no place any more."""
    if stock.is_away(place) or places.named < stock.count:
        return False
    return all(content[1] != stock.stored[place].sha256 for content in places.contents.values())


def _missing(stock: Stock, places: Places) -> AssetGoneError | AssetLaterError:
    """Why a file is not here, of those that may be had the most hopeful reason."""
    errors, text = list(places.troubles.values()), "; ".join(places.texts())
    if fewer := fewer_now_text(places.named, stock.count):
        is_all_had = all(isinstance(error, AssetAwaitedError) for error in errors)
        state = text or "all that it names is here"
        text = f"{fewer}; {state}; run this again for the rest, which Kling keeps for 30 days at most"
        return (AssetAwaitedError if is_all_had else AssetLaterError)(text)
    if not errors:
        return AssetLaterError("its task named its files in one order after another; run this again")
    is_gone = all(isinstance(error, AssetGoneError) for error in errors)
    return (AssetGoneError if is_gone else AssetLaterError)(text)
