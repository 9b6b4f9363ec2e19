"""What is written for others to read says what it was given, and what is read back is whole or refused.

Rows of the derived files go out as the program writes them and are read by a reader of this test's own. Of what the
program itself reads from files (the simulated account's journal, the note beside a part), any bytes become valid
records or the documented end: ``DiskError`` for a journal, a fresh download for a part.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from fuzz_kit import fuzzing, scalars, spoilt, texts, values
from hypothesis import given
from hypothesis import strategies as st

from batch_runner import records
from batch_runner.download import part
from batch_runner.errors import DiskError
from batch_runner.model import Generation, Pack
from batch_runner.records import CreditsRecord, LedgerRecord, ResultRecord, SummaryRecord
from batch_runner.report import ledger_lines, results_lines, summary_bytes
from batch_runner.sandbox import SandboxTask
from batch_runner.sandbox.journal import Journal
from batch_runner.sandbox.products import PRODUCTS

FIELDS = {
    "results.jsonl": "id line kind status reason task_id external_task_id attempts credits_estimated credits_charged"
    " pack files error submitted_at finished_at",
    "ledger.jsonl": "seq at entry pack credits item attempt external_task_id task_id consumed held budget",
    "summary.json": "batch manifest sandbox exit_code items credits requests started_at finished_at wall_s",
}
"""As people's scripts know them, in this order."""
PLAIN_DECIMAL = re.compile(r"-?\d+(\.\d*[1-9])?")

credits_ = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12)
words = st.one_of(
    texts, st.text(st.characters(codec=None), max_size=8), st.sampled_from(["\ud83d", "\x1b[31m", "\u2028"])
)
for kind, strategy in ((Decimal, credits_), (str, words), (float, st.floats(allow_nan=False, allow_infinity=False))):
    st.register_type_strategy(kind, strategy)


def revived(kind: Any, value: Any) -> Any:
    """What a JSON value stands for, by a type; anything else than the one form of it fails the test."""
    origin = typing.get_origin(kind)
    if origin in {typing.Union, types.UnionType}:
        (inner,) = (each for each in typing.get_args(kind) if each is not type(None))
        return None if value is None else revived(inner, value)
    if origin is tuple:
        return tuple(revived(typing.get_args(kind)[0], each) for each in value)
    if origin is dict:
        return {key: revived(typing.get_args(kind)[1], each) for key, each in value.items()}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        assert list(value) == [field.name for field in dataclasses.fields(kind)]
        return kind(**{name: revived(hints[name], each) for name, each in value.items()})
    if kind is Decimal:
        assert PLAIN_DECIMAL.fullmatch(value), value
        return Decimal(value)
    assert type(value) is kind, f"{value!r} is no {kind}"
    return value


def lines_of(content: bytes) -> list[dict[str, Any]]:
    """Lines as every reader of text splits them."""
    text = content.decode("utf-8")
    assert text.endswith("\n")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text), "a terminal would obey it"
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("name", "kind", "write"),
    [("results.jsonl", ResultRecord, results_lines), ("ledger.jsonl", LedgerRecord, ledger_lines)],
)
def test_rows_of_a_file_are_read_as_they_were_written(
    name: str, kind: type[Any], write: Callable[[list[Any]], Iterator[bytes]]
) -> None:
    @fuzzing(100)
    @given(st.lists(st.from_type(kind), max_size=3))
    def whatever_it_is(rows: list[Any]) -> None:
        content = b"".join(write(rows))
        found = lines_of(content) if rows else []
        assert [revived(kind, each) for each in found] == rows
        assert all(list(each) == FIELDS[name].split() for each in found)

    whatever_it_is()


def test_a_summary_is_read_as_it_was_written() -> None:
    packs = st.dictionaries(st.sampled_from(Pack).map(str), st.from_type(CreditsRecord), max_size=3)

    @fuzzing(100)
    @given(st.from_type(SummaryRecord), packs)
    def whatever_it_is(summary: SummaryRecord, credits_of: dict[str, CreditsRecord]) -> None:
        summary = dataclasses.replace(summary, credits=credits_of)
        found = json.loads(summary_bytes(summary))
        assert revived(SummaryRecord, found) == summary
        assert list(found) == FIELDS["summary.json"].split()

    whatever_it_is()


@pytest.mark.parametrize("kind", [records.SpentRecord, records.CaseRecord, records.WindowRecord])
def test_what_the_ledger_tells_programs_is_what_it_knows(kind: type[Any]) -> None:
    @fuzzing(80)
    @given(st.from_type(kind))
    def whatever_it_is(row: Any) -> None:
        assert revived(kind, json.loads(json.dumps(row.as_json()))) == row

    whatever_it_is()


# --- what the program reads -----------------------------------------------------------------------------------------

