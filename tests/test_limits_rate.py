"""The rate monitor under virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_runner.limits import RateLimitMonitor
from batch_runner.virtual_time import run_virtual


def now() -> float:
    return asyncio.get_running_loop().time()


def monitor_of(rpm: int, **options: Any) -> RateLimitMonitor:
    return RateLimitMonitor(rpm, rng=random.Random(7), **options)


async def one(monitor: RateLimitMonitor, kind: str, log: list[tuple[str, float, float]], takes_s: float = 0.0) -> None:
    async with monitor.permit(kind) as sent_at:
        await asyncio.sleep(takes_s)
    log.append((kind, sent_at, now()))


async def together(*jobs: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(job)


def assert_no_crowd(moments_s: list[float], limit: int) -> None:
    moments_s = sorted(moments_s)
    for first, last in zip(moments_s, moments_s[limit:], strict=False):
        assert last - first > 60.0


def test_the_request_over_the_limit_waits_a_minute_and_the_margin() -> None:
    async def main() -> list[tuple[str, float, float]]:
        log: list[tuple[str, float, float]] = []
        monitor = monitor_of(3, margin_s=1.5)
        await together(*(one(monitor, "poll", log, 0.25) for _ in range(4)))
        return log

    assert [sent for _, sent, _ in run_virtual(main)] == [0.0, 0.0, 0.0, 61.75]


def test_no_limit_means_no_waiting() -> None:
    async def main() -> float:
        log: list[tuple[str, float, float]] = []
        monitor = monitor_of(0)
        await together(*(one(monitor, "poll", log) for _ in range(500)))
        monitor.restore([1.0])
        assert monitor.usage_pct == 0.0
        return now()

    assert run_virtual(main) == 0.0


def test_submits_go_before_polls_and_each_kind_keeps_its_order() -> None:
    async def main() -> list[str]:
        order: list[str] = []
        monitor = monitor_of(1)

        async def ask(kind: str, name: str) -> None:
            async with monitor.permit(kind):
                order.append(name)

        await together(
            ask("poll", "first"),
            ask("poll", "p1"),
            ask("packs", "p2"),
            ask("submit", "s1"),
            ask("poll", "p3"),
            ask("submit", "s2"),
        )
        return order

    assert run_virtual(main) == ["first", "s1", "s2", "p1", "p2", "p3"]


def test_a_cancelled_waiter_leaves_no_hole() -> None:
    async def main() -> float:
        log: list[tuple[str, float, float]] = []
        monitor = monitor_of(1)
        await one(monitor, "poll", log)
        waiting = asyncio.create_task(one(monitor, "submit", log))
        patient = asyncio.create_task(one(monitor, "poll", log))
        await asyncio.sleep(1.0)
        waiting.cancel()
        await patient
        return log[-1][1]

    assert run_virtual(main) == 61.0


def test_a_waiter_cancelled_in_the_moment_of_its_permit_passes_it_on() -> None:
    async def main() -> list[float]:
        log: list[tuple[str, float, float]] = []
        monitor = monitor_of(1)
        await one(monitor, "poll", log)
        unlucky = asyncio.create_task(one(monitor, "poll", log))
        heir = asyncio.create_task(one(monitor, "poll", log))
        # In the same turn of the loop as the grant at 61 s, before the task that got it runs on.
        asyncio.get_running_loop().call_at(61.0 + 1e-10, unlucky.cancel)
        async with asyncio.timeout(500.0):
            await heir
        assert unlucky.cancelled()
        return [sent for _, sent, _ in log]

    assert run_virtual(main) == [0.0, 61.0]


def test_the_journal_is_written_before_the_request_goes() -> None:
    async def main() -> list[str]:
        story: list[str] = []

        async def journal(stamp_s: float) -> None:
            await asyncio.sleep(0.2)
            story.append(f"journal {stamp_s:g}")

        monitor = monitor_of(5, journal=journal)
        async with monitor.permit("submit") as sent_at:
            story.append(f"sent {sent_at:g}")
        return story

    assert run_virtual(main) == ["journal 0", "sent 0.2"]


def test_a_request_open_longer_than_the_margin_is_journalled_again_at_its_end() -> None:
    async def main() -> list[float]:
        stamps: list[float] = []

        async def journal(stamp_s: float) -> None:
            stamps.append(stamp_s)

        log: list[tuple[str, float, float]] = []
        monitor = monitor_of(5, journal=journal)
        await one(monitor, "poll", log, 0.9)
        await one(monitor, "submit", log, 30.0)
        return stamps

    assert run_virtual(main) == pytest.approx([0.0, 0.9, 30.9])


def test_a_journal_that_fails_lets_nothing_go_and_keeps_no_permit() -> None:
    async def main() -> float:
        broken = True

        async def journal(stamp_s: float) -> None:
            if broken:
                raise OSError("disk full")

        monitor = monitor_of(1, journal=journal)
        with pytest.raises(OSError, match="disk full"):
            async with monitor.permit("submit"):
                pytest.fail("nothing may be sent without its stamp")
        assert monitor.usage_pct == 0.0
        broken = False
        async with monitor.permit("submit") as sent_at:
            return sent_at

    assert run_virtual(main) == 0.0


def test_a_journal_that_fails_does_not_hide_that_a_request_was_cancelled() -> None:
    """The poller went on after its end, and with it the run."""

    async def main() -> None:
        async def journal(stamp_s: float) -> None:
            if stamp_s:
                raise OSError("disk full")

        asking = asyncio.ensure_future(one(monitor_of(5, journal=journal), "poll", [], 60.0))
        await asyncio.sleep(5.0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run_virtual(main)


def test_the_requests_of_an_earlier_run_count() -> None:
    async def main() -> list[float]:
        monitor = monitor_of(2)
        monitor.restore([-10.0, -100.0, 40.0])  # the second is long past, the third lies in the future
        log: list[tuple[str, float, float]] = []
        await one(monitor, "poll", log)
        await one(monitor, "poll", log)
        return [sent for _, sent, _ in log]

    assert run_virtual(main) == [51.0, 61.0]


def test_the_warning_comes_once_and_again_after_the_use_fell_below() -> None:
    async def main() -> int:
        told: list[str] = []
        monitor = monitor_of(10, notice=told.append)
        log: list[tuple[str, float, float]] = []
        await together(*(one(monitor, "poll", log) for _ in range(7)))
        assert told == []
        await together(*(one(monitor, "poll", log) for _ in range(3)))
        assert len(told) == 1
        assert "80 %" in told[0]
        await asyncio.sleep(100.0)
        await together(*(one(monitor, "poll", log) for _ in range(9)))
        return len(told)

    assert run_virtual(main) == 2


def test_a_pause_holds_everybody_back_and_a_shorter_one_does_not_shorten_it() -> None:
    async def main() -> list[float]:
        monitor = monitor_of(0)
        monitor.pause(9.0)
        monitor.pause(2.0)
        log: list[tuple[str, float, float]] = []
        await together(one(monitor, "submit", log), one(monitor, "poll", log))
        return [sent for _, sent, _ in log]

    assert run_virtual(main) == [9.0, 9.0]


async def first_leave(monitor: RateLimitMonitor) -> float:
    async with monitor.permit("poll") as sent_at:
        return sent_at


@pytest.mark.parametrize(("wish_s", "low_s", "high_s"), [(7.0, 7.0, 7.0), (9e9, 120.0, 120.0), (None, 0.5, 1.0)])
def test_a_refusal_pauses_by_the_servers_wish_or_by_backing_off(
    wish_s: float | None, low_s: float, high_s: float
) -> None:
    async def main() -> float:
        monitor = monitor_of(0)
        monitor.throttled(wish_s)
        return await first_leave(monitor)

    assert low_s <= run_virtual(main) <= high_s


def test_refusals_of_requests_under_way_do_not_lengthen_the_pause() -> None:
    async def main() -> tuple[float, float]:
        monitor = monitor_of(0)
        async with monitor.permit("poll") as early:
            await asyncio.sleep(1.0)
            monitor.throttled(3.0, early)
            for _ in range(20):
                monitor.throttled(100.0, early)  # during the pause
            await asyncio.sleep(10.0)
            monitor.throttled(100.0, early)  # after it, but sent before it
        leave = await first_leave(monitor)
        monitor.throttled(4.0, leave)
        return leave, await first_leave(monitor)

    assert run_virtual(main) == (11.0, 15.0)


def test_many_refusals_in_a_row_are_a_burst_until_something_is_answered() -> None:
    async def main() -> list[float]:
        monitor = monitor_of(0)
        pauses = []

        async def refused() -> None:
            sent_at = await first_leave(monitor)
            monitor.throttled(None, sent_at)
            pauses.append(await first_leave(monitor) - sent_at)

        for _ in range(7):
            await refused()
        monitor.answered()
        await refused()
        return pauses

    pauses = run_virtual(main)
    assert [pause <= limit for pause, limit in zip(pauses[:4], (1, 2, 4, 8), strict=True)] == [True] * 4
    assert all(30.0 <= pause <= 60.0 for pause in pauses[4:7])
    assert pauses[7] <= 1.0


@settings(max_examples=25, deadline=None)
@given(
    rpm=st.integers(1, 8),
    jobs=st.lists(
        st.tuples(
            st.sampled_from(["submit", "poll"]), st.floats(0, 90), st.floats(0, 70), st.floats(0, 200) | st.none()
        ),
        max_size=30,
    ),
)
def test_no_minute_holds_more_than_the_limit_as_sent_or_as_answered(
    rpm: int, jobs: list[tuple[str, float, float, float | None]]
) -> None:
    """Whatever is asked for when, however long answers take, whoever is cancelled."""

    async def main() -> list[tuple[str, float, float]]:
        monitor = monitor_of(rpm, margin_s=0.5)
        log: list[tuple[str, float, float]] = []

        async def job(kind: str, at_s: float, takes_s: float, cancel_after_s: float | None) -> None:
            await asyncio.sleep(at_s)
            try:
                async with asyncio.timeout(cancel_after_s), monitor.permit(kind) as sent_at:
                    try:
                        await asyncio.sleep(takes_s)
                    finally:
                        log.append((kind, sent_at, now()))
            except TimeoutError:
                pass

        await together(*(job(*each) for each in jobs))
        async with asyncio.timeout(60.6):  # longer would mean that a permit was lost
            await first_leave(monitor)
        return log

    log = run_virtual(main)
    assert_no_crowd([sent for _, sent, _ in log], rpm)
    assert_no_crowd([answered for _, _, answered in log], rpm)
    assert_no_crowd([(sent + answered) / 2 for _, sent, answered in log], rpm)
