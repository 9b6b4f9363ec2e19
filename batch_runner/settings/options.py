"""The one table of options: flags, environment, file, checks and help all come from it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from batch_runner.budgets import RollingBudget
from batch_runner.settings.keys import DEFAULT_KEYS_FILE
from batch_runner.settings.values import (
    base_url,
    budget,
    callback_url,
    check_batch_name,
    host_and_port,
    line_of_text,
    one_of,
    path,
    percent,
    real,
    rolling_budget,
    switch,
    whole,
)

DEFAULT_BASE_URL = "https://api-singapore.klingai.com"
"""The vendor's host for servers outside mainland China (authentication page, 2026)."""

ENV_PREFIX = "BATCH_RUNNER_"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run was asked to do; every value checked.

    Attributes:
        output_dir: everything is written below it.
        name: the batch's name, or None for the manifest's file name without its ending.
        format: how the manifest is written, or None for what its file's ending says.
        budget: the most credits the batch may consume and hold, by pack; a missing pack has no limit.
        price_buffer_pct: what is held beyond each estimate, in percent, or None for what the price book advises.
        rolling_budget: by its name, what all batches of the output folder together may consume and hold in a window.
        max_concurrent: tasks in flight, or None for the tier's figure.
        rpm: API requests in any 60 seconds, 0 for no limit, or None for the tier's figure.
        tier: a named row of limits (not checked here), or None.
        base_url: the API's address without a trailing slash.
        max_runtime_s: seconds after which nothing more is submitted, or None.
        max_attempts: attempts an item may get within a run.
        task_deadline_s: age in seconds from which a task is reported as overdue.
        task_settle_s: seconds a task that cannot be found is given to appear.
        callback_url: where the service can call when a task changes, or None.
        callback_listen: host and port at which those calls arrive here, or None for this machine and that port.
        keys_path: the file with the keys, or None for the usual place, which may be absent.
    """

    output_dir: Path
    name: str | None
    format: str | None
    budget: Mapping[str, Decimal]
    rolling_budget: Mapping[str, RollingBudget]
    price_buffer_pct: Decimal | None
    max_concurrent: int | None
    rpm: int | None
    tier: str | None
    base_url: str
    sandbox: bool
    max_runtime_s: float | None
    retry_failed: bool
    repeat_lost: bool
    max_attempts: int
    task_deadline_s: float
    task_settle_s: float
    sandbox_speed: float
    sandbox_seed: int
    callback_url: str | None
    callback_listen: tuple[str, int] | None
    keys_path: Path | None
    json: bool
    quiet: bool


@dataclass(frozen=True, slots=True)
class Option:
    """One option as data; flags, environment, file, checks and help all come from this row.

    Attributes:
        name: the field of ``Settings`` and the ``dest`` of the flag.
        flag: ``--max-runtime``; the environment's and the file's names follow from it.
        parse: turns a given value into the checked one, or raises ``ValueError`` saying what is wrong.
        default: the value when nobody gave one.
        metavar: what stands for the value in the help; None for a switch.
        also_env: a variable of other programs that stands in when ours is absent.
        is_repeatable: its values are parts by name: the flag may be given more than once, and a weaker source's parts
            stand where no stronger one has a part of that name.
    """

    name: str
    flag: str
    parse: Callable[[object], Any]
    default: Any
    help: str
    metavar: str | None = None
    also_env: str | None = None
    is_repeatable: bool = False

    @property
    def key(self) -> str:
        """The name in ``batch_runner.toml`` (dashes are taken as well)."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def env(self) -> str:
        """The environment variable."""
        return f"{ENV_PREFIX}{self.key.upper()}"


