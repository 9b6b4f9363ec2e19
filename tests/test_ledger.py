"""Holds, charges and releases conserve credits, to the last decimal."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from batch_runner import catalog
from batch_runner.catalog import PriceBook
from batch_runner.ledger import ZERO, Account, Balances, Entry, Move, charge, entry_for, hold, release, sums
from batch_runner.lifecycle import Money

API, APP = (catalog.price_books()[name] for name in ("api", "app"))
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


@given(credits_, st.one_of(st.none(), credits_))
def test_every_entry_is_one_or_two_moves_with_two_legs_each(held: Decimal, taken: Decimal | None) -> None:
    for entry in (hold(held), release(held) if taken is None else charge(held, taken)):
        assert 1 <= len(entry.moves) <= 2
        assert (len(entry.moves) == 2) == (entry.entry == "charge" and entry.credits != held)
        for move in entry.moves:
            assert move.credits >= 0
            assert [move.leg(move.source), move.leg(move.target)] == [-move.credits, move.credits]
            assert sum(move.leg(account) for account in Account) == 0
        assert entry.apply(Balances()) == sums((move, 1) for move in entry.moves)


def test_a_charge_that_differs_from_its_hold_says_where_the_difference_goes() -> None:
    assert charge(Decimal(2), Decimal("2.5")).moves == (
        Move(Account.HELD, Account.CONSUMED, Decimal(2)),
        Move(Account.AVAILABLE, Account.CONSUMED, Decimal("0.5")),
    )
    assert charge(Decimal(2), Decimal("1.5")).moves == (
        Move(Account.HELD, Account.CONSUMED, Decimal("1.5")),
        Move(Account.HELD, Account.AVAILABLE, Decimal("0.5")),
    )


def test_nothing_is_available_where_there_is_no_budget() -> None:
    assert Balances(Decimal(1), Decimal(2)).available(Decimal(2)) == -1
    assert Balances(Decimal(1), Decimal(2)).available(None) is None


def settled(money: Money, server_charge: str | None, book: PriceBook = API) -> Entry | None:
    figure = None if server_charge is None else Decimal(server_charge)
    return entry_for(money, Decimal("2.4"), Decimal(2), figure, book)


def test_a_failed_task_gives_its_hold_back_unless_the_server_or_the_price_book_charges_it() -> None:
    free = release(Decimal("2.4"))
    assert settled(Money.SETTLE_FAILED, "0") == settled(Money.SETTLE_FAILED, None) == free
    assert settled(Money.SETTLE_FAILED, "0.5") == charge(Decimal("2.4"), Decimal("0.5"))
    assert settled(Money.SETTLE_FAILED, None, APP) == charge(Decimal("2.4"), Decimal(2))
    assert settled(Money.SETTLE_FAILED, "0", APP) == free


def test_the_servers_figure_wins_over_the_estimate() -> None:
    assert settled(Money.CHARGE, "2.8") == charge(Decimal("2.4"), Decimal("2.8"))
    assert settled(Money.CHARGE, None) == charge(Decimal("2.4"), Decimal(2))
    assert settled(Money.NOTHING, "9") is None
    assert settled(Money.RELEASE, None) == release(Decimal("2.4"))


def test_a_hold_carries_the_buffer_of_the_price_book() -> None:
    assert entry_for(Money.HOLD, ZERO, Decimal(2), None, API) == hold(Decimal(2))
    assert entry_for(Money.HOLD, ZERO, Decimal(2), None, APP) == hold(Decimal("2.4"))
