"""Calls of the simulated service that are answered with their result, and the chains that begin with them."""

from __future__ import annotations

import asyncio
import base64
import io
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from PIL import Image
from products_kit import CLIP, LINK, SIMPLE, ask, make, play, refusal, sound
from sandbox_kit import Client, picture, serving

from batch_runner.sandbox import FaultPlan, WorldConfig
from batch_runner.virtual_time import run_virtual

DAY_S = 86_400
READING = {
    "text": "Once upon a time there was a fox who could not sleep.",
    "voice_id": "uk_boy1",
    "voice_language": "en",
}
EDITS = "/v1/videos/multi-elements"


async def call(client: Client, kind: str, fields: Any) -> Any:
    reply = await ask(client, kind, fields)
    assert (reply.status, reply.code) == (200, 0), reply.json
    return reply.data


async def clip(client: Client, **fields: Any) -> Any:
    """A finished clip: its row in the result."""
    return (await make(client, "text2video", {"prompt": "a singer", **fields}))["task_result"]["videos"][0]


def test_a_text_is_read_aloud_at_once_and_paid_at_once() -> None:
    async def main() -> None:
        async with serving(WorldConfig(pack_credits=Decimal(2))) as client:
            data = await call(client, "tts", READING)
            assert (data["task_status"], data["final_unit_deduction"]) == ("succeed", "1")
            [audio] = data["task_result"]["audios"]
            assert set(audio) == {"id", "url", "duration"}
            played = play((await client.fetch(audio["url"])).body)
            assert played.length_s == pytest.approx(float(audio["duration"]), abs=0.001)
            assert played.samples > 0
            world = client.sandbox.world
            assert world.charged_total(client.sandbox.now_s()) == 1
            assert world.in_flight(client.sandbox.now_s()) == 0
            await call(client, "tts", READING)
            assert await refusal(client, "tts", READING) == (1102, "Account balance not enough")

    run_virtual(main)


def test_a_call_has_no_second_question_and_no_id_of_ours() -> None:
    async def main() -> None:
        async with serving() as client:
            first = await call(client, "tts", {**READING, "external_task_id": "mine"})
            second = await call(client, "tts", {**READING, "external_task_id": "mine"})
            assert first["task_id"] != second["task_id"]
            assert "task_info" not in first
            assert (await client.ask("GET", f"/v1/audio/tts/{first['task_id']}")).status == 404
            assert client.sandbox.world.tasks_by_external_id == {}

    run_virtual(main)


def test_a_lost_answer_of_a_call_comes_after_the_work_was_done_and_charged() -> None:
    async def main() -> None:
        async with serving(faults=FaultPlan(script={"create": ["lost_answer"]})) as client:
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await ask(client, "tts", READING)
            assert client.sandbox.world.charged_total(client.sandbox.now_s()) == 1
            await call(client, "tts", READING)
            assert client.sandbox.world.charged_total(client.sandbox.now_s()) == 2

    run_virtual(main)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"text": ""}, "text cannot be empty"),
        ({"text": "x" * 1001}, None),
        ({"voice_id": "nobody"}, "Voice id not found"),
        ({"voice_id": "810000000000001"}, "Voice id not found"),
        ({"voice_language": "fr"}, "Voice language not found"),
        ({"voice_speed": "fast"}, "voice_speed value 'fast' is invalid"),
    ],
)
def test_what_cannot_be_read_aloud_is_refused(fields: dict[str, Any], text: str | None) -> None:
    async def main() -> None:
        async with serving() as client:
            code, told = await refusal(client, "tts", {**READING, **fields})
            assert code == 1201
            assert text in {None, told}
            assert client.sandbox.world.tasks == []

    run_virtual(main)


def test_speed_shortens_a_reading_and_is_clamped() -> None:
    async def main() -> None:
        async with serving() as client:
            lengths = [
                float(
                    (await call(client, "tts", {**READING, "voice_speed": speed}))["task_result"]["audios"][0][
                        "duration"
                    ]
                )
                for speed in (0.1, 0.8, 1.0, 1.7, 2.0, 9)
            ]
            assert lengths[0] == lengths[1] > lengths[2] > lengths[3] >= lengths[4] == lengths[5]

    run_virtual(main)


