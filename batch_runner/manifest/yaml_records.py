"""YAML manifests: a list of objects, or a document an object. Nothing but plain data is ever made of them.

Scalars are read as JSON would read them, so that ``sound: on`` is text and ``aspect_ratio: 9:16`` is no sum of
minutes, which is what YAML 1.1 makes of them.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from io import SEEK_END
from itertools import chain
from typing import Any, BinaryIO, Final

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from batch_runner.catalog.problems import json_type, label, shown
from batch_runner.errors import Problem

MAX_BYTES: Final = 64 * 1024 * 1024
"""An object may be as long as the file; a longer manifest is written in JSON Lines."""
MAX_PARTS: Final = 20_000
"""In one object. The largest that Kling takes has some two thousand; anchors could name the same one endlessly."""
MAX_DEPTH: Final = 30

_ENOUGH_EVENTS: Final = 2 * MAX_PARTS + MAX_DEPTH
"""A part has at most two events, its beginning and its end."""

_STANDARD_TAG: Final = "tag:yaml.org,2002:"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,300})(\.[0-9]{1,300})?([eE][-+]?[0-9]{1,4})?")
_WORDS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class _RefusedError(Exception):
    """Something that is not read; carries the problem."""

    def __init__(self, at: Event, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.problem = Problem(_line(at), None, what, hint)


def yaml_records(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    """Every object of the text, with the line it begins on."""
    file.seek(0, SEEK_END)
    if (size := file.tell()) > MAX_BYTES:
        what = f"has {size / 1024**2:.0f} MiB; at most {MAX_BYTES // 1024**2} as YAML"
        yield 0, Problem(None, None, what, "JSON Lines may have any length")
        return
    file.seek(0)
    line = 1
    try:
        for line, record in _Documents(yaml.parse(file, Loader=_LOADER)).records():
            yield line, record
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = line if mark is None else mark.line + 1
        what = ", ".join(filter(None, [error.context, error.problem]))
        yield line, Problem(line, None, f"is not YAML: {what}", "nothing after it was read")
    except yaml.YAMLError as error:  # of its reader, which knows no lines
        what = " ".join(str(error).split())
        yield line, Problem(line, None, f"is not YAML, here or below: {what}", "save the manifest as UTF-8")


class _Documents:
    """The events of a text, object by object."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._anchors: dict[str, tuple[Any, int]] = {}

    def records(self) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                self._anchors = {}
            elif isinstance(event, SequenceStartEvent):
                for first in self._events:
                    if isinstance(first, CollectionEndEvent):
                        break
                    yield _line(first), self._record(first)
            elif isinstance(event, NodeEvent) and not _is_nothing(event):
                yield _line(event), self._record(event)

    def _record(self, first: Event) -> dict[str, Any] | Problem:
        events = list(self._node(first))  # all of it is consumed, also when it is refused
        try:
            record = _Node(iter(events), self._anchors).value()
        except _RefusedError as error:
            return error.problem
        if isinstance(record, dict):
            return record
        what = f"must be an object, not {json_type(record)}"
        return Problem(_line(first), None, what, "such as - prompt: ...")

    def _node(self, first: Event) -> Iterator[Event]:
        """The first event of a node and those up to its end; of an enormous one more than enough to refuse it."""
        depth = 0
        for count, event in enumerate(chain([first], self._events)):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if count <= _ENOUGH_EVENTS:
                yield event
            if depth == 0:
                return


class _Node:
    """The value of one object's events; ``anchors`` are the named values of its document, with their sizes."""

    def __init__(self, events: Iterator[Event], anchors: dict[str, tuple[Any, int]]) -> None:
        self._events = events
        self._anchors = anchors
        self._parts = 0

    def value(self, depth: int = 0) -> Any:
        """The value of the next node.

        Raises:
            _RefusedError: it holds something that is not read.
        """
        return self._value(next(self._events), depth)

    def _value(self, event: Event, depth: int) -> Any:
        if isinstance(event, AliasEvent):
            return self._named(event)
        before = self._parts
        self._count(event, 1)
        if depth > MAX_DEPTH:
            raise _RefusedError(event, f"has more than {MAX_DEPTH} levels")
        assert isinstance(event, ScalarEvent | CollectionStartEvent)
        if event.tag is not None:
            tag = shown(event.tag.replace(_STANDARD_TAG, "!!"))
            raise _RefusedError(event, f"has the tag {tag}, which is not read", "quote what is text")
        found = self._unnamed(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = found, self._parts - before
        return found

    def _unnamed(self, event: ScalarEvent | CollectionStartEvent, depth: int) -> Any:
        if isinstance(event, ScalarEvent):
            return _plain(event.value) if event.implicit[0] else event.value
        if isinstance(event, MappingStartEvent):
            return self._object(depth)
        return [self._value(inner, depth + 1) for inner in self._inside()]

    def _inside(self) -> Iterator[Event]:
        for event in self._events:
            if isinstance(event, CollectionEndEvent):
                return
            yield event

    def _object(self, depth: int) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for key in self._inside():
            self._count(key, 1)
            if not isinstance(key, ScalarEvent):
                raise _RefusedError(key, "has a key that is no text")
            if key.value in table:
                raise _RefusedError(key, f"the key {shown(key.value)} stands twice in one object")
            if key.value == "<<" and key.implicit[0]:
                raise _RefusedError(key, "<< merges nothing here", "defaults stand in a first object of their own")
            table[key.value] = self.value(depth + 1)
        return table

    def _named(self, alias: AliasEvent) -> Any:
        name = str(alias.anchor)
        if name not in self._anchors:
            raise _RefusedError(alias, f"*{label(name)} names nothing that stands before it")
        found, parts = self._anchors[name]
        self._count(alias, parts)
        return copy.deepcopy(found)  # the places of local files are filled in later, each by itself

    def _count(self, event: Event, parts: int) -> None:
        self._parts += parts
        if self._parts > MAX_PARTS:
            raise _RefusedError(event, f"has more than {MAX_PARTS} parts")


def _line(event: Event) -> int:
    assert event.start_mark is not None
    return int(event.start_mark.line) + 1


def _is_nothing(event: Event) -> bool:
    return isinstance(event, ScalarEvent) and event.implicit[0] and _plain(event.value) is None


def _plain(text: str) -> Any:
    """A scalar without quotes: null, a bool or a number where JSON has one, else text."""
    if text in _WORDS:
        return _WORDS[text]
    found = _NUMBER.fullmatch(text)
    if found is None:
        return text
    return float(text) if found[2] or found[3] else int(text)
