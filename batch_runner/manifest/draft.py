"""One line of a manifest on its way to its items, gathering everything that is wrong with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from batch_runner import catalog
from batch_runner.catalog.problems import FieldProblem, nearest, shown
from batch_runner.errors import Problem
from batch_runner.manifest.expansion import Entry
from batch_runner.manifest.media_fields import Inspect, LocalFile, local_files
from batch_runner.manifest.names import default_id
from batch_runner.manifest.own_words import OWN_WORDS, OwnWords, numbered, taken
from batch_runner.model import Item, Price

GIVEN_PRICE = "given on the item"

_canonical = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode


class Made(NamedTuple):
    """An item, with what its line says in the manifest's own words."""

    item: Item
    words: Mapping[str, Any]


class _Content(NamedTuple):
    kind: str
    body: str
    text: str
    price: Price
    words: str
    model: str
    slots: int

    def fingerprint(self, sample: int | None) -> str:
        """SHA-256 hex over kind and body; of one of several alike, over its number too."""
        number = "" if sample is None else f"\nsample {sample}"
        return hashlib.sha256(f"{self.kind}\n{self.text}{number}".encode()).hexdigest()


class Draft:
    """One line's words and fields; relative media paths lie below ``folder``."""

    def __init__(self, entry: Entry, folder: Path, inspect: Inspect) -> None:
        self._entry = entry
        self._line = entry.line
        self._tell = entry.tell
        self._folder = folder
        self._inspect = inspect

    def outcomes(self, first_lines: dict[int, int]) -> Iterator[Made | list[Problem]]:
        """The items, or all that is wrong; ``first_lines`` has the line of every id so far, by the id's hash."""
        own = taken(self._entry.record, self._tell)
        content = self._content(own)
        items = [] if content is None else [self._item(own, content, sample) for sample in own.numbers]
        for id_ in [item.id for item in items] or filter(None, [own.id]):
            self._note_id(id_, first_lines, is_given=own.has_id)
        if self._entry.problems:
            yield self._entry.problems
            return
        words = own.as_record()
        for item, sample in zip(items, own.numbers, strict=True):
            yield Made(item, words if sample is None else {**words, "sample": sample})

    def _item(self, own: OwnWords, content: _Content, sample: int | None) -> Item:
        if own.id is None:
            id_ = numbered(default_id(content.words, content.fingerprint(None)), sample)
        else:
            id_ = own.id if own.samples is None else numbered(own.id, sample)
        return Item(
            id=id_,
            line=self._line,
            kind=content.kind,
            priority=own.priority,
            body=content.body,
            fingerprint=content.fingerprint(sample),
            price=content.price,
            model=content.model,
            slots=content.slots,
        )

    def _tell_all(self, problems: tuple[FieldProblem, ...] | list[FieldProblem]) -> None:
        for problem in problems:
            self._tell(problem.field, problem.what, problem.hint, problem.source)

    def _note_id(self, id_: str, first_lines: dict[int, int], *, is_given: bool) -> None:
        first = first_lines.setdefault(hash(id_), self._line)
        if first == self._line:
            return
        if is_given:
            self._tell("id", f"{shown(id_)} is already the id of line {first}", "an id names one item")
        else:
            self._tell(None, f"asks for the same as line {first}", 'give one of them an "id" of its own')

    def _checked_kind(self, given: Any) -> str | None:
        kind = catalog.default_kind(self._entry.record) if given is None else given
        if isinstance(kind, str) and kind in catalog.kinds():
            return kind
        hint = nearest(kind, catalog.kinds()) or f"there are {', '.join(catalog.kinds())}"
        self._tell("kind", f"{shown(kind)} is no product", hint)
        return None

    def _content(self, own: OwnWords) -> _Content | None:
        """What the line asks for, or None when its fields have a problem."""
        kind = self._checked_kind(own.kind)
        if kind is None:
            return None
        checked = catalog.check(kind, self._entry.record, OWN_WORDS)
        files, media_problems = local_files(kind, checked.body, self._folder, self._inspect)
        if checked.problems or media_problems:
            self._tell_all(checked.problems)
            self._tell_all(media_problems)
            return None
        price = self._price(own, kind, checked.body)
        return None if price is None else _content(kind, checked.body, files, price)

    def _price(self, own: OwnWords, kind: str, body: Mapping[str, Any]) -> Price | None:
        if own.credits is not None:
            return Price(catalog.product(kind).pack, own.credits, GIVEN_PRICE)
        price = catalog.price(kind, body)
        if price is None:
            what = "no price is known for this combination, so no budget could hold"
            self._tell(None, what, 'say what one item costs: "credits": "3.5"')
        return price


def _content(kind: str, body: dict[str, Any], files: list[LocalFile], price: Price) -> _Content:
    # The fingerprint knows a file by its bytes: moving the folder changes no item, changing the image does.
    for file in files:
        file.place.put({"sha256": file.digest})
    text = _canonical(body)
    for file in files:
        file.place.put({"path": str(file.path), "sha256": file.digest})
    model, slots = catalog.model_of(kind, body), catalog.slots(kind, body)
    return _Content(kind, _canonical(body) if files else text, text, price, _words(kind, body), model, slots)


def _words(kind: str, body: dict[str, Any]) -> str:
    """The words that name an item without an id: its prompt, else its first shot, else its kind."""
    shots = body.get("multi_prompt") or [{}]
    return str(body.get("prompt") or shots[0].get("prompt") or kind)
