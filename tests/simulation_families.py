"""Lines of every product, in families of items that take each other's results; what each of them can be told anew."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

Line = dict[str, Any]

PICTURE = "media/start.png"


def film(name: str, seconds: int = 5) -> str:
    """The address of a film that the simulated service finds so long."""
    return f"https://example.com/{name}.mp4?sandbox-seconds={seconds}"


def item(name: str, asset: int = 1) -> Line:
    """What another item made."""
    return {"item": name} if asset == 1 else {"item": name, "asset": asset}


def _clip(name: str, dice: random.Random) -> list[Line]:
    models: list[Line] = [
        {"model_name": "kling-v2-5-turbo", "duration": "5"},
        {"model_name": "kling-v1", "mode": "pro"},
        {"kind": "image2video", "model_name": "kling-v2-1", "image": PICTURE},
        {"kind": "multi-image2video", "image_list": [{"image": PICTURE}] * 2},
        {"kind": "omni-video", "mode": "std", "aspect_ratio": "1:1", "duration": 5},
    ]
    return [{"id": name, "prompt": f"scene of {name}", **dice.choice(models)}]


def _clip_of_second(name: str, dice: random.Random) -> list[Line]:
    models: list[Line] = [
        {"model_name": "kling-3.0-turbo", "duration": 3},
        {"model_name": "kling-3.0", "duration": 4, "resolution": "1080p"},
        {"kind": "image2video", "model_name": "kling-2.5-turbo", "image": PICTURE, "duration": 5},
        {"kind": "omni-video", "model_name": "kling-3.0-omni", "duration": 3, "aspect_ratio": "16:9"},
    ]
    return [{"id": name, "prompt": f"scene of {name}", **dice.choice(models)}]


def _pictures(name: str, dice: random.Random) -> list[Line]:
    count = dice.randint(1, 3)
    hero = {"id": name, "kind": "images", "model_name": "kling-v2-1", "prompt": f"portrait of {name}", "n": count}
    walk = {"id": f"{name}-walk", "kind": "image2video", "model_name": "kling-v1-6", "prompt": f"{name} walks"}
    seen = {"id": f"{name}-seen", "kind": "image-recognize", "image": item(name)}
    return [hero, *dice.choice([[], [{**walk, "image": item(name, dice.randint(1, count))}], [seen]])]


def _more_pictures(name: str, dice: random.Random) -> list[Line]:
    shapes: list[Line] = [
        {"kind": "omni-image", "prompt": f"portrait of {name}", "image_list": [{"image": PICTURE}]},
        {"kind": "omni-image", "prompt": f"portrait of {name}", "result_type": "series", "series_amount": 2},
        {"kind": "multi-image2image", "prompt": f"{name} at sea", "subject_image_list": [{"subject_image": PICTURE}]},
        {"kind": "ai-multi-shot", "element_frontal_image": PICTURE},
        {"kind": "virtual-try-on", "human_image": PICTURE, "cloth_image": PICTURE},
    ]
    return [{"id": name, **dice.choice(shapes)}]


def _extended(name: str, dice: random.Random) -> list[Line]:
    clip: Line = {"id": name, "model_name": "kling-v1-6", "prompt": f"scene of {name}"}
    longer: Line = {
        "id": f"{name}-longer",
        "kind": "video-extend",
        "prompt": f"{name} goes on",
        "video_id": item(name),
    }
    longest = {**longer, "id": f"{name}-longest", "video_id": item(longer["id"])}
    return dice.choice([[clip, longer], [longest, clip, longer]])


def _effects(name: str, dice: random.Random) -> list[Line]:
    one = {"effect_scene": dice.choice(["pet_dance", "surfsurf"]), "input": {"image": PICTURE}}
    two = {"effect_scene": "hug_pro", "input": {"images": [PICTURE] * 2}}
    return [{"id": name, "kind": "effects", **dice.choice([one, two])}]


def _sounds(name: str, dice: random.Random) -> list[Line]:
    rain: Line = {"id": name, "kind": "text-to-audio", "prompt": f"rain on {name}", "duration": 5}
    clip: Line = {"id": name, "model_name": "kling-v2-5-turbo", "prompt": f"scene of {name}"}
    heard: Line = {"id": f"{name}-heard", "kind": "video-to-audio", "sound_effect_prompt": f"steps of {name}"}
    return dice.choice([[rain], [clip, {**heard, "video_id": item(name)}], [{**heard, "video_url": film(name)}]])


def _spoken(name: str) -> Line:
    text = f"The words of {name}: forty years I have kept this light, and it has not gone out."
    return {"id": name, "kind": "tts", "text": text, "voice_id": "oversea_male1", "voice_language": "en"}


def _speech(name: str, dice: random.Random) -> list[Line]:
    avatar: Line = {"id": f"{name}-face", "kind": "avatar", "image": PICTURE, "prompt": f"{name} speaks", "seconds": 5}
    sound = dice.choice(["sound_file", "audio_id"])
    return [_spoken(name), *dice.choice([[], [{**avatar, sound: item(name)}]])]


def _lips(name: str, dice: random.Random) -> list[Line]:
    clip: Line = {"id": name, "model_name": "kling-v1-6", "prompt": f"scene of {name}"}
    talk: Line = {"mode": "text2video", "text": f"hello from {name}", "voice_id": "genshin_vindi2"}
    talk |= {"voice_language": "en"}
    if dice.random() < 0.5:
        return [{"id": name, "kind": "lip-sync", "input": {**talk, "video_url": film(name)}, "seconds": 5}]
    return [clip, {"id": f"{name}-lips", "kind": "lip-sync", "input": {**talk, "video_id": item(name)}}]


def _faces(name: str, dice: random.Random) -> list[Line]:
    clip: Line = {"id": name, "model_name": "kling-v1-6", "prompt": f"scene of {name}"}
    face: Line = {"id": f"{name}-found", "kind": "identify-face", "video_id": item(name)}
    if dice.random() < 0.5:
        clip, face = {}, {**face, "video_url": film(name)}
        del face["video_id"]
    said, found = f"{name}-said", item(f"{name}-found")
    chosen = {"face_id": found, "sound_start_time": 0, "sound_end_time": 3000, "sound_insert_time": 500}
    talks: Line = {"id": f"{name}-talks", "kind": "advanced-lip-sync", "session_id": found}
    talks |= {"face_choose": [{**chosen, "audio_id": item(said)}], "seconds": 5}
    return [line for line in dice.choice([[clip, face], [clip, face, _spoken(said), talks]]) if line]


def _known(name: str, dice: random.Random) -> list[Line]:
    images = {"frontal_image": PICTURE, "refer_images": [{"image_url": PICTURE}]}
    element: Line = {"id": name, "kind": "elements", "element_name": name, "element_description": f"hero of {name}"}
    element |= {"reference_type": "image_refer", "element_image_list": images}
    acts: Line = {"id": f"{name}-acts", "kind": "image2video", "model_name": "kling-v3", "prompt": f"{name} acts"}
    acts |= {"image": PICTURE, "element_list": [{"element_id": item(name)}], "duration": 3}
    voice: Line = {"id": name, "kind": "voices", "voice_name": name}
    voice |= {"voice_url": "https://example.com/voice.mp3?sandbox-seconds=8"}
    return dice.choice([[element], [element, acts], [voice]])


def _selected(name: str, _: random.Random) -> list[Line]:
    opened: Line = {"id": name, "kind": "init-selection", "video_url": film(name), "credits": "1"}
    chosen: Line = {"id": f"{name}-chosen", "kind": "add-selection", "session_id": item(name), "frame_index": 3}
    chosen |= {"points": [{"x": 0.5, "y": 0.25}]}
    edited: Line = {"id": f"{name}-edited", "kind": "multi-elements", "session_id": item(chosen["id"])}
    return [opened, chosen, {**edited, "edit_mode": "removal", "prompt": f"without {name}"}]


def _moved(name: str, _: random.Random) -> list[Line]:
    """The clip is handed on by its address."""
    clip: Line = {"id": name, "model_name": "kling-v1-6", "prompt": f"scene of {name}"}
    moved: Line = {"id": f"{name}-moved", "kind": "motion-control", "mode": "std", "character_orientation": "image"}
    return [clip, {**moved, "image_url": PICTURE, "video_url": item(name), "seconds": 5}]


FIRST: Mapping[str, Callable[[str, random.Random], list[Line]]] = {
    "clip": _clip,
    "pictures": _pictures,
    "more pictures": _more_pictures,
    "extended": _extended,
    "effects": _effects,
    "sounds": _sounds,
    "speech": _speech,
    "lips": _lips,
    "faces": _faces,
    "known": _known,
    "selected": _selected,
    "moved": _moved,
}
"""Families that a key pair reaches."""

ALL = {**FIRST, "second": _clip_of_second, "second again": _clip_of_second}
"""Families that an API key reaches."""


def retold(line: Line, take: int) -> Line:
    """The line with other words; the same line where it has none."""
    for field in ("prompt", "text", "element_description", "sound_effect_prompt"):
        if field in line:
            return {**line, field: f"{line[field].partition(', take')[0]}, take {take}"}
    if line.get("kind") == "lip-sync":
        words = f"{line['input']['text'].partition(', take')[0]}, take {take}"
        return {**line, "input": {**line["input"], "text": words}}
    return line


def sources(value: Any) -> set[str]:
    """The items that a line takes results of."""
    if isinstance(value, dict) and "item" in value:
        return {value["item"]}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {name for each in inner for name in sources(each)}
