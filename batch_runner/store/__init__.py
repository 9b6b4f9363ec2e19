"""``state.db``: the only truth. A protocol, its rows, and the SQLite backend."""

from batch_runner.store.edits import edited
from batch_runner.store.protocol import Store
from batch_runner.store.reader import StoreReader
from batch_runner.store.rows import (
    LOST_SCOPE,
    Attempt,
    Batch,
    BookedTask,
    Claim,
    Facts,
    FoundTask,
    HoldAge,
    LeftRow,
    Moment,
    OpenRow,
    RunRow,
    Source,
    Stamp,
    StandingRow,
    StoredFile,
)
from batch_runner.store.sqlite import SqliteStore

__all__ = [
    "LOST_SCOPE",
    "Attempt",
    "Batch",
    "BookedTask",
    "Claim",
    "Facts",
    "FoundTask",
    "HoldAge",
    "LeftRow",
    "Moment",
    "OpenRow",
    "RunRow",
    "Source",
    "SqliteStore",
    "Stamp",
    "StandingRow",
    "Store",
    "StoreReader",
    "StoredFile",
    "edited",
]
