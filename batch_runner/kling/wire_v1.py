"""The first API generation's forms: bodies and paths out, tasks in (kling-api 3.0, 4.1 to 4.4). Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from batch_runner.kling.cleaning import clean_text
from batch_runner.kling.envelope import MalformedAnswer, id_at, list_at, object_at, quantity
from batch_runner.model import Asset, Task, TaskStatus

_STATUS = {
    "submitted": TaskStatus.SUBMITTED,
    "processing": TaskStatus.PROCESSING,
    "succeed": TaskStatus.SUCCEEDED,
    "succeeded": TaskStatus.SUCCEEDED,
    "failed": TaskStatus.FAILED,
}
_SUFFIXES = frozenset(
    {".mp4", ".mov", ".webm", ".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp3", ".wav", ".m4a", ".aac"}
)
_DEFAULT_SUFFIX = {"videos": ".mp4", "audios": ".mp3"}
_LONGEST_URL = 8192


def create_request(body: Mapping[str, Any], external_task_id: str) -> bytes:
    """The JSON body of a create, with our own id in it."""
    return json.dumps({**body, "external_task_id": external_task_id}, ensure_ascii=False, allow_nan=False).encode()


def find_path(path: str, task_or_external_id: str) -> str:
    """The path that asks for one task. Raises ValueError for an empty id, which would ask for a list."""
    if not task_or_external_id:
        raise ValueError("an id to ask for must not be empty")
    escaped = quote(task_or_external_id, safe="")
    # A segment of dots is the one text that survives escaping and still means another path.
    return f"{path}/{escaped.replace('.', '%2E') if not escaped.strip('.') else escaped}"


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
    status = _status(data)
    return Task(
        task_id=_task_id(data),
        external_task_id=id_at(object_at(data, "task_info"), "external_task_id"),
        status=status,
        message=_message(data) if status is TaskStatus.FAILED else "",
        assets=_assets(data, result_key) if status is TaskStatus.SUCCEEDED else (),
        charged=quantity(data.get("final_unit_deduction")),
    )


def _task_id(data: dict[str, Any]) -> str:
    task_id = id_at(data, "task_id")
    if task_id is None:
        raise MalformedAnswer("task_id is missing")
    return task_id


def _status(data: dict[str, Any]) -> TaskStatus:
    word = data.get("task_status")
    if not isinstance(word, str):
        raise MalformedAnswer("task_status is missing or not a word")
    # A word we do not know cannot be taken for an end: the task would be dropped while it may still cost.
    return _STATUS.get(word.strip().lower(), TaskStatus.PROCESSING)


def _message(data: dict[str, Any]) -> str:
    message = data.get("task_status_msg")
    return clean_text(message) if isinstance(message, str) else ""


def _assets(data: dict[str, Any], result_key: str) -> tuple[Asset, ...]:
    """The files of a succeeded task; none if it names none legibly, for the caller has to tell that it was paid."""
    try:
        rows = list_at(object_at(data, "task_result"), result_key)
    except MalformedAnswer:
        return ()
    return tuple(asset for row in rows for asset in _row_assets(row, result_key))


def _row_assets(row: Any, result_key: str) -> list[Asset]:
    """One file, or several forms of it (``url_mp3`` and ``url_wav``); a watermarked copy is not asked for."""
    if not isinstance(row, dict):
        row = {}
    keys = sorted(key for key in row if key.startswith("url_") and row[key])
    if row.get("url") or not keys:
        keys = ["url"]
    default = _DEFAULT_SUFFIX.get(result_key, ".png")
    return [_asset(row.get(key), quantity(_duration(row, key)), default) for key in keys]


def _duration(row: dict[str, Any], url_key: str) -> Any:
    return row.get(url_key.replace("url", "duration", 1))


def _asset(url: Any, duration_s: Any, default_suffix: str) -> Asset:
    """A file of the task. One without a usable link counts too: the task was paid, and its end must be told."""
    path = _path_of(url)
    if path is None:
        return Asset(url="", suffix=default_suffix, duration_s=duration_s)
    suffix = PurePosixPath(path).suffix.lower()
    return Asset(url=url, suffix=suffix if suffix in _SUFFIXES else default_suffix, duration_s=duration_s)


def _path_of(url: Any) -> str | None:
    """The path of an http address, None for what is none."""
    if not isinstance(url, str) or len(url) > _LONGEST_URL or not url.isprintable():
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.path if parts.scheme in {"http", "https"} and parts.netloc else None
