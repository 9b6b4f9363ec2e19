"""The checks a create has to pass, in the order the service makes them; unknown fields are ignored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from batch_runner.sandbox.codes import (
    CAMERA_UNSUPPORTED,
    MODEL_UNSUPPORTED,
    Denied,
    empty,
    invalid,
    unknown_model,
)
from batch_runner.sandbox.pictures import Picture, read_picture
from batch_runner.sandbox.products import ELSEWHERE, MODELS, Model, Product

PICTURE_FIELDS = ("image", "image_tail", "static_mask")
_LONGEST_TEXT = 2500
_LONGEST_SHOT_TEXT = 512
_MOST_SHOTS = 6
_MOST_MASKS = 6
_MOST_ELEMENTS = 3
_MOST_VOICES = 2
_CAMERA_REACH = 10
_ASPECTS = ("16:9", "9:16", "1:1")
_CAMERA_TYPES = ("simple", "down_back", "forward_up", "right_turn_forward", "left_turn_forward")
_CAMERA_AXES = ("horizontal", "vertical", "pan", "tilt", "roll", "zoom")


@dataclass(frozen=True, slots=True)
class Request:
    """A create as the service reads it: defaults filled in, ``""`` and null meaning absent."""

    product: Product
    body: Mapping[str, Any]

    def given(self, field: str) -> Any:
        """The field's value, or None when it is absent."""
        value = self.body.get(field)
        return None if value in ("", [], {}) else value

    @property
    def model_name(self) -> str:
        """The model's name; ``model`` is a field of old clients and means nothing."""
        return str(self.given("model_name") or self.product.default_model)

    @property
    def model(self) -> Model:
        """What the model can do; only for a name that was checked."""
        return MODELS[self.model_name]

    @property
    def mode(self) -> str:
        """``std`` unless told."""
        return str(self.given("mode") or "std")

    @property
    def length_s(self) -> int:
        """The clip's seconds; only for a duration that was checked."""
        return int(self.given("duration") or 5)

    @property
    def aspect(self) -> str:
        """The shape that a request without a picture asks for."""
        return str(self.given("aspect_ratio") or "16:9")

    @property
    def prompt(self) -> str:
        """The prompt and, for several shots, theirs."""
        shots = self.given("multi_prompt") if self.own_shots else None
        texts = [self.given("prompt") or ""] + [str(shot["prompt"]) for shot in shots or ()]
        return "\n".join(text for text in texts if text)

    @property
    def multi_shot(self) -> bool:
        """Whether several shots are asked for; the vendor's samples also send the word."""
        return self.given("multi_shot") in (True, "true")

    @property
    def own_shots(self) -> bool:
        """Whether the caller writes each shot."""
        return self.multi_shot and self.given("shot_type") == "customize"

    @property
    def external_task_id(self) -> str | None:
        """The caller's own id."""
        value: str | None = self.given("external_task_id")
        return value

    @property
    def watermark(self) -> bool:
        """Whether a watermarked copy is wanted, too."""
        wish = self.given("watermark_info")
        return isinstance(wish, dict) and wish.get("enabled") is True


def check(request: Request) -> Picture | Denied:
    """The picture that shapes the clip (a plain 16:9 one for text), or the first refusal."""
    for rule in _RULES:
        denied = rule(request)
        if denied is not None:
            return denied
    return _pictures(request)


def _model(request: Request) -> Denied | None:
    name = request.given("model_name")
    if name is None or str(name) in request.product.models:
        return None
    known = str(name) in MODELS or str(name) in ELSEWHERE
    return MODEL_UNSUPPORTED if known else unknown_model(str(name))


def _mode(request: Request) -> Denied | None:
    return None if request.mode in request.model.lengths else invalid("mode", request.mode)


def _duration(request: Request) -> Denied | None:
    value = request.given("duration")
    legal = tuple(str(length) for length in request.model.lengths[request.mode])
    # Numbers are refused: this API generation takes the length as text.
    return None if value is None or value in legal else invalid("duration", value)


def _choice(field: str, *legal: str) -> Callable[[Request], Denied | None]:
    def rule(request: Request) -> Denied | None:
        value = request.given(field)
        return None if value is None or value in legal else invalid(field, value)

    return rule


def _aspect(request: Request) -> Denied | None:
    # With a picture the field does not exist, and what does not exist is ignored.
    return None if request.product.takes_image else _choice("aspect_ratio", *_ASPECTS)(request)


def _text(field: str) -> Callable[[Request], Denied | None]:
    def rule(request: Request) -> Denied | None:
        value = request.given(field)
        fits = value is None or (isinstance(value, str) and len(value) <= _LONGEST_TEXT)
        return None if fits else invalid(field, value)

    return rule


def _prompt(request: Request) -> Denied | None:
    if request.given("prompt") is None and request.product.needs_prompt and not request.own_shots:
        return empty("prompt")
    return _text("prompt")(request)


