"""``prices``: books, rows, packages and plans, and which row wins where two disagree."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest

from batch_runner import catalog, cli, pricing
from batch_runner.catalog import load
from batch_runner.catalog.capabilities import Shape
from batch_runner.catalog.price_list import PriceList
from batch_runner.model import Pack

DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")


def test_prices_need_no_keys_and_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prices"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    books = ("Price book api: prices every run", "Price book app: for comparing plans only")
    for words in (
        *books,
        "kling-3.0-turbo",
        "5 s begun of input.video_url",
        "package-3",
        "standard-60000-2026",
        "ultra",
    ):
        assert words in out


def test_the_json_has_every_row_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prices", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    api, app = data["books"]
    assert (api["name"], api["failures_charged"], api["buffer_pct"]) == ("api", False, "0")
    assert (app["name"], app["failures_charged"], app["buffer_pct"]) == ("app", True, "20")
    rows = [*api["rows"], *app["rows"]]
    assert len(rows) == len(load.packaged().prices.price) > 80
    assert all(row["source"] and re.match("202[0-9]", row["dated"]) for row in rows)
    assert all(DECIMAL.fullmatch(row["per_second"]) for row in rows if "per_second" in row)
    assert {package["name"] for package in data["packages"]} == set(catalog.packages())
    assert {plan["name"] for plan in data["plans"]} == set(catalog.plans())
    assert data["packages"][0]["price_usd"] == "9.79"


def test_the_newer_row_of_the_vendor_wins_and_says_why() -> None:
    (found,) = catalog.price_disputes("api")
    assert (found.kinds, found.winner.words, found.loser.words) == (("ai-multi-shot",), "20 a call", "0.5 a call")
    assert (found.winner.pack, found.loser.pack, found.why) == (None, Pack.VIDEO, "newer: 2026-09 after 2026-01-23")
    price = catalog.price("ai-multi-shot", {"element_frontal_image": "x.png"})
    assert price is not None
    assert (price.pack, price.credits) == (Pack.IMAGE, Decimal(20))
    rows = catalog.price_rows("ai-multi-shot", {"element_frontal_image": "x.png"})
    assert [row.words for row in rows] == ["20 a call", "0.5 a call"]
    text = "\n".join(pricing.prices().lines)
    assert (
        "ai-multi-shot: 20 a call (Kling API documentation, image prices, 2026-09) wins over 0.5 a call (video)" in text
    )


def test_both_generations_of_packages_are_told_apart() -> None:
    pairs = {(pair.winner.name, pair.loser.name) for pair in catalog.package_disputes()}
    assert pairs >= {("trial-100-2026", "trial-100"), ("standard-45000-2026", "package-2")}
    assert all(pair.winner.dated > pair.loser.dated for pair in catalog.package_disputes())


def edited(**changes: str) -> PriceList:
    texts = load.packaged_texts()
    row = {"kinds": '["tts"]', "per_call": "9", "source": '"somebody"', "dated": '"2030"'} | changes
    texts["prices/edits"] += "\n[[price]]\n" + "".join(f"{key} = {value}\n" for key, value in row.items())
    data = load.parse(texts)
    return PriceList(next(row for row in data.products.product if row.kind == "tts"), data.prices, "api")


@pytest.mark.parametrize(
    ("changes", "credits_"),
    [
        ({}, "9"),
        ({"vendor": "false"}, "0.05"),
        ({"dated": '"2026-08"'}, "0.05"),
        ({"dated": '"2026-09"'}, "9"),
        ({"book": '"app"'}, "0.05"),
    ],
)
def test_the_vendors_newest_row_counts_and_of_one_date_the_later(changes: dict[str, str], credits_: str) -> None:
    shape = Shape("", None, None, frozenset())
    quote = edited(**changes).plain(shape)
    assert quote is not None
    assert quote.price is not None
    assert quote.price.credits == Decimal(credits_)


def test_no_two_rows_of_one_list_disagree() -> None:
    """Where a source has two prices for one body, an option is missing in the data."""
    for book in catalog.price_books():
        assert [found for found in catalog.price_disputes(book) if found.winner.rank == found.loser.rank] == []
