"""What a finished task left behind, product by product: files, facts without addresses, ids for later items."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_runner.kling.envelope import MalformedAnswer, parse_envelope
from batch_runner.kling.wire_v1 import parse_result, parse_task
from batch_runner.model import Task, TaskStatus


def task_of(result: Any, result_key: str) -> Task:
    return parse_task({"task_id": "t", "task_status": "succeed", "task_result": result}, result_key)


def facts_of(task: Task) -> Any:
    asset = task.assets[-1]
    assert (asset.url, asset.suffix) == ("", ".json")
    return json.loads(asset.content)


def links(*names: str, key: str = "url") -> list[dict[str, Any]]:
    return [{key: f"https://c/{name}"} for name in names]


THREE_VIEWS = {"index": 0, "url_1": "https://c/1.png", "url_2": "https://c/2.png", "url_3": "https://c/3.jpg"}
SOUNDS = [{"url_mp3": "https://c/a", "url_wav": "https://c/a"}]


@pytest.mark.parametrize(
    ("result_key", "result", "suffixes"),
    [
        ("videos", {"videos": links("a", "b.mov")}, [".mp4", ".mov"]),
        ("videos", {"videos": [{"url": "https://c/a.mp4", "watermark_url": "https://c/w.mp4"}]}, [".mp4"]),
        ("images", {"images": links("a.jpg", "b.php")}, [".jpg", ".png"]),
        ("images", {"images": links("a.jpg"), "series_images": links("b")}, [".jpg", ".png"]),
        ("images", {"images": [], "series_images": links("b.webp")}, [".webp"]),
        ("images", {"images": [THREE_VIEWS, THREE_VIEWS]}, [".png", ".png", ".jpg", ".png", ".png", ".jpg"]),
        ("audios", {"audios": SOUNDS}, [".mp3", ".wav"]),
        ("audios", {"audios": [{"url_mp3": "", "url_wav": "https://c/b.wav"}]}, [".wav"]),
        ("audios", {"audios": links("a")}, [".mp3"]),
        ("videos", {"videos": links("a"), "audios": SOUNDS}, [".mp4", ".mp3", ".wav"]),
        ("images", {"images": links("a.png"), "videos": links("a.mp4")}, [".png"]),
    ],
)
def test_files_of_every_product_are_found(result_key: str, result: Any, suffixes: list[str]) -> None:
    assert [asset.suffix for asset in task_of(result, result_key).assets] == suffixes


def test_each_form_of_a_file_has_its_own_length_and_the_same_id() -> None:
    row = {"id": "a1", "url_mp3": "https://c/a.mp3", "url_wav": "https://c/a.wav"}
    task = task_of({"audios": [{**row, "duration_mp3": "3.1", "duration_wav": "3.0"}]}, "audios")
    assert [asset.duration_s for asset in task.assets] == [Decimal("3.1"), Decimal("3.0")]
    assert [asset.asset_id for asset in task.assets] == ["a1", "a1"]


def test_images_come_in_the_order_of_their_numbers() -> None:
    rows = [{"index": 2, "url": "https://c/2"}, {"index": 0, "url": "https://c/0"}, {"index": 1, "url": "https://c/1"}]
    assert [asset.url[-1] for asset in task_of({"images": rows}, "images").assets] == ["0", "1", "2"]
    del rows[1]["index"]
    assert [asset.url[-1] for asset in task_of({"images": rows}, "images").assets] == ["2", "0", "1"]


@pytest.mark.parametrize(
    ("result_key", "result", "made"),
    [
        ("videos", {"videos": [{"id": "v1"}, {"id": "v2"}]}, {"video_id": "v1", "video_ids": ["v1", "v2"]}),
        ("videos", {"videos": [{"id": 12, "session_id": "s"}]}, {"video_id": "12", "session_id": "s"}),
        ("videos", {"videos": [{"id": "v"}], "audios": [{"id": "a"}]}, {"video_id": "v", "audio_id": "a"}),
        ("audios", {"audios": [{"id": "a"}]}, {"audio_id": "a"}),
        ("elements", {"elements": [{"element_id": 123456789012345}]}, {"element_id": 123456789012345}),
        ("elements", {"elements": [{"element_id": "123456789012345"}]}, {"element_id": 123456789012345}),
        ("elements", {"elements": [{"element_id": "u_12"}]}, {"element_id": "u_12"}),
        ("voices", {"voices": [{"voice_id": "v-1", "voice_name": "n"}]}, {"voice_id": "v-1"}),
        ("images", {"images": [{"index": 0, "url": "https://c/a"}]}, {}),
        ("videos", {"videos": [{"id": None}, {"id": []}, {"id": "a\nb"}, {"id": "https://c/a?b=c"}, "x"]}, {}),
    ],
)  # fmt: skip
def test_ids_for_later_items_are_kept_first_and_all(result_key: str, result: Any, made: dict[str, Any]) -> None:
    expected = made | {
        f"{name}s": [value] for name, value in made.items() if f"{name}s" not in made and name[-1] == "d"
    }
    assert task_of(result, result_key).made == expected


def test_a_task_that_did_not_succeed_made_nothing() -> None:
    for word in ("failed", "processing"):
        task = parse_task({"task_id": "t", "task_status": word, "task_result": {"videos": [{"id": "v"}]}})
        assert (task.made, task.assets) == ({}, ())


ELEMENT = {
    "element_id": 123456789012345,
    "element_name": "Füchsin",
    "element_description": "see https://me.example/page?token=abc for more",
    "element_image_list": {"frontal_image": "https://c/a.png?sig=1", "refer_images": [{"image_url": "//c.x/b.png"}]},
    "element_voice_info": {"trial_url": "https://c/a.mp3?sig=2", "owned_by": "me"},
    "tag_list": [{"tag_id": "o_101"}, "cdn.x/a?sig=3"],
    "score": Decimal("0.75"),
}


def test_a_result_that_is_no_file_is_written_down_without_its_addresses() -> None:
    task = task_of({"elements": [ELEMENT]}, "elements")
    assert len(task.assets) == 1
    assert facts_of(task) == {
        "elements": [
            {
                "element_id": 123456789012345,
                "element_name": "Füchsin",
                "element_description": "see for more",
                "element_image_list": {"refer_images": [{}]},
                "element_voice_info": {"owned_by": "me"},
                "tag_list": [{"tag_id": "o_101"}],
                "score": 0.75,
            }
        ]
    }
    text = task.assets[0].content.decode()
    assert text.index("element_description") < text.index("element_id") < text.index("element_name"), "keys are sorted"
    assert "Füchsin" in text
    assert task.assets[0].content not in repr(task).encode()


@pytest.mark.parametrize(
    "number", ["0.1", "1e999999", "NaN", "-Infinity", "12345678901234567.25", "5.041", "1e-999999"]
)
def test_numbers_are_written_down_exactly(number: str) -> None:
    answer = parse_envelope(b'{"code":0,"data":{"fps":%s}}' % number.encode())
    (asset,) = parse_result(answer.data, "", "r").assets
    told = json.loads(asset.content, parse_float=Decimal)["fps"]
    assert Decimal(told).is_nan() if number == "NaN" else Decimal(told) == Decimal(number)


def test_masks_of_a_picture_are_no_addresses() -> None:
    counts = "PP?a=b:;<0000//x"
    mask = {"rle_mask": {"size": [720, 1280], "counts": counts}, "png_mask": {"base64": "iVBORw0KGgo//A=="}}
    task = parse_result({"status": 0, "session_id": "s", "res": {"rle_mask_list": [mask]}}, "", "r")
    assert facts_of(task)["res"]["rle_mask_list"] == [mask]


def test_a_recognised_picture_is_its_parts_and_a_file_that_tells_them_apart() -> None:
    rows = [
        {"type": "object_seg", "is_contain": True, "url": "https://c/o.png?sig=1"},
        {"type": "head_seg", "is_contain": False, "url": ""},
        {"type": "cloth_seg", "is_contain": True, "url": "https://c/c.png?sig=1"},
    ]
    task = parse_result({"task_id": "9", "task_status": "succeed", "task_result": {"images": rows}}, "images", "r")
    assert [asset.suffix for asset in task.assets] == [".png", ".png", ".json"]
    assert [row["is_contain"] for row in facts_of(task)["images"]] == [True, False, True]
    assert b"sig" not in task.assets[-1].content


FACES = {
    "session_id": "ses",
    "face_data": [
        {"face_id": "0", "face_image": "https://c/f.png?sig=1", "start_time": 0, "end_time": 5200},
        {"face_id": "1", "face_image": "https://c/g.png?sig=1", "start_time": 900, "end_time": 5200},
    ],
    "final_unit_deduction": "0.05",
}


def test_found_faces_are_facts_and_ids() -> None:
    task = parse_result(FACES, "", "request-77")
    assert (task.task_id, task.external_task_id, task.status) == ("request-77", None, TaskStatus.SUCCEEDED)
    assert task.charged == Decimal("0.05")
    assert task.made == {"session_id": "ses", "session_ids": ["ses"], "face_id": "0", "face_ids": ["0", "1"]}
    assert facts_of(task) == {
        "session_id": "ses",
        "face_data": [
            {"face_id": "0", "start_time": 0, "end_time": 5200},
            {"face_id": "1", "start_time": 900, "end_time": 5200},
        ],
    }


@pytest.mark.parametrize("status", [0, "0", None, "succeed"])
def test_a_selection_that_was_accepted_gives_its_session(status: Any) -> None:
    task = parse_result({"status": status, "session_id": "s", "normalized_video": "https://c/n.mp4"}, "", "r")
    assert task.status is TaskStatus.SUCCEEDED
    assert task.made["session_id"] == "s"
    assert "normalized_video" not in facts_of(task)


@pytest.mark.parametrize("status", [1, "7", -1])
def test_a_selection_that_was_not_recognised_failed(status: Any) -> None:
    task = parse_result({"status": status, "session_id": "s", "final_unit_deduction": "0"}, "", "r")
    assert task == Task(
        "r", None, TaskStatus.FAILED, f"the service could not do it (status {status})", charged=Decimal(0)
    )


def test_speech_is_a_file_at_once_or_failed() -> None:
    audio = {"id": "a-1", "url": "https://c/a.mp3?sig=1", "duration": "2.5"}
    data: dict[str, Any] = {"task_id": "7", "task_status": "succeed", "task_result": {"audios": [audio]}}
    task = parse_result(data, "audios", "r")
    assert (task.task_id, task.made["audio_id"], task.assets[0].suffix) == ("7", "a-1", ".mp3")
    failed = parse_result({**data, "task_status": "failed", "task_status_msg": "no\nvoice"}, "audios", "r")
    assert (failed.status, failed.message, failed.assets, failed.made) == (TaskStatus.FAILED, "no voice", (), {})


@pytest.mark.parametrize(
    ("data", "result_key"),
    [
        (None, ""),
        ([], ""),
        ({}, ""),
        ({"final_unit_deduction": "0.05"}, ""),
        ({"task_id": "7", "task_status": "processing"}, "audios"),
        ({"task_id": "7", "task_status": "succeed", "task_result": {}}, "audios"),
        ({"task_id": "7", "task_status": "succeed", "task_result": 5}, "audios"),
        ({"task_id": {}, "session_id": "s"}, ""),
        ({"task_status": 5, "session_id": "s"}, ""),
    ],
)
def test_an_answer_without_a_result_is_malformed(data: Any, result_key: str) -> None:
    with pytest.raises(MalformedAnswer):
        parse_result(data, result_key, "r")


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(max_size=20) | st.just("https://c/a?b=secret"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), NESTED, min_size=1, max_size=3), st.sampled_from(["", "elements", "x"]))
def test_whatever_the_facts_are_their_file_is_json_without_addresses(result: Any, result_key: str) -> None:
    for asset in task_of(result, result_key).assets:
        json.loads(asset.content)
        assert b"://" not in asset.content


def test_facts_that_are_deep_or_huge_take_no_time() -> None:
    deep: Any = "x"
    for _ in range(400):
        deep = [deep]
    assert task_of({"elements": deep, "z": "a?" * 500_000}, "elements").assets[0].content
