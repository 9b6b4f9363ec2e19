"""``report``: the derived files written anew."""

from __future__ import annotations

from pathlib import Path

from batch_runner.answer import Answer
from batch_runner.errors import UsageError
from batch_runner.folder import held_folder
from batch_runner.looking import batches_of, reader_path
from batch_runner.runner import write_files
from batch_runner.settings import Settings
from batch_runner.store import StoreReader


def report(manifest: Path, settings: Settings) -> Answer:
    """Write the derived files anew from ``state.db`` and say where the page is.

    Raises:
        OutputFolderLockedError: a run is going on; it writes them itself when it ends.
        StoreError: ``state.db`` is damaged; the files stay as the last run wrote them.
    """
    state_path = reader_path(settings)
    with held_folder(settings.output_dir), StoreReader.open(state_path) as reader:
        reader.require_sound()
        batch = batches_of(reader, manifest, settings)[0]
        summary = reader.summary(batch)
        if summary is None:
            raise UsageError(f"no run of {batch.name!r} has ended yet; there is nothing to report; run it first")
        results, entries = reader.results(batch), reader.ledger(batch)
        path = write_files(settings.output_dir, summary, results, entries)
    return Answer([str(path)], {"batch": batch.name, "report": str(path)})
