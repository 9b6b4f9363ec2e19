"""Counts in sentences for people: a noun or verb that goes with its number. Pure, and below every other room."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

_NAMED = 5
"""So many items are named in a notice about many."""


def by_count(count: int | Decimal, one: str, several: str) -> str:
    """The words that go with a count: ``one`` with exactly 1, ``several`` with 0, 0.5 and 2."""
    return one if count == 1 else several


def plural(count: int, noun: str, nouns: str = "") -> str:
    """A count and its noun: ``1 item``, ``1,240 items``; ``nouns`` where an s does not do (``batches``)."""
    return f"{count:,} {by_count(count, noun, nouns or f'{noun}s')}"


def some_of(names: Sequence[str]) -> str:
    """The first of these names, and how many more there are: ``a, b, c, d, e and 995 more``."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def request_rate(rpm: int) -> str:
    """A limit of API requests in words: ``60 requests a minute``; 0 is none."""
    return f"{plural(rpm, 'request')} a minute" if rpm else "no limit on requests"
