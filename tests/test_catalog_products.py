"""What the catalogue answers about products: routes, sources, files, unknown models, and new products as data."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from batch_runner import catalog
from batch_runner.catalog import load
from batch_runner.catalog.shelf import Shelf
from batch_runner.model import Generation, Pack

HERO = {"item": "hero"}
MADE_AT_ONCE = {
    *("tts", "identify-face", "image-recognize"),
    *("init-selection", "add-selection", "delete-selection", "clear-selection", "preview-selection"),
}


def told(kind: str, fields: dict[str, Any], *, allow_unknown_model: bool = False) -> dict[str, str]:
    problems = catalog.check(kind, fields, allow_unknown_model=allow_unknown_model).problems
    return {problem.field: problem.what for problem in problems}


def hints(kind: str, fields: dict[str, Any]) -> dict[str, str]:
    return {problem.field: problem.hint for problem in catalog.check(kind, fields).problems}


# routes


def test_products_that_answer_at_once_have_no_list() -> None:
    assert {kind for kind in catalog.kinds() if catalog.route(kind, "").is_sync} == MADE_AT_ONCE
    assert {kind for kind in catalog.kinds() if catalog.product(kind).is_sync} == MADE_AT_ONCE


@pytest.mark.parametrize(
    ("kind", "model", "create_path", "list_path", "result_key"),
    [
        ("text2video", "kling-v3", "/v1/videos/text2video", "/v1/videos/text2video", "videos"),
        ("avatar", "", "/v1/videos/avatar/image2video", "/v1/videos/avatar/image2video", "videos"),
        ("tts", "", "/v1/audio/tts", None, "audios"),
        ("expand", "", "/v1/images/editing/expand", "/v1/images/editing/expand", "images"),
        ("add-selection", "", "/v1/videos/multi-elements/add-selection", None, ""),
        ("elements", "", "/v1/general/advanced-custom-elements", "/v1/general/advanced-custom-elements", "elements"),
        ("text2video", "kling-3.0-turbo", "/text-to-video/kling-3.0-turbo", "/tasks", ""),
        ("image2video", "kling-2.6", "/image-to-video/kling-2.6", "/tasks", ""),
        ("omni-video", "kling-o1", "/omni-video/kling-o1", "/tasks", ""),
        ("motion-control", "kling-3.0", "/motion-control/kling-3.0", "/tasks", ""),
        ("text2video", "kling-4.0", "/text-to-video/kling-4.0", "/tasks", ""),
        ("text2video", "kling-v4", "/v1/videos/text2video", "/v1/videos/text2video", "videos"),
    ],
)
def test_the_model_decides_the_route(
    kind: str, model: str, create_path: str, list_path: str | None, result_key: str
) -> None:
    route = catalog.route(kind, model)
    assert (route.create_path, route.list_path, route.result_key) == (create_path, list_path, result_key)
    generation = Generation.V2 if list_path == "/tasks" else Generation.V1
    assert (route.generation, route.needs_api_key) == (generation, generation is Generation.V2)
    assert catalog.product(kind, model).generation is generation


@pytest.mark.parametrize("kind", ["text2video", "image2video", "omni-video", "motion-control"])
def test_every_field_of_the_new_standard_has_a_place(kind: str) -> None:
    fields = catalog.field_rows(kind, {"model_name": "kling-3.0-omni" if kind == "omni-video" else "kling-3.0"})
    places = catalog.route(kind, "kling-3.0").places
    assert places.keys() == fields.keys() - {"model_name"}
    assert places["watermark_info"] == "options"
    assert list(places).index("prompt") < list(places).index("image_list" if kind == "omni-video" else "audio")


# chains


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("image2video", {"prompt": "x", "image": HERO}),
        ("image2video", {"prompt": "x", "image": HERO | {"asset": 2}}),
        (
            "image2video",
            {"prompt": "x", "image": "a.png", "model_name": "kling-v3", "element_list": [{"element_id": HERO}]},
        ),
        ("video-extend", {"video_id": HERO}),
        ("lip-sync", {"input": {"mode": "audio2video", "video_id": HERO, "audio_type": "url", "audio_url": HERO}}),
        ("omni-video", {"prompt": "x", "image_list": [{"image_url": HERO, "type": "first_frame"}]}),
    ],
)
def test_another_items_result_may_stand_for_a_file_or_an_id(kind: str, fields: dict[str, Any]) -> None:
    checked = catalog.check(kind, fields)
    assert checked.problems == ()
    assert checked.body == fields


@pytest.mark.parametrize(
    ("kind", "fields", "field"),
    [
        ("text2video", {"prompt": HERO}, "prompt"),
        ("text2video", {"prompt": "x", "mode": HERO}, "mode"),
        ("image2video", {"prompt": "x", "image": {"items": "hero"}}, "image"),
        ("tts", {"text": "x", "voice_id": HERO}, "voice_id"),
    ],
)
def test_it_may_stand_nowhere_else(kind: str, fields: dict[str, Any], field: str) -> None:
    assert field in told(kind, fields)


def test_products_say_what_they_give_and_take() -> None:
    known = {"image", "video", "audio", "video_id", "audio_id", "element_id", "voice_id", "session_id", "face_id"}
    given = {name for kind in catalog.kinds() for name in catalog.product(kind).makes}
    assert given == known
    for kind in catalog.kinds():
        product = catalog.product(kind)
        assert set(product.refs.values()) <= given
        assert all(field.type in given for field in product.media)
        assert product.refs.keys() == product.origins.keys()
    extend = catalog.product("video-extend")
    assert extend.refs == {"video_id": "video_id"}
    assert extend.origins["video_id"].models == ("kling-v1", "kling-v1-5", "kling-v1-6")
    assert catalog.product("advanced-lip-sync").origins["session_id"].kinds == ("identify-face",)


# media


@pytest.mark.parametrize(
    ("kind", "path", "body", "seconds", "takes_file"),
    [
        ("motion-control", "video_url", {"character_orientation": "video"}, (3, 30), False),
        ("motion-control", "video_url", {"character_orientation": "image"}, (3, 10), False),
        ("omni-video", "video_list[].video_url", {}, (3, 10), False),
        ("omni-video", "video_list[].video_url", {"model_name": "kling-v3-omni"}, (3, 15.5), False),
        ("omni-video", "video_list[].video_url", {"model_name": "kling-3.0-omni"}, (3, 15.5), False),
        ("omni-video", "video_list[].video_url", {"model_name": "kling-o1"}, (3, 10), False),
        ("avatar", "sound_file", {}, (2, 300), True),
    ],
)
def test_what_a_file_may_be_depends_on_the_body(
    kind: str, path: str, body: dict[str, Any], seconds: tuple[float, float], *, takes_file: bool
) -> None:
    limits = catalog.media_limits(kind, body, path)
    assert limits.seconds == ((Decimal(str(seconds[0])), Decimal(str(seconds[1]))),)
    assert ("file" in limits.forms) is takes_file
    assert limits.source


def test_pictures_may_be_larger_in_the_new_standard() -> None:
    old = catalog.media_limits("image2video", {}, "image")
    new = catalog.media_limits("image2video", {"model_name": "kling-3.0"}, "image")
    assert (old.max_bytes, new.max_bytes) == (10 * 1024**2, 50 * 1024**2)
    assert (old.min_side_px, old.max_ratio, old.formats) == (300, Decimal("2.5"), ("jpg", "jpeg", "png"))
    with pytest.raises(KeyError):
        catalog.media_limits("image2video", {}, "prompt")


# prices that depend on more than the body


def test_a_price_by_length_says_whose_length() -> None:
    body = {"image": "a.png", "audio_id": "1"}
    assert catalog.length_of("avatar", body) == "audio_id"
    assert catalog.length_of("avatar", {"image": "a.png", "sound_file": "a.mp3"}) == "sound_file"
    assert catalog.price("avatar", body) is None
    assert catalog.price("avatar", body, {"sound_file": Decimal(5)}) is None
    price = catalog.price("avatar", body, {"audio_id": Decimal("11.3")})
    assert price is not None
    assert price.credits == Decimal("4.4")
    assert catalog.length_of("text2video", {"prompt": "x"}) is None
    assert catalog.length_of("init-selection", {"video_id": "1"}) is None


def test_an_extension_costs_what_its_clip_is() -> None:
    assert catalog.product("video-extend").inherits == "video_id"
    clip = catalog.traits("text2video", {"prompt": "x", "model_name": "kling-v1-6"})
    assert clip == {"model_name": "kling-v1-6", "mode": "std"}
    extended = catalog.traits("video-extend", {"video_id": "1"}, clip)
    assert extended == clip
    price = catalog.price("video-extend", {"video_id": "2"}, inherited=extended)
    assert price is not None
    assert price.credits == Decimal(2)
    assert catalog.traits("text2video", {"model_name": "kling-v2-master"}) == {"model_name": "kling-v2-master"}


@pytest.mark.parametrize(
    ("kind", "body", "count", "slots"),
    [
        ("text2video", {}, 1, 1),
        ("images", {}, 1, 1),
        ("images", {"n": 9}, 9, 9),
        ("omni-image", {"result_type": "series"}, 4, 4),
        ("omni-image", {"result_type": "series", "series_amount": "auto"}, 9, 9),
        ("omni-image", {"n": 3}, 3, 3),
        ("virtual-try-on", {}, 1, 1),
    ],
)
def test_a_picture_holds_a_slot_each(kind: str, body: dict[str, Any], count: int, slots: int) -> None:
    assert (catalog.count(kind, body), catalog.slots(kind, body)) == (count, slots)


# unknown models and scenes


def test_an_unknown_model_is_refused_with_the_nearest_one() -> None:
    assert hints("text2video", {"prompt": "x", "model_name": "kling-v3-1"}) == {
        "model_name": 'did you mean "kling-v3"?'
    }
    assert hints("text2video", {"prompt": "x", "model_name": "kling-3.1"}) == {
        "model_name": 'did you mean "kling-3.0"?'
    }
    makes = hints("text2video", {"prompt": "x", "model_name": "kling-v3-omni"})["model_name"]
    assert makes == "kling-v3-omni makes omni-video and omni-image"
    assert "kling-o1 makes omni-video" in hints("text2video", {"prompt": "x", "model_name": "kling-o1"})["model_name"]


def test_an_unknown_model_can_be_insisted_on() -> None:
    fields = {
        "prompt": "x" * 3000,
        "model_name": "kling-4.0",
        "duration": 30,
        "resolution": "8k",
        "aspect_ratio": "21:9",
    }
    assert "model_name" in told("text2video", fields)
    checked = catalog.check("text2video", fields, allow_unknown_model=True)
    assert checked.problems == ()
    assert checked.body == fields | {"duration": "30"}
    assert catalog.price("text2video", checked.body) is None
    assert catalog.model_of("text2video", checked.body) == "kling-4.0"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": "x", "model_name": "kling-4.0", "promt": "y"}, "promt"),
        ({"prompt": "x", "model_name": "kling-4.0", "duration": "long"}, "duration"),
        ({"prompt": "x", "model_name": "kling-4.0", "mode": "pro"}, "mode"),
        ({"prompt": 5, "model_name": "kling-v9"}, "prompt"),
        ({"model_name": "kling-v9"}, "prompt"),
        ({"prompt": "x", "model_name": "kling-v1", "duration": 7}, "duration"),
        ({"prompt": "x", "model_name": ["kling-v9"]}, "model_name"),
    ],
)
def test_insisting_lets_nothing_else_through(fields: dict[str, Any], field: str) -> None:
    assert field in told("text2video", fields, allow_unknown_model=True)


def test_a_scene_of_earlier_years_is_priced_when_it_is_insisted_on() -> None:
    fields = {"effect_scene": "bloombloom", "input": {"image": "a.png"}}
    assert told("effects", fields) == {"effect_scene": "'bloombloom' no longer stands in Kling's list"}
    assert told("effects", fields, allow_unknown_model=True) == {}
    price = catalog.price("effects", fields)
    assert price is not None
    assert price.credits == Decimal("3.5")


@pytest.mark.parametrize(("mode", "credits_"), [("std", "2"), ("pro", "3.5")])
def test_a_withdrawn_scene_is_told_and_priced_when_it_is_insisted_on(mode: str, credits_: str) -> None:
    of_two = {"model_name": "kling-v1-6", "mode": mode, "duration": "5", "images": ["a.png", "b.png"]}
    fields = {"effect_scene": "hug", "input": of_two}
    assert told("effects", fields) == {"effect_scene": "'hug' was withdrawn by Kling on 2026-01-30; hug_pro is there"}
    assert "allow_unknown_model" in hints("effects", fields)["effect_scene"]
    assert told("effects", fields, allow_unknown_model=True) == {}
    price = catalog.price("effects", fields)
    assert price is not None
    assert price.credits == Decimal(credits_)


def test_a_scene_that_is_nearly_right_gets_the_right_one() -> None:
    fields = {"input": {"image": "a.png"}}
    nearest = hints("effects", fields | {"effect_scene": "birthday_bord"})
    assert nearest == {"effect_scene": 'did you mean "birthday_board"?'}


# the new standard


def test_old_knobs_are_told_with_the_new_word() -> None:
    fields = {"prompt": "x", "model_name": "kling-3.0", "mode": "pro", "sound": "on", "cfg_scale": 0.5}
    found = hints("text2video", fields)
    assert "pro is 1080p" in found["mode"]
    assert '"on" is "native"' in found["sound"]
    assert "leave it out" in found["cfg_scale"]
    new = hints("text2video", {"prompt": "x", "resolution": "720p", "audio": "off"})
    assert "720p is std" in new["resolution"]
    assert '"native" is "on"' in new["audio"]


# new data


def test_a_new_product_with_fields_rules_and_prices_is_an_edit_of_data() -> None:
    texts = load.packaged_texts()
    texts["products/new"] = """
