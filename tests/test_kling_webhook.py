"""The service's calls: which are genuine, what they say, and what a listening program makes of them."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from typing import Any, TypeVar

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_runner.errors import AccountError, UsageError
from batch_runner.kling import WebhookSecret
from batch_runner.kling.envelope import MalformedAnswer
from batch_runner.kling.receiver import Receiver
from batch_runner.kling.webhook import parse_call
from batch_runner.model import Task, TaskStatus
from batch_runner.virtual_time import VirtualClock, run_virtual

T = TypeVar("T")
TEXT = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
SECRET = WebhookSecret.from_text(TEXT)
OTHER = WebhookSecret.from_text("whsec_" + base64.b64encode(b"another secret of the same kind").decode())
CALL_ID = "9876543210"
TIMESTAMP = "1781080794"
BODY = b'{"id":"1234567890","status":"succeeded","message":"","create_time":1781080778802,"update_time":1781080794151}'
SIGNATURE = "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4="
SENT_S = float(TIMESTAMP)


def headers(**changes: str | None) -> dict[str, str]:
    """The example's headers, changed; None leaves one out."""
    words: dict[str, str | None] = {"id": CALL_ID, "timestamp": TIMESTAMP, "signature": SIGNATURE, **changes}
    return {f"webhook-{name}": value for name, value in words.items() if value is not None}


def test_the_vendors_own_example_is_signed_and_found_genuine() -> None:
    assert SECRET.signature(CALL_ID, TIMESTAMP, BODY) == SIGNATURE
    assert SECRET.is_genuine(headers(), BODY, SENT_S)


def test_a_secret_may_come_without_its_prefix_and_with_a_line_ending() -> None:
    bare = WebhookSecret.from_text(TEXT.removeprefix("whsec_") + "\n")
    assert bare.signature(CALL_ID, TIMESTAMP, BODY) == SIGNATURE


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_***", "whsec_YQ", "schlüssel", "whsec_ YWJj YWJj"])
def test_what_cannot_be_a_secret_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(AccountError, match="copy it again") as caught:
        WebhookSecret.from_text(text)
    assert caught.value.__context__ is None
    assert text in {"", "whsec_"} or text not in str(caught.value)


def test_a_secret_shows_in_no_text() -> None:
    shown = f"{SECRET} {SECRET!r}"
    assert "testsecret" not in shown
    assert TEXT.removeprefix("whsec_") not in shown


@pytest.mark.parametrize(
    "signature",
    [
        f"v1,{'A' * 43}= {SIGNATURE}",
        f"{SIGNATURE} v1,{'A' * 43}=",
        f"v2,abc {SIGNATURE}",
        f"  {SIGNATURE}  ",
        f"{OTHER.signature(CALL_ID, TIMESTAMP, BODY)} {SIGNATURE}",
    ],
)
def test_while_secrets_change_any_signature_that_fits_will_do(signature: str) -> None:
    assert SECRET.is_genuine(headers(signature=signature), BODY, SENT_S)


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": None},
        {"signature": ""},
        {"signature": SIGNATURE.removeprefix("v1,")},
        {"signature": SIGNATURE.replace("v1,", "v1a,")},
        {"signature": SIGNATURE[:-2]},
        {"signature": SIGNATURE.lower()},
        {"signature": OTHER.signature(CALL_ID, TIMESTAMP, BODY)},
        {"signature": "v1,\udcff\xe9"},
        {"id": None},
        {"id": "9876543211"},
        {"id": ""},
        {"timestamp": None},
        {"timestamp": "1781080795"},
        {"timestamp": "1781080794.0"},
        {"timestamp": "+1781080794"},
        {"timestamp": "١٧٨١٠٨٠٧٩٤"},
        {"timestamp": "9" * 400},
        {"timestamp": "nan"},
    ],
)
def test_a_call_that_is_not_signed_as_it_stands_is_not_genuine(changes: dict[str, str | None]) -> None:
    assert not SECRET.is_genuine(headers(**changes), BODY, SENT_S)


