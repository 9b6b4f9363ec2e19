"""The promises of the program, asked of what a simulated program left; the sandbox's books are the oracle."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulated_film import digest

from batch_runner.errors import ExitCode
from batch_runner.lifecycle import ExternalId
from batch_runner.records import SummaryRecord
from batch_runner.sandbox import SandboxTask
from batch_runner.store import StoreReader

if TYPE_CHECKING:
    from simulation import Simulation

_UNFINISHED = (".part", ".meta", ".tmp")
_DERIVED = {"results.jsonl", "ledger.jsonl", "summary.json", "report.html"}


def audit_always(simulation: Simulation) -> None:
    """What holds at any moment, also after a death: promises 1, 3, 4, 7 and 9."""
    audit_payment(simulation)
    audit_limits(simulation)
    audit_folder(simulation)
    audit_store(simulation)


def audit(simulation: Simulation, summary: SummaryRecord) -> None:
    """Every promise that can be checked from outside once a run has ended by itself."""
    audit_always(simulation)
    results, ledger = simulation.results(), simulation.ledger()
    consumed, held = _audit_entries(ledger, simulation)
    credits_ = summary.credits.get("video")
    if credits_ is not None:
        assert (credits_.consumed, credits_.held) == (consumed, held), "promise 4"
    _audit_counts(simulation, summary, results)
    if not summary.items.unknown and not summary.items.pending and not _has_strays(summary):
        _audit_truth(simulation, sum((row.consumed for row in summary.credits.values()), Decimal(0)))
        assert all(row.held == 0 for row in summary.credits.values()), "promise 5: nothing is held"
    _audit_files(simulation, results)


def _has_strays(summary: SummaryRecord) -> bool:
    """Whether a removed line's task is still to be settled: its hold stays, and the exit code says so."""
    return summary.exit_code in {ExitCode.DISK, ExitCode.STOPPED, ExitCode.UNRESOLVED} and any(
        row.held for row in summary.credits.values()
    )


def _audit_truth(simulation: Simulation, consumed: Decimal) -> None:
    """Promise 5. A store that was lost cannot name the tasks of lines that had left the manifest."""
    now_s = simulation.clock.wall_s()
    charged = sum((task.charged_at(now_s) for task in simulation.tasks), Decimal(0))
    if simulation.has_lost:
        lines = simulation.manifest.read_text(encoding="utf-8").splitlines()
        items = {ExternalId.of("batch", json.loads(line)["id"], 1, "").item for line in lines}
        told = (task for task in simulation.tasks if str(task.external_task_id).split("-")[2] in items)
        assert sum((task.charged_at(now_s) for task in told), Decimal(0)) <= consumed <= charged, "promise 5"
    else:
        assert consumed == charged, "promise 5"


def audit_end(simulation: Simulation, summary: SummaryRecord) -> None:
    """Promises 2 and 5 when a batch is quiet: whatever the account was paid for is a file or a named trouble."""
    now_s = simulation.clock.wall_s()
    paid = {task.task_id for task in simulation.tasks if task.will_succeed}
    assert all(task.ended_at_s <= now_s for task in simulation.tasks), "promise 2: a task is still running"
    charged = {entry["task_id"] for entry in simulation.ledger() if entry["entry"] == "charge"}
    assert charged == paid, "promise 5: what was charged is in the ledger, and nothing else"
    rows = {row["task_id"]: row for row in simulation.results()}
    for task_id in paid & rows.keys():
        row = rows[task_id]
        assert row["status"] == "succeeded" or (row["reason"] == "asset" and summary.exit_code), "promise 2"
    names = {digest(path.read_bytes()) for path in simulation.output_dir.glob("batch/*.mp4")}
    strays = [task for task in simulation.tasks if task.task_id in paid - rows.keys()]
    assert all(simulation.asset_digest(task) in names or summary.exit_code for task in strays), (
        "promise 2: removed lines"
    )


def audit_payment(simulation: Simulation) -> None:
    """Promise 1: no item has two live tasks, nor a second task unless the first failed."""
    by_item: dict[str, list[SandboxTask]] = {}
    for task in simulation.tasks:
        name = ExternalId.parse(task.external_task_id)
        assert name is not None
        by_item.setdefault(name.item, []).append(task)
    for item, tasks in by_item.items():
        for earlier, later in pairwise(tasks):
            assert earlier.failure, f"promise 1: {item} was paid twice"
            assert earlier.ended_at_s <= later.created_at_s, f"promise 1: {item} had two live tasks"


def audit_limits(simulation: Simulation) -> None:
    """Promise 7, over all runs."""
    world, scenario = simulation.world, simulation.scenario
    assert most_at_once(simulation.tasks) <= scenario.slots, "promise 7: slots"
    if scenario.rpm:
        assert world.most_requests_in_window() <= scenario.rpm, "promise 7: requests"
    if not simulation.shares_rate:
        assert not world.refusals[1302], "promise 7: no refusal for rate"


