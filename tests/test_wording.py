from __future__ import annotations

from decimal import Decimal

import pytest

from batch_runner.budgets import Overdraft, RollingBudget
from batch_runner.errors import ManifestError, Problem
from batch_runner.records import credits_named
from batch_runner.wording import by_count, plural


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 items"), (1, "1 item"), (2, "2 items"), (1240, "1,240 items"), (-1, "-1 items")]
)
def test_a_noun_goes_with_its_number(count: int, text: str) -> None:
    assert plural(count, "item") == text


def test_nouns_that_take_no_s_are_given_whole() -> None:
    assert [plural(count, "batch", "batches") for count in (1, 2)] == ["1 batch", "2 batches"]


@pytest.mark.parametrize(("figure", "text"), [("1", "1 credit"), ("1.00", "1 credit"), ("0.5", "0.5 credits")])
def test_one_credit_is_one_and_a_part_of_one_is_several(figure: str, text: str) -> None:
    assert credits_named(Decimal(figure)) == text


def test_verbs_go_with_their_number_too() -> None:
    assert [by_count(count, "is", "are") for count in (0, 1, 2)] == ["are", "is", "are"]
    told = Overdraft("the budget of 0", "video", Decimal(1), Decimal(1))
    assert str(told).startswith("1 credit (video) is consumed or held")


def test_one_problem_and_one_credit_are_told_in_the_singular() -> None:
    assert str(ManifestError("films.jsonl", [Problem(1, None, "is odd")])).startswith("films.jsonl: 1 problem, ")
    assert "of 1 credit (video) in any 1d" in str(RollingBudget("video", 86_400, Decimal(1)))
