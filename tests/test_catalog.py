"""What the vendor's tables say, typed in here once more by hand and held against the catalog's data."""

from __future__ import annotations

from decimal import Decimal
from itertools import product as cross
from typing import Any

import pytest
from clip_facts import ALL_MODELS, FOUR_K, MADE, MASK, ONLY_IMAGES, PRO, STD, USES, I, T, is_granted, is_made

from batch_runner import catalog
from batch_runner.catalog import load
from batch_runner.catalog.book import Book
from batch_runner.model import Pack

# Models, mode, further fields, and credits by clip seconds.
SOUND = {"sound": "on"}
SPEAKING = {"sound": "on", "voice_list": [{"voice_id": "v"}], "prompt": "<<<voice_1>>> says hello"}
PRICED: list[tuple[tuple[str, ...], str | None, dict[str, Any], dict[int, str]]] = [
    (("kling-v1",), STD, {}, {5: "1", 10: "2"}),
    (("kling-v1",), PRO, {}, {5: "3.5", 10: "7"}),
    (("kling-v1-5", "kling-v1-6", "kling-v2-1"), STD, {}, {5: "2", 10: "4"}),
    (("kling-v1-5", "kling-v1-6", "kling-v2-1"), PRO, {}, {5: "3.5", 10: "7"}),
    (("kling-v2-master", "kling-v2-1-master"), None, {}, {5: "10", 10: "20"}),
    (("kling-v2-5-turbo",), STD, {}, {5: "1.5", 10: "3"}),
    (("kling-v2-5-turbo",), PRO, {}, {5: "2.5", 10: "5"}),
    (("kling-v2-6",), STD, {}, {5: "1.5", 10: "3"}),
    (("kling-v2-6",), PRO, {}, {5: "2.5", 10: "5"}),
    (("kling-v2-6",), PRO, SOUND, {5: "5", 10: "10"}),
    (("kling-v2-6",), PRO, SPEAKING, {5: "6", 10: "12"}),
    (("kling-v2-6",), PRO, SPEAKING | {"prompt": "nobody speaks"}, {5: "5", 10: "10"}),
    (("kling-v3",), STD, {}, {3: "1.8", 5: "3", 7: "4.2", 15: "9"}),
    (("kling-v3",), PRO, {}, {3: "2.4", 5: "4", 15: "12"}),
    (("kling-v3",), FOUR_K, {}, {3: "9", 5: "15", 15: "45"}),
    (("kling-v3",), STD, SOUND, {3: "2.7", 5: "4.5", 15: "13.5"}),
    (("kling-v3",), PRO, SOUND, {3: "3.6", 5: "6", 15: "18"}),
    (("kling-v3",), FOUR_K, SOUND, {5: "15", 15: "45"}),
    (("kling-v3",), STD, SPEAKING, {5: "5.5"}),
    (("kling-v3",), PRO, SPEAKING, {5: "7"}),
]


def line(kind: str, **fields: object) -> dict[str, object]:
    """Fields that are enough for the kind, with these over them; None leaves one out."""
    whole = {"prompt": "a heron lifts off"} | ({"image": "i"} if kind == I else {})
    return {name: value for name, value in {**whole, **fields}.items() if value is not None}


def told(kind: str, **fields: object) -> list[tuple[str, str, str]]:
    return [(p.field, p.what, p.hint) for p in catalog.check(kind, line(kind, **fields)).problems]


@pytest.mark.parametrize("kind", [T, I])
@pytest.mark.parametrize("model", [*ALL_MODELS, "kling-v3-omni", "kling-video-o1"])
def test_models_make_exactly_their_modes_and_lengths(kind: str, model: str) -> None:
    for mode, clip_s in cross((None, STD, PRO, FOUR_K), range(1, 18)):
        problems = told(kind, model_name=model, mode=mode, duration=clip_s)
        assert bool(problems) is not is_made(kind, model, mode, clip_s), (mode, clip_s, problems)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("model", ALL_MODELS)
