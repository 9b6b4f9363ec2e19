"""``verify``: finished files against what was recorded of them; and, if it shall repair, fetched again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from batch_runner.answer import Answer, Ask
from batch_runner.api import repair_settings
from batch_runner.download import MissingFileError, check_batch_folder, sha256_of
from batch_runner.errors import DiskError, ExitCode
from batch_runner.inert import inert
from batch_runner.looking import batches_of, reader_path
from batch_runner.settings import Settings
from batch_runner.store import StoreReader
from batch_runner.wording import by_count, plural

_REPAIRS = "verify --repair fetches what is missing or altered again, for nothing, as long as Kling keeps it"


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
        files = reader.finished_files(batch)
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
