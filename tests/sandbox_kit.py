"""What the sandbox's tests share: a price, pictures, and a small client on a real socket."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

from batch_runner.sandbox import FaultPlan, PriceOf, Sandbox, SandboxTask, WorldConfig
from batch_runner.virtual_time import VirtualClock

TEXT = "/v1/videos/text2video"
IMAGE = "/v1/videos/image2video"
START_S = 1_767_225_600.0


def price(_kind: str, body: Mapping[str, Any], *_: Mapping[str, Any]) -> Decimal:
    return Decimal("3.5") if body.get("mode") == "pro" else Decimal(1)


def somebody_elses(kind: str) -> SandboxTask:
    """A task of another program on the account, long over."""
    return SandboxTask("1", "x-1", kind, {}, 0.0, 0.0, 0.0, "", Decimal(1), "1:1", 5, "x")


def picture(width: int, height: int, kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


def text_body(external_task_id: str | None = None, prompt: str = "a fox", **fields: Any) -> dict[str, Any]:
    named = {} if external_task_id is None else {"external_task_id": external_task_id}
    return {"prompt": prompt, **named, **fields}


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any

    @property
    def code(self) -> int:
        return int(self.json["code"])

    @property
    def data(self) -> Any:
        return self.json["data"]


@dataclass(frozen=True)
class Client:
    sandbox: Sandbox
    session: aiohttp.ClientSession

    async def ask(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: bytes | io.BytesIO | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        key = {"Authorization": f"Bearer {self.sandbox.api_key}"}
        sent = key if headers is None else headers
        url = self.sandbox.base_url + path
        async with self.session.request(method, url, json=json, data=data, headers=sent) as response:
            body = await response.read()
            parsed = await response.json() if response.content_type == "application/json" else None
            return Reply(response.status, response.headers, body, parsed)

    async def create(self, external_task_id: str | None = None, **fields: Any) -> Reply:
        return await self.ask("POST", TEXT, json=text_body(external_task_id, **fields))

    async def query(self, any_id: str) -> Reply:
        return await self.ask("GET", f"{TEXT}/{any_id}")

    async def finished(self, external_task_id: str, pause_s: float = 60) -> Any:
        while True:
            data = (await self.query(external_task_id)).data
            if data["task_status"] in {"succeed", "failed"}:
                return data
            await asyncio.sleep(pause_s)

    async def fetch(self, url: str, **headers: str) -> Reply:
        async with self.session.get(url, headers=headers) as response:
            return Reply(response.status, response.headers, await response.read(), None)


@asynccontextmanager
async def serving(
    config: WorldConfig | None = None,
    *,
    faults: FaultPlan | None = None,
    journal_path: Path | None = None,
    clock_skew_s: float = 0.0,
    leeway_s: float = 0.0,
    price_of: PriceOf = price,
    webhook_secrets: Sequence[str] = (),
) -> AsyncIterator[Client]:
    sandbox = Sandbox(
        config or WorldConfig(),
        clock=VirtualClock(asyncio.get_running_loop(), START_S),
        price=price_of,
        webhook_secrets=webhook_secrets,
        fault_plan=faults,
        journal_path=journal_path,
        clock_skew_s=clock_skew_s,
        leeway_s=leeway_s,
    )
    async with sandbox, aiohttp.ClientSession() as session:
        yield Client(sandbox, session)
