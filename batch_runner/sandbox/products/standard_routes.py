"""The routes of the new standard as a table: what each takes. Source: the vendor's pages, September 2026."""

from __future__ import annotations

from dataclasses import dataclass

from batch_runner.sandbox.products.contents import Shape
from batch_runner.sandbox.products.product import Pace

TURBO, O1 = "kling-3.0-turbo", "kling-o1"
_LONG, _USUAL = 3072, 2500
_HD, _ALL = ("720p", "1080p"), ("720p", "1080p", "4k")
_FIVE_TEN = (5, 10)
_THREE_TO_FIFTEEN = tuple(range(3, 16))
_EVERY_AUDIO = ("native", "original", "off")
"""``audio`` is looked at on every route, also where the reference does not name it."""
_OMNI_TYPES = frozenset(
    {"prompt", "first_frame", "last_frame", "refer_image", "feature_video", "base_video", "element"}
)


@dataclass(frozen=True, slots=True)
class Standard:
    """One route.

    Attributes:
        family, model: the two parts of its path.
        kind: the product it makes.
        pace: how long it takes.
        prompt_most: the longest prompt in characters.
        contents: the types of its contents; none where the prompt stands by itself.
        resolutions, durations, audio: what its settings may say; no durations where the source decides.
        has_aspect: whether ``aspect_ratio`` is a setting.
        has_shots: whether ``multi_shot`` is a setting.
        always_sounds: whether every clip has a sound track.
        hd_only: what is possible in 1080p alone: ``audio``, ``last_frame``.
    """

    family: str
    model: str
    kind: str
    pace: Pace
    prompt_most: int = _USUAL
    contents: frozenset[str] = frozenset()
    resolutions: tuple[str, ...] = _HD
    durations: tuple[int, ...] = _FIVE_TEN
    audio: tuple[str, ...] = _EVERY_AUDIO
    has_aspect: bool = False
    has_shots: bool = False
    always_sounds: bool = False
    hd_only: frozenset[str] = frozenset()

    @property
    def path(self) -> str:
        """Where it is created."""
        return f"/{self.family}/{self.model}"

    @property
    def shape(self) -> Shape:
        """How its body is read."""
        return Shape(self.contents, is_omni=self.family == "omni-video")


def _types(*names: str) -> frozenset[str]:
    return frozenset({"prompt", *names})


_TURBO_PACE, _V3_PACE, _OMNI_PACE = Pace(16, 4), Pace(85, 10), Pace(59, 8)
_V26_PACE, _V25_PACE = Pace(30, 6), Pace(22, 3)

ROUTES = (
    Standard("text-to-video", TURBO, "text2video", _TURBO_PACE, _LONG, durations=_THREE_TO_FIFTEEN, has_aspect=True,
             always_sounds=True),
    Standard("image-to-video", TURBO, "image2video", _TURBO_PACE, contents=_types("first_frame"),
             durations=_THREE_TO_FIFTEEN, always_sounds=True),
    Standard("text-to-video", "kling-3.0", "text2video", _V3_PACE, _LONG, resolutions=_ALL,
             durations=_THREE_TO_FIFTEEN, audio=("native", "off"), has_aspect=True, has_shots=True),
    Standard("image-to-video", "kling-3.0", "image2video", _V3_PACE, _LONG,
             contents=_types("first_frame", "last_frame", "element"), resolutions=_ALL, durations=_THREE_TO_FIFTEEN,
             audio=("native", "off"), has_shots=True),
    Standard("omni-video", "kling-3.0-omni", "omni-video", _OMNI_PACE, _LONG, contents=_OMNI_TYPES, resolutions=_ALL,
             durations=_THREE_TO_FIFTEEN, has_aspect=True, has_shots=True),
    Standard("omni-video", O1, "omni-video", _OMNI_PACE, contents=_OMNI_TYPES, durations=tuple(range(3, 11)),
             audio=("original", "off"), has_aspect=True),
    Standard("motion-control", "kling-3.0", "motion-control", _V3_PACE, contents=_types("image", "video", "element"),
             durations=(), audio=("original", "off")),
    Standard("motion-control", "kling-2.6", "motion-control", _V26_PACE, contents=_types("image", "video"),
             durations=(), audio=("original", "off")),
    Standard("text-to-video", "kling-2.6", "text2video", _V26_PACE, audio=("native", "off"), has_aspect=True,
             hd_only=frozenset({"audio"})),
    Standard("image-to-video", "kling-2.6", "image2video", _V26_PACE,
             contents=_types("first_frame", "last_frame", "voice"), audio=("native", "off"),
             hd_only=frozenset({"audio", "last_frame"})),
    Standard("text-to-video", "kling-2.5-turbo", "text2video", _V25_PACE, has_aspect=True),
    Standard("image-to-video", "kling-2.5-turbo", "image2video", _V25_PACE,
             contents=_types("first_frame", "last_frame"), hd_only=frozenset({"last_frame"})),
)  # fmt: skip
