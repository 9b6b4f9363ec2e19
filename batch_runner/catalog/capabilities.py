"""Which model makes which product in which mode, length and with which features. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from batch_runner.catalog.conditions import Body, holds, judged_fields, top_field, triggers, values
from batch_runner.catalog.problems import FieldProblem, listed, seconds_listed
from batch_runner.catalog.schema import FeatureRow, GrantRow, ModelRow, ModelsFile

_NO_FEATURES: frozenset[str] = frozenset()


class Shape(NamedTuple):
    """What a body asks for, defaults filled in.

    ``mode`` is None for a model that takes none, or when the asked one is wrong (then nothing is held against
    it); ``clip_s`` is None when the asked duration is wrong.
    """

    model: str
    mode: str | None
    clip_s: int | None
    features: frozenset[str]


class Capabilities:
    """The capability rows of one product."""

    def __init__(self, kind: str, data: ModelsFile, defaults: Body) -> None:
        self._kind = kind
        self._defaults = defaults
        self._default_model = defaults.get("model_name", "")
        self._default_mode = defaults.get("mode", "")
        self._default_duration = defaults.get("duration", "")
        self._shape_of = lru_cache(maxsize=1024)(self._find_shape)
        self._models = {row.name: row for row in data.model if kind in row.kinds}
        self._others = {row.name: row.kinds for row in data.model if kind not in row.kinds}
        self._features = {row.name: row for row in data.feature}
        self._by_field: dict[str, tuple[FeatureRow, ...]] = {}
        for row in data.feature:
            for name in triggers(row.when, defaults):
                self._by_field[name] = (*self._by_field.get(name, ()), row)

    @property
    def models(self) -> tuple[str, ...]:
        """The models that make this product."""
        return tuple(self._models)

    def made_elsewhere(self, model: Any) -> str:
        """A hint for a model that makes other products, or an empty text."""
        return (
            f"{model} makes {listed(self._others[model], 'and')}"
            if isinstance(model, str) and model in self._others
            else ""
        )

    def model_of(self, body: Body) -> str:
        """The model the body means, known here or not; empty where the product has none."""
        return str(body.get("model_name", self._default_model))

    def shape(self, body: Body) -> Shape | None:
        """What the body asks for, or None when its model is unknown here."""
        model = self.model_of(body)
        mode = str(body.get("mode", self._default_mode))
        return self._shape_of(model, mode, str(body.get("duration", self._default_duration)), self.features(body))

    def _find_shape(self, model: str, mode: str, duration: str, features: frozenset[str]) -> Shape | None:
        row = self._models.get(model)
        if row is None:
            return None
        clip_s = int(duration) if duration.isascii() and duration.isdigit() else None
        return Shape(model, mode if row.modes else None, clip_s, features)

    def features(self, body: Body) -> frozenset[str]:
        """The features the body uses."""
        by_field = self._by_field
        candidates = [row for name in body if name in by_field for row in by_field[name]]
        if not candidates:
            return _NO_FEATURES
        return frozenset(row.name for row in candidates if holds(row.when, body, self._defaults))

    def problems(self, body: Body, bad: frozenset[str]) -> list[FieldProblem]:
        """What the model does not do; ``bad`` fields are told elsewhere and not judged here."""
        shape = None if "model_name" in bad else self.shape(body)
        if shape is None:
            return []
        row = self._models[shape.model]
        mode_problem = None if "mode" in bad else _mode_problem(row, shape.mode, is_given="mode" in body)
        clip_problem = None if "duration" in bad else _clip_problem(row, shape.clip_s)
        found = [problem for problem in (mode_problem, clip_problem) if problem]
        if shape.features:
            mode = None if mode_problem or "mode" in bad else shape.mode
            clip_s = None if clip_problem or "duration" in bad else shape.clip_s
            found += self._feature_problems(row, shape._replace(mode=mode, clip_s=clip_s), body, bad)
        return found

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
            return FieldProblem(feature.field, f"{feature.words} on {row.name} needs {needs}")
        others = [other.name for other in self._models.values() if self._ever(other, feature)]
        hint = f"{listed(others)} can" if others else ""
        return FieldProblem(feature.field, f"{row.name} cannot do {feature.words} in {self._kind}", hint)

    def _ever(self, row: ModelRow, feature: FeatureRow) -> bool:
        return any(self._is_about(grant, feature, row) for grant in row.grants)

    def _is_about(self, grant: GrantRow, feature: FeatureRow, row: ModelRow) -> bool:
        return grant.feature == feature.name and self._kind in (grant.kinds or row.kinds)

    def _terms(self, grant: GrantRow) -> str:
        terms = [
            f"mode {listed(grant.modes)}" if grant.modes else "",
            f"duration {seconds_listed(grant.durations)}" if grant.durations else "",
            *(f"{path} {listed(allowed)}" for path, allowed in grant.only.items()),
            *(f"no {self._features[name].words}" for name in grant.without),
        ]
        return listed(filter(None, terms), "and")


def _mode_problem(row: ModelRow, mode: str | None, *, is_given: bool) -> FieldProblem | None:
    if not row.modes:
        return FieldProblem("mode", f"{row.name} takes no mode", "leave it out") if is_given else None
    if mode in row.modes:
        return None
    return FieldProblem("mode", f"{row.name} has no mode {mode}; it has {listed(row.modes, 'and')}")


def _clip_problem(row: ModelRow, clip_s: int | None) -> FieldProblem | None:
    if clip_s is None or clip_s in row.durations:
        return None
    closest = min(row.durations, key=lambda allowed: abs(allowed - clip_s))
    what = f"{row.name} makes clips of {seconds_listed(row.durations)}, not {clip_s}"
    return FieldProblem("duration", what, f"the nearest is {closest}")


def _grants(grant: GrantRow, shape: Shape, body: Body) -> bool:
    return (
        (shape.mode is None or not grant.modes or shape.mode in grant.modes)
        and (shape.clip_s is None or not grant.durations or shape.clip_s in grant.durations)
        and shape.features.isdisjoint(grant.without)
        and all(_within(values(body, path), allowed) for path, allowed in grant.only.items())
    )


def _within(found: Iterable[object], allowed: tuple[str, ...]) -> bool:
    return all(value in allowed for value in found)
