"""How busy the account's slots are kept, and at what price in requests: 200 items on the sandbox, virtual time.

    python benchmarks/slots.py [--items 200] [--slots 5] [--rpm 60] [--seed 1]

Prints ratios of one run; exits with 1 if the run breaks a promise or the slots are less than 98 % busy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from batch_runner.api import run_settings
from batch_runner.records import SummaryRecord
from batch_runner.sandbox import FaultPlan, Sandbox, World, WorldConfig
from batch_runner.service import sandbox_price
from batch_runner.settings import resolve
from batch_runner.virtual_time import VirtualClock, run_virtual

WANTED_BUSY = 0.98
MODELS = (
    {"model_name": "kling-v2-5-turbo", "duration": "5"},
    {"model_name": "kling-v2-6", "mode": "std", "duration": "5"},
    {"model_name": "kling-v2-6", "mode": "pro", "duration": "10"},
    {"model_name": "kling-v3", "mode": "std", "duration": "5"},
    {"model_name": "kling-v1-6", "mode": "pro", "duration": "10"},
)


def main() -> int:
    """Run it and print what it measured; the exit code says whether the promises held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--slots", type=int, default=5)
    parser.add_argument("--rpm", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        summary, sandbox, ended_at_s = run_virtual(lambda: _run(options, Path(folder)))
    busy = busy_share(sandbox.world, options.slots)
    return _tell(options, summary, sandbox, busy, ended_at_s, time.monotonic() - began_s)


async def _run(options: argparse.Namespace, folder: Path) -> tuple[SummaryRecord, Sandbox, float]:
    clock = VirtualClock(asyncio.get_running_loop())
    manifest = folder / "slots.jsonl"
    dice = random.Random(options.seed)
    lines = [{"id": f"clip-{n:04}", "prompt": f"scene {n}", **dice.choice(MODELS)} for n in range(options.items)]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    world = WorldConfig(seed=options.seed, max_concurrent=options.slots, rpm=options.rpm, failure_rate=0.05)
    faults = FaultPlan(seed=options.seed, lost_answer=0.02, cut_download=0.02)
    async with Sandbox(world, clock=clock, price=sandbox_price, fault_plan=faults) as sandbox:
        flags = {
            "output_dir": str(folder / "outputs"),
            "base_url": sandbox.base_url,
            "max_concurrent": options.slots,
            "rpm": options.rpm,
        }
        keys = {"KLING_ACCESS_KEY": sandbox.access_key, "KLING_SECRET_KEY": sandbox.secret_key}
        summary = await run_settings(manifest, resolve(flags, {}, None), environ=keys, clock=clock)
        return summary, sandbox, clock.wall_s()


def busy_share(world: World, slots: int) -> float:
    """Share of the slots that held a task between the first and the last submission."""
    first = min(task.created_at_s for task in world.tasks)
    last = max(task.created_at_s for task in world.tasks)
    held_s = sum(min(task.ended_at_s, last) - task.created_at_s for task in world.tasks)
    return held_s / (slots * (last - first))


def _tell(
    options: argparse.Namespace, summary: SummaryRecord, sandbox: Sandbox, busy: float, ended_at_s: float, real_s: float
) -> int:
    world = sandbox.world
    charged = world.charged_total(ended_at_s)
    consumed = summary.credits["video"].consumed
    first = min(task.created_at_s for task in world.tasks)
    work_s = sum(task.ended_at_s - task.created_at_s for task in world.tasks)
    wall_s = max(task.ended_at_s for task in world.tasks) - first
    rate_refusals = world.refusals[1302]
    succeeded_twice = sum(sum(task.will_succeed for task in tasks) > 1 for tasks in world.tasks_by_external_id.values())
    window = world.most_requests_in_window()
    faults = ", ".join(f"{count} {fault}" for fault, count in sorted(sandbox.faults.injected.items()))
    print(f"seed {options.seed}: {options.items} items, {options.slots} slots, {options.rpm} requests a minute")
    print(f"faults injected       {faults or 'none'}; failed tasks {sum(bool(t.failure) for t in world.tasks)}")
    print(f"slots busy            {busy:.2%} between first and last submission (wanted: {WANTED_BUSY:.0%})")
    print(f"wall over lower bound {wall_s / (work_s / options.slots):.3f} (all work spread evenly over the slots)")
    print(f"requests per item     {summary.requests.total / options.items:.2f}; most in any minute {window}")
    print(f"refusals              1302: {rate_refusals}, 1303: {world.refusals[1303]}")
    print(f"peak tasks in flight  {world.peak_in_flight} of {options.slots}")
    print(f"credits               consumed {consumed}, charged by the server {charged}")
    items = summary.items
    print(f"items                 {items.succeeded} succeeded, {items.failed} failed, exit {summary.exit_code}")
    print(f"simulated             {wall_s:.0f} s in {real_s:.1f} s")
    whole = summary.items.succeeded + summary.items.failed == options.items
    kept = not rate_refusals and not succeeded_twice and consumed == charged and world.peak_in_flight <= options.slots
    return 0 if whole and kept and window <= options.rpm and busy >= WANTED_BUSY else 1


if __name__ == "__main__":
    sys.exit(main())
