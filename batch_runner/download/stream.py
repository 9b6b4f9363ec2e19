"""One try at fetching one file: link -> part file -> checks -> durable bytes and their SHA-256."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar, TypeVarTuple
from urllib.parse import urljoin

import aiofiles
import aiohttp
from aiofiles.threadpool.binary import AsyncBufferedIOBase

from batch_runner.clock import SystemClock
from batch_runner.download import part
from batch_runner.download.answer import Body, Redirect, judge, range_headers
from batch_runner.download.content import check_content
from batch_runner.download.disk import digest, disk_errors, open_new, reading, sync_file
from batch_runner.download.failures import BadDownload, BadLink
from batch_runner.download.links import LinkPolicy
from batch_runner.download.part import Head
from batch_runner.errors import DiskError, DiskFullError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_CHUNK_BYTES = 256 * 1024
_MAX_REDIRECTS = 5
_ANSWER_S = 60.0
"""Until the headers of one answer are complete, name lookup and connection included."""
_JITTER_S = 2.0


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A whole file lies in the part file, checked and durable; ``sha256`` is hex over all its bytes."""

    bytes: int
    sha256: str


class Downloader:
    """Fetches result files, one try a call; the caller retries, renews links and publishes.

    Args:
        session: from ``open_download_session``; the caller closes it.
        policy: which links may be followed, redirects included.
        min_bytes_per_s: slower than this over a whole stall window is given up (the part is kept).
        stall_window_s: the length of that window, in seconds.
        max_bytes: a larger file is refused.
        rng: spreads the waits that a server asks for, so that refused downloads do not return together.
        epoch: names the time for which part files can be trusted; a part of another one is not resumed.
            By default the boot.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        policy: LinkPolicy,
        *,
        min_bytes_per_s: float = 1024.0,
        stall_window_s: float = 60.0,
        max_bytes: int = 4 * 2**30,
        rng: random.Random | None = None,
        epoch: str | None = None,
    ) -> None:
        self._session = session
        self._policy = policy
        self._window_bytes = min_bytes_per_s * stall_window_s
        self._window_s = stall_window_s
        self._max_bytes = max_bytes
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not cryptography
        self._epoch = SystemClock().epoch() if epoch is None else epoch

    async def fetch(self, url: str, part_path: Path, suffix: str, odd_sha256: str = "") -> Downloaded:
        """Try once to bring the whole file into ``part_path``, going on from what an earlier try left.

        Cancelled or failed, it leaves a part that the next call resumes, or none. Nobody else may use
        ``part_path`` meanwhile; its folder must exist.

        Args:
            url: the signed link; it is in no error text.
            part_path: beside the final file; ``<part_path>.meta`` is used too.
            suffix: the final name's ending with its dot; decides which check of the content applies.
            odd_sha256: of bytes that an earlier try brought whole and refused for their kind alone
                (``BadDownload.odd_sha256``): the same ones a second time are what the service made, and are taken.

        Raises:
            BadLink: the link or a redirect may not be followed.
            LinkExpired: ask for a fresh link.
            BadDownload: not this time; see ``retry_after_s``.
            DiskFullError: there is no room; what lay in the part was given up, so that others may have it.
            DiskError: the disk refused; a failed sync must not be retried.
        """
        try:
            return await self._fetch(url, part_path, suffix, odd_sha256)
        except DiskFullError:
            await _in_thread(part.clear, part_path)
            raise
        except BadDownload as failure:
            if failure.is_spoiled:
                await _in_thread(part.clear, part_path)
            if failure.retry_after_s is not None:
                failure.retry_after_s += self._rng.uniform(0.0, _JITTER_S)
            raise

    async def _fetch(self, url: str, part_path: Path, suffix: str, odd_sha256: str) -> Downloaded:
        head = await _in_thread(part.find_head, part_path, self._epoch)
        async with self._answered(url, head) as (response, body):
            try:
                received = await self._receive(response, body, part_path)
            except DiskFullError as error:
                error.needed_bytes = body.total or 0
                raise
        if body.length is not None and received < body.length:
            raise BadDownload(f"only {received} of {body.length} bytes arrived")
        if body.total is not None and body.start + received < body.total:
            raise BadDownload(f"only {body.start + received} of {body.total} bytes have arrived so far")
        return await _in_thread(_seal, part_path, suffix, body.total, odd_sha256)

    @asynccontextmanager
    async def _answered(self, url: str, head: Head | None) -> AsyncIterator[tuple[aiohttp.ClientResponse, Body]]:
        """The answer that carries the body, after following redirects by hand."""
        for _ in range(1 + _MAX_REDIRECTS):
            response = await self._get(url, head)
            try:
                host = response.url.host or "the server"
                verdict = judge(host, response.status, response.headers, head)
                if isinstance(verdict, Body):
                    self._require_size(verdict.total or verdict.length or 0)
                    yield response, verdict
                    return
                url = _joined(url, verdict)
            finally:
                response.close()
        raise BadDownload(f"more than {_MAX_REDIRECTS} redirects")

    async def _get(self, url: str, head: Head | None) -> aiohttp.ClientResponse:
        link = self._policy.parsed(url)
        with _network_errors(link.host or "the server"):
            async with asyncio.timeout(_ANSWER_S):
                return await self._session.get(link, headers=range_headers(head), allow_redirects=False)

    async def _receive(self, response: aiohttp.ClientResponse, body: Body, part_path: Path) -> int:
        """Write the body to the part and return how many bytes arrived."""
        received = 0
        async with self._opened(part_path, body) as file:
            pace = _Pace(self._window_bytes, self._window_s)
            while chunk := await _chunk(response, pace):
                received += len(chunk)
                self._require_size(body.start + received)
                if body.length is not None and received > body.length:
                    raise BadDownload("more bytes arrived than were announced", is_spoiled=True)
                with disk_errors("write", part_path):
                    await _to_the_end(file.write(chunk))
        return received

    @asynccontextmanager
    async def _opened(self, part_path: Path, body: Body) -> AsyncIterator[AsyncBufferedIOBase]:
        """The part, open at the place where the body belongs; closed in every case."""
        opening = asyncio.ensure_future(self._open(part_path, body))
        try:
            yield await asyncio.shield(opening)
        finally:
            await _to_the_end(_close(opening, part_path))

    async def _open(self, part_path: Path, body: Body) -> AsyncBufferedIOBase:
        if body.start == 0:
            await _in_thread(part.clear, part_path)
            if body.etag is not None:
                await _in_thread(part.remember, part_path, body.etag, body.total, self._epoch)
        with disk_errors("write", part_path):
            if body.start == 0:
                return await aiofiles.open(part_path, "xb", opener=open_new)
            return await aiofiles.open(part_path, "ab", opener=partial(part.open_at, size=body.start))

    def _require_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise BadDownload(f"the file is larger than {self._max_bytes} bytes", is_spoiled=True)


class _Pace:
    """When the body must have brought its next share of bytes; the loop's clock, in seconds."""

    def __init__(self, window_bytes: float, window_s: float) -> None:
        self._window_bytes = window_bytes
        self._window_s = window_s
        self._begin()

    def _begin(self) -> None:
        self._pending_bytes = self._window_bytes
        self.ends_at = asyncio.get_running_loop().time() + self._window_s

    def note(self, count: int) -> None:
        """Count bytes that arrived; a full share opens the next window."""
        self._pending_bytes -= count
        if self._pending_bytes <= 0:
            self._begin()


