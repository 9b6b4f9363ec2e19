"""What an account keeps for later requests: elements and voices."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from batch_runner.sandbox.codes import VOICE_UNKNOWN, Denied, invalid, unknown_source
from batch_runner.sandbox.products import clauses, media
from batch_runner.sandbox.products.product import Order, Pace, Product, Request

_LONGEST_NAME, _LONGEST_DESCRIPTION = 20, 100
_TAG = re.compile(r"o_10[1-8]")
_WAYS = {"image_refer": "element_image_list", "video_refer": "element_video_list"}
_SPEAKING = frozenset({"avatar", "lip-sync", "advanced-lip-sync"})


def _reference(request: Request) -> Denied | None:
    field = _WAYS[request.given("reference_type")]
    given = request.given(field)
    if not isinstance(given, dict):
        return clauses.needed(field)(request) or invalid(field, given)
    return _images(given) if field == "element_image_list" else _video(given)


def _images(given: Mapping[str, Any]) -> Denied | None:
    if not clauses.has_text("frontal_image")(given):
        return invalid("frontal_image", given.get("frontal_image"))
    others = given.get("refer_images")
    fits = clauses.is_rows(others, 1, 3, clauses.has_text("image_url"))
    return None if fits else invalid("refer_images", others)


def _video(given: Mapping[str, Any]) -> Denied | None:
    videos = given.get("refer_videos")
    fits = clauses.is_rows(videos, 1, 1, clauses.has_text("video_url"))
    return None if fits else invalid("refer_videos", videos)


def _tags(request: Request) -> Denied | None:
    listed = request.given("tag_list") or []
    fits = isinstance(listed, list) and all(
        isinstance(row, dict) and _TAG.fullmatch(str(row.get("tag_id"))) for row in listed
    )
    return None if fits else invalid("tag_list", listed)


def _voice_of_element(request: Request) -> Denied | None:
    voice_id = request.given("element_voice_id")
    return None if voice_id is None or request.known.voice(str(voice_id)) else VOICE_UNKNOWN


def _element(request: Request) -> Order | Denied:
    facts = {name: request.given(name) for name in ("element_name", "element_description", "reference_type")}
    facts |= {name: request.given(name) for name in ("element_voice_id", "tag_list") if request.given(name)}
    if facts["reference_type"] == "video_refer":
        url = request.given("element_video_list")["refer_videos"][0]["video_url"]
        seen = media.linked(request, "element_video_list.refer_videos[].video_url", url, 3, 8)
        return seen if isinstance(seen, Denied) else Order(request.median_s(0), lengths=seen.lengths, facts=facts)
    pictures = request.given("element_image_list")
    for value in (pictures["frontal_image"], *(row["image_url"] for row in pictures["refer_images"])):
        picture = media.picture(request, "element_image_list", value)
        if isinstance(picture, Denied):
            return picture
        if picture.trouble:
            return Order(request.median_s(0), trouble=picture.trouble, facts=facts)
    return Order(request.median_s(0), facts=facts)


def _voice(request: Request) -> Order | Denied:
    seen = media.video(request, "video_id", "voice_url", 5, 30)
    if isinstance(seen, Denied):
        return seen
    task = seen.source.task if request.given("video_id") is not None else None
    speaks = task is None or task.kind in _SPEAKING or (task.model_name in {"kling-v2-6", "kling-2.6"} and task.sound)
    if not speaks:
        return invalid("video_id", request.given("video_id"))
    return Order(request.median_s(0), lengths=seen.lengths, facts={"voice_name": request.given("voice_name")})


def _deletable(kind: str) -> Callable[[Request], Order | Denied]:
    """An element or a voice of the account's own; a preset one cannot be deleted."""

    def order(request: Request) -> Order | Denied:
        made_id = str(request.given(f"{kind}_id"))
        known = request.known.element(made_id) if kind == "element" else request.known.voice(made_id)
        if known is None or known.task is None:
            return unknown_source(kind.capitalize(), made_id)
        return Order(0, facts={"deleted": [kind, made_id]})

    return order


def _deletion(name: str, kind: str) -> Product:
    return Product(
        kind=name,
        path=f"/v1/general/{name}",
        rules=(clauses.needed(f"{kind}_id"),),
        order=_deletable(kind),
        pace={"": Pace(0)},
        makes="deletions",
        texts=(),
        is_sync=True,
    )


PRODUCTS = (
    # Two paths for one thing: the page on elements from a video and the one from pictures name one each.
    _deletion("delete-advanced-elements", "element"),
    _deletion("delete-elements", "element"),
    _deletion("delete-voices", "voice"),
    Product(
        kind="elements",
        path="/v1/general/advanced-custom-elements",
        rules=(
            clauses.needed("element_name", "element_description", "reference_type"),
            clauses.text("element_name", _LONGEST_NAME),
            clauses.text("element_description", _LONGEST_DESCRIPTION),
            clauses.choice("reference_type", *_WAYS),
            _reference,
            _tags,
            _voice_of_element,
            clauses.own_words,
        ),
        order=_element,
        pace={"": Pace(5)},
        makes="elements",
        texts=("element_name", "element_description"),
    ),
    Product(
        kind="voices",
        path="/v1/general/custom-voices",
        rules=(
            clauses.needed("voice_name"),
            clauses.text("voice_name", _LONGEST_NAME),
            clauses.one_of("voice_url", "video_id"),
            clauses.own_words,
        ),
        order=_voice,
        pace={"": Pace(9)},
        makes="voices",
        texts=("voice_name",),
    ),
)
