"""Made-up clips: a mosaic whose colours, relief and motion follow from the prompt, as a playable MP4.

The same wish gives the same bytes. A clip lasts exactly the seconds that were asked for, to the nearest picture.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from batch_runner.sandbox.canvas import Canvas, Colour, Sprite, chroma_byte, luma_byte
from batch_runner.sandbox.h264 import BLOCK, delta_picture, key_picture, picture_parameters, sequence_parameters
from batch_runner.sandbox.mp4 import Track, movie

FRAME_RATE = 12
SIZES = {"16:9": (256, 144), "9:16": (144, 256), "1:1": (192, 192)}
"""Width and height by aspect ratio."""

_DISC = 32
_GLOW_FRAMES = 10
_KEPT_CLIPS = 24


@dataclass(frozen=True, slots=True)
class ClipWish:
    """What decides a clip.

    Attributes:
        look: any text; another text looks different.
        aspect: a key of ``SIZES``.
        length_s: seconds, rounded to whole pictures.
        sound: whether it has a sound track, which is silent.
    """

    look: str
    aspect: str
    length_s: float
    sound: bool = False


@lru_cache(maxsize=_KEPT_CLIPS)
def render(wish: ClipWish) -> bytes:
    """The clip as an MP4 file."""
    width, height = SIZES[wish.aspect]
    return movie(
        Track(
            width=width,
            height=height,
            frame_rate=FRAME_RATE,
            sequence=sequence_parameters(width, height),
            picture=picture_parameters(),
            pictures=tuple(_pictures(wish, Canvas(width, height))),
        ),
        with_sound=wish.sound,
    )


def paint(random: Random, ground: Canvas) -> None:
    """One look at a scene: its ground and the disc at a place of its way."""
    scene = _Scene(random, ground)
    ground.stamp(scene.disc, *random.choice(scene.path(FRAME_RATE)))


def _pictures(wish: ClipWish, ground: Canvas) -> Iterator[bytes]:
    scene = _Scene(Random(f"clip:{wish.look}"), ground)
    path = scene.path(max(1, round(wish.length_s * FRAME_RATE)))
    total = ground.columns * ground.rows
    left, top = path[0]
    picture = ground.copy()
    picture.stamp(scene.disc, left, top)
    yield key_picture([picture.block(index) for index in range(total)])
    for number in range(1, len(path)):
        stale = ground.blocks_under(left, top, _DISC) | scene.glow(number)
        left, top = path[number]
        picture.restore(ground, stale)
        picture.stamp(scene.disc, left, top)
        changed = stale | ground.blocks_under(left, top, _DISC)
        yield delta_picture(number, {index: picture.block(index) for index in changed}, total)


class _Scene:
    """The ground of tiles, painted on the given canvas, and the disc that wanders over it."""

    def __init__(self, random: Random, ground: Canvas) -> None:
        self._ground = ground
        self._random = random
        hue = random.random()
        spread = random.uniform(0.10, 0.30) * random.choice((-1, 1))
        self._stops = tuple(
            _colour(hue + spread * step, random.uniform(0.45, 0.70), value)
            for step, value in enumerate((0.30, 0.62, 0.95))
        )
        self._relief = random.choice(_RELIEFS)
        self._place = random.choice(_FIELDS)(random)
        self._colours = [self._tile_colour(index) for index in range(ground.columns * ground.rows)]
        for index, colour in enumerate(self._colours):
            ground.tile(index, _relief_luma(self._relief, luma_byte(colour.luma)), colour)
        self.disc = _disc(_colour(hue + 0.5 + spread / 2, 0.45, 1.0))
        self._order = random.sample(range(len(self._colours)), len(self._colours))

    def _tile_colour(self, index: int) -> Colour:
        ground = self._ground
        across = (index % ground.columns + 0.5) / ground.columns
        down = (index // ground.columns + 0.5) / ground.rows
        share = min(max(self._place(across, down) + self._random.uniform(-0.07, 0.07), 0.0), 1.0)
        low, middle, high = self._stops
        return low.towards(middle, share * 2) if share < 1 / 2 else middle.towards(high, share * 2 - 1)

    def path(self, frames: int) -> list[tuple[int, int]]:
        """The disc's even places, one a frame: a closed curve around the middle."""
        turns = max(1, round(frames / FRAME_RATE / 5))
        waves = self._random.choice(((1, 2), (2, 1), (1, 1), (2, 3), (3, 2)))
        phases = (self._random.uniform(0, math.tau), self._random.uniform(0, math.tau))
        room = (self._ground.width - _DISC, self._ground.height - _DISC)
        return [_curve_point(room, waves, phases, math.tau * turns * n / frames) for n in range(frames)]

    def glow(self, number: int) -> set[int]:
        """Light one tile up and let an earlier one fade; the tiles that changed."""
        changed = set()
        for age, light in ((0, 34), (_GLOW_FRAMES // 2, 17), (_GLOW_FRAMES, 0)):
            if number > age:
                changed.add(self._light((number - age) % len(self._order), light))
        return changed

    def _light(self, turn: int, light: int) -> int:
        index = self._order[turn]
        colour = self._colours[index].lit(light)
        self._ground.tile(index, _relief_luma(self._relief, luma_byte(colour.luma)), colour)
        return index


def _curve_point(
    room: tuple[int, int], waves: tuple[int, int], phases: tuple[float, float], angle: float
) -> tuple[int, int]:
    across, down = ((1 + 0.92 * math.sin(wave * angle + phase)) / 2 for wave, phase in zip(waves, phases, strict=True))
    return round(room[0] * across / 2) * 2, round(room[1] * down / 2) * 2


def _colour(hue: float, saturation: float, value: float) -> Colour:
    """BT.601 from hue, saturation and value."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return Colour(16 + 219 * luma, 128 + 224 * (blue - luma) / 1.772, 128 + 224 * (red - luma) / 1.402)


Field = Callable[[float, float], float]


def _slope(random: Random) -> Field:
    angle = random.uniform(0, math.tau)
    across, down = math.cos(angle), math.sin(angle)
    reach = abs(across) + abs(down)
    return lambda x, y: 0.5 + ((x - 0.5) * across + (y - 0.5) * down) / reach


def _sun(random: Random) -> Field:
    centre_x, centre_y = random.uniform(0.2, 0.8), random.uniform(0.2, 0.8)
    return lambda x, y: 1.0 - 1.25 * math.hypot(x - centre_x, y - centre_y)


def _waves(random: Random) -> Field:
    phase, crests = random.uniform(0, math.tau), random.uniform(1.0, 2.2)
    lean = random.uniform(-3, 3)
    return lambda x, y: 0.5 + 0.45 * math.sin(phase + math.tau * crests * y + lean * x)


def _rings(random: Random) -> Field:
    centre_x, centre_y = random.uniform(0.0, 1.0), random.uniform(0.0, 1.0)
    density = random.uniform(9, 15)
    return lambda x, y: 0.5 + 0.45 * math.cos(density * math.hypot(x - centre_x, y - centre_y))


_FIELDS = (_slope, _sun, _waves, _rings)


def _pillow(x: int, y: int) -> int:
    """A tile with a light upper left and a dark lower right rim."""
    edge = BLOCK - 1
    if edge in (x, y):
        return -26
    if 0 in (x, y):
        return 16
    return round((edge - x - y) * 0.6)


def _gem(x: int, y: int) -> int:
    """Four facets that meet in the middle."""
    a, b = x - y, x + y - (BLOCK - 1)
    if a >= 0:
        return 14 if b < 0 else -6
    return 4 if b < 0 else -18


def _coin(x: int, y: int) -> int:
    """A round stud."""
    middle = (BLOCK - 1) / 2
    distance = math.hypot(x - middle, y - middle)
    return round(18 - 1.1 * (x + y) + 8) if distance < BLOCK * 0.42 else -16


def _weave(x: int, y: int) -> int:
    """Two bands, one over the other."""
    across = (x // 8 + y // 8) % 2
    along = (y if across else x) % 8
    return round(12 - 1.9 * abs(along - 3.5) * 1.6) if along not in {0, 7} else -14


_RELIEFS = tuple(
    tuple(relief(x, y) for y in range(BLOCK) for x in range(BLOCK)) for relief in (_pillow, _gem, _coin, _weave)
)


@lru_cache(maxsize=1024)
def _relief_luma(relief: tuple[int, ...], base: int) -> bytes:
    return bytes(luma_byte(base + height) for height in relief)


def _disc(colour: Colour) -> Sprite:
    """A ball lit from the upper left."""
    rows = tuple(_ball_row(colour, row) for row in range(_DISC))
    half = _DISC // 2
    spans = (_span(row, half) for row in range(half))
    chroma = tuple((start, end - start) for start, end in spans)
    return Sprite(_DISC, rows, chroma, chroma_byte(colour.blue), chroma_byte(colour.red))


def _span(row: int, size: int) -> tuple[int, int]:
    """First and one past the last sample of a disc's line."""
    radius = size / 2
    reach = math.sqrt(max(radius**2 - (row + 0.5 - radius) ** 2, 0))
    return math.ceil(radius - reach - 0.5), math.floor(radius + reach + 0.5)


def _ball_row(colour: Colour, row: int) -> tuple[int, bytes]:
    start, end = _span(row, _DISC)
    radius = _DISC / 2
    samples = []
    for column in range(start, end):
        to_light = math.hypot(column - radius * 0.62, row - radius * 0.62) / radius
        to_edge = math.hypot(column + 0.5 - radius, row + 0.5 - radius) / radius
        shade = -70 if to_edge > 0.93 else 24 - 58 * to_light**1.3  # noqa: PLR2004 - where the rim begins
        samples.append(luma_byte(colour.luma + shade))
    return start, bytes(samples)
