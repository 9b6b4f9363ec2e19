"""Videos of people who speak or move as another does: lip-sync, faces, avatar, motion-control."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batch_runner.sandbox.codes import (
    LANGUAGE_UNKNOWN,
    VOICE_UNKNOWN,
    Denied,
    empty,
    invalid,
    unknown_source,
)
from batch_runner.sandbox.products import clauses, media
from batch_runner.sandbox.products.editing import parent_facts, session_of
from batch_runner.sandbox.products.listed import READERS
from batch_runner.sandbox.products.media import Seen
from batch_runner.sandbox.products.models import CLASSIC
from batch_runner.sandbox.products.product import Order, Pace, Product, Request

FACES = "identify-face"
_SHORTEST_S, _LONGEST_S = 2, 60
_SHORTEST_SPEECH_S, _LONGEST_AVATAR_S = 2, 300
_LEAST_MS = 2000
_LONGEST_LINE = 120
_LONGEST_MOVE_S = {"video": 30, "image": 10}


def _lip_input(request: Request) -> Denied | None:
    if not isinstance(request.given("input"), dict):
        return empty("input")
    mode = request.given("input.mode")
    if mode not in ("text2video", "audio2video"):
        return empty("mode") if mode is None else invalid("mode", mode)
    rule = _lip_text if mode == "text2video" else _lip_audio
    return clauses.one_of("input.video_id", "input.video_url")(request) or rule(request)


def _lip_text(request: Request) -> Denied | None:
    words = request.given("input.text")
    if not isinstance(words, str) or len(words) > _LONGEST_LINE:
        return empty("text") if words is None else invalid("text", words)
    if request.given("input.voice_language") not in ("zh", "en"):
        return LANGUAGE_UNKNOWN
    if not clauses.is_word(request.given("input.voice_id"), READERS):
        return VOICE_UNKNOWN
    speed = request.given("input.voice_speed")
    return None if speed is None or clauses.is_number(speed, 0.8, 2.0) else invalid("voice_speed", speed)


def _lip_audio(request: Request) -> Denied | None:
    kind = request.given("input.audio_type")
    if kind not in ("file", "url"):
        return empty("audio_type") if kind is None else invalid("audio_type", kind)
    return clauses.needed("input.audio_file" if kind == "file" else "input.audio_url")(request)


def _lips(request: Request) -> Order | Denied:
    seen = media.video(request, "input.video_id", "input.video_url", _SHORTEST_S, _LONGEST_S)
    if isinstance(seen, Denied):
        return seen
    lengths = dict(seen.lengths)
    if request.given("input.mode") == "audio2video":
        field = "input.audio_file" if request.given("input.audio_type") == "file" else "input.audio_url"
        heard = media.sound(request, field, request.given(field), _SHORTEST_SPEECH_S, _LONGEST_S)
        if isinstance(heard, Denied):
            return heard
        lengths |= heard.lengths
    return _spoken_over(request, seen, lengths)


def _spoken_over(request: Request, seen: Seen, lengths: Mapping[str, Any]) -> Order:
    source = seen.source
    return Order(
        request.median_s(source.length_s),
        source.aspect,
        source.length_s,
        sound=True,
        lengths=dict(lengths),
        facts=parent_facts(source),
    )


def _faces(request: Request) -> Order | Denied:
    seen = media.video(request, "video_id", "video_url", _SHORTEST_S, _LONGEST_S)
    if isinstance(seen, Denied):
        return seen
    source = seen.source
    return Order(0, source.aspect, source.length_s, lengths=seen.lengths, facts=parent_facts(source))


def _face_choice(request: Request) -> Denied | None:
    chosen = request.given("face_choose")
    if not isinstance(chosen, list) or len(chosen) != 1 or not isinstance(chosen[0], dict):
        return invalid("face_choose", chosen)
    row = chosen[0]
    for name in ("face_id", "sound_start_time", "sound_end_time", "sound_insert_time"):
        if row.get(name) in (None, ""):
            return empty(name)
    for name in ("sound_start_time", "sound_end_time", "sound_insert_time"):
        if not clauses.is_whole(row[name], 0, 3_600_000):
            return invalid(name, row[name])
    if bool(row.get("audio_id")) == bool(row.get("sound_file")):
        return empty("audio_id") if not row.get("audio_id") else invalid("sound_file", "with audio_id")
    for name in ("sound_volume", "original_audio_volume"):
        if row.get(name) is not None and not clauses.is_number(row[name], 0, 2):
            return invalid(name, row[name])
    return None


def _one_face(request: Request) -> Order | Denied:
    session = session_of(request, FACES)
    if isinstance(session, Denied):
        return session
    row = request.given("face_choose")[0]
    heard = media.spoken(request, "face_choose[].", row, _SHORTEST_SPEECH_S, _LONGEST_S)
    if isinstance(heard, Denied):
        return heard
    if str(row["face_id"]) != session.source.facts["face_id"]:
        return unknown_source("Face", str(row["face_id"]))
    wrong = _crop(row, heard.source.length_s, session.source.length_s)
    lengths = {**heard.lengths, "session_id": media.exact(session.source.length_s)}
    return wrong or _spoken_over(request, Seen(session.source), lengths)


def _crop(row: Mapping[str, Any], heard_s: float, video_s: float) -> Denied | None:
    """At least two seconds of the sound, put where the face is seen for as long, and inside the video."""
    start_ms, end_ms, at_ms = (int(row[name]) for name in ("sound_start_time", "sound_end_time", "sound_insert_time"))
    if end_ms - start_ms < _LEAST_MS or end_ms > round(heard_s * 1000):
        return invalid("sound_end_time", row["sound_end_time"])
    inside = min(at_ms + end_ms - start_ms, round(video_s * 1000)) - at_ms >= _LEAST_MS
    return None if inside else invalid("sound_insert_time", row["sound_insert_time"])


def _avatar(request: Request) -> Order | Denied:
    picture = media.pictures(request, "image")
    if isinstance(picture, Denied):
        return picture
    heard = media.spoken(request, "", request.body, _SHORTEST_SPEECH_S, _LONGEST_AVATAR_S)
    if isinstance(heard, Denied):
        return heard
    length_s = heard.source.length_s
    return Order(
        request.median_s(length_s), picture.aspect, length_s, sound=True, trouble=picture.trouble, lengths=heard.lengths
    )


def _element_of_motion(request: Request) -> Denied | None:
    listed = request.given("element_list")
    if listed is None:
        return None
    if request.model_name != "kling-v3" or request.given("character_orientation") != "video":
        return invalid("element_list", f"with {request.model_name} {request.given('character_orientation')}")
    return clauses.elements_exist(request)


def moved(request: Request) -> Order | Denied:
    """A clip as long as the motion that is copied, in the shape of the picture."""
    picture = media.pictures(request, "image_url")
    if isinstance(picture, Denied):
        return picture
    longest_s = _LONGEST_MOVE_S[request.given("character_orientation")]
    seen = media.linked(request, "video_url", request.given("video_url"), 3, longest_s)
    if isinstance(seen, Denied):
        return seen
    length_s = seen.source.length_s
    sound = request.given("keep_original_sound") != "no" and request.given("audio") != "off"
    return Order(
        request.median_s(length_s),
        picture.aspect,
        length_s,
        sound=sound,
        trouble=picture.trouble,
        lengths=seen.lengths,
    )


_EITHER_MODE = clauses.choice("mode", "std", "pro")

PRODUCTS = (
    Product(
        kind="lip-sync",
        path="/v1/videos/lip-sync",
        rules=(_lip_input, clauses.own_words),
        order=_lips,
        pace={"": Pace(455)},
        texts=("input.text",),
    ),
    Product(
        kind=FACES,
        path="/v1/videos/identify-face",
        rules=(clauses.one_of("video_id", "video_url"),),
        order=_faces,
        pace={"": Pace(0)},
        makes="faces",
        texts=(),
        is_sync=True,
    ),
    Product(
        kind="advanced-lip-sync",
        path="/v1/videos/advanced-lip-sync",
        rules=(clauses.needed("session_id", "face_choose"), _face_choice, clauses.own_words),
        order=_one_face,
        pace={"": Pace(455)},
        texts=(),
    ),
    Product(
        kind="avatar",
        path="/v1/videos/avatar/image2video",
        rules=(
            clauses.needed("image"),
            clauses.one_of("audio_id", "sound_file"),
            clauses.text("prompt"),
            _EITHER_MODE,
            clauses.own_words,
        ),
        order=_avatar,
        pace={"": Pace(600, 10)},
    ),
    Product(
        kind="motion-control",
        path="/v1/videos/motion-control",
        rules=(
            clauses.model,
            clauses.needed("image_url", "video_url", "character_orientation", "mode"),
            clauses.choice("character_orientation", *_LONGEST_MOVE_S),
            _EITHER_MODE,
            clauses.choice("keep_original_sound", "yes", "no"),
            clauses.text("prompt"),
            clauses.rows("element_list", 1, 1),
            _element_of_motion,
            clauses.own_words,
        ),
        order=moved,
        pace={name: CLASSIC[name].pace for name in ("kling-v2-6", "kling-v3")},
        models=frozenset({"kling-v2-6", "kling-v3"}),
        default_model="kling-v2-6",
    ),
)
