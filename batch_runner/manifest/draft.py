"""One line of a manifest on its way to its items, gathering everything that is wrong with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

from batch_runner import catalog
from batch_runner.catalog import Product
from batch_runner.catalog.problems import FieldProblem, few, nearest, shown
from batch_runner.errors import Problem
from batch_runner.manifest.chains import Chain, chains
from batch_runner.manifest.expansion import Entry
from batch_runner.manifest.media_fields import LocalFile, Media, MediaReader, places
from batch_runner.manifest.names import default_id, encoding_trouble
from batch_runner.manifest.own_words import OWN_WORDS, OwnWords, numbered, taken
from batch_runner.manifest.registry import Facts, Registry
from batch_runner.model import NOTHING, Item, Price

GIVEN_PRICE = "given on the item"

_LASTING_IDS = frozenset({"video_id", "audio_id", "session_id"})
_MOST_ASTRAY_S = 1
"""Seconds by which a stated length may differ from the file's own; Kling bills whole ones."""
_canonical = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode


class Made(NamedTuple):
    """An item, with what its line says in the manifest's own words."""

    item: Item
    words: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a line is read in.

    Attributes:
        media: looks at its files.
        registry: the items so far.
        facts_of: what is known of any item of the manifest, also of a later one; None when there is none.
        has_stood: whether an earlier run took in an item of this id.
    """

    media: MediaReader
    registry: Registry
    facts_of: Callable[[str], Facts | None]
    has_stood: Callable[[str], bool]


class _Content(NamedTuple):
    """What a line asks for, whose fields have no problem."""

    product: Product
    model: str
    fields: dict[str, Any]
    body: str
    text: str
    chains: Sequence[Chain]
    lengths: Mapping[str, Decimal]
    length_of: str | None
    lasting: str | None

    @property
    def kind(self) -> str:
        return self.product.kind

    def fingerprint(self, sample: int | None) -> str:
        """SHA-256 hex over kind and body; of one of several alike, over its number too."""
        number = "" if sample is None else f"\nsample {sample}"
        return hashlib.sha256(f"{self.kind}\n{self.text}{number}".encode()).hexdigest()

    def source_at(self, path: str | None) -> str | None:
        """The item whose result stands in that field, or None."""
        return next((chain.item for chain in self.chains if chain.path == path), None)


class Draft:
    """One line's words and fields."""

    def __init__(self, entry: Entry, around: Surroundings) -> None:
        self._entry = entry
        self._line = entry.line
        self._tell = entry.tell
        self._around = around

    def outcomes(self) -> Iterator[Made | list[Problem]]:
        """The items of the line, or all that is wrong with it."""
        own = taken(self._entry.record, self._tell)
        content = self._content(own)
        is_supplied = self._note(own, content)
        price = self._price(own, content) if content is not None and is_supplied else None
        if content is None or price is None or self._entry.problems:
            yield self._entry.problems
            return
        words = own.as_record()
        for id_, sample in zip(_ids(own, content), own.numbers, strict=True):
            item = self._item(id_, own.priority, content, content.fingerprint(sample), price)
            yield Made(item, words if sample is None else {**words, "sample": sample})

    def _item(self, id_: str, priority: int, content: _Content, fingerprint: str, price: Price) -> Item:
        return Item(
            id=id_,
            line=self._line,
            kind=content.kind,
            priority=priority,
            body=content.body,
            fingerprint=fingerprint,
            price=price,
            model=content.model,
            slots=catalog.slots(content.kind, content.fields),
            sources=tuple(dict.fromkeys(chain.item for chain in content.chains)),
        )

    def _tell_all(self, problems: Iterable[FieldProblem]) -> None:
        for problem in problems:
            self._tell(problem.field, problem.what, problem.hint, problem.source)

    # --- fields -------------------------------------------------------------------------------------------

    def _checked_kind(self, given: Any) -> str | None:
        kind = catalog.default_kind(self._entry.record) if given is None else given
        if isinstance(kind, str) and kind in catalog.kinds():
            return kind
        hint = nearest(kind, catalog.kinds()) or f"there are {few(catalog.kinds())}"
        self._tell("kind", f"{shown(kind)} is no product", hint)
        return None

    def _content(self, own: OwnWords) -> _Content | None:
        """What the line asks for, or None when its fields have a problem."""
        kind = self._checked_kind(own.kind)
        if kind is None:
            return None
        record, allows = self._entry.record, own.allow_unknown_model
        checked = catalog.check(kind, record, OWN_WORDS, allow_unknown_model=allows)
        model = catalog.model_of(kind, checked.body)
        product = catalog.product(kind, model)
        media = self._around.media.read(product, checked.body, own.seconds)
        found, chain_problems = chains(product, checked.body)
        problems = [*checked.problems, *media.problems, *chain_problems]
        self._tell_all(problems)
        return None if problems else self._put_together(own, product, model, checked.body, media, found)

    def _put_together(
        self, own: OwnWords, product: Product, model: str, body: dict[str, Any], media: Media, found: Sequence[Chain]
    ) -> _Content:
        length_of = catalog.length_of(product.kind, body)
        lasting = length_of or _lasting(product, body)
        lengths = media.lengths()
        if own.seconds is not None:
            self._check_seconds(own.seconds, lengths, lasting)
            lengths = {lasting: own.seconds, **lengths} if lasting is not None else lengths
        text, of_files = _texts(body, media.files)
        return _Content(product, model, body, of_files, text, found, lengths, length_of, lasting)

    def _check_seconds(self, stated_s: Decimal, lengths: Mapping[str, Decimal], lasting: str | None) -> None:
        """Whether the stated length is one of something, and that of the file where both are known."""
        told_s = next((length_s for length_s in lengths.values() if abs(length_s - stated_s) > _MOST_ASTRAY_S), None)
        if told_s is not None:
            self._tell("seconds", f"is {stated_s}, and the file says {told_s.normalize():f}", "leave it out")
        elif lasting is None and "seconds" not in self._entry.inherited:
            self._tell("seconds", "no source of this item has a length to tell", "leave it out")

    # --- other items --------------------------------------------------------------------------------------

    def _note(self, own: OwnWords, content: _Content | None) -> bool:
        """Keep the items for others to refer to, and what they refer to themselves; whether that will do."""
        registry, ids = self._around.registry, _ids(own, content)
        facts = Facts() if content is None else _facts(content)
        model_of = length_of = None
        if content is not None and content.chains:
            model_of = content.source_at(content.product.inherits)
            length_of = content.source_at(content.lasting) if facts.length_s is None and model_of is None else None
            facts = registry.supplied(facts, model_of=model_of, length_of=length_of)
        for id_ in ids:
            if trouble := encoding_trouble(id_):
                self._tell("id", f"{shown(id_)} {trouble}", "set LC_ALL=C.UTF-8, or PYTHONUTF8=1")
            self._tell_twice(id_, registry.note(id_, self._line, facts), is_given=own.has_id)
            self._tell_rivals(id_, registry.rivals(id_, facts.made))
            registry.inherit(id_, model_of=model_of, length_of=length_of)
        if content is None or not content.chains:
            return True
        problems = list(registry.refer(ids, self._line, content.chains))
        self._tell_all(problems)
        return not problems

    def _tell_twice(self, id_: str, first: int | None, *, is_given: bool) -> None:
        if first is None:
            return
        if is_given:
            self._tell("id", f"{shown(id_)} is already the id of line {first}", "an id names one item")
        else:
            self._tell(None, f"asks for the same as line {first}", 'give one of them an "id" of its own')

    def _tell_rivals(self, id_: str, rivals: Iterator[tuple[str, int, str]]) -> None:
        """Tell the first one; a pair that earlier runs took in is past telling, and keeps its ids."""
        has_stood = self._around.has_stood
        new = (rival for rival in rivals if not (has_stood(id_) and has_stood(rival[0])))
        for other, line, name in islice(new, 1):
            what = f"{shown(id_)} and {shown(other)} of line {line} may both make a file called {shown(name)}"
            self._tell("id", what, "one that makes several files has them numbered: give one of the two another id")

    # --- price --------------------------------------------------------------------------------------------

    def _price(self, own: OwnWords, content: _Content) -> Price | None:
        """What one of the items costs; None when nobody can say, which is told."""
        if own.credits is not None:
            return Price(content.product.pack, own.credits, GIVEN_PRICE)
        lengths, length_of = dict(content.lengths), content.length_of
        if length_of is not None and length_of not in lengths:
            length_s = self._length_of_source(content.source_at(length_of))
            if length_s is None:
                what = "its length decides the price, and cannot be read from here"
                self._tell(length_of.replace("[]", "[0]"), what, 'say it: "seconds": 12.5')
                return None
            lengths[length_of] = length_s
        inherited = self._inherited(content.source_at(content.product.inherits))
        price = catalog.price(content.kind, content.fields, lengths, inherited)
        if price is None:
            what = "no price is known for this combination, so no budget could hold"
            self._tell(None, what, 'say what one item costs: "credits": "3.5"')
        return price

    def _length_of_source(self, source: str | None) -> Decimal | None:
        facts = None if source is None else self._around.facts_of(source)
        return None if facts is None else facts.length_s

    def _inherited(self, source: str | None) -> Mapping[str, object]:
        facts = None if source is None else self._around.facts_of(source)
        return NOTHING if facts is None or not facts.model else {"model_name": facts.model, "mode": facts.mode}


