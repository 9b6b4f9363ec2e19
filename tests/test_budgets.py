"""What a rolling budget leaves, and when it has room again."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_runner.budgets import Charged, Purse, RollingBudget, Window
from batch_runner.clock import iso_utc
from batch_runner.ledger import Balances

NOW_S = 1_767_225_600.0
credits_ = st.decimals(min_value=0, max_value=50, places=2)
charged = st.lists(st.builds(Charged, credits_, st.floats(0.001, 1e6)), max_size=12).map(tuple)


def budget(credits_: str = "10", window_s: int = 86_400) -> RollingBudget:
    return RollingBudget("video", window_s, Decimal(credits_))


@pytest.mark.parametrize(
    ("window_s", "window"), [(1, "1s"), (90, "90s"), (5400, "90m"), (21_600, "6h"), (86_400, "1d"), (2_592_000, "30d")]
)
def test_a_window_is_told_in_its_largest_whole_unit(window_s: int, window: str) -> None:
    assert budget(window_s=window_s).window == window
    assert budget("0.5", window_s).name == f"video/{window}"
    assert str(budget("0.5", window_s)) == f"the rolling budget of 0.5 credits (video) in any {window}"


@given(charged, credits_, credits_)
def test_room_appears_exactly_when_enough_has_left_the_window(
    spent: tuple[Charged, ...], held: Decimal, needed: Decimal
) -> None:
    window = Window(budget("50"), held, spent)
    assert window.consumed + window.held + window.available == 50
    room_in_s = window.room_in_s(needed)

    def left_at(age_s: float) -> Decimal:
        return 50 - held - sum((each.credits for each in spent if each.left_s > age_s), Decimal(0))

    if room_in_s is None:
        assert held + needed > 50
    else:
        assert left_at(room_in_s) >= needed
        earlier = [0.0, *(each.left_s for each in spent if each.left_s < room_in_s)]
        assert room_in_s == 0 or all(left_at(age_s) < needed for age_s in earlier)


def purse(batch: str | None, *windows: Window, consumed: str = "0") -> Purse:
    return Purse("video", None if batch is None else Decimal(batch), Balances(Decimal(consumed)), windows)


@given(charged, charged, credits_, st.one_of(st.none(), credits_))
def test_a_hold_fits_when_no_budget_falls_short(
    day: tuple[Charged, ...], month: tuple[Charged, ...], needed: Decimal, batch: Decimal | None
) -> None:
    windows = (Window(budget("40"), Decimal(1), day), Window(budget("60", 2_592_000), Decimal(1), month))
    here = Purse("video", batch, Balances(Decimal(2), Decimal(1)), windows)
    assert here.fits(needed) == (not here.shortages(needed, NOW_S))


def test_every_budget_that_stops_an_item_says_what_it_leaves_and_what_makes_room() -> None:
    day = Window(budget("10"), Decimal("0.5"), (Charged(Decimal(6), 3600), Charged(Decimal(3), 60)))
    short = purse("5", day, Window(budget("100", 2_592_000), Decimal(0)), consumed="4").shortages(Decimal(4), NOW_S)
    assert [str(each) for each in short] == [
        "the batch's budget of 5 credits (video) has 1 left and the next item needs 4: raise --budget to go on",
        f"{day.budget} has 0.5 left and the next item needs 4: room appears at {iso_utc(NOW_S + 3600)}, run again then",
    ]


def test_what_time_alone_does_not_mend_is_told_as_that() -> None:
    dear = purse(None, Window(budget("3"), Decimal(0))).shortages(Decimal(4), NOW_S)
    assert "more than it ever allows; raise it" in str(dear[0])
    held = purse(None, Window(budget("5"), Decimal(2), (Charged(Decimal(1), 60),))).shortages(Decimal(4), NOW_S)
    assert str(held[0]).endswith(
        "has 2 left and the next item needs 4: tasks that are not settled hold 2 of it: room appears when they end"
        " uncharged, else 1d after they are charged"
    )
    overdrawn = purse(None, Window(budget("5"), Decimal(0), (Charged(Decimal(9), 60),))).shortages(Decimal(1), NOW_S)
    assert "has 0 left (it is exceeded by 4) and" in str(overdrawn[0])


def test_where_charges_and_holds_are_both_in_the_way_no_room_is_promised_before_the_charges_have_left() -> None:
    full = Window(budget("1"), Decimal(2), (Charged(Decimal(1), 3600),))
    (short,) = purse(None, full).shortages(Decimal(1), NOW_S)
    assert "has 0 left (it is exceeded by 2)" in str(short)
    assert short.remedy == (
        f"tasks that are not settled hold 2 of it: room appears at {iso_utc(NOW_S + 3600)} if they end uncharged,"
        " else 1d after they are charged"
    )


def test_a_budget_of_which_more_is_taken_than_it_allows_is_overdrawn() -> None:
    day, month = Window(budget("4"), Decimal(2), (Charged(Decimal(3), 60),)), Window(budget("9"), Decimal(9))
    assert [str(each) for each in purse("4", day, month, consumed="4").overdrafts()] == [
        f"5 credits (video) are consumed or held, 1 over {day.budget}; nothing new is submitted beyond it"
    ]
    assert "6 credits (video) are consumed or held, 1.5 over the budget of 4.5;" in str(
        purse("4.5", consumed="6").overdrafts()[0]
    )
