"""How much room a result takes on the disk, so that nothing is bought which could not be stored. Pure.

Measured, 2026 (kling-api 4.5): pro clips of 5 s took 4.5 to 27 MB, 11 MB in the mean; one clip of 3 s at 720p 2.1 MB.
The largest of them sets the rate, which leaves more than twice the mean as a margin; the other resolutions follow from
it by their share of the pixels. Nobody published sizes of images and sounds: raw pixels and raw sound bound them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

VIDEO_BYTES_PER_S: Final[Mapping[str, int]] = {"720p": 2_400_000, "1080p": 5_400_000, "4k": 21_600_000}
IMAGE_BYTES: Final[Mapping[str, int]] = {"1k": 3_200_000, "2k": 12_600_000, "4k": 50_400_000}
AUDIO_BYTES_PER_S: Final = 200_000
RECORD_BYTES: Final = 64 * 1024
"""A result of ids and facts alone."""

_MODES: Final[Mapping[str, str]] = {"std": "720p", "pro": "1080p"}
_LONGEST_USUAL_S: Final = 30
"""Stands in where the length follows from a source that nobody measured here."""


def expected_bytes(makes: Collection[str], grade: str, clip_s: int | None, count: int) -> int:
    """Bytes to keep free for a task's files, on the safe side.

    Args:
        makes: kinds of file the product makes (``video``, ``image``, ``audio``).
        grade: its mode or resolution, or an empty text when nobody says.
        clip_s: seconds of the clip, or None when nobody says.
        count: files of the task.
    """
    size = _MODES.get(grade, grade)
    seconds = clip_s or _LONGEST_USUAL_S
    if "video" in makes:
        return count * seconds * VIDEO_BYTES_PER_S.get(size, VIDEO_BYTES_PER_S["1080p"])
    if "image" in makes:
        return count * IMAGE_BYTES.get(size, IMAGE_BYTES["2k"])
    return count * seconds * AUDIO_BYTES_PER_S if "audio" in makes else RECORD_BYTES
