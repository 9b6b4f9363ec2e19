"""What strace wrote down: the write-class calls of one start on files of its output folder, and where it died."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

_LINE = re.compile(r"^(?P<thread>\d+) +(?:<\.\.\. )?(?P<name>\w+)(?P<rest>\(| resumed).*")
_TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.tmp$")
_ELSEWHERE = "/"
_OPENS = {"openat", "open"}


@dataclass(frozen=True, order=True)
class Call:
    """The ``number``-th call of this name on this file, whichever thread makes it.

    ``file`` is relative to the output folder; the drawn part of a temporary file's name is left out.
    """

    name: str
    file: str
    number: int

    def __str__(self) -> str:
        return f"{self.name} {self.number} on {self.file}"

    @property
    def has_drawn_name(self) -> bool:
        return self.file.endswith(".#.tmp")


@dataclass(frozen=True)
class Made:
    """A call that was made: by which thread, as how many-th of its own of that name, and how it ended.

    ``number_on_file`` counts what strace counts: openings that make nothing too. ``call`` is None for sockets and
    for files elsewhere; ``result`` is empty where it did not return.
    """

    thread: str
    name: str
    own_number: int
    number_on_file: int
    call: Call | None
    result: str


def read(trace_path: Path, output_dir: Path) -> list[Made]:
    """Every call of a trace in the order in which they were entered."""
    below = re.compile(rf'[<"]{re.escape(str(output_dir))}/?([^>"]*)[>"]')
    made: list[Made] = []
    last: dict[str, int] = {}
    own: Counter[tuple[str, str]] = Counter()
    on_file: Counter[tuple[str, str]] = Counter()
    changing: Counter[tuple[str, str]] = Counter()
    for line in trace_path.read_text(encoding="utf-8", errors="replace").splitlines():
        found = _LINE.match(line)
        if found is None:  # a signal, or a thread's end
            continue
        thread, name = found["thread"], found["name"]
        result = "" if line.endswith((" = ?", "<unfinished ...>")) else line.rpartition(" = ")[2]
        if found["rest"] == " resumed":
            begun = made[last[thread]]
            made[last[thread]] = replace(begun, result=result)
            continue
        own[thread, name] += 1
        call = None
        file = _TEMPORARY.sub(".#.tmp", (below.findall(line) or [_ELSEWHERE])[-1]) or "."
        on_file[name, file] += 1
        if file != _ELSEWHERE and not (name in _OPENS and "O_CREAT" not in line):
            changing[name, file] += 1
            call = Call(name, file, changing[name, file])
        last[thread] = len(made)
        made.append(Made(thread, name, own[thread, name], on_file[name, file], call, result))
    return made


def died_at(made: Iterable[Made], number: int) -> Call | None:
    """The call of the thread that was killed on entering its ``number``-th; None where two threads may be it."""
    last = {each.thread: each for each in made}
    [*found] = {each.call for each in last.values() if each.own_number == number and not each.result}
    return found[0] if len(found) == 1 else None


class Coverage:
    """Which calls of a run change something, and which of them some start died at.

    Opening a temporary file is left out: strace can neither be told its drawn name nor, among the thousand files
    that the interpreter opens, its number. The state is that of the call before it, as nothing durable lies between.
    """

    def __init__(self) -> None:
        self._known: dict[Call, Made] = {}
        self._reached: set[Call] = set()

    def know(self, made: Iterable[Made]) -> None:
        for each in made:
            if each.call is None or each.result.startswith("-1 ") or (each.name in _OPENS and each.call.has_drawn_name):
                continue
            self._known.setdefault(each.call, each)

    def reach(self, calls: Iterable[Call | None]) -> None:
        self._reached |= {call for call in calls if call is not None}

    def missing(self) -> Iterator[Made]:
        """Calls that no start died at yet, as an undisturbed run made them."""
        yield from (self._known[call] for call in sorted(self._known.keys() - self._reached))

    def __str__(self) -> str:
        missing = [str(each.call) for each in self.missing()]
        reached = f"{len(self._known) - len(missing)} of {len(self._known)} calls of an undisturbed run reached"
        return f"{reached}{'; not: ' if missing else ''}{', '.join(missing)}"
