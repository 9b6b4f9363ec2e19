"""Whether a file that was looked at is one that its field takes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from batch_runner.catalog import MediaLimits
from batch_runner.catalog.problems import listed
from batch_runner.manifest.media_fields import length_problem
from batch_runner.media.found import UNKNOWN, Found

_ASPECT_SLACK: Final = Decimal("0.01")
_WORDS: Final = {"image": "image", "video": "video", "audio": "sound"}


def size_problem(size: int, limits: MediaLimits) -> str | None:
    """Why a file of so many bytes will not do, or None."""
    if size == 0:
        return "is empty"
    if limits.max_bytes is not None and size > limits.max_bytes:
        return f"has {size / 1024**2:.1f} MB; at most {limits.max_bytes / 1024**2:g}"
    return None


def problems(found: Found, limits: MediaLimits) -> tuple[str, ...]:
    """Every reason why the field does not take the file, each a phrase about it."""
    formats = listed(name for name in limits.formats if name != "jpeg" or "jpg" not in limits.formats)
    if found == UNKNOWN:
        return (f"is no {formats} {_WORDS[limits.type]}, or a damaged one",)
    if limits.formats and found.format not in limits.formats:
        return (f"is {found.format}, not {formats}",)
    if found.damage:
        return (found.damage,)
    return tuple(_broken(found, limits))


def _broken(found: Found, limits: MediaLimits) -> Iterator[str]:
    if found.width:
        yield from (f"is {found.width} x {found.height} px; {rule}" for rule in _size_rules(found, limits))
    if found.length_s is not None and (rule := length_problem(found.length_s, limits)):
        yield rule
    if found.fps is not None and limits.fps and not limits.fps[0] <= round(found.fps) <= limits.fps[1]:
        yield f"has {found.fps.normalize():f} frames a second; {limits.fps[0]} to {limits.fps[1]}"


def _size_rules(found: Found, limits: MediaLimits) -> Iterator[str]:
    """The rules that the sides break."""
    short, long = sorted((found.width, found.height))
    if limits.min_side_px is not None and short < limits.min_side_px:
        yield f"each side needs {limits.min_side_px}"
    if limits.max_side_px is not None and long > limits.max_side_px:
        yield f"each side has at most {limits.max_side_px}"
    if limits.max_area_px is not None and short * long > limits.max_area_px:
        yield f"at most {limits.max_area_px} px in all"
    if limits.max_ratio is not None and long > limits.max_ratio * short:
        yield f"one side may be at most {limits.max_ratio} times the other"
    if limits.aspects and not any(_has_aspect(found, aspect) for aspect in limits.aspects):
        yield f"its sides must be {listed(limits.aspects)}"


def _has_aspect(found: Found, aspect: str) -> bool:
    across, down = map(Decimal, aspect.split(":"))
    return abs(found.width * down / (found.height * across) - 1) <= _ASPECT_SLACK
