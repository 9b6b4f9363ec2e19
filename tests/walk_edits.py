"""Videos made from videos, faces and voices, and sounds: products of the first generation alone."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import product as cross
from typing import Any

from walk import PICTURE, PROMPT, SOUND, VIDEO, Illegal, Legal, Step, made_by

from batch_runner.catalog.load import packaged

CLIP, SPOKEN, FACES, SELECTION, ELEMENT = map(made_by, ("clip", "spoken", "faces", "selection", "element"))

# Model and mode of the clip that is extended: credits.
EXTENSIONS = {
    ("kling-v1", "std"): "1",
    ("kling-v1-5", "std"): "2",
    ("kling-v1-6", "std"): "2",
    ("kling-v1", "pro"): "3.5",
    ("kling-v1-5", "pro"): "3.5",
    ("kling-v1-6", "pro"): "3.5",
}
MOTION = {
    ("kling-v2-6", "std"): "0.5",
    ("kling-v2-6", "pro"): "0.8",
    ("kling-v3", "std"): "0.9",
    ("kling-v3", "pro"): "1.2",
}
MULTI_ELEMENTS = {"std": ("3", "6"), "pro": ("5", "10")}
AVATAR = {"std": "0.4", "pro": "0.8"}
DUAL_SCENES = 15
SINGLE_SCENES = 203
"""204, less one that was withdrawn and still stands in the list."""
WITHDRAWN = (
    *("celebration", "c4d_cartoon", "kiss", "fight", "hug", "thumbs_up", "tiger_hug", "pet_lion", "3d_cartoon_1"),
    "magic_match_tree",
)
OF_2025 = (
    *("fuzzyfuzzy", "squish", "expansion", "bloombloom", "dizzydizzy", "anime_figure", "rocketrocket", "jelly_press"),
    *("pixelpixel", "yearbook", "instant_film", "heart_gesture"),
)


def extensions() -> Iterator[Step]:
    kind, fields = "video-extend", {"video_id": CLIP}
    for (model, mode), credits_ in EXTENSIONS.items():
        inherited = {"model_name": model, "mode": mode}
        yield Legal(f"extension of {model} {mode}", kind, fields, Decimal(credits_), inherited=inherited)
        told = fields | {"prompt": PROMPT, "negative_prompt": "rain", "cfg_scale": 0.7}
        yield Legal(f"told extension of {model} {mode}", kind, told, Decimal(credits_), inherited=inherited)
    yield Legal("extension of a clip that is not known", kind, {"video_id": "831922345719271433"}, Decimal("3.5"))
    yield Illegal("extension of nothing", kind, {"prompt": PROMPT}, "video_id")
    yield Illegal("extension with a length", kind, fields | {"duration": 5}, "duration")
    yield Illegal("extension with a mode", kind, fields | {"mode": "pro"}, "mode")
    yield Illegal("extension with too free a hand", kind, fields | {"cfg_scale": 1.1}, "cfg_scale")


def motions() -> Iterator[Step]:
    kind, whole = "motion-control", {"image_url": PICTURE, "video_url": VIDEO}
    for (model, mode), orientation, sound in cross(MOTION, ("image", "video"), ("yes", "no")):
        name = f"motion {model} {mode} {orientation} {sound}"
        fields = whole | {"model_name": model, "mode": mode, "character_orientation": orientation}
        fields |= {"keep_original_sound": sound}
        for source, billed in (("3.2", 3), ("9.5", 10), *((("29.6", 30),) if orientation == "video" else ())):
            yield Legal(
                f"{name} of {source} s", kind, fields, Decimal(MOTION[model, mode]) * billed, source_s=Decimal(source)
            )
        element = fields | {"element_list": [{"element_id": ELEMENT}]}
        if model == "kling-v2-6":
            yield Illegal(f"{name}, an element", kind, element, "element_list")
        elif orientation == "image":
            yield Illegal(f"{name}, an element", kind, element, "character_orientation")
        else:
            cost = Decimal(MOTION[model, mode]) * 5
            yield Legal(f"{name}, an element", kind, element, cost, source_s=Decimal(5))
    fields = whole | {"mode": "std", "character_orientation": "video"}
    yield Legal("motion by default", kind, fields, Decimal("0.5") * 4, source_s=Decimal(4))
    yield Illegal("motion 4k", kind, fields | {"mode": "4k"}, "mode")
    yield Illegal("motion by kling-v1", kind, fields | {"model_name": "kling-v1"}, "model_name")
    yield Illegal("motion with a length", kind, fields | {"duration": 5}, "duration")
    for name in fields:
        yield Illegal(f"motion without {name}", kind, {key: fields[key] for key in fields if key != name}, name)
    two = fields | {"model_name": "kling-v3", "element_list": [{"element_id": ELEMENT}] * 2}
    yield Illegal("motion of two elements", kind, two, "element_list")


def selections() -> Iterator[Step]:
    points: list[dict[str, float]] = [{"x": 0.5, "y": 0.25}]
    one: dict[str, Any] = {"session_id": SELECTION, "frame_index": 3, "points": points}
    for kind in ("add-selection", "delete-selection"):
        yield Legal(kind, kind, one, Decimal(0))
        yield Legal(f"{kind}, ten points", kind, one | {"points": points * 10}, Decimal(0))
        yield Illegal(f"{kind}, eleven points", kind, one | {"points": points * 11}, "points")
        yield Illegal(f"{kind}, outside", kind, one | {"points": [{"x": 1.5, "y": 0}]}, "points[0].x")
        yield Illegal(f"{kind} of no frame", kind, {key: one[key] for key in ("session_id", "points")}, "frame_index")
    for kind in ("clear-selection", "preview-selection"):
        yield Legal(kind, kind, {"session_id": SELECTION}, Decimal(0))
        yield Illegal(f"{kind} of no session", kind, {}, "session_id")
    yield Legal("init-selection", "init-selection", {"video_id": CLIP}, None)
    yield Legal("init-selection by address", "init-selection", {"video_url": VIDEO}, None)
    yield Illegal("init-selection of nothing", "init-selection", {}, "video_id")
    yield Illegal("init-selection of two", "init-selection", {"video_id": CLIP, "video_url": VIDEO}, "video_url")


def multi_elements() -> Iterator[Step]:
    kind = "multi-elements"
    whole: dict[str, Any] = {"session_id": SELECTION, "prompt": "swap <<<video_1>>>"}
    right = {"addition": (1, 2), "swap": (1,), "removal": (0,)}
    for edit, count, (mode, (five, ten)) in cross(right, (0, 1, 2, 3), MULTI_ELEMENTS.items()):
        name = f"{edit} of {count} {mode}"
        images = {"image_list": [{"image": PICTURE}] * count} if count else {}
        fields = whole | {"edit_mode": edit, "mode": mode} | images
        if count in right[edit]:
            yield Legal(name, kind, fields, Decimal(five))
            yield Legal(f"{name}, 10 s", kind, fields | {"duration": 10}, Decimal(ten))
        else:
            yield Illegal(name, kind, fields, "image_list")
    fields = whole | {"edit_mode": "removal"}
    yield Illegal("multi-elements without an edit", kind, whole, "edit_mode")
    yield Illegal("multi-elements 7 s", kind, fields | {"duration": 7}, "duration")
    yield Illegal("multi-elements 4k", kind, fields | {"mode": "4k"}, "mode")
    yield Illegal("multi-elements by kling-v2-6", kind, fields | {"model_name": "kling-v2-6"}, "model_name")
    for name in ("session_id", "prompt"):
        yield Illegal(f"multi-elements without {name}", kind, {key: fields[key] for key in fields if key != name}, name)


def lip_sync() -> Iterator[Step]:
    kind = "lip-sync"
    text = {"mode": "text2video", "text": "good morning", "voice_id": "girlfriend_4_speech02", "voice_language": "en"}
    address = {"mode": "audio2video", "audio_type": "url", "audio_url": SOUND}
    lengths = (("2", 1), ("3", 1), ("5", 1), ("5.01", 2), ("12", 3), ("60", 12))
    for what, words in (("text", text), ("address", address)):
        for (source, begun), video in cross(lengths, ("url", "id")):
            if video == "id" and source in {"2", "60"}:
                continue  # no clip is so short or so long
            video_field = {"video_url": VIDEO} if video == "url" else {"video_id": CLIP}
            name = f"lip-sync by {what} of a {video} of {source} s"
            yield Legal(name, kind, {"input": video_field | words}, Decimal("0.5") * begun, source_s=Decimal(source))
        yield Illegal(f"lip-sync by {what} of no video", kind, {"input": words}, "input.video_id")
        both = {"video_url": VIDEO, "video_id": CLIP} | words
        yield Illegal(f"lip-sync by {what} of two", kind, {"input": both}, "input.video_url")
    whole = {"video_url": VIDEO}
    for name in ("text", "voice_id", "voice_language"):
        lacking = whole | {key: text[key] for key in text if key != name}
        yield Illegal(f"lip-sync without {name}", kind, {"input": lacking}, f"input.{name}")
    yield Illegal("lip-sync of no sound", kind, {"input": whole | {"mode": "audio2video"}}, "input.audio_type")
    for type_, field in (("url", "audio_url"), ("file", "audio_file")):
        lacking = whole | {"mode": "audio2video", "audio_type": type_}
        yield Illegal(f"lip-sync without {field}", kind, {"input": lacking}, f"input.{field}")
    yield Illegal("lip-sync of a long text", kind, {"input": whole | text | {"text": "x" * 121}}, "input.text")
    yield Illegal("lip-sync too fast", kind, {"input": whole | text | {"voice_speed": 2.1}}, "input.voice_speed")
    yield Illegal(
        "lip-sync in French", kind, {"input": whole | text | {"voice_language": "fr"}}, "input.voice_language"
    )


def faces() -> Iterator[Step]:
    yield Legal("identify-face", "identify-face", {"video_id": CLIP}, Decimal("0.05"))
    yield Legal("identify-face by address", "identify-face", {"video_url": VIDEO}, Decimal("0.05"))
    yield Illegal("identify-face of nothing", "identify-face", {}, "video_id")
    kind = "advanced-lip-sync"
    face: dict[str, Any] = {"face_id": FACES, "sound_start_time": 0, "sound_end_time": 3000, "sound_insert_time": 500}
    for sound in ({"audio_id": SPOKEN}, {"sound_file": SOUND}):
        for source, begun in (("4.9", 1), ("5.1", 2)):
            fields = {"session_id": FACES, "face_choose": [face | sound]}
            name = f"{kind} by {', '.join(sound)} of {source} s"
            yield Legal(name, kind, fields, Decimal("0.5") * begun, source_s=Decimal(source))
    loud = face | {"audio_id": SPOKEN, "sound_volume": 2, "original_audio_volume": 0}
    whole = {"session_id": FACES}
    yield Legal(f"{kind}, loud", kind, whole | {"face_choose": [loud]}, Decimal("0.5"), source_s=Decimal(3))
    yield Illegal(
        f"{kind}, too loud",
        kind,
        whole | {"face_choose": [loud | {"sound_volume": 2.1}]},
        "face_choose[0].sound_volume",
    )
    yield Illegal(f"{kind} of two", kind, whole | {"face_choose": [loud] * 2}, "face_choose")
    yield Illegal(f"{kind} of none", kind, whole, "face_choose")
    yield Illegal(f"{kind} of no sound", kind, whole | {"face_choose": [face]}, "face_choose[].audio_id")
    both = face | {"audio_id": SPOKEN, "sound_file": SOUND}
    yield Illegal(f"{kind} of two sounds", kind, whole | {"face_choose": [both]}, "face_choose[].sound_file")
    short = loud | {"sound_end_time": 1999}
    yield Illegal(f"{kind}, cut short", kind, whole | {"face_choose": [short]}, "face_choose[].sound_end_time")
    yield Illegal(f"{kind} of no session", kind, {"face_choose": [loud]}, "session_id")


def avatars() -> Iterator[Step]:
    kind, lengths = "avatar", (("2", 2), ("11.3", 11), ("11.5", 12), ("299.9", 300))
    for mode, (source, billed), sound in cross(AVATAR, lengths, ("audio_id", "sound_file")):
        if sound == "audio_id" and source == "299.9":
            continue  # no text is that long
        name, cost = f"avatar {mode} {sound} {source} s", Decimal(AVATAR[mode]) * billed
        fields = {"image": PICTURE, "mode": mode, sound: SPOKEN if sound == "audio_id" else SOUND}
        yield Legal(name, kind, fields, cost, source_s=Decimal(source))
    fields = {"image": PICTURE, "audio_id": SPOKEN}
    yield Legal("avatar by default", kind, fields | {"prompt": PROMPT}, Decimal("0.4") * 2, source_s=Decimal(2))
    yield Illegal("avatar of nobody", kind, {"audio_id": SPOKEN}, "image")
    yield Illegal("silent avatar", kind, {"image": PICTURE}, "audio_id")
    yield Illegal("avatar of two sounds", kind, fields | {"sound_file": SOUND}, "sound_file")
    yield Illegal("avatar 4k", kind, fields | {"mode": "4k"}, "mode")


def effects() -> Iterator[Step]:
    """The names of the scenes are the catalogue's, counted against the vendor's list."""
    kind, lists = "effects", packaged().products.lists
    dual, single = lists["effects_dual"], lists["effects_single"]
    assert (len(dual), len(single), len({*dual, *single})) == (DUAL_SCENES, SINGLE_SCENES, DUAL_SCENES + SINGLE_SCENES)
    for scene in single:
        fields = {"effect_scene": scene, "input": {"image": PICTURE}}
        yield Legal(f"effect {scene}", kind, fields, Decimal(2))
        yield Illegal(f"effect {scene} of two", kind, fields | {"input": {"images": [PICTURE] * 2}}, "input.images")
    for scene in dual:
        fields = {"effect_scene": scene, "input": {"images": [PICTURE] * 2}}
        yield Legal(f"effect {scene}", kind, fields, Decimal(2))
        pro = {"images": [PICTURE] * 2, "mode": "pro", "model_name": "kling-v1-6", "duration": "5"}
        yield Legal(f"effect {scene} pro", kind, fields | {"input": pro}, Decimal("3.5"))
        yield Illegal(f"effect {scene} of one", kind, fields | {"input": {"image": PICTURE}}, "input.image")
        yield Illegal(f"effect {scene} of three", kind, fields | {"input": {"images": [PICTURE] * 3}}, "input.images")
    for scene in (*WITHDRAWN, *OF_2025, "no_such_scene"):
        yield Illegal(f"effect {scene}", kind, {"effect_scene": scene, "input": {"image": PICTURE}}, "effect_scene")
    yield Illegal("effect of nothing", kind, {"effect_scene": single[0], "input": {"duration": 5}}, "input.image")
    yield Illegal("effect without input", kind, {"effect_scene": single[0]}, "input")
    yield Illegal("effect without a scene", kind, {"input": {"image": PICTURE}}, "effect_scene")
    one = {"image": PICTURE, "mode": "pro"}
    yield Illegal("effect of one in pro", kind, {"effect_scene": single[0], "input": one}, "input.mode")


def sounds() -> Iterator[Step]:
    for seconds in (3, "3.5", 7.2, 10):
        fields = {"prompt": "rain", "duration": seconds}
        yield Legal(f"text-to-audio {seconds} s", "text-to-audio", fields, Decimal("0.25"))
    for seconds, prompt, field in (
        (2.9, "x", "duration"),
        (10.1, "x", "duration"),
        (3.25, "x", "duration"),
        (5, "x" * 201, "prompt"),
    ):
        fields = {"prompt": prompt, "duration": seconds}
        yield Illegal(f"text-to-audio {seconds} s of {len(prompt)}", "text-to-audio", fields, field)
    yield Illegal("text-to-audio without a length", "text-to-audio", {"prompt": "rain"}, "duration")
    kind = "video-to-audio"
    for video in ({"video_id": CLIP}, {"video_url": VIDEO}):
        yield Legal(f"{kind} {', '.join(video)}", kind, video, Decimal("0.25"))
        told = video | {"sound_effect_prompt": "waves", "bgm_prompt": "a cello", "asmr_mode": True}
        yield Legal(f"told {kind} {', '.join(video)}", kind, told, Decimal("0.25"))
    yield Illegal(f"{kind} of nothing", kind, {"bgm_prompt": "a cello"}, "video_id")
    yield Illegal(f"{kind} of two", kind, {"video_id": CLIP, "video_url": VIDEO}, "video_url")
    yield Illegal(f"{kind}, many words", kind, {"video_id": CLIP, "bgm_prompt": "x" * 201}, "bgm_prompt")
    fields = {"text": "good morning", "voice_id": "genshin_vindi2"}
    for language, speed in cross(("zh", "en"), (0.8, 1, 2.0)):
        spoken = fields | {"voice_language": language, "voice_speed": speed}
        yield Legal(f"tts {language} {speed}", "tts", spoken, Decimal("0.05"))
    yield Legal("tts by default", "tts", fields, Decimal("0.05"))
    yield Illegal("tts of a long text", "tts", fields | {"text": "x" * 1001}, "text")
    yield Illegal("tts without a voice", "tts", {"text": "x"}, "voice_id")
    yield Illegal("tts too slow", "tts", fields | {"voice_speed": 0.7}, "voice_speed")


def steps() -> Iterator[Step]:
    for rows in (extensions, motions, selections, multi_elements, lip_sync, faces, avatars, effects, sounds):
        yield from rows()
