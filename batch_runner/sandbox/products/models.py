"""What each model can do, as tables.

Source: the vendor's capability map and create references (March to autumn 2026);
paces are fitted to latencies that integrators reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from batch_runner.sandbox.products.product import Pace

_SHORT = (5,)
_FIVE_TEN = (5, 10)
_THREE_TO_TEN = tuple(range(3, 11))
_THREE_TO_FIFTEEN = tuple(range(3, 16))

Lengths = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """What one video model can do.

    Attributes:
        lengths: legal clip lengths in whole seconds by mode.
        pace: how long it takes.
        sound: modes that can be asked for sound.
        end_frame: lengths for which an end frame is accepted, by mode.
        brush: lengths for which motion masks are accepted, by mode.
        camera: (kind, mode, length) for which camera control is accepted.
        multi_shot: whether several shots can be asked for.
        silent_end_frame: whether a clip with an end frame has to be silent.
    """

    lengths: Mapping[str, Lengths]
    pace: Pace
    sound: frozenset[str] = frozenset()
    end_frame: Mapping[str, Lengths] = field(default_factory=dict)
    brush: Mapping[str, Lengths] = field(default_factory=dict)
    camera: frozenset[tuple[str, str, int]] = frozenset()
    multi_shot: bool = False
    silent_end_frame: bool = False


def _both(lengths: Lengths) -> dict[str, Lengths]:
    return {"std": lengths, "pro": lengths}


def _all(lengths: Lengths) -> dict[str, Lengths]:
    return dict.fromkeys(("std", "pro", "4k"), lengths)


CLASSIC: Mapping[str, Model] = {
    "kling-v1": Model(
        _both(_FIVE_TEN),
        Pace(100, 20),
        end_frame=_both(_SHORT),
        brush=_both(_SHORT),
        camera=frozenset({("text2video", "std", 5)}),
    ),
    "kling-v1-5": Model(
        _both(_FIVE_TEN),
        Pace(100, 20),
        end_frame={"pro": _FIVE_TEN},
        brush={"pro": _SHORT},
        camera=frozenset({("image2video", "pro", 5)}),
    ),
    "kling-v1-6": Model(_both(_FIVE_TEN), Pace(100, 20), end_frame={"pro": _FIVE_TEN}),
    "kling-v2-master": Model(_both(_FIVE_TEN), Pace(120, 20)),
    "kling-v2-1": Model(_both(_FIVE_TEN), Pace(45, 6), end_frame={"pro": _FIVE_TEN}),
    "kling-v2-1-master": Model(_both(_FIVE_TEN), Pace(90, 12)),
    "kling-v2-5-turbo": Model(_both(_FIVE_TEN), Pace(22, 3), end_frame={"pro": _FIVE_TEN}),
    "kling-v2-6": Model(
        _both(_FIVE_TEN),
        Pace(30, 6),
        sound=frozenset({"pro"}),
        end_frame={"pro": _FIVE_TEN},
        silent_end_frame=True,
    ),
    "kling-v3": Model(
        _all(_THREE_TO_FIFTEEN),
        Pace(85, 10),
        sound=frozenset({"std", "pro", "4k"}),
        end_frame=_all(_THREE_TO_FIFTEEN),
        multi_shot=True,
    ),
}
"""Models of text2video and image2video."""

OMNI: Mapping[str, Model] = {
    "kling-video-o1": Model(_both(_THREE_TO_TEN), Pace(60, 8)),
    "kling-v3-omni": Model(
        _all(_THREE_TO_FIFTEEN), Pace(60, 8), sound=frozenset({"std", "pro", "4k"}), multi_shot=True
    ),
}
"""Models of omni-video."""

FIRST_GENERATION = frozenset({"kling-v1", "kling-v1-5", "kling-v1-6"})
IMAGE_TO_VIDEO_ONLY = frozenset({"kling-v1-5", "kling-v2-1"})


@dataclass(frozen=True, slots=True)
class Painter:
    """What one image model can do.

    Attributes:
        resolutions: what can be asked for.
        aspects: shapes that can be asked for.
        references: what a picture can be a reference for (``subject``, ``face``).
        elements: whether elements can be named.
        image: whether a request ``may`` have a picture, ``must`` have one, or only as a ``reference``.
        has_fidelity: whether it can be told how close to keep to the picture.
    """

    resolutions: tuple[str, ...] = ("1k", "2k")
    aspects: tuple[str, ...] = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")
    references: tuple[str, ...] = ()
    elements: bool = False
    image: str = "may"
    has_fidelity: bool = False


PAINTERS: Mapping[str, Painter] = {
    "kling-v1": Painter(("1k",), Painter().aspects[:-1]),
    "kling-v1-5": Painter(("1k",), references=("subject", "face"), image="reference"),
    "kling-v2": Painter(),
    "kling-v2-new": Painter(aspects=(), image="must"),
    "kling-v2-1": Painter(references=("subject", "face"), elements=True, has_fidelity=True),
    "kling-v3": Painter(elements=True),
}
"""Models of images/generations; those before v2-1 stand in the reference of 2025."""

OMNI_PAINTERS: Mapping[str, Painter] = {
    "kling-image-o1": Painter(),
    "kling-v3-omni": Painter(("1k", "2k", "4k")),
}
"""Models of images/omni-image."""

FITTERS = frozenset({"kolors-virtual-try-on-v1", "kolors-virtual-try-on-v1-5"})
"""Models of virtual try-on."""

EVERY = frozenset({*CLASSIC, *OMNI, *PAINTERS, *OMNI_PAINTERS, *FITTERS})
"""A model that one of the products knows is told apart from one that nobody has heard of."""
