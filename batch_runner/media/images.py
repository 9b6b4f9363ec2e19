"""Size and wholeness of JPEG and PNG pictures, read with Pillow."""

from __future__ import annotations

import struct
import warnings
from typing import BinaryIO, Final

from PIL import Image

from batch_runner.media.found import UNKNOWN, Found

_NAMES: Final = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png"}
"""MPO is the JPEG with a second picture behind it that some phones write."""
_UNDECODABLE: Final = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for files that are not what they claim."""


def image(file: BinaryIO) -> Found:
    """What a picture is; ``UNKNOWN`` for what is none."""
    file.seek(0)
    with warnings.catch_warnings():
        # Pillow warns of enormous pictures before it refuses twice as enormous ones; neither is for Kling.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file) as picture:
                format_ = _NAMES.get(str(picture.format), str(picture.format))
                width, height = picture.size  # before a draft makes it smaller
                damage = _damage(picture) if format_ in _NAMES.values() else ""
                return Found(format_, width, height, damage=damage)
        except Image.DecompressionBombWarning:
            return Found("jpg", damage="has more pixels than any video needs")
        except _UNDECODABLE:
            return UNKNOWN


def _damage(picture: Image.Image) -> str:
    """Reads the picture to its end, so that half a file is found here and not by a failed task."""
    try:
        if picture.format == "PNG":
            picture.verify()
        else:
            picture.draft("L", (picture.width // 8, picture.height // 8))
            picture.load()
    except _UNDECODABLE:
        return "is a damaged image"
    return ""
