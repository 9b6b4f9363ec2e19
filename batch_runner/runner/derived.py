"""The four derived files: written anew from the store, atomically, and not at all when nothing changed."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from batch_runner.download import make_batch_folder, write_atomically
from batch_runner.events import Notice, Observer
from batch_runner.records import LedgerRecord, ResultRecord, SummaryRecord
from batch_runner.report import ledger_lines, render_page, results_lines, summary_bytes
from batch_runner.store import Batch, Store
from batch_runner.wording import by_count


class Derived(NamedTuple):
    """What the derived files were written from."""

    summary: SummaryRecord
    results: list[ResultRecord]


async def write_derived(store: Store, batch: Batch, output_dir: Path) -> Derived | None:
    """Write ``results.jsonl``, ``ledger.jsonl``, ``report.html`` and, last, ``summary.json``.

    Returns:
        What they say, or None when no run of the batch has ended yet.

    Raises:
        DiskError: the folder cannot be written.
    """
    summary = await store.summary(batch)
    if summary is None:
        return None
    results = await store.results(batch)
    ledger = await store.ledger(batch)
    await asyncio.get_running_loop().run_in_executor(None, write_files, output_dir, summary, results, ledger)
    return Derived(summary, results)


async def tell_files_away(results: Sequence[ResultRecord], output_dir: Path, observer: Observer) -> None:
    """Tell a person of finished files that are not where they were put: no rerun fetches them again by itself."""
    away = await asyncio.get_running_loop().run_in_executor(None, _count_away, results, output_dir)
    if away:
        words = by_count(away, "file is no longer where it was", "files are no longer where they were")
        observer(Notice(f"{away:,} finished {words} put, or of another size (see verify --repair)", urgent=True))


def _count_away(results: Sequence[ResultRecord], output_dir: Path) -> int:
    return sum(_is_away(output_dir / file.path, file.bytes) for row in results for file in row.files)


def _is_away(path: Path, size: int) -> bool:
    try:
        found = path.lstat()
    except OSError:  # gone, or nobody can tell: no reason to end a finished run otherwise
        return True
    return not stat.S_ISREG(found.st_mode) or found.st_size != size


def write_files(
    output_dir: Path, summary: SummaryRecord, results: list[ResultRecord], ledger: list[LedgerRecord]
) -> Path:
    """Write the four files below ``output_dir``; returns the path of the page.

    Raises:
        DiskError: the folder cannot be written.
    """
    folder = make_batch_folder(output_dir, summary.batch)
    write_atomically(folder / "results.jsonl", results_lines(results))
    write_atomically(folder / "ledger.jsonl", ledger_lines(ledger))
    write_atomically(folder / "report.html", render_page(summary, results, ledger))
    write_atomically(folder / "summary.json", [summary_bytes(summary)])
    return folder / "report.html"
