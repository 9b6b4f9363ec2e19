"""What a create may say: models, modes, lengths, extras, pictures, and the texts of refusals."""

from __future__ import annotations

from typing import Any

import pytest
from sandbox_kit import START_S, picture, price, text_body

from batch_runner.sandbox import SandboxTask, World, WorldConfig
from batch_runner.sandbox.codes import Denied
from batch_runner.sandbox.pictures import ODD_SHAPE, TOO_SMALL

LINK = "https://example.com/a.png"


def ask(kind: str, body: dict[str, Any]) -> SandboxTask | Denied:
    if kind == "image2video":
        body = {"prompt": "a fox"} | body
    return World(WorldConfig(), price).create(kind, body, START_S)


def refusal(kind: str, body: dict[str, Any]) -> tuple[int, str]:
    outcome = ask(kind, body)
    assert isinstance(outcome, Denied), outcome
    return outcome.code, outcome.message


def accepted(kind: str, body: dict[str, Any]) -> SandboxTask:
    outcome = ask(kind, body)
    assert isinstance(outcome, SandboxTask), outcome
    return outcome


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"mode": "4k"}, 1201, "mode value '4k' is invalid"),
        ({"mode": ["std"]}, 1201, "mode value '['std']' is invalid"),
        ({"duration": "99"}, 1201, "duration value '99' is invalid"),
        ({"duration": 5}, 1201, "duration value '5' is invalid"),
        ({"duration": "3"}, 1201, "duration value '3' is invalid"),
        ({"model_name": "kling-v3", "duration": "16"}, 1201, "duration value '16' is invalid"),
        ({"model_name": "kling-v3-omni"}, 1201, "model is not supported"),
        ({"model_name": "kling-v2-1"}, 1201, "model is not supported"),
        ({"model_name": "kling-v9"}, 1203, "kling-v9 is not supported for this API"),
        ({"model_name": ["kling-v1"]}, 1203, "['kling-v1'] is not supported for this API"),
        ({"prompt": ""}, 1201, "prompt cannot be empty"),
        ({"prompt": "x" * 2501}, 1201, f"prompt value '{'x' * 40}' is invalid"),
        ({"prompt": 7}, 1201, "prompt value '7' is invalid"),
        ({"negative_prompt": "x" * 2501}, 1201, f"negative_prompt value '{'x' * 40}' is invalid"),
        ({"aspect_ratio": "4:3"}, 1201, "aspect_ratio value '4:3' is invalid"),
        ({"sound": "loud"}, 1201, "sound value 'loud' is invalid"),
        ({"sound": "on"}, 1201, "sound value 'on' is invalid"),
        ({"model_name": "kling-v2-6", "sound": "on"}, 1201, "sound value 'on' is invalid"),
        ({"cfg_scale": 1.1}, 1201, "cfg_scale value '1.1' is invalid"),
        ({"cfg_scale": True}, 1201, "cfg_scale value 'true' is invalid"),
        ({"multi_shot": True}, 1201, "multi_shot value 'true' is invalid"),
        ({"model_name": "kling-v3", "multi_shot": "true"}, 1201, "shot_type cannot be empty"),
        ({"camera_control": {"type": "spin"}}, 1201, "camera_control value '{'type': 'spin'}' is invalid"),
        ({"external_task_id": "\ud800"}, 1201, "external_task_id value '\ud800' is invalid"),
        ({"external_task_id": 5}, 1201, "external_task_id value '5' is invalid"),
        (
            {"camera_control": {"type": "down_back"}, "mode": "pro"},
            1201,
            "camera_control is only supported in std mode with 5s duration and kling-v1",
        ),
    ],
)
def test_a_bad_value_is_named(fields: dict[str, Any], code: int, message: str) -> None:
    assert refusal("text2video", text_body(**fields)) == (code, message)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"model": "nonsense", "colour": "blue"},
        {"duration": "10", "mode": "pro", "aspect_ratio": "9:16"},
        {"model_name": "kling-v3", "mode": "4k", "duration": "15", "sound": "on"},
        {"model_name": "kling-v2-6", "mode": "pro", "sound": "on"},
        {"model_name": "kling-v2-master", "cfg_scale": 7},
        {"sound": "off", "cfg_scale": 0.7, "negative_prompt": None, "external_task_id": ""},
        {"camera_control": {"type": "simple", "config": {"zoom": 4, "pan": 0}}},
    ],
)
def test_good_values_and_unknown_fields_pass(fields: dict[str, Any]) -> None:
    task = accepted("text2video", text_body(**fields))
    assert task.aspect == fields.get("aspect_ratio", "16:9")
    assert task.length_s == int(fields.get("duration", 5))


