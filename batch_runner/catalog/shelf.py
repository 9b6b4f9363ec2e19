"""The books of one kind of item, one for each API generation that makes it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from batch_runner.catalog.book import Book
from batch_runner.catalog.schema import CatalogData
from batch_runner.model import Generation


class Shelf:
    """All that the data says about one kind; the model decides which generation's book counts."""

    def __init__(self, kind: str, data: CatalogData) -> None:
        rows = {row.generation: row for row in data.products.product if row.kind == kind}
        self._v1 = Book(rows[Generation.V1], data)
        self._v2 = Book(rows[Generation.V2], data) if Generation.V2 in rows else None
        self._v2_models = frozenset(self._v2.models if self._v2 else ())
        self._v2_names = re.compile(rows[Generation.V2].unknown_models) if Generation.V2 in rows else None

    @property
    def books(self) -> tuple[Book, ...]:
        """The books there are, the first generation's first."""
        return (self._v1, *([self._v2] if self._v2 else []))

    def book(self, model: Any) -> Book:
        """The book that a model stands in, or would stand in by the form of its name."""
        if self._v2 is None or not isinstance(model, str) or model in self._v1.models:
            return self._v1
        if model in self._v2_models:
            return self._v2
        assert self._v2_names is not None
        return self._v2 if self._v2_names.fullmatch(model) else self._v1

    def of(self, fields: Mapping[str, Any]) -> Book:
        """The book that these fields ask for."""
        return self._v1 if self._v2 is None else self.book(fields.get("model_name"))
