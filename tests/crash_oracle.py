"""What must hold after every kill and at the end, told from the server's books and the bytes on the disk."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

from batch_runner.lifecycle import ExternalId
from batch_runner.runner.lists import LISTS
from batch_runner.sandbox import Sandbox, SandboxTask
from batch_runner.sandbox.clips import ClipWish, render

BATCH = "crash"
MAX_CONCURRENT = 3
_KEPT_NAMES = {"results.jsonl", "ledger.jsonl", "summary.json", "report.html"}
_STATE_NAMES = {"state.db", ".lock", BATCH}
_SIGNS_OF_SECRETS = ("Signature=", "Bearer ", "eyJhbGciOi")
"""A signed link, a header with a key, a token of whatever keys."""


def tasks_by_item(sandbox: Sandbox, item_ids: Sequence[str]) -> dict[str, list[SandboxTask]]:
    by_digest = {ExternalId.of(BATCH, item_id, 1, "").item: item_id for item_id in item_ids}
    tasks: dict[str, list[SandboxTask]] = {item_id: [] for item_id in item_ids}
    for task in sandbox.world.tasks:
        name = ExternalId.parse(task.external_task_id)
        assert name is not None, f"the account has a task that is not the program's: {task.external_task_id}"
        tasks[by_digest[name.item]].append(task)
    return tasks


def server_digest(task: SandboxTask) -> str:
    """The SHA-256 of the file that the server hands out for a task."""
    return _digest_of(ClipWish(task.look, task.aspect, task.length_s))


@cache
def _digest_of(wish: ClipWish) -> str:
    return _sha256(render(wish))


def _is_live_beside(one: SandboxTask, other: SandboxTask) -> bool:
    return one.created_at_s < other.ended_at_s and other.created_at_s < one.ended_at_s


def payment_wrongs(tasks: Mapping[str, Sequence[SandboxTask]]) -> Iterator[str]:
    """Promise 1, at any moment."""
    for item_id, made in tasks.items():
        paid = [task for task in made if task.will_succeed]
        if len(paid) > 1:
            yield f"DOUBLE PAY: {item_id} has {len(paid)} charged tasks: {[task.external_task_id for task in paid]}"
        if any(_is_live_beside(one, other) for one, other in combinations(made, 2)):
            yield f"DOUBLE PAY: {item_id} had two live tasks at a time"


def file_wrongs(folder: Path, tasks: Mapping[str, Sequence[SandboxTask]]) -> Iterator[str]:
    """Promise 3, at any moment: what has a final name is the server's file, whole."""
    for item_id, made in tasks.items():
        path = folder / f"{item_id}.mp4"
        right = [server_digest(task) for task in made if task.will_succeed]
        if path.exists() and _sha256(path.read_bytes()) not in right:
            yield f"PARTIAL FILE: {path.name} has {path.stat().st_size} bytes that are not the server's"
    for name in _KEPT_NAMES & {path.name for path in folder.glob("*")}:
        text = (folder / name).read_text(encoding="utf-8")
        if not _is_whole(name, text):
            yield f"PARTIAL FILE: {name}"


def secret_wrongs(output_dir: Path, said: str, keys: Sequence[str]) -> Iterator[str]:
    """Promise 9, at any moment: neither what is on the disk nor what was said holds a key, a token or a signed link."""
    places = {path.name: path.read_bytes() for path in output_dir.rglob("*") if path.is_file()}
    for where, content in {**places, "what the program said": said.encode()}.items():
        for secret in (*keys, *_SIGNS_OF_SECRETS):
            if secret.encode() in content:
                yield f"SECRET: {secret!r} stands in {where}"


def _is_whole(name: str, text: str) -> bool:
    if name == "report.html":
        return text.rstrip().endswith("</html>")
    try:
        for line in [text] if name.endswith(".json") else text.splitlines():
            json.loads(line)
    except ValueError:
        return False
    return text.endswith("\n")


