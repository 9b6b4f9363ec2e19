"""The promises of the program, asked of what a simulated program left; the sandbox's books are the oracle."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulated_film import digest
from simulation_books import CALLS, FACTS, UNCERTAIN, WITH_FACTS, by_item, item_digest, most_slots

from batch_runner.errors import ExitCode
from batch_runner.records import SummaryRecord
from batch_runner.sandbox import SandboxTask
from batch_runner.store import StoreReader

if TYPE_CHECKING:
    from simulation import Simulation

_UNFINISHED = (".part", ".meta", ".tmp")
_DERIVED = {"results.jsonl", "ledger.jsonl", "summary.json", "report.html"}
_MEDIA = (".mp4", ".png", ".mp3", ".wav")

Balances = dict[str, tuple[Decimal, Decimal]]
"""What each pack has consumed, and holds."""


def audit_always(simulation: Simulation) -> None:
    """What holds at any moment, also after a death: promises 1, 3, 4, 7 and 9."""
    audit_payment(simulation)
    audit_limits(simulation)
    audit_folder(simulation)
    audit_store(simulation)


def audit(simulation: Simulation, summary: SummaryRecord) -> None:
    """Every promise that can be checked from outside once a run has ended by itself."""
    audit_always(simulation)
    audit_ended(simulation, summary)


def audit_ended(simulation: Simulation, summary: SummaryRecord) -> None:
    """What holds only then: promises 2, 4, 5 and 11."""
    results, ledger = simulation.results(), simulation.ledger()
    balances = _audit_entries(ledger, simulation)
    for pack, row in summary.credits.items():
        assert (row.consumed, row.held) == balances.get(pack, (0, 0)), "promise 4"
    assert balances.keys() <= summary.credits.keys(), "promise 4"
    _audit_counts(simulation, summary, results)
    if not summary.items.unknown and not summary.items.pending and not _has_strays(summary):
        _audit_truth(simulation, ledger)
        assert all(row.held == 0 for row in summary.credits.values()), "promise 5: nothing is held"
    _audit_files(simulation, results)


def _has_strays(summary: SummaryRecord) -> bool:
    """Whether a removed line's task is still to be settled: its hold stays, and the exit code says so."""
    return summary.exit_code in {ExitCode.DISK, ExitCode.STOPPED, ExitCode.UNRESOLVED} and any(
        row.held for row in summary.credits.values()
    )


def _audit_truth(simulation: Simulation, ledger: Sequence[Mapping[str, Any]]) -> None:
    """Promise 5, item by item. A store that was lost cannot name the tasks of lines that had left the manifest."""
    told: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for entry in ledger:
        if entry["entry"] == "charge":
            told[item_digest(entry["item"]), entry["pack"]] += Decimal(entry["credits"])
    now_s = simulation.clock.wall_s()
    charged: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for task in simulation.tasks:
        charged[str(simulation.batch.item_of(task)), task.pack.value] += task.charged_at(now_s)
    here = {item_digest(item) for item in manifest_ids(simulation)}
    for key in told.keys() | charged.keys():
        if key[0] in simulation.batch.uncertain:
            continue
        if key[0] in here or not simulation.has_lost:
            assert told[key] == charged[key], f"promise 5: {key} {told[key]} {charged[key]}"
        else:
            assert told[key] <= charged[key], "promise 5"


def manifest_ids(simulation: Simulation) -> list[str]:
    """The items of the manifest as it is now."""
    return [json.loads(line)["id"] for line in simulation.manifest.read_text(encoding="utf-8").splitlines()]


def audit_end(simulation: Simulation, summary: SummaryRecord) -> None:
    """Promises 2 and 5 when a batch is quiet: whatever the account was paid for is a file or a named trouble."""
    now_s = simulation.clock.wall_s()
    ended = [task for task in simulation.tasks if not math.isinf(task.ended_at_s)]
    certain = [task for task in ended if task.kind not in UNCERTAIN]
    good = {task.task_id for task in certain if task.will_succeed}
    paid = good | {task.task_id for task in certain if task.failure_charged and task.credits}
    assert all(task.ended_at_s <= now_s for task in ended), "promise 2: a task is still running"
    uncertain = {task.task_id for task in simulation.tasks if task.kind in UNCERTAIN}
    charged = {entry["task_id"] for entry in simulation.ledger() if entry["entry"] == "charge"}
    unasked = {task.task_id for task in certain if simulation.batch.item_of(task) in _unasked(simulation)}
    assert charged - uncertain - {None} >= paid - unasked, "promise 5: what was charged is in the ledger"
    assert charged & {task.task_id for task in certain} <= paid, "promise 5: and nothing else"
    rows = {row["task_id"]: row for row in simulation.results()}
    for task_id in good & rows.keys():
        row = rows[task_id]
        assert row["status"] == "succeeded" or (row["reason"] == "asset" and summary.exit_code), "promise 2"
    names = {digest(path.read_bytes()) for path in simulation.batch_dir.glob("*") if path.suffix in _MEDIA}
    names |= {digest(content) for content in simulation.spoiled.values()}
    strays = [task for task in certain if task.task_id in good - rows.keys() and task.kind not in FACTS]
    assert all(names.issuperset(simulation.asset_digests(task)) or summary.exit_code for task in strays), (
        "promise 2: removed lines"
    )


