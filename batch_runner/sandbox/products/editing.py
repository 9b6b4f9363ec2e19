"""Videos from several pictures, with parts exchanged, and continued."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batch_runner.sandbox.codes import MODEL_UNSUPPORTED, Denied, invalid, unknown_source
from batch_runner.sandbox.products import clauses, media
from batch_runner.sandbox.products.classic import ASPECTS
from batch_runner.sandbox.products.models import CLASSIC, FIRST_GENERATION
from batch_runner.sandbox.products.product import Order, Pace, Product, Request, Session
from batch_runner.wording import plural

EDITING = "multi-elements"
_V1_6 = "kling-v1-6"
_LENGTHS = ("5", "10")
_PICTURES_BY_EDIT = {"addition": (1, 2), "swap": (1, 1), "removal": (0, 0)}
_EXTENSION_S = 4.5  # documented as 4 to 5 s
_LONGEST_EXTENDED_S = 180
_EXTENDABLE = frozenset({"text2video", "image2video", "video-extend"})
_LONGEST_SHORT_S = 5

_EITHER_MODE = clauses.choice("mode", "std", "pro")
_TEXTS = (clauses.text("prompt"), clauses.text("negative_prompt"))
_PICTURE = clauses.has_text("image")


def _of_pictures(request: Request) -> Order | Denied:
    picture = media.pictures(request, "image_list[].image")
    if isinstance(picture, Denied):
        return picture
    length_s = request.length_s
    return Order(request.median_s(length_s), request.aspect, length_s, trouble=picture.trouble)


def session_of(request: Request, kind: str) -> Session | Denied:
    """The open session that a request names."""
    session_id = str(request.given("session_id"))
    session = request.known.session(session_id)
    return session if session is not None and session.kind == kind else unknown_source("Session", session_id)


def _edit_pictures(request: Request) -> Denied | None:
    least, most = _PICTURES_BY_EDIT[request.given("edit_mode")]
    listed = request.given("image_list") or []
    if not isinstance(listed, list) or not all(isinstance(row, dict) and _PICTURE(row) for row in listed):
        return invalid("image_list", listed)
    return None if least <= len(listed) <= most else invalid("image_list", plural(len(listed), "image"))


def _edited(request: Request) -> Order | Denied:
    session = session_of(request, EDITING)
    if isinstance(session, Denied):
        return session
    picture = media.pictures(request, "image_list[].image")
    if isinstance(picture, Denied):
        return picture
    fitting = 5 if session.source.length_s <= _LONGEST_SHORT_S + 1 else 10
    if request.length_s != fitting:
        return invalid("duration", request.given("duration") or "5")
    return Order(
        request.median_s(fitting),
        session.source.aspect,
        fitting,
        trouble=picture.trouble,
        facts={"session_id": session.session_id},
    )


def parent_facts(source: Any) -> dict[str, Any]:
    """What a result tells about the video it was made from."""
    known = source.task is not None
    return (
        {"parent": {"id": source.source_id, "length_s": source.length_s, "task_id": source.task.task_id}}
        if known
        else {}
    )


def _extended(request: Request) -> Order | Denied:
    video_id = str(request.given("video_id"))
    source = request.known.video(video_id)
    if source is None or source.task is None:
        return unknown_source("From video", video_id)
    model_name = source.task.model_name
    if model_name not in FIRST_GENERATION or source.task.kind not in _EXTENDABLE:
        return MODEL_UNSUPPORTED
    length_s = source.length_s + _EXTENSION_S
    if length_s > _LONGEST_EXTENDED_S:
        return invalid("video_id", f"duration {source.length_s:g}")
    mode = source.task.mode or "std"
    return Order(
        request.product.median_s("", _EXTENSION_S, mode),
        source.aspect,
        length_s,
        lengths={"video_id": media.exact(source.length_s)},
        facts=parent_facts(source),
        inherited={"model_name": model_name, "mode": mode},
    )


_OF_V1_6: Mapping[str, Pace] = {_V1_6: CLASSIC[_V1_6].pace}

PRODUCTS = (
    Product(
        kind="multi-image2video",
        path="/v1/videos/multi-image2video",
        rules=(
            clauses.model,
            clauses.needed("prompt", "image_list"),
            *_TEXTS,
            clauses.rows("image_list", 1, 4, _PICTURE),
            _EITHER_MODE,
            clauses.choice("duration", *_LENGTHS),
            clauses.choice("aspect_ratio", *ASPECTS),
            clauses.number("cfg_scale", 0, 1),
            clauses.own_words,
        ),
        order=_of_pictures,
        pace=_OF_V1_6,
        models=frozenset({_V1_6}),
        default_model=_V1_6,
    ),
    Product(
        kind=EDITING,
        path="/v1/videos/multi-elements",
        rules=(
            clauses.model,
            clauses.needed("session_id", "edit_mode", "prompt"),
            clauses.choice("edit_mode", *_PICTURES_BY_EDIT),
            *_TEXTS,
            _EITHER_MODE,
            clauses.choice("duration", *_LENGTHS),
            _edit_pictures,
            clauses.own_words,
        ),
        order=_edited,
        pace=_OF_V1_6,
        models=frozenset({_V1_6}),
        default_model=_V1_6,
    ),
    Product(
        kind="video-extend",
        path="/v1/videos/video-extend",
        rules=(
            clauses.needed("video_id"),
            *_TEXTS,
            clauses.number("cfg_scale", 0, 1),
            clauses.own_words,
        ),
        order=_extended,
        pace={"": Pace(320)},
    ),
)
