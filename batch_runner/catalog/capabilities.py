"""Which model makes which product in which mode, length and with which features. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from batch_runner.catalog.conditions import Body, holds, judged_fields, top_field, triggers, values
from batch_runner.catalog.model_rows import FeatureRow, GrantRow, ModelRow
from batch_runner.catalog.problems import FieldProblem, listed, seconds_listed
from batch_runner.catalog.schema import CatalogData, FieldRow, FieldType, ProductRow

_NO_FEATURES: frozenset[str] = frozenset()


class Shape(NamedTuple):
    """What a body asks for, defaults filled in.

    Attributes:
        model: empty for a product that has none, or else that of the task it inherits from.
        mode: None for a model that takes none, or when the asked one is wrong (then nothing is held against it).
        clip_s: None when the asked duration is wrong, and for a product without one.
        features: what else it uses.
    """

    model: str
    mode: str | None
    clip_s: int | None
    features: frozenset[str]


class Capabilities:
    """The capability rows of one product in one generation. ``rows`` are its fields."""

    def __init__(self, product: ProductRow, rows: dict[str, FieldRow], data: CatalogData) -> None:
        self._kind = product.kind
        self._grade = product.grade
        self._defaults: Body = {name: row.default for name, row in rows.items() if row.default is not None}
        self._default_model = self._defaults.get("model_name", "")
        self._default_mode = self._defaults.get(product.grade, "")
        self._default_duration = self._defaults.get("duration", "")
        self._has_grade = product.grade in rows or bool(product.inherits)
        self._has_clip = "duration" in rows and rows["duration"].type is FieldType.SECONDS
        self._shape_of = lru_cache(maxsize=1024)(self._find_shape)
        mine = [row for row in data.models.model if row.generation is product.generation]
        self._models = {row.name: row for row in mine if product.kind in row.kinds}
        self._features = {
            row.name: row
            for row in data.models.feature
            if row.generation is product.generation and (not row.kinds or product.kind in row.kinds)
        }
        self._by_field: dict[str, tuple[FeatureRow, ...]] = {}
        for row in self._features.values():
            for name in triggers(row.when, self._defaults) & rows.keys():
                self._by_field[name] = (*self._by_field.get(name, ()), row)

    @property
    def models(self) -> tuple[str, ...]:
        """The models that make this product."""
        return tuple(self._models)

    def model_of(self, body: Body) -> str:
        """The model the body means, known here or not; empty where the product has none."""
        return str(body.get("model_name", self._default_model))

    def shape(self, body: Body) -> Shape | None:
        """What the body asks for, or None when its model is unknown here."""
        model = self.model_of(body)
        mode = str(body.get(self._grade, self._default_mode))
        return self._shape_of(model, mode, str(body.get("duration", self._default_duration)), self.features(body))

    def _find_shape(self, model: str, mode: str, duration: str, features: frozenset[str]) -> Shape | None:
        row = self._models.get(model)
        if row is None and self._models:
            return None
        clip_s = int(duration) if self._has_clip and duration.isascii() and duration.isdigit() else None
        takes_mode = self._has_grade and (row is None or row.modes)
        return Shape(model, mode if takes_mode else None, clip_s, features)

    def features(self, body: Body) -> frozenset[str]:
        """The features the body uses."""
        by_field = self._by_field
        candidates = [row for name in body if name in by_field for row in by_field[name]]
        if not candidates:
            return _NO_FEATURES
        return frozenset(row.name for row in candidates if holds(row.when, body, self._defaults))

    def problems(self, body: Body, bad: frozenset[str]) -> list[FieldProblem]:
        """What the model does not do; ``bad`` fields are told elsewhere and not judged here."""
        shape = self.shape(body) if self._models and "model_name" not in bad else None
        if shape is None:
            return []
        row = self._models[shape.model]
        mode_problem = None if self._grade in bad else self._mode_problem(row, shape.mode, body)
        clip_problem = None if "duration" in bad else _clip_problem(row, shape.clip_s)
        found = [problem for problem in (mode_problem, clip_problem) if problem]
        if shape.features:
            mode = None if mode_problem or self._grade in bad else shape.mode
            clip_s = None if clip_problem or "duration" in bad else shape.clip_s
            found += self._feature_problems(row, shape._replace(mode=mode, clip_s=clip_s), body, bad)
        return found

    def _mode_problem(self, row: ModelRow, mode: str | None, body: Body) -> FieldProblem | None:
        grade = self._grade
        if not row.modes:
            what = f"{row.name} takes no {grade}"
            return FieldProblem(grade, what, "leave it out", _source(row)) if grade in body else None
        if mode is None or mode in row.modes:
            return None
        what = f"{row.name} has no {grade} {mode}; it has {listed(row.modes, 'and')}"
        return FieldProblem(grade, what, "", _source(row))

    def _feature_problems(self, row: ModelRow, shape: Shape, body: Body, bad: frozenset[str]) -> list[FieldProblem]:
        asked = [self._features[name] for name in sorted(shape.features) if self._features[name].granted]
        found = []
        for feature in asked:
            grants = [grant for grant in row.grants if self._is_about(grant, feature, row)]
            judged = judged_fields(feature.when).union(top_field(path) for grant in grants for path in grant.only)
            if judged.isdisjoint(bad) and not any(_grants(grant, shape, body) for grant in grants):
                found.append(self._refused(row, feature, grants))
        return found

    def _refused(self, row: ModelRow, feature: FeatureRow, grants: list[GrantRow]) -> FieldProblem:
        if grants:
            needs = listed([self._terms(grant) for grant in grants])
            return FieldProblem(feature.field, f"{feature.words} on {row.name} needs {needs}", "", _source(row))
        others = [other.name for other in self._models.values() if self._ever(other, feature)]
        hint = f"{listed(others)} can" if others else ""
        what = f"{row.name} cannot do {feature.words} in {self._kind}"
        return FieldProblem(feature.field, what, hint, _source(row))

    def _ever(self, row: ModelRow, feature: FeatureRow) -> bool:
        return any(self._is_about(grant, feature, row) for grant in row.grants)

    def _is_about(self, grant: GrantRow, feature: FeatureRow, row: ModelRow) -> bool:
        return grant.feature == feature.name and self._kind in (grant.kinds or row.kinds)

    def _terms(self, grant: GrantRow) -> str:
        terms = [
            f"{self._grade} {listed(grant.modes)}" if grant.modes else "",
            f"duration {seconds_listed(grant.durations)}" if grant.durations else "",
            *(f"{path} {listed(allowed)}" for path, allowed in grant.only.items()),
            *(f"no {self._features[name].words}" for name in grant.without),
        ]
        return listed(filter(None, terms), "and")


def _source(row: ModelRow) -> str:
    return f"{row.source}, {row.dated}"


def _clip_problem(row: ModelRow, clip_s: int | None) -> FieldProblem | None:
    if clip_s is None or clip_s in row.durations or not row.durations:
        return None
    closest = min(row.durations, key=lambda allowed: abs(allowed - clip_s))
    what = f"{row.name} makes clips of {seconds_listed(row.durations)}, not {clip_s}"
    return FieldProblem("duration", what, f"the nearest is {closest}", _source(row))


def _grants(grant: GrantRow, shape: Shape, body: Body) -> bool:
    return (
        (shape.mode is None or not grant.modes or shape.mode in grant.modes)
        and (shape.clip_s is None or not grant.durations or shape.clip_s in grant.durations)
        and shape.features.isdisjoint(grant.without)
        and all(_within(values(body, path), allowed) for path, allowed in grant.only.items())
    )


def _within(found: Iterable[Any], allowed: tuple[str, ...]) -> bool:
    return all(value in allowed for value in found)
