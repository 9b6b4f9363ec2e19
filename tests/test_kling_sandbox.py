"""The client against the simulated service: every product of both generations, read as the service meant it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import pytest
from kling_stub import OpenGate
from products_kit import CLIP, LINK, SIMPLE
from sandbox_kit import START_S, Client, serving

from batch_runner import catalog
from batch_runner.kling import Credentials, KlingClient, TokenSource, account_concurrency, open_session
from batch_runner.model import Accepted, Generation, Pack, Route, Task, TaskStatus
from batch_runner.sandbox import SandboxTask, WorldConfig
from batch_runner.sandbox.results import results
from batch_runner.virtual_time import VirtualClock, run_virtual

T = TypeVar("T")
ALL_MADE = ("video_id", "audio_id", "element_id", "voice_id", "session_id", "face_id")


@dataclass
class Stage:
    client: KlingClient
    service: Client
    numbers: int = 0

    async def accept(self, kind: str, fields: Mapping[str, Any]) -> tuple[Route, Task]:
        """Check an item as a manifest does, and ask for it."""
        checked = catalog.check(kind, fields)
        assert not checked.problems
        route = catalog.route(kind, catalog.model_of(kind, checked.body))
        self.numbers += 1
        outcome = await self.client.create(route, checked.body, f"ours-{self.numbers}")
        assert isinstance(outcome, Accepted), outcome
        return route, outcome.task

    async def make(self, kind: str, fields: Mapping[str, Any]) -> Task:
        """Ask for an item and wait for its end."""
        route, task = await self.accept(kind, fields)
        while not task.status.is_terminal:
            await asyncio.sleep(20.0)
            found = await self.client.find(route, task.task_id)
            assert found is not None
            task = found
        assert task.status is TaskStatus.SUCCEEDED, task.message
        return task

    def meant(self, task: Task) -> SandboxTask:
        """The service's own record of a task."""
        calls = [*self.service.sandbox.world.tasks]
        return next(one for one in calls if one.task_id == task.task_id)

    async def fetched(self, task: Task) -> list[bytes]:
        """Every file of a task, each from its own link."""
        async with aiohttp.ClientSession() as session:
            contents = []
            for asset in task.assets:
                if not asset.url:
                    contents.append(asset.content)
                    continue
                async with session.get(asset.url) as response:
                    assert response.status == 200
                    contents.append(await response.read())
        return contents


def play(act: Callable[[Stage], Awaitable[T]]) -> T:
    async def main() -> T:
        async with serving() as service, open_session(service.sandbox.base_url) as session:
            tokens = TokenSource(
                Credentials.from_api_key(service.sandbox.api_key), VirtualClock(asyncio.get_running_loop())
            )
            return await act(Stage(KlingClient(session, service.sandbox.base_url, tokens, OpenGate()), service))

    return run_virtual(main)


def made_by(record: SandboxTask) -> dict[str, list[str]]:
    """The ids that the service gave its results, by what they are ids of."""
    found: dict[str, list[str]] = {}
    for result in results(record):
        if f"{result.kind}_id" in ALL_MADE and result.result_id:
            found.setdefault(f"{result.kind}_id", []).append(result.result_id)
    return found


@pytest.mark.parametrize("kind", SIMPLE)
def test_every_product_of_the_first_generation_is_read_whole(kind: str) -> None:
    async def act(stage: Stage) -> None:
        task = await stage.make(kind, SIMPLE[kind])
        record = stage.meant(task)
        wanted = [file for result in results(record) for name, file in result.files.items() if "url" in name]
        has_files = kind not in {"elements", "voices"}
        assert sum(bool(asset.url) for asset in task.assets) == (len(wanted) if has_files else 0)
        assert task.charged == record.credits
        assert {name: [str(one) for one in task.made[f"{name}s"]] for name in made_by(record)} == made_by(record)
        contents = await stage.fetched(task)
        if has_files:
            assert contents == [file.content() for file in wanted]
            assert [asset.suffix for asset in task.assets] == [f".{file.name.rpartition('.')[2]}" for file in wanted]
        else:
            assert [asset.suffix for asset in task.assets] == [".json"]
            assert "://" not in contents[0].decode()
            (row,) = json.loads(contents[0])[kind]
            assert row[f"{kind[:-1]}_name"] == SIMPLE[kind][f"{kind[:-1]}_name"]

    play(act)


async def clip(stage: Stage) -> str:
    fields = {"prompt": "a fox", "model_name": "kling-v1-6", "duration": 5}
    video_id: str = (await stage.make("text2video", fields)).made["video_id"]
    return video_id


def test_a_face_is_found_and_speaks() -> None:
    async def act(stage: Stage) -> None:
        _, faces = await stage.accept("identify-face", {"video_id": await clip(stage)})
        assert faces.status is TaskStatus.SUCCEEDED
        speech = {"text": "good morning", "voice_id": "uk_boy1", "voice_language": "en"}
        _, spoken = await stage.accept("tts", speech)
        assert (spoken.status, spoken.assets[0].suffix) == (TaskStatus.SUCCEEDED, ".mp3")
        assert (await stage.fetched(spoken))[0]
        (only,) = faces.assets
        told = json.loads(only.content)
        assert told["session_id"] == faces.made["session_id"]
        assert [face["face_id"] for face in told["face_data"]] == faces.made["face_ids"]
        choice = {
            "face_id": faces.made["face_id"],
            "audio_id": spoken.made["audio_id"],
            "sound_start_time": 0,
            "sound_end_time": 2000,
            "sound_insert_time": 0,
        }
        speaking = await stage.make(
            "advanced-lip-sync", {"session_id": faces.made["session_id"], "face_choose": [choice]}
        )
        assert speaking.made["video_id"] == stage.meant(speaking).video_id

    play(act)


