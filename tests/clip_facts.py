"""What the capability map says of the classic clips, typed in here by hand: models, modes, lengths, extras."""

from __future__ import annotations

from typing import Any

T, I = "text2video", "image2video"  # noqa: E741 - the vendor's table is headed T and I
PICTURE = "picture.png"
ALL_MODELS = (
    "kling-v1",
    "kling-v1-5",
    "kling-v1-6",
    "kling-v2-master",
    "kling-v2-1",
    "kling-v2-1-master",
    "kling-v2-5-turbo",
    "kling-v2-6",
    "kling-v3",
)
FIVE_TEN = (5, 10)
THREE_TO_FIFTEEN = tuple(range(3, 16))
STD, PRO, FOUR_K = "std", "pro", "4k"

# Kinds, model, modes (none where the model takes no mode), lengths.
MADE: list[tuple[tuple[str, ...], str, tuple[str, ...], tuple[int, ...]]] = [
    ((T, I), "kling-v1", (STD, PRO), FIVE_TEN),
    ((I,), "kling-v1-5", (STD, PRO), FIVE_TEN),
    ((T, I), "kling-v1-6", (STD, PRO), FIVE_TEN),
    ((T, I), "kling-v2-master", (), FIVE_TEN),
    ((I,), "kling-v2-1", (STD, PRO), FIVE_TEN),
    ((T, I), "kling-v2-1-master", (), FIVE_TEN),
    ((T, I), "kling-v2-5-turbo", (STD, PRO), FIVE_TEN),
    ((T, I), "kling-v2-6", (STD, PRO), FIVE_TEN),
    ((T, I), "kling-v3", (STD, PRO, FOUR_K), THREE_TO_FIFTEEN),
]

MASK = {"mask": PICTURE, "trajectories": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}
USES: dict[str, dict[str, Any]] = {
    "sound": {"sound": "on"},
    "camera": {"camera_control": {"type": "forward_up"}},
    "camera_simple": {"camera_control": {"type": "simple", "config": {"pan": 3}}},
    "end_frame": {"image": PICTURE, "image_tail": PICTURE},
    "end_frame_silenced": {"image": PICTURE, "image_tail": PICTURE, "sound": "off"},
    "end_frame_with_sound": {"image": PICTURE, "image_tail": PICTURE, "sound": "on"},
    "end_frame_only": {"image": None, "image_tail": PICTURE},
    "dynamic_brush": {"dynamic_masks": [MASK]},
    "static_brush": {"static_mask": PICTURE},
    "both_brushes": {"static_mask": PICTURE, "dynamic_masks": [MASK]},
    "shots": {"multi_shot": True, "shot_type": "intelligence"},
    "shots_with_frames": {"multi_shot": True, "shot_type": "intelligence", "image": PICTURE, "image_tail": PICTURE},
    "elements": {"element_list": [{"element_id": 160}]},
    "voices": {"sound": "on", "voice_list": [{"voice_id": "v"}]},
    "cfg": {"cfg_scale": 0.7},
}
ONLY_IMAGES = {
    "end_frame",
    "end_frame_silenced",
    "end_frame_with_sound",
    "end_frame_only",
    "dynamic_brush",
    "static_brush",
    "both_brushes",
    "shots_with_frames",
    "elements",
}
# What, on which kinds, of which model, in which modes, for which lengths.
GRANTED: list[tuple[str, tuple[str, ...], str, tuple[str, ...], tuple[int, ...]]] = [
    ("camera", (T,), "kling-v1", (STD,), (5,)),
    ("camera_simple", (T,), "kling-v1", (STD,), (5,)),
    ("camera_simple", (I,), "kling-v1-5", (PRO,), (5,)),
    ("end_frame", (I,), "kling-v1", (STD, PRO), (5,)),
    ("end_frame", (I,), "kling-v1-5", (PRO,), FIVE_TEN),
    ("end_frame", (I,), "kling-v1-6", (PRO,), FIVE_TEN),
    ("end_frame", (I,), "kling-v2-1", (PRO,), FIVE_TEN),
    ("end_frame", (I,), "kling-v2-5-turbo", (PRO,), FIVE_TEN),
    ("end_frame", (I,), "kling-v2-6", (PRO,), FIVE_TEN),
    ("end_frame", (I,), "kling-v3", (STD, PRO, FOUR_K), THREE_TO_FIFTEEN),
    ("end_frame_with_sound", (I,), "kling-v3", (STD, PRO, FOUR_K), THREE_TO_FIFTEEN),
    ("end_frame_only", (I,), "kling-v1-5", (PRO,), FIVE_TEN),
    ("end_frame_only", (I,), "kling-v1-6", (PRO,), FIVE_TEN),
    ("dynamic_brush", (I,), "kling-v1", (STD, PRO), (5,)),
    ("dynamic_brush", (I,), "kling-v1-5", (PRO,), (5,)),
    ("sound", (T, I), "kling-v2-6", (PRO,), FIVE_TEN),
    ("sound", (T, I), "kling-v3", (STD, PRO, FOUR_K), THREE_TO_FIFTEEN),
    ("shots", (T, I), "kling-v3", (STD, PRO, FOUR_K), THREE_TO_FIFTEEN),
    ("shots_with_frames", (I,), "kling-v3", (STD, PRO, FOUR_K), THREE_TO_FIFTEEN),
    ("elements", (I,), "kling-v3", (STD, PRO, FOUR_K), THREE_TO_FIFTEEN),
    ("voices", (I,), "kling-v2-6", (PRO,), FIVE_TEN),
    ("cfg", (T, I), "kling-v1", (STD, PRO), FIVE_TEN),
    ("cfg", (I,), "kling-v1-5", (STD, PRO), FIVE_TEN),
    ("cfg", (T, I), "kling-v1-6", (STD, PRO), FIVE_TEN),
    ("cfg", (T, I), "kling-v3", (STD, PRO, FOUR_K), THREE_TO_FIFTEEN),
]
SAME_AS = {
    "static_brush": "dynamic_brush",
    "both_brushes": "dynamic_brush",
    "end_frame_silenced": "end_frame",
}


def is_made(kind: str, model: str, mode: str | None, clip_s: int) -> bool:
    return any(
        kind in kinds and model == name and (mode is None or mode in modes) and clip_s in durations
        for kinds, name, modes, durations in MADE
    )


def is_granted(use: str, kind: str, model: str, mode: str | None, clip_s: int) -> bool:
    asked = SAME_AS.get(use, use)
    return any(
        asked == name and kind in kinds and model == of and (mode or STD) in modes and clip_s in durations
        for name, kinds, of, modes, durations in GRANTED
    )
