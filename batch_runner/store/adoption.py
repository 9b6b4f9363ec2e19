"""What a lost ``state.db`` forgot: tasks that the account still has, and calls that nobody can ask for again."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from decimal import Decimal

from batch_runner import catalog
from batch_runner.errors import Problem
from batch_runner.lifecycle import Event, ExternalId
from batch_runner.model import TaskStatus
from batch_runner.store import attempts, windows
from batch_runner.store.attempts import mint
from batch_runner.store.edits import NEWEST, taken_as
from batch_runner.store.rows import Attempt, Facts, FoundTask, StoredFile, Terms


def unlooked_kinds(db: sqlite3.Connection, batch_id: int) -> list[tuple[str, str]]:
    """Products and models of queued items for which the account has not been searched yet."""
    rows = db.execute(f"SELECT DISTINCT kind, model FROM items {_ASKING} ORDER BY kind, model", (batch_id,))
    found = [(row["kind"], row["model"]) for row in rows]
    return [(kind, model) for kind, model in found if not catalog.route(kind, model).is_sync]


def unlooked_items(db: sqlite3.Connection, batch_id: int, kind: str, model: str) -> list[tuple[str, str]]:
    """Id and fingerprint of the items of a product and model for which the account has not been searched yet."""
    query = f"SELECT item_id, fingerprint FROM items {_ASKING} AND kind = ? AND model = ? ORDER BY line"
    return [(row["item_id"], row["fingerprint"]) for row in db.execute(query, (batch_id, kind, model))]


def unlooked_bodies(db: sqlite3.Connection, batch_id: int, kind: str, model: str) -> dict[str, str]:
    """The fields of those items, as JSON, by id."""
    query = f"SELECT item_id, body FROM items {_ASKING} AND kind = ? AND model = ? ORDER BY line"
    return {row["item_id"]: row["body"] for row in db.execute(query, (batch_id, kind, model))}


_ASKING = "WHERE batch_id = ? AND looked = 0 AND in_manifest = 1"
"""Lines that the account is to be searched for; not removed ones, whose products nobody asks for: they may return."""


def edited_since(db: sqlite3.Connection, batch_id: int, found: Sequence[FoundTask]) -> list[Problem]:
    """Lines whose live or finished task on the account was made from another text."""
    problems = []
    newest = _newest_live(found)
    for task in found:
        row = _asking(db, batch_id, task.name)
        if row is None or task.task.status == "failed" or task.name.number < newest[task.name.item]:
            continue
        if row["fingerprint"][:8] != task.name.content:
            what = f"{row['item_id']!r} was edited, but the account already has a video of its earlier text"
            hint = "put the line back, give it an id of its own, or use another --name"
            problems.append(Problem(row["line"], "id", what, hint))
    return problems


def adopt(db: sqlite3.Connection, batch_id: int, found: Sequence[FoundTask], terms: Terms) -> int:
    """Take up tasks that the account has and a lost ``state.db`` forgot; returns how many.

    Failed ones come first and are settled at once: their holds must not stand beside those of live tasks.
    """
    count = 0
    newest = _newest_live(found)
    for task in sorted(_one_a_number(found), key=lambda each: (_is_live(each), each.name.number)):
        item = _asking(db, batch_id, task.name)
        if item is None or _known(db, str(task.name)):
            continue
        count += 1
        attempt = mint(db, item, task.name, terms)
        if _is_live(task) and task.name.number < newest[task.name.item]:
            _count_as_paid(db, attempt, task, terms)
            continue
        attempts.apply(db, attempt.attempt_id, Event.ACCEPT, Facts(task_id=task.task.task_id), terms)
        if task.task.status is TaskStatus.FAILED:
            facts = Facts(charged=task.task.charged, reason=task.reason, error_message=task.task.message)
            attempts.apply(db, attempt.attempt_id, Event.FAIL, facts, terms)
            _forgive_other_text(db, item, task.name)
    return count


def without_line(db: sqlite3.Connection, batch_id: int, found: Sequence[FoundTask]) -> dict[str, bool]:
    """Those of these tasks that live or were paid for, unknown here, and belong to no line as it is in the manifest.

    Returns:
        By task id, whether the line was made anew since, so that it cannot be put back as it was.
    """
    query = f"SELECT i.*, a.state, a.sends FROM items i {NEWEST} WHERE batch_id = ? AND digest = ?"
    without = {}
    for task in found:
        row = db.execute(query, (batch_id, task.name.item)).fetchone()
        has_line = row is not None and row["in_manifest"] and row["fingerprint"][:8] == task.name.content
        if _is_live(task) and not _known(db, str(task.name)) and not has_line:
            without[task.task.task_id] = row is not None and taken_as(row) is not None
    return without


def has_unknown(db: sqlite3.Connection, names: Sequence[ExternalId]) -> bool:
    """Whether any of these is the name of no attempt here."""
    return not all(_known(db, str(name)) for name in names)


def _is_live(found: FoundTask) -> bool:
    return found.task.status is not TaskStatus.FAILED


def _newest_live(found: Sequence[FoundTask]) -> dict[str, int]:
    """The number of each item's newest task that lives or was paid for, by the digest of the item."""
    newest: dict[str, int] = {}
    for task in filter(_is_live, found):
        newest[task.name.item] = max(task.name.number, newest.get(task.name.item, 0))
    return newest


