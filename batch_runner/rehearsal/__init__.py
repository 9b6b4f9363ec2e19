"""A batch rehearsed under virtual time: the real scheduler on an account of thin air, for a forecast of its time."""

from batch_runner.rehearsal.forecast import Forecast, forecast_of
from batch_runner.rehearsal.stage import Rehearsed, rehearse

__all__ = ["Forecast", "Rehearsed", "forecast_of", "rehearse"]
