"""The long lists of the server's own data: scenes of effects, voices, and what every account comes with."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("batch_runner.sandbox") / "data" / name).read_text(encoding="utf-8"))


_EFFECTS, _LIBRARY = _read("effects.toml"), _read("library.toml")

SINGLE_SCENES = frozenset(f"{_EFFECTS['single']} {_EFFECTS['older_single']}".split())
DUAL_SCENES = frozenset(f"{_EFFECTS['dual']} {_EFFECTS['older_dual']}".split())
WITHDRAWN_SINGLE = frozenset(_EFFECTS["withdrawn_single"].split())
WITHDRAWN_DUAL = frozenset(_EFFECTS["withdrawn_dual"].split())
READERS = frozenset(f"{_LIBRARY['en']} {_LIBRARY['zh']}".split())
"""Voices that read texts aloud."""
PRESET_VOICES: Mapping[str, Mapping[str, Any]] = {row["voice_id"]: row for row in _LIBRARY["preset_voice"]}
PRESET_ELEMENTS: Mapping[str, Mapping[str, Any]] = {str(row["element_id"]): row for row in _LIBRARY["preset_element"]}
