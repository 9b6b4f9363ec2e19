"""``run`` at a terminal: the manifest read, progress shown, signals heard step by step."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from batch_runner import api, progress
from batch_runner.intake import manifest_of
from batch_runner.interruption import Interruption
from batch_runner.manifest import Manifest
from batch_runner.records import SummaryRecord
from batch_runner.runner import Halt
from batch_runner.settings import Settings
from batch_runner.stopping import in_steps


def run(path: Path, settings: Settings, interruption: Interruption) -> SummaryRecord:
    """What a run of this manifest came to; see ``api.run``.

    Raises:
        BatchRunnerError: it could not begin, or was cancelled.
        KeyboardInterrupt: a signal came while the manifest was read from standard input.
    """
    manifest = interruption.at_once(lambda: manifest_of(path, settings))
    return asyncio.run(_run(manifest, settings, interruption))


async def _run(manifest: Manifest, settings: Settings, interruption: Interruption) -> SummaryRecord:
    halt = Halt()
    shown = progress.choose(sys.stderr, quiet=settings.quiet, in_notebook=False)
    work = api.run_settings(manifest, settings, environ=os.environ, observer=shown, halt=halt)
    try:
        return await in_steps(work, halt, interruption)
    finally:
        shown.close()
