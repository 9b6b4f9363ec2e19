"""The page's charts on one time axis: how credits were consumed and held, and when each task ran. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from batch_runner.inert import inert
from batch_runner.records import LedgerRecord, ResultRecord
from batch_runner.report.axis import Span, TimeAxis, time_axis, wall_s
from batch_runner.report.words import amount_text, duration_text

WIDTH = 1040
_RIGHT = 1028.0
_PANEL_HEIGHT = 120.0
_AXIS_HEIGHT = 34.0
_MOST_TASKS = 200
_MOST_LABELLED = 40
_LABEL_LENGTH = 22
_FLAT_BUDGET = Decimal(3)
_TROUBLE = {"failed": 0, "unknown": 1, "pending": 2, "succeeded": 3}
_LEAST_PEAK = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Bar:
    """One task: from submission to its end, or to the edge when it has not ended."""

    x: float
    y: float
    width: float
    height: float
    status: str
    is_open: bool
    label: str
    title: str


@dataclass(frozen=True, slots=True)
class CreditsPanel:
    """One pack's credits over time, as SVG paths; ``top`` is the figure at the panel's upper edge."""

    pack: str
    top: str
    consumed_area: str
    consumed_line: str
    held_area: str
    budget_y: float | None
    y: float


@dataclass(frozen=True, slots=True)
class Charts:
    """All that the template draws; coordinates are SVG units."""

    axis: TimeAxis
    left: float
    panels: tuple[CreditsPanel, ...]
    bars: tuple[Bar, ...]
    tasks_a_bar: int
    bars_y: float
    bars_bottom: float
    height: float
    panel_height: float = _PANEL_HEIGHT
    width: int = WIDTH
    right: float = _RIGHT


@dataclass(frozen=True, slots=True)
class _Run:
    """A task's time, ready to be drawn."""

    result: ResultRecord
    start_s: float
    end_s: float
    is_open: bool


def _runs(results: Iterable[ResultRecord], now_s: float | None) -> list[_Run]:
    """Every submitted task in order of submission; one that has not ended lasts until now."""
    runs = []
    for result in results:
        start_s, end_s = wall_s(result.submitted_at), wall_s(result.finished_at)
        if start_s is not None:
            last_s = start_s if now_s is None else now_s
            is_open = end_s is None or result.status in {"pending", "unknown"}
            runs.append(_Run(result, start_s, max(start_s, last_s if end_s is None else end_s), is_open))
    return sorted(runs, key=lambda run: (run.start_s, run.result.line))


