"""The bytes of ``results.jsonl``, ``ledger.jsonl`` and ``summary.json``. Pure and the same every time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from batch_runner.records import LedgerRecord, ResultRecord, SummaryRecord

_STEERING = [*range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
_ESCAPES = {code: f"\\u{code:04x}" for code in _STEERING}
"""Legal in JSON, but a terminal obeys the first ones and many readers of lines split at some of them."""


def inert_json(text: str) -> str:
    """The same JSON, in which no character can steer a terminal."""
    return text if text.isascii() and "\x7f" not in text else text.translate(_ESCAPES)


def _json_bytes(value: dict[str, Any], indent: int | None = None) -> bytes:
    """One JSON value and a line feed, in UTF-8; a half surrogate stays the escape it came as."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    return f"{inert_json(text)}\n".encode("utf-8", "backslashreplace")


def results_lines(results: Iterable[ResultRecord]) -> Iterator[bytes]:
    """The lines of ``results.jsonl``, each with its line feed."""
    return (_json_bytes(result.as_json()) for result in results)


def ledger_lines(entries: Iterable[LedgerRecord]) -> Iterator[bytes]:
    """The lines of ``ledger.jsonl``, each with its line feed."""
    return (_json_bytes(entry.as_json()) for entry in entries)


def summary_bytes(summary: SummaryRecord) -> bytes:
    """The whole of ``summary.json``, indented, with a line feed at its end."""
    return _json_bytes(summary.as_json(), indent=2)
