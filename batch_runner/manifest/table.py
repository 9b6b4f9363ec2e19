"""Tables (CSV): a first row that names fields, then a row an item; cells are read as their fields want them."""

from __future__ import annotations

import csv
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, BinaryIO, Final, NamedTuple

from batch_runner import catalog
from batch_runner.catalog import FieldRow
from batch_runner.catalog.problems import LIKE_A_NAME, label, nearest, nearest_name
from batch_runner.catalog.schema import FieldType
from batch_runner.errors import Problem
from batch_runner.manifest.lines import text_lines, value
from batch_runner.manifest.own_words import OWN_WORDS

_DELIMITERS: Final = ",;\t"
_PATH = re.compile(r"[^.\[\]]+(\[[0-9]{1,3}\])?(\.[^.\[\]]+(\[[0-9]{1,3}\])?)*")
_LACKED = frozenset({"prompt", "image"})
_STEP = re.compile(r"\[([0-9]+)\]|([^.\[\]]+)")
_WHOLE = re.compile(r"-?[0-9]{1,20}")
_NUMBER = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,15}")
_NESTED: Final = frozenset({FieldType.LIST, FieldType.OBJECT})

Steps = tuple[str | int, ...]


class _RefusedError(Exception):
    """A row, or all that follows, cannot be read; carries the problem."""

    def __init__(self, line: int, field: str | None, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.problem = Problem(line, field, what, hint)


class _Column(NamedTuple):
    """One column: its name, and that as steps into an object; no steps where it has no name."""

    name: str
    steps: Steps


def table_records(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    """The object of every row that is not empty, with the line it begins on."""
    try:
        rows = _rows(file)
        line, names = next(rows, (0, []))
        columns, problems = _columns(line, names)
        yield from ((line, problem) for problem in problems)
        for line, cells in rows:
            if any(cells):
                yield line, _record(line, cells, columns)
    except _RefusedError as error:
        yield error.problem.line or 0, error.problem


class _Lines:
    """The lines of the text, and the number of the last one that was handed out."""

    def __init__(self, file: BinaryIO) -> None:
        self._lines = text_lines(file)
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        for line, text in self._lines:
            self.number = line
            if isinstance(text, Problem):
                raise _RefusedError(self.number, None, text.what, text.hint)
            yield text


def _rows(file: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """The cells of every row without the space around them, from the row that names the fields on."""
    lines = _Lines(file)
    texts = iter(lines)
    header = next((text for text in texts if text.strip()), "")
    reader = csv.reader(chain([header], texts), delimiter=max(_DELIMITERS, key=header.count), strict=True)
    begun = lines.number
    try:
        for cells in reader:
            yield begun, [cell.strip() for cell in cells]
            begun = lines.number + 1
    except csv.Error as error:
        what = f"is no row of a table: {_broken(str(error))}"
        raise _RefusedError(begun, None, what, "nothing after it was read") from None


def _broken(trouble: str) -> str:
    """The reader's words, except for what is wrong with double quotes."""
    if trouble == "unexpected end of data":
        return "a double quote is never closed"
    return "a double quote inside a cell is written twice" if trouble.endswith("expected after '\"'") else trouble


def _columns(line: int, names: Sequence[str]) -> tuple[list[_Column | None], list[Problem]]:
    """The columns, None in place of one that cannot be used, and what is wrong with those."""
    columns: list[_Column | None] = []
    problems = []
    for i, name in enumerate(names):
        trouble = _column_trouble(name, names[:i])
        taken = {*names, *(column.name for column in columns if column is not None)}
        columns.append(_meant(name, taken) if trouble else _Column(name, _steps(name)))
        if trouble:
            problems.append(Problem(line, label(name), *trouble))
    return columns, problems


def _meant(name: str, taken: Container[str]) -> _Column | None:
    """The column that a misspelt one stands for, so that every row is not told to lack it as well.

    Only of those that rows lack, and that take any text: other values would be judged under a name that is not there.
    """
    is_strange = bool(_PATH.fullmatch(name)) and name not in _known()
    meant = nearest_name(name, _known(), LIKE_A_NAME) if is_strange else None
    return _Column(meant, (meant,)) if meant in _LACKED and meant not in taken else None


def _known() -> tuple[str, ...]:
    return (*sorted(catalog.field_names()), *OWN_WORDS)


def _column_trouble(name: str, earlier: Sequence[str]) -> tuple[str, str] | None:
    if not name:
        return None  # it may hold nothing, which its cells show
    if name in earlier:
        return "stands twice in the first row", "one column a field"
    if not _PATH.fullmatch(name):
        return "is no name of a field", "such as prompt, camera_control.type or image_list[0].image"
    top = _steps(name)[0]
    return None if top in _known() else ("no product has such a field", nearest(top, _known(), LIKE_A_NAME))


def _steps(name: str) -> Steps:
    """``image_list[0].image`` as ``("image_list", 0, "image")``."""
    return tuple(int(number) if number else word for number, word in _STEP.findall(name))


def _record(line: int, cells: Sequence[str], columns: Sequence[_Column | None]) -> dict[str, Any] | Problem:
    """The object a row means: cells put where their columns say, and read as their fields want them."""
    try:
        record = _nested(line, cells, columns)
        rows = _field_rows(record)
        return {name: _read(line, part, name, rows.get(name)) for name, part in record.items()}
    except _RefusedError as error:
        return error.problem


def _nested(line: int, cells: Sequence[str], columns: Sequence[_Column | None]) -> dict[str, Any]:
    """The cells as an object; what will be a list still has its numbers as keys."""
    if any(cells[len(columns) :]):
        what = f"has {len(cells)} cells, and the first row {len(columns)}"
        raise _RefusedError(line, None, what, "a cell with a comma in it stands in double quotes")
    record: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=False):
        if not cell or column is None:
            continue
        if not column.steps:
            raise _RefusedError(line, None, "holds something in a column without a name", "name it, or clear its cells")
        if not _put(record, column.steps, cell):
            raise _RefusedError(line, column.name, "is filled, and so is another column of its field", "fill one")
    return record


def _put(table: dict[Any, Any], steps: Steps, cell: str) -> bool:
    for step in steps[:-1]:
        inner: object = table.setdefault(step, {})
        if not isinstance(inner, dict):
            return False
        table = inner
    if steps[-1] in table or (table and isinstance(steps[-1], int) is not isinstance(next(iter(table)), int)):
        return False
    table[steps[-1]] = cell
    return True


def _field_rows(record: Mapping[str, Any]) -> Mapping[str, FieldRow]:
    kind = record.get("kind") or catalog.default_kind(record)
    return catalog.field_rows(kind, record) if kind in catalog.kinds() else {}


def _read(line: int, part: Any, path: str, row: FieldRow | None) -> Any:
    """A part of the object in the types of its field; a cell nobody knows the field of stays text."""
    if isinstance(part, str):
        return _cell(line, part, path, row)
    if not any(isinstance(step, int) for step in part):
        inside = row.fields if row else {}
        return {name: _read(line, inner, f"{path}.{name}", inside.get(name)) for name, inner in part.items()}
    gap = next((number for number in range(len(part)) if number not in part), None)
    if gap is not None:
        raise _RefusedError(line, f"{path}[{gap}]", f"is empty, and {path}[{max(part)}] is not", "leave no gap")
    return [_read(line, part[number], f"{path}[{number}]", row.item if row else None) for number in range(len(part))]


def _cell(line: int, cell: str, path: str, row: FieldRow | None) -> Any:
    type_ = row.type if row else None
    if (type_ in _NESTED and cell[0] in "[{") or (cell[0] == "{" and (path == "vars" or type_ is FieldType.MEDIA)):
        found = value(line, cell)
        if isinstance(found, Problem):
            raise _RefusedError(line, path, found.what)
        return found
    if type_ in {FieldType.INTEGER, FieldType.NUMBER} and _WHOLE.fullmatch(cell):
        return int(cell)
    return float(cell) if type_ is FieldType.NUMBER and _NUMBER.fullmatch(cell) else cell
