"""Whatever a request says, the simulated service answers: a task or a refusal, and never a fault of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from products_kit import LINK, SIMPLE
from sandbox_kit import START_S, price
from test_sandbox_standard import GOOD

from batch_runner.sandbox import SandboxTask, World, WorldConfig, wire, wire_v2
from batch_runner.sandbox.codes import Denied
from batch_runner.sandbox.products import PRODUCTS, Product, standard

CALLS: dict[str, dict[str, Any]] = {
    "tts": {"text": "hello", "voice_id": "uk_boy1", "voice_language": "en"},
    "image-recognize": {"image": LINK},
    "identify-face": {"video_url": LINK},
    "init-selection": {"video_url": LINK},
    "add-selection": {"session_id": "1", "frame_index": 0, "points": [{"x": 0, "y": 0}]},
    "advanced-lip-sync": {"session_id": "1", "face_choose": [{"face_id": "1"}]},
    "multi-elements": {"session_id": "1", "edit_mode": "swap", "prompt": "a", "image_list": [{"image": LINK}]},
    "video-extend": {"video_id": "1"},
    "delete-elements": {"element_id": "1"},
}
OTHER_FIELDS = (
    "model_name", "mode", "duration", "n", "sound", "multi_shot", "shot_type", "multi_prompt", "camera_control",
    "element_list", "voice_list", "video_list", "image_list", "image_tail", "dynamic_masks", "static_mask", "audio_id",
    "video_id", "watermark_info", "external_task_id", "resolution", "aspect_ratio", "tag_list", "voice_speed",
    "series_amount", "settings", "options", "contents", "element_voice_id",
)  # fmt: skip

NONSENSE: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 10**30, 0.5, float("nan"), float("inf"), "", "on", "5", "x" * 3000, "\ud800", LINK,
    "aGVsbG8=", "customize", "http://[", [], [None], [[1]], ["5"], {}, {"type": ["simple"]}, [{}], [{"image": 1}],
    [{"image_url": [LINK], "type": ["first_frame"]}], [{"video_url": LINK, "refer_type": {}}], [{"element_id": [1]}],
    [{"voice_id": {}}], [{"prompt": "a", "duration": "1"}], [{"x": "a", "y": None}], [{"tag_id": ["o_101"]}], [0] * 12,
    [{"type": "prompt", "text": [1]}], [{"type": ["prompt"]}], [{"type": "first_frame", "url": 5}], {"enabled": "yes"},
    [{"type": "element", "element_id": {}}], {"type": "simple", "config": {"pan": "1"}}, {"duration": [5], "audio": []},
)  # fmt: skip


WORLD = World(WorldConfig(max_concurrent=9), price)


def answered(product: Product, body: Mapping[str, Any]) -> None:
    """A task that can be told in both forms, or a refusal."""
    outcome = WORLD.prepare_for(product, body, START_S)
    assert isinstance(outcome, SandboxTask | Denied), outcome
    if isinstance(outcome, SandboxTask) and not product.is_sync:
        for told in (wire.queried, wire_v2.told):
            told(outcome, outcome.ended_at_s, lambda *_: LINK)


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a body."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*way, key)
        yield from places(each, (*way, key))


def put(body: Any, way: tuple[Any, ...], value: Any) -> Any:
    """The body with another value at a place."""
    if not way:
        return value
    inner = copy.copy(body)
    inner[way[0]] = put(body[way[0]], way[1:], value) if way[0] in places_of(body) else value
    return inner


def places_of(body: Any) -> set[Any]:
    return set(body) if isinstance(body, dict) else set(range(len(body)))


def changed(body: dict[str, Any], others: Sequence[str]) -> Iterator[dict[str, Any]]:
    for way in [*places(body), *((name,) for name in others if name not in body)]:
        for value in NONSENSE:
            yield put(body, way, value)


@pytest.mark.parametrize("kind", sorted({*SIMPLE, *CALLS}))
def test_every_product_answers_nonsense_in_any_place(kind: str) -> None:
    for body in changed({**SIMPLE, **CALLS}[kind], OTHER_FIELDS):
        answered(PRODUCTS[kind], body)


@pytest.mark.parametrize("path", sorted(GOOD))
def test_every_route_of_the_new_standard_answers_nonsense_in_any_place(path: str) -> None:
    product = standard.find(*path[1:].split("/"))
    assert not isinstance(product, Denied)
    settings = {"audio": "off", "duration": 5, "resolution": "720p", "aspect_ratio": "1:1", "multi_shot": False}
    options = {"external_task_id": "a", "watermark_info": {"enabled": True}, "callback_url": LINK}
    body = {**GOOD[path], "settings": {**settings, **GOOD[path].get("settings", {})}, "options": options}
    for other in changed(body, ("contents", "prompt")):
        answered(product, other)


def test_every_call_on_a_session_answers_nonsense_in_any_place() -> None:
    world = World(WorldConfig(), price)
    for opener in ("identify-face", "init-selection"):
        opened = world.create(opener, {"video_url": LINK}, START_S)
        assert isinstance(opened, SandboxTask)
        session = {"session_id": opened.made_id("session")}
        face = {"face_id": opened.made_id("face"), "sound_file": LINK}
        times = {"sound_start_time": 0, "sound_end_time": 3000, "sound_insert_time": 0, "sound_volume": 1}
        for kind, body in (
            ("advanced-lip-sync", {**session, "face_choose": [{**face, **times}]}),
            ("add-selection", {**CALLS["add-selection"], **session}),
            ("delete-selection", {**CALLS["add-selection"], **session}),
            ("multi-elements", {**CALLS["multi-elements"], **session}),
        ):
            for other in changed(body, ("duration", "mode")):
                outcome = world.prepare(kind, other, START_S)
                assert isinstance(outcome, SandboxTask | Denied)
