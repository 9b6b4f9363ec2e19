"""Holds, charges and releases: what one entry does to the balances of a pack. Pure.

Conservation: consumed + held + available = budget at every prefix. An entry moves credits between those three
accounts, so its legs always add up to zero, and a hold is settled once, whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from batch_runner.lifecycle import Money

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Balances:
    """Credits of one pack in one batch."""

    consumed: Decimal = ZERO
    held: Decimal = ZERO

    def available(self, budget: Decimal | None) -> Decimal | None:
        """What the budget leaves, or None where there is no budget."""
        return None if budget is None else budget - self.consumed - self.held

    def fits(self, credits_: Decimal, budget: Decimal | None) -> bool:
        """Whether a hold of ``credits_`` stays within the budget."""
        return budget is None or self.consumed + self.held + credits_ <= budget


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the ledger: its word, its credits, and its legs over the three accounts.

    Attributes:
        entry: ``hold``, ``charge`` or ``release``.
        credits: the credits the entry is about: set aside, taken, or given back.
        held: what it adds to (or takes from) the held credits.
        consumed: what it adds to the consumed credits.
    """

    entry: str
    credits: Decimal
    held: Decimal
    consumed: Decimal

    @property
    def legs(self) -> Mapping[str, Decimal]:
        """The movement of each account; the sum is zero."""
        return {"consumed": self.consumed, "held": self.held, "available": -self.consumed - self.held}

    def apply(self, balances: Balances) -> Balances:
        """The balances after the entry."""
        return Balances(balances.consumed + self.consumed, balances.held + self.held)


def hold(credits_: Decimal) -> Entry:
    """Set ``credits_`` aside before a submission."""
    return Entry("hold", credits_, held=credits_, consumed=ZERO)


def charge(held: Decimal, taken: Decimal) -> Entry:
    """Settle a hold of ``held`` at what the server really took; the difference becomes available again."""
    return Entry("charge", taken, held=-held, consumed=taken)


def release(held: Decimal) -> Entry:
    """Give a hold back: nothing was taken."""
    return Entry("release", held, held=-held, consumed=ZERO)


def entry_for(money: Money, held: Decimal, estimate: Decimal, server_charge: Decimal | None) -> Entry | None:
    """The entry that a step of the lifecycle makes, or None.

    Args:
        money: what the step does to the ledger.
        held: the attempt's open hold.
        estimate: the attempt's price before it ran, taken where the server states no figure.
        server_charge: credits the server says it deducted, or None.
    """
    match money:
        case Money.NOTHING:
            return None
        case Money.HOLD:
            return hold(estimate)
        case Money.CHARGE:
            return charge(held, estimate if server_charge is None else server_charge)
        case Money.SETTLE_FAILED:
            return charge(held, server_charge) if server_charge else release(held)
        case Money.RELEASE:
            return release(held)
