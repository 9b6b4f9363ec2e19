"""Turns a manifest of prompts into finished Kling AI videos and a ledger of the credits they cost."""

from importlib.metadata import version

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

__version__ = version("batch-runner")

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
