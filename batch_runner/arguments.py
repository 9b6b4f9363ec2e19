"""The words of the command line: commands, their options and help, and what a mistyped one may have meant."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import batch_runner
from batch_runner import sandbox_flags
from batch_runner.errors import UsageError
from batch_runner.inert import inert
from batch_runner.settings import DEFAULT_KEYS_FILE, add_flags, is_secret_name

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


def _with_command(argv: Sequence[str]) -> list[str]:
    """``MANIFEST ...`` is short for ``run MANIFEST ...``."""
    is_command = bool(argv) and (argv[0] in _HELP or argv[0] in {"-h", "--help", "--version"})
    return list(argv) if is_command or not argv else ["run", *argv]


class _Parser(argparse.ArgumentParser):
    """Wrong usage is an error like any other, so that ``--json`` has its object then too."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see: {self.prog} --help")


class _Command(_Parser):
    """The parser of a command, whose flags are made when it is given: nine times thirty of them take a while."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        _add_flags(self, self.prog.split()[-1])
        return super().parse_known_args(args, namespace)


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """What the arguments say; ``MANIFEST ...`` is short for ``run MANIFEST ...``.

    Raises:
        UsageError: some say nothing, or are wanted; with the nearest right word.
        SystemExit: ``--help`` or ``--version`` was answered.
    """
    if not argv:
        raise UsageError(f"name a manifest, or a command ({', '.join(_HELP)}); see: batch-runner --help")
    parser, commands = _parser()
    namespace, strange = parser.parse_known_args(_with_command(argv))
    if strange:
        hint = _meant_flag(strange, commands[namespace.command]) or _meant_command(namespace)
        parser.error(f"unrecognized arguments: {inert(' '.join(_sayable(strange)), 200)}{hint}")
    if namespace.command == "run" and argv[0] != "run":
        _refuse_command(parser, namespace)
    return namespace


def _refuse_command(parser: _Parser, namespace: argparse.Namespace) -> None:
    hint = _meant_command(namespace)
    if hint and not namespace.manifest.exists():
        parser.error(f"there is no manifest {inert(str(namespace.manifest), 200)}{hint}")


def _sayable(strange: Sequence[str]) -> list[str]:
    """The words nobody knows, without what follows an option among them: it may be a key, and this may be logged."""
    first = next((place for place, word in enumerate(strange) if word.startswith("-")), len(strange))
    options = [word for word in strange[first:] if word.startswith("-")]
    names = [word.partition("=")[0] if word.startswith("--") else word[:2] for word in options]
    return [*strange[:first], *names]


def _meant_flag(strange: Sequence[str], command: _Parser) -> str:
    if any(is_secret_name(word) for word in _sayable(strange)):
        return f" (keys are never an argument: put them in the environment or in {DEFAULT_KEYS_FILE}, mode 0600)"
    known = list(command._option_string_actions)  # noqa: SLF001 - argparse tells its options nowhere else
    words = (word.partition("=")[0] for word in strange if word.startswith("--"))
    close = [match for word in words for match in difflib.get_close_matches(word, known, n=1)]
    return f" (did you mean {' and '.join(close)}?)" if close else ""


def _meant_command(namespace: argparse.Namespace) -> str:
    """The first word may have been meant to be a command."""
    first = str(getattr(namespace, "manifest", None) or "")
    if first == "help":
        return " (did you mean --help?)"
    close = difflib.get_close_matches(first, _HELP, n=1)
    return f" (did you mean the command {close[0]}?)" if close else ""


def _parser() -> tuple[_Parser, dict[str, _Command]]:
    """The parser, and those of the commands."""
    parser = _Parser(
        prog="batch-runner",
        allow_abbrev=False,
        description="Turns a manifest of prompts into finished Kling AI videos and a ledger of the credits they cost.",
        epilog="batch-runner MANIFEST is short for: batch-runner run MANIFEST",
    )
    parser.add_argument("--version", action="version", version=f"batch_runner {batch_runner.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Command)
    for name, help_text in _HELP.items():
        description = f"{help_text[0].upper()}{help_text[1:]}."
        commands.add_parser(name, help=help_text, description=description, allow_abbrev=False)
    return parser, commands.choices


def _add_flags(command: _Parser, name: str) -> None:
    if name == "sandbox":
        sandbox_flags.add_flags(command)
        return
    if name not in {"doctor", "prices"}:
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
    add_flags(command, _SHOWN.get(name))
    command.epilog = _ALSO_TAKEN if name in _SHOWN else None