def test_features_work_exactly_where_the_table_grants_them(use: str, model: str) -> None:
    judged = 0
    for kind, mode, clip_s in cross((T, I), (None, STD, PRO, FOUR_K), (3, 5, 10, 15)):
        if is_made(kind, model, mode, clip_s) and not (kind == T and use in ONLY_IMAGES):
            problems = told(kind, model_name=model, mode=mode, duration=clip_s, **USES[use])
            assert bool(problems) is not is_granted(use, kind, model, mode, clip_s), (kind, mode, clip_s, problems)
            judged += 1
    assert judged


@pytest.mark.parametrize("row", range(len(PRICED)))
def test_prices_are_the_tables(row: int) -> None:
    models, mode, extra, amounts = PRICED[row]
    for model, (clip_s, amount), kind in cross(models, amounts.items(), (T, I)):
        if is_made(kind, model, mode, clip_s):
            fields = line(kind, model_name=model, mode=mode, **extra)
            for duration in (clip_s, str(clip_s)):
                price = catalog.price(kind, fields | {"duration": duration})
                assert price is not None
                assert (price.pack, price.credits) == (Pack.VIDEO, Decimal(amount))
                assert "202" in price.source


def test_every_legal_combination_has_a_price_and_a_duration() -> None:
    for kinds, model, modes, durations in MADE:
        for kind, mode, clip_s, sound in cross(kinds, modes or (None,), durations, ("off", "on")):
            checked = catalog.check(kind, line(kind, model_name=model, mode=mode, duration=clip_s, sound=sound))
            if not checked.problems:
                assert catalog.price(kind, checked.body) is not None, checked.body
                assert 10 < catalog.expected_duration_s(kind, checked.body) < 3600


def test_defaults_are_priced_but_not_filled_in() -> None:
    checked = catalog.check(T, {"prompt": "x"})
    price = catalog.price(T, checked.body)
    assert checked.body == {"prompt": "x"}
    assert price is not None
    assert price.credits == Decimal(1)


@pytest.mark.parametrize(
    "body", [{"model_name": "kling-v9"}, {"duration": "7"}, {"duration": "soon"}, {"model_name": ["a"]}, {"mode": "4k"}]
)
def test_no_price_where_no_row_has_one(body: dict[str, object]) -> None:
    assert catalog.price(T, body) is None
    assert catalog.expected_duration_s(T, body) > 0


def test_longer_and_finer_clips_take_longer() -> None:
    def seconds(**body: object) -> float:
        return catalog.expected_duration_s(T, body)

    assert seconds(duration="10") > seconds(duration="5") == 319
    assert seconds(model_name="kling-v3", duration="15") == 240
    assert seconds(model_name="kling-v2-5-turbo") < seconds(model_name="kling-v2-5-turbo", mode="pro")


@pytest.mark.parametrize(
    ("kind", "body", "wall_s"),
    [
        ("lip-sync", {"input": {}}, 455),
        ("video-extend", {"video_id": "1"}, 320),
        ("effects", {}, 320),
        ("images", {}, 24),
        ("images", {"model_name": "kling-v2-1"}, 32),
        ("omni-image", {}, 32),
        ("virtual-try-on", {}, 19),
        ("elements", {}, 5),
        ("voices", {}, 9),
        ("avatar", {}, 600),
        ("text2video", {"model_name": "kling-3.0-turbo", "duration": "3"}, 28),
        ("omni-video", {"model_name": "kling-3.0-omni", "duration": "3"}, 83),
        ("omni-video", {"model_name": "kling-v3-omni", "duration": "15"}, 240),
        ("motion-control", {"model_name": "kling-3.0", "character_orientation": "video"}, 135),
    ],
)
def test_times_are_those_that_were_measured(kind: str, body: dict[str, Any], wall_s: float) -> None:
    assert catalog.expected_duration_s(kind, body) == wall_s


def test_every_product_and_model_has_a_time() -> None:
    def seconds(kind: str, model: str) -> float:
        body = {"model_name": model} if model else {}
        return catalog.expected_duration_s(kind, body | {"mode": "std"} if kind == "motion-control" else body)

    slowest = 455.0
    all_models = ((kind, model) for kind in catalog.kinds() for model in catalog.models(kind) or ("",))
    guessed = {kind for kind, model in all_models if seconds(kind, model) == slowest}
    assert guessed == {"lip-sync", "advanced-lip-sync"}


