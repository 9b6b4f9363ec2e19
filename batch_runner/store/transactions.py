"""The transactions of a store: all in one thread, waited for on a full disk, refused on one that failed."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from batch_runner.errors import StoreError
from batch_runner.store.connection import BrokenStoreError, FullStoreError, mapped_errors, open_reader, transaction

_FULL_PATIENCE_S, _FULL_PAUSE_S = 30.0, 2.0
"""A download that fills the disk gives its bytes back at once; so long is waited for them, or for a person."""

T = TypeVar("T")
P = ParamSpec("P")


class Here(Executor):
    """Does a job at once, in the caller's thread."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See ``Executor``."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - handed on to whoever waits for the job
            future.set_exception(error)
        return future


class Transactions:
    """One writing connection, used by one thread alone; one function is one transaction.

    Args:
        path: the store's file, for words.
        connection: from ``open_writer``; closed with this.
        thread: where its work is done.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, thread: Executor) -> None:
        self._path = path
        self._connection = connection
        self._thread = thread
        self._broken: BrokenStoreError | None = None

    async def close(self) -> None:
        """Finish what is under way and let go of the file."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=True)

    async def _do(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        def whole() -> T:
            if self._broken is not None:
                raise BrokenStoreError(str(self._broken))
            with self._breaking(), mapped_errors(self._path):
                return transaction(self._connection, lambda db: work(db, *args, **kwargs))

        if isinstance(self._thread, Here):
            return self._thread.submit(whole).result()
        loop = asyncio.get_running_loop()
        give_up_at_s = loop.time() + _FULL_PATIENCE_S
        while True:
            try:
                return await loop.run_in_executor(self._thread, whole)
            except FullStoreError:
                if loop.time() >= give_up_at_s:
                    raise
            await asyncio.sleep(_FULL_PAUSE_S)

    def _close(self) -> None:
        if self._broken is None:
            self._connection.close()
            return
        # The last connection would put the log into the file, and sync both: one that only reads does not.
        with suppress(StoreError), closing(open_reader(self._path)):
            self._connection.close()
        self._connection.close()

    @contextmanager
    def _breaking(self) -> Iterator[None]:
        """A disk that failed once is not written to again: a second sync that succeeds would prove nothing."""
        try:
            yield
        except BrokenStoreError as error:
            self._broken = error
            raise
