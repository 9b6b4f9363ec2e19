"""Packages and plans: the tables of the price guides, typed in here once more by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from batch_runner import catalog
from batch_runner.model import Pack

VIDEO, IMAGE, TRY_ON = Pack.VIDEO, Pack.IMAGE, Pack.TRY_ON
# Name, pack, USD, units, days, concurrent tasks, USD a unit, once an account, how many at once.
PACKAGES: list[tuple[str, Pack, str | None, int | None, int | None, int | None, str | None, bool, int]] = [
    ("trial-100", VIDEO, "9.79", 100, 30, 3, "0.098", True, 1),
    ("trial-1000", VIDEO, "97.99", 1000, 30, 3, "0.098", True, 1),
    ("package-1", VIDEO, "4200", 30000, 90, 5, "0.140", False, 1),
    ("package-2", VIDEO, "5670", 45000, 90, 5, "0.126", False, 1),
    ("package-3", VIDEO, "6720", 60000, 90, 5, "0.112", False, 1),
    ("custom", VIDEO, None, None, None, None, None, False, 1),
    ("trial-100-2026", VIDEO, "9.80", 100, 30, 5, "0.098", True, 1),
    ("trial-1000-2026", VIDEO, "98", 1000, 30, 5, "0.098", True, 1),
    ("standard-5000-2026", VIDEO, "700", 5000, 180, 20, "0.140", False, 1),
    ("standard-15000-2026", VIDEO, "2100", 15000, 180, 20, "0.140", False, 1),
    ("standard-45000-2026", VIDEO, "5670", 45000, 180, 20, "0.126", False, 1),
    ("standard-60000-2026", VIDEO, "7560", 60000, 180, 20, "0.126", False, 1),
    ("monthly-10000-2025", VIDEO, "1400", 10000, 30, 5, "0.140", False, 3),
    ("monthly-15000-2025", VIDEO, "1890", 15000, 30, 5, "0.126", False, 3),
    ("monthly-20000-2025", VIDEO, "2240", 20000, 30, 5, "0.112", False, 3),
    ("trial-image-1000-2026", IMAGE, None, 1000, 30, 9, None, True, 1),
    ("image-200000-2025", IMAGE, "700", 200000, 30, 9, "0.004", False, 1),
    ("image-400000-2025", IMAGE, None, 400000, 30, 9, None, False, 1),
    ("image-600000-2025", IMAGE, None, 600000, 30, 9, None, False, 1),
    ("try-on-10000-2025", TRY_ON, "700", 10000, 30, 9, "0.070", False, 1),
    ("try-on-20000-2025", TRY_ON, None, 20000, 30, 9, None, False, 1),
    ("try-on-30000-2025", TRY_ON, None, 30000, 30, 9, None, False, 1),
]
# Name, credits a month, USD a month, by 100 credits, on renewal, by the year, and that by 100 credits.
PLANS = [
    ("standard", 660, "6.99", "1.06", "8.80", "6.60", "1.00"),
    ("pro", 3000, "25.99", "0.87", "32.56", "24.42", "0.81"),
    ("premier", 8000, "64.99", "0.81", "80.96", "60.72", "0.76"),
    ("ultra", 26000, "127.99", "0.49", "159.99", "119.16", "0.46"),
]


def rounded(amount: Decimal | None, digits: str) -> str | None:
    return None if amount is None else str(amount.quantize(Decimal(digits)))


def test_the_packages_are_those_of_the_tables() -> None:
    assert list(catalog.packages()) == [row[0] for row in PACKAGES]


@pytest.mark.parametrize("row", PACKAGES, ids=lambda row: row[0])
def test_packages_hold_what_the_tables_say(
    row: tuple[str, Pack, str | None, int | None, int | None, int | None, str | None, bool, int],
) -> None:
    name, pack, price_usd, units, days, tasks, unit_usd, once, periods = row
    package = catalog.packages()[name]
    assert (package.pack, package.units, package.valid_days, package.max_concurrent) == (pack, units, days, tasks)
    assert package.price_usd == (None if price_usd is None else Decimal(price_usd))
    assert rounded(package.unit_usd, "0.001") == unit_usd
    assert (package.once, package.min_periods) == (once, periods)
    assert package.dated in {"2025", "2026"}


def test_discounts_are_those_on_the_list_price() -> None:
    listed = catalog.list_prices_usd()
    assert listed == {VIDEO: Decimal("0.14"), IMAGE: Decimal("0.0035"), TRY_ON: Decimal("0.07")}
    discounts = {row.name: row.discount_pct for row in catalog.packages().values() if row.discount_pct is not None}
    assert discounts == {"package-1": 0, "package-2": 10, "package-3": 20}
    for name, discount_pct in discounts.items():
        package = catalog.packages()[name]
        assert package.unit_usd == listed[package.pack] * (100 - discount_pct) / 100


def test_a_package_that_says_how_many_tasks_it_allows_is_a_tier() -> None:
    packages = catalog.packages()
    assert packages.keys() - catalog.tiers().keys() == {"custom"}
    assert all(
        catalog.tiers()[name].max_concurrent == packages[name].max_concurrent for name in packages.keys() - {"custom"}
    )


def test_plans_are_the_tables() -> None:
    assert list(catalog.plans()) == ["free", *(row[0] for row in PLANS)]
    for name, credits_, price, by_100, renewal, annual, annual_by_100 in PLANS:
        plan = catalog.plans()[name]
        assert (plan.monthly_credits, plan.daily_credits) == (credits_, None)
        assert (plan.price_usd, plan.renewal_usd, plan.annual_usd) == (
            Decimal(price),
            Decimal(renewal),
            Decimal(annual),
        )
        at_once, by_the_year = plan.credit_usd(Decimal(price)), plan.credit_usd(Decimal(annual))
        assert at_once is not None
        assert by_the_year is not None
        assert (rounded(100 * at_once, "0.01"), rounded(100 * by_the_year, "0.01")) == (by_100, annual_by_100)


def test_the_free_plan_has_credits_by_the_day() -> None:
    free = catalog.plans()["free"]
    assert (free.monthly_credits, free.daily_credits) == (None, 66)
    assert free.price_usd == 0
    assert free.credit_usd(Decimal(0)) is None


def test_limits_that_are_published_for_one_plan_stand_there_alone() -> None:
    limited = {name: plan for name, plan in catalog.plans().items() if plan.max_concurrent is not None}
    assert list(limited) == ["pro"]
    assert (limited["pro"].max_concurrent, limited["pro"].max_resolution, limited["pro"].max_clip_s) == (
        4,
        "1080p",
        180,
    )


# Mode, sound, credits of 5 s and of 10 s (section D).
APP = [
    ("std", "off", "10", "20"),
    ("pro", "off", "35", "70"),
    ("std", "on", "50", "100"),
    ("pro", "on", "100", "200"),
]


@pytest.mark.parametrize(("mode", "sound", "five_s", "ten_s"), APP)
def test_the_app_has_prices_of_its_own(mode: str, sound: str, five_s: str, ten_s: str) -> None:
    for duration, credits_ in (("5", five_s), ("10", ten_s)):
        body = {"prompt": "x", "model_name": "kling-v2-6", "mode": mode, "sound": sound, "duration": duration}
        price = catalog.price("text2video", body, book="app")
        assert price is not None
        assert price.credits == Decimal(credits_)


def test_the_app_counts_images_too_and_knows_no_other_model() -> None:
    image = catalog.price("images", {"prompt": "x", "n": 2}, book="app")
    assert image is not None
    assert image.credits == Decimal("0.4")
    assert catalog.price("text2video", {"prompt": "x", "model_name": "kling-v3"}, book="app") is None
    with pytest.raises(KeyError):
        catalog.price("text2video", {"prompt": "x"}, book="shop")


def test_the_months_credits_of_a_plan_make_what_the_guide_says() -> None:
    standard = catalog.plans()["standard"]
    silent = catalog.price("text2video", {"model_name": "kling-v2-6", "duration": "10"}, book="app")
    image = catalog.price("images", {"prompt": "x"}, book="app")
    assert standard.monthly_credits is not None
    assert silent is not None
    assert image is not None
    assert standard.monthly_credits // silent.credits == 33
    assert standard.monthly_credits // image.credits == 3300
