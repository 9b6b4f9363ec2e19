"""Kill the program everywhere and start it again; takes about an hour on two cores.

    python benchmarks/crash_sweep.py                       everything
    python benchmarks/crash_sweep.py --only protocol       one group: protocol, questions, syscalls, recovery, ...
    python benchmarks/crash_sweep.py --stride 10           every tenth place of the long groups

The groups:
    protocol   every request and answer of a three-item run, at every place in it (``crash_proxy.Place``), with
               pauses of 0 to 100 ms between the place and the kill
    questions  the same for what the next run asks after a kill around a submission
    syscalls   every write-class system call of a three-item run (needs strace, and leave to trace); it says how many
               of the calls that an undisturbed run makes below the output folder were died at, and names the others
    recovery   the recovery killed as well, three times over
    lost       the state file, its log, or everything lost between kill and restart
    random     fifty kills at random moments of one batch

Every crash plays in a world of its own: the simulated service survives, the program is killed with SIGKILL,
run to its end and run once more for nothing. The table counts kills and violations by kind; a crash with a
violation keeps its folder. Exit 1 when there is any violation.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from crash_kit import Verdict, play_all, strace_trouble
from crash_oracle import by_word
from crash_proxy import WITH_ANSWER, Cut, Place
from crash_steps import LOST_ALL, LOST_DB, LOST_DB_AND_WAL, Step, Syscall, random_moments
from crash_trace import Coverage, Made

Crash = Sequence[Step]
Group = AsyncIterator[list[Verdict]]

EXCHANGES = {"account": 1, "submit": 3, "page": 4, "download": 3}
QUESTIONS = {Place.UNSEEN: {"page": 3, "find": 1, "submit": 1}, Place.SENT: {"page": 2}}
"""What the next run sends to learn the fate of a submission that was killed at this place."""
WAITS_S = (0.0, 0.005, 0.02, 0.1)
WRITING = (
    *("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendfile", "copy_file_range", "fallocate"),
    *("openat", "mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat", "link", "linkat"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "truncate", "ftruncate"),
    *("fsync", "fdatasync", "sync_file_range", "msync", "sync", "syncfs"),
    *("chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "utimensat"),
)
SENDING = ("sendto", "sendmsg", "sendmmsg")
NEVER = 65_535
ROUNDS = 20


def cuts(kind: str, number: int) -> Iterator[Cut]:
    """Every place of one exchange; where the answer was delivered, after several pauses."""
    for place in Place:
        waits_s = WAITS_S if place in WITH_ANSWER and place is not Place.ANSWERED else WAITS_S[:1]
        yield from (Cut(kind, number, place, wait_s) for wait_s in waits_s)


def every_cut(exchanges: Mapping[str, int]) -> Iterator[Cut]:
    """Every place of every one of these exchanges."""
    for kind, most in exchanges.items():
        for number in range(1, most + 1):
            yield from cuts(kind, number)


async def protocol(folder: Path, options: argparse.Namespace) -> Group:
    """Every exchange of an undisturbed run."""
    crashes = [[cut] for cut in every_cut(EXCHANGES)]
    yield await play_all(folder, crashes[:: options.stride], at_once=options.at_once)


async def questions(folder: Path, options: argparse.Namespace) -> Group:
    """Every exchange by which the next run finds out what became of a submission."""
    crashes = [[Cut("submit", 2, place), cut] for place, asked in QUESTIONS.items() for cut in every_cut(asked)]
    yield await play_all(folder, crashes[:: options.stride], at_once=options.at_once)


async def syscalls(folder: Path, options: argparse.Namespace) -> Group:
    """Each system call from its first time on until a run makes no more, then those that no start died at."""
    trouble = strace_trouble()
    if trouble is not None:
        print(f"syscalls are left out: {trouble}")
        return
    coverage = Coverage()
    every = ",".join(f"?{name}" for name in [*WRITING, *SENDING])  # with a mark, as not every machine has all of them
    whole = await play_all(folder / "whole", [[Syscall(every, NEVER)]])
    coverage.know(whole[0].made)
    for name in sorted({made.name for made in whole[0].made} - {"openat"}):
        async for verdicts in by_number(folder / name, name, options):
            coverage.reach(verdict.died_at for verdict in verdicts)
            yield verdicts
    draws = random.Random(options.seed)
    for number in range(ROUNDS if options.stride == 1 else 1):
        crashes = [[aimed(made, draws)] for made in coverage.missing()][:: options.stride]
        if not crashes:
            break
        verdicts = await play_all(folder / f"round{number}", crashes, at_once=options.at_once)
        coverage.reach(verdict.died_at for verdict in verdicts)
        yield verdicts
    print(f"\n{coverage}", flush=True)


async def by_number(folder: Path, name: str, options: argparse.Namespace) -> Group:
    """As strace counts each thread's calls by themselves, the first thread to come so far dies."""
    first, crashes_at_a_time = 1, 1
    while True:
        end = first + crashes_at_a_time * options.stride
        crashes = [[Syscall(name, number)] for number in range(first, end, options.stride)]
        verdicts = await play_all(folder / str(first), crashes, at_once=options.at_once)
        yield verdicts
        if not any(verdict.kills for verdict in verdicts):
            return
        first, crashes_at_a_time = end, 4 * options.at_once