def test_a_selection_leads_to_an_edited_clip() -> None:
    async def act(stage: Stage) -> None:
        _, opened = await stage.accept("init-selection", {"video_id": await clip(stage)})
        session = {"session_id": opened.made["session_id"]}
        point = {**session, "frame_index": 3, "points": [{"x": 0.5, "y": 0.25}]}
        _, marked = await stage.accept("add-selection", point)
        (facts,) = marked.assets
        masks = json.loads(facts.content)["res"]["rle_mask_list"]
        assert masks[0]["png_mask"]["base64"]
        assert masks[0]["rle_mask"]["counts"]
        _, seen = await stage.accept("preview-selection", session)
        assert seen.made["session_id"] == session["session_id"]
        fields = {**session, "prompt": "remove <<<video_1>>>", "edit_mode": "removal", "mode": "std", "duration": 5}
        edited = await stage.make("multi-elements", fields)
        assert (edited.made["video_id"], edited.made["session_id"]) == (
            stage.meant(edited).video_id,
            session["session_id"],
        )

    play(act)


def test_a_clip_goes_on_by_its_id() -> None:
    async def act(stage: Stage) -> None:
        longer = await stage.make("video-extend", {"video_id": await clip(stage), "prompt": "and on"})
        assert longer.made["video_id"] == stage.meant(longer).video_id

    play(act)


def test_a_recognised_picture_tells_what_is_in_which_file() -> None:
    async def act(stage: Stage) -> None:
        _, task = await stage.accept("image-recognize", {"image": LINK})
        *masks, facts = task.assets
        told = json.loads(facts.content)["images"]
        assert len(masks) == sum(row["is_contain"] for row in told) < len(told)
        assert all(await stage.fetched(task))

    play(act)


NEWER: Mapping[str, dict[str, Any]] = {
    "text2video": {"model_name": "kling-3.0-turbo", "prompt": "a fox", "duration": 3},
    "image2video": {"model_name": "kling-3.0", "prompt": "a fox", "image": LINK, "duration": 5, "multi_shot": False},
    "omni-video": {
        "model_name": "kling-3.0-omni",
        "prompt": "<<<image_1>>> runs",
        "image_list": [{"image_url": LINK}],
        "aspect_ratio": "16:9",
        "duration": 4,
        "multi_shot": False,
    },
    "motion-control": {
        "model_name": "kling-3.0",
        "image_url": LINK,
        "video_url": CLIP,
        "character_orientation": "image",
    },
}


@pytest.mark.parametrize("kind", NEWER)
def test_every_route_of_the_second_generation_is_read_whole(kind: str) -> None:
    async def act(stage: Stage) -> None:
        task = await stage.make(kind, NEWER[kind])
        record = stage.meant(task)
        assert (record.kind, record.generation) == (kind, Generation.V2)
        assert task.charged == record.credits
        assert (task.external_task_id, task.made["video_id"]) == ("ours-1", record.video_id)
        ((file,),) = (list(result.files.values()) for result in results(record))
        assert await stage.fetched(task) == [file.content()]

    play(act)


def test_tasks_of_both_generations_are_found_by_name_and_by_searching() -> None:
    async def act(stage: Stage) -> None:
        newer = [await stage.make("text2video", NEWER["text2video"]) for _ in range(3)]
        older = await stage.make("images", SIMPLE["images"])
        by_id = await stage.client.find_many(task_ids=[newer[0].task_id, older.task_id, "404"])
        assert {task.task_id for task in by_id.tasks} == {newer[0].task_id, older.task_id}
        both = await stage.client.find_many(task_ids=[newer[0].task_id], external_task_ids=["ours-2", "ours-404"])
        assert [task.task_id for task in both.tasks] == [newer[0].task_id, newer[1].task_id]
        found: list[Task] = []
        cursor: str | None = None
        while True:
            rows, cursor = await stage.client.tasks(cursor, limit=2)
            found += rows
            if cursor is None:
                break
        assert {task.task_id for task in found} == {task.task_id for task in (*newer, older)}
        assert len(found) == 4
        assert stage.client.malformed_rows == 0
        (picture,) = [task for task in found if task.task_id == older.task_id]
        assert [asset.suffix for asset in picture.assets] == [".png", ".png"]
        assert picture.charged == older.charged
        assert await stage.client.find(catalog.route("text2video", "kling-3.0-turbo"), "404") is None

    play(act)


def test_the_account_tells_what_it_took_from_which_pack() -> None:
    async def act(stage: Stage) -> None:
        made = [await stage.make("text2video", SIMPLE["text2video"]), await stage.make("images", SIMPLE["images"])]
        now_s = VirtualClock(asyncio.get_running_loop(), START_S).wall_s()
        deductions, cursor = [], None
        while True:
            rows, cursor = await stage.client.deductions(
                cursor, start_ms=int(START_S * 1000), end_ms=int(now_s * 1000), limit=1
            )
            deductions += rows
            if cursor is None:
                break
        taken = {row.task_id: (row.amount, row.pack) for row in deductions}
        assert taken == {
            made[0].task_id: (made[0].charged, Pack.VIDEO),
            made[1].task_id: (made[1].charged, Pack.IMAGE),
        }
        packs = await stage.client.packs(int((now_s - 86_400) * 1000), int(now_s * 1000))
        assert {pack.pack for pack in packs} == set(Pack)
        assert all(pack.is_active(now_s) for pack in packs)
        assert account_concurrency(packs, Pack.VIDEO, now_s) == WorldConfig().max_concurrent

    play(act)
