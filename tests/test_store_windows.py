"""Rolling budgets in the store: what counts, for how long by which clock, and in which realm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_kit import item, items

from batch_runner.budgets import RollingBudget
from batch_runner.lifecycle import Event
from batch_runner.model import Realm
from batch_runner.store import Attempt, Batch, Claim, Facts, SqliteStore, StoreReader
from batch_runner.virtual_time import VirtualClock, run_virtual

MINUTE = RollingBudget("video", 60, Decimal(5))


class SetClock(VirtualClock):
    """A virtual clock whose wall can be set, and that can be booted anew."""

    set_by_s = 0.0
    boots = 0

    def wall_s(self) -> float:
        return super().wall_s() + self.set_by_s

    def epoch(self) -> str:
        return f"boot-{self.boots}"

    def uptime_s(self) -> float:
        return super().uptime_s() if not self.boots else super().uptime_s() / 2


class Folder:
    """One output folder, opened as often as wanted."""

    def __init__(self, path: Path, clock: SetClock) -> None:
        self.path = path
        self.clock = clock

    async def open(self) -> None:
        self.store = await SqliteStore.open(self.path, self.clock)

    async def restart(self) -> None:
        await self.store.close()
        await self.open()

    async def batch(self, name: str = "b", realm: Realm = Realm.REAL, count: int = 9, credits_: str = "2") -> Batch:
        rows = [item(f"i{n}", n + 1, credits_) for n in range(count)]
        batch = await self.store.load_batch(name, realm=realm, manifest="m", items=items(*rows))
        await self.store.adopt(batch, [], {})
        return batch

    async def claim(self, batch: Batch, *rolling: RollingBudget) -> Claim:
        return await self.store.claim_next(batch, {}, rolling=rolling)

    async def held(self, batch: Batch, *rolling: RollingBudget) -> Attempt:
        attempt = (await self.claim(batch, *rolling)).attempt
        assert attempt is not None
        return attempt

    async def end(self, attempt: Attempt, charged: str | None, event: Event = Event.SUCCEED) -> None:
        for step in (Event.SEND, Event.ACCEPT, event):
            facts = Facts(task_id="t", charged=None if charged is None else Decimal(charged))
            attempt = await self.store.apply(attempt, step, {}, facts)

    async def charge(self, batch: Batch, charged: str = "2") -> None:
        await self.end(await self.held(batch), charged)


def play(tmp_path: Path, work: Callable[[Folder], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        folder = Folder(tmp_path / "state.db", SetClock(asyncio.get_running_loop()))
        await folder.open()
        try:
            await work(folder)
        finally:
            await folder.store.close()

    run_virtual(main)
    with StoreReader.open(tmp_path / "state.db") as reader:
        assert reader.ledger_faults() == []


def test_the_edge_of_a_window_is_exact(tmp_path: Path) -> None:
    async def work(folder: Folder) -> None:
        batch = await folder.batch()
        await folder.charge(batch)
        await folder.charge(batch)
        await asyncio.sleep(59.5)
        short = (await folder.claim(batch, MINUTE)).shortages
        assert [(each.available, each.needed) for each in short] == [(Decimal(1), Decimal(2))]
        assert "room appears at 2026-01-01T00:01:00.000Z" in str(short[0])
        await asyncio.sleep(0.5)
        assert (await folder.claim(batch, MINUTE)).attempt is not None

    play(tmp_path, work)


def test_the_last_credits_are_held_once(tmp_path: Path) -> None:
    """Two charges and a hold fill it; however many items end in one instant, one hold more fits and no second."""

    async def work(folder: Folder) -> None:
        batch = await folder.batch(credits_="1")
        running = [await folder.held(batch, MINUTE) for _ in range(5)]
        assert (await folder.claim(batch, MINUTE)).blocked
        await asyncio.gather(*(folder.end(each, "0", Event.FAIL) for each in running[:2]),
                             *(folder.end(each, "1") for each in running[2:]))  # fmt: skip
        claims = await asyncio.gather(*(folder.claim(batch, MINUTE) for _ in range(4)))
        assert [claim.attempt is not None for claim in claims] == [True, True, False, False]

    play(tmp_path, work)


def test_of_two_budgets_the_tighter_one_stops_and_both_are_told_where_both_do(tmp_path: Path) -> None:
    async def work(folder: Folder) -> None:
        hour = RollingBudget("video", 3600, Decimal(7))
        batch = await folder.batch()
        for _ in range(2):
            await folder.charge(batch)
        told = (await folder.claim(batch, MINUTE, hour)).shortages
        assert [short.budget for short in told] == [str(MINUTE)]
        await asyncio.sleep(60)
        await folder.end(await folder.held(batch, MINUTE, hour), "2")
        told = (await folder.claim(batch, MINUTE, hour)).shortages
        assert [short.budget for short in told] == [str(hour)]
        await folder.charge(batch)
        told = (await folder.claim(batch, MINUTE, hour)).shortages
        assert [short.budget for short in told] == [str(MINUTE), str(hour)]

    play(tmp_path, work)


def test_a_budget_of_another_pack_does_not_matter(tmp_path: Path) -> None:
    async def work(folder: Folder) -> None:
        batch = await folder.batch()
        assert (await folder.claim(batch, RollingBudget("image", 60, Decimal(0)))).attempt is not None

    play(tmp_path, work)


def test_a_charged_failure_and_a_charge_at_another_figure_count_and_a_release_does_not(tmp_path: Path) -> None:
    async def work(folder: Folder) -> None:
        batch = await folder.batch()
        await folder.end(await folder.held(batch), "0.5", Event.FAIL)
        await folder.end(await folder.held(batch), None, Event.FAIL)
        await folder.end(await folder.held(batch), "3.25")
        assert [short.available for short in (await folder.claim(batch, MINUTE)).shortages] == [Decimal("1.25")]

    play(tmp_path, work)


def test_all_batches_of_the_folder_count_and_a_restart_forgets_none(tmp_path: Path) -> None:
    async def work(folder: Folder) -> None:
        await folder.charge(await folder.batch("one"))
        await folder.held(await folder.batch("two"))
        await folder.restart()
        other = await folder.batch("three")
        assert [short.available for short in (await folder.claim(other, MINUTE)).shortages] == [1]

    play(tmp_path, work)


@pytest.mark.parametrize("realm", [Realm.SANDBOX, Realm.LOCAL])
def test_credits_of_another_realm_do_not_count(tmp_path: Path, realm: Realm) -> None:
    async def work(folder: Folder) -> None:
        simulated = await folder.batch("simulated", realm)
        await folder.charge(simulated, "5")
        real = await folder.batch("real", Realm.REAL)
        await folder.charge(real, "4")
        assert [short.available for short in (await folder.claim(simulated, MINUTE)).shortages] == [0]
        assert [short.available for short in (await folder.claim(real, MINUTE)).shortages] == [1]

    play(tmp_path, work)


def test_a_wall_clock_that_is_set_forward_makes_no_room(tmp_path: Path) -> None:
    async def work(folder: Folder) -> None:
        batch = await folder.batch()
        await folder.charge(batch, "4")
        await folder.restart()
        folder.clock.set_by_s = 86_400
        await asyncio.sleep(59)
        assert (await folder.claim(batch, MINUTE)).blocked
        await asyncio.sleep(1)
        assert (await folder.claim(batch, MINUTE)).attempt is not None

    play(tmp_path, work)


def test_a_wall_clock_that_is_set_back_neither_makes_room_nor_holds_it_back(tmp_path: Path) -> None:
    async def work(folder: Folder) -> None:
        batch = await folder.batch()
        await folder.charge(batch, "4")
        folder.clock.set_by_s = -86_400
        assert (await folder.claim(batch, MINUTE)).blocked
        await asyncio.sleep(60)
        assert (await folder.claim(batch, MINUTE)).attempt is not None

    play(tmp_path, work)


def test_after_a_reboot_the_wall_clock_tells_and_an_entry_from_the_future_counts(tmp_path: Path) -> None:
    async def work(folder: Folder) -> None:
        batch = await folder.batch()
        await asyncio.sleep(1000)
        await folder.charge(batch, "4")
        folder.clock.boots = 1
        folder.clock.set_by_s = -30
        short = (await folder.claim(batch, MINUTE)).shortages
        assert [each.available for each in short] == [1]
        await asyncio.sleep(89)
        assert (await folder.claim(batch, MINUTE)).blocked
        await asyncio.sleep(1)
        assert (await folder.claim(batch, MINUTE)).attempt is not None

    play(tmp_path, work)


def test_a_withdrawn_item_asks_for_room_again(tmp_path: Path) -> None:
    async def work(folder: Folder) -> None:
        batch = await folder.batch(count=2, credits_="3")
        first = await folder.held(batch, MINUTE)
        await folder.store.apply(first, Event.WITHDRAW, {}, Facts(reason="stopped"))
        other = await folder.batch("other", credits_="3")
        await folder.charge(other, "3")
        assert (await folder.claim(batch, MINUTE)).blocked
        await asyncio.sleep(60)
        again = await folder.held(batch, MINUTE)
        assert again.external_task_id == first.external_task_id

    play(tmp_path, work)


class Oracle:
    """The rule itself, from a plain list: what was charged when, and what is held."""

    def __init__(self) -> None:
        self.charged: list[tuple[float, Decimal]] = []
        self.held: dict[str, Decimal] = {}

    def left(self, budget: RollingBudget, now_s: float) -> Decimal:
        young = sum((credits_ for at_s, credits_ in self.charged if now_s - at_s < budget.window_s), Decimal(0))
        return budget.credits - young - sum(self.held.values(), Decimal(0))


WHAT = (*["claim"] * 5, *["succeed"] * 3, "fail", "withdraw", *["wait"] * 3, "restart", *["set the clock"] * 2)
steps = st.lists(
    st.tuples(st.sampled_from(WHAT), st.integers(0, 7), st.sampled_from(["0", "1", "2"])), min_size=30, max_size=60
)


@settings(max_examples=30, deadline=None)
@given(steps)
def test_holds_are_made_exactly_while_every_window_has_room(play_: list[tuple[str, int, str]]) -> None:
    budgets = (MINUTE, RollingBudget("video", 150, Decimal(8)))

    async def work(folder: Folder) -> None:
        oracle = Oracle()
        batches = [await folder.batch("one", count=40), await folder.batch("two", count=40)]
        running: list[Attempt] = []
        for what, number, charged in play_:
            now_s = asyncio.get_running_loop().time()
            if what == "claim":
                claim = await folder.claim(batches[number % 2], *budgets)
                short = [str(budget) for budget in budgets if oracle.left(budget, now_s) < 2]
                assert [each.budget for each in claim.shortages] == short
                assert (claim.attempt is None) == bool(short)
                if claim.attempt is not None:
                    running.append(claim.attempt)
                    oracle.held[claim.attempt.external_task_id] = Decimal(2)
            elif what == "wait":
                await asyncio.sleep(10 * number)
            elif what == "restart":
                await folder.restart()
            elif what == "set the clock":
                folder.clock.set_by_s = (number - 3) * 100_000.0
            elif running:
                attempt = running.pop(number % len(running))
                del oracle.held[attempt.external_task_id]
                if what == "withdraw":
                    await folder.store.apply(attempt, Event.WITHDRAW, {}, Facts(reason="stopped"))
                    continue
                await folder.end(attempt, charged, Event.SUCCEED if what == "succeed" else Event.FAIL)
                oracle.charged.append((now_s, Decimal(charged)))

    with TemporaryDirectory() as folder:
        play(Path(folder), work)
