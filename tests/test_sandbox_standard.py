"""The second API generation on the simulated service: creates, the view of all tasks, and keys."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import jwt
import pytest
from products_kit import CLIP, LINK, PRESET_ELEMENT, PRESET_VOICE, SIMPLE, ask, make, play
from sandbox_kit import START_S, TEXT, Client, Reply, price, serving

from batch_runner.model import Generation
from batch_runner.sandbox import SandboxTask, World, WorldConfig
from batch_runner.sandbox.codes import ONLY_FIVE_OR_TEN, Denied
from batch_runner.sandbox.products import standard
from batch_runner.virtual_time import run_virtual

DAY_S = 86_400
CHARACTER = 820000000000003


def prompt(text: str = "a fox") -> dict[str, Any]:
    return {"type": "prompt", "text": text}


def picture_of(kind: str = "first_frame") -> dict[str, Any]:
    return {"type": kind, "url": LINK}


def video_of(kind: str, length_s: float = 5) -> dict[str, Any]:
    return {"type": kind, "url": f"{CLIP}?sandbox-seconds={length_s}"}


def element(element_id: int = PRESET_ELEMENT) -> dict[str, Any]:
    return {"type": "element", "element_id": element_id, "id": "e"}


TURBO, T30, I30 = "/text-to-video/kling-3.0-turbo", "/text-to-video/kling-3.0", "/image-to-video/kling-3.0"
T26, I26, T25 = "/text-to-video/kling-2.6", "/image-to-video/kling-2.6", "/text-to-video/kling-2.5-turbo"
OMNI, O1 = "/omni-video/kling-3.0-omni", "/omni-video/kling-o1"
M30, M26 = "/motion-control/kling-3.0", "/motion-control/kling-2.6"
FIRST, LAST, REFERENCE = picture_of("first_frame"), picture_of("last_frame"), picture_of("refer_image")
FEATURE, BASE = video_of("feature_video"), video_of("base_video")
VOICE = {"type": "voice", "voice_id": PRESET_VOICE}
BY_IMAGE, BY_VIDEO = {"character_orientation": "image"}, {"character_orientation": "video"}
LOUD_HD = {"audio": "native", "resolution": "1080p"}

MOTION: dict[str, Any] = {
    "contents": [prompt(), picture_of("image"), video_of("video")],
    "settings": BY_IMAGE,
}
FRAME = {"contents": [prompt(), picture_of()]}
GOOD: Mapping[str, dict[str, Any]] = {
    TURBO: {"prompt": "a fox"},
    "/image-to-video/kling-3.0-turbo": FRAME,
    T30: {"prompt": "a fox", "settings": {"audio": "native", "resolution": "4k"}},
    I30: {"contents": [*FRAME["contents"], picture_of("last_frame"), element()]},
    OMNI: {
        "contents": [prompt(), picture_of("refer_image")],
        "settings": {"aspect_ratio": "1:1"},
    },
    O1: {"contents": [prompt(), picture_of()], "settings": {"duration": 10}},
    M30: MOTION,
    M26: MOTION,
    T26: {"prompt": "a fox", "settings": {"audio": "native", "resolution": "1080p"}},
    I26: FRAME,
    T25: {"prompt": "a fox"},
    "/image-to-video/kling-2.5-turbo": FRAME,
}


async def create(client: Client, path: str, body: Mapping[str, Any], name: str | None = None) -> Reply:
    options = {**body.get("options", {}), **({} if name is None else {"external_task_id": name})}
    return await client.ask("POST", path, json={**body, "options": options})


async def named(client: Client, *task_ids: str) -> Any:
    return (await client.ask("GET", f"/tasks?task_ids={','.join(task_ids)}")).data


async def ended(client: Client, task_id: str) -> Any:
    while True:
        [task] = await named(client, task_id)
        if task["status"] in {"succeeded", "failed"}:
            return task
        await asyncio.sleep(20)


def said(path: str, body: Mapping[str, Any]) -> str:
    product = standard.find(*path[1:].split("/"))
    assert not isinstance(product, Denied)
    outcome = World(WorldConfig(), price).prepare_for(product, body, START_S)
    return outcome.message if isinstance(outcome, Denied) else "accepted"


def test_every_route_of_the_reference_has_a_good_request() -> None:
    assert {product.path for product in standard.STANDARD.values()} == set(GOOD)


@pytest.mark.parametrize("path", GOOD)
def test_a_task_of_every_route_is_made_told_and_played(path: str) -> None:
    async def main() -> None:
        async with serving() as client:
            reply = await create(client, path, GOOD[path], "mine")
            assert (reply.status, reply.code) == (200, 0), reply.json
            now_ms = round(START_S * 1000)
            task_id = reply.data["id"]
            times = {"create_time": now_ms, "update_time": now_ms}
            assert reply.data == {"id": task_id, "status": "submitted", "external_id": "mine", **times}
            waiting = (await named(client, task_id))[0]
            assert (waiting["outputs"], waiting["billing"], waiting["message"]) == ([], [], "")
            done = await ended(client, task_id)
            assert (done["status"], done["external_id"]) == ("succeeded", "mine")
            assert done["billing"] == [{"charge_type": "unit", "amount": "1", "package_type": "video"}]
            [video] = done["outputs"]
            assert set(video) == {"type", "id", "url", "duration"}
            played = play((await client.fetch(video["url"])).body)
            asked_s = GOOD[path].get("settings", {}).get("duration", 5)
            assert (played.length_s, video["duration"]) == (asked_s, f"{asked_s}.041")
            loud = ("turbo" in path and "3.0" in path) or "motion" in path or "native" in str(GOOD[path])
            assert (played.samples > 0) is loud

    run_virtual(main)


def test_the_body_is_handed_to_the_price_in_the_form_of_the_first_generation() -> None:
    seen: list[Any] = []

    def noted(kind: str, body: Mapping[str, Any], lengths: Mapping[str, Decimal], _: Mapping[str, str]) -> Decimal:
        seen.append((kind, body, lengths))
        return Decimal("2.4")

    async def main() -> None:
        async with serving(price_of=noted) as client:
            settings = {"resolution": "1080p", "duration": 3, "aspect_ratio": "9:16"}
            await create(client, TURBO, {"prompt": "a", "settings": settings})
            flat = {"model_name": "kling-3.0-turbo", "resolution": "1080p", "duration": "3", "aspect_ratio": "9:16"}
            assert seen[-1] == ("text2video", {**flat, "prompt": "a"}, {})
            await create(client, M30, MOTION)
            kind, body, lengths = seen[-1]
            assert (kind, body["image_url"], body["character_orientation"]) == ("motion-control", LINK, "image")
            assert lengths == {"video_url": Decimal("5.000")}
            contents = [prompt(), picture_of("refer_image"), video_of("feature_video", 4.2), element()]
            omni = {"contents": contents, "settings": {"multi_shot": True}}
            assert (await create(client, "/omni-video/kling-v3-omni", omni)).code == 0
            kind, body, lengths = seen[-1]
            assert (kind, body["model_name"], body["multi_shot"]) == ("omni-video", "kling-3.0-omni", True)
            assert body["image_list"] == [{"image_url": LINK}]
            assert body["video_list"] == [{"video_url": contents[2]["url"], "refer_type": "feature"}]
            assert body["element_list"] == [{"element_id": PRESET_ELEMENT}]
            assert lengths == {"video_list[].video_url": Decimal("4.200")}
            assert (await ended(client, client.sandbox.world.tasks[0].task_id))["billing"][0]["amount"] == "2.4"

    run_virtual(main)


def test_an_edited_video_keeps_its_length_and_a_picture_its_shape() -> None:
    async def main() -> None:
        async with serving() as client:
            first = await create(client, T30, {"prompt": "a", "settings": {"aspect_ratio": "9:16"}})
            url = (await ended(client, first.data["id"]))["outputs"][0]["url"]
            edit = {"contents": [prompt(), {"type": "base_video", "url": url}], "settings": {"audio": "original"}}
            done = await ended(client, (await create(client, O1, edit)).data["id"])
            played = play((await client.fetch(done["outputs"][0]["url"])).body)
            assert (played.size, played.length_s, played.samples > 0) == ((144, 256), 5, True)

    run_virtual(main)


def test_turbo_is_as_quick_as_reported() -> None:
    product = standard.STANDARD["text-to-video", "kling-3.0-turbo"]
    assert product.median_s("", 3, "std") == 28
    assert standard.STANDARD["omni-video", "kling-3.0-omni"].median_s("", 3, "std") == 83


@pytest.mark.parametrize(
    ("path", "change", "text"),
    [
        (TURBO, {"settings": {"resolution": "4k"}}, "video resolution value '4k' is invalid"),
        (TURBO, {"settings": {"duration": 99}}, "duration value '99' is invalid"),
        (TURBO, {"settings": {"duration": "5"}}, "duration value '5' is invalid"),
        (TURBO, {"settings": {"duration": True}}, "duration value 'true' is invalid"),
        (TURBO, {"settings": {"audio": "loud"}}, "audio value 'loud' is invalid"),
        (TURBO, {"settings": {"aspect_ratio": "4:3"}}, "aspect_ratio value '4:3' is invalid"),
        (TURBO, {"settings": "720p"}, "settings value '720p' is invalid"),
        (TURBO, {"prompt": ""}, "prompt cannot be empty"),
        (TURBO, {"prompt": "x" * 3073}, f"prompt value '{'x' * 40}' is invalid"),
        (T30, {"settings": {"audio": "original"}}, "audio value 'original' is invalid"),
        (T30, {"settings": {"multi_shot": "maybe"}}, "multi_shot value 'maybe' is invalid"),
        (T26, {"settings": {"audio": "native"}}, "audio value 'native' is invalid"),
        (T26, {"settings": {"duration": 7}}, "duration value '7' is invalid"),
        (T26, {"prompt": "x" * 2501}, f"prompt value '{'x' * 40}' is invalid"),
        (T25, {"settings": {"audio": 1}}, "audio value '1' is invalid"),
        (I30, {"contents": []}, "contents cannot be empty"),
        (I30, {"contents": "x"}, "contents value 'x' is invalid"),
        (I30, {"contents": [prompt()]}, "first_frame cannot be empty"),
        (I30, {"contents": [REFERENCE]}, "contents type value 'refer_image' is invalid"),
        (I30, {"contents": [FIRST, FIRST]}, "contents value 'more than one first_frame' is invalid"),
        (I30, {"contents": [{"type": "first_frame"}]}, "url cannot be empty"),
        (I30, {"contents": [FIRST, *[element()] * 4]}, None),
        (I30, {"contents": [FIRST, element(5)]}, "Element not found by id: 5"),
        (I30, {"contents": [FIRST, {"type": "element"}]}, "element_id cannot be empty"),
        (I26, {"contents": [FIRST, LAST]}, "last_frame value 'below 1080p' is invalid"),
        (I26, {"contents": [FIRST, VOICE]}, "voice value 'with audio off' is invalid"),
        (O1, {"settings": {"duration": 7}}, ONLY_FIVE_OR_TEN.message),
        (O1, {"settings": {"audio": "native"}}, "audio value 'native' is invalid"),
        (O1, {"contents": [prompt(), FIRST, element(CHARACTER)]}, "element_id value 'of a video' is invalid"),
        (O1, {"contents": [FIRST, LAST, element()]}, "contents value 'last_frame beside other references' is invalid"),
        (O1, {"contents": [FIRST, LAST, REFERENCE]}, "contents value 'last_frame beside other references' is invalid"),
        (OMNI, {"settings": {}}, "aspect_ratio cannot be empty"),
        (OMNI, {"contents": [prompt(), LAST]}, "contents value 'last_frame without first_frame' is invalid"),
        (OMNI, {"contents": [FEATURE] * 2}, "contents value '2 videos' is invalid"),
        (OMNI, {"contents": [BASE, FIRST]}, "contents value 'frames with base_video' is invalid"),
        (OMNI, {"contents": [video_of("base_video", 16)]}, "video_url value 'duration 16' is invalid"),
        (OMNI, {"contents": [FEATURE], "settings": {"audio": "native"}}, "audio value 'native' is invalid"),
        (OMNI, {"contents": [BASE], "settings": {"multi_shot": True}}, "multi_shot value 'true' is invalid"),
        (OMNI, {"contents": [REFERENCE] * 8}, None),
        (OMNI, {"contents": [element(), element(CHARACTER), *[REFERENCE] * 3]}, None),
        (OMNI, {"contents": [FEATURE, element(CHARACTER), REFERENCE]}, None),
        (OMNI, {"contents": [FIRST, *[element()] * 4]}, None),
        (M30, {"settings": {}}, "character_orientation cannot be empty"),
        (M30, {"contents": [picture_of("image")]}, "video_url cannot be empty"),
        (M30, {"contents": [picture_of("image"), video_of("video", 11)]}, "video_url value 'duration 11' is invalid"),
        (M26, {"contents": [*MOTION["contents"], element()]}, "contents type value 'element' is invalid"),
        (M30, {"settings": {**BY_IMAGE, "resolution": "4k"}}, "video resolution value '4k' is invalid"),
    ],
)  # fmt: skip
def test_what_a_route_does_not_take_is_named(path: str, change: dict[str, Any], text: str | None) -> None:
    told = said(path, {**GOOD[path], **({"settings": {}} if "settings" in change else {}), **change})
    assert told != "accepted"
    assert text in {None, told}


def test_wrongs_are_told_in_the_recorded_order() -> None:
    wrong = {"aspect_ratio": "4:3", "resolution": "8k", "audio": "loud", "duration": 99}
    texts = []
    for fixed in ("aspect_ratio", "resolution", "audio"):
        texts.append(said(T30, {"settings": wrong}))
        wrong = {name: value for name, value in wrong.items() if name != fixed}
    texts.append(said(T30, {"settings": wrong}))
    texts.append(said(T30, {"settings": wrong, "prompt": "a"}))
    assert [text.split(" value")[0] for text in texts] == [
        "aspect_ratio",
        "video resolution",
        "audio",
        "prompt cannot be empty",
        "duration",
    ]
    long = {"contents": [prompt("x" * 2501), FIRST], "settings": {"duration": 99}}
    assert said(I30, long) == "duration value '99' is invalid"


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (TURBO, {"mode": "pro", "settings": {"sound": "on"}, "colour": "blue"}),
        (I30, {"settings": {"multi_shot": False, "duration": 15}}),
        (I26, {"contents": [FIRST, LAST], "settings": {"resolution": "1080p"}}),
        (I26, {"contents": [FIRST, VOICE], "settings": LOUD_HD}),
        (O1, {"contents": [REFERENCE], "settings": {"duration": 7, "aspect_ratio": "1:1"}}),
        (OMNI, {"contents": [FIRST, LAST], "settings": {}}),
        (OMNI, {"contents": [prompt(), video_of("base_video", 15.5)], "settings": {}}),
        (M30, {"contents": [picture_of("image"), video_of("video", 29), element()], "settings": BY_VIDEO}),
    ],
)  # fmt: skip
def test_what_a_route_takes_is_accepted(path: str, change: dict[str, Any]) -> None:
    assert said(path, {**GOOD[path], **change}) == "accepted"


def test_a_model_of_another_family_and_an_unknown_one_are_told_apart() -> None:
    async def main() -> None:
        async with serving() as client:
            for path, status, code, text in (
                ("/text-to-video/kling-9", 404, 1203, "kling-9 is not supported for this API"),
                ("/text-to-video/kling-o1", 400, 1201, "model is not supported"),
                ("/omni-video/kling-v3", 400, 1201, "model is not supported"),
            ):
                reply = await create(client, path, GOOD[T30])
                assert (reply.status, reply.code, reply.json["message"]) == (status, code, text)

    run_virtual(main)


def test_the_new_routes_take_the_api_key_alone() -> None:
    async def main() -> None:
        async with serving() as client:
            sandbox = client.sandbox
            claims = {"iss": sandbox.access_key, "exp": int(START_S + 1800)}
            token = jwt.encode(claims, sandbox.secret_key, algorithm="HS256")
            for credential in (token, "nonsense"):
                headers = {"Authorization": f"Bearer {credential}"}
                for method, path in (
                    ("POST", T30),
                    ("GET", "/tasks?task_ids=1"),
                    ("POST", "/tasks"),
                ):
                    reply = await client.ask(method, path, json={"prompt": "a"}, headers=headers)
                    assert (reply.status, reply.code) == (401, 1002)
                    begin = "Authentication error. The current API does not support AK/SK; please go to the console"
                    assert reply.json["message"].startswith(begin)
            assert (await client.ask("GET", "/tasks?task_ids=1", headers={})).code == 1001
            assert sandbox.world.tasks == []
            # The first generation takes both.
            assert (await client.ask("GET", TEXT, headers={"Authorization": f"Bearer {token}"})).code == 0
            assert (await client.ask("GET", TEXT)).code == 0

    run_virtual(main)


def test_an_external_id_is_one_for_both_generations() -> None:
    async def main() -> None:
        async with serving() as client:
            await client.create("a")
            reply = await create(client, T30, GOOD[T30], "a")
            assert (reply.status, reply.json["message"]) == (400, "External_task_id a already exists")
            await create(client, T30, GOOD[T30], "b")
            assert (await client.create("b")).code == 1201
            assert [task.generation for task in client.sandbox.world.tasks] == [Generation.V1, Generation.V2]
            # A product of the first generation does not list tasks of the second.
            assert (await client.query("b")).code == 1201
            assert len((await client.ask("GET", TEXT)).data) == 1

    run_virtual(main)


def test_tasks_are_found_by_either_id_and_what_is_not_there_is_left_out() -> None:
    async def main() -> None:
        async with serving() as client:
            one = (await client.create("one")).data["task_id"]
            two = (await create(client, T30, GOOD[T30], "two")).data["id"]
            found = await named(client, two, "404", one, two)
            assert [task["external_id"] for task in found] == ["two", "one"]
            by_name = (await client.ask("GET", "/tasks?external_task_ids=one,none,two")).data
            assert [task["id"] for task in by_name] == [one, two]
            # Each kind of id is looked for where it belongs.
            assert await named(client, "one") == []
            assert (await client.ask("GET", f"/tasks?external_task_ids={one}")).data == []
            for query, code, text in (
                (
                    "task_ids=" + ",".join(map(str, range(21))),
                    1201,
                    "task_ids and external_task_ids cannot exceed 20 in total",
                ),
                ("", 1200, "Missing Request Parameter"),
                ("task_ids=1&external_task_ids=b", 1201, "external_task_ids value 'b' is invalid"),
            ):
                reply = await client.ask("GET", f"/tasks?{query}")
                assert (reply.status, reply.code, reply.json["message"]) == (400, code, text)
            assert await named(client, *map(str, range(20))) == []

    run_virtual(main)


async def search(client: Client, **body: Any) -> Any:
    reply = await client.ask("POST", "/tasks", json=body)
    assert reply.code == 0, reply.json
    return reply.data


def test_all_tasks_of_the_account_are_searched_newest_first_with_a_cursor() -> None:
    async def main() -> None:
        async with serving(WorldConfig(max_concurrent=99)) as client:
            for number in range(7):
                await client.create(str(number))
                await asyncio.sleep(1)
            await ask(client, "tts", {"text": "a", "voice_id": "uk_boy1"})
            first = await search(client, limit=3)
            assert [task["external_id"] for task in first["result"]] == ["6", "5", "4"]
            assert (first["count"], first["has_more"]) == (3, True)
            # What is made in between shifts nothing.
            await client.create("new")
            second = await search(client, limit=3, cursor=first["next_cursor"], start_time="nonsense")
            assert [task["external_id"] for task in second["result"]] == ["3", "2", "1"]
            last = await search(client, limit=3, cursor=second["next_cursor"])
            assert [task["external_id"] for task in last["result"]] == ["0"]
            assert (last["has_more"], last["next_cursor"]) == (False, "")
            start_ms = round((START_S + 2) * 1000)
            window = await search(client, start_time=start_ms, end_time=str(start_ms + 1000))
            assert [task["external_id"] for task in window["result"]] == ["3", "2"]
            assert [task["external_id"] for task in (await search(client))["result"]][-1] == "0"

    run_virtual(main)


def test_a_search_is_filtered_by_status_and_currency() -> None:
    async def main() -> None:
        async with serving() as client:
            await client.create("good")
            await client.create("bad", prompt="[sandbox:fail]")
            await ask(client, "images", SIMPLE["images"], "picture")
            await ask(client, "virtual-try-on", SIMPLE["virtual-try-on"], "fitted")
            await asyncio.sleep(3600)
            await client.create("young")

            async def found(**words: list[str]) -> list[str]:
                filters = [{"key": key, "values": values} for key, values in words.items()]
                return [task["external_id"] for task in (await search(client, filters=filters))["result"]]

            assert await found(status=["failed"]) == ["bad"]
            assert await found(status=["submitted", "processing"]) == ["young"]
            assert await found(product_type=["image", "try_on"]) == ["fitted", "picture"]
            assert await found(product_type=["video"], status=["succeeded"]) == ["good"]
            page = await search(client, limit=1, filters=[{"key": "product_type", "values": ["video"]}])
            rest = await search(client, cursor=page["next_cursor"])
            assert [task["external_id"] for task in rest["result"]] == ["bad", "good"]

    run_virtual(main)


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 501},
        {"limit": 0},
        {"limit": "9"},
        {"cursor": "nonsense"},
        {"cursor": "bnVsbA=="},
        {"start_time": "soon"},
        {"end_time": [1]},
        {"filters": [{"key": "model", "values": ["kling"]}]},
        {"filters": [{"key": ["status"], "values": ["failed"]}]},
        {"filters": [{"key": "status", "values": [["failed"]]}]},
        {"filters": [{"key": "status", "values": "failed"}]},
        {"filters": "failed"},
    ],
)
def test_a_search_that_cannot_be_is_refused(body: dict[str, Any]) -> None:
    async def main() -> None:
        async with serving() as client:
            reply = await client.ask("POST", "/tasks", json=body)
            assert (reply.status, reply.code) == (400, 1201)

    run_virtual(main)


def test_old_tasks_leave_the_usual_window_and_then_the_account() -> None:
    async def main() -> None:
        async with serving(WorldConfig(purge_after_s=40 * DAY_S)) as client:
            await client.create("old")
            await asyncio.sleep(31 * DAY_S)
            assert (await search(client))["result"] == []
            assert len((await search(client, start_time=0))["result"]) == 1
            await asyncio.sleep(10 * DAY_S)
            assert (await search(client, start_time=0))["result"] == []
            assert (await client.ask("GET", "/tasks?external_task_ids=old")).data == []

    run_virtual(main)


def test_a_hidden_task_is_hidden_here_too() -> None:
    async def main() -> None:
        async with serving(WorldConfig(visible_after_s=4)) as client:
            await client.create("a")
            assert (await client.ask("GET", "/tasks?external_task_ids=a")).data == []
            assert (await search(client))["result"] == []
            await asyncio.sleep(4)
            assert len((await search(client))["result"]) == 1

    run_virtual(main)


@pytest.mark.parametrize("kind", SIMPLE)
def test_every_task_of_the_first_generation_is_told_in_the_new_form(kind: str) -> None:
    async def main() -> None:
        async with serving(WorldConfig(max_concurrent=9)) as client:
            done = await make(client, kind, {**SIMPLE[kind]}, "mine")
            [task] = await named(client, done["task_id"])
            assert (task["status"], task["external_id"]) == ("succeeded", "mine")
            assert (task["create_time"], task["update_time"]) == (done["created_at"], done["updated_at"])
            assert task["billing"][0]["amount"] == done["final_unit_deduction"]
            types = [row["type"] for row in task["outputs"]]
            expected = {
                "images": ["image"] * 2,
                "omni-image": ["image"] * 3,
                "multi-image2image": ["image"],
                "expand": ["image"],
                "virtual-try-on": ["image"],
                "ai-multi-shot": ["image"] * 9,
                "text-to-audio": ["audio"],
                "video-to-audio": ["video", "audio"],
                "elements": ["element"],
                "voices": ["voice"],
            }
            assert types == expected.get(kind, ["video"])
            for row in task["outputs"]:
                for name in [name for name in row if name.endswith("url")]:
                    reply = await client.fetch(row[name])
                    played = play(reply.body)
                    assert played.pictures + played.samples > 0, name
                    assert reply.headers["Content-Type"].partition("/")[0] in {"video", "image", "audio"}
            packages = {"virtual-try-on": "try_on", **dict.fromkeys(("images", "expand", "ai-multi-shot"), "image")}
            assert task["billing"][0]["package_type"] == packages.get(kind, task["billing"][0]["package_type"])

    run_virtual(main)


def test_elements_and_voices_are_told_with_what_became_of_them() -> None:
    async def main() -> None:
        async with serving() as client:
            made = await make(client, "elements", SIMPLE["elements"])
            voice = await make(client, "voices", SIMPLE["voices"])
            element_id = made["task_result"]["elements"][0]["element_id"]
            [told, spoken] = [row["outputs"][0] for row in await named(client, made["task_id"], voice["task_id"])]
            assert (told["element_id"], told["element_type"]) == (element_id, "multi_image_elements")
            assert (told["status"], spoken["status"], spoken["voice_name"]) == ("succeeded", "succeeded", "mine")
            await client.ask("POST", "/v1/general/delete-elements", json={"element_id": str(element_id)})
            [gone] = await named(client, made["task_id"])
            assert gone["outputs"][0]["status"] == "deleted"

    run_virtual(main)


def test_a_failed_task_says_why_in_both_forms_and_costs_nothing() -> None:
    async def main() -> None:
        async with serving() as client:
            body = {"prompt": "[sandbox:late-policy]"}
            done = await ended(client, (await create(client, T30, body)).data["id"])
            assert (done["status"], done["outputs"], done["billing"]) == ("failed", [], [])
            assert done["message"] == "Failure to pass the risk control system"

    run_virtual(main)


def test_a_watermark_is_an_option() -> None:
    async def main() -> None:
        async with serving() as client:
            body = {"prompt": "a", "options": {"watermark_info": {"enabled": True}}}
            done = await ended(client, (await create(client, T30, body)).data["id"])
            assert {"url", "watermark_url"} <= set(done["outputs"][0])

    run_virtual(main)


def test_tasks_of_both_generations_share_slots_credits_and_a_restart(tmp_path: Any) -> None:
    path = tmp_path / "journal.jsonl"

    async def main() -> None:
        config = WorldConfig(max_concurrent=2, pack_credits=Decimal(2))
        async with serving(config, journal_path=path) as client:
            await client.create("a")
            made = await create(client, T30, {"prompt": "b"}, "b")
            assert (await client.create("c")).code == 1102
        async with serving(WorldConfig(max_concurrent=2), journal_path=path) as client:
            assert (await client.create("c")).code == 1303
            task = client.sandbox.world.tasks[1]
            assert isinstance(task, SandboxTask)
            assert (task.generation, task.model_name, task.kind) == (Generation.V2, "kling-3.0", "text2video")
            assert (await ended(client, made.data["id"]))["status"] == "succeeded"
            assert len((await client.ask("GET", TEXT)).data) == 1

    run_virtual(main)
