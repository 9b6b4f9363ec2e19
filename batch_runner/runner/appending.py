"""Lines of the files that outlive a lost store, made durable although the disk is full for a moment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Lock

from batch_runner.download import append_line
from batch_runner.errors import DiskFullError

_FULL_PATIENCE_S, _FULL_PAUSE_S = 30.0, 2.0
"""As the store waits for room on a full disk, and as long."""


class Appender:
    """Adds lines to one file, one at a time: of two at once, one might take the other's half written one for torn.

    Args:
        path: of the file, which is there when a line is added.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()

    async def add(self, line: bytes) -> None:
        """Make a whole line durable; to be awaited before anything is sent that it tells of.

        Raises:
            DiskError: the disk refused, or stayed full for half a minute.
        """
        loop = asyncio.get_running_loop()
        give_up_at_s = loop.time() + _FULL_PATIENCE_S
        while True:
            try:
                await loop.run_in_executor(None, self._append, line)
            except DiskFullError:
                if loop.time() >= give_up_at_s:
                    raise
            else:
                return
            await asyncio.sleep(_FULL_PAUSE_S)

    def _append(self, line: bytes) -> None:
        with self._lock:
            append_line(self._path, line)
