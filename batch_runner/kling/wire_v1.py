"""The first API generation's forms: bodies and paths out, tasks in (kling-api 3.0, 4.1 to 4.4). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from batch_runner.kling import results_v1
from batch_runner.kling.cleaning import clean_text
from batch_runner.kling.envelope import MalformedAnswer, id_at, object_at, quantity
from batch_runner.model import Task, TaskStatus

STATUS: Mapping[str, TaskStatus] = {
    "submitted": TaskStatus.SUBMITTED,
    "processing": TaskStatus.PROCESSING,
    "succeed": TaskStatus.SUCCEEDED,
    "succeeded": TaskStatus.SUCCEEDED,
    "failed": TaskStatus.FAILED,
}
"""Both generations' words: a loop that waits for the other one's would never end (kling-api 9, item 2)."""

_NUMBER = re.compile(r"-?[0-9]{1,9}")


def create_request(body: Mapping[str, Any], ours: Mapping[str, str]) -> bytes:
    """The JSON body of a create, flat.

    Args:
        body: the item's fields in canonical form.
        ours: ``external_task_id`` and ``callback_url`` as far as they are sent; they win over the item's.
    """
    return json.dumps({**body, **ours}, ensure_ascii=False, allow_nan=False).encode()


def escaped(text: str) -> str:
    """An id as one segment of a path or one value of a query. Raises ValueError for an empty one."""
    if not text:
        raise ValueError("an id to ask for must not be empty")
    segment = quote(text, safe="")
    # A segment of dots is the one text that survives escaping and still means another path.
    return segment.replace(".", "%2E") if not segment.strip(".") else segment


def find_path(path: str, task_or_external_id: str) -> str:
    """The path that asks for one task. Raises ValueError for an empty id, which would ask for a list."""
    return f"{path}/{escaped(task_or_external_id)}"


def page_path(path: str, page_num: int, page_size: int) -> str:
    """The path that asks for one page of a product's tasks; pages count from 1."""
    return f"{path}?pageNum={page_num}&pageSize={page_size}"


def parse_created(data: Any) -> Task:
    """The task of an accepted create; one that does not say where it stands is submitted."""
    return parse_task({"task_status": "submitted", **data} if isinstance(data, dict) else data)


def parse_task(data: Any, result_key: str = "videos") -> Task:
    """A task from a ``data`` object.

    Args:
        data: the decoded JSON.
        result_key: the list in ``task_result`` that holds this product's files.

    Raises:
        MalformedAnswer: the object is not a task as documented.
    """
    if not isinstance(data, dict):
        raise MalformedAnswer("data is not an object")
    task_id = id_at(data, "task_id")
    if task_id is None:
        raise MalformedAnswer("task_id is missing")
    external_task_id = id_at(object_at(data, "task_info"), "external_task_id")
    return _task(data, result_key, task_id, external_task_id, status_at(data, "task_status"))


def parse_result(data: Any, result_key: str, fallback_id: str) -> Task:
    """What a product that is answered at once made (kling-api 3.6, 3.8, 3.12, 3.19).

    Args:
        data: the decoded JSON, in which the result stands where the product puts it.
        result_key: see ``parse_task``.
        fallback_id: the task's id where the answer gives it none.

    Raises:
        MalformedAnswer: there is no result, or it is still to come, which nobody can ask for.
    """
    if not isinstance(data, dict):
        raise MalformedAnswer("data is not an object")
    status = status_at({"task_status": "succeed", **data}, "task_status")
    if not status.is_terminal:
        raise MalformedAnswer("task_status says that the result is still to come")
    task = _task(data, result_key, id_at(data, "task_id") or fallback_id, None, status)
    if not _is_good(data.get("status")):
        message = task.message or f"the service could not do it (status {clean_text(str(data['status']))})"
        return Task(task.task_id, None, TaskStatus.FAILED, message, charged=task.charged)
    if status is TaskStatus.SUCCEEDED and not task.assets:
        raise MalformedAnswer("there is no result in it")
    return task


def status_at(data: dict[str, Any], key: str) -> TaskStatus:
    """Where a task stands. Raises MalformedAnswer if it does not say."""
    word = data.get(key)
    if not isinstance(word, str):
        raise MalformedAnswer(f"{key} is missing or not a word")
    # A word we do not know cannot be taken for an end: the task would be dropped while it may still cost.
    return STATUS.get(word.strip().lower(), TaskStatus.PROCESSING)


def _task(
    data: dict[str, Any], result_key: str, task_id: str, external_task_id: str | None, status: TaskStatus
) -> Task:
    has_result = status is TaskStatus.SUCCEEDED
    return Task(
        task_id=task_id,
        external_task_id=external_task_id,
        status=status,
        message=_message(data) if status is TaskStatus.FAILED else "",
        assets=results_v1.assets(data, result_key) if has_result else (),
        charged=quantity(data.get("final_unit_deduction")),
        made=results_v1.ids(data) if has_result else {},
    )


def _message(data: dict[str, Any]) -> str:
    message = data.get("task_status_msg")
    return clean_text(message) if isinstance(message, str) else ""


def _is_good(status: Any) -> bool:
    """Whether a selection call's own ``status``, where it has one, is 0: another number is a refusal (3.6)."""
    text = str(status).strip() if isinstance(status, int | str) else ""
    return _NUMBER.fullmatch(text) is None or int(text) == 0