OPTIONS: tuple[Option, ...] = (
    Option(
        "output_dir", "--output-dir", path, Path("outputs"),
        "everything is written below it (default: outputs)", "DIR",
    ),
    Option(
        "name", "--name", check_batch_name, None,
        "the batch's name (default: the manifest's file name without its ending)", "NAME",
    ),
    Option(
        "format", "--format", one_of("jsonl", "csv", "yaml"), None,
        "how the manifest is written: jsonl, csv or yaml (default: by its ending, else jsonl)", "FORMAT",
    ),
    Option(
        "budget", "--budget", budget, {},
        "the batch may consume and hold at most this, over all its runs; image=50 or try_on=5 name another"
        " pack; repeatable (default: no limit)", "CREDITS", is_repeatable=True,
    ),
    Option(
        "rolling_budget", "--rolling-budget", rolling_budget, {},
        "all batches of the output folder together may consume and hold at most this in any span of that length:"
        " 50/1d, image=20/30d, 5/90m (s, m, h, d); simulated credits count apart; repeatable (default: no limit)",
        "CREDITS/WINDOW", is_repeatable=True,
    ),
    Option(
        "price_buffer_pct", "--price-buffer", percent, None,
        "set so much more aside than each item is to cost, in case it costs more (default: what the price book"
        " advises, 0 for the API's)", "PERCENT",
    ),
    Option(
        "max_concurrent", "--max-concurrent", whole(1), None,
        "tasks in flight, per account (default: from --tier)", "N",
    ),
    Option(
        "rpm", "--rpm", whole(0), None,
        "API requests in any 60 seconds, all kinds together; 0 is no limit (default: from --tier)", "N",
    ),
    Option(
        "tier", "--tier", line_of_text, None,
        "a named row of limits (default: a polite one, said aloud)", "NAME",
    ),
    Option(
        "base_url", "--base-url", base_url, DEFAULT_BASE_URL,
        "the API's address; http:// only for this machine, a local test server whose result links may be"
        f" local too (default: KLING_BASE_URL, else {DEFAULT_BASE_URL})", "URL", also_env="KLING_BASE_URL",
    ),
    Option(
        "sandbox", "--sandbox", switch, False,
        "the embedded simulated API instead of the real one; needs no keys",
    ),
    Option(
        "max_runtime_s", "--max-runtime", real("seconds"), None,
        "stop submitting in time, leave the rest to the next run (default: no limit)", "SECONDS",
    ),
    Option(
        "retry_failed", "--retry-failed", switch, False,
        "give failed items a new attempt",
    ),
    Option(
        "repeat_lost", "--repeat-lost", switch, False,
        "make again what was lost and cannot be asked for (answers of tts, identify-face, image-recognize and the"
        " selection calls; tasks older than Kling keeps them); each is counted as paid, and may be paid twice",
    ),
    Option(
        "max_attempts", "--max-attempts", whole(1, 100), 1,
        "attempts an item may get within a run, as long as each failed for a passing reason such as trouble"
        " at the server; every attempt may cost credits (default: 1)", "N",
    ),
    Option(
        "task_deadline_s", "--task-deadline", real("seconds"), 7200.0,
        "a task older than this is reported as overdue (default: 7200)", "SECONDS",
    ),
    Option(
        "task_settle_s", "--task-settle", real("seconds", zero=True), 15.0,
        "how long a task that cannot be found is given to appear before its submission is repeated with the"
        " same external id (default: 15)", "SECONDS",
    ),
    Option(
        "sandbox_speed", "--sandbox-speed", real("times"), 20.0,
        "how many times faster than the real service the simulated one works (default: 20)", "X",
    ),
    Option(
        "sandbox_seed", "--sandbox-seed", whole(0, 2**53), 0,
        "what the simulated service draws its chances from; same seed, same chances (default: 0)", "N",
    ),
    Option(
        "callback_url", "--callback-url", callback_url, None,
        "the public https:// address at which the service can call this run when a task changes; calls are hints,"
        " and polling goes on (default: none; needs KLING_WEBHOOK_SECRET)", "URL",
    ),
    Option(
        "callback_listen", "--callback-listen", host_and_port, None,
        "where those calls arrive here (default: 127.0.0.1 and the port of --callback-url, else any free one)",
        "HOST:PORT",
    ),
    Option(
        "keys_path", "--keys-file", path, None,
        f"a file that holds the keys, readable by its owner alone (default: {DEFAULT_KEYS_FILE}, if there)",
        "PATH",
    ),
    Option(
        "json", "--json", switch, False,
        "standard output is one JSON object, the summary, and nothing else",
    ),
    Option(
        "quiet", "--quiet", switch, False,
        "nothing on standard error unless something needs a person",
    ),
)  # fmt: skip
"""Every option of ``run``, in the order of the help."""

OPTION_NAMES = frozenset(option.name for option in OPTIONS)
"""The ``dest`` of every flag, by which a parsed namespace's options can be told from the rest."""


def add_flags(parser: argparse.ArgumentParser, shown: frozenset[str] | None = None) -> None:
    """Give a parser the flags of every option; only flags really given appear in its namespace, as text.

    ``shown`` are the names of the options that its help lists, or None for all; the others are taken all the same.
    """
    for option in OPTIONS:
        is_shown = shown is None or option.name in shown
        help_ = option.help.replace("%", "%%") if is_shown else argparse.SUPPRESS
        if option.metavar is None:
            parser.add_argument(
                option.flag,
                dest=option.name,
                default=argparse.SUPPRESS,
                help=help_,
                action=argparse.BooleanOptionalAction,
            )
        else:
            parser.add_argument(
                option.flag,
                dest=option.name,
                default=argparse.SUPPRESS,
                help=help_,
                metavar=option.metavar,
                action="append" if option.is_repeatable else "store",
            )
