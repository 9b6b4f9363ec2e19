"""What the simulated service offers: its own list of products, models, fields and limits.

Kept apart from the program's catalogue on purpose: a mistake in one of them shows as a refusal by the other.
Source: the vendor's create references and capability map (March to autumn 2026), older pages where those are silent.
"""

from collections.abc import Mapping

from batch_runner.sandbox.products import (
    audio,
    classic,
    editing,
    effects,
    images,
    library,
    looks,
    omni,
    people,
    selection,
)
from batch_runner.sandbox.products.product import Known, Order, Product, Request, Session, Source

__all__ = ["PRODUCTS", "Known", "Order", "Product", "Request", "Session", "Source"]

PRODUCTS: Mapping[str, Product] = {
    product.kind: product
    for family in (classic, omni, editing, people, effects, audio, images, looks, library, selection)
    for product in family.PRODUCTS
}
"""The products of the first API generation by kind."""
