"""The rows of ``models.toml``: which models there are, and what each allows. Pure."""

from __future__ import annotations

from pydantic import Field

from batch_runner.catalog.conditions import Condition, Row
from batch_runner.model import Generation


class FeatureRow(Row):
    """Something a body may use; ``granted`` features are refused unless the model allows them.

    ``kinds`` are the products whose bodies are looked at; none: all of the generation.
    """

    name: str
    kinds: tuple[str, ...] = ()
    generation: Generation = Generation.V1
    words: str
    field: str
    when: Condition
    granted: bool = True


class GrantRow(Row):
    """Where a model allows a feature; empty lists mean everywhere the model itself works."""

    feature: str
    kinds: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    durations: tuple[int, ...] = ()
    without: tuple[str, ...] = ()
    only: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class ModelRow(Row):
    """One model in some products: its modes (none: it takes no ``mode``) and clip lengths in seconds (none: any)."""

    name: str
    kinds: tuple[str, ...]
    generation: Generation = Generation.V1
    modes: tuple[str, ...]
    durations: tuple[int, ...] = ()
    output: str
    source: str
    dated: str
    grants: tuple[GrantRow, ...] = ()


class ModelsFile(Row):
    """``models.toml``."""

    feature: tuple[FeatureRow, ...] = ()
    model: tuple[ModelRow, ...] = ()
