"""The words of the server's own list: a product, a request as it is read, and what an accepted one asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Protocol

from batch_runner.model import Generation, Pack
from batch_runner.sandbox.codes import Denied
from batch_runner.sandbox.task import SandboxTask

NO_FACTS: Final[Mapping[str, Any]] = MappingProxyType({})
_MODE_OF_RESOLUTION = {"720p": "std", "1080p": "pro", "4k": "4k"}
_MODE_FACTOR = {"std": 1.0, "pro": 1.4, "4k": 2.5}


@dataclass(frozen=True, slots=True)
class Pace:
    """The median seconds from submission to the end, in ``std``: start + per_second x length of the result."""

    start_s: float
    per_second_s: float = 0.0

    def median_s(self, length_s: float, mode: str) -> float:
        """The median for a result of that length and mode."""
        return _MODE_FACTOR.get(mode, 1.0) * (self.start_s + self.per_second_s * length_s)


@dataclass(frozen=True, slots=True)
class Source:
    """A file or an id that a request starts from.

    Attributes:
        length_s: its seconds, as far as it has any.
        aspect: its shape, where it is a picture.
        task: the task of this account that made it, or None for a file from elsewhere.
        source_id: its id, or empty.
        facts: what else is known of it.
    """

    length_s: float
    aspect: str = "16:9"
    task: SandboxTask | None = None
    source_id: str = ""
    facts: Mapping[str, Any] = field(default_factory=lambda: NO_FACTS)


@dataclass(frozen=True, slots=True)
class Session:
    """What an editing or a face session knows.

    Attributes:
        session_id: its id.
        kind: the call that opened it.
        source: the video it is about.
        marked: chosen points (across, down) by frame.
    """

    session_id: str
    kind: str
    source: Source
    marked: Mapping[str, list[list[float]]] = field(default_factory=dict)


class Known(Protocol):
    """What this account has made so far, by the ids and links that requests may name; None for what it has not."""

    def video(self, video_id: str) -> Source | None:
        """A video by the id of the file."""

    def audio(self, audio_id: str) -> Source | None:
        """A spoken text by the id of the file."""

    def element(self, element_id: str) -> Source | None:
        """An element of the account's, or a preset one."""

    def voice(self, voice_id: str) -> Source | None:
        """A voice of the account's, or a preset one."""

    def session(self, session_id: str) -> Session | None:
        """An open session."""

    def link(self, url: str) -> Source | None:
        """The file behind one of the service's own links."""


