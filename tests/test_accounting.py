"""``ledger``: every figure of the statement against the entries it comes from, as table, JSON and CSV."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from doors_kit import FAST, ROOT, few, run_here, write_manifest
from hypothesis import given
from hypothesis import strategies as st
from simulation import Scenario, Simulation, simulate
from store_kit import item, items

from batch_runner.accounting import ledger
from batch_runner.answer import Answer
from batch_runner.lifecycle import Event
from batch_runner.manifest import Manifest
from batch_runner.media import inspect
from batch_runner.model import Realm
from batch_runner.sandbox import WorldConfig
from batch_runner.settings import resolve
from batch_runner.statement import CASES as KINDS_OF_CASE
from batch_runner.statement import COLUMNS, harmless
from batch_runner.store import Facts, RunRow, SqliteStore, StoredFile, StoreReader, audit
from batch_runner.virtual_time import VirtualClock, run_virtual

DAY_S = 86_400
E = Event


@dataclass(frozen=True)
class Story:
    """What becomes of one item: its events after the hold, and what the server says it charged."""

    events: Sequence[Event]
    charged: str | None = None
    model: str = "kling-v3"
    kind: str = "text2video"
    days: int = 0


SENT = (E.SEND, E.ACCEPT)
STORIES = {
    "plain": Story((*SENT, E.SUCCEED, E.PUBLISH), "2"),
    "dear": Story((*SENT, E.SUCCEED, E.PUBLISH), "2.5"),
    "cheap": Story((*SENT, E.SUCCEED, E.PUBLISH), "1.25", "kling-v2-6", days=1),
    "silent": Story((*SENT, E.SUCCEED, E.PUBLISH), None, "kling-v2-6"),
    "charged failure": Story((*SENT, E.FAIL), "0.5"),
    "failure": Story((*SENT, E.FAIL), "0"),
    "refused": Story((E.SEND, E.REFUSE)),
    "on its way": Story((*SENT, E.SUCCEED), "2", days=1),
    "gone": Story((*SENT, E.SUCCEED, E.LOSE_ASSET), "2"),
    "running": Story(SENT, model="", kind="text-to-audio"),
    "open": Story((E.SEND, E.LOSE_ANSWER)),
    "vanished": Story((*SENT, E.VANISH)),
    "lost call": Story((E.SEND, E.LOSE_ANSWER, E.GIVE_UP), model="", kind="tts"),
}
CASES = {
    "dear": "drift",
    "cheap": "drift",
    "silent": "estimated",
    "charged failure": "failed_charged",
    "on its way": "asset_pending",
    "gone": "no_asset",
    "open": "unknown",
    "vanished": "unknown",
    "lost call": "lost",
}


async def tell(store: SqliteStore, name: str, realm: Realm, stories: dict[str, Story]) -> None:
    rows = [
        replace(item(item_id, line), model=story.model, kind=story.kind)
        for line, (item_id, story) in enumerate(stories.items(), start=1)
    ]
    batch = await store.load_batch(name, realm=realm, manifest="m", items=items(*rows))
    await store.adopt(batch, [], {})
    for story in stories.values():
        await asyncio.sleep(story.days * DAY_S)
        attempt = (await store.claim_next(batch, {})).attempt
        assert attempt is not None
        for event in story.events:
            if event is E.PUBLISH:
                await store.record_file(attempt, StoredFile(0, f"{name}/{attempt.item_id}", 4, "0" * 64, 1))
            charged = None if story.charged is None else Decimal(story.charged)
            attempt = await store.apply(attempt, event, {}, Facts(task_id=f"t-{attempt.item_id}", charged=charged))
    await store.save_run(batch, RunRow("m", {"video": Decimal(40)}, 0, {}, 0.0, 0.0, 0.0))


def told(folder: Path, *, stories: dict[str, Story] = STORIES, simulated: bool = True, **options: object) -> Answer:
    """A folder in which these stories happened, twice apart, and the statement at their end."""
    settings = resolve({"output_dir": str(folder), **options}, {}, None)

    async def main() -> Answer:
        clock = VirtualClock(asyncio.get_running_loop())
        store = await SqliteStore.open(folder / "state.db", clock)
        await tell(store, "films", Realm.REAL, stories)
        if simulated:
            await tell(store, "films-sandbox", Realm.SANDBOX, {"simulated": Story((*SENT, E.SUCCEED, E.PUBLISH), "9")})
        await store.close()
        return ledger(None, settings, clock)

    return run_virtual(main)


def total(rows: Sequence[dict[str, Any]], name: str, **only: str) -> Decimal:
    chosen = [row for row in rows if all(row[key] == value for key, value in only.items())]
    return sum((Decimal(row[name]) for row in chosen), Decimal(0))


def test_days_models_and_batches_add_up_to_the_balances(tmp_path: Path) -> None:
    data = told(tmp_path).data
    balances = {row["realm"]: row["credits"]["video"] for row in data["batches"]}
    assert balances["real"] == {"budget": "40", "consumed": "14.25", "held": "6", "available": "19.75"}
    for realm, row in balances.items():
        for group in ("by_day", "by_model", "by_batch"):
            assert total(data[group], "consumed", realm=realm) == Decimal(row["consumed"])
            drift = total(data[group], "consumed", realm=realm) - total(data[group], "estimated", realm=realm)
            assert total(data[group], "drift", realm=realm) == drift
        for group in ("by_model", "by_batch"):
            assert total(data[group], "held", realm=realm) == Decimal(row["held"])


def test_charges_stand_at_their_day_and_their_model(tmp_path: Path) -> None:
    data = told(tmp_path, simulated=False).data
    days = [(row["day"], row["tasks"], row["consumed"], row["drift"]) for row in data["by_day"]]
    assert days == [
        ("2026-01-01", 2, "4.5", "0.5"),
        ("2026-01-02", 3, "3.75", "-2.25"),
        ("2026-01-03", 3, "6", "0"),
    ]
    models = {row["model"] or row["kind"]: (row["tasks"], row["consumed"], row["held"]) for row in data["by_model"]}
    assert models == {
        "kling-v3": (5, "9", "4"),
        "kling-v2-6": (2, "3.25", "0"),
        "text-to-audio": (0, "0", "2"),
        "tts": (1, "2", "0"),
    }


def test_every_special_case_is_a_row_of_its_own(tmp_path: Path) -> None:
    data = told(tmp_path, simulated=False).data
    assert {row["item"]: row["case"] for row in data["cases"]} == CASES
    rows = {row["item"]: row for row in data["cases"]}
    figures = {name: (row["estimated"], row["charged"], row["held"]) for name, row in rows.items()}
    assert figures["dear"] == ("2", "2.5", "0")
    assert figures["charged failure"] == ("2", "0.5", "0")
    assert figures["open"] == figures["vanished"] == ("2", None, "2")
    assert rows["gone"]["task_id"] == "t-gone"
    assert rows["cheap"]["at"] == "2026-01-02T00:00:00.000Z"


def test_rolling_budgets_stand_beside_the_batches_and_realms_stay_apart(tmp_path: Path) -> None:
    data = told(tmp_path, rolling_budget="30/30d,10/1d,image=5/1h").data
    windows = {(row["realm"], row["pack"], row["window"]): row for row in data["rolling_budgets"]}
    assert len(windows) == 6
    month = windows["real", "video", "30d"]
    assert (month["consumed"], month["held"], month["available"]) == ("14.25", "6", "9.75")
    assert month["frees_at"] == "2026-01-31T00:00:00.000Z"
    day = windows["real", "video", "1d"]
    assert (day["consumed"], day["available"]) == ("6", "-2")
    simulated = windows["sandbox", "video", "30d"]
    assert (simulated["consumed"], simulated["held"]) == ("9", "0")
    assert windows["real", "image", "1h"]["frees_at"] is None


def test_the_table_says_all_of_it(tmp_path: Path) -> None:
    lines = list(told(tmp_path, rolling_budget="30/30d").lines)
    cells = [line.split() for line in lines]
    assert ["films", "video", "14.25", "6", "40", "19.75"] in cells
    assert ["films-sandbox", "(SIMULATED)", "video", "9", "0", "40", "31"] in cells
    assert ["all,", "in", "any", "30d", "video", "14.25", "6", "30", "9.75"] in cells
    assert ["2026-01-02", "video", "3", "3.75", "-2.25"] in cells
    assert ["kling-v3", "video", "5", "9", "-1", "4"] in cells
    assert ["(tts)", "video", "1", "2", "0"] in cells
    said = "charged at another figure than estimated films dear 1 video 2 2.5 0 t-dear"
    assert said.split() in cells


def test_many_cases_are_cut_short_in_the_table_only(tmp_path: Path) -> None:
    stories = {f"i{n}": Story((*SENT, E.SUCCEED, E.PUBLISH), "3") for n in range(25)}
    answer = told(tmp_path, stories=stories, simulated=False)
    assert sum("another figure" in line for line in answer.lines) == 20
    assert "... and 5 more, see --json or --csv" in answer.lines
    assert len(answer.data["cases"]) == 25


def test_tasks_of_an_earlier_version_stand_under_their_product_until_their_manifest_is_loaded(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as db:
        for name in ("schema_1", "schema_1_finished"):
            db.executescript((ROOT / f"tests/states/{name}.sql").read_text(encoding="utf-8"))
    settings = resolve({"output_dir": str(tmp_path)}, {}, None)
    (before,) = ledger(None, settings).data["by_model"]
    assert (before["model"], before["kind"], before["tasks"], before["consumed"]) == ("", "text2video", 2, "3")
    scene = json.loads((ROOT / "tests/states/schema_1_finished.json").read_text(encoding="utf-8"))
    manifest = write_manifest(tmp_path / "batch.jsonl", scene["manifest"])

    async def load() -> None:
        clock = VirtualClock(asyncio.get_running_loop())
        store = await SqliteStore.open(tmp_path / "state.db", clock)
        rows = Manifest(manifest, inspect).items
        await store.load_batch("batch", realm=Realm.LOCAL, manifest="m", items=rows)
        await store.close()

    run_virtual(load)
    (after,) = ledger(None, settings).data["by_model"]
    assert after == {**before, "model": "kling-v2-5-turbo", "kind": ""}


# --- CSV ------------------------------------------------------------------------------------------------------


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_the_csv_form_has_one_shape_and_says_what_the_json_form_says(tmp_path: Path) -> None:
    answer = told(tmp_path, rolling_budget="30/30d")
    assert answer.csv.splitlines()[0] == ",".join(COLUMNS)
    rows = parsed(answer.csv)
    assert all(None not in row and None not in row.values() for row in rows), "every row has every column"
    sections: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        sections[row["section"]].append(row)
    for name in ("by_day", "by_model", "by_batch"):
        expected = [{key: str(value) for key, value in row.items()} for row in answer.data[name]]
        assert [{key: row[key] for key in expected[0]} for row in sections[name]] == expected
    assert [row["case"] for row in sections["case"]] == [row["case"] for row in answer.data["cases"]]
    assert {row["item"]: row["drift"] for row in sections["case"]}["cheap"] == "-0.75"
    budget = next(row for row in sections["budget"] if row["realm"] == "real")
    assert (budget["consumed"], budget["held"], budget["budget"], budget["available"]) == ("14.25", "6", "40", "19.75")
    assert [row["window"] for row in sections["rolling_budget"]] == ["30d", "30d"]


def test_csv_lines_end_as_the_standard_says_and_nothing_in_them_is_a_formula(tmp_path: Path) -> None:
    names = ("=1+1", '@SUM("a,b")', "-2+3", "+x", "  =x", "\uff1dx", "two\r\nlines", 'say "hi", twice', "\t=x")
    stories = {name: Story((*SENT, E.SUCCEED, E.PUBLISH), "3", model=name) for name in names}
    text = told(tmp_path, stories=stories, simulated=False).csv
    assert text.count("\n") == text.count("\r\n") == len(parsed(text)) + 1, "no other line ends"
    found = [row["item"] for row in parsed(text) if row["section"] == "case"]
    assert found == [
        "'=1+1", "'@SUM(\"a,b\")", "'-2+3", "'+x", "'  =x", "'\uff1dx", "two  lines", 'say "hi", twice', "' =x",
    ]  # fmt: skip
    drifts = {row["drift"] for row in parsed(text) if row["section"] == "case"}
    assert drifts == {"1"}, "figures stay figures"


@given(st.text(max_size=30))
def test_no_text_starts_a_formula_or_a_line(text: str) -> None:
    cell = harmless(text)
    assert cell.lstrip()[:1] not in set("=+-@\uff1d\uff0b\uff0d\uff20") | {"\t", "\r", "\n"}
    assert cell.splitlines() in ([cell], [])


def test_the_documented_columns_are_those_that_are_filled(tmp_path: Path) -> None:
    text = (ROOT / "docs/ledger.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| `([^`]+)`", text[text.index("## `--csv`") :], re.MULTILINE)
    documented = {section: {"section", *columns.split()} for section, columns in rows}
    assert set().union(*documented.values()) == set(COLUMNS)
    filled: defaultdict[str, set[str]] = defaultdict(set)
    for row in parsed(told(tmp_path, rolling_budget="30/30d").csv):
        filled[row["section"]] |= {name for name, value in row.items() if value}
    assert filled == {section: columns for section, columns in documented.items() if section != "entry"}
    assert re.findall(r"^\| `(\w+)` \| [^|]+ \|$", text[: text.index("## `--")], re.MULTILINE) == list(KINDS_OF_CASE)


# --- whole runs -----------------------------------------------------------------------------------------------


def test_drift_and_charged_failures_of_a_run_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulation.sandbox_price", lambda *_: Decimal("1.25"))
    prompts = ("good", "[sandbox:fail]")
    lines = tuple(json.dumps({"id": f"i{n}", "prompt": prompt}) for n, prompt in enumerate(prompts))

    async def work(simulation: Simulation) -> None:
        summary = await simulation.run()
        assert summary is not None
        assert summary.credits["video"].consumed == simulation.world.charged_total() == Decimal("2.5")
        answer = ledger(None, resolve({"output_dir": str(simulation.output_dir)}, {}, None), simulation.clock)
        figures = {row["item"]: (row["case"], row["estimated"], row["charged"]) for row in answer.data["cases"]}
        assert figures == {"i0": ("drift", "1", "1.25"), "i1": ("failed_charged", "1", "1.25")}
        (model,) = answer.data["by_model"]
        assert (model["model"], model["tasks"], model["drift"]) == ("kling-v1", 2, "0.5")

    world = WorldConfig(max_concurrent=3, rpm=60, charged_failures=1.0)
    simulate(Scenario(lines=lines, world=world), tmp_path, work)


# --- through the door -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    write_manifest(tmp_path / "films.jsonl", few(2))
    assert run_here("films.jsonl", *FAST).code == 0
    return tmp_path


def test_the_entries_of_a_batch_are_in_every_form(folder: Path) -> None:
    shown = run_here("ledger", "films.jsonl", "--sandbox")
    assert [line.split()[2] for line in shown.out.splitlines()[-4:]] == ["hold", "hold", "charge", "charge"]
    entries = run_here("ledger", "films.jsonl", "--sandbox", "--json").json["batches"][0]["entries"]
    rows = [row for row in parsed(run_here("ledger", "films.jsonl", "--sandbox", "--csv").out) if row["entry"]]
    assert [(row["entry"], row["credits"], row["consumed"], row["held"]) for row in rows] == [
        (entry["entry"], entry["credits"], entry["consumed"], entry["held"]) for entry in entries
    ]
    assert all(row["section"] == "entry" for row in rows)


def test_csv_from_the_command_keeps_its_line_ends(folder: Path) -> None:
    ended = run_here("ledger", "--csv")
    assert ended.code == 0
    assert ended.out.startswith("section,realm,batch")
    assert ended.out.endswith("\r\n")
    assert ended.err == ""


def test_csv_and_json_together_are_refused(folder: Path) -> None:
    ended = run_here("ledger", "--csv", "--json")
    assert ended.code == 2
    assert "choose one" in ended.json["error"]


def test_a_ledger_that_does_not_add_up_is_told_by_ledger_and_verify(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "outputs/state.db")) as db:
        db.execute("UPDATE moves SET credits = '7' WHERE seq = 1")
        db.commit()
    shown = run_here("ledger")
    assert shown.code == 6
    assert shown.out.startswith("!! the ledger does not add up: batch 1, video credits: 2 consumed and 0 held, but")
    verified = run_here("verify", "films.jsonl", "--sandbox", "--json")
    assert verified.code == 6
    assert verified.json["wrong"] == {}
    assert verified.json["ledger_faults"]


@pytest.mark.parametrize(
    ("tampering", "table"),
    [
        ("UPDATE entries SET credits = '5' WHERE seq = 2", "entries"),
        ("UPDATE entries SET consumed = '7' WHERE seq = 3", "entries"),
        ("UPDATE entries SET credits = '0.5' WHERE entry = 'charge' AND seq = 3", "entries"),
        ("UPDATE attempts SET charged = '9' WHERE attempt_id = 1", "attempts"),
    ],
)
def test_a_row_that_is_not_as_it_was_written_is_told_by_ledger_report_and_doctor(
    folder: Path, tampering: str, table: str
) -> None:
    with closing(sqlite3.connect(folder / "outputs/state.db")) as db:
        assert db.execute(tampering).rowcount == 1
        db.commit()
    words = f"a row of {table} is not as it was written"
    shown = run_here("ledger", "--json")
    assert (shown.code, shown.json["fault"]) == (6, words)
    assert run_here("ledger").out.startswith(f"!! state.db is damaged ({words}): what follows may be wrong")
    page = folder / "outputs/films-sandbox/report.html"
    before = page.stat().st_mtime_ns
    written = run_here("report", "films.jsonl", "--sandbox")
    assert written.code == 6
    assert words in written.err
    assert page.stat().st_mtime_ns == before
    assert words in run_here("doctor", "--sandbox").out


def test_what_a_run_books_between_two_questions_of_a_look_is_no_damage(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest balances are read after the moves: a run that books meanwhile must not be seen in one of them only."""
    newest = audit._newest

    def booked_meanwhile(db: sqlite3.Connection) -> object:
        with closing(sqlite3.connect(folder / "outputs/state.db")) as other:
            columns = "batch_id, attempt_id, entry, pack, credits, consumed, held, budget, at, uptime_s, epoch"
            other.execute(
                f"INSERT INTO entries ({columns}) SELECT {columns.replace('consumed', repr('9'))} FROM entries"
                " WHERE seq = 3"
            )
            other.commit()
        return newest(db)

    monkeypatch.setattr(audit, "_newest", booked_meanwhile)
    with StoreReader.open(folder / "outputs/state.db") as reader:
        assert reader.disagreement() is None
