"""What the download tests share: MP4s made box by box, and a server that answers exactly as scripted."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from batch_runner.download import (
    BadDownload,
    Downloaded,
    Downloader,
    LinkPolicy,
    open_download_session,
    sidecar_of,
)
from batch_runner.virtual_time import run_virtual

LOCAL = LinkPolicy(allow_local=True)
SECRET = "x-signature=SECRET"
ETAG = '"one"'


def box(kind: bytes, *bodies: bytes) -> bytes:
    body = b"".join(bodies)
    return (8 + len(body)).to_bytes(4, "big") + kind + body


def offsets_box(kind: bytes, *offsets: int) -> bytes:
    width = 4 if kind == b"stco" else 8
    entries = b"".join(offset.to_bytes(width, "big") for offset in offsets)
    return box(kind, bytes(4), len(offsets).to_bytes(4, "big"), entries)


def moov(table: bytes) -> bytes:
    return box(b"moov", box(b"mvhd", bytes(100)), box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", table)))))


def tiny_mp4(payload_bytes: int = 200, seed: bytes = b"clip") -> bytes:
    payload = (hashlib.sha256(seed).digest() * (payload_bytes // 32 + 1))[:payload_bytes]
    return box(b"ftyp", b"isom\0\0\2\0isommp42") + moov(offsets_box(b"stco", 32)) + box(b"mdat", payload)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class Request:
    target: str
    headers: dict[str, str]


Reply = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


def head_bytes(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def answer(
    status: int,
    headers: dict[str, str],
    body: bytes = b"",
    *,
    pause_s: float = 0.0,
    cut_at: int | None = None,
) -> Reply:
    """Send the head and the body (cut at a byte), wait, and close."""

    async def reply(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head_bytes(status, headers) + body[:cut_at])
        await writer.drain()
        await asyncio.sleep(pause_s)

    return reply


def whole(body: bytes, etag: str = ETAG, *, pause_s: float = 0.0, cut_at: int | None = None) -> Reply:
    headers = {"Content-Type": "video/mp4", "Content-Length": str(len(body)), "ETag": etag}
    return answer(200, headers, body, pause_s=pause_s, cut_at=cut_at)


def rest(body: bytes, etag: str = ETAG) -> Reply:
    """Honour the Range, if one was asked for."""

    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        if "range" not in request.headers:
            return await whole(body, etag)(request, writer)
        start = int(request.headers["range"].removeprefix("bytes=").removesuffix("-"))
        headers = {
            "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}",
            "Content-Length": str(len(body) - start),
            "ETag": etag,
        }
        writer.write(head_bytes(206, headers) + body[start:])
        return await writer.drain()

    return reply


@dataclass(slots=True)
class Server:
    port: int
    requests: list[Request]

    def url(self, target: str = "/clip.mp4") -> str:
        return f"http://127.0.0.1:{self.port}{target}?{SECRET}"


def _request(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if line)
    return Request(first.split(" ")[1], {name.lower(): value for name, value in headers.items()})


@asynccontextmanager
async def serving(*replies: Reply) -> AsyncIterator[Server]:
    """A server over a real socket: the n-th request gets the n-th reply, later ones the last."""
    requests: list[Request] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            requests.append(_request(await reader.readuntil(b"\r\n\r\n")))
            await replies[min(len(requests), len(replies)) - 1](requests[-1], writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client hung up, as some tests want it to
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield Server(server.sockets[0].getsockname()[1], requests)


async def fetch(
    url: str, part_path: Path, suffix: str = ".mp4", *, epoch: str = "boot", max_bytes: int = 2**30
) -> Downloaded:
    """One try through a session of its own."""
    async with open_download_session(LOCAL) as session:
        return await Downloader(session, LOCAL, epoch=epoch, max_bytes=max_bytes).fetch(url, part_path, suffix)


CLIP = tiny_mp4(300_000)
WHOLE = Downloaded(len(CLIP), sha256(CLIP))


def leave(
    part_path: Path, data: bytes, *, etag: str = ETAG, epoch: str = "boot", total: int | None = len(CLIP)
) -> None:
    """What an earlier try left."""
    part_path.write_bytes(data)
    sidecar_of(part_path).write_text(json.dumps({"etag": etag, "total": total, "epoch": epoch}))


def left_in(part_path: Path) -> bytes:
    return part_path.read_bytes() if part_path.exists() else b""


def one_try(part_path: Path, *replies: Reply, suffix: str = ".mp4") -> tuple[Downloaded, list[Request]]:
    async def main() -> tuple[Downloaded, list[Request]]:
        async with serving(*replies) as server:
            return await fetch(server.url(), part_path, suffix), server.requests

    return run_virtual(main)


def one_failure(part_path: Path, *replies: Reply, suffix: str = ".mp4") -> BadDownload:
    with pytest.raises(BadDownload) as caught:
        one_try(part_path, *replies, suffix=suffix)
    return caught.value
