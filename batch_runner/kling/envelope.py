"""What every answer of the API has in common: ``code``, ``message`` and ``data`` around the matter. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_PLAIN_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?")
_LARGEST = Decimal(10) ** 15
"""Beyond a moment in milliseconds since 1970, the largest number the API uses."""
_DECIMALS = 12
"""With so many, sums of numbers below the largest are exact in a Decimal's 28 digits."""
_FINEST_EXPONENT = -40
"""A server that counts in binary says ``0.30000000000000004``, or ``3.6e-15`` for nothing: figures, and no nonsense."""
_LONGEST_ID = 256


class MalformedAnswer(Exception):  # noqa: N818 - it names what arrived; the error is the server's
    """An answer's shape is not what the API documents. The text names the field, never its value."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """An answer's outer object. ``code`` is as it came, ``data`` is None when the answer has none."""

    code: Any
    message: str
    data: Any
    request_id: str = ""


def parse_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object; fractions become ``Decimal``. Raises MalformedAnswer if it is none."""
    try:
        value = json.loads(body, parse_float=Decimal, parse_constant=Decimal)
    except (ValueError, RecursionError, ArithmeticError):
        value = None
    # Raised out here so that the parser's exception, which carries the whole body, is not attached to it.
    if not isinstance(value, dict):
        raise MalformedAnswer("the body is not a JSON object")
    return value


def parse_envelope(body: bytes) -> Envelope:
    """Read an answer's body. Raises MalformedAnswer if it is no JSON object."""
    answer = parse_object(body)
    message = answer.get("message")
    message = message if isinstance(message, str) else ""
    return Envelope(answer.get("code"), message, answer.get("data"), _request_id(answer))


def _request_id(answer: dict[str, Any]) -> str:
    try:
        return id_at(answer, "request_id") or ""
    except MalformedAnswer:
        return ""


def object_at(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """The object under ``key``; an absent or null one is empty. Raises MalformedAnswer for anything else."""
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedAnswer(f"{key} is not an object")
    return value


def list_at(parent: dict[str, Any], key: str) -> list[Any]:
    """The list under ``key``; an absent or null one is empty. Raises MalformedAnswer for anything else."""
    value = parent.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise MalformedAnswer(f"{key} is not a list")
    return value


def id_at(parent: dict[str, Any], key: str) -> str | None:
    """The id under ``key`` as text; None if there is none. Raises MalformedAnswer if it is no id."""
    value = parent.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**40:
        value = str(value)
    if value is None or value == "":
        return None
    # An address in an id's place could be a signed one, and ids are stored and shown.
    if not isinstance(value, str) or len(value) > _LONGEST_ID or not value.isprintable() or "://" in value:
        raise MalformedAnswer(f"{key} is not an id")
    return value


def quantity(value: Any) -> Decimal | None:
    """A count of credits or seconds, from a number or its text, to 12 decimals; None if there is none."""
    if isinstance(value, str):
        text = value.strip()
        value = Decimal(text) if text.isascii() and _PLAIN_NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    return _plausible(Decimal(value)) if not isinstance(value, int) or abs(value) < _LARGEST else None


def _plausible(number: Decimal) -> Decimal | None:
    # A number like 1e999999 is exact as a Decimal and would fill the memory as soon as it is written out.
    if not number.is_finite() or not 0 <= number < _LARGEST:
        return None
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    if exponent < _FINEST_EXPONENT:
        return None
    return abs(number) if exponent >= -_DECIMALS else round(abs(number), _DECIMALS)
