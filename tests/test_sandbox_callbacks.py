"""Callbacks of the simulated service: when, where, in which form, signed, and what may go wrong with them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from products_kit import SIMPLE, ask
from sandbox_kit import START_S, TEXT, Client, price, serving

from batch_runner.clock import SystemClock
from batch_runner.kling.webhook import WebhookSecret
from batch_runner.sandbox import Fault, FaultPlan, Sandbox, WorldConfig
from batch_runner.sandbox.callbacks import signature
from batch_runner.virtual_time import run_virtual

SECRET = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
NEXT_SECRET = "whsec_bmV4dHNlY3JldG5leHRzZWNyZXRuZXh0c2VjcmV0MTI="


@dataclass
class Ear:
    """Whoever is called: hears everything, answers as told."""

    url: str = ""
    status: int = 200
    heard: list[tuple[float, Mapping[str, str], bytes]] = field(default_factory=list)
    third: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, _, body in self.heard]

    @property
    def words(self) -> list[str]:
        return [body.get("task_status") or body["status"] for body in self.bodies]


@asynccontextmanager
async def listening(status: int = 200) -> AsyncIterator[Ear]:
    ear = Ear(status=status)

    async def hear(request: web.Request) -> web.Response:
        now_s = asyncio.get_running_loop().time()
        ear.heard.append(
            (now_s, {name.lower(): value for name, value in request.headers.items()}, await request.read())
        )
        if len(ear.heard) == 3:
            ear.third.set()
        return web.Response(status=ear.status, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_post("/hook", hear)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ear.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield ear
    finally:
        await runner.cleanup()


async def over(client: Client) -> None:
    """Wait until every task has ended and every call was made."""
    ended_at_s = max(task.ended_at_s for task in client.sandbox.world.tasks if task.ended_at_s < float("inf"))
    await asyncio.sleep(max(0.0, ended_at_s - client.sandbox.now_s()) + 60)


def test_the_recorded_example_of_a_signature_comes_out() -> None:
    body = (
        b'{"id":"1234567890","status":"succeeded","message":"","create_time":1781080778802,"update_time":1781080794151}'
    )
    assert signature(SECRET, "9876543210", 1781080794, body) == "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4="


def test_a_task_of_the_first_generation_calls_at_each_change_flat_and_without_envelope() -> None:
    async def main() -> None:
        async with listening() as ear, serving() as client:
            await client.create("mine", callback_url=ear.url)
            await over(client)
            assert ear.words == ["submitted", "processing", "succeed"]
            task = client.sandbox.world.tasks[0]
            for (heard_at_s, _, _), at_s in zip(
                ear.heard, (task.created_at_s, task.started_at_s, task.ended_at_s), strict=True
            ):
                assert heard_at_s == pytest.approx(at_s - START_S, abs=0.01)
            last = ear.bodies[-1]
            told = (await client.query("mine")).data
            assert {name: last[name] for name in last if name != "task_result"} == {
                name: told[name] for name in told if name not in {"task_result", "watermark_info"}
            }
            assert (await client.fetch(last["task_result"]["videos"][0]["url"])).status == 200
            assert client.sandbox.callbacks.outcomes == {"answered": 3}
            assert all("webhook-id" not in headers for _, headers, _ in ear.heard)

    run_virtual(main)


def test_a_task_of_the_second_generation_calls_in_its_own_form() -> None:
    async def main() -> None:
        async with listening() as ear, serving() as client:
            body = {"prompt": "a", "options": {"callback_url": ear.url, "external_task_id": "mine"}}
            await client.ask("POST", "/text-to-video/kling-3.0", json=body)
            await over(client)
            assert ear.words == ["submitted", "processing", "succeeded"]
            [told] = (await client.ask("GET", "/tasks?external_task_ids=mine")).data
            [heard] = ear.bodies[2]["outputs"]
            assert {**ear.bodies[2], "outputs": []} == {**told, "outputs": []}
            assert heard["id"] == told["outputs"][0]["id"]

    run_virtual(main)


def test_every_asynchronous_product_calls_and_what_is_answered_at_once_does_not() -> None:
    async def main() -> None:
        async with listening() as ear, serving(WorldConfig(max_concurrent=99)) as client:
            for kind, body in SIMPLE.items():
                await ask(client, kind, {**body, "callback_url": ear.url})
            speech = {"text": "a", "voice_id": "uk_boy1", "callback_url": ear.url}
            await ask(client, "tts", speech)
            await over(client)
            assert len(ear.heard) == 3 * len(SIMPLE)
            assert set(ear.words) == {"submitted", "processing", "succeed"}

    run_virtual(main)


def test_signed_calls_are_taken_for_genuine_also_while_a_secret_is_replaced() -> None:
    async def main() -> None:
        async with listening() as ear, serving(webhook_secrets=(SECRET, NEXT_SECRET)) as client:
            await client.create("mine", callback_url=ear.url)
            await over(client)
            for heard_at_s, headers, body in ear.heard:
                now_s = START_S + heard_at_s
                for secret in (SECRET, NEXT_SECRET):
                    assert WebhookSecret.from_text(secret).is_genuine(headers, body, now_s)
                assert not WebhookSecret.from_text(SECRET).is_genuine(headers, body + b" ", now_s)
                assert not WebhookSecret.from_text(SECRET).is_genuine(headers, body, now_s + 301)
            assert len({headers["webhook-id"] for _, headers, _ in ear.heard}) == 3

    run_virtual(main)


def test_a_secret_that_is_none_is_told_at_once() -> None:
    async def main() -> None:
        for secret in ("whsec_!", "whsec_", "abc"):
            with pytest.raises(ValueError, match="a webhook secret is"):
                async with serving(webhook_secrets=[secret]):
                    pass

    run_virtual(main)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook",
        "http://10.0.0.1/hook",
        "http://127.0.0.1.example.com/hook",
        "http://localhost.example.com/",
        "ftp",
        "http://[",
        "file:///etc/passwd",
    ],
)
def test_nobody_but_this_machine_is_ever_called(url: str) -> None:
    async def main() -> None:
        async with serving() as client:
            assert (await client.create("mine", callback_url=url)).code == 0
            await over(client)
            assert client.sandbox.callbacks.outcomes == {"withheld": 1}
            assert "callback_url" not in client.sandbox.world.tasks[0].body

    run_virtual(main)


def test_calls_can_be_lost_doubled_and_late() -> None:
    async def main() -> None:
        words = ["", "callback_twice", "callback_lost", "callback_late", "", "callback_late"]
        faults = FaultPlan(script={"callback": words}, slow_s=30)
        async with listening() as ear, serving(faults=faults) as client:
            await client.create("first", callback_url=ear.url)
            await over(client)
            assert ear.words == ["submitted", "processing", "processing"]
            doubled = [headers["content-length"] for _, headers, _ in ear.heard[1:]]
            assert doubled[0] == doubled[1]
            assert ear.heard[1][2] == ear.heard[2][2]
            ear.heard.clear()
            await client.create("second", callback_url=ear.url)
            await over(client)
            assert ear.words == ["processing", "submitted", "succeed"]
            task = client.sandbox.world.tasks[1]
            # The last one has none to come after: it waits as long as anything slow does.
            assert ear.heard[2][0] == pytest.approx(task.ended_at_s - START_S + 30, abs=0.1)
            # A late call tells of the change as it was.
            assert ear.bodies[1]["updated_at"] == ear.bodies[1]["created_at"]
            injected = client.sandbox.faults.injected
            assert injected == {Fault.CALLBACK_TWICE: 1, Fault.CALLBACK_LOST: 1, Fault.CALLBACK_LATE: 2}

    run_virtual(main)


@pytest.mark.parametrize("name", ["callback_lost", "callback_twice", "callback_late"])
def test_every_share_reaches_callbacks_and_nothing_else(name: str) -> None:
    async def main() -> None:
        plan: dict[str, Any] = {name: 1.0}
        async with listening() as ear, serving(faults=FaultPlan(**plan)) as client:
            await client.create("mine", callback_url=ear.url)
            await over(client)
            expected = {"callback_lost": 0, "callback_twice": 6, "callback_late": 3}
            assert len(ear.heard) == expected[name]
            assert (await client.query("mine")).code == 0

    run_virtual(main)


def test_whoever_does_not_answer_well_is_not_called_again_and_stops_nothing() -> None:
    async def main() -> None:
        for status in (500, 302):
            async with listening(status) as ear, serving() as client:
                await client.create("mine", callback_url=ear.url)
                await over(client)
                assert len(ear.heard) == 3
        async with serving() as client:
            await client.create("mine", callback_url="http://127.0.0.1:9/hook")
            await over(client)
            assert client.sandbox.callbacks.outcomes == {"unanswered": 3}
            assert (await client.query("mine")).data["task_status"] == "succeed"

    run_virtual(main)


def test_a_stuck_task_calls_twice_and_leaving_does_not_wait_for_the_rest() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with listening() as ear:
            async with serving() as client:
                await client.create("stuck", prompt="[sandbox:stuck]", callback_url=ear.url)
                await asyncio.sleep(7200)
                assert ear.words == ["submitted", "processing"]
                await client.create("long", callback_url=ear.url)
                left_at_s = loop.time()
            assert loop.time() - left_at_s < 1
            await asyncio.sleep(3600)
            assert len(ear.heard) <= 3

    run_virtual(main)


def test_a_failed_task_calls_with_its_text() -> None:
    async def main() -> None:
        async with listening() as ear, serving() as client:
            await client.create("mine", prompt="[sandbox:late-policy]", callback_url=ear.url)
            await over(client)
            assert ear.bodies[-1]["task_status_msg"] == "Failure to pass the risk control system"

    run_virtual(main)


def test_a_repeated_create_calls_nobody_twice_and_a_refused_one_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        config = WorldConfig(repeat_policy="same")
        async with listening() as ear, serving(config, journal_path=tmp_path / "journal.jsonl") as client:
            for _ in range(2):
                await client.create("mine", callback_url=ear.url)
            await client.create("bad", duration="99", callback_url=ear.url)
            await over(client)
            assert len(ear.heard) == 3
            assert ear.url not in (tmp_path / "journal.jsonl").read_text(encoding="utf-8")

    run_virtual(main)


def test_calls_come_in_real_time_too() -> None:
    async def main() -> None:
        async with (
            listening() as ear,
            aiohttp.ClientSession() as session,
            Sandbox(WorldConfig(speed=100_000), clock=SystemClock(), price=price) as sandbox,
        ):
            await Client(sandbox, session).ask("POST", TEXT, json={"prompt": "a", "callback_url": ear.url})
            async with asyncio.timeout(30):
                await ear.third.wait()

    asyncio.run(main())
