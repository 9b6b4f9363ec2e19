"""What befalls a simulated batch, drawn from a seed: faults, deaths, power cuts, edits, losses, neighbours, clocks."""

from __future__ import annotations

import asyncio
import base64
import errno
import math
import random
from collections import Counter
from functools import cache
from itertools import count
from typing import Any

from sandbox_kit import picture
from simulation import DiskFault, Simulation
from simulation_audit import audit_always, audit_end, audit_ended
from simulation_clocks import set_right
from simulation_edits import EditedManifest

from batch_runner.errors import DiskError, ExitCode, ManifestError, StoreError
from batch_runner.lifecycle import ExternalId
from batch_runner.records import SummaryRecord
from batch_runner.runner import Halt
from batch_runner.sandbox import FaultPlan

_RUNS_IN_TROUBLE = 10
"""After so many runs the network gets well too: on one that is bad enough nothing ever comes to its end."""
_LONGEST_RUN_S = 6 * 3600.0
_PAGE_BYTES = 4096
QUIET = {ExitCode.OK, ExitCode.ITEMS_FAILED, ExitCode.BUDGET}

DISK_FAULTS: tuple[tuple[str, int, int], ...] = (
    ("open", errno.ENOSPC, 30),
    ("open", errno.EIO, 30),
    ("write", errno.ENOSPC, 20),
    ("fsync", errno.EIO, 15),
    ("fsync folder", errno.EIO, 15),
    ("link", errno.ENOSPC, 5),
    ("link", errno.EPERM, 5),
    ("replace", errno.EIO, 5),
    ("unlink", errno.EIO, 15),
    ("mkdir", errno.ENOSPC, 2),
    ("store", errno.ENOSPC, 80),
    ("store", errno.EIO, 80),
    ("committed", errno.EIO, 80),
    ("db write", errno.ENOSPC, 600),
    ("db write", errno.EIO, 600),
    ("db sync", errno.EIO, 200),
    ("db delete", errno.EIO, 2),
)
"""Call, errno, and how many such calls a run may make."""


