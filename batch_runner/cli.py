"""The command line: arguments to settings, a command, an exit code. The only place that prints."""

from __future__ import annotations

import argparse
import asyncio
import difflib
import errno
import json
import os
import signal
import stat
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

import batch_runner
from batch_runner import accounting, api, doctor, looking, planning, pricing, progress, reconciling, serving
from batch_runner.answer import Answer
from batch_runner.errors import BatchRunnerError, DiskError, ExitCode, ManifestError, StoppedError, UsageError
from batch_runner.intake import manifest_of
from batch_runner.manifest import Manifest
from batch_runner.progress.stream import CarefulStream
from batch_runner.records import SummaryRecord, credits_text
from batch_runner.report import inert, inert_json
from batch_runner.runner import Halt
from batch_runner.settings import OPTION_NAMES, Settings, add_flags, resolve
from batch_runner.signals import SIGNALS, is_wanted, on_signals

_HELP = {
    "run": "submit, poll, download, keep the ledger; start it again to go on",
    "plan": "problems, price, time; nothing is sent",
    "status": "where every item stands",
    "ledger": "credits consumed versus budget",
    "verify": "every finished file against its recorded size and SHA-256",
    "report": "write the HTML page (and the other derived files) anew",
    "sandbox": "serve the simulated Kling API on a port",
    "doctor": "keys, clock, disk, versions, account packs",
    "prices": "the price books, packages and plans, with sources",
}
_FOLDER = frozenset({"output_dir", "name", "format", "sandbox", "json", "quiet"})
_ACCOUNT = frozenset({"output_dir", "base_url", "sandbox", "keys_path", "json", "quiet"})
_SHOWN = {
    "status": _FOLDER,
    "ledger": _FOLDER | _ACCOUNT | {"budget", "rolling_budget"},
    "verify": _FOLDER | _ACCOUNT,
    "report": _FOLDER,
    "doctor": _ACCOUNT | {"tier", "max_concurrent", "rpm"},
    "prices": frozenset({"json"}),
}
"""What the help of a command lists; ``run`` and ``plan`` list every option."""
_ALSO_TAKEN = "The other options of run are taken as well, so that one set of options serves every command."
_STOPPED = "stopped: run the same command again to go on"
_NOBODY_NEEDED = {ExitCode.STOPPED, ExitCode.LOCKED}
"""Ends that the next start of the program mends: ``--quiet`` leaves them to the exit code."""


def entry(heard: Sequence[int] = ()) -> None:
    """The program as a process; ``heard`` are signals that came while it was being loaded."""
    _occupy_closed_streams()
    on_signals(signal.default_int_handler)
    exit_code = main(sys.argv[1:], is_stopped=bool(heard))
    on_signals(signal.SIG_IGN)  # what is left of the program is done in a moment
    if sys.stderr is not None:  # as it is where the program was started with the stream closed
        _leave(sys.stderr)
    sys.exit(exit_code)


def _occupy_closed_streams() -> None:
    """Else the next socket or file would get a closed stream's number, and with it whatever is said to the stream."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one


def main(argv: Sequence[str], *, is_stopped: bool = False) -> int:
    """Run one command; returns its exit code and never raises for what a user can meet.

    With ``is_stopped`` the person who started it has already thought better of it: it only says so.
    """
    is_json, is_quiet = "--json" in argv, "--quiet" in argv
    try:
        namespace = _parsed(_with_command(argv))
        flags = {key: value for key, value in vars(namespace).items() if key in OPTION_NAMES}
        settings = resolve(flags, os.environ, Path("batch_runner.toml"))
        is_json, is_quiet = settings.json, settings.quiet
        _require_not(is_stopped)
        return _command(namespace, settings)
    except SystemExit:  # --help and --version, which argparse has printed
        _say("", end="")
        return ExitCode.OK
    except BatchRunnerError as error:
        return _tell_error(error, is_json=is_json, is_quiet=is_quiet)
    except KeyboardInterrupt:
        return _tell_error(StoppedError(_STOPPED), is_json=is_json, is_quiet=is_quiet)
    except Exception as error:  # noqa: BLE001 - the last door: whatever it is, the user gets words and a code
        trouble = _path_trouble(error)
        if trouble is None:
            return _tell_fault(error, is_json=is_json)
        return _tell_error(trouble, is_json=is_json, is_quiet=is_quiet)


def _require_not(is_stopped: bool) -> None:  # noqa: FBT001 - there is nothing else that it could mean
    if is_stopped:
        raise StoppedError(_STOPPED)


def _path_trouble(error: Exception) -> DiskError | None:
    """What the system said of a path that somebody gave, or None for a fault of ours."""
    if not isinstance(error, OSError) or error.filename is None:
        return None
    path = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename)
    return DiskError(f"{inert(path, 200)}: {error.strerror}; check the path and its rights")


def _with_command(argv: Sequence[str]) -> list[str]:
    """``MANIFEST ...`` is short for ``run MANIFEST ...``."""
    is_command = bool(argv) and (argv[0] in _HELP or argv[0] in {"-h", "--help", "--version"})
    return list(argv) if is_command or not argv else ["run", *argv]


class _Parser(argparse.ArgumentParser):
    """Wrong usage is an error like any other, so that ``--json`` has its object then too."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see: {self.prog} --help")


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    """What the arguments say; raises UsageError with the nearest right word for one that says nothing."""
    parser, commands = _parser()
    namespace, strange = parser.parse_known_args(argv)
    if strange:
        hint = _meant_flag(strange, commands[namespace.command]) or _meant_command(namespace)
        parser.error(f"unrecognized arguments: {inert(' '.join(strange), 200)}{hint}")
    return namespace


