"""A ``state.db`` with wrong bytes or wrong rows in it is refused in words, or resumed with every promise kept.

The only exception allowed is ``StoreError`` (exit 6), before a request is sent. The account makes a second task of a
used id, so that a row which wrongly reads as unsent would show as a second payment.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fuzz_kit import fuzzing, texts
from hypothesis import assume, given
from hypothesis import strategies as st
from simulation import Simulation, audit
from test_upgrade import OPTIONS, Recorded, recorded, resume

from batch_runner.errors import ExitCode, StoreError
from batch_runner.lifecycle import Event, State
from batch_runner.store import connection

WHERE = st.sampled_from([was for was in recorded() if was.name != "overdue"])


@cache
def whole(was: Recorded) -> bytes:
    """The recorded store as the program of today closed it."""
    with TemporaryDirectory() as name:
        path = was.restore(Path(name) / "outputs")
        connection.open_writer(path).close()
        assert not path.with_name("state.db-wal").exists()
        return path.read_bytes()


def outcome(was: Recorded, spoil: Callable[[bytes], bytes]) -> str:
    """``told``, or the exit code of a run that kept every promise."""
    ends: list[str] = []

    async def work(here: Simulation) -> None:
        (here.output_dir / "state.db-wal").unlink()
        content = spoil(whole(was))
        (here.output_dir / "state.db").write_bytes(content)
        here.has_lost = not content  # an empty file is a store that was never begun
        try:
            summary = await here.run(**OPTIONS.get(was.name, {}))
        except StoreError as error:
            require_told(error, here)
            ends.append("told")
        else:
            assert summary is not None
            audit(here, summary)
            ends.append(ExitCode(summary.exit_code).name)

    with TemporaryDirectory() as folder:
        resume(was, Path(folder), work, repeat_policy="second")
    return ends[0]


def require_told(error: StoreError, here: Simulation) -> None:
    assert error.exit_code is ExitCode.DISK
    assert "state.db" in str(error)
    assert not here.world.request_stamps, "it is told before anything is sent"


@st.composite
def byte_damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A few bytes changed, a page zeroed or put in the place of another, or the end cut off."""
    how = draw(st.sampled_from(["bytes", "bytes", "bits", "zeroed", "moved", "cut"]))
    places = draw(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=3))

    def spoil(content: bytes) -> bytes:
        data, page = bytearray(content), 4096
        for share, value in places:
            at = int(share * len(data))
            start = at - at % page
            if how == "bytes":
                data[at] = value
            elif how == "bits":
                data[at] ^= 1 << (value % 8)
            elif how == "zeroed":
                data[start : start + page] = bytes(page)
            elif how == "moved":
                other = value % (len(data) // page) * page
                data[start : start + page] = data[other : other + page]
        return bytes(data[: int(places[0][0] * len(data))]) if how == "cut" else bytes(data)

    return spoil


def test_wrong_bytes_are_told_or_do_no_harm() -> None:
    seen = Counter[str]()

    @fuzzing(50)
    @given(WHERE, byte_damage())
    def whatever_it_is(was: Recorded, spoil: Callable[[bytes], bytes]) -> None:
        seen[outcome(was, spoil)] += 1

    whatever_it_is()
    assert seen["told"] >= 10
    assert seen["OK"] >= 10, "bytes that nothing stands in do no harm"


_WORDS = [
    *(state.value for state in State),
    *(event.value for event in Event),
    *("queued", "active", "succeeded", "failed", "video", "image", "real", "local", "hold", "charge", "release"),
    *("0", "1", "2.5", "-1", "NaN", "Infinity", "1e999999", "{}", "[]", "../../x.mp4", "/etc/x", "batch/i1.mp4"),
]
_VALUES = st.one_of(
    st.sampled_from(_WORDS),
    st.integers(-2, 3),
    st.sampled_from([None, -(2**63), 2**63 - 1, 1e308, -1.0, float("inf")]),
    texts,
)


@st.composite
def row_damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """One cell gets another value, of its own column or of any kind; or a row is gone, or stands there twice."""
    how = draw(st.sampled_from(["any", "any", "any", "other", "other", "gone"]))
    where, which, value = draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(0, 40)), draw(_VALUES)

    def spoil(content: bytes) -> bytes:
        with TemporaryDirectory() as name:
            path = Path(name) / "state.db"
            path.write_bytes(content)
            with closing(sqlite3.connect(path, isolation_level=None)) as db:
                assume(_edit(db, how, where, which, value))
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return path.read_bytes()

    return spoil


def _edit(db: sqlite3.Connection, how: str, where: float, which: int, value: Any) -> bool:
    """Whether a row was changed: a value that its column cannot hold is none."""
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    cells = [
        (table, column)
        for table in tables
        if db.execute(f"SELECT 1 FROM {table}").fetchone()
        for column in [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    ]
    table, column = cells[int(where * len(cells))]
    rows = [row[0] for row in db.execute(f"SELECT {_key(table)} FROM {table}")]
    key = rows[which % len(rows)]
    if how == "other":
        values = [row[0] for row in db.execute(f"SELECT DISTINCT {column} FROM {table}")]
        value = values[which % len(values)]
    try:
        if how == "gone":
            return bool(db.execute(f"DELETE FROM {table} WHERE {_key(table)} = ?", (key,)).rowcount)
        query = f"UPDATE {table} SET {column} = ? WHERE {_key(table)} = ? AND {column} IS NOT ?"
        return bool(db.execute(query, (value, key, value)).rowcount)
    except (sqlite3.IntegrityError, OverflowError, UnicodeEncodeError):
        return False


def _key(table: str) -> str:
    return "seq" if table == "moves" else "rowid"


def test_wrong_rows_are_told_or_do_no_harm() -> None:
    seen = Counter[str]()

    @fuzzing(50)
    @given(WHERE, row_damage())
    def whatever_it_is(was: Recorded, spoil: Callable[[bytes], bytes]) -> None:
        seen[outcome(was, spoil)] += 1

    whatever_it_is()
    assert seen["told"] >= 10
    assert seen["OK"] >= 1, "rows that are written as they were do no harm"


def test_an_emptied_store_is_a_lost_one() -> None:
    """Found by a deep run: of a line that had left the manifest, nobody can know any more."""
    for was in recorded():
        if was.name == "removed_line":
            assert outcome(was, lambda _: b"") == "OK"
