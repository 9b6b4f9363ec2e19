"""JSON Lines: the lines of a manifest's text and the JSON objects on them, or what keeps them from being read."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from batch_runner.catalog.problems import json_type, shown
from batch_runner.errors import Problem

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""A line carries at most a few images of 10 MB; without a bound one endless line would fill the memory."""
EXAMPLE: Final = 'one object a line, such as {"prompt": "..."}'

_OPENING: Final = re.compile(r"\s*(\{|\[.*)")
"""How a list begins, or an object that has nothing on its first line: a JSON text as a whole, not JSON Lines."""
_ON_ONE_LINE: Final = "write one object a line, or have it read with --format yaml; nothing after it was read"
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def json_records(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    """The object of every line that is not blank, with its number."""
    is_first = True
    for line, text in text_lines(file):
        if isinstance(text, Problem):
            yield line, text
        elif stripped := text.rstrip():  # JSON errors would count a line's end as a line of its own
            record = parsed(line, stripped)
            if is_first and isinstance(record, Problem) and _OPENING.fullmatch(stripped):
                yield line, Problem(line, None, "begins a list, or an object over several lines", _ON_ONE_LINE)
                return
            is_first = False
            yield line, record


def text_lines(file: BinaryIO) -> Iterator[tuple[int, str | Problem]]:
    """Every line with its number and its end; a problem in place of one that is no text."""
    line = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        line += 1
        if line == 1 and raw.startswith(_UTF16):
            yield line, Problem(line, None, "is UTF-16, not UTF-8", "save the manifest as UTF-8")
            return
        if len(raw) > MAX_LINE_BYTES:
            _skip_line(file, raw)
            yield line, Problem(line, None, f"is longer than {MAX_LINE_BYTES // 1024**2} MiB")
        else:
            yield line, _text(line, raw)


def _skip_line(file: BinaryIO, raw: bytes) -> None:
    while raw and not raw.endswith(b"\n"):
        raw = file.readline(MAX_LINE_BYTES)


def _text(line: int, raw: bytes) -> str | Problem:
    try:
        return raw.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 at byte {error.start + 1} of the line"
        return Problem(line, None, what, "save the manifest as UTF-8")


class _RefusedJsonError(ValueError):
    """JSON that Python would read and we do not: a key twice, NaN, Infinity; with what to do."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RefusedJsonError(f"the key {shown(twice)} stands twice in one object", "leave one of them out")
    return table


def _refuse_constant(name: str) -> Any:
    raise _RefusedJsonError(f"{name} is no JSON number", "write a figure, or leave the field out")


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant).decode


def parsed(line: int, text: str) -> dict[str, Any] | Problem:
    """The object on a line, or why there is none."""
    record = value(line, text)
    if isinstance(record, dict | Problem):
        return record
    return Problem(line, None, f"must be an object, not {json_type(record)}", EXAMPLE)


def value(line: int, text: str) -> Any:
    """What stands there in JSON, or why that is none."""
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        return Problem(line, None, f"is not JSON: {_broken(error)}, column {error.colno}", EXAMPLE)
    except _RefusedJsonError as error:
        return Problem(line, None, str(error), error.hint)
    except (ValueError, RecursionError):
        return Problem(line, None, "is JSON with a number too long or with too many levels")


def _broken(error: json.JSONDecodeError) -> str:
    """What is wrong with a text, in the decoder's words except for the two slips that everybody makes."""
    before, rest = error.doc[: error.pos].rstrip(), error.doc[error.pos :].strip()
    if before.endswith(",") and rest[:1] in {"}", "]"}:
        return f"a comma stands before the closing {rest[0]}"
    return "a comma stands behind the object" if rest == "," and before.endswith("}") else error.msg
