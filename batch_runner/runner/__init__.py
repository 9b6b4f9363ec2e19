"""One run of a batch, from what earlier runs left to the summary."""

from batch_runner.runner.calls import CALL_LOG, CallLog
from batch_runner.runner.closing import idle_words
from batch_runner.runner.collector import Collector
from batch_runner.runner.context import Collecting, Context, Policy, SubmissionGate, TaskClient
from batch_runner.runner.crew import work_through
from batch_runner.runner.derived import tell_files_away, write_derived, write_files
from batch_runner.runner.halt import Halt, HaltedError
from batch_runner.runner.hints import Hints
from batch_runner.runner.lists import LISTS, BatchLists
from batch_runner.runner.poller import Poller
from batch_runner.runner.room import DiskRoom, FreeBytes
from batch_runner.runner.run import Run, exit_code, has_work, record_idle
from batch_runner.runner.strays import stray_text, strays_of
from batch_runner.runner.supply import PACKS_WINDOW_S, supply_warnings

__all__ = [
    "CALL_LOG",
    "LISTS",
    "PACKS_WINDOW_S",
    "BatchLists",
    "CallLog",
    "Collecting",
    "Collector",
    "Context",
    "DiskRoom",
    "FreeBytes",
    "Halt",
    "HaltedError",
    "Hints",
    "Policy",
    "Poller",
    "Run",
    "SubmissionGate",
    "TaskClient",
    "exit_code",
    "has_work",
    "idle_words",
    "record_idle",
    "stray_text",
    "strays_of",
    "supply_warnings",
    "tell_files_away",
    "work_through",
    "write_derived",
    "write_files",
]
