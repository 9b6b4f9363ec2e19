"""The second API generation's forms: nested bodies out, tasks of ``/tasks`` in (kling-api 0, 3.20). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from batch_runner.kling import results_v2
from batch_runner.kling.cleaning import clean_text
from batch_runner.kling.envelope import MalformedAnswer, id_at, list_at, quantity
from batch_runner.kling.wire_v1 import escaped, status_at
from batch_runner.model import Route, Task, TaskStatus

MOST_IDS = 20
"""So many ids one request may name; one more is refused whole (kling-api 3.20)."""
_LONGEST_CURSOR = 8192
_MODEL_FIELD = "model_name"
_CONTENTS = "contents:"
_ROW_TYPES = MappingProxyType({"end_frame": "last_frame", "feature": "feature_video", "base": "base_video"})
"""First generation's words for a row's part where the second has another."""
_ROW_VALUES = MappingProxyType(
    {
        "image_url": "url",
        "image": "url",
        "video_url": "url",
        "url": "url",
        "element_id": "element_id",
        "voice_id": "voice_id",
    }
)
"""What a row of a list is about, and the content item's word for it."""
_ROW_WORDS = frozenset({"id", "type", "refer_type"})
_REFERENCE = re.compile(r"<<<(\w+?_\d{1,3})>>>")


def create_request(route: Route, body: Mapping[str, Any], ours: Mapping[str, str]) -> bytes:
    """The JSON body of a create.

    Args:
        route: says where each field goes; the model stands in its path.
        body: the item's fields in canonical form, flat.
        ours: ``external_task_id`` and ``callback_url`` as far as they are sent; they win over the item's.

    Raises:
        ValueError: the catalogue gives a field no place. Left out it could cost money: unknown fields are ignored.
    """
    placed: dict[str, Any] = {}
    names = _reference_names(body)
    for name, value in _in_order(route, body):
        place, wire_value = route.places[name], _wire_value(name, value, names)
        if place.startswith(_CONTENTS):
            placed.setdefault("contents", []).extend(_contents(name, wire_value, place.removeprefix(_CONTENTS)))
        elif place:
            placed.setdefault(place, {})[name] = wire_value
        else:
            placed[name] = wire_value
    options = {**placed.pop("options", {}), **ours}
    return json.dumps({**placed, "options": options}, ensure_ascii=False, allow_nan=False).encode()


def find_path(path: str, ids: Sequence[str], *, by_external_id: bool = False) -> str:
    """The path that asks for some tasks by one kind of id. Raises ValueError for none, too many or an empty one."""
    if not 0 < len(ids) <= MOST_IDS:
        raise ValueError(f"between 1 and {MOST_IDS} ids can be asked for at once, not {len(ids)}")
    key = "external_task_ids" if by_external_id else "task_ids"
    return f"{path}?{key}={','.join(map(escaped, ids))}"


def search_request(cursor: str | None, start_ms: int | None, end_ms: int | None, limit: int) -> bytes:
    """The JSON body of a search of the account; a cursor goes on where an earlier one ended."""
    times = {"start_time": start_ms, "end_time": end_ms} if cursor is None else {"cursor": cursor}
    return json.dumps({key: value for key, value in times.items() if value is not None} | {"limit": limit}).encode()


def parse_created(data: Any) -> Task:
    """The task of an accepted create; one that does not say where it stands is submitted."""
    return parse_task({"status": "submitted", **data} if isinstance(data, dict) else data)


def parse_task(data: Any) -> Task:
    """A task from an object of the second generation's form.

    Raises:
        MalformedAnswer: the object is not a task as documented.
    """
    if not isinstance(data, dict):
        raise MalformedAnswer("a task is not an object")
    task_id = id_at(data, "id")
    if task_id is None:
        raise MalformedAnswer("id is missing")
    status = status_at(data, "status")
    outputs = _outputs(data) if status is TaskStatus.SUCCEEDED else []
    message = data.get("message")
    return Task(
        task_id=task_id,
        external_task_id=id_at(data, "external_id"),
        status=status,
        message=clean_text(message) if status is TaskStatus.FAILED and isinstance(message, str) else "",
        assets=results_v2.assets(outputs),
        charged=_charged(data),
        made=results_v2.ids(outputs),
    )


