"""The pictures, videos and sounds that requests carry: by id, by link or as base64."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from yarl import URL

from batch_runner.sandbox import measure
from batch_runner.sandbox.codes import BAD_BASE64, Code, Denied, invalid, unknown_source
from batch_runner.sandbox.pictures import Picture, read_picture
from batch_runner.sandbox.products.product import Request, Source

_EXCESS_S = 0.1
ASSUMED_S = 5.0
LENGTH_HINT = "sandbox-seconds"
"""A link from elsewhere is not followed: its file lasts ``ASSUMED_S``, unless its query says ``sandbox-seconds=12``."""

_LARGEST_SOUND_BYTES = 5 * 1024 * 1024
_SCHEMES = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found in a request's media.

    Attributes:
        source: the file that decides the result, if there is one.
        lengths: seconds by field.
    """

    source: Source
    lengths: Mapping[str, Decimal] = field(default_factory=dict)


def exact(length_s: float) -> Decimal:
    """Seconds as they are billed: to the millisecond."""
    return Decimal(f"{length_s:.3f}")


def pictures(request: Request, *fields: str) -> Picture | Denied:
    """All pictures in these fields (``list[].key`` for rows): the first one's shape, and the first trouble."""
    found: list[Picture] = []
    for name, value in _values(request, fields):
        one = picture(request, name, value)
        if isinstance(one, Denied):
            return one
        found.append(one)
    if not found:
        return Picture(aspect=request.aspect)
    return Picture(found[0].aspect, next((one.trouble for one in found if one.trouble), ""))


def _values(request: Request, fields: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name in fields:
        rows, _, key = name.partition("[].")
        value = request.given(rows)
        if not key:
            yield from () if value is None else ((name, value),)
            continue
        for row in value or ():
            yield key, row.get(key)


def picture(request: Request, name: str, value: Any) -> Picture | Denied:
    """A picture by link or as base64."""
    if not isinstance(value, str):
        return invalid(name, value)
    known = request.known.link(value) if value.startswith(_SCHEMES) else None
    return read_picture(name, value) if known is None else Picture(_clip_shape(known.aspect))


def _clip_shape(aspect: str) -> str:
    """The nearest of the three shapes that clips have."""
    across, down = map(int, aspect.split(":"))
    return "1:1" if across == down else "16:9" if across > down else "9:16"


def video(request: Request, id_field: str, url_field: str, low_s: float, high_s: float) -> Seen | Denied:
    """The video that a request starts from, by its id or by a link; it may last ``low_s`` to ``high_s``."""
    video_id = request.given(id_field)
    if video_id is not None:
        return _known_video(request, id_field, str(video_id), low_s, high_s)
    return linked(request, url_field, request.given(url_field), low_s, high_s)


def _known_video(request: Request, name: str, video_id: str, low_s: float, high_s: float) -> Seen | Denied:
    source = request.known.video(video_id)
    if source is None:
        return unknown_source("From video", video_id)
    return _of_length(name, source, low_s, high_s)


def linked(request: Request, name: str, value: Any, low_s: float, high_s: float) -> Seen | Denied:
    """The file behind a link; base64 is not taken here."""
    if not isinstance(value, str) or not value.startswith(_SCHEMES):
        return invalid(name.rpartition(".")[2], value)
    return _of_length(name, request.known.link(value) or Source(_told_s(value)), low_s, high_s)


def _told_s(url: str) -> float:
    try:
        told_s = float(URL(url).query.get(LENGTH_HINT, ASSUMED_S))
    except ValueError:
        return ASSUMED_S
    return told_s if 0 < told_s < float("inf") else ASSUMED_S


def _of_length(name: str, source: Source, low_s: float, high_s: float) -> Seen | Denied:
    # Files last a little longer than what was ordered: the recorded excess is 41 ms.
    if not low_s <= source.length_s <= high_s + _EXCESS_S:
        return invalid(name.rpartition(".")[2], f"duration {source.length_s:g}")
    return Seen(source, {name: exact(source.length_s)})


def spoken(request: Request, prefix: str, row: Mapping[str, Any], low_s: float, high_s: float) -> Seen | Denied:
    """The speech that a request brings: ``audio_id`` of a spoken text, or ``sound_file`` by link or as base64."""
    audio_id = row.get("audio_id")
    if audio_id:
        source = request.known.audio(str(audio_id))
        if source is None:
            return unknown_source("Audio", str(audio_id))
        return _of_length(f"{prefix}audio_id", source, low_s, high_s)
    return sound(request, f"{prefix}sound_file", row.get("sound_file"), low_s, high_s)


def sound(request: Request, name: str, value: Any, low_s: float, high_s: float) -> Seen | Denied:
    """A sound by link or as base64."""
    if isinstance(value, str) and value.startswith(_SCHEMES):
        return linked(request, name, value, low_s, high_s)
    if not isinstance(value, str):
        return invalid(name.rpartition(".")[2], value)
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return BAD_BASE64
    field_name = name.rpartition(".")[2]
    if len(data) > _LARGEST_SOUND_BYTES:
        return Denied(Code.BAD_VALUE, f"{field_name} file size is invalid")
    length_s = measure.length_s(data)
    if length_s is None:
        return Denied(Code.BAD_VALUE, f"{field_name} file format is invalid")
    return _of_length(name, Source(length_s), low_s, high_s)
