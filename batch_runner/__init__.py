"""Turns a manifest of prompts into finished Kling AI videos and a ledger of the credits they cost."""

from typing import TYPE_CHECKING

from batch_runner.on_demand import names_of

if TYPE_CHECKING:
    from batch_runner.api import run, run_sync
    from batch_runner.errors import (
        AccountError,
        BatchRunnerError,
        DiskError,
        ExitCode,
        ManifestError,
        OutputFolderLockedError,
        StoppedError,
        UsageError,
    )
    from batch_runner.limits import Backoff, RateLimitMonitor, TaskLimiter
    from batch_runner.records import SummaryRecord

__version__ = "0.1.0"

__all__ = [
    "AccountError",
    "Backoff",
    "BatchRunnerError",
    "DiskError",
    "ExitCode",
    "ManifestError",
    "OutputFolderLockedError",
    "RateLimitMonitor",
    "StoppedError",
    "SummaryRecord",
    "TaskLimiter",
    "UsageError",
    "__version__",
    "run",
    "run_sync",
]

__getattr__ = names_of(  # the program has to hear signals before all that is loaded
    __name__,
    {
        "api": ("run", "run_sync"),
        "errors": (
            "AccountError",
            "BatchRunnerError",
            "DiskError",
            "ExitCode",
            "ManifestError",
            "OutputFolderLockedError",
            "StoppedError",
            "UsageError",
        ),
        "limits": ("Backoff", "RateLimitMonitor", "TaskLimiter"),
        "records": ("SummaryRecord",),
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
