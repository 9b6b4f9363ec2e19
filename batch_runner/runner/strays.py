"""Items whose line left the manifest while their video was paid for: followed, collected and told all the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from batch_runner.lifecycle import LIVE, State, item_status
from batch_runner.records import ItemCounts
from batch_runner.store import Attempt, Batch, Store


async def strays_of(store: Store, batch: Batch) -> list[Attempt]:
    """The attempts of such items that live, or were paid for without a file."""
    attempts = await store.in_states(batch, [*sorted(LIVE), State.ASSET_GONE])
    return [attempt for attempt in attempts if not attempt.in_manifest]


def stray_text(stray: Attempt) -> str:
    """Where such an item stands and what to do, for a person."""
    return f"{stray.item_id}: its line left the manifest, but its task is {_STANDS[item_status(stray.state)]}"


def with_strays(counts: ItemCounts, strays: Sequence[Attempt], lineless: int = 0) -> ItemCounts:
    """The counts that decide the exit code: the manifest's, those of such items, and tasks that have no line at all."""
    words = Counter(item_status(stray.state) for stray in strays)
    return replace(
        counts,
        pending=counts.pending + words["pending"],
        unknown=counts.unknown + words["unknown"] + lineless,
        failed=counts.failed + words["failed"],
    )


_STANDS = {
    "pending": "still to be collected; run the same command again",
    "unknown": "still to be settled; run the same command again",
    "failed": "paid for without a file (--retry-failed asks for it again)",
}
