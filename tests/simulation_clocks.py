"""A clock that stands behind holds of an earlier boot: nothing tells how old they are until somebody sets it right.

Only then a run may leave what it could have settled otherwise (``HoldAge``); whatever else it leaves is none of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation_audit import store_of
from simulation_books import item_digest

if TYPE_CHECKING:
    from simulation import Simulation

_DAY_S = 86_400.0
_OPEN_HOLDS = """
SELECT i.item_id, e.at, e.epoch, max(e.seq)
FROM entries e
JOIN attempts a USING (attempt_id)
JOIN items i USING (item_key)
JOIN batches b ON b.batch_id = e.batch_id
WHERE b.name = ? AND e.entry = 'hold' AND a.held <> '0'
GROUP BY a.attempt_id
"""


def hides_ages(simulation: Simulation) -> bool:
    """Whether the clock stands more than a day behind a hold of an earlier boot."""
    return simulation.machine_clock.boots > 1 and any(lag_s for lag_s in _lags_s(simulation))


def set_right(simulation: Simulation) -> bool:
    """Set the clock to when these holds were made; False where something else, too, is left that could be settled."""
    lags_s = _lags_s(simulation)
    if not lags_s or not all(lags_s):
        return False
    simulation.machine_clock.offset_s += max(lags_s)
    return True


def _lags_s(simulation: Simulation) -> list[float]:
    """How far the clock stands behind each open hold; 0 where it tells the age, be it by the boot's seconds."""
    clock = simulation.machine_clock
    with store_of(simulation) as reader:
        rows = [] if reader is None else reader._connection.execute(_OPEN_HOLDS, (simulation.batch.name,)).fetchall()
    certain = (row for row in rows if item_digest(row["item_id"]) not in simulation.batch.uncertain)
    lags_s = ((row["epoch"] != clock.epoch()) * (row["at"] - clock.wall_s()) for row in certain)
    return [lag_s if lag_s >= _DAY_S else 0.0 for lag_s in lags_s]
