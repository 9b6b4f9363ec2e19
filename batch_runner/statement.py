"""The statement that ``ledger`` gives: budgets, days, models, batches and special cases, as table, JSON and CSV.

One shape each, documented in docs/ledger.md. Everything that came from outside is made inert first.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from batch_runner.answer import table
from batch_runner.inert import inert
from batch_runner.model import Realm
from batch_runner.records import CaseRecord, SpentRecord, WindowRecord, credits_text

Row = dict[str, Any]

COLUMNS = (
    "section", "realm", "batch", "pack", "day", "model", "kind", "window", "case", "item", "attempt", "entry", "at",
    "tasks", "credits", "estimated", "consumed", "drift", "held", "budget", "available", "task_id", "external_task_id",
)  # fmt: skip
"""The columns of the CSV form; a section leaves those empty that it does not have."""

_FIGURES = frozenset({"attempt", "tasks", "credits", "estimated", "consumed", "drift", "held", "budget", "available"})
"""Columns that hold figures of ours; all others can hold text from outside."""

_GROUPS: Mapping[str, tuple[str, ...]] = {
    "by_day": ("realm", "day", "pack"),
    "by_model": ("realm", "model", "kind", "pack"),
    "by_batch": ("realm", "batch", "pack"),
}
_HEADINGS = {"by_day": "day (UTC)", "by_model": "model", "by_batch": "batch"}
_SHOWN_CASES = 20
_FORMULA_STARTS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
"""What makes a spreadsheet run a cell; the wide forms are taken for the plain ones by some."""

CASES: Mapping[str, str] = {
    "drift": "charged at another figure than estimated",
    "estimated": "charged at the estimate, the server stated no figure",
    "failed_charged": "failed, and charged all the same",
    "asset_pending": "paid for, its files are still to come",
    "no_asset": "paid for, and the server no longer has its files",
    "fewer_files": "paid for, and fewer files came than were asked for",
    "unknown": "its fate is open, its hold stays",
    "lost": "its fate was never known, counted as paid at the user's word",
}
"""The cases in words."""


@dataclass(frozen=True, slots=True)
class Statement:
    """Everything the statement is made from.

    Attributes:
        batches: each with ``batch``, ``realm``, ``sandbox``, ``credits`` by pack, and ``entries`` if asked for.
        windows: the rolling budgets of the settings.
        spent: charges and holds at the finest grain.
        cases: attempts with a row of their own.
    """

    batches: Sequence[Row]
    windows: Sequence[WindowRecord]
    spent: Sequence[SpentRecord]
    cases: Sequence[CaseRecord]

    def as_json(self) -> Row:
        """The statement as a JSON object."""
        groups = {name: self._grouped(name) for name in _GROUPS}
        return {
            "batches": list(self.batches),
            "rolling_budgets": [window.as_json() for window in self.windows],
            **groups,
            "cases": [case.as_json() for case in self.cases],
        }

    def _grouped(self, name: str) -> list[Row]:
        """Rows of ``spent`` added up over what the group does not tell apart."""
        names = _GROUPS[name]
        groups: defaultdict[tuple[str, ...], list[SpentRecord]] = defaultdict(list)
        for row in self.spent:
            if row.day or "day" not in names:
                groups[tuple(_key(row, each) for each in names)].append(row)
        return [{**dict(zip(names, key, strict=True)), **_totals(rows, names)} for key, rows in sorted(groups.items())]

    def lines(self) -> list[str]:
        """The statement as aligned tables."""
        shown = table(_budget_rows(self.batches, self.windows)) or ["nothing was charged or held yet"]
        for name in _GROUPS:
            rows = self._grouped(name)
            if rows:
                shown += ["", *table(_group_rows(name, rows))]
        if self.cases:
            shown += ["", *table(_case_rows(self.cases[:_SHOWN_CASES]))]
        if len(self.cases) > _SHOWN_CASES:
            shown.append(f"... and {len(self.cases) - _SHOWN_CASES} more, see --json or --csv")
        for batch in self.batches:
            if batch["entries"]:
                shown += ["", *table(_entry_rows(batch["entries"]))]
        return shown

    def csv(self) -> str:
        """The statement as RFC 4180 text: CRLF, a header, quotes where needed, and nothing a spreadsheet would run."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        writer.writerows(_cells(row) for row in self._csv_rows())
        return text.getvalue()

    def _csv_rows(self) -> Iterator[Row]:
        for batch in self.batches:
            for pack, figures in batch["credits"].items():
                yield {"section": "budget", "realm": batch["realm"], "batch": batch["batch"], "pack": pack, **figures}
        for window in self.windows:
            yield {"section": "rolling_budget", "at": window.frees_at, **window.as_json()}
        for name in _GROUPS:
            yield from ({"section": name, **row} for row in self._grouped(name))
        for case in self.cases:
            row = case.as_json()
            drift = None if case.charged is None else credits_text(case.charged - case.estimated)
            yield {"section": "case", "consumed": row["charged"], "drift": drift, **row}
        for batch in self.batches:
            of = {"section": "entry", "realm": batch["realm"], "batch": batch["batch"]}
            yield from ({**of, **entry} for entry in batch["entries"])


