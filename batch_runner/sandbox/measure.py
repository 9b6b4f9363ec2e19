"""How long a sound or a video lasts, read from its bytes; None for what is neither.

WAV by its header, MP3 by its frames, MP4 and M4A by their movie header, AAC by its ADTS frames.
"""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Iterator

_MP3_RATES_HZ = ((11025, 12000, 8000), (), (22050, 24000, 16000), (44100, 48000, 32000))
_MP3_KBPS = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
_ADTS_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_LAYER_3, _MPEG_1, _RESERVED_VERSION = 1, 3, 1
_FREE, _BAD_RATE, _UNKNOWN_HZ = 0, 15, 3
_SYNC_MP3, _SYNC_ADTS = 0xFFE0, 0xFFF0
_TAG_BYTES = 10
_TOLD_WITHIN = 40
"""Bytes of a frame behind whose side information encoders write how many others follow."""


def length_s(data: bytes) -> float | None:
    """The seconds of a file."""
    if data[:4] == b"RIFF":
        return _wav_s(data)
    if data[4:8] == b"ftyp":
        return _mp4_s(data)
    start = _behind_tag(data)
    return _frames_s(_mp3_frames(data, start)) or _frames_s(_adts_frames(data, start))


def _wav_s(data: bytes) -> float | None:
    try:
        with wave.open(io.BytesIO(data)) as sound:
            return float(sound.getnframes() / sound.getframerate())
    except (wave.Error, EOFError, ZeroDivisionError):
        return None


def _behind_tag(data: bytes) -> int:
    """Where the frames begin: an ID3v2 tag tells its length in four bytes of seven bits."""
    if data[:3] != b"ID3" or len(data) < _TAG_BYTES:
        return 0
    size = 0
    for byte in data[6:_TAG_BYTES]:
        size = size << 7 | byte & 0x7F
    return _TAG_BYTES + size


def _frames_s(lengths: Iterator[float]) -> float | None:
    return sum(lengths) or None


def _mp3_frames(data: bytes, at: int) -> Iterator[float]:
    """The seconds of each frame of layer III, from where the first one begins to where they end."""
    while at + 4 <= len(data):
        head = int.from_bytes(data[at : at + 4], "big")
        version, layer, rate, hertz = head >> 19 & 3, head >> 17 & 3, head >> 12 & 15, head >> 10 & 3
        is_frame = head >> 16 & _SYNC_MP3 == _SYNC_MP3 and layer == _LAYER_3 and version != _RESERVED_VERSION
        if not is_frame or rate in {_FREE, _BAD_RATE} or hertz == _UNKNOWN_HZ:
            return
        rate_hz, is_mpeg_1 = _MP3_RATES_HZ[version][hertz], version == _MPEG_1
        samples = 1152 if is_mpeg_1 else 576
        beginning = data[at : at + _TOLD_WITHIN]
        at += samples // 8 * _MP3_KBPS[is_mpeg_1][rate] * 1000 // rate_hz + (head >> 9 & 1)
        if b"Info" not in beginning and b"Xing" not in beginning:  # such a frame tells of the others, and is silent
            yield samples / rate_hz


def _adts_frames(data: bytes, at: int) -> Iterator[float]:
    while at + 7 <= len(data):
        head = int.from_bytes(data[at : at + 7], "big")
        rate, size = head >> 34 & 15, head >> 13 & 0x1FFF
        is_frame = head >> 40 & 0xFFF6 == _SYNC_ADTS and rate < len(_ADTS_RATES_HZ) and size > 0
        if not is_frame:
            return
        at += size
        yield 1024 / _ADTS_RATES_HZ[rate]


def _mp4_s(data: bytes) -> float | None:
    movie = _box(data, b"moov", 0, len(data))
    header = _box(data, b"mvhd", *movie) if movie else None
    if header is None:
        return None
    is_long = data[header[0]] == 1
    form, at = (">IQ", header[0] + 20) if is_long else (">II", header[0] + 12)
    if at + struct.calcsize(form) > header[1]:
        return None
    scale, ticks = struct.unpack_from(form, data, at)
    return float(ticks) / scale if scale else None


def _box(data: bytes, kind: bytes, at: int, end: int) -> tuple[int, int] | None:
    """Where the content of the first box of a kind begins and ends."""
    while at + 8 <= end:
        size, found = struct.unpack_from(">I4s", data, at)
        if size < 8:  # noqa: PLR2004 - a box holds its own header; the 64-bit and open-ended forms hold no index
            return None
        if found == kind:
            return at + 8, min(at + size, end)
        at += size
    return None
