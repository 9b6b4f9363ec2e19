"""One line of a manifest on its way to an item, gathering everything that is wrong with it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from batch_runner import catalog
from batch_runner.catalog.problems import FieldProblem, json_type, nearest, shown
from batch_runner.errors import Problem
from batch_runner.manifest.media_fields import Inspect, LocalFile, local_files
from batch_runner.manifest.names import composed, default_id, id_trouble
from batch_runner.model import Item, Price

MAX_PRIORITY: Final = 1_000_000_000

_OWN_WORDS: Final = ("id", "kind", "priority")
_canonical = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode


class _Content(NamedTuple):
    kind: str
    body: str
    fingerprint: str
    price: Price
    words: str
    model: str
    slots: int


class Draft:
    """One line's object, read word by word; relative media paths lie below ``folder``."""

    def __init__(self, line: int, record: dict[str, Any], folder: Path, inspect: Inspect) -> None:
        self._line = line
        self._id = record.pop("id", None)
        self._kind = record.pop("kind", None)
        self._priority = record.pop("priority", None)
        self._fields = record
        self._folder = folder
        self._inspect = inspect
        self._problems: list[Problem] = []

    def outcome(self, first_lines: dict[int, int]) -> Item | list[Problem]:
        """The item, or all that is wrong; ``first_lines`` has the line of every id so far, by the id's hash."""
        id_ = self._given_id()
        priority = self._checked_priority()
        content = self._content()
        if self._id is None and content is not None:
            id_ = default_id(content.words, content.fingerprint)
        if id_ is not None:
            self._note_id(id_, first_lines)
        if id_ is None or content is None or self._problems:
            return self._problems
        return Item(
            id=id_,
            line=self._line,
            kind=content.kind,
            priority=priority,
            body=content.body,
            fingerprint=content.fingerprint,
            price=content.price,
            model=content.model,
            slots=content.slots,
        )

    def _tell(self, field: str | None, what: str, hint: str = "") -> None:
        self._problems.append(Problem(self._line, field, what, hint))

    def _tell_all(self, problems: tuple[FieldProblem, ...] | list[FieldProblem]) -> None:
        for problem in problems:
            self._tell(problem.field, problem.what, problem.hint)

    def _given_id(self) -> str | None:
        """The id in composed form, or None when there is none or it will not do."""
        if self._id is None:
            return None
        if not isinstance(self._id, str):
            hint = f'write "{self._id}"' if type(self._id) is int and abs(self._id) < 10**20 else ""
            self._tell("id", f"must be text, not {json_type(self._id)}", hint)
            return None
        id_ = composed(self._id)
        if trouble := id_trouble(id_):
            self._tell("id", f"{shown(id_)} {trouble}", "an id is the name of a file")
            return None
        return id_

    def _note_id(self, id_: str, first_lines: dict[int, int]) -> None:
        first = first_lines.setdefault(hash(id_), self._line)
        if first == self._line:
            return
        if self._id is None:
            self._tell(None, f"asks for the same as line {first}", 'give one of them an "id" of its own')
        else:
            self._tell("id", f"{shown(id_)} is already the id of line {first}", "an id names one item")

    def _checked_priority(self) -> int:
        value = self._priority
        if value is None or (type(value) is int and abs(value) <= MAX_PRIORITY):
            return value or 0
        self._tell("priority", f"must be a whole number up to {MAX_PRIORITY}, not {json_type(value)}")
        return 0

    def _checked_kind(self) -> str | None:
        kind = catalog.default_kind(self._fields) if self._kind is None else self._kind
        if isinstance(kind, str) and kind in catalog.kinds():
            return kind
        hint = nearest(kind, catalog.kinds()) or f"there are {', '.join(catalog.kinds())}"
        self._tell("kind", f"{shown(kind)} is no product", hint)
        return None

    def _content(self) -> _Content | None:
        """What the line asks for, or None when its fields have a problem."""
        kind = self._checked_kind()
        if kind is None:
            return None
        checked = catalog.check(kind, self._fields, _OWN_WORDS)
        files, media_problems = local_files(kind, checked.body, self._folder, self._inspect)
        if checked.problems or media_problems:
            self._tell_all(checked.problems)
            self._tell_all(media_problems)
            return None
        price = catalog.price(kind, checked.body)
        if price is None:
            self._tell(None, "no price is known for this combination, so no budget could hold")
            return None
        return _content(kind, checked.body, files, price)


def _content(kind: str, body: dict[str, Any], files: list[LocalFile], price: Price) -> _Content:
    # The fingerprint knows a file by its bytes: moving the folder changes no item, changing the image does.
    for file in files:
        file.place.put({"sha256": file.digest})
    text = _canonical(body)
    fingerprint = hashlib.sha256(f"{kind}\n{text}".encode()).hexdigest()
    for file in files:
        file.place.put({"path": str(file.path), "sha256": file.digest})
    model, slots = catalog.model_of(kind, body), catalog.slots(kind, body)
    return _Content(kind, _canonical(body) if files else text, fingerprint, price, _words(kind, body), model, slots)


def _words(kind: str, body: dict[str, Any]) -> str:
    """The words that name an item without an id: its prompt, else its first shot, else its kind."""
    shots = body.get("multi_prompt") or [{}]
    return str(body.get("prompt") or shots[0].get("prompt") or kind)
