"""The forms of the first API generation."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_runner.kling.envelope import MalformedAnswer, parse_envelope, quantity
from batch_runner.kling.packs import parse_packs
from batch_runner.kling.wire_v1 import create_request, find_path, parse_created, parse_task
from batch_runner.model import Asset, Task, TaskStatus


def task_data(**changes: Any) -> dict[str, Any]:
    return {
        "task_id": "831922345719271433",
        "task_status": "succeed",
        "task_status_msg": "",
        "task_info": {"external_task_id": "b-1-2"},
        "created_at": 1,
        "updated_at": 2,
        "task_result": {"videos": [{"id": "v1", "url": "https://cdn/x/a.MP4?Expires=1", "duration": "5.041"}]},
        "final_unit_deduction": "3.5",
        **changes,
    }


def test_a_succeeded_task_is_read_whole() -> None:
    assert parse_task(task_data()) == Task(
        task_id="831922345719271433",
        external_task_id="b-1-2",
        status=TaskStatus.SUCCEEDED,
        assets=(Asset("https://cdn/x/a.MP4?Expires=1", ".mp4", Decimal("5.041"), "v1"),),
        charged=Decimal("3.5"),
        made={"video_id": "v1", "video_ids": ["v1"]},
    )


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("submitted", TaskStatus.SUBMITTED),
        ("processing", TaskStatus.PROCESSING),
        ("succeed", TaskStatus.SUCCEEDED),
        ("succeeded", TaskStatus.SUCCEEDED),
        ("Failed", TaskStatus.FAILED),
        ("pondering", TaskStatus.PROCESSING),
        ("", TaskStatus.PROCESSING),
    ],
)
def test_both_generations_words_are_understood_and_a_new_one_is_no_end(word: str, status: TaskStatus) -> None:
    assert parse_task(task_data(task_status=word)).status is status


def test_a_failed_task_has_its_cleaned_text_and_no_files() -> None:
    task = parse_task(task_data(task_status="failed", task_status_msg="bad\nhttps://c/x?sig=1"))
    assert (task.message, task.assets) == ("bad https://c/x?[removed]", ())


@pytest.mark.parametrize("given_id", [831922345719271433, "831922345719271433"])
def test_ids_are_text_however_they_come(given_id: Any) -> None:
    assert parse_task(task_data(task_id=given_id)).task_id == "831922345719271433"


@pytest.mark.parametrize("info", [None, {}, {"external_task_id": None}, {"external_task_id": ""}])
def test_an_answer_need_not_carry_our_id(info: Any) -> None:
    assert parse_task(task_data(task_info=info)).external_task_id is None


@pytest.mark.parametrize(
    ("deduction", "charged"),
    [
        ('"0.1"', "0.1"),
        ("0.1", "0.1"),
        ("3", "3"),
        ('"0"', "0"),
        ("1e1", "10"),
        ("0.30000000000000004", "0.3"),
        ('"1.7999999999999998"', "1.8"),
        ("3.552713678800501e-15", "0"),
        ("null", None),
        ('""', None),
        ('"free"', None),
        ("-1", None),
        ('"-1"', None),
        ("NaN", None),
        ("-Infinity", None),
        ('"NaN"', None),
        ("true", None),
        ("[]", None),
        ("1e999999", None),
        ("1e-999999", None),
        ("1" * 300, None),
        ('"1_0"', None),
    ],
)
def test_a_charge_is_exact_to_12_decimals_or_unsaid(deduction: str, charged: str | None) -> None:
    body = json.dumps({"code": 0, "data": task_data(final_unit_deduction="@")}).replace('"@"', deduction)
    expected = None if charged is None else Decimal(charged)
    assert parse_task(parse_envelope(body.encode()).data).charged == expected


def test_a_task_that_names_no_files_has_none() -> None:
    results: list[Any] = [None, {}, {"videos": None}, {"videos": []}, {"images": [{"url": "https://c/a.png"}]}]
    for result in results:
        assert parse_task(task_data(task_result=result)).assets == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"task_id": None},
        {"task_id": ""},
        {"task_id": True},
        {"task_id": ["x"]},
        {"task_id": "a\nb"},
        {"task_id": "\ud800"},
        {"task_id": "x" * 1000},
        {"task_id": "https://cdn/a?sig=1"},
        {"task_status": None},
        {"task_status": 3},
        {"task_info": []},
        {"task_info": {"external_task_id": {}}},
    ],
)
def test_what_is_no_task_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedAnswer):
        parse_task(task_data(**changes))


@pytest.mark.parametrize(
    ("result", "files"),
    [
        ("none", 0),
        ({"videos": {}}, 0),
        ({"videos": []}, 0),
        ({"videos": ["https://c/a.mp4"]}, 1),
        ({"videos": [{}]}, 1),
        ({"videos": [{"url": 5}]}, 1),
        ({"videos": [{"url": "file:///etc/passwd"}]}, 1),
        ({"videos": [{"url": "//cdn/a.mp4"}]}, 1),
        ({"videos": [{"url": "https://[::1/a.mp4"}]}, 1),
        ({"videos": [{"url": "https://c/a.mp4\r\nX: y"}]}, 1),
    ],
)
def test_a_succeeded_task_without_usable_links_is_still_a_succeeded_task(result: Any, files: int) -> None:
    """It was paid: once such an answer was taken for none at all, and the task for one that still runs."""
    task = parse_task(task_data(task_result=result))
    assert task.status is TaskStatus.SUCCEEDED
    assert [asset.url for asset in task.assets] == [""] * files


def test_a_created_task_that_does_not_say_where_it_stands_is_submitted() -> None:
    assert parse_created({"task_id": "t"}).status is TaskStatus.SUBMITTED
    assert parse_created({"task_id": "t", "task_status": "processing"}).status is TaskStatus.PROCESSING


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'"x"',
        b"{",
        b"\xff\xfe\xfd",
        b"[" * 100_000,
        b"9" * 5000,
        b'{"a":1e9' + b"9" * 30 + b"}",
    ],
)
def test_what_is_no_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedAnswer) as caught:
        parse_envelope(body)
    assert caught.value.__context__ is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("https://c/a?b"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
ODD_TASK = st.fixed_dictionaries(
    {},
    optional={
        "task_id": JSON | st.just("t"),
        "task_status": JSON | st.sampled_from(["succeed", "failed", "processing"]),
        "task_status_msg": JSON,
        "task_info": JSON | st.fixed_dictionaries({"external_task_id": JSON}),
        "task_result": JSON
        | st.fixed_dictionaries(
            {"videos": JSON | st.lists(st.fixed_dictionaries({"url": JSON, "duration": JSON}), max_size=2)}
        ),
        "final_unit_deduction": JSON,
    },
)


@settings(max_examples=300, deadline=None)
@given(ODD_TASK | JSON, st.sampled_from(["videos", "images"]))
def test_any_json_is_a_task_or_malformed_and_nothing_else(data: Any, result_key: str) -> None:
    body = json.dumps({"code": 0, "data": data}).encode()
    with suppress(MalformedAnswer):
        task = parse_task(parse_envelope(body).data, result_key)
        f"{task.task_id}{task.external_task_id}{task.message}".encode()
        assert task.charged is None or task.charged >= 0
        assert "https" not in repr((task.task_id, task.external_task_id, task.made, task.assets))
    with suppress(MalformedAnswer):
        parse_created(parse_envelope(body).data)
    with suppress(MalformedAnswer):
        parse_packs({"resource_pack_subscribe_infos": parse_envelope(body).data})


@given(st.binary(max_size=200))
def test_any_bytes_are_an_envelope_or_malformed(body: bytes) -> None:
    with suppress(MalformedAnswer):
        parse_envelope(body)


@given(st.decimals(allow_nan=True) | st.text() | st.integers())
def test_a_quantity_is_a_plain_number_or_nothing(value: Any) -> None:
    number = quantity(value)
    assert number is None or (number >= 0 and len(format(number, "f")) < 40)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1E+1", "10"),
        ("1.5E0", "1.5"),
        ("25e-1", "2.5"),
        ("1e3", "1000"),
        ("1e16", None),
        ("1e-99", None),
        ("1e", None),
    ],
)
def test_a_quantity_may_be_written_with_an_exponent(text: str, number: str | None) -> None:
    """As Java writes 10 without its zeros; it was taken for no figure, and the estimate stood."""
    assert quantity(text) == (None if number is None else Decimal(number))


def test_a_create_carries_our_id_whatever_the_body_says() -> None:
    sent = json.loads(create_request({"prompt": "Füße ✨", "external_task_id": "x"}, {"external_task_id": "ours"}))
    assert sent == {"prompt": "Füße ✨", "external_task_id": "ours"}


@pytest.mark.parametrize(
    ("task_id", "path"),
    [
        ("abc-123", "/p/abc-123"),
        ("a/b?c#d e%f", "/p/a%2Fb%3Fc%23d%20e%25f"),
        ("..", "/p/%2E%2E"),
        ("CjikY2gHPbcAAAAABI5n9g==", "/p/CjikY2gHPbcAAAAABI5n9g%3D%3D"),
    ],
)
def test_an_id_stays_one_segment_of_the_path(task_id: str, path: str) -> None:
    assert find_path("/p", task_id) == path


def test_an_empty_id_never_asks_for_the_list() -> None:
    with pytest.raises(ValueError, match="empty"):
        find_path("/p", "")


def test_packs_are_read() -> None:
    row = {
        "resource_pack_name": "Trial-Video-100Units-5Con-1Months",
        "status": "online",
        "total_quantity": 100,
        "remaining_quantity": Decimal("93.6"),
        "invalid_time": 1_800_000_000_000,
    }
    (pack,) = parse_packs({"resource_pack_subscribe_infos": [row]})
    assert (pack.name, pack.status) == ("Trial-Video-100Units-5Con-1Months", "online")
    assert (pack.total, pack.remaining) == (Decimal(100), Decimal("93.6"))
    assert pack.expires_at_s == 1_800_000_000.0
