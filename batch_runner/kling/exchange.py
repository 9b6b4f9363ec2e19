"""One question to the API and its answer: paced, counted, authorized, and classified if it is a refusal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol

from batch_runner.kling.auth import TokenSource
from batch_runner.kling.cleaning import LONGEST_READ
from batch_runner.kling.envelope import Envelope, MalformedAnswer, parse_envelope
from batch_runner.kling.refusals import account_error, classify, code_of, for_person, names_another
from batch_runner.kling.transport import Answer, LostError, NotConnectedError, Transport
from batch_runner.model import Refusal, Verdict
from batch_runner.records import RequestCounts

SUBMIT = "submit"
POLL = "poll"
ACCOUNT = "packs"
"""The kinds of requests; only the first one can make anything."""
_MESSAGES = frozenset({"task_status_msg", "message"})
_MESSAGES_DEPTH = 4
"""So deep in the data of an answer stand the texts about tasks: in a list, in an object of one."""


Intend = Callable[[], Awaitable[None]]
"""Makes it durable that a request is about to be sent; where it raises, nothing is.

Called again for the same submission, it learns that the first request was turned away for its token, and made nothing.
"""


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
class Request:
    """What is asked. ``path`` is escaped already; ``timeout_s`` counts from the connection to the last byte.

    ``asked_id`` is the id of the one task that is asked for; without it a "not found" is believed whatever it names.
    """

    kind: str
    method: str
    path: str
    timeout_s: float
    body: bytes | None = None
    asked_id: str = ""


class Exchange:
    """Asks each question once, except once more with a fresh token.

    Args:
        transport: sends.
        tokens: the authorization, which is renewed when the service finds its times wrong.
        gate: paces every request.
    """

    def __init__(self, transport: Transport, tokens: TokenSource, gate: Gate) -> None:
        self._transport = transport
        self._tokens = tokens
        self._gate = gate
        self._sent: Counter[str] = Counter()
        self._refused = 0

    @property
    def requests(self) -> RequestCounts:
        """Requests that may have reached the API so far, and answers that turned one away."""
        return RequestCounts(self._sent.total(), self._sent[SUBMIT], self._sent[POLL], self._refused)

    async def query(self, request: Request) -> Envelope | None:
        """A query's answer, None for "not found".

        Raises:
            Trouble: no answer now.
            AccountError: the account may not ask.
        """
        try:
            reply = await self.ask(request)
        except (NotConnectedError, LostError) as exc:
            raise Trouble(str(exc)) from None
        if isinstance(reply, Envelope):
            return reply
        if reply.verdict is not Verdict.NOT_FOUND:
            raise_refused(reply)
        if request.asked_id and names_another(reply.message, request.asked_id):
            raise Trouble("the answer is about another task")
        return None

    async def ask(self, request: Request, intend: Intend | None = None) -> Envelope | Refusal:
        """Send a request; once more if only the token's times were wrong, for then it was not executed.

        ``intend`` is awaited each time that the request has its permit, right before it is sent.

        Raises:
            NotConnectedError, LostError: there is no answer; see there.
        """
        reply, date = await self._ask_once(request, intend)
        if _is_token(reply) and self._tokens.renew(date):
            reply, _ = await self._ask_once(request, intend)
        if isinstance(reply, Refusal) and _is_token(reply):
            return replace(reply, verdict=Verdict.ACCOUNT)
        return reply

    async def _ask_once(self, request: Request, intend: Intend | None = None) -> tuple[Envelope | Refusal, str | None]:
        async with self._gate.permit(request.kind) as sent_at:
            if intend is not None:
                await intend()
            self._sent[request.kind] += 1
            try:
                answer = await self._transport.exchange(request.method, request.path, request.body, request.timeout_s)
            except NotConnectedError:
                self._sent[request.kind] -= 1
                raise
            reply = self._reply(answer, reading=request.kind != SUBMIT)
            self._tell(reply, sent_at)
        return reply, answer.headers.get("Date")

    def _reply(self, answer: Answer, *, reading: bool) -> Envelope | Refusal:
        try:
            envelope = parse_envelope(answer.body)
        except MalformedAnswer:
            envelope = Envelope(code=None, message="", data=None)
        if code_of(envelope.code) == 0 and 200 <= answer.http_status < 300:  # noqa: PLR2004 - HTTP's successes
            self._clean_messages(envelope.data)
            return envelope
        message = self.text(envelope.message)
        return classify(answer.http_status, envelope.code, message, answer.headers, reading=reading)

    def _clean_messages(self, data: Any, depth: int = _MESSAGES_DEPTH) -> None:
        """Take our secrets out of the texts about tasks, should they repeat any; addresses stay as they are signed."""
        if isinstance(data, dict):
            for name in _MESSAGES & data.keys():
                data[name] = self._tokens.hide(data[name]) if isinstance(data[name], str) else data[name]
        within = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
        for value in within if depth else ():
            self._clean_messages(value, depth - 1)

    def text(self, message: Any) -> str:
        """A text of the server's, without our secrets, should it repeat them."""
        return self._tokens.hide(message)[:LONGEST_READ] if isinstance(message, str) else ""

    def _tell(self, reply: Envelope | Refusal, sent_at: float) -> None:
        """Count a refusal, and let the gate know how the request fared."""
        if isinstance(reply, Refusal) and reply.verdict is not Verdict.NOT_FOUND:
            self._refused += 1
        if isinstance(reply, Refusal) and reply.verdict is Verdict.RATE:
            self._gate.throttled(reply.retry_after_s, sent_at)
        else:
            self._gate.answered()


def _is_token(reply: Envelope | Refusal) -> bool:
    return isinstance(reply, Refusal) and reply.verdict is Verdict.TOKEN


def raise_refused(refusal: Refusal) -> NoReturn:
    """Raises AccountError if the account may not ask (NotPermittedError: only this), Trouble otherwise."""
    if refusal.verdict is Verdict.ACCOUNT:
        raise account_error(refusal)
    raise Trouble(for_person(refusal), refusal)