@pytest.mark.parametrize("config", [None, {"zoom": 11}, {"zoom": 1, "pan": 1}, {"zoom": 0}, {"zoom": "far"}])
def test_a_simple_camera_moves_along_one_axis(config: Any) -> None:
    body = text_body(camera_control={"type": "simple", "config": config})
    code, message = refusal("text2video", body)
    assert (code, message.split()[0]) == (1201, "camera_control.config")


def shots(*lengths: str) -> list[dict[str, Any]]:
    return [{"index": n, "prompt": f"shot {n}", "duration": length} for n, length in enumerate(lengths, 1)]


def test_shots_replace_the_prompt_and_fill_the_clip() -> None:
    body = {"model_name": "kling-v3", "multi_shot": True, "shot_type": "customize", "duration": "6"}
    task = accepted("text2video", body | {"multi_prompt": shots("2", "4")})
    other = [{**shot, "prompt": "another"} for shot in shots("2", "4")]
    assert task.look != accepted("text2video", body | {"multi_prompt": other}).look
    for wrong in (shots("2", "3"), shots(*["1"] * 7), [{"prompt": "x"}], "x"):
        assert refusal("text2video", body | {"multi_prompt": wrong})[0] == 1201
    intelligent = body | {"prompt": "x", "shot_type": "intelligence", "multi_prompt": "ignored"}
    assert accepted("text2video", intelligent).length_s == 6
    assert refusal("text2video", body) == (1201, "multi_prompt cannot be empty")
    assert refusal("text2video", body | {"prompt": "x", "shot_type": "wild"})[1] == "shot_type value 'wild' is invalid"


def test_a_picture_decides_the_shape() -> None:
    shapes = {(640, 360): "16:9", (360, 640): "9:16", (400, 400): "1:1"}
    for (width, height), aspect in shapes.items():
        body = {"image": picture(width, height), "aspect_ratio": "ignored here"}
        assert accepted("image2video", body).aspect == aspect
    assert accepted("image2video", {"image": picture(600, 400, "JPEG")}).aspect == "16:9"
    assert accepted("image2video", {"image": LINK}).failure == ""


def test_a_picture_of_the_wrong_size_fails_late() -> None:
    assert accepted("image2video", {"image": picture(640, 299)}).failure == TOO_SMALL
    assert accepted("image2video", {"image": picture(1000, 300)}).failure == ODD_SHAPE


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "image cannot be empty"),
        ({"image": LINK, "prompt": ""}, "prompt cannot be empty"),
        ({"image": "data:image/png;base64," + picture(300, 300)}, "File is not in a valid base64 format"),
        ({"image": "no base64!"}, "File is not in a valid base64 format"),
        ({"image": "aGVsbG8="}, "image file format is invalid"),
        ({"image": 5}, "image value '5' is invalid"),
        ({"image": LINK, "image_tail": LINK, "model_name": "kling-v2-master"}, None),
        ({"image": LINK, "image_tail": LINK, "dynamic_masks": [{"mask": LINK}]}, None),
        ({"image": LINK, "static_mask": LINK, "model_name": "kling-v3"}, None),
        ({"image": LINK, "element_list": [{"element_id": 1}] * 4}, None),
        ({"image": LINK, "voice_list": [{"voice_id": "1"}]}, None),
        ({"image": LINK, "camera_control": {"type": "simple", "config": {"pan": 1}}}, None),
    ],
)
def test_a_bad_picture_request_is_refused(fields: dict[str, Any], message: str | None) -> None:
    code, said = refusal("image2video", fields)
    assert code == 1201
    assert message in {None, said}


def test_an_end_frame_and_masks_pass_where_the_model_knows_them() -> None:
    tail = {"image": LINK, "image_tail": LINK, "model_name": "kling-v2-5-turbo", "mode": "pro"}
    assert accepted("image2video", tail).kind == "image2video"
    assert refusal("image2video", tail | {"mode": "std"})[0] == 1201
    assert accepted("image2video", {"image": LINK, "static_mask": LINK}).kind == "image2video"
    assert accepted("image2video", {"image_tail": LINK}).kind == "image2video"


def test_a_picture_over_ten_megabytes_is_refused() -> None:
    assert refusal("image2video", {"image": "AAAA" * (4 * 1024 * 1024)}) == (1201, "image file size is invalid")
