from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from batch_runner.clock import iso_utc
from batch_runner.inert import inert
from batch_runner.records import (
    CreditsRecord,
    ErrorRecord,
    FileRecord,
    ItemCounts,
    LedgerRecord,
    RequestCounts,
    ResultRecord,
    SummaryRecord,
)
from batch_runner.report import ledger_lines, render_page, results_lines, summary_bytes
from batch_runner.report.axis import time_axis, wall_s
from batch_runner.report.charts import charts
from batch_runner.report.words import advice, duration_text, headline, size_text

START_S = 1_795_253_400.0
NASTY = "</td><script>alert(1)</script>\x1b[31m\u202e\ud800&\"'"


def result(number: int, status: str = "succeeded", **changes: object) -> ResultRecord:
    done = status == "succeeded"
    record = ResultRecord(
        id=f"shot-{number:03d}",
        line=number,
        kind="text2video",
        status=status,
        reason=None if done else "generation",
        task_id=f"t{number}",
        external_task_id=f"x{number}",
        attempts=1,
        credits_estimated=Decimal("3.50"),
        credits_charged=Decimal("3.50") if done else None,
        pack="video",
        files=(FileRecord(f"demo/shot-{number:03d}.mp4", 2_345_678, "0" * 64),) if done else (),
        error=None if done else ErrorRecord(None, "Failure to pass the risk control system"),
        submitted_at=iso_utc(START_S + 40 * number),
        finished_at=iso_utc(START_S + 40 * number + 90),
    )
    return replace(record, **changes)  # type: ignore[arg-type] # the changes are the fields' own types


def ledger_of(results: Sequence[ResultRecord], budget: Decimal | None = Decimal(200)) -> list[LedgerRecord]:
    moments = [(r.submitted_at or "", "hold", r) for r in results] + [
        (r.finished_at or "", "charge", r) for r in results
    ]
    consumed = held = Decimal(0)
    entries = []
    for seq, (at, entry, r) in enumerate(sorted(moments, key=lambda moment: moment[0]), 1):
        held += r.credits_estimated if entry == "hold" else -r.credits_estimated
        consumed += r.credits_estimated if entry == "charge" else 0
        entries.append(
            LedgerRecord(seq, at, entry, r.pack, r.credits_estimated, r.id, 1, "x", None, consumed, held, budget)
        )
    return entries


def summary_of(results: Sequence[ResultRecord], **changes: object) -> SummaryRecord:
    counts = {
        status: sum(r.status == status for r in results) for status in ("succeeded", "failed", "pending", "unknown")
    }
    record = SummaryRecord(
        batch="demo",
        manifest="prompts/demo.jsonl",
        sandbox=False,
        exit_code=0,
        items=ItemCounts(len(results), **counts),
        credits={"video": CreditsRecord(Decimal(200), Decimal("35.0"), Decimal("3.5"), Decimal("161.5"))},
        requests=RequestCounts(50, 10, 40, 2),
        started_at=iso_utc(START_S),
        finished_at=iso_utc(START_S + 4000),
        wall_s=4000.0,
    )
    return replace(record, **changes)  # type: ignore[arg-type] # the changes are the fields' own types


MIXED = [
    *(result(number) for number in range(1, 34)),
    result(34, "failed", reason="policy", error=ErrorRecord(1301, "The prompt is not allowed")),
    result(35, "failed", reason="policy", error=ErrorRecord(1301, "The prompt is not allowed")),
    result(36, "failed", submitted_at=None, finished_at=None),
    result(37, "unknown", reason="unresolved", error=None, finished_at=None),
    result(38, "pending", reason="budget", error=None, submitted_at=None, finished_at=None, attempts=0),
    result(39, files=(FileRecord("demo/shot-039-1.png", 5, "0" * 64), FileRecord("demo/shot-039-2.png", 6, "0" * 64))),
    result(40, files=(FileRecord("demo/a b#c?d:e%.mp4", 7, "0" * 64),)),
]


