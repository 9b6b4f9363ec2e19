"""The bytes of ``results.jsonl``, ``ledger.jsonl`` and ``summary.json``. Pure and the same every time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from batch_runner.inert import inert_json
from batch_runner.records import LedgerRecord, ResultRecord, SummaryRecord


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
