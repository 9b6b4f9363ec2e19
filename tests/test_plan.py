"""``plan``: what a manifest costs, on which package and plan, how far a budget goes, and how long it takes."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import os
import time
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from doors_kit import KEYS, served_sandbox
from simulation import Scenario, Simulation, simulate
from store_kit import item

from batch_runner import catalog
from batch_runner.errors import AccountError, ExitCode, ManifestError, UsageError
from batch_runner.planning import Questions, plan, timing
from batch_runner.planning.app import app_need, plan_cost
from batch_runner.planning.purchase import Offer, cheapest, offers, single_purchases, worth_showing
from batch_runner.planning.reach import reach
from batch_runner.sandbox import WorldConfig
from batch_runner.settings import resolve

D = Decimal


def planned(folder: Path, *lines: dict[str, object], **flags: object) -> dict[str, Any]:
    manifest = folder / "batch.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    what_if = flags.pop("what_if", ())
    settings = resolve({"output_dir": str(folder / "outputs"), **flags}, {}, None)
    return plan(manifest, settings, Questions(what_if=what_if)).data  # type: ignore[arg-type]  # a tuple of texts


def numbered(count: int) -> list[dict[str, object]]:
    return [{"id": f"i{number}", "prompt": "x"} for number in range(count)]


PRO = {"prompt": "x", "model_name": "kling-v2-6", "mode": "pro"}


@pytest.mark.parametrize(
    ("name", "five", "ten", "ten_with_audio"),
    [
        ("standard", (18, "0.39"), (9, "0.78"), (3, "2.33")),
        ("pro", (85, "0.31"), (42, "0.62"), (15, "1.73")),
        ("premier", (228, "0.29"), (114, "0.57"), (40, "1.62")),
        ("ultra", (742, "0.17"), (371, "0.34"), (130, "0.98")),
    ],
)
def test_the_cost_of_a_finished_video_on_each_plan(
    tmp_path: Path, name: str, five: tuple[int, str], ten: tuple[int, str], ten_with_audio: tuple[int, str]
) -> None:
    """The guide's own figures, but for one: 127.99 over 371 videos is 0.34499, which it gives as 0.35."""
    data = planned(
        tmp_path,
        {**PRO, "id": "a", "duration": 5},
        {**PRO, "id": "b", "duration": 10},
        {**PRO, "id": "c", "duration": 10, "sound": "on"},
    )
    [row] = [row for row in data["app"]["plans"] if row["plan"] == name]
    found = {each["credits"]: (each["results"], each["usd"]) for each in row["each"]}
    assert found == {"35": five, "70": ten, "200": ten_with_audio}


def test_a_standard_month_is_33_videos_or_3300_images() -> None:
    cost = plan_cost(catalog.plans()["standard"], app_need([D(20), D("0.2")]))
    assert {credits_: count for credits_, count, _ in cost.each} == {D(20): 33, D("0.2"): 3300}


def test_the_app_needs_a_fifth_more_because_failures_cost_there() -> None:
    need = app_need([D(35)] * 100 + [None])
    assert (need.credits, need.unpriced) == (D(4200), 1)
    standard, free = (plan_cost(catalog.plans()[name], need) for name in ("standard", "free"))
    assert (standard.months, standard.monthly_usd) == (7, D("6.99") + 6 * D("8.80"))
    assert standard.annual_usd == 12 * D("6.60")
    assert (free.months, free.monthly_usd) == (3, None)


def test_a_month_of_videos_costs_by_the_row_of_each_price(tmp_path: Path) -> None:
    data = planned(tmp_path, {**PRO, "id": "a"}, {"id": "b", "prompt": "x"}, budget="100")
    assert [each["credits"] for each in data["each"]] == ["2.5", "1"]
    assert all("20" in each["price_row"] for each in data["each"]), "a row has a date"
    assert data["credits"] == {"video": "3.5"}
    assert {row["model"]: row["credits"] for row in data["rows"]} == {"kling-v2-6": "2.5", "kling-v1": "1"}


def test_what_is_new_changed_done_and_in_flight(tmp_path: Path) -> None:
    prompts = {"done": "a", "failed": "b [sandbox:fail]", "flying": "c [sandbox:stuck]"}
    lines = tuple(json.dumps({"id": name, "prompt": prompt}) for name, prompt in prompts.items())

    async def work(simulation: Simulation) -> dict[str, str]:
        await simulation.run(max_runtime_s=700.0)
        rows = [json.loads(line) for line in lines]
        rows[1]["prompt"] = "another text"
        rows.append({"id": "fresh", "prompt": "fresh"})
        simulation.manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        flags = {"output_dir": str(simulation.output_dir), "base_url": simulation.sandbox.base_url}
        before = simulation.tree()
        data = plan(simulation.manifest, resolve(flags, {}, None)).data
        assert before.items() <= simulation.tree().items(), "a plan changes nothing"
        assert data["to_spend"] == {"video": "2"}
        return {each["id"]: each["standing"] for each in data["each"]}

    world = WorldConfig(seed=3, max_concurrent=3)
    found = simulate(Scenario(world=world, lines=lines), tmp_path, work)
    assert found == {"done": "done", "failed": "changed", "flying": "in_flight", "fresh": "new"}