def aimed(made: Made, draws: random.Random) -> Syscall:
    """A crash at a call that none of the others met: which thread makes it is drawn by the system every time."""
    assert made.call is not None
    if made.call.has_drawn_name or made.name == "rename":  # of which strace looks at the old name, a drawn one
        return Syscall(made.name, max(1, made.own_number + draws.randint(-3, 3)))
    return Syscall(made.name, draws.randint(1, made.number_on_file), made.call.file)


async def recovery(folder: Path, options: argparse.Namespace) -> Group:
    """A first kill that leaves an open question, then three kills of the runs that settle it."""
    draws = random.Random(options.seed)
    firsts = [Cut("submit", number, place) for number in (1, 3) for place in (Place.UNSEEN, Place.SENT, Place.LATE)]
    seconds = [Cut(kind, 1, place) for kind in ("page", "find", "submit", "download") for place in WITH_ANSWER[::2]]
    crashes = [[first, *draws.sample(seconds, 3)] for first in firsts for _ in range(4)]
    yield await play_all(folder, crashes[:: options.stride], at_once=options.at_once)


async def lost(folder: Path, options: argparse.Namespace) -> Group:
    """Files lost after a kill at each exchange."""
    places = (Place.SENT, Place.LATE, Place.HALF, Place.AFTER)
    exchanges = [(kind, number) for kind, most in EXCHANGES.items() for number in range(1, most + 1)]
    crashes: list[Crash] = [
        [Cut(kind, number, place), loss]
        for (kind, number), place, loss in product(exchanges, places, (LOST_DB, LOST_DB_AND_WAL, LOST_ALL))
    ]
    yield await play_all(folder, crashes[:: options.stride], at_once=options.at_once)


async def at_random(folder: Path, options: argparse.Namespace) -> Group:
    """Fifty kills in one batch."""
    draws = random.Random(options.seed)
    [verdict] = await play_all(folder, [random_moments(draws, 50)], items=150)
    print(f"the starts that were killed had submitted {verdict.submitted} of 150 items")
    yield [verdict]


GROUPS = {
    "protocol": protocol,
    "questions": questions,
    "syscalls": syscalls,
    "recovery": recovery,
    "lost": lost,
    "random": at_random,
}


def kind_of(verdict: Verdict) -> str:
    """The row of the table that a crash counts in."""
    *before, step = verdict.steps
    if len(before) > 1 or not isinstance(step, Cut | Syscall):
        return ""
    return step.kind if isinstance(step, Cut) else step.name


def print_rows(group: str, verdicts: Sequence[Verdict]) -> None:
    """One row a kind: crashes, kills, requests beyond one a task in flight, violations."""
    for kind in sorted({kind_of(verdict) for verdict in verdicts}):
        rows = [verdict for verdict in verdicts if kind_of(verdict) == kind]
        kills = sum(verdict.kills for verdict in rows)
        extra = max(verdict.recovery_requests - verdict.in_flight for verdict in rows)
        wrongs = [wrong for verdict in rows for wrong in verdict.wrongs]
        found = ", ".join(f"{number} {word}" for word, number in by_word(wrongs).items()) or "none"
        print(f"{group:10} {kind:10} {len(rows):8} {kills:6} {extra:15}  {found}")


async def sweep(options: argparse.Namespace, folder: Path) -> int:
    """Play the groups; returns how many crashes had a violation."""
    table: dict[str, list[Verdict]] = {}
    for name in [options.only] if options.only else GROUPS:
        table[name] = []
        async for verdicts in GROUPS[name](folder / name, options):
            table[name] += verdicts
            for verdict in verdicts:
                if verdict.wrongs:
                    print(verdict, flush=True)
    print(f"\n{'group':10} {'kind':10} {'crashes':>8} {'kills':>6} {'extra requests':>15}  violations")
    for name, verdicts in table.items():
        print_rows(name, verdicts)
    return sum(bool(verdict.wrongs) for verdicts in table.values() for verdict in verdicts)


def main() -> int:
    """Parse, play, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=GROUPS, help="one group")
    parser.add_argument("--stride", type=int, default=1, help="every so many-th place (default: every one)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="for the random kills")
    parser.add_argument("--at-once", type=int, default=2, help="processes at a time (default: %(default)s)")
    options = parser.parse_args()
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # requests that are cut off are the point here
    folder = Path(tempfile.mkdtemp(prefix="crash-sweep-"))
    print(f"seed {options.seed}, below {folder}", flush=True)
    wrong = asyncio.run(sweep(options, folder))
    print(f"{wrong} crashes with a violation")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
