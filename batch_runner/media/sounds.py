"""Lengths of WAV, MP3 and AAC sounds, read from their chunks and frames. Pure over bytes.

The forms: Microsoft's RIFF WAVE; ISO/IEC 11172-3 and 13818-3, layer III; ISO/IEC 13818-7, ADTS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from batch_runner.media.found import UNKNOWN, Found, seconds
from batch_runner.wording import by_count

_RATES_MP3: Final = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Samples a second by the version bits: MPEG-1, MPEG-2, MPEG-2.5."""
_KBITS_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_AAC: Final = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_FRAMES_TO_BELIEVE: Final = 2
"""Any two bytes in a few thousand look like the beginning of one frame, hardly any like two in a row."""
_CHUNK_HEADER: Final = 8
_ADTS_BYTES: Final = 7
_TAG_BYTES: Final = 10
_TOLD_WITHIN: Final = 200
"""Bytes of a first frame in which encoders write how many frames follow."""
_SHORT_REST: Final = 2048
"""Bytes; no frame is longer than 1,441 as MP3, and few sounds end exactly behind one."""

_TAGS: Final = (b"TAG", b"APETAGEX", b"ID3", b"LYRICSBEGIN")


class _Frame(NamedTuple):
    """One frame: how many bytes it has, how many samples, and how many of those make a second."""

    bytes: int
    samples: int
    rate: int


def sound(content: bytes) -> Found:
    """What the bytes of a sound say; ``UNKNOWN`` when they are none of the three."""
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
        return _wav(content)
    for format_, frame_at in (("mp3", _mp3_frame), ("aac", _aac_frame)):
        found = _framed(content, format_, frame_at)
        if found is not None:
            return found
    return UNKNOWN


def is_whole_mp3(content: bytes) -> bool:
    """Whether an MP3 sound ends behind a frame, or tags or zeros there, and has as many frames as its first one tells.

    Of what is no frame of layer III nobody can tell; tags alone are no sound.
    """
    begin = _after_tags(content)
    *_, frames, end = _frames(content, begin, _mp3_frame)
    if not frames:
        return begin < len(content)
    told = _told_frames(content[begin : begin + _TOLD_WITHIN])  # how many follow that one
    return (not told or told < frames) and _is_tag_or_padding(content[end:])


def _wav(content: bytes) -> Found:
    bytes_a_second = 0
    for kind, begin, length in _chunks(content):
        if kind == b"fmt ":
            bytes_a_second = int.from_bytes(content[begin + 8 : begin + 12], "little")
        elif kind == b"data":
            if begin + length > len(content):
                missing = begin + length - len(content)
                return Found(
                    "wav",
                    damage=f"is cut off: its last {by_count(missing, 'byte is', f'{missing:,} bytes are')} missing",
                )
            return Found("wav", length_s=seconds(length, bytes_a_second))
    return Found("wav", damage="has no sound in it")


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, beginning and length of every chunk; a length that was never filled in reaches to the end."""
    at = 12
    while at + _CHUNK_HEADER <= len(content):
        kind, length = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        begin = at + _CHUNK_HEADER
        if kind == b"data" and length in {0, 0xFFFFFFFF}:
            length = len(content) - begin
        yield kind, begin, length
        at = begin + length + length % 2


def _framed(content: bytes, format_: str, frame_at: Callable[[bytes, int], _Frame | None]) -> Found | None:
    """The sound that the frames of one form make, or None when they make none."""
    begin = _after_tags(content)
    samples, rate, frames, at = _frames(content, begin, frame_at)
    if frames < _FRAMES_TO_BELIEVE:
        return None
    told = _told_frames(content[begin : begin + _TOLD_WITHIN])
    if told:
        samples -= samples // frames  # the frame that tells it sounds of nothing itself
    length_s = seconds(samples, rate)
    if told > frames or not _may_follow(content[at:]):
        return Found(format_, damage=f"is cut off or damaged after {length_s} s")
    return Found(format_, length_s=length_s)


def _frames(content: bytes, at: int, frame_at: Callable[[bytes, int], _Frame | None]) -> tuple[int, int, int, int]:
    """Samples, samples a second and number of the whole frames from there on, and where the last one ends."""
    samples = rate = frames = 0
    while (frame := frame_at(content, at)) is not None and at + frame.bytes <= len(content):
        samples, rate, frames, at = samples + frame.samples, frame.rate, frames + 1, at + frame.bytes
    return samples, rate, frames, at


def _told_frames(beginning: bytes) -> int:
    """How many frames the first one says there are, or 0 when it does not."""
    at = max(beginning.find(b"Xing"), beginning.find(b"Info"))
    tells = at >= 0 and len(beginning) >= at + 12 and beginning[at + 7] & 1
    return int.from_bytes(beginning[at + 8 : at + 12], "big") if tells else 0


def _may_follow(rest: bytes) -> bool:
    """Whether this may stand behind the last frame: a tag, padding, or less than a frame."""
    return len(rest) < _SHORT_REST or _is_tag_or_padding(rest)


def _is_tag_or_padding(rest: bytes) -> bool:
    return rest.startswith(_TAGS) or not rest.strip(b"\0")


def _after_tags(content: bytes) -> int:
    """Where the sound begins: behind the tags that tell its title, if there are any."""
    at = 0
    while content[at : at + 3] == b"ID3" and len(content) >= at + _TAG_BYTES:
        size = 0
        for byte in content[at + 6 : at + _TAG_BYTES]:
            size = size << 7 | byte & 0x7F
        at += _TAG_BYTES + size + (_TAG_BYTES if content[at + 5] & 0x10 else 0)
    return at


def _mp3_frame(content: bytes, at: int) -> _Frame | None:
    """The frame of layer III that begins there, or None."""
    header = int.from_bytes(content[at : at + 4], "big")
    version, layer = header >> 19 & 3, header >> 17 & 3
    kbits_at, rate_at, padding = header >> 12 & 15, header >> 10 & 3, header >> 9 & 1
    if header >> 21 != 0x7FF or version not in _RATES_MP3 or layer != 1 or kbits_at in {0, 15} or rate_at == 3:  # noqa: PLR2004 - bits
        return None
    is_first = version == 3  # noqa: PLR2004 - bits of MPEG-1
    kbits = (_KBITS_1 if is_first else _KBITS_2)[kbits_at]
    rate = _RATES_MP3[version][rate_at]
    samples = 1152 if is_first else 576
    return _Frame(samples // 8 * kbits * 1000 // rate + padding, samples, rate)


def _aac_frame(content: bytes, at: int) -> _Frame | None:
    """The ADTS frame that begins there, or None."""
    if len(content) < at + _ADTS_BYTES:
        return None
    header = int.from_bytes(content[at : at + _ADTS_BYTES], "big")
    rate_at, length, blocks = header >> 34 & 15, header >> 13 & 0x1FFF, header & 3
    if header >> 44 != 0xFFF or header >> 41 & 3 or rate_at >= len(_RATES_AAC) or length < _ADTS_BYTES:  # noqa: PLR2004 - sync
        return None
    return _Frame(length, 1024 * (blocks + 1), _RATES_AAC[rate_at])
