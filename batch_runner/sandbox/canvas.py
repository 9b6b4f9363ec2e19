"""Picture planes that are painted in tiles and discs and handed out as macroblocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from batch_runner.sandbox.h264 import BLOCK

_HALF = BLOCK // 2
DARKEST, BRIGHTEST = 16, 235
CHROMA_LOW, CHROMA_HIGH = 16, 240


@dataclass(frozen=True, slots=True)
class Colour:
    """Luma 16..235 and both chroma components 16..240, as floats until they are painted."""

    luma: float
    blue: float
    red: float

    def towards(self, other: Colour, share: float) -> Colour:
        """The colour at that share of the way to another, 0 to 1."""
        return Colour(
            self.luma + (other.luma - self.luma) * share,
            self.blue + (other.blue - self.blue) * share,
            self.red + (other.red - self.red) * share,
        )

    def lit(self, luma: float) -> Colour:
        """The same hue, lighter by that much luma (darker when negative)."""
        return Colour(self.luma + luma, self.blue, self.red)


def luma_byte(value: float) -> int:
    """A legal luma sample."""
    return min(max(round(value), DARKEST), BRIGHTEST)


def chroma_byte(value: float) -> int:
    """A legal chroma sample."""
    return min(max(round(value), CHROMA_LOW), CHROMA_HIGH)


@dataclass(frozen=True, slots=True)
class Sprite:
    """A shape that covers what is below it: rows of (offset, samples) from its top left corner.

    Attributes:
        size: luma samples along one side of the square it fits in; even.
        luma: one row a luma line.
        chroma: one row a chroma line: offset and length.
        blue, red: chroma of the whole shape.
    """

    size: int
    luma: tuple[tuple[int, bytes], ...]
    chroma: tuple[tuple[int, int], ...]
    blue: int
    red: int


class Canvas:
    """One picture, 4:2:0; sides are multiples of 16."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.columns, self.rows = width // BLOCK, height // BLOCK
        self._luma = bytearray(width * height)
        self._chroma = (bytearray(width * height // 4), bytearray(width * height // 4))

    def copy(self) -> Canvas:
        """A picture of its own with the same content."""
        twin = Canvas(self.width, self.height)
        twin._luma[:] = self._luma
        for own, other in zip(twin._chroma, self._chroma, strict=True):
            own[:] = other
        return twin

    def tile(self, index: int, luma: bytes, colour: Colour) -> None:
        """Paint one macroblock: 256 luma samples and one hue."""
        left, top = index % self.columns * BLOCK, index // self.columns * BLOCK
        for row in range(BLOCK):
            at = (top + row) * self.width + left
            self._luma[at : at + BLOCK] = luma[row * BLOCK : (row + 1) * BLOCK]
        for plane, value in zip(self._chroma, (colour.blue, colour.red), strict=True):
            hue = bytes((chroma_byte(value),)) * _HALF
            for row in range(_HALF):
                at = (top // 2 + row) * (self.width // 2) + left // 2
                plane[at : at + _HALF] = hue

    def stamp(self, sprite: Sprite, left: int, top: int) -> None:
        """Paint a sprite; the place is even and keeps it inside the picture."""
        for row, (offset, samples) in enumerate(sprite.luma):
            at = (top + row) * self.width + left + offset
            self._luma[at : at + len(samples)] = samples
        for plane, value in zip(self._chroma, (sprite.blue, sprite.red), strict=True):
            for row, (offset, length) in enumerate(sprite.chroma):
                at = (top // 2 + row) * (self.width // 2) + left // 2 + offset
                plane[at : at + length] = bytes((value,)) * length

    def restore(self, source: Canvas, blocks: Iterable[int]) -> None:
        """Take macroblocks back from another picture of the same size."""
        for index in blocks:
            left, top = index % self.columns * BLOCK, index // self.columns * BLOCK
            _copy_square(source._luma, self._luma, left, top, self.width, BLOCK)
            for theirs, own in zip(source._chroma, self._chroma, strict=True):
                _copy_square(theirs, own, left // 2, top // 2, self.width // 2, _HALF)

    def block(self, index: int) -> bytes:
        """One macroblock's 384 samples in the order of the stream: luma, blue, red."""
        left, top = index % self.columns * BLOCK, index // self.columns * BLOCK
        parts = [_lines(self._luma, left, top, self.width, BLOCK)]
        parts += [_lines(plane, left // 2, top // 2, self.width // 2, _HALF) for plane in self._chroma]
        return b"".join(parts)

    def planes(self) -> list[tuple[int, int, bytes]]:
        """Width, height and samples of luma, blue and red."""
        half = (self.width // 2, self.height // 2)
        chroma = [(*half, bytes(plane)) for plane in self._chroma]
        return [(self.width, self.height, bytes(self._luma)), *chroma]

    def blocks_under(self, left: int, top: int, size: int) -> set[int]:
        """The macroblocks that a square touches."""
        columns = range(left // BLOCK, (left + size - 1) // BLOCK + 1)
        rows = range(top // BLOCK, (top + size - 1) // BLOCK + 1)
        return {row * self.columns + column for row in rows for column in columns}


def _lines(plane: bytearray, left: int, top: int, width: int, size: int) -> bytes:
    first = top * width + left
    return b"".join([plane[at : at + size] for at in range(first, first + size * width, width)])


def _copy_square(source: bytearray, target: bytearray, left: int, top: int, width: int, size: int) -> None:
    first = top * width + left
    for at in range(first, first + size * width, width):
        target[at : at + size] = source[at : at + size]
