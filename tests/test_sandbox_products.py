"""Every product of the first API generation on the simulated service: bodies, results, chains and refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from products_kit import CLIP, LINK, PRESET_ELEMENT, SIMPLE, ask, make, play, refusal, sound
from sandbox_kit import START_S, Client, picture, price, serving

from batch_runner.model import Pack
from batch_runner.sandbox import SandboxTask, World, WorldConfig
from batch_runner.sandbox.codes import Denied
from batch_runner.sandbox.products import PRODUCTS
from batch_runner.virtual_time import run_virtual

DAY_S = 86_400
O1 = {"model_name": "kling-video-o1", "sound": "off"}
OF_A_FACE = {"model_name": "kling-v2-1", "image": LINK, "image_reference": "face"}
HD_26 = {"model_name": "kling-v2-6", "mode": "pro"}
BY_SOUND = {"mode": "audio2video", "video_url": CLIP}
OLD_EFFECT = {"images": [LINK, LINK], "model_name": "kling-v1-6"}


def asked(kind: str, **fields: Any) -> SandboxTask | Denied:
    """What a world of its own says to a good request with some fields changed; None takes a field away."""
    body = {name: value for name, value in {**SIMPLE[kind], **fields}.items() if value is not None}
    return World(WorldConfig(max_concurrent=9), price).create(kind, body, START_S)


def said(kind: str, **fields: Any) -> str:
    outcome = asked(kind, **fields)
    return outcome.message if isinstance(outcome, Denied) else "accepted"


async def fetched(client: Client, url: str) -> bytes:
    reply = await client.fetch(url)
    assert reply.status == 200
    return reply.body


def test_all_products_of_the_reference_are_offered() -> None:
    changes = {"delete-advanced-elements", "delete-elements", "delete-voices"}
    selection = {f"{verb}-selection" for verb in ("init", "add", "delete", "clear", "preview")}
    assert set(PRODUCTS) - changes - selection == set(SIMPLE) | {
        "multi-elements",
        "video-extend",
        "identify-face",
        "advanced-lip-sync",
        "image-recognize",
        "tts",
    }


@pytest.mark.parametrize("kind", SIMPLE)
def test_a_task_of_every_product_is_made_listed_and_found_by_both_ids(kind: str) -> None:
    async def main() -> None:
        async with serving(WorldConfig(max_concurrent=9)) as client:
            reply = await ask(client, kind, SIMPLE[kind], "mine")
            assert (reply.status, reply.code, reply.data["task_status"]) == (200, 0, "submitted")
            done = await make(client, kind, SIMPLE[kind], "other")
            assert (done["task_status"], done["task_status_msg"]) == ("succeed", "")
            path = PRODUCTS[kind].path
            by_name = await client.ask("GET", f"{path}/other")
            assert by_name.data["task_id"] == done["task_id"]
            listed = (await client.ask("GET", f"{path}?pageSize=1")).data
            assert [row["task_id"] for row in listed] == [done["task_id"]]
            assert (await refusal(client, kind, {**SIMPLE[kind], "external_task_id": "mine"}))[0] == 1201
            assert client.sandbox.world.charged_total(client.sandbox.now_s()) >= 1

    run_virtual(main)


@pytest.mark.parametrize("kind", ["text2video", "image2video", "omni-video", "multi-image2video", "motion-control"])
def test_clips_play_in_the_asked_shape_with_sound_where_it_was_asked_for(kind: str) -> None:
    async def main() -> None:
        async with serving() as client:
            done = await make(client, kind, SIMPLE[kind])
            [video] = done["task_result"]["videos"]
            assert (set(video), video["duration"]) == ({"id", "url", "duration"}, "5.041")
            played = play(await fetched(client, video["url"]))
            assert (played.pictures, played.length_s) == (60, 5)
            assert played.size == ((144, 256) if kind == "omni-video" else (256, 144))
            speaks = kind in {"omni-video", "motion-control"}
            assert (played.samples > 0) is speaks

    run_virtual(main)


def test_an_avatar_lasts_as_long_as_its_sound_whatever_form_it_comes_in() -> None:
    async def main() -> None:
        async with serving() as client:
            for form, told in (("wav", "7.541"), ("mp3", "7.529")):
                done = await make(client, "avatar", {"image": LINK, "sound_file": sound(7.5, form), "mode": "pro"})
                [video] = done["task_result"]["videos"]
                assert video["duration"] == told
                played = play(await fetched(client, video["url"]))
                assert (played.length_s, played.samples > 0) == (7.5, True)

    run_virtual(main)


def test_pictures_come_in_number_shape_and_size() -> None:
    async def main() -> None:
        async with serving() as client:
            done = await make(client, "images", {**SIMPLE["images"], "resolution": "2k", "n": "3"})
            rows = done["task_result"]["images"]
            assert [row["index"] for row in rows] == [0, 1, 2]
            contents = [await fetched(client, row["url"]) for row in rows]
            assert len(set(contents)) == 3
            assert {play(content).size for content in contents} == {(1428, 612)}

    run_virtual(main)


def test_a_series_is_listed_apart() -> None:
    async def main() -> None:
        async with serving() as client:
            result = (await make(client, "omni-image", SIMPLE["omni-image"]))["task_result"]
            assert (result["result_type"], len(result["series_images"]), "images" in result) == ("series", 3, False)
            result = (await make(client, "omni-image", {"prompt": "a fox", "image_list": [{"image": LINK}]}))[
                "task_result"
            ]
            assert (result["result_type"], len(result["images"]), "series_images" in result) == ("single", 1, False)

    run_virtual(main)


def test_sounds_come_as_mp3_and_wav() -> None:
    async def main() -> None:
        async with serving() as client:
            [audio] = (await make(client, "text-to-audio", SIMPLE["text-to-audio"]))["task_result"]["audios"]
            assert set(audio) == {"id", "url_mp3", "url_wav", "duration_mp3", "duration_wav"}
            for form in ("mp3", "wav"):
                played = play(await fetched(client, audio[f"url_{form}"]))
                assert played.length_s == pytest.approx(3.5, abs=0.03)
                assert float(audio[f"duration_{form}"]) == pytest.approx(played.length_s, abs=0.001)
                assert played.samples > 50_000

    run_virtual(main)


def test_a_shot_from_all_sides_is_three_pictures_in_three_rows() -> None:
    async def main() -> None:
        async with serving() as client:
            rows = (await make(client, "ai-multi-shot", SIMPLE["ai-multi-shot"]))["task_result"]["images"]
            assert [sorted(row) for row in rows] == [["index", "url_1", "url_2", "url_3"]] * 3
            urls = [row[f"url_{side}"] for row in rows for side in (1, 2, 3)]
            contents = {await fetched(client, url) for url in urls}
            assert len(contents) == 9
            assert {play(content).pictures for content in contents} == {1}

    run_virtual(main)


def test_try_on_says_no_info_at_first_and_effects_never_a_length() -> None:
    async def main() -> None:
        async with serving() as client:
            assert "task_info" not in (await ask(client, "virtual-try-on", SIMPLE["virtual-try-on"], "a")).data
            done = await make(client, "virtual-try-on", SIMPLE["virtual-try-on"], "b")
            assert done["task_info"] == {"external_task_id": "b"}
            [video] = (await make(client, "effects", SIMPLE["effects"]))["task_result"]["videos"]
            assert set(video) == {"id", "url"}

    run_virtual(main)


def test_a_watermarked_copy_is_another_file() -> None:
    async def main() -> None:
        async with serving() as client:
            for kind, name in (("text2video", "videos"), ("images", "images")):
                body = {**SIMPLE[kind], "watermark_info": {"enabled": True}}
                row = (await make(client, kind, body))["task_result"][name][0]
                plain, marked = [await fetched(client, row[key]) for key in ("url", "watermark_url")]
                assert plain != marked
                assert play(plain).size == play(marked).size

    run_virtual(main)


def test_a_video_is_extended_by_its_own_id_and_grows_each_time() -> None:
    async def main() -> None:
        async with serving() as client:
            base = await make(client, "text2video", {"prompt": "a fox", "model_name": "kling-v1-6", "mode": "pro"})
            video_id = base["task_result"]["videos"][0]["id"]
            assert await refusal(client, "video-extend", {"video_id": base["task_id"]}) == (
                1201,
                f"From video not found by id: {base['task_id']}",
            )
            longer = await make(client, "video-extend", {"video_id": video_id, "prompt": "it runs"})
            [video] = longer["task_result"]["videos"]
            assert (video["duration"], longer["task_info"]["parent_video"]["id"]) == ("9.541", video_id)
            assert longer["task_info"]["parent_video"]["duration"] == "5.041"
            parent = longer["task_info"]["parent_video"]["url"]
            assert await fetched(client, parent) == await fetched(client, base["task_result"]["videos"][0]["url"])
            longest = await make(client, "video-extend", {"video_id": video["id"]})
            assert longest["task_result"]["videos"][0]["duration"] == "14.041"
            task = client.sandbox.world.tasks[-1]
            assert (task.model_name, task.mode) == ("kling-v1-6", "pro")
            newer = await make(client, "text2video", {"prompt": "a fox", "model_name": "kling-v2-6"})
            newer_id = newer["task_result"]["videos"][0]["id"]
            assert await refusal(client, "video-extend", {"video_id": newer_id}) == (1201, "model is not supported")

    run_virtual(main)


def test_the_ids_of_files_lapse_after_thirty_days_and_those_of_elements_do_not() -> None:
    async def main() -> None:
        async with serving() as client:
            clip = await make(client, "text2video", {"prompt": "a fox"})
            video_id = clip["task_result"]["videos"][0]["id"]
            made = await make(client, "elements", SIMPLE["elements"])
            element_id = made["task_result"]["elements"][0]["element_id"]
            await asyncio.sleep(30 * DAY_S)
            code, text = await refusal(client, "video-extend", {"video_id": video_id})
            assert (code, text) == (1201, f"From video not found by id: {video_id}")
            body = {**SIMPLE["omni-video"], "element_list": [{"element_id": element_id}]}
            assert (await ask(client, "omni-video", body)).code == 0

    run_virtual(main)


def test_an_id_cannot_be_used_before_its_task_has_ended_well() -> None:
    async def main() -> None:
        async with serving() as client:
            await ask(client, "text2video", {"prompt": "a fox"}, "early")
            await ask(client, "text2video", {"prompt": "a fox [sandbox:fail]"}, "bad")
            early, bad = client.sandbox.world.tasks
            assert (await refusal(client, "video-extend", {"video_id": early.video_id}))[0] == 1201
            await asyncio.sleep(3600)
            assert (await ask(client, "video-extend", {"video_id": early.video_id})).code == 0
            assert (await refusal(client, "video-extend", {"video_id": bad.video_id}))[0] == 1201

    run_virtual(main)


def test_an_element_and_a_voice_tell_what_they_are_and_can_be_named() -> None:
    async def main() -> None:
        async with serving() as client:
            [element] = (await make(client, "elements", SIMPLE["elements"]))["task_result"]["elements"]
            assert element["element_name"] == "fox"
            assert (element["status"], len(str(element["element_id"]))) == ("succeed", 15)
            body = {"prompt": "<<<element_1>>>", "image": LINK, "model_name": "kling-v3"}
            named = [{"element_id": str(element["element_id"])}, {"element_id": PRESET_ELEMENT}]
            assert (await ask(client, "image2video", {**body, "element_list": named})).code == 0
            unknown = {**body, "element_list": [{"element_id": 5}]}
            assert (await refusal(client, "image2video", unknown)) == (1201, "Element not found by id: 5")
            [voice] = (await make(client, "voices", SIMPLE["voices"]))["task_result"]["voices"]
            assert play(await fetched(client, voice["trial_url"])).samples > 0
            spoken = {"prompt": "<<<voice_1>>>", "model_name": "kling-v2-6", "mode": "pro", "sound": "on"}
            own = {**spoken, "voice_list": [{"voice_id": voice["voice_id"]}]}
            assert (await ask(client, "text2video", own)).code == 0
            wrong = {**spoken, "voice_list": [{"voice_id": "uk_boy1"}]}
            assert await refusal(client, "text2video", wrong) == (1201, "Voice id not found")

    run_virtual(main)


def test_a_voice_is_taken_from_a_clip_that_speaks() -> None:
    async def main() -> None:
        async with serving() as client:
            loud = {"prompt": "a", "model_name": "kling-v2-6", "mode": "pro", "sound": "on"}
            speaks = (await make(client, "text2video", loud))["task_result"]["videos"][0]["id"]
            silent = (await make(client, "text2video", {"prompt": "a"}))["task_result"]["videos"][0]["id"]
            assert (await ask(client, "voices", {"voice_name": "a", "video_id": speaks})).code == 0
            assert (await refusal(client, "voices", {"voice_name": "a", "video_id": silent}))[0] == 1201

    run_virtual(main)


def test_a_link_of_the_service_leads_back_to_the_file_it_made() -> None:
    lengths: list[Mapping[str, Any]] = []

    def noted(kind: str, body: Mapping[str, Any], measured: Mapping[str, Any], _: Mapping[str, Any]) -> Decimal:
        lengths.append({"kind": kind, **measured})
        return price(kind, body)

    async def main() -> None:
        async with serving(price_of=noted) as client:
            body = {"prompt": "a", "model_name": "kling-v3", "duration": "12", "aspect_ratio": "1:1"}
            url = (await make(client, "text2video", body))["task_result"]["videos"][0]["url"]
            moved = {**SIMPLE["motion-control"], "video_url": url, "character_orientation": "video"}
            assert (await make(client, "motion-control", moved))["task_result"]["videos"][0]["duration"] == "12.041"
            assert lengths[-1] == {"kind": "motion-control", "video_url": Decimal("12.000")}
            told = {**moved, "video_url": f"{CLIP}?sandbox-seconds=3.3"}
            assert (await make(client, "motion-control", told))["task_result"]["videos"][0]["duration"] == "3.341"
            edited = {
                "prompt": "b",
                "video_list": [{"video_url": url, "refer_type": "base"}],
                "model_name": "kling-v3-omni",
            }
            await make(client, "omni-video", edited)
            assert lengths[-1] == {"kind": "omni-video", "video_list[].video_url": Decimal("12.000")}
            assert client.sandbox.world.tasks[-1].aspect == "1:1"

    run_virtual(main)


def test_pictures_hold_as_many_slots_as_they_are_and_are_refused_whole() -> None:
    world = World(WorldConfig(max_concurrent=9, slots={Pack.TRY_ON: 1}), price)
    body = {"prompt": "a", "n": 5}
    first = world.create("images", body, START_S)
    assert isinstance(first, SandboxTask)
    refused = world.create("images", body, START_S)
    assert isinstance(refused, Denied)
    assert (refused.code, refused.message) == (1303, "parallel task over resource pack limit")
    assert isinstance(world.create("images", {**body, "n": 4}, START_S), SandboxTask)
    # Another currency has slots of its own.
    assert isinstance(world.create("text2video", {"prompt": "a"}, START_S), SandboxTask)
    assert isinstance(world.create("virtual-try-on", SIMPLE["virtual-try-on"], START_S), SandboxTask)
    assert isinstance(world.create("virtual-try-on", SIMPLE["virtual-try-on"], START_S), Denied)
    assert world.peak_slots == {Pack.IMAGE: 9, Pack.VIDEO: 1, Pack.TRY_ON: 1}
    assert world.in_flight(START_S) == world.peak_in_flight == 11
    assert isinstance(world.create("images", body, first.ended_at_s), SandboxTask)


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        ("text2video", {"model_name": "kling-image-o1"}, "model is not supported"),
        ("omni-video", {"model_name": "kling-v3"}, "model is not supported"),
        ("omni-video", {"model_name": "kling-v9"}, "kling-v9 is not supported for this API"),
        ("omni-video", {"aspect_ratio": None}, "aspect_ratio cannot be empty"),
        ("omni-video", {"duration": "2"}, "duration value '2' is invalid"),
        ("omni-video", {"video_list": [{"video_url": CLIP}]}, "sound value 'on' is invalid"),
        ("omni-video", {"image_list": [{"image_url": LINK, "type": "end_frame"}]}, None),
        ("omni-video", {"image_list": [{"image_url": ""}]}, None),
        ("omni-video", {"image_list": [{"image_url": LINK}] * 8}, None),
        ("omni-video", {"model_name": "kling-video-o1"}, "sound value 'on' is invalid"),
        (
            "omni-video",
            {"model_name": "kling-video-o1", "sound": "off", "duration": "7"},
            "Duration only supports 5 or 10 seconds when no refer_image is provided",
        ),
        ("omni-video", {"model_name": "kling-video-o1", "sound": "off", "mode": "4k"}, "mode value '4k' is invalid"),
        ("multi-image2video", {"image_list": None}, "image_list cannot be empty"),
        ("multi-image2video", {"image_list": [{"image": LINK}] * 5}, None),
        ("multi-image2video", {"model_name": "kling-v1"}, "model is not supported"),
        ("multi-image2video", {"duration": "7"}, "duration value '7' is invalid"),
        ("motion-control", {"character_orientation": None}, "character_orientation cannot be empty"),
        ("motion-control", {"mode": None}, "mode cannot be empty"),
        ("motion-control", {"model_name": "kling-v1"}, "model is not supported"),
        ("motion-control", {"video_url": f"{CLIP}?sandbox-seconds=11"}, "video_url value 'duration 11' is invalid"),
        ("motion-control", {"element_list": [{"element_id": PRESET_ELEMENT}]}, None),
        ("lip-sync", {"input": None}, "input cannot be empty"),
        ("lip-sync", {"input": {**SIMPLE["lip-sync"]["input"], "voice_language": ""}}, "Voice language not found"),
        ("lip-sync", {"input": {**SIMPLE["lip-sync"]["input"], "voice_id": "nobody"}}, "Voice id not found"),
        ("lip-sync", {"input": {**SIMPLE["lip-sync"]["input"], "text": "x" * 121}}, None),
        ("lip-sync", {"input": {**SIMPLE["lip-sync"]["input"], "video_id": "1"}}, None),
        ("lip-sync", {"input": {"mode": "audio2video", "video_url": CLIP, "audio_type": "file"}}, None),
        ("avatar", {"sound_file": None}, "audio_id cannot be empty"),
        ("avatar", {"audio_id": "1"}, "sound_file value 'with audio_id' is invalid"),
        ("avatar", {"audio_id": "1", "sound_file": None}, "Audio not found by id: 1"),
        ("avatar", {"sound_file": "no base64!"}, "File is not in a valid base64 format"),
        ("avatar", {"sound_file": "aGVsbG8="}, "sound_file file format is invalid"),
        ("avatar", {"sound_file": sound(1.5)}, "sound_file value 'duration 1.5' is invalid"),
        ("effects", {"effect_scene": "hug"}, "effect_scene value 'hug' is invalid"),
        ("effects", {"effect_scene": "hug_pro"}, "images cannot be empty"),
        ("effects", {"input": {"images": [LINK, LINK]}}, "input.image cannot be empty"),
        ("text-to-audio", {"duration": 2.9}, "duration value '2.9' is invalid"),
        ("text-to-audio", {"duration": 3.55}, "duration value '3.55' is invalid"),
        ("text-to-audio", {"duration": "5"}, "duration value '5' is invalid"),
        ("text-to-audio", {"prompt": "x" * 201}, None),
        ("video-to-audio", {"video_url": None}, "video_id cannot be empty"),
        ("video-to-audio", {"video_url": f"{CLIP}?sandbox-seconds=21"}, "video_url value 'duration 21' is invalid"),
        ("video-to-audio", {"video_url": "aGVsbG8="}, "video_url value 'aGVsbG8=' is invalid"),
        ("images", {"n": 10}, "n value '10' is invalid"),
        ("images", {"n": 0}, "n value '0' is invalid"),
        ("images", {"resolution": "4k"}, "resolution value '4k' is invalid"),
        ("images", {"model_name": "kling-v1"}, "aspect_ratio value '21:9' is invalid"),
        ("images", {"image": LINK, "negative_prompt": "fog"}, "negative_prompt value 'with image' is invalid"),
        ("images", {"image_reference": "face"}, "image_reference value 'face' is invalid"),
        ("images", {"model_name": "kling-v2-1", "image_reference": "face"}, "image cannot be empty"),
        ("images", {"image_fidelity": 0.5}, "image_fidelity value '0.5' is invalid"),
        ("images", {"model_name": "kling-v2-1", "image": LINK, "image_fidelity": 1.5}, None),
        ("images", {**OF_A_FACE, "human_fidelity": 0.5}, "human_fidelity value '0.5' is invalid"),
        ("images", {"model_name": "kling-v2-new", "aspect_ratio": None}, "image cannot be empty"),
        ("images", {"model_name": "kling-v2-new", "image": LINK}, "aspect_ratio value '21:9' is invalid"),
        ("images", {"model_name": "kling-v1-5", "image": LINK}, "image_reference cannot be empty"),
        ("image2video", {**HD_26, "image_tail": LINK, "sound": "on"}, "image_tail value 'with sound' is invalid"),
        ("images", {"model_name": "kling-v2-6"}, "model is not supported"),
        ("omni-image", {"resolution": "4k"}, "resolution value '4k' is invalid"),
        ("omni-image", {"series_amount": 10}, "series_amount value '10' is invalid"),
        ("omni-image", {"image_list": [{"image": LINK}] * 11}, None),
        ("omni-image", {"aspect_ratio": "5:4"}, "aspect_ratio value '5:4' is invalid"),
        ("multi-image2image", {"subject_image_list": None}, "subject_image_list cannot be empty"),
        ("expand", {"up_expansion_ratio": None}, "up_expansion_ratio cannot be empty"),
        ("expand", {"up_expansion_ratio": 2.1}, "up_expansion_ratio value '2.1' is invalid"),
        ("expand", {"up_expansion_ratio": 2, "left_expansion_ratio": 2}, None),
        ("virtual-try-on", {"cloth_image": None}, "cloth_image cannot be empty"),
        ("virtual-try-on", {"model_name": "kling-v1"}, "model is not supported"),
        ("ai-multi-shot", {"element_frontal_image": ""}, "element_frontal_image cannot be empty"),
        ("elements", {"element_name": "x" * 21}, None),
        ("elements", {"reference_type": "video_refer"}, "element_video_list cannot be empty"),
        ("elements", {"element_image_list": {"frontal_image": LINK}}, "refer_images value 'None' is invalid"),
        ("elements", {"tag_list": [{"tag_id": "o_109"}]}, None),
        ("elements", {"element_voice_id": "1"}, "Voice id not found"),
        ("voices", {"voice_name": "x" * 21}, None),
        ("voices", {"voice_url": "https://example.com/v.mp3?sandbox-seconds=31"}, None),
        ("voices", {"voice_url": None}, "voice_url cannot be empty"),
    ],
)
def test_what_a_product_does_not_take_is_named(kind: str, fields: dict[str, Any], text: str | None) -> None:
    said_text = said(kind, **fields)
    assert said_text != "accepted"
    assert text in {None, said_text}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("omni-video", {"video_list": [{"video_url": CLIP, "refer_type": "feature"}], "sound": "off"}),
        ("omni-video", {"image_list": [{"image_url": LINK, "type": "first_frame"}], "aspect_ratio": None}),
        ("omni-video", {**O1, "duration": "7", "image_list": [{"image_url": LINK}]}),
        ("omni-video", {"mode": "4k", "duration": "15"}),
        (
            "motion-control",
            {
                "model_name": "kling-v3",
                "character_orientation": "video",
                "element_list": [{"element_id": PRESET_ELEMENT}],
            },
        ),
        ("lip-sync", {"input": {**BY_SOUND, "audio_type": "file", "audio_file": sound(3)}}),
        ("lip-sync", {"input": {**BY_SOUND, "audio_type": "url", "audio_url": "https://example.com/a.mp3"}}),
        ("effects", {"effect_scene": "hug_pro", "input": {"images": [LINK, LINK]}}),
        ("effects", {"effect_scene": "hug", "input": {**OLD_EFFECT, "mode": "pro", "duration": "10"}}),
        ("effects", {"effect_scene": "bloombloom"}),
        ("text-to-audio", {"duration": 10}),
        ("video-to-audio", {"asmr_mode": True, "colour": "blue"}),
        ("images", {"model_name": "kling-v2-1", "image": LINK, "image_reference": "subject", "human_fidelity": 0.4}),
        ("omni-image", {"model_name": "kling-v3-omni", "resolution": "4k", "series_amount": "auto"}),
        ("elements", {"reference_type": "video_refer", "element_video_list": {"refer_videos": [{"video_url": CLIP}]}}),
        ("elements", {"tag_list": [{"tag_id": "o_101"}], "element_voice_id": "810000000000001"}),
    ],
)  # fmt: skip
def test_what_a_product_takes_is_accepted(kind: str, fields: dict[str, Any]) -> None:
    assert said(kind, **fields) == "accepted"


def test_a_restyled_picture_keeps_its_shape() -> None:
    fields = {"model_name": "kling-v2-new", "image": picture(400, 800), "aspect_ratio": None}
    task = asked("images", **fields)
    assert isinstance(task, SandboxTask)
    assert task.aspect == "9:16"


def test_a_late_failure_of_a_bad_picture_concerns_every_product_with_pictures() -> None:
    small = picture(200, 200)
    for kind, fields in (
        ("images", {"image": small}),
        ("multi-image2video", {"image_list": [{"image": LINK}, {"image": small}]}),
        ("virtual-try-on", {"cloth_image": small}),
        ("elements", {"element_image_list": {"frontal_image": small, "refer_images": [{"image_url": LINK}]}}),
        ("omni-video", {"image_list": [{"image_url": small}]}),
    ):
        task = asked(kind, **fields)
        assert isinstance(task, SandboxTask)
        assert task.failure == "Image pixel is invalid"
