"""A task of the simulated service: everything about it is known at its creation; time only reveals it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from batch_runner.model import Generation, Pack, TaskStatus

_NOTHING = Decimal(0)
_SMALLEST_NUMBER, _NUMBERS = 10**14, 7 * 10**14


@dataclass(frozen=True, slots=True)
class SandboxTask:
    """One created task.

    Attributes:
        task_id: the service's id, 18 digits.
        external_task_id: the caller's id, or None.
        kind: the product.
        body: the request, each media field replaced by the SHA-256 of its text, without ``callback_url``; one of the
            second generation in the flat form of the first.
        created_at_s, started_at_s, ended_at_s: wall seconds; the end may be infinite.
        failure: the text it fails with, or empty when it succeeds.
        credits: its price; a failed task costs nothing unless ``failure_charged``.
        aspect: the shape of what it makes, such as ``16:9``.
        length_s: the seconds of what it makes, 0 for pictures and facts.
        look: what the appearance follows from.
        watermark: whether a watermarked copy was asked for.
        generation: whose form the request had.
        model_name, mode: what was asked for or inherited, empty where there is no such thing.
        pack: the currency it is paid with.
        slots: how many of the account's slots it holds.
        count: how many pictures it makes.
        sound: whether the clip has a sound track.
        facts: what the results need to know beyond this.
        failure_charged: whether it is charged although it fails.
    """

    task_id: str
    external_task_id: str | None
    kind: str
    body: Mapping[str, Any]
    created_at_s: float
    started_at_s: float
    ended_at_s: float
    failure: str
    credits: Decimal
    aspect: str
    length_s: float
    look: str
    watermark: bool = False
    generation: Generation = Generation.V1
    model_name: str = ""
    mode: str = ""
    pack: Pack = Pack.VIDEO
    slots: int = 1
    count: int = 1
    sound: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    failure_charged: bool = False

    @property
    def video_id(self) -> str:
        """The id of the clip it makes, which differs from the task's."""
        return self.made_id("video")

    def made_id(self, what: str) -> str:
        """The id of something it makes: 32 hexadecimal digits."""
        return hashlib.sha256(f"{what}:{self.task_id}".encode()).hexdigest()[:32]

    def made_number(self, what: str) -> int:
        """The id of something it makes, as a number of 15 digits."""
        return _SMALLEST_NUMBER + int(self.made_id(what), 16) % _NUMBERS

    @property
    def will_succeed(self) -> bool:
        """Whether it ends, and ends well."""
        return not self.failure and not math.isinf(self.ended_at_s)

    def status_at(self, now_s: float) -> TaskStatus:
        """Where it stands at a wall time."""
        if now_s < self.started_at_s:
            return TaskStatus.SUBMITTED
        if now_s < self.ended_at_s:
            return TaskStatus.PROCESSING
        return TaskStatus.FAILED if self.failure else TaskStatus.SUCCEEDED

    def updated_at_s(self, now_s: float) -> float:
        """When its status last changed."""
        changes = (self.started_at_s, self.ended_at_s)
        return max((at for at in changes if at <= now_s), default=self.created_at_s)

    def charged_at(self, now_s: float) -> Decimal:
        """The credits it has cost by then."""
        if now_s < self.ended_at_s:
            return _NOTHING
        return self.credits if not self.failure or self.failure_charged else _NOTHING

    def to_json(self) -> dict[str, Any]:
        """What a journal keeps."""
        record = {name: getattr(self, name) for name in self.__slots__}
        endless = math.isinf(self.ended_at_s)
        return record | {"credits": str(self.credits), "ended_at_s": None if endless else self.ended_at_s}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> SandboxTask:
        """The task a journal kept; KeyError, TypeError, ValueError or ArithmeticError when it is none."""
        ended_at_s = record["ended_at_s"]
        settled = {
            "credits": Decimal(record["credits"]),
            "pack": Pack(record.get("pack", Pack.VIDEO)),
            "generation": Generation(record.get("generation", Generation.V1)),
            "ended_at_s": math.inf if ended_at_s is None else ended_at_s,
        }
        task = cls(**{**record, **settled})
        _require_sound(task)
        return task


_TEXTS = ("task_id", "kind", "failure", "aspect", "look", "model_name", "mode")
_MOMENTS = ("created_at_s", "started_at_s", "ended_at_s", "length_s")
_KINDS: Mapping[type, tuple[str, ...]] = {
    str: _TEXTS,
    int: ("slots", "count"),
    bool: ("watermark", "sound", "failure_charged"),
    dict: ("body", "facts"),
}
_MOST_CREDITS = Decimal(10) ** 12


def _require_sound(task: SandboxTask) -> None:
    """Whatever is served later must be what it says. Raises TypeError or ValueError."""
    for kind, names in _KINDS.items():
        if any(type(getattr(task, name)) is not kind for name in names):
            raise TypeError(f"one of {', '.join(names)} is no {kind.__name__}")
    if not isinstance(task.external_task_id, str | None):
        raise TypeError("external_task_id is no text")
    numbers = [getattr(task, name) for name in (*_MOMENTS, "slots", "count")]
    if any(isinstance(number, bool) or not isinstance(number, int | float) or not number >= 0 for number in numbers):
        raise ValueError("a moment or a count is no number from 0 on")
    if math.isinf(max(task.created_at_s, task.started_at_s, task.length_s)):
        raise ValueError("only an end may never come")
    if not task.credits.is_finite() or not 0 <= task.credits <= _MOST_CREDITS:
        raise ValueError("credits are a number from 0 on")