def _ids(own: OwnWords, content: _Content | None) -> list[str]:
    """The ids of the items of a line; none when there is neither one given nor content to make it of."""
    if own.id is not None:
        return [own.id if own.samples is None else numbered(own.id, sample) for sample in own.numbers]
    if content is None or own.has_id:
        return []
    base = default_id(_words(content.kind, content.fields), content.fingerprint(None))
    return [numbered(base, sample) for sample in own.numbers]


def _facts(content: _Content) -> Facts:
    """What others may want to know of the items."""
    product, fields = content.product, content.fields
    files = max(product.files, catalog.count(product.kind, fields))
    made = catalog.made_files(product.kind, fields)
    if product.inherits:  # it has the model and mode of its source, and is longer than that
        return Facts(product.kind, files=files, made=made)
    mode, duration = _usual(product.kind, content.model)
    mode, duration = str(fields.get("mode", mode)), str(fields.get("duration", duration))
    return Facts(product.kind, content.model, mode, files, _length_s(content, duration), made)


@cache
def _usual(kind: str, model: str) -> tuple[str, str]:
    """The mode and the duration of an item that says neither; empty where it has none."""
    rows = catalog.field_rows(kind, {"model_name": model})
    mode, duration = (str(rows[name].default or "") if name in rows else "" for name in ("mode", "duration"))
    return mode, duration


