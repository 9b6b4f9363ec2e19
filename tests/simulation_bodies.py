"""What the account was asked for, held against the lines of the manifest and what their sources made."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Any

from simulated_film import digest
from simulation import Simulation
from simulation_books import CALLS, OF_A_SESSION, UNCERTAIN, WITH_FACTS, item_digest
from simulation_families import Line

from batch_runner.sandbox import SandboxTask
from batch_runner.sandbox.results import files

_OWN_WORDS = frozenset({"id", "kind", "priority", "seconds", "credits"})
_FILES = frozenset({"image", "sound_file"})
"""Fields in which a result of another item travels as a file."""
_ADDRESSES = frozenset({"video_url"})
"""Fields in which it travels as a link that nobody can know beforehand."""
_MEDIA = _FILES | {
    *("video_url", "image_url", "images", "subject_image", "human_image", "cloth_image", "frontal_image"),
    *("element_frontal_image", "voice_url"),
}
"""Fields that the service remembers as a digest."""

_SESSION = "session_id"


class Asked:
    """Every text that each line ever had, and the tasks that were made of them."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._batch = simulation.batch
        self._versions: defaultdict[str, list[Line]] = defaultdict(list)
        self._calls: dict[str, str | None] = {}

    def note(self, lines: Iterable[Line]) -> None:
        """These lines stand in the manifest now."""
        for line in lines:
            digest_ = item_digest(line["id"])
            if line not in self._versions[digest_]:
                self._versions[digest_].append(line)
            if line.get("kind") in UNCERTAIN:
                self._batch.uncertain.add(digest_)

    def item_of(self, task: SandboxTask) -> str | None:
        """The item of a task: by its name, or, where calls have none, by what was asked for."""
        if task.kind not in CALLS:
            return self._batch.item_by_name(task)
        if task.task_id not in self._calls:
            candidates = (item for item, lines in self._versions.items() if lines[0].get("kind") == task.kind)
            self._calls[task.task_id] = next((item for item in candidates if self._is_of(item, task)), None)
        return self._calls[task.task_id]

    def audit(self) -> None:
        """Every task says what a version of its line says, with what the line's sources really made."""
        for task in self._simulation.tasks:
            item = self.item_of(task)
            assert item is not None
            assert self._is_of(item, task), f"{item} was asked for as {task.body}, which no line of its says"
        calls = {task.task_id for task in self._simulation.world.tasks if task.kind in CALLS}
        calls -= {task.task_id for task in self._simulation.world.tasks if self._is_mixed_up(task)}
        ours = {task.task_id for task in self._simulation.tasks_of_all}
        assert calls <= ours, "a call was made that no line asks for"

    def _may_be_mixed_up(self, task: SandboxTask) -> bool:
        """Whether a named task may be in another call's session: that one's answer was exchanged and never heard."""
        return self._simulation.exchanges and task.kind not in CALLS

    def _is_mixed_up(self, task: SandboxTask) -> bool:
        """Whether a call is in a session that no line of its opened, for the same reason."""
        is_in_a_session = task.kind in OF_A_SESSION and self._simulation.exchanges
        return is_in_a_session and not any(batch.item_of(task) for batch in self._simulation.batches)

    def facts(self, item_id: str) -> Iterator[str]:
        """Ids that what an item's tasks made is known by."""
        for task in self._tasks(item_digest(item_id)):
            yield from _ids(task).values()

    def _is_of(self, item: str, task: SandboxTask) -> bool:
        kinds = {line.get("kind", "text2video") for line in self._versions[item]}
        return kinds == {task.kind} and any(self._says(line, task) for line in self._versions[item])

    def _says(self, line: Line, task: SandboxTask) -> bool:
        fields = {name: value for name, value in line.items() if name not in _OWN_WORDS}
        return all(self._agrees(name, value, task.body.get(name), task) for name, value in fields.items())

    def _agrees(self, name: str, said: Any, asked: Any, task: SandboxTask) -> bool:
        if isinstance(said, dict) and "item" in said:
            is_open = name in _ADDRESSES or (name == _SESSION and self._may_be_mixed_up(task))
            return asked is not None and (is_open or str(asked) in set(self._made(name, said, task)))
        if isinstance(said, dict):
            given = asked if isinstance(asked, dict) else {}
            return all(self._agrees(key, each, given.get(key), task) for key, each in said.items())
        if isinstance(said, list):
            pairs = zip(said, asked or (), strict=False)
            return len(said) == len(asked or ()) and all(self._agrees(name, each, one, task) for each, one in pairs)
        return str(asked) == (self._digest(said) if name in _MEDIA else str(said))

    def _digest(self, said: str) -> str:
        if said.startswith("https://"):
            return digest(said.encode())
        return _of_file((self._simulation.folder / said).read_bytes())

    def _made(self, name: str, said: Line, task: SandboxTask) -> Iterator[str]:
        """What may stand in the field: something that a task of the source had made by then."""
        for source in self._tasks(item_digest(said["item"]), before=task):
            if not source.will_succeed or source.ended_at_s > task.created_at_s:
                continue
            if name in _FILES:
                made = [file for file in files(source) if (name == "image") == file.name.endswith(".png")]
                yield _of_file(self._simulation.sandbox.film(made[said.get("asset", 1) - 1]))
            elif name in _ids(source):
                yield _ids(source)[name]

    def _tasks(self, item: str, before: SandboxTask | None = None) -> Iterator[SandboxTask]:
        kind = self._versions[item][0].get("kind", "text2video")
        earlier = takewhile(lambda task: task is not before, self._simulation.world.tasks)
        of_kind = (task for task in earlier if task.kind == kind)
        return (task for task in of_kind if self.item_of(task) == item)


