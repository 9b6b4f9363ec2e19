"""A run says beforehand where the account's packs will not last."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from simulation import Scenario, Simulation
from test_run import done, notices, play

from batch_runner.errors import ExitCode
from batch_runner.kling import AccountPack
from batch_runner.model import Pack
from batch_runner.runner.supply import supply_warnings
from batch_runner.sandbox import FaultPlan
from batch_runner.store import LeftRow

NOW_S = 1_767_225_600.0
HOUR_S = 3600.0


def pack(remaining: str | None, expires_in_s: float | None, name: str = "Trial-Video-100Units-5Con") -> AccountPack:
    expires_at_s = None if expires_in_s is None else NOW_S + expires_in_s
    left = None if remaining is None else Decimal(remaining)
    return AccountPack(name, "online", Decimal(100), left, expires_at_s)


def rows(count: int, pack_: Pack = Pack.VIDEO) -> list[LeftRow]:
    return [LeftRow("text2video", "kling-v1", pack_, Decimal(1), 1, count)]


def warnings(packs: list[AccountPack], left: list[LeftRow]) -> str:
    return "\n".join(supply_warnings(packs, left, NOW_S, 5))


def test_packs_that_hold_too_little_are_told_with_both_figures() -> None:
    text = warnings([pack("10", 90 * 86_400), pack("2.5", 90 * 86_400)], rows(13))
    assert "hold 12.5 credits" in text
    assert "needs 13" in text
    assert not warnings([pack("10", 90 * 86_400), pack("3", 90 * 86_400)], rows(13))


def test_packs_that_lapse_before_the_earliest_end_are_told() -> None:
    """1,000 tasks of 319 s, five at a time, take 17.7 hours."""
    assert "lapse at 2026-01-01T17:00" in warnings([pack("5000", 17 * HOUR_S)], rows(1000))
    assert not warnings([pack("5000", 18 * HOUR_S)], rows(1000))
    assert not warnings([pack("5000", None)], rows(1000))


@pytest.mark.parametrize(
    "packs", [[], [pack("1", 9.0, "Trial-Image-1000Units-9Con")], [pack(None, None)]], ids=["none", "other", "unsaid"]
)
def test_nothing_is_claimed_of_packs_that_say_nothing(packs: list[AccountPack]) -> None:
    assert not warnings(packs, rows(50))


def test_a_run_tells_it_and_goes_on_until_the_account_is_empty(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert "they will run out" in notices(simulation)
        assert summary.exit_code == ExitCode.ACCOUNT
        assert summary.items.succeeded == 2

    play(tmp_path, work, "a", "b", "c", pack_credits=Decimal(2))


def test_a_run_does_not_depend_on_it(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await done(simulation)
        assert summary.exit_code == ExitCode.OK
        assert "does not tell its packs" in notices(simulation)

    broken = Scenario(slots=2, faults=FaultPlan(script={"account": ["server_error_before"]}))
    play(tmp_path, work, "a", scenario=broken)
