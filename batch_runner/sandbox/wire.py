"""The JSON shapes of the first API generation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from batch_runner.model import TaskStatus
from batch_runner.sandbox.purses import PackState
from batch_runner.sandbox.results import EXCESS_S, Result, results
from batch_runner.sandbox.task import SandboxTask

LinkOf = Callable[[str, str], str]
"""A fresh signed address of a finished task's file, from the task's id and the file's name."""

_WORDS = {
    TaskStatus.SUBMITTED: "submitted",
    TaskStatus.PROCESSING: "processing",
    TaskStatus.SUCCEEDED: "succeed",
    TaskStatus.FAILED: "failed",
}
_LISTS = {
    "video": "videos",
    "image": "images",
    "audio": "audios",
    "element": "elements",
    "voice": "voices",
    "shot": "images",
    "mask": "images",
}
_SAYS_NO_EXTERNAL_ID = frozenset({"advanced-lip-sync"})
_SAYS_NO_INFO_AT_FIRST = frozenset({"virtual-try-on"})
_SAYS_NO_LENGTH = frozenset({"effects"})
_OWN = "own"


def created(task: SandboxTask, now_s: float) -> dict[str, Any]:
    """The data of an accepted create."""
    data = _common(task, now_s)
    if task.kind in _SAYS_NO_INFO_AT_FIRST:
        del data["task_info"]
    return data


def queried(task: SandboxTask, now_s: float, link_of: LinkOf) -> dict[str, Any]:
    """The data of a query, and each entry of a list."""
    status = task.status_at(now_s)
    data = _common(task, now_s, link_of) | {
        "task_status_msg": task.failure if status is TaskStatus.FAILED else "",
        "watermark_info": {"enabled": task.watermark},
    }
    if status is TaskStatus.SUCCEEDED:
        data["task_result"] = _result(task, link_of)
    if status.is_terminal:
        data["final_unit_deduction"] = plain(task.charged_at(now_s))
    return data


def packs(states: Iterable[PackState]) -> dict[str, Any]:
    """The data of the account page, an envelope of its own."""
    return {"code": 0, "msg": "SUCCEED", "resource_pack_subscribe_infos": [_pack(state) for state in states]}


def _common(task: SandboxTask, now_s: float, link_of: LinkOf | None = None) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "task_status": _WORDS[task.status_at(now_s)],
        "task_info": _info(task, link_of),
        "created_at": milliseconds(task.created_at_s),
        "updated_at": milliseconds(task.updated_at_s(now_s)),
    }


def _info(task: SandboxTask, link_of: LinkOf | None) -> dict[str, Any]:
    info: dict[str, Any] = {}
    if task.external_task_id is not None and task.kind not in _SAYS_NO_EXTERNAL_ID:
        info["external_task_id"] = task.external_task_id
    parent = task.facts.get("parent")
    if parent is not None and link_of is not None:
        url = link_of(parent["task_id"], f"{parent['id']}.mp4")
        info["parent_video"] = {"id": parent["id"], "url": url, "duration": seconds(parent["length_s"] + EXCESS_S)}
    return info


def _result(task: SandboxTask, link_of: LinkOf) -> dict[str, Any]:
    listed: dict[str, Any] = {}
    for result in results(task):
        name = "series_images" if result.facts.get("is_series") else _LISTS[result.kind]
        listed.setdefault(name, []).append(_ROWS[result.kind](task, result, link_of))
    if task.kind == "omni-image":
        listed["result_type"] = "series" if task.facts.get("series") else "single"
    return listed


def links(task: SandboxTask, result: Result, link_of: LinkOf) -> dict[str, str]:
    """The addresses of a result's files, by what they are."""
    return {name: link_of(task.task_id, file.name) for name, file in result.files.items()}


def _video(task: SandboxTask, result: Result, link_of: LinkOf) -> dict[str, Any]:
    row: dict[str, Any] = {"id": result.result_id, **links(task, result, link_of), **result.facts}
    if task.kind not in _SAYS_NO_LENGTH:
        row["duration"] = seconds(result.files["url"].length_s)
    return row


def _image(task: SandboxTask, result: Result, link_of: LinkOf) -> dict[str, Any]:
    return {"index": result.facts["index"], **links(task, result, link_of)}


def _audio(task: SandboxTask, result: Result, link_of: LinkOf) -> dict[str, Any]:
    lengths = {name.replace("url", "duration"): seconds(file.length_s) for name, file in result.files.items()}
    return {"id": result.result_id, **links(task, result, link_of), **lengths}


def _element(task: SandboxTask, result: Result, link_of: LinkOf) -> dict[str, Any]:
    del task, link_of
    return element(result.result_id, result.facts)


def element(element_id: str, facts: Mapping[str, Any], owner: str = _OWN) -> dict[str, Any]:
    """An element as lists and results tell it."""
    voice_id = facts.get("element_voice_id")
    told = {
        name: facts[name]
        for name in ("element_name", "element_description", "reference_type", "tag_list")
        if name in facts
    }
    voice = {"element_voice_info": {"voice_id": str(voice_id)}} if voice_id else {}
    return {"element_id": int(element_id), **told, **voice, "owned_by": owner, "status": _standing(facts)}


def _standing(facts: Mapping[str, Any]) -> str:
    return "deleted" if facts.get("is_deleted") else "succeed"


def _voice(task: SandboxTask, result: Result, link_of: LinkOf) -> dict[str, Any]:
    return voice(result.result_id, result.facts, links(task, result, link_of))


def voice(voice_id: str, facts: Mapping[str, Any], urls: Mapping[str, str], owner: str = _OWN) -> dict[str, Any]:
    """A voice as lists and results tell it."""
    told = {"voice_id": voice_id, "voice_name": facts["voice_name"], **urls, "owned_by": owner}
    return told | {"status": _standing(facts)}


def _facts_and_links(task: SandboxTask, result: Result, link_of: LinkOf) -> dict[str, Any]:
    return {**result.facts, **links(task, result, link_of)}


_ROWS: Mapping[str, Callable[[SandboxTask, Result, LinkOf], dict[str, Any]]] = {
    "video": _video,
    "image": _image,
    "audio": _audio,
    "element": _element,
    "voice": _voice,
    "shot": _facts_and_links,
    "mask": _facts_and_links,
}


def _pack(state: PackState) -> dict[str, Any]:
    return {
        "resource_pack_name": state.name,
        "resource_pack_id": state.pack_id,
        "resource_pack_type": "decreasing_total",
        "total_quantity": number(state.total_credits),
        "remaining_quantity": number(state.remaining_credits),
        "purchase_time": milliseconds(state.purchased_at_s),
        "effective_time": milliseconds(state.purchased_at_s),
        "invalid_time": milliseconds(state.invalid_at_s),
        "status": state.status,
    }


def milliseconds(at_s: float) -> int:
    """A moment as the API tells it."""
    return round(at_s * 1000)


def seconds(length_s: float) -> str:
    """A length as the API tells it: ``5.041``, ``12.27``."""
    return f"{length_s:.3f}".rstrip("0").rstrip(".")


def plain(credits_charged: Decimal) -> str:
    """An amount as text, without an exponent."""
    return f"{credits_charged.normalize():f}"


def number(amount: Decimal) -> int | float:
    """A JSON number; a float's shortest text has the same digits as the decimal it came from."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)