def most_at_once(tasks: Iterable[SandboxTask]) -> int:
    """The most tasks alive at one moment; one that ends when another begins has made room for it."""
    moments = sorted(moment for task in tasks for moment in ((task.ended_at_s, -1), (task.created_at_s, 1)))
    most = alive = 0
    for _, change in moments:
        alive += change
        most = max(most, alive)
    return most


def audit_folder(simulation: Simulation) -> None:
    """Promises 3 and 9: whole files, no secrets."""
    right = {simulation.asset_digest(task) for task in simulation.tasks if task.will_succeed}
    for path, content in simulation.tree().items():
        name = path.rpartition("/")[2]
        _audit_secrecy(simulation, name, content)
        if name.endswith(_UNFINISHED) or ".damaged-" in name:
            continue
        if name.endswith(".mp4"):
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
    """Promise 4 in ``state.db`` itself, looked at in a copy: a look must not heal what a death left."""
    state = simulation.output_dir / "state.db"
    if not state.exists() or simulation.is_damaged:
        return
    with tempfile.TemporaryDirectory(dir=simulation.folder.parent) as scratch:
        for path in simulation.output_dir.glob("state.db*"):
            shutil.copy(path, scratch)
        if not _is_begun(Path(scratch) / "state.db"):
            return
        with StoreReader.open(Path(scratch) / "state.db") as reader:
            assert not reader.ledger_faults(), "promise 4"
            batch = reader.batch("batch")
            if batch is not None:
                _audit_entries([entry.as_json() for entry in reader.ledger(batch)], simulation)


def _is_begun(path: Path) -> bool:
    """Whether the store was made before its program died; a journal beside it undoes the making."""
    return path.stat().st_size > 0 and not path.with_name(path.name + "-journal").exists()


def _audit_entries(entries: Sequence[Mapping[str, Any]], simulation: Simulation) -> tuple[Decimal, Decimal]:
    """Promise 4, recomputed from the entries alone; returns what is consumed and held after the last."""
    consumed = held = Decimal(0)
    open_holds: dict[str, Decimal] = {}
    for number, entry in enumerate(entries, start=1):
        name, amount = entry["external_task_id"], Decimal(entry["credits"])
        if entry["entry"] == "hold":
            assert name not in open_holds, "promise 4: a hold was opened twice"
            open_holds[name] = amount
            held += amount
        else:
            assert name in open_holds, "promise 4: a hold was settled twice"
            held -= open_holds.pop(name)
            consumed += amount if entry["entry"] == "charge" else 0
        told = (entry["seq"], Decimal(entry["consumed"]), Decimal(entry["held"]))
        assert told == (number, consumed, held), "promise 4: the balances of a prefix"
        if entry["budget"] is not None and entry["entry"] == "hold" and not simulation.budget_was_lowered:
            assert consumed + held <= Decimal(entry["budget"]), "promise 4: the budget"
    return consumed, held


def _audit_counts(simulation: Simulation, summary: SummaryRecord, results: Sequence[Mapping[str, Any]]) -> None:
    """Promise 11: the counts add up to the manifest, and the exit code follows from them."""
    ids = [json.loads(line)["id"] for line in simulation.manifest.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in results] == ids, "promise 11: the results are the manifest's items"
    counts = dict.fromkeys(("succeeded", "failed", "pending", "unknown"), 0)
    for row in results:
        counts[row["status"]] += 1
        assert row["status"] in {"succeeded", "unknown"} or row["reason"], f"promise 11: {row['id']} without a reason"
    items, code = summary.items, summary.exit_code
    assert [items.succeeded, items.failed, items.pending, items.unknown] == list(counts.values()), "promise 11"
    assert items.total == len(results)
    assert json.loads((simulation.output_dir / "batch" / "summary.json").read_bytes())["exit_code"] == code
    if code == 0:
        assert items.succeeded == items.total, "promise 11: exit 0 means all of it"
    elif code == 3:
        assert items.failed or items.succeeded == items.total, "promise 11: exit 3"
        assert not items.pending + items.unknown, "promise 11: exit 3 means that nothing is left"
    elif code == 4:
        assert items.pending, "promise 11: exit 4 means that something is left"


def _audit_files(simulation: Simulation, results: Sequence[Mapping[str, Any]]) -> None:
    """Promises 2 and 3: every succeeded item has exactly the server's bytes, and is told with its digest."""
    by_task = {task.task_id: task for task in simulation.tasks}
    for row in results:
        if row["status"] != "succeeded":
            continue
        assert row["files"], "promise 2"
        for file in row["files"]:
            content = (simulation.output_dir / file["path"]).read_bytes()
            assert (file["bytes"], file["sha256"]) == (len(content), digest(content)), "promise 11"
            assert digest(content) == simulation.asset_digest(by_task[row["task_id"]]), "promise 2"
