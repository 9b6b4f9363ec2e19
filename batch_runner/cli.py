"""The command line: arguments to settings, a command, an exit code. The only place that prints."""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import os
import stat
import sys
import traceback
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

from batch_runner import accounting, api, arguments, doctor, looking, planning, pricing, progress, reconciling, serving
from batch_runner.answer import Answer, Ask
from batch_runner.errors import BatchRunnerError, DiskError, ExitCode, ManifestError, StoppedError, UsageError
from batch_runner.intake import manifest_of
from batch_runner.interruption import Interruption
from batch_runner.manifest import Manifest
from batch_runner.progress.stream import CarefulStream
from batch_runner.records import SummaryRecord, credits_text
from batch_runner.report import inert, inert_json
from batch_runner.runner import Halt
from batch_runner.settings import OPTION_NAMES, Settings, resolve
from batch_runner.stopping import STOPPED, in_steps, until_stopped
from batch_runner.wording import plural

T = TypeVar("T")
_NOBODY_NEEDED = {ExitCode.STOPPED, ExitCode.LOCKED}
"""Ends that the next start of the program mends: ``--quiet`` leaves them to the exit code."""


def entry(interruption: Interruption | None = None) -> None:
    """The program as a process; ``interruption`` has heard signals while it was being loaded."""
    _occupy_closed_streams()
    interruption = interruption or Interruption()
    interruption.install()
    exit_code = main(sys.argv[1:], interruption)
    interruption.end()
    if sys.stderr is not None:  # as it is where the program was started with the stream closed
        _leave(sys.stderr)
    if interruption.is_heard:
        os._exit(exit_code)  # without waiting for threads: what they still do is as safe as before a kill
    sys.exit(exit_code)


