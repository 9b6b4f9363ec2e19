"""omni-video: pictures, elements and a video as references, in one product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batch_runner.sandbox.codes import ONLY_FIVE_OR_TEN, Denied, empty, invalid
from batch_runner.sandbox.products import clauses, media
from batch_runner.sandbox.products.classic import ASPECTS, prompt, shots
from batch_runner.sandbox.products.media import Seen
from batch_runner.sandbox.products.models import OMNI, Model
from batch_runner.sandbox.products.product import Order, Product, Request
from batch_runner.wording import plural

_O1 = "kling-video-o1"
_MOST_REFERENCES, _MOST_BESIDE_VIDEO = 7, 4
_MOST_ELEMENTS_BESIDE_FRAME = 3
_MOST_IMAGES_BESIDE_END = 2
_LONGEST_REFERENCE_S = {_O1: 10, "kling-v3-omni": 15, "kling-o1": 10, "kling-3.0-omni": 15.5}


def _model(request: Request) -> Model:
    return OMNI[request.model_name]


def rows(request: Request, field: str) -> Sequence[Mapping[str, Any]]:
    """The rows of a list, none where it is absent."""
    return request.given(field) or ()


def _frames(request: Request, word: str) -> int:
    return sum(row.get("type") == word for row in rows(request, "image_list"))


def _has_base(request: Request) -> bool:
    return any((row.get("refer_type") or "base") == "base" for row in rows(request, "video_list"))


def _mode(request: Request) -> Denied | None:
    return None if request.mode in _model(request).lengths else invalid("mode", request.mode)


def _duration(request: Request) -> Denied | None:
    value = request.given("duration")
    if _has_base(request) or value is None:
        return None  # an edited video keeps its own length
    if value not in [str(length) for length in _model(request).lengths[request.mode]]:
        return invalid("duration", value)
    free = request.model_name != _O1 or value in ("5", "10") or has_references(request)
    return None if free else ONLY_FIVE_OR_TEN


def has_references(request: Request) -> bool:
    """Whether there is more to go by than a text or a single frame."""
    pictures = len(rows(request, "image_list")) - _frames(request, "first_frame")
    return bool(pictures or rows(request, "element_list") or rows(request, "video_list"))


def _is_picture(row: Mapping[str, Any]) -> bool:
    return clauses.has_text("image_url")(row) and row.get("type") in (None, "", "first_frame", "end_frame")


def _is_video(row: Mapping[str, Any]) -> bool:
    refers = row.get("refer_type") in (None, "", "feature", "base")
    keeps = row.get("keep_original_sound") in (None, "", "yes", "no")
    return clauses.has_text("video_url")(row) and refers and keeps


def _frame_order(request: Request) -> Denied | None:
    first, end = _frames(request, "first_frame"), _frames(request, "end_frame")
    if first > 1 or end > 1 or (end and not first):
        return invalid("image_list", f"{first} first_frame, {end} end_frame")
    if _has_base(request) and first:
        return invalid("image_list", "first_frame with a base video")
    late = request.model_name == _O1 and end and len(rows(request, "image_list")) > _MOST_IMAGES_BESIDE_END
    return invalid("image_list", "end_frame with more than 2 images") if late else None


def _counts(request: Request) -> Denied | None:
    elements, images = len(rows(request, "element_list")), len(rows(request, "image_list"))
    most = _MOST_BESIDE_VIDEO if rows(request, "video_list") else _MOST_REFERENCES
    if images + elements > most:
        return invalid("image_list", f"{plural(images, 'image')} and {plural(elements, 'element')}")
    most_elements = 0 if request.model_name == _O1 and _frames(request, "end_frame") else _MOST_ELEMENTS_BESIDE_FRAME
    over = _frames(request, "first_frame") and elements > most_elements
    return invalid("element_list", f"{plural(elements, 'element')} with frames") if over else None


def _element_kinds(request: Request) -> Denied | None:
    """Elements made from a video are for the third generation, and not beside a reference video."""
    if request.model_name != _O1 and not rows(request, "video_list"):
        return None
    for row in rows(request, "element_list"):
        element = request.known.element(str(row.get("element_id", "")))
        if element is not None and element.facts.get("reference_type") == "video_refer":
            return invalid("element_list", row["element_id"])
    return None


def _aspect(request: Request) -> Denied | None:
    # An empty text counts as absent, and so does a frame or an edited video as a shape.
    if request.given("aspect_ratio") is None and not (_frames(request, "first_frame") or _has_base(request)):
        return empty("aspect_ratio")
    return clauses.choice("aspect_ratio", *ASPECTS)(request)


def _sound(request: Request) -> Denied | None:
    possible = request.mode in _model(request).sound and not rows(request, "video_list")
    return None if possible or not request.sound else invalid("sound", "on")


def _shots(request: Request) -> Denied | None:
    possible = _model(request).multi_shot and not _has_base(request)
    return shots(request) if possible or not request.multi_shot else invalid("multi_shot", True)


def order(request: Request) -> Order | Denied:
    """The clip: as long as it is asked for, or as the video that is edited; shaped by its first frame, if any."""
    picture = media.pictures(request, "image_list[].image_url")
    seen = _reference(request)
    for denied in (picture, seen):
        if isinstance(denied, Denied):
            return denied
    assert not isinstance(picture, Denied)
    assert not isinstance(seen, Denied)
    length_s = seen.source.length_s if seen is not None and _has_base(request) else request.length_s
    framed = _frames(request, "first_frame") > 0
    aspect = picture.aspect if framed else seen.source.aspect if seen and _has_base(request) else request.aspect
    return Order(
        request.median_s(length_s),
        aspect,
        length_s,
        sound=request.sound,
        trouble=picture.trouble,
        lengths={} if seen is None else seen.lengths,
    )


def _reference(request: Request) -> Seen | Denied | None:
    for row in rows(request, "video_list"):
        most_s = _LONGEST_REFERENCE_S[request.model_name]
        return media.linked(request, "video_list[].video_url", row["video_url"], 3, most_s)
    return None


PRODUCT = Product(
    kind="omni-video",
    path="/v1/videos/omni-video",
    rules=(
        clauses.model,
        _mode,
        prompt,
        clauses.rows("image_list", 1, _MOST_REFERENCES, _is_picture),
        clauses.rows("element_list", 1, _MOST_REFERENCES),
        clauses.rows("video_list", 1, 1, _is_video),
        _frame_order,
        _duration,
        _aspect,
        clauses.choice("sound", "on", "off"),
        _sound,
        _shots,
        _counts,
        clauses.elements_exist,
        _element_kinds,
        clauses.own_words,
    ),
    order=order,
    pace={name: model.pace for name, model in OMNI.items()},
    models=frozenset(OMNI),
    default_model=_O1,
    default_mode="pro",
)
PRODUCTS = (PRODUCT,)
