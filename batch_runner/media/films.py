"""Length, size and rate of MP4 and MOV videos and M4A sounds, read from their boxes. Pure over a file object."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import BinaryIO, Final

from batch_runner.media.boxes import Box, Boxes, BrokenBoxesError
from batch_runner.media.found import Found, seconds

_BEGINNINGS: Final = frozenset({b"ftyp", b"moov", b"wide", b"free", b"skip", b"mdat"})
"""The first box of such a file; QuickTime files of old have no file type box."""
_QUICKTIME: Final = b"qt  "
_MAX_ENTRIES: Final = 10_000
"""Of a table of frame times: a film of varying rate has some hundreds, an endless table is no film's."""
_WAY_TO_TIMES: Final = (b"minf", b"stbl", b"stts")
_HANDLER_AT: Final = 8
_VIDEO, _SOUND = b"vide", b"soun"
_UNKNOWN_LENGTH: Final = frozenset({0, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF})


@dataclass(slots=True)
class _Track:
    """What one track says of itself."""

    handler: bytes = b""
    width: int = 0
    height: int = 0
    length_s: Decimal | None = None
    fps: Decimal | None = None


def is_film(file: BinaryIO) -> bool:
    """Whether the file begins as one made of boxes does."""
    file.seek(0)
    return file.read(8)[4:] in _BEGINNINGS


def film(file: BinaryIO, size: int) -> Found:
    """What the boxes of a file of ``size`` bytes say."""
    try:
        return _Film(Boxes(file, size)).found()
    except BrokenBoxesError as broken:
        return Found("mp4", damage=f"is no whole file: {broken}")


class _Film:
    """One walk over the boxes of a file."""

    def __init__(self, boxes: Boxes) -> None:
        self._boxes = boxes
        self._brand = b""
        self._length_s: Decimal | None = None
        self._tracks: list[_Track] = []

    def found(self) -> Found:
        kinds = set()
        for box in self._boxes.between(0, self._boxes.size):
            kinds.add(box.kind)
            if box.kind == b"ftyp":
                self._brand = self._boxes.read(box.body_at, 4)
            elif box.kind == b"moov":
                self._read_moov(box)
        if not {b"moov", b"mdat"} <= kinds or not self._tracks:
            raise BrokenBoxesError("it has no video or sound in it")
        return self._summary()

    def _summary(self) -> Found:
        pictures = [track for track in self._tracks if track.handler == _VIDEO]
        lengths = [self._length_s, *(track.length_s for track in self._tracks)]
        length_s = max((length for length in lengths if length is not None), default=None)
        if not pictures:
            return Found("m4a", length_s=length_s)
        shown = max(pictures, key=lambda track: track.width * track.height)
        format_ = "mov" if self._brand in {_QUICKTIME, b""} else "mp4"
        return Found(format_, shown.width, shown.height, length_s, shown.fps)

    def _read_moov(self, moov: Box) -> None:
        for box in self._boxes.inside(moov):
            if box.kind == b"mvhd":
                self._length_s = self._time(box)
            elif box.kind == b"trak":
                self._tracks.append(self._track(box))

    def _track(self, trak: Box) -> _Track:
        track = _Track()
        for box in self._boxes.inside(trak):
            if box.kind == b"tkhd":
                track.width, track.height = self._shown_size(box)
            elif box.kind == b"mdia":
                self._read_media(box, track)
        return track

    def _read_media(self, mdia: Box, track: _Track) -> None:
        scale = 0
        for box in self._boxes.inside(mdia):
            if box.kind == b"mdhd":
                scale = self._scale(box)
                track.length_s = self._time(box)
            elif box.kind == b"hdlr":
                track.handler = self._boxes.read(box.body_at + _HANDLER_AT, 4)
            elif box.kind == _WAY_TO_TIMES[0]:
                track.fps = self._rate(box, _WAY_TO_TIMES[1:], scale)

    def _shown_size(self, tkhd: Box) -> tuple[int, int]:
        """Width and height as they are shown: the matrix may turn the picture by a quarter."""
        matrix_at = tkhd.body_at + (52 if self._is_long(tkhd) else 40)
        matrix = self._boxes.read(matrix_at, 44)
        width, height = (int.from_bytes(matrix[at : at + 4], "big") >> 16 for at in (36, 40))
        is_turned = matrix[0:4] == matrix[16:20] == bytes(4) and matrix[4:8] != bytes(4)
        return (height, width) if is_turned else (width, height)

    def _rate(self, parent: Box, way: tuple[bytes, ...], scale: int) -> Decimal | None:
        for box in self._boxes.inside(parent):
            if box.kind != way[0]:
                continue
            return self._rate(box, way[1:], scale) if len(way) > 1 else self._rate_of_table(box, scale)
        return None

    def _rate_of_table(self, stts: Box, scale: int) -> Decimal | None:
        """Frames a second from the table of how long each is shown."""
        entries = int.from_bytes(self._boxes.read(stts.body_at + 4, 4), "big")
        if not 0 < entries <= _MAX_ENTRIES:
            return None
        table = self._boxes.read(stts.body_at + 8, 8 * entries)
        words = [int.from_bytes(table[at : at + 4], "big") for at in range(0, len(table), 4)]
        shown = sum(count * delta for count, delta in zip(words[::2], words[1::2], strict=True))
        return (Decimal(sum(words[::2])) * scale / shown).quantize(Decimal("0.01")) if shown else None

    def _is_long(self, box: Box) -> bool:
        """Whether the box has the form with wide times."""
        return self._boxes.read(box.body_at, 1) == b"\x01"

    def _scale(self, box: Box) -> int:
        """Units a second of an mvhd or mdhd box."""
        return int.from_bytes(self._boxes.read(box.body_at + (20 if self._is_long(box) else 12), 4), "big")

    def _time(self, box: Box) -> Decimal | None:
        """The length that an mvhd or mdhd box tells, or None when it leaves that open, as fragments do."""
        at, width = (24, 8) if self._is_long(box) else (16, 4)
        units = int.from_bytes(self._boxes.read(box.body_at + at, width), "big")
        return None if units in _UNKNOWN_LENGTH else seconds(units, self._scale(box))
