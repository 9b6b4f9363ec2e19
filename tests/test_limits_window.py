"""The pure halves of the limits: the sliding window and the backoff."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_runner.limits import Backoff, SlidingWindow
from batch_runner.limits.window import NEVER


def test_an_empty_window_lets_a_request_go_at_once() -> None:
    assert SlidingWindow(1, 61.0).next_free_at(5.0) == 5.0


def test_a_request_counts_for_the_span_from_its_end_not_from_its_start() -> None:
    window = SlidingWindow(1, 61.0)
    window.begin()
    window.end(10.0)
    assert window.next_free_at(60.9) == 71.0
    assert window.next_free_at(71.0) == 71.0


def test_only_an_answer_makes_room_while_every_place_is_open() -> None:
    window = SlidingWindow(2, 61.0)
    window.begin()
    window.begin()
    assert window.next_free_at(1000.0) == NEVER
    window.end(1000.0)
    assert window.next_free_at(1000.0) == 1061.0


def test_a_withdrawn_request_leaves_no_trace() -> None:
    window = SlidingWindow(1, 61.0)
    window.begin()
    window.withdraw()
    assert window.next_free_at(0.0) == 0.0


def test_stamps_beyond_the_limit_push_the_next_moment_back_by_as_many() -> None:
    window = SlidingWindow(2, 60.0)
    window.record([3.0, 1.0, 2.0, 4.0])
    assert window.next_free_at(5.0) == 63.0


def test_ending_what_never_began_is_an_error() -> None:
    window = SlidingWindow(1, 60.0)
    with pytest.raises(ValueError, match="no request is open"):
        window.end(1.0)
    with pytest.raises(ValueError, match="no request is open"):
        window.withdraw()


@pytest.mark.parametrize(("limit", "span_s"), [(0, 60.0), (-1, 60.0), (1, 0.0)])
def test_a_window_without_room_or_span_is_refused(limit: int, span_s: float) -> None:
    with pytest.raises(ValueError, match="window"):
        SlidingWindow(limit, span_s)


@given(
    limit=st.integers(1, 6),
    steps=st.lists(st.tuples(st.sampled_from(["begin", "end", "tick"]), st.floats(0, 40)), max_size=60),
    picks=st.randoms(use_true_random=False),
)
def test_no_span_of_the_servers_log_ever_holds_more_than_the_limit(
    limit: int, steps: list[tuple[str, float]], picks: random.Random
) -> None:
    """Wherever between sending and answer the server stamps a request."""
    window, now_s = SlidingWindow(limit, 60.0), 0.0
    open_since: list[float] = []
    spans: list[tuple[float, float]] = []
    for step, wait_s in steps:
        now_s += wait_s
        if step == "begin" and window.next_free_at(now_s) <= now_s:
            window.begin()
            open_since.append(now_s)
        elif step == "end" and open_since:
            window.end(now_s)
            spans.append((open_since.pop(picks.randrange(len(open_since))), now_s))
    spans += [(since, now_s + 1.0) for since in open_since]
    for seen in (
        [start for start, _ in spans],
        [end for _, end in spans],
        [picks.uniform(start, end) for start, end in spans],
    ):
        assert_no_crowd(seen, limit, 60.0)


def assert_no_crowd(moments_s: list[float], limit: int, span_s: float) -> None:
    moments_s = sorted(moments_s)
    for first, last in zip(moments_s, moments_s[limit:], strict=False):
        assert last - first >= span_s - 1e-9


@given(st.integers(0, 2**32), st.floats(0.1, 5), st.floats(5, 100), st.integers(1, 30))
def test_every_backoff_lies_between_half_the_base_and_the_cap(
    seed: int, base_s: float, cap_s: float, count: int
) -> None:
    backoff = Backoff(base_s, cap_s, random.Random(seed))
    delays = [backoff.next_s() for _ in range(count)]
    assert all(base_s / 2 <= delay <= cap_s for delay in delays)
    assert all(delay >= min(cap_s, base_s * 2**step) / 2 for step, delay in enumerate(delays))


def test_backoff_honours_a_longer_wish_up_to_its_cap_and_resets() -> None:
    backoff = Backoff(1.0, 60.0, random.Random(1))
    assert backoff.next_s(7.0) == 7.0
    assert backoff.next_s(500.0) == 60.0
    assert backoff.next_s(0.0) >= 2.0
    backoff.reset()
    assert backoff.next_s() <= 1.0


def test_a_backoff_that_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="backoff"):
        Backoff(0.0, 1.0, random.Random(1))
    with pytest.raises(ValueError, match="backoff"):
        Backoff(2.0, 1.0, random.Random(1))
