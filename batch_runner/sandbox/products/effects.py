"""Video effects: a scene with one picture or two."""

from __future__ import annotations

from typing import Any

from batch_runner.sandbox.codes import MODEL_UNSUPPORTED, Denied, empty, invalid
from batch_runner.sandbox.products import clauses, media
from batch_runner.sandbox.products.listed import DUAL_SCENES, SINGLE_SCENES, WITHDRAWN_DUAL, WITHDRAWN_SINGLE
from batch_runner.sandbox.products.product import Order, Pace, Product, Request

_COUPLE = 2
_CLIP_S = 5
_OLD_MODELS = {1: ("kling-v1-6",), _COUPLE: ("kling-v1", "kling-v1-5", "kling-v1-6")}


def _pictures_of(request: Request) -> int | None:
    """How many pictures the scene wants, None for a scene that there is not (any more)."""
    scene, is_old_form = request.given("effect_scene"), request.given("input.model_name") is not None
    if scene in SINGLE_SCENES or (is_old_form and scene in WITHDRAWN_SINGLE):
        return 1
    return _COUPLE if scene in DUAL_SCENES or (is_old_form and scene in WITHDRAWN_DUAL) else None


def _scene(request: Request) -> Denied | None:
    scene = request.given("effect_scene")
    fits = isinstance(scene, str) and _pictures_of(request) is not None
    return None if fits else invalid("effect_scene", scene)


def _input(request: Request) -> Denied | None:
    if not isinstance(request.given("input"), dict):
        return empty("input")
    images: Any = request.given("input.images")
    if _pictures_of(request) == 1:
        return clauses.needed("input.image")(request)
    right = isinstance(images, list) and len(images) == _COUPLE
    return None if right else invalid("images", images) if images else empty("images")


def _old_form(request: Request) -> Denied | None:
    name = request.given("input.model_name")
    if name is not None and name not in _OLD_MODELS[_pictures_of(request) or 1]:
        return MODEL_UNSUPPORTED
    checks = (clauses.choice("input.mode", "std", "pro"), clauses.choice("input.duration", "5", "10"))
    return next((denied for check in checks if (denied := check(request)) is not None), None)


def _performed(request: Request) -> Order | Denied:
    images = request.given("input.images") or [request.given("input.image")]
    found = []
    for value in images:
        picture = media.picture(request, "image", value)
        if isinstance(picture, Denied):
            return picture
        found.append(picture)
    length_s = int(request.given("input.duration") or _CLIP_S)
    trouble = next((one.trouble for one in found if one.trouble), "")
    return Order(request.median_s(length_s), found[0].aspect, length_s, trouble=trouble)


PRODUCTS = (
    Product(
        kind="effects",
        path="/v1/videos/effects",
        rules=(clauses.needed("effect_scene"), _scene, _input, _old_form, clauses.own_words),
        order=_performed,
        pace={"": Pace(320)},
        texts=("effect_scene",),
    ),
)
