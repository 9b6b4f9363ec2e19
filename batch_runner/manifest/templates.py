"""Text with ``{{ name }}`` in it, the variables that go there, and files that hold such text."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from batch_runner.catalog.problems import json_type, label, listed, nearest, shown
from batch_runner.manifest.own_words import Tell

MAX_FILE_BYTES: Final = 64 * 1024
"""A prompt has at most a few thousand characters."""

_MAX_DEPTH: Final = 8
"""Deeper than any field of the API stands; what lies below is refused anyway."""
_PLACEHOLDER = re.compile(r"\{\{\s*([^\W\d]\w*)\s*\}\}")
_BRACES = re.compile(r"\{\{|\}\}")
_NAME = re.compile(r"[^\W\d]\w*")


class TemplateError(Exception):
    """A file of text cannot be used; the text is a phrase about the file."""


def may_name_variables(value: Any) -> bool:
    """Whether there is anything to fill or to refuse in a value: next to no line of a long manifest has it."""
    return isinstance(value, list | dict) or (isinstance(value, str) and ("{{" in value or "}}" in value))


class Filler:
    """Fills the texts of one line with its variables, and remembers which of them it met."""

    def __init__(self, variables: Mapping[str, str], tell: Tell, *, is_strict: bool) -> None:
        self._variables = variables
        self._tell = tell
        self._is_strict = is_strict
        self.used: set[str] = set()

    def filled(self, value: Any, path: str, depth: int = 0) -> Any:
        """The value with every text in it filled; what cannot be filled is told and stays as it is."""
        if isinstance(value, str):
            return self._text(value, path) if may_name_variables(value) else value
        if depth > _MAX_DEPTH:
            return value
        if isinstance(value, list):
            return [self.filled(part, f"{path}[{i}]", depth + 1) for i, part in enumerate(value)]
        if isinstance(value, dict):
            return {name: self.filled(part, f"{path}.{label(name)}", depth + 1) for name, part in value.items()}
        return value

    def _text(self, text: str, path: str) -> str:
        names = dict.fromkeys(_PLACEHOLDER.findall(text))
        missing = [name for name in names if name not in self._variables]
        self.used.update(names)
        for name in missing:
            self._tell(path, f"names the variable {label(name)}, which has no value", self._known(name))
        if self._is_strict and (stray := _BRACES.search(_PLACEHOLDER.sub("", text))):
            self._tell(path, f"holds {stray.group()} that belongs to no variable", "a variable is written {{ name }}")
        if missing:
            return text
        filled = _PLACEHOLDER.sub(lambda found: self._variables[found[1]], text)
        if _PLACEHOLDER.search(filled):
            self._tell(path, "names a variable even when it is filled", "a value is not filled itself")
        return filled

    def _known(self, name: str) -> str:
        if not self._variables:
            return f'give it one: "vars": {{"{label(name)}": "..."}}'
        return nearest(name, self._variables) or f"there are {listed(self._variables, 'and')}"


def variables(given: Any, tell: Tell) -> dict[str, str]:
    """The variables of a line as text; what is wrong with them is told, and such a one has a value all the same."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        tell("vars", f"must be an object, not {json_type(given)}", '"vars": {"city": "Oslo"}')
        return {}
    return {name: _variable(name, value, tell) for name, value in given.items()}


def _variable(name: str, value: Any, tell: Tell) -> str:
    if not _NAME.fullmatch(name):
        tell(f"vars.{label(name)}", "is no name", "letters, digits and _, beginning with a letter")
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        tell(f"vars.{label(name)}", f"must be text or a number, not {json_type(value)}", "")
    return str(value)


def template(path: Path) -> str:
    """The text of a file without the space around it; an answer is kept until the file changes.

    Raises:
        TemplateError: it cannot be used.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise TemplateError("is no file that exists") from None
    except (OSError, ValueError) as error:
        raise TemplateError(_unreadable(error)) from None
    if not stat.S_ISREG(found.st_mode):
        raise TemplateError("is a folder" if stat.S_ISDIR(found.st_mode) else "is no regular file")
    if found.st_size > MAX_FILE_BYTES:
        raise TemplateError(f"has {found.st_size} bytes; at most {MAX_FILE_BYTES}")
    return _read(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=256)
def _read(path: Path, _size: int, _mtime_ns: int) -> str:
    try:
        text = path.read_text("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise TemplateError("is not UTF-8") from None
    except OSError as error:
        raise TemplateError(_unreadable(error)) from None
    if not text:
        raise TemplateError("is empty")
    return text


def _unreadable(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return f"cannot be read: {reason or 'no path that this system knows'}"


def prompt_of(folder: Path, name: Any, tell: Tell) -> str | None:
    """The text of the file a line names, or None when it was told why there is none."""
    if not isinstance(name, str) or not name.strip():
        tell("prompt_file", f"must be the path of a text file, not {shown(name)}", "")
        return None
    try:
        return template(folder / name)
    except TemplateError as error:
        tell("prompt_file", f"{shown(name)} {error}", "relative to the manifest")
        return None
