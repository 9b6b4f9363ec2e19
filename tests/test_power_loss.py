"""What the disk lacks after a power cut is paid for once and found again. All of it: ``benchmarks/power_loss.py``."""

from __future__ import annotations

import pytest
from power_cuts import Cut, play_cut
from simulated_sqlite import can_watch
from simulation import PowerCut


@pytest.mark.parametrize(("items", "power_cut"), [(1, "worst"), (3, "worst")])
def test_the_power_is_cut_before_a_sync(items: int, power_cut: PowerCut) -> None:
    if not can_watch():
        pytest.skip("the SQLite of this Python is built in and cannot be watched")
    sync = 1
    while play_cut(Cut(items, power_cut, sync)):
        sync += 1
    assert sync > 30, "the syncs were counted"
