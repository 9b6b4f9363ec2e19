"""One run of a batch, from what earlier runs left to the summary."""

from batch_runner.runner.collector import Collector
from batch_runner.runner.context import Context, Policy, SubmissionGate
from batch_runner.runner.derived import write_derived, write_files
from batch_runner.runner.halt import Halt
from batch_runner.runner.run import Run, exit_code, has_work, record_idle

__all__ = [
    "Collector",
    "Context",
    "Halt",
    "Policy",
    "Run",
    "SubmissionGate",
    "exit_code",
    "has_work",
    "record_idle",
    "write_derived",
    "write_files",
]