def test_a_picture_is_recognised_in_four_rows() -> None:
    async def main() -> None:
        async with serving() as client:
            data = await call(client, "image-recognize", {"image": picture(400, 400)})
            rows = data["task_result"]["images"]
            assert [row["type"] for row in rows] == ["object_seg", "head_seg", "face_seg", "cloth_seg"]
            assert [row["is_contain"] for row in rows] == ["url" in row for row in rows] == [True, True, True, False]
            assert play((await client.fetch(rows[0]["url"])).body).pictures == 1
            assert await refusal(client, "image-recognize", {"image": picture(200, 200)}) == (
                1201,
                "Image pixel is invalid",
            )

    run_virtual(main)


def test_lips_follow_a_reading_from_the_clip_to_the_face_to_the_end() -> None:
    async def main() -> None:
        async with serving() as client:
            video = await clip(client, model_name="kling-v3", duration="8")
            seen = await call(client, "identify-face", {"video_id": video["id"]})
            [face] = seen["face_data"]
            assert (face["start_time"], face["end_time"], seen["final_unit_deduction"]) == (0, 8000, "1")
            assert play((await client.fetch(face["face_image"])).body).pictures == 1
            [audio] = (await call(client, "tts", READING))["task_result"]["audios"]
            choice = {
                "face_id": face["face_id"],
                "audio_id": audio["id"],
                "sound_start_time": 0,
                "sound_end_time": "3000",
                "sound_insert_time": 1000,
            }
            body = {"session_id": seen["session_id"], "face_choose": [choice]}
            done = await make(client, "advanced-lip-sync", body, "mine")
            # No external id is told; the task can still be asked for by it.
            assert (list(done["task_info"]), done["task_info"]["parent_video"]["id"]) == (["parent_video"], video["id"])
            played = play((await client.fetch(done["task_result"]["videos"][0]["url"])).body)
            assert (played.length_s, played.samples > 0) == (8, True)
            for wrong, text in (
                ({"face_id": "1"}, "Face not found by id: 1"),
                ({"audio_id": video["id"]}, f"Audio not found by id: {video['id']}"),
                ({"sound_end_time": 1999}, "sound_end_time value '1999' is invalid"),
                ({"sound_end_time": 60_000}, "sound_end_time value '60000' is invalid"),
                ({"sound_insert_time": 6500}, "sound_insert_time value '6500' is invalid"),
                ({"sound_volume": 3}, "sound_volume value '3' is invalid"),
                ({"sound_file": LINK}, "sound_file value 'with audio_id' is invalid"),
            ):
                asked = {**body, "face_choose": [{**choice, **wrong}]}
                assert await refusal(client, "advanced-lip-sync", asked) == (1201, text)
            own = {**choice, "sound_file": sound(4)}
            del own["audio_id"]
            assert (await ask(client, "advanced-lip-sync", {**body, "face_choose": [own]})).code == 0
            await asyncio.sleep(DAY_S)
            gone = f"Session not found by id: {seen['session_id']}"
            assert await refusal(client, "advanced-lip-sync", body) == (1201, gone)

    run_virtual(main)


def test_a_task_id_is_no_video_id_for_faces_and_lips() -> None:
    async def main() -> None:
        async with serving() as client:
            await ask(client, "text2video", {"prompt": "a"}, "a")
            await asyncio.sleep(3600)
            task_id = client.sandbox.world.tasks[0].task_id
            text = f"From video not found by id: {task_id}"
            assert await refusal(client, "identify-face", {"video_id": task_id}) == (1201, text)
            lips = {**SIMPLE["lip-sync"]["input"], "video_id": task_id, "video_url": ""}
            assert await refusal(client, "lip-sync", {"input": lips}) == (1201, text)
            fitting = {**lips, "video_id": client.sandbox.world.tasks[0].video_id}
            done = await make(client, "lip-sync", {"input": fitting})
            assert done["task_info"]["parent_video"]["duration"] == "5.041"
            assert done["task_result"]["videos"][0]["duration"] == "5.041"

    run_virtual(main)


def test_a_reading_drives_an_avatar() -> None:
    async def main() -> None:
        async with serving() as client:
            [audio] = (await call(client, "tts", READING))["task_result"]["audios"]
            done = await make(client, "avatar", {"image": LINK, "audio_id": audio["id"]})
            told_s = float(done["task_result"]["videos"][0]["duration"])
            assert told_s == pytest.approx(float(audio["duration"]) + 0.041, abs=0.02)

    run_virtual(main)


async def opened(client: Client, **fields: Any) -> Any:
    video = await clip(client, **fields)
    return await call(client, "init-selection", {"video_id": video["id"]})


