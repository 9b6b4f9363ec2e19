"""One currency, ledger against account: the figures, what they come to, and what else a person should know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from batch_runner.model import Pack
from batch_runner.reconciliation.account import ZERO, Account, Bounds, bounds, total
from batch_runner.reconciliation.listing import Listed, Mismatch, is_recent, listed, mismatches
from batch_runner.records import credits_text
from batch_runner.store import BookedTask
from batch_runner.wording import by_count, plural


class Finding(StrEnum):
    """What the comparison of one currency comes to."""

    ADDS_UP = "adds_up"
    CANNOT_TELL = "cannot_tell"
    DOES_NOT_ADD_UP = "does_not_add_up"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One currency, ledger against account.

    Attributes:
        pack: the currency.
        consumed: what the ledger charged.
        held: what the ledger holds; the account may have deducted it already.
        recent: the part of ``consumed`` that is younger than the account's lag.
        least, most: bounds of what the account used since the first entry; None where it does not let one tell.
        deducted: what the account deducted for tasks of this folder, or None where it lists no deductions.
        others: what it deducted for other tasks in that time, likewise.
        mismatches: tasks for which the two say different things.
        notes: what else a person should know.
        finding: what it comes to.
    """

    pack: Pack
    consumed: Decimal
    held: Decimal
    recent: Decimal
    least: Decimal | None
    most: Decimal | None
    deducted: Decimal | None
    others: Decimal | None
    mismatches: tuple[Mismatch, ...]
    notes: tuple[str, ...]
    finding: Finding

    def as_json(self) -> dict[str, Any]:
        """The comparison as a JSON object, credits as text."""
        names = ("consumed", "held", "recent", "least", "most", "deducted", "others")
        figures = {name: getattr(self, name) for name in names}
        return {
            "pack": self.pack.value,
            "finding": self.finding.value,
            **{name: None if figure is None else credits_text(figure) for name, figure in figures.items()},
            "mismatches": [mismatch.as_json() for mismatch in self.mismatches],
            "notes": list(self.notes),
        }


def compare(tasks: Sequence[BookedTask], account: Account) -> list[Comparison]:
    """Every currency that the ledger has entries in, against the account."""
    packs = sorted({task.pack for task in tasks})
    return [_compared(pack, [task for task in tasks if task.pack is pack], account) for pack in packs]


def _compared(pack: Pack, tasks: Sequence[BookedTask], account: Account) -> Comparison:
    ours = _Ours.of(tasks, account.now_s)
    limits = bounds(pack, account)
    found = None if account.deductions is None else listed(pack, tasks, account.deductions)
    wrong = () if found is None else tuple(mismatches(tasks, found, account.now_s))
    lacking = _lacking(_settled_by_packs(tasks, found, account.now_s), limits)
    if wrong or (lacking and not account.may_pay_in_money):
        finding = Finding.DOES_NOT_ADD_UP
    elif found is None:
        finding = _by_bounds(ours, limits)
    else:
        finding = Finding.CANNOT_TELL if lacking else _by_list(ours, tasks, found)
    return Comparison(
        pack=pack,
        consumed=ours.consumed,
        held=ours.held,
        recent=ours.recent,
        least=limits.least,
        most=limits.most,
        deducted=None if found is None else total(found.ours.values()),
        others=None if found is None else found.others,
        mismatches=wrong,
        notes=(
            *_notes_on_ours(ours),
            *(_notes_on_packs(ours, limits) if found is None else _notes_on_list(found)),
            *_notes_on_lacking(lacking),
        ),
        finding=finding,
    )


@dataclass(frozen=True, slots=True)
class _Ours:
    """What the ledger says of one currency."""

    consumed: Decimal
    recent: Decimal
    held: Decimal
    drift: Decimal
    at_estimate: Decimal

    @classmethod
    def of(cls, tasks: Sequence[BookedTask], now_s: float) -> _Ours:
        charged = [task for task in tasks if task.charged is not None]
        consumed = total(task.charged for task in charged)
        return cls(
            consumed=consumed,
            recent=total(task.charged for task in charged if is_recent(task, now_s)),
            held=total(task.held for task in tasks),
            drift=consumed - total(task.estimate for task in charged),
            at_estimate=total(task.charged for task in charged if task.charge_source == "estimate"),
        )


def _by_list(ours: _Ours, tasks: Sequence[BookedTask], found: Listed) -> Finding:
    """Nothing differs: it adds up if the list speaks of everything that was charged."""
    seen = total(task.charged for task in tasks if (task.task_id or "") in found.ours)
    return Finding.ADDS_UP if seen == ours.consumed else Finding.CANNOT_TELL


def _settled_by_packs(tasks: Sequence[BookedTask], found: Listed | None, now_s: float) -> Decimal:
    """What the packs must show by now."""
    in_money = frozenset[str]() if found is None else found.paid_in_money
    return total(task.charged for task in tasks if not is_recent(task, now_s) and task.task_id not in in_money)


def _lacking(settled: Decimal, limits: Bounds) -> Decimal:
    """How much less the packs show than they must: no list of deductions makes up for that."""
    return ZERO if limits.most is None else max(settled - limits.most, ZERO)


def _by_bounds(ours: _Ours, limits: Bounds) -> Finding:
    return Finding.ADDS_UP if limits.least == limits.most == ours.consumed else Finding.CANNOT_TELL


def _notes_on_ours(ours: _Ours) -> Iterator[str]:
    if ours.recent:
        were = by_count(ours.recent, "was", "were")
        recent = f"{credits_text(ours.recent)} of it {were} charged"
        yield f"{recent} in the last 12 hours; the account may not show them yet"
    if ours.held:
        are = by_count(ours.held, "is", "are")
        yield f"{credits_text(ours.held)} {are} held for tasks that are not settled; the account may have taken them"
    if ours.drift:
        yield f"the server's figures came to {credits_text(ours.drift)} beyond the estimates (drift)"
    if ours.at_estimate:
        stand = by_count(ours.at_estimate, "stands", "stand")
        yield f"{credits_text(ours.at_estimate)} {stand} at the estimate, because the server stated no figure"


_ELSEWHERE = "other programs, other output folders, or a lost state.db"


def _notes_on_packs(ours: _Ours, limits: Bounds) -> Iterator[str]:
    if limits.least is None or limits.most is None:
        yield "the account's packs do not let one tell what was used of them"
        return
    accounted = ours.consumed + ours.held
    if limits.least > accounted:
        yield f"the account used at least {credits_text(limits.least - accounted)} more: {_ELSEWHERE}"
    elif limits.most > accounted:
        more = credits_text(limits.most - accounted)
        yield f"up to {more} more may have been used: before the first entry, or by {_ELSEWHERE}"


def _notes_on_lacking(lacking: Decimal) -> Iterator[str]:
    if lacking:
        yield f"the packs show {credits_text(lacking)} less than was charged until 12 hours ago"


def _notes_on_list(found: Listed) -> Iterator[str]:
    if found.others:
        were = by_count(found.others, "was", "were")
        yield f"{credits_text(found.others)} {were} deducted for tasks that are not in this ledger: {_ELSEWHERE}"
    if found.paid_in_money:
        count = len(found.paid_in_money)
        were, their = by_count(count, "was", "were"), by_count(count, "its", "their")
        yield f"{plural(count, 'task')} {were} paid from the balance in money; the ledger counts {their} credits"
    if not found.is_complete:
        yield "the account's list of deductions is longer than was read"
