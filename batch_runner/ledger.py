"""Holds, charges and releases as double entry: what one entry moves between the accounts of a pack. Pure.

A pack's credits stand on three accounts. Every change is a *move* from one of them to another, so that it has two legs
that cancel out, and a balance is the sum of its legs. Conservation follows: consumed + held + available = budget at
every prefix, and a hold is settled once, whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from batch_runner.lifecycle import Money

if TYPE_CHECKING:  # the catalog takes long to load, and settings need the budgets that stand on this
    from batch_runner.catalog import PriceBook

ZERO = Decimal(0)


class Account(StrEnum):
    """Where a pack's credits stand."""

    AVAILABLE = "available"
    HELD = "held"
    CONSUMED = "consumed"


@dataclass(frozen=True, slots=True)
class Balances:
    """Credits of one pack in one batch."""

    consumed: Decimal = ZERO
    held: Decimal = ZERO

    def available(self, budget: Decimal | None) -> Decimal | None:
        """What the budget leaves, or None where there is no budget."""
        return None if budget is None else budget - self.consumed - self.held


@dataclass(frozen=True, slots=True)
class Move:
    """Credits, 0 or more, that leave one account for another."""

    source: Account
    target: Account
    credits: Decimal

    def leg(self, account: Account) -> Decimal:
        """What the move adds to an account; over all accounts that is zero."""
        return self.credits * ((account is self.target) - (account is self.source))


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the ledger: its word, the credits it is about, and the moves it makes.

    Attributes:
        entry: ``hold``, ``charge`` or ``release``.
        credits: the credits set aside, taken, or given back.
        moves: one, or two where a charge differs from its hold.
    """

    entry: str
    credits: Decimal
    moves: tuple[Move, ...]

    @property
    def legs(self) -> Mapping[Account, Decimal]:
        """The change of each account; the sum is zero."""
        return {account: sum((move.leg(account) for move in self.moves), ZERO) for account in Account}

    def apply(self, balances: Balances) -> Balances:
        """The balances after the entry."""
        legs = self.legs
        return Balances(balances.consumed + legs[Account.CONSUMED], balances.held + legs[Account.HELD])


def hold(credits_: Decimal) -> Entry:
    """Set ``credits_`` aside before a submission."""
    return Entry("hold", credits_, (Move(Account.AVAILABLE, Account.HELD, credits_),))


def charge(held: Decimal, taken: Decimal) -> Entry:
    """Settle a hold of ``held`` at what the server really took; what is over or missing is the second move."""
    moves = [Move(Account.HELD, Account.CONSUMED, min(held, taken))]
    if taken < held:
        moves.append(Move(Account.HELD, Account.AVAILABLE, held - taken))
    elif taken > held:
        moves.append(Move(Account.AVAILABLE, Account.CONSUMED, taken - held))
    return Entry("charge", taken, tuple(moves))


def release(held: Decimal) -> Entry:
    """Give a hold back: nothing was taken."""
    return Entry("release", held, (Move(Account.HELD, Account.AVAILABLE, held),))


def sums(moves: Iterable[tuple[Move, int]]) -> Balances:
    """The balances that these moves add up to, each made so many times."""
    consumed = held = ZERO
    for move, times in moves:
        consumed += move.leg(Account.CONSUMED) * times
        held += move.leg(Account.HELD) * times
    return Balances(consumed, held)


def entry_for(
    money: Money, held: Decimal, estimate: Decimal, server_charge: Decimal | None, book: PriceBook
) -> Entry | None:
    """The entry that a step of the lifecycle makes, or None.

    Args:
        money: what the step does to the ledger.
        held: the attempt's open hold.
        estimate: the attempt's price before it ran, taken where the server states no figure.
        server_charge: credits the server says it deducted, or None.
        book: whether a failure costs its price where the server does not say, and the buffer of a hold.
    """
    match money:
        case Money.NOTHING:
            return None
        case Money.HOLD:
            return hold(book.with_buffer(estimate))
        case Money.CHARGE:
            return charge(held, estimate if server_charge is None else server_charge)
        case Money.SETTLE_FAILED:
            usual = estimate if book.failures_charged else ZERO
            taken = usual if server_charge is None else server_charge
            return charge(held, taken) if taken else release(held)
        case Money.RELEASE:
            return release(held)