def _unasked(simulation: Simulation) -> set[str]:
    """Items that wait for room and were not found: two exchanged answers hide one until it is asked for by itself."""
    if not (simulation.has_lost and simulation.exchanges):
        return set()
    return {item_digest(row["id"]) for row in simulation.results() if row["reason"] == "budget" and not row["attempts"]}


def audit_payment(simulation: Simulation) -> None:
    """Promise 1: no item has two live tasks, nor a second task unless the first failed, or the user gave the word."""
    for item, tasks in by_item((simulation.batch.item_of(task), task) for task in simulation.tasks).items():
        words = simulation.batch.repeats if tasks[0].kind in UNCERTAIN else 0
        for earlier, later in pairwise(tasks):
            if words and not (earlier.failure and earlier.ended_at_s <= later.created_at_s):
                words -= 1
                continue
            assert earlier.failure, f"promise 1: {item} was paid twice"
            assert earlier.ended_at_s <= later.created_at_s, f"promise 1: {item} had two live tasks"


def audit_limits(simulation: Simulation) -> None:
    """Promise 7, over all runs."""
    world, scenario = simulation.world, simulation.scenario
    counted = simulation.tasks if simulation.has_lost else simulation.tasks_of_all
    assert most_slots(counted) <= scenario.slots, "promise 7: slots"
    if scenario.rpm:
        assert world.most_requests_in_window() <= scenario.rpm, "promise 7: requests"
    if not simulation.shares_rate:
        assert not world.refusals[1302], "promise 7: no refusal for rate"


def audit_folder(simulation: Simulation) -> None:
    """Promises 3 and 9: whole files, no secrets."""
    calls = [task for task in simulation.world.tasks if task.kind in CALLS]
    made = [*calls, *simulation.tasks_of_all]
    right = {each for task in made if task.will_succeed for each in simulation.asset_digests(task)}
    for path, content in simulation.tree().items():
        name = path.rpartition("/")[2]
        _audit_secrecy(simulation, name, content)
        if name.endswith(_UNFINISHED) or ".damaged-" in name or path in simulation.spoiled:
            continue
        if name.endswith(_MEDIA):
            assert digest(content) in right, f"promise 3: {name} is not whole"
        elif name in _DERIVED:
            _audit_whole(name, content)
    said = repr(simulation.events).encode()
    _audit_secrecy(simulation, "the events", said)


def _audit_secrecy(simulation: Simulation, where: str, content: bytes) -> None:
    sandbox = simulation.sandbox
    for secret in (sandbox.access_key, sandbox.secret_key, sandbox.api_key, "Signature=", "Bearer ", "eyJhbGciOi"):
        assert secret.encode() not in content, f"promise 9: {secret!r} is in {where}"


def _audit_whole(name: str, content: bytes) -> None:
    if name == "report.html":
        assert content.rstrip().endswith(b"</html>"), f"promise 3: {name} is not whole"
        return
    for line in [content] if name == "summary.json" else content.splitlines():
        json.loads(line)
    assert content.endswith(b"\n") or not content, f"promise 3: {name} is not whole"


def audit_store(simulation: Simulation) -> None:
    """Promise 4 in ``state.db`` itself."""
    with store_of(simulation) as reader:
        if reader is not None:
            assert not reader.ledger_faults(), "promise 4"
            _audit_entries(entries_in(reader, simulation.batch.name), simulation)


@contextmanager
def store_of(simulation: Simulation) -> Iterator[StoreReader | None]:
    """``state.db``, if there is a whole one, in a copy: a look must not heal what a death left."""
    state = simulation.output_dir / "state.db"
    if not state.exists() or simulation.is_damaged:
        yield None
        return
    with tempfile.TemporaryDirectory(dir=simulation.folder.parent) as scratch:
        for path in simulation.output_dir.glob("state.db*"):
            shutil.copy(path, scratch)
        if not _is_begun(Path(scratch) / "state.db"):
            yield None
            return
        with StoreReader.open(Path(scratch) / "state.db") as reader:
            yield reader


def entries_in(reader: StoreReader, name: str) -> list[dict[str, Any]]:
    """The batch's ledger, as far as there is one."""
    batch = reader.batch(name)
    return [] if batch is None else [entry.as_json() for entry in reader.ledger(batch)]


