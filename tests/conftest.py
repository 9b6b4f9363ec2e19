"""Tests keep their files in memory, where the machine has room for them there.

They make thousands of files durable; that the program does, and in which order, is seen by what they put between it and
the disk, and not by the disk.
"""

from __future__ import annotations

import os
import shutil
import tempfile

_MEMORY = "/dev/shm"
_NEEDED_BYTES = 4 * 1024**3

if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _NEEDED_BYTES and "TMPDIR" not in os.environ:
    os.environ["TMPDIR"] = _MEMORY
    tempfile.tempdir = None
