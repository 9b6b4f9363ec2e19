"""Rolling budgets, what is left of them, and when there is room again. Pure: the store hands in what was charged when.

A rolling budget limits what a whole output folder spends in any span of its length: charges younger than that, and
every open hold, whose charge is still to come.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from batch_runner.clock import iso_utc
from batch_runner.ledger import ZERO, Balances
from batch_runner.records import credits_named, credits_text
from batch_runner.wording import by_count

UNITS_S = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
"""Seconds of each unit that a window can be written in, the longest first."""


@dataclass(frozen=True, slots=True)
class RollingBudget:
    """At most so many credits of a pack in any span of ``window_s`` seconds."""

    pack: str
    window_s: int
    credits: Decimal

    @property
    def window(self) -> str:
        """The span in the largest unit that it is a whole number of: ``1d``, ``90m``."""
        unit, unit_s = next((unit, unit_s) for unit, unit_s in UNITS_S.items() if self.window_s % unit_s == 0)
        return f"{self.window_s // unit_s}{unit}"

    @property
    def name(self) -> str:
        """What tells it from other budgets, whatever it allows: ``video/1d``."""
        return f"{self.pack}/{self.window}"

    def __str__(self) -> str:
        return f"the rolling budget of {credits_named(self.credits)} ({self.pack}) in any {self.window}"


@dataclass(frozen=True, slots=True)
class Charged:
    """Credits charged that are still in a window, and the seconds until they have left it."""

    credits: Decimal
    left_s: float


@dataclass(frozen=True, slots=True)
class Window:
    """A rolling budget as it stands at one moment."""

    budget: RollingBudget
    held: Decimal
    charged: tuple[Charged, ...] = ()

    @property
    def consumed(self) -> Decimal:
        """Credits charged within the window."""
        return sum((each.credits for each in self.charged), ZERO)

    @property
    def available(self) -> Decimal:
        """What it leaves; below zero where more was charged than was allowed."""
        return self.budget.credits - self.consumed - self.held

    def room_in_s(self, needed: Decimal) -> float | None:
        """Seconds until ``needed`` credits fit if nothing else happens; None where time alone does not help."""
        room = self.available
        if room >= needed:
            return 0.0
        for each in sorted(self.charged, key=lambda each: each.left_s):
            room += each.credits
            if room >= needed:
                return each.left_s
        return None


@dataclass(frozen=True, slots=True)
class Shortage:
    """A budget that leaves too little for the cheapest item that waits.

    Attributes:
        budget: which one, in words.
        available: what it leaves.
        needed: what the item needs.
        remedy: what makes room, or when.
    """

    budget: str
    available: Decimal
    needed: Decimal
    remedy: str

    def __str__(self) -> str:
        left = f"{self.budget} has {credits_text(max(self.available, ZERO))} left"
        if self.available < ZERO:
            left += f" (it is exceeded by {credits_text(-self.available)})"
        return f"{left} and the next item needs {credits_text(self.needed)}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Overdraft:
    """A budget that is exceeded: it was lowered, paid tasks were found, or more was charged than was estimated.

    Attributes:
        budget: which one, in words.
        pack: the currency.
        taken: what is consumed and held.
        over: how much of that the budget does not allow.
    """

    budget: str
    pack: str
    taken: Decimal
    over: Decimal

    def __str__(self) -> str:
        taken, over = credits_named(self.taken), credits_text(self.over)
        return (
            f"{taken} ({self.pack}) {by_count(self.taken, 'is', 'are')} consumed or held, {over} over {self.budget};"
            " nothing new is submitted beyond it"
        )


@dataclass(frozen=True, slots=True)
class Purse:
    """All that limits a hold of one pack at one moment.

    Attributes:
        pack: the currency.
        budget: the batch's own budget, or None where it has none.
        balances: what the batch has consumed and holds.
        windows: the rolling budgets of the pack.
    """

    pack: str
    budget: Decimal | None
    balances: Balances
    windows: tuple[Window, ...] = ()

    def fits(self, needed: Decimal) -> bool:
        """Whether a hold of ``needed`` stays within every budget."""
        left = self.balances.available(self.budget)
        return (left is None or needed <= left) and all(needed <= window.available for window in self.windows)

    def overdrafts(self) -> tuple[Overdraft, ...]:
        """Every budget of which more is consumed and held than it allows."""
        rows = [(str(window.budget), window.budget.credits, window.available) for window in self.windows]
        left = self.balances.available(self.budget)
        if left is not None and self.budget is not None:
            rows.insert(0, (f"the budget of {credits_text(self.budget)}", self.budget, left))
        return tuple(Overdraft(words, self.pack, most - left, -left) for words, most, left in rows if left < ZERO)

    def shortages(self, needed: Decimal, now_wall_s: float) -> tuple[Shortage, ...]:
        """Every budget that a hold of ``needed`` would break; empty if it fits."""
        left = self.balances.available(self.budget)
        short = [_of_window(window, needed, now_wall_s) for window in self.windows if window.available < needed]
        if left is not None and self.budget is not None and left < needed:
            words = f"the batch's budget of {credits_named(self.budget)} ({self.pack})"
            short.insert(0, Shortage(words, left, needed, "raise --budget to go on"))
        return tuple(short)


def _of_window(window: Window, needed: Decimal, now_wall_s: float) -> Shortage:
    return Shortage(str(window.budget), window.available, needed, _remedy(window, needed, now_wall_s))


def _remedy(window: Window, needed: Decimal, now_wall_s: float) -> str:
    if needed > window.budget.credits:
        return "that is more than it ever allows; raise it to go on"
    room_in_s = window.room_in_s(needed)
    if room_in_s is None:
        return _remedy_of_holds(window, needed, now_wall_s)
    return f"room appears at {iso_utc(now_wall_s + room_in_s)}, run again then"


def _remedy_of_holds(window: Window, needed: Decimal, now_wall_s: float) -> str:
    """Holds are in the way, and one that becomes a charge stays for a window's length."""
    given_back_in_s = replace(window, held=ZERO).room_in_s(needed)
    when = f"at {iso_utc(now_wall_s + given_back_in_s)} if" if given_back_in_s else "when"
    return (
        f"tasks that are not settled hold {credits_text(window.held)} of it: room appears {when} they end uncharged,"
        f" else {window.budget.window} after they are charged"
    )