moments = st.floats(0, 4e9)
tasks = st.builds(
    SandboxTask,
    task_id=st.from_regex(r"[1-9][0-9]{17}", fullmatch=True),
    external_task_id=st.none() | words,
    kind=st.sampled_from(sorted(PRODUCTS)),
    body=st.dictionaries(words, values(scalars), max_size=3),
    created_at_s=moments,
    started_at_s=moments,
    ended_at_s=moments | st.just(math.inf),
    failure=words,
    credits=st.decimals(0, 10**6, allow_nan=False, places=3),
    aspect=st.sampled_from(["16:9", "9:16", "1:1", "21:9"]),
    length_s=st.floats(0, 1000),
    look=words,
    generation=st.sampled_from(Generation),
    model_name=words,
    mode=words,
    pack=st.sampled_from(Pack),
    slots=st.integers(0, 9),
    count=st.integers(1, 9),
    facts=st.dictionaries(words, values(scalars), max_size=2),
)


def opened(content: bytes) -> list[SandboxTask] | None:
    """What a journal of these bytes holds, or None where it is refused in words."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        path.write_bytes(content)
        journal = Journal(path)
        try:
            return journal.open()
        except DiskError as error:
            told = str(error)
        finally:
            journal.close()
        assert str(path) in told
        assert path.read_bytes() == content, "somebody's file is left as it is"
        return None


def journal_of(kept: list[SandboxTask]) -> bytes:
    return b"".join(json.dumps(task.to_json()).encode() + b"\n" for task in kept)


def test_a_journal_holds_the_tasks_that_were_kept() -> None:
    @fuzzing(80)
    @given(st.lists(tasks, max_size=3))
    def whatever_it_is(kept: list[SandboxTask]) -> None:
        assert opened(journal_of(kept)) == kept

    whatever_it_is()


def odd_journals() -> st.SearchStrategy[bytes]:
    """Journals of which a value is another, or some bytes are."""

    def changed(task: SandboxTask, name: str, value: object) -> bytes:
        record = task.to_json()
        return json.dumps({**record, list(record)[int(name) % len(record)]: value}).encode() + b"\n"

    of_values = st.builds(changed, tasks, st.integers(0, 30).map(str), values(scalars))
    return st.one_of(of_values, of_values, spoilt(st.lists(tasks, max_size=2).map(journal_of)))


def test_whatever_a_journal_holds_becomes_tasks_that_can_be_served_or_is_told() -> None:
    seen = Counter[str]()

    @fuzzing(200)
    @given(odd_journals())
    def whatever_it_is(content: bytes) -> None:
        found = opened(content)
        seen["told" if found is None else "tasks" if found else "nothing"] += 1
        for task in found or ():
            require_served(task)

    whatever_it_is()
    assert min(seen["told"], seen["tasks"]) >= 10, seen


def require_served(task: SandboxTask) -> None:
    """Everything the service asks of a task."""
    hints = typing.get_type_hints(SandboxTask)
    for name in ("task_id", "kind", "failure", "aspect", "look", "model_name", "mode"):
        assert type(getattr(task, name)) is str, name
    assert task.external_task_id is None or type(task.external_task_id) is str
    assert task.kind in PRODUCTS
    assert set(hints) >= set(task.to_json())
    assert task.credits.is_finite()
    assert task.credits >= 0
    assert task.charged_at(task.created_at_s) >= 0
    assert task.status_at(1e9)
    assert math.isfinite(task.updated_at_s(1e9))
    assert type(task.slots) is type(task.count) is int
    assert min(task.slots, task.count, task.length_s) >= 0
    assert isinstance(task.body, dict)
    assert isinstance(task.facts, dict)
    assert SandboxTask.from_json(json.loads(json.dumps(task.to_json()))) == task


etags = st.one_of(
    st.just('"abc"'), st.just('"abc"'), st.sampled_from(['W/"abc"', '"a\r\nX: y"', '""', '"\x80"']), words
)
totals = st.one_of(st.none(), st.integers(0, 99), st.integers(40, 60), scalars)
likely = st.fixed_dictionaries({"etag": etags, "total": totals, "epoch": st.just("boot")})
notes = st.one_of(likely, likely, likely, values(scalars)).map(lambda note: json.dumps(note).encode())


def test_whatever_stands_beside_a_part_it_is_resumed_soundly_or_begun_anew() -> None:
    seen = Counter[str]()

    @fuzzing(200)
    @given(st.one_of(notes, notes, notes, spoilt(notes)))
    def whatever_it_is(note: bytes) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4.part"
            path.write_bytes(bytes(50))
            part.sidecar_of(path).write_bytes(note)
            head = part.find_head(path, "boot")
        seen["anew" if head is None else "resumed"] += 1
        if head is not None:
            assert re.fullmatch(r'"[!#-~]+"', head.etag), "it is sent in a header"
            assert head.total is None or head.bytes < head.total
            assert 0 < head.bytes <= 50

    whatever_it_is()
    assert min(seen["anew"], seen["resumed"]) >= 5, seen
