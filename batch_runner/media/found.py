"""What a look at a media file finds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Found:
    """What a media file is.

    Attributes:
        format: its format as a file ending without the dot, or as its reader calls it; empty when nobody knows.
        width: pixels, 0 for a sound.
        height: pixels, 0 for a sound.
        length_s: seconds, or None for a picture and where the file does not tell.
        fps: frames a second, or None as above.
        damage: why it is no whole file of its format, a phrase, or empty.
    """

    format: str
    width: int = 0
    height: int = 0
    length_s: Decimal | None = None
    fps: Decimal | None = None
    damage: str = ""


UNKNOWN = Found("")
"""A file of no format that anybody here reads."""


def seconds(count: int, per_second: int) -> Decimal | None:
    """So many of so many a second, to the millisecond; None when the figures mean nothing."""
    if count <= 0 or per_second <= 0:
        return None
    return (Decimal(count) / per_second).quantize(Decimal("0.001"))