def _occupy_closed_streams() -> None:
    """Else the next socket or file would get a closed stream's number, and with it whatever is said to the stream."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one


def main(argv: Sequence[str], interruption: Interruption | None = None) -> int:
    """Run one command; returns its exit code and never raises for what a user can meet.

    If ``interruption`` has heard a signal, whoever started it has already thought better of it: it only says so.
    """
    interruption = interruption or Interruption()
    is_json, is_quiet = "--json" in argv, "--quiet" in argv
    try:
        namespace, settings = interruption.at_once(lambda: _understood(argv), even_if_heard=True)
        is_json, is_quiet = settings.json, settings.quiet
        return _command(namespace, settings, interruption)
    except SystemExit:  # --help and --version, which argparse has printed
        _say("", end="")
        return ExitCode.OK
    except (BatchRunnerError, KeyboardInterrupt) as end:
        error = StoppedError(STOPPED) if isinstance(end, KeyboardInterrupt) else end
        if error.exit_code is ExitCode.STOPPED:
            interruption.last_words(error.exit_code)
        return _tell_error(error, is_json=is_json, is_quiet=is_quiet)
    except Exception as error:  # noqa: BLE001 - the last door: whatever it is, the user gets words and a code
        trouble = _path_trouble(error)
        if trouble is None:
            return _tell_fault(error, is_json=is_json)
        return _tell_error(trouble, is_json=is_json, is_quiet=is_quiet)


def _understood(argv: Sequence[str]) -> tuple[argparse.Namespace, Settings]:
    namespace = arguments.parsed(argv)
    flags = {key: value for key, value in vars(namespace).items() if key in OPTION_NAMES}
    return namespace, resolve(flags, os.environ, Path("batch_runner.toml"))


def _path_trouble(error: Exception) -> DiskError | None:
    """What the system said of a path that somebody gave, or None for a fault of ours."""
    if not isinstance(error, OSError) or error.filename is None:
        return None
    path = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename)
    return DiskError(f"{inert(path, 200)}: {error.strerror}; check the path and its rights")


def _command(namespace: argparse.Namespace, settings: Settings, interruption: Interruption) -> int:
    match namespace.command:
        case "run":
            manifest = interruption.at_once(lambda: manifest_of(namespace.manifest, settings))
            return asyncio.run(_run(manifest, settings, interruption))
        case "sandbox":
            return asyncio.run(_serve(namespace, settings, interruption))
        case _:
            return interruption.at_once(lambda: _look(namespace, settings, interruption))


def _look(namespace: argparse.Namespace, settings: Settings, interruption: Interruption) -> int:
    """A command that submits nothing, and that a signal may end wherever it is, also while it prints."""

    def ask(work: Coroutine[Any, Any, T]) -> T:
        return interruption.patiently(lambda: asyncio.run(until_stopped(work, interruption)))

    match namespace.command:
        case "plan":
            return _plan(namespace, settings, ask)
        case "ledger":
            return _ledger(namespace, settings, ask)
        case _:
            return _print_answer(_looked(namespace, settings, ask), settings)


def _looked(namespace: argparse.Namespace, settings: Settings, ask: Ask) -> Answer:
    match namespace.command:
        case "doctor":
            return ask(doctor.examine(settings, os.environ))
        case "prices":
            return pricing.prices()
        case "verify" if namespace.repair:
            return looking.repair(namespace.manifest, settings, os.environ, ask)
        case name:
            answer: Answer = getattr(looking, name)(namespace.manifest, settings)
            return answer


def _ledger(namespace: argparse.Namespace, settings: Settings, ask: Ask) -> int:
    if namespace.csv and "json" in namespace and namespace.json:
        raise UsageError("--csv and --json are two forms of one answer; choose one")
    if namespace.reconcile:
        if namespace.csv or namespace.manifest is not None:
            raise UsageError("--reconcile compares the whole output folder: leave out --csv and the manifest")
        return _print_answer(ask(reconciling.reconcile(settings, os.environ)), settings)
    answer = accounting.ledger(namespace.manifest, settings)
    if not namespace.csv:
        return _print_answer(answer, settings)
    _say(answer.csv, end="")
    return answer.exit_code


async def _run(manifest: Manifest, settings: Settings, interruption: Interruption) -> int:
    halt = Halt()
    shown = progress.choose(sys.stderr, quiet=settings.quiet, in_notebook=False)
    work = api.run_settings(manifest, settings, environ=os.environ, observer=shown, halt=halt)
    try:
        summary = await in_steps(work, halt, interruption)
    finally:
        shown.close()
    return _print_summary(summary, settings)


async def _serve(namespace: argparse.Namespace, settings: Settings, interruption: Interruption) -> int:
    """``sandbox``: being stopped is how it ends well."""
    stopped = asyncio.Event()
    with interruption.handed_to(lambda _: stopped.set(), asyncio.get_running_loop()):
        exit_code = await serving.serve(namespace, _say, stopped)
    if not settings.quiet:
        _warn("batch-runner: the simulated service has stopped, as it was told to")
    return exit_code


def _print_summary(summary: SummaryRecord, settings: Settings) -> int:
    if settings.json:
        _print_json(summary.as_json())
        return summary.exit_code
    simulated = " (SIMULATED: no real video, no real credit)" if summary.sandbox else ""
    items = summary.items
    counts = ", ".join(f"{getattr(items, word):,} {word}" for word in ("succeeded", "failed", "pending", "unknown")
                       if getattr(items, word))  # fmt: skip
    _say(f"{summary.batch}{simulated}: {plural(items.total, 'item')}: {counts or 'nothing to do'}")
    for pack, row in summary.credits.items():
        budget = ", no budget" if row.budget is None else f" of {credits_text(row.budget)}"
        held = f", {credits_text(row.held)} held" if row.held else ""
        _say(f"credits ({pack}): {credits_text(row.consumed)} consumed{budget}{held}")
    _say(inert(f"files: {settings.output_dir / summary.batch}"))
    return summary.exit_code


def _plan(namespace: argparse.Namespace, settings: Settings, ask: Ask) -> int:
    if not namespace.expand:
        questions = planning.Questions(tuple(namespace.what_if), namespace.items, namespace.account)
        return _print_answer(planning.plan(namespace.manifest, settings, questions, os.environ, ask), settings)
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
    except KeyboardInterrupt:
        _abandon(sys.stdout)  # nothing follows what it has begun to say, and nobody waits for its reader
        raise
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