def test_an_edit_goes_from_a_selection_to_a_clip() -> None:
    async def main() -> None:
        async with serving() as client:
            session = await opened(client, aspect_ratio="1:1")
            session_id = session["session_id"]
            assert (session["status"], session["fps"], session["original_duration"]) == (0, 12, 5000)
            assert (session["width"], session["height"], session["total_frame"]) == (192, 192, 60)
            assert play((await client.fetch(session["normalized_video"])).body).length_s == 5
            mark = {"session_id": session_id, "frame_index": 0, "points": [{"x": 0.25, "y": 0.5}, {"x": 1, "y": 0}]}
            added = await call(client, "add-selection", mark)
            masks = added["res"]["rle_mask_list"]
            assert [mask["object_id"] for mask in masks] == [0, 1]
            for mask in masks:
                with Image.open(io.BytesIO(base64.b64decode(mask["png_mask"]["base64"]))) as shown:
                    assert [shown.height, shown.width] == mask["rle_mask"]["size"]
                    lit = shown.convert("L").histogram()[255]
                runs = list(map(int, mask["rle_mask"]["counts"].split()))
                assert sum(runs) == shown.width * shown.height
                assert sum(runs[1::2]) == lit > 10
            preview = await call(client, "preview-selection", {"session_id": session_id})
            assert set(preview["res"]) == {"video", "video_cover", "tracking_output"}
            edit = {
                "session_id": session_id,
                "edit_mode": "swap",
                "image_list": [{"image": LINK}],
                "prompt": "swap <<<image_1>>> into <<<video_1>>>",
            }
            done = await make(client, "multi-elements", edit)
            [video] = done["task_result"]["videos"]
            assert (video["session_id"], video["duration"]) == (session_id, "5.041")
            assert play((await client.fetch(video["url"])).body).size == (192, 192)
            for wrong, text in (
                ({"session_id": "1"}, "Session not found by id: 1"),
                ({"image_list": []}, "image_list value '0 images' is invalid"),
                ({"edit_mode": "removal"}, "image_list value '1 image' is invalid"),
                ({"edit_mode": "repaint"}, "edit_mode value 'repaint' is invalid"),
                ({"duration": "10"}, "duration value '10' is invalid"),
            ):
                assert await refusal(client, "multi-elements", {**edit, **wrong}) == (1201, text)

    run_virtual(main)


def test_marks_are_counted_taken_away_and_cleared() -> None:
    async def main() -> None:
        async with serving() as client:
            session_id = (await opened(client))["session_id"]
            point = {"x": 0.5, "y": 0.5}
            mark = {"session_id": session_id, "frame_index": 3, "points": [point]}
            await call(client, "add-selection", mark)
            left = await call(client, "delete-selection", mark)
            assert left["res"] == {"frame_index": 3, "rle_mask_list": []}
            assert (await refusal(client, "delete-selection", mark))[0] == 1201
            nothing = await call(client, "preview-selection", {"session_id": session_id})
            assert (nothing["status"] != 0, "res" in nothing) == (True, False)
            full = [{"x": 0.1, "y": number / 10} for number in range(10)]
            await call(client, "add-selection", {**mark, "points": full})
            assert (await refusal(client, "add-selection", mark))[1] == "points value '11 points' is invalid"
            for frame in range(4, 13):
                await call(client, "add-selection", {**mark, "frame_index": frame})
            assert (await refusal(client, "add-selection", {**mark, "frame_index": 13}))[0] == 1201
            cleared = await call(client, "clear-selection", {"session_id": session_id})
            assert cleared == {"status": 0, "session_id": session_id}
            await call(client, "add-selection", {**mark, "frame_index": 13})
            wrongs: list[dict[str, Any]] = [{"points": [{"x": 2, "y": 0}]}, {"points": []}, {"frame_index": None}]
            for wrong in wrongs:
                assert (await refusal(client, "add-selection", {**mark, **wrong}))[0] == 1201

    run_virtual(main)


def test_a_clip_of_an_unfit_length_is_recognised_as_such_and_costs_nothing() -> None:
    async def main() -> None:
        async with serving() as client:
            for length_s, status in (("6", 1), ("8", 0), ("4.9", 0), ("11", 1)):
                link = f"{CLIP}?sandbox-seconds={length_s}"
                before = client.sandbox.world.charged_total(client.sandbox.now_s())
                data = await call(client, "init-selection", {"video_url": link})
                assert data["status"] == status
                paid = client.sandbox.world.charged_total(client.sandbox.now_s()) - before
                assert bool(data["session_id"]) is (status == 0)
                assert paid == 1 - status
            both = {"video_url": CLIP, "video_id": "1"}
            assert (await refusal(client, "init-selection", both))[0] == 1201

    run_virtual(main)


