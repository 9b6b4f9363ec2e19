"""What an item is sent of the results of others: which file of several, and of which type."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doors_kit import FAST, run_here, write_manifest
from simulation import Scenario, Simulation, audit, simulate
from test_run import notices, rows

from batch_runner.errors import ExitCode
from batch_runner.kling.client import KlingClient
from batch_runner.model import Task, TaskStatus
from batch_runner.records import SummaryRecord
from batch_runner.runner.assets import AGREEING_LOOKS
from batch_runner.sandbox import WorldConfig

WALK = {"id": "walk", "prompt": "walks", "model_name": "kling-v1-6", "duration": 5}
PICTURE = "https://example.com/a.png"


def test_a_sound_field_takes_the_sound_of_a_task_that_made_a_video_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loud = {"id": "loud", "kind": "video-to-audio", "video_id": {"item": "walk"}, "sound_effect_prompt": "steps"}
    avatars = [
        {"id": f"avatar{number}", "kind": "avatar", "image": PICTURE, "sound_file": {"item": "loud", "asset": number}}
        for number in (1, 2)
    ]
    write_manifest(tmp_path / "m.jsonl", [WALK, loud, *avatars])
    ended = run_here("run", "m.jsonl", *FAST, "--json")
    assert (ended.code, ended.json["items"]["succeeded"]) == (0, 4), ended.err
    sent = _bodies_of(tmp_path, "avatar")
    files = {path.suffix: path for path in (tmp_path / "outputs" / "m-sandbox").glob("loud*")}
    assert {body["sound_file"] for body in sent} == {
        hashlib.sha256(base64.b64encode(files[suffix].read_bytes())).hexdigest() for suffix in (".mp3", ".wav")
    }


def _bodies_of(folder: Path, kind: str) -> list[dict[str, str]]:
    """What the simulated service was sent for a product, from its journal; files as digests."""
    records = map(json.loads, (folder / "outputs" / ".sandbox.jsonl").read_text().splitlines())
    return [record["body"] for record in records if record.get("kind") == kind]


# --- a link to the source's file is asked for, and an answer may be stale --------------------------------------------

SOUND = {"id": "sound", "kind": "video-to-audio", "video_url": {"item": "walk"}, "bgm_prompt": "a waltz"}

Change = Callable[[Task], Task | None]


def unfinished(task: Task) -> Task:
    return replace(task, status=TaskStatus.PROCESSING, assets=())


STALE: Mapping[str, Change] = {
    "not found": lambda _: None,
    "without its files": lambda task: replace(task, assets=()),
    "without a usable link": lambda task: replace(task, assets=tuple(replace(one, url="") for one in task.assets)),
}


def after_its_source(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Change,
    looks: int,
    check: Callable[[Simulation, int], None],
) -> None:
    """A source is finished; what takes its link is run, then run again with the next so many looks changed."""
    left, find = 0, KlingClient.find

    async def find_stale(client: KlingClient, *args: Any, **options: Any) -> Task | None:
        nonlocal left
        task = await find(client, *args, **options)
        if not left or task is None or not task.assets:
            return task
        left -= 1
        return change(task)

    async def work(simulation: Simulation) -> None:
        nonlocal left
        await ended(simulation)
        monkeypatch.setattr(KlingClient, "find", find_stale)
        left = looks
        simulation.manifest.write_text(f"{json.dumps(WALK)}\n{json.dumps(SOUND)}\n", encoding="utf-8")
        check(simulation, (await ended(simulation)).exit_code)
        left = 0
        assert (await ended(simulation, retry_failed=True)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 2
        assert simulation.world.tasks[1].body["video_url"]

    simulate(Scenario(slots=2, world=WorldConfig(max_concurrent=2, rpm=60), lines=(json.dumps(WALK),)), tmp_path, work)


async def ended(simulation: Simulation, **options: Any) -> SummaryRecord:
    summary = await simulation.run(**options)
    assert summary is not None
    audit(simulation, summary)
    return summary


@pytest.mark.parametrize("what", STALE)
def test_looks_that_show_no_link_to_a_source_are_not_believed_until_several_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def check(simulation: Simulation, code: int) -> None:
        assert (code, rows(simulation)["sound"]) == (ExitCode.OK, ("succeeded", None))

    after_its_source(tmp_path, monkeypatch, STALE[what], AGREEING_LOOKS - 1, check)


@pytest.mark.parametrize("what", STALE)
def test_what_takes_a_link_that_several_looks_do_not_show_is_not_submitted_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def check(simulation: Simulation, code: int) -> None:
        assert (code, rows(simulation)["sound"]) == (ExitCode.ITEMS_FAILED, ("failed", "source"))
        assert len(simulation.world.tasks) == 1

    after_its_source(tmp_path, monkeypatch, STALE[what], AGREEING_LOOKS, check)


def test_a_source_that_looks_unfinished_again_is_waited_for_and_left_to_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(simulation: Simulation, code: int) -> None:
        assert (code, rows(simulation)["sound"]) == (ExitCode.STOPPED, ("pending", "stopped"))
        assert "as it was before its end" in notices(simulation)

    after_its_source(tmp_path, monkeypatch, unfinished, 10**9, check)