[[product]]
kind = "upscale"
create_path = "/v1/videos/upscale"
pack = "video"
result_key = "videos"
suffix = ".mp4"
makes = ["video", "video_id"]
source = "an announcement"

[product.fields]
video_id = { type = "text", ref = "video_id" }
video_url = { type = "media", media = "video_sound" }
factor = { type = "number", also_text = true, min = 1, max = 4, default = 2 }
"""
    texts["rules/new"] = """
[[rule]]
rule = "exactly_one"
kinds = ["upscale"]
fields = ["video_id", "video_url"]
what = "one of video_id and video_url says which video"
source = "an announcement"
"""
    texts["prices/new"] = """
[[price]]
kinds = ["upscale"]
per_begun = { seconds = 10, credits = 0.75 }
length_of = ["video_url", "video_id"]
source = "an announcement"
dated = "2027-01"
"""
    book = Shelf("upscale", load.parse(texts)).book("")
    checked = book.check({"video_id": HERO, "factor": "3"})
    assert checked.problems == ()
    assert checked.body == {"video_id": HERO, "factor": 3}
    assert [problem.field for problem in book.check({"factor": 5}).problems] == ["factor", "video_id"]
    price = book.quote(checked.body, {"video_id": Decimal("10.5")}).price
    assert price is not None
    assert (price.pack, price.credits) == (Pack.VIDEO, Decimal("1.5"))
    assert book.route("").list_path == "/v1/videos/upscale"
