"""The page's time axis: pauses between runs are cut out, so that a batch of many days stays legible. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

_BREAK_WIDTH = 22.0
_MOST_BREAKS = 4
_LEAST_GAP_S = 120.0
_GAP_SHARE = 0.15
_LABEL_WIDTH = 92.0
_LABEL_ROOM = 42.0
_STEPS_S = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
    604800,
    2592000,
    31536000,
)
_LONG_STEPS_S = (604800, 2592000, 31536000)
_MINUTE_S = 60
_DAY_S = 86400

Span = tuple[float, float]


def wall_s(text: str | None) -> float | None:
    """Seconds since 1970 of an ISO 8601 text, or None when there is none to read."""
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time without a long pause, and where it lies on the page."""

    start_s: float
    end_s: float
    left: float
    right: float

    def x(self, at_s: float) -> float:
        """Where a moment lies; moments outside lie on the edge."""
        share = (min(max(at_s, self.start_s), self.end_s) - self.start_s) / (self.end_s - self.start_s)
        return self.left + share * (self.right - self.left)


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the axis; ``day`` is set on the first one of a stretch."""

    x: float
    label: str
    day: str | None


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Stretches from left to right; between two of them lies a break."""

    stretches: tuple[Stretch, ...]

    def x(self, at_s: float) -> float:
        """Where a moment lies on the page."""
        later = [stretch for stretch in self.stretches if at_s <= stretch.end_s]
        return (later or self.stretches[-1:])[0].x(at_s)

    @property
    def breaks(self) -> list[Span]:
        """The (left, right) of every break."""
        pairs = pairwise(self.stretches)
        return [(before.right, after.left) for before, after in pairs]

    @property
    def ticks(self) -> list[Tick]:
        """Round times, no closer to each other than their labels allow."""
        return [tick for stretch in self.stretches for tick in _stretch_ticks(stretch)]


def _merged(spans: list[Span], gap_s: float) -> list[Span]:
    merged: list[Span] = []
    for start_s, end_s in spans:
        if merged and start_s - merged[-1][1] <= gap_s:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end_s))
        else:
            merged.append((start_s, end_s))
    return merged


def _legible(spans: list[Span]) -> list[Span]:
    """Spans joined where the pause between them is short, or where there would be too many pauses."""
    busy = _merged(spans, 0.0)
    least_s = max(_LEAST_GAP_S, _GAP_SHARE * sum(end_s - start_s for start_s, end_s in busy))
    gaps_s = sorted((b[0] - a[1] for a, b in pairwise(busy)), reverse=True)
    if len(gaps_s) > _MOST_BREAKS:
        least_s = max(least_s, gaps_s[_MOST_BREAKS])
    return _merged(busy, least_s)


def time_axis(spans: Iterable[Span], left: float, right: float) -> TimeAxis | None:
    """An axis from ``left`` to ``right`` on which all spans find room, or None when there are none."""
    stretches = [(start_s, max(end_s, start_s + 1.0)) for start_s, end_s in _legible(sorted(spans))]
    if not stretches:
        return None
    room = right - left - _BREAK_WIDTH * (len(stretches) - 1)
    total_s = sum(end_s - start_s for start_s, end_s in stretches)
    laid: list[Stretch] = []
    for start_s, end_s in stretches:
        width = 0.4 * room / len(stretches) + 0.6 * room * (end_s - start_s) / total_s
        laid.append(Stretch(start_s, end_s, left, left + width))
        left += width + _BREAK_WIDTH
    return TimeAxis(tuple(laid))


def _stretch_ticks(stretch: Stretch) -> list[Tick]:
    length_s, width = stretch.end_s - stretch.start_s, stretch.right - stretch.left
    wanted_s = length_s * _LABEL_WIDTH / max(width, _LABEL_WIDTH)
    step_s = next((step for step in _STEPS_S + _LONG_STEPS_S if step >= wanted_s), _LONG_STEPS_S[-1])
    first_s = -(-stretch.start_s // step_s) * step_s
    moments = [first_s + index * step_s for index in range(int((stretch.end_s - first_s) // step_s) + 1)]
    moments = [at_s for at_s in moments if stretch.right - stretch.x(at_s) >= _LABEL_ROOM]
    return [
        Tick(stretch.x(at_s), _label(at_s, step_s), _day(at_s) if index == 0 else None)
        for index, at_s in enumerate(moments or [stretch.start_s])
    ]


def _label(at_s: float, step_s: int) -> str:
    if step_s >= _DAY_S:
        return _day(at_s)
    return datetime.fromtimestamp(at_s, UTC).strftime("%H:%M:%S" if step_s < _MINUTE_S else "%H:%M")


def _day(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d")