def test_products_say_where_and_how() -> None:
    assert catalog.kinds()[:2] == (T, I)
    text, image = catalog.product(T), catalog.product(I)
    assert (text.kind, text.create_path, text.media_fields) == (T, "/v1/videos/text2video", ())
    assert (text.pack, text.result_key, text.suffix) == (Pack.VIDEO, "videos", ".mp4")
    assert image.create_path == "/v1/videos/image2video"
    assert image.media_fields == ("image", "image_tail", "static_mask", "dynamic_masks[].mask")
    with pytest.raises(KeyError):
        catalog.product("image3video")


def test_kind_without_a_word_follows_the_image() -> None:
    assert catalog.default_kind({"prompt": "x"}) == T
    assert catalog.default_kind({"prompt": "x", "image": None, "image_tail": ""}) == T
    assert catalog.default_kind({"prompt": "x", "image": "a.png"}) == I
    assert catalog.default_kind({"image_tail": "a.png"}) == I


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"duration": 5}, {"duration": "5"}),
        ({"duration": 10.0}, {"duration": "10"}),
        ({"duration": "05"}, {"duration": "5"}),
        ({"cfg_scale": 1}, {"cfg_scale": 1}),
        ({"multi_shot": "false"}, {"multi_shot": False}),
        ({"watermark_info": {"enabled": "True"}}, {"watermark_info": {"enabled": True}}),
        ({"negative_prompt": "", "voice_list": [], "mode": None, "image": None}, {}),
    ],
)
def test_bodies_become_canonical(given: dict[str, object], sent: dict[str, object]) -> None:
    checked = catalog.check(T, {"prompt": "x"} | given)
    assert checked.problems == ()
    assert checked.body == {"prompt": "x"} | sent


def test_shots_are_written_as_the_api_wants_them() -> None:
    shots = [{"index": 1, "prompt": "a", "duration": 2}, {"index": 2, "prompt": "b", "duration": "3"}]
    fields = {"model_name": "kling-v3", "multi_shot": "true", "shot_type": "customize", "multi_prompt": shots}
    checked = catalog.check(T, fields)
    assert checked.problems == ()
    assert checked.body["multi_shot"] is True
    assert [shot["duration"] for shot in checked.body["multi_prompt"]] == ["2", "3"]


def shots(**changes: object) -> dict[str, object]:
    told_shots = [{"index": 1, "prompt": "a", "duration": "2"}, {"index": 2, "prompt": "b", "duration": "3"}]
    return {
        "model_name": "kling-v3",
        "multi_shot": True,
        "shot_type": "customize",
        "multi_prompt": told_shots,
    } | changes


def camera(**config: object) -> dict[str, object]:
    return {"camera_control": {"type": "simple", "config": config}}


