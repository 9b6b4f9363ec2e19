"""What the client makes of the API's answers."""

from __future__ import annotations

import asyncio
import json
import random
from decimal import Decimal
from email.utils import formatdate
from typing import Any

import jwt
import pytest
from kling_stub import ACCESS, ROUTE, SECRET, Scene, Seen, Step, ok, play, refuse, say, serve, trouble_of

from batch_runner.errors import AccountError
from batch_runner.kling import Credentials, KlingClient, TokenSource, Trouble, open_session
from batch_runner.lifecycle import ExternalId
from batch_runner.limits import RateLimitMonitor
from batch_runner.model import Accepted, CreateOutcome, Refused, TaskStatus, Unknown, Verdict
from batch_runner.virtual_time import VirtualClock, run_virtual

PATH = "/v1/videos/text2video"
TASK = {"task_id": "77", "task_status": "submitted", "task_info": {"external_task_id": "b-1-1"}}


def test_an_accepted_create_is_a_task_of_ours() -> None:
    outcome, stage = play(Scene.create, ok(TASK))
    assert isinstance(outcome, Accepted)
    assert (outcome.task.task_id, outcome.task.status) == ("77", TaskStatus.SUBMITTED)
    (seen,) = stage.stub.seen
    assert (seen.method, seen.target) == ("POST", PATH)
    assert seen.json == {"prompt": "a fox", "external_task_id": "b-1-1"}
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["authorization"].startswith("Bearer ey")
    assert stage.gate.permits == ["submit"]
    assert stage.gate.diary == ["answered"]


def test_a_large_body_arrives_whole() -> None:
    image = "QUJD" * 1_000_000
    outcome, stage = play(lambda stage: stage.client.create(ROUTE, {"image": image}, "b-1-1"), ok(TASK))
    assert isinstance(outcome, Accepted)
    assert stage.stub.seen[0].json["image"] == image


@pytest.mark.parametrize(
    ("data", "accepted"),
    [
        ({"task_id": "77", "task_info": {}}, True),
        ({"task_id": 77}, True),
        ({**TASK, "task_info": {"external_task_id": "b-1-2"}}, False),
        ({"task_status": "submitted"}, False),
        ({}, False),
        (None, False),
        ([], False),
        ("77", False),
    ],
)
def test_a_create_is_accepted_only_with_a_task_that_can_be_ours(data: Any, accepted: bool) -> None:  # noqa: FBT001 - a column
    outcome, _ = play(Scene.create, ok(data))
    assert isinstance(outcome, Accepted if accepted else Unknown)


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [
        (401, 1000, Verdict.ACCOUNT),
        (401, 1001, Verdict.ACCOUNT),
        (401, 1002, Verdict.ACCOUNT),
        (401, 1003, Verdict.ACCOUNT),
        (401, 1004, Verdict.ACCOUNT),
        (429, 1100, Verdict.ACCOUNT),
        (429, 1101, Verdict.ACCOUNT),
        (429, 1102, Verdict.ACCOUNT),
        (403, 1103, Verdict.ACCOUNT),
        (400, 1200, Verdict.REJECTED),
        (400, 1201, Verdict.REJECTED),
        (404, 1202, Verdict.REJECTED),
        (404, 1203, Verdict.REJECTED),
        (400, 1300, Verdict.POLICY),
        (400, 1301, Verdict.POLICY),
        (429, 1302, Verdict.RATE),
        (429, 1303, Verdict.SLOT),
        (429, 1304, Verdict.ACCOUNT),
        (500, 5000, None),
        (503, 5001, None),
        (504, 5002, None),
        (400, 4242, None),
        (200, 1303, Verdict.SLOT),
        (200, "1102", Verdict.ACCOUNT),
        (500, 0, None),
        (429, None, None),
        (429, 0, None),
        (429, 429, None),
        (503, 503, None),
        (403, 403, None),
        (401, 0, None),
        (401, None, None),
        (403, None, None),
        (413, None, None),
        (502, None, None),
    ],
)
def test_every_code_settles_a_create_or_leaves_it_unknown(status: int, code: Any, verdict: Verdict | None) -> None:
    outcome, stage = play(Scene.create, refuse(status, code, "some words"))
    if verdict is None:
        assert isinstance(outcome, Unknown)
        assert outcome.refusal is not None
        assert outcome.refusal.http_status == status
    else:
        assert isinstance(outcome, Refused)
        assert outcome.refusal.verdict is verdict
        assert outcome.refusal.message == "some words"
    tries = 2 if code in {1003, 1004} else 1
    assert len(stage.stub.seen) == stage.client.requests.total == stage.client.requests.refused == tries
    is_rate = verdict is Verdict.RATE or (status == 429 and verdict is None)
    assert stage.gate.diary == ["throttled None"] * is_rate or (set(stage.gate.diary) == {"answered"} and not is_rate)