class Outline(HTMLParser):
    """The elements of a page, their text, and whether they nest."""

    VOID = frozenset({"meta", "link", "img", "br", "line", "rect", "path", "input"})

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page.decode("utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.elements if name == tag]

    def text(self, tag: str | None = None) -> str:
        return " ".join(text for within, text in self.texts if (within == tag if tag else within != "style"))


def page_bytes(results: Sequence[ResultRecord], **changes: object) -> bytes:
    ledger = ledger_of([r for r in results if r.submitted_at and r.finished_at])
    return b"".join(render_page(summary_of(results, **changes), results, ledger))


@pytest.fixture(scope="module")
def mixed_page() -> bytes:
    return page_bytes(MIXED, exit_code=4)


@pytest.fixture(scope="module")
def mixed(mixed_page: bytes) -> Outline:
    return Outline(mixed_page)


def test_result_lines_hold_the_contracts_keys_in_order() -> None:
    [line] = results_lines([MIXED[0]])
    value = json.loads(line)
    assert list(value) == [field.name for field in fields(ResultRecord)]
    assert (value["credits_charged"], value["files"][0]["bytes"]) == ("3.5", 2_345_678)
    assert line.endswith(b"}\n")


def test_ledger_lines_hold_the_contracts_keys_in_order() -> None:
    lines = list(ledger_lines(ledger_of(MIXED[:2])))
    assert list(json.loads(lines[0])) == [field.name for field in fields(LedgerRecord)]
    assert [json.loads(line)["consumed"] for line in lines] == ["0", "0", "3.5", "7"]


def test_summary_is_indented_and_in_order() -> None:
    data = summary_bytes(summary_of(MIXED, batch="été"))
    assert list(json.loads(data)) == [field.name for field in fields(SummaryRecord)]
    assert data.startswith(b'{\n  "batch": "\xc3\xa9t\xc3\xa9",\n')
    assert data.endswith(b"}\n")
    assert json.loads(data)["credits"]["video"] == {
        "budget": "200", "consumed": "35", "held": "3.5", "available": "161.5",
    }  # fmt: skip


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_survives_as_one_safe_utf8_line(text: str) -> None:
    [line] = results_lines([result(1, "failed", error=ErrorRecord(None, text))])
    assert json.loads(line)["error"]["message"] == text
    assert len(line.decode("utf-8").splitlines()) == 1
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in line.decode("utf-8")[:-1])


@given(st.text(st.characters(exclude_categories=[])))
def test_inert_text_is_one_encodable_line_and_stays_inert(text: str) -> None:
    made = inert(text)
    made.encode("utf-8")
    assert len(made) == len(text)
    assert len(made.splitlines()) <= 1
    assert "\x1b" not in made
    assert inert(made) == made


def test_inert_keeps_what_people_write_and_shortens() -> None:
    assert inert("Ein Fuchs 🦊 läuft · 日本 👩\u200d🚀") == "Ein Fuchs 🦊 läuft · 日本 👩\u200d🚀"
    assert inert("x" * 10, 5) == "xxxx…"


