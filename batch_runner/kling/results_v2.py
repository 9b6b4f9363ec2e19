"""Results of the second API generation: the typed rows of ``outputs`` (kling-api 3.20). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from batch_runner.kling.results import facts_asset, file_asset, made, soft_id
from batch_runner.model import Asset

_FORMS: Mapping[str, tuple[tuple[str, str, str], ...]] = MappingProxyType(
    {
        "video": (("url", "duration", ".mp4"),),
        "image": (("url", "duration", ".png"),),
        "audio": (("mp3_url", "mp3_duration", ".mp3"), ("wav_url", "wav_duration", ".wav")),
    }
)
"""By the type of a row: where its files and their lengths stand, and what they are without an ending."""
_IDS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "video": ("video_id", ("id",)),
        "audio": ("audio_id", ("id",)),
        "element": ("element_id", ("element_id", "id")),
        "voice": ("voice_id", ("voice_id", "id")),
    }
)


def assets(outputs: Sequence[Any]) -> tuple[Asset, ...]:
    """The files of a succeeded task, and one JSON file for rows that are none."""
    rows = list(filter(_is_row, outputs))
    files = tuple(asset for row in rows if row["type"] in _FORMS for asset in _files(row))
    facts = [row for row in rows if row["type"] not in _FORMS]
    return (*files, facts_asset({"outputs": facts})) if facts else files


def ids(outputs: Sequence[Any]) -> dict[str, Any]:
    """The ids in a succeeded task's result that later items may name."""
    found: list[tuple[str, Any]] = []
    for row in filter(_is_row, outputs):
        name, keys = _IDS.get(row["type"], ("", ()))
        found += [(name, row[key]) for key in keys if row.get(key)][:1]
    return made(found)


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("type"), str)


def _files(row: dict[str, Any]) -> list[Asset]:
    forms = _FORMS[row["type"]]
    given = [form for form in forms if row.get(form[0])] or list(forms[:1])
    asset_id = soft_id(row, "id")
    return [file_asset(row.get(url), row.get(length), suffix, asset_id) for url, length, suffix in given]
