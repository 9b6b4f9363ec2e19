"""Local files in a body: where they stand, what was found out about them, and how they are put in when sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from batch_runner import catalog
from batch_runner.catalog.problems import FieldProblem, shown

_LONG_BASE64 = re.compile(r"[A-Za-z0-9+/]{256,}={0,2}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What is known of a local media file.

    Attributes:
        digest: SHA-256 hex of its bytes; empty when it cannot be read.
        problems: what keeps Kling from taking it, each a phrase about the file.
    """

    digest: str
    problems: tuple[str, ...] = ()


Inspect = Callable[[Path], MediaFacts]


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


def local_files(
    kind: str, body: dict[str, Any], folder: Path, inspect: Inspect
) -> tuple[list[LocalFile], list[FieldProblem]]:
    """The local files a body names, relative ones below ``folder``, and what is wrong with its media fields."""
    files: list[LocalFile] = []
    problems: list[FieldProblem] = []
    for place in chain.from_iterable(places(body, path) for path in catalog.product(kind).media_fields):
        text = place.get()
        if not isinstance(text, str):
            continue
        trouble = _address_trouble(text)
        if trouble is not None:
            problems.append(FieldProblem(place.label, *trouble))
        elif not _SCHEME.match(text) and not _LONG_BASE64.fullmatch(text):
            facts = inspect(folder / text)
            problems += [FieldProblem(place.label, f"{shown(text)} {what}") for what in facts.problems]
            files.append(LocalFile(place, folder / text, facts.digest))
    return files, problems


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
