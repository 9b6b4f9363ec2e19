"""What a run does to finished files on the disk, in threads; after a failed sync there is no more of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from batch_runner.download import is_as_recorded, publish, set_aside, tidy
from batch_runner.errors import NotDurableError
from batch_runner.store import StoredFile

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Filing:
    """Puts whole part files under their final names.

    Args:
        output_dir: the folder that the paths of recorded files start from.
    """

    def __init__(self, output_dir: Path) -> None:
        self._output_dir = output_dir
        self._broken: NotDurableError | None = None

    @property
    def is_broken(self) -> bool:
        """Whether a sync failed: nothing more is written."""
        return self._broken is not None

    async def do(self, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """Do disk work in a thread; after a failed sync there is no more of it, for it would only hide the failure.

        Raises:
            NotDurableError: a sync failed, now or earlier.
        """
        with self.while_sound():
            return await asyncio.get_running_loop().run_in_executor(None, work, *args)

    @contextmanager
    def while_sound(self) -> Iterator[None]:
        """A block that writes. Raises ``NotDurableError`` where a sync failed before, and remembers one that fails."""
        if self._broken is not None:
            raise NotDurableError(str(self._broken))
        try:
            yield
        except NotDurableError as error:
            self._broken = error
            raise

    def path_of(self, file: StoredFile) -> Path:
        """The final name of a recorded file."""
        return self._output_dir / file.path

    async def has(self, path: Path, file: StoredFile) -> bool:
        """Whether what was recorded of a file lies under this name. Raises ``DiskError``."""
        return await self.do(is_as_recorded, path, file.bytes, file.sha256)

    async def finish(self, file: StoredFile, *, replace: bool = False) -> bool:
        """Whether a file with a durable digest is, or can be put, under its final name without a download.

        Raises:
            TargetExists: something else has the name, and is not to be replaced.
            DiskError: the disk refused.
        """
        final_path = self.path_of(file)
        part_path = part_of(final_path)
        if await self.has(final_path, file):
            await self.do(tidy, part_path, final_path)
            return True
        if not await self.has(part_path, file):
            return False
        await self.put(part_path, final_path, replace=replace)
        return True

    async def drop(self, part_path: Path) -> None:
        """Delete a part that is of no use. Raises ``DiskError``."""
        await self.do(tidy, part_path, part_path)

    async def put(self, part_path: Path, final_path: Path, *, replace: bool = False) -> None:
        """Give a whole part its final name; an altered file makes room only now that its successor is here.

        Raises:
            TargetExists: something else has the name, and is not to be replaced.
            DiskError: the disk refused.
        """
        if replace:
            await self.do(set_aside, final_path)
        await self.do(publish, part_path, final_path)


def part_of(final_path: Path) -> Path:
    """Where the bytes of a file are gathered before it gets its final name."""
    return final_path.with_name(final_path.name + ".part")
