"""The boxes that MP4, MOV and M4A files are made of (ISO/IEC 14496-12, 4.2). Pure over a file object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from batch_runner.wording import by_count, plural

MAX_BOXES: Final = 100_000
"""A minute of fragmented video has hundreds; more than this is no video, or one made to waste time."""
HEADER_BYTES: Final = 8

_LONG_HEADER_BYTES: Final = 16
_COPYRIGHT_SIGN: Final = 0xA9


class BrokenBoxesError(Exception):
    """What is wrong with the file, as a phrase; ``kind`` is that of the box that is not all there, if one is told."""

    def __init__(self, why: str, kind: bytes = b"") -> None:
        self.kind = kind
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Box:
    """One box: its kind, where its body begins, and where it ends."""

    kind: bytes
    body_at: int
    end_at: int


class Boxes:
    """The boxes of a file of ``size`` bytes; all walks over it together have a bound on their work."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self._boxes_left = MAX_BOXES

    def between(self, start: int, end: int) -> Iterator[Box]:
        """The boxes that tile these bytes.

        Raises:
            BrokenBoxesError: they do not.
        """
        at = start
        while at < end:
            self._boxes_left -= 1
            if self._boxes_left < 0:
                raise BrokenBoxesError("it has too many boxes")
            box = self._box(at, end)
            yield box
            at = box.end_at

    def inside(self, box: Box) -> Iterator[Box]:
        """The boxes that tile the body of a box; raises like ``between``."""
        return self.between(box.body_at, box.end_at)

    def read(self, at: int, count: int) -> bytes:
        """So many bytes of the file.

        Raises:
            BrokenBoxesError: it ends before them.
        """
        self._file.seek(at)
        data = self._file.read(count)
        if len(data) < count:
            raise BrokenBoxesError(f"it ends before byte {at + count}")
        return data

    def _box(self, at: int, end: int) -> Box:
        if end - at < HEADER_BYTES:
            raise BrokenBoxesError(
                f"{plural(end - at, 'stray byte')} {by_count(end - at, 'stands', 'stand')} at byte {at}"
            )
        header = self.read(at, HEADER_BYTES)
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        body_at = at + HEADER_BYTES
        if length == 1:
            length, body_at = self._long_length(at, end, kind), at + _LONG_HEADER_BYTES
        elif length == 0:
            length = end - at
        if not all(0x20 <= byte < 0x7F or byte == _COPYRIGHT_SIGN for byte in kind):  # noqa: PLR2004 - ASCII
            raise BrokenBoxesError(f"there is no box at byte {at}")
        if at + length < body_at:
            raise BrokenBoxesError(f"the {name(kind)} box at byte {at} has an impossible length", kind)
        if at + length > end:
            missing = at + length - end
            lacks = f"lacks its last {by_count(missing, 'byte', f'{missing:,} bytes')}"
            raise BrokenBoxesError(f"the {name(kind)} box at byte {at} {lacks}", kind)
        return Box(kind, body_at, at + length)

    def _long_length(self, at: int, end: int, kind: bytes) -> int:
        if end - at < _LONG_HEADER_BYTES:
            raise BrokenBoxesError(f"a box header is cut off at byte {at}", kind)
        return int.from_bytes(self.read(at + HEADER_BYTES, 8), "big")


def name(kind: bytes) -> str:
    """The kind of a box as a message shows it."""
    return repr(kind.decode("latin-1"))