def test_a_plan_tells_the_edited_lines_at_which_a_run_would_stop(tmp_path: Path) -> None:
    prompts = {"done": "a", "failed": "b [sandbox:fail]", "flying": "c [sandbox:stuck]", "gone": "d"}
    lines = tuple(json.dumps({"id": name, "prompt": prompt}) for name, prompt in prompts.items())

    async def work(simulation: Simulation) -> None:
        await simulation.run(max_runtime_s=700.0)
        edited = [json.dumps({"id": name, "prompt": "another text"}) for name in prompts]
        simulation.manifest.write_text("\n".join(edited), encoding="utf-8")
        flags = {"output_dir": str(simulation.output_dir), "base_url": simulation.sandbox.base_url}
        answer = plan(simulation.manifest, resolve(flags, {}, None))
        with pytest.raises(ManifestError) as refused:
            await simulation.run()
        told = [str(problem) for problem in refused.value.problems]
        assert (answer.exit_code, answer.data["problems"]) == (ExitCode.USAGE, told)
        assert [problem.split(" was edited")[0] for problem in told] == [
            "line 1, id: 'done'",
            "line 3, id: 'flying'",
            "line 4, id: 'gone'",
        ]
        assert answer.lines[-4:] == [
            "a run would stop at 3 problems and send nothing:",
            *(f"  {each}" for each in told),
        ]

    simulate(Scenario(world=WorldConfig(seed=3, max_concurrent=4), lines=lines), tmp_path, work)


def test_a_budget_reaches_by_priority_then_by_line_and_not_past_a_source() -> None:
    rows = [
        item("a", 1, "4"),
        item("dear", 2, "9"),
        item("c", 3, "3"),
        item("first", 4, "2", priority=5),
        dataclasses.replace(item("of-dear", 5, "1"), sources=("dear",)),
    ]
    found = reach(rows, {"video": D(10)})
    assert found.done == ("first", "a", "c")
    assert found.left_out == ("dear", "of-dear")
    assert reach(rows, {}).left_out == ()
    assert reach(rows, {}).done[-1] == "of-dear"


def test_a_rolling_budget_limits_the_reach_and_the_rehearsal_by_what_it_leaves_now(tmp_path: Path) -> None:
    """It was left out, so that a plan promised what a run then stopped before."""
    lines = tuple(json.dumps({"id": f"i{number}", "prompt": f"take {number}"}) for number in range(6))

    async def work(simulation: Simulation) -> tuple[dict[str, Any], list[str]]:
        flags = {"output_dir": str(simulation.output_dir), "base_url": simulation.sandbox.base_url}
        rolling = {"rolling_budget": ["3/999d", "9/30d"]}
        fresh = plan(simulation.manifest, resolve({**flags, **rolling}, {}, None)).data
        assert len(fresh["budget"]["does"]) == 3
        await simulation.run(budget={"video": 2})
        answer = plan(simulation.manifest, resolve({**flags, **rolling, "budget": {"video": 9}}, {}, None))
        return answer.data, list(answer.lines)

    data, page = simulate(Scenario(world=WorldConfig(max_concurrent=3), lines=lines), tmp_path, work)
    assert data["budget"]["does"] == ["i2"]
    assert data["budget"]["rolling"][0] == {
        "pack": "video",
        "window": "999d",
        "budget": "3",
        "consumed": "2",
        "held": "0",
        "available": "1",
    }
    text = "\n".join(page)
    assert "the rolling budget of 3 credits (video) in any 999d has 1 left now; a run stops there" in text
    assert "the budgets do, as they stand now, 1 of the 4 items that are left" in text


def offer(name: str, price: str, units: int, *, days: int = 30, once: bool = False, slots: int = 5) -> Offer:
    return Offer(name, D(price), units, days, slots, once, 1, "2026")


def test_the_cheapest_packages_hold_enough_and_are_bought_once_where_they_must() -> None:
    sold = [offer("trial", "10", 100, once=True), offer("small", "70", 500), offer("large", "500", 5000)]
    assert [str(best and best.words) for best in (cheapest(sold, D(units), 0.0) for units in (80, 101, 600, 4900))] == [
        "1 x trial",
        "1 x small",
        "1 x trial + 1 x small",
        "1 x large",
    ]
    best = cheapest(sold, D(5300), 0.0)
    assert best is not None
    assert (best.words, best.price_usd, best.units_left) == ("1 x large + 1 x small", D(570), D(200))
    [trial, *_] = single_purchases(sold, D(250), 0.0)
    assert (trial.words, trial.warnings) == ("3 x trial", ("trial can be bought once for an account",))


