"""Local files in a body: where they stand, what was found out about them, and how they are put in when sent."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from batch_runner import catalog
from batch_runner.catalog import MediaLimits, Product
from batch_runner.catalog.problems import FieldProblem, listed, shown

_LONG_BASE64 = re.compile(r"[A-Za-z0-9+/]{256,}={0,2}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_SLACK_S: Final = Decimal("0.1")
"""Kling's own clips are some hundredths longer than they are called, and it takes them."""
_SHAPE_SLACK: Final = 0.01
_TO_FETCH: Final = 'put it where Kling can fetch it, or take an item\'s result: {"item": "..."}'


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What is known of a media file.

    Attributes:
        digest: SHA-256 hex of its bytes; empty when it cannot be read.
        problems: what keeps Kling from taking it, each a phrase about the file.
        trouble: why nothing is known of it, a phrase, or empty.
        width: pixels, 0 when it is no picture or not known.
        height: pixels, 0 as above.
        length_s: seconds, or None when it has no length or does not tell it.
    """

    digest: str
    problems: tuple[str, ...] = ()
    trouble: str = ""
    width: int = 0
    height: int = 0
    length_s: Decimal | None = None


Inspect = Callable[[Path | bytes, MediaLimits], MediaFacts]
"""Looks at a file, or at the bytes of one, for a field with these limits."""


def load_body(body: str, read: Callable[[Path, str], str]) -> dict[str, Any]:
    """The API body of an ``Item.body``; a local file becomes what ``read`` makes of its path and SHA-256."""

    def filled(table: dict[str, Any]) -> Any:
        return read(Path(table["path"]), table["sha256"]) if table.keys() == {"path", "sha256"} else table

    loaded: dict[str, Any] = json.loads(body, object_hook=filled)
    return loaded


class LocalFile(NamedTuple):
    """A local file that a body names: where, which, and the digest of its bytes."""

    place: Place
    path: Path
    digest: str


@dataclass(slots=True)
class Media:
    """What stands in the media fields of a body.

    Attributes:
        files: the local files it names.
        facts: what was found in files and base64, by the path of the field and the place in the body.
        problems: what is wrong with them.
    """

    files: list[LocalFile] = field(default_factory=list)
    facts: dict[tuple[str, str], MediaFacts] = field(default_factory=dict)
    problems: list[FieldProblem] = field(default_factory=list)

    def lengths(self) -> dict[str, Decimal]:
        """Seconds by field, where a file told them."""
        return {path: facts.length_s for (path, _), facts in self.facts.items() if facts.length_s is not None}


class MediaReader:
    """Looks at the media of bodies whose relative paths lie below ``folder``."""

    def __init__(self, folder: Path, inspect: Inspect) -> None:
        self._folder = folder
        self._inspect = inspect

    def read(self, product: Product, body: dict[str, Any], stated_s: Decimal | None = None) -> Media:
        """What stands in the media fields of a canonical body; ``stated_s``: the length of what does not tell it."""
        media = Media()
        used: list[tuple[str, MediaLimits]] = []
        for row in product.media:
            found = list(places(body, row.path))
            if found:
                limits = catalog.media_limits(product.kind, body, row.path)
                used.append((row.path, limits))
                for place in found:
                    self._look(place, row.path, limits, media, stated_s)
        media.problems += _unlike(media, used)
        return media

    def _look(self, place: Place, path: str, limits: MediaLimits, media: Media, stated_s: Decimal | None) -> None:
        text = place.get()
        if not isinstance(text, str):
            return  # another item's result, or told by the catalog
        facts = MediaFacts("")
        trouble = _address_trouble(text) or _form_trouble(text, limits)
        if trouble is None and not _SCHEME.match(text):
            facts = media.facts[path, place.label] = self._facts(place, text, limits, media)
        name = _called(text)
        if facts.trouble:
            hint = "" if _LONG_BASE64.fullmatch(text) or Path(text).is_absolute() else "relative to the manifest"
            media.problems.append(FieldProblem(place.label, f"{name} {facts.trouble}", hint))
            return
        broken = [trouble] if trouble else [(f"{name} {what}", "") for what in facts.problems]
        if not broken and facts.length_s is None:
            broken = list(_length_troubles(name, limits, stated_s, is_file=bool(facts.digest)))
        media.problems += [FieldProblem(place.label, *rule, limits.source) for rule in broken]

    def _facts(self, place: Place, text: str, limits: MediaLimits, media: Media) -> MediaFacts:
        if _LONG_BASE64.fullmatch(text):
            try:
                return self._inspect(base64.b64decode(text, validate=True), limits)
            except ValueError:
                return MediaFacts("", trouble="is cut off: no whole number of bytes")
        facts = self._inspect(self._folder / text, limits)
        media.files.append(LocalFile(place, self._folder / text, facts.digest))
        return facts


def _called(text: str) -> str:
    """A path or base64 as a message names it; what looks like an address without its beginning keeps its secrets."""
    if _LONG_BASE64.fullmatch(text):
        return "its base64"
    path, mark, _ = text.partition("?")
    return shown(f"{path}{mark}...") if mark else shown(path)


def length_problem(length_s: Decimal, limits: MediaLimits) -> str | None:
    """Why the field takes nothing of so many seconds, as a phrase, or None."""
    if not limits.seconds or any(low - _SLACK_S <= length_s <= high + _SLACK_S for low, high in limits.seconds):
        return None
    return f"is {length_s.normalize():f} s long; {listed(f'{low} to {high}' for low, high in limits.seconds)} s"


def _length_troubles(
    name: str, limits: MediaLimits, stated_s: Decimal | None, *, is_file: bool
) -> Iterator[tuple[str, str]]:
    """What is wrong with the length of a source that does not tell it, and a hint."""
    if stated_s is None:
        if is_file and limits.type != "image":
            yield f"{name} does not tell its length", 'say it: "seconds": 12.5'
    elif rule := length_problem(stated_s, limits):
        yield rule, "as seconds says"


def _unlike(media: Media, used: Sequence[tuple[str, MediaLimits]]) -> Iterator[FieldProblem]:
    """Pictures that must have the shape or the size of others, and have not."""
    sizes: dict[str, tuple[str, MediaFacts]] = {}
    for path, limits in used:
        model = next((seen for (at, _), seen in media.facts.items() if at == limits.shape_of and seen.width), None)
        for (at, place), facts in media.facts.items():
            if at != path or not facts.width:
                continue
            is_px = f"is {facts.width} x {facts.height} px"
            if model is not None and not _same_shape(facts, model):
                what = f"{is_px}, and {limits.shape_of} {model.width} x {model.height}; both need one shape"
                yield FieldProblem(place, what, "", limits.source)
            first, size = sizes.setdefault(limits.name, (place, facts)) if limits.one_size else (place, facts)
            if (facts.width, facts.height) != (size.width, size.height):
                what = f"{is_px}, and {first} {size.width} x {size.height}; all need one size"
                yield FieldProblem(place, what, "", limits.source)


def _same_shape(one: MediaFacts, other: MediaFacts) -> bool:
    """Whether the sides of two pictures are in the same proportion, but for what rounding to pixels makes."""
    return abs(one.width * other.height / (one.height * other.width) - 1) <= _SHAPE_SLACK


def _address_trouble(text: str) -> tuple[str, str] | None:
    """What is wrong with an address, and a hint; None for good ones and for paths and base64."""
    if text[:5].lower() == "data:":
        hint = "leave out everything up to the comma, or name the file"
        return "is a data: address; Kling wants the raw base64", hint
    scheme = _SCHEME.match(text)
    if scheme is None:
        return None
    if scheme.group().lower() not in {"http://", "https://"}:
        return f"{shown(scheme.group())} begins no address that Kling reads", "http or https, or a plain path"
    return None if _has_host(text) else ("is an address without a host", "")


def _form_trouble(text: str, limits: MediaLimits) -> tuple[str, str] | None:
    """Why a file, base64 or an address cannot stand there at all, and a hint."""
    if _SCHEME.match(text):
        return None if "address" in limits.forms else ("takes no address, only the file itself", "name a local file")
    if "file" in limits.forms:
        return None
    what = "is base64" if _LONG_BASE64.fullmatch(text) else f"{_called(text)} is a local path"
    return f"{what}, and Kling reads only an address here", _TO_FETCH


def _has_host(address: str) -> bool:
    try:
        return bool(urlsplit(address).hostname)
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Place:
    """One spot in a body: the container, the key there, and the path that a message names it by."""

    container: Any
    key: str | int
    label: str

    def get(self) -> Any:
        """What stands there."""
        return self.container[self.key]

    def put(self, value: Any) -> None:
        """Replaces what stands there."""
        self.container[self.key] = value


def places(table: dict[str, Any], path: str, prefix: str = "") -> Iterator[Place]:
    """The spots that a path such as ``dynamic_masks[].mask`` leads to."""
    head, _, rest = path.partition(".")
    name = head.removesuffix("[]")
    if name not in table:
        return
    place = Place(table, name, f"{prefix}{name}")
    is_list = head != name and isinstance(place.get(), list)
    spots = [Place(place.get(), i, f"{place.label}[{i}]") for i in range(len(place.get()))] if is_list else [place]
    for spot in spots:
        if not rest:
            yield spot
        elif isinstance(spot.get(), dict):
            yield from places(spot.get(), rest, f"{spot.label}.")
