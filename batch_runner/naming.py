"""Which batch a manifest and the settings mean: its name, and the realm in which its tasks live."""

from __future__ import annotations

from pathlib import Path

from batch_runner.errors import UsageError
from batch_runner.model import Realm
from batch_runner.settings import Settings, check_batch_name

SANDBOX_SUFFIX = "-sandbox"
STDIN = Path("-")
"""What stands for standard input where a manifest's path is asked for."""


def batch_name(manifest_path: Path, settings: Settings) -> str:
    """The folder of the batch below the output folder. A simulated batch lives apart from a real one.

    Raises:
        UsageError: the name cannot be a folder's.
    """
    if manifest_path == STDIN and settings.name is None:
        raise UsageError("standard input has no name that the batch could take: add --name NAME")
    if settings.name is None and manifest_path.name in {"", ".."}:
        raise UsageError(
            f"{manifest_path} is a folder, not a manifest; name a file of items, such as prompts/demo.jsonl"
        )
    try:
        name = check_batch_name(manifest_path.stem if settings.name is None else settings.name)
    except ValueError as error:
        raise UsageError(f"the batch takes its name from the manifest: {error}; or choose one with --name") from None
    if name.endswith(SANDBOX_SUFFIX):
        raise UsageError(f"the batch's name {name!r} ends in {SANDBOX_SUFFIX}, which is kept for simulated batches")
    return name + SANDBOX_SUFFIX if settings.sandbox else name


def realm_of(settings: Settings) -> Realm:
    """Where the tasks of a run with these settings live."""
    if settings.sandbox:
        return Realm.SANDBOX
    return Realm.LOCAL if settings.base_url.startswith("http://") else Realm.REAL