VOICES: dict[str, object] = {
    "model_name": "kling-v2-6",
    "mode": "pro",
    "sound": "on",
    "voice_list": [{"voice_id": "v"}],
}
RULES: list[tuple[str, dict[str, object], str, str]] = [
    (T, {"prompt": None}, "prompt", "is required"),
    (T, {"prompt": "  \n "}, "prompt", "is required"),
    (I, {"prompt": None}, "prompt", "is required"),
    (I, {"image": None}, "image", "needs an image or an image_tail"),
    (T, shots(shot_type=None), "shot_type", "is required when multi_shot is true"),
    (T, shots(multi_prompt=None), "multi_prompt", "is required when shot_type is customize"),
    (T, shots(duration=6), "multi_prompt[].duration", "must add up to duration: 5 is not 6"),
    (T, shots(shot_type="intelligence"), "multi_prompt", "goes with shot_type customize"),
    (T, shots(shot_type="intelligence", multi_prompt=None, prompt=None), "prompt", "is required"),
    (T, shots(multi_shot=False), "shot_type", "ignores it unless multi_shot"),
    (T, shots(multi_shot=None), "multi_prompt", "ignores it unless multi_shot"),
    (T, shots(multi_prompt=[{"index": 1, "prompt": "a", "duration": 5}] * 7), "multi_prompt", "7 entries; at most 6"),
    (T, shots(multi_prompt=[{"index": 1, "prompt": "a"}]), "multi_prompt[0].duration", "is required"),
    (T, shots(multi_prompt=[{"index": 1, "prompt": "a", "duration": 0}]), "multi_prompt[0].duration", "whole number"),
    (
        T,
        shots(multi_prompt=[{"index": 1, "prompt": "a" * 513, "duration": 5}]),
        "multi_prompt[0].prompt",
        "513 characters; at most 512",
    ),
    (
        T,
        shots(multi_prompt=[{"index": 3, "prompt": "a", "duration": 2}, {"index": 3, "prompt": "b", "duration": 3}]),
        "multi_prompt[].index",
        "3 stands twice",
    ),
    (T, {"camera_control": {"type": "simple"}}, "camera_control.config", "is required"),
    (T, {"camera_control": {"config": {"pan": 1}}}, "camera_control.type", "is required"),
    (T, {"camera_control": {"type": "down_back", "config": {"pan": 1}}}, "camera_control.config", "simple only"),
    (T, camera(pan=1, tilt=-1), "camera_control.config", "exactly one movement must differ from 0 (pan, tilt)"),
    (T, camera(pan=0), "camera_control.config", "exactly one movement must differ from 0 (none does)"),
    (T, camera(pan=11), "camera_control.config.pan", "11 is outside -10 to 10"),
    (T, camera(pam=1), "camera_control.config.pam", "no such field"),
    (I, {"image_tail": "t", "static_mask": "s", "mode": "pro"}, "static_mask", "exclude one another"),
    (
        I,
        {"model_name": "kling-v1-5", "mode": "pro", "image_tail": "t"} | camera(pan=1),
        "camera_control",
        "exclude one another",
    ),
    (I, {"dynamic_masks": [MASK] * 7}, "dynamic_masks", "7 entries; at most 6"),
    (
        I,
        {"dynamic_masks": [MASK | {"trajectories": [{"x": 1, "y": 1}]}]},
        "dynamic_masks[0].trajectories",
        "1 entry; at least 2",
    ),
    (I, {"dynamic_masks": [MASK | {"trajectories": [{"x": 1, "y": 1}] * 78}]}, "dynamic_masks[0].trajectories", "78"),
    (I, VOICES | {"sound": "off"}, "voice_list", "voices need sound"),
    (I, VOICES | {"sound": None}, "voice_list", "voices need sound"),
    (I, VOICES | {"voice_list": [{"voice_id": "v"}] * 3}, "voice_list", "3 entries; at most 2"),
    (I, VOICES | {"element_list": [{"element_id": 1}]}, "voice_list", "exclude each other"),
    (I, VOICES | {"prompt": "<<<voice_2>>> sings"}, "prompt", "voice_list lacks: <<<voice_2>>>"),
    (T, {"prompt": "<<<voice_1>>> sings"}, "prompt", "voice_list lacks: <<<voice_1>>>"),
    (I, {"model_name": "kling-v3", "element_list": [{"element_id": 1}] * 4}, "element_list", "4 entries; at most 3"),
    (I, {"model_name": "kling-v3", "element_list": [{"element_id": 2**63}]}, "element_list[0].element_id", "outside"),
    (I, {"model_name": "kling-v3", "prompt": "<<<element_1>>> runs"}, "prompt", "element_list lacks"),
    (T, {"mode": "std", "model_name": "kling-v2-master"}, "mode", "takes no mode"),
    (T, {"cfg_scale": 1.5}, "cfg_scale", "1.5 is outside 0 to 1"),
    (T, {"cfg_scale": "0.5"}, "cfg_scale", "must be a number, not text"),
    (T, {"cfg_scale": True}, "cfg_scale", "must be a number, not true"),
    (T, {"cfg_scale": float("inf")}, "cfg_scale", "must be a number"),
    (T, {"prompt": 7}, "prompt", "must be text, not 7"),
    (T, {"prompt": "x" * 2501}, "prompt", "has 2501 characters; at most 2500"),
    (T, {"prompt": "\ud83d"}, "prompt", "half of a surrogate pair"),
    (T, {"negative_prompt": "x" * 2501}, "negative_prompt", "has 2501 characters; at most 2500"),
    (T, {"duration": 7}, "duration", "kling-v1 makes clips of 5 or 10 s, not 7"),
    (T, {"duration": "5s"}, "duration", "'5s' is no whole number of seconds"),
    (T, {"duration": 5.5}, "duration", "5.5 is no whole number of seconds"),
    (T, {"duration": True}, "duration", "true is no whole number of seconds"),
    (T, {"duration": -5}, "duration", "'-5' is no whole number of seconds"),
    (T, {"sound": True}, "sound", "true is none of on and off"),
    (T, {"watermark_info": {"enabled": 1}}, "watermark_info.enabled", "must be true or false, not 1"),
    (T, {"watermark_info": True}, "watermark_info", "must be an object, not true"),
    (I, {"image": 5}, "image", "must be a path, an http(s) address or raw base64"),
    (T, {"external_task_id": "x"}, "external_task_id", "not for a manifest"),
    (T, {"callback_url": "x"}, "callback_url", "not for a manifest"),
    (T, {"model": "kling-v3"}, "model", "not for a manifest"),
    (I, {"aspect_ratio": "16:9"}, "aspect_ratio", "image2video has no such field"),
]


