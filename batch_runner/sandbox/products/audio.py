"""Sounds: from a text, for a video, and texts read aloud."""

from __future__ import annotations

from batch_runner.sandbox.codes import LANGUAGE_UNKNOWN, VOICE_UNKNOWN, Denied, invalid
from batch_runner.sandbox.products import clauses, media
from batch_runner.sandbox.products.editing import parent_facts
from batch_runner.sandbox.products.listed import READERS
from batch_runner.sandbox.products.product import Order, Pace, Product, Request

_LONGEST_WISH = 200
_LONGEST_READING = 1000
_SECONDS_PER_CHARACTER = {"zh": 0.24, "en": 0.07}
_SHORTEST_READING_S = 2.0
_SPEEDS = (0.8, 2.0)


def _one_decimal(request: Request) -> Denied | None:
    value = request.given("duration")
    fits = clauses.is_number(value, 3, 10) and round(value, 1) == value
    return None if fits else invalid("duration", value)


def _sounds(request: Request) -> Order | Denied:
    length_s = request.given("duration")
    return Order(request.median_s(length_s), length_s=length_s)


def _for_video(request: Request) -> Order | Denied:
    seen = media.video(request, "video_id", "video_url", 3, 20)
    if isinstance(seen, Denied):
        return seen
    source = seen.source
    return Order(
        request.median_s(source.length_s),
        source.aspect,
        source.length_s,
        sound=True,
        lengths=seen.lengths,
        facts=parent_facts(source),
    )


def _voice(request: Request) -> Denied | None:
    if not clauses.is_word(request.given("voice_language") or "zh", _SECONDS_PER_CHARACTER):
        return LANGUAGE_UNKNOWN
    return None if clauses.is_word(request.given("voice_id"), READERS) else VOICE_UNKNOWN


def _read_aloud(request: Request) -> Order | Denied:
    low, high = _SPEEDS
    speed = min(max(float(request.given("voice_speed") or 1), low), high)  # clamped, as documented
    per_character_s = _SECONDS_PER_CHARACTER[request.given("voice_language") or "zh"]
    spoken_s = max(_SHORTEST_READING_S, len(request.given("text")) * per_character_s / speed)
    return Order(0, length_s=round(spoken_s, 3))


PRODUCTS = (
    Product(
        kind="text-to-audio",
        path="/v1/audio/text-to-audio",
        rules=(
            clauses.needed("prompt", "duration"),
            clauses.text("prompt", _LONGEST_WISH),
            _one_decimal,
            clauses.own_words,
        ),
        order=_sounds,
        pace={"": Pace(20, 1)},
        makes="audios",
    ),
    Product(
        kind="video-to-audio",
        path="/v1/audio/video-to-audio",
        rules=(
            clauses.one_of("video_id", "video_url"),
            clauses.text("sound_effect_prompt", _LONGEST_WISH),
            clauses.text("bgm_prompt", _LONGEST_WISH),
            clauses.flag("asmr_mode"),
            clauses.own_words,
        ),
        order=_for_video,
        pace={"": Pace(40, 2)},
        texts=("sound_effect_prompt", "bgm_prompt"),
    ),
    Product(
        kind="tts",
        path="/v1/audio/tts",
        rules=(
            clauses.needed("text", "voice_id"),
            clauses.text("text", _LONGEST_READING),
            _voice,
            clauses.number("voice_speed", 0, 100),
        ),
        order=_read_aloud,
        pace={"": Pace(0)},
        makes="audios",
        texts=("text",),
        is_sync=True,
    ),
)
