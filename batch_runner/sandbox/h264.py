"""The little of H.264 a made-up clip needs: raw macroblocks, and pictures that mostly repeat the last one.

Baseline profile, one slice a picture, no transform and no prediction: a changed macroblock travels as I_PCM
(its 384 samples as they are), an unchanged one as P_Skip. The clause numbers are those of ITU-T H.264.
The loop filter is off, or it would smear the raw blocks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

BLOCK = 16
"""Luma samples along one side of a macroblock."""

_FRAME_NUMBER_BITS = 4
_I_PCM_IN_KEY_SLICE = 25  # table 7-11
_I_PCM_IN_DELTA_SLICE = 5 + 25  # table 7-13: intra types follow the five inter types
_ALL_SLICES_P, _ALL_SLICES_I = 5, 7  # table 7-6
_NAL_DELTA, _NAL_KEY, _NAL_SEQUENCE, _NAL_PICTURE = b"\x61", b"\x65", b"\x67", b"\x68"
_BASELINE_LEVEL_3 = bytes((66, 0xC0, 30))
_STOP_BIT = "1"
_NEEDS_ESCAPE = re.compile(rb"\x00\x00(?=[\x00-\x03])")


def _unsigned(value: int) -> str:
    """Exp-Golomb code ue(v), clause 9.1."""
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def _packed(bits: str) -> bytes:
    """Bits as bytes, filled up with zero bits."""
    padded = bits + "0" * (-len(bits) % 8)
    return int(padded, 2).to_bytes(len(padded) // 8, "big")


def _unit(header: bytes, payload: bytes) -> bytes:
    """A NAL unit; three bytes that would look like a start code are broken up (clause 7.4.1)."""
    return header + _NEEDS_ESCAPE.sub(b"\x00\x00\x03", payload)


def sequence_parameters(width: int, height: int) -> bytes:
    """The sequence parameter set for a picture of multiples of 16 samples (clause 7.3.2.1)."""
    bits = "".join(
        (
            _unsigned(0),  # this set's id
            _unsigned(_FRAME_NUMBER_BITS - 4),
            _unsigned(2),  # pictures are shown in the order they are stored
            _unsigned(1),  # one reference picture
            "0",  # no gaps in frame numbers
            _unsigned(width // BLOCK - 1),
            _unsigned(height // BLOCK - 1),
            "1",  # frames only
            "1",  # direct_8x8_inference
            "0",  # no cropping
            "0",  # no VUI
            _STOP_BIT,
        )
    )
    return _unit(_NAL_SEQUENCE, _BASELINE_LEVEL_3 + _packed(bits))


def picture_parameters() -> bytes:
    """The picture parameter set: CAVLC, one slice group, loop filter under the slice's control (7.3.2.2)."""
    bits = "".join(
        (
            _unsigned(0) * 2,  # this set's id, the sequence set's id
            "00",  # CAVLC; no bottom-field order
            _unsigned(0) * 3,  # one slice group; one reference in each list
            "000",  # no weighted prediction
            _unsigned(0) * 3,  # initial quantisers and the chroma offset: nothing is quantised
            "100",  # loop filter control in the slice; free intra prediction; no redundant pictures
            _STOP_BIT,
        )
    )
    return _unit(_NAL_PICTURE, _packed(bits))


def key_picture(blocks: Sequence[bytes]) -> bytes:
    """A picture that needs no other: every macroblock's 384 samples, in raster order."""
    header = "".join(
        (
            _slice_start(_ALL_SLICES_I, 0),
            _unsigned(0),  # idr_pic_id
            "00",  # clause 7.3.3.3: keep as a short-term reference
            _slice_end(),
        )
    )
    kind = _unsigned(_I_PCM_IN_KEY_SLICE)
    between = _packed(kind)
    body = between.join(blocks)
    return _unit(_NAL_KEY, _packed(header + kind) + body + _packed(_STOP_BIT))


def delta_picture(number: int, changes: Mapping[int, bytes], total_blocks: int) -> bytes:
    """A picture that repeats the one before it, save for the given macroblocks.

    Args:
        number: the picture's distance from the key picture.
        changes: samples by macroblock index; at least one.
        total_blocks: macroblocks in the whole picture.
    """
    parts: list[bytes] = []
    pending = _delta_header(number % (1 << _FRAME_NUMBER_BITS))
    done = 0
    for index in sorted(changes):
        parts += (_raw_block_start(pending, index - done), changes[index])
        pending, done = "", index + 1
    left = total_blocks - done
    parts.append(_packed((_unsigned(left) if left else "") + _STOP_BIT))
    return _unit(_NAL_DELTA, b"".join(parts))


@lru_cache(maxsize=1024)
def _raw_block_start(pending: str, skipped: int) -> bytes:
    return _packed(pending + _unsigned(skipped) + _unsigned(_I_PCM_IN_DELTA_SLICE))


@lru_cache(maxsize=1 << _FRAME_NUMBER_BITS)
def _delta_header(frame_number: int) -> str:
    return "".join(
        (
            _slice_start(_ALL_SLICES_P, frame_number),
            "00",  # default number and order of references
            "0",  # clause 7.3.3.3: sliding window
            _slice_end(),
        )
    )


def _slice_start(kind: int, frame_number: int) -> str:
    return f"{_unsigned(0)}{_unsigned(kind)}{_unsigned(0)}{frame_number:0{_FRAME_NUMBER_BITS}b}"


def _slice_end() -> str:
    return _unsigned(0) + _unsigned(1)  # no change of quantiser; no loop filter