def test_a_package_that_lapses_before_the_end_is_said_so_and_not_the_cheapest() -> None:
    sold = [offer("short", "10", 10_000, days=30, slots=1), offer("long", "99", 10_000, days=180, slots=1)]
    work_s = 40 * 86_400.0
    assert "lapses after 30 days" in single_purchases(sold, D(10), work_s)[0].warnings[0]
    best = cheapest(sold, D(10), work_s)
    assert best is not None
    assert best.words == "1 x long"
    assert cheapest(sold[:1], D(10), work_s) is None


def test_every_published_package_is_offered() -> None:
    names = {each.name for pack in ("video", "image", "try_on") for each in offers(catalog.packages().values(), pack)}
    assert {"trial-100", "package-3", "trial-100-2026", "standard-60000-2026"} <= names


def test_more_slots_what_if(tmp_path: Path) -> None:
    data = planned(tmp_path, *numbered(12), tier="free", what_if=("max_concurrent=10", "tier=pro"))
    times = [data["time"]["median_s"], *(row["median_s"] for row in data["what_if"].values())]
    assert times[0] > 4 * times[1]
    assert times[1] < times[2] < times[0]
    assert data["time"]["low_s"] <= data["time"]["median_s"] <= data["time"]["high_s"]


@pytest.mark.parametrize("text", ["max_concurrent", "slots=3", "rpm=-1", "max_concurrent=0", "tier="])
def test_a_question_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"--what-if|--tier"):
        planned(tmp_path, {"prompt": "x"}, what_if=(text,))


def test_a_large_batch_is_rehearsed_by_a_selection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MOST_ITEMS", 60)
    data = planned(tmp_path, *numbered(90), tier="pro")
    assert data["time"]["rehearsed_share"] == pytest.approx(2 / 3, abs=0.01)
    assert data["time"]["median_s"] == pytest.approx(90 * 319 / 5, rel=0.25)


class SlowlyFilled(ProcessPoolExecutor):
    """Takes its next job when the processes of the one before are dead."""

    def submit(self, *args: Any, **keywords: Any) -> Future[Any]:
        while self._processes and not self._broken:
            time.sleep(0.01)
        return super().submit(*args, **keywords)


def test_processes_that_die_while_jobs_are_handed_out_leave_no_job_unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal to all processes of a terminal; the loop complained of the jobs before, on standard error."""
    monkeypatch.setattr(timing, "ProcessPoolExecutor", SlowlyFilled)
    monkeypatch.setattr(timing, "_HEARD_WITHIN_S", 0.0)
    complaints: list[dict[str, Any]] = []

    async def work() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
        with pytest.raises(BrokenProcessPool):
            await timing._on_every_core(partial(os._exit), range(3), 2)  # type: ignore[arg-type]
        gc.collect()

    asyncio.run(work())
    assert not complaints


def test_the_accounts_packs_beside_the_plan_when_asked_for(tmp_path: Path) -> None:
    manifest = tmp_path / "batch.jsonl"
    manifest.write_text('{"prompt": "x"}\n', encoding="utf-8")
    with served_sandbox() as sandbox:
        settings = resolve({"output_dir": str(tmp_path / "outputs"), "base_url": sandbox.base_url}, {}, None)
        quiet = plan(manifest, settings)
        assert not sandbox.world.request_stamps, "a plan sends nothing unasked"
        assert "account" not in quiet.data
        answer = plan(manifest, settings, Questions(with_account=True), KEYS)
        assert len(sandbox.world.request_stamps) == 1
    packs = {row["pack"]: row for row in answer.data["account"]}
    assert packs["video"]["max_concurrent"]
    assert any("packs of the account" in line for line in answer.lines)
    with pytest.raises(AccountError, match="keys"):
        plan(manifest, settings, Questions(with_account=True))


def test_only_packages_that_are_better_in_something_are_shown() -> None:
    small, large = offer("small", "10", 100), offer("large", "90", 1000)
    lasting, many = offer("lasting", "95", 1000, days=90), offer("many", "99", 1000, slots=20)
    once = offer("once", "1", 10, once=True)
    found = single_purchases([small, large, lasting, many, once], D(50), 3600.0)
    assert [purchase.words for purchase in worth_showing(found)] == [
        *("1 x small", "1 x lasting", "1 x many", "5 x once")
    ]
    found = single_purchases([small, large], D(950), 3600.0)
    assert [purchase.words for purchase in worth_showing(found)] == ["1 x large"]


def test_a_small_batch_has_a_short_table_of_packages(tmp_path: Path) -> None:
    """It listed fourteen, up to 7,560 USD, for one credit."""
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"prompt": "x"}\n', encoding="utf-8")
    answer = plan(manifest, resolve({"output_dir": str(tmp_path / "o"), "base_url": "http://127.0.0.1:9"}, {}, None))
    page, data = list(answer.lines), answer.data["packages"]["video"]
    shown = [line for line in page if line.startswith("  ") and " x " in line]
    assert 2 <= len(shown) < len(data) / 2
    assert any("1 x trial-100-2026" in line for line in shown)
    assert any(f"({len(data) - len(shown)} dearer ones" in line for line in page)