@pytest.mark.parametrize(
    "told", ["From video not found by id: 712345678901234567", "Task not found by id: 71234567890123456"]
)
def test_a_create_whose_source_was_not_found_is_refused(told: str) -> None:
    outcome, _ = play(Scene.create, refuse(400, 1201, told))
    assert isinstance(outcome, Refused)
    assert outcome.refusal.verdict is Verdict.REJECTED


@pytest.mark.parametrize(("headers", "kind"), [({}, Unknown), ({"Retry-After": "1"}, Refused)])
def test_a_limit_that_somebody_else_tells_of_is_one_only_with_a_time_to_wait(
    headers: dict[str, str], kind: type[Unknown | Refused]
) -> None:
    outcome, stage = play(Scene.create, refuse(429, None, "some words", headers=headers))
    assert isinstance(outcome, kind)
    assert [entry.split()[0] for entry in stage.gate.diary] == ["throttled"]


def test_an_id_that_exists_is_refused_as_such() -> None:
    outcome, _ = play(Scene.create, refuse(400, 1201, "External_task_id b-1-1 already exists"))
    assert isinstance(outcome, Refused)
    assert outcome.refusal.verdict is Verdict.EXISTS


def test_the_gate_hears_how_long_to_wait() -> None:
    _, stage = play(Scene.create, refuse(429, 1302, headers={"Retry-After": "9"}))
    assert stage.gate.diary == ["throttled 9.0"]


def checking_server(skew_s: float) -> Step:
    """Checks the token as the vendor does, on a clock of its own that is off by ``skew_s``."""

    async def step(writer: asyncio.StreamWriter, seen: Seen) -> bool:
        server_s = VirtualClock(asyncio.get_running_loop()).wall_s() + skew_s
        token = seen.headers["authorization"].removeprefix("Bearer ")
        options: Any = {"verify_exp": False, "verify_nbf": False}
        claims = jwt.decode(token, SECRET, algorithms=["HS256"], options=options)
        date = {"Date": formatdate(server_s, usegmt=True)}
        if claims["nbf"] > server_s:
            return await refuse(401, 1003, headers=date)(writer, seen)
        if claims["exp"] <= server_s:
            return await refuse(401, 1004, headers=date)(writer, seen)
        return await ok(TASK)(writer, seen)

    return step


@pytest.mark.parametrize(
    ("skew_s", "tries"), [(0.0, 1), (-3.0, 1), (1700.0, 1), (-6.0, 2), (-9000.0, 2), (1900.0, 2), (90_000.0, 2)]
)
def test_a_wrong_clock_costs_one_refused_request(skew_s: float, tries: int) -> None:
    async def act(stage: Scene) -> tuple[CreateOutcome, CreateOutcome]:
        return await stage.create(), await stage.create()

    (first, second), stage = play(act, checking_server(skew_s))
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert len(stage.stub.seen) == tries + 1
    assert stage.gate.permits == ["submit"] * (tries + 1)


def test_a_token_is_renewed_before_it_ends() -> None:
    async def act(stage: Scene) -> None:
        for _ in range(20):
            assert isinstance(await stage.create(), Accepted)
            await asyncio.sleep(700.0)

    _, stage = play(act, checking_server(0.0))
    assert len(stage.stub.seen) == 20


def test_an_api_key_is_not_sent_twice_for_a_tokens_times() -> None:
    outcome, stage = play(Scene.create, refuse(401, 1004), api_key="api-key-0123456789")
    assert isinstance(outcome, Refused)
    assert outcome.refusal.verdict is Verdict.ACCOUNT
    assert [seen.headers["authorization"] for seen in stage.stub.seen] == ["Bearer api-key-0123456789"]


SUCCEEDED = {
    **TASK,
    "task_status": "succeed",
    "task_result": {"videos": [{"id": "v", "url": "https://cdn/a.mp4?sig=1", "duration": "5.041"}]},
    "final_unit_deduction": 3.5,
}


@pytest.mark.parametrize("asked", ["77", "b-1-1"])
def test_a_task_is_found_by_either_id(asked: str) -> None:
    task, stage = play(lambda stage: stage.client.find(ROUTE, asked), ok(SUCCEEDED))
    assert task is not None
    assert task.charged == Decimal("3.5")
    assert [asset.suffix for asset in task.assets] == [".mp4"]
    assert (stage.stub.seen[0].method, stage.stub.seen[0].target) == ("GET", f"{PATH}/{asked}")
    assert stage.gate.permits == ["poll"]


