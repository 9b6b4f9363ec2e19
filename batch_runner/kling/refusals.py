"""The one table from Kling's error codes to what they ask of us and what they mean for a person. Pure.

Decided by code and text, never by HTTP status alone: six codes share status 429 and only two of them are
worth another try (kling-api 5.1, the vendor's error code page as of September 2026).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

from batch_runner.errors import AccountError, NotPermittedError
from batch_runner.kling.cleaning import clean_text
from batch_runner.kling.http_date import date_s
from batch_runner.lifecycle import ExternalId
from batch_runner.model import Refusal, Verdict


class Row(NamedTuple):
    """What a code asks of us, and what it means and asks of a person."""

    verdict: Verdict
    meaning: str


_KEYS = "check the keys, and that they belong to this host (global and mainland China keys differ)"
_CLOCK = "check this machine's clock"
_LATER = "try again later"

NEEDS_API_KEY = (
    "this model is served to API keys only, and an access key with its secret key does not reach it; make an API key"
    " in the console and set KLING_API_KEY (it serves every other model as well)"
)

CODES: Mapping[int, Row] = MappingProxyType(
    {
        1000: Row(Verdict.ACCOUNT, f"authentication failed; {_KEYS}"),
        1001: Row(Verdict.ACCOUNT, f"the request carried no key; {_KEYS}"),
        1002: Row(Verdict.ACCOUNT, f"the key is not valid; {_KEYS}"),
        1003: Row(Verdict.TOKEN, f"the token is not valid yet; {_CLOCK}"),
        1004: Row(Verdict.TOKEN, f"the token has expired; {_CLOCK}"),
        1100: Row(Verdict.ACCOUNT, "the account is in an abnormal state; look at it in the console"),
        1101: Row(Verdict.ACCOUNT, "the account is in arrears; top it up in the console"),
        1102: Row(Verdict.ACCOUNT, "the resource pack is used up or has expired; buy one, then run this again"),
        1103: Row(Verdict.ACCOUNT, "the account may not use this API or model; check its permissions"),
        1200: Row(Verdict.REJECTED, "the request is malformed"),
        1201: Row(Verdict.REJECTED, "a field has an illegal name or value"),
        1202: Row(Verdict.REJECTED, "the API does not know this method"),
        1203: Row(Verdict.REJECTED, "the resource, for example the model, does not exist"),
        1300: Row(Verdict.POLICY, "the platform's policy forbids the request"),
        1301: Row(Verdict.POLICY, "the content safety policy forbids the input; change it"),
        1302: Row(Verdict.RATE, "requests come too fast"),
        1303: Row(Verdict.SLOT, "the account's concurrent tasks are used up"),
        1304: Row(Verdict.ACCOUNT, "this address is not on the account's IP whitelist; ask the vendor's support"),
        5000: Row(Verdict.SERVER, f"the service had an internal error; {_LATER}"),
        5001: Row(Verdict.SERVER, f"the service is under maintenance; {_LATER}"),
        5002: Row(Verdict.SERVER, f"the service timed out internally; {_LATER}"),
    }
)

_WITHOUT_CODE: Mapping[int, Row] = MappingProxyType(
    {
        401: Row(Verdict.ACCOUNT, f"authentication failed; {_KEYS}"),
        403: Row(Verdict.ACCOUNT, "the request was forbidden; check the keys, their permissions and the network"),
        408: Row(Verdict.SERVER, f"the request timed out at the server; {_LATER}"),
        425: Row(Verdict.SERVER, f"the server was not ready for the request; {_LATER}"),
        429: Row(Verdict.RATE, "requests come too fast"),
    }
)
_STRANGE_CODE = Row(Verdict.ODD, "the service answered with a code that is not documented")
_STRANGE_STATUS = Row(Verdict.ODD, "something between here and the service turned the request away")
_SERVER_TROUBLE = Row(Verdict.SERVER, f"the service is in trouble; {_LATER}")
_NOT_AN_ANSWER = Row(Verdict.SERVER, "the answer did not come from the API; check the base URL")

_EXISTS = re.compile(r"already\s+exist|external.{0,200}duplicat", re.IGNORECASE)
_NOT_FOUND = re.compile(r"not\s+found\s+by\s+(?:id|external)|task\s+(?:is\s+)?not\s+(?:found|exist)", re.IGNORECASE)
_NAMED = re.compile(r"not\s+found\s+by\s+(?:id|external)[^:]{0,40}:\s*(br-[0-9a-f-]+|\d+)", re.IGNORECASE)
"""The live service says whom it has not found: ``Task not found by id/external id: X`` (kling-api 3.0)."""
_FEWEST_DIGITS = 12
"""The service's task ids are long numbers; a shorter one may be anything."""
_NO_KEY_PAIR = re.compile(r"not\s+support\s+AK/SK", re.IGNORECASE)
"""Said of a key pair's token and of an API key that is none, wherever only API keys are served (kling-api 2.3)."""
_INVALID_KEY = 1002
_NO_PERMISSION = 1103
_ILLEGAL_VALUE = 1201
_NO_RESOURCE = 1203
_SHORTEST_CODE_TEXT = re.compile(r"\d{1,9}")


