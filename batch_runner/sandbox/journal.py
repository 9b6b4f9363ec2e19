"""The simulated service's memory across restarts: one JSON line a task, written before it is announced."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from batch_runner.errors import DiskError
from batch_runner.sandbox.products import PRODUCTS
from batch_runner.sandbox.task import SandboxTask

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Journal:
    """An append-only file of tasks.

    A line reaches the operating system before ``append`` returns, so a killed process loses nothing that it
    answered; a power cut may. A line that a kill cut short was never answered, and is dropped on opening.

    Raises (everywhere): DiskError when the file cannot be read or written, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def open(self) -> list[SandboxTask]:
        """Open the file, making it if need be, and tell the tasks it holds, oldest first."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, _FLAGS, 0o600)
            self._require_regular(self._descriptor)
            content = self._path.read_bytes()
        except OSError as error:
            self.close()
            raise DiskError(f"{self._path}: {error.strerror}; check the folder and its rights") from error
        whole = content[: content.rfind(b"\n") + 1]
        tasks = list(self._tasks(whole))
        self._drop_tail(content, whole)
        return tasks

    def _require_regular(self, descriptor: int) -> None:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(self._path))

    def _drop_tail(self, content: bytes, whole: bytes) -> None:
        """Cut a line off that a kill cut short; somebody's file of another kind is left as it is."""
        assert self._descriptor is not None
        if content[len(whole) :] and not content[len(whole) :].startswith(b"{"):
            self.close()
            raise DiskError(f"{self._path}: is no journal of the sandbox; name another file")
        os.ftruncate(self._descriptor, len(whole))

    def _tasks(self, content: bytes) -> Iterator[SandboxTask]:
        for number, line in enumerate(content.splitlines(), 1):
            try:
                yield self._task(line)
            except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
                self.close()
                raise DiskError(
                    f"{self._path}: line {number} is no task of the sandbox; move the file away to start anew"
                ) from error

    @staticmethod
    def _task(line: bytes) -> SandboxTask:
        task = SandboxTask.from_json(json.loads(line))
        if task.kind not in PRODUCTS:
            raise ValueError("there is no such product")
        return task

    def append(self, task: SandboxTask) -> None:
        """Remember one task."""
        if self._descriptor is None:
            raise DiskError(f"{self._path}: the sandbox's journal is closed; start the sandbox again")
        data = json.dumps(task.to_json(), separators=(",", ":")).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            # Half a line may stand there now; another one behind it would make the file unreadable.
            self.close()
            raise DiskError(f"{self._path}: {error.strerror}; free some space") from error

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