def _meant_flag(strange: Sequence[str], command: _Parser) -> str:
    known = list(command._option_string_actions)  # noqa: SLF001 - argparse tells its options nowhere else
    words = (word.partition("=")[0] for word in strange if word.startswith("--"))
    close = [match for word in words for match in difflib.get_close_matches(word, known, n=1)]
    return f" (did you mean {' and '.join(close)}?)" if close else ""


def _meant_command(namespace: argparse.Namespace) -> str:
    """The first word may have been meant to be a command."""
    first = str(getattr(namespace, "manifest", None) or "")
    close = difflib.get_close_matches(first, _HELP, n=1)
    return f" (did you mean the command {close[0]}?)" if close else ""


def _parser() -> tuple[_Parser, dict[str, _Parser]]:
    """The parser, and those of the commands."""
    parser = _Parser(
        prog="batch-runner",
        allow_abbrev=False,
        description="Turns a manifest of prompts into finished Kling AI videos and a ledger of the credits they cost.",
        epilog="batch-runner MANIFEST is short for: batch-runner run MANIFEST",
    )
    parser.add_argument("--version", action="version", version=f"batch_runner {batch_runner.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text in _HELP.items():
        description = f"{help_text[0].upper()}{help_text[1:]}."
        command = commands.add_parser(name, help=help_text, description=description, allow_abbrev=False)
        if name == "sandbox":
            serving.add_flags(command)
        elif name not in {"doctor", "prices"}:
            command.add_argument("manifest", type=Path, nargs="?" if name in {"status", "ledger"} else None,
                                 metavar="MANIFEST", help="a file of items (JSON Lines, CSV, YAML), or -")  # fmt: skip
        if name == "plan":
            command.add_argument("--expand", action="store_true",
                                 help="print the items as JSON Lines instead, with nothing left out")  # fmt: skip
            command.add_argument("--items", action="store_true", help="show every item, however many there are")
            command.add_argument("--account", action="store_true",
                                 help="ask the account for its packs too (needs keys; sends no more)")  # fmt: skip
            command.add_argument("--what-if", action="append", default=[], metavar="SETTING",
                                 help="rehearse with max_concurrent=N, rpm=N or tier=NAME too; repeatable")  # fmt: skip
        if name == "verify":
            command.add_argument("--repair", action="store_true", help="fetch what is missing or altered again, free")
        if name == "ledger":
            command.add_argument("--csv", action="store_true", help="print it as comma-separated values (RFC 4180)")
            command.add_argument("--reconcile", action="store_true",
                                 help="ask the account and say what does not add up; needs keys")  # fmt: skip
        if name != "sandbox":
            add_flags(command, _SHOWN.get(name))
            command.epilog = _ALSO_TAKEN if name in _SHOWN else None
    return parser, commands.choices


def _command(namespace: argparse.Namespace, settings: Settings) -> int:
    match namespace.command:
        case "run":
            return asyncio.run(_run(manifest_of(namespace.manifest, settings), settings))
        case "sandbox":
            return asyncio.run(serving.serve(namespace, _say))
        case "plan":
            return _plan(namespace, settings)
        case "ledger":
            return _ledger(namespace, settings)
        case _:
            return _print_answer(_looked(namespace, settings), settings)


def _looked(namespace: argparse.Namespace, settings: Settings) -> Answer:
    match namespace.command:
        case "doctor":
            return asyncio.run(doctor.examine(settings, os.environ))
        case "prices":
            return pricing.prices()
        case "verify" if namespace.repair:
            return asyncio.run(looking.repair(namespace.manifest, settings, os.environ))
        case name:
            answer: Answer = getattr(looking, name)(namespace.manifest, settings)
            return answer


def _ledger(namespace: argparse.Namespace, settings: Settings) -> int:
    if namespace.csv and "json" in namespace and namespace.json:
        raise UsageError("--csv and --json are two forms of one answer; choose one")
    if namespace.reconcile:
        if namespace.csv or namespace.manifest is not None:
            raise UsageError("--reconcile compares the whole output folder: leave out --csv and the manifest")
        return _print_answer(asyncio.run(reconciling.reconcile(settings, os.environ)), settings)
    answer = accounting.ledger(namespace.manifest, settings)
    if not namespace.csv:
        return _print_answer(answer, settings)
    _say(answer.csv, end="")
    return answer.exit_code


async def _run(manifest: Manifest, settings: Settings) -> int:
    """``run``: the first signal stops submitting and leaves soon, the second one leaves now."""
    halt = Halt()
    task = asyncio.current_task()
    assert task is not None

    def on_signal(number: signal.Signals) -> None:
        if halt.is_leaving:
            for each in SIGNALS:  # it is leaving as fast as it can; a third signal must not cut off the records
                loop.remove_signal_handler(each)
                signal.signal(each, signal.SIG_IGN)
            task.cancel()
        else:
            halt.leave(StoppedError(f"stopped by {number.name}: run the same command again to go on"))

    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        if is_wanted(number):
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
        budget = ", no budget" if row.budget is None else f" of {credits_text(row.budget)}"
        held = f", {credits_text(row.held)} held" if row.held else ""
        _say(f"credits ({pack}): {credits_text(row.consumed)} consumed{budget}{held}")
    _say(inert(f"files: {settings.output_dir / summary.batch}"))
    return summary.exit_code


def _plan(namespace: argparse.Namespace, settings: Settings) -> int:
    if not namespace.expand:
        questions = planning.Questions(tuple(namespace.what_if), namespace.items, namespace.account)
        return _print_answer(planning.plan(namespace.manifest, settings, questions, os.environ), settings)
    if settings.json:
        raise UsageError("--expand prints one JSON object a line, --json a single one: leave one of them out")
    for line in planning.expanded(namespace.manifest, settings):
        _say(inert_json(line))
    return ExitCode.OK


def _print_answer(answer: Answer, settings: Settings) -> int:
    if settings.json:
        _print_json(answer.data)
    else:
        for line in answer.lines:
            _say(inert(line))
    return answer.exit_code


def _print_json(data: dict[str, Any]) -> None:
    text = json.dumps(data, indent=2, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:  # a path that is not UTF-8, or a terminal that is not
        text = json.dumps(data, indent=2)
    _say(inert_json(text))


def _tell_error(error: BatchRunnerError, *, is_json: bool, is_quiet: bool) -> int:
    if is_json:
        problems = [str(problem) for problem in error.problems] if isinstance(error, ManifestError) else []
        _print_error(error.exit_code, str(error), problems)
    if not (is_quiet and error.exit_code in _NOBODY_NEEDED):
        _warn(f"batch-runner: {error}")
    return error.exit_code


def _print_error(exit_code: ExitCode, text: str, problems: list[str]) -> None:
    try:
        _print_json({"exit_code": exit_code, "error": text, "problems": problems})
    except DiskError as error:
        _warn(f"batch-runner: {error}")


def _say(text: str, end: str = "\n") -> None:
    """One line for standard output. When nobody reads it any more, the exit code still tells the truth.

    Raises:
        DiskError: standard output is a file that cannot be written; what was asked for is not there.
    """
    try:
        print(text, end=end, flush=True)
    except UnicodeEncodeError:
        print(text.encode("ascii", "backslashreplace").decode("ascii"), end=end, flush=True)
    except OSError as error:
        has_left = isinstance(error, BrokenPipeError) or _is_hung_up(error)
        _abandon(sys.stdout)
        if not has_left:
            raise DiskError(f"standard output cannot be written: {error.strerror or error}") from None


def _is_hung_up(error: OSError) -> bool:
    """Whether standard output was a terminal that is closed now."""
    return error.errno == errno.EIO and stat.S_ISCHR(os.fstat(sys.stdout.fileno()).st_mode)


def _leave(stream: TextIO) -> None:
    """Let go of a stream; a line that nobody took there changes no exit code."""
    try:
        stream.flush()
    except OSError:
        _abandon(stream)


def _abandon(stream: TextIO) -> None:
    """What is still buffered goes nowhere; else Python would report it on leaving, with an exit code of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _warn(text: str) -> None:
    CarefulStream(sys.stderr).line("\n".join(map(inert, text.split("\n"))))


def _tell_fault(error: Exception, *, is_json: bool) -> int:
    """A fault of ours: where it happened and its type; texts of foreign exceptions can carry secrets and stay out."""
    text = (
        f"a fault of the program ({_types(error)}); what was paid for is recorded, and running the same command"
        " again is safe"
    )
    if is_json:
        _print_error(ExitCode.FAULT, text, [])
    _warn(f"batch-runner: {text}. Please report these lines:\n{''.join(_frames(error))}")
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