class Story(EditedManifest):
    """One batch through everything its seed has in store.

    Attributes:
        tally: what befell it, counted.
    """

    _rounds: tuple[int, ...] = (0, 1, 2, 3, 5)
    _runs_to_the_end = 15

    def __init__(self, simulation: Simulation) -> None:
        self.tally: Counter[str] = Counter()
        super().__init__(simulation)
        self._budget: int | None = self._dice.randint(3, 30) if self._dice.random() < 0.3 else None
        simulation.durable.is_kept = self._dice.random() < 0.4
        self._attempts = self._dice.choice([1, 1, 1, 3])
        media = simulation.folder / "media"
        media.mkdir(exist_ok=True)
        (media / "start.png").write_bytes(_start_picture())
        self._write()

    async def tell(self) -> None:
        """All of it; the promises are asked for after every run."""
        neighbours = asyncio.ensure_future(self._neighbours()) if self._dice.random() < 0.3 else None
        for _ in range(self._dice.choice(self._rounds)):
            self._between_runs()
            await self._hurt_run()
        if neighbours is not None:
            neighbours.cancel()
            await asyncio.gather(neighbours, return_exceptions=True)
        await self._end()

    # --- between two runs -----------------------------------------------------------------------------------

    def _between_runs(self) -> None:
        for share, what in (
            (0.15, self._lose_store),
            (0.05, self._harm_store),
            (0.25, self._edit),
            (0.1, self._jump),
            (0.1, self._change_budget),
        ):
            if self._dice.random() < share:
                what()

    def _lose_store(self) -> None:
        """All of it is gone, or the log beside it stays behind."""
        output_dir = self._simulation.output_dir
        if not (output_dir / "state.db").exists():
            return
        for path in output_dir.glob("state.db" if self._dice.random() < 0.2 else "state.db*"):
            path.unlink()
        self._simulation.durable.folder_synced(output_dir)  # or a power cut would bring back half of it
        self._forget()
        self._simulation.is_damaged = False
        self.tally["lost stores"] += 1

    def _harm_store(self) -> None:
        """Cut off, emptied, or with other bytes in its middle; what a log could mend is taken away."""
        path = self._simulation.output_dir / "state.db"
        if not path.exists():
            return
        content = path.read_bytes()
        for log in self._simulation.output_dir.glob("state.db-*"):
            log.unlink()
        at = self._dice.randrange(len(content) // _PAGE_BYTES + 1) * _PAGE_BYTES
        noise = self._dice.randbytes(min(_PAGE_BYTES, len(content) - at))
        path.write_bytes(self._dice.choice([content[:at], b"", content[:at] + noise + content[at + len(noise) :]]))
        self._simulation.is_damaged = True
        self._forget()
        self.tally["harmed stores"] += 1

    def _forget(self) -> None:
        """What the lost store knew of removed lines comes back with them, without asking the budget for room."""
        self._simulation.has_lost = True
        self._simulation.budget_was_lowered |= bool(self._removed)

    def _jump(self) -> None:
        """Somebody sets the machine's clock."""
        self._simulation.machine_clock.offset_s += self._dice.choice([-86_400.0, -3600.0, -90.0, 30.0, 600.0, 86_400.0])
        self.tally["clock jumps"] += 1

    def _change_budget(self) -> None:
        before, self._budget = self._budget, self._dice.choice([None, self._dice.randint(1, 40)])
        if self._budget is not None and (before is None or self._budget < before):
            self._simulation.budget_was_lowered = True
        self.tally["changed budgets"] += 1

    # --- runs -----------------------------------------------------------------------------------------------

    async def _hurt_run(self) -> None:
        dice, kind = self._dice, self._dice.random()
        if kind < 0.6:
            cut = dice.choice(["worst", "mixed", None]) if self._simulation.durable.is_kept else None
            await self._run(die_at=int(2 ** dice.uniform(0, 11)), power_cut=cut)
        elif kind < 0.8:
            call, number, most = dice.choice(DISK_FAULTS)
            await self._run(fault=DiskFault(call, dice.randint(1, most), number, lasts=dice.random() < 0.5))
        elif kind < 0.9:
            await self._stopped_run()
        else:
            await self._run(retry_failed=dice.random() < 0.5)

    async def _stopped_run(self) -> None:
        halt = Halt()
        timer = asyncio.get_running_loop().call_later(self._dice.expovariate(1 / 30), halt.leave)
        await self._run(halt=halt)
        timer.cancel()
        self.tally["stops"] += 1

    async def _run(self, **options: Any) -> SummaryRecord | None:
        """One start of the program, and everything that can be asked after it; None unless it ended by itself."""
        simulation, loop = self._simulation, asyncio.get_running_loop()
        options |= self._usual_options()
        jump = loop.call_later(self._dice.expovariate(1 / 20), self._jump) if self._dice.random() < 0.05 else None
        began_s, requests = loop.time(), len(simulation.world.request_stamps)
        outside = self._outside()
        self.tally["runs"] += 1
        summary = error = None
        try:
            summary = await simulation.run(**options)
        except (ManifestError, DiskError) as caught:
            error = caught
        finally:
            if jump is not None:
                jump.cancel()
        assert loop.time() - began_s < _LONGEST_RUN_S, "promise 8: a run ends"
        assert self._outside() == outside, "promise 10: nothing outside the output folder is made or changed"
        if isinstance(error, ManifestError):
            assert simulation.has_lost or len(simulation.world.request_stamps) == requests, "told before any request"
            self._take_back()
        elif error is not None:
            self._take_disk_error(error, is_expected=options.get("fault") is not None)
        if summary is not None:
            simulation.is_damaged = False  # what was harmed was no part of it, or there was nothing left to harm
        self._audit_always()
        if summary is not None:
            self._audit(summary)
        return summary

    def _usual_options(self) -> dict[str, Any]:
        return {"budget": {} if self._budget is None else {"video": self._budget}, "max_attempts": self._attempts}

    def _audit_always(self) -> None:
        audit_always(self._simulation)

    def _audit(self, summary: SummaryRecord) -> None:
        audit_ended(self._simulation, summary)

    def _outside(self) -> dict[str, bytes]:
        folder, output_dir = self._simulation.folder, self._simulation.output_dir
        paths = (path for path in folder.rglob("*") if output_dir not in path.parents and path.is_file())
        return {str(path): path.read_bytes() for path in paths}

    def _take_disk_error(self, error: DiskError, *, is_expected: bool) -> None:
        assert is_expected or self._simulation.is_damaged, f"disk trouble out of nowhere: {error}"
        self.tally["runs ended by the disk"] += 1
        if self._simulation.is_damaged and isinstance(error, StoreError):
            self._lose_store()

    async def _end(self) -> None:
        """No more harm but that of the network, and then none: the batch gets quiet, and then costs nothing more."""
        simulation = self._simulation
        is_whole = self._dice.random() < 0.5
        summary, is_quiet = None, False
        for number in range(self._runs_to_the_end):
            if number == _RUNS_IN_TROUBLE:
                simulation.sandbox.faults.plan = FaultPlan()
                self.tally["networks that had to get well"] += 1
            if simulation.has_lost or is_whole:  # the account cannot name the removed lines that a lost store knew
                self._put_back()
                self._write()
            summary = await self._run()
            has_moved = await self._wait_for_tasks() or self._set_clock_right(summary)
            is_quiet = summary is not None and not has_moved and await self._is_quiet(summary)
            if is_quiet:
                break
        assert summary is not None, "an edit could not be taken back"
        assert is_quiet, summary
        assert summary.exit_code != ExitCode.BUDGET or self._usual_options()["budget"], "promise 11"
        self._audit_end(summary)
        if summary.exit_code in {ExitCode.OK, ExitCode.ITEMS_FAILED}:
            before, requests = simulation.tree(), len(simulation.world.request_stamps)
            assert await self._run() == summary, "promise 6"
            assert simulation.tree() == before, "promise 6"
            assert len(simulation.world.request_stamps) == requests, "promise 6"

    async def _wait_for_tasks(self) -> bool:
        """Whether a run left tasks that went on, as it does where a clock set forward makes them overdue."""
        now_s = self._simulation.clock.wall_s()
        ends_s = (task.ended_at_s for task in self._simulation.tasks if not math.isinf(task.ended_at_s))
        left_s = max(ends_s, default=now_s) - now_s
        await asyncio.sleep(max(0.0, left_s))
        return left_s > 0

    def _set_clock_right(self, summary: SummaryRecord | None) -> bool:
        """Whether a run left only what a clock that is wrong kept it from, and somebody set that as the run said."""
        is_unresolved = summary is not None and summary.exit_code == ExitCode.UNRESOLVED
        is_mended = is_unresolved and set_right(self._simulation)
        self.tally["clocks set right"] += is_mended
        return is_mended

    async def _is_quiet(self, summary: SummaryRecord) -> bool:
        """Whether another run would change nothing."""
        return summary.exit_code in QUIET

    def _audit_end(self, summary: SummaryRecord) -> None:
        audit_end(self._simulation, summary)

    async def _neighbours(self) -> None:
        """Other programs on the account: tasks of theirs hold slots, requests of theirs count."""
        dice, world = random.Random(f"neighbours {self._simulation.scenario.seed}"), self._simulation.world
        self._simulation.shares_rate = dice.random() < 0.3
        for number in count():
            await asyncio.sleep(dice.expovariate(1 / 20))
            now_s = self._simulation.clock.wall_s()
            other = str(ExternalId.of("another", "item-0", number + 1, "0" * 64))
            name = dice.choice([{}, {"external_task_id": f"somebody-{number}"}, {"external_task_id": other}])
            world.create("text2video", {"prompt": "theirs", **name}, now_s)
            self.tally["neighbours' tasks"] += 1
            if self._simulation.shares_rate:
                for _ in range(dice.randint(1, 8)):
                    world.throttle(now_s)


@cache
def _start_picture() -> bytes:
    return base64.b64decode(picture(320, 320))
