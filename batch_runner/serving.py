"""``sandbox``: serves the simulated Kling API on a port until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Callable
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from pathlib import Path

from batch_runner.clock import SystemClock
from batch_runner.errors import ExitCode, UsageError
from batch_runner.sandbox import FaultPlan, Sandbox, WorldConfig
from batch_runner.service import sandbox_price

DEFAULT_PORT = 8799
_RATES = tuple(field.name for field in fields(FaultPlan) if field.type == "float" and field.name != "slow_s")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of ``sandbox``; their values stand together under ``serving``."""
    group = parser.add_argument_group("the simulated account")
    group.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    group.add_argument("--port", type=int, default=DEFAULT_PORT, help="port; 0 takes a free one (default: %(default)s)")
    group.add_argument("--speed", type=float, default=1.0, help="tasks run this many times faster (default: 1)")
    group.add_argument("--seed", type=int, default=0, help="decides durations, failures and faults (default: 0)")
    group.add_argument("--slots", type=int, default=5, help="tasks in flight (default: %(default)s)")
    group.add_argument(
        "--requests-per-minute", type=int, help="refuse more (1302); default: no limit"
    )
    group.add_argument("--credits", default="100000", help="what the video pack holds (default: %(default)s)")
    group.add_argument("--failures", type=float, default=0.0, help="share of tasks that fail (default: 0)")
    group.add_argument("--journal", type=Path, default=None, help="file that keeps the world across restarts")
    group.add_argument("--fault", action="append", default=[], metavar="NAME=SHARE",
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
            rates[name] = float(share)
        except ValueError:
            raise UsageError(f"--fault {word}: {share!r} is not a share such as 0.02") from None
    return FaultPlan(seed=seed, **rates)  # type: ignore[arg-type]  # the names were checked to be its float fields


def _config(namespace: argparse.Namespace) -> WorldConfig:
    try:
        return WorldConfig(
            seed=namespace.seed,
            speed=namespace.speed,
            max_concurrent=namespace.slots,
            rpm=namespace.requests_per_minute,
            pack_credits=Decimal(namespace.credits),
            failure_rate=namespace.failures,
        )
    except InvalidOperation:
        raise UsageError(f"--credits: {namespace.credits!r} is not a number") from None
    except ValueError as error:
        raise UsageError(str(error)) from None


async def serve(namespace: argparse.Namespace, say: Callable[[str], None]) -> ExitCode:
    """Serve until SIGINT or SIGTERM; says how to use it.

    Raises:
        UsageError: the address cannot be had, or an option is wrong.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    sandbox = Sandbox(
        _config(namespace),
        clock=SystemClock(),
        price=sandbox_price,
        fault_plan=fault_plan(namespace.fault, namespace.seed),
        journal_path=namespace.journal,
        host=namespace.host,
        port=namespace.port,
    )
    try:
        async with sandbox:
            say(f"simulated Kling API on {sandbox.base_url} (no real video, no real credit); Ctrl-C stops it")
            say(f"export KLING_BASE_URL={sandbox.base_url}")
            say(f"export KLING_ACCESS_KEY={sandbox.access_key} KLING_SECRET_KEY={sandbox.secret_key}")
            await stopped.wait()
    except OSError as error:
        raise UsageError(f"cannot listen on {namespace.host}:{namespace.port}: {error.strerror or error}") from error
    return ExitCode.OK
