"""HTTP's rules for asking for a part of a file (RFC 9110, sections 13.1.5 and 14), for one range at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes ``first`` to ``last``, both included, of ``size``."""

    first: int
    last: int
    size: int

    @property
    def content_range(self) -> str:
        """The header that names it."""
        return f"bytes {self.first}-{self.last}/{self.size}"


class UnsatisfiableError(ValueError):
    """The range lies behind the end of the file."""


def wanted_part(range_header: str | None, if_range: str | None, etag: str, size: int) -> Part | None:
    """The part to send, or None for the whole file.

    A range that is not understood, or that asks for a file with another tag, is ignored, as the RFC says.
    """
    match = _ONE_RANGE.fullmatch(range_header or "")
    if match is None or (if_range is not None and if_range != etag):
        return None
    first_text, last_text = match.groups()
    if not first_text:
        return _suffix(last_text, size)
    return _from(int(first_text), int(last_text) if last_text else size - 1, size)


def _from(first: int, last: int, size: int) -> Part | None:
    if last < first and last != size - 1:
        return None
    if first >= size:
        raise UnsatisfiableError(f"{first} of {size}")
    return Part(first, min(last, size - 1), size)


def _suffix(length_text: str, size: int) -> Part | None:
    if not length_text:
        return None
    length = int(length_text)
    if length == 0:
        raise UnsatisfiableError(f"no bytes of {size}")
    return Part(max(size - length, 0), size - 1, size)
