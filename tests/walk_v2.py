"""The new standard: the model stands in the path, and an item stays flat."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import product as cross
from typing import Any, NamedTuple

from walk import PICTURE, PROMPT, VIDEO, Illegal, Legal, Step, made_by
from walk_omni import BASE, ELEMENT, END, FEATURE, FIRST, INPUTS, REFERENCE, SHAPE

T, I = "text2video", "image2video"  # noqa: E741 - as in the vendor's table
FIVE_TEN = (5, 10)
THREE_TO_FIFTEEN = tuple(range(3, 16))
RESOLUTIONS = ("720p", "1080p", "4k")
VOICES = {"voice_list": [{"voice_id": made_by("voice"), "id": "anna"}]}


class Model(NamedTuple):
    """A row of the new standard.

    Attributes:
        lengths: seconds.
        rates: credits a second, silent, by resolution.
        native: the same with native audio; resolutions that lack it cannot.
        has_audio: whether there is an audio setting.
        has_shots: whether there is a multi_shot setting.
        end_frame: resolutions in which an end frame can be given.
        has_elements: whether it takes elements.
        has_voices: whether it takes voices.
        most_chars: the longest prompt from words and from a picture.
    """

    lengths: tuple[int, ...]
    rates: dict[str, str]
    native: dict[str, str]
    has_audio: bool
    has_shots: bool
    end_frame: tuple[str, ...]
    has_elements: bool
    has_voices: bool
    most_chars: tuple[int, int]


MODELS = {
    "kling-3.0-turbo": Model(
        THREE_TO_FIFTEEN, {"720p": "0.8", "1080p": "1.0"}, {}, False, False, (), False, False, (3072, 2500),
    ),
    "kling-3.0": Model(
        THREE_TO_FIFTEEN, {"720p": "0.6", "1080p": "0.8", "4k": "3.0"}, {"720p": "0.9", "1080p": "1.2", "4k": "3.0"},
        True, True, RESOLUTIONS, True, False, (3072, 3072),
    ),
    "kling-2.6": Model(
        FIVE_TEN, {"720p": "0.3", "1080p": "0.5"}, {"1080p": "1.0"}, True, False, ("1080p",), False, True, (2500, 2500),
    ),
    "kling-2.5-turbo": Model(
        FIVE_TEN, {"720p": "0.3", "1080p": "0.5"}, {}, False, False, ("1080p",), False, False, (2500, 2500),
    ),
}  # fmt: skip
OLD_KNOBS = {"mode": "pro", "sound": "on", "negative_prompt": "rain", "cfg_scale": 0.5,
             "camera_control": {"type": "forward_up"}}  # fmt: skip


def base(kind: str) -> dict[str, Any]:
    return {"prompt": PROMPT} | ({"image": PICTURE} if kind == I else {})


def clips() -> Iterator[Step]:
    for kind, (model, row), resolution, clip_s in cross((T, I), MODELS.items(), RESOLUTIONS, range(2, 17)):
        name = f"{kind} {model} {resolution} {clip_s} s"
        fields = base(kind) | {"model_name": model, "resolution": resolution, "duration": clip_s}
        if resolution not in row.rates:
            yield Illegal(name, kind, fields, "resolution")
        elif clip_s not in row.lengths:
            yield Illegal(name, kind, fields, "duration")
        else:
            yield Legal(name, kind, fields, Decimal(row.rates[resolution]) * clip_s)
            yield from extras(name, kind, row, fields)


def extras(name: str, kind: str, row: Model, fields: dict[str, Any]) -> Iterator[Step]:
    resolution, clip_s = fields["resolution"], fields["duration"]
    silent = Decimal(row.rates[resolution]) * clip_s
    native = fields | {"audio": "native"}
    if resolution in row.native:
        yield Legal(f"{name}, native", kind, native, Decimal(row.native[resolution]) * clip_s)
    else:
        yield Illegal(f"{name}, native", kind, native, "audio")
    for field, value, has_it in (("audio", "off", row.has_audio), ("multi_shot", False, row.has_shots)):
        told = fields | {field: value}
        yield (
            Legal(f"{name}, {field}", kind, told, silent) if has_it else Illegal(f"{name}, {field}", kind, told, field)
        )
    if kind == T:
        return
    framed = fields | {"image_tail": PICTURE}
    if resolution in row.end_frame:
        yield Legal(f"{name}, both frames", kind, framed, silent)
    else:
        yield Illegal(f"{name}, both frames", kind, framed, "image_tail")
    element = fields | {"element_list": [ELEMENT]}
    if row.has_elements:
        yield Legal(f"{name}, element", kind, element, silent)
    else:
        yield Illegal(f"{name}, element", kind, element, "element_list")
    speaking = native | VOICES | {"prompt": "@anna says good morning"}
    if row.has_voices and resolution in row.native:
        yield Legal(f"{name}, voice", kind, speaking, Decimal("1.2") * clip_s)
        yield Illegal(f"{name}, silent voice", kind, speaking | {"audio": "off"}, "voice_list")
    elif not row.has_voices:
        yield Illegal(f"{name}, voice", kind, speaking, "voice_list")


def words() -> Iterator[Step]:
    for model, row in MODELS.items():
        for kind, most in zip((T, I), row.most_chars, strict=True):
            whole = base(kind) | {"model_name": model}
            cheapest = Decimal(row.rates["720p"]) * 5
            yield Legal(f"{kind} {model} by default", kind, whole, cheapest)
            yield Legal(f"{kind} {model}, {most} characters", kind, whole | {"prompt": "x" * most}, cheapest)
            yield Illegal(f"{kind} {model}, too many", kind, whole | {"prompt": "x" * (most + 1)}, "prompt")
            yield Illegal(
                f"{kind} {model}, no words", kind, {key: whole[key] for key in whole if key != "prompt"}, "prompt"
            )
            for field, value in OLD_KNOBS.items():
                yield Illegal(f"{kind} {model}, {field}", kind, whole | {field: value}, field)
        yield Illegal(f"{model} of no picture", I, {"prompt": PROMPT, "model_name": model}, "image")
        end_alone = {"prompt": PROMPT, "model_name": model, "image_tail": PICTURE}
        yield Illegal(f"{model} of an end frame alone", I, end_alone, "image")
    for ratio in ("16:9", "9:16", "1:1"):
        fields = base(T) | {"model_name": "kling-3.0", "aspect_ratio": ratio}
        yield Legal(f"new standard {ratio}", T, fields, Decimal(3))
    yield Illegal("new standard 21:9", T, base(T) | {"model_name": "kling-3.0", "aspect_ratio": "21:9"}, "aspect_ratio")
    yield Illegal("a picture's shape", I, base(I) | {"model_name": "kling-3.0", "aspect_ratio": "1:1"}, "aspect_ratio")
    yield Illegal("kling-4.0", T, base(T) | {"model_name": "kling-4.0"}, "model_name")
    yield Illegal(
        "2.6 both frames and sound",
        I,
        base(I) | {"model_name": "kling-2.6", "resolution": "1080p", "audio": "native", "image_tail": PICTURE},
        "image_tail",
    )
    four = base(I) | {"model_name": "kling-3.0", "element_list": [ELEMENT] * 4}
    yield Illegal("four elements", I, four, "element_list")


def written_shots() -> Iterator[Step]:
    for model in ("kling-3.0", "kling-3.0-turbo"):
        whole = {"model_name": model, "duration": 5}
        rate = Decimal(MODELS[model].rates["720p"])
        for prompt in ("shot 1, 2, a door opens; shot 2, 3, a cat walks in;", "shot 1, 5, a door opens"):
            yield Legal(f"{model} {prompt}", T, whole | {"prompt": prompt}, rate * 5)
        for what, prompt in (
            ("too short", "shot 1, 2, a door opens; shot 2, 2, a cat walks in;"),
            ("seven", "".join(f"shot {n}, 1, words; " for n in range(1, 8))),
            ("wordy", f"shot 1, 5, {'x' * 513}"),
            ("of no length", "shot 1, 5, a door opens; shot 2, 0, a cat"),
        ):
            yield Illegal(f"{model} shots {what}", T, whole | {"prompt": prompt}, "prompt")


OMNI = {"kling-3.0-omni": (RESOLUTIONS, range(3, 16)), "kling-o1": (("720p", "1080p"), range(3, 11))}
# By resolution: credits a second silent, with native audio, with a video.
OMNI_RATES = {"720p": ("0.6", "0.8", "0.9"), "1080p": ("0.8", "1.0", "1.2"), "4k": ("3.0", "3.0", "3.0")}


def omni() -> Iterator[Step]:
    kind = "omni-video"
    for (model, (resolutions, lengths)), resolution, clip_s, what in cross(
        OMNI.items(), RESOLUTIONS, range(2, 17), INPUTS
    ):
        inputs, is_free = INPUTS[what]
        name = f"{model} {resolution} {clip_s} s of {what}"
        fields = {"prompt": PROMPT, "model_name": model, "resolution": resolution, "duration": clip_s} | inputs
        if resolution not in resolutions:
            yield Illegal(name, kind, fields, "resolution")
        elif clip_s not in lengths or (model == "kling-o1" and not is_free and clip_s not in FIVE_TEN):
            yield Illegal(name, kind, fields, "duration")
        else:
            yield Legal(name, kind, fields, Decimal(OMNI_RATES[resolution][0]) * clip_s)
            native = fields | {"audio": "native"}
            if model == "kling-o1":
                yield Illegal(f"{name}, native", kind, native, "audio")
                yield Illegal(f"{name}, shots", kind, fields | {"multi_shot": True}, "multi_shot")
            else:
                yield Legal(f"{name}, native", kind, native, Decimal(OMNI_RATES[resolution][1]) * clip_s)
                yield Legal(
                    f"{name}, one shot",
                    kind,
                    fields | {"multi_shot": False},
                    Decimal(OMNI_RATES[resolution][0]) * clip_s,
                )


def omni_videos() -> Iterator[Step]:
    kind = "omni-video"
    for (model, (resolutions, lengths)), resolution in cross(OMNI.items(), RESOLUTIONS):
        if resolution not in resolutions:
            continue
        rate, name = Decimal(OMNI_RATES[resolution][2]), f"{model} {resolution}"
        whole = {"prompt": PROMPT, "model_name": model, "resolution": resolution}
        for clip_s in lengths:
            yield Legal(f"{name} {clip_s} s like a video", kind, whole | FEATURE | {"duration": clip_s}, rate * clip_s)
        for source, billed in (("3", 3), ("7.5", 8), ("9.96", 10)):
            both: tuple[dict[str, Any], ...] = (BASE, BASE | {"audio": "original"})
            for videos in both:
                step = f"{name} of {source} s, {videos.get('audio', 'as it comes')}"
                yield Legal(step, kind, whole | videos, rate * billed, source_s=Decimal(source))
        yield Illegal(f"{name} native like a video", kind, whole | FEATURE | {"audio": "native"}, "audio")
        yield Illegal(f"{name} original like a video", kind, whole | FEATURE | {"audio": "original"}, "audio")
        yield Illegal(f"{name} native of a video", kind, whole | BASE | {"audio": "native"}, "audio")
        yield Illegal(f"{name} of a video and a frame", kind, whole | BASE | {"image_list": [FIRST]}, "image_list")
        yield Illegal(f"{name} of a video in shots", kind, whole | BASE | {"multi_shot": True}, "multi_shot")
        shots = whole | FEATURE | {"multi_shot": False}
        yield Illegal(f"{name} like a video, one shot", kind, shots, "multi_shot")


def omni_counts() -> Iterator[Step]:
    kind = "omni-video"
    for model in OMNI:
        whole = {"prompt": PROMPT, "model_name": model}
        five = {"image_list": [REFERENCE] * 3, "element_list": [ELEMENT] * 2}
        wrong: list[tuple[str, dict[str, Any], str]] = [
            ("eight images", SHAPE | {"image_list": [REFERENCE] * 8}, "image_list"),
            ("eight in all", SHAPE | {"image_list": [REFERENCE] * 5, "element_list": [ELEMENT] * 3}, "image_list"),
            ("five beside a video", FEATURE | five, "image_list"),
            ("two videos", {"video_list": [{"video_url": VIDEO}] * 2}, "video_list"),
            ("four elements and a frame", {"image_list": [FIRST], "element_list": [ELEMENT] * 4}, "element_list"),
            ("an end frame alone", {"image_list": [END]}, "image_list"),
            ("no shape", {}, "aspect_ratio"),
            ("one id twice", SHAPE | {"image_list": [REFERENCE | {"id": "a"}] * 2}, "image_list[].id"),
        ]
        for what, inputs, field in wrong:
            yield Illegal(f"{model}, {what}", kind, whole | inputs, field)
    o1 = {"prompt": PROMPT, "model_name": "kling-o1"}
    yield Illegal("kling-o1, end frame of three", kind, o1 | {"image_list": [FIRST, END, REFERENCE]}, "image_list")
    framed = o1 | {"image_list": [FIRST, END], "element_list": [ELEMENT]}
    yield Illegal("kling-o1, frames and an element", kind, framed, "element_list")
    yield Illegal("kling-o1, many words", kind, o1 | SHAPE | {"prompt": "x" * 2501}, "prompt")


def motions() -> Iterator[Step]:
    kind, rates = "motion-control", {"kling-3.0": ("0.9", "1.2"), "kling-2.6": ("0.5", "0.8")}
    for model, resolution, orientation, audio in cross(rates, RESOLUTIONS, ("image", "video"), ("original", "off")):
        name = f"motion {model} {resolution} {orientation} {audio}"
        fields = {"model_name": model, "image_url": PICTURE, "video_url": VIDEO, "resolution": resolution}
        fields |= {"character_orientation": orientation, "audio": audio}
        if resolution == "4k":
            yield Illegal(name, kind, fields, "resolution")
            continue
        rate = Decimal(rates[model][resolution == "1080p"])
        yield Legal(name, kind, fields, rate * 7, source_s=Decimal("7.2"))
        element = fields | {"element_list": [ELEMENT]}
        if model == "kling-2.6":
            yield Illegal(f"{name}, element", kind, element, "element_list")
        elif orientation == "image":
            yield Illegal(f"{name}, element", kind, element, "character_orientation")
        else:
            yield Legal(f"{name}, element", kind, element, rate * 7, source_s=Decimal(7))
        yield Illegal(f"{name}, mode", kind, fields | {"mode": "pro"}, "mode")
        yield Illegal(f"{name}, native", kind, fields | {"audio": "native"}, "audio")


def steps() -> Iterator[Step]:
    for rows in (clips, words, written_shots, omni, omni_videos, omni_counts, motions):
        yield from rows()
