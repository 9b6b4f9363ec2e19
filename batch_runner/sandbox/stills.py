"""Made-up pictures: one look at the mosaic of the clips, as PNG in every shape that can be asked for.

They are smaller than the real ones: the short side has 306 pixels for 1k, twice that for 2k, four times for 4k,
which is enough to pass as the source of a clip (300).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from PIL import Image

from batch_runner.sandbox.canvas import Canvas
from batch_runner.sandbox.clips import paint

_SHORT_SIDE = 306
_TILES_ON_SHORT_SIDE = 10
_BLOCK = 16
_SCALES = {"1k": 1, "2k": 2, "4k": 4}
_KEPT_PICTURES = 24


@dataclass(frozen=True, slots=True)
class PictureWish:
    """What decides a picture.

    Attributes:
        look: any text; another text looks different.
        aspect: two whole numbers, such as ``21:9``.
        resolution: ``1k``, ``2k`` or ``4k``; anything else is ``1k``.
    """

    look: str
    aspect: str
    resolution: str = "1k"


def size(wish: PictureWish) -> tuple[int, int]:
    """Width and height in pixels."""
    across, down = map(int, wish.aspect.split(":"))
    short = min(across, down)
    scale = _SCALES.get(wish.resolution, 1)
    return _SHORT_SIDE * across * scale // short, _SHORT_SIDE * down * scale // short


@lru_cache(maxsize=_KEPT_PICTURES)
def render_picture(wish: PictureWish) -> bytes:
    """The picture as a PNG file."""
    across, down = map(int, wish.aspect.split(":"))
    unit = _TILES_ON_SHORT_SIDE / min(across, down)
    canvas = Canvas(round(across * unit) * _BLOCK, round(down * unit) * _BLOCK)
    paint(Random(f"still:{wish.look}"), canvas)
    planes = [
        Image.frombytes("L", (width, height), plane).resize((canvas.width, canvas.height), Image.Resampling.NEAREST)
        for width, height, plane in canvas.planes()
    ]
    picture = Image.merge("YCbCr", planes).convert("RGB").resize(size(wish), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
