"""Which lines may not be edited any more, and how that is told: to a run, which refuses them, and to a plan."""

from __future__ import annotations

import sqlite3

from batch_runner.errors import Problem
from batch_runner.model import Item

NEWEST = (
    "LEFT JOIN attempts a ON a.item_key = i.item_key"
    " AND a.number = (SELECT max(number) FROM attempts WHERE item_key = i.item_key)"
)
"""Joins each item's newest attempt, if it has one."""


def taken_as(row: sqlite3.Row) -> str | None:
    """How an item stands that must keep its line as it was (finished, paid or under way), or None if it need not.

    An attempt that was never sent takes nothing.
    """
    if row["status"] == "succeeded":
        return "finished"
    if is_unsent(row):
        return None
    return "paid or under way" if row["status"] == "active" or row["state"] == "asset_gone" else None


def is_unsent(row: sqlite3.Row) -> bool:
    """Whether credits are held for an item of which nothing was sent."""
    return bool(row["state"] == "ready" and not row["sends"])


def edited(item: Item, taken: str) -> Problem:
    """A line that was edited though its attempt is ``taken``."""
    return Problem(
        item.line,
        "id",
        f"{item.id!r} was edited, but the video of its earlier text is already {taken}",
        "put the line back as it was, or give the edited line an id of its own",
    )