@pytest.mark.parametrize("asked", ["a/../b?c=d#e f", "..", "%2e", "ä"])
def test_an_id_reaches_the_server_as_one_segment(asked: str) -> None:
    task, stage = play(lambda stage: stage.client.find(ROUTE, asked), ok({**SUCCEEDED, "task_id": asked}))
    assert task is not None
    target = stage.stub.seen[0].target
    assert target.startswith(f"{PATH}/")
    assert target.count("/") == PATH.count("/") + 1
    assert not set(target) & set("?# ")


@pytest.mark.parametrize(
    "step",
    [refuse(400, 1201, "Task not found by id/external id: 77"), refuse(404, 1203, "no such task")],
)
def test_an_unknown_task_is_none_and_no_refusal(step: Step) -> None:
    task, stage = play(lambda stage: stage.client.find(ROUTE, "77"), step)
    assert task is None
    assert stage.client.requests.refused == 0


OURS = str(ExternalId.of("batch", "i0", 1, "f" * 64))
THEIRS = str(ExternalId.of("batch", "i1", 1, "f" * 64))


@pytest.mark.parametrize("told", [OURS, "77", THEIRS[:-1], f"{THEIRS}0", "null", ""])
def test_a_not_found_that_does_not_name_another_attempt_is_about_the_one_that_was_asked_for(told: str) -> None:
    step = refuse(400, 1201, f"Task not found by id/external id: {told}")
    task, _ = play(lambda stage: stage.client.find(ROUTE, OURS, by_external_id=True), step)
    assert task is None


@pytest.mark.parametrize("asked", [OURS, "77"])
@pytest.mark.parametrize("told", [THEIRS, "860048182276068517"])
def test_a_not_found_that_names_another_attempt_or_task_is_no_answer(asked: str, told: str) -> None:
    step = refuse(400, 1201, f"Task not found by id/external id: {told}")
    assert "another task" in str(trouble_of(lambda stage: stage.client.find(ROUTE, asked), step))


@pytest.mark.parametrize(
    "step",
    [
        ok({**SUCCEEDED, "task_id": "78", "task_info": {}}),
        ok({**SUCCEEDED, "task_status": None}),
        ok(None),
        ok([SUCCEEDED]),
        say(200, b"<html>hello</html>"),
        refuse(500, 5000),
        refuse(429, 1302),
        refuse(429, 1303),
        refuse(400, 1201, "illegal"),
        refuse(400, 4242),
    ],
)
def test_whatever_is_no_answer_about_this_task_is_trouble(step: Step) -> None:
    assert str(trouble_of(lambda stage: stage.client.find(ROUTE, "77"), step))


def test_an_answer_that_does_not_repeat_our_id_is_taken_at_its_word() -> None:
    step = ok({**SUCCEEDED, "task_id": "78", "task_info": {}})
    task, _ = play(lambda stage: stage.client.find(ROUTE, "ours-1", by_external_id=True), step)
    assert task is not None
    assert task.task_id == "78"
    other = ok({**SUCCEEDED, "task_id": "78", "task_info": {"external_task_id": "theirs"}})
    assert str(trouble_of(lambda stage: stage.client.find(ROUTE, "ours-1", by_external_id=True), other))


def test_trouble_tells_which_refusal_it_was() -> None:
    trouble = trouble_of(lambda stage: stage.client.find(ROUTE, "77"), refuse(503, 5001, "maintenance"))
    assert trouble.refusal is not None
    assert trouble.refusal.verdict is Verdict.SERVER
    assert "code 5001: maintenance" in str(trouble)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (refuse(401, 1002, "Auth failed"), "check the keys"),
        (refuse(401, 1004, "expired"), "check this machine's clock"),
        (refuse(429, 1101), "arrears"),
        (refuse(403, None), "HTTP 403"),
    ],
)
def test_an_account_that_may_not_ask_ends_in_clear_words(step: Step, words: str) -> None:
    async def act(stage: Scene) -> str:
        with pytest.raises(AccountError) as info:
            await stage.client.find(ROUTE, "77")
        return str(info.value)

    text, _ = play(act, step)
    assert words in text


