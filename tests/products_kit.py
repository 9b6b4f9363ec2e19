"""One good request for every product of the simulated service, and what its results are."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import av
from sandbox_kit import Client, Reply, picture

from batch_runner.sandbox.products import PRODUCTS
from batch_runner.sandbox.sounds import SoundWish, render_sound

LINK = "https://example.com/a.png"
CLIP = "https://example.com/a.mp4"
PRESET_ELEMENT = 820000000000001
PRESET_VOICE = "810000000000001"


def sound(length_s: float, form: str = "wav") -> str:
    return base64.b64encode(render_sound(SoundWish("a voice", length_s, form))).decode()


SIMPLE: Mapping[str, dict[str, Any]] = {
    "text2video": {"prompt": "a fox"},
    "image2video": {"prompt": "a fox", "image": LINK},
    "omni-video": {"prompt": "a fox", "aspect_ratio": "9:16", "model_name": "kling-v3-omni", "sound": "on"},
    "multi-image2video": {"prompt": "a fox", "image_list": [{"image": LINK}, {"image": LINK}]},
    "motion-control": {"image_url": LINK, "video_url": CLIP, "character_orientation": "image", "mode": "std"},
    "lip-sync": {
        "input": {
            "mode": "text2video",
            "video_url": CLIP,
            "text": "hello",
            "voice_id": "uk_boy1",
            "voice_language": "en",
        }
    },
    "avatar": {"image": LINK, "sound_file": "https://example.com/a.mp3?sandbox-seconds=7.5"},
    "effects": {"effect_scene": "pet_dance", "input": {"image": LINK}},
    "text-to-audio": {"prompt": "rain", "duration": 3.5},
    "video-to-audio": {"video_url": CLIP, "bgm_prompt": "a waltz"},
    "images": {"prompt": "a fox", "n": 2, "aspect_ratio": "21:9"},
    "omni-image": {"prompt": "a fox", "result_type": "series", "series_amount": 3},
    "multi-image2image": {"subject_image_list": [{"subject_image": LINK}], "prompt": "together"},
    "expand": {
        "image": LINK,
        "up_expansion_ratio": 0.5,
        "down_expansion_ratio": 0,
        "left_expansion_ratio": 0.2,
        "right_expansion_ratio": 0.1,
    },
    "virtual-try-on": {"human_image": LINK, "cloth_image": LINK},
    "ai-multi-shot": {"element_frontal_image": LINK},
    "elements": {
        "element_name": "fox",
        "element_description": "a small fox",
        "reference_type": "image_refer",
        "element_image_list": {"frontal_image": LINK, "refer_images": [{"image_url": LINK}]},
    },
    "voices": {"voice_name": "mine", "voice_url": "https://example.com/v.mp3?sandbox-seconds=8"},
}
"""By kind: a request that needs nothing made before. The rest are chains."""


@dataclass(frozen=True)
class Played:
    """What a decoder found in a file."""

    pictures: int
    samples: int
    length_s: float
    size: tuple[int, int] = (0, 0)


def play(content: bytes) -> Played:
    """Decode a file to its end."""
    with av.open(io.BytesIO(content), mode="r") as container:
        length_s = float(container.duration or 0) / 1_000_000
        frames = list(container.decode(video=0)) if container.streams.video else []
    with av.open(io.BytesIO(content), mode="r") as container:
        sounds = list(container.decode(audio=0)) if container.streams.audio else []
    size = (frames[0].width, frames[0].height) if frames else (0, 0)
    return Played(len(frames), sum(frame.samples for frame in sounds), length_s, size)


async def make(client: Client, kind: str, fields: Mapping[str, Any], name: str | None = None) -> Any:
    """Create a task and wait for its end; the data of the query."""
    path = PRODUCTS[kind].path
    reply = await ask(client, kind, fields, name)
    assert reply.code == 0, reply.json
    while True:
        data = (await client.ask("GET", f"{path}/{reply.data['task_id']}")).data
        if data["task_status"] in {"succeed", "failed"}:
            return data
        await asyncio.sleep(20)


async def ask(client: Client, kind: str, fields: Mapping[str, Any], name: str | None = None) -> Reply:
    own = {} if name is None else {"external_task_id": name}
    return await client.ask("POST", PRODUCTS[kind].path, json={**fields, **own})


async def refusal(client: Client, kind: str, fields: Mapping[str, Any]) -> tuple[int, str]:
    reply = await ask(client, kind, fields)
    return reply.code, reply.json["message"]


def good_picture() -> str:
    return picture(640, 360)
