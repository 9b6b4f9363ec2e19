"""A raw HTTP server that follows a script, for the tests of the Kling client: it can also misbehave."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from batch_runner import catalog
from batch_runner.kling import Credentials, KlingClient, TokenSource, Trouble, open_session
from batch_runner.model import CreateOutcome
from batch_runner.virtual_time import VirtualClock, run_virtual

T = TypeVar("T")
ACCESS = "AK-access-0123456789-0123456789-ab"
SECRET = "SK-secret-0123456789-0123456789-ab"


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Step = Callable[[asyncio.StreamWriter, Seen], Awaitable[bool]]
"""Answers a request; returns whether the connection stays open."""


def raw(data: bytes, *, keep: bool = False) -> Step:
    async def step(writer: asyncio.StreamWriter, seen: Seen) -> bool:
        writer.write(data)
        await writer.drain()
        return keep

    return step


def http(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode() + b"\r\n" + body


def say(status: int, answer: Any, headers: Mapping[str, str] | None = None, *, keep: bool = True) -> Step:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return raw(http(status, body, headers), keep=keep)


def ok(data: Any) -> Step:
    return say(200, {"code": 0, "message": "SUCCEED", "request_id": "r", "data": data})


def refuse(status: int, code: Any, message: str = "no", headers: Mapping[str, str] | None = None) -> Step:
    return say(status, {"code": code, "message": message, "request_id": "r"}, headers)


async def drop(writer: asyncio.StreamWriter, seen: Seen) -> bool:
    """Act on the request and close without a word."""
    return False


async def reset(writer: asyncio.StreamWriter, seen: Seen) -> bool:
    """Break the connection off with a TCP reset."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


async def stall(writer: asyncio.StreamWriter, seen: Seen) -> bool:
    """Never answer."""
    await asyncio.sleep(100_000.0)
    return False


def stall_inside(status: int, body: bytes) -> Step:
    """Send all but the answer's end, and then nothing any more."""

    async def step(writer: asyncio.StreamWriter, seen: Seen) -> bool:
        writer.write(http(status, body)[:-5])
        return await stall(writer, seen)

    return step


@dataclass
class Stub:
    """Plays one step a request, the last one again and again."""

    steps: list[Step]
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            connection = self.connections
            while seen := await read_request(reader, connection):
                self.seen.append(seen)
                step = self.steps[min(len(self.seen), len(self.steps)) - 1]
                if not await step(writer, seen):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


async def read_request(reader: asyncio.StreamReader, connection: int) -> Seen | None:
    line = (await reader.readline()).decode("latin-1")
    if not line.strip():
        return None
    method, target, _ = line.split(" ")
    headers: dict[str, str] = {}
    while header := (await reader.readline()).decode().strip():
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, target, headers, body, connection)


@asynccontextmanager
async def serve(*steps: Step) -> AsyncIterator[Stub]:
    """A stub on a free port of this machine."""
    stub = Stub(list(steps))
    server = await asyncio.start_server(stub.handle, "127.0.0.1", 0)
    stub.port = server.sockets[0].getsockname()[1]
    try:
        yield stub
    finally:
        server.close()


class OpenGate:
    """A gate that lets everything go and keeps a diary."""

    def __init__(self) -> None:
        self.diary: list[str] = []
        self.permits: list[str] = []

    @asynccontextmanager
    async def permit(self, kind: str) -> AsyncIterator[float]:
        self.permits.append(kind)
        yield asyncio.get_running_loop().time()

    def throttled(self, retry_after_s: float | None, sent_at: float | None) -> None:
        assert sent_at is not None
        self.diary.append(f"throttled {retry_after_s}")

    def answered(self) -> None:
        self.diary.append("answered")


ROUTE = catalog.route("text2video", "kling-v1")


@dataclass
class Scene:
    """A client, the stub it talks to, and the gate in between."""

    client: KlingClient
    stub: Stub
    gate: OpenGate

    async def create(self) -> CreateOutcome:
        return await self.client.create(ROUTE, {"prompt": "a fox"}, "b-1-1")


@asynccontextmanager
async def scene(*steps: Step, api_key: str | None = None, **options: Any) -> AsyncIterator[Scene]:
    clock = VirtualClock(asyncio.get_running_loop())
    credentials = Credentials.from_api_key(api_key) if api_key else Credentials.from_key_pair(ACCESS, SECRET)
    gate = OpenGate()
    async with serve(*steps) as stub, open_session(stub.url) as session:
        yield Scene(KlingClient(session, stub.url, TokenSource(credentials, clock), gate, **options), stub, gate)


def play(
    act: Callable[[Scene], Awaitable[T]], *steps: Step, api_key: str | None = None, **options: Any
) -> tuple[T, Scene]:
    async def main() -> tuple[T, Scene]:
        async with scene(*steps, api_key=api_key, **options) as stage:
            return await act(stage), stage

    return run_virtual(main)


def trouble_of(act: Callable[[Scene], Awaitable[Any]], step: Step, api_key: str | None = None) -> Trouble:
    async def caught(stage: Scene) -> Trouble:
        with pytest.raises(Trouble) as info:
            await act(stage)
        return info.value

    return play(caught, step, api_key=api_key)[0]
