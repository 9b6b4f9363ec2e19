"""One run of a batch: take up what is left, submit what fits, follow, collect, say how it stands."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from decimal import Decimal

from batch_runner import catalog
from batch_runner.budgets import Shortage
from batch_runner.clock import Clock
from batch_runner.download import make_batch_folder
from batch_runner.errors import AccountError, DiskError, DiskFullError, ExitCode, NotDurableError, StoppedError
from batch_runner.events import BatchFinished, BatchStarted, ItemFinished
from batch_runner.lifecycle import LIVE, Event, State
from batch_runner.records import ItemCounts, RequestCounts, SummaryRecord
from batch_runner.runner.adoption import adopt_from_account
from batch_runner.runner.closing import closing_words
from batch_runner.runner.context import Collecting, Context
from batch_runner.runner.crew import first_of_ours, work_through
from batch_runner.runner.derived import tell_files_away, write_derived
from batch_runner.runner.halt import Halt, HaltedError
from batch_runner.runner.lineless import Lineless, is_left_to_tell, is_owed, told
from batch_runner.runner.lists import BatchLists
from batch_runner.runner.poller import Poller
from batch_runner.runner.sources import body_to_send
from batch_runner.runner.strays import stray_text, strays_of, with_strays
from batch_runner.runner.supply import told_within
from batch_runner.store import Attempt, Batch, Facts, RunRow, Store

_SUPPLY_TIMEOUT_S = 20.0


async def has_work(store: Store, batch: Batch, lists: BatchLists, *, retry_failed: bool) -> bool:
    """Whether a run would have anything to do; a finished batch needs neither keys nor a request."""
    counts = await store.counts(batch)
    left = counts.pending + counts.unknown + (counts.failed if retry_failed else 0)
    states = [*sorted(LIVE), *([State.ASSET_GONE] if retry_failed else [])]
    is_open = bool(left) or bool(await store.in_states(batch, states))
    return is_open or await is_left_to_tell(store, batch, lists)


def exit_code(counts: ItemCounts, halt: Halt, *, is_blocked: bool) -> ExitCode:
    """What the run's end means for a script (contract: exit codes); the most pressing reason wins.

    What ended submissions counts only where it left something undone, except a disk whose sync failed: on that one
    nobody knows what has been kept.
    """
    is_unfinished = bool(counts.pending + counts.unknown)
    if isinstance(halt.error, NotDurableError):
        return halt.error.exit_code
    if is_unfinished and halt.error and halt.error.exit_code in {ExitCode.ACCOUNT, ExitCode.DISK}:
        return halt.error.exit_code
    if is_unfinished and halt.is_leaving:
        return ExitCode.STOPPED
    if counts.unknown:
        return ExitCode.UNRESOLVED
    if counts.pending:
        noted = halt.noted.exit_code if halt.noted else ExitCode.STOPPED
        return ExitCode.BUDGET if is_blocked else noted
    return ExitCode.ITEMS_FAILED if counts.failed else ExitCode.OK


class Run:
    """One start of the program on one batch.

    Args:
        context: the parts it works with.
        collector: brings finished files home.
        clock: wall time, for the summary.
        manifest: the manifest's path as the user gave it.
        rpm: requests allowed in any 60 s; 0 is no limit.
        retry_failed: whether definitely failed items get a new attempt.
        max_runtime_s: after this long the run leaves, or None.
    """

    def __init__(
        self,
        context: Context,
        collector: Collecting,
        *,
        clock: Clock,
        manifest: str,
        rpm: int,
        retry_failed: bool,
        max_runtime_s: float | None,
    ) -> None:
        self._context = context
        self._collector = collector
        self._clock = clock
        self._manifest = manifest
        self._rpm = rpm
        self._retry_failed = retry_failed
        self._max_runtime_s = max_runtime_s
        self._shortages: tuple[Shortage, ...] = ()
        self._lineless = Lineless()

    async def __call__(self) -> SummaryRecord:
        """Run to the end that is possible now, record it, and write the derived files.

        Raises:
            ManifestError: the account has tasks of lines that were edited since; nothing was sent.
            DiskError: the store or the folder cannot be written.
        """
        loop = asyncio.get_running_loop()
        began_s, started_at = loop.time(), self._clock.wall_s()
        timer = None
        if self._max_runtime_s is not None:
            text = f"the --max-runtime of {self._max_runtime_s:,.10g} s is over: run the same command again to go on"
            timer = loop.call_later(self._max_runtime_s, self._context.halt.leave, StoppedError(text))
        try:
            await self._context.halt.unless_abandoned(self._work())
        except HaltedError:
            pass  # what was under way stands as it is, which is told like everything else
        except BaseExceptionGroup as group:
            error = first_of_ours(group)
            if error is None:
                raise
            raise error from None
        finally:
            if timer is not None:
                timer.cancel()
        return await self._record(started_at, loop.time() - began_s)

    async def _work(self) -> None:
        context = self._context
        # Before anything is spent: where the files of this batch go must be a folder of ours.
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, make_batch_folder, context.output_dir, context.batch.name)
        if context.calls is not None:
            await context.calls.begin(context.store)
        full = await self._note_lists()
        if self._retry_failed:
            await context.store.queue_failed(context.batch)
        await self._tell_start()
        if not await self._search_account():
            return
        if full is not None:
            context.halt.submit_no_more(full)
        if context.policy.repeat_lost:
            await self._give_up_lost()
        poller = Poller(context, self._rpm)
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(told_within(context, _SUPPLY_TIMEOUT_S), name="supply")
            work = work_through(context, poller, self._collector, body_to_send, with_gone_assets=self._retry_failed)
            self._shortages = await work
            telling.cancel()

    async def _note_lists(self) -> DiskFullError | None:
        """Note what a lost store would take along, before anything is submitted; what a full disk says to that."""
        context = self._context
        try:
            if context.lists is not None:
                await context.lists.note(await context.store.kinds(context.batch))
        except DiskFullError as error:
            return error
        return None

    async def _give_up_lost(self) -> None:
        """At the user's word, count calls whose answers were lost as paid, and let them be made again."""
        context = self._context
        for attempt in await context.store.in_states(context.batch, [State.SENDING, State.UNKNOWN]):
            if catalog.route(attempt.kind, attempt.model).is_sync:
                if attempt.state is State.SENDING:
                    await context.apply(attempt, Event.LOSE_ANSWER)
                await context.apply(attempt, Event.GIVE_UP, Facts(reason="unresolved"))
                await context.store.queue_item(context.batch, attempt.item_id)

    async def _search_account(self) -> bool:
        """Adopt what a lost store forgot; False when that was not possible and nothing may be submitted."""
        halt = self._context.halt
        try:
            self._lineless = await halt.unless(adopt_from_account(self._context))
        except HaltedError:
            return False
        except (AccountError, StoppedError) as error:
            if not halt.is_leaving:  # else it has been said
                self._context.notice(str(error), urgent=True)
            halt.leave(error)
            return False
        return True

    async def _tell_start(self) -> None:
        context = self._context
        counts = await context.store.counts(context.batch)
        done = counts.succeeded + counts.failed
        context.observer(
            BatchStarted(
                context.batch.name,
                context.batch.sandbox,
                counts.total,
                done,
                context.limiter.max_concurrent,
                self._rpm,
            )
        )

    async def _record(self, started_at: float, wall_s: float) -> SummaryRecord:
        context, halt = self._context, self._context.halt
        halt.conclude()
        code = exit_code(await self._counts(), halt, is_blocked=bool(self._shortages))
        queued = halt.reason if halt.is_set else "budget" if self._shortages else "stopped"
        await context.store.give_reasons(context.batch, queued, halt.reason_in_flight)
        run = self._row(code, started_at, wall_s)
        await context.store.save_run(context.batch, run)
        if isinstance(halt.error, NotDurableError):
            raise halt.error  # not another file, not another sync on a disk that failed
        summary = await self._write_derived(run)
        if code is ExitCode.UNRESOLVED and self._lineless.count and self._lineless.is_all:
            await told(context, self._lineless)
        context.observer(BatchFinished(code, await self._closing_words(summary)))
        return summary

    async def _counts(self) -> ItemCounts:
        """How the items stand, with what is no item's any more; those that can never begin have failed."""
        context = self._context
        for item_id, message in await context.store.fail_dependents(context.batch):
            context.observer(ItemFinished(item_id, "failed", "source", message))
        strays = await strays_of(context.store, context.batch)
        for stray in strays:
            context.notice(stray_text(stray), urgent=True)
        counts = with_strays(await context.store.counts(context.batch), strays, self._lineless.count)
        if self._lineless.is_all or not await is_owed(context.store, context.batch):
            return counts
        return replace(counts, pending=counts.pending + 1)  # a search that the next run has to make

    def _row(self, code: ExitCode, started_at: float, wall_s: float) -> RunRow:
        return RunRow(
            manifest=self._manifest,
            budget=dict(self._context.budgets),
            exit_code=code,
            requests=asdict(self._context.client.requests),
            started_at=started_at,
            finished_at=self._clock.wall_s(),
            wall_s=round(wall_s, 3),
        )

    async def _write_derived(self, run: RunRow) -> SummaryRecord:
        store, batch = self._context.store, self._context.batch
        try:
            derived = await write_derived(store, batch, self._context.output_dir)
        except DiskError as error:
            if not isinstance(error, NotDurableError):  # else nothing more is written; the store knows the rest
                await store.save_run(batch, replace(run, exit_code=ExitCode.DISK))
            raise
        assert derived is not None
        await tell_files_away(derived.results, self._context.output_dir, self._context.observer)
        return derived.summary

    async def _closing_words(self, summary: SummaryRecord) -> str:
        halt, open_ = self._context.halt, await self._context.store.in_states(self._context.batch, [State.UNKNOWN])
        unaskable = sum(catalog.route(attempt.kind, attempt.model).is_sync for attempt in open_)
        is_noted_why = halt.noted is not None and halt.noted.exit_code == summary.exit_code
        return closing_words(
            summary,
            halt.error or (halt.noted if is_noted_why else None),
            self._shortages,
            gone=len(self._lineless.gone),
            made_anew=len(self._lineless.made_anew),
            is_askable=unaskable < summary.items.unknown,
        )


async def record_idle(
    store: Store, batch: Batch, strays: Sequence[Attempt], *, manifest: str, budget: Mapping[str, Decimal], clock: Clock
) -> None:
    """Record a run that had nothing to do, unless the newest run already says how the batch stands."""
    counts = await store.counts(batch)
    code = exit_code(with_strays(counts, strays), Halt(), is_blocked=False)
    summary = await store.summary(batch)
    if summary is not None and (summary.exit_code, summary.items.total) == (code, counts.total):
        return
    now = clock.wall_s()
    await store.save_run(batch, RunRow(manifest, dict(budget), code, asdict(RequestCounts()), now, now, 0.0))
