"""Fewer files than a line asks for: how many it asks for, and what is told where a task made only some. Pure."""

from __future__ import annotations

import json

from batch_runner import catalog
from batch_runner.store import Attempt
from batch_runner.wording import plural


def files_asked(attempt: Attempt) -> int:
    """How many files its task makes at least, as far as the body says so; else 1."""
    return catalog.made_files(attempt.kind, json.loads(attempt.body)).fewest


def shortfall_text(asked: int, made: int) -> str | None:
    """What happened and what to do, for a person; None where nothing is missing."""
    if made >= asked:
        return None
    return (
        f"it asked for {plural(asked, 'file')} and the service made {made:,}, kept here; `ledger` lists what that was"
        " charged (claim it from Kling if it is too much), and a new line, with an id of its own, makes the rest"
    )


def fewer_now_text(named: int, recorded: int) -> str | None:
    """How many files an answer names where an earlier one named more, for a person; None where it names as many."""
    return None if named >= recorded else f"its task names {plural(named, 'file')} now, and named {recorded:,} before"
