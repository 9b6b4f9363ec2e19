"""The flags of ``sandbox``: the simulated account, and the faults that it shall have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

from batch_runner.errors import UsageError
from batch_runner.model import Pack
from batch_runner.sandbox import FaultPlan
from batch_runner.settings.values import budget, real, whole

DEFAULT_PORT = 8799
_RATES = tuple(field.name for field in fields(FaultPlan) if field.type == "float" and field.name != "slow_s")


def _checked(parse: Callable[[object], Any]) -> Callable[[str], Any]:
    """A parser of option values as argparse wants it: its text is told to the user."""

    def typed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return typed


def _share(value: object) -> float:
    share = real("share", zero=True)(value)
    if share > 1:
        raise ValueError(f"{value} is not a share from 0 to 1, such as 0.02")
    return share


def _credits(value: object) -> Decimal:
    return budget({Pack.VIDEO.value: value})[Pack.VIDEO.value]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of ``sandbox``."""
    add = parser.add_argument_group("the simulated account").add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=_checked(whole(0, 65_535)), default=DEFAULT_PORT, metavar="N",
        help="port; 0 takes a free one (default: %(default)s)")  # fmt: skip
    add("--speed", type=_checked(real("times")), default=1.0, metavar="X",
        help="tasks run this many times faster (default: 1)")  # fmt: skip
    add("--seed", type=_checked(whole(0, 2**53)), default=0, metavar="N",
        help="decides durations, failures and faults (default: 0)")  # fmt: skip
    add("--slots", type=_checked(whole(1)), default=5, metavar="N", help="tasks in flight (default: %(default)s)")
    add("--requests-per-minute", type=_checked(whole(1)), metavar="N", help="refuse more, 1302 (default: no limit)")
    add("--credits", type=_checked(_credits), default=Decimal(100_000), metavar="CREDITS",
        help="what the pack of each currency holds (default: %(default)s)")  # fmt: skip
    add("--failures", type=_checked(_share), default=0.0, metavar="SHARE", help="of tasks that fail (default: 0)")
    add("--charged-failures", type=_checked(_share), default=0.0, metavar="SHARE",
        help="of failed tasks that are charged all the same (default: 0)")  # fmt: skip
    add("--journal", type=Path, metavar="PATH", help="file that keeps the world across restarts (default: none)")
    add("--fault", action="append", default=[], metavar="NAME=SHARE",
        help=f"inject a fault, such as lost_answer=0.02; repeatable; of {', '.join(_RATES)}")  # fmt: skip


def fault_plan(words: list[str], seed: int) -> FaultPlan:
    """The faults that ``--fault`` asks for.

    Raises:
        UsageError: a name or a share is wrong.
    """
    rates: dict[str, float] = {}
    for word in words:
        name, _, share = word.partition("=")
        if name not in _RATES:
            raise UsageError(f"--fault {word}: there is no fault {name!r}; there are {', '.join(_RATES)}")
        try:
            rates[name] = _share(share)
        except ValueError:
            raise UsageError(f"--fault {word}: {share!r} is not a share from 0 to 1, such as 0.02") from None
    return FaultPlan(seed=seed, **rates)  # type: ignore[arg-type]  # the names were checked to be its float fields
