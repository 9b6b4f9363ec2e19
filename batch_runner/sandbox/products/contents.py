"""Bodies of the second API generation, read into the flat form of the first: one task, two ways to write it down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from batch_runner.sandbox.codes import Denied, empty, invalid

_PROMPT = "prompt"
_REFERENCES = {"element": ("element_list", "element_id"), "voice": ("voice_list", "voice_id")}
_OMNI_FRAMES = {"first_frame": "first_frame", "last_frame": "end_frame", "refer_image": ""}
_VIDEOS = {"feature_video": "feature", "base_video": "base"}
_PLAIN = {"first_frame": "image", "last_frame": "image_tail", "image": "image_url", "video": "video_url"}
ONLY_ONE = frozenset({_PROMPT, "first_frame", "last_frame", "image", "video"})
"""Contents that can stand there once at most."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Which contents a route has.

    Attributes:
        types: the types of its contents; none where the prompt stands by itself.
        is_omni: whether pictures become rows of a list instead of fields of their own.
    """

    types: frozenset[str] = frozenset()
    is_omni: bool = False


def flat(shape: Shape, model_name: str, body: Mapping[str, Any]) -> dict[str, Any] | Denied:
    """The body in flat form; what the first generation writes as text (``duration``) is text there."""
    settings, options = body.get("settings") or {}, body.get("options") or {}
    for name, value in (("settings", settings), ("options", options)):
        if not isinstance(value, dict):
            return invalid(name, value)
    found = {"model_name": model_name, **_listed(settings), **options}
    if not shape.types:
        return found | {_PROMPT: body.get(_PROMPT)}
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        return invalid("contents", contents) if contents else empty("contents")
    rest = _contents(shape, contents)
    return rest if isinstance(rest, Denied) else found | rest


def _listed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are, but for a whole number of seconds, which becomes text; what is none stays to be refused."""
    duration = settings.get("duration")
    if isinstance(duration, int) and not isinstance(duration, bool):
        return {**settings, "duration": str(duration)}
    return {**settings} if duration in (None, "") else {**settings, "duration": [duration]}


def _contents(shape: Shape, contents: list[Any]) -> dict[str, Any] | Denied:
    found: dict[str, Any] = {}
    seen: set[str] = set()
    for item in contents:
        kind = item.get("type") if isinstance(item, dict) else item
        if not isinstance(item, dict) or not isinstance(kind, str) or kind not in shape.types:
            return invalid("contents type", kind)
        if kind in ONLY_ONE and kind in seen:
            return invalid("contents", f"more than one {kind}")
        seen.add(kind)
        reading = _reader(shape, kind)
        denied = reading(found, item)
        if denied is not None:
            return denied
    return found


Reading = Callable[[dict[str, Any], Mapping[str, Any]], Denied | None]


def _reader(shape: Shape, kind: str) -> Reading:
    if kind == _PROMPT:
        return _read_prompt
    if kind in _REFERENCES:
        return _read_reference
    if shape.is_omni:
        return _read_video if kind in _VIDEOS else _read_frame
    return _read_plain


def _read_prompt(found: dict[str, Any], item: Mapping[str, Any]) -> Denied | None:
    found[_PROMPT] = item.get("text")
    return None


def _read_reference(found: dict[str, Any], item: Mapping[str, Any]) -> Denied | None:
    field, key = _REFERENCES[item["type"]]
    if not item.get(key):
        return empty(key)
    found.setdefault(field, []).append({key: item[key]})
    return None


def _read_frame(found: dict[str, Any], item: Mapping[str, Any]) -> Denied | None:
    word = _OMNI_FRAMES[item["type"]]
    row = {"image_url": item.get("url")} | ({"type": word} if word else {})
    return _kept(found, "image_list", row, item)


def _read_video(found: dict[str, Any], item: Mapping[str, Any]) -> Denied | None:
    row = {"video_url": item.get("url"), "refer_type": _VIDEOS[item["type"]]}
    return _kept(found, "video_list", row, item)


def _kept(found: dict[str, Any], field: str, row: dict[str, Any], item: Mapping[str, Any]) -> Denied | None:
    if not item.get("url"):
        return empty("url")
    found.setdefault(field, []).append(row)
    return None


def _read_plain(found: dict[str, Any], item: Mapping[str, Any]) -> Denied | None:
    if not item.get("url"):
        return empty("url")
    found[_PLAIN[item["type"]]] = item["url"]
    return None
