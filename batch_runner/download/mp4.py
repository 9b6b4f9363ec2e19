"""Whether a file is a whole MP4, told from its boxes (ISO/IEC 14496-12, 4.2). Pure over a file object."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_MAX_BOXES = 100_000
"""A minute of fragmented video has hundreds; more than this is no video, or one made to waste time."""
_MAX_TABLE_BYTES = 2**20
"""Chunk tables of a three-minute video are some 20 KB; what lies beyond the bound is taken on trust."""
_BEFORE_FTYP = {b"free", b"skip", b"wide", b"uuid"}
_WAY_TO_TABLES = (b"trak", b"mdia", b"minf", b"stbl")
_OFFSET_BYTES = {b"stco": 4, b"co64": 8}
_HEADER_BYTES = 8
_LONG_HEADER_BYTES = 16
_COPYRIGHT_SIGN = 0xA9


class _Broken(Exception):  # noqa: N818 - carries the finding out of the walk
    """What is wrong with the file."""


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    body_at: int
    end_at: int


class _Walk:
    """One pass over a file with a bound on the work."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._boxes_left = _MAX_BOXES
        self._table_bytes_left = _MAX_TABLE_BYTES

    def check(self) -> None:
        seen: set[bytes] = set()
        for box in self._boxes(0, self._size):
            if b"ftyp" not in seen and box.kind not in _BEFORE_FTYP | {b"ftyp"}:
                raise _Broken(f"it begins with {_name(box.kind)} instead of a file type box")
            seen.add(box.kind)
            if box.kind == b"moov":
                self._check_offsets(box, _WAY_TO_TABLES)
        for kind in (b"ftyp", b"moov", b"mdat"):
            if kind not in seen:
                raise _Broken(f"it has no {_name(kind)} box")

    def _check_offsets(self, parent: _Box, way: tuple[bytes, ...]) -> None:
        for box in self._boxes(parent.body_at, parent.end_at):
            if way and box.kind == way[0]:
                self._check_offsets(box, way[1:])
            elif not way and box.kind in _OFFSET_BYTES:
                self._check_table(box, _OFFSET_BYTES[box.kind])

    def _check_table(self, box: _Box, width: int) -> None:
        count = int.from_bytes(self._read(box.body_at + 4, 4), "big")
        if box.body_at + _HEADER_BYTES + count * width > box.end_at:
            raise _Broken(f"its {_name(box.kind)} table is longer than its box")
        self._table_bytes_left -= count * width
        if count == 0 or self._table_bytes_left < 0:
            return
        table = self._read(box.body_at + _HEADER_BYTES, count * width)
        offsets = struct.unpack(f">{count}{'I' if width == 4 else 'Q'}", table)  # noqa: PLR2004 - bytes
        if max(offsets) >= self._size:
            raise _Broken("its index points past the end of the file")

    def _boxes(self, start: int, end: int) -> Iterator[_Box]:
        at = start
        while at < end:
            self._boxes_left -= 1
            if self._boxes_left < 0:
                raise _Broken("it has too many boxes")
            box = self._box(at, end)
            yield box
            at = box.end_at

    def _box(self, at: int, end: int) -> _Box:
        if end - at < _HEADER_BYTES:
            raise _Broken(f"{end - at} stray bytes stand at byte {at}")
        header = self._read(at, _HEADER_BYTES)
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        body_at = at + _HEADER_BYTES
        if length == 1:
            length, body_at = self._long_length(at, end), at + _LONG_HEADER_BYTES
        elif length == 0:
            length = end - at
        if not all(0x20 <= byte < 0x7F or byte == _COPYRIGHT_SIGN for byte in kind):  # noqa: PLR2004 - ASCII
            raise _Broken(f"there is no box at byte {at}")
        if at + length < body_at:
            raise _Broken(f"the {_name(kind)} box at byte {at} has an impossible length")
        if at + length > end:
            missing = at + length - end
            raise _Broken(f"the {_name(kind)} box at byte {at} lacks its last {missing} bytes")
        return _Box(kind, body_at, at + length)

    def _long_length(self, at: int, end: int) -> int:
        if end - at < _LONG_HEADER_BYTES:
            raise _Broken(f"a box header is cut off at byte {at}")
        return int.from_bytes(self._read(at + _HEADER_BYTES, 8), "big")

    def _read(self, at: int, count: int) -> bytes:
        self._file.seek(at)
        data = self._file.read(count)
        if len(data) < count:
            raise _Broken(f"it ends before byte {at + count}")
        return data


def _name(kind: bytes) -> str:
    return repr(kind.decode("latin-1"))


def check_mp4(file: BinaryIO, size: int) -> str | None:
    """What keeps the file of ``size`` bytes from being a whole MP4, or None when nothing does.

    The boxes must tile it exactly, with ftyp before moov and mdat, and no chunk may lie past the end.
    Bounded work on any bytes; raises only what reading the file raises.
    """
    try:
        _Walk(file, size).check()
    except _Broken as broken:
        return str(broken)
    return None
