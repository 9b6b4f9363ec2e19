"""Asking for a task: the body of a create, and what its answer makes certain. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from batch_runner.kling import wire_v1, wire_v2
from batch_runner.kling.envelope import Envelope, MalformedAnswer
from batch_runner.kling.refusals import for_person, is_klings_word, misses_an_attempt
from batch_runner.model import Accepted, CreateOutcome, Generation, Refusal, Refused, Route, Task, Unknown, Verdict


def request(route: Route, body: Mapping[str, Any], ours: Mapping[str, str]) -> bytes:
    """The body of a create: the fields in the route's form, with what is ours beside them."""
    if route.generation is Generation.V2:
        return wire_v2.create_request(route, body, ours)
    return wire_v1.create_request(body, ours)


def outcome(route: Route, reply: Envelope | Refusal, external_task_id: str) -> CreateOutcome:
    """What is certain after this answer to the create of ``external_task_id``."""
    if isinstance(reply, Refusal):
        return _refused(route, reply)
    return _accepted(route, reply, external_task_id)


def _refused(route: Route, refusal: Refusal) -> Refused | Unknown:
    if refusal.verdict is Verdict.REJECTED and misses_an_attempt(refusal.message):
        return Unknown("the create was answered with what a question about a task was told")
    if refusal.verdict in {Verdict.SERVER, Verdict.ODD} or _is_from_elsewhere(route, refusal):
        return Unknown(for_person(refusal), refusal)
    return Refused(refusal)


def _is_from_elsewhere(route: Route, refusal: Refusal) -> bool:
    """Whether it was not Kling who spoke, and who it was does not know what Kling did.

    A limit that says how long to wait is believed (plans-and-prices F). So is any to a call, which nobody can look for:
    a limiter turns away what it has not passed on, and every call behind it would be given up as lost. Neither is where
    the body says that all is well: then the status alone was changed.
    """
    is_well = refusal.code == 0
    is_limit = refusal.verdict is Verdict.RATE and (refusal.retry_after_s is not None or route.is_sync) and not is_well
    return refusal.verdict in {Verdict.ACCOUNT, Verdict.RATE} and not is_klings_word(refusal) and not is_limit


def _accepted(route: Route, reply: Envelope, external_task_id: str) -> Accepted | Unknown:
    try:
        task = _created(route, reply)
    except MalformedAnswer as exc:
        return Unknown(f"the create was accepted, but its task cannot be read: {exc}")
    if task.external_task_id not in {None, external_task_id}:
        return Unknown("the create was answered with somebody else's task")
    if _is_of_a_call(route, task):
        return Unknown("the create was answered with what a call made")
    return Accepted(task)


def _is_of_a_call(route: Route, task: Task) -> bool:
    """Whether an answer is that of a product that is answered at once: it has ended, and bears no name of ours.

    A task that does end at once is found by its name.
    """
    is_nameless_end = task.external_task_id is None and task.status.is_terminal
    return is_nameless_end and route.has_external_id and not route.is_sync


def _created(route: Route, reply: Envelope) -> Task:
    if route.is_sync:
        return wire_v1.parse_result(reply.data, route.result_key, _answer_id(reply))
    return wire_v2.parse_created(reply.data) if route.generation is Generation.V2 else wire_v1.parse_created(reply.data)


def _answer_id(reply: Envelope) -> str:
    """Stands for a task's id where an answer has none: the request's, which the vendor can look up, or a digest."""
    if reply.request_id:
        return f"request-{reply.request_id}"
    return f"answer-{hashlib.sha256(repr(reply.data).encode('utf-8', 'replace')).hexdigest()[:24]}"
