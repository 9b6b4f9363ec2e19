"""Commands that look at what runs left: status, ledger, verify, report. They return what is to be printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from batch_runner.answer import Answer, Ask, table
from batch_runner.api import repair_settings
from batch_runner.download import MissingFileError, check_batch_folder, sha256_of
from batch_runner.errors import DiskError, ExitCode, UsageError
from batch_runner.folder import SANDBOX_SUFFIX, batch_name, held_folder
from batch_runner.records import ResultRecord, credits_text
from batch_runner.report import inert
from batch_runner.runner import write_files
from batch_runner.settings import Settings
from batch_runner.store import Batch, StoreReader
from batch_runner.wording import by_count, plural

_REPAIRS = "verify --repair fetches what is missing or altered again, for nothing, as long as Kling keeps it"


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
    yield ("line", "id", "status", "reason", "credits", "file or message")
    for row in rows:
        last = ", ".join(file.path for file in row.files) or (row.error.message if row.error else "")
        yield (str(row.line), inert(row.id), row.status, row.reason or "", _cost_told(row), inert(last))


def _cost_told(row: ResultRecord) -> str:
    """What an item cost, or about what it will; nothing was taken for one that failed without a charge."""
    if row.credits_charged is not None:
        return credits_text(row.credits_charged)
    return "0" if row.status == "failed" else f"~{credits_text(row.credits_estimated)}"


def verify(manifest: Path, settings: Settings) -> Answer:
    """Every finished file against its recorded size and SHA-256; exit 6 when one is missing or altered.

    Raises:
        DiskError: the batch's folder is a link, which is not followed, or no folder.
    """
    found = _verified(manifest, settings)
    hint = [_REPAIRS] if found.data["wrong"] else []
    return replace(found, lines=[*found.lines, *hint])


def _verified(manifest: Path, settings: Settings) -> Answer:
    with StoreReader.open(reader_path(settings)) as reader:
        batch = batches_of(reader, manifest, settings)[0]
        files = [file for row in reader.results(batch) for file in row.files]
        faults = reader.ledger_faults()
    wrong = {}
    check_batch_folder(settings.output_dir, batch.name)
    for file in files:
        fault = _fault_of(settings.output_dir / file.path, file.bytes, file.sha256)
        if fault:
            wrong[file.path] = fault
    lines = [f"{path}: {fault}" for path, fault in wrong.items()]
    lines += [f"the ledger does not add up: {fault}" for fault in faults]
    lines.append(_verdict(len(files) - len(wrong), len(files)))
    data: dict[str, Any] = {"batch": batch.name, "files": len(files), "wrong": wrong}
    if faults:
        data["ledger_faults"] = faults
    return Answer(lines, data, ExitCode.DISK if wrong or faults else ExitCode.OK)


def _verdict(right: int, total: int) -> str:
    if not total:
        return "no file is finished yet"
    return f"{right:,} of {plural(total, 'file')} {by_count(right, 'is', 'are')} as recorded"


def repair(manifest: Path, settings: Settings, environ: Mapping[str, str], ask: Ask) -> Answer:
    """``verify``, after what is missing or altered was fetched again; nothing is generated or charged."""
    before = _verified(manifest, settings)
    if before.exit_code is ExitCode.OK:
        return before
    reasons = ask(repair_settings(manifest, settings, environ=environ))
    after = _verified(manifest, settings)
    told = [f"{inert(item)} could not be restored: {inert(why)}" for item, why in sorted(reasons.items())]
    restored = len(before.data["wrong"]) - len(after.data["wrong"])
    data = {**after.data, "restored": restored, "not_restored": reasons}
    done = f"{plural(restored, 'file')} {by_count(restored, 'was', 'were')} fetched again"
    return Answer([*told, done, *after.lines], data, after.exit_code)


def _fault_of(path: Path, size: int, digest: str) -> str | None:
    try:
        found = sha256_of(path)
    except MissingFileError:
        return "is missing"
    except DiskError as error:
        return str(error)
    if found[0] != size:
        return f"is {plural(found[0], 'byte')}, recorded were {size:,}"
    return None if found[1] == digest else "has other content than recorded"


def report(manifest: Path, settings: Settings) -> Answer:
    """Write the derived files anew from ``state.db`` and say where the page is.

    Raises:
        OutputFolderLockedError: a run is going on; it writes them itself when it ends.
    """
    state_path = reader_path(settings)
    with held_folder(settings.output_dir), StoreReader.open(state_path) as reader:
        batch = batches_of(reader, manifest, settings)[0]
        summary = reader.summary(batch)
        if summary is None:
            raise UsageError(f"no run of {batch.name!r} has ended yet; there is nothing to report; run it first")
        results, entries = reader.results(batch), reader.ledger(batch)
        path = write_files(settings.output_dir, summary, results, entries)
    return Answer([str(path)], {"batch": batch.name, "report": str(path)})
