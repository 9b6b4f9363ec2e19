"""Turns a manifest of prompts into finished Kling AI videos and a ledger of the credits they cost."""

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

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

    __version__: str

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

_HOMES = MappingProxyType(
    {
        "batch_runner.api": ("run", "run_sync"),
        "batch_runner.errors": (
            "AccountError",
            "BatchRunnerError",
            "DiskError",
            "ExitCode",
            "ManifestError",
            "OutputFolderLockedError",
            "StoppedError",
            "UsageError",
        ),
        "batch_runner.limits": ("Backoff", "RateLimitMonitor", "TaskLimiter"),
        "batch_runner.records": ("SummaryRecord",),
    }
)
"""Where each name stands. It is loaded when it is first asked for: the program has to hear signals before all that."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("batch-runner")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