def ledger_wrongs(folder: Path) -> Iterator[str]:
    """Promise 4: conservation at every prefix, and every hold settled once."""
    consumed = held = Decimal(0)
    open_holds: dict[tuple[str, int], Decimal] = {}
    for number, row in enumerate(_rows(folder / "ledger.jsonl"), start=1):
        key, amount = (row["item"], row["attempt"]), Decimal(row["credits"])
        if row["entry"] == "hold":
            if key in open_holds:
                yield f"LEDGER: {key} is held twice"
            open_holds[key] = amount
            held += amount
        elif key not in open_holds:
            yield f"LEDGER: {row['entry']} of {key} without a hold"
        else:
            held -= open_holds.pop(key)
            consumed += amount if row["entry"] == "charge" else 0
        if (row["seq"], Decimal(row["consumed"]), Decimal(row["held"])) != (number, consumed, held):
            yield f"LEDGER: entry {number} says {row['consumed']} consumed, {row['held']} held; {consumed}, {held}"
        if row["budget"] is not None and consumed + held > Decimal(row["budget"]):
            yield f"LEDGER: after entry {number} {consumed} + {held} exceeds the budget {row['budget']}"
    if open_holds:
        yield f"LEDGER: open holds at the end: {open_holds}"


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def end_wrongs(folder: Path, sandbox: Sandbox, tasks: Mapping[str, Sequence[SandboxTask]]) -> Iterator[str]:
    """Promises 2, 4, 5 and 11 once the last run has ended well."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    credits_ = summary["credits"]["video"]
    charged = sandbox.world.charged_total()
    if Decimal(credits_["consumed"]) != charged or Decimal(credits_["held"]) != 0:
        yield f"TRUTH: summary says {credits_}, the server charged {charged}"
    if summary["items"]["succeeded"] != len(tasks):
        yield f"HONESTY: summary counts {summary['items']} of {len(tasks)}"
    yield from ledger_wrongs(folder)
    yield from result_wrongs(folder, tasks)
    if sandbox.world.peak_in_flight > MAX_CONCURRENT:
        yield f"LIMITS: {sandbox.world.peak_in_flight} tasks in flight"


def result_wrongs(folder: Path, tasks: Mapping[str, Sequence[SandboxTask]]) -> Iterator[str]:
    results = {row["id"]: row for row in _rows(folder / "results.jsonl")}
    for item_id, made in tasks.items():
        row, path = results[item_id], folder / f"{item_id}.mp4"
        paid = [task for task in made if task.will_succeed]
        if len(paid) != 1 or not path.exists():
            yield f"LOST VIDEO: {item_id} has {len(paid)} charged tasks, its file is there: {path.exists()}"
            continue
        content = path.read_bytes()
        right = [{"path": f"{BATCH}/{item_id}.mp4", "bytes": len(content), "sha256": _sha256(content)}]
        if row["status"] != "succeeded" or row["files"] != right or row["task_id"] != paid[0].task_id or row["error"]:
            yield f"HONESTY: {item_id} stands in results.jsonl as {row}"


def litter(output_dir: Path, item_ids: Sequence[str]) -> Iterator[str]:
    """What a finished batch should not have left behind."""
    kept = _KEPT_NAMES | {LISTS} | {f"{item_id}.mp4" for item_id in item_ids}
    for folder, names in ((output_dir, _STATE_NAMES), (output_dir / BATCH, kept)):
        for path in sorted(folder.iterdir()):
            if path.name not in names:
                yield f"LITTER: {path.relative_to(output_dir)}"


def fingerprint(output_dir: Path) -> dict[str, str]:
    """Every file below the folder with the digest of its bytes and its time of change."""
    return {
        path.relative_to(output_dir).as_posix(): f"{_sha256(path.read_bytes())} {path.stat().st_mtime_ns}"
        for path in sorted(output_dir.rglob("*"))
        if path.is_file()
    }


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"RERUN: {name} was {'changed' if name in before and name in after else 'made or removed'}"


def by_word(wrongs: Sequence[str]) -> dict[str, int]:
    """How many violations of each word."""
    counts: dict[str, int] = defaultdict(int)
    for wrong in wrongs:
        counts[wrong.split(":", 1)[0]] += 1
    return dict(counts)
