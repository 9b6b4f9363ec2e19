"""Pictures made from texts and pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batch_runner.model import Pack
from batch_runner.sandbox.codes import Denied, empty, invalid
from batch_runner.sandbox.products import clauses, media
from batch_runner.sandbox.products.models import OMNI_PAINTERS, PAINTERS, Painter
from batch_runner.sandbox.products.product import Order, Pace, Product, Request

PICTURE_S = 32
_MOST_IMAGES = 9
_MOST_REFERENCES = 10
_LARGEST_GROWTH = 3
_USUAL_SERIES = 4
_SIDES = ("up", "down", "left", "right")
_ALL_ASPECTS = Painter().aspects
_OF_ITS_OWN_CHOICE = "16:9"
"""The shape of a picture whose shape is left to the service, and which has no other to go by."""
_N = clauses.whole("n", 1, _MOST_IMAGES)


def _painter(request: Request) -> Painter:
    table = OMNI_PAINTERS if request.product.kind == "omni-image" else PAINTERS
    return table[request.model_name]


def _resolution(request: Request) -> Denied | None:
    value = request.given("resolution")
    legal = value is None or value in _painter(request).resolutions
    return None if legal else invalid("resolution", value)


def _aspect(request: Request) -> Denied | None:
    return clauses.choice("aspect_ratio", *_painter(request).aspects)(request)


def _reference(request: Request) -> Denied | None:
    value = request.given("image_reference")
    if value is None:
        return None
    if value not in _painter(request).references:
        return invalid("image_reference", value)
    return clauses.needed("image")(request)


def _image(request: Request) -> Denied | None:
    way, has_image = _painter(request).image, request.given("image") is not None
    if way == "must" and not has_image:
        return empty("image")
    plain = way == "reference" and has_image and request.given("image_reference") is None
    return empty("image_reference") if plain else None


def _fidelity(request: Request) -> Denied | None:
    for field, legal in (("image_fidelity", ("subject", "face")), ("human_fidelity", ("subject",))):
        value, reference = request.given(field), request.given("image_reference")
        if value is None:
            continue
        fits = _painter(request).has_fidelity and (reference is None or reference in legal)
        if not fits or not clauses.is_number(value, 0, 1):
            return invalid(field, value)
    return None


def _negative(request: Request) -> Denied | None:
    both = request.given("negative_prompt") is not None and request.given("image") is not None
    return invalid("negative_prompt", "with image") if both else clauses.text("negative_prompt")(request)


def _elements(request: Request) -> Denied | None:
    listed = request.given("element_list")
    if listed is None:
        return None
    if not _painter(request).elements:
        return invalid("element_list", f"with {request.model_name}")
    over = len(listed) + (request.given("image") is not None) > _MOST_REFERENCES
    return invalid("element_list", f"{len(listed)} elements") if over else clauses.elements_exist(request)


def _painted(*fields: str) -> Callable[[Request], Order | Denied]:
    """Pictures of the asked shape, made after those in some fields."""

    def order(request: Request) -> Order | Denied:
        picture = media.pictures(request, *fields)
        if isinstance(picture, Denied):
            return picture
        count = request.count
        is_shaped = request.model_name not in PAINTERS or _painter(request).aspects
        aspect = request.aspect if is_shaped else picture.aspect
        return Order(request.median_s(0), aspect, count=count, slots=count, trouble=picture.trouble)

    return order


def _is_series(request: Request) -> bool:
    return bool(request.given("result_type") == "series")


def _series(request: Request) -> Denied | None:
    value = request.given("series_amount")
    if not _is_series(request) or value in (None, "auto"):
        return None
    return clauses.whole("series_amount", 2, _MOST_IMAGES)(request)


def _references(request: Request) -> Denied | None:
    total = sum(len(request.given(field) or ()) for field in ("image_list", "element_list"))
    if total > _MOST_REFERENCES:
        return invalid("image_list", f"{total} images and elements")
    return clauses.elements_exist(request)


def _omni(request: Request) -> Order | Denied:
    picture = media.pictures(request, "image_list[].image")
    if isinstance(picture, Denied):
        return picture
    wish = request.given("aspect_ratio")
    if wish in (None, "auto"):
        aspect = picture.aspect if request.given("image_list") else _OF_ITS_OWN_CHOICE
    else:
        aspect = str(wish)
    count = _series_count(request) if _is_series(request) else request.count
    is_series = _is_series(request)
    return Order(
        request.median_s(0),
        aspect,
        count=count,
        slots=count,
        trouble=picture.trouble,
        facts={"series": True} if is_series else {},
        decided={"series_amount": count} if is_series else {},
    )


def _series_count(request: Request) -> int:
    """How many pictures a series has; left to the service, as many as the prompt's length suggests, 2 to 9."""
    amount = request.given("series_amount") or _USUAL_SERIES
    return 2 + len(request.prompt) % (_MOST_IMAGES - 1) if amount == "auto" else int(amount)