@dataclass(frozen=True, slots=True)
class Order:
    """What an accepted create asks for.

    Attributes:
        median_s: the usual time from creation to the end.
        aspect: the shape of what it makes.
        length_s: its seconds, 0 for pictures and facts.
        count: how many files it makes.
        slots: how many of the account's slots it holds.
        sound: whether the clip has a sound track.
        trouble: the text of a failure that the input makes certain, or empty.
        lengths: seconds of its sources by field, as far as they were measured.
        facts: what its results need to know beyond this, as JSON.
        inherited: what the price follows from beside the body: the model and mode of the task it continues.
        decided: fields that the service chose by itself, as they are priced (how many pictures a series has).
        status: the verdict in the answer of a selection call; anything but 0 costs nothing.
    """

    median_s: float
    aspect: str = "16:9"
    length_s: float = 0
    count: int = 1
    slots: int = 1
    sound: bool = False
    trouble: str = ""
    lengths: Mapping[str, Decimal] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    inherited: Mapping[str, str] = field(default_factory=dict)
    decided: Mapping[str, Any] = field(default_factory=dict)
    status: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """A create as the service reads it: defaults filled in, ``""`` and null meaning absent."""

    product: Product
    body: Mapping[str, Any]
    known: Known

    def given(self, name: str) -> Any:
        """The field's value, or None when it is absent; a dot leads into an object."""
        value: Any = self.body
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return None if value in ("", [], {}) else value

    @property
    def present(self) -> dict[str, Any]:
        """The body without what counts as absent."""
        return {name: self.body[name] for name in self.body if self.given(name) is not None}

    @property
    def model_name(self) -> str:
        """The model's name; ``model`` is a field of old clients and means nothing."""
        if not self.product.models:
            return ""
        return str(self.given("model_name") or self.product.default_model)

    @property
    def mode(self) -> str:
        """The product's usual one unless told; the second generation tells it by the resolution."""
        if self.product.generation is Generation.V2:
            return _MODE_OF_RESOLUTION.get(str(self.given("resolution")), self.product.default_mode)
        return str(self.given("mode") or self.product.default_mode)

    @property
    def length_s(self) -> int:
        """The clip's seconds; only for a duration that was checked."""
        return int(self.given("duration") or 5)

    @property
    def aspect(self) -> str:
        """The shape that a request without a picture asks for."""
        return str(self.given("aspect_ratio") or "16:9")

    @property
    def count(self) -> int:
        """How many pictures are asked for; the vendor's samples also send the number as text."""
        return int(self.given("n") or 1)

    @property
    def sound(self) -> bool:
        """Whether a sound track is asked for."""
        return bool(self.given("sound") == "on" or self.given("audio") == "native")

    @property
    def prompt(self) -> str:
        """The prompt and, for several shots, theirs; other texts where a product has no prompt."""
        shots = self.given("multi_prompt") if self.own_shots else None
        texts = [self.given(name) for name in self.product.texts]
        texts += [shot["prompt"] for shot in shots or ()]
        return "\n".join(text for text in texts if isinstance(text, str) and text)

    @property
    def multi_shot(self) -> bool:
        """Whether several shots are asked for; the vendor's samples also send the word."""
        return self.given("multi_shot") in (True, "true")

    @property
    def own_shots(self) -> bool:
        """Whether the caller writes each shot."""
        return self.multi_shot and bool(self.given("shot_type") == "customize")

    @property
    def external_task_id(self) -> str | None:
        """The caller's own id; a call that is answered at once has none."""
        value: str | None = None if self.product.is_sync else self.given("external_task_id")
        return value

    @property
    def watermark(self) -> bool:
        """Whether a watermarked copy is wanted, too."""
        wish = self.given("watermark_info")
        return isinstance(wish, dict) and wish.get("enabled") is True

    def median_s(self, length_s: float) -> float:
        """The usual time for a result of that length."""
        return self.product.median_s(self.model_name, length_s, self.mode)


Rule = Callable[[Request], Denied | None]
"""Looks at one thing; the refusal, or None."""


@dataclass(frozen=True, slots=True)
class Product:
    """One kind of task, or of call that is answered at once.

    Attributes:
        kind: its name.
        path: where it is created, listed and, with an id behind it, queried.
        rules: the checks a create has to pass, in the order the service makes them.
        order: what an accepted one asks for; may still refuse, for it reads the media.
        pace: how long it takes, by model, or by an empty text where the model does not matter.
        models: the models it accepts; none where it has no such field.
        default_model, default_mode: what a request that says nothing means.
        pack: the currency it is paid with.
        makes: the list of a finished task that holds its results.
        texts: the fields whose texts describe what is wanted.
        generation: whose form its requests have.
        is_sync: whether the create is answered with the result.
    """

    kind: str
    path: str
    rules: tuple[Rule, ...]
    order: Callable[[Request], Order | Denied]
    pace: Mapping[str, Pace]
    models: frozenset[str] = frozenset()
    default_model: str = ""
    default_mode: str = "std"
    pack: Pack = Pack.VIDEO
    makes: str = "videos"
    texts: tuple[str, ...] = ("prompt",)
    generation: Generation = Generation.V1
    is_sync: bool = False

    def read(self, body: Mapping[str, Any]) -> Mapping[str, Any] | Denied:
        """The body in the flat form that the rules look at."""
        return body

    def median_s(self, model_name: str, length_s: float, mode: str) -> float:
        """The median seconds from submission to the end."""
        pace = self.pace[model_name] if model_name in self.pace else self.pace[""]
        return pace.median_s(length_s, mode)