@pytest.mark.parametrize(("kind", "fields", "field", "words"), RULES)
def test_broken_rules_are_told_with_their_field(kind: str, fields: dict[str, object], field: str, words: str) -> None:
    problems = told(kind, **fields)
    assert any(where == field and words in what for where, what, _ in problems), problems


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (T, camera(pan=0, zoom=-10)),
        (T, {"prompt": "x" * 2500}),
        (T, shots(prompt="told as well")),
        (I, VOICES | {"prompt": "<<<voice_1>>> sings"}),
        (I, {"model_name": "kling-v3", "element_list": [{"element_id": 2**63 - 1}], "prompt": "<<<element_1>>> runs"}),
        (I, {"dynamic_masks": [MASK | {"trajectories": [{"x": 1, "y": 1}] * 77}] * 6}),
    ],
)
def test_kept_rules_are_silent(kind: str, fields: dict[str, object]) -> None:
    assert told(kind, **fields) == []


@pytest.mark.parametrize(
    ("fields", "field", "hint"),
    [
        ({"promt": "x"}, "promt", 'did you mean "prompt"?'),
        ({"negativ_prompt": "x"}, "negativ_prompt", 'did you mean "negative_prompt"?'),
        ({"ratio": "16:9"}, "ratio", 'did you mean "aspect_ratio"?'),
        ({"zzz": 1}, "zzz", ""),
        ({"image_tail": "x"}, "image_tail", "it is a field of image2video"),
        ({"mode": "standard"}, "mode", 'did you mean "std"?'),
        ({"mode": "4K"}, "mode", 'did you mean "4k"?'),
        ({"model_name": "kling-v26"}, "model_name", 'did you mean "kling-v2-6"?'),
        ({"model_name": "kling-v2-1"}, "model_name", "kling-v2-1 makes image2video, images and multi-image2image"),
        ({"duration": 7}, "duration", "the nearest is 5"),
        ({"duration": 9}, "duration", "the nearest is 10"),
        ({"model": "kling-v3"}, "model", 'Kling ignores "model" and would use kling-v1; write "model_name"'),
        ({"watermark_info": {"enable": True}}, "watermark_info.enable", 'did you mean "enabled"?'),
    ],
)
def test_hints_name_the_nearest(fields: dict[str, object], field: str, hint: str) -> None:
    assert (field, hint) in [(where, hint) for where, _, hint in told(T, **fields)]


def test_words_of_the_manifest_can_be_meant_too() -> None:
    problem = catalog.check(T, {"prompt": "x", "pirority": 1}, ("id", "kind", "priority")).problems[0]
    assert problem.hint == 'did you mean "priority"?'


def test_all_problems_of_a_line_are_told_at_once() -> None:
    problems = told(T, promt="x", prompt="x" * 2501, mode="fast", duration=7, cfg_scale=2, callback_url="u")
    assert [field for field, _, _ in problems] == [
        "promt", "callback_url", "prompt", "mode", "cfg_scale", "duration",
    ]  # fmt: skip


