"""``report.html``: one page for people that needs no network and no scripts. Pure and the same every time."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib import resources
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from batch_runner.inert import inert
from batch_runner.model import FACTS, SUFFIXES
from batch_runner.records import (
    CreditsRecord,
    FileRecord,
    LedgerRecord,
    ResultRecord,
    SummaryRecord,
)
from batch_runner.report.axis import wall_s
from batch_runner.report.charts import Charts, charts
from batch_runner.report.troubles import STATUS_ORDER, Trouble, troubles
from batch_runner.report.words import (
    amount_text,
    duration_text,
    headline,
    next_step,
    size_text,
)
from batch_runner.wording import by_count

_MOST_ROWS = 2000
_MOST_CARDS = 60
_MOST_TROUBLES = 40
_STATUSES = ("succeeded", "failed", "unknown", "pending")
_PACK_NAMES = {"video": "Video credits", "image": "Image credits", "try_on": "Try-on credits"}


@dataclass(frozen=True, slots=True)
class Link:
    """A finished file, as a link relative to the page; ``medium`` is how it can be shown, or empty."""

    href: str
    name: str
    size: str
    medium: str


@dataclass(frozen=True, slots=True)
class Share:
    """One part of a stacked bar, in percent of its length."""

    kind: str
    label: str
    percent: str


@dataclass(frozen=True, slots=True)
class PackBar:
    """Credits of one pack."""

    name: str
    parts: tuple[Share, ...]
    amounts: tuple[Share, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Row:
    """One item of the table."""

    id: str
    line: int
    kind: str
    status: str
    reason: str
    attempts: int
    credits: str
    is_estimate: bool
    took: str
    size: str
    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """All that the template shows, already inert and formatted."""

    batch: str
    sandbox: bool
    tone: str
    headline: str
    next_step: str
    facts: tuple[tuple[str, str], ...]
    counts: tuple[tuple[str, str], ...]
    shares: tuple[Share, ...]
    packs: tuple[PackBar, ...]
    charts: Charts | None
    troubles: tuple[Trouble, ...]
    troubles_omitted: int
    cards: tuple[Row, ...]
    cards_omitted: int
    rows: tuple[Row, ...]
    rows_omitted: int


def _percent(part: Decimal | int, whole: Decimal | int) -> str:
    return f"{Decimal(part) * 100 / Decimal(whole):.3f}" if whole else "0"


def _link(file: FileRecord, page_folder: str) -> Link:
    suffix = posixpath.splitext(file.path)[1].lower()
    return Link(
        href=quote(posixpath.relpath(file.path, page_folder), safe="/", errors="replace"),
        name=inert(posixpath.basename(file.path), 160),
        size=size_text(file.bytes),
        medium=next((kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes and kind != FACTS), ""),
    )


def _took(result: ResultRecord) -> str:
    start_s, end_s = wall_s(result.submitted_at), wall_s(result.finished_at)
    return "" if start_s is None or end_s is None else duration_text(max(end_s - start_s, 0.0))


def _row(result: ResultRecord, page_folder: str) -> Row:
    charged = result.credits_charged
    return Row(
        id=inert(result.id, 160),
        line=result.line,
        kind=inert(result.kind, 60),
        status=result.status,
        reason=inert(result.reason or "", 60),
        attempts=result.attempts,
        credits=amount_text(result.credits_estimated if charged is None else charged),
        is_estimate=charged is None,
        took=_took(result),
        size=size_text(sum(file.bytes for file in result.files)) if result.files else "",
        links=tuple(_link(file, page_folder) for file in result.files),
    )


def _pack_bar(pack: str, record: CreditsRecord) -> PackBar:
    used = record.consumed + record.held
    whole = max(used, record.budget or used)
    amounts = [("consumed", record.consumed), ("held", record.held)]
    amounts += [("available", record.available)] if record.available is not None else []
    shares = [Share(kind, amount_text(amount), _percent(amount, whole)) for kind, amount in amounts]
    budget = "No budget was set." if record.budget is None else f"Budget {amount_text(record.budget)}."
    return PackBar(
        name=_PACK_NAMES.get(pack, f"{inert(pack, 40)} credits"),
        parts=tuple(share for share, (_, amount) in zip(shares, amounts, strict=True) if amount),
        amounts=tuple(shares),
        note=budget,
    )


def _time_text(text: str) -> str:
    return inert(text.replace("T", " ").split(".")[0].rstrip("Z"), 40) + " UTC" if text else ""


def _facts(summary: SummaryRecord) -> tuple[tuple[str, str], ...]:
    requests = summary.requests
    refused = f", {requests.refused:,} refused" if requests.refused else ""
    facts = (
        ("Manifest", inert(summary.manifest, 300)),
        ("Last run", _time_text(summary.started_at)),
        ("It took", duration_text(summary.wall_s)),
        (
            "API requests",
            f"{requests.total:,} ({requests.submit:,} to submit, {requests.poll:,} to poll{refused})",
        ),
        ("Exit code", str(summary.exit_code)),
    )
    return tuple((label, value) for label, value in facts if value)


def _tone(summary: SummaryRecord) -> str:
    if summary.items.failed or summary.items.unknown or summary.exit_code in {1, 5, 6}:
        return "bad"
    return "good" if summary.exit_code == 0 else "waiting"


def _page(
    summary: SummaryRecord,
    results: Sequence[ResultRecord],
    ledger: Sequence[LedgerRecord],
    page_folder: str,
) -> Page:
    counts = [(status, getattr(summary.items, status)) for status in _STATUSES]
    ordered = sorted(results, key=lambda result: (STATUS_ORDER.get(result.status, 1), result.line))
    filed = [result for result in results if result.files]
    told = troubles(results)
    return Page(
        batch=inert(summary.batch, 160),
        sandbox=summary.sandbox,
        tone=_tone(summary),
        headline=headline(summary),
        next_step=next_step(summary),
        facts=_facts(summary),
        counts=tuple((status, f"{count:,}") for status, count in counts if count or status == "succeeded"),
        shares=tuple(
            Share(status, f"{count:,} {status}", _percent(count, summary.items.total))
            for status, count in counts
            if count
        ),
        packs=tuple(_pack_bar(pack, record) for pack, record in summary.credits.items()),
        charts=charts(results, ledger, summary.finished_at),
        troubles=tuple(told[:_MOST_TROUBLES]),
        troubles_omitted=max(len(told) - _MOST_TROUBLES, 0),
        cards=tuple(_row(result, page_folder) for result in filed[:_MOST_CARDS]),
        cards_omitted=max(len(filed) - _MOST_CARDS, 0),
        rows=tuple(_row(result, page_folder) for result in ordered[:_MOST_ROWS]),
        rows_omitted=max(len(ordered) - _MOST_ROWS, 0),
    )


def _source(name: str) -> str:
    return resources.files("batch_runner.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    """The template, escaping everything it is given."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FunctionLoader(_source),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["by_count"] = by_count
    return environment.get_template("template.html.j2")


def render_page(
    summary: SummaryRecord,
    results: Sequence[ResultRecord],
    ledger: Sequence[LedgerRecord],
    *,
    page_folder: str | None = None,
) -> Iterator[bytes]:
    """The page, piece by piece.

    Args:
        summary: the batch's counts and credits.
        results: every item, in manifest order.
        ledger: every entry, oldest first.
        page_folder: where the page will lie, relative to the output folder, for its links (default: the
            batch's name).
    """
    page = _page(summary, results, ledger, page_folder or summary.batch)
    stream = _template().stream(page=page)
    stream.enable_buffering(64)
    return (piece.encode() for piece in stream)
