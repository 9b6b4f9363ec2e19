"""What can end a run early, cut by who has to act, each with its exit code (contract: exit codes)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from batch_runner.wording import plural


class ExitCode(IntEnum):
    """The exit codes that scripts and cron lines rely on."""

    OK = 0
    FAULT = 1
    USAGE = 2
    ITEMS_FAILED = 3
    BUDGET = 4
    ACCOUNT = 5
    DISK = 6
    STOPPED = 7
    UNRESOLVED = 8
    LOCKED = 11


class BatchRunnerError(Exception):
    """Base of every error a user can meet: the text says what happened and what to do next."""

    exit_code = ExitCode.FAULT


class UsageError(BatchRunnerError):
    """A setting or an argument is wrong; nothing was sent."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a manifest.

    Attributes:
        line: 1-based line number, or None when it concerns the whole file.
        field: the field's path (``camera_control.config``), or None for the whole line.
        what: what is wrong, and the rule it breaks.
        hint: the nearest right name or value, or what to do; may be empty.
        source: where the rule stands that is broken, and of when; may be empty.
    """

    line: int | None
    field: str | None
    what: str
    hint: str = ""
    source: str = ""

    def __str__(self) -> str:
        place = "manifest" if self.line is None else f"line {self.line}"
        field = "" if self.field is None else f", {self.field}"
        hint = f" ({self.hint})" if self.hint else ""
        source = f" [{self.source}]" if self.source else ""
        return f"{place}{field}: {self.what}{hint}{source}"


class ManifestError(UsageError):
    """The manifest has problems; all of them are told together and nothing was sent."""

    def __init__(self, path: str, problems: list[Problem], omitted: int = 0) -> None:
        self.path = path
        self.problems = problems
        self.omitted = omitted
        lines = [f"{path}: {plural(len(problems) + omitted, 'problem')}, nothing was sent"]
        lines += [f"  {problem}" for problem in problems]
        if omitted:
            lines.append(f"  ... and {omitted:,} more")
        super().__init__("\n".join(lines))


class AccountError(BatchRunnerError):
    """Keys, permission, arrears or an empty pack: somebody has to look at the account."""

    exit_code = ExitCode.ACCOUNT


class NotPermittedError(AccountError):
    """The keys are good, but the account may not use one API or model: others may well answer."""


class DiskError(BatchRunnerError):
    """The output folder cannot be written, or the disk refused."""

    exit_code = ExitCode.DISK


class DiskFullError(DiskError):
    """There is no room for a file. ``needed_bytes`` is how large it is, as far as that is known, else 0."""

    needed_bytes = 0


class NotDurableError(DiskError):
    """A sync failed: what it was to make durable may be gone, and trying again would only hide that. Stop."""


class StoreError(DiskError):
    """``state.db`` is damaged, or was written by a newer version."""


class OutputFolderLockedError(BatchRunnerError):
    """Another run holds this output folder."""

    exit_code = ExitCode.LOCKED


class StoppedError(BatchRunnerError):
    """The run cannot go on now; running it again later continues where it stopped."""

    exit_code = ExitCode.STOPPED
