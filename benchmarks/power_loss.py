"""Cut the power before every sync of a batch, start again on what the disk has, and audit; exit 1 at a violation.

python benchmarks/power_loss.py                     batches of one and three lines, the worst and five mixed disks
python benchmarks/power_loss.py --items 3 --mixed 0    three lines, the worst disk alone
"""

from __future__ import annotations

import argparse
import logging
import sys
import traceback
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from power_cuts import Cut, play_cut
from simulated_sqlite import can_watch


def sweep(items: int, seed: int | None) -> tuple[int, int]:
    """Every cut of one kind, ``seed`` None for the worst disk; how many there were, and how many violations."""
    wrong = 0
    for sync in count(1):
        cut = Cut(items, "worst", sync) if seed is None else Cut(items, "mixed", sync, seed)
        try:
            if not play_cut(cut):
                return sync - 1, wrong
        except Exception:  # noqa: BLE001 - whatever goes wrong is told, and the sweep goes on
            wrong += 1
            print(f"{cut}\n{traceback.format_exc()}", flush=True)
    raise AssertionError("count() ended")


def main() -> int:
    """Parse, cut, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="*", default=[1, 3], help="lines of a batch (default: 1 and 3)")
    parser.add_argument("--mixed", type=int, default=5, help="mixed disks for each cut (default: %(default)s)")
    options = parser.parse_args()
    if not can_watch():
        parser.exit(2, "the SQLite of this Python is built in and cannot be watched\n")
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # connections end with the program, as they should
    wrong_in_all = 0
    for items in options.items:
        for seed in (None, *range(options.mixed)):
            cuts, wrong = sweep(items, seed)
            wrong_in_all += wrong
            disk = "the worst disk" if seed is None else f"mixed disks, dice {seed}"
            print(f"{items} lines, {disk}: the power was cut {cuts} times, {wrong} violations", flush=True)
    return 1 if wrong_in_all else 0


if __name__ == "__main__":
    sys.exit(main())
