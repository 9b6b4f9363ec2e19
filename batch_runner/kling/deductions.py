"""What was taken from the account, task by task (kling-api 3.21). Pure.

The vendor's page on deductions from packs (2026) has the rows under ``result.detail``, with ``product_type``,
``package_id``, ``deduction_amount``, ``unit_before_deduction`` and ``unit_after_deduction``; the times of a question
are those at which tasks were made. Amounts are recognised by the words in their names, and rows that stand in
``result`` itself are taken as well, for the page on the balance names its amounts otherwise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from batch_runner.kling.cleaning import clean_text
from batch_runner.kling.envelope import MalformedAnswer, id_at, list_at, quantity
from batch_runner.kling.packs import seconds
from batch_runner.kling.wire_v2 import next_cursor_of
from batch_runner.model import Pack

PACKAGE_PATH = "/account/billing/package"
BALANCE_PATH = "/account/billing/balance"
_ROWS = "result"
_PACKS = {"video": Pack.VIDEO, "image": Pack.IMAGE, "try-on": Pack.TRY_ON}


@dataclass(frozen=True, slots=True)
class Deduction:
    """One deduction, from a pack in credits or from the balance in money.

    Attributes:
        task_id: the task that was paid for.
        deducted_at_s: wall time in seconds since 1970, or None if not said.
        function: the product, in the vendor's words.
        model: the model's name, or an empty text.
        amount: what was taken, or None if the row does not let one tell.
        left: what was left afterwards, or None.
        pack: the currency it was taken in, or None if not said.
    """

    task_id: str
    deducted_at_s: float | None
    function: str
    model: str
    amount: Decimal | None
    left: Decimal | None
    pack: Pack | None = None


def deductions_request(cursor: str | None, start_ms: int | None, end_ms: int | None, limit: int) -> bytes:
    """The JSON body of the question; the times are needed unless a cursor goes on where an answer ended.

    Raises:
        ValueError: neither is given.
    """
    if cursor is None and (start_ms is None or end_ms is None):
        raise ValueError("deductions are asked for between two moments, or from a cursor on")
    body = {"start_time": start_ms, "end_time": end_ms} if cursor is None else {"cursor": cursor}
    return json.dumps({**body, "limit": limit}).encode()


def parse_deductions(data: Any) -> tuple[list[Deduction], str | None]:
    """The deductions of one answer and the cursor of the next ones, None after the last. Raises MalformedAnswer."""
    if not isinstance(data, dict) or _ROWS not in data:
        raise MalformedAnswer("there is no list of deductions")
    result = data[_ROWS]
    rows = list_at(result, "detail") if isinstance(result, dict) and "detail" in result else list_at(data, _ROWS)
    return [_deduction(row) for row in rows], next_cursor_of(data)


def _deduction(row: Any) -> Deduction:
    task_id = id_at(row, "task_id") if isinstance(row, dict) else None
    if task_id is None:
        raise MalformedAnswer("a deduction names no task")
    before, left = _amount(row, "before"), _amount(row, "after")
    taken = _amount(row, "deduct")
    if taken is None and before is not None and left is not None and before >= left:
        taken = before - left
    return Deduction(
        task_id=task_id,
        deducted_at_s=seconds(row.get("deduction_time")),
        function=_word(row.get("product_function")),
        model=_word(row.get("model_name")),
        amount=taken,
        left=left,
        pack=_PACKS.get(_word(row.get("product_type"))),
    )


def _amount(row: dict[str, Any], word: str) -> Decimal | None:
    """The amount whose name has a word and none of the others' nor a time's."""
    others = {"before", "after", "time"} - {word}
    names = [name for name in row if word in name and not any(other in name for other in others)]
    return quantity(row[names[0]]) if len(names) == 1 else None


def _word(value: Any) -> str:
    return clean_text(value) if isinstance(value, str) else ""