def test_one_wrong_value_is_told_once() -> None:
    assert len(told(T, model_name="kling-v9", sound="on", duration=7)) == 1
    assert len(told(T, model_name="kling-v2-6", mode="max", sound="on")) == 1
    assert len(told(T, sound="loud", model_name="kling-v2-6")) == 1
    assert len(told(I, model_name="kling-v1-5", mode="pro", camera_control={"type": "sideways"})) == 1


def test_a_refused_feature_says_what_it_needs() -> None:
    assert told(T, model_name="kling-v2-6", sound="on") == [("sound", "native audio on kling-v2-6 needs mode pro", "")]
    needs = "camera control on kling-v1 needs mode std and duration 5 s"
    assert told(T, mode="pro", duration=10, **USES["camera"]) == [("camera_control", needs, "")]
    what = "a start and an end frame on kling-v2-6 needs mode pro and no native audio"
    assert told(I, model_name="kling-v2-6", mode="pro", **USES["end_frame_with_sound"])[0][1] == what
    assert told(T, sound="on")[0] == (
        "sound", "kling-v1 cannot do native audio in text2video", "kling-v2-6 or kling-v3 can",
    )  # fmt: skip


def test_problems_name_the_source_of_their_rule() -> None:
    fields = line(T, promt="x", mode="fast", sound="on", duration=7, camera_control={"type": "simple"})
    problems = catalog.check(T, fields).problems
    assert {problem.field for problem in problems} >= {"promt", "mode", "sound", "duration", "camera_control.config"}
    assert all("Kling API reference" in problem.source and "2026" in problem.source for problem in problems), problems


def test_values_in_messages_are_short_and_on_one_line() -> None:
    for value in ("x" * 100_000, "\n" * 50, "\u202eabc", 10**4000, ["x" * 9999], {"k" * 99999: 1}):
        for _, what, hint in told(T, mode=value):
            assert len(what) + len(hint) < 200
            assert (what + hint).isprintable()


# tiers


@pytest.mark.parametrize(
    ("name", "max_concurrent", "rpm"),
    [
        ("free", 1, 10),
        ("standard", 3, 30),
        ("pro", 5, 60),
        ("enterprise", 10, 0),
        ("trial-100", 3, 0),
        ("trial-1000", 3, 0),
        ("package-1", 5, 0),
        ("package-2", 5, 0),
        ("package-3", 5, 0),
        ("trial-100-2026", 5, 0),
        ("trial-1000-2026", 5, 0),
        ("standard-5000-2026", 20, 0),
        ("standard-15000-2026", 20, 0),
        ("standard-45000-2026", 20, 0),
        ("standard-60000-2026", 20, 0),
    ],
)
def test_tiers_are_the_tables(name: str, max_concurrent: int, rpm: int) -> None:
    tier = catalog.tiers()[name]
    assert (tier.name, tier.max_concurrent, tier.rpm) == (name, max_concurrent, rpm)
    assert "202" in tier.source


def test_the_default_tier_suits_every_paying_account() -> None:
    tier = catalog.default_tier()
    paid = [row for name, row in catalog.tiers().items() if name not in {"free", "polite"}]
    assert tier.max_concurrent == min(row.max_concurrent for row in paid) == 3
    assert tier.rpm == min(row.rpm for row in paid if row.rpm) == 30


def test_whether_failures_cost_and_the_buffer_are_properties_of_the_price_book() -> None:
    books = catalog.price_books()
    assert catalog.default_price_book() is books["api"]
    assert {name: (book.failures_charged, book.buffer_pct) for name, book in books.items()} == {
        "api": (False, Decimal(0)),
        "app": (True, Decimal(20)),
    }
    assert books["api"].with_buffer(Decimal("2.4")) == Decimal("2.4")
    assert books["app"].with_buffer(Decimal("2.5")) == Decimal(3)


# the data files