def test_the_page_nests_and_needs_nothing_from_outside(mixed: Outline, mixed_page: bytes) -> None:
    tags = {tag for tag, _ in mixed.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for _, attrs in mixed.elements:
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("href", "src"):
            parts = urlsplit(attrs.get(name, ""))
            assert (parts.scheme, parts.netloc) == ("", "")
    css = mixed.text("style")
    assert "@import" not in css
    assert re.findall(r"url\(([^)]*)\)", css) == ["#cut"]
    assert b"http://" not in mixed_page
    assert b"https://" not in mixed_page


def test_the_page_forbids_everything_but_its_style_and_its_media(mixed: Outline) -> None:
    [policy] = [attrs["content"] for attrs in mixed.all("meta") if "http-equiv" in attrs]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["style-src"] == "'unsafe-inline'"
    assert rules["media-src"] == "'self' file:"
    assert "script-src" not in rules
    assert {"name": "color-scheme", "content": "light dark"} in mixed.all("meta")
    assert "prefers-color-scheme: dark" in mixed.text("style")


def test_the_page_says_what_happened_and_what_to_do(mixed: Outline) -> None:
    assert mixed.text("h1") == (
        "35 of 40 items are finished for 35 credits; 3 failed, 1 could not be settled and 1 is still pending."
    )
    text = mixed.text()
    assert "raise --budget" in text
    assert "The prompt is not allowed" in mixed.text("q")
    assert text.index("What needs attention") < text.index("How it went") < text.index("Every item")
    assert text.index("Failure to pass") < text.index("shot-037")
    assert "161.5" in text
    assert "50 (10 to submit, 40 to poll, 2 refused)" in text


def test_equal_troubles_are_told_once(mixed: Outline) -> None:
    assert len(mixed.all("article")) == 4
    assert mixed.text("q").count("The prompt is not allowed") == 1
    assert "2 items" in mixed.text("h3")


def test_only_a_simulated_run_is_called_simulated(mixed: Outline) -> None:
    assert "imulated" not in mixed.text()
    simulated = Outline(page_bytes(MIXED, sandbox=True))
    assert simulated.text("title").startswith("SIMULATED")
    assert simulated.text("strong") == "Simulated"
    assert "35 simulated credits" in simulated.text("h1")


def test_every_item_has_a_row_and_every_file_a_working_link(mixed: Outline) -> None:
    assert len(mixed.all("tr")) == 1 + len(MIXED)
    linked = {unquote(attrs["href"]) for attrs in mixed.all("a")}
    assert linked == {file.path.removeprefix("demo/") for r in MIXED for file in r.files}
    assert len(mixed.all("video")) == 34
    assert all(attrs["preload"] == "metadata" and "controls" in attrs for attrs in mixed.all("video"))
    assert "a%20b%23c%3Fd%3Ae%25.mp4" in {attrs["src"] for attrs in mixed.all("video")}
    assert [attrs["src"] for attrs in mixed.all("img")] == ["shot-039-1.png"]


def test_failures_stand_first_in_the_table(mixed: Outline) -> None:
    names = [text for within, text in mixed.texts if within == "th" and text.startswith("shot")]
    assert names[:5] == ["shot-034", "shot-035", "shot-036", "shot-037", "shot-038"]
    assert names[5:7] == ["shot-001", "shot-002"]


def test_links_follow_where_the_page_lies() -> None:
    one = [result(1, files=(FileRecord("simulated/demo/a.mp4", 1, "0" * 64),))]
    page = b"".join(render_page(summary_of(one), one, [], page_folder="simulated/demo"))
    assert [attrs["src"] for attrs in Outline(page).all("video")] == ["a.mp4"]
    page = b"".join(render_page(summary_of(one), one, []))
    assert [attrs["src"] for attrs in Outline(page).all("video")] == ["../simulated/demo/a.mp4"]


def test_text_from_outside_is_inert_on_the_page() -> None:
    nasty = result(
        1, "failed", id=NASTY, kind=NASTY, reason=NASTY, error=ErrorRecord(1, NASTY),
        files=(FileRecord(f"demo/{NASTY}.mp4", 1, "0" * 64),),
    )  # fmt: skip
    page = page_bytes([nasty], batch=NASTY, manifest=NASTY)
    outline = Outline(page)
    assert outline.all("script") == []
    assert "alert(1)" in outline.text()
    for char in "\x1b\u202e":
        assert char not in page.decode("utf-8")


def test_the_same_records_give_the_same_bytes(mixed_page: bytes) -> None:
    assert page_bytes(list(MIXED), exit_code=4) == mixed_page


def test_an_empty_batch_has_a_page() -> None:
    outline = Outline(b"".join(render_page(summary_of([], credits={}, started_at="", finished_at=""), [], [])))
    assert outline.all("svg") == []
    assert "0 of 0 items" in outline.text("h1")


def test_large_batches_are_capped_and_say_so() -> None:
    many = [result(number) for number in range(1, 2_101)]
    page = page_bytes(many)
    outline = Outline(page)
    assert len(outline.all("tr")) == 1 + 2_000
    assert len(outline.all("video")) == 60
    assert len([attrs for attrs in outline.all("rect") if "succeeded" in attrs["class"]]) == 191
    text = outline.text()
    for words in ("ends after 2,000 rows; 100 more", "2,040 more finished items", "every 11 tasks"):
        assert words in text
    assert len(page) < 1_000_000


def test_many_kinds_of_trouble_are_capped_too() -> None:
    many = [result(number, "failed", error=ErrorRecord(None, f"trouble {number}")) for number in range(60)]
    outline = Outline(page_bytes(many))
    assert len(outline.all("article")) == 40
    assert "20 more kinds of trouble" in outline.text()
    same = Outline(page_bytes([result(number, "failed") for number in range(60)]))
    assert "and 48 more" in same.text()


def test_one_bar_a_task_inside_the_picture_in_order_of_submission() -> None:
    chart = charts(MIXED, ledger_of([r for r in MIXED if r.submitted_at and r.finished_at]), iso_utc(START_S + 4000))
    assert chart is not None
    assert len(chart.bars) == sum(r.submitted_at is not None for r in MIXED)
    assert [bar.x for bar in chart.bars] == sorted(bar.x for bar in chart.bars)
    for bar in chart.bars:
        assert chart.left <= bar.x <= bar.x + bar.width <= chart.width
        assert bar.y + bar.height <= chart.bars_bottom
    assert [bar.status for bar in chart.bars if bar.is_open] == ["unknown"]


def test_where_a_bar_stands_for_many_tasks_it_shows_the_trouble_among_them() -> None:
    results = [result(number, "failed" if number == 503 else "succeeded") for number in range(1, 1_001)]
    chart = charts(results, [], iso_utc(START_S))
    assert chart is not None
    assert (chart.tasks_a_bar, len(chart.bars)) == (5, 200)
    assert [bar.status for bar in chart.bars].count("failed") == 1
    assert chart.bars[-1].x > chart.right - 20


def test_the_credits_line_climbs_from_zero_to_what_was_consumed() -> None:
    results = [result(number) for number in (1, 2)]
    chart = charts(results, ledger_of(results, Decimal(7)), iso_utc(START_S + 500))
    assert chart is not None
    [panel] = chart.panels
    heights = [float(y) for y in re.findall(r"V([\d.]+)", panel.consumed_line)]
    base = panel.y + chart.panel_height
    assert heights == sorted(heights, reverse=True)
    assert heights[0] == base
    assert heights[-1] == panel.budget_y
    assert heights[2] == pytest.approx((base + heights[-1]) / 2)


def test_a_budget_far_away_does_not_flatten_the_line() -> None:
    results = [result(1)]
    chart = charts(results, ledger_of(results, Decimal(10_000)), iso_utc(START_S + 500))
    assert chart is not None
    assert chart.panels[0].budget_y is None
    assert chart.panels[0].top == "3.5"


def test_nothing_submitted_gives_no_chart() -> None:
    assert charts([MIXED[37]], [], "") is None


def test_a_pause_between_runs_is_cut_out() -> None:
    axis = time_axis([(0, 600), (500, 900), (90_000, 90_300)], 100, 1000)
    assert axis is not None
    assert len(axis.breaks) == 1
    assert axis.x(0) == 100
    assert axis.x(90_300) == pytest.approx(1000)
    assert axis.x(900) < axis.x(90_000)
    assert axis.x(90_000) - axis.x(900) == pytest.approx(axis.breaks[0][1] - axis.breaks[0][0])
    assert [tick.day for tick in axis.ticks if tick.day] == ["1970-01-01", "1970-01-02"]


def test_a_short_pause_is_kept() -> None:
    axis = time_axis([(0, 600), (650, 900)], 0, 1000)
    assert axis is not None
    assert axis.breaks == []


SPANS = st.tuples(st.floats(0, 1e9), st.floats(0, 1e6)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(SPANS, min_size=1, max_size=30))
def test_every_moment_lies_on_the_axis_in_order(spans: list[tuple[float, float]]) -> None:
    axis = time_axis(spans, 50, 1000)
    assert axis is not None
    assert len(axis.breaks) <= 4
    places = [axis.x(at_s) for at_s in sorted(moment for span in spans for moment in span)]
    assert places == sorted(places)
    assert all(49.999 <= place <= 1000.001 for place in places)
    ticks = [tick.x for tick in axis.ticks]
    assert ticks == sorted(ticks)
    assert 1 <= len(ticks) <= 20


def test_times_are_read_as_utc() -> None:
    assert wall_s("2026-11-21T09:30:00.000Z") == datetime(2026, 11, 21, 9, 30, tzinfo=UTC).timestamp()
    assert wall_s("2026-11-21T09:30:00") == wall_s("2026-11-21T10:30:00+01:00")
    assert (wall_s(None), wall_s(""), wall_s("soon")) == (None, None, None)


def test_headlines() -> None:
    assert headline(summary_of(MIXED[:1])) == "The one item is finished for 35 credits."
    assert headline(summary_of(MIXED[:2], credits={})) == "All 2 items are finished."
    credits_ = {
        "video": CreditsRecord(None, Decimal(1), Decimal(0), None),
        "try_on": CreditsRecord(None, Decimal("2.5"), Decimal(0), None),
    }
    assert headline(summary_of(MIXED[32:34], credits=credits_)) == (
        "1 of 2 items is finished for 1 credit and 2.5 try-on credits; 1 failed."
    )


def test_every_reason_and_status_has_advice() -> None:
    for reason in (
        "policy",
        "rejected",
        "generation",
        "budget",
        "account",
        "stopped",
        "asset",
        "unresolved",
        "overdue",
        "disk",
    ):
        assert advice("failed", reason)
    assert all(advice(status, "something new") for status in ("failed", "unknown", "pending"))


def test_amounts_as_people_read_them() -> None:
    assert [size_text(size) for size in (0, 999, 1_000, 2_345_678, 5 * 10**9)] == [
        "0 B", "999 B", "1.0 kB", "2.3 MB", "5.0 GB",
    ]  # fmt: skip
    assert [duration_text(s) for s in (8.24, 125, 11_520)] == ["8.2 s", "2 min 05 s", "3 h 12 min"]


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize(("scheme", "is_dark"), [("1", False), ("0", True)], ids=["light", "dark"])
def test_a_browser_shows_the_page_in_light_and_dark(
    tmp_path: Path,
    mixed_page: bytes,
    scheme: str,
    is_dark: bool,  # noqa: FBT001 - a case of the test
) -> None:
    page, shot = tmp_path / "report.html", tmp_path / "shot.png"
    page.write_bytes(mixed_page)
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        " --disable-component-update --disable-sync --enable-logging=stderr --window-size=1240,1600"
    )
    done = subprocess.run(
        [
            str(CHROMIUM), *flags.split(), f"--user-data-dir={tmp_path / 'profile'}",
            f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={shot}", page.as_uri(),
        ],
        check=True, capture_output=True, timeout=60, text=True,
    )  # fmt: skip
    assert "Content Security Policy" not in done.stderr
    with Image.open(shot) as image:
        paper = image.convert("L").crop((4, 800, 5, 801)).tobytes()[0]
        assert paper < 60 if is_dark else paper > 200
        assert len(image.convert("RGB").getcolors(10**7) or []) > 100
