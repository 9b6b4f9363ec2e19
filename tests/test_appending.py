"""Lines that outlive a lost store: durable one by one, and a disk that is full for a moment costs none of them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from batch_runner.download import append_line
from batch_runner.errors import DiskFullError
from batch_runner.runner import appending
from batch_runner.runner.appending import Appender
from batch_runner.virtual_time import run_virtual

MOMENT_S, FOR_GOOD_S = 20.0, 3600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "names"
    path.touch()
    return path


async def add(path: Path, monkeypatch: pytest.MonkeyPatch, full_for_s: float) -> float:
    """Add a line on a disk that is full for so long; how long that took."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()

    def append(path: Path, line: bytes) -> None:
        if loop.time() - began_s < full_for_s:
            raise DiskFullError("no room")
        append_line(path, line)

    monkeypatch.setattr(appending, "append_line", append)
    await Appender(path).add(b"whole\n")
    return loop.time() - began_s


def test_a_disk_that_is_full_for_a_moment_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited_s = run_virtual(lambda: add(path, monkeypatch, MOMENT_S))
    assert path.read_bytes() == b"whole\n"
    assert MOMENT_S <= waited_s < MOMENT_S + 5


def test_a_disk_that_stays_full_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DiskFullError, match="no room"):
        run_virtual(lambda: add(path, monkeypatch, FOR_GOOD_S))
    assert not path.read_bytes()


def test_lines_that_are_added_at_once_are_all_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is written byte by byte, as a disk may, so that the others come in between where nothing keeps them out."""
    lines, write = {f"{number:08}\n".encode() for number in range(20)}, os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:1]))

    async def add_all() -> None:
        appender = Appender(path)
        async with asyncio.TaskGroup() as group:
            for line in lines:
                group.create_task(appender.add(line))

    run_virtual(add_all)
    assert set(path.read_bytes().splitlines(keepends=True)) == lines
