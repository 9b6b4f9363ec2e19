"""The checks of the new standard's routes, in the order that was recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batch_runner.sandbox.codes import ONLY_FIVE_OR_TEN, Denied, empty, invalid
from batch_runner.sandbox.products import clauses, omni
from batch_runner.sandbox.products.classic import ASPECTS
from batch_runner.sandbox.products.omni import rows
from batch_runner.sandbox.products.product import Request, Rule
from batch_runner.sandbox.products.standard_routes import O1, Standard
from batch_runner.wording import plural

_MOST_IMAGES, _MOST_BESIDE_VIDEO, _MOST_BESIDE_FRAME, _MOST_BESIDE_END = 7, 4, 3, 2


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
        if value is None or not route.durations or has_base(request):
            return None
        legal = {str(length) for length in route.durations}
        if not isinstance(value, str) or value not in legal:
            return invalid("duration", value[0] if isinstance(value, list) else value)
        free = route.model != O1 or value in ("5", "10") or omni.has_references(request)
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


def has_base(request: Request) -> bool:
    """Whether a video is edited."""
    return any(row.get("refer_type") == "base" for row in rows(request, "video_list"))


def _videos(request: Request) -> Denied | None:
    listed, audio = rows(request, "video_list"), request.given("audio")
    if len(listed) > 1:
        return invalid("contents", f"{len(listed)} videos")
    is_base = has_base(request)
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
    if characters and request.model_name == O1:
        return invalid("element_id", "of a video")
    has_video = bool(rows(request, "video_list"))
    mixed = 0 < characters < len(elements)
    most = _MOST_BESIDE_VIDEO if has_video or mixed else _MOST_IMAGES
    if len(images) + len(elements) > most:
        return invalid("contents", f"{plural(len(images), 'image')} and {plural(len(elements), 'element')}")
    if has_video and characters and (images or characters > 1):
        return invalid("contents", "an element of a video beside a video")
    words = [row["type"] for row in images if row.get("type")]
    if request.model_name == O1 and "end_frame" in words and (elements or len(images) > _MOST_BESIDE_END):
        return invalid("contents", "last_frame beside other references")
    return invalid("contents", f"{len(elements)} elements") if words and len(elements) > _MOST_BESIDE_FRAME else None


def _is_character(request: Request, row: Mapping[str, Any]) -> bool:
    element = request.known.element(str(row.get("element_id")))
    return element is not None and element.facts.get("reference_type") == "video_refer"


def rules_of(route: Standard) -> tuple[Rule, ...]:
    """The checks of a route."""
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


_CONTENT_RULES: Mapping[str, Callable[[Standard], tuple[Rule, ...]]] = {
    "text2video": lambda _: (),
    "image2video": _image_rules,
    "omni-video": _omni_rules,
    "motion-control": _motion_rules,
}
