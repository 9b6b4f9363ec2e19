"""The JSON shapes of the second API generation, in which tasks of both generations are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batch_runner.model import Pack, TaskStatus
from batch_runner.sandbox.results import Result, results
from batch_runner.sandbox.task import SandboxTask
from batch_runner.sandbox.wire import LinkOf, links, milliseconds, plain, seconds

_WORDS = {status: status.value for status in TaskStatus}
_ELEMENT_TYPES = {"video_refer": "video_character_elements", "image_refer": "multi_image_elements"}
_PACKAGES = {Pack.VIDEO: "video", Pack.IMAGE: "image", Pack.TRY_ON: "try_on"}


def created(task: SandboxTask, now_s: float) -> dict[str, Any]:
    """The data of an accepted create."""
    return {
        "id": task.task_id,
        "status": _WORDS[task.status_at(now_s)],
        "create_time": milliseconds(task.created_at_s),
        "update_time": milliseconds(task.updated_at_s(now_s)),
        "external_id": task.external_task_id or "",
    }


def told(task: SandboxTask, now_s: float, link_of: LinkOf) -> dict[str, Any]:
    """A task of either generation."""
    status = task.status_at(now_s)
    has_ended_well = status is TaskStatus.SUCCEEDED
    outputs = [row for result in results(task) for row in _rows(task, result, link_of)] if has_ended_well else []
    return created(task, now_s) | {
        "message": task.failure if status is TaskStatus.FAILED else "",
        "outputs": outputs,
        "billing": _billing(task, status),
    }


def _billing(task: SandboxTask, status: TaskStatus) -> list[dict[str, str]]:
    """What the task took from a pack; a free one that ended well took nothing, and says so."""
    if status is TaskStatus.SUCCEEDED or (status is TaskStatus.FAILED and task.failure_charged):
        return [{"charge_type": "unit", "amount": plain(task.credits), "package_type": _PACKAGES[task.pack]}]
    return []


def _rows(task: SandboxTask, result: Result, link_of: LinkOf) -> list[dict[str, Any]]:
    return _OUTPUTS[result.kind](result, links(task, result, link_of))


def _video(result: Result, urls: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"type": "video", "id": result.result_id, **urls, "duration": seconds(result.files["url"].length_s)}]


def _image(_: Result, urls: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"type": "image", **urls}]


def _shot(result: Result, urls: Mapping[str, str]) -> list[dict[str, Any]]:
    group_id = str(result.facts["index"])
    return [{"type": "image", "url": url, "group_id": group_id} for url in urls.values()]


def _audio(result: Result, urls: Mapping[str, str]) -> list[dict[str, Any]]:
    row = {"type": "audio", "id": result.result_id}
    for form in ("mp3", "wav"):
        row |= {
            f"{form}_url": urls[f"url_{form}"],
            f"{form}_duration": seconds(result.files[f"url_{form}"].length_s),
        }
    return [row]


def _element(result: Result, _: Mapping[str, str]) -> list[dict[str, Any]]:
    facts = result.facts
    return [
        {
            "type": "element",
            "element_id": int(result.result_id),
            "element_name": facts["element_name"],
            "element_description": facts["element_description"],
            "element_type": _ELEMENT_TYPES[facts["reference_type"]],
            "materials": [],
            "status": _standing(facts),
        }
    ]


def _voice(result: Result, urls: Mapping[str, str]) -> list[dict[str, Any]]:
    facts = result.facts
    row = {"type": "voice", "voice_id": result.result_id, "voice_name": facts["voice_name"], **urls}
    return [row | {"status": _standing(facts)}]


def _standing(facts: Mapping[str, Any]) -> str:
    return "deleted" if facts.get("is_deleted") else "succeeded"


_OUTPUTS: Mapping[str, Callable[[Result, Mapping[str, str]], list[dict[str, Any]]]] = {
    "video": _video,
    "image": _image,
    "shot": _shot,
    "audio": _audio,
    "element": _element,
    "voice": _voice,
}
