"""What the client makes of the second generation's routes, and of searches over the whole account."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from kling_stub import Scene, Step, drop, ok, play, refuse, reset, say, stall, trouble_of

from batch_runner.errors import AccountError
from batch_runner.kling import KlingClient
from batch_runner.model import (
    Accepted,
    CreateOutcome,
    Generation,
    Page,
    Refused,
    Route,
    Task,
    TaskStatus,
    Unknown,
    Verdict,
)

KEY = "api-key-0123456789"
ROUTE = Route(Generation.V2, "/text-to-video/kling-3.0-turbo", "/tasks", "", {"prompt": "", "duration": "settings"})
TASK = {"id": "77", "status": "submitted", "external_id": "b-1-1", "create_time": 1, "update_time": 1}
SUCCEEDED = {
    **TASK,
    "status": "succeeded",
    "outputs": [{"type": "video", "id": "v", "url": "https://cdn/a.mp4?sig=1", "duration": "3.041"}],
    "billing": [{"charge_type": "unit", "amount": "2.4", "package_type": "video"}],
}
NO_KEY_PAIR = "Authentication error. The current API does not support AK/SK; please go to the console"


async def create(stage: Scene) -> CreateOutcome:
    return await stage.client.create(ROUTE, {"prompt": "a fox", "duration": "3"}, "b-1-1")


def test_a_create_is_nested_and_carries_our_id_and_the_callback() -> None:
    outcome, stage = play(create, ok(TASK), api_key=KEY, callback_url="https://me.example/hook")
    assert isinstance(outcome, Accepted)
    assert (outcome.task.task_id, outcome.task.status) == ("77", TaskStatus.SUBMITTED)
    (seen,) = stage.stub.seen
    assert (seen.method, seen.target) == ("POST", "/text-to-video/kling-3.0-turbo")
    assert seen.json == {
        "prompt": "a fox",
        "settings": {"duration": 3},
        "options": {"external_task_id": "b-1-1", "callback_url": "https://me.example/hook"},
    }
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert stage.gate.permits == ["submit"]


@pytest.mark.parametrize(
    ("data", "accepted"),
    [
        ({"id": 77}, True),
        ({**TASK, "external_id": None}, True),
        ({**TASK, "external_id": "b-1-2"}, False),
        ({"task_id": "77", "task_status": "submitted"}, False),
        ([TASK], False),
        (None, False),
    ],
)
def test_a_create_is_accepted_only_with_a_task_that_can_be_ours(data: Any, accepted: bool) -> None:  # noqa: FBT001 - a column
    outcome, _ = play(create, ok(data), api_key=KEY)
    assert isinstance(outcome, Accepted if accepted else Unknown)


@pytest.mark.parametrize("step", [drop, reset, stall, refuse(500, 5000), say(200, b"<html>")])
def test_a_create_without_a_clear_answer_is_unknown_and_not_sent_again(step: Step) -> None:
    outcome, stage = play(create, step, api_key=KEY)
    assert isinstance(outcome, Unknown)
    assert len(stage.stub.seen) == 1


def test_a_key_pair_is_not_even_tried_where_only_api_keys_are_served() -> None:
    outcome, stage = play(create, ok(TASK))
    assert isinstance(outcome, Refused)
    assert outcome.refusal.verdict is Verdict.ACCOUNT
    assert "KLING_API_KEY" in outcome.refusal.message
    assert stage.stub.seen == []


async def find(stage: Scene) -> Task | None:
    return await stage.client.find(ROUTE, "77")


async def find_by_ours(stage: Scene) -> Task | None:
    return await stage.client.find(ROUTE, "b-1-1", by_external_id=True)


@pytest.mark.parametrize(("act", "query"), [(find, "task_ids=77"), (find_by_ours, "external_task_ids=b-1-1")])
def test_a_task_is_found_by_either_id(act: Callable[[Scene], Awaitable[Task | None]], query: str) -> None:
    task, stage = play(act, ok([SUCCEEDED]), api_key=KEY)
    assert task is not None
    assert (task.charged, task.made["video_id"]) == (Decimal("2.4"), "v")
    assert (stage.stub.seen[0].method, stage.stub.seen[0].target) == ("GET", f"/tasks?{query}")
    assert stage.gate.permits == ["poll"]


@pytest.mark.parametrize("step", [ok([]), ok(None)])
def test_a_task_that_is_not_among_the_rows_is_not_there(step: Step) -> None:
    for act in (find, find_by_ours):
        assert play(act, step, api_key=KEY)[0] is None


@pytest.mark.parametrize(
    "step",
    [
        ok([{**SUCCEEDED, "id": "78", "external_id": "x"}]),
        ok([{**SUCCEEDED, "status": None}]),
        ok(SUCCEEDED),
        ok("x"),
        say(200, b"<html>hello</html>"),
        refuse(500, 5000),
        refuse(429, 1302),
        refuse(404, 1203, "no such path"),
        refuse(400, 1201, "Task not found by id/external id: 77"),
        refuse(400, 1201, "task_ids and external_task_ids cannot exceed 20 in total"),
    ],
)
def test_whatever_is_no_answer_about_this_task_is_trouble(step: Step) -> None:
    for act in (find, find_by_ours):
        assert str(trouble_of(act, step, KEY))


def test_an_answer_that_does_not_repeat_our_id_is_taken_at_its_word_if_it_is_the_only_one() -> None:
    row = {**SUCCEEDED, "external_id": None}
    task, _ = play(find_by_ours, ok([row]), api_key=KEY)
    assert task is not None
    assert task.task_id == "77"
    trouble_of(find_by_ours, ok([row, {**row, "id": "78"}]), KEY)
    trouble_of(find, ok([{**row, "id": "78"}]), KEY)


def test_many_tasks_are_asked_for_at_once() -> None:
    async def act(stage: Scene) -> Page:
        return await stage.client.find_many(task_ids=["77", "78"], external_task_ids=["b-1-9"])

    rows = [SUCCEEDED, {**TASK, "id": "99", "external_id": "b-9"}, {"id": None}]
    page, stage = play(act, ok(rows), ok([{**TASK, "id": "79", "external_id": "b-1-9"}]), api_key=KEY)
    assert [task.task_id for task in page.tasks] == ["77", "79"]
    assert page.illegible == 2
    assert stage.client.malformed_rows == 2, "one row is no task, and nobody asked for the other"
    assert [seen.target for seen in stage.stub.seen] == ["/tasks?task_ids=77,78", "/tasks?external_task_ids=b-1-9"]
    assert stage.gate.permits == ["poll", "poll"]


def test_more_tasks_than_the_server_takes_are_refused_before_anything_is_sent() -> None:
    async def act(stage: Scene) -> Page:
        found = await stage.client.find_many(task_ids=[str(number) for number in range(20)])
        assert found.rows == (await stage.client.find_many()).rows == 0
        with pytest.raises(ValueError, match="20"):
            await stage.client.find_many(task_ids=[str(number) for number in range(15)], external_task_ids=["a"] * 6)
        with pytest.raises(ValueError, match="empty"):
            await stage.client.find_many(task_ids=["a"], external_task_ids=[""])
        return found

    _, stage = play(act, ok([]), api_key=KEY)
    assert len(stage.stub.seen) == 1


@pytest.mark.parametrize("asked", ["a/../b?c=d#e f&g", "..", "%2e", "ä", "a,b"])
def test_an_id_reaches_the_server_as_one_value(asked: str) -> None:
    _, stage = play(lambda stage: stage.client.find_many(task_ids=[asked]), ok([]), api_key=KEY)
    value = stage.stub.seen[0].target.removeprefix("/tasks?task_ids=")
    assert not set(value) & set("?# &,/")
    assert value.isascii()


async def search(stage: Scene) -> Any:
    return await stage.client.tasks(start_ms=5, limit=2)


def test_a_search_of_the_account_goes_on_from_cursor_to_cursor() -> None:
    async def act(stage: Scene) -> list[str]:
        found, cursor = await stage.client.tasks(start_ms=5, limit=2)
        rest, end = await stage.client.tasks(cursor, limit=2)
        assert end is None
        return [task.task_id for task in [*found, *rest]]

    first = ok({"result": [SUCCEEDED, {"id": None}], "count": 2, "next_cursor": "c2", "has_more": True})
    last = ok({"result": [{**TASK, "id": "78"}], "count": 1, "has_more": False})
    found, stage = play(act, first, last, api_key=KEY)
    assert found == ["77", "78"]
    assert stage.client.malformed_rows == 1
    assert [(seen.method, seen.target) for seen in stage.stub.seen] == [("POST", "/tasks")] * 2
    assert [seen.json for seen in stage.stub.seen] == [{"start_time": 5, "limit": 2}, {"cursor": "c2", "limit": 2}]
    assert stage.gate.permits == ["poll", "poll"]
    counts = stage.client.requests
    assert (counts.submit, counts.poll) == (0, 2), "a search is no submission, though it is sent like one"


@pytest.mark.parametrize(
    "step",
    [
        drop, reset, stall, ok(None), ok([]), ok({"result": {}}), ok({"result": [], "has_more": True}),
        refuse(500, 5000), refuse(429, 1302), refuse(404, 1203), refuse(400, 1201, "Task not found by id"),
    ],
)  # fmt: skip
def test_what_is_no_search_is_trouble_and_is_asked_once(step: Step) -> None:
    assert str(trouble_of(search, step, KEY))


def test_a_search_that_runs_in_a_circle_is_trouble() -> None:
    async def act(stage: Scene) -> Any:
        return await stage.client.tasks("c2")

    trouble_of(act, ok({"result": [], "has_more": True, "next_cursor": "c2"}), KEY)


@pytest.mark.parametrize("ending", [drop, reset])
def test_a_kept_connection_that_dies_under_a_search_means_one_request_a_permit(ending: Step) -> None:
    async def act(stage: Scene) -> None:
        await search(stage)
        with pytest.raises(Exception, match="lost"):
            await search(stage)

    good = ok({"result": []})
    _, stage = play(act, good, ending, good, api_key=KEY)
    assert [seen.connection for seen in stage.stub.seen] == [1, 1]
    assert len(stage.gate.permits) == 2


@pytest.mark.parametrize("act", [find, search])
def test_a_key_that_is_not_served_there_ends_in_words_that_name_the_right_one(
    act: Callable[[Scene], Awaitable[Any]],
) -> None:
    async def caught(stage: Scene) -> str:
        with pytest.raises(AccountError) as info:
            await act(stage)
        return str(info.value)

    text, _ = play(caught, refuse(401, 1002, NO_KEY_PAIR))
    assert "KLING_API_KEY" in text
    text, _ = play(caught, refuse(401, 1002, "The token was expected to have 3 parts, but got 0"))
    assert "KLING_API_KEY" not in text


def test_the_first_generations_pages_are_not_asked_for_here() -> None:
    async def act(client: KlingClient) -> None:
        with pytest.raises(AssertionError):
            await client.page(ROUTE, 1, 30)

    play(lambda stage: act(stage.client), ok([]), api_key=KEY)
