"""The wide story: every product, chains, calls, rolling budgets, short packs, stuck tasks, low disks, harmed files."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

from doors_kit import free_port
from simulation import Simulation
from simulation_audit import store_of
from simulation_bodies import Asked, audit_facts
from simulation_books import item_digest, most_charged
from simulation_clocks import hides_ages
from simulation_families import ALL, FIRST, Line, retold, sources
from simulation_harm import ROOM, HarmedStory
from simulation_rare import RARE, RARE_FIRST
from simulation_scenario import WEBHOOK_SECRET, rolling_budgets
from simulation_story import QUIET
from simulation_stuck import Stuck
from simulation_supply import times_unpaid, wait_for_pack

from batch_runner.errors import ExitCode
from batch_runner.records import SummaryRecord

_RICH = 1000
_RARE_SHARE = 0.7


class WideStory(HarmedStory):
    """Batches of families of lines, for which more can be promised, and less."""

    _rounds: tuple[int, ...] = (1, 2, 3, 4, 6)
    _runs_to_the_end = 40
    _prefix = "item"

    def __init__(self, simulation: Simulation) -> None:
        self._wide = dice = simulation.dice("wide")
        self._kinds = FIRST
        if dice.random() < 0.6:
            self._kinds, simulation.environ = ALL, {"KLING_API_KEY": simulation.sandbox.api_key}
        rare = RARE if self._kinds is ALL else RARE_FIRST
        self._rare = rare if simulation.scenario.has_rare_families else {}
        self._families = 0
        self._asked = Asked(simulation)
        simulation.batch.item_of = self._asked.item_of
        if simulation.scenario.webhook_secrets:
            simulation.environ |= {"KLING_WEBHOOK_SECRET": WEBHOOK_SECRET}
        self._is_poor = simulation.scenario.world.pack_credits < _RICH
        self._repeats = dice.random() < 0.6
        self._images: int | None = dice.choice([None, None, dice.randint(4, 60)])
        self.rolling = rolling_budgets(dice) if dice.random() < 0.4 else {}
        self._is_ending = False
        self._stuck = Stuck(simulation)
        super().__init__(simulation)

    def _first_lines(self) -> list[Line]:
        return [line for _ in range(self._simulation.scenario.items) for line in self._family()]

    def _family(self) -> list[Line]:
        name = f"{self._prefix}-{self._families}"
        self._families += 1
        kinds = self._rare if self._rare and self._wide.random() < _RARE_SHARE else self._kinds
        lines = kinds[self._wide.choice(sorted(kinds))](name, self._wide)
        lines = [self._stuck.marked(line) for line in lines]
        return [{**line, "priority": self._wide.randrange(3)} if self._wide.random() < 0.1 else line for line in lines]

    def _write(self) -> None:
        super()._write()
        self._asked.note(self._lines)
        self._simulation.settings_path = self._simulation.folder / "batch_runner.toml"
        budgets = [f"{pack}={most}/{window_s}s" for (pack, window_s), most in self.rolling.items()]
        self._simulation.settings_path.write_text(f"rolling_budget = {json.dumps(budgets)}\n", encoding="utf-8")

    # --- the manifest ---------------------------------------------------------------------------------------

    def _retold(self, line: Line, take: int) -> Line:
        return retold(line, take)

    def _add_line(self) -> None:
        at = self._wide.randint(0, len(self._lines))
        self._lines[at:at] = self._family()
        self.tally["added families"] += 1

    def _remove_line(self) -> None:
        """Alone, which is refused if others take its result; or with those."""
        before = len(self._removed)
        super()._remove_line()
        if self._wide.random() < 0.7:
            gone = {line["id"] for line in self._removed[before:]}
            while more := [line for line in self._lines if sources(line) & gone]:
                self._lines = [line for line in self._lines if line not in more]
                self._removed += more
                gone |= {line["id"] for line in more}

    # --- runs -----------------------------------------------------------------------------------------------

    def _usual_options(self) -> dict[str, Any]:
        options = super()._usual_options()
        images = {} if self._images is None else {"image": self._images}
        if self._simulation.scenario.webhook_secrets:
            options["callback_url"] = f"http://127.0.0.1:{free_port()}/calls"
        return {**options, "budget": options["budget"] | images}

    async def _hurt_run(self) -> None:
        kind = self._wide.random()
        if kind < 0.2 and self._can_mend:
            for _ in range(self._wide.randint(1, 3)):
                self._spoil()
            if self._wide.random() < 0.6:
                await self._hurt_repairs()
                await self._repair()
                return
        if kind < 0.4:
            await self._run(retry_failed=True)
        elif kind < 0.47:
            await self._run_without_room()
        else:
            await super()._hurt_run()

    async def _run(self, **options: Any) -> SummaryRecord | None:
        repeats = self._repeats and (self._is_ending or self._wide.random() < 0.3)
        repeats = repeats and not hides_ages(self._simulation)  # somebody sets the clock right first
        self._simulation.batch.repeats += repeats
        self.tally["runs with --repeat-lost"] += repeats
        self.tally["runs with --retry-failed"] += options.get("retry_failed") is True
        unpaid = times_unpaid(self._simulation)
        self._simulation.was_low = self._simulation.free_bytes < ROOM
        summary = await super()._run(repeat_lost=repeats, **options)
        self._look_for_mended()
        if summary is not None and summary.exit_code == ExitCode.BUDGET and self.rolling:
            self.tally["runs that ended for want of room in a window"] += 1
        if summary is not None and summary.exit_code == ExitCode.ACCOUNT:
            self.tally["runs that the account's packs ended"] += 1
            assert times_unpaid(self._simulation) > unpaid, f"promise 11: no pack was empty: {summary}"
        if summary is not None and summary.exit_code == ExitCode.DISK:
            is_in_the_way = self._move_away()
            is_told = self._simulation.was_low or options.get("fault") or is_in_the_way
            assert is_told, f"promise 11: no disk was in trouble: {summary}"
        return summary

    async def tell(self) -> None:
        """As any other story, on a disk that may fill up."""
        if self._wide.random() < 0.3:
            self._simulation.starving.append(asyncio.ensure_future(self._starve()))
        try:
            await super().tell()
        finally:
            self._feed()

    async def _end(self) -> None:
        self._is_ending = True
        self._feed()
        await super()._end()
        if self._can_mend:
            await self._repair()

    async def _is_quiet(self, summary: SummaryRecord) -> bool:
        """Where only the user's word, or time, helps, it is waited for or not given."""
        code = summary.exit_code
        if code == ExitCode.BUDGET and self.rolling:
            await self._wait_for_windows()
            return False
        if code == ExitCode.UNRESOLVED and not self._repeats:
            unknown = (row for row in self._simulation.results() if row["status"] == "unknown")
            return all(item_digest(row["id"]) in self._simulation.batch.uncertain for row in unknown)
        if code == ExitCode.ACCOUNT and await wait_for_pack(self._simulation):
            self.tally["packs waited for"] += 1
            return False
        if code == ExitCode.STOPPED and self._stuck.explains(self._lines):
            self.tally["batches that end with what never ends"] += 1
            return True
        return code in QUIET or (code == ExitCode.ACCOUNT and self._is_poor)

    async def _wait_for_windows(self) -> None:
        """Until the charges of today are of yesterday, once; whoever is still short then raises the budget."""
        longest_s = max(window_s for _, window_s in self.rolling)
        if longest_s <= 2 * 86_400 and "windows waited for" not in self.tally:
            await asyncio.sleep(longest_s)
            self.tally["windows waited for"] += 1
            return
        self.rolling.clear()
        self._write()

    # --- the books ------------------------------------------------------------------------------------------

    def _audit_always(self) -> None:
        super()._audit_always()
        self._asked.audit()
        self._audit_windows()

    def _audit(self, summary: SummaryRecord) -> None:
        super()._audit(summary)
        audit_facts(self._simulation, self._asked)

    def _audit_windows(self) -> None:
        """What the account was charged in any span, by its own books: as far as it keeps to what was estimated."""
        clock = self._simulation.machine_clock
        if self._simulation.has_lost or (clock.boots > 1 and self.tally["clock jumps"]):
            return  # not promised
        now_s = self._simulation.clock.wall_s()
        held = self._held() if self.rolling else {}
        for (pack, window_s), most in self.rolling.items():
            charges = [
                (task.ended_at_s, min(task.charged_at(now_s), held.get(task.external_task_id, task.charged_at(now_s))))
                for task in self._simulation.tasks_of_all
                if task.pack == pack
            ]
            assert most_charged(charges, window_s) <= most, f"promise 4: {pack} in {window_s} s"

    def _held(self) -> dict[str | None, Decimal]:
        """What was held for each task, by its name: nobody can know before that the server will charge more."""
        with store_of(self._simulation) as reader:
            batches = [] if reader is None else reader.batches()
            entries = [entry for batch in batches if reader is not None for entry in reader.ledger(batch)]
        return {entry.external_task_id: entry.credits for entry in entries if entry.entry == "hold"}

    def _audit_end(self, summary: SummaryRecord) -> None:
        super()._audit_end(summary)
        if summary.exit_code in {ExitCode.OK, ExitCode.ITEMS_FAILED}:
            self._audit_uncertain()

    def _audit_uncertain(self) -> None:
        """What may be the user's word alone is booked once for each task, and once more for each word at most."""
        simulation, now_s = self._simulation, self._simulation.clock.wall_s()
        charges = [entry for entry in simulation.ledger() if entry["entry"] == "charge"]
        for item in simulation.batch.uncertain:
            told = [Decimal(entry["credits"]) for entry in charges if item_digest(entry["item"]) == item]
            tasks = [task for task in simulation.tasks if simulation.batch.item_of(task) == item]
            paid = [task for task in tasks if task.will_succeed or task.failure_charged]
            assert len(told) <= len(paid) + simulation.batch.repeats, "promise 5: charged without a task or a word"
            if not simulation.has_lost:
                assert len(told) >= len(paid), "promise 5: a task is not in the ledger"
                if not simulation.batch.repeats and not simulation.exchanges:
                    assert sum(told) == sum(task.charged_at(now_s) for task in tasks), "promise 5"
