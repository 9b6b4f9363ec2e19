"""A proxy before the sandbox that kills the program at a chosen byte of a chosen request or answer."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"
_GONE = (asyncio.IncompleteReadError, ConnectionError)


class Place(StrEnum):
    """Where in one exchange the program dies."""

    UNSEEN = "nothing of the request forwarded"
    REQUEST_HEAD = "half of the request's head forwarded"
    REQUEST_BODY = "all of the request but its last byte forwarded"
    SENT = "request forwarded, its answer never read"
    LATE = "request forwarded only some time after the death"
    ANSWERED = "answer there, none of it delivered"
    FIRST_BYTE = "first byte of the answer delivered"
    ANSWER_HEAD = "half of the answer's head delivered"
    QUARTER = "a quarter of the answer delivered"
    HALF = "half of the answer delivered"
    ALMOST = "all of the answer but its last byte delivered"
    WHOLE = "whole answer delivered"
    AFTER = "whole answer delivered, and some time to act on it"


BEFORE_ACTING = (Place.UNSEEN, Place.REQUEST_HEAD, Place.REQUEST_BODY)
WITH_ANSWER = tuple(Place)[tuple(Place).index(Place.ANSWERED) :]


@dataclass(frozen=True)
class Cut:
    """Kill at this place of the ``number``-th exchange of a kind.

    Kinds: ``account``, ``submit``, ``page`` (of a list), ``find`` (by id), ``download``. ``wait_s`` is the pause
    between what the place says and the kill.
    """

    kind: str
    number: int
    place: Place
    wait_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.number}, {self.place.value}{f' for {self.wait_s} s' if self.wait_s else ''}"


@dataclass(frozen=True)
class Message:
    head: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        return self.head + self.body

    @property
    def kind(self) -> str:
        method, path, _ = self.head.split(b" ", 2)
        if method == b"POST":
            return "submit"
        if path.startswith(b"/cdn/"):
            return "download"
        if path.startswith(b"/account/"):
            return "account"
        return "page" if b"pageNum" in path else "find"


async def read_message(reader: asyncio.StreamReader) -> Message:
    head = await reader.readuntil(_END_OF_HEAD)
    length = _LENGTH.search(head)
    assert length is not None or head.startswith(b"GET "), head
    return Message(head, await reader.readexactly(int(length[1])) if length else b"")


class KillingProxy:
    """Enter it to serve; ``arm`` it before each start of the program.

    Attributes:
        seen: exchanges of each kind since it was armed.
        has_cut: whether the place was reached.
        asked: set by the first request since it was armed.
    """

    late_s = 3.0

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._server: asyncio.Server | None = None
        self._cut: Cut | None = None
        self._kill: Callable[[], None] = lambda: None
        self._talks: set[asyncio.Task[None]] = set()
        self._late: set[asyncio.Task[Message]] = set()
        self.seen: Counter[str] = Counter()
        self.has_cut = False
        self.asked = asyncio.Event()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=2**20)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in [*self._talks, *self._late]:
            task.cancel()
        await asyncio.gather(*self._talks, *self._late, return_exceptions=True)

    def arm(self, cut: Cut | None, kill: Callable[[], None]) -> None:
        """Count anew; at ``cut`` the callback kills."""
        self._cut, self._kill = cut, kill
        self.seen.clear()
        self.has_cut = False
        self.asked.clear()

    async def settled(self) -> None:
        """Every request that was held back has reached the server."""
        await asyncio.gather(*self._late, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._talk(reader, writer))
        self._talks.add(task)
        task.add_done_callback(self._talks.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(*_GONE):
                while True:
                    await self._exchange(await read_message(reader), writer)
        finally:
            writer.close()
            with suppress(*_GONE):
                await writer.wait_closed()

    async def _exchange(self, request: Message, writer: asyncio.StreamWriter) -> None:
        self.seen[request.kind] += 1
        self.asked.set()
        cut = self._cut
        if cut is None or self.has_cut or (cut.kind, cut.number) != (request.kind, self.seen[request.kind]):
            writer.write((await self._ask(request)).raw)
            await writer.drain()
            return
        self.has_cut = True
        await self._die(request, cut, writer)
        raise ConnectionResetError

    async def _die(self, request: Message, cut: Cut, writer: asyncio.StreamWriter) -> None:
        kill = self._kill  # of this start; the next one may begin before a pause is over
        if cut.place in WITH_ANSWER:
            answer = await self._ask(request)
            writer.write(_delivered(answer, cut.place))
            await writer.drain()
        elif cut.place is Place.SENT:
            await self._forward(request.raw)
        elif cut.place is not Place.LATE:
            await self._forward(_forwarded(request, cut.place))
        if cut.place is Place.LATE:
            kill()
            task = asyncio.ensure_future(self._ask_late(request))
            self._late.add(task)
        else:
            await asyncio.sleep(cut.wait_s)
            kill()

    async def _forward(self, raw: bytes) -> None:
        """Send without waiting for an answer, and hang up."""
        _, writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        writer.write(raw)
        await writer.drain()
        await asyncio.sleep(0.02)  # the server acts on what it has before it sees the end
        writer.close()

    async def _ask_late(self, request: Message) -> Message:
        await asyncio.sleep(self.late_s)
        return await self._ask(request)

    async def _ask(self, request: Message) -> Message:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream_port, limit=2**20)
        try:
            writer.write(request.raw)
            await writer.drain()
            return await read_message(reader)
        finally:
            writer.close()


def _forwarded(request: Message, place: Place) -> bytes:
    head = request.head[: len(request.head) // 2]
    return {Place.UNSEEN: b"", Place.REQUEST_HEAD: head}.get(place, request.raw[:-1])


def _delivered(answer: Message, place: Place) -> bytes:
    raw = answer.raw
    size = {
        Place.ANSWERED: 0,
        Place.FIRST_BYTE: 1,
        Place.ANSWER_HEAD: len(answer.head) // 2,
        Place.QUARTER: len(answer.head) + len(answer.body) // 4,
        Place.HALF: len(answer.head) + len(answer.body) // 2,
        Place.ALMOST: len(raw) - 1,
    }.get(place, len(raw))
    return raw[:size]
