"""Tests keep their files in memory, where the machine has room for them there.

They make thousands of files durable; that the program does, and in which order, is seen by what they put between it and
the disk, and not by the disk.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

import pytest

_MEMORY = "/dev/shm"
_NEEDED_BYTES = 4 * 1024**3

if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _NEEDED_BYTES and "TMPDIR" not in os.environ:
    os.environ["TMPDIR"] = _MEMORY
    tempfile.tempdir = None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What ``-n auto`` means here: many tests only wait, for a process that starts or for a socket."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A worker that is done takes over what another one has still before it: some tests last as long as hundreds."""
    from xdist import scheduler  # type: ignore[import-untyped]  # noqa: PLC0415 - only where tests are shared out

    return scheduler.WorkStealingScheduling(config, log)