async def _chunk(response: aiohttp.ClientResponse, pace: _Pace) -> bytes:
    host = response.url.host or "the server"
    with _network_errors(host):
        try:
            async with asyncio.timeout_at(pace.ends_at) as window:
                chunk = await response.content.read(_CHUNK_BYTES)
        except TimeoutError:
            if window.expired():
                raise BadDownload(f"{host} sends too slowly") from None
            raise
    pace.note(len(chunk))
    return chunk


def _joined(url: str, redirect: Redirect) -> str:
    try:
        return urljoin(url, redirect.location)
    except ValueError:
        raise BadLink("a redirect is malformed") from None


@contextmanager
def _network_errors(host: str) -> Iterator[None]:
    """Map what aiohttp raises; its own texts can hold the signed link, so none is passed on or chained."""
    try:
        yield
    except TimeoutError:
        raise BadDownload(f"{host} fell silent") from None
    except aiohttp.ClientPayloadError:
        raise BadDownload(f"{host} cut the file off") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise BadDownload(f"no usable answer from {host} ({type(error).__name__})") from None


def _seal(part_path: Path, suffix: str, total: int | None, odd_sha256: str) -> Downloaded:
    """Check the part, make it durable and hash what the disk holds."""
    with reading(part_path) as file:
        size = os.fstat(file.fileno()).st_size
        if total is not None and size != total:
            raise BadDownload(f"the part holds {size} of {total} bytes", is_spoiled=True)
        flaw = check_content(file, size, suffix, is_length_known=total is not None)
        if flaw is not None:
            odd = digest(file)[1] if flaw.may_be_so else ""
            if not odd or odd != odd_sha256:
                raise BadDownload(flaw.why, is_spoiled=True, odd_sha256=odd)
        _sync(file.fileno(), part_path)
        return Downloaded(*digest(file))


def _sync(descriptor: int, part_path: Path) -> None:
    try:
        sync_file(descriptor, part_path)
    except DiskError:
        # The kernel may now show bytes that the disk does not have: no later run may resume them.
        part.clear(part_path)
        raise


async def _close(opening: asyncio.Future[AsyncBufferedIOBase], part_path: Path) -> None:
    await asyncio.wait([opening])
    if opening.exception() is None:
        with disk_errors("write", part_path):
            await opening.result().close()


async def _in_thread(work: Callable[[*Ts], T], *args: *Ts) -> T:
    return await _to_the_end(asyncio.get_running_loop().run_in_executor(None, work, *args))


async def _to_the_end(work: Awaitable[T]) -> T:
    """Await disk work and, if cancelled, still let it end: a thread cannot be called back."""
    future = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()
        raise
