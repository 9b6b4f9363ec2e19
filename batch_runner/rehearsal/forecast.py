"""Several rehearsals as one forecast: a median, and the range in which nine of ten lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, quantiles

from batch_runner.rehearsal.stage import Rehearsed

_TWENTIETHS = 20


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long a batch takes.

    Attributes:
        median_s: half of the rehearsals took longer.
        low_s, high_s: the range of the middle nine tenths.
        busy_share: how much of the time the slots were held, on average.
        rehearsals: how many there were.
    """

    median_s: float
    low_s: float
    high_s: float
    busy_share: float
    rehearsals: int


def forecast_of(rehearsed: Sequence[Rehearsed]) -> Forecast:
    """The forecast that at least one rehearsal makes."""
    walls_s = [each.wall_s for each in rehearsed]
    cuts = quantiles(walls_s, n=_TWENTIETHS, method="inclusive") if len(walls_s) > 1 else [walls_s[0]] * 19
    busy_share = fmean(each.busy_share for each in rehearsed)
    return Forecast(median(walls_s), cuts[0], cuts[-1], busy_share, len(walls_s))