def _external_task_id(request: Request) -> Denied | None:
    value = request.given("external_task_id")
    fits = value is None or (isinstance(value, str) and value.isprintable())
    return None if fits else invalid("external_task_id", value)


def _cfg_scale(request: Request) -> Denied | None:
    value = request.given("cfg_scale")
    if value is None or request.model_name.startswith("kling-v2"):
        return None
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    return None if fits else invalid("cfg_scale", value)


def _sound(request: Request) -> Denied | None:
    wanted = request.given("sound") == "on"
    return invalid("sound", "on") if wanted and request.mode not in request.model.sound else None


def _shots(request: Request) -> Denied | None:
    if not request.multi_shot:
        return None
    if not request.model.multi_shot:
        return invalid("multi_shot", True)
    shot_type = request.given("shot_type")
    if shot_type not in ("customize", "intelligence"):
        return empty("shot_type") if shot_type is None else invalid("shot_type", shot_type)
    return _shot_list(request) if request.own_shots else None


def _shot_list(request: Request) -> Denied | None:
    shots = request.given("multi_prompt")
    if shots is None:
        return empty("multi_prompt")
    if not isinstance(shots, list) or len(shots) > _MOST_SHOTS or not all(map(_is_shot, shots)):
        return invalid("multi_prompt", shots)
    total = sum(int(shot["duration"]) for shot in shots)
    return None if total == request.length_s else invalid("multi_prompt", f"duration {total}")


def _is_shot(shot: Any) -> bool:
    if not isinstance(shot, dict) or not isinstance(shot.get("prompt"), str):
        return False
    duration = str(shot.get("duration", ""))
    return len(shot["prompt"]) <= _LONGEST_SHOT_TEXT and duration.isdecimal() and int(duration) >= 1


def _camera(request: Request) -> Denied | None:
    camera = request.given("camera_control")
    if camera is None:
        return None
    if not isinstance(camera, dict) or camera.get("type") not in _CAMERA_TYPES:
        return invalid("camera_control", camera)
    place = (request.product.kind, request.mode, request.length_s)
    if place not in request.model.camera:
        return CAMERA_UNSUPPORTED
    return None if camera["type"] != "simple" else _camera_config(camera.get("config"))


def _camera_config(config: Any) -> Denied | None:
    if not isinstance(config, dict):
        return invalid("camera_control.config", config)
    moves = [config.get(axis) or 0 for axis in _CAMERA_AXES]
    legal = all(isinstance(move, int | float) and abs(move) <= _CAMERA_REACH for move in moves)
    one = legal and sum(move != 0 for move in moves) == 1
    return None if one else invalid("camera_control.config", config)


def _references(request: Request) -> Denied | None:
    for field, most in (
        ("element_list", _MOST_ELEMENTS),
        ("voice_list", _MOST_VOICES),
        ("dynamic_masks", _MOST_MASKS),
    ):
        value = request.given(field)
        if value is not None and (not isinstance(value, list) or len(value) > most):
            return invalid(field, value)
    if request.given("voice_list") and (request.given("element_list") or request.given("sound") != "on"):
        return invalid("voice_list", request.given("voice_list"))
    return None


def _start_and_end(request: Request) -> Denied | None:
    if not request.product.takes_image:
        return None
    tail = request.given("image_tail")
    if request.given("image") is None and tail is None:
        return empty("image")
    masks = [field for field in ("static_mask", "dynamic_masks") if request.given(field) is not None]
    if sum((tail is not None, bool(masks), request.given("camera_control") is not None)) > 1:
        return invalid("image_tail", "with masks or camera_control")
    if tail is not None and not _fits(request, request.model.end_frame):
        return invalid("image_tail", f"with {request.model_name} {request.mode}")
    unmasked = not masks or _fits(request, request.model.brush)
    return None if unmasked else invalid(masks[0], f"with {request.model_name} {request.mode}")


def _fits(request: Request, lengths: Mapping[str, tuple[int, ...]]) -> bool:
    return request.length_s in lengths.get(request.mode, ())


def _pictures(request: Request) -> Picture | Denied:
    if not request.product.takes_image:
        return Picture(aspect=request.aspect)
    found: list[Picture] = []
    for field in PICTURE_FIELDS:
        value = request.given(field)
        if value is None:
            continue
        picture = read_picture(field, value) if isinstance(value, str) else invalid(field, value)
        if isinstance(picture, Denied):
            return picture
        found.append(picture)
    return Picture(found[0].aspect, next((one.trouble for one in found if one.trouble), ""))


_RULES: tuple[Callable[[Request], Denied | None], ...] = (
    _model,
    _mode,
    _prompt,
    _text("negative_prompt"),
    _duration,
    _aspect,
    _choice("sound", "on", "off"),
    _sound,
    _cfg_scale,
    _shots,
    _camera,
    _references,
    _start_and_end,
    _external_task_id,
)
