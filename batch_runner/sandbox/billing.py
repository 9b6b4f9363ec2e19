"""The account's pages of deductions: what each task took, from which pack, and what was left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batch_runner.model import Pack
from batch_runner.sandbox.codes import MISSING_PARAMETER, Denied, invalid
from batch_runner.sandbox.purses import Deduction
from batch_runner.sandbox.search import moment, read_cursor, write_cursor
from batch_runner.sandbox.task import SandboxTask
from batch_runner.sandbox.wire import milliseconds, number

KEY_NAME = "sandbox"
"""The name of the account's only key pair and API key."""
_USUAL_LIMIT, _LARGEST_LIMIT = 100, 500
_PRODUCT_TYPES = {Pack.VIDEO: "video", Pack.IMAGE: "image", Pack.TRY_ON: "try-on"}
_RESOLUTIONS = {"std": "720p", "pro": "1080p", "4k": "4k"}

_FITS: Mapping[str, Callable[[Deduction, Any], bool]] = {
    "api_key_name": lambda _, value: bool(value == KEY_NAME),
    "product_type": lambda row, value: bool(value == _PRODUCT_TYPES[row.task.pack]),
    "package_name": lambda row, value: bool(value == row.name),
    "package_id": lambda row, value: bool(value == row.pack_id),
}


@dataclass(frozen=True, slots=True)
class Statement:
    """A question for deductions.

    Attributes:
        start_ms, end_ms: when their tasks were made, both included.
        limit: the most rows of one answer.
        wanted: values by what they are about.
        first: how many fitting rows were told before.
    """

    start_ms: int
    end_ms: int
    limit: int
    wanted: Mapping[str, Sequence[Any]]
    first: int = 0

    def _fits(self, row: Deduction) -> bool:
        in_time = self.start_ms <= milliseconds(row.task.created_at_s) <= self.end_ms
        return in_time and all(any(_FITS[key](row, value) for value in values) for key, values in self.wanted.items())

    def answer(self, deductions: Sequence[Deduction]) -> dict[str, Any]:
        """One answer, oldest rows first: new ones come at the end and shift none."""
        fitting = [row for row in deductions if self._fits(row)]
        page, rest = fitting[self.first : self.first + self.limit], fitting[self.first + self.limit :]
        state = [self.start_ms, self.end_ms, {key: list(values) for key, values in self.wanted.items()}]
        return {
            "result": {"detail": [_row(row) for row in page], "count": len(page)},
            "next_cursor": write_cursor([*state, self.first + len(page)]) if rest else "",
            "has_more": bool(rest),
        }


def read_statement(body: Mapping[str, Any]) -> Statement | Denied:
    """The question a request asks; its times are needed unless a cursor goes on."""
    limit = body.get("limit", _USUAL_LIMIT)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= _LARGEST_LIMIT:
        return invalid("limit", limit)
    if body.get("cursor"):
        return _resumed(body["cursor"], limit)
    if not all(body.get(name) for name in ("start_time", "end_time")):
        return MISSING_PARAMETER
    start_ms, end_ms = moment(body, "start_time", 0), moment(body, "end_time", 0)
    if isinstance(start_ms, Denied):
        return start_ms
    if isinstance(end_ms, Denied):
        return end_ms
    wanted = _wanted(body.get("filters") or [])
    return wanted if isinstance(wanted, Denied) else Statement(start_ms, end_ms, limit, wanted)


def _wanted(listed: Any) -> dict[str, Sequence[Any]] | Denied:
    found: dict[str, Sequence[Any]] = {}
    for row in listed if isinstance(listed, list) else [listed]:
        key, values = (row.get("key"), row.get("values")) if isinstance(row, dict) else (row, None)
        if not isinstance(key, str) or key not in _FITS or not isinstance(values, list):
            return invalid("filters", key)
        found[key] = values
    both = {"package_name", "package_id"} <= set(found)
    return invalid("filters", "package_name with package_id") if both else found


def _resumed(cursor: Any, limit: int) -> Statement | Denied:
    try:
        start_ms, end_ms, wanted, first = read_cursor(cursor)
        words = {key: list(wanted[key]) for key in _FITS if key in wanted}
        is_ours = len(words) == len(wanted)
        statement = Statement(int(start_ms), int(end_ms), limit, words, int(first))
    except (ValueError, TypeError):
        return invalid("cursor", cursor)
    return statement if is_ours else invalid("cursor", cursor)


def _row(deduction: Deduction) -> dict[str, Any]:
    task = deduction.task
    return {
        "task_id": task.task_id,
        "api_key_name": KEY_NAME,
        "product_type": _PRODUCT_TYPES[task.pack],
        "product_function": task.kind,
        "model_name": task.model_name,
        "resolution": str(task.body.get("resolution") or _RESOLUTIONS.get(task.mode, "")),
        "duration": f"{task.length_s + 0.04:.2f}" if task.length_s else "",
        "refer_video_input": _has_video(task),
        "video_sound": task.sound,
        "voice_control": bool(task.body.get("voice_list")),
        "package_name": deduction.name,
        "package_id": deduction.pack_id,
        "deduction_time": milliseconds(deduction.at_s),
        "unit_before_deduction": number(deduction.before),
        "deduction_amount": number(deduction.credits),
        "unit_after_deduction": number(deduction.after),
    }


def _has_video(task: SandboxTask) -> bool:
    return any(task.body.get(name) for name in ("video_list", "video_url", "video_id"))
