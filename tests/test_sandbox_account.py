"""Packs, slots, prices and the account's pages on the simulated service."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from products_kit import SIMPLE, ask, make, refusal
from sandbox_kit import START_S, Client, price, serving, text_body

from batch_runner.model import Pack
from batch_runner.sandbox import PackConfig, SandboxTask, World, WorldConfig
from batch_runner.sandbox.codes import Denied
from batch_runner.sandbox.products import PRODUCTS
from batch_runner.virtual_time import run_virtual

DAY_S = 86_400
COSTS = "/account/costs?start_time=1&end_time=2"
PACKAGE, BALANCE = "/account/billing/package", "/account/billing/balance"


def video_pack(credits_held: str, slots: int = 5, **when: Any) -> PackConfig:
    return PackConfig(Pack.VIDEO, Decimal(credits_held), slots, **when)


def image_pack(credits_held: str, slots: int = 9, **when: Any) -> PackConfig:
    return PackConfig(Pack.IMAGE, Decimal(credits_held), slots, **when)


async def packs(client: Client) -> list[Any]:
    reply = await client.ask("GET", COSTS)
    infos = json.loads(reply.body, parse_float=Decimal)["data"]["resource_pack_subscribe_infos"]
    assert isinstance(infos, list)
    return infos


def test_every_currency_has_a_pack_whose_name_carries_its_slots() -> None:
    async def main() -> None:
        config = WorldConfig(pack_credits=Decimal(100), max_concurrent=5, slots={Pack.IMAGE: 9})
        async with serving(config) as client:
            assert [pack["resource_pack_name"] for pack in await packs(client)] == [
                "Sandbox-Video-100Units-5Con-1Months",
                "Sandbox-Image-100Units-9Con-1Months",
                "Sandbox-TryOn-100Units-5Con-1Months",
            ]
            only = await client.ask("GET", f"{COSTS}&resource_pack_name=Sandbox-Image-100Units-9Con-1Months")
            assert len(only.data["resource_pack_subscribe_infos"]) == 1

    run_virtual(main)


@pytest.mark.parametrize("query", ["", "?startTime=1&endTime=2", "?start_time=1", "?start_time=soon&end_time=2"])
def test_costs_need_both_times_in_their_own_spelling(query: str) -> None:
    async def main() -> None:
        async with serving() as client:
            reply = await client.ask("GET", f"/account/costs{query}")
            assert (reply.status, reply.code, reply.json["message"]) == (400, 1200, "Missing Request Parameter")

    run_virtual(main)


def test_running_out_concerns_one_currency() -> None:
    async def main() -> None:
        async with serving(WorldConfig(packs=(video_pack("100"), image_pack("1")))) as client:
            await make(client, "images", SIMPLE["images"])
            assert await refusal(client, "images", SIMPLE["images"]) == (1102, "Account balance not enough")
            assert (await client.create("a")).code == 0
            assert [pack["status"] for pack in await packs(client)] == ["online", "runOut"]
            # Who has no pack of a currency at all cannot pay with it either, whatever it costs.
            assert await refusal(client, "virtual-try-on", SIMPLE["virtual-try-on"]) == (
                1102,
                "Account balance not enough",
            )

    run_virtual(main)


def test_the_slots_of_a_currency_are_those_of_its_largest_pack_not_their_sum() -> None:
    world = World(WorldConfig(packs=(video_pack("9", 2), video_pack("9", 3))), price)
    outcomes = [world.create("text2video", text_body(str(number)), START_S) for number in range(4)]
    assert [isinstance(outcome, SandboxTask) for outcome in outcomes] == [True, True, True, False]


def test_a_pack_begins_and_lapses_by_time_with_what_is_left() -> None:
    async def main() -> None:
        first = video_pack("100", 2, valid_s=10 * DAY_S, name="Trial-Video-100Units-2Con-1Months")
        later = video_pack("50", 7, bought_at_s=START_S + 20 * DAY_S, valid_s=10 * DAY_S)
        async with serving(WorldConfig(packs=(first, later))) as client:
            assert [pack["status"] for pack in await packs(client)] == ["online", "toBeOnline"]
            for name in ("a", "b"):
                assert (await client.create(name)).code == 0
            assert (await client.create("c")).code == 1303
            await asyncio.sleep(10 * DAY_S)
            [expired, waiting] = await packs(client)
            assert (expired["status"], expired["remaining_quantity"]) == ("expired", 98)
            assert expired["invalid_time"] == round((START_S + 10 * DAY_S) * 1000)
            assert (await client.create("d")).code == 1102
            await asyncio.sleep(10 * DAY_S)
            assert (await packs(client))[1]["status"] == "online"
            for number in range(7):
                assert (await client.create(f"e{number}")).code == 0
            assert (await client.create("f")).code == 1303
            await asyncio.sleep(10 * DAY_S)
            assert [pack["status"] for pack in await packs(client)] == ["expired", "expired"]
            assert waiting["remaining_quantity"] == 50

    run_virtual(main)


def test_the_pack_that_lapses_first_pays_first_and_a_price_may_be_split() -> None:
    async def main() -> None:
        long, short = video_pack("9", valid_s=90 * DAY_S, name="long"), video_pack("3", valid_s=DAY_S, name="short")
        async with serving(WorldConfig(packs=(long, short))) as client:
            task_id = (await client.create("a", mode="pro")).data["task_id"]
            assert [pack["remaining_quantity"] for pack in await packs(client)] == [9, 3]
            await client.finished("a")
            assert [pack["remaining_quantity"] for pack in await packs(client)] == [Decimal("8.5"), 0]
            rows = await deducted(client)
            assert [(row["task_id"], row["package_name"], row["deduction_amount"]) for row in rows] == [
                (task_id, "short", 3),
                (task_id, "long", 0.5),
            ]

    run_virtual(main)


async def ask_statement(client: Client, path: str = PACKAGE, **body: Any) -> Any:
    times = {} if "cursor" in body else {"start_time": 1, "end_time": round((START_S + 99 * DAY_S) * 1000)}
    reply = await client.ask("POST", path, json={**times, **body})
    assert reply.code == 0, reply.json
    return reply.data


async def deducted(client: Client, **body: Any) -> list[Any]:
    detail = (await ask_statement(client, **body))["result"]["detail"]
    assert isinstance(detail, list)
    return detail


def test_deductions_tell_each_task_that_was_paid_for() -> None:
    async def main() -> None:
        async with serving(WorldConfig(pack_credits=Decimal(10))) as client:
            loud = {"model_name": "kling-v2-6", "mode": "pro", "sound": "on", "duration": "10"}
            done = await make(client, "text2video", {"prompt": "a", **loud})
            assert await deducted(client) != []
            await client.create("bad", prompt="[sandbox:fail]")
            await client.create("open", prompt="[sandbox:stuck]")
            await make(client, "images", SIMPLE["images"])
            await ask(client, "tts", {"text": "a", "voice_id": "uk_boy1"})
            rows = await deducted(client)
            assert [row["product_function"] for row in rows] == ["text2video", "images", "tts"]
            pack = client.sandbox.world.packs(client.sandbox.now_s())[0]
            assert rows[0] == {
                "task_id": done["task_id"],
                "api_key_name": "sandbox",
                "product_type": "video",
                "product_function": "text2video",
                "model_name": "kling-v2-6",
                "resolution": "1080p",
                "duration": "10.04",
                "refer_video_input": False,
                "video_sound": True,
                "voice_control": False,
                "package_name": pack.name,
                "package_id": pack.pack_id,
                "deduction_time": done["updated_at"],
                "unit_before_deduction": 10,
                "deduction_amount": 3.5,
                "unit_after_deduction": 6.5,
            }
            assert await deducted(client, filters=[{"key": "product_type", "values": ["image"]}]) == rows[1:2]
            for key, value in (("package_name", pack.name), ("package_id", pack.pack_id)):
                assert await deducted(client, filters=[{"key": key, "values": [value]}]) == [rows[0], rows[2]]
            assert await deducted(client, filters=[{"key": "api_key_name", "values": ["other"]}]) == []
            assert await deducted(client, end_time=1) == []
            balance = await ask_statement(client, BALANCE)
            assert (balance["result"]["detail"], balance["has_more"]) == ([], False)

    run_virtual(main)


def test_deductions_come_in_pages_that_later_ones_do_not_shift() -> None:
    async def main() -> None:
        async with serving(WorldConfig(max_concurrent=99)) as client:
            for number in range(5):
                await client.create(str(number))
            await asyncio.sleep(7200)
            first = await ask_statement(client, limit=2)
            await ask(client, "tts", {"text": "a", "voice_id": "uk_boy1"})
            second = await ask_statement(client, limit=2, cursor=first["next_cursor"])
            third = await ask_statement(client, limit=2, cursor=second["next_cursor"])
            told = [row["task_id"] for page in (first, second, third) for row in page["result"]["detail"]]
            assert len(told) == len(set(told)) == 6
            assert set(told) == {task.task_id for task in client.sandbox.world.tasks}
            assert (first["has_more"], third["has_more"], third["next_cursor"]) == (True, False, "")

    run_virtual(main)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 1200),
        ({"start_time": 1}, 1200),
        ({"start_time": "x", "end_time": 2}, 1201),
        ({"start_time": 1, "end_time": [2]}, 1201),
        ({"start_time": 1, "end_time": 2, "limit": 501}, 1201),
        ({"start_time": 1, "end_time": 2, "filters": [{"key": "colour", "values": []}]}, 1201),
        ({"start_time": 1, "end_time": 2, "filters": "colour"}, 1201),
        (
            {
                "start_time": 1,
                "end_time": 2,
                "filters": [{"key": "package_id", "values": ["1"]}, {"key": "package_name", "values": ["a"]}],
            },
            1201,
        ),
        ({"cursor": "nonsense"}, 1201),
        ({"cursor": "WzEsMix7ImEiOjF9LDBd"}, 1201),
        ({"cursor": "WzFd"}, 1201),
    ],
)
def test_a_question_for_deductions_that_cannot_be_is_refused(body: dict[str, Any], code: int) -> None:
    async def main() -> None:
        async with serving() as client:
            for path in (PACKAGE, BALANCE):
                reply = await client.ask("POST", path, json=body)
                assert (reply.status, reply.code) == (400, code)

    run_virtual(main)


def test_failed_tasks_are_charged_only_on_order() -> None:
    usual, strict = World(WorldConfig(), price), World(WorldConfig(charged_failures=1.0), price)
    for world in (usual, strict):
        world.create("text2video", text_body("a", "[sandbox:fail]"), START_S)
    ended_at_s = usual.tasks[0].ended_at_s
    assert usual.charged_total(ended_at_s) == 0
    assert strict.charged_total(ended_at_s) == 1
    assert strict.charged_total(ended_at_s - 1) == 0
    assert len(strict.deductions(ended_at_s)) == 1
    shared = World(WorldConfig(charged_failures=0.3, failure_rate=1.0, max_concurrent=1000), price)
    for number in range(1000):
        shared.create("text2video", text_body(str(number)), START_S)
    assert 250 < shared.charged_total() < 350
    # Nothing else about a task depends on it.
    plain = World(WorldConfig(failure_rate=1.0), price).create("text2video", text_body("7"), START_S)
    assert isinstance(plain, SandboxTask)
    assert plain.ended_at_s == shared.tasks[7].ended_at_s


def test_a_charged_failure_says_so_in_both_forms() -> None:
    async def main() -> None:
        async with serving(WorldConfig(charged_failures=1.0)) as client:
            await client.create("a", prompt="[sandbox:fail]", mode="pro")
            done = await client.finished("a")
            assert (done["task_status"], done["final_unit_deduction"]) == ("failed", "3.5")
            [told] = (await client.ask("GET", "/tasks?external_task_ids=a")).data
            assert told["billing"] == [{"charge_type": "unit", "amount": "3.5", "package_type": "video"}]

    run_virtual(main)


def median(kind: str, length_s: float = 0, model: str = "", mode: str = "std") -> float:
    return PRODUCTS[kind].median_s(model, length_s, mode)


def test_products_take_as_long_as_was_reported() -> None:
    assert [median(kind) for kind in ("images", "virtual-try-on", "elements", "voices")] == [32, 19, 5, 9]
    assert [median(kind) for kind in ("lip-sync", "video-extend", "effects")] == [455, 320, 320]
    assert median("avatar", 10) >= 600
    assert 180 <= median("omni-video", 15, "kling-v3-omni", "pro") <= 300
    world = World(WorldConfig(max_concurrent=2000), price)
    tasks = [world.create("virtual-try-on", SIMPLE["virtual-try-on"], START_S) for _ in range(501)]
    lengths = sorted(task.ended_at_s - START_S for task in tasks if isinstance(task, SandboxTask))
    assert lengths[250] == pytest.approx(19, rel=0.1)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["text2video", "images", "virtual-try-on", "tts"]), st.integers(1, 9), st.floats(0, 300)
        ),
        max_size=40,
    ),
    held=st.lists(st.integers(1, 9), min_size=2, max_size=4),
)
def test_the_packs_always_balance(steps: list[tuple[str, int, float]], held: list[int]) -> None:
    config = WorldConfig(
        packs=tuple(PackConfig(pack, Decimal(number), number + 1) for pack in Pack for number in held),
        failure_rate=0.3,
        charged_failures=0.5,
    )
    account, now_s = World(config, price), START_S
    for kind, count, pause_s in steps:
        body = {**({"text": "a", "voice_id": "uk_boy1"} if kind == "tts" else SIMPLE[kind]), "n": count}
        outcome = account.create(kind, body, now_s)
        states = account.packs(now_s)
        for pack in Pack:
            slots = sum(task.slots for task in account.tasks if task.pack is pack and now_s < task.ended_at_s)
            assert slots <= max(held) + 1
            own = [state for state in states if state.pack is pack]
            charged = sum(task.charged_at(now_s) for task in account.tasks if task.pack is pack)
            open_credits = sum(task.credits for task in account.tasks if task.pack is pack and now_s < task.ended_at_s)
            left = sum(state.remaining_credits for state in own)
            assert left == sum(held) - charged
            assert left >= open_credits
            assert all(state.remaining_credits >= 0 for state in own)
        assert isinstance(outcome, SandboxTask | Denied)
        now_s += pause_s
    told = sum(row.credits for row in account.deductions(now_s))
    assert told == account.charged_total(now_s)
