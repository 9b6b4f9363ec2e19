"""Pictures of things and people: tried on, seen from other sides, and looked at."""

from __future__ import annotations

from batch_runner.model import Pack
from batch_runner.sandbox.codes import Code, Denied
from batch_runner.sandbox.products import clauses, media
from batch_runner.sandbox.products.images import PICTURE_S
from batch_runner.sandbox.products.models import FITTERS
from batch_runner.sandbox.products.product import Order, Pace, Product, Request

_SHOT_SIDES = 3
MASKS = ("object_seg", "head_seg", "face_seg", "cloth_seg")
"""What is looked for in a picture."""


def _fitted(request: Request) -> Order | Denied:
    picture = media.pictures(request, "human_image", "cloth_image")
    if isinstance(picture, Denied):
        return picture
    return Order(request.median_s(0), "3:4", trouble=picture.trouble)


def _turned(request: Request) -> Order | Denied:
    picture = media.pictures(request, "element_frontal_image")
    if isinstance(picture, Denied):
        return picture
    return Order(request.median_s(0), "1:1", count=_SHOT_SIDES, trouble=picture.trouble)


def _looked_at(request: Request) -> Order | Denied:
    picture = media.pictures(request, "image")
    if isinstance(picture, Denied):
        return picture
    # There is no task that could fail later: a bad picture is refused at once.
    return Denied(Code.BAD_VALUE, picture.trouble) if picture.trouble else Order(0, picture.aspect, count=len(MASKS))


PRODUCTS = (
    Product(
        kind="virtual-try-on",
        path="/v1/images/kolors-virtual-try-on",
        rules=(clauses.model, clauses.needed("human_image", "cloth_image"), clauses.own_words),
        order=_fitted,
        pace={"": Pace(19)},
        models=FITTERS,
        default_model="kolors-virtual-try-on-v1",
        pack=Pack.TRY_ON,
        makes="images",
        texts=(),
    ),
    Product(
        kind="ai-multi-shot",
        path="/v1/general/ai-multi-shot",
        rules=(clauses.needed("element_frontal_image"), clauses.own_words),
        order=_turned,
        pace={"": Pace(PICTURE_S)},
        pack=Pack.IMAGE,
        makes="shots",
        texts=(),
    ),
    Product(
        kind="image-recognize",
        path="/v1/videos/image-recognize",
        rules=(clauses.needed("image"),),
        order=_looked_at,
        pace={"": Pace(0)},
        makes="masks",
        texts=(),
        is_sync=True,
    ),
)