def test_another_body_is_not_genuine() -> None:
    for body in (BODY + b" ", BODY.replace(b"succeeded", b"failed"), b""):
        assert not SECRET.is_genuine(headers(), body, SENT_S)


@pytest.mark.parametrize(
    ("skew_s", "genuine"), [(300.0, True), (-300.0, True), (300.5, False), (-300.5, False), (1e9, False)]
)
def test_an_old_call_is_not_genuine_any_more(skew_s: float, genuine: bool) -> None:  # noqa: FBT001 - a column
    assert SECRET.is_genuine(headers(), BODY, SENT_S + skew_s) is genuine


@given(st.binary(max_size=200), st.text(max_size=30).filter(bool), st.integers(0, 10**12 - 1), st.binary(max_size=3))
def test_what_is_signed_is_genuine_and_what_is_altered_is_not(
    body: bytes, call_id: str, at_s: int, more: bytes
) -> None:
    call_id = call_id.encode("utf-8", "replace").decode()
    signed = {
        "webhook-id": call_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": SECRET.signature(call_id, str(at_s), body),
    }
    assert SECRET.is_genuine(signed, body, float(at_s))
    assert not OTHER.is_genuine(signed, body, float(at_s))
    assert SECRET.is_genuine(signed, body + more, float(at_s)) is (not more)


LEGACY = {
    "task_id": "77",
    "task_status": "succeed",
    "task_status_msg": "",
    "created_at": 1,
    "updated_at": 2,
    "final_unit_deduction": "3.5",
    "task_info": {"external_task_id": "b-1-1"},
    "task_result": {"images": [{"index": 0, "url": "https://c/a.png?sig=1"}]},
}
NEW = {"id": "78", "status": "failed", "message": "system error", "external_id": "b-1-2", "outputs": [], "billing": []}


