"""What a crash is made of: where the program is killed, and what is lost before it starts again."""

from __future__ import annotations

import random
from dataclasses import dataclass

from crash_oracle import BATCH
from crash_proxy import Cut


@dataclass(frozen=True)
class Syscall:
    """Kill when a thread enters this system call for the ``number``-th time; ``path`` narrows it to one file.

    ``effect`` is what strace injects; ``error=EIO`` lets the call fail instead.
    """

    name: str
    number: int
    path: str | None = None
    effect: str = "signal=KILL"

    def __str__(self) -> str:
        return f"{self.name} {self.number}" + (f" on {self.path}" if self.path else "")


@dataclass(frozen=True)
class After:
    """Kill so many seconds after the start, or after its first request (a busy machine starts slowly)."""

    seconds: float
    is_at_work: bool = False

    def __str__(self) -> str:
        return f"{self.seconds:.3f} s after the {'first request' if self.is_at_work else 'start'}"


@dataclass(frozen=True)
class Lose:
    """Between two starts these files (patterns below the output folder) are lost."""

    patterns: tuple[str, ...]

    def __str__(self) -> str:
        return f"lost: {', '.join(self.patterns)}"


LOST_DB = Lose(("state.db",))
LOST_DB_AND_WAL = Lose(("state.db*",))
LOST_ALL = Lose(("state.db*", f"{BATCH}/*"))


def random_moments(draws: random.Random, count: int) -> list[After]:
    """Every fifth while the program starts, the others while it works (a task takes some 0.4 s)."""
    return [
        After(draws.uniform(0.0, 0.5)) if number % 5 == 0 else After(draws.uniform(0.0, 0.8), is_at_work=True)
        for number in range(count)
    ]


Step = Cut | Syscall | After | Lose