def parse_search(data: Any) -> tuple[list[Any], str | None]:
    """The rows of a search and the cursor of the next ones, None after the last. Raises MalformedAnswer."""
    if not isinstance(data, dict):
        raise MalformedAnswer("data is not an object")
    return list_at(data, "result"), next_cursor_of(data)


def next_cursor_of(data: dict[str, Any]) -> str | None:
    """Where the next rows begin, None after the last. Raises MalformedAnswer if there are more and it does not say."""
    if not data.get("has_more"):
        return None
    cursor = data.get("next_cursor")
    if not isinstance(cursor, str) or not 0 < len(cursor) <= _LONGEST_CURSOR:
        raise MalformedAnswer("next_cursor is missing, though there is more")
    return cursor


def _outputs(data: dict[str, Any]) -> list[Any]:
    """None if they are illegible: the task was paid for all the same, and the caller has to tell."""
    try:
        return list_at(data, "outputs")
    except MalformedAnswer:
        return []


def _charged(data: dict[str, Any]) -> Decimal | None:
    """Units taken from packs; amounts in cash are another currency (kling-api 9, item 17)."""
    billing = data.get("billing")
    rows = [row for row in billing if isinstance(row, dict)] if isinstance(billing, list) else []
    amounts = [quantity(row.get("amount")) for row in rows if row.get("charge_type") == "unit"]
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if known and len(known) == len(amounts) else None


def _in_order(route: Route, body: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The fields that are sent, as the route orders them."""
    homeless = [name for name in body if name not in route.places and name != _MODEL_FIELD]
    if homeless:
        raise ValueError(f"the catalogue names no place for {', '.join(homeless)} in a body for {route.create_path}")
    return [(name, body[name]) for name in route.places if name in body and name != _MODEL_FIELD]


def _wire_value(name: str, value: Any, names: Mapping[str, str]) -> Any:
    if name == "duration":
        return int(value)
    if name == "prompt" and isinstance(value, str):
        return _REFERENCE.sub(lambda found: f"@{names[found[1]]}" if found[1] in names else found[0], value)
    return value


def _contents(name: str, value: Any, content_type: str) -> Iterator[dict[str, Any]]:
    if not isinstance(value, list):
        yield {"type": content_type, "text" if content_type == "prompt" else "url": value}
        return
    for number, row in enumerate(value, 1):
        yield _row_item(row, content_type, _row_id(name, number, row))


def _row_item(row: Mapping[str, Any], content_type: str, row_id: str) -> dict[str, Any]:
    keys = [key for key in _ROW_VALUES if key in row]
    if len(keys) != 1 or set(row) - set(keys) - _ROW_WORDS:
        raise ValueError(f"a row of contents cannot be sent with these words: {', '.join(sorted(row))}")
    word = row.get("type") or row.get("refer_type") or content_type
    return {"type": _ROW_TYPES.get(word, word), _ROW_VALUES[keys[0]]: row[keys[0]], "id": row_id}


def _row_id(name: str, number: int, row: Mapping[str, Any]) -> str:
    """How a prompt may mention the row: by its own id, else as the first generation counts it (``image_1``)."""
    return str(row.get("id") or f"{name.removesuffix('_list')}_{number}")


def _reference_names(body: Mapping[str, Any]) -> dict[str, str]:
    """The first generation's names of rows, which a prompt may use here as well, and the ids they are sent with."""
    lists = [(name, value) for name, value in body.items() if name.endswith("_list") and isinstance(value, list)]
    return {
        f"{name.removesuffix('_list')}_{number}": _row_id(name, number, row)
        for name, value in lists
        for number, row in enumerate(value, 1)
        if isinstance(row, dict)
    }
