"""Pictures, and what the account keeps for later items: first generation."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import product as cross
from typing import Any

from walk import PICTURE, PROMPT, SOUND, VIDEO, Illegal, Legal, Step, made_by

RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")
# By model: resolutions, credits of a picture from words, from a picture.
MODELS = {
    "kling-v1": (("1k",), "1", "1"),
    "kling-v1-5": (("1k",), "4", "8"),
    "kling-v2": (("1k", "2k"), "4", "8"),
    "kling-v2-1": (("1k", "2k"), "4", "8"),
    "kling-v3": (("1k", "2k"), "8", "8"),
}
ELEMENTS = {"element_list": [{"element_id": made_by("element")}]}
OMNI = {("kling-image-o1", "1k"): "8", ("kling-image-o1", "2k"): "8", ("kling-v3-omni", "1k"): "8",
        ("kling-v3-omni", "2k"): "8", ("kling-v3-omni", "4k"): "16"}  # fmt: skip


def image(name: str, kind: str, fields: dict[str, Any], each: str, count: int = 1) -> Legal:
    return Legal(name, kind, fields, Decimal(each) * count, pack="image", slots=count)


def pictures() -> Iterator[Step]:
    kind = "images"
    for (model, (resolutions, by_words, by_picture)), resolution, n in cross(
        MODELS.items(), ("1k", "2k", "4k"), (1, 2, 9)
    ):
        name = f"{model} {resolution} x {n}"
        fields = {"prompt": PROMPT, "model_name": model, "resolution": resolution, "n": n}
        from_one = fields | {"image": PICTURE} | ({"image_reference": "subject"} if model == "kling-v1-5" else {})
        if resolution in resolutions:
            yield image(name, kind, fields, by_words, n)
            yield image(f"{name} of one", kind, from_one, by_picture, n)
        else:
            yield Illegal(name, kind, fields, "resolution")
    for model, ratio in cross(MODELS, RATIOS):
        fields = {"prompt": PROMPT, "model_name": model, "aspect_ratio": ratio}
        if (model, ratio) == ("kling-v1", "21:9"):
            yield Illegal(f"{model} {ratio}", kind, fields, "aspect_ratio")
        else:
            yield image(f"{model} {ratio}", kind, fields, MODELS[model][1])
    yield Legal(
        "kling-v2-new", kind, {"prompt": PROMPT, "model_name": "kling-v2-new", "image": PICTURE}, None, pack="image"
    )
    yield Illegal("kling-v2-new from words", kind, {"prompt": PROMPT, "model_name": "kling-v2-new"}, "image")
    new = {"prompt": PROMPT, "model_name": "kling-v2-new", "image": PICTURE}
    yield Illegal("kling-v2-new in a shape", kind, new | {"aspect_ratio": "1:1"}, "aspect_ratio")
    yield image("images by default", kind, {"prompt": PROMPT}, "8")
    for field, value in (("n", 10), ("n", 0), ("aspect_ratio", "5:4"), ("resolution", "8k"), ("prompt", "x" * 2501)):
        yield Illegal(f"images {field} {str(value)[:5]}", kind, {"prompt": PROMPT, field: value}, field)
    yield Illegal("images of nothing", kind, {"n": 2}, "prompt")


def references() -> Iterator[Step]:
    kind = "images"
    for model in MODELS:
        fields = {"prompt": PROMPT, "model_name": model, "image": PICTURE}
        for reference in ("subject", "face"):
            referring = fields | {"image_reference": reference}
            if model in {"kling-v1-5", "kling-v2-1"}:
                yield image(f"{model} by its {reference}", kind, referring, "8")
            else:
                yield Illegal(f"{model} by its {reference}", kind, referring, "image_reference")
        both = fields | {"image_reference": "subject", "image_fidelity": 0.7, "human_fidelity": 1}
        if model == "kling-v2-1":
            yield image(f"{model}, true to it", kind, both, "8")
        else:
            yield Illegal(f"{model}, true to it", kind, both, "image_fidelity")
        yield Illegal(
            f"{model}, a picture and what it is not", kind, fields | {"negative_prompt": "rain"}, "negative_prompt"
        )
        elements = {"prompt": PROMPT, "model_name": model} | ELEMENTS
        if model in {"kling-v2-1", "kling-v3"}:
            yield image(f"{model} of an element", kind, elements, "8")
        else:
            yield Illegal(f"{model} of an element", kind, elements, "element_list")
    words = {"prompt": PROMPT, "model_name": "kling-v2-1"}
    yield image("words and what it is not", kind, words | {"negative_prompt": "rain"}, "4")
    yield Illegal("reference to nothing", kind, words | {"image_reference": "face"}, "image_reference")
    face = words | {"image": PICTURE, "image_reference": "face", "human_fidelity": 0.5}
    yield Illegal("a face true to the human", kind, face, "human_fidelity")
    unreferred = {"prompt": PROMPT, "model_name": "kling-v1-5", "image": PICTURE}
    yield Illegal("kling-v1-5 of a plain picture", kind, unreferred, "image_reference")
    ten = {"prompt": PROMPT, "element_list": ELEMENTS["element_list"] * 10}
    yield image("ten elements", kind, ten, "8")
    yield Illegal("ten elements and a picture", kind, ten | {"image": PICTURE}, "image")


def omni() -> Iterator[Step]:
    kind = "omni-image"
    for model, resolution in cross(("kling-image-o1", "kling-v3-omni"), ("1k", "2k", "4k")):
        fields = {"prompt": PROMPT, "model_name": model, "resolution": resolution}
        if (model, resolution) not in OMNI:
            yield Illegal(f"{model} {resolution}", kind, fields, "resolution")
            continue
        each = OMNI[model, resolution]
        for n in (1, 9):
            yield image(f"{model} {resolution} x {n}", kind, fields | {"n": n}, each, n)
        series = fields | {"result_type": "series"}
        for amount, count in ((None, 4), (2, 2), (9, 9), ("auto", 9)):
            given = {} if amount is None else {"series_amount": amount}
            yield image(f"{model} {resolution}, series of {amount}", kind, series | given, each, count)
        whole = fields | {"image_list": [{"image": PICTURE}] * 6, "element_list": ELEMENTS["element_list"] * 4}
        yield image(f"{model} {resolution} of ten", kind, whole, each)
        yield Illegal(
            f"{model} {resolution} of eleven", kind, whole | {"image_list": [{"image": PICTURE}] * 7}, "image_list"
        )
    for ratio in ("auto", *RATIOS):
        yield image(f"omni {ratio}", kind, {"prompt": PROMPT, "aspect_ratio": ratio}, "8")
    series = {"prompt": PROMPT, "result_type": "series"}
    yield Illegal("a series with n", kind, series | {"n": 3}, "n")
    yield Illegal("a series of one", kind, series | {"series_amount": 1}, "series_amount")
    yield Illegal("a series of ten", kind, series | {"series_amount": 10}, "series_amount")
    yield Illegal("a series of some", kind, series | {"series_amount": "some"}, "series_amount")
    yield Illegal("singles with an amount", kind, {"prompt": PROMPT, "series_amount": 3}, "series_amount")
    yield Illegal("omni-image by kling-v3", kind, {"prompt": PROMPT, "model_name": "kling-v3"}, "model_name")


def of_several() -> Iterator[Step]:
    kind, subject = "multi-image2image", {"subject_image": PICTURE}
    for model, count, n, ratio in cross(("kling-v2", "kling-v2-1"), (1, 4), (1, 9), RATIOS):
        fields = {"model_name": model, "subject_image_list": [subject] * count, "n": n, "aspect_ratio": ratio}
        yield image(f"{kind} {model} of {count} x {n}, {ratio}", kind, fields, "16", n)
    whole = {"subject_image_list": [subject], "scene_image": PICTURE, "style_image": PICTURE, "prompt": PROMPT}
    yield image(f"{kind} with scene and style", kind, whole, "16")
    yield Illegal(f"{kind} of none", kind, {"prompt": PROMPT}, "subject_image_list")
    yield Illegal(f"{kind} of five", kind, {"subject_image_list": [subject] * 5}, "subject_image_list")
    yield Illegal(f"{kind} by kling-v3", kind, whole | {"model_name": "kling-v3"}, "model_name")


def expansions() -> Iterator[Step]:
    kind = "expand"

    def fields(up: float, down: float, left: float, right: float) -> dict[str, Any]:
        names = ("up", "down", "left", "right")
        ratios = zip(names, (up, down, left, right), strict=True)
        return {"image": PICTURE} | {f"{name}_expansion_ratio": ratio for name, ratio in ratios}

    for ratios in ((0, 0, 0, 0), (0.1, 0.1, 0.1, 0.1), (2, 0, 0, 0), (1, 1, 0, 0), (0.5, 0, 0.5, 0.5), (0, 0, 1, 1)):
        for n in (1, 9):
            yield image(f"expand by {ratios} x {n}", kind, fields(*ratios) | {"n": n}, "8", n)
    for ratios in ((2, 0.1, 0, 0), (1, 0.5, 0.5, 0), (2, 2, 2, 2), (0.8, 0, 0.7, 0)):
        yield Illegal(f"expand by {ratios}", kind, fields(*ratios), "up_expansion_ratio")
    yield Illegal("expand by too much", kind, fields(2.1, 0, 0, 0), "up_expansion_ratio")
    yield Illegal("expand by less than nothing", kind, fields(-0.1, 0, 0, 0), "up_expansion_ratio")
    lacking = {key: value for key, value in fields(0, 0, 0, 0).items() if key != "left_expansion_ratio"}
    yield Illegal("expand to three sides", kind, lacking, "left_expansion_ratio")


def others() -> Iterator[Step]:
    kind, worn = "virtual-try-on", {"human_image": PICTURE, "cloth_image": PICTURE}
    for model in ("kolors-virtual-try-on-v1", "kolors-virtual-try-on-v1-5"):
        yield Legal(f"try-on {model}", kind, worn | {"model_name": model}, Decimal(1), pack="try_on")
    yield Legal("try-on by default", kind, worn, Decimal(1), pack="try_on")
    yield Illegal("try-on of nobody", kind, {"cloth_image": PICTURE}, "human_image")
    yield Illegal("try-on of nothing", kind, {"human_image": PICTURE}, "cloth_image")
    yield Illegal("try-on by another", kind, worn | {"model_name": "kolors-virtual-try-on-v2"}, "model_name")
    yield Legal("ai-multi-shot", "ai-multi-shot", {"element_frontal_image": PICTURE}, Decimal(20), pack="image")
    yield Illegal("ai-multi-shot of nothing", "ai-multi-shot", {}, "element_frontal_image")
    yield Legal("image-recognize", "image-recognize", {"image": PICTURE}, Decimal("0.1"))
    yield Illegal("image-recognize of nothing", "image-recognize", {}, "image")


def library() -> Iterator[Step]:
    kind = "elements"
    named: dict[str, Any] = {"element_name": "Heron", "element_description": "a grey heron"}
    pictures_ = {"frontal_image": PICTURE, "refer_images": [{"image_url": PICTURE}]}
    of_images = named | {"reference_type": "image_refer", "element_image_list": pictures_}
    of_video = named | {"reference_type": "video_refer", "element_video_list": {"refer_videos": [{"video_url": VIDEO}]}}
    for count in (1, 2, 3):
        images = {"frontal_image": PICTURE, "refer_images": [{"image_url": PICTURE}] * count}
        yield Legal(f"element of {count} images", kind, of_images | {"element_image_list": images}, Decimal(0))
    yield Legal("element of a video", kind, of_video, Decimal(0))
    tags = {"tag_list": [{"tag_id": "o_101"}, {"tag_id": "o_108"}], "element_voice_id": made_by("voice")}
    yield Legal("element with tags and a voice", kind, of_images | tags, Decimal(0))
    many = {"frontal_image": PICTURE, "refer_images": [{"image_url": PICTURE}] * 4}
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("a long name", of_images | {"element_name": "x" * 21}, "element_name"),
        ("a long description", of_images | {"element_description": "x" * 101}, "element_description"),
        ("four images", of_images | {"element_image_list": many}, "element_image_list.refer_images"),
        ("no images", named | {"reference_type": "image_refer"}, "element_image_list"),
        ("no video", named | {"reference_type": "video_refer"}, "element_video_list"),
        ("a tag that is none", of_images | {"tag_list": [{"tag_id": "o_109"}]}, "tag_list[0].tag_id"),
        ("no type", named, "reference_type"),
    ]
    for what, fields, field in wrong:
        yield Illegal(f"element with {what}", kind, fields, field)
    voice = {"voice_name": "Anna"}
    for source in ({"voice_url": SOUND}, {"video_id": made_by("talking")}):
        yield Legal(f"voice by {', '.join(source)}", "voices", voice | source, Decimal("0.05"))
    yield Illegal("voice of nobody", "voices", voice, "voice_url")
    yield Illegal("voice of two", "voices", voice | {"voice_url": SOUND, "video_id": made_by("talking")}, "video_id")
    yield Illegal("voice with a long name", "voices", {"voice_name": "x" * 21, "voice_url": SOUND}, "voice_name")


def steps() -> Iterator[Step]:
    for rows in (pictures, references, omni, of_several, expansions, others, library):
        yield from rows()