def test_a_page_leaves_out_rows_that_are_no_tasks_and_counts_them() -> None:
    rows = [SUCCEEDED, {"task_id": None}, "x", {**TASK, "task_id": "78"}]
    page, stage = play(lambda stage: stage.client.page(ROUTE, 2, 500), ok(rows))
    assert [task.task_id for task in page.tasks] == ["77", "78"]
    assert (page.rows, page.illegible) == (4, 2)
    assert stage.client.malformed_rows == 2
    assert stage.stub.seen[0].target == f"{PATH}?pageNum=2&pageSize=500"


def test_a_page_without_rows_is_empty() -> None:
    for answer in (ok(None), ok([])):
        assert play(lambda stage: stage.client.page(ROUTE, 1, 30), answer)[0].rows == 0


@pytest.mark.parametrize("step", [ok({}), ok("x"), ok(0), refuse(404, 1203), refuse(500, None)])
def test_what_is_no_page_is_trouble(step: Step) -> None:
    trouble_of(lambda stage: stage.client.page(ROUTE, 1, 30), step)


def test_packs_come_out_of_their_double_envelope() -> None:
    row = {"resource_pack_name": "p", "status": "online", "total_quantity": 100.5, "remaining_quantity": "7"}
    inner = {"code": 0, "msg": "success", "resource_pack_subscribe_infos": [row]}
    found, stage = play(lambda stage: stage.client.packs(1, 2), ok(inner))
    assert [(pack.name, pack.total, pack.remaining) for pack in found] == [("p", Decimal("100.5"), Decimal(7))]
    assert stage.stub.seen[0].target == "/account/costs?start_time=1&end_time=2"
    assert (stage.client.requests.total, stage.client.requests.poll) == (1, 0)


@pytest.mark.parametrize(
    "step",
    [
        ok(None),
        ok({"code": 1200, "msg": "Missing Request Parameter"}),
        ok({"code": 0, "resource_pack_subscribe_infos": {}}),
        ok({"code": 0, "resource_pack_subscribe_infos": [1]}),
        refuse(400, 1201, "Task not found by id"),
    ],
)
def test_what_is_no_list_of_packs_is_trouble(step: Step) -> None:
    trouble_of(lambda stage: stage.client.packs(1, 2), step)


def test_requests_are_counted_by_kind() -> None:
    async def act(stage: Scene) -> None:
        await stage.create()
        await stage.client.page(ROUTE, 1, 30)
        await stage.client.find(ROUTE, "77")
        await stage.create()

    _, stage = play(act, ok(TASK), ok([]), refuse(400, 1201, "Task not found by id"), refuse(429, 1303))
    counts = stage.client.requests
    assert (counts.total, counts.submit, counts.poll, counts.refused) == (4, 2, 2, 1)


def test_the_rate_monitor_is_a_gate() -> None:
    async def main() -> tuple[float, int]:
        loop = asyncio.get_running_loop()
        monitor = RateLimitMonitor(2, rng=random.Random(1))
        tokens = TokenSource(Credentials.from_key_pair(ACCESS, SECRET), VirtualClock(loop))
        refusal = refuse(429, 1302, headers={"Retry-After": "5"})
        async with serve(refusal, ok([])) as stub, open_session(stub.url) as session:
            client = KlingClient(session, stub.url, tokens, monitor)
            with pytest.raises(Trouble):
                await client.page(ROUTE, 1, 30)
            await client.page(ROUTE, 1, 30)
            paused_s = loop.time()
            await client.page(ROUTE, 1, 30)
            assert loop.time() - paused_s > 50.0
            return paused_s, len(stub.seen)

    paused_s, seen = run_virtual(main)
    assert 5.0 <= paused_s < 6.0
    assert seen == 3


def test_texts_of_the_server_never_bring_our_secrets_back() -> None:
    async def echo(writer: asyncio.StreamWriter, seen: Seen) -> bool:
        token = seen.headers["authorization"].removeprefix("Bearer ")
        words = f"bad {seen.headers['authorization']} / {token} / {ACCESS} / {SECRET} / https://h/x?token=abc"
        return await refuse(400, 1201, json.dumps(words))(writer, seen)

    async def act(stage: Scene) -> str:
        outcome = await stage.create()
        with pytest.raises(Trouble) as info:
            await stage.client.find(ROUTE, "77")
        return f"{outcome!r} {info.value!r} {info.value} {stage.client!r}"

    shown, stage = play(act, echo)
    for seen in stage.stub.seen:
        assert seen.headers["authorization"].removeprefix("Bearer ") not in shown
    assert ACCESS not in shown
    assert SECRET not in shown
    assert "token=abc" not in shown
    assert "[removed]" in shown
