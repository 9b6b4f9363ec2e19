"""Results of the first API generation: which lists name files, and which answers are facts (kling-api 3). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from batch_runner.kling.envelope import MalformedAnswer, list_at, object_at
from batch_runner.kling.results import facts_asset, file_asset, made, soft_id
from batch_runner.model import Asset

_FILES: Mapping[str, str] = MappingProxyType(
    {"videos": ".mp4", "images": ".png", "series_images": ".png", "audios": ".mp3"}
)
"""The lists whose rows are files, and what a file without an ending of its own is."""
_ALSO: Mapping[str, tuple[str, ...]] = MappingProxyType({"images": ("series_images",), "videos": ("audios",)})
"""Lists that one product fills beside its own: omni-image (3.14) and video-to-audio (3.12)."""
_IDS = (
    ("videos", "id", "video_id"),
    ("audios", "id", "audio_id"),
    ("elements", "element_id", "element_id"),
    ("voices", "voice_id", "voice_id"),
    ("videos", "session_id", "session_id"),
    ("face_data", "face_id", "face_id"),
)
_NO_FACTS = frozenset(
    {
        "task_id",
        "task_status",
        "task_status_msg",
        "task_info",
        "created_at",
        "updated_at",
        "final_unit_deduction",
        "final_balance_deduction",
        "watermark_info",
    }
)
"""What an answer says about the task and not about its result."""


def assets(data: dict[str, Any], result_key: str) -> tuple[Asset, ...]:
    """What a succeeded task left; none if a list of files is missing, for the caller has to tell that it was paid.

    A result that is no list of files is one JSON file; so is, beside its files, one that tells which is what.
    """
    result = _result(data)
    if result_key not in _FILES:
        return (facts_asset(result),) if result else ()
    keys = (result_key, *_ALSO.get(result_key, ()))
    rows = [(key, row) for key in keys for row in _rows(result, key)]
    files = tuple(asset for key, row in rows if not _says_absent(row) for asset in _row_assets(row, key))
    return (*files, facts_asset(result)) if any("is_contain" in row for _, row in rows) else files


def ids(data: dict[str, Any]) -> dict[str, Any]:
    """The ids in a succeeded task's result that later items may name."""
    result = _result(data)
    found: list[tuple[str, Any]] = [("session_id", result.get("session_id"))]
    found += [(name, row.get(key)) for rows, key, name in _IDS for row in _rows(result, rows)]
    return made(found)


def _result(data: dict[str, Any]) -> dict[str, Any]:
    """The result of a task, or of a call that was answered at once: there it may stand in ``data`` itself."""
    try:
        inner = object_at(data, "task_result")
    except MalformedAnswer:
        return {}
    return inner or {key: value for key, value in data.items() if key not in _NO_FACTS and key != "task_result"}


def _rows(result: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    try:
        rows = list_at(result, key)
    except MalformedAnswer:
        return
    for row in sorted(rows, key=_index) if all(map(_has_index, rows)) else rows:
        yield row if isinstance(row, dict) else {}


def _has_index(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("index"), int)


def _index(row: dict[str, Any]) -> int:
    index: int = row["index"]
    return index


def _says_absent(row: dict[str, Any]) -> bool:
    """Whether a recognised picture has no such part (3.19): then there is no file, and none is missing."""
    return row.get("is_contain") is False and not row.get("url")


def _row_assets(row: dict[str, Any], key: str) -> list[Asset]:
    """One file, or several (``url_mp3`` and ``url_wav``, ``url_1`` to ``url_3``); no copy with a watermark."""
    keys = sorted(name for name in row if name.startswith("url_") and row[name])
    if row.get("url") or not keys:
        keys = ["url"]
    asset_id = soft_id(row, "id")
    return [file_asset(row.get(name), row.get(_duration_key(name)), _suffix(name, key), asset_id) for name in keys]


def _duration_key(url_key: str) -> str:
    return url_key.replace("url", "duration", 1)


def _suffix(url_key: str, key: str) -> str:
    return {"url_mp3": ".mp3", "url_wav": ".wav"}.get(url_key, _FILES[key])
