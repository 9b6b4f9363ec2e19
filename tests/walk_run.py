"""The legal rows of the walk as a manifest, with the items whose results they take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from clip_facts import PICTURE
from walk import PROMPT, SOUND, VIDEO, Legal, made_by

OF_ANOTHER_ACCOUNT = "extension of a clip that is not known"
"""A row whose id no service could know but the one that made it."""
GIVEN_CREDITS = "1"
"""Stands on items that no table prices."""
_UNTOLD_S = Decimal(5)
_SECONDS_PER_LETTER = Decimal("0.07")
"""How the simulated service reads English aloud."""
_POINT = {"x": 0.5, "y": 0.25}

_PROVIDERS: Mapping[str, dict[str, Any]] = {
    "clip": {"prompt": PROMPT},
    "talking": {"prompt": PROMPT, "model_name": "kling-v2-6", "mode": "pro", "sound": "on"},
    "element": {
        "kind": "elements",
        "element_name": "Heron",
        "element_description": "a grey heron",
        "reference_type": "image_refer",
        "element_image_list": {"frontal_image": PICTURE, "refer_images": [{"image_url": PICTURE}]},
    },
    "voice": {"kind": "voices", "voice_name": "Anna", "voice_url": f"{SOUND}?sandbox-seconds=8"},
}


def manifest_of(rows: Iterable[Legal]) -> str:
    """The lines of these rows, each under its name of ``row_id``, and of all that they need."""
    return "".join(f"{line}\n" for line in _lines(rows))


def row_id(number: int) -> str:
    """The item of the row of that number."""
    return f"row-{number:04}"


def _lines(rows: Iterable[Legal]) -> Iterator[str]:
    told: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(rows):
        line = {"id": row_id(number), "kind": row.kind, **_with_sources(row, number), **_own_words(row)}
        told |= {provider["id"]: provider for provider in _providers(line)}
        told[line["id"]] = line
    yield from map(json.dumps, told.values())


def _own_words(row: Legal) -> dict[str, str]:
    credits_ = {} if row.credits is not None else {"credits": GIVEN_CREDITS}
    return credits_ if row.source_s is None else {**credits_, "seconds": str(row.source_s)}


def _with_sources(row: Legal, number: int) -> dict[str, Any]:
    """The row's fields, with sources as long as the row says."""
    names = {"spoken": f"spoken {row.source_s}", "faces": f"faces {row.source_s}", "selection": _session(row, number)}
    if row.inherited:
        names["clip"] = f"clip {' '.join(row.inherited.values())}"
    elif row.kind == "lip-sync":
        names["clip"] = f"clip of {row.source_s}"
    fields = _filled(row.fields, names, row.source_s or _UNTOLD_S)
    assert isinstance(fields, dict)
    return fields


def _session(row: Legal, number: int) -> str:
    """The selection that the row goes on with: points add up in a session, so most rows have one of their own."""
    if row.kind == "multi-elements":
        return f"selection of {row.fields.get('duration', 5)}"
    points = {"delete-selection": len(row.fields.get("points", ())), "preview-selection": 1}.get(row.kind)
    return f"selection of 5 for {number}" if points is None else f"added {points} for {number}"


def _filled(value: Any, names: Mapping[str, str], source_s: Decimal) -> Any:
    if isinstance(value, dict):
        if "item" in value:
            return made_by(_id(names.get(value["item"], value["item"])))
        return {name: _filled(inner, names, source_s) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, names, source_s) for inner in value]
    return f"{value}?sandbox-seconds={source_s}" if value in (VIDEO, SOUND) else value


def _id(name: str) -> str:
    return name.replace(" ", "_")


def _providers(line: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The items that a line names, those that they name themselves first."""
    for id_ in _named(line):
        provider = {"id": id_, **_provider(*id_.split("_"))}
        yield from _providers(provider)
        yield provider


def _provider(what: str, *words: str) -> dict[str, Any]:
    if not words:
        return _PROVIDERS[what]
    if what == "added":
        points, *rest = words
        session = made_by(_id(" ".join(["selection of 5 for added", points, *rest])))
        return {"kind": "add-selection", "session_id": session, "frame_index": 3, "points": [_POINT] * int(points)}
    if what == "clip" and words[0] != "of":
        return _clip(*words)
    seconds = words[-1] if what in {"spoken", "faces"} else words[1]
    return _lasting(what, _UNTOLD_S if seconds == "None" else Decimal(seconds))


def _clip(model: str, mode: str) -> dict[str, Any]:
    made = {"prompt": PROMPT, "model_name": model, "mode": mode}
    return made | ({"kind": "image2video", "image": PICTURE} if model == "kling-v1-5" else {"kind": "text2video"})


def _lasting(what: str, length_s: Decimal) -> dict[str, Any]:
    """An item whose result, or whose source, is so long."""
    video = {"video_url": f"{VIDEO}?sandbox-seconds={length_s}"}
    letters = int(length_s / _SECONDS_PER_LETTER) + 1
    made: dict[str, dict[str, Any]] = {
        "clip": {"kind": "video-to-audio", **video},
        "spoken": {"kind": "tts", "text": "a" * letters, "voice_id": "uk_boy1", "voice_language": "en"},
        "faces": {"kind": "identify-face", **video},
        "selection": {"kind": "init-selection", **video, "credits": GIVEN_CREDITS},
    }
    return made[what]


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and "item" in value:
        yield value["item"]
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _named(inner)
