"""Play seeded batches through everything that can befall them, and audit the promises after every run.

    python benchmarks/simulation_sweep.py FIRST COUNT [--jobs N]

Seeds below 1,000,000 are batches of clips; from there on they are wide ones: every product of both generations, chains,
calls answered at once, rolling budgets, low disks, harmed files and their repair; some of them two batches in one
folder, packs that run out or lapse, tasks that never end. From 2,000,000 on months pass between two runs, and from
3,000,000 on batches are small and their troubles few.

Prints what befell the batches, counted, and each violation with the command that replays it; exit 1 if there is one.
One seed in a row of its own shows the traceback.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from simulation_seeds import BrokenPromiseError, play_seed

_AT_ONCE = 50
_SAY_EVERY_S = 60.0

Result = tuple[Counter[str], list[str]]


def play(seeds: range) -> Result:
    """The tally of some seeds, and their violations in words."""
    tally, wrongs = Counter[str](), []
    for seed in seeds:
        try:
            tally += play_seed(seed).tally
        except BrokenPromiseError as error:
            wrongs.append("".join(traceback.format_exception(error)) if len(seeds) == 1 else str(error))
    return tally, wrongs


def results(first: int, count: int, jobs: int) -> Iterator[Result]:
    """Some seeds at a time, in the order they end in."""
    chunks = [range(at, min(at + _AT_ONCE, first + count)) for at in range(first, first + count, _AT_ONCE)]
    if jobs == 1:
        yield from map(play, chunks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(play, chunks)


def main() -> int:
    """Parse, play, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=int, help="the first seed")
    parser.add_argument("count", type=int, help="how many")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    options = parser.parse_args()
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # requests that are cut off are the point here
    began_s = said_s = time.monotonic()
    tally, wrong = Counter[str](), 0
    for befell, wrongs in results(options.first, options.count, options.jobs):
        tally += befell
        wrong += len(wrongs)
        for text in wrongs:
            print(text, flush=True)
        if time.monotonic() - said_s > _SAY_EVERY_S:
            said_s = time.monotonic()
            print(f"{said_s - began_s:.0f} s: {tally['batches'] + wrong} batches, {wrong} violations", flush=True)
    for name, number in sorted(tally.items()):
        print(f"{number:9} {name}")
    seconds = time.monotonic() - began_s
    print(f"{options.count} seeds in {seconds:.0f} s, {seconds / options.count:.3f} s each; {wrong} violations")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
