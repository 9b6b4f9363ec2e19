"""Questions about the account itself: what packs it has and what was taken from them (kling-api 3.21)."""

from __future__ import annotations

from batch_runner.kling import deductions, packs
from batch_runner.kling.envelope import MalformedAnswer
from batch_runner.kling.exchange import ACCOUNT, Exchange, Request, Trouble, raise_refused
from batch_runner.kling.refusals import classify, code_of


async def ask_packs(exchange: Exchange, start_ms: int, end_ms: int, timeout_s: float) -> list[packs.AccountPack]:
    """See ``KlingClient.packs``."""
    reply = await exchange.query(Request(ACCOUNT, "GET", packs.costs_path(start_ms, end_ms), timeout_s))
    data = reply.data if reply else None
    if not isinstance(data, dict):
        raise Trouble("the answer about resource packs is not as documented")
    if code_of(data.get("code", 0)) != 0:
        raise_refused(classify(200, data.get("code"), exchange.text(data.get("msg")), {}, reading=True))
    try:
        return packs.parse_packs(data)
    except MalformedAnswer as exc:
        raise Trouble(f"the answer about resource packs is not as documented: {exc}") from None


async def ask_deductions(
    exchange: Exchange,
    path: str,
    cursor: str | None,
    times_ms: tuple[int | None, int | None],
    limit: int,
    timeout_s: float,
) -> tuple[list[deductions.Deduction], str | None]:
    """See ``KlingClient.deductions``."""
    body = deductions.deductions_request(cursor, *times_ms, limit)
    reply = await exchange.query(Request(ACCOUNT, "POST", path, timeout_s, body))
    try:
        rows, next_cursor = deductions.parse_deductions(reply.data if reply else None)
    except MalformedAnswer as exc:
        raise Trouble(f"the answer about deductions is not as documented: {exc}") from None
    if next_cursor is not None and next_cursor == cursor:
        raise Trouble("the list of deductions does not go on")
    return rows, next_cursor
