"""How much room a result takes on the disk, so that nothing is bought which could not be stored. Pure.

Measured, 2026 (kling-api 4.5): pro clips of 5 s took 4.5 to 27 MB, 11 MB in the mean; one clip of 3 s at 720p 2.1 MB.
The largest of them sets the rate, which leaves more than twice the mean as a margin; the other resolutions follow from
it by their share of the pixels. Nobody published sizes of images and sounds: raw pixels and raw sound bound them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from batch_runner.model import FACTS

VIDEO_BYTES_PER_S: Final[Mapping[str, int]] = {"720p": 2_400_000, "1080p": 5_400_000, "4k": 21_600_000}
IMAGE_BYTES: Final[Mapping[str, int]] = {"1k": 3_200_000, "2k": 12_600_000, "4k": 50_400_000}
AUDIO_BYTES_PER_S: Final = 200_000
RECORD_BYTES: Final = 64 * 1024
"""A file of ids and facts."""

_MODES: Final[Mapping[str, str]] = {"std": "720p", "pro": "1080p"}
_LONGEST_USUAL_S: Final = 30
"""Stands in where the length follows from a source that nobody measured here."""


def expected_bytes(files: Iterable[tuple[str, int]], grade: str, clip_s: int | None) -> int:
    """Bytes to keep free for a task's files, on the safe side.

    Args:
        files: each kind of file that the task makes (``video``, ``image``, ``audio``, ``facts``), with how many.
        grade: its mode or resolution, or an empty text when nobody says.
        clip_s: seconds of the clip, or None when nobody says.
    """
    size = _MODES.get(grade, grade)
    seconds = clip_s or _LONGEST_USUAL_S
    each = {
        "video": seconds * VIDEO_BYTES_PER_S.get(size, VIDEO_BYTES_PER_S["1080p"]),
        "image": IMAGE_BYTES.get(size, IMAGE_BYTES["2k"]),
        "audio": seconds * AUDIO_BYTES_PER_S,
        FACTS: RECORD_BYTES,
    }
    return sum(count * each[kind] for kind, count in files)
