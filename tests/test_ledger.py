"""Holds, charges and releases conserve credits, to the last decimal."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from batch_runner.ledger import ZERO, Balances, charge, entry_for, hold, release
from batch_runner.lifecycle import Money

credits_ = st.decimals(min_value=0, max_value=1000, places=6)


@given(st.lists(st.tuples(credits_, st.one_of(st.none(), credits_))), credits_)
def test_conservation_at_every_prefix(settlements: list[tuple[Decimal, Decimal | None]], budget: Decimal) -> None:
    balances = Balances()
    for held, taken in settlements:
        for entry in (hold(held), release(held) if taken is None else charge(held, taken)):
            balances = entry.apply(balances)
            available = balances.available(budget)
            assert available is not None
            assert balances.consumed + balances.held + available == budget
            assert sum(entry.legs.values()) == 0
    assert balances.held == 0
    assert balances.consumed == sum((taken for _, taken in settlements if taken is not None), ZERO)


@given(credits_, credits_, credits_)
def test_a_budget_is_hard(consumed: Decimal, held: Decimal, wanted: Decimal) -> None:
    balances = Balances(consumed, held)
    budget = Decimal(500)
    assert balances.fits(wanted, budget) == (consumed + held + wanted <= budget)
    assert balances.fits(wanted, None)


def test_a_failed_task_gives_its_hold_back_unless_the_server_charged_it() -> None:
    free = entry_for(Money.SETTLE_FAILED, Decimal(2), Decimal(2), Decimal(0))
    silent = entry_for(Money.SETTLE_FAILED, Decimal(2), Decimal(2), None)
    charged = entry_for(Money.SETTLE_FAILED, Decimal(2), Decimal(2), Decimal("0.5"))
    assert free == silent == release(Decimal(2))
    assert charged == charge(Decimal(2), Decimal("0.5"))


def test_the_servers_figure_wins_over_the_estimate() -> None:
    assert entry_for(Money.CHARGE, Decimal(2), Decimal(2), Decimal("2.4")) == charge(Decimal(2), Decimal("2.4"))
    assert entry_for(Money.CHARGE, Decimal(2), Decimal(2), None) == charge(Decimal(2), Decimal(2))
    assert entry_for(Money.NOTHING, Decimal(2), Decimal(2), Decimal(9)) is None