def test_both_forms_of_a_call_are_read() -> None:
    task = parse_call(json.dumps(LEGACY).encode())
    assert (task.task_id, task.external_task_id, task.status) == ("77", "b-1-1", TaskStatus.SUCCEEDED)
    assert task.charged == Decimal("3.5")
    assert parse_call(json.dumps(NEW).encode()) == Task("78", "b-1-2", TaskStatus.FAILED, "system error")
    assert parse_call(BODY).status is TaskStatus.SUCCEEDED


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>", b'{"task_id":"7"}', b'{"id":7}', b"[" * 100_000])
def test_a_call_about_no_task_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        parse_call(body)


# --- listening ------------------------------------------------------------------------------------------------


class Ear:
    """A receiver, what it hinted at, and a caller with and without the secret."""

    def __init__(self, receiver: Receiver, session: aiohttp.ClientSession, heard: list[Task]) -> None:
        self.receiver, self.heard = receiver, heard
        self._session = session

    async def call(
        self, body: Any, secret: WebhookSecret | None = SECRET, *, age_s: float = 0.0, path: str = ""
    ) -> int:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        at = str(int(VirtualClock(asyncio.get_running_loop()).wall_s() - age_s))
        signed: Mapping[str, str] = {}
        if secret is not None:
            signature = secret.signature("c-1", at, payload)
            signed = {"webhook-id": "c-1", "webhook-timestamp": at, "webhook-signature": signature}
        return await self.send("POST", signed, payload, path)

    async def send(self, method: str, signed: Mapping[str, str], payload: bytes, path: str = "") -> int:
        url = self.receiver.address + path
        async with self._session.request(method, url, data=io.BytesIO(payload), headers=signed) as response:
            assert await response.read() == b"" or response.status in {404, 405}
            return response.status


@asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[Ear]:
    heard: list[Task] = []
    clock = VirtualClock(asyncio.get_running_loop())
    async with (
        Receiver(SECRET, clock, heard.append, path="/hook", **options) as receiver,
        aiohttp.ClientSession() as session,
    ):
        yield Ear(receiver, session, heard)


def listen(act: Callable[[Ear], Awaitable[T]]) -> T:
    async def main() -> T:
        async with listening() as ear:
            return await act(ear)

    return run_virtual(main)


def test_a_genuine_call_is_a_hint_and_is_answered_at_once() -> None:
    async def act(ear: Ear) -> list[Task]:
        began_s = asyncio.get_running_loop().time()
        assert [await ear.call(LEGACY), await ear.call(NEW), await ear.call(LEGACY)] == [200, 200, 200]
        assert asyncio.get_running_loop().time() - began_s < 1.0
        assert (ear.receiver.accepted, ear.receiver.refused) == (3, 0)
        return ear.heard

    assert [task.task_id for task in listen(act)] == ["77", "78", "77"]


def test_a_call_that_is_not_genuine_is_turned_away_without_any_effect() -> None:
    async def act(ear: Ear) -> None:
        assert await ear.call(LEGACY, None) == 401
        assert await ear.call(LEGACY, OTHER) == 401
        assert await ear.call(LEGACY, age_s=400.0) == 401
        assert await ear.call(LEGACY, age_s=-400.0) == 401
        assert ear.heard == []
        assert (ear.receiver.accepted, ear.receiver.refused) == (0, 4)
        assert await ear.call(LEGACY) == 200

    listen(act)


def test_a_genuine_call_without_sense_is_answered_and_hints_at_nothing() -> None:
    async def act(ear: Ear) -> None:
        for body in (b"", b"{}", b"hello", {"status": "submitted", "outputs": []}):
            assert await ear.call(body) == 200
        assert ear.heard == []

    listen(act)


def test_other_paths_and_methods_are_not_served() -> None:
    async def act(ear: Ear) -> None:
        assert await ear.call(LEGACY, path="/more") == 404
        assert await ear.send("GET", {}, b"") == 405
        assert await ear.send("PUT", {}, b"") == 405
        assert ear.heard == []

    listen(act)


def test_a_body_without_end_is_not_taken_in() -> None:
    async def act(ear: Ear) -> None:
        with suppress(aiohttp.ClientError):  # it may answer before all is sent, and hang up
            assert await ear.call(b"x" * 3_000_000) == 401
        with suppress(aiohttp.ClientError):
            assert await ear.call(b"x" * 3_000_000, None) == 401
        assert ear.heard == []
        assert ear.receiver.refused == 2
        assert await ear.call(LEGACY) == 200

    listen(act)


@pytest.mark.parametrize("signed", [True, False])
def test_a_caller_that_stalls_is_given_up_and_keeps_nobody_waiting(signed: bool) -> None:  # noqa: FBT001 - a column
    async def act(ear: Ear) -> None:
        host, port = ear.receiver.address.removeprefix("http://").split("/")[0].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        signature = b"webhook-signature: v1,x\r\n" if signed else b""
        writer.write(b"POST /hook HTTP/1.1\r\nHost: x\r\n" + signature + b"Content-Length: 500\r\n\r\nabc")
        assert await ear.call(LEGACY) == 200
        began_s = asyncio.get_running_loop().time()
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 401")
        assert asyncio.get_running_loop().time() - began_s < 30.0
        writer.close()
        assert [task.task_id for task in ear.heard] == ["77"]

    listen(act)


def test_a_place_that_is_taken_is_a_problem_in_words() -> None:
    async def act(ear: Ear) -> None:
        port = int(ear.receiver.address.split(":")[2].split("/")[0])
        with pytest.raises(UsageError, match=r"--callback-listen"):
            async with listening(port=port):
                pass
        with pytest.raises(UsageError, match=r"no such address|--callback-listen"):
            async with listening(host="nowhere.invalid"):
                pass

    listen(act)


def test_after_its_block_nobody_listens() -> None:
    async def main() -> None:
        async with listening() as ear:
            address = ear.receiver.address
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.post(address, data=b"x")

    run_virtual(main)
