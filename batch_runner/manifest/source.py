"""Where a manifest's text comes from and how it is written: a file or bytes, as JSON Lines, a table or YAML."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final

from batch_runner.errors import Problem


class Format(StrEnum):
    """How a manifest is written."""

    JSONL = "jsonl"
    """One JSON object a line."""
    CSV = "csv"
    """A table: a first row of field names, then a row an item."""
    YAML = "yaml"
    """A list of objects, or a document an object."""


_BY_ENDING: Final[Mapping[str, Format]] = MappingProxyType(
    {".csv": Format.CSV, ".tsv": Format.CSV, ".yaml": Format.YAML, ".yml": Format.YAML}
)


class UnreadableError(Exception):
    """The text cannot be had; carries the problem."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.problem = Problem(None, None, what, hint)


@dataclass(frozen=True, slots=True)
class Source:
    """One manifest's text, which can be read any number of times.

    Attributes:
        path: the file, or what stands for its name in messages.
        format: how it is written.
        content: the text itself where there is no file to read it from.
    """

    path: Path
    format: Format
    content: bytes | None = None

    @property
    def folder(self) -> Path:
        """Where its relative paths begin: beside the file, else the folder one is in."""
        return Path.cwd() if self.content is not None else self.path.absolute().parent

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The text from its beginning.

        Raises:
            UnreadableError: there is none to be had.
        """
        try:
            with io.BytesIO(self.content) if self.content is not None else _file(self.path) as file:
                yield file
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror}") from None


def format_of(path: Path) -> Format:
    """How a file is written, by its ending."""
    return _BY_ENDING.get(path.suffix.lower(), Format.JSONL)


def _file(path: Path) -> BinaryIO:
    try:
        if path.is_dir():
            raise UnreadableError("is a folder, not a file", "name a file of items, such as prompts/demo.jsonl")
        if not path.exists():
            raise UnreadableError("no such file", "check the path, and the folder you are in")
        if not path.is_file():
            raise UnreadableError("is no regular file, and it is read more than once", 'standard input is "-"')
    except (OSError, ValueError) as error:
        raise UnreadableError(f"cannot be read: {error}") from None
    return path.open("rb")