def _count_as_paid(db: sqlite3.Connection, attempt: Attempt, task: FoundTask, terms: Terms) -> None:
    """A task that lives or was paid for, and was followed by another of its item all the same, at the user's word.

    One that still runs counts at its estimate, and is not waited for.
    """
    facts = Facts(task_id=task.task.task_id, charged=task.task.charged, reason="unresolved")
    for event in (Event.SEND, Event.LOSE_ANSWER):
        attempts.apply(db, attempt.attempt_id, event, Facts(), terms)
    attempts.apply(db, attempt.attempt_id, Event.GIVE_UP, facts, terms)


def _one_a_number(found: Sequence[FoundTask]) -> list[FoundTask]:
    """One task for each item and number: after an edit two texts can share one, and the one that is paid counts.

    A failed one that follows a task which is paid for is left out, with its charge if it had one: the paid one is the
    item's, and its newest.
    """
    newest = _newest_live(found)
    chosen: dict[tuple[str, int], FoundTask] = {}
    for task in found:
        key = (task.name.item, task.name.number)
        if task.name.number > newest.get(task.name.item, task.name.number):
            continue
        if key not in chosen or _is_live(task):
            chosen[key] = task
    return list(chosen.values())


def _forgive_other_text(db: sqlite3.Connection, item: sqlite3.Row, name: ExternalId) -> None:
    """The failure of another text is not the line's: as after any edit, it is queued."""
    if item["fingerprint"][:8] != name.content:
        query = "UPDATE items SET status = 'queued', reason = NULL, error_message = NULL WHERE item_key = ?"
        db.execute(query, (item["item_key"],))


def _asking(db: sqlite3.Connection, batch_id: int, name: ExternalId) -> sqlite3.Row | None:
    """The line that a found task belongs to, if the account is being searched for it."""
    query = f"SELECT * FROM items {_ASKING} AND digest = ?"
    row: sqlite3.Row | None = db.execute(query, (batch_id, name.item)).fetchone()
    return row


def _known(db: sqlite3.Connection, external_task_id: str) -> bool:
    query = "SELECT 1 FROM attempts WHERE external_task_id = ?"
    return db.execute(query, (external_task_id,)).fetchone() is not None


def mark_looked(db: sqlite3.Connection, batch_id: int, unsettled: Collection[str]) -> None:
    """The account was searched: queued items may be submitted, but for those, and calls, of which it does not tell."""
    for kind, model in unlooked_kinds(db, batch_id):
        open_ids = [item_id for item_id, _ in unlooked_items(db, batch_id, kind, model) if item_id in unsettled]
        db.execute(f"UPDATE items SET looked = 1 {_ASKING} AND kind = ? AND model = ?", (batch_id, kind, model))
        query = "UPDATE items SET looked = 0 WHERE batch_id = ? AND item_id = ?"
        db.executemany(query, ((batch_id, item_id) for item_id in open_ids))


def unlooked_calls(db: sqlite3.Connection, batch_id: int) -> list[tuple[str, str]]:
    """Id and product of the items that a lost store may have paid for, and of which no account can tell."""
    rows = db.execute(f"SELECT item_id, kind, model FROM items {_ASKING} ORDER BY line", (batch_id,))
    return [(row["item_id"], row["kind"]) for row in rows if catalog.route(row["kind"], row["model"]).is_sync]


def recover_call(
    db: sqlite3.Connection, batch_id: int, item_id: str, files: Sequence[StoredFile], terms: Terms
) -> Attempt | None:
    """Take up an item that is answered at once: finished where its files are here, else of unknown fate.

    Either way it counts at its price, for a lost store cannot tell what it cost. None, and nothing is changed, where
    its fate is unknown and the budget has no room for it.
    """
    item = db.execute(
        "SELECT i.*, b.name FROM items i JOIN batches b USING (batch_id) WHERE batch_id = ? AND item_id = ?",
        (batch_id, item_id),
    ).fetchone()
    purse = windows.purse(db, batch_id, item["pack"], terms)
    if not files and not purse.fits(terms.book.with_buffer(Decimal(item["credits"]))):
        return None
    query = "SELECT coalesce(max(number), 0) + 1 FROM attempts WHERE item_key = ?"
    number = db.execute(query, (item["item_key"],)).fetchone()[0]  # it may have failed as another product
    attempt = mint(db, item, ExternalId.of(item["name"], item_id, number, item["fingerprint"]), terms)
    for file in files:
        attempts.record_file(db, attempt.attempt_id, file)
    for event in (Event.SEND, *((Event.SUCCEED, Event.PUBLISH) if files else (Event.LOSE_ANSWER,))):
        attempt = attempts.apply(db, attempt.attempt_id, event, Facts(), terms)
    db.execute("UPDATE items SET looked = 1 WHERE item_key = ?", (item["item_key"],))
    return attempt


def clear_call(db: sqlite3.Connection, batch_id: int, item_id: str) -> None:
    """Let an item that is answered at once be submitted: it is known that nobody ever did."""
    db.execute("UPDATE items SET looked = 1 WHERE batch_id = ? AND item_id = ?", (batch_id, item_id))
