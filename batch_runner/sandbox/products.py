"""What the simulated service offers, as data: models, modes, lengths, extras and how long they take.

This is the server's own list, kept apart from the program's catalogue on purpose: a mistake in one of
them shows as a refusal. Source: the vendor's capability map and create references (March to autumn 2026);
paces are fitted to latencies that integrators reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from batch_runner.model import Pack

_SHORT = (5,)
_FIVE_TEN = (5, 10)
_THREE_TO_FIFTEEN = tuple(range(3, 16))

Lengths = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pace:
    """The median seconds from submission to the end, in ``std``: start + per_second x clip length."""

    start_s: float
    per_second_s: float

    def median_s(self, length_s: int, mode: str) -> float:
        """The median for a clip of that length and mode."""
        return _MODE_FACTOR.get(mode, 1.0) * (self.start_s + self.per_second_s * length_s)


_MODE_FACTOR = {"std": 1.0, "pro": 1.4, "4k": 2.5}


@dataclass(frozen=True, slots=True)
class Model:
    """What one model can do.

    Attributes:
        lengths: legal clip lengths in whole seconds by mode.
        pace: how long it takes.
        sound: modes that can be asked for sound.
        end_frame: lengths for which an end frame is accepted, by mode.
        brush: lengths for which motion masks are accepted, by mode.
        camera: (kind, mode, length) for which camera control is accepted.
        multi_shot: whether several shots can be asked for.
    """

    lengths: Mapping[str, Lengths]
    pace: Pace
    sound: frozenset[str] = frozenset()
    end_frame: Mapping[str, Lengths] = field(default_factory=dict)
    brush: Mapping[str, Lengths] = field(default_factory=dict)
    camera: frozenset[tuple[str, str, int]] = frozenset()
    multi_shot: bool = False


@dataclass(frozen=True, slots=True)
class Product:
    """One kind of task.

    Attributes:
        kind: its name.
        path: where it is created, listed and, with an id behind it, queried.
        pack: the currency it is paid with.
        default_model: the model of a request that names none.
        models: the models it accepts.
        needs_prompt: whether a request without a prompt is refused.
        takes_image: whether it starts from a picture, which then decides the clip's shape.
        pace_factor: how the first generation's medians differ for this product (reported means: 164 s against 319 s).
    """

    kind: str
    path: str
    pack: Pack
    default_model: str
    models: frozenset[str]
    needs_prompt: bool
    takes_image: bool
    pace_factor: float = 1.0

    def median_s(self, model_name: str, length_s: int, mode: str) -> float:
        """The median seconds from submission to the end."""
        factor = self.pace_factor if model_name in _FIRST_GENERATION else 1.0
        return factor * MODELS[model_name].pace.median_s(length_s, mode)


def _both(lengths: Lengths) -> dict[str, Lengths]:
    return {"std": lengths, "pro": lengths}


MODELS: Mapping[str, Model] = {
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
    "kling-v2-6": Model(_both(_FIVE_TEN), Pace(30, 6), sound=frozenset({"pro"}), end_frame={"pro": _FIVE_TEN}),
    "kling-v3": Model(
        dict.fromkeys(("std", "pro", "4k"), _THREE_TO_FIFTEEN),
        Pace(85, 10),
        sound=frozenset({"std", "pro", "4k"}),
        end_frame=dict.fromkeys(("std", "pro", "4k"), _THREE_TO_FIFTEEN),
        multi_shot=True,
    ),
}

ELSEWHERE = frozenset({"kling-v3-omni", "kling-video-o1"})
"""Models that exist, but belong to products this service does not offer."""

_FIRST_GENERATION = frozenset({"kling-v1", "kling-v1-5", "kling-v1-6"})
_IMAGE_ONLY = frozenset({"kling-v1-5", "kling-v2-1"})

PRODUCTS: Mapping[str, Product] = {
    product.kind: product
    for product in (
        Product(
            kind="text2video",
            path="/v1/videos/text2video",
            pack=Pack.VIDEO,
            default_model="kling-v1",
            models=frozenset(MODELS) - _IMAGE_ONLY,
            needs_prompt=True,
            takes_image=False,
        ),
        Product(
            kind="image2video",
            path="/v1/videos/image2video",
            pack=Pack.VIDEO,
            default_model="kling-v1",
            models=frozenset(MODELS),
            needs_prompt=True,
            takes_image=True,
            pace_factor=0.55,
        ),
    )
}
