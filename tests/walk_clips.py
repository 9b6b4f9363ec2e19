"""The classic clips: text2video, image2video and multi-image2video of the first generation."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import product as cross
from typing import Any

from clip_facts import ALL_MODELS, FOUR_K, ONLY_IMAGES, PRO, STD, USES, I, T, is_granted, is_made
from walk import PICTURE, PROMPT, Illegal, Legal, Step, made_by

# By model and mode: credits of 5 s and of 10 s.
BY_CLIP = {
    ("kling-v1", STD): ("1", "2"),
    ("kling-v1", PRO): ("3.5", "7"),
    ("kling-v1-5", STD): ("2", "4"),
    ("kling-v1-5", PRO): ("3.5", "7"),
    ("kling-v1-6", STD): ("2", "4"),
    ("kling-v1-6", PRO): ("3.5", "7"),
    ("kling-v2-1", STD): ("2", "4"),
    ("kling-v2-1", PRO): ("3.5", "7"),
    ("kling-v2-master", None): ("10", "20"),
    ("kling-v2-1-master", None): ("10", "20"),
}
# By model and mode: credits a second, silent and with native audio.
BY_SECOND = {
    ("kling-v2-5-turbo", STD): ("0.3", ""),
    ("kling-v2-5-turbo", PRO): ("0.5", ""),
    ("kling-v2-6", STD): ("0.3", ""),
    ("kling-v2-6", PRO): ("0.5", "1.0"),
    ("kling-v3", STD): ("0.6", "0.9"),
    ("kling-v3", PRO): ("0.8", "1.2"),
    ("kling-v3", FOUR_K): ("3.0", "3.0"),
}
VOICE_IN_PROMPT = Decimal("1.2")
"""Credits a second of kling-v2-6 pro when the prompt speaks through a voice."""
FIELDS = {
    "sound": "sound",
    "camera": "camera_control",
    "camera_simple": "camera_control",
    "end_frame": "image_tail",
    "end_frame_silenced": "image_tail",
    "end_frame_with_sound": "image_tail",
    "end_frame_only": "image_tail",
    "dynamic_brush": "dynamic_masks",
    "static_brush": "dynamic_masks",
    "both_brushes": "dynamic_masks",
    "shots": "multi_shot",
    "shots_with_frames": "multi_shot",
    "elements": "element_list",
    "voices": "voice_list",
    "cfg": "cfg_scale",
}
LENGTHS = (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)


def price(model: str, mode: str | None, clip_s: int, *, has_sound: bool = False) -> Decimal:
    if (model, mode) in BY_CLIP:
        return Decimal(BY_CLIP[model, mode][clip_s // 5 - 1])
    return Decimal(BY_SECOND[model, mode or STD][has_sound]) * clip_s


def base(kind: str) -> dict[str, Any]:
    return {"prompt": PROMPT} | ({"image": PICTURE} if kind == I else {})


def using(use: str) -> dict[str, Any]:
    """The fields of a use, with ids of earlier items."""
    if use == "elements":
        return {"element_list": [{"element_id": made_by("element")}]}
    return {"sound": "on", "voice_list": [{"voice_id": made_by("voice")}]} if use == "voices" else USES[use]


def plain() -> Iterator[Step]:
    for kind, model, mode, clip_s in cross((T, I), ALL_MODELS, (STD, PRO, FOUR_K, None), LENGTHS):
        if mode is None and not model.endswith("master"):
            continue
        name = f"{kind} {model} {mode} {clip_s} s"
        fields = base(kind) | {"model_name": model, "duration": clip_s} | ({"mode": mode} if mode else {})
        if is_made(kind, model, mode, clip_s):
            yield Legal(name, kind, fields, price(model, mode, clip_s))
        elif not any(is_made(kind, model, None, length) for length in LENGTHS):
            yield Illegal(name, kind, fields, "model_name")
        else:
            has_mode = any(is_made(kind, model, mode, length) for length in LENGTHS)
            yield Illegal(name, kind, fields, "duration" if has_mode else "mode")


def uses() -> Iterator[Step]:
    for kind, model, mode, clip_s, use in cross((T, I), ALL_MODELS, (STD, PRO, FOUR_K, None), LENGTHS, USES):
        takes_mode = not model.endswith("master")
        if takes_mode is (mode is None) or not is_made(kind, model, mode, clip_s) or (kind == T and use in ONLY_IMAGES):
            continue
        name = f"{kind} {model} {mode} {clip_s} s, {use}"
        fields = base(kind) | {"model_name": model, "duration": clip_s} | ({"mode": mode} if mode else {}) | using(use)
        fields = {key: value for key, value in fields.items() if value is not None}
        if is_granted(use, kind, model, mode, clip_s):
            has_sound = fields.get("sound") == "on"
            yield Legal(name, kind, fields, price(model, mode, clip_s, has_sound=has_sound))
        else:
            is_framed = use == "end_frame_with_sound" and is_granted("end_frame", kind, model, mode, clip_s)
            is_silent = not any(is_granted("sound", kind, model, mode, length) for length in LENGTHS)
            yield Illegal(name, kind, fields, "sound" if is_framed and is_silent else FIELDS[use])


def voices() -> Iterator[Step]:
    """A voice costs extra when the prompt speaks through it."""
    for clip_s in (5, 10):
        fields = base(I) | {"model_name": "kling-v2-6", "mode": PRO, "duration": clip_s} | using("voices")
        fields |= {"prompt": "<<<voice_1>>> says good morning"}
        yield Legal(f"voice in the prompt, {clip_s} s", I, fields, VOICE_IN_PROMPT * clip_s)
    yield Illegal("voice that is not there", I, base(I) | {"prompt": "<<<voice_1>>> sings"}, "prompt")
    yield Illegal("voices without sound", I, fields | {"sound": "off"}, "voice_list")


def shots(*seconds: int) -> list[dict[str, Any]]:
    return [{"index": index, "prompt": f"part {index}", "duration": s} for index, s in enumerate(seconds, 1)]


def several_shots() -> Iterator[Step]:
    """Shots written one by one: they add up, and are six at most."""
    for kind in (T, I):
        whole = {name: value for name, value in base(kind).items() if name != "prompt"}
        whole |= {"model_name": "kling-v3", "multi_shot": True, "shot_type": "customize"}
        for parts in ((5,), (2, 3), (1, 1, 1, 1, 1, 1), (3, 4, 8)):
            name = f"{kind} of shots {parts}"
            fields = whole | {"multi_prompt": shots(*parts), "duration": sum(parts)}
            yield Legal(name, kind, fields, price("kling-v3", STD, sum(parts)))
            yield Illegal(f"{name}, too long", kind, fields | {"duration": sum(parts) + 1}, "multi_prompt[].duration")
        yield Illegal(
            f"{kind}, seven shots", kind, whole | {"multi_prompt": shots(*[1] * 7), "duration": 7}, "multi_prompt"
        )
        yield Illegal(f"{kind}, no shots", kind, whole, "multi_prompt")
        yield Illegal(
            f"{kind}, shots of no kind", kind, base(kind) | {"model_name": "kling-v3", "multi_shot": True}, "shot_type"
        )


def camera() -> Iterator[Step]:
    simple = {"type": "simple"}
    for axis in ("horizontal", "vertical", "pan", "tilt", "roll", "zoom"):
        fields = base(T) | {"camera_control": simple | {"config": {axis: -10}}}
        yield Legal(f"camera {axis}", T, fields, price("kling-v1", STD, 5))
        yield Illegal(
            f"camera {axis} too far",
            T,
            base(T) | {"camera_control": simple | {"config": {axis: 11}}},
            f"camera_control.config.{axis}",
        )
    for type_ in ("down_back", "forward_up", "right_turn_forward", "left_turn_forward"):
        yield Legal(f"camera {type_}", T, base(T) | {"camera_control": {"type": type_}}, price("kling-v1", STD, 5))
        fields = base(T) | {"camera_control": {"type": type_, "config": {"pan": 1}}}
        yield Illegal(f"camera {type_} with numbers", T, fields, "camera_control.config")
    both = base(T) | {"camera_control": simple | {"config": {"pan": 1, "tilt": 1}}}
    yield Illegal("camera two ways at once", T, both, "camera_control.config")
    yield Illegal(
        "camera nowhere", T, base(T) | {"camera_control": simple | {"config": {"pan": 0}}}, "camera_control.config"
    )
    yield Illegal("camera without numbers", T, base(T) | {"camera_control": simple}, "camera_control.config")


def shapes() -> Iterator[Step]:
    for ratio in ("16:9", "9:16", "1:1"):
        yield Legal(f"text2video {ratio}", T, base(T) | {"aspect_ratio": ratio}, price("kling-v1", STD, 5))
    yield Illegal("text2video 4:3", T, base(T) | {"aspect_ratio": "4:3"}, "aspect_ratio")
    yield Illegal("image2video has the picture's shape", I, base(I) | {"aspect_ratio": "16:9"}, "aspect_ratio")


def exclusions() -> Iterator[Step]:
    yield Illegal("no words", T, {}, "prompt")
    yield Illegal("no picture", I, {"prompt": PROMPT}, "image")
    v1_5 = base(I) | {"model_name": "kling-v1-5", "mode": PRO, "image_tail": PICTURE}
    yield Illegal("end frame with camera", I, v1_5 | USES["camera_simple"], "camera_control")
    yield Illegal("end frame with brush", I, v1_5 | USES["static_brush"], "static_mask")
    yield Illegal("too many words", T, {"prompt": "x" * 2501}, "prompt")
    yield Legal("as many words as there may be", T, {"prompt": "x" * 2500}, price("kling-v1", STD, 5))
    yield Illegal("a model that nobody knows", T, base(T) | {"model_name": "kling-v9"}, "model_name")
    yield Illegal("an omni model", T, base(T) | {"model_name": "kling-v3-omni"}, "model_name")


def several_images() -> Iterator[Step]:
    kind = "multi-image2video"
    for mode, (five, ten) in ((STD, ("2", "4")), (PRO, ("3.5", "7"))):
        for count, ratio in cross((1, 2, 3, 4), ("16:9", "9:16", "1:1")):
            fields = {"prompt": PROMPT, "image_list": [{"image": PICTURE}] * count, "mode": mode, "aspect_ratio": ratio}
            yield Legal(f"{kind} {mode} of {count}, {ratio}", kind, fields, Decimal(five))
            yield Legal(f"{kind} {mode} of {count}, {ratio}, 10 s", kind, fields | {"duration": 10}, Decimal(ten))
    fields = {"prompt": PROMPT, "image_list": [{"image": PICTURE}]}
    yield Illegal(f"{kind} of none", kind, {"prompt": PROMPT}, "image_list")
    yield Illegal(f"{kind} of five", kind, fields | {"image_list": [{"image": PICTURE}] * 5}, "image_list")
    yield Illegal(f"{kind} without words", kind, {"image_list": [{"image": PICTURE}]}, "prompt")
    yield Illegal(f"{kind} 4k", kind, fields | {"mode": FOUR_K}, "mode")
    yield Illegal(f"{kind} 7 s", kind, fields | {"duration": 7}, "duration")
    yield Illegal(f"{kind} kling-v3", kind, fields | {"model_name": "kling-v3"}, "model_name")
    yield Illegal(f"{kind} with sound", kind, fields | {"sound": "on"}, "sound")


def steps() -> Iterator[Step]:
    for rows in (plain, uses, voices, several_shots, camera, shapes, exclusions, several_images):
        yield from rows()
