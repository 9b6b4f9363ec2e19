"""The simulated account by itself: slots, credits, rate, identity, visibility and fate."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox_kit import START_S, price, text_body

from batch_runner.model import TaskStatus
from batch_runner.sandbox import SandboxTask, World, WorldConfig
from batch_runner.sandbox.codes import Denied
from batch_runner.sandbox.fate import RISK_CONTROL, SERVICE_FAILURES
from batch_runner.sandbox.products import PRODUCTS

KIND = "text2video"


def world(**config: Any) -> World:
    return World(WorldConfig(**config), price)


def made(account: World, external_task_id: str | None, now_s: float = START_S, **fields: Any) -> SandboxTask:
    outcome = account.create(KIND, text_body(external_task_id, **fields), now_s)
    assert isinstance(outcome, SandboxTask), outcome
    return outcome


def denied(account: World, external_task_id: str | None, now_s: float = START_S, **fields: Any) -> Denied:
    outcome = account.create(KIND, text_body(external_task_id, **fields), now_s)
    assert isinstance(outcome, Denied), outcome
    return outcome


def test_a_task_is_submitted_then_processing_then_succeeded_as_time_tells() -> None:
    task = made(world(), "a")
    assert START_S < task.started_at_s < task.ended_at_s
    assert task.status_at(START_S) is TaskStatus.SUBMITTED
    assert task.status_at(task.started_at_s) is TaskStatus.PROCESSING
    assert task.status_at(task.ended_at_s - 0.001) is TaskStatus.PROCESSING
    assert task.status_at(task.ended_at_s) is TaskStatus.SUCCEEDED
    assert task.updated_at_s(START_S) == START_S
    assert task.updated_at_s(task.ended_at_s + 9) == task.ended_at_s


def test_a_slot_is_held_from_creation_to_the_end_and_then_free_at_once() -> None:
    account = world(max_concurrent=2)
    first, second = made(account, "a"), made(account, "b")
    assert denied(account, "c").message == "parallel task over resource pack limit"
    earlier = min(first.ended_at_s, second.ended_at_s)
    assert denied(account, "c", earlier - 0.01).code == 1303
    made(account, "c", earlier)
    assert account.peak_in_flight == 2
    assert account.in_flight(earlier) == 2
    assert account.refusals == {1303: 2}


def test_credits_are_reserved_while_a_task_runs_and_charged_when_it_succeeds() -> None:
    account = world(pack_credits=Decimal(4))
    pro = made(account, "a", mode="pro")
    assert denied(account, "b").message == "Account balance not enough"
    assert account.packs(START_S)[0].remaining_credits == 4
    assert denied(account, "b", pro.ended_at_s).code == 1102
    assert account.packs(pro.ended_at_s)[0].remaining_credits == Decimal("0.5")
    assert account.charged_total() == account.charged_total(pro.ended_at_s) == Decimal("3.5")
    assert account.charged_total(START_S) == 0


def test_a_failed_task_costs_nothing_and_gives_its_reserve_back() -> None:
    account = world(pack_credits=Decimal(1))
    task = made(account, "a", prompt="x [sandbox:fail]")
    assert task.failure in SERVICE_FAILURES
    assert task.status_at(task.ended_at_s) is TaskStatus.FAILED
    made(account, "b", task.ended_at_s)
    assert account.charged_total() == 1


def test_the_rate_is_counted_over_any_sixty_seconds() -> None:
    account = world(rpm=3)
    stamps = [START_S, START_S + 10, START_S + 20]
    assert [account.throttle(at) for at in stamps] == [None, None, None]
    refused = account.throttle(START_S + 59.9)
    assert refused is not None
    assert refused.code == 1302
    assert account.throttle(START_S + 60) is None
    assert account.throttle(START_S + 69.9) is not None


def test_the_books_tell_the_busiest_minute() -> None:
    account = world()
    for at in (0, 1, 2, 60, 61.5, 200):
        account.stamp(at)
    # The half-open minute: a request at 0 and one at 60 share none.
    assert account.most_requests_in_window() == 3
    assert account.most_requests_in_window(1.5) == 2


def test_no_rate_limit_unless_told() -> None:
    account = world()
    assert all(account.throttle(START_S) is None for _ in range(500))


def test_the_same_seed_and_id_meet_the_same_fate_in_any_order() -> None:
    names = [f"item-{number}" for number in range(20)]
    config = {"seed": 7, "max_concurrent": 99, "failure_rate": 0.3, "moderation_late_rate": 0.2}
    forward, backward = world(**config), world(**config)
    one = {name: made(forward, name) for name in names}
    other = {name: made(backward, name, START_S + 50) for name in reversed(names)}
    for name in names:
        assert one[name].failure == other[name].failure
        assert one[name].ended_at_s - START_S == pytest.approx(other[name].ended_at_s - START_S - 50)
    assert len({task.failure for task in one.values()}) > 2


def test_another_seed_brings_another_fate() -> None:
    first, second = made(world(seed=1), "a"), made(world(seed=2), "a")
    assert first.ended_at_s != second.ended_at_s
    assert first.task_id != second.task_id


def test_tasks_without_an_id_of_ours_are_told_apart() -> None:
    account = world()
    first, second = made(account, None), made(account, None)
    assert first.task_id != second.task_id
    assert first.ended_at_s != second.ended_at_s
    assert account.tasks_by_external_id == {}


def test_durations_scatter_around_the_median_of_their_class() -> None:
    account = world(max_concurrent=2000)
    tasks = [made(account, str(number), model_name="kling-v3", duration="5") for number in range(1001)]
    lengths = sorted(task.ended_at_s - START_S for task in tasks)
    assert lengths[500] == pytest.approx(135, rel=0.1)
    tail = sum(length > 3 * 135 for length in lengths)
    assert 10 <= tail <= 60
    assert all(task.started_at_s - START_S < (task.ended_at_s - START_S) / 3 for task in tasks)


def test_a_longer_or_finer_clip_takes_longer() -> None:
    product = PRODUCTS[KIND]
    assert product.median_s("kling-v3", 15, "std") > product.median_s("kling-v3", 5, "std")
    assert product.median_s("kling-v3", 5, "4k") > product.median_s("kling-v3", 5, "pro")
    assert PRODUCTS["image2video"].median_s("kling-v1", 5, "std") < product.median_s("kling-v1", 5, "std")


def test_speed_divides_durations_and_nothing_else() -> None:
    usual, fast = made(world(), "a"), made(world(speed=10), "a")
    assert fast.ended_at_s - START_S == pytest.approx((usual.ended_at_s - START_S) / 10)
    quick = world(speed=1000, rpm=1)
    assert quick.throttle(START_S) is None
    assert quick.throttle(START_S + 59) is not None
    with pytest.raises(ValueError, match="speed"):
        WorldConfig(speed=0)


def test_markers_in_the_prompt_steer_a_task() -> None:
    account = world(max_concurrent=10)
    plain, slow = made(account, "a"), made(world(), "a", prompt="[sandbox:slow] fox")
    assert slow.ended_at_s - START_S == pytest.approx(5 * (plain.ended_at_s - START_S))
    stuck = made(account, "stuck", prompt="[sandbox:stuck]")
    assert math.isinf(stuck.ended_at_s)
    assert stuck.status_at(START_S + 1e9) is TaskStatus.PROCESSING
    assert account.in_flight(START_S + 1e9) == 1
    assert made(account, "late", prompt="[sandbox:late-policy]").failure == RISK_CONTROL
    assert denied(account, "no", prompt="[sandbox:policy]").code == 1301
    assert "no" not in account.tasks_by_external_id
    assert account.charged_total() == 1


@pytest.mark.parametrize(
    ("rate", "expected"),
    [("moderation_create_rate", 1301), ("failure_rate", None), ("moderation_late_rate", None)],
)
def test_rates_of_one_concern_everybody(rate: str, expected: int | None) -> None:
    account = world(**{rate: 1.0})
    if expected is not None:
        assert denied(account, "a").code == expected
    else:
        assert made(account, "a").failure != ""


def test_a_used_external_id_is_refused_by_default() -> None:
    account = world(max_concurrent=1)
    made(account, "a")
    # Even with all slots taken: the id is the clearer answer.
    assert denied(account, "a").message == "External_task_id a already exists"
    assert denied(account, "a").code == 1201
    assert len(account.tasks) == 1


def test_a_used_external_id_may_bring_the_first_task_again() -> None:
    account = world(repeat_policy="same")
    assert made(account, "a") is made(account, "a", START_S + 9)
    assert len(account.tasks) == 1
    assert account.charged_total() == 1


def test_a_used_external_id_may_bring_a_second_task() -> None:
    account = world(repeat_policy="second")
    first, second = made(account, "a"), made(account, "a")
    assert first.task_id != second.task_id
    assert account.tasks_by_external_id["a"] == [first, second]
    assert account.find(KIND, "a", START_S) is second
    assert account.charged_total() == 2


def test_external_ids_are_unique_across_products() -> None:
    account = world()
    made(account, "a")
    body = text_body("a", image="https://example.com/a.png")
    outcome = account.create("image2video", body, START_S)
    assert isinstance(outcome, Denied)
    assert "already exists" in outcome.message


def test_a_task_is_found_by_either_id_within_its_product() -> None:
    account = world()
    task = made(account, "mine")
    assert len(task.task_id) == 18
    assert account.find(KIND, task.task_id, START_S) is task
    assert account.find(KIND, "mine", START_S) is task
    assert account.find("image2video", "mine", START_S) is None
    assert account.find(KIND, "other", START_S) is None


def test_a_new_task_can_be_hidden_for_a_while_yet_its_id_is_taken() -> None:
    account = world(visible_after_s=3)
    task = made(account, "a")
    assert account.find(KIND, "a", START_S + 2.9) is None
    assert list(account.page(KIND, 1, 30, START_S + 2.9)) == []
    assert denied(account, "a", START_S + 1).code == 1201
    assert account.find(KIND, "a", START_S + 3) is task
    assert list(account.page(KIND, 1, 30, START_S + 3)) == [task]


def test_ended_tasks_are_purged() -> None:
    account = world(purge_after_s=100)
    task = made(account, "a")
    gone_s = task.ended_at_s + 100
    assert account.finished(task.task_id, gone_s - 1) is task
    assert account.finished(task.task_id, gone_s) is None
    assert account.find(KIND, "a", gone_s - 1) is task
    assert account.find(KIND, "a", gone_s) is None
    assert list(account.page(KIND, 1, 30, gone_s)) == []
    assert denied(account, "a", gone_s).code == 1201


def test_a_file_is_there_only_after_success() -> None:
    account = world()
    good, bad = made(account, "a"), made(account, "b", prompt="[sandbox:fail]")
    assert account.finished(good.task_id, good.ended_at_s - 1) is None
    assert account.finished(good.task_id, good.ended_at_s) is good
    assert account.finished(bad.task_id, bad.ended_at_s) is None
    assert account.finished("1", START_S) is None


@pytest.mark.parametrize("newest_first", [True, False])
def test_lists_come_in_pages(*, newest_first: bool) -> None:
    account = world(max_concurrent=9, newest_first=newest_first)
    names = [made(account, str(number)).external_task_id for number in range(7)]
    ordered = list(reversed(names)) if newest_first else names
    pages = [[task.external_task_id for task in account.page(KIND, page, 3, START_S)] for page in (1, 2, 3, 4)]
    assert pages == [ordered[:3], ordered[3:6], ordered[6:], []]


def test_the_body_is_remembered_without_pictures_and_addresses() -> None:
    account = world()
    body = {
        "image": "https://example.com/a.png",
        "prompt": "p",
        "callback_url": "https://example.com/cb",
        "dynamic_masks": [{"mask": "https://example.com/m.png", "trajectories": [{"x": 1, "y": 2}]}],
    }
    task = account.create("image2video", body, START_S)
    assert isinstance(task, SandboxTask)
    assert set(task.body) == {"image", "prompt", "dynamic_masks"}
    assert "example.com" not in str(task.body)
    assert task.body["dynamic_masks"][0]["trajectories"] == [{"x": 1, "y": 2}]
    assert len(task.body["image"]) == 64


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["std", "pro"]), st.floats(0, 400)), max_size=40),
    slots=st.integers(1, 4),
    pack=st.integers(0, 20),
)
def test_the_books_always_balance(steps: list[tuple[int, str, float]], slots: int, pack: int) -> None:
    account = world(max_concurrent=slots, pack_credits=Decimal(pack), failure_rate=0.3)
    now_s, made_count = START_S, 0
    for name, mode, pause_s in steps:
        outcome = account.create(KIND, text_body(str(name), mode=mode), now_s)
        made_count += isinstance(outcome, SandboxTask)
        assert account.in_flight(now_s) <= slots
        open_credits = sum(task.credits for task in account.tasks if task.ended_at_s > now_s)
        assert account.charged_total(now_s) + open_credits <= pack
        assert account.packs(now_s)[0].remaining_credits == pack - account.charged_total(now_s)
        now_s += pause_s
    assert len(account.tasks) == made_count
    assert sum(account.refusals.values()) == len(steps) - made_count
    assert account.peak_in_flight <= slots
    assert all(len(tasks) == 1 for tasks in account.tasks_by_external_id.values())
