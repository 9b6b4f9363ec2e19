"""A search of the account's tasks, and the cursor that goes on with it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from batch_runner.model import TaskStatus
from batch_runner.sandbox.codes import Denied, invalid
from batch_runner.sandbox.config import DAY_S
from batch_runner.sandbox.task import SandboxTask

_USUAL_SPAN_S = 30 * DAY_S
_LEGAL: Mapping[str, frozenset[str]] = {
    "status": frozenset(TaskStatus),
    "product_type": frozenset({"video", "image", "try_on"}),
}


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for.

    Attributes:
        start_ms, end_ms: the tasks' creation, both included.
        filters: legal words by what they are about.
        before: only tasks made before this number of the account's; None from the newest on.
    """

    start_ms: int
    end_ms: int
    filters: Mapping[str, frozenset[str]] = field(default_factory=dict)
    before: int | None = None

    def fits(self, task: SandboxTask, now_s: float) -> bool:
        """Whether a task is among those looked for."""
        words = {"status": task.status_at(now_s).value, "product_type": task.pack.value}
        in_time = self.start_ms <= round(task.created_at_s * 1000) <= self.end_ms
        return in_time and all(words[key] in legal for key, legal in self.filters.items())

    def cursor(self, before: int) -> str:
        """What goes on with this search before that number."""
        filters = {key: sorted(words) for key, words in self.filters.items()}
        return write_cursor([self.start_ms, self.end_ms, filters, before])


def read_search(body: Mapping[str, Any], now_s: float) -> Search | Denied:
    """The search a request asks for; a cursor overrides everything else."""
    cursor = body.get("cursor")
    if cursor:
        return _resumed(cursor)
    end_ms = moment(body, "end_time", now_s)
    if isinstance(end_ms, Denied):
        return end_ms
    start_ms = moment(body, "start_time", now_s - _USUAL_SPAN_S)
    if isinstance(start_ms, Denied):
        return start_ms
    filters = _filters(body.get("filters") or [])
    return filters if isinstance(filters, Denied) else Search(start_ms, end_ms, filters)


def write_cursor(state: list[Any]) -> str:
    """A text that leads back to where an answer ended."""
    return base64.urlsafe_b64encode(json.dumps(state).encode()).decode()


def read_cursor(cursor: Any) -> list[Any]:
    """What ``write_cursor`` was given. Raises ValueError for any other text."""
    state = json.loads(base64.urlsafe_b64decode(str(cursor)))
    return list(state) if isinstance(state, list) else []


def moment(body: Mapping[str, Any], name: str, usual_s: float) -> int | Denied:
    """A field of milliseconds, as a number or as text: the vendor's pages have both, and both were seen to be taken."""
    value = body.get(name)
    if value in (None, ""):
        return round(usual_s * 1000)
    legal = isinstance(value, int | str) and not isinstance(value, bool) and str(value).isdecimal()
    return int(value) if legal else invalid(name, value)


def _filters(listed: Any) -> dict[str, frozenset[str]] | Denied:
    found: dict[str, frozenset[str]] = {}
    for row in listed if isinstance(listed, list) else [listed]:
        key, values = (row.get("key"), row.get("values")) if isinstance(row, dict) else (row, None)
        if not isinstance(key, str) or key not in _LEGAL or not isinstance(values, list):
            return invalid("filters", key)
        wrong = [value for value in values if not isinstance(value, str) or value not in _LEGAL[key]]
        if wrong:
            return invalid(key, wrong[0])
        found[key] = frozenset(values)
    return found


def _resumed(cursor: Any) -> Search | Denied:
    try:
        start_ms, end_ms, filters, before = read_cursor(cursor)
        words = {key: frozenset(values) for key, values in filters.items()}
        return replace(Search(int(start_ms), int(end_ms), words), before=int(before))
    except (ValueError, TypeError, AttributeError):
        return invalid("cursor", cursor)
