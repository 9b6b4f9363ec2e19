"""More families of lines: what the account keeps in the second generation, changed selections, expanded pictures."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from simulation_families import PICTURE, Line, film, item


def _point(dice: random.Random) -> Line:
    """No other call of the batch names this frame, so that a call tells whose it is."""
    return {"frame_index": dice.randrange(10**6), "points": [{"x": 0.5, "y": 0.25}]}


def _expanded(name: str, dice: random.Random) -> list[Line]:
    sides = ("up", "down", "left", "right")
    wider: Line = {f"{side}_expansion_ratio": dice.choice([0, 0.1, 0.25]) for side in sides}
    wider |= {"id": f"{name}-wider", "kind": "expand", "prompt": f"{name} at sea", "n": dice.randint(1, 2)}
    hero: Line = {"id": name, "kind": "images", "model_name": "kling-v2-1", "prompt": f"portrait of {name}"}
    return dice.choice([[{**wider, "image": PICTURE}], [hero, {**wider, "image": item(name)}]])


def _reselected(name: str, dice: random.Random) -> list[Line]:
    """A selection that is changed in one or two ways, and used; each call waits for the one before."""
    opened: Line = {"id": name, "kind": "init-selection", "video_url": film(name), "credits": "1"}
    point = _point(dice)
    calls: list[Line] = [{"kind": "add-selection", **point}]
    for way in dice.sample(["preview", "delete", "clear"], dice.randint(1, 2)):
        calls.append({"kind": f"{way}-selection", **(point if way == "delete" else {})})
        if way != "preview":
            point = _point(dice)
            calls.append({"kind": "add-selection", **point})
    edited: Line = {"kind": "multi-elements", "edit_mode": "removal", "prompt": f"without {name}"}
    lines = [opened]
    for number, call in enumerate([*calls, edited]):
        lines.append({"id": f"{name}-{number}", **call, "session_id": item(lines[-1]["id"])})
    return lines


def _moved_of_second(name: str, dice: random.Random) -> list[Line]:
    moved: Line = {"id": f"{name}-moved", "kind": "motion-control", "model_name": "kling-2.6", "image_url": PICTURE}
    moved |= {"character_orientation": dice.choice(["image", "video"]), "seconds": 5}
    clip: Line = {"id": name, "model_name": "kling-2.5-turbo", "prompt": f"scene of {name}", "duration": 5}
    return dice.choice([[{**moved, "video_url": film(name)}], [clip, {**moved, "video_url": item(name)}]])


def _moved_element(name: str, _: random.Random) -> list[Line]:
    images = {"frontal_image": PICTURE, "refer_images": [{"image_url": PICTURE}]}
    element: Line = {"id": name, "kind": "elements", "element_name": name, "element_description": f"hero of {name}"}
    element |= {"reference_type": "image_refer", "element_image_list": images}
    moved: Line = {"id": f"{name}-moved", "kind": "motion-control", "model_name": "kling-3.0", "image_url": PICTURE}
    moved |= {"character_orientation": "video", "video_url": film(name), "seconds": 5}
    return [element, {**moved, "element_list": [{"element_id": item(name)}]}]


def _voiced(name: str, dice: random.Random) -> list[Line]:
    voice: Line = {"id": name, "kind": "voices", "voice_name": name}
    voice |= {"voice_url": "https://example.com/voice.mp3?sandbox-seconds=8"}
    says: Line = {"id": f"{name}-says", "kind": "image2video", "model_name": "kling-2.6", "image": PICTURE}
    says |= {"prompt": f"{name} says good morning", "resolution": "1080p", "audio": "native", "duration": 5}
    return [voice, {**says, "voice_list": [{"voice_id": item(name)}] * dice.choice([1, 1, 2])}]


RARE_FIRST: Mapping[str, Callable[[str, random.Random], list[Line]]] = {
    "expanded": _expanded,
    "reselected": _reselected,
}
"""Families that a key pair reaches."""

RARE: Mapping[str, Callable[[str, random.Random], list[Line]]] = {
    **RARE_FIRST,
    "moved of second": _moved_of_second,
    "moved element": _moved_element,
    "voiced": _voiced,
}
"""Families that an API key reaches."""
