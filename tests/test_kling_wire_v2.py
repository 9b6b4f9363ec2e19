"""The forms of the second API generation."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_runner import catalog
from batch_runner.kling.envelope import MalformedAnswer, parse_envelope
from batch_runner.kling.wire_v2 import (
    create_request,
    find_path,
    parse_created,
    parse_search,
    parse_task,
    search_request,
)
from batch_runner.model import Asset, Generation, Route, Task, TaskStatus

PLACES = {
    "text2video": {
        "prompt": "",
        "multi_shot": "settings",
        "audio": "settings",
        "resolution": "settings",
        "aspect_ratio": "settings",
        "duration": "settings",
        "watermark_info": "options",
    },
    "image2video": {
        "prompt": "contents:prompt",
        "image": "contents:first_frame",
        "image_tail": "contents:last_frame",
        "element_list": "contents:element",
        "voice_list": "contents:voice",
        "resolution": "settings",
        "duration": "settings",
    },
    "omni-video": {
        "prompt": "contents:prompt",
        "image_list": "contents:refer_image",
        "video_list": "contents:base_video",
        "element_list": "contents:element",
        "audio": "settings",
        "duration": "settings",
    },
    "motion-control": {
        "prompt": "contents:prompt",
        "image_url": "contents:image",
        "video_url": "contents:video",
        "character_orientation": "settings",
    },
}


def sent(kind: str, **body: Any) -> Any:
    route = Route(Generation.V2, f"/{kind}/m", "/tasks", "", PLACES[kind])
    return json.loads(create_request(route, body, {"external_task_id": "ours"}))


OURS = {"external_task_id": "ours"}


def test_a_text_and_its_settings_are_nested_and_the_model_stays_in_the_path() -> None:
    body = sent(
        "text2video", model_name="kling-3.0", prompt="a fox ✨", duration="15", audio="native", multi_shot=False,
        watermark_info={"enabled": True},
    )  # fmt: skip
    assert body == {
        "prompt": "a fox ✨",
        "settings": {"multi_shot": False, "audio": "native", "duration": 15},
        "options": {"watermark_info": {"enabled": True}, "external_task_id": "ours"},
    }


def test_frames_elements_and_voices_are_contents_in_the_routes_order() -> None:
    body = sent(
        "image2video", voice_list=[{"voice_id": "v-9"}], image_tail="https://c/b.png", image="https://c/a.png",
        prompt="<<<element_2>>> meets <<<element_1>>>", element_list=[{"element_id": 11}, {"element_id": 12}],
        duration=5,
    )  # fmt: skip
    assert body == {
        "contents": [
            {"type": "prompt", "text": "@element_2 meets @element_1"},
            {"type": "first_frame", "url": "https://c/a.png"},
            {"type": "last_frame", "url": "https://c/b.png"},
            {"type": "element", "element_id": 11, "id": "element_1"},
            {"type": "element", "element_id": 12, "id": "element_2"},
            {"type": "voice", "voice_id": "v-9", "id": "voice_1"},
        ],
        "settings": {"duration": 5},
        "options": OURS,
    }


def test_rows_say_what_part_they_play_and_how_a_prompt_mentions_them() -> None:
    images = [
        {"image_url": "https://c/a.png", "type": "first_frame"},
        {"image_url": "https://c/b.png", "type": "end_frame"},
        {"image_url": "https://c/c.png", "id": "hat"},
    ]
    body = sent(
        "omni-video", prompt="<<<image_3>>> on <<<image_1>>>, <<<image_4>>>", image_list=images,
        video_list=[{"video_url": "https://c/v.mp4"}, {"video_url": "https://c/w.mp4", "refer_type": "feature"}],
    )  # fmt: skip
    assert body["contents"] == [
        {"type": "prompt", "text": "@hat on @image_1, <<<image_4>>>"},
        {"type": "first_frame", "url": "https://c/a.png", "id": "image_1"},
        {"type": "last_frame", "url": "https://c/b.png", "id": "image_2"},
        {"type": "refer_image", "url": "https://c/c.png", "id": "hat"},
        {"type": "base_video", "url": "https://c/v.mp4", "id": "video_1"},
        {"type": "feature_video", "url": "https://c/w.mp4", "id": "video_2"},
    ]


def test_a_motion_is_an_image_and_a_video() -> None:
    body = sent(
        "motion-control", image_url="https://c/a.png", video_url="https://c/v.mp4", character_orientation="image"
    )
    assert body == {
        "contents": [{"type": "image", "url": "https://c/a.png"}, {"type": "video", "url": "https://c/v.mp4"}],
        "settings": {"character_orientation": "image"},
        "options": OURS,
    }


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text2video", {"prompt": "x", "mode": "pro"}),
        ("text2video", {"prompt": "x", "duration": "5.5"}),
        ("omni-video", {"image_list": [{"image_url": "u", "weight": 1}]}),
        ("omni-video", {"image_list": [{"type": "first_frame"}]}),
        ("omni-video", {"image_list": [{"image_url": "u", "url": "w"}]}),
        ("image2video", {"prompt": float("nan")}),
    ],
)
def test_what_has_no_place_is_not_left_out_in_silence(kind: str, body: dict[str, Any]) -> None:
    """The service ignores what it does not know: a forgotten setting would be paid for at its default."""
    with pytest.raises(ValueError, match=r"place|words|invalid literal|JSON"):
        sent(kind, **body)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("text2video", {"model_name": "kling-3.0", "prompt": "x", "multi_shot": "true", "duration": 8}),
        ("image2video", {"model_name": "kling-2.6", "prompt": "x", "image": "https://c/a.png", "duration": "10"}),
        ("omni-video", {"model_name": "kling-3.0-omni", "prompt": "x", "image_list": [{"image_url": "https://c/a.png"}]}),
        ("motion-control", {"model_name": "kling-3.0", "image_url": "https://c/a.png", "video_url": "https://c/v.mp4"}),
    ],
)  # fmt: skip
def test_bodies_of_the_catalogue_find_their_places(kind: str, fields: dict[str, Any]) -> None:
    body = catalog.check(kind, fields).body
    sent = json.loads(create_request(catalog.route(kind, fields["model_name"]), body, {}))
    assert set(sent) <= {"prompt", "contents", "settings", "options"}
    assert "model_name" not in json.dumps(sent)
    assert sent.get("settings", {}).get("duration", 5) == int(fields.get("duration", 5))


def test_no_models_name_leads_to_another_path() -> None:
    for name in ("kling-0/../../account", "kling-0?x=y", "kling-0#x", "kling-0 ä%2f"):
        path = catalog.route("text2video", name).create_path
        assert path.startswith("/text-to-video/kling-0")
        assert path.isascii()
        assert path.count("/") == 2
        assert not set(path) & set("?# ")


def test_our_words_win_over_the_items_own() -> None:
    route = Route(Generation.V2, "/m", "/tasks", "", {"external_task_id": "options", "callback_url": "options"})
    body = {"external_task_id": "theirs", "callback_url": "https://theirs"}
    ours = {"external_task_id": "ours", "callback_url": "https://ours"}
    assert json.loads(create_request(route, body, ours)) == {"options": ours}


def task_data(**changes: Any) -> dict[str, Any]:
    return {
        "id": "831922345719271433",
        "status": "succeeded",
        "message": "",
        "create_time": 1,
        "update_time": 2,
        "external_id": "b-1-2",
        "outputs": [{"type": "video", "id": "v1", "url": "https://cdn/x/a.MP4?Expires=1", "duration": "3.041"}],
        "billing": [{"charge_type": "unit", "amount": "2.4", "package_type": "video"}],
        **changes,
    }


def test_a_succeeded_task_is_read_whole() -> None:
    assert parse_task(task_data()) == Task(
        task_id="831922345719271433",
        external_task_id="b-1-2",
        status=TaskStatus.SUCCEEDED,
        assets=(Asset("https://cdn/x/a.MP4?Expires=1", ".mp4", Decimal("3.041"), "v1"),),
        charged=Decimal("2.4"),
        made={"video_id": "v1", "video_ids": ["v1"]},
    )


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("submitted", TaskStatus.SUBMITTED),
        ("processing", TaskStatus.PROCESSING),
        ("succeed", TaskStatus.SUCCEEDED),
        ("succeeded", TaskStatus.SUCCEEDED),
        ("failed", TaskStatus.FAILED),
        ("pondering", TaskStatus.PROCESSING),
    ],
)
def test_both_generations_words_are_understood_and_a_new_one_is_no_end(word: str, status: TaskStatus) -> None:
    task = parse_task(task_data(status=word))
    assert task.status is status
    assert bool(task.assets) is bool(task.made) is (status is TaskStatus.SUCCEEDED)


def test_a_failed_task_has_its_cleaned_text_and_no_files() -> None:
    task = parse_task(task_data(status="failed", message="bad\nhttps://c/x?sig=1", billing=[]))
    assert (task.message, task.assets, task.charged) == ("bad https://c/x?[removed]", (), None)
    assert parse_task(task_data(message="SUCCEED")).message == ""


@pytest.mark.parametrize(
    ("billing", "charged"),
    [
        ([{"charge_type": "unit", "amount": "2.4", "package_type": "video"}], "2.4"),
        ([{"charge_type": "unit", "amount": 8, "package_type": "image"}], "8"),
        ([{"charge_type": "unit", "amount": "2.4"}, {"charge_type": "unit", "amount": "0.1"}], "2.5"),
        ([{"charge_type": "cash", "amount": "8", "currency": "USD"}], None),
        ([{"charge_type": "cash", "amount": "8"}, {"charge_type": "unit", "amount": "0"}], "0"),
        ([{"charge_type": "unit", "amount": "2.4"}, {"charge_type": "unit", "amount": "some"}], None),
        ([{"amount": "8"}], None),
        ([], None),
        (None, None),
        ("free", None),
        ([None], None),
    ],
)
def test_units_are_counted_and_cash_is_not(billing: Any, charged: str | None) -> None:
    assert parse_task(task_data(billing=billing)).charged == (None if charged is None else Decimal(charged))


SOUND = {"mp3_url": "https://c/a", "wav_url": "https://c/b"}


@pytest.mark.parametrize(
    ("outputs", "suffixes", "made"),
    [
        ([{"type": "image", "url": "https://c/a", "group_id": 1}], [".png"], {}),
        ([{"type": "audio", "id": "a", **SOUND}], [".mp3", ".wav"], {"audio_id": "a"}),
        ([{"type": "audio", "id": "a", "wav_url": "https://c/b"}], [".wav"], {"audio_id": "a"}),
        ([{"type": "video", "id": "v", "watermark_url": "https://c/w"}], [".mp4"], {"video_id": "v"}),
        ([{"type": "voice", "voice_id": "o", "trial_url": "https://c/t"}], [".json"], {"voice_id": "o"}),
        ([{"type": "element", "element_id": "123", "references": []}], [".json"], {"element_id": 123}),
        ([{"type": "hologram", "id": "h"}], [".json"], {}),
        ([], [], {}),
        (["x", {}, {"type": 5}], [], {}),
        ({}, [], {}),
    ],
)  # fmt: skip
def test_outputs_of_every_type_are_found(outputs: Any, suffixes: list[str], made: dict[str, Any]) -> None:
    task = parse_task(task_data(outputs=outputs))
    assert [asset.suffix for asset in task.assets] == suffixes
    assert {name: value for name, value in task.made.items() if name[-1] != "s"} == made
    assert all(b"://" not in asset.content for asset in task.assets)


@pytest.mark.parametrize(
    "changes",
    [{"id": None}, {"id": ""}, {"id": {}}, {"status": None}, {"status": 3}, {"external_id": []}, {"id": "a\nb"}],
)
def test_what_is_no_task_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedAnswer):
        parse_task(task_data(**changes))


def test_a_created_task_that_does_not_say_where_it_stands_is_submitted() -> None:
    assert parse_created({"id": "t"}).status is TaskStatus.SUBMITTED
    assert parse_created({"id": "t", "status": "processing", "external_id": "e"}).external_task_id == "e"
    with pytest.raises(MalformedAnswer):
        parse_created({"task_id": "t"})


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"result": [1, 2], "count": 2, "has_more": False, "next_cursor": ""}, ([1, 2], None)),
        ({"result": [1], "has_more": True, "next_cursor": "c2"}, ([1], "c2")),
        ({"result": None}, ([], None)),
        ({"result": [], "has_more": False, "next_cursor": "c3"}, ([], None)),
    ],
)
def test_a_search_has_rows_and_perhaps_more(data: Any, expected: Any) -> None:
    assert parse_search(data) == expected


@pytest.mark.parametrize(
    "data",
    [None, [], {"result": {}}, {"result": [], "has_more": True}, {"result": [], "has_more": True, "next_cursor": 5}],
)
def test_what_is_no_search_is_malformed(data: Any) -> None:
    with pytest.raises(MalformedAnswer):
        parse_search(data)


def test_a_search_asks_for_times_or_goes_on() -> None:
    assert json.loads(search_request(None, 1, 2, 50)) == {"start_time": 1, "end_time": 2, "limit": 50}
    assert json.loads(search_request(None, None, None, 50)) == {"limit": 50}
    assert json.loads(search_request("c2", 1, 2, 50)) == {"cursor": "c2", "limit": 50}


def test_ids_are_one_value_of_the_query_each() -> None:
    assert find_path("/tasks", ["a", "b,c&d=e#f"]) == "/tasks?task_ids=a,b%2Cc%26d%3De%23f"
    assert find_path("/tasks", ["x"], by_external_id=True) == "/tasks?external_task_ids=x"


@pytest.mark.parametrize("ids", [[], [""], ["a", ""], [str(number) for number in range(21)]])
def test_a_request_names_between_one_and_twenty_ids(ids: list[str]) -> None:
    with pytest.raises(ValueError, match="id"):
        find_path("/tasks", ids)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("https://c/a?b"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
OUTPUT = st.dictionaries(
    st.sampled_from(["type", "id", "url", "mp3_url", "duration", "element_id"]),
    JSON | st.sampled_from(["video", "audio", "image", "element"]),
)
ODD_TASK = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON | st.just("t"),
        "status": JSON | st.sampled_from(["succeeded", "failed", "processing"]),
        "message": JSON,
        "external_id": JSON,
        "outputs": JSON | st.lists(OUTPUT, max_size=3),
        "billing": JSON | st.lists(st.fixed_dictionaries({"charge_type": st.just("unit"), "amount": JSON})),
    },
)


@settings(max_examples=300, deadline=None)
@given(ODD_TASK | JSON)
def test_any_json_is_a_task_or_malformed_and_nothing_else(data: Any) -> None:
    read = parse_envelope(json.dumps({"code": 0, "data": data}).encode()).data
    with suppress(MalformedAnswer):
        task = parse_task(read)
        f"{task.task_id}{task.external_task_id}{task.message}".encode()
        json.dumps(dict(task.made))
        assert task.charged is None or task.charged >= 0
        assert "https" not in repr((task.task_id, task.external_task_id, task.made, task.assets))
    with suppress(MalformedAnswer):
        parse_created(read)
    with suppress(MalformedAnswer):
        parse_search(read)