def classify(
    http_status: int,
    body_code: Any,
    message: str,
    headers: Mapping[str, str],
    *,
    reading: bool = False,
) -> Refusal:
    """What an answer that is no success asks of us.

    Args:
        http_status: the HTTP status.
        body_code: the body's ``code`` as it came (number, numeric text), or None when there was no such body.
        message: the server's text.
        headers: the answer's headers; ``Retry-After`` (seconds, or a date next to a ``Date``) is read.
        reading: whether the request was a query. Only there does "not found" speak of our own task.
    """
    code = code_of(body_code)
    row = _row(http_status, code, message, reading=reading)
    return Refusal(
        verdict=row.verdict,
        code=code,
        http_status=http_status,
        message=clean_text(message) or row.meaning,
        retry_after_s=_retry_after_s(headers),
    )


def code_of(value: Any) -> int | None:
    """A body's ``code`` as a number, whether it came as number or numeric text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str | int):
        text = str(value).strip() if isinstance(value, str) or abs(value) < 10**9 else ""
        return int(text) if text.isascii() and _SHORTEST_CODE_TEXT.fullmatch(text) else None
    if isinstance(value, Decimal) and value.is_finite() and 0 <= value < 10**9 and value == int(value):
        return int(value)
    return None


def names_another(message: str, asked_id: str) -> bool:
    """Whether a "not found" is about another attempt's task than the one that was asked for.

    Only a whole name of this program's own or a task's id counts: a text in another form says nothing for certain.
    """
    named = _missed(message)
    if named in {"", asked_id}:
        return False
    return _is_an_attempt(named) or (named.isdigit() and len(named) >= _FEWEST_DIGITS)


def misses_an_attempt(message: str) -> bool:
    """Whether a "not found" is about an attempt of this program, by its name: only a question is told so.

    A task's number tells nothing here: a create is told so of the source that it names.
    """
    return _is_an_attempt(_missed(message))


def _missed(message: str) -> str:
    """The id that a text says was not found; empty where it says none."""
    named = _NAMED.search(message)
    return "" if named is None else named[1]


def _is_an_attempt(name: str) -> bool:
    return ExternalId.parse(name) is not None


def for_person(refusal: Refusal) -> str:
    """One sentence that says what the service said and what a person can do about it."""
    if not refusal.http_status:  # our own, before anything was sent
        return refusal.message
    row = _row(refusal.http_status, refusal.code, refusal.message, reading=False)
    origin = f"code {refusal.code}" if refusal.code else f"HTTP {refusal.http_status}"
    said = "" if refusal.message == row.meaning else f": {refusal.message}"
    return f"Kling: {row.meaning} ({origin}{said})"


def is_klings_word(refusal: Refusal) -> bool:
    """Whether it was Kling who spoke: somebody on the way knows none of its codes, and not what became of a create."""
    return refusal.code in CODES


def account_error(refusal: Refusal) -> AccountError:
    """What ends a run over a refusal of the account: NotPermittedError where others may well be answered."""
    kind = NotPermittedError if refusal.code == _NO_PERMISSION else AccountError
    return kind(for_person(refusal))


def _row(http_status: int, code: int | None, message: str, *, reading: bool) -> Row:
    if not code:
        return _row_without_code(http_status)
    row = CODES.get(code) or _row_of_strange_code(http_status)
    if code == _INVALID_KEY and _NO_KEY_PAIR.search(message):
        return Row(Verdict.ACCOUNT, f"{NEEDS_API_KEY}, or copy yours again")
    if code == _ILLEGAL_VALUE and _EXISTS.search(message):
        return Row(Verdict.EXISTS, "a task with this external id exists already")
    if reading and (code == _NO_RESOURCE or (code == _ILLEGAL_VALUE and _NOT_FOUND.search(message))):
        return Row(Verdict.NOT_FOUND, "no task has this id")
    return row


def _row_of_strange_code(http_status: int) -> Row:
    """A code that is not in Kling's table: gateways repeat the status there, and mean no more than it says."""
    row = _row_without_code(http_status)
    return _STRANGE_CODE if row.verdict is Verdict.ODD or http_status < 400 else row  # noqa: PLR2004 - HTTP's errors


def _row_without_code(http_status: int) -> Row:
    """Somebody answered, but not in Kling's words, so who it was and what it means for a create is open."""
    if http_status in _WITHOUT_CODE:
        return _WITHOUT_CODE[http_status]
    if http_status >= 500:  # noqa: PLR2004 - HTTP's own class of server errors
        return _SERVER_TROUBLE
    return _NOT_AN_ANSWER if http_status < 400 else _STRANGE_STATUS  # noqa: PLR2004 - HTTP's client errors


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    wish = headers.get("Retry-After", "").strip()
    try:
        seconds = float(wish)
    except ValueError:
        until_s, now_s = date_s(wish), date_s(headers.get("Date"))
        if until_s is None or now_s is None:
            return None
        seconds = until_s - now_s
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
