"""The facts through the whole program: a legal row becomes a file at its price, an illegal one stops the manifest."""

from __future__ import annotations

import asyncio
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clip_facts import PICTURE
from PIL import Image
from simulated_film import small_film
from test_walk import ILLEGAL, LEGAL
from walk import Illegal, Legal
from walk_run import OF_ANOTHER_ACCOUNT, manifest_of, row_id

from batch_runner import api, catalog
from batch_runner.errors import ExitCode, ManifestError
from batch_runner.manifest import Format, Manifest, Source
from batch_runner.media import inspect
from batch_runner.records import SummaryRecord
from batch_runner.sandbox import Sandbox, WorldConfig
from batch_runner.service import sandbox_price
from batch_runner.settings import resolve
from batch_runner.virtual_time import VirtualClock, VirtualTimeLoop

ROWS_EVERY = int(os.environ.get("ROWS_EVERY", "19"))
MANY = 200
"""Of so many rows of a product every nineteenth becomes a file here; ``test_walk`` prices all of them,
``test_walk_sandbox`` sends them all to the service, and ``ROWS_EVERY=1`` makes files of them all."""
SLOTS = 90
SPEED = 1000
"""Tasks are over before anybody asks twice: what a wait costs is not what is tested here."""


async def run(folder: Path) -> SummaryRecord:
    clock = VirtualClock(asyncio.get_running_loop())
    world = WorldConfig(max_concurrent=SLOTS, speed=SPEED)
    async with Sandbox(world, clock=clock, price=sandbox_price, film=small_film) as sandbox:
        flags = {"output_dir": str(folder / "outputs"), "max_concurrent": SLOTS, "rpm": 0, "base_url": sandbox.base_url}
        environ = {"KLING_API_KEY": sandbox.api_key}
        summary = await api.run_settings(folder / "walk.jsonl", resolve(flags, {}, None), environ=environ, clock=clock)
        consumed = sum((row.consumed for row in summary.credits.values()), Decimal(0))
        assert consumed == sandbox.world.charged_total(clock.wall_s())
        assert not any(row.held for row in summary.credits.values())
        return summary


def fault(row: Legal, result: dict[str, Any], folder: Path) -> str:
    """What is otherwise than the row says, or an empty text."""
    if result["status"] != "succeeded":
        return f"{result['status']} {result['reason']}: {result['error']}"
    if not result["files"] or not all((folder / "outputs" / file["path"]).stat().st_size for file in result["files"]):
        return "has no files"
    if row.credits is None:
        return "" if result["credits_estimated"] == "1" else f"was estimated at {result['credits_estimated']}"
    estimated, charged = Decimal(result["credits_estimated"]), Decimal(result["credits_charged"])
    if (result["pack"], estimated) != (row.pack, row.credits):
        return f"was estimated at {estimated} {result['pack']}, not {row.credits} {row.pack}"
    if row.fields.get("series_amount") == "auto":  # as many as the service likes, and no more than was set aside
        return "" if charged == row.credits * len(result["files"]) / row.slots else f"was charged {charged}"
    return "" if charged == row.credits else f"was charged {charged}, not {row.credits}"


@pytest.mark.parametrize("kind", catalog.kinds())
def test_every_legal_row_becomes_a_file_at_the_price_of_its_row(tmp_path: Path, kind: str) -> None:
    rows = [row for row in LEGAL if row.kind == kind and row.name != OF_ANOTHER_ACCOUNT]
    rows = rows[:: ROWS_EVERY if len(rows) >= MANY else 1]
    (tmp_path / "walk.jsonl").write_text(manifest_of(rows), encoding="utf-8")
    Image.new("RGB", (320, 320), "teal").save(tmp_path / PICTURE)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        summary = runner.run(run(tmp_path))
    lines = (tmp_path / "outputs" / "walk" / "results.jsonl").read_text(encoding="utf-8").splitlines()
    results = {result["id"]: result for result in map(json.loads, lines)}
    failures = [
        f"{row.name}: {trouble}"
        for at, row in enumerate(rows)
        if (trouble := fault(row, results[row_id(at)], tmp_path))
    ]
    assert not failures, "\n".join([f"{len(failures)} of {len(rows)} rows:", *failures[:25]])
    assert summary.exit_code == 0


def refusal(row: Illegal, folder: Path) -> ManifestError | None:
    """What a manifest of this row, and of what it needs, is refused with."""
    wrong = Legal(row.name, row.kind, row.fields, Decimal(1))
    manifest = Manifest(Source(folder / "walk.jsonl", Format.JSONL, manifest_of([wrong]).encode()), inspect)
    try:
        manifest.check()
    except ManifestError as error:
        return error
    return None


@pytest.mark.parametrize("kind", catalog.kinds())
def test_every_illegal_row_is_refused_with_line_field_and_source(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (320, 320), "teal").save(tmp_path / PICTURE)
    failures = []
    for row in (row for row in ILLEGAL if row.kind == kind):
        error = refusal(row, tmp_path)
        told = error.problems if error is not None and error.exit_code is ExitCode.USAGE else []
        if not any(problem.field == row.field and problem.line and problem.source for problem in told):
            failures.append(f"{row.name}: {error or 'passes'}")
    assert not failures, "\n".join([f"{len(failures)} rows:", *failures[:25]])
