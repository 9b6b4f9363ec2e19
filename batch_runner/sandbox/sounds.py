"""Made-up sounds: a soft chord as WAV, silence with a title as MP3, silent frames for a clip's sound track."""

from __future__ import annotations

import array
import hashlib
import io
import math
import sys
import wave
from dataclasses import dataclass
from functools import lru_cache
from random import Random

WAV_HZ = 16_000
MP3_HZ = 24_000
MP3_FRAME_SAMPLES = 576
AAC_HZ = 16_000
AAC_FRAME_SAMPLES = 1024

_MP3_FRAME = b"\xff\xf3\x44\xc4" + bytes(92)
"""MPEG-2 layer III, 32 kbit/s, 24 kHz, mono: 96 bytes with side information of zeros, which is silence."""
_MP3_TELLS = _MP3_FRAME[:13] + b"Info\x00\x00\x00\x01"
"""The beginning of a first frame, behind its side information, that says how many others follow, as of encoders."""
SILENT_AAC = b"\x00\x00\x00\x07"
"""One channel element without any spectral band, and the end mark (ISO/IEC 14496-3, table 4.4)."""

_CHORDS_HZ = ((220, 277, 330), (196, 247, 294), (262, 330, 392), (175, 220, 262), (294, 370, 440))
_LOUDNESS = 5000
_KEPT_SOUNDS = 8


@dataclass(frozen=True, slots=True)
class SoundWish:
    """What decides a sound.

    Attributes:
        look: any text; another text makes another file.
        length_s: seconds.
        form: ``mp3`` or ``wav``.
    """

    look: str
    length_s: float
    form: str


def mp3_length_s(length_s: float) -> float:
    """What an MP3 of that order really lasts: whole frames."""
    return _mp3_frames(length_s) * MP3_FRAME_SAMPLES / MP3_HZ


@lru_cache(maxsize=_KEPT_SOUNDS)
def render_sound(wish: SoundWish) -> bytes:
    """The file."""
    return _wav(wish) if wish.form == "wav" else _mp3(wish)


def _mp3_frames(length_s: float) -> int:
    return max(1, round(length_s * MP3_HZ / MP3_FRAME_SAMPLES))


def _mp3(wish: SoundWish) -> bytes:
    title = b"\x00" + hashlib.sha256(wish.look.encode("utf-8", "surrogatepass")).hexdigest()[:32].encode()
    text_frame = b"TIT2" + len(title).to_bytes(4, "big") + b"\x00\x00" + title
    tag = b"ID3\x03\x00\x00" + bytes((0, 0, len(text_frame) >> 7, len(text_frame) & 0x7F)) + text_frame
    frames = _mp3_frames(wish.length_s)
    told = _MP3_TELLS + frames.to_bytes(4, "big")
    return tag + told + _MP3_FRAME[len(told) :] + _MP3_FRAME * frames


def _wav(wish: SoundWish) -> bytes:
    dice = Random(f"sound:{wish.look}")
    # Whole numbers of hertz: one second of them can be repeated without a click.
    tones = [(hertz, dice.uniform(0.3, 1.0), dice.uniform(0, math.tau)) for hertz in dice.choice(_CHORDS_HZ)]
    samples = array.array("h", (_sample(tones, at / WAV_HZ) for at in range(WAV_HZ)))
    if sys.byteorder == "big":
        samples.byteswap()
    second = samples.tobytes()
    size = round(wish.length_s * WAV_HZ) * samples.itemsize
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(samples.itemsize)
        sound.setframerate(WAV_HZ)
        sound.writeframes((second * (size // len(second) + 1))[:size])
    return buffer.getvalue()


def _sample(tones: list[tuple[int, float, float]], at_s: float) -> int:
    return round(sum(_LOUDNESS * share * math.sin(math.tau * hertz * at_s + phase) for hertz, share, phase in tones))
