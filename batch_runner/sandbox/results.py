"""What a task makes: its results, the ids they have, and the files behind them. Each follows from the task alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from batch_runner.sandbox.clips import SIZES, ClipWish, render
from batch_runner.sandbox.products import PRODUCTS
from batch_runner.sandbox.products.looks import MASKS
from batch_runner.sandbox.products.selection import DONE
from batch_runner.sandbox.sounds import SoundWish, mp3_length_s, render_sound
from batch_runner.sandbox.stills import PictureWish, render_picture
from batch_runner.sandbox.task import SandboxTask

EXCESS_S = 0.041
"""Recorded lengths of clips exceed the ordered ones by 41 ms."""
_MEDIA_TYPES = {"mp4": "video/mp4", "png": "image/png", "mp3": "audio/mpeg", "wav": "audio/wav"}
_TRIAL_S = 3.0
_NO_FACTS: Mapping[str, Any] = {}

Wish = ClipWish | PictureWish | SoundWish


@dataclass(frozen=True, slots=True)
class File:
    """One file behind a result.

    Attributes:
        name: unlike any other of the same task, with its ending.
        wish: what decides its bytes.
        length_s: what is told of its length, 0 for pictures.
    """

    name: str
    wish: Wish
    length_s: float = 0

    @property
    def media_type(self) -> str:
        """As a download says it."""
        return _MEDIA_TYPES[self.name.rpartition(".")[2]]

    def content(self) -> bytes:
        """The bytes, which may take a while to make."""
        if isinstance(self.wish, ClipWish):
            return render(self.wish)
        return render_sound(self.wish) if isinstance(self.wish, SoundWish) else render_picture(self.wish)


@dataclass(frozen=True, slots=True)
class Result:
    """One row of what a task made.

    Attributes:
        kind: ``video``, ``image``, ``audio``, ``element``, ``voice``, ``shot``, ``mask``, ``face``, ``opening`` or
            ``preview``.
        result_id: its id, or empty.
        files: by what they are: ``url``, ``watermark_url``, ``url_mp3``, ``trial_url``, ...
        facts: what else is told of it.
    """

    kind: str
    result_id: str
    files: Mapping[str, File] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def results(task: SandboxTask) -> tuple[Result, ...]:
    """What a task makes if it ends well."""
    return tuple(_MAKERS[PRODUCTS[task.kind].makes](task))


def files(task: SandboxTask) -> Iterator[File]:
    """Every file of a task."""
    for result in results(task):
        yield from result.files.values()


def _clips(task: SandboxTask) -> Iterator[Result]:
    aspect = task.aspect if task.aspect in SIZES else "16:9"
    wish = ClipWish(task.look, aspect, task.length_s, task.sound)
    told_s = task.length_s + EXCESS_S
    found = {"url": File(f"{task.video_id}.mp4", wish, told_s)}
    if task.watermark:
        marked = ClipWish(f"{task.look} watermark", aspect, task.length_s, task.sound)
        found["watermark_url"] = File(f"{task.video_id}-watermark.mp4", marked, told_s)
    session = {"session_id": task.facts["session_id"]} if "session_id" in task.facts else _NO_FACTS
    yield Result("video", task.video_id, found, session)
    if task.kind == "video-to-audio":
        yield from _audios(task)


def _audios(task: SandboxTask) -> Iterator[Result]:
    audio_id = task.made_id("audio")
    told_s = mp3_length_s(task.length_s)
    mp3 = File(f"{audio_id}.mp3", SoundWish(task.look, task.length_s, "mp3"), told_s)
    if task.kind == "tts":
        yield Result("audio", audio_id, {"url": mp3})
        return
    wav = File(f"{audio_id}.wav", SoundWish(task.look, task.length_s, "wav"), task.length_s)
    yield Result("audio", audio_id, {"url_mp3": mp3, "url_wav": wav})


def _images(task: SandboxTask) -> Iterator[Result]:
    resolution = str(task.body.get("resolution") or "1k")
    for index in range(task.count):
        image_id = task.made_id(f"image-{index}")
        look = f"{task.look} {index}"
        found = {"url": File(f"{image_id}.png", PictureWish(look, task.aspect, resolution))}
        if task.watermark:
            marked = PictureWish(f"{look} watermark", task.aspect, resolution)
            found["watermark_url"] = File(f"{image_id}-watermark.png", marked)
        yield Result("image", image_id, found, {"index": index, "is_series": bool(task.facts.get("series"))})


def _shots(task: SandboxTask) -> Iterator[Result]:
    for index in range(task.count):
        found = {
            f"url_{side}": File(
                f"{task.made_id(f'shot-{index}-{side}')}.png", PictureWish(f"{task.look} {index} {side}", task.aspect)
            )
            for side in (1, 2, 3)
        }
        yield Result("shot", "", found, {"index": index})


def _masks(task: SandboxTask) -> Iterator[Result]:
    """Three of the four are found; the last one is not, so that both answers come up."""
    for number, name in enumerate(MASKS):
        is_there = number < len(MASKS) - 1
        file = File(f"{task.made_id(name)}.png", PictureWish(f"{task.look} {name}", task.aspect))
        yield Result("mask", "", {"url": file} if is_there else {}, {"type": name, "is_contain": is_there})


def _faces(task: SandboxTask) -> Iterator[Result]:
    face_id = task.made_id("face")
    picture = File(f"{face_id}.png", PictureWish(f"{task.look} face", "1:1"))
    times = {"start_time": 0, "end_time": round(task.length_s * 1000)}
    yield Result("face", face_id, {"face_image": picture}, times)


def _elements(task: SandboxTask) -> Iterator[Result]:
    element_id = str(task.made_number("element"))
    yield Result("element", element_id, {}, task.facts)


def _voices(task: SandboxTask) -> Iterator[Result]:
    voice_id = str(task.made_number("voice"))
    trial = File(f"{voice_id}.mp3", SoundWish(task.look, _TRIAL_S, "mp3"), mp3_length_s(_TRIAL_S))
    yield Result("voice", voice_id, {"trial_url": trial}, task.facts)


def _openings(task: SandboxTask) -> Iterator[Result]:
    if task.facts["status"] == DONE:
        [clip] = _clips(task)
        yield Result("opening", "", {"normalized_video": clip.files["url"]})


def _previews(task: SandboxTask) -> Iterator[Result]:
    if task.facts["status"] != DONE:
        return
    found = {}
    for name in ("video", "tracking_output"):
        wish = ClipWish(f"{task.look} {name}", task.aspect if task.aspect in SIZES else "16:9", task.length_s)
        found[name] = File(f"{task.made_id(name)}.mp4", wish)
    cover = PictureWish(f"{task.look} cover", task.aspect)
    yield Result("preview", "", found | {"video_cover": File(f"{task.made_id('cover')}.png", cover)})


def _nothing(_: SandboxTask) -> Iterator[Result]:
    yield from ()


_MAKERS: Mapping[str, Callable[[SandboxTask], Iterator[Result]]] = {
    "videos": _clips,
    "audios": _audios,
    "images": _images,
    "shots": _shots,
    "masks": _masks,
    "faces": _faces,
    "elements": _elements,
    "voices": _voices,
    "init-selection": _openings,
    "preview-selection": _previews,
    "add-selection": _nothing,
    "delete-selection": _nothing,
    "clear-selection": _nothing,
    "deletions": _nothing,
}
