"""The command line: arguments to settings, a command, an exit code. The only place that prints."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import batch_runner
from batch_runner import api, doctor, looking, planning, progress, serving
from batch_runner.answer import Answer
from batch_runner.errors import BatchRunnerError, ExitCode, ManifestError, StoppedError
from batch_runner.records import SummaryRecord, credits_text
from batch_runner.runner import Halt
from batch_runner.settings import OPTION_NAMES, Settings, add_flags, resolve

_HELP = {
    "run": "submit, poll, download, keep the ledger; start it again to go on",
    "plan": "problems, price, time; nothing is sent",
    "status": "where every item stands",
    "ledger": "credits consumed versus budget",
    "verify": "every finished file against its recorded size and SHA-256",
    "report": "write the HTML page (and the other derived files) anew",
    "sandbox": "serve the simulated Kling API on a port",
    "doctor": "keys, clock, disk, versions, account packs",
}
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def entry() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run one command; returns its exit code and never raises for what a user can meet."""
    try:
        namespace = _parser().parse_args(_with_command(argv))
    except SystemExit as stop:  # argparse has printed; its code for wrong usage is 2, as ours
        return int(stop.code or 0)
    flags = {key: value for key, value in vars(namespace).items() if key in OPTION_NAMES}
    is_json = bool(flags.get("json"))
    try:
        settings = resolve(flags, os.environ, Path("batch_runner.toml"))
        is_json = settings.json
        return _command(namespace, settings)
    except BatchRunnerError as error:
        return _tell_error(error, is_json=is_json)
    except KeyboardInterrupt:
        return _tell_error(StoppedError("stopped: run the same command again to go on"), is_json=is_json)
    except Exception as error:  # noqa: BLE001 - the last door: whatever it is, the user gets words and code 1
        return _tell_fault(error)


def _with_command(argv: Sequence[str]) -> list[str]:
    """``MANIFEST ...`` is short for ``run MANIFEST ...``."""
    is_command = bool(argv) and (argv[0] in _HELP or argv[0] in {"-h", "--help", "--version"})
    return list(argv) if is_command or not argv else ["run", *argv]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="batch-runner",
        description="Turns a manifest of prompts into finished Kling AI videos and a ledger of the credits they cost.",
        epilog="batch-runner MANIFEST is short for: batch-runner run MANIFEST",
    )
    parser.add_argument("--version", action="version", version=f"batch_runner {batch_runner.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text in _HELP.items():
        command = commands.add_parser(name, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.")
        if name == "sandbox":
            serving.add_flags(command)
        elif name != "doctor":
            command.add_argument("manifest", type=Path, nargs="?" if name in {"status", "ledger"} else None,
                                 metavar="MANIFEST", help="JSON Lines, one item a line")  # fmt: skip
        if name != "sandbox":
            add_flags(command)
    return parser


def _command(namespace: argparse.Namespace, settings: Settings) -> int:
    match namespace.command:
        case "run":
            return asyncio.run(_run(namespace.manifest, settings))
        case "sandbox":
            return asyncio.run(serving.serve(namespace, _say))
        case "doctor":
            return _print_answer(asyncio.run(doctor.examine(settings, os.environ)), settings)
        case "plan":
            return _print_answer(planning.plan(namespace.manifest, settings), settings)
        case name:
            return _print_answer(getattr(looking, name)(namespace.manifest, settings), settings)


async def _run(manifest: Path, settings: Settings) -> int:
    """``run``: the first signal stops submitting and leaves soon, the second one leaves now."""
    halt = Halt()
    task = asyncio.current_task()
    assert task is not None

    def on_signal(number: signal.Signals) -> None:
        if halt.is_leaving:
            task.cancel()
        else:
            halt.leave(StoppedError(f"stopped by {number.name}: run the same command again to go on"))

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    shown = progress.choose(sys.stderr, quiet=settings.quiet, in_notebook=False)
    try:
        summary = await api.run_settings(manifest, settings, environ=os.environ, observer=shown, halt=halt)
    except asyncio.CancelledError:
        raise StoppedError("stopped at once: run the same command again to go on") from None
    finally:
        shown.close()
    return _print_summary(summary, settings)


def _print_summary(summary: SummaryRecord, settings: Settings) -> int:
    if settings.json:
        _print_json(summary.as_json())
        return summary.exit_code
    simulated = " (SIMULATED: no real video, no real credit)" if summary.sandbox else ""
    items = summary.items
    counts = ", ".join(f"{getattr(items, word)} {word}" for word in ("succeeded", "failed", "pending", "unknown")
                       if getattr(items, word))  # fmt: skip
    _say(f"{summary.batch}{simulated}: {items.total} items: {counts or 'nothing to do'}")
    for pack, row in summary.credits.items():
        budget = "no budget" if row.budget is None else f"of {credits_text(row.budget)}"
        held = f", {credits_text(row.held)} held" if row.held else ""
        _say(f"credits ({pack}): {credits_text(row.consumed)} consumed {budget}{held}")
    _say(f"files: {settings.output_dir / summary.batch}")
    return summary.exit_code


def _print_answer(answer: Answer, settings: Settings) -> int:
    if settings.json:
        _print_json(answer.data)
    else:
        for line in answer.lines:
            _say(line)
    return answer.exit_code


def _print_json(data: dict[str, Any]) -> None:
    _say(json.dumps(data, indent=2, ensure_ascii=False))


def _tell_error(error: BatchRunnerError, *, is_json: bool) -> int:
    if is_json:
        problems = [str(problem) for problem in error.problems] if isinstance(error, ManifestError) else []
        _print_json({"exit_code": error.exit_code, "error": str(error), "problems": problems})
    print(f"batch-runner: {error}", file=sys.stderr)
    return error.exit_code


def _say(text: str) -> None:
    """One line for standard output. When nobody reads it any more, the exit code still tells the truth."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell_fault(error: Exception) -> int:
    """A fault of ours: where it happened and its type; texts of foreign exceptions can carry secrets and stay out."""
    print(f"batch-runner: a fault of the program ({_types(error)}); what was paid for is recorded, and running the",
          "same command again is safe. Please report these lines:", file=sys.stderr)  # fmt: skip
    for line in _frames(error):
        print(line, end="", file=sys.stderr)
    return ExitCode.FAULT


def _types(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(sorted({_types(inner) for inner in error.exceptions}))
    return type(error).__name__


def _frames(error: BaseException) -> list[str]:
    frames = traceback.format_tb(error.__traceback__)
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            frames += _frames(inner)
    return frames
