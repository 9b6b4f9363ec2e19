"""Asks Kling for tasks and about tasks, and says what each answer means for us."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import aiohttp

from batch_runner.errors import AccountError
from batch_runner.kling import packs, wire_v1
from batch_runner.kling.auth import TokenSource
from batch_runner.kling.cleaning import LONGEST_READ
from batch_runner.kling.envelope import Envelope, MalformedAnswer, parse_envelope
from batch_runner.kling.refusals import classify, code_of, for_person
from batch_runner.kling.transport import Answer, LostError, NotConnectedError, Transport
from batch_runner.model import Accepted, CreateOutcome, NotSent, Refusal, Refused, Route, Task, Unknown, Verdict
from batch_runner.records import RequestCounts

MAX_BODY_BYTES = 8 * 1024 * 1024
READ_TIMEOUT_S = 30.0
CREATE_TIMEOUT_S = 60.0
CREATE_TIMEOUT_S_PER_MB = 4.0
"""Images travel inside the body, and a slow line needs its time for them (kling-api 9, item 20)."""


class Gate(Protocol):
    """Paces requests; ``limits.RateLimitMonitor`` is one."""

    def permit(self, kind: str) -> AbstractAsyncContextManager[float]:
        """Wait for leave to send one request; yields the moment it is sent, ends with its answer."""

    def throttled(self, retry_after_s: float | None, sent_at: float | None) -> None:
        """The request sent at ``sent_at`` was refused for its rate."""

    def answered(self) -> None:
        """A request was answered without a word about its rate."""


class Trouble(Exception):  # noqa: N818 - a passing state of the service, not an error of the program
    """A query brought no result now. The text says why; ``refusal`` is set when there was an answer."""

    def __init__(self, why: str, refusal: Refusal | None = None) -> None:
        super().__init__(why)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class _Request:
    kind: str
    method: str
    path: str
    timeout_s: float
    body: bytes | None = None


class KlingClient:
    """The API as the runner sees it. It repeats nothing by itself, except once with a fresh token.

    Args:
        session: see ``open_session``.
        base_url: the API's address. Raises UsageError if it is not fit for keys.
        tokens: the authorization.
        gate: paces every request.
        max_body_bytes: a longer answer counts as lost.
        read_timeout_s: for a query, from the connection to the answer's last byte.
        create_timeout_s: for a create; its body's size adds to it.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        tokens: TokenSource,
        gate: Gate,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        read_timeout_s: float = READ_TIMEOUT_S,
        create_timeout_s: float = CREATE_TIMEOUT_S,
    ) -> None:
        self._transport = Transport(session, base_url, tokens, max_body_bytes)
        self._tokens = tokens
        self._gate = gate
        self._read_timeout_s = read_timeout_s
        self._create_timeout_s = create_timeout_s
        self._sent: Counter[str] = Counter()
        self._refused = 0
        self.malformed_rows = 0
        """Rows of list pages that were skipped because they were no tasks as documented."""

    @property
    def requests(self) -> RequestCounts:
        """Requests that may have reached the API so far, and answers that turned one away."""
        return RequestCounts(self._sent.total(), self._sent["submit"], self._sent["poll"], self._refused)

    async def create(self, route: Route, body: Mapping[str, Any], external_task_id: str) -> CreateOutcome:
        """Ask for one task. The outcome says what is certain; nothing uncertain is ever sent again.

        Args:
            route: where, and in which form.
            body: the item's fields in canonical form, local files filled in.
            external_task_id: our id for the task; the server accepts it once.
        """
        payload = wire_v1.create_request(body, external_task_id)
        timeout_s = self._create_timeout_s + CREATE_TIMEOUT_S_PER_MB * len(payload) / 1_000_000
        try:
            reply = await self._ask(_Request("submit", "POST", route.create_path, timeout_s, payload))
        except NotConnectedError as exc:
            return NotSent(str(exc))
        except LostError as exc:
            return Unknown(str(exc))
        return _refused(reply) if isinstance(reply, Refusal) else _accepted(reply, external_task_id)

    async def find(self, route: Route, task_or_external_id: str, *, by_external_id: bool = False) -> Task | None:
        """One task of a route by either of its ids; None if the server knows none (yet).

        ``by_external_id`` says that it is ours: an answer that does not repeat it is then taken at its word.

        Raises:
            Trouble: no answer about this task now.
            AccountError: the account may not ask.
        """
        reply = await self._query("poll", wire_v1.find_path(_listed(route), task_or_external_id))
        if reply is None:
            return None
        try:
            task = wire_v1.parse_task(reply.data, route.result_key)
        except MalformedAnswer as exc:
            raise Trouble(f"the answer about a task is not as documented: {exc}") from None
        if task_or_external_id in {task.task_id, task.external_task_id}:
            return task
        if by_external_id and task.external_task_id is None:
            return task  # not every answer repeats our id; the server itself matched it (kling-api 3.0)
        raise Trouble("the answer is about another task")

    async def page(self, route: Route, page_num: int, page_size: int) -> list[Task]:
        """One page of a route's tasks, counted from 1; a row that is no task is left out and counted.

        Raises:
            Trouble: no page now.
            AccountError: the account may not ask.
        """
        reply = await self._query("poll", wire_v1.page_path(_listed(route), page_num, page_size))
        if reply is None or not isinstance(reply.data, list | None):
            raise Trouble("the answer is not a list of tasks")
        return [task for row in reply.data or () if (task := self._row_task(row, route.result_key))]

    async def packs(self, start_ms: int, end_ms: int) -> list[packs.AccountPack]:
        """The account's resource packs between two moments in milliseconds since 1970.

        The vendor asks for at most one such query a second.

        Raises:
            Trouble: no answer now.
            AccountError: the account may not ask.
        """
        reply = await self._query("packs", packs.costs_path(start_ms, end_ms))
        data = reply.data if reply else None
        if not isinstance(data, dict):
            raise Trouble("the answer about resource packs is not as documented")
        if code_of(data.get("code", 0)) != 0:
            _raise_refused(classify(200, data.get("code"), self._text(data.get("msg")), {}, reading=True))
        try:
            return packs.parse_packs(data)
        except MalformedAnswer as exc:
            raise Trouble(f"the answer about resource packs is not as documented: {exc}") from None

    def _row_task(self, row: Any, result_key: str) -> Task | None:
        try:
            return wire_v1.parse_task(row, result_key)
        except MalformedAnswer:
            self.malformed_rows += 1
            return None

    async def _query(self, kind: str, path: str) -> Envelope | None:
        """A query's answer, None for "not found"."""
        try:
            reply = await self._ask(_Request(kind, "GET", path, self._read_timeout_s))
        except (NotConnectedError, LostError) as exc:
            raise Trouble(str(exc)) from None
        if isinstance(reply, Envelope):
            return reply
        if reply.verdict is not Verdict.NOT_FOUND:
            _raise_refused(reply)
        return None

    async def _ask(self, request: _Request) -> Envelope | Refusal:
        """Send a request; once more if only the token's times were wrong, for then it was not executed."""
        reply, date = await self._ask_once(request)
        if _is_token(reply) and self._tokens.renew(date):
            reply, _ = await self._ask_once(request)
        if isinstance(reply, Refusal) and _is_token(reply):
            return replace(reply, verdict=Verdict.ACCOUNT)
        return reply

    async def _ask_once(self, request: _Request) -> tuple[Envelope | Refusal, str | None]:
        async with self._gate.permit(request.kind) as sent_at:
            self._sent[request.kind] += 1
            try:
                answer = await self._transport.exchange(request.method, request.path, request.body, request.timeout_s)
            except NotConnectedError:
                self._sent[request.kind] -= 1
                raise
            reply = self._reply(answer, reading=request.method == "GET")
            self._tell(reply, sent_at)
        return reply, answer.headers.get("Date")

    def _reply(self, answer: Answer, *, reading: bool) -> Envelope | Refusal:
        try:
            envelope = parse_envelope(answer.body)
        except MalformedAnswer:
            envelope = Envelope(code=None, message="", data=None)
        if code_of(envelope.code) == 0 and 200 <= answer.http_status < 300:  # noqa: PLR2004 - HTTP's successes
            return envelope
        message = self._text(envelope.message)
        return classify(answer.http_status, envelope.code, message, answer.headers, reading=reading)

    def _text(self, message: Any) -> str:
        return self._tokens.hide(message)[:LONGEST_READ] if isinstance(message, str) else ""

    def _tell(self, reply: Envelope | Refusal, sent_at: float) -> None:
        """Count a refusal, and let the gate know how the request fared."""
        if isinstance(reply, Refusal) and reply.verdict is not Verdict.NOT_FOUND:
            self._refused += 1
        if isinstance(reply, Refusal) and reply.verdict is Verdict.RATE:
            self._gate.throttled(reply.retry_after_s, sent_at)
        else:
            self._gate.answered()


def _listed(route: Route) -> str:
    assert route.list_path is not None, "what is answered at once cannot be asked for again"
    return route.list_path


def _is_token(reply: Envelope | Refusal) -> bool:
    return isinstance(reply, Refusal) and reply.verdict is Verdict.TOKEN


def _refused(refusal: Refusal) -> Refused | Unknown:
    if refusal.verdict in {Verdict.SERVER, Verdict.ODD}:
        return Unknown(for_person(refusal), refusal)
    return Refused(refusal)


def _accepted(reply: Envelope, external_task_id: str) -> Accepted | Unknown:
    try:
        task = wire_v1.parse_created(reply.data)
    except MalformedAnswer as exc:
        return Unknown(f"the create was accepted, but its task cannot be read: {exc}")
    if task.external_task_id not in {None, external_task_id}:
        return Unknown("the create was answered with somebody else's task")
    return Accepted(task)


def _raise_refused(refusal: Refusal) -> None:
    if refusal.verdict is Verdict.ACCOUNT:
        raise AccountError(for_person(refusal))
    raise Trouble(for_person(refusal), refusal)
