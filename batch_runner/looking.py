"""``status``, and how every command that looks at what runs left finds it. Nothing here prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from batch_runner.answer import Answer, table
from batch_runner.errors import UsageError
from batch_runner.inert import inert
from batch_runner.naming import SANDBOX_SUFFIX, batch_name
from batch_runner.records import ResultRecord, credits_text
from batch_runner.settings import Settings
from batch_runner.store import Batch, StoreReader
from batch_runner.wording import plural


def reader_path(settings: Settings) -> Path:
    """Where the store of the output folder is.

    Raises:
        UsageError: nothing was ever run there.
    """
    path = settings.output_dir / "state.db"
    if not path.is_file():
        raise UsageError(f"there is no run in {settings.output_dir} yet (no state.db); start one with: run MANIFEST")
    return path


def batches_of(reader: StoreReader, manifest: Path | None, settings: Settings) -> list[Batch]:
    """The batch of the manifest, or all of the output folder.

    Raises:
        UsageError: the manifest has no batch here.
    """
    if manifest is None:
        return reader.batches()
    name = batch_name(manifest, settings)
    batch = reader.batch(name)
    if batch is None:
        names = [each.name for each in reader.batches()]
        hint = "; add --sandbox for the simulated one" if name + SANDBOX_SUFFIX in names else ""
        raise UsageError(f"{settings.output_dir} has no batch {name!r}; it has: {', '.join(names) or 'none'}{hint}")
    return [batch]


def status(manifest: Path | None, settings: Settings) -> Answer:
    """Where every item stands; without a manifest, one line a batch."""
    with StoreReader.open(reader_path(settings)) as reader:
        batches = batches_of(reader, manifest, settings)
        data = [{"batch": batch.name, "sandbox": batch.sandbox, **_standing(reader, batch)} for batch in batches]
        if manifest is None:
            lines = [_batch_line(row) for row in data] or ["no batch yet"]
            return Answer(lines, {"batches": data})
        rows = reader.results(batches[0])
        lines = [*table(_item_rows(rows)), _batch_line(data[0])]
        return Answer(lines, {**data[0], "results": [row.as_json() for row in rows]})


def _standing(reader: StoreReader, batch: Batch) -> dict[str, Any]:
    credits_ = {
        pack: {key: None if value is None else credits_text(value) for key, value in asdict(record).items()}
        for pack, record in reader.credits(batch).items()
    }
    return {"items": asdict(reader.counts(batch)), "credits": credits_}


def _batch_line(row: dict[str, Any]) -> str:
    items = row["items"]
    words = [word for word in ("succeeded", "failed", "pending", "unknown") if items[word]]
    counts = ", ".join(f"{items[word]:,} {word}" for word in words) or "none"
    simulated = " (SIMULATED)" if row["sandbox"] else ""
    credits_ = ", ".join(_credits_told(pack, record) for pack, record in row["credits"].items())
    total = plural(items["total"], "item")
    return f"{row['batch']}{simulated}: {total}: {counts}; credits: {credits_ or 'none'}"


def _credits_told(pack: str, record: dict[str, str]) -> str:
    held = "" if record["held"] == "0" else f" and {record['held']} held"
    return f"{pack} {record['consumed']} consumed{held}"


def _item_rows(rows: Iterable[ResultRecord]) -> Iterator[tuple[str, ...]]:
    yield ("line", "id", "status", "reason", "credits", "files and message")
    for row in rows:
        told = [", ".join(file.path for file in row.files), row.error.message if row.error else ""]
        last = "; ".join(filter(None, told))
        yield (str(row.line), inert(row.id), row.status, row.reason or "", _cost_told(row), inert(last))


def _cost_told(row: ResultRecord) -> str:
    """What an item cost, or about what it will; nothing was taken for one that failed without a charge."""
    if row.credits_charged is not None:
        return credits_text(row.credits_charged)
    return "0" if row.status == "failed" else f"~{credits_text(row.credits_estimated)}"
