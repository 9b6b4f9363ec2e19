"""The new standard (since 2026-06-17): the model stands in the path, and its route says what it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from batch_runner.model import Generation
from batch_runner.sandbox.codes import (
    MODEL_UNSUPPORTED,
    ONLY_FIVE_OR_TEN,
    Denied,
    empty,
    invalid,
    unknown_model,
)
from batch_runner.sandbox.products import classic, clauses, omni, people
from batch_runner.sandbox.products.classic import ASPECTS
from batch_runner.sandbox.products.contents import Shape, flat
from batch_runner.sandbox.products.models import EVERY
from batch_runner.sandbox.products.omni import rows
from batch_runner.sandbox.products.product import Order, Pace, Product, Request, Rule

_TURBO, _O1 = "kling-3.0-turbo", "kling-o1"
_LONG, _USUAL = 3072, 2500
_HD, _ALL = ("720p", "1080p"), ("720p", "1080p", "4k")
_FIVE_TEN = (5, 10)
_THREE_TO_FIFTEEN = tuple(range(3, 16))
_EVERY_AUDIO = ("native", "original", "off")
"""``audio`` is looked at on every route, also where the reference does not name it."""
_MOST_IMAGES, _MOST_BESIDE_VIDEO, _MOST_BESIDE_FRAME, _MOST_BESIDE_END = 7, 4, 3, 2
_OMNI_TYPES = frozenset(
    {"prompt", "first_frame", "last_frame", "refer_image", "feature_video", "base_video", "element"}
)


@dataclass(frozen=True, slots=True)
class Standard:
    """One route.

    Attributes:
        family, model: the two parts of its path.
        kind: the product it makes.
        pace: how long it takes.
        prompt_most: the longest prompt in characters.
        contents: the types of its contents; none where the prompt stands by itself.
        resolutions, durations, audio: what its settings may say; no durations where the source decides.
        has_aspect: whether ``aspect_ratio`` is a setting.
        has_shots: whether ``multi_shot`` is a setting.
        always_sounds: whether every clip has a sound track.
        hd_only: what is possible in 1080p alone: ``audio``, ``last_frame``.
    """

    family: str
    model: str
    kind: str
    pace: Pace
    prompt_most: int = _USUAL
    contents: frozenset[str] = frozenset()
    resolutions: tuple[str, ...] = _HD
    durations: tuple[int, ...] = _FIVE_TEN
    audio: tuple[str, ...] = _EVERY_AUDIO
    has_aspect: bool = False
    has_shots: bool = False
    always_sounds: bool = False
    hd_only: frozenset[str] = frozenset()

    @property
    def path(self) -> str:
        """Where it is created."""
        return f"/{self.family}/{self.model}"

    @property
    def shape(self) -> Shape:
        """How its body is read."""
        return Shape(self.contents, is_omni=self.family == "omni-video")


def _types(*names: str) -> frozenset[str]:
    return frozenset({"prompt", *names})


_TURBO_PACE, _V3_PACE, _OMNI_PACE = Pace(16, 4), Pace(85, 10), Pace(59, 8)
_V26_PACE, _V25_PACE = Pace(30, 6), Pace(22, 3)

_ROUTES = (
    Standard("text-to-video", _TURBO, "text2video", _TURBO_PACE, _LONG, durations=_THREE_TO_FIFTEEN, has_aspect=True,
             always_sounds=True),
    Standard("image-to-video", _TURBO, "image2video", _TURBO_PACE, contents=_types("first_frame"),
             durations=_THREE_TO_FIFTEEN, always_sounds=True),
    Standard("text-to-video", "kling-3.0", "text2video", _V3_PACE, _LONG, resolutions=_ALL,
             durations=_THREE_TO_FIFTEEN, audio=("native", "off"), has_aspect=True, has_shots=True),
    Standard("image-to-video", "kling-3.0", "image2video", _V3_PACE, _LONG,
             contents=_types("first_frame", "last_frame", "element"), resolutions=_ALL, durations=_THREE_TO_FIFTEEN,
             audio=("native", "off"), has_shots=True),
    Standard("omni-video", "kling-3.0-omni", "omni-video", _OMNI_PACE, _LONG, contents=_OMNI_TYPES, resolutions=_ALL,
             durations=_THREE_TO_FIFTEEN, has_aspect=True, has_shots=True),
    Standard("omni-video", _O1, "omni-video", _OMNI_PACE, contents=_OMNI_TYPES, durations=tuple(range(3, 11)),
             audio=("original", "off"), has_aspect=True),
    Standard("motion-control", "kling-3.0", "motion-control", _V3_PACE, contents=_types("image", "video", "element"),
             durations=(), audio=("original", "off")),
    Standard("motion-control", "kling-2.6", "motion-control", _V26_PACE, contents=_types("image", "video"),
             durations=(), audio=("original", "off")),
    Standard("text-to-video", "kling-2.6", "text2video", _V26_PACE, audio=("native", "off"), has_aspect=True,
             hd_only=frozenset({"audio"})),
    Standard("image-to-video", "kling-2.6", "image2video", _V26_PACE,
             contents=_types("first_frame", "last_frame", "voice"), audio=("native", "off"),
             hd_only=frozenset({"audio", "last_frame"})),
    Standard("text-to-video", "kling-2.5-turbo", "text2video", _V25_PACE, has_aspect=True),
    Standard("image-to-video", "kling-2.5-turbo", "image2video", _V25_PACE,
             contents=_types("first_frame", "last_frame"), hd_only=frozenset({"last_frame"})),
)  # fmt: skip

_ALIASES = {("omni-video", "kling-v3-omni"): ("omni-video", "kling-3.0-omni")}
"""A name of the first generation that was seen to be taken in a path."""
FAMILIES = tuple(dict.fromkeys(route.family for route in _ROUTES))


def _aspect(request: Request) -> Denied | None:
    return clauses.choice("aspect_ratio", *ASPECTS)(request)


def _needs_aspect(request: Request) -> Denied | None:
    shaped = rows(request, "video_list") or any(row.get("type") for row in rows(request, "image_list"))
    return None if shaped or request.given("aspect_ratio") is not None else empty("aspect_ratio")


def _resolution(route: Standard) -> Rule:
    def rule(request: Request) -> Denied | None:
        value = request.given("resolution")
        return None if value is None or value in route.resolutions else invalid("video resolution", value)

    return rule


def _audio(route: Standard) -> Rule:
    def rule(request: Request) -> Denied | None:
        value = request.given("audio")
        if value is None:
            return None
        too_coarse = "audio" in route.hd_only and value == "native" and request.given("resolution") != "1080p"
        return None if value in route.audio and not too_coarse else invalid("audio", value)

    return rule


def _duration(route: Standard) -> Rule:
    def rule(request: Request) -> Denied | None:
        value = request.given("duration")
        if value is None or not route.durations or _has_base(request):
            return None
        legal = {str(length) for length in route.durations}
        if not isinstance(value, str) or value not in legal:
            return invalid("duration", value[0] if isinstance(value, list) else value)
        free = route.model != _O1 or value in ("5", "10") or omni.has_references(request)
        return None if free else ONLY_FIVE_OR_TEN

    return rule


def _prompt(route: Standard) -> Rule:
    def rule(request: Request) -> Denied | None:
        if request.given("prompt") is None and not route.contents:
            return empty("prompt")
        return clauses.text("prompt", route.prompt_most)(request)

    return rule


def _frames(route: Standard) -> Rule:
    def rule(request: Request) -> Denied | None:
        if request.given("image") is None:
            return empty("first_frame")
        too_coarse = "last_frame" in route.hd_only and request.given("resolution") != "1080p"
        tail = request.given("image_tail")
        return invalid("last_frame", "below 1080p") if tail is not None and too_coarse else None

    return rule


def _voices(request: Request) -> Denied | None:
    voices = rows(request, "voice_list")
    silent = request.given("audio") in (None, "off")
    return invalid("voice", "with audio off") if voices and silent else None


def _has_base(request: Request) -> bool:
    return any(row.get("refer_type") == "base" for row in rows(request, "video_list"))


def _videos(request: Request) -> Denied | None:
    listed, audio = rows(request, "video_list"), request.given("audio")
    if len(listed) > 1:
        return invalid("contents", f"{len(listed)} videos")
    is_base = _has_base(request)
    if listed and (audio == "native" or (audio == "original" and not is_base)):
        return invalid("audio", audio)
    framed = any(row.get("type") for row in rows(request, "image_list"))
    if is_base and framed:
        return invalid("contents", "frames with base_video")
    return invalid("multi_shot", True) if is_base and request.multi_shot else None


def _omni_frames(request: Request) -> Denied | None:
    words = [row.get("type") for row in rows(request, "image_list")]
    lonely = "end_frame" in words and "first_frame" not in words
    return invalid("contents", "last_frame without first_frame") if lonely else None


def _counts(request: Request) -> Denied | None:
    images, elements = rows(request, "image_list"), rows(request, "element_list")
    characters = sum(_is_character(request, row) for row in elements)
    if characters and request.model_name == _O1:
        return invalid("element_id", "of a video")
    has_video = bool(rows(request, "video_list"))
    mixed = 0 < characters < len(elements)
    most = _MOST_BESIDE_VIDEO if has_video or mixed else _MOST_IMAGES
    if len(images) + len(elements) > most:
        return invalid("contents", f"{len(images)} images and {len(elements)} elements")
    if has_video and characters and (images or characters > 1):
        return invalid("contents", "an element of a video beside a video")
    words = [row["type"] for row in images if row.get("type")]
    if request.model_name == _O1 and "end_frame" in words and (elements or len(images) > _MOST_BESIDE_END):
        return invalid("contents", "last_frame beside other references")
    return invalid("contents", f"{len(elements)} elements") if words and len(elements) > _MOST_BESIDE_FRAME else None


def _is_character(request: Request, row: Mapping[str, Any]) -> bool:
    element = request.known.element(str(row.get("element_id")))
    return element is not None and element.facts.get("reference_type") == "video_refer"


def _rules(route: Standard) -> tuple[Rule, ...]:
    settings: list[Rule] = [_aspect] if route.has_aspect else []
    settings += [_resolution(route), _audio(route)]
    if route.has_shots:
        settings.append(clauses.flag("multi_shot"))
    # The recorded order: where there are contents, the length comes before the text.
    ends = (_duration(route), _prompt(route)) if route.contents else (_prompt(route), _duration(route))
    return (*settings, *ends, *_CONTENT_RULES[route.kind](route), clauses.own_words)


def _image_rules(route: Standard) -> tuple[Rule, ...]:
    lists = (clauses.rows("element_list", 1, 3), clauses.rows("voice_list", 1, 2))
    return (_frames(route), *lists, _voices, clauses.elements_exist, clauses.voices_exist)


def _omni_rules(_: Standard) -> tuple[Rule, ...]:
    return (_videos, _omni_frames, _needs_aspect, clauses.elements_exist, _counts)


def _motion_rules(_: Standard) -> tuple[Rule, ...]:
    oriented = clauses.needed("image_url", "video_url", "character_orientation")
    orientation = clauses.choice("character_orientation", "image", "video")
    return (oriented, orientation, clauses.rows("element_list", 1, 1), clauses.elements_exist)


_CONTENT_RULES = {
    "text2video": lambda _: (),
    "image2video": _image_rules,
    "omni-video": _omni_rules,
    "motion-control": _motion_rules,
}
_ORDERS = {
    "text2video": classic.from_text,
    "image2video": classic.from_image,
    "omni-video": omni.order,
    "motion-control": people.moved,
}


@dataclass(frozen=True, slots=True)
class StandardProduct(Product):
    """A product as one route of the new standard makes it."""

    route: Standard = field(kw_only=True)

    def read(self, body: Mapping[str, Any]) -> Mapping[str, Any] | Denied:
        """The body in flat form."""
        return flat(self.route.shape, self.route.model, body)


def _product(route: Standard) -> StandardProduct:
    def order(request: Request) -> Order | Denied:
        found = _ORDERS[route.kind](request)
        if isinstance(found, Denied):
            return found
        kept = _has_base(request) and request.given("audio") == "original"
        return replace(found, sound=True) if route.always_sounds or kept else found

    return StandardProduct(
        kind=route.kind,
        path=route.path,
        rules=_rules(route),
        order=order,
        pace={"": route.pace},
        models=frozenset({route.model}),
        default_model=route.model,
        generation=Generation.V2,
        route=route,
    )


STANDARD: Mapping[tuple[str, str], StandardProduct] = {
    (route.family, route.model): _product(route) for route in _ROUTES
}
"""The products of the second API generation by both parts of their path."""
_MODELS = frozenset(route.model for route in _ROUTES) | EVERY


def find(family: str, model: str) -> StandardProduct | Denied:
    """The route of a path; a model that another family has and one that nobody knows are told apart."""
    key = _ALIASES.get((family, model), (family, model))
    if key in STANDARD:
        return STANDARD[key]
    return MODEL_UNSUPPORTED if model in _MODELS else unknown_model(model)
