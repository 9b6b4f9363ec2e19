"""Reads the dates of HTTP headers. Pure."""

from __future__ import annotations

from email.utils import parsedate_to_datetime


def date_s(http_date: str | None) -> float | None:
    """Seconds since 1970 of a date such as ``Sat, 21 Nov 2026 09:30:00 GMT``; None if it is none."""
    if not http_date:
        return None
    try:
        return parsedate_to_datetime(http_date).timestamp()
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
