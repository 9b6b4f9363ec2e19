"""The new standard (since 2026-06-17): the model stands in the path, and its route says what it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from batch_runner.model import Generation
from batch_runner.sandbox.codes import MODEL_UNSUPPORTED, Denied, unknown_model
from batch_runner.sandbox.products import classic, omni, people
from batch_runner.sandbox.products.contents import flat
from batch_runner.sandbox.products.models import EVERY
from batch_runner.sandbox.products.product import Order, Product, Request
from batch_runner.sandbox.products.standard_routes import ROUTES, Standard
from batch_runner.sandbox.products.standard_rules import has_base, rules_of

_ALIASES = {("omni-video", "kling-v3-omni"): ("omni-video", "kling-3.0-omni")}
"""A name of the first generation that was seen to be taken in a path."""
FAMILIES = tuple(dict.fromkeys(route.family for route in ROUTES))


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
        kept = has_base(request) and request.given("audio") == "original"
        return replace(found, sound=True) if route.always_sounds or kept else found

    return StandardProduct(
        kind=route.kind,
        path=route.path,
        rules=rules_of(route),
        order=order,
        pace={"": route.pace},
        models=frozenset({route.model}),
        default_model=route.model,
        generation=Generation.V2,
        route=route,
    )


STANDARD: Mapping[tuple[str, str], StandardProduct] = {(route.family, route.model): _product(route) for route in ROUTES}
"""The products of the second API generation by both parts of their path."""
_MODELS = frozenset(route.model for route in ROUTES) | EVERY


def find(family: str, model: str) -> StandardProduct | Denied:
    """The route of a path; a model that another family has and one that nobody knows are told apart."""
    key = _ALIASES.get((family, model), (family, model))
    if key in STANDARD:
        return STANDARD[key]
    return MODEL_UNSUPPORTED if model in _MODELS else unknown_model(model)
