"""``sandbox``: serves the simulated Kling API on a port until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable

from batch_runner.clock import SystemClock
from batch_runner.errors import ExitCode, UsageError
from batch_runner.interruption import Interruption
from batch_runner.sandbox import Sandbox, WorldConfig
from batch_runner.sandbox_flags import fault_plan
from batch_runner.service import sandbox_price

WEBHOOK_SECRET_NAME = "KLING_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable
"""With this in the environment the simulated service signs its callbacks."""


def _config(namespace: argparse.Namespace) -> WorldConfig:
    return WorldConfig(
        seed=namespace.seed,
        speed=namespace.speed,
        max_concurrent=namespace.slots,
        rpm=namespace.requests_per_minute,
        pack_credits=namespace.credits,
        failure_rate=namespace.failures,
        charged_failures=namespace.charged_failures,
    )


def _sandbox(namespace: argparse.Namespace, webhook_secret: str | None) -> Sandbox:
    config, faults = _config(namespace), fault_plan(namespace.fault, namespace.seed)
    try:
        return Sandbox(
            config,
            clock=SystemClock(),
            price=sandbox_price,
            fault_plan=faults,
            journal_path=namespace.journal,
            host=namespace.host,
            port=namespace.port,
            webhook_secrets=[webhook_secret] if webhook_secret else [],
        )
    except ValueError as error:
        raise UsageError(f"{WEBHOOK_SECRET_NAME}: {error}") from None


def serve(namespace: argparse.Namespace, say: Callable[[str], None], interruption: Interruption) -> ExitCode:
    """Serve until a signal comes, which is how it ends well; says how to use it.

    Raises:
        UsageError: the address cannot be had, or an option or the webhook secret is wrong.
    """
    return asyncio.run(_serve(namespace, say, interruption))


async def _serve(namespace: argparse.Namespace, say: Callable[[str], None], interruption: Interruption) -> ExitCode:
    stopped = asyncio.Event()
    with interruption.handed_to(lambda _: stopped.set(), asyncio.get_running_loop()):
        await _serve_until(stopped, namespace, say)
    return ExitCode.OK


async def _serve_until(stopped: asyncio.Event, namespace: argparse.Namespace, say: Callable[[str], None]) -> None:
    sandbox = _sandbox(namespace, os.environ.get(WEBHOOK_SECRET_NAME))
    try:
        async with sandbox:
            say(f"simulated Kling API on {sandbox.base_url} (no real video, no real credit); Ctrl-C stops it")
            say(f"export KLING_BASE_URL={sandbox.base_url}")
            say(f"export KLING_ACCESS_KEY={sandbox.access_key} KLING_SECRET_KEY={sandbox.secret_key}")
            say(f"export KLING_API_KEY={sandbox.api_key}  # also opens the routes of the second API generation")
            await stopped.wait()
    except UnicodeError:
        raise UsageError(f"cannot listen on {namespace.host!r}: that is no host name") from None
    except OSError as error:
        raise UsageError(f"cannot listen on {namespace.host}:{namespace.port}: {error.strerror or error}") from error
