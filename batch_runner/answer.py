"""What a command says: lines for people, an object for programs, an exit code. Nothing here prints."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from batch_runner.errors import ExitCode

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command says: lines for people, an object for programs, the exit code, and its CSV form if it has one."""

    lines: Sequence[str]
    data: dict[str, Any]
    exit_code: ExitCode = ExitCode.OK
    csv: str = ""


class Ask(Protocol):
    """Runs a coroutine to its end from where no event loop is, as ``asyncio.run`` does."""

    def __call__(self, work: Coroutine[Any, Any, T], /) -> T:
        """The result of ``work``."""


def table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Rows of cells as aligned lines; the first row is the heading, which does not stand alone."""
    cells = list(rows)
    if len(cells) == 1:
        return []
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