def audit_facts(simulation: Simulation, asked: Asked) -> None:
    """Promise 2 for results that are no file of the service's: the ids are those that were given out."""
    if simulation.exchanges:
        _audit_exchanges(simulation)
        return
    for path in simulation.batch_dir.glob("*.json"):
        is_spoiled = f"{path.parent.name}/{path.name}" in simulation.spoiled
        if path.name == "summary.json" or "-seen-" in path.name or is_spoiled:
            continue
        text = path.read_text(encoding="utf-8")
        json.loads(text)
        assert any(each in text for each in asked.facts(path.stem)), f"promise 2: {path.name} is another's"


def _audit_exchanges(simulation: Simulation) -> None:
    """Where answers are exchanged on the way, one that was heard before is not believed a second time."""
    rows = [row for row in simulation.results() if row["kind"] in CALLS - WITH_FACTS and row["status"] == "succeeded"]
    told = [file["sha256"] for row in rows for file in row["files"] if row["kind"] not in OF_A_SESSION]
    assert simulation.has_lost or len(told) == len(set(told)), "promise 11: one answer for two items"


def _ids(task: SandboxTask) -> dict[str, str]:
    """The ids that a task gives out, by the field that takes them."""
    made = _MAKERS.get(task.kind)
    return {"video_id": task.video_id} if made is None else made(task)


_MAKERS: Mapping[str, Callable[[SandboxTask], dict[str, str]]] = {
    "tts": lambda task: {"audio_id": task.made_id("audio")},
    "identify-face": lambda task: {"session_id": task.made_id("session"), "face_id": task.made_id("face")},
    "init-selection": lambda task: {"session_id": task.made_id("session")},
    **dict.fromkeys(OF_A_SESSION, lambda task: {"session_id": task.facts["session_id"]}),
    "elements": lambda task: {"element_id": str(task.made_number("element"))},
    "voices": lambda task: {"voice_id": str(task.made_number("voice"))},
}


def _of_file(content: bytes) -> str:
    return digest(base64.b64encode(content))
