"""text2video and image2video: the checks of both, and what they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batch_runner.sandbox.codes import CAMERA_UNSUPPORTED, Denied, empty, invalid
from batch_runner.sandbox.products import clauses, media
from batch_runner.sandbox.products.models import CLASSIC, FIRST_GENERATION, IMAGE_TO_VIDEO_ONLY, Model
from batch_runner.sandbox.products.product import Order, Pace, Product, Request

ASPECTS = ("16:9", "9:16", "1:1")
_LONGEST_SHOT_TEXT = 512
_MOST_SHOTS = 6
_CAMERA_REACH = 10
_CAMERA_TYPES = ("simple", "down_back", "forward_up", "right_turn_forward", "left_turn_forward")
_CAMERA_AXES = ("horizontal", "vertical", "pan", "tilt", "roll", "zoom")
_IMAGE_FACTOR = 0.55  # reported means of the first generation: 164 s from an image, 319 s from text


def _model(request: Request) -> Model:
    """What the model can do; only for a name that was checked."""
    return CLASSIC[request.model_name]


def mode(request: Request) -> Denied | None:
    """A mode of the model."""
    return None if request.mode in _model(request).lengths else invalid("mode", request.mode)


def duration(request: Request) -> Denied | None:
    """A length of the model in that mode; numbers are refused: this API generation takes the length as text."""
    value = request.given("duration")
    legal = tuple(str(length) for length in _model(request).lengths[request.mode])
    return None if value is None or value in legal else invalid("duration", value)


def prompt(request: Request) -> Denied | None:
    """A prompt, unless the caller writes each shot."""
    if request.given("prompt") is None and not request.own_shots:
        return empty("prompt")
    return clauses.text("prompt")(request)


def _cfg_scale(request: Request) -> Denied | None:
    second = request.model_name.startswith("kling-v2")
    return None if second else clauses.number("cfg_scale", 0, 1)(request)


def _sound(request: Request) -> Denied | None:
    wrong = request.sound and request.mode not in _model(request).sound
    return invalid("sound", "on") if wrong else None


def _shots(request: Request) -> Denied | None:
    return shots(request) if _model(request).multi_shot or not request.multi_shot else invalid("multi_shot", True)


def shots(request: Request) -> Denied | None:
    """Several shots, where the model can make them: written by the service or by the caller."""
    if not request.multi_shot:
        return None
    shot_type = request.given("shot_type")
    if shot_type not in ("customize", "intelligence"):
        return empty("shot_type") if shot_type is None else invalid("shot_type", shot_type)
    return _shot_list(request) if request.own_shots else None


def _shot_list(request: Request) -> Denied | None:
    listed = request.given("multi_prompt")
    if listed is None:
        return empty("multi_prompt")
    if not isinstance(listed, list) or len(listed) > _MOST_SHOTS or not all(map(_is_shot, listed)):
        return invalid("multi_prompt", listed)
    total = sum(int(shot["duration"]) for shot in listed)
    return None if total == request.length_s else invalid("multi_prompt", f"duration {total}")


def _is_shot(shot: Any) -> bool:
    if not isinstance(shot, dict) or not isinstance(shot.get("prompt"), str):
        return False
    length = str(shot.get("duration", ""))
    return len(shot["prompt"]) <= _LONGEST_SHOT_TEXT and length.isdecimal() and int(length) >= 1


def _camera(request: Request) -> Denied | None:
    camera = request.given("camera_control")
    if camera is None:
        return None
    if not isinstance(camera, dict) or camera.get("type") not in _CAMERA_TYPES:
        return invalid("camera_control", camera)
    place = (request.product.kind, request.mode, request.length_s)
    if place not in _model(request).camera:
        return CAMERA_UNSUPPORTED
    return None if camera["type"] != "simple" else _camera_config(camera.get("config"))


def _camera_config(config: Any) -> Denied | None:
    if not isinstance(config, dict):
        return invalid("camera_control.config", config)
    moves = [config.get(axis) or 0 for axis in _CAMERA_AXES]
    legal = all(isinstance(move, int | float) and abs(move) <= _CAMERA_REACH for move in moves)
    one = legal and sum(move != 0 for move in moves) == 1
    return None if one else invalid("camera_control.config", config)


def _voices(request: Request) -> Denied | None:
    voices = request.given("voice_list")
    if voices and (request.given("element_list") or not request.sound):
        return invalid("voice_list", voices)
    return None


def _start_and_end(request: Request) -> Denied | None:
    tail = request.given("image_tail")
    if request.given("image") is None and tail is None:
        return empty("image")
    masks = [field for field in ("static_mask", "dynamic_masks") if request.given(field) is not None]
    if sum((tail is not None, bool(masks), request.given("camera_control") is not None)) > 1:
        return invalid("image_tail", "with masks or camera_control")
    if tail is not None and not _fits(request, _model(request).end_frame):
        return invalid("image_tail", f"with {request.model_name} {request.mode}")
    if tail is not None and request.given("image") is not None and _model(request).silent_end_frame and request.sound:
        return invalid("image_tail", "with sound")
    unmasked = not masks or _fits(request, _model(request).brush)
    return None if unmasked else invalid(masks[0], f"with {request.model_name} {request.mode}")


def _fits(request: Request, lengths: Mapping[str, tuple[int, ...]]) -> bool:
    return request.length_s in lengths.get(request.mode, ())


def from_text(request: Request) -> Order | Denied:
    """A clip of the asked shape."""
    length_s = request.length_s
    return Order(request.median_s(length_s), request.aspect, length_s, sound=request.sound)


def from_image(request: Request) -> Order | Denied:
    """A clip in the shape of its first picture."""
    picture = media.pictures(request, "image", "image_tail", "static_mask")
    if isinstance(picture, Denied):
        return picture
    length_s = request.length_s
    trouble = picture.trouble
    return Order(request.median_s(length_s), picture.aspect, length_s, sound=request.sound, trouble=trouble)


_BEGINNING = (clauses.model, mode, prompt, clauses.text("negative_prompt"), duration)
_MIDDLE = (
    clauses.choice("sound", "on", "off"),
    _sound,
    _cfg_scale,
    _shots,
    _camera,
    clauses.rows("element_list", 1, 3),
    clauses.rows("voice_list", 1, 2),
    clauses.rows("dynamic_masks", 1, 6),
    _voices,
    clauses.elements_exist,
    clauses.voices_exist,
)
_PACES: Mapping[str, Pace] = {name: model.pace for name, model in CLASSIC.items()}


def _slower(name: str, pace: Pace) -> Pace:
    factor = _IMAGE_FACTOR if name in FIRST_GENERATION else 1.0
    return Pace(pace.start_s * factor, pace.per_second_s * factor)


PRODUCTS = (
    Product(
        kind="text2video",
        path="/v1/videos/text2video",
        rules=(*_BEGINNING, clauses.choice("aspect_ratio", *ASPECTS), *_MIDDLE, clauses.own_words),
        order=from_text,
        pace=_PACES,
        models=frozenset(CLASSIC) - IMAGE_TO_VIDEO_ONLY,
        default_model="kling-v1",
    ),
    Product(
        kind="image2video",
        path="/v1/videos/image2video",
        # With a picture there is no aspect_ratio, and what is not there is ignored.
        rules=(*_BEGINNING, *_MIDDLE, _start_and_end, clauses.own_words),
        order=from_image,
        pace={name: _slower(name, pace) for name, pace in _PACES.items()},
        models=frozenset(CLASSIC),
        default_model="kling-v1",
    ),
)
