"""Faults on order: drawn from a seed or a script, counted, and done to real connections."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import aiohttp
import pytest
from sandbox_kit import TEXT, Client, serving

from batch_runner.sandbox import Fault, FaultPlan, RequestClass, WorldConfig
from batch_runner.sandbox.faults import POSSIBLE, Faults
from batch_runner.virtual_time import run_virtual


def script(name: str, *words: str, **plan: Any) -> FaultPlan:
    return FaultPlan(script={name: words}, **plan)


def test_nothing_goes_wrong_unless_told() -> None:
    faults = Faults(FaultPlan())
    assert all(faults.draw(kind) is None for kind in RequestClass for _ in range(200))
    assert faults.injected == {}


def test_rates_are_shares_and_the_counts_tell_them() -> None:
    faults = Faults(FaultPlan(seed=3, lost_answer=0.2, reset_before=0.1, rate_429=0.1))
    drawn = Counter(faults.draw(RequestClass.CREATE) for _ in range(2000))
    assert drawn[Fault.LOST_ANSWER] == pytest.approx(400, abs=60)
    assert drawn[Fault.RESET_BEFORE] == pytest.approx(200, abs=50)
    assert drawn[Fault.RATE_429] == pytest.approx(200, abs=50)
    assert faults.injected[Fault.LOST_ANSWER] == drawn[Fault.LOST_ANSWER]
    assert sum(faults.injected.values()) == 2000 - drawn[None]


def test_draws_depend_on_the_number_within_the_class_alone() -> None:
    plan = FaultPlan(seed=5, lost_answer=0.5, read_error=0.5, cut_download=0.5)
    apart, mixed = Faults(plan), Faults(plan)
    creates = [apart.draw(RequestClass.CREATE) for _ in range(30)]
    queries = [apart.draw(RequestClass.QUERY) for _ in range(30)]
    pairs = [(mixed.draw(RequestClass.QUERY), mixed.draw(RequestClass.CREATE)) for _ in range(30)]
    assert pairs == list(zip(queries, creates, strict=True))
    assert {*creates} == {None, Fault.LOST_ANSWER}
    assert {*queries} == {None, Fault.SERVER_ERROR_BEFORE, Fault.RESET_BEFORE}


def test_a_script_comes_before_the_rates() -> None:
    faults = Faults(script("create", "html_200", "", "lost_answer", reset_before=1.0))
    drawn = [faults.draw(RequestClass.CREATE) for _ in range(4)]
    assert drawn == [Fault.HTML_200, None, Fault.LOST_ANSWER, Fault.RESET_BEFORE]
    assert faults.draw(RequestClass.QUERY) is None


@pytest.mark.parametrize("plan", [{"create": ["cut_download"]}, {"query": ["nonsense"]}, {"pay": [""]}])
def test_a_script_of_impossible_things_is_refused(plan: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match=r"cannot happen|is not a valid"):
        FaultPlan(script=plan)


def test_every_fault_has_a_place() -> None:
    assert frozenset().union(*POSSIBLE.values()) == frozenset(Fault)


@pytest.mark.parametrize("kind", [RequestClass.CREATE, RequestClass.QUERY, RequestClass.DOWNLOAD])
def test_every_rate_reaches_its_requests(kind: RequestClass) -> None:
    rates = {
        RequestClass.CREATE: "lost_answer reset_before server_error_before server_error_after html_200 cut_answer",
        RequestClass.QUERY: "rate_429 slow cut_answer other_answer",
        RequestClass.DOWNLOAD: "cut_download html_download range_ignored etag_changed expired_link slow",
    }
    for name in rates[kind].split():
        plan: dict[str, Any] = {name: 1.0}
        assert Faults(FaultPlan(**plan)).draw(kind) == name


def test_a_lost_answer_leaves_a_task() -> None:
    async def main() -> None:
        async with serving(faults=script("create", "lost_answer")) as client:
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await client.create("a")
            assert (await client.query("a")).code == 0
            assert client.sandbox.faults.injected == {Fault.LOST_ANSWER: 1}

    run_virtual(main)


def test_a_cut_answer_leaves_a_task_and_half_a_body() -> None:
    async def main() -> None:
        async with serving(faults=script("create", "cut_answer")) as client:
            with pytest.raises(aiohttp.ClientPayloadError):
                await client.create("a")
            assert (await client.query("a")).code == 0

    run_virtual(main)


def test_another_answer_is_about_another_task() -> None:
    async def main() -> None:
        async with serving(faults=script("create", "other_answer", "", "other_answer")) as client:
            assert (await client.create("a")).status == 500
            first = (await client.create("b")).data
            assert (await client.create("c")).data == first
            assert len(client.sandbox.world.tasks) == 3

    run_virtual(main)


def test_another_answer_may_be_that_another_task_was_not_found() -> None:
    async def main() -> None:
        async with serving(faults=script("query", "", "other_answer")) as client:
            await client.create("a")
            assert (await client.query("nobody")).code == 1201
            assert "nobody" in (await client.query("a")).json["message"]

    run_virtual(main)


def test_a_reset_before_leaves_none() -> None:
    async def main() -> None:
        async with serving(faults=script("create", "reset_before")) as client:
            with pytest.raises(aiohttp.ClientOSError) as caught:
                await client.create("a")
            assert not isinstance(caught.value, aiohttp.ServerDisconnectedError)
            assert (await client.query("a")).code == 1201
            assert len(client.sandbox.world.request_stamps) == 2

    run_virtual(main)


@pytest.mark.parametrize(("word", "found"), [("server_error_before", 1201), ("server_error_after", 0)])
def test_a_server_error_may_come_before_or_after_the_act(word: str, found: int) -> None:
    async def main() -> None:
        async with serving(faults=script("create", word)) as client:
            reply = await client.create("a")
            assert (reply.status, reply.code) == (500, 5000)
            assert (await client.query("a")).code == found

    run_virtual(main)


def test_a_page_of_html_may_hide_an_accepted_create() -> None:
    async def main() -> None:
        async with serving(faults=script("create", "html_200")) as client:
            reply = await client.create("a")
            assert (reply.status, reply.json) == (200, None)
            assert reply.headers["Content-Type"].startswith("text/html")
            assert (await client.query("a")).code == 0

    run_virtual(main)


def test_a_soft_limit_has_a_header_and_no_code() -> None:
    async def main() -> None:
        faults = FaultPlan(script={name: ["rate_429"] for name in ("create", "query", "list", "account")})
        async with serving(faults=faults) as client:
            replies = [await client.create("a"), await client.query("a"), await client.ask("GET", TEXT)]
            replies.append(await client.ask("GET", "/account/costs?start_time=1&end_time=2"))
            for reply in replies:
                assert (reply.status, reply.headers["Retry-After"], reply.json) == (429, "1", None)
            assert client.sandbox.world.tasks == []

    run_virtual(main)


def test_a_slow_answer_comes_after_the_act() -> None:
    async def main() -> None:
        async with serving(faults=script("create", "slow", slow_s=45)) as client:
            loop = asyncio.get_running_loop()
            late = asyncio.create_task(client.create("a"))
            await asyncio.sleep(1)
            assert (await client.query("a")).code == 0
            assert (await late).code == 0
            assert loop.time() == pytest.approx(45, abs=1)

    run_virtual(main)


def test_reads_meet_errors_and_resets_too() -> None:
    async def main() -> None:
        # Two resets: the client library repeats a read by itself once, and both reach the service.
        faults = FaultPlan(script={"query": ["server_error_before"], "list": ["reset_before"] * 2})
        async with serving(faults=faults) as client:
            assert (await client.query("a")).code == 5000
            with pytest.raises(aiohttp.ClientOSError):
                await client.ask("GET", TEXT)
            assert (await client.ask("GET", TEXT)).code == 0
            assert len(client.sandbox.world.request_stamps) == 4

    run_virtual(main)


async def ready(client: Client) -> str:
    await client.create("a")
    url: str = (await client.finished("a"))["task_result"]["videos"][0]["url"]
    return url


async def fill(got: bytearray, client: Client, url: str) -> None:
    async with client.session.get(url) as response:
        async for chunk in response.content.iter_any():
            got += chunk


def test_a_download_can_be_cut_in_half() -> None:
    async def main() -> None:
        async with serving(faults=script("download", "cut_download")) as client:
            url = await ready(client)
            got = bytearray()
            with pytest.raises(aiohttp.ClientPayloadError):
                await fill(got, client, url)
            whole = (await client.fetch(url)).body
            assert got == whole[: len(whole) // 2]

    run_virtual(main)


def test_a_download_can_stall_half_way() -> None:
    async def main() -> None:
        async with serving(faults=script("download", "slow", slow_s=20)) as client:
            url = await ready(client)
            began_s = asyncio.get_running_loop().time()
            slow = await client.fetch(url)
            assert asyncio.get_running_loop().time() - began_s >= 20
            assert slow.body == (await client.fetch(url)).body

    run_virtual(main)


def test_a_download_can_be_refused_or_replaced() -> None:
    async def main() -> None:
        words = ("html_download", "expired_link", "range_ignored", "etag_changed", "etag_changed", "")
        async with serving(faults=script("download", *words)) as client:
            url = await ready(client)
            page = await client.fetch(url)
            assert (page.status, page.headers["Content-Type"][:9]) == (200, "text/html")
            assert (await client.fetch(url)).status == 403
            whole = await client.fetch(url, Range="bytes=10-")
            assert (whole.status, "Content-Range" in whole.headers) == (200, False)
            tags = [(await client.fetch(url)).headers["ETag"] for _ in range(3)]
            assert len(set(tags)) == 3
            assert tags[2] == whole.headers["ETag"]

    run_virtual(main)


def test_a_changed_tag_makes_a_part_a_whole() -> None:
    async def main() -> None:
        async with serving(faults=script("download", "", "etag_changed")) as client:
            url = await ready(client)
            tag = (await client.fetch(url)).headers["ETag"]
            assert (await client.fetch(url, Range="bytes=10-", **{"If-Range": tag})).status == 200
            assert (await client.fetch(url, Range="bytes=10-", **{"If-Range": tag})).status == 206

    run_virtual(main)


def test_under_all_faults_the_books_still_hold() -> None:
    async def main() -> None:
        plan = FaultPlan(seed=1, lost_answer=0.2, reset_before=0.2, server_error_after=0.2, html_200=0.1)
        async with serving(WorldConfig(max_concurrent=500), faults=plan) as client:
            told = set()
            for number in range(100):
                try:
                    reply = await client.create(str(number))
                except aiohttp.ClientError:
                    continue
                if reply.json and reply.code == 0:
                    told.add(reply.data["task_id"])
            world, injected = client.sandbox.world, client.sandbox.faults.injected
            assert told < {task.task_id for task in world.tasks}
            assert len(world.tasks) == 100 - injected[Fault.RESET_BEFORE]
            assert len(told) == 100 - sum(injected.values())
            assert len(world.request_stamps) == 100

    run_virtual(main)


NEW = "/text-to-video/kling-3.0"


@pytest.mark.parametrize("word", ["lost_answer", "server_error_after", "html_200", "slow"])
def test_a_create_of_the_second_generation_can_be_done_and_not_told(word: str) -> None:
    async def main() -> None:
        async with serving(faults=script("create", word, slow_s=45)) as client:
            body = {"prompt": "a", "options": {"external_task_id": "mine"}}
            try:
                reply = await client.ask("POST", NEW, json=body)
            except aiohttp.ServerDisconnectedError:
                assert word == "lost_answer"
            else:
                told = {"server_error_after": (500, 5000), "html_200": (200, None), "slow": (200, 0)}
                assert (reply.status, reply.json and reply.code) == told[word]
            [task] = (await client.ask("GET", "/tasks?external_task_ids=mine")).data
            assert task["external_id"] == "mine"

    run_virtual(main)


@pytest.mark.parametrize("word", ["reset_before", "server_error_before", "rate_429"])
def test_a_create_of_the_second_generation_can_be_prevented(word: str) -> None:
    async def main() -> None:
        async with serving(faults=script("create", word)) as client:
            body = {"prompt": "a", "options": {"external_task_id": "mine"}}
            if word == "reset_before":
                with pytest.raises(aiohttp.ClientOSError):
                    await client.ask("POST", NEW, json=body)
            else:
                assert (await client.ask("POST", NEW, json=body)).status in {500, 429}
            assert client.sandbox.world.tasks == []
            assert (await client.ask("GET", "/tasks?external_task_ids=mine")).data == []

    run_virtual(main)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/tasks?task_ids=1", "query"),
        ("POST", "/tasks", "list"),
        ("GET", "/v1/images/generations", "list"),
        ("GET", "/v1/general/presets-voices", "list"),
        ("GET", "/v1/audio/text-to-audio/1", "query"),
        ("POST", "/v1/audio/tts", "create"),
        ("POST", "/v1/general/delete-voices", "create"),
        ("POST", "/account/billing/package", "account"),
    ],
)
def test_every_route_belongs_to_a_class_of_requests(method: str, path: str, name: str) -> None:
    async def main() -> None:
        async with serving(WorldConfig(rpm=2), faults=script(name, "server_error_before")) as client:
            assert (await client.ask(method, path, json={})).code == 5000
            assert client.sandbox.faults.injected == {Fault.SERVER_ERROR_BEFORE: 1}
            for _ in range(2):
                assert (await client.ask(method, path, json={})).code not in {5000, 1302}
            assert (await client.ask(method, path, json={})).code == 1302

    run_virtual(main)
