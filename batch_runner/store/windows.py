"""How rolling budgets stand: charges of the whole output folder that are younger than the window, and open holds.

A charge's age is told by the boot's clock where that has run ever since, and by the wall clock after a reboot. So a
wall clock that is set forward makes no room, and an entry from a moment that has not come yet counts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from decimal import Decimal

from batch_runner.budgets import Charged, Purse, RollingBudget, Window
from batch_runner.store import entries
from batch_runner.store.rows import Moment, Terms

_CHARGED = """
SELECT e.credits, e.uptime_s + :window_s - :uptime_s AS left_s FROM entries e JOIN batches b USING (batch_id)
 WHERE e.entry = 'charge' AND e.pack = :pack AND b.realm = :realm AND e.credits <> '0'
   AND e.epoch = :epoch AND e.uptime_s > :uptime_s - :window_s - 1 AND left_s > 0
UNION ALL
SELECT e.credits, e.at + :window_s - :wall_s AS left_s FROM entries e JOIN batches b USING (batch_id)
 WHERE e.entry = 'charge' AND e.pack = :pack AND b.realm = :realm AND e.credits <> '0'
   AND e.epoch <> :epoch AND e.at > :wall_s - :window_s - 1 AND left_s > 0
"""

_HELD = """
SELECT a.held FROM attempts a JOIN items i USING (item_key) JOIN batches b USING (batch_id)
 WHERE a.held <> '0' AND a.pack = ? AND b.realm = ?
"""


def windows(db: sqlite3.Connection, realm: str, budgets: Sequence[RollingBudget], now: Moment) -> list[Window]:
    """How each of these budgets stands for the batches of a realm, in their order."""
    return [_window(db, realm, budget, now) for budget in budgets]


def _window(db: sqlite3.Connection, realm: str, budget: RollingBudget, now: Moment) -> Window:
    values = {
        "window_s": budget.window_s,
        "pack": budget.pack,
        "realm": realm,
        "epoch": now.epoch,
        "uptime_s": now.uptime_s,
        "wall_s": now.wall_s,
    }
    charged = tuple(Charged(Decimal(row["credits"]), row["left_s"]) for row in db.execute(_CHARGED, values))
    held = sum((Decimal(row["held"]) for row in db.execute(_HELD, (budget.pack, realm))), Decimal(0))
    return Window(budget, held, charged)


def purse(db: sqlite3.Connection, batch_id: int, pack: str, terms: Terms) -> Purse:
    """All that limits another hold of a pack in a batch."""
    realm = db.execute("SELECT realm FROM batches WHERE batch_id = ?", (batch_id,)).fetchone()["realm"]
    rolling = [budget for budget in terms.rolling if budget.pack == pack]
    balances = entries.balances(db, batch_id, pack)
    return Purse(pack, terms.budgets.get(pack), balances, tuple(windows(db, realm, rolling, terms.now)))
