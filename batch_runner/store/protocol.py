"""What every store must do: one method, one transaction. The conformance suite holds each backend to it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Protocol

from batch_runner.budgets import Purse, RollingBudget
from batch_runner.ledger import Balances
from batch_runner.lifecycle import Event, ExternalId, State
from batch_runner.model import Item, Realm
from batch_runner.records import ItemCounts, LedgerRecord, ResultRecord, SummaryRecord
from batch_runner.store.rows import (
    Attempt,
    Batch,
    Claim,
    Facts,
    FoundTask,
    HoldAge,
    LeftRow,
    OpenRow,
    RunRow,
    Source,
    Stamp,
    StoredFile,
)


class Store(Protocol):
    """The only truth about all batches of an output folder. Every method is durable when it returns."""

    async def load_batch(
        self,
        name: str,
        *,
        realm: Realm,
        manifest: str,
        items: Callable[[], Iterable[Item]],
        has_past: bool = False,
        budgets: Mapping[str, Decimal] = MappingProxyType({}),
    ) -> Batch:
        """Make the batch mirror the manifest; no write happens if it already does.

        The hold of an edited line of which nothing was sent is given back: ``budgets`` stand in its entry.
        ``has_past`` says of a batch that is new here that an earlier store knew it, and was lost, or stayed elsewhere.

        Raises:
            ManifestError: lines were edited whose attempt is under way or paid; nothing is changed.
            UsageError: the batch lives in another realm; nothing is changed.
        """

    async def known_batch(self, name: str, realm: Realm) -> Batch | None:
        """The batch of that name as the last run left it, or None.

        Raises:
            UsageError: the batch lives in another realm.
        """

    async def queue_failed(self, batch: Batch) -> None:
        """Queue every item again that definitely ended without a video."""

    async def queue_item(self, batch: Batch, item_id: str) -> None:
        """Queue one failed item again."""

    async def unlooked_kinds(self, batch: Batch) -> list[tuple[str, str]]:
        """Products and models whose queued items still need the account searched for earlier tasks."""

    async def kinds(self, batch: Batch) -> list[tuple[str, str]]:
        """Products and models of all lines, and of what ever had an attempt."""

    async def unlooked_items(self, batch: Batch, kind: str, model: str) -> list[tuple[str, str]]:
        """Id and fingerprint of such items of a product and model."""

    async def unlooked_bodies(self, batch: Batch, kind: str, model: str) -> Mapping[str, str]:
        """The fields of such items, as JSON, by id."""

    async def adopt(
        self,
        batch: Batch,
        found: Sequence[FoundTask],
        budgets: Mapping[str, Decimal],
        unsettled: Collection[str] = (),
    ) -> int:
        """Take up tasks found on the account, and let the searched items be submitted; returns how many.

        Items of which the account does not tell, ``unsettled`` by id, still need the search.

        Raises:
            ManifestError: a found task was made from another text than its line has now; nothing is changed.
        """

    async def without_line(self, batch: Batch, found: Sequence[FoundTask]) -> Mapping[str, bool]:
        """Those of the tasks found that live or were paid for, unknown here, and belong to no line as it is now.

        By task id, whether the line was made anew since, so that it cannot be put back as it was.
        """

    async def has_unknown(self, names: Sequence[ExternalId]) -> bool:
        """Whether any of these is the name of no attempt here."""

    async def unlooked_calls(self, batch: Batch) -> list[tuple[str, str]]:
        """Id and product of items that a lost store may have paid for and no account can tell of."""

    async def recover_call(
        self,
        batch: Batch,
        item_id: str,
        files: Sequence[StoredFile],
        budgets: Mapping[str, Decimal],
        rolling: Sequence[RollingBudget] = (),
    ) -> Attempt | None:
        """Take up such an item: finished where ``files`` are here, else of unknown fate; it counts at its price.

        None, and nothing is changed, where some budget has no room for the hold of one of unknown fate.
        """

    async def clear_call(self, batch: Batch, item_id: str) -> None:
        """Let such an item be submitted: it is known that nobody ever did."""

    async def begun_items(self, batch: Batch) -> list[str] | None:
        """Every item that ever had an attempt; None where a lost store knew of others, or no item is a call."""

    async def claim_next(
        self, batch: Batch, budgets: Mapping[str, Decimal], slots: int = 1, rolling: Sequence[RollingBudget] = ()
    ) -> Claim:
        """Mint the next item's attempt in state READY and hold its credits, if ``slots`` and every budget allow.

        ``rolling`` budgets count charges and open holds of every batch in the folder that lives in the same realm.
        """

    async def source(self, batch: Batch, item_id: str) -> Source | None:
        """What a finished item left for those that take its results, or None when it is not finished."""

    async def has_answered_another(self, attempt: Attempt, task_id: str, made: Mapping[str, Any]) -> bool:
        """Whether a recent attempt that asked for something else was answered with this id, or these."""

    async def owners(self, batch: Batch, task_ids: Collection[str]) -> Mapping[str, Collection[str]]:
        """The external ids of the attempts that have these tasks, by task, in all batches of the batch's realm.

        Not one that is missing, where its product's lists would say whose a task is: it was answered with somebody
        else's.
        """

    async def fail_dependents(self, batch: Batch) -> list[tuple[str, str]]:
        """Fail every queued item of which a source failed; returns the id and the message of each."""

    async def in_states(self, batch: Batch, states: Sequence[State]) -> list[Attempt]:
        """The batch's attempts in these states."""

    async def in_flight_elsewhere(self, batch: Batch) -> list[Attempt]:
        """Attempts of the folder's other batches in the same realm whose task may be in flight."""

    async def hold_ages(self, batch: Batch) -> dict[int, HoldAge]:
        """How long ago the holds that are open were made, by attempt."""

    async def apply(
        self, attempt: Attempt, event: Event, budgets: Mapping[str, Decimal], facts: Facts = Facts()
    ) -> Attempt:
        """Record an event with its money.

        Raises:
            IllegalEventError: the event cannot happen in the attempt's recorded state; nothing is changed.
        """

    async def mark(self, attempt: Attempt, reason: str, message: str | None = None) -> None:
        """Note why the attempt's item waits."""

    async def put_aside(self, attempt: Attempt) -> None:
        """Let the attempt's item, once it is queued, wait until its lines are loaded again, which the next run does."""

    async def give_reasons(self, batch: Batch, queued: str | None, active: str | None) -> None:
        """Say of every unfinished item why this run leaves it there."""

    async def record_file(self, attempt: Attempt, file: StoredFile) -> None:
        """Make a file's digest durable before it gets its final name."""

    async def files_of(self, attempt: Attempt) -> list[StoredFile]:
        """The attempt's recorded files."""

    async def balances(self, batch: Batch, pack: str) -> Balances:
        """The pack's balances in this batch."""

    async def purse(
        self, batch: Batch, pack: str, budgets: Mapping[str, Decimal], rolling: Sequence[RollingBudget] = ()
    ) -> Purse:
        """All that limits another hold of the pack in this batch, and how it stands."""

    async def left(self, batch: Batch) -> list[LeftRow]:
        """What waits to be submitted, alike items together."""

    async def open_rows(self, batch: Batch, *, with_failed: bool) -> list[OpenRow]:
        """The items that wait or are under way, and those that failed if they are to be tried again."""

    async def counts(self, batch: Batch) -> ItemCounts:
        """How many items stand where."""

    async def results(self, batch: Batch) -> list[ResultRecord]:
        """One record an item, in manifest order."""

    async def ledger(self, batch: Batch) -> list[LedgerRecord]:
        """One record an entry, oldest first."""

    async def save_run(self, batch: Batch, run: RunRow) -> None:
        """Keep what this run's summary says."""

    async def summary(self, batch: Batch) -> SummaryRecord | None:
        """The summary as the newest run left it."""

    async def stamps(self, scope: str) -> list[Stamp]:
        """Recent API requests that count against this limit."""

    async def add_stamp(self, scope: str, stamp: Stamp, keep: int) -> None:
        """Remember a request before it is let go."""

    async def close(self) -> None:
        """Finish what is under way and let go of the file."""
