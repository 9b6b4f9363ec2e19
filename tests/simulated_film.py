"""The files that the sandbox of a simulation hands out: small, whole, and no two alike."""

from __future__ import annotations

import hashlib
import random
from functools import cache, lru_cache

from batch_runner.sandbox.h264 import picture_parameters, sequence_parameters
from batch_runner.sandbox.mp4 import Track, movie
from batch_runner.sandbox.results import File


def small_film(file: File) -> bytes:
    """Whole boxes around noise for a clip; anything else as it is."""
    return _film(file.name) if file.name.endswith(".mp4") else _as_it_is(file)


@lru_cache(maxsize=256)
def _as_it_is(file: File) -> bytes:
    return file.content()


@cache
def _film(name: str) -> bytes:
    dice = random.Random(name)
    pictures = tuple(dice.randbytes(dice.randint(100, 6000)) for _ in range(6))
    return movie(Track(16, 16, 12, sequence_parameters(16, 16), picture_parameters(), pictures))


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