def edited(name: str, old: str, new: str) -> dict[str, str]:
    texts = load.packaged_texts()
    assert old in texts[name]
    return texts | {name: texts[name].replace(old, new, 1)}


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("prices/clips", "per_second = 0.3", "per_secnd = 0.3", "prices/clips.toml: price.7.per_secnd"),
        ("prices/clips", "per_second = 0.3", "", "prices/clips.toml: price.7"),
        ("prices/clips", 'models = ["kling-v1"]', 'models = ["kling-v11"]', "no such name: kling-v11"),
        ("prices/edits", 'length_of = ["input.video_url", "input.video_id"]', "", "per_begun needs length_of"),
        ("models/clips", 'feature = "camera_control"', 'feature = "camera"', "no such name: camera"),
        ("models/clips", "durations = [5, 10]", 'durations = ["five"]', "models/clips.toml: model.0.durations.0"),
        ("models/v2", 'kinds = ["motion-control"]', 'kinds = ["text2video"]', "stands twice: text2video kling-3.0"),
        ("models/clips", "present = true", 'present = true, is = ["on"]', "exactly one of present, is"),
        ("rules/clips", 'rule = "sum"', 'rule = "some"', "rules/clips.toml: rule."),
        ("rules/edits", "@effects_dual", "@effects_duo", "no such list: @effects_duo"),
        ("products/clips", 'type = "bool"', 'type = "boolean"', "products/clips.toml: groups.clip.multi_shot.type"),
        ("products/clips", ', values = ["on", "off"]', "", "products/clips.toml: groups.clip.sound"),
        ("products/clips", 'media = "image"', 'media = "imago"', "products: media: no such name: imago"),
        ("products/edits", "# Videos", 'default_kind = "avatar"\n# Videos', "default_kind: stands in two files"),
        ("tiers", 'default = "polite"', 'default = "rude"', "no such name: rude"),
        ("tiers", "max_concurrent = 1", "max_concurrent = 0", "tiers.toml: tier.1.max_concurrent"),
        ("wall_times", "points = [[5, 135]", "points = [[5]", "wall_times.toml: wall_time.13.points.0"),
        ("rules/clips", "[[rule]]", "[[rule", "rules/clips.toml: "),
        ("prices/books", 'default = "api"', 'default = "appi"', "no such name: appi"),
        ("prices/books", "buffer_pct = 20", "buffer_pct = -1", "prices/books.toml: book.1.buffer_pct"),
    ],
)
def test_wrong_data_is_told_with_file_and_key(name: str, old: str, new: str, words: str) -> None:
    with pytest.raises(catalog.CatalogError) as caught:
        load.parse(edited(name, old, new))
    assert words in str(caught.value)


def test_a_new_model_is_an_edit_of_data() -> None:
    texts = load.packaged_texts()
    texts["models/clips"] += """
[[model]]
name = "kling-v4"
kinds = ["text2video"]
modes = ["pro"]
durations = [30]
output = "1080p"
source = "an announcement"
dated = "2026-10"
grants = [{ feature = "sound" }]
"""
    texts["prices/clips"] += """
[[price]]
models = ["kling-v4"]
per_second = 0.7
source = "an announcement"
dated = "2026-10"

[[price]]
models = ["kling-v4"]
per_second = 0.9
source = "an older announcement"
dated = "2026-09"
"""
    data = load.parse(texts)
    book = Book(data.products.product[0], data)
    fields = {"prompt": "x", "model_name": "kling-v4", "mode": "pro", "duration": 30, "sound": "on"}
    checked = book.check(fields)
    price = book.quote(checked.body).price
    assert checked.problems == ()
    assert price is not None
    assert price.credits == Decimal(21)
    assert price.source == "an announcement, 2026-10"


def test_a_price_of_another_book_is_no_price_of_the_api() -> None:
    texts = load.packaged_texts()
    texts["prices/clips"] += """
[[price]]
book = "app"
kinds = ["text2video"]
per_second = 99
source = "a page of the app"
dated = "2030"
"""
    data = load.parse(texts)
    price = Book(data.products.product[0], data).quote({"prompt": "x"}).price
    assert price is not None
    assert price.credits < 99
    texts["prices/clips"] = texts["prices/clips"].replace('book = "app"', 'book = "shop"')
    with pytest.raises(catalog.CatalogError, match="no such name: shop"):
        load.parse(texts)
