"""Omni clips of the first generation: words, frames, references, elements and videos in one request."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import product as cross
from typing import Any

from walk import PICTURE, PROMPT, VIDEO, Illegal, Legal, Step, made_by

KIND = "omni-video"
O1, V3 = "kling-video-o1", "kling-v3-omni"
MODES = {O1: ("std", "pro"), V3: ("std", "pro", "4k")}
LENGTHS = {O1: range(3, 11), V3: range(3, 16)}
# By mode: credits a second silent, with native audio, with a video.
RATES = {"std": ("0.6", "0.8", "0.9"), "pro": ("0.8", "1.0", "1.2"), "4k": ("3.0", "3.0", "3.0")}

FIRST = {"image_url": PICTURE, "type": "first_frame"}
END = {"image_url": PICTURE, "type": "end_frame"}
REFERENCE = {"image_url": PICTURE}
ELEMENT = {"element_id": made_by("element")}
SHAPE = {"aspect_ratio": "16:9"}
FEATURE = {"video_list": [{"video_url": VIDEO, "refer_type": "feature"}]}
BASE = {"video_list": [{"video_url": VIDEO, "refer_type": "base"}]}
# What goes in, and whether it makes O1 free in its length.
INPUTS: dict[str, tuple[dict[str, Any], bool]] = {
    "words": (SHAPE, False),
    "a first frame": ({"image_list": [FIRST]}, False),
    "both frames": ({"image_list": [FIRST, END]}, False),
    "a reference": (SHAPE | {"image_list": [REFERENCE]}, True),
    "seven references": (SHAPE | {"image_list": [REFERENCE] * 7}, True),
    "a first frame and a reference": ({"image_list": [FIRST, REFERENCE]}, True),
    "an element": (SHAPE | {"element_list": [ELEMENT]}, True),
    "images and elements, seven in all": (SHAPE | {"image_list": [REFERENCE] * 4, "element_list": [ELEMENT] * 3}, True),
    "a first frame and three elements": ({"image_list": [FIRST], "element_list": [ELEMENT] * 3}, True),
}


def fields_of(model: str, mode: str, **more: Any) -> dict[str, Any]:
    return {"prompt": PROMPT, "model_name": model, "mode": mode, **more}


def clips() -> Iterator[Step]:
    for model, mode, clip_s, what in cross((O1, V3), ("std", "pro", "4k"), range(2, 17), INPUTS):
        inputs, is_free = INPUTS[what]
        name, fields = f"{model} {mode} {clip_s} s of {what}", fields_of(model, mode, duration=clip_s) | inputs
        if mode not in MODES[model]:
            yield Illegal(name, KIND, fields, "mode")
        elif clip_s not in LENGTHS[model] or (model == O1 and not is_free and clip_s not in {5, 10}):
            yield Illegal(name, KIND, fields, "duration")
        else:
            yield Legal(name, KIND, fields, Decimal(RATES[mode][0]) * clip_s)


def audio() -> Iterator[Step]:
    for model, mode, clip_s, what in cross((O1, V3), ("std", "pro", "4k"), range(3, 16), ("words", "a first frame")):
        if mode not in MODES[model] or clip_s not in LENGTHS[model]:
            continue
        name = f"{model} {mode} {clip_s} s of {what}, with sound"
        fields = fields_of(model, mode, duration=clip_s, sound="on") | INPUTS[what][0]
        if model == O1:
            yield Illegal(name, KIND, fields, "sound")
        else:
            yield Legal(name, KIND, fields, Decimal(RATES[mode][1]) * clip_s)


def videos() -> Iterator[Step]:
    for model, mode in cross((O1, V3), ("std", "pro", "4k")):
        if mode not in MODES[model]:
            continue
        rate, name = Decimal(RATES[mode][2]), f"{model} {mode}"
        for clip_s in LENGTHS[model]:
            fields = fields_of(model, mode, duration=clip_s) | SHAPE | FEATURE
            yield Legal(f"{name} {clip_s} s like a video", KIND, fields, rate * clip_s)
        for source, billed in (("3", 3), ("4.4", 4), ("7.5", 8), ("9.96", 10)):
            for what, video in (("a video to edit", BASE), ("a video", {"video_list": [{"video_url": VIDEO}]})):
                fields = fields_of(model, mode) | video
                yield Legal(f"{name} of {what} of {source} s", KIND, fields, rate * billed, source_s=Decimal(source))
        yield Illegal(
            f"{name}, a video to edit and a length", KIND, fields_of(model, mode, duration=5) | BASE, "duration"
        )
        taking: list[tuple[str, dict[str, Any]]] = [("like a video", SHAPE | FEATURE), ("of a video", BASE)]
        for what, inputs in taking:
            fields = fields_of(model, mode) | inputs
            yield Illegal(f"{name} {what} with sound", KIND, fields | {"sound": "on"}, "sound")
            four = fields | {"image_list": [REFERENCE] * 2, "element_list": [ELEMENT] * 2}
            yield Legal(f"{name} {what} with four more", KIND, four, rate * 5, source_s=Decimal(5))
            five = fields | {"image_list": [REFERENCE] * 3, "element_list": [ELEMENT] * 2}
            yield Illegal(f"{name} {what} with five more", KIND, five, "image_list")
    two = {"video_list": [{"video_url": VIDEO}] * 2}
    yield Illegal("two videos", KIND, fields_of(V3, "pro") | two, "video_list")


def several_shots() -> Iterator[Step]:
    told = {"multi_shot": True, "shot_type": "intelligence"} | SHAPE
    parts = [{"index": index, "prompt": f"part {index}", "duration": 3} for index in (1, 2)]
    own = {"multi_shot": True, "shot_type": "customize", "multi_prompt": parts, "duration": 6, "prompt": None} | SHAPE
    for model, mode in cross((O1, V3), ("std", "pro", "4k")):
        if mode not in MODES[model]:
            continue
        for what, shots, clip_s in (
            ("told", told, 5),
            ("own", own, 6),
            ("framed", told | {"image_list": [FIRST, END]}, 5),
        ):
            name = f"{model} {mode}, {what} shots"
            fields = {key: value for key, value in (fields_of(model, mode) | shots).items() if value is not None}
            if model == O1:
                yield Illegal(name, KIND, fields, "multi_shot")
            else:
                yield Legal(name, KIND, fields, Decimal(RATES[mode][0]) * clip_s)
                yield Illegal(
                    f"{name}, no sum",
                    KIND,
                    fields | {"multi_prompt": parts, "shot_type": "customize", "duration": 7},
                    "multi_prompt[].duration",
                )


def counts() -> Iterator[Step]:
    for model in (O1, V3):
        whole = fields_of(model, "pro")
        too_many: list[tuple[str, dict[str, Any], str]] = [
            ("eight images", SHAPE | {"image_list": [REFERENCE] * 8}, "image_list"),
            ("eight in all", SHAPE | {"image_list": [REFERENCE] * 4, "element_list": [ELEMENT] * 4}, "image_list"),
            ("a first frame and four elements", {"image_list": [FIRST], "element_list": [ELEMENT] * 4}, "element_list"),
            ("an end frame alone", {"image_list": [END]}, "image_list"),
            ("two first frames", {"image_list": [FIRST, FIRST]}, "image_list[].type"),
            ("no shape", {}, "aspect_ratio"),
            ("a reference and no shape", {"image_list": [REFERENCE]}, "aspect_ratio"),
            ("a feature video and no shape", FEATURE, "aspect_ratio"),
            ("an image that is not there", SHAPE | {"prompt": "<<<image_1>>> runs"}, "prompt"),
        ]
        for what, inputs, field in too_many:
            yield Illegal(f"{model}, {what}", KIND, whole | inputs, field)
        three = {"image_list": [FIRST, END, REFERENCE]}
        elements = {"image_list": [FIRST, END], "element_list": [ELEMENT] * 3}
        if model == O1:
            yield Illegal("end frame among three images", KIND, whole | three, "image_list")
            yield Illegal("frames and elements", KIND, whole | elements, "element_list")
        else:
            yield Legal("end frame among three images", KIND, whole | three, Decimal("0.8") * 5)
            yield Legal("frames and elements", KIND, whole | elements, Decimal("0.8") * 5)


def defaults() -> Iterator[Step]:
    """O1 and pro, unless told."""
    yield Legal("omni by default", KIND, {"prompt": PROMPT} | SHAPE, Decimal("0.8") * 5)
    yield Illegal("omni without words", KIND, SHAPE, "prompt")
    yield Illegal("omni by a clip's model", KIND, {"prompt": PROMPT, "model_name": "kling-v3"} | SHAPE, "model_name")


def steps() -> Iterator[Step]:
    for rows in (clips, audio, videos, several_shots, counts, defaults):
        yield from rows()