def _length_s(content: _Content, duration: str) -> Decimal | None:
    """Seconds of what an item makes: as long as it asks, else as long as its source."""
    if content.length_of is None and duration.replace(".", "", 1).isdigit():
        return Decimal(duration)
    return None if content.lasting is None else content.lengths.get(content.lasting)


def _lasting(product: Product, body: dict[str, Any]) -> str | None:
    """The field of the body with a source that lasts a while, or None."""
    timed = [field.path for field in product.media if field.type != "image"]
    timed += [path for path, made in product.refs.items() if made in _LASTING_IDS]
    return next((path for path in timed if any(places(body, path))), None)


def _texts(body: dict[str, Any], files: Sequence[LocalFile]) -> tuple[str, str]:
    """The body as the fingerprint knows it, and as it is kept.

    The fingerprint knows a file by its bytes: moving the folder changes no item, changing the image does.
    """
    for file in files:
        file.place.put({"sha256": file.digest})
    text = _canonical(body)
    for file in files:
        file.place.put({"path": str(file.path), "sha256": file.digest})
    return text, _canonical(body) if files else text


def _words(kind: str, body: dict[str, Any]) -> str:
    """The words that name an item without an id: its prompt, else its first shot, else its kind."""
    shots = body.get("multi_prompt") or [{}]
    return str(body.get("prompt") or shots[0].get("prompt") or body.get("text") or kind)
