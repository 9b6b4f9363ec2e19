"""Whether a file is a whole MP4, told from its boxes. Pure over a file object."""

from __future__ import annotations

import struct
from typing import BinaryIO

from batch_runner.download.failures import Flaw
from batch_runner.media.boxes import HEADER_BYTES, Box, Boxes, BrokenBoxesError, name

_MAX_TABLE_BYTES = 2**20
"""Chunk tables of a three-minute video are some 20 KB; what lies beyond the bound is taken on trust."""
_BEFORE_FTYP = {b"free", b"skip", b"wide", b"uuid"}
_WAY_TO_TABLES = (b"trak", b"mdia", b"minf", b"stbl")
_OFFSET_BYTES = {b"stco": 4, b"co64": 8}
_FILM = {b"ftyp", b"moov", b"mdat", b"moof"}
"""Where one of these begins, the file is a film, and what does not fit was cut off or added."""
_INDEX = {b"moov", b"moof"}


class _Walk:
    """One pass over a file with a bound on the work."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._boxes = Boxes(file, size)
        self._table_bytes_left = _MAX_TABLE_BYTES
        self._seen: set[bytes] = set()
        self._is_tiled = False

    def is_damaged(self, broken: BrokenBoxesError) -> bool:
        """Whether this is a film of which something is missing or to which something was added."""
        is_film = broken.kind in _FILM or bool(self._seen & _FILM)
        return is_film and not (self._is_tiled and b"mdat" in self._seen and bool(self._seen & _INDEX))

    def check(self) -> None:
        seen, first = self._seen, b""
        for box in self._boxes.between(0, self._boxes.size):
            first = first or (b"" if box.kind in _BEFORE_FTYP else box.kind)
            seen.add(box.kind)
            if box.kind == b"moov":
                self._check_offsets(box, _WAY_TO_TABLES)
        self._is_tiled = True
        if first not in {b"", b"ftyp"}:
            raise BrokenBoxesError(f"it begins with {name(first)} instead of a file type box")
        for kind in (b"ftyp", b"moov", b"mdat"):
            if kind not in seen:
                raise BrokenBoxesError(f"it has no {name(kind)} box")

    def _check_offsets(self, parent: Box, way: tuple[bytes, ...]) -> None:
        for box in self._boxes.inside(parent):
            if way and box.kind == way[0]:
                self._check_offsets(box, way[1:])
            elif not way and box.kind in _OFFSET_BYTES:
                self._check_table(box, _OFFSET_BYTES[box.kind])

    def _check_table(self, box: Box, width: int) -> None:
        count = int.from_bytes(self._boxes.read(box.body_at + 4, 4), "big")
        if box.body_at + HEADER_BYTES + count * width > box.end_at:
            raise BrokenBoxesError(f"its {name(box.kind)} table is longer than its box")
        self._table_bytes_left -= count * width
        if count == 0 or self._table_bytes_left < 0:
            return
        table = self._boxes.read(box.body_at + HEADER_BYTES, count * width)
        offsets = struct.unpack(f">{count}{'I' if width == 4 else 'Q'}", table)  # noqa: PLR2004 - bytes
        if max(offsets) >= self._boxes.size:
            raise BrokenBoxesError("its index points past the end of the file")


def check_mp4(file: BinaryIO, size: int) -> Flaw | None:
    """What keeps the file of ``size`` bytes from being a whole MP4, or None when nothing does.

    The boxes must tile it exactly, with ftyp before moov and mdat, and no chunk may lie past the end.
    Bounded work on any bytes; raises only what reading the file raises.
    """
    walk = _Walk(file, size)
    try:
        walk.check()
    except BrokenBoxesError as broken:
        return Flaw(f"not a whole MP4: {broken}", may_be_so=not walk.is_damaged(broken))
    return None
