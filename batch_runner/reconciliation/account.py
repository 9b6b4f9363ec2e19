"""What the account says, and what the remains of its packs tell about their use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from batch_runner.kling import AccountPack, Deduction
from batch_runner.model import Pack

LAG_S = 12 * 3600.0
"""So old may be what the account shows (kling-api 3.21)."""

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Deductions:
    """What the account lists task by task.

    Attributes:
        rows: deductions from packs.
        paid_in_money: tasks that were paid from the post-paid balance instead.
        is_complete: whether the list was read to its end.
    """

    rows: Sequence[Deduction] = ()
    paid_in_money: frozenset[str] = frozenset()
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Account:
    """What the account said at ``now_s`` of the time since ``since_s``, in wall seconds.

    ``deductions`` is None where it does not list any.
    """

    packs: Sequence[AccountPack]
    deductions: Deductions | None
    since_s: float
    now_s: float

    @property
    def may_pay_in_money(self) -> bool:
        """Whether a pack ended, so that the post-paid balance may have stepped in."""
        return any(pack.status in {"runOut", "expired"} for pack in self.packs)


class Bounds(NamedTuple):
    """The least and the most that was used of a currency since a moment, None where nobody can tell."""

    least: Decimal | None
    most: Decimal | None


def bounds(pack: Pack, account: Account) -> Bounds:
    """What the packs of a currency tell about its use since ``account.since_s``.

    All use of a pack that began later happened since; that of an older one may have happened before. What lapsed with a
    pack is no use, and nobody says how it is shown, so a lapsed pack counts for the most only.
    """
    own = [one for one in account.packs if one.pack is pack and not _lapsed_before(one, account.since_s)]
    is_nameless = any(one.pack is None for one in account.packs)
    used = [None if one.total is None or one.remaining is None else one.total - one.remaining for one in own]
    if not own or is_nameless or None in used:
        return Bounds(None, None)
    pairs = zip(own, used, strict=True)
    return Bounds(total(amount for one, amount in pairs if _began_later(one, account.since_s)), total(used))


def _lapsed_before(pack: AccountPack, since_s: float) -> bool:
    return pack.expires_at_s is not None and pack.expires_at_s <= since_s


def _began_later(pack: AccountPack, since_s: float) -> bool:
    return pack.effective_at_s is not None and pack.effective_at_s >= since_s and pack.status != "expired"


def total(amounts: Iterable[Decimal | None]) -> Decimal:
    """The sum of the amounts that are known."""
    return sum((amount for amount in amounts if amount is not None), ZERO)
