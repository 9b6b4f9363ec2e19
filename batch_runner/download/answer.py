"""What a server's answer to a download means, decided from its status and headers alone. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from batch_runner.download.failures import BadDownload, LinkExpired
from batch_runner.download.part import STRONG_ETAG, Head

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
_TEXT_TYPE = re.compile(r"text/html|application/(?:json|xml)|text/xml|[^;\s]+\+(?:json|xml)", re.IGNORECASE)
_REDIRECTS = {301, 302, 303, 307, 308}
_EXPIRED = {401, 403, 404, 410}
_MAX_RETRY_AFTER_S = 600.0


@dataclass(frozen=True, slots=True)
class Body:
    """The body that follows the headers.

    Attributes:
        start: the place in the file of its first byte; 0 begins the part anew.
        length: its bytes, or None when the server did not tell.
        total: bytes of the whole file, or None when the server did not tell.
        etag: the strong ETag under which it can be resumed, or None.
    """

    start: int
    length: int | None
    total: int | None
    etag: str | None


@dataclass(frozen=True, slots=True)
class Redirect:
    """The file is elsewhere; ``location`` may be relative."""

    location: str


def range_headers(head: Head | None) -> dict[str, str]:
    """Headers that ask for the rest of a file, should it still be the same one (RFC 9110, 13.1.5)."""
    return {"Range": f"bytes={head.bytes}-", "If-Range": head.etag} if head else {}


def judge(host: str, status: int, headers: Mapping[str, str], head: Head | None) -> Body | Redirect:
    """What to do with an answer.

    Args:
        host: who answered, for the texts.
        status: the HTTP status.
        headers: case-insensitive.
        head: what was asked to be resumed, if anything was.

    Raises:
        LinkExpired: the link is no longer honoured.
        BadDownload: the answer is of no use; spoiled when what lies in the part is of no use either.
    """
    if status in _REDIRECTS:
        return _redirect(host, headers)
    if status in _EXPIRED:
        raise LinkExpired(host, status)
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and head is not None:
        raise BadDownload(f"{host} no longer has the rest of this file", is_spoiled=True)
    if status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
        raise BadDownload(f"{host} answered {status}", retry_after_s=_retry_after_s(headers))
    _require_plain_file(host, headers)
    if status == HTTPStatus.OK:
        return _whole(host, headers)
    return _rest(host, headers, head)


def _redirect(host: str, headers: Mapping[str, str]) -> Redirect:
    location = headers.get("Location")
    if not location:
        raise BadDownload(f"{host} redirected to nowhere")
    return Redirect(location)


def _require_plain_file(host: str, headers: Mapping[str, str]) -> None:
    kind = headers.get("Content-Type", "")
    if _TEXT_TYPE.match(kind.strip()):
        raise BadDownload(f"{host} answered with a text page instead of a file")
    if headers.get("Content-Encoding", "identity").strip().lower() not in {"identity", ""}:
        raise BadDownload(f"{host} sent the file in a compressed form that was not asked for")


def _whole(host: str, headers: Mapping[str, str]) -> Body:
    length = _content_length(headers)
    if length == 0:
        raise BadDownload(f"{host} answered with an empty file")
    return Body(0, length, length, _strong_etag(headers))


def _rest(host: str, headers: Mapping[str, str], head: Head | None) -> Body:
    if head is None:
        raise BadDownload(f"{host} sent a part of the file where all of it was asked for")
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None or headers.get("ETag", "").strip() != head.etag:
        raise BadDownload(f"{host} now has another file than the one begun", is_spoiled=True)
    start, last = int(match[1]), int(match[2])
    total = head.total if match[3] == "*" else int(match[3])
    length = last - start + 1
    if not _fits(head, start, length, total) or _content_length(headers) not in {None, length}:
        raise BadDownload(f"{host} sent another range than the one asked for", is_spoiled=True)
    return Body(start, length, total, head.etag)


def _fits(head: Head, start: int, length: int, total: int | None) -> bool:
    if start != head.bytes or length < 1:
        return False
    return total is None or (start + length <= total and head.total in {None, total})


def _content_length(headers: Mapping[str, str]) -> int | None:
    # With chunks the length header says nothing (RFC 9112, 6.3).
    text = headers.get("Content-Length", "")
    if "Transfer-Encoding" in headers or not (text.isascii() and text.isdigit()):
        return None
    return int(text)


def _strong_etag(headers: Mapping[str, str]) -> str | None:
    etag = headers.get("ETag", "").strip()
    return etag if STRONG_ETAG.fullmatch(etag) else None


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds asked for, at most ten minutes; a date is measured against the answer's own ``Date``."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _MAX_RETRY_AFTER_S)
    until, now = _date(text), _date(headers.get("Date", ""))
    if until is None or now is None:
        return None
    return min(max((until - now).total_seconds(), 0.0), _MAX_RETRY_AFTER_S)


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo is not None else None
