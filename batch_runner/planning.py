"""``plan``: problems, price and time of a manifest, before anything is spent."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from batch_runner import catalog
from batch_runner.answer import Answer, table
from batch_runner.intake import manifest_of
from batch_runner.model import Item
from batch_runner.records import credits_text
from batch_runner.service import limits_of, price_book_of
from batch_runner.settings import Settings


def plan(manifest: Path, settings: Settings) -> Answer:
    """Problems, price and a lower bound of the time; nothing is sent and nothing is written.

    Raises:
        ManifestError: the manifest has problems.
    """
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    rows: Counter[tuple[str, str, str]] = Counter()
    work_s = longest_s = 0.0
    count = 0
    checked = manifest_of(manifest, settings)
    checked.check()
    for item in checked.items():
        totals[item.price.pack] += item.price.credits
        rows[item.kind, credits_text(item.price.credits), item.price.source] += 1
        expected_s = _expected_s(item)
        work_s, longest_s = work_s + expected_s, max(longest_s, expected_s)
        count += 1
    limits = limits_of(settings)
    wall_s = max(longest_s, work_s / limits.max_concurrent)
    lines = table([("items", "kind", "credits each", "price row"), *_price_rows(rows)])
    book = price_book_of(settings)
    needed = {pack: book.with_buffer(total) for pack, total in sorted(totals.items())}
    lines += ["", *(_total_line(pack, total, settings) for pack, total in needed.items()), _book_line(book)]
    lines.append(f"at least {wall_s / 60:.0f} minutes at {limits.max_concurrent} tasks at a time ({limits.source})")
    credits_ = {pack: credits_text(total) for pack, total in sorted(totals.items())}
    data = {"items": count, "credits": credits_, "at_least_s": round(wall_s, 1)}
    return Answer(lines, data)


def expanded(manifest: Path, settings: Settings) -> Iterator[str]:
    """The items as lines of a manifest that leaves nothing to defaults, samples, templates or other files.

    Raises:
        ManifestError: the manifest has problems.
    """
    checked = manifest_of(manifest, settings)
    checked.check()
    return checked.expanded()


def _price_rows(rows: Counter[tuple[str, str, str]]) -> Iterator[tuple[str, ...]]:
    for (kind, credits_, source), count in sorted(rows.items()):
        yield (str(count), kind, credits_, source)


def _total_line(pack: str, total: Decimal, settings: Settings) -> str:
    budget = settings.budget.get(pack)
    if budget is None:
        return f"{pack}: {credits_text(total)} credits, no budget given"
    verdict = "fits" if total <= budget else f"{credits_text(total - budget)} more than"
    return f"{pack}: {credits_text(total)} credits, {verdict} the budget of {credits_text(budget)}"


def _book_line(book: catalog.PriceBook) -> str:
    failures = "costs its price" if book.failures_charged else "costs nothing"
    buffer = f"{credits_text(book.buffer_pct)} % more is set aside" if book.buffer_pct else "no buffer is set aside"
    return f"a failed generation {failures} ({book.source}); {buffer}"


def _expected_s(item: Item) -> float:
    return catalog.expected_duration_s(item.kind, json.loads(item.body))
