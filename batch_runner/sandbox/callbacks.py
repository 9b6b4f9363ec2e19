"""Callbacks: a call to the address a create names, whenever its task changes.

The vendor documents neither repetition nor order, so calls can be lost, doubled and late on order. Calls go to this
machine alone: a simulation must not knock at anybody's door.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from batch_runner.model import Generation
from batch_runner.sandbox import wire, wire_v2
from batch_runner.sandbox.faults import Fault, Faults, RequestClass
from batch_runner.sandbox.task import SandboxTask

_TIMEOUT = aiohttp.ClientTimeout(total=10)
_AFTERWARDS_S = 0.001
"""Whoever is called and asks at once must find the task as it was told."""
_SECRET_PREFIX = "whsec_"  # noqa: S105 - the beginning of every secret, which opens nothing
_NOT_OF_THE_PAYLOAD = ("watermark_info",)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call: its id stays the same when it is repeated."""

    call_id: str
    body: bytes


def secret_key(secret: str) -> bytes:
    """The key in a secret as the console shows it. Raises ValueError if it is none."""
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueError("a webhook secret is whsec_ and base64")
    return key


def signature(secret: str, call_id: str, timestamp_s: int, body: bytes) -> str:
    """A call's signature after the Standard Webhooks."""
    signed = b".".join((call_id.encode(), str(timestamp_s).encode(), body))
    return "v1," + base64.b64encode(hmac.new(secret_key(secret), signed, hashlib.sha256).digest()).decode()


class Callbacks:
    """Calls whoever wants to be called; open it, and close it before the loop ends.

    Args:
        faults: drawn once a call.
        now: the service's wall seconds.
        secrets: sign every call; two while one replaces the other, none for calls without a signature.

    Attributes:
        outcomes: how many calls were ``answered`` with 2xx, ``unanswered``, or ``withheld`` since their address is
            not on this machine.
    """

    def __init__(self, faults: Faults, now: Callable[[], float], secrets: Sequence[str]) -> None:
        for secret in secrets:
            secret_key(secret)
        self.outcomes: Counter[str] = Counter()
        self._faults = faults
        self._now = now
        self._secrets = tuple(secrets)
        self._session: aiohttp.ClientSession | None = None
        self._followed: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Be ready to call."""
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)

    async def close(self) -> None:
        """Call nobody any more."""
        for task in self._followed:
            task.cancel()
        await asyncio.gather(*self._followed, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def follow(self, task: SandboxTask, url: str, link_of: wire.LinkOf) -> None:
        """Call that address at every change of a task that was just made."""
        if not _is_here(url):
            self.outcomes["withheld"] += 1
            return
        following = asyncio.get_running_loop().create_task(self._follow(task, url, link_of))
        self._followed.add(following)
        following.add_done_callback(self._followed.discard)

    async def _follow(self, task: SandboxTask, url: str, link_of: wire.LinkOf) -> None:
        late: list[_Call] = []
        for at_s in _changes(task):
            await asyncio.sleep(max(0.0, at_s - self._now()) + _AFTERWARDS_S)
            call = _call(task, at_s, link_of)
            fault = self._faults.draw(RequestClass.CALLBACK)
            if fault is Fault.CALLBACK_LATE:
                late.append(call)
                continue
            for _ in range(_TIMES.get(fault, 1)):
                await self._send(url, call)
            while late:
                await self._send(url, late.pop())
        if late:
            await asyncio.sleep(self._faults.plan.slow_s)
            for call in reversed(late):
                await self._send(url, call)

    async def _send(self, url: str, call: _Call) -> None:
        assert self._session is not None, "callbacks are not open"
        try:
            async with self._session.post(
                url, data=call.body, headers=self._headers(call), allow_redirects=False
            ) as it:
                self.outcomes["answered" if it.ok else "unanswered"] += 1
        except (aiohttp.ClientError, TimeoutError):
            self.outcomes["unanswered"] += 1  # whoever does not answer is not asked again

    def _headers(self, call: _Call) -> Mapping[str, str]:
        headers = {"Content-Type": "application/json"}
        if not self._secrets:
            return headers
        timestamp_s = int(self._now())
        signatures = [signature(secret, call.call_id, timestamp_s, call.body) for secret in self._secrets]
        return headers | {
            "webhook-id": call.call_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": " ".join(signatures),
        }


_TIMES: Mapping[Fault | None, int] = {Fault.CALLBACK_LOST: 0, Fault.CALLBACK_TWICE: 2}


def _is_here(url: str) -> bool:
    """Whether an address is on this machine."""
    try:
        host = URL(url).host or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _changes(task: SandboxTask) -> Iterator[float]:
    """The moments at which the task changes; one that never ends has fewer."""
    return (at_s for at_s in (task.created_at_s, task.started_at_s, task.ended_at_s) if at_s < float("inf"))


def _call(task: SandboxTask, at_s: float, link_of: wire.LinkOf) -> _Call:
    """What is told of a change; a late call tells of it as it was."""
    body = json.dumps(_payload(task, at_s, link_of)).encode()
    return _Call(hashlib.sha256(f"call:{task.task_id}:{at_s}".encode()).hexdigest()[:24], body)


def _payload(task: SandboxTask, at_s: float, link_of: wire.LinkOf) -> dict[str, Any]:
    """The task in the form of the route that made it, without an envelope."""
    if task.generation is Generation.V2:
        return wire_v2.told(task, at_s, link_of)
    data = wire.queried(task, at_s, link_of)
    return {name: value for name, value in data.items() if name not in _NOT_OF_THE_PAYLOAD}
