"""The command line: arguments to settings, a command, an exit code. The only place that prints."""

from __future__ import annotations

import argparse
import errno
import json
import os
import stat
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from batch_runner import arguments, commands
from batch_runner.answer import Answer
from batch_runner.errors import BatchRunnerError, DiskError, ExitCode, ManifestError, StoppedError, UsageError
from batch_runner.inert import inert, inert_json
from batch_runner.interruption import STOPPED, Interruption
from batch_runner.records import SummaryRecord, credits_text
from batch_runner.settings import OPTION_NAMES, SETTINGS_FILE, Settings, is_given, resolve
from batch_runner.stream import CarefulStream
from batch_runner.wording import plural

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
    settings = None
    try:
        namespace, settings = interruption.at_once(lambda: _understood(argv), even_if_heard=True)
        return _command(namespace, settings, interruption)
    except SystemExit:  # --help and --version, which argparse has printed
        _say("", end="")
        return ExitCode.OK
    except (BatchRunnerError, KeyboardInterrupt) as end:
        error = StoppedError(STOPPED) if isinstance(end, KeyboardInterrupt) else end
        if error.exit_code is ExitCode.STOPPED:
            interruption.last_words(error.exit_code)
        return _tell_error(error, **_manner(argv, settings))
    except Exception as error:  # noqa: BLE001 - the last door: whatever it is, the user gets words and a code
        trouble = _path_trouble(error)
        if trouble is None:
            return _tell_fault(error, is_json=_manner(argv, settings)["is_json"])
        return _tell_error(trouble, **_manner(argv, settings))


def _understood(argv: Sequence[str]) -> tuple[argparse.Namespace, Settings]:
    namespace = arguments.parsed(argv)
    flags = {key: value for key, value in vars(namespace).items() if key in OPTION_NAMES}
    return namespace, resolve(flags, os.environ, SETTINGS_FILE)


def _manner(argv: Sequence[str], settings: Settings | None) -> dict[str, bool]:
    """How an end is told: as the settings say; where they are wrong themselves, as far as they can be understood."""
    if settings is not None:
        return {"is_json": settings.json, "is_quiet": settings.quiet}
    return {f"is_{name}": is_given(name, argv, os.environ, SETTINGS_FILE) for name in ("json", "quiet")}


def _path_trouble(error: Exception) -> DiskError | None:
    """What the system said of a path that somebody gave, or None for a fault of ours."""
    if not isinstance(error, OSError) or error.filename is None:
        return None
    path = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename)
    return DiskError(f"{inert(path, 200)}: {error.strerror}; check the path and its rights")


def _command(namespace: argparse.Namespace, settings: Settings, interruption: Interruption) -> int:
    match namespace.command:
        case "run":
            run = commands.run()
            return _print_summary(run(namespace.manifest, settings, interruption), settings)
        case "sandbox":
            return _serve(namespace, settings, interruption)
        case "plan" if namespace.expand:
            expanded = commands.expansion()
            return interruption.at_once(lambda: _expand(expanded, namespace.manifest, settings))
        case _:
            answer = commands.question(namespace, interruption)
            is_csv = getattr(namespace, "csv", False)
            return interruption.at_once(lambda: _print_answer(answer(settings), settings, is_csv=is_csv))


def _serve(namespace: argparse.Namespace, settings: Settings, interruption: Interruption) -> int:
    serve = commands.sandbox()
    exit_code = serve(namespace, _say, interruption)
    if not settings.quiet:
        _warn("batch-runner: the simulated service has stopped, as it was told to")
    return exit_code


def _expand(expanded: Callable[[Path, Settings], Iterator[str]], manifest: Path, settings: Settings) -> int:
    if settings.json:
        raise UsageError("--expand prints one JSON object a line, --json a single one: leave one of them out")
    for line in expanded(manifest, settings):
        _say(inert_json(line))
    return ExitCode.OK


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


def _print_answer(answer: Answer, settings: Settings, *, is_csv: bool) -> int:
    if is_csv:
        _say(answer.csv, end="")
    elif settings.json:
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
