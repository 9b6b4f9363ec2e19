"""The last line of a run: how the batch stands, and what to do next. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from batch_runner.budgets import Shortage
from batch_runner.errors import BatchRunnerError, ExitCode
from batch_runner.records import SummaryRecord
from batch_runner.wording import by_count, plural

_NEXT_STEP: Final = {
    ExitCode.ITEMS_FAILED: "results.jsonl says why; --retry-failed tries failed items again",
    ExitCode.BUDGET: "A budget stopped it; raise --budget or --rolling-budget to go on",
    ExitCode.STOPPED: "Run the same command again to go on",
    ExitCode.UNRESOLVED: "Run the same command again: what is unknown is not paid again until its fate is settled",
}


def closing_words(
    summary: SummaryRecord,
    error: BatchRunnerError | None,
    shortages: Sequence[Shortage] = (),
    *,
    gone: int = 0,
    made_anew: int = 0,
    is_askable: bool = True,
) -> str:
    """One line for a person: how the batch stands, and what to do next if anything is left.

    ``is_askable`` says whether a later run may learn the fate of any item that is unknown; ``gone`` and ``made_anew``
    count the paid tasks whose lines are gone, or were made with another text since.
    """
    items = summary.items
    parts = [f"{items.succeeded:,} of {items.total:,} succeeded"]
    for word in ("failed", "pending", "unknown"):
        count = getattr(items, word)
        if count:
            parts.append(f"{count:,} {word}")
    next_step = _NEXT_STEP.get(ExitCode(summary.exit_code), "")
    if summary.exit_code == ExitCode.BUDGET and shortages:
        next_step = f"The budget stopped it: {'; '.join(map(str, shortages))}"
    if items.unknown and summary.exit_code == ExitCode.UNRESOLVED and not is_askable:
        next_step = "What is unknown cannot be asked for again: --repeat-lost makes it again, which may pay twice"
    if (gone or made_anew) and summary.exit_code == ExitCode.UNRESOLVED and not items.unknown:
        next_step = _lineless_words(gone, made_anew)
    if error is not None and summary.exit_code not in {ExitCode.OK, ExitCode.ITEMS_FAILED}:
        next_step = str(error)
    return ", ".join(parts) + (f". {next_step}" if next_step else "")


def _lineless_words(gone: int, made_anew: int) -> str:
    parts = []
    if gone:
        lines = by_count(gone, "a line that is gone or was", "lines that are gone or were")
        parts.append(f"for {lines} edited: put {by_count(gone, 'it', 'them')} back to have the files")
    if made_anew:
        texts = by_count(made_anew, "an earlier text of a line that was", "earlier texts of lines that were")
        them = by_count(made_anew, "it", "them")
        parts.append(f"for {texts} made anew since: fetch {them} by the task id that a notice told")
    return f"The account has paid {'; and '.join(parts)}"


def idle_words(summary: SummaryRecord) -> str:
    """One line for a person about a run that had nothing to do."""
    failed = summary.items.failed
    if failed:
        return f"nothing is left to do, but {plural(failed, 'item')} failed: {_NEXT_STEP[ExitCode.ITEMS_FAILED]}"
    return "nothing is left to do" if summary.items.total else "the manifest has no items"
