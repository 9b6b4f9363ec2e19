"""The JSON shapes of calls that are answered with their result, and of what every account comes with."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image, ImageDraw

from batch_runner.sandbox import wire
from batch_runner.sandbox.clips import FRAME_RATE, SIZES
from batch_runner.sandbox.products.listed import PRESET_ELEMENTS, PRESET_VOICES
from batch_runner.sandbox.results import results
from batch_runner.sandbox.task import SandboxTask
from batch_runner.sandbox.wire import LinkOf

_VENDOR = "kling"
_MASK_SIZE = (64, 36)
_MASK_RADIUS = 4


def answered(task: SandboxTask, now_s: float, link_of: LinkOf) -> dict[str, Any]:
    """The data of a call's answer."""
    shape = _SHAPES.get(task.kind)
    if shape is not None:
        return shape(task, link_of)
    data = wire.queried(task, now_s, link_of)
    del data["task_info"], data["watermark_info"]
    return data


def _faces(task: SandboxTask, link_of: LinkOf) -> dict[str, Any]:
    faces = [
        {"face_id": result.result_id, **wire.links(task, result, link_of), **result.facts} for result in results(task)
    ]
    deduction = {"final_unit_deduction": wire.plain(task.credits)}
    return {"session_id": task.made_id("session"), "face_data": faces, **deduction}


def _opened(task: SandboxTask, link_of: LinkOf) -> dict[str, Any]:
    status = task.facts["status"]
    if status:
        return {"status": status, "session_id": ""}
    width, height = SIZES[task.aspect]
    [opening] = results(task)
    return {
        "status": status,
        "session_id": task.made_id("session"),
        "fps": FRAME_RATE,
        "original_duration": round(task.length_s * 1000),
        "width": width,
        "height": height,
        "total_frame": round(task.length_s * FRAME_RATE),
        **wire.links(task, opening, link_of),
        "final_unit_deduction": wire.plain(task.credits),
    }


def _marked(task: SandboxTask, _: LinkOf) -> dict[str, Any]:
    frame = task.facts["frame"]
    data = {"status": task.facts["status"], "session_id": task.facts["session_id"]}
    if not frame:
        return data
    points = task.facts["marked"].get(frame, [])
    masks = [_mask(number, across, down) for number, (across, down) in enumerate(points)]
    return data | {"res": {"frame_index": int(frame), "rle_mask_list": masks}}


def _mask(object_id: int, across: float, down: float) -> dict[str, Any]:
    """A disc around the point, as a picture and as the lengths of its runs, empty ones first, column by column."""
    width, height = _MASK_SIZE
    mask = Image.new("1", _MASK_SIZE)
    centre = (round(across * (width - 1)), round(down * (height - 1)))
    ImageDraw.Draw(mask).circle(centre, _MASK_RADIUS, fill=1)
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    png = {"size": [height, width], "base64": base64.b64encode(buffer.getvalue()).decode()}
    runs = " ".join(map(str, _runs(mask)))
    return {"object_id": object_id, "rle_mask": {"size": [height, width], "counts": runs}, "png_mask": png}


def _runs(mask: Image.Image) -> list[int]:
    bits = [bool(mask.getpixel((x, y))) for x in range(mask.width) for y in range(mask.height)]
    runs, current = [0], False
    for bit in bits:
        if bit is not current:
            runs.append(0)
            current = bit
        runs[-1] += 1
    return runs


def _previewed(task: SandboxTask, link_of: LinkOf) -> dict[str, Any]:
    data = {"status": task.facts["status"], "session_id": task.facts["session_id"]}
    for result in results(task):
        data["res"] = wire.links(task, result, link_of)
    return data


def _deleted(task: SandboxTask, _: LinkOf) -> dict[str, Any]:
    kind, made_id = task.facts["deleted"]
    return {f"{kind}_id": made_id, "status": "deleted"}


_SHAPES: Mapping[str, Callable[[SandboxTask, LinkOf], dict[str, Any]]] = {
    "identify-face": _faces,
    "init-selection": _opened,
    "add-selection": _marked,
    "delete-selection": _marked,
    "clear-selection": _marked,
    "preview-selection": _previewed,
    "delete-advanced-elements": _deleted,
    "delete-elements": _deleted,
    "delete-voices": _deleted,
}


def preset_elements() -> list[dict[str, Any]]:
    """The elements of every account, each in a task of its own, as lists of elements have them."""
    rows = ((key, wire.element(key, facts, _VENDOR)) for key, facts in PRESET_ELEMENTS.items())
    return [_preset(key, {"elements": [row]}) for key, row in rows]


def preset_voices() -> list[dict[str, Any]]:
    """The voices of every account, each in a task of its own, as lists of voices have them."""
    rows = ((key, wire.voice(key, facts, {}, _VENDOR)) for key, facts in PRESET_VOICES.items())
    return [_preset(key, {"voices": [row]}) for key, row in rows]


def _preset(task_id: str, result: dict[str, Any]) -> dict[str, Any]:
    return {"task_id": task_id, "task_status": "succeed", "task_status_msg": "", "task_result": result}