def test_elements_and_voices_are_listed_deleted_and_gone() -> None:
    async def main() -> None:
        async with serving() as client:
            made = await make(client, "elements", SIMPLE["elements"])
            element_id = made["task_result"]["elements"][0]["element_id"]
            voice = (await make(client, "voices", SIMPLE["voices"]))["task_result"]["voices"][0]
            speaking = await make(client, "elements", {**SIMPLE["elements"], "element_voice_id": voice["voice_id"]})
            other_id = speaking["task_result"]["elements"][0]["element_id"]
            for path, gone_id in (("delete-advanced-elements", element_id), ("delete-elements", other_id)):
                body = {"element_id": str(gone_id)}
                assert (await client.ask("POST", f"/v1/general/{path}", json=body)).code == 0
                again = await client.ask("POST", f"/v1/general/{path}", json=body)
                assert again.json["message"] == f"Element not found by id: {gone_id}"
            rows = (await client.ask("GET", "/v1/general/advanced-custom-elements")).data
            assert [row["task_result"]["elements"][0]["status"] for row in rows] == ["deleted", "deleted"]
            named = {**SIMPLE["omni-video"], "element_list": [{"element_id": element_id}]}
            assert await refusal(client, "omni-video", named) == (1201, f"Element not found by id: {element_id}")
            body = {"voice_id": voice["voice_id"]}
            assert (await client.ask("POST", "/v1/general/delete-voices", json=body)).code == 0
            [row] = (await client.ask("GET", "/v1/general/custom-voices?pageSize=1000")).data
            assert row["task_result"]["voices"][0]["status"] == "deleted"
            assert (await client.ask("GET", "/v1/general/advanced-custom-elements?pageSize=1000")).code == 1201

    run_virtual(main)


def test_every_account_comes_with_some_elements_and_voices() -> None:
    async def main() -> None:
        async with serving() as client:
            elements = (await client.ask("GET", "/v1/general/advanced-presets-elements")).data
            ids = [row["task_result"]["elements"][0]["element_id"] for row in elements]
            named = {**SIMPLE["omni-video"], "element_list": [{"element_id": made_id} for made_id in ids]}
            assert (await ask(client, "omni-video", named)).code == 0
            voices = (await client.ask("GET", "/v1/general/presets-voices?pageSize=1&pageNum=2")).data
            [voice] = voices[0]["task_result"]["voices"]
            body = {"voice_id": voice["voice_id"]}
            refused = await client.ask("POST", "/v1/general/delete-voices", json=body)
            assert refused.json["message"] == f"Voice not found by id: {voice['voice_id']}"

    run_virtual(main)


def test_an_element_from_a_video_goes_with_the_third_generation_alone_and_with_no_video() -> None:
    async def main() -> None:
        async with serving() as client:
            body = {"reference_type": "video_refer", "element_video_list": {"refer_videos": [{"video_url": CLIP}]}}
            made = await make(client, "elements", {**SIMPLE["elements"], **body})
            element = made["task_result"]["elements"][0]
            assert element["reference_type"] == "video_refer"
            named = {**SIMPLE["omni-video"], "sound": "off", "element_list": [{"element_id": element["element_id"]}]}
            assert (await ask(client, "omni-video", named)).code == 0
            assert (await refusal(client, "omni-video", {**named, "model_name": "kling-video-o1"}))[0] == 1201
            beside = {**named, "video_list": [{"video_url": CLIP, "refer_type": "feature"}]}
            assert (await refusal(client, "omni-video", beside))[0] == 1201

    run_virtual(main)


def test_sessions_marks_and_deletions_outlive_a_restart(tmp_path: Any) -> None:
    path = tmp_path / "journal.jsonl"

    async def main() -> None:
        async with serving(journal_path=path) as client:
            session_id = (await opened(client))["session_id"]
            mark = {"session_id": session_id, "frame_index": 3, "points": [{"x": 0.5, "y": 0.5}]}
            await call(client, "add-selection", mark)
            made = await make(client, "elements", SIMPLE["elements"])
            element_id = made["task_result"]["elements"][0]["element_id"]
            await call(client, "delete-elements", {"element_id": str(element_id)})
        async with serving(journal_path=path) as client:
            assert "res" in await call(client, "preview-selection", {"session_id": session_id})
            await call(client, "delete-selection", mark)
            named = {**SIMPLE["omni-video"], "element_list": [{"element_id": element_id}]}
            assert (await refusal(client, "omni-video", named))[0] == 1201

    run_virtual(main)