def _growth(request: Request) -> Denied | None:
    shares: dict[str, Any] = {}
    for side in _SIDES:
        field = f"{side}_expansion_ratio"
        shares[side] = request.body.get(field)
        if shares[side] in (None, ""):
            return empty(field)
        if not clauses.is_number(shares[side], 0, 2):
            return invalid(field, shares[side])
    area = (1 + shares["up"] + shares["down"]) * (1 + shares["left"] + shares["right"])
    return None if area <= _LARGEST_GROWTH else invalid("expansion_ratio", f"area {area:g}")


def _expanded(request: Request) -> Order | Denied:
    picture = media.pictures(request, "image")
    if isinstance(picture, Denied):
        return picture
    across, down = (int(part) for part in picture.aspect.split(":"))
    body = request.body
    across *= 1 + body["left_expansion_ratio"] + body["right_expansion_ratio"]
    down *= 1 + body["up_expansion_ratio"] + body["down_expansion_ratio"]
    count = request.count
    shape = _nearest(across / down)
    return Order(request.median_s(0), shape, count=count, slots=count, trouble=picture.trouble)


def _nearest(ratio: float) -> str:
    def distance(aspect: str) -> float:
        across, down = aspect.split(":")
        return abs(int(across) / int(down) / ratio - 1)

    return min(_ALL_ASPECTS, key=distance)


_OF_PICTURES = {"": Pace(PICTURE_S)}

PRODUCTS = (
    Product(
        kind="images",
        path="/v1/images/generations",
        rules=(
            clauses.model,
            clauses.needed("prompt"),
            clauses.text("prompt"),
            _negative,
            _resolution,
            _aspect,
            _N,
            _reference,
            _image,
            _fidelity,
            clauses.rows("element_list", 1, _MOST_REFERENCES),
            _elements,
            clauses.own_words,
        ),
        order=_painted("image"),
        pace=_OF_PICTURES,
        models=frozenset(PAINTERS),
        default_model="kling-v3",
        pack=Pack.IMAGE,
        makes="images",
    ),
    Product(
        kind="omni-image",
        path="/v1/images/omni-image",
        rules=(
            clauses.model,
            clauses.needed("prompt"),
            clauses.text("prompt"),
            _resolution,
            clauses.choice("result_type", "single", "series"),
            _N,
            _series,
            clauses.choice("aspect_ratio", "auto", *_ALL_ASPECTS),
            clauses.rows("image_list", 1, _MOST_REFERENCES, clauses.has_text("image")),
            clauses.rows("element_list", 1, _MOST_REFERENCES),
            _references,
            clauses.own_words,
        ),
        order=_omni,
        pace=_OF_PICTURES,
        models=frozenset(OMNI_PAINTERS),
        default_model="kling-image-o1",
        pack=Pack.IMAGE,
        makes="images",
    ),
    Product(
        kind="multi-image2image",
        path="/v1/images/multi-image2image",
        rules=(
            clauses.model,
            clauses.needed("subject_image_list"),
            clauses.text("prompt"),
            clauses.rows("subject_image_list", 1, 4, clauses.has_text("subject_image")),
            _N,
            clauses.choice("aspect_ratio", *_ALL_ASPECTS),
            clauses.own_words,
        ),
        order=_painted("subject_image_list[].subject_image", "scene_image", "style_image"),
        pace=_OF_PICTURES,
        models=frozenset({"kling-v2", "kling-v2-1"}),
        default_model="kling-v2-1",
        pack=Pack.IMAGE,
        makes="images",
    ),
    Product(
        kind="expand",
        path="/v1/images/editing/expand",
        rules=(clauses.needed("image"), clauses.text("prompt"), _growth, _N, clauses.own_words),
        order=_expanded,
        pace=_OF_PICTURES,
        pack=Pack.IMAGE,
        makes="images",
    ),
)
