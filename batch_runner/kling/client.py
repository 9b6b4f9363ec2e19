"""Asks Kling for tasks and about tasks, and says what each answer means for us."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp

from batch_runner.kling import account, creation, wire_v1, wire_v2
from batch_runner.kling.auth import TokenSource
from batch_runner.kling.deductions import BALANCE_PATH, PACKAGE_PATH, Deduction
from batch_runner.kling.envelope import Envelope, MalformedAnswer
from batch_runner.kling.exchange import POLL, SUBMIT, Exchange, Gate, Intend, Request, Trouble
from batch_runner.kling.packs import AccountPack
from batch_runner.kling.refusals import NEEDS_API_KEY
from batch_runner.kling.transport import LostError, NotConnectedError, Transport
from batch_runner.model import (
    CreateOutcome,
    Generation,
    NotSent,
    Page,
    Refusal,
    Refused,
    Route,
    Task,
    Unknown,
    Verdict,
)
from batch_runner.records import RequestCounts

MAX_BODY_BYTES = 8 * 1024 * 1024
READ_TIMEOUT_S = 30.0
CREATE_TIMEOUT_S = 60.0
CREATE_TIMEOUT_S_PER_MB = 4.0
"""Images travel inside the body, and a slow line needs its time for them (kling-api 9, item 20)."""
_TASKS_PATH = "/tasks"


class KlingClient:
    """The API as the runner sees it. It repeats nothing by itself, except once with a fresh token.

    Args:
        session: see ``open_session``.
        base_url: the API's address. Raises UsageError if it is not fit for keys.
        tokens: the authorization.
        gate: paces every request.
        callback_url: where the service is asked to report each task's changes, or None.
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
        callback_url: str | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        read_timeout_s: float = READ_TIMEOUT_S,
        create_timeout_s: float = CREATE_TIMEOUT_S,
    ) -> None:
        self._exchange = Exchange(Transport(session, base_url, tokens, max_body_bytes), tokens, gate)
        self._tokens = tokens
        self._callback = {} if callback_url is None else {"callback_url": callback_url}
        self._read_timeout_s = read_timeout_s
        self._create_timeout_s = create_timeout_s
        self.malformed_rows = 0
        """Rows of lists that were skipped because they were no tasks as documented, or tasks nobody asked for."""

    @property
    def requests(self) -> RequestCounts:
        """Requests that may have reached the API so far, and answers that turned one away."""
        return self._exchange.requests

    # --- asking for a task --------------------------------------------------------------------------------

    async def create(
        self, route: Route, body: Mapping[str, Any], external_task_id: str, intend: Intend | None = None
    ) -> CreateOutcome:
        """Ask for one task. The outcome says what is certain; nothing uncertain is ever sent again.

        Args:
            route: where, and in which form.
            body: the item's fields in canonical form, local files filled in.
            external_task_id: our id for the task; the server accepts it once. A product that is answered at once
                has no place for it: nobody can ask later what became of a lost answer.
            intend: makes the intent durable; awaited right before the first byte, after every wait for leave to send,
                and so once more where the token was refused.
        """
        if route.needs_api_key and not self._tokens.has_api_key:
            if intend is not None:  # it ends as a submission does that the account refuses
                await intend()
            return Refused(Refusal(Verdict.ACCOUNT, None, 0, NEEDS_API_KEY))
        ours = {} if route.is_sync else {"external_task_id": external_task_id, **self._callback}
        payload = creation.request(route, body, ours)
        timeout_s = self._create_timeout_s + CREATE_TIMEOUT_S_PER_MB * len(payload) / 1_000_000
        try:
            reply = await self._exchange.ask(Request(SUBMIT, "POST", route.create_path, timeout_s, payload), intend)
        except NotConnectedError as exc:
            return NotSent(str(exc))
        except LostError as exc:
            return Unknown(str(exc))
        return creation.outcome(route, reply, external_task_id)

    # --- asking about tasks -------------------------------------------------------------------------------

    async def find(self, route: Route, task_or_external_id: str, *, by_external_id: bool = False) -> Task | None:
        """One task of a route by either of its ids; None if the server knows none (yet).

        ``by_external_id`` says that it is ours: an answer that does not repeat it is then taken at its word.

        Raises:
            Trouble: no answer about this task now.
            AccountError: the account may not ask.
        """
        if route.generation is Generation.V2:
            path = wire_v2.find_path(_listed(route), [task_or_external_id], by_external_id=by_external_id)
        else:
            path = wire_v1.find_path(_listed(route), task_or_external_id)
        reply = await self._get(path, task_or_external_id)
        if reply is None and route.generation is Generation.V1:
            return None
        try:
            tasks = _found(route, reply)
        except MalformedAnswer as exc:
            raise Trouble(f"the answer about a task is not as documented: {exc}") from None
        return _the_one(tasks, task_or_external_id, by_external_id=by_external_id)

    async def page(self, route: Route, page_num: int, page_size: int) -> Page:
        """One page of a first generation route's tasks, counted from 1; a row that is no task is counted.

        Raises:
            Trouble: no page now.
            AccountError: the account may not ask.
        """
        assert route.generation is Generation.V1, "the second generation has no pages; see find_many and tasks"
        reply = await self._get(wire_v1.page_path(_listed(route), page_num, page_size))
        rows = _list_of_tasks(reply)
        tasks = self._legible(rows, lambda row: wire_v1.parse_task(row, route.result_key))
        return Page(tasks, illegible=len(rows) - len(tasks))

    async def find_many(self, *, task_ids: Sequence[str] = (), external_task_ids: Sequence[str] = ()) -> Page:
        """Tasks of either generation's accounts by their ids, in one request for each kind of id that is given.

        An id the server does not know (yet) is simply not among them. Both kinds together may be 20 ids; the server
        takes one kind a request. A row about none of these ids counts as illegible: something mixed up two answers.

        Raises:
            ValueError: more than that, or an empty id; nothing was sent.
            Trouble: no answer now.
            AccountError: the account may not ask.
        """
        if len(task_ids) + len(external_task_ids) > wire_v2.MOST_IDS:
            raise ValueError(f"at most {wire_v2.MOST_IDS} tasks can be asked for at once")
        paths = [wire_v2.find_path(_TASKS_PATH, task_ids)] if task_ids else []
        paths += [wire_v2.find_path(_TASKS_PATH, external_task_ids, by_external_id=True)] if external_task_ids else []
        rows = [row for path in paths for row in _list_of_tasks(await self._get(path))]
        found = self._legible(rows, wire_v2.parse_task)
        asked = {*task_ids, *external_task_ids}
        ours = [task for task in found if asked & {task.task_id, task.external_task_id}]
        self.malformed_rows += len(found) - len(ours)
        return Page(ours, illegible=len(rows) - len(ours))

    async def tasks(
        self, cursor: str | None = None, *, start_ms: int | None = None, end_ms: int | None = None, limit: int = 100
    ) -> tuple[list[Task], str | None]:
        """Some of the account's tasks, and the cursor of the next ones, None after the last.

        Args:
            cursor: where an earlier answer ended; it stands for that answer's times as well.
            start_ms: tasks of this moment and later, in milliseconds since 1970 (the server's default: 30 days ago).
            end_ms: tasks up to this moment, likewise (the server's default: now).
            limit: at most so many, up to 500.

        Raises:
            Trouble: no answer now.
            AccountError: the account may not ask.
        """
        body = wire_v2.search_request(cursor, start_ms, end_ms, limit)
        reply = await self._exchange.query(Request(POLL, "POST", _TASKS_PATH, self._read_timeout_s, body))
        if reply is None:
            raise Trouble("the answer is not a list of tasks")
        try:
            rows, next_cursor = wire_v2.parse_search(reply.data)
        except MalformedAnswer as exc:
            raise Trouble(f"the answer is not a list of tasks: {exc}") from None
        if next_cursor is not None and next_cursor == cursor:
            raise Trouble("the list of tasks does not go on")
        return self._legible(rows, wire_v2.parse_task), next_cursor

    # --- asking about the account -------------------------------------------------------------------------

    async def packs(self, start_ms: int, end_ms: int) -> list[AccountPack]:
        """The account's resource packs between two moments in milliseconds since 1970.

        The vendor asks for at most one such query a second.

        Raises:
            Trouble: no answer now.
            AccountError: the account may not ask.
        """
        return await account.ask_packs(self._exchange, start_ms, end_ms, self._read_timeout_s)

    async def deductions(
        self,
        cursor: str | None = None,
        *,
        of_balance: bool = False,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 100,
    ) -> tuple[list[Deduction], str | None]:
        """What was taken from the account's packs, and the cursor of the next rows, None after the last.

        Args:
            cursor: where an earlier answer ended; without one both times are needed.
            of_balance: from the post-paid balance instead, in money.
            start_ms: deductions from this moment on, in milliseconds since 1970.
            end_ms: deductions up to this moment, likewise.
            limit: at most so many, up to 500.

        Raises:
            ValueError: neither times nor a cursor; nothing was sent.
            Trouble: no answer now.
            AccountError: the account may not ask.
        """
        path = BALANCE_PATH if of_balance else PACKAGE_PATH
        times_ms = (start_ms, end_ms)
        return await account.ask_deductions(self._exchange, path, cursor, times_ms, limit, self._read_timeout_s)

    # --- what they share ----------------------------------------------------------------------------------

    async def _get(self, path: str, asked_id: str = "") -> Envelope | None:
        return await self._exchange.query(Request(POLL, "GET", path, self._read_timeout_s, asked_id=asked_id))

    def _legible(self, rows: Sequence[Any], parse: Callable[[Any], Task]) -> list[Task]:
        """The rows that are tasks; the others are counted."""
        tasks = []
        for row in rows:
            try:
                tasks.append(parse(row))
            except MalformedAnswer:
                self.malformed_rows += 1
        return tasks


def _found(route: Route, reply: Envelope | None) -> list[Task]:
    """The tasks in the answer to a question about one. Raises MalformedAnswer if there should be one, illegibly."""
    if route.generation is Generation.V2:
        # Here an unknown id is an empty list (kling-api 3.20); a refusal would be no proof of absence.
        return [wire_v2.parse_task(row) for row in _list_of_tasks(reply)]
    return [wire_v1.parse_task(reply.data if reply else None, route.result_key)]


def _the_one(tasks: Sequence[Task], asked_id: str, *, by_external_id: bool) -> Task | None:
    if not tasks:
        return None
    for task in tasks:
        if asked_id in {task.task_id, task.external_task_id}:
            return task
    if by_external_id and len(tasks) == 1 and tasks[0].external_task_id is None:
        return tasks[0]  # not every answer repeats our id; the server itself matched it (kling-api 3.0)
    raise Trouble("the answer is about another task")


def _list_of_tasks(reply: Envelope | None) -> list[Any]:
    if reply is None or not isinstance(reply.data, list | None):
        raise Trouble("the answer is not a list of tasks")
    return reply.data or []


def _listed(route: Route) -> str:
    assert route.list_path is not None, "what is answered at once cannot be asked for again"
    return route.list_path