def _is_begun(path: Path) -> bool:
    """Whether the store was made before its program died; a journal beside it undoes the making."""
    return path.stat().st_size > 0 and not path.with_name(path.name + "-journal").exists()


def _audit_entries(entries: Sequence[Mapping[str, Any]], simulation: Simulation) -> Balances:
    """Promise 4, recomputed from the entries alone; returns what every pack has consumed and holds after the last."""
    balances: Balances = {}
    open_holds: dict[str, Decimal] = {}
    for number, entry in enumerate(entries, start=1):
        name, amount = entry["external_task_id"], Decimal(entry["credits"])
        consumed, held = balances.get(entry["pack"], (Decimal(0), Decimal(0)))
        if entry["entry"] == "hold":
            assert name not in open_holds, "promise 4: a hold was opened twice"
            open_holds[name] = amount
            held += amount
        else:
            assert name in open_holds, "promise 4: a hold was settled twice"
            held -= open_holds.pop(name)
            consumed += amount if entry["entry"] == "charge" else 0
        balances[entry["pack"]] = consumed, held
        told = (entry["seq"], Decimal(entry["consumed"]), Decimal(entry["held"]))
        assert told == (number, consumed, held), "promise 4: the balances of a prefix"
        if entry["budget"] is not None and entry["entry"] == "hold" and not simulation.budget_was_lowered:
            assert consumed + held <= Decimal(entry["budget"]), "promise 4: the budget"
    return balances


def _audit_counts(simulation: Simulation, summary: SummaryRecord, results: Sequence[Mapping[str, Any]]) -> None:
    """Promise 11: the counts add up to the manifest, and the exit code follows from them."""
    assert [row["id"] for row in results] == manifest_ids(simulation), "promise 11: the items of the manifest"
    counts = dict.fromkeys(("succeeded", "failed", "pending", "unknown"), 0)
    for row in results:
        counts[row["status"]] += 1
        assert row["status"] in {"succeeded", "unknown"} or row["reason"], f"promise 11: {row['id']} without a reason"
    items, code = summary.items, summary.exit_code
    assert [items.succeeded, items.failed, items.pending, items.unknown] == list(counts.values()), "promise 11"
    assert items.total == len(results)
    assert json.loads((simulation.batch_dir / "summary.json").read_bytes())["exit_code"] == code
    if code == 0:
        assert items.succeeded == items.total, "promise 11: exit 0 means all of it"
    elif code == 3:
        assert items.failed or items.succeeded == items.total, "promise 11: exit 3"
        assert not items.pending + items.unknown, "promise 11: exit 3 means that nothing is left"
    elif code == 4:
        assert items.pending, "promise 11: exit 4 means that something is left"


def _audit_files(simulation: Simulation, results: Sequence[Mapping[str, Any]]) -> None:
    """Promises 2 and 3: every succeeded item has exactly the server's bytes, and is told with its digest."""
    tasks = by_item((simulation.batch.item_of(task), task) for task in simulation.tasks)
    for row in results:
        if row["status"] != "succeeded":
            continue
        assert row["files"], "promise 2"
        here = [file for file in row["files"] if file["path"] not in simulation.spoiled]
        for file in here:
            content = (simulation.output_dir / file["path"]).read_bytes()
            assert (file["bytes"], file["sha256"]) == (len(content), digest(content)), "promise 11"
        if len(here) < len(row["files"]) and row["kind"] in CALLS and simulation.has_lost:
            continue  # a call's file that somebody changed before the loss is taken as it is: nobody can tell
        made = [task for task in tasks.get(item_digest(row["id"]), ()) if _may_be(task, row)]
        if row["kind"] in CALLS and simulation.exchanges:
            made = [task for task in simulation.world.tasks if task.kind in CALLS]
        assert any(_has_made(simulation, task, row["files"]) for task in made), f"promise 2: {row['id']}"


def _may_be(task: SandboxTask, row: Mapping[str, Any]) -> bool:
    """Whether a row may be about a task: it bears its id, unless an answer at once, or a lost store, tells none."""
    return task.task_id == row["task_id"] or (task.kind in CALLS and task.will_succeed)


def _has_made(simulation: Simulation, task: SandboxTask, told: Sequence[Mapping[str, Any]]) -> bool:
    """Whether these are the files of a task. Ids and facts become one that the service has not."""
    facts = [file for file in told if file["path"].endswith(".json")]
    if task.kind in FACTS:
        return len(facts) == len(told) == 1
    digests = [file["sha256"] for file in told if file not in facts]
    return sorted(digests) == sorted(simulation.asset_digests(task)) and len(facts) == (task.kind in WITH_FACTS)
