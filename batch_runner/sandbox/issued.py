"""The ids that the account's tasks have given out, as later requests may name them: of files, elements, sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yarl import URL

from batch_runner.sandbox.clips import SIZES
from batch_runner.sandbox.config import DAY_S
from batch_runner.sandbox.products import Session, Source
from batch_runner.sandbox.products.editing import EDITING
from batch_runner.sandbox.products.listed import PRESET_ELEMENTS, PRESET_VOICES
from batch_runner.sandbox.products.people import FACES
from batch_runner.sandbox.results import files, results
from batch_runner.sandbox.task import SandboxTask

SESSION_S = DAY_S
_CDN = ("/", "cdn")
_OPENERS = {"identify-face": FACES, "init-selection": EDITING}
"""The calls that open a session, and what it is for."""
_KEPT_FOR_GOOD = frozenset({"element", "voice"})


class Issued:
    """All ids given out so far.

    Args:
        purge_after_s: for how long the id of a file can be used, from the end of its task.
    """

    def __init__(self, purge_after_s: float) -> None:
        self._purge_after_s = purge_after_s
        self._tasks: dict[str, SandboxTask] = {}
        self._made: dict[tuple[str, str], SandboxTask] = {}
        self._deleted: set[tuple[str, str]] = set()
        self._marked: dict[str, Mapping[str, list[list[float]]]] = {}

    def add(self, task: SandboxTask) -> None:
        """Note what a new task will make, if it ends well."""
        self._tasks[task.task_id] = task
        for result in results(task):
            self._made[result.kind, result.result_id] = task
        if task.kind in _OPENERS and not task.facts.get("status"):
            self._made["session", task.made_id("session")] = task
        if "marked" in task.facts:
            self._marked[task.facts.get("session_id", task.made_id("session"))] = task.facts["marked"]
        if "deleted" in task.facts:
            kind, made_id = task.facts["deleted"]
            self._deleted.add((kind, made_id))

    def is_deleted(self, task: SandboxTask) -> bool:
        """Whether what the task made was deleted."""
        return any((result.kind, result.result_id) in self._deleted for result in results(task))

    def marked(self, session_id: str) -> Mapping[str, list[list[float]]]:
        """What is chosen in a session."""
        return self._marked.get(session_id, {})

    def maker(self, kind: str, made_id: str, now_s: float) -> SandboxTask | None:
        """The task that made it, if it can be used at that moment."""
        task = self._made.get((kind, made_id))
        if task is None or not task.will_succeed or now_s < task.ended_at_s or (kind, made_id) in self._deleted:
            return None
        lasts_s = SESSION_S if kind == "session" else self._purge_after_s
        return task if kind in _KEPT_FOR_GOOD or now_s < task.ended_at_s + lasts_s else None

    def behind(self, url: str, now_s: float) -> Source | None:
        """The file behind a link of this service; a signature is not looked at, for the service needs none."""
        try:
            parts = URL(url).parts
        except ValueError:
            return None
        if parts[:2] != _CDN or len(parts) != 4:  # noqa: PLR2004 - /, cdn, task, name
            return None
        task = self._tasks.get(parts[2])
        if task is None or not task.will_succeed or now_s < task.ended_at_s:
            return None
        return next((_source(task, file.name) for file in files(task) if file.name == parts[3]), None)


def _source(task: SandboxTask, source_id: str, facts: Mapping[str, Any] | None = None) -> Source:
    return Source(task.length_s, task.aspect, task, source_id, facts or {})


class KnownNow:
    """The ids as they can be used at one moment (see ``products.Known``)."""

    def __init__(self, issued: Issued, now_s: float) -> None:
        self._issued = issued
        self._now_s = now_s

    def _made(self, kind: str, made_id: str) -> Source | None:
        task = self._issued.maker(kind, made_id, self._now_s)
        return None if task is None else _source(task, made_id, task.facts)

    def video(self, video_id: str) -> Source | None:
        """A video by the id of the file."""
        return self._made("video", video_id)

    def audio(self, audio_id: str) -> Source | None:
        """A spoken text by the id of the file."""
        return self._made("audio", audio_id)

    def element(self, element_id: str) -> Source | None:
        """An element of the account's, or a preset one."""
        preset = PRESET_ELEMENTS.get(element_id)
        return Source(0, facts=preset) if preset else self._made("element", element_id)

    def voice(self, voice_id: str) -> Source | None:
        """A voice of the account's, or a preset one."""
        preset = PRESET_VOICES.get(voice_id)
        return Source(0, facts=preset) if preset else self._made("voice", voice_id)

    def session(self, session_id: str) -> Session | None:
        """A session that was opened within a day."""
        task = self._issued.maker("session", session_id, self._now_s)
        if task is None:
            return None
        parent = task.facts.get("parent", {})
        maker = self._issued.maker("video", str(parent.get("id", "")), self._now_s)
        aspect = task.aspect if task.aspect in SIZES else "16:9"
        facts = {"face_id": task.made_id("face")}
        source = Source(task.length_s, aspect, maker, str(parent.get("id", "")), facts)
        return Session(session_id, _OPENERS[task.kind], source, self._issued.marked(session_id))

    def link(self, url: str) -> Source | None:
        """The file behind one of the service's own links."""
        return self._issued.behind(url, self._now_s)
