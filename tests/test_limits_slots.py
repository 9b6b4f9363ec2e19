"""The task limiter under virtual time."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_runner.limits import TaskLimiter
from batch_runner.virtual_time import run_virtual


def now() -> float:
    return asyncio.get_running_loop().time()


def limiter_of(count: int) -> TaskLimiter:
    return TaskLimiter(count, rng=random.Random(3))


def test_no_more_jobs_run_together_than_there_are_slots() -> None:
    async def main() -> tuple[int, float, list[int]]:
        limiter, together = limiter_of(3), []

        async def job() -> int:
            together.append(limiter.active_count)
            await asyncio.sleep(10.0)
            return 1

        results = await asyncio.gather(*(limiter.submit(job) for _ in range(7)))
        assert limiter.active_count == 0
        assert limiter.free == limiter.max_concurrent == 3
        return sum(results), now(), together

    total, took_s, together = run_virtual(main)
    assert (total, took_s) == (7, 30.0)
    assert max(together) == 3


def test_a_failing_job_gives_its_slot_back() -> None:
    async def main() -> int:
        limiter = limiter_of(1)

        async def fail() -> None:
            raise LookupError

        with pytest.raises(LookupError):
            await limiter.submit(fail)
        return limiter.free

    assert run_virtual(main) == 1


def test_adopted_tasks_hold_slots_even_beyond_the_maximum() -> None:
    async def main() -> list[float]:
        limiter = limiter_of(2)
        limiter.adopt(3)
        assert limiter.active_count == 3
        assert limiter.free == 0
        started = []

        async def start() -> None:
            await limiter.acquire()
            started.append(now())

        waiting = [asyncio.create_task(start()) for _ in range(2)]
        for _ in range(3):
            await asyncio.sleep(1.0)
            limiter.release()
        await asyncio.gather(*waiting)
        assert limiter.active_count == 2
        return started

    assert run_virtual(main) == [2.0, 3.0]


def test_releasing_what_nobody_holds_is_an_error() -> None:
    with pytest.raises(ValueError, match="no slot"):
        limiter_of(1).release()
    with pytest.raises(ValueError, match="max_concurrent"):
        limiter_of(0)


def test_a_full_account_is_left_alone_until_one_of_our_tasks_ends() -> None:
    async def main() -> list[float]:
        limiter = limiter_of(5)
        await limiter.acquire()
        limiter.mark_full()
        passed = []

        async def ask() -> None:
            await limiter.admitted()
            passed.append(now())

        waiting = [asyncio.create_task(ask()) for _ in range(3)]
        await asyncio.sleep(2.0)
        limiter.release()
        await asyncio.gather(*waiting)
        return passed

    assert run_virtual(main) == [2.0, 2.0, 2.0]


def test_one_probe_at_a_time_asks_a_full_account_until_there_is_room() -> None:
    async def main() -> list[float]:
        limiter = limiter_of(5)
        limiter.mark_full()
        passed = []

        async def ask() -> None:
            admission = await limiter.admitted()
            passed.append(now())
            await asyncio.sleep(0.5)
            if len(passed) < 3:
                limiter.mark_full(admission)
                await ask()
            else:
                limiter.mark_room()

        await asyncio.gather(*(ask() for _ in range(4)))
        return passed

    passed = run_virtual(main)
    gaps = [later - earlier for earlier, later in zip([0.0, *passed], passed, strict=False)]
    assert all(5.0 <= gap <= 20.5 for gap in gaps[:3])
    assert gaps[3:] == [0.5, 0.0, 0.0]


def test_a_probe_that_never_reports_back_keeps_nobody_waiting_for_ever() -> None:
    async def main() -> float:
        limiter = limiter_of(5)
        limiter.mark_full()
        await limiter.admitted()  # the probe, whose answer gets lost
        probe_at = now()
        await limiter.admitted()
        return now() - probe_at

    assert 5.0 <= run_virtual(main) <= 20.0


def test_further_refusals_do_not_lengthen_the_wait() -> None:
    async def main() -> float:
        limiter = limiter_of(5)
        limiter.mark_full()
        for _ in range(30):
            await asyncio.sleep(0.1)
            limiter.mark_full()
        await limiter.admitted()
        return now()

    assert run_virtual(main) <= 20.0


def test_a_refusal_older_than_the_end_of_a_task_does_not_close_the_door() -> None:
    async def main() -> float:
        limiter = limiter_of(5)
        await limiter.acquire()
        admission = await limiter.admitted()
        limiter.release()
        limiter.mark_full(admission)
        await limiter.admitted()
        return now()

    assert run_virtual(main) == 0.0


def test_a_cancelled_waiter_at_the_door_takes_nothing_with_it() -> None:
    async def main() -> float:
        limiter = limiter_of(5)
        limiter.mark_full()
        waiting = [asyncio.create_task(limiter.admitted()) for _ in range(2)]
        await asyncio.sleep(1.0)
        waiting[0].cancel()
        await waiting[1]
        return now()

    assert 5.0 <= run_virtual(main) <= 20.0


@settings(max_examples=40, deadline=None)
@given(
    slots=st.integers(1, 4),
    adopted=st.integers(0, 6),
    jobs=st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20), st.floats(0, 30) | st.none()), max_size=15),
)
def test_the_slots_add_up_whoever_is_cancelled(
    slots: int, adopted: int, jobs: list[tuple[float, float, float | None]]
) -> None:
    async def main() -> None:
        limiter = limiter_of(slots)
        limiter.adopt(adopted)
        running = 0

        async def job(takes_s: float) -> None:
            nonlocal running
            running += 1
            assert limiter.active_count <= max(slots, adopted)
            assert running <= slots
            try:
                await asyncio.sleep(takes_s)
            finally:
                running -= 1

        async def ask(at_s: float, takes_s: float, cancel_after_s: float | None) -> None:
            await asyncio.sleep(at_s)
            try:
                async with asyncio.timeout(cancel_after_s):
                    await limiter.submit(lambda: job(takes_s))
            except TimeoutError:
                pass

        async def end_adopted() -> None:
            for _ in range(adopted):
                await asyncio.sleep(3.0)
                limiter.release()

        await asyncio.gather(end_adopted(), *(ask(*each) for each in jobs))
        assert limiter.active_count == 0
        async with asyncio.timeout(1.0):
            for _ in range(slots):
                await limiter.acquire()
        assert limiter.free == 0

    run_virtual(main)


def test_a_task_of_several_images_holds_several_slots_and_never_a_part_of_them() -> None:
    async def main() -> None:
        limiter = TaskLimiter(4, rng=random.Random(1))
        await limiter.acquire(3)
        two = [asyncio.create_task(limiter.acquire(2)) for _ in range(2)]
        await asyncio.sleep(1)
        assert not any(each.done() for each in two)
        limiter.release(3)
        await asyncio.gather(*two)
        assert (limiter.active_count, limiter.free) == (4, 0)
        waiting = asyncio.create_task(limiter.acquire(3))
        await asyncio.sleep(1)
        limiter.release()
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert limiter.active_count == 3
        with pytest.raises(ValueError, match="never be had"):
            await limiter.acquire(5)

    run_virtual(main)


def test_a_full_pack_does_not_shut_the_door_of_another() -> None:
    async def main() -> None:
        limiter = TaskLimiter(4, rng=random.Random(1))
        limiter.mark_full(lane="image")
        began_s = asyncio.get_running_loop().time()
        await limiter.admitted("video")
        assert asyncio.get_running_loop().time() == began_s
        await limiter.admitted("image")
        assert asyncio.get_running_loop().time() >= began_s + 5.0

    run_virtual(main)
