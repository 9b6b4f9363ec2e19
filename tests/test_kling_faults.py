"""What the client makes of connections that misbehave, and what it never does then."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from kling_stub import (
    ACCESS,
    SECRET,
    OpenGate,
    Seen,
    Step,
    Stub,
    drop,
    http,
    ok,
    raw,
    reset,
    say,
    serve,
    stall,
    stall_inside,
)

from batch_runner import catalog
from batch_runner.kling import Credentials, KlingClient, TokenSource, Trouble, open_session
from batch_runner.model import Accepted, CreateOutcome, NotSent, Task, Unknown
from batch_runner.virtual_time import VirtualClock, run_virtual

ROUTE = catalog.route("text2video", "kling-v1")
TASK = {"task_id": "77", "task_status": "submitted", "task_info": {"external_task_id": "b-1-1"}}
WHOLE = http(200, b'{"code":0,"data":{"task_id":"77","task_status":"submitted"}}')


def client_of(session: aiohttp.ClientSession, base_url: str, **options: Any) -> tuple[KlingClient, OpenGate]:
    gate = OpenGate()
    tokens = TokenSource(Credentials.from_key_pair(ACCESS, SECRET), VirtualClock(asyncio.get_running_loop()))
    return KlingClient(session, base_url, tokens, gate, **options), gate


@asynccontextmanager
async def scene(*steps: Step, **options: Any) -> AsyncIterator[tuple[KlingClient, Stub, OpenGate]]:
    async with serve(*steps) as stub, open_session(stub.url) as session:
        client, gate = client_of(session, stub.url, **options)
        yield client, stub, gate


async def create(client: KlingClient) -> CreateOutcome:
    return await client.create(ROUTE, {"prompt": "a fox"}, "b-1-1")


async def found(client: KlingClient) -> Task | None:
    return await client.find(ROUTE, "77")


async def trouble(client: KlingClient) -> Trouble:
    with pytest.raises(Trouble) as info:
        await found(client)
    return info.value


def chain_of(exc: BaseException | None) -> list[BaseException]:
    chain = []
    while exc is not None:
        chain.append(exc)
        exc = exc.__cause__ or exc.__context__
    return chain


FAULTS: dict[str, tuple[Step, str]] = {
    "reset before the answer": (reset, "lost"),
    "dropped after acting": (drop, "lost"),
    "never answered": (stall, "no complete answer"),
    "stalls inside the body": (stall_inside(200, b'{"code":0,"data":{"task_id":"77"}}'), "no complete answer"),
    "body cut short": (raw(WHOLE[:-9]), "cut short"),
    "headers cut short": (raw(WHOLE[:25]), "lost"),
    "oversize": (say(200, b'{"code":0,"data":"' + b"x" * 3_000_000 + b'"}', keep=False), "too long"),
    "not HTTP": (raw(b"SSH-2.0-OpenSSH_9\r\n\r\n"), "not valid HTTP"),
    "not the encoding it claims": (say(200, b"plain", {"Content-Encoding": "gzip"}, keep=False), "cut short"),
    "HTML with status 200": (say(200, b"<html>login</html>", {"Content-Type": "text/html"}), "base URL"),
    "empty with status 200": (say(200, b""), "base URL"),
    "truncated JSON of the right length": (say(200, b'{"code":0,"data":{"task_id'), "base URL"),
    "JSON that is no object": (say(200, b"[1]"), "base URL"),
    "bad gateway page": (say(502, b"<html>nginx</html>"), "HTTP 502"),
    "redirect": (say(307, b"", {"Location": "/elsewhere?sig=abc"}), "HTTP 307"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_any_fault_a_create_is_unknown_and_a_query_is_trouble(fault: str) -> None:
    step, words = FAULTS[fault]

    async def main() -> tuple[CreateOutcome, Trouble, Stub, OpenGate, KlingClient]:
        async with scene(step, max_body_bytes=1_000_000) as (client, stub, gate):
            return await create(client), await trouble(client), stub, gate, client

    outcome, caught, stub, gate, client = run_virtual(main)
    assert isinstance(outcome, Unknown)
    assert words in outcome.why
    assert words in str(caught)
    assert [seen.method for seen in stub.seen] == ["POST", "GET"], "something was sent again"
    assert gate.permits == ["submit", "poll"]
    assert (client.requests.total, client.requests.submit, client.requests.poll) == (2, 1, 1)
    tokens = [seen.headers["authorization"].removeprefix("Bearer ") for seen in stub.seen]
    for exc in chain_of(caught):
        assert isinstance(exc, Trouble) or type(exc).__module__.startswith("batch_runner")
    shown = " ".join([repr(outcome), *(f"{exc!r} {exc}" for exc in chain_of(caught))])
    assert not any(secret in shown for secret in (*tokens, ACCESS, SECRET, "sig=abc"))


def test_timeouts_are_kept_and_grow_with_the_body() -> None:
    async def main() -> list[float]:
        loop, took_s = asyncio.get_running_loop(), []
        async with scene(stall) as (client, _, _):
            for job in (
                lambda: trouble(client),
                lambda: create(client),
                lambda: client.create(ROUTE, {"image": "x" * 10_000_000}, "b-1-1"),
            ):
                start = loop.time()
                await job()
                took_s.append(loop.time() - start)
        return took_s

    assert run_virtual(main) == pytest.approx([30.0, 60.0, 100.0], abs=1.5)


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def assert_not_sent(outcome: CreateOutcome, words: str) -> None:
    assert isinstance(outcome, NotSent)
    assert words in outcome.why


def test_where_nobody_listens_nothing_was_sent() -> None:
    async def main() -> tuple[CreateOutcome, Trouble, int]:
        url = f"http://127.0.0.1:{closed_port()}"
        async with open_session(url) as session:
            client, gate = client_of(session, url)
            outcome, caught = await create(client), await trouble(client)
            assert gate.diary == []
            return outcome, caught, client.requests.total

    outcome, caught, total = run_virtual(main)
    assert_not_sent(outcome, "Connection refused")
    assert "Connection refused" in str(caught)
    assert total == 0


async def create_over_tls(context: ssl.SSLContext | None) -> tuple[CreateOutcome, bytes]:
    """A create sent to a server whose TLS is wrong, and what that server could read of it."""
    read = b""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal read
        writer.write(b"HTTP/1.1 400 plain\r\n\r\n")
        with suppress(OSError):
            read += await reader.read(100_000)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with open_session(url) as session:
            return await create(client_of(session, url)[0]), read
    finally:
        server.close()


def test_a_server_without_tls_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    outcome, read = run_virtual(lambda: create_over_tls(None))
    assert_not_sent(outcome, "no secure connection")
    assert b"Bearer" not in read


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate that nobody trusts")
def test_a_server_nobody_vouches_for_gets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    pem = tmp_path / "self.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(pem)]
    command = ["openssl", "req", "-x509", *key, "-out", str(tmp_path / "cert.pem"), "-subj", "/CN=127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", pem)
    outcome, read = run_virtual(lambda: create_over_tls(context))
    assert_not_sent(outcome, "certificate is not trusted; check the base URL and the clock")
    assert read == b""


class Resolver(AbstractResolver):
    """A name service that fails, at once or after a long silence."""

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s

    async def resolve(
        self,
        host: str,  # noqa: ARG002 - the interface is aiohttp's
        port: int = 0,  # noqa: ARG002 - the same
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - the same
    ) -> list[ResolveResult]:
        await asyncio.sleep(self._silence_s)
        raise OSError(-2, "Name or service not known")

    async def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize(("silence_s", "words"), [(0.0, "could not be resolved"), (9999.0, "none within 15 s")])
def test_a_name_that_leads_nowhere_gets_nothing(silence_s: float, words: str) -> None:
    async def main() -> CreateOutcome:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Resolver(silence_s))) as session:
            return await create(client_of(session, "https://api.invalid")[0])

    assert_not_sent(run_virtual(main), words)


@pytest.mark.parametrize("step", [raw(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"), drop])
def test_a_proxy_that_opens_no_tunnel_sees_no_key(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> tuple[CreateOutcome, Stub]:
        async with serve(step) as stub:
            for name in ("NO_PROXY", "no_proxy"):
                monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv("HTTPS_PROXY", stub.url)
            monkeypatch.setenv("https_proxy", stub.url)
            async with open_session("https://api.invalid") as session:
                return await create(client_of(session, "https://api.invalid")[0]), stub

    outcome, stub = run_virtual(main)
    assert isinstance(outcome, NotSent | Unknown)
    assert [seen.method for seen in stub.seen] == ["CONNECT"]
    assert "authorization" not in stub.seen[0].headers


def test_a_netrc_entry_does_not_stand_in_for_our_authorization(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password pa55word\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("NO_PROXY", "*")

    async def main() -> tuple[CreateOutcome, Stub]:
        async with serve(ok(TASK)) as stub, aiohttp.ClientSession(trust_env=True) as session:
            return await create(client_of(session, stub.url)[0]), stub

    outcome, stub = run_virtual(main)
    assert isinstance(outcome, Accepted)
    assert stub.seen[0].headers["authorization"].startswith("Bearer ey")


def test_a_redirect_is_not_followed_and_no_other_host_hears_of_the_key() -> None:
    async def main() -> tuple[Stub, Stub]:
        async with serve(ok(TASK)) as other:
            away = say(302, b"", {"Location": f"{other.url}/steal"})
            async with scene(away) as (client, stub, _):
                assert isinstance(await create(client), Unknown)
                await trouble(client)
                return stub, other

    stub, other = run_virtual(main)
    assert len(stub.seen) == 2
    assert other.connections == 0


Ask = Callable[[KlingClient], Any]


@pytest.mark.parametrize("ending", [drop, reset])
@pytest.mark.parametrize("asks", [trouble, create])
def test_a_kept_connection_that_dies_under_a_request_means_one_request_a_permit(ending: Step, asks: Ask) -> None:
    """Here aiohttp would send a GET again by itself, on a new connection and past the gate."""

    async def main() -> tuple[Any, Stub, OpenGate]:
        async with scene(ok(TASK), ending, ok(TASK)) as (client, stub, gate):
            assert await found(client) is not None
            return await asks(client), stub, gate

    outcome, stub, gate = run_virtual(main)
    assert isinstance(outcome, Unknown | Trouble)
    assert [seen.connection for seen in stub.seen] == [1, 1], "both on the connection that was kept"
    assert len(stub.seen) == len(gate.permits) == 2


def test_a_fresh_connection_that_dies_is_not_asked_again_either() -> None:
    async def main() -> tuple[Stub, OpenGate]:
        async with scene(drop, ok(TASK)) as (client, stub, gate):
            await trouble(client)
            return stub, gate

    stub, gate = run_virtual(main)
    assert len(stub.seen) == len(gate.permits) == 1


def test_a_connection_closed_while_idle_is_replaced_without_a_loss() -> None:
    async def closing(writer: asyncio.StreamWriter, seen: Seen) -> bool:
        await ok(TASK)(writer, seen)
        return False

    async def main() -> tuple[Stub, OpenGate]:
        async with scene(closing) as (client, stub, gate):
            for _ in range(3):
                assert await found(client) is not None
                await asyncio.sleep(1.0)
            return stub, gate

    stub, gate = run_virtual(main)
    assert len(stub.seen) == len(gate.permits) == 3


def test_a_cancelled_create_counts_as_sent() -> None:
    async def main() -> int:
        async with scene(stall) as (client, _, _):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5.0):
                    await create(client)
            return client.requests.submit

    assert run_virtual(main) == 1
