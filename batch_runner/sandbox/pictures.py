"""The pictures that requests carry: decoded far enough to know their size."""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from batch_runner.sandbox.codes import BAD_BASE64, Code, Denied

_SMALLEST_SIDE = 300
_WIDEST = 2.5
_LARGEST_BYTES = 10 * 1024 * 1024
_TALL, _WIDE = 0.8, 1.25

TOO_SMALL = "Image pixel is invalid"
ODD_SHAPE = (
    "The resolution or aspect ratio of the input image is invalid. Please ensure it meets the required specifications."
)


@dataclass(frozen=True, slots=True)
class Picture:
    """What matters about a picture.

    Attributes:
        aspect: the clip shape that fits it best.
        trouble: the text with which its task will fail, or empty.
    """

    aspect: str = "16:9"
    trouble: str = ""


def read_picture(field: str, value: str) -> Picture | Denied:
    """Look at a media field: raw base64, or a link, which the simulation takes on trust."""
    if value.startswith(("http://", "https://")):
        return Picture()
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return BAD_BASE64
    if len(data) > _LARGEST_BYTES:
        return Denied(Code.BAD_VALUE, f"{field} file size is invalid")
    return _measured(field, data)


def _measured(field: str, data: bytes) -> Picture | Denied:
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            width, height = image.size
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return Denied(Code.BAD_VALUE, f"{field} file format is invalid")
    return Picture(_shape(width, height), _trouble(width, height))


def _shape(width: int, height: int) -> str:
    ratio = width / height
    if ratio < _TALL:
        return "9:16"
    return "16:9" if ratio > _WIDE else "1:1"


def _trouble(width: int, height: int) -> str:
    """Bad sizes are not refused: the task is accepted, and fails a minute or two later."""
    if min(width, height) < _SMALLEST_SIDE:
        return TOO_SMALL
    return ODD_SHAPE if max(width, height) > _WIDEST * min(width, height) else ""
