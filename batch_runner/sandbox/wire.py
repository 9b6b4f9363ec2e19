"""The JSON shapes of the first API generation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from batch_runner.model import TaskStatus
from batch_runner.sandbox.task import SandboxTask
from batch_runner.sandbox.world import PackState

LinkOf = Callable[[SandboxTask], str]
"""A fresh signed address of a finished task's file."""

_WORDS = {
    TaskStatus.SUBMITTED: "submitted",
    TaskStatus.PROCESSING: "processing",
    TaskStatus.SUCCEEDED: "succeed",
    TaskStatus.FAILED: "failed",
}


def created(task: SandboxTask, now_s: float) -> dict[str, Any]:
    """The data of an accepted create."""
    return _common(task, now_s)


def queried(task: SandboxTask, now_s: float, link_of: LinkOf) -> dict[str, Any]:
    """The data of a query, and each entry of a list."""
    status = task.status_at(now_s)
    data = _common(task, now_s) | {
        "task_status_msg": task.failure if status is TaskStatus.FAILED else "",
        "watermark_info": {"enabled": task.watermark},
    }
    if status is TaskStatus.SUCCEEDED:
        data["task_result"] = {"videos": [_video(task, link_of)]}
    if status.is_terminal:
        data["final_unit_deduction"] = _plain(task.charged_at(now_s))
    return data


def packs(states: Iterable[PackState]) -> dict[str, Any]:
    """The data of the account page, an envelope of its own."""
    return {"code": 0, "msg": "SUCCEED", "resource_pack_subscribe_infos": [_pack(state) for state in states]}


def _common(task: SandboxTask, now_s: float) -> dict[str, Any]:
    external = {} if task.external_task_id is None else {"external_task_id": task.external_task_id}
    return {
        "task_id": task.task_id,
        "task_status": _WORDS[task.status_at(now_s)],
        "task_info": external,
        "created_at": _milliseconds(task.created_at_s),
        "updated_at": _milliseconds(task.updated_at_s(now_s)),
    }


def _video(task: SandboxTask, link_of: LinkOf) -> dict[str, str]:
    # Recorded lengths exceed the ordered ones by 41 ms.
    return {"id": task.video_id, "url": link_of(task), "duration": f"{task.length_s}.041"}


def _pack(state: PackState) -> dict[str, Any]:
    return {
        "resource_pack_name": state.name,
        "resource_pack_id": state.pack_id,
        "resource_pack_type": "decreasing_total",
        "total_quantity": _number(state.total_credits),
        "remaining_quantity": _number(state.remaining_credits),
        "purchase_time": _milliseconds(state.purchased_at_s),
        "effective_time": _milliseconds(state.purchased_at_s),
        "invalid_time": _milliseconds(state.invalid_at_s),
        "status": state.status,
    }


def _milliseconds(at_s: float) -> int:
    return round(at_s * 1000)


def _plain(credits_charged: Decimal) -> str:
    return f"{credits_charged.normalize():f}"


def _number(amount: Decimal) -> int | float:
    """A JSON number; a float's shortest text has the same digits as the decimal it came from."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)
