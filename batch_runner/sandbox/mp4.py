"""The MP4 boxes around one H.264 track, index before data (ISO/IEC 14496-12 and -15)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_TICKS_PER_FRAME = 1000
_TRACK = 1
_UNITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_UNDETERMINED_LANGUAGE = 0x55C4
_SEVENTY_TWO_DPI = 72 << 16
_SELF_CONTAINED = 1
_ENABLED_IN_MOVIE = 3


@dataclass(frozen=True, slots=True)
class Track:
    """One video track.

    Attributes:
        width, height: in samples.
        frame_rate: pictures a second.
        sequence, picture: the two parameter sets, as NAL units.
        pictures: one NAL unit each, the first one a key picture, the others not.
    """

    width: int
    height: int
    frame_rate: int
    sequence: bytes
    picture: bytes
    pictures: Sequence[bytes]

    @property
    def scale(self) -> int:
        """Ticks a second."""
        return self.frame_rate * _TICKS_PER_FRAME

    @property
    def ticks(self) -> int:
        """Length in ticks."""
        return len(self.pictures) * _TICKS_PER_FRAME


def movie(track: Track) -> bytes:
    """The whole file; its length in seconds is exactly pictures / frame rate."""
    samples = [struct.pack(">I", len(picture)) + picture for picture in track.pictures]
    brand = _box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomiso2avc1mp41")
    sizes = [len(sample) for sample in samples]
    # The index holds the data's offset, and its own length does not depend on that number.
    index = _index(track, sizes, 0)
    index = _index(track, sizes, len(brand) + len(index) + 8)
    return b"".join((brand, index, _box(b"mdat", *samples)))


def _box(kind: bytes, *content: bytes) -> bytes:
    return struct.pack(">I", 8 + sum(map(len, content))) + kind + b"".join(content)


def _full(kind: bytes, *content: bytes, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", flags), *content)


def _index(track: Track, sizes: Sequence[int], data_offset: int) -> bytes:
    header = _full(
        b"mvhd",
        struct.pack(">4I", 0, 0, track.scale, track.ticks),
        struct.pack(">IH10x", 0x10000, 0x100),
        _UNITY,
        bytes(24),
        struct.pack(">I", _TRACK + 1),
    )
    return _box(b"moov", header, _box(b"trak", _track_header(track), _media(track, sizes, data_offset)))


def _track_header(track: Track) -> bytes:
    return _full(
        b"tkhd",
        struct.pack(">5I", 0, 0, _TRACK, 0, track.ticks),
        bytes(16),
        _UNITY,
        struct.pack(">2I", track.width << 16, track.height << 16),
        flags=_ENABLED_IN_MOVIE,
    )


def _media(track: Track, sizes: Sequence[int], data_offset: int) -> bytes:
    header = _full(
        b"mdhd",
        struct.pack(">4I", 0, 0, track.scale, track.ticks),
        struct.pack(">2H", _UNDETERMINED_LANGUAGE, 0),
    )
    handler = _full(b"hdlr", bytes(4), b"vide", bytes(12), b"video\x00")
    place = _box(b"dinf", _full(b"dref", struct.pack(">I", 1), _full(b"url ", flags=_SELF_CONTAINED)))
    video = _full(b"vmhd", bytes(8), flags=1)
    return _box(b"mdia", header, handler, _box(b"minf", video, place, _sample_table(track, sizes, data_offset)))


def _sample_table(track: Track, sizes: Sequence[int], data_offset: int) -> bytes:
    count = len(sizes)
    return _box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1), _sample_entry(track)),
        _full(b"stts", struct.pack(">3I", 1, count, _TICKS_PER_FRAME)),
        _full(b"stss", struct.pack(">2I", 1, 1)),
        _full(b"stsc", struct.pack(">4I", 1, 1, count, 1)),
        _full(b"stsz", struct.pack(">2I", 0, count), struct.pack(f">{count}I", *sizes)),
        _full(b"stco", struct.pack(">2I", 1, data_offset)),
    )


def _sample_entry(track: Track) -> bytes:
    return _box(
        b"avc1",
        struct.pack(">6xH16x2H", 1, track.width, track.height),
        struct.pack(">3IH32xHh", _SEVENTY_TWO_DPI, _SEVENTY_TWO_DPI, 0, 1, 24, -1),
        _decoder_settings(track),
    )


def _decoder_settings(track: Track) -> bytes:
    return _box(
        b"avcC",
        b"\x01",
        track.sequence[1:4],
        b"\xff\xe1",  # four-byte lengths; one sequence parameter set
        struct.pack(">H", len(track.sequence)),
        track.sequence,
        b"\x01",
        struct.pack(">H", len(track.picture)),
        track.picture,
    )
