"""What a ledger and an account prove about each other, and what they leave open."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_runner.kling import AccountPack, Deduction
from batch_runner.model import Pack
from batch_runner.reconciliation import LAG_S, Account, Comparison, Deductions, Finding, compare
from batch_runner.store import BookedTask

FIRST_S = 1_767_225_600.0
NOW_S = FIRST_S + 30 * 86_400
OLD_S = NOW_S - LAG_S
NEW_S = OLD_S + 0.001

Told = tuple[Finding, list[str]]


def task(name: str = "t", charged: str | None = "2", **changes: Any) -> BookedTask:
    figure = None if charged is None else Decimal(charged)
    plain = BookedTask("b", f"i-{name}", 1, name, Pack.VIDEO, Decimal(2), figure, Decimal(0), "server", OLD_S)
    return replace(plain, **changes)


def pack(used: str | None, began_at_s: float | None = FIRST_S, **changes: Any) -> AccountPack:
    remaining = None if used is None else 1000 - Decimal(used)
    plain = AccountPack("A-Video-1000Units-5Con", "online", Decimal(1000), remaining, NOW_S + 9e6, began_at_s)
    return replace(plain, **changes)


def taken(task_id: str, amount: str | None, pack_: Pack | None = Pack.VIDEO) -> Deduction:
    return Deduction(task_id, NOW_S, "", "", None if amount is None else Decimal(amount), None, pack_)


def compared(tasks: list[BookedTask], *packs: AccountPack, listed: Deductions | None = None) -> Comparison:
    (found,) = compare(tasks, Account(packs, listed, FIRST_S, NOW_S))
    return found


def has(comparison: Comparison, words: str) -> bool:
    return any(words in note for note in comparison.notes)


# --- totals alone ---------------------------------------------------------------------------------------------


def test_equal_totals_since_a_pack_that_began_later_add_up() -> None:
    found = compared([task("a"), task("b", "2.5")], pack("4.5"))
    assert (found.finding, found.least, found.most) == (Finding.ADDS_UP, Decimal("4.5"), Decimal("4.5"))
    assert found.deducted is None


def test_a_pack_that_shows_less_than_was_charged_long_ago_does_not_add_up() -> None:
    found = compared([task("a"), task("b")], pack("3.5"))
    assert found.finding is Finding.DOES_NOT_ADD_UP
    assert has(found, "the packs show 0.5 less than was charged until 12 hours ago")


def test_what_is_younger_than_the_lag_proves_nothing_yet() -> None:
    found = compared([task("a"), task("b", at_s=NEW_S)], pack("2"))
    assert found.finding is Finding.CANNOT_TELL
    assert has(found, "2 of it were charged in the last 12 hours")
    assert compared([task("a"), task("b", at_s=OLD_S)], pack("2")).finding is Finding.DOES_NOT_ADD_UP


def test_more_use_than_ours_is_not_blamed_on_anybody() -> None:
    later = compared([task()], pack("9"))
    assert later.finding is Finding.CANNOT_TELL
    assert has(later, "the account used at least 7 more: other programs")
    earlier = compared([task()], pack("9", FIRST_S - 1))
    assert (earlier.finding, earlier.least, earlier.most) == (Finding.CANNOT_TELL, Decimal(0), Decimal(9))
    assert has(earlier, "up to 7 more may have been used: before the first entry")


def test_what_is_held_may_have_been_taken_already() -> None:
    found = compared([task("a"), task("b", None, held=Decimal(3))], pack("5"))
    assert found.finding is Finding.CANNOT_TELL
    assert has(found, "3 are held for tasks that are not settled")
    assert not has(found, "more")


@pytest.mark.parametrize(
    "packs",
    [
        [],
        [pack(None)],
        [pack("2"), pack("1", name="Trial")],
        [pack("2", name="B-Image-1000Units")],
        [pack("2", expires_at_s=FIRST_S)],
    ],
)
def test_packs_that_do_not_tell_prove_nothing(packs: list[AccountPack]) -> None:
    found = compared([task()], *packs)
    assert (found.finding, found.least, found.most) == (Finding.CANNOT_TELL, None, None)
    assert has(found, "do not let one tell")


def test_a_lapsed_pack_counts_for_the_most_only_and_money_may_have_stepped_in() -> None:
    lapsed = pack("700", status="expired")
    found = compared([task()], lapsed, pack("2"))
    assert (found.finding, found.least, found.most) == (Finding.CANNOT_TELL, Decimal(2), Decimal(702))
    short = compared([task("a", "2000")], pack("1000", status="runOut"))
    assert short.finding is Finding.CANNOT_TELL, "the rest may have been paid from the balance"


def test_currencies_are_compared_apart() -> None:
    image = pack("8", name="B-Image-1000Units-9Con")
    tasks = [task("a"), task("b", "8", pack=Pack.IMAGE)]
    found = compare(tasks, Account([pack("2"), image], None, FIRST_S, NOW_S))
    assert [(each.pack, each.finding) for each in found] == [
        (Pack.IMAGE, Finding.ADDS_UP),
        (Pack.VIDEO, Finding.ADDS_UP),
    ]


# --- task by task ---------------------------------------------------------------------------------------------


def test_deductions_that_are_our_charges_add_up_whatever_others_used() -> None:
    rows = [taken("a", "1.5"), taken("a", "0.5"), taken("b", "2.5"), taken("foreign", "9"),
            taken("their image", "8", Pack.IMAGE)]  # fmt: skip
    found = compared([task("a"), task("b", "2.5"), task("c", None), task("d", "0")], listed=Deductions(rows))
    assert (found.finding, found.deducted, found.others) == (Finding.ADDS_UP, Decimal("4.5"), Decimal(9))
    assert has(found, "9 were deducted for tasks that are not in this ledger")
    assert has(found, "the server's figures came to -1.5 beyond the estimates (drift)")


@pytest.mark.parametrize(
    ("ours", "rows", "words"),
    [
        (task(), [taken("t", "2.5")], "the ledger has 2, the account 2.5"),
        (task(), [], "the ledger has 2, the account no deduction"),
        (task(charged=None), [taken("t", "2")], "the ledger has no charge, the account 2"),
        (task(charged="0", at_s=NEW_S), [taken("t", "2")], "the ledger has 0, the account 2"),
    ],
)
def test_a_task_on_which_they_differ_does_not_add_up(ours: BookedTask, rows: list[Deduction], words: str) -> None:
    found = compared([ours], listed=Deductions(rows))
    assert found.finding is Finding.DOES_NOT_ADD_UP
    assert [str(mismatch) for mismatch in found.mismatches] == [f"i-t (batch b, attempt 1, task t): {words}"]


@pytest.mark.parametrize(
    ("ours", "listed"),
    [
        (task(at_s=NEW_S), Deductions([])),
        (task(task_id=None), Deductions([])),
        (task(), Deductions([taken("t", None)])),
        (task(), Deductions([], is_complete=False)),
        (task(), Deductions([], paid_in_money=frozenset({"t"}))),
    ],
)
def test_what_the_list_does_not_say_is_no_mismatch_and_not_proven(ours: BookedTask, listed: Deductions) -> None:
    found = compared([ours], listed=listed)
    assert (found.finding, found.mismatches) == (Finding.CANNOT_TELL, ())


def test_packs_that_lost_too_little_contradict_the_ledger_also_where_the_list_agrees_with_it() -> None:
    tasks, rows = [task("a"), task("b")], Deductions([taken("a", "2"), taken("b", "2")])
    found = compared(tasks, pack("0"), listed=rows)
    assert (found.finding, found.mismatches) == (Finding.DOES_NOT_ADD_UP, ())
    assert has(found, "the packs show 4 less than was charged until 12 hours ago")
    assert compared(tasks, pack("4"), listed=rows).finding is Finding.ADDS_UP
    assert compared(tasks, pack("3", status="runOut"), listed=rows).finding is Finding.CANNOT_TELL
    fresh = compared([replace(each, at_s=NEW_S) for each in tasks], pack("0"), listed=rows)
    assert fresh.finding is Finding.ADDS_UP, "the packs may be late"


def test_what_was_paid_in_money_need_not_be_missing_from_a_pack() -> None:
    rows = Deductions([taken("a", "2")], paid_in_money=frozenset({"b"}))
    found = compared([task("a"), task("b")], pack("2"), listed=rows)
    assert found.finding is Finding.CANNOT_TELL
    assert not has(found, "less than was charged")


def test_an_open_task_may_have_been_deducted_already() -> None:
    open_task = task(charged=None, held=Decimal(2))
    found = compared([open_task], listed=Deductions([taken("t", "2")]))
    assert (found.finding, found.mismatches) == (Finding.ADDS_UP, ())


def test_a_charge_at_the_estimate_is_told_for_it_may_be_the_difference() -> None:
    found = compared([task(charge_source="estimate")], pack("2"))
    assert has(found, "2 stand at the estimate")
    assert not has(compared([task()], pack("2")), "estimate")


amounts = st.decimals(min_value=0, max_value=50, places=2).map(str)


@given(st.dictionaries(st.sampled_from("abcdef"), amounts, min_size=1), amounts)
def test_an_honest_account_never_fails_to_add_up(charges: dict[str, str], foreign: str) -> None:
    tasks = [task(name, charged) for name, charged in charges.items()]
    used = str(sum(map(Decimal, charges.values()), Decimal(foreign)))
    rows = [taken(name, charged) for name, charged in charges.items() if Decimal(charged)]
    for listed in (None, Deductions([*rows, taken("x", foreign)])):
        for packs in ([pack(used)], [pack(used, FIRST_S - 9)], []):
            assert compared(tasks, *packs, listed=listed).finding is not Finding.DOES_NOT_ADD_UP


@given(st.dictionaries(st.sampled_from("abcdef"), amounts, min_size=1), st.sampled_from(["0.01", "3"]))
def test_a_listed_difference_is_always_found(charges: dict[str, str], difference: str) -> None:
    tasks = [task(name, charged) for name, charged in charges.items()]
    rows = [taken(name, charged) for name, charged in charges.items()]
    victim = rows[0]
    assert victim.amount is not None
    rows[0] = replace(victim, amount=victim.amount + Decimal(difference))
    found = compared(tasks, listed=Deductions(rows))
    assert [mismatch.task.task_id for mismatch in found.mismatches] == [victim.task_id]
