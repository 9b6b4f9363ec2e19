"""``ledger``: what was consumed, what is held and what is left, of batches and of rolling budgets."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from batch_runner.answer import Answer
from batch_runner.budgets import Window
from batch_runner.clock import Clock, SystemClock, iso_utc
from batch_runner.errors import ExitCode
from batch_runner.looking import batches_of, reader_path
from batch_runner.model import Realm
from batch_runner.naming import realm_of
from batch_runner.records import WindowRecord, credits_text
from batch_runner.settings import Settings
from batch_runner.statement import Statement
from batch_runner.store import Batch, Moment, StoreReader

_DAMAGED = (
    "state.db is damaged ({}): what follows may be wrong, and no run builds on it. Move it away and run again: the"
    " batch is rebuilt from the account and the files"
)


def ledger(manifest: Path | None, settings: Settings, clock: Clock | None = None) -> Answer:
    """Consumed, held and available against each budget, by day, model and batch, and what needs a look.

    Without a manifest it is about the whole output folder, with one about its batch, entry by entry.
    """
    now = Moment.of(clock or SystemClock())
    with StoreReader.open(reader_path(settings)) as reader:
        batches = batches_of(reader, manifest, settings)
        statement = Statement(
            batches=[_batch(reader, batch, settings, with_entries=manifest is not None) for batch in batches],
            windows=_windows(reader, batches, settings, now),
            spent=reader.spent(batches),
            cases=reader.cases(batches),
        )
        disagreement = reader.disagreement()
        wrong = disagreement or reader.alteration()
    lines, data = statement.lines(), statement.as_json()
    if wrong is not None:
        lines = [f"!! the ledger does not add up: {wrong}" if disagreement else f"!! {_DAMAGED.format(wrong)}", *lines]
        data = {"fault": wrong, **data}
    return Answer(lines, data, ExitCode.OK if wrong is None else ExitCode.DISK, csv=statement.csv())


def _batch(reader: StoreReader, batch: Batch, settings: Settings, *, with_entries: bool) -> dict[str, Any]:
    credits_ = {
        pack: {key: None if value is None else credits_text(value) for key, value in asdict(record).items()}
        for pack, record in reader.credits(batch, settings.budget).items()
    }
    entries = [entry.as_json() for entry in reader.ledger(batch)] if with_entries else []
    named = {"batch": batch.name, "realm": batch.realm.value, "sandbox": batch.sandbox}
    return {**named, "credits": credits_, "entries": entries}


def _windows(reader: StoreReader, batches: list[Batch], settings: Settings, now: Moment) -> list[WindowRecord]:
    """The rolling budgets of the settings, for every realm that these batches live in."""
    realms = sorted({batch.realm for batch in batches} or {realm_of(settings)})
    budgets = list(settings.rolling_budget.values())
    return [_record(realm, window, now.wall_s) for realm in realms for window in reader.windows(realm, budgets, now)]


def _record(realm: Realm, window: Window, now_wall_s: float) -> WindowRecord:
    frees_in_s = min((each.left_s for each in window.charged), default=None)
    return WindowRecord(
        realm=realm.value,
        pack=window.budget.pack,
        window=window.budget.window,
        budget=window.budget.credits,
        consumed=window.consumed,
        held=window.held,
        available=window.available,
        frees_at=None if frees_in_s is None else iso_utc(now_wall_s + frees_in_s),
    )