def _chosen(runs: Sequence[_Run]) -> tuple[list[_Run], int]:
    """As many tasks as there is room for, and how many each stands for: of its like the one in most trouble."""
    a_bar = -(-len(runs) // _MOST_TASKS) or 1
    groups = (runs[start : start + a_bar] for start in range(0, len(runs), a_bar))
    return [min(group, key=lambda run: _TROUBLE.get(run.result.status, 0)) for group in groups], a_bar


def _row_height(count: int) -> float:
    return 15.0 if count <= _MOST_LABELLED else max(3.0, 600.0 / count)


def _bars(runs: Sequence[_Run], axis: TimeAxis, top: float) -> Iterable[Bar]:
    row = _row_height(len(runs))
    gap = 4.0 if row > 8 else 0.6  # noqa: PLR2004 - thin rows need all of their height
    for index, run in enumerate(runs):
        left, right = axis.x(run.start_s), axis.x(run.end_s)
        item = inert(run.result.id, 80)
        reason = f", {inert(run.result.reason, 40)}" if run.result.reason else ""
        lasted = "" if run.is_open else f", {duration_text(run.end_s - run.start_s)}"
        yield Bar(
            x=left,
            y=top + index * row + gap / 2,
            width=max(right - left, 2.5),
            height=row - gap,
            status=run.result.status,
            is_open=run.is_open,
            label=inert(run.result.id, _LABEL_LENGTH) if len(runs) <= _MOST_LABELLED else "",
            title=f"{item}: {run.result.status}{reason}{lasted}",
        )


def _steps(points: Sequence[tuple[float, float]], base: float, right: float) -> tuple[str, str]:
    """A staircase through the points, as a line and as the area above ``base``."""
    line = f"M{points[0][0]:.1f} {base:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in points) + f"H{right:.1f}"
    return line, f"{line}V{base:.1f}Z"


def _thinned(entries: Iterable[LedgerRecord], axis: TimeAxis) -> dict[int, LedgerRecord]:
    """The last entry of every half unit of width: more cannot be seen."""
    seen: dict[int, LedgerRecord] = {}
    for entry in entries:
        at_s = wall_s(entry.at)
        if at_s is not None:
            seen[round(axis.x(at_s) * 2)] = entry
    return dict(sorted(seen.items()))


def _panel(pack: str, entries: Sequence[LedgerRecord], axis: TimeAxis, y: float) -> CreditsPanel | None:
    seen = _thinned(entries, axis)
    if not seen:
        return None
    peak = max(_LEAST_PEAK, *(entry.consumed + entry.held for entry in seen.values()))
    budget = entries[-1].budget
    shown_budget = budget if budget is not None and budget <= peak * _FLAT_BUDGET else None
    top, base = max(peak, shown_budget or peak), y + _PANEL_HEIGHT

    def height(credits_: Decimal) -> float:
        return base - float(credits_ / top) * (_PANEL_HEIGHT - 14)

    consumed = [(x / 2, height(entry.consumed)) for x, entry in seen.items()]
    both = [(x / 2, height(entry.consumed + entry.held)) for x, entry in seen.items()]
    line, area = _steps(consumed, base, _RIGHT)
    return CreditsPanel(
        pack=pack,
        top=amount_text(top),
        consumed_area=area,
        consumed_line=line,
        held_area=_steps(both, base, _RIGHT)[1],
        budget_y=None if shown_budget is None else height(shown_budget),
        y=y,
    )


def _panels(ledger: Sequence[LedgerRecord], axis: TimeAxis) -> list[CreditsPanel]:
    panels: list[CreditsPanel] = []
    for pack in sorted({entry.pack for entry in ledger}, reverse=True):
        entries = [entry for entry in ledger if entry.pack == pack]
        panel = _panel(pack, entries, axis, len(panels) * (_PANEL_HEIGHT + 26) + 20)
        panels += [panel] if panel is not None else []
    return panels


def _spans(runs: Iterable[_Run], ledger: Iterable[LedgerRecord]) -> Iterable[Span]:
    """When something happened; a task that hangs open must not fill the pause between two runs."""
    yield from ((run.start_s, run.start_s if run.is_open else run.end_s) for run in runs)
    yield from ((at_s, at_s) for at_s in (wall_s(entry.at) for entry in ledger) if at_s is not None)


def charts(results: Iterable[ResultRecord], ledger: Sequence[LedgerRecord], finished_at: str) -> Charts | None:
    """Both charts, or None when nothing has been submitted yet."""
    runs = _runs(results, wall_s(finished_at))
    shown, tasks_a_bar = _chosen(runs)
    left = 150.0 if len(shown) <= _MOST_LABELLED else 84.0
    axis = time_axis(_spans(runs, ledger), left, _RIGHT)
    if axis is None:
        return None
    panels = _panels(ledger, axis)
    bars_y = len(panels) * (_PANEL_HEIGHT + 26) + 26
    bottom = bars_y + len(shown) * _row_height(len(shown))
    return Charts(
        axis=axis,
        left=left,
        panels=tuple(panels),
        bars=tuple(_bars(shown, axis, bars_y)),
        tasks_a_bar=tasks_a_bar,
        bars_y=bars_y,
        bars_bottom=bottom,
        height=bottom + _AXIS_HEIGHT,
    )
