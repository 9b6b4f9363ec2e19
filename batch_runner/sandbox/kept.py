"""A request as the service remembers it: media as digests, and nobody's callback address."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

_MEDIA = frozenset(
    {
        *("image", "images", "image_tail", "static_mask", "mask", "image_url", "video_url", "subject_image"),
        *("scene_image", "style_image", "human_image", "cloth_image", "element_frontal_image", "frontal_image"),
        *("sound_file", "audio_file", "audio_url", "voice_url"),
    }
)


def digest(text: str) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def kept(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without what is large or nobody's business."""
    return {field: _without_media(field, value) for field, value in body.items() if field != "callback_url"}


def _without_media(field: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_media(name, inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_media(field, inner) for inner in value]
    return digest(value) if isinstance(value, str) and field in _MEDIA else value
