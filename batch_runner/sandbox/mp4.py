"""The MP4 boxes around one H.264 track and a silent AAC track, index before data (ISO/IEC 14496-12 and -15)."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from batch_runner.sandbox.sounds import AAC_FRAME_SAMPLES, AAC_HZ, SILENT_AAC

_TICKS_PER_FRAME = 1000
_TRACK, _SOUND_TRACK = 1, 2
_UNITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_UNDETERMINED_LANGUAGE = 0x55C4
_SEVENTY_TWO_DPI = 72 << 16
_SELF_CONTAINED = 1
_ENABLED_IN_MOVIE = 3
_HANDLERS = {b"vide": b"video\x00", b"soun": b"sound\x00"}
_FULL_VOLUME = 0x100
_MPEG_4_AUDIO, _AUDIO_STREAM = 0x40, 0x15
_AAC_LC_16_KHZ_MONO = b"\x14\x08"


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


def movie(track: Track, *, with_sound: bool = False) -> bytes:
    """The whole file; its length in seconds is exactly pictures / frame rate, with and without a sound track."""
    samples = [struct.pack(">I", len(picture)) + picture for picture in track.pictures]
    brand = _box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomiso2avc1mp41")
    sizes = [len(sample) for sample in samples]
    silence = SILENT_AAC * _sound_frames(track) if with_sound else b""
    # The index holds the data's offset, and its own length does not depend on that number.
    index = _index(track, sizes, 0, with_sound=with_sound)
    index = _index(track, sizes, len(brand) + len(index) + 8, with_sound=with_sound)
    return b"".join((brand, index, _box(b"mdat", *samples, silence)))


def _box(kind: bytes, *content: bytes) -> bytes:
    return struct.pack(">I", 8 + sum(map(len, content))) + kind + b"".join(content)


def _full(kind: bytes, *content: bytes, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", flags), *content)


def _index(track: Track, sizes: Sequence[int], data_offset: int, *, with_sound: bool) -> bytes:
    header = _full(
        b"mvhd",
        struct.pack(">4I", 0, 0, track.scale, track.ticks),
        struct.pack(">IH10x", 0x10000, 0x100),
        _UNITY,
        bytes(24),
        struct.pack(">I", (_SOUND_TRACK if with_sound else _TRACK) + 1),
    )
    tracks = [_box(b"trak", _track_header(track, _TRACK), _media(track, sizes, data_offset))]
    if with_sound:
        sound = _sound_media(track, data_offset + sum(sizes))
        tracks.append(_box(b"trak", _track_header(track, _SOUND_TRACK), sound))
    return _box(b"moov", header, *tracks)


def _track_header(track: Track, number: int) -> bytes:
    is_seen = number == _TRACK
    return _full(
        b"tkhd",
        struct.pack(">5I", 0, 0, number, 0, track.ticks),
        bytes(12),
        struct.pack(">2H", 0 if is_seen else _FULL_VOLUME, 0),
        _UNITY,
        struct.pack(">2I", track.width << 16, track.height << 16) if is_seen else bytes(8),
        flags=_ENABLED_IN_MOVIE,
    )


def _media(track: Track, sizes: Sequence[int], data_offset: int) -> bytes:
    video = _full(b"vmhd", bytes(8), flags=1)
    table = _sample_table(track, sizes, data_offset)
    return _medium(track.scale, track.ticks, b"vide", video, table)


def _medium(scale: int, ticks: int, handler: bytes, head: bytes, table: bytes) -> bytes:
    header = _full(
        b"mdhd",
        struct.pack(">4I", 0, 0, scale, ticks),
        struct.pack(">2H", _UNDETERMINED_LANGUAGE, 0),
    )
    handling = _full(b"hdlr", bytes(4), handler, bytes(12), _HANDLERS[handler])
    place = _box(b"dinf", _full(b"dref", struct.pack(">I", 1), _full(b"url ", flags=_SELF_CONTAINED)))
    return _box(b"mdia", header, handling, _box(b"minf", head, place, table))


def _sound_samples(track: Track) -> int:
    return round(track.ticks * AAC_HZ / track.scale)


def _sound_frames(track: Track) -> int:
    return math.ceil(_sound_samples(track) / AAC_FRAME_SAMPLES)


def _sound_media(track: Track, data_offset: int) -> bytes:
    count, samples = _sound_frames(track), _sound_samples(track)
    rest = samples - (count - 1) * AAC_FRAME_SAMPLES  # the last frame ends with the pictures
    table = _box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1), _sound_entry()),
        _full(b"stts", struct.pack(">5I", 2, count - 1, AAC_FRAME_SAMPLES, 1, rest)),
        _full(b"stsc", struct.pack(">4I", 1, 1, count, 1)),
        _full(b"stsz", struct.pack(">2I", len(SILENT_AAC), count)),
        _full(b"stco", struct.pack(">2I", 1, data_offset)),
    )
    return _medium(AAC_HZ, samples, b"soun", _full(b"smhd", bytes(4)), table)


def _sound_entry() -> bytes:
    head = struct.pack(">6xH8x2H4xI", 1, 1, 16, AAC_HZ << 16)
    configuration = _descriptor(5, _AAC_LC_16_KHZ_MONO)
    decoder = _descriptor(4, struct.pack(">2B3x2I", _MPEG_4_AUDIO, _AUDIO_STREAM, 0, 0), configuration)
    stream = _descriptor(3, struct.pack(">HB", _SOUND_TRACK, 0), decoder, _descriptor(6, b"\x02"))
    return _box(b"mp4a", head, _full(b"esds", stream))


def _descriptor(tag: int, *content: bytes) -> bytes:
    """An MPEG-4 descriptor shorter than 128 bytes (ISO/IEC 14496-1, clause 8)."""
    return bytes((tag, sum(map(len, content)))) + b"".join(content)


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