def _key(row: SpentRecord, name: str) -> str:
    """A row's value for a group; a product is told only where there is no model."""
    return "" if name == "kind" and row.model else str(getattr(row, name))


def _totals(rows: Sequence[SpentRecord], names: Sequence[str]) -> Row:
    figures = ("estimated", "consumed", "drift") if "day" in names else ("estimated", "consumed", "drift", "held")
    sums = {each: credits_text(sum((getattr(row, each) for row in rows), Decimal(0))) for each in figures}
    return {"tasks": sum(row.tasks for row in rows), **sums}


def place(realm: str) -> str:
    """What is said beside a name, so that nothing simulated is taken for real."""
    return {Realm.SANDBOX: " (SIMULATED)", Realm.LOCAL: " (test server)"}.get(Realm(realm), "")


def _budget_rows(batches: Sequence[Row], windows: Sequence[WindowRecord]) -> Iterator[tuple[str, ...]]:
    yield ("batch", "pack", "consumed", "held", "budget", "available")
    for batch in batches:
        name = batch["batch"] + place(batch["realm"])
        for pack, row in batch["credits"].items():
            yield (name, pack, row["consumed"], row["held"], row["budget"] or "none", row["available"] or "no limit")
    for window in windows:
        figures = (window.consumed, window.held, window.budget, window.available)
        yield (f"all, in any {window.window}{place(window.realm)}", window.pack, *map(credits_text, figures))


def _group_rows(name: str, rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    yield (_HEADINGS[name], "pack", "tasks", "consumed", "drift", *(("held",) if "held" in rows[0] else ()))
    for row in rows:
        label = row.get("day") or row.get("batch") or row.get("model") or f"({row['kind']})"
        figures = [str(row["tasks"]), row["consumed"], signed(row["drift"])]
        yield (inert(label) + place(row["realm"]), row["pack"], *figures, *((row["held"],) if "held" in row else ()))


def signed(figure: str) -> str:
    """A difference with its sign, so that nobody reads it as an amount; nothing where there is none."""
    return figure if figure.startswith("-") else f"+{figure}" if figure != "0" else ""


def _case_rows(cases: Sequence[CaseRecord]) -> Iterator[tuple[str, ...]]:
    yield ("to look at", "batch", "item", "attempt", "pack", "estimated", "charged", "held", "task")
    for case in cases:
        charged = "" if case.charged is None else credits_text(case.charged)
        figures = (case.pack, credits_text(case.estimated), charged, credits_text(case.held))
        which = (case.batch + place(case.realm), inert(case.item), str(case.attempt))
        yield (CASES[case.case], *which, *figures, inert(case.task_id or ""))


def _entry_rows(entries: Iterable[Row]) -> Iterator[tuple[str, ...]]:
    yield ("seq", "at", "entry", "credits", "item", "attempt", "consumed", "held")
    for entry in entries:
        item = inert(entry["item"])
        fixed = (str(entry["seq"]), entry["at"], entry["entry"], entry["credits"])
        yield (*fixed, item, str(entry["attempt"]), entry["consumed"], entry["held"])


def _cells(row: Row) -> list[str]:
    return [_cell(name, row.get(name)) for name in COLUMNS]


def _cell(name: str, value: object) -> str:
    text = "" if value is None else str(value)
    return text if name in _FIGURES else harmless(text)


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula: a leading apostrophe says that it is text."""
    plain = inert(text)
    return f"'{plain}" if plain.lstrip()[:1] in _FORMULA_STARTS else plain
