"""Whatever is answered to a call whose answer is its result: it ends in words, and is never made twice unasked.

The whole program against the sandbox, whose answers to calls, and whose files, are changed on their way. What a call
made and cost stands in its answer alone, so that a wrong figure or id in it cannot be told from a right one; what must
not be is an exception, a second call without the user's word, a file that is not the service's, or a secret in what is
left. With that word every item comes to its end; a link that arrived wrong cannot be had again, and is told.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fuzz_kit import fuzzing
from hypothesis import given
from seeded_loop import prompt_settle_s
from simulated_film import digest
from simulation import Scenario, Simulation, simulate
from simulation_audit import audit_always
from simulation_books import item_digest
from test_fuzz_answers import logged, require_no_secrets
from wire_damage import Plan, Wire, names, plans

from batch_runner.errors import ExitCode
from batch_runner.sandbox import SandboxTask, WorldConfig

FILM = "https://example.com/a.mp4?sandbox-seconds=5"
CALLS: tuple[dict[str, Any], ...] = (
    {"id": "say", "kind": "tts", "text": "a fox", "voice_id": "genshin_vindi2", "voice_language": "en"},
    {"id": "face", "kind": "identify-face", "video_url": FILM},
    {"id": "parts", "kind": "image-recognize", "image": "https://example.com/a.png"},
    {"id": "open", "kind": "init-selection", "video_url": FILM, "credits": "1"},
)
"""No two of a kind, so that the kind of a task says whose it is: a call bears no name of ours."""
DOCUMENTED = {ExitCode.OK, ExitCode.ITEMS_FAILED, ExitCode.ACCOUNT, ExitCode.STOPPED, ExitCode.UNRESOLVED}
_ITEM_OF_KIND = {line["kind"]: line["id"] for line in CALLS}


def item_of(task: SandboxTask) -> str:
    return item_digest(_ITEM_OF_KIND[task.kind])


def play(plan: Plan) -> tuple[Wire, Counter[str]]:
    """One batch: its answers are changed in the first run, and sane in the next ones; how its items stood then."""
    wire, stood = Wire(plan), Counter[str]()

    async def work(simulation: Simulation) -> None:
        simulation.environ = {"KLING_API_KEY": simulation.sandbox.api_key}
        simulation.batch.item_of = item_of
        await one_run(simulation)
        wire.mend()
        rows = await one_run(simulation)
        stood.update(row["status"] for row in rows)
        if any(row["status"] == "unknown" for row in rows):
            simulation.batch.repeats = 1
            rows = await one_run(simulation, repeat_lost=True)
        for row in rows:
            assert row["status"] == "succeeded" or (row["status"], row["reason"]) == ("failed", "asset"), row

    world = WorldConfig(max_concurrent=3, rpm=60, speed=30.0)
    lines = tuple(json.dumps(line) for line in CALLS)
    with TemporaryDirectory() as folder, wire.before():
        simulate(Scenario(slots=3, lines=lines, world=world, settle_s=prompt_settle_s()), Path(folder), work)
    return wire, stood


async def one_run(simulation: Simulation, **options: Any) -> list[dict[str, Any]]:
    """Start the program; whatever it raises fails the test."""
    with logged() as said:
        summary = await simulation.run(**options)
    assert summary is not None
    assert summary.exit_code in DOCUMENTED, summary
    require_no_secrets(simulation, "\n".join(said))
    audit_always(simulation)
    rows = simulation.results()
    assert (summary.exit_code == ExitCode.OK) == all(row["status"] == "succeeded" for row in rows), summary
    for row in rows:
        require_truth(simulation, row)
    return rows


def require_truth(simulation: Simulation, row: dict[str, Any]) -> None:
    assert row["status"] == "succeeded" or row["reason"], row
    paid = [task for task in simulation.tasks if item_of(task) == item_digest(row["id"])]
    assert row["status"] != "succeeded" or paid, "promise 11"
    right = {each for task in paid for each in simulation.asset_digests(task)}
    for file in row["files"]:
        content = (simulation.output_dir / file["path"]).read_bytes()
        assert digest(content) == file["sha256"], "promise 3"
        assert file["path"].endswith(".json") or file["sha256"] in right, "promise 2"


def test_whatever_is_answered_to_a_call_it_ends_in_words_and_is_not_made_twice_unasked() -> None:
    met, stood = Counter[str](), Counter[str]()

    @fuzzing(25)
    @given(plans())
    def whatever_it_is(plan: Plan) -> None:
        wire, ends = play(plan)
        met.update(wire.done.keys())
        stood.update(ends)

    whatever_it_is()
    assert {"create", "download"} <= names(met)
    assert min(stood["succeeded"], stood["unknown"]) >= 10, stood
