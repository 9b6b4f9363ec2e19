"""The simulated service over real sockets: envelope, shapes, statuses, keys, lists, limits."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import jwt
import pytest
from sandbox_kit import IMAGE, START_S, TEXT, Client, picture, price, serving, text_body

from batch_runner.clock import SystemClock
from batch_runner.sandbox import Sandbox, WorldConfig
from batch_runner.virtual_time import run_virtual

COSTS = "/account/costs?start_time=1&end_time=2"


def token(client: Client, offset_s: float = 0, **claims: Any) -> dict[str, str]:
    now_s = START_S + asyncio.get_running_loop().time() + offset_s
    body = {"iss": client.sandbox.access_key, "exp": int(now_s + 1800), "nbf": int(now_s - 5)} | claims
    signed = jwt.encode(body, client.sandbox.secret_key, algorithm="HS256")
    return {"Authorization": f"Bearer {signed}"}


def test_a_create_answers_the_envelope_and_a_submitted_task() -> None:
    async def main() -> None:
        async with serving() as client:
            reply = await client.create("mine")
            assert (reply.status, reply.code, reply.json["message"]) == (200, 0, "SUCCEED")
            assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", reply.json["request_id"])
            data = reply.data
            assert re.fullmatch(r"\d{18}", data.pop("task_id"))
            assert data == {
                "task_status": "submitted",
                "task_info": {"external_task_id": "mine"},
                "created_at": round(START_S * 1000),
                "updated_at": round(START_S * 1000),
            }
            assert (await client.create()).data["task_info"] == {}

    run_virtual(main)


def test_a_query_tells_a_task_from_submission_to_success() -> None:
    async def main() -> None:
        async with serving() as client:
            task_id = (await client.create("mine", mode="pro", duration="10")).data["task_id"]
            task = client.sandbox.world.tasks[0]
            waiting = (await client.query(task_id)).data
            assert waiting["task_status"] == "submitted"
            assert "final_unit_deduction" not in waiting
            assert "task_result" not in waiting
            await asyncio.sleep(task.started_at_s - START_S)
            working = (await client.query("mine")).data
            assert (working["task_status"], working["task_id"]) == ("processing", task_id)
            assert working["updated_at"] == round(task.started_at_s * 1000)
            done = await client.finished("mine")
            assert (done["task_status"], done["task_status_msg"]) == ("succeed", "")
            assert done["final_unit_deduction"] == "3.5"
            assert done["updated_at"] == round(task.ended_at_s * 1000)
            assert done["watermark_info"] == {"enabled": False}
            [video] = done["task_result"]["videos"]
            assert video["duration"] == "10.041"
            assert video["id"] != task_id
            assert video["url"].startswith(client.sandbox.base_url + "/cdn/")

    run_virtual(main)


def test_a_failed_task_says_why_and_costs_nothing() -> None:
    async def main() -> None:
        async with serving() as client:
            await client.create("mine", prompt="fox [sandbox:late-policy]")
            done = await client.finished("mine")
            assert done["task_status"] == "failed"
            assert done["task_status_msg"] == "Failure to pass the risk control system"
            assert done["final_unit_deduction"] == "0"
            assert "task_result" not in done

    run_virtual(main)


def test_an_image_task_is_made_listed_and_found_under_its_own_path() -> None:
    async def main() -> None:
        async with serving() as client:
            body = text_body("a/b c", image=picture(320, 640), model_name="kling-v2-1")
            assert (await client.ask("POST", IMAGE, json=body)).code == 0
            found = await client.ask("GET", f"{IMAGE}/a%2Fb%20c")
            assert found.data["task_info"] == {"external_task_id": "a/b c"}
            assert len((await client.ask("GET", IMAGE)).data) == 1
            assert (await client.ask("GET", TEXT)).data == []
            assert (await client.query("a%2Fb%20c")).code == 1201

    run_virtual(main)


def test_refusals_carry_code_status_and_text_and_no_data() -> None:
    async def main() -> None:
        async with serving(WorldConfig(max_concurrent=1, pack_credits=Decimal(4))) as client:
            await client.create("a")
            for reply, status, code, message in (
                (await client.create("b"), 429, 1303, "parallel task over resource pack limit"),
                (await client.create("b", mode="pro"), 429, 1102, "Account balance not enough"),
                (await client.create("a"), 400, 1201, "External_task_id a already exists"),
                (await client.create("c", duration="99"), 400, 1201, "duration value '99' is invalid"),
                (await client.query("none"), 400, 1201, "Task not found by id/external id: none"),
                (await client.ask("GET", "/account/costs"), 400, 1200, "Missing Request Parameter"),
                (await client.ask("DELETE", TEXT), 404, 1202, "Method Not Allowed"),
                (await client.ask("GET", "/v1/nothing"), 404, 1203, "Not Found"),
                (await client.ask("POST", TEXT, data=b"{"), 400, 1200, "Request body is not a JSON object"),
                (await client.ask("POST", TEXT, data=b"[]"), 400, 1200, "Request body is not a JSON object"),
            ):
                assert (reply.status, reply.code, reply.json["message"]) == (status, code, message)
                assert set(reply.json) == {"code", "message", "request_id"}
            assert client.sandbox.world.refusals[1201] == 3
            assert len(client.sandbox.world.tasks) == 1

    run_virtual(main)


def test_policy_refuses_at_once_what_it_knows() -> None:
    async def main() -> None:
        async with serving() as client:
            reply = await client.create("a", prompt="[sandbox:policy]")
            assert (reply.status, reply.code) == (400, 1301)
            assert (await client.query("a")).code == 1201

    run_virtual(main)


def test_a_big_picture_fits_in_a_request() -> None:
    async def main() -> None:
        async with serving() as client:
            # A readable image with ballast behind its end, to 9 MB.
            data = base64.b64decode(picture(400, 400)) + bytes(9 * 1024 * 1024)
            body = json.dumps(text_body(image=base64.b64encode(data).decode())).encode()
            assert (await client.ask("POST", IMAGE, data=io.BytesIO(body))).code == 0

    run_virtual(main)


def test_lists_have_pages_and_their_limits() -> None:
    async def main() -> None:
        async with serving(WorldConfig(max_concurrent=99)) as client:
            for number in range(35):
                await client.create(str(number))
            usual = (await client.ask("GET", TEXT)).data
            assert [row["task_info"]["external_task_id"] for row in usual[:2]] == ["34", "33"]
            assert len(usual) == 30
            assert len((await client.ask("GET", f"{TEXT}?pageNum=2")).data) == 5
            assert len((await client.ask("GET", f"{TEXT}?pageNum=1&pageSize=500")).data) == 35
            assert (await client.ask("GET", f"{TEXT}?pageNum=1000")).data == []
            for wrong in ("pageNum=0", "pageNum=1001", "pageSize=501", "pageSize=x", "pageSize=-1"):
                reply = await client.ask("GET", f"{TEXT}?{wrong}")
                name, value = wrong.split("=")
                assert (reply.status, reply.code) == (400, 1201)
                assert reply.json["message"] == f"{name} value '{value}' is invalid"

    run_virtual(main)


def test_a_list_row_equals_the_query() -> None:
    async def main() -> None:
        async with serving() as client:
            await client.create("a", watermark_info={"enabled": True})
            done = await client.finished("a")
            assert done["watermark_info"] == {"enabled": True}
            assert (await client.ask("GET", TEXT)).data == [done]

    run_virtual(main)


def test_a_token_or_the_api_key_opens() -> None:
    async def main() -> None:
        async with serving() as client:
            assert (await client.ask("GET", TEXT)).code == 0
            assert (await client.ask("GET", TEXT, headers=token(client))).code == 0
            # A token without a lower bound is a legal one.
            bare = {"iss": client.sandbox.access_key, "exp": int(START_S + 100)}
            signed = jwt.encode(bare, client.sandbox.secret_key, algorithm="HS256")
            assert (await client.ask("GET", TEXT, headers={"Authorization": f"Bearer {signed}"})).code == 0

    run_virtual(main)


def test_bad_keys_are_refused_by_their_kind() -> None:
    async def main() -> None:
        async with serving() as client:
            parts = "The token was expected to have 3 parts, but got "
            other = jwt.encode({"iss": "x", "exp": 2e9}, "another secret of thirty-two bytes!!", "HS256")
            long = jwt.encode({"iss": client.sandbox.access_key, "exp": 2e9}, client.sandbox.secret_key * 2, "HS512")
            for headers, code, message in (
                ({}, 1001, "Authorization is empty"),
                ({"Authorization": "Bearer nonsense"}, 1002, parts + "0"),
                ({"Authorization": "Bearer a.b"}, 1002, parts + "2"),
                ({"Authorization": "Bearer a.b.c.d"}, 1002, parts + "> 3"),
                ({"Authorization": "Bearer a.b.c"}, 1002, "Authorization is invalid"),
                ({"Authorization": f"Bearer  {client.sandbox.api_key}"}, 1002, parts + "0"),
                ({"Authorization": client.sandbox.api_key}, 1002, "Authorization is invalid"),
                ({"Authorization": f"Bearer {other}"}, 1002, "Authorization is invalid"),
                ({"Authorization": f"Bearer {long}"}, 1002, "Authorization is invalid"),
                (token(client, iss="somebody"), 1002, "Authorization is invalid"),
                (token(client, exp="soon"), 1002, "Authorization is invalid"),
                (token(client, offset_s=6), 1003, "Authorization is not yet valid"),
                (token(client, offset_s=-1800), 1004, "Authorization has expired"),
            ):
                reply = await client.ask("GET", TEXT, headers=headers)
                assert (reply.status, reply.code, reply.json["message"]) == (401, code, message)

    run_virtual(main)


def test_the_services_clock_judges_tokens_and_tells_the_date() -> None:
    async def main() -> None:
        async with serving(clock_skew_s=-60) as client:
            early = await client.ask("GET", TEXT, headers=token(client))
            assert early.code == 1003
            told_s = parsedate_to_datetime(early.headers["Date"]).timestamp()
            assert told_s == START_S - 60
            assert (await client.ask("GET", TEXT, headers=token(client, offset_s=-60))).code == 0
            assert (await client.create("a")).data["created_at"] == round((START_S - 60) * 1000)
        async with serving(clock_skew_s=1900) as client:
            assert (await client.ask("GET", TEXT, headers=token(client))).code == 1004
        async with serving(clock_skew_s=-60, leeway_s=60) as client:
            assert (await client.ask("GET", TEXT, headers=token(client))).code == 0

    run_virtual(main)


def test_requests_over_the_rate_are_refused_whatever_they_ask() -> None:
    async def main() -> None:
        async with serving(WorldConfig(rpm=4)) as client:
            await client.create("a")
            await client.query("a")
            await client.ask("GET", TEXT)
            await client.ask("GET", COSTS)
            for reply in (await client.create("b"), await client.query("a"), await client.ask("GET", COSTS)):
                assert (reply.status, reply.code) == (429, 1302)
            assert client.sandbox.world.refusals[1302] == 3
            assert client.sandbox.world.most_requests_in_window() == 7
            await asyncio.sleep(60)
            assert (await client.query("a")).code == 0

    run_virtual(main)


def test_the_account_page_has_an_envelope_of_its_own() -> None:
    async def main() -> None:
        async with serving(WorldConfig(pack_credits=Decimal("100.5"), max_concurrent=7)) as client:
            await client.create("a", mode="pro")
            await client.finished("a")
            outer = await client.ask("GET", COSTS)
            assert (outer.code, outer.data["code"]) == (0, 0)
            pack, *others = json.loads(outer.body, parse_float=Decimal)["data"]["resource_pack_subscribe_infos"]
            assert [other["remaining_quantity"] for other in others] == [Decimal("100.5")] * 2
            assert pack["resource_pack_name"] == "Sandbox-Video-100.5Units-7Con-1Months"
            assert (pack["total_quantity"], pack["remaining_quantity"]) == (Decimal("100.5"), 97)
            assert (pack["status"], pack["resource_pack_type"]) == ("online", "decreasing_total")
            assert pack["effective_time"] == round(START_S * 1000) < pack["invalid_time"]
            none = await client.ask("GET", f"{COSTS}&resource_pack_name=other")
            assert none.data["resource_pack_subscribe_infos"] == []

    run_virtual(main)


def test_an_empty_pack_has_run_out() -> None:
    async def main() -> None:
        async with serving(WorldConfig(pack_credits=Decimal(1))) as client:
            await client.create("a")
            await client.finished("a")
            packs = (await client.ask("GET", COSTS)).data["resource_pack_subscribe_infos"]
            told = [(pack["remaining_quantity"], pack["status"]) for pack in packs]
            assert told == [(0, "runOut"), (1, "online"), (1, "online")]

    run_virtual(main)


def test_a_hidden_task_appears_later() -> None:
    async def main() -> None:
        async with serving(WorldConfig(visible_after_s=4)) as client:
            await client.create("a")
            assert (await client.query("a")).code == 1201
            await asyncio.sleep(4)
            assert (await client.query("a")).code == 0

    run_virtual(main)


def test_it_serves_in_real_time_too_and_stops_quickly() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        clock = SystemClock()
        async with (
            aiohttp.ClientSession() as session,
            Sandbox(WorldConfig(speed=100_000), clock=clock, price=price) as sandbox,
        ):
            client = Client(sandbox, session)
            await client.create("a")
            url = (await client.finished("a", 0.01))["task_result"]["videos"][0]["url"]
            assert (await client.fetch(url)).status == 200
            left_at_s = loop.time()
        # The session still holds its connection open: leaving does not wait for it.
        assert loop.time() - left_at_s < 1

    asyncio.run(main())


def test_a_taken_port_is_told_and_nothing_is_left_open() -> None:
    async def main() -> None:
        async with serving() as client:
            port = int(client.sandbox.base_url.rpartition(":")[2])
            second = Sandbox(WorldConfig(), clock=SystemClock(), price=price, port=port)
            with pytest.raises(OSError, match="in use"):
                await second.__aenter__()

    run_virtual(main)
