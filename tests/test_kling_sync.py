"""Products that are answered at once: nobody can ask again, so what is not certain stays unknown."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from kling_stub import Scene, Step, drop, ok, play, refuse, reset, say, stall

from batch_runner.model import Accepted, CreateOutcome, Generation, Refused, Route, TaskStatus, Unknown, Verdict

TTS = Route(Generation.V1, "/v1/audio/tts", None, "audios")
FACES = Route(Generation.V1, "/v1/videos/identify-face", None, "")
SPEECH = {
    "task_id": "77",
    "task_status": "succeed",
    "task_result": {"audios": [{"id": "a-1", "url": "https://cdn/a.mp3?sig=1", "duration": "2.5"}]},
    "final_unit_deduction": "0.05",
}


async def speak(stage: Scene) -> CreateOutcome:
    return await stage.client.create(TTS, {"text": "hello"}, "b-1-1")


async def look(stage: Scene) -> CreateOutcome:
    return await stage.client.create(FACES, {"video_id": "v"}, "b-1-1")


def test_a_result_that_comes_at_once_is_a_finished_task() -> None:
    outcome, stage = play(speak, ok(SPEECH), callback_url="https://me.example/hook")
    assert isinstance(outcome, Accepted)
    task = outcome.task
    assert (task.task_id, task.status, task.charged) == ("77", TaskStatus.SUCCEEDED, Decimal("0.05"))
    assert (task.assets[0].url, task.made["audio_id"]) == ("https://cdn/a.mp3?sig=1", "a-1")
    (seen,) = stage.stub.seen
    assert (seen.method, seen.target, seen.json) == ("POST", "/v1/audio/tts", {"text": "hello"})
    assert stage.gate.permits == ["submit"]


def test_an_answer_without_a_task_is_named_after_its_request() -> None:
    data = {"session_id": "ses", "face_data": [{"face_id": "0"}]}
    outcome, _ = play(look, ok(data))
    assert isinstance(outcome, Accepted)
    assert outcome.task.task_id == "request-r"
    assert outcome.task.made["face_id"] == "0"
    assert json.loads(outcome.task.assets[0].content) == data


@pytest.mark.parametrize("request_id", [None, "", [], "x" * 999])
def test_an_answer_without_any_id_is_named_after_its_content(request_id: Any) -> None:
    first, second = ({"code": 0, "request_id": request_id, "data": {"session_id": name}} for name in ("one", "two"))
    names = []
    for answer in (first, first, second):
        outcome, _ = play(look, say(200, answer))
        assert isinstance(outcome, Accepted)
        names.append(outcome.task.task_id)
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("answer-")


def test_what_the_service_could_not_do_is_a_failed_task_and_no_refusal() -> None:
    outcome, _ = play(speak, ok({"task_id": "77", "task_status": "failed", "task_status_msg": "no voice"}))
    assert isinstance(outcome, Accepted)
    assert (outcome.task.status, outcome.task.message) == (TaskStatus.FAILED, "no voice")
    outcome, _ = play(look, ok({"status": 3, "session_id": "s", "final_unit_deduction": "0.05"}))
    assert isinstance(outcome, Accepted)
    assert (outcome.task.status, outcome.task.charged) == (TaskStatus.FAILED, Decimal("0.05"))


@pytest.mark.parametrize(
    "step",
    [
        drop,
        reset,
        stall,
        say(200, b'{"code":0,"data":{"task_id":"77","task_st'),
        ok(None),
        ok({}),
        ok({"task_id": "77", "task_status": "processing"}),
        ok({"task_id": "77", "task_status": "succeed", "task_result": {"audios": []}}),
        refuse(500, 5000),
        refuse(504, 5002),
        refuse(400, 4242),
    ],
)
def test_an_answer_that_does_not_arrive_whole_is_unknown_and_not_asked_for_again(step: Step) -> None:
    outcome, stage = play(speak, step)
    assert isinstance(outcome, Unknown)
    assert len(stage.stub.seen) == 1


@pytest.mark.parametrize(
    ("step", "verdict"),
    [(refuse(429, 1302), Verdict.RATE), (refuse(429, 1303), Verdict.SLOT), (refuse(400, 1201), Verdict.REJECTED)],
)
def test_a_refusal_is_as_certain_as_everywhere(step: Step, verdict: Verdict) -> None:
    outcome, _ = play(speak, step)
    assert isinstance(outcome, Refused)
    assert outcome.refusal.verdict is verdict
