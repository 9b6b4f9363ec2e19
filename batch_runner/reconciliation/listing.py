"""What the account deducted task by task, beside what the ledger has for these tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from batch_runner.model import Pack
from batch_runner.reconciliation.account import LAG_S, ZERO, Deductions
from batch_runner.records import credits_text
from batch_runner.store import BookedTask


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A task for which ledger and account say different things; None where one of them says nothing."""

    task: BookedTask
    ledger: Decimal | None
    account: Decimal | None

    def __str__(self) -> str:
        ours = "no charge" if self.ledger is None else credits_text(self.ledger)
        theirs = "no deduction" if self.account is None else credits_text(self.account)
        where = f"{self.task.item} (batch {self.task.batch}, attempt {self.task.attempt}, task {self.task.task_id})"
        return f"{where}: the ledger has {ours}, the account {theirs}"

    def as_json(self) -> dict[str, Any]:
        """The mismatch as a JSON object."""
        task = self.task
        figures = {"ledger": self.ledger, "account": self.account}
        return {
            "batch": task.batch,
            "item": task.item,
            "attempt": task.attempt,
            "task_id": task.task_id,
            **{name: None if figure is None else credits_text(figure) for name, figure in figures.items()},
        }


@dataclass(frozen=True, slots=True)
class Listed:
    """Deductions of one currency: for tasks of ours, and for others together.

    Attributes:
        ours: credits by task, those of several packs added up.
        unreadable: tasks of ours with a deduction whose amount cannot be read.
        others: credits of tasks that the ledger does not know.
        paid_in_money: tasks of ours that were paid from the balance.
        is_complete: whether a task that is not listed was not paid for.
    """

    ours: Mapping[str, Decimal]
    unreadable: frozenset[str]
    others: Decimal
    paid_in_money: frozenset[str]
    is_complete: bool


def listed(pack: Pack, tasks: Sequence[BookedTask], deductions: Deductions) -> Listed:
    """The deductions of a currency, told apart by whose tasks they are for."""
    known = {task.task_id for task in tasks if task.task_id is not None}
    ours: defaultdict[str, Decimal] = defaultdict(Decimal)
    unreadable, others = set(), ZERO
    for row in deductions.rows:
        if row.task_id in known and row.amount is None:
            unreadable.add(row.task_id)
        elif row.task_id in known:
            ours[row.task_id] += row.amount or ZERO
        elif row.pack is pack:
            others += row.amount or ZERO
    return Listed(ours, frozenset(unreadable), others, deductions.paid_in_money & known, deductions.is_complete)


def mismatches(tasks: Sequence[BookedTask], found: Listed, now_s: float) -> Iterator[Mismatch]:
    """Settled tasks whose deduction is another than their charge, or, past the account's lag, is missing."""
    for task in tasks:
        if not task.held and _says_something(task, found, now_s):
            theirs = found.ours.get(task.task_id or "")
            if (theirs or ZERO) != (task.charged or ZERO):
                yield Mismatch(task, task.charged, theirs)


def _says_something(task: BookedTask, found: Listed, now_s: float) -> bool:
    """Whether the list tells, by a deduction or by its absence, what the account took for the task."""
    name = task.task_id
    if name is None or name in found.unreadable or name in found.paid_in_money:
        return False
    return name in found.ours or (found.is_complete and not is_recent(task, now_s))


def is_recent(task: BookedTask, now_s: float) -> bool:
    """Whether the account may not show its charge yet; also where a clock says that it is still to come."""
    return task.at_s > now_s - LAG_S
