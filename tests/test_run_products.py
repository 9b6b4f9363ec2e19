"""Runs of more than text to video: calls answered at once, chains, several slots, the second API generation."""

from __future__ import annotations

import asyncio
import json
import random
import re
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from death_moments import stride
from simulation import Scenario, Simulation, simulate
from simulation_audit import audit_always

from batch_runner import catalog
from batch_runner.errors import ExitCode, ManifestError, StoreError
from batch_runner.events import BatchFinished, Notice
from batch_runner.kling.transport import Answer, LostError, Transport
from batch_runner.lifecycle import ExternalId
from batch_runner.manifest.registry import Registry
from batch_runner.model import Route, Task, TaskStatus
from batch_runner.records import SummaryRecord
from batch_runner.runner import Halt
from batch_runner.runner.inquiry import Line, ask_by_name
from batch_runner.sandbox import FaultPlan, WorldConfig, results
from batch_runner.sandbox.config import RepeatPolicy

if TYPE_CHECKING:
    from batch_runner.runner import Context
    from batch_runner.store import Batch

SAY: Mapping[str, object] = {
    "id": "say",
    "kind": "tts",
    "text": "a fox",
    "voice_id": "genshin_vindi2",
    "voice_language": "en",
}
PICTURE: Mapping[str, object] = {"id": "hero", "kind": "images", "model_name": "kling-v2-1", "prompt": "a fox"}
WALK: Mapping[str, object] = {
    "id": "walk",
    "kind": "image2video",
    "model_name": "kling-v1-6",
    "image": {"item": "hero"},
    "prompt": "it walks",
}
TURBO: Mapping[str, object] = {"id": "turbo", "model_name": "kling-3.0-turbo", "prompt": "a fox", "duration": 3}


def scenario(*items: Mapping[str, object], slots: int = 3, faults: FaultPlan | None = None, **world: Any) -> Scenario:
    config = WorldConfig(**{"max_concurrent": slots, "rpm": 60, **world})
    return Scenario(
        slots=slots, world=config, faults=faults or FaultPlan(), lines=tuple(json.dumps(item) for item in items)
    )


async def run(simulation: Simulation, **options: Any) -> SummaryRecord:
    """A run with an API key, which both generations take; checked against the account's books."""
    environ = {"KLING_API_KEY": simulation.sandbox.api_key}
    summary = await simulation.run(environ=environ, **options)
    assert summary is not None
    world = simulation.world
    assert world.peak_in_flight <= simulation.scenario.slots
    assert not world.refusals[1302]
    assert not world.refusals[1303]
    if not summary.items.pending and not summary.items.unknown:
        consumed = sum((row.consumed for row in summary.credits.values()), Decimal(0))
        assert consumed == world.charged_total(simulation.clock.wall_s())
        assert not any(row.held for row in summary.credits.values())
    return summary


def rows(simulation: Simulation) -> dict[str, tuple[str, str | None]]:
    return {row["id"]: (row["status"], row["reason"]) for row in simulation.results()}


def names(simulation: Simulation) -> list[str]:
    return sorted(path.name for path in (simulation.output_dir / "batch").iterdir() if path.suffix[1:] in _MEDIA)


_MEDIA = {"mp4", "png", "mp3", "wav"}


@pytest.mark.parametrize("fault", ["lost_answer", "server_error_after", "html_200"])
def test_a_call_whose_answer_is_lost_is_not_repeated_without_the_users_word(tmp_path: Path, fault: str) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await run(simulation)
        assert (summary.exit_code, rows(simulation)["say"]) == (ExitCode.UNRESOLVED, ("unknown", "unresolved"))
        assert summary.credits["video"].held == Decimal("0.05")
        told = [event.text for event in simulation.events if isinstance(event, Notice) and event.urgent]
        assert any("--repeat-lost" in text for text in told)
        [closing] = [event.text for event in simulation.events if isinstance(event, BatchFinished)]
        assert closing.endswith("--repeat-lost makes it again, which may pay twice")
        again = await run(simulation)
        assert (again.exit_code, again.requests.submit) == (ExitCode.UNRESOLVED, 0)
        repeated = await run(simulation, repeat_lost=True)
        assert repeated.exit_code == ExitCode.OK
        assert names(simulation) == ["say.mp3"]
        assert [entry["entry"] for entry in simulation.ledger()] == ["hold", "charge", "hold", "charge"]
        assert (await run(simulation, repeat_lost=True)).requests.total == repeated.requests.total

    simulate(scenario(SAY, faults=FaultPlan(script={"create": [fault]})), tmp_path, work)


@pytest.mark.parametrize("is_made", [True, False])
def test_a_call_that_a_proxy_forbids_is_told_as_what_it_is_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_made: bool
) -> None:
    """Nobody can tell whether it ran: somebody may have turned the call away, or put a page in its answer's place."""
    exchange, creates = Transport.exchange, 0

    async def forbidden_once(self: Transport, method: str, *args: Any) -> Answer:
        nonlocal creates
        creates += method == "POST"
        if creates != 1 or is_made:
            answer = await exchange(self, method, *args)
        return answer if creates != 1 else Answer(403, {}, b"<html>Forbidden</html>")

    monkeypatch.setattr(Transport, "exchange", forbidden_once)

    def said(simulation: Simulation) -> str:
        return "\n".join(each.text for each in simulation.events if isinstance(each, Notice) and each.urgent)

    async def work(simulation: Simulation) -> None:
        summary = await run(simulation)
        assert (summary.exit_code, rows(simulation)["say"]) == (ExitCode.ACCOUNT, ("unknown", "unresolved"))
        assert "say: no clear answer (Kling: the request was forbidden" in said(simulation)
        assert "HTTP 403" in said(simulation)
        assert "the account's records tell" in said(simulation)
        assert "nothing more is submitted" in said(simulation)
        simulation.events.clear()
        again = await run(simulation)
        assert (again.exit_code, again.requests.submit) == (ExitCode.UNRESOLVED, 0)
        assert "say: an earlier run got no clear answer" in said(simulation)
        assert (
            await simulation.run(environ={"KLING_API_KEY": simulation.sandbox.api_key}, repeat_lost=True)
        ) is not None
        assert [entry["entry"] for entry in simulation.ledger()] == ["hold", "charge", "hold", "charge"]
        assert len(simulation.world.tasks) == 1 + is_made

    simulate(scenario(SAY), tmp_path, work)


@pytest.mark.parametrize("kind", ["tts", "identify-face", "add-selection"])
def test_a_call_that_is_answered_with_what_another_one_made_is_unknown(tmp_path: Path, kind: str) -> None:
    """A proxy hands out the answer to an earlier call once more; it names ids that are another item's already."""
    films = [{"video_url": f"https://example.com/{name}.mp4?sandbox-seconds=5"} for name in "ab"]
    points = {"frame_index": 3, "points": [{"x": 0.5, "y": 0.25}]}
    opened = [
        {"id": name, "kind": "init-selection", "credits": "1", **film} for name, film in zip("ab", films, strict=True)
    ]
    chosen = [{"kind": "add-selection", "session_id": {"item": name}, **points} for name in "ab"]
    calls: dict[str, list[dict[str, Any]]] = {
        "tts": [dict(SAY), {**SAY, "text": "a hen"}],
        "identify-face": [{"kind": "identify-face", **film} for film in films],
        "add-selection": chosen,
    }
    lines = [{**line, "id": f"call-{number}"} for number, line in enumerate(calls[kind])]
    before = opened if kind == "add-selection" else []

    async def work(simulation: Simulation) -> None:
        summary = await run(simulation)
        assert summary.exit_code == ExitCode.UNRESOLVED
        stands = rows(simulation)
        assert [stands[line["id"]] for line in lines] == [("succeeded", None), ("unknown", "unresolved")]

    script = {"create": [""] * (len(before) + 1) + ["other_answer"]}
    simulate(scenario(*before, *lines, slots=1, faults=FaultPlan(script=script)), tmp_path, work)


def test_a_task_that_was_accepted_as_another_ones_is_found_by_its_external_id(tmp_path: Path) -> None:
    """No answer about advanced-lip-sync says whose it is; one that names a call's id was followed in vain for ever."""
    face = {"id": "face", "kind": "identify-face", "video_url": "https://example.com/a.mp4?sandbox-seconds=5"}
    said = {**SAY, "text": "a fox, a hen, a lake and the moon, and all of them very slow " * 2}
    chosen = {"face_id": {"item": "face"}, "audio_id": {"item": "say"}, "sound_insert_time": 0}
    times = {"sound_start_time": 0, "sound_end_time": 3000}
    talk = {"id": "talk", "kind": "advanced-lip-sync", "session_id": {"item": "face"}, "seconds": 5}
    talk["face_choose"] = [{**chosen, **times}]

    async def work(simulation: Simulation) -> None:
        summary = await run(simulation)
        assert (summary.exit_code, rows(simulation)["talk"]) == (ExitCode.OK, ("succeeded", None))
        assert [task.kind for task in simulation.world.tasks].count("advanced-lip-sync") == 1

    faults = FaultPlan(script={"create": ["", "", "other_answer"]})
    simulate(scenario(face, said, talk, slots=1, faults=faults), tmp_path, work)


def test_a_task_that_another_product_was_answered_with_is_its_own_items_in_the_end(tmp_path: Path) -> None:
    """The answer to one create is lost, then handed out to another one that was refused, and so is a list later."""
    face = {"id": "face", "kind": "identify-face", "video_url": "https://example.com/a.mp4?sandbox-seconds=5"}
    chosen = {"face_id": {"item": "face"}, "sound_file": "https://example.com/a.mp3?sandbox-seconds=5"}
    times = {"sound_start_time": 0, "sound_end_time": 3000, "sound_insert_time": 0}
    talk = {"id": "talk", "kind": "advanced-lip-sync", "session_id": {"item": "face"}, "seconds": 5}
    clip = {"id": "clip", "prompt": "[sandbox:policy]"}
    lines: list[Mapping[str, object]] = [face, {**talk, "face_choose": [chosen | times]}, clip]

    def exchange_lists(simulation: Simulation, patch: pytest.MonkeyPatch) -> None:
        exchange, lists = Transport.exchange, list[Answer]()

        async def exchanged(self: Transport, method: str, path: str, *args: Any) -> Answer:
            if re.fullmatch(r"/v1/videos/advanced-lip-sync/\d+", path):  # it cannot be asked for by its id meanwhile
                return Answer(503, {}, b"")
            answer = await exchange(self, method, path, *args)
            if path.startswith("/v1/videos/advanced-lip-sync?"):
                lists.append(answer)
            is_missing = any("no longer shows it" in getattr(event, "text", "") for event in simulation.events)
            return lists.pop() if is_missing and path.startswith("/v1/videos/text2video?") else answer

        patch.setattr(Transport, "exchange", exchanged)

    async def work(simulation: Simulation) -> None:
        await simulation.run(die_after_s=10)
        simulation.manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch:
            exchange_lists(simulation, patch)
            assert (await run(simulation)).exit_code == ExitCode.UNRESOLVED
        assert (await run(simulation)).exit_code == ExitCode.ITEMS_FAILED
        stands = rows(simulation)
        assert (stands["talk"], stands["clip"]) == (("succeeded", None), ("failed", "policy"))
        assert [task.kind for task in simulation.world.tasks] == ["identify-face", "advanced-lip-sync"]

    faults = FaultPlan(script={"create": ["", "lost_answer", "other_answer"]})
    simulate(scenario(*lines[:2], faults=faults), tmp_path, work)


LIPS: Mapping[str, object] = {
    "id": "lips",
    "kind": "lip-sync",
    "seconds": 5,
    "input": {
        "mode": "text2video",
        "video_url": "https://example.com/a.mp4?sandbox-seconds=5",
        "text": "hello",
        "voice_id": "uk_boy1",
        "voice_language": "en",
    },
}


def forget_names_of_lips(monkeypatch: pytest.MonkeyPatch) -> None:
    """No id of ours is documented for lip-sync: a service that passes over it."""
    exchange = Transport.exchange

    async def nameless(self: Transport, method: str, path: str, body: bytes | None, timeout_s: float) -> Answer:
        if body is not None and path.endswith("/lip-sync"):
            body = json.dumps({**json.loads(body), "external_task_id": ""}).encode()
        return await exchange(self, method, path, body, timeout_s)

    monkeypatch.setattr(Transport, "exchange", nameless)


@pytest.mark.parametrize("line", [SAY, LIPS])
def test_what_another_product_made_without_a_name_is_not_taken_for_a_task_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: Mapping[str, object]
) -> None:
    """The answer to its create is lost, and handed out to another one that is refused: its item followed it in vain."""
    clip = {"id": "clip", "prompt": "[sandbox:policy]"}

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.UNRESOLVED
        assert rows(simulation) == {str(line["id"]): ("unknown", "unresolved"), "clip": ("failed", "policy")}
        assert [task.kind for task in simulation.world.tasks] == [line["kind"]]

    forget_names_of_lips(monkeypatch)
    faults = FaultPlan(script={"create": ["lost_answer", "other_answer"]})
    simulate(scenario(line, clip, slots=2, faults=faults), tmp_path, work)


@pytest.mark.parametrize("number", [1, 3, 6])
def test_an_answer_without_a_name_is_not_believed_about_two_items(tmp_path: Path, number: int) -> None:
    """After a loss, a question about an item is answered with another's task, which bears no name: it was taken up."""
    face = {"id": "face", "kind": "identify-face", "video_url": "https://example.com/a.mp4?sandbox-seconds=5"}
    chosen = {"face_id": {"item": "face"}, "sound_file": "https://example.com/a.mp3?sandbox-seconds=5"}
    times = {"sound_start_time": 0, "sound_end_time": 3000, "sound_insert_time": 0}
    talk = {"kind": "advanced-lip-sync", "session_id": {"item": "face"}, "seconds": 5, "face_choose": [chosen | times]}
    clip = {"id": "clip", "model_name": "kling-v1-6", "prompt": "a fox"}
    lines: list[Mapping[str, object]] = [face, {"id": "talk", **talk}, {"id": "talk-2", **talk}, clip]

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        simulation.manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        simulation.lose_store()
        assert (await run(simulation)).exit_code == ExitCode.OK
        made = [row["task_id"] for row in simulation.results()[1:]]
        assert len(simulation.world.tasks) == len(lines)
        assert len(set(made)) == len(made)

    faults = FaultPlan(script={"query": [""] * number + ["other_answer"]})
    simulate(scenario(*lines[:3], faults=faults), tmp_path, work)


def test_a_call_of_a_session_that_is_answered_with_what_opened_it_is_unknown(tmp_path: Path) -> None:
    """Both answers name the session: only what they say beside it tells them apart; the call itself was refused."""
    film = {"video_url": "https://example.com/a.mp4?sandbox-seconds=5"}
    opened = {"id": "opened", "kind": "init-selection", "credits": "1", **film}
    chosen = {"kind": "add-selection", "session_id": {"item": "opened"}, "points": [{"x": 0.5, "y": 0.25}]}
    lines: list[Mapping[str, object]] = [
        opened,
        {**chosen, "id": "third", "frame_index": 3},
        {**chosen, "id": "fourth", "frame_index": 4},
    ]

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.UNRESOLVED
        assert rows(simulation)["third"] == rows(simulation)["fourth"] == ("unknown", "unresolved")

    for create in (["", "other_answer", "other_answer"], ["", "lost_answer", "other_answer"]):
        faults = FaultPlan(script={"create": create})
        simulate(scenario(*lines, slots=1, faults=faults), Path(mkdtemp(dir=tmp_path)), work)


def test_alike_calls_may_be_answered_alike(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK

    faults = FaultPlan(script={"create": ["", "other_answer"]})
    simulate(scenario(SAY, {**SAY, "id": "again"}, slots=1, faults=faults), tmp_path, work)


def test_a_call_that_never_arrived_is_made_again_by_itself(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await run(simulation)
        assert summary.exit_code == ExitCode.OK
        assert simulation.ledger()[-1]["entry"] == "charge"

    simulate(scenario(SAY, faults=FaultPlan(script={"create": ["rate_429"]})), tmp_path, work)


def test_a_call_is_never_made_twice_whenever_the_run_dies(tmp_path: Path) -> None:
    tried = died = 0
    fates = set()
    while died == tried:
        moment = 1 + stride(7) * tried
        tried += 1
        folder = tmp_path / str(moment)
        folder.mkdir()

        async def work(simulation: Simulation, moment: int = moment) -> int:
            await simulation.run(die_at=moment)
            audit_always(simulation)
            summary = await run(simulation)
            assert len(simulation.world.tasks) <= 1, moment
            fates.add((summary.exit_code, summary.items.succeeded, len(simulation.world.tasks)))
            assert (await run(simulation)).exit_code == summary.exit_code
            return simulation.died

        died += simulate(scenario(SAY), folder, work)
    assert tried > 15
    # Finished; or its answer was lost with the run; or paid, and its links were lost with the run.
    assert fates >= {(0, 1, 1), (8, 0, 1), (3, 0, 1)}
    assert fates <= {(0, 1, 1), (8, 0, 1), (3, 0, 1), (8, 0, 0)}, "the last one is the moment before it is sent"


@pytest.mark.parametrize("has_file", [True, False])
def test_a_lost_store_makes_no_call_again(tmp_path: Path, *, has_file: bool) -> None:
    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        simulation.lose_store()
        if not has_file:
            (simulation.output_dir / "batch" / "say.mp3").unlink()
        summary = await run(simulation)
        assert summary.exit_code == (ExitCode.OK if has_file else ExitCode.UNRESOLVED)
        assert len(simulation.world.tasks) == 1
        assert summary.requests.submit == 0

    simulate(scenario(SAY), tmp_path, work)


@pytest.mark.parametrize("has_file", [True, False])
@pytest.mark.parametrize("meanwhile", [None, {"id": "say", "prompt": "a fox"}])
def test_a_call_whose_line_was_away_after_a_loss_is_not_made_again(
    tmp_path: Path, meanwhile: dict[str, object] | None, *, has_file: bool
) -> None:
    """A run without its line, or with a line of another product, came between: the call was paid a second time."""

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        simulation.lose_store()
        write(simulation, PICTURE, *([meanwhile] if meanwhile else []))
        assert (await simulation.run(budget={"video": 0})) is not None
        if not has_file:
            (simulation.output_dir / "batch" / "say.mp3").unlink()
        write(simulation, PICTURE, SAY)
        summary = await run(simulation)
        assert summary.exit_code == (ExitCode.OK if has_file else ExitCode.UNRESOLVED)
        assert rows(simulation)["say"] == (("succeeded", None) if has_file else ("unknown", "unresolved"))
        assert [task.kind for task in simulation.world.tasks] == ["images", "tts"]
        assert (await run(simulation)).exit_code == summary.exit_code
        if not has_file:
            assert (await run(simulation, repeat_lost=True)).exit_code == ExitCode.OK

    simulate(scenario(PICTURE, SAY), tmp_path, work)


@pytest.mark.parametrize(
    ("edit", "is_told"),
    [
        ("DELETE FROM request_stamps", False),
        ("UPDATE request_stamps SET scope = 'another'", True),
        ("UPDATE batches SET was_lost = 0", True),
    ],
)
def test_a_batch_does_not_forget_that_its_store_was_lost(tmp_path: Path, edit: str, *, is_told: bool) -> None:
    """The mark stood among the requests, without a seal: where it was harmed a paid call was made again."""

    async def work(simulation: Simulation) -> None:
        await run(simulation)
        simulation.lose_store()
        (simulation.output_dir / "batch" / "say.mp3").unlink()
        write(simulation, PICTURE)
        await simulation.run(budget={"video": 0})
        with closing(sqlite3.connect(simulation.output_dir / "state.db", isolation_level=None)) as db:
            db.execute(edit)
        write(simulation, PICTURE, SAY)
        if is_told:
            with pytest.raises(StoreError, match="is not as it was written"):
                await run(simulation)
        else:
            assert (await run(simulation)).exit_code == ExitCode.UNRESOLVED
        assert [task.kind for task in simulation.world.tasks] == ["images", "tts"]

    simulate(scenario(PICTURE, SAY), tmp_path, work)


def write(simulation: Simulation, *lines: Mapping[str, object]) -> None:
    simulation.manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.mark.parametrize("losses", [1, 2])
def test_a_call_whose_line_is_new_after_a_loss_is_made_by_itself(tmp_path: Path, losses: int) -> None:
    """Nobody called it: that is written beside the files, which outlive the store."""
    new = {**SAY, "id": "new", "text": "a hen"}

    async def work(simulation: Simulation) -> None:
        now = [SAY]
        for number in range(losses):
            assert (await run(simulation)).exit_code == ExitCode.OK
            simulation.lose_store()
            now.append({**new, "id": f"new-{number}"})
            write(simulation, *now)
        assert (await run(simulation)).exit_code == ExitCode.OK
        write(simulation, *now, {**new, "id": "late"})
        assert (await run(simulation)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 2 + losses

    simulate(scenario(SAY), tmp_path, work)


def test_a_call_that_may_have_been_paid_for_and_has_no_room_in_the_budget_waits_for_a_higher_one(
    tmp_path: Path,
) -> None:
    """It was told to be run again, in vain for ever (exit 7)."""

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        simulation.lose_store()
        (simulation.output_dir / "batch" / "say.mp3").unlink()
        assert (await run(simulation, budget={"video": Decimal("0.01")})).exit_code == ExitCode.BUDGET
        assert rows(simulation)["say"] == ("pending", "budget")
        assert (await run(simulation, budget={"video": Decimal(1)})).exit_code == ExitCode.UNRESOLVED

    simulate(scenario(SAY), tmp_path, work)


def test_a_batch_without_calls_keeps_no_log_of_them(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        path = simulation.output_dir / "batch" / ".calls.jsonl"
        assert (await run(simulation)).exit_code == ExitCode.OK
        assert not path.exists()
        write(simulation, PICTURE, SAY)
        assert (await run(simulation)).exit_code == ExitCode.OK
        assert [json.loads(line)[0] for line in path.read_text().splitlines()] == ["batch", "hero", "say"]

    simulate(scenario(PICTURE), tmp_path, work)


def gone(_: bytes) -> None:
    """Nothing is there."""


_SPOILT: Mapping[str, Callable[[bytes], bytes | None]] = {
    "missing": gone,
    "emptied": lambda _: b"",
    "cut": lambda content: content[: content.index(b"\n") - 1],
    "altered": lambda content: content.replace(b"say", b"saw"),
    "another batch's": lambda content: b"\n".join([b'["other", 2939744918]', *content.split(b"\n")[1:]]),
    "no JSON": lambda content: content + b"{\n",
}


@pytest.mark.parametrize("how", [*_SPOILT, "a link", "torn"])
def test_a_log_of_calls_that_is_not_whole_proves_nothing(tmp_path: Path, how: str) -> None:
    """But for a last line that was never finished: nothing was sent for it."""
    new = {**SAY, "id": "new", "text": "a hen"}

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        path = simulation.output_dir / "batch" / ".calls.jsonl"
        content = path.read_bytes()
        spoilt = content + b'["new", 12' if how == "torn" else _SPOILT.get(how, gone)(content)
        path.unlink()
        if spoilt is not None:
            path.write_bytes(spoilt)
        if how == "a link":
            (tmp_path / "outside").write_bytes(content)
            path.symlink_to(tmp_path / "outside")
        simulation.lose_store()
        write(simulation, SAY, new)
        for _ in range(2):
            summary = await run(simulation)
            stands = ("succeeded", None) if how == "torn" else ("unknown", "unresolved")
            assert rows(simulation) == {"say": ("succeeded", None), "new": stands}
        if how == "torn":
            assert path.read_bytes().startswith(content)
            assert path.read_bytes().count(b"\n") == 3
        assert how != "a link" or (tmp_path / "outside").read_bytes() == content
        assert summary.exit_code == (ExitCode.OK if how == "torn" else ExitCode.UNRESOLVED)

    simulate(scenario(SAY), tmp_path, work)


def test_a_log_of_calls_that_is_gone_is_written_anew_from_the_store(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        path = simulation.output_dir / "batch" / ".calls.jsonl"
        content = path.read_bytes()
        path.unlink()
        write(simulation, PICTURE)
        assert (await run(simulation)).exit_code == ExitCode.OK
        assert path.read_bytes() == content
        simulation.lose_store()
        (simulation.output_dir / ".lock").unlink()
        (simulation.output_dir / "batch" / "say.mp3").unlink()
        write(simulation, PICTURE, SAY)
        assert (await run(simulation)).exit_code == ExitCode.UNRESOLVED
        assert len(simulation.world.tasks) == 2

    simulate(scenario(SAY), tmp_path, work)


def test_a_call_is_never_made_twice_whenever_the_run_dies_and_its_store_is_lost(tmp_path: Path) -> None:
    tried = died = 0
    fates = set()
    while died == tried:
        moment = 1 + stride(7) * tried
        tried += 1
        folder = tmp_path / str(moment)
        folder.mkdir()

        async def work(simulation: Simulation, moment: int = moment) -> int:
            await simulation.run(die_at=moment)
            simulation.lose_store()
            write(simulation, PICTURE)
            await simulation.run(environ={"KLING_API_KEY": simulation.sandbox.api_key})
            write(simulation, PICTURE, SAY)
            calls = [task.kind for task in simulation.world.tasks].count("tts")
            summary = await run(simulation)
            made = [task.kind for task in simulation.world.tasks].count("tts")
            assert made <= 1, moment
            fates.add((summary.exit_code, calls, made))
            return simulation.died

        died += simulate(scenario(SAY), folder, work)
    assert tried > 15
    # Never sent, and that is known; finished, or found as a file; noted, and nobody knows whether it was sent.
    assert fates == {(0, 0, 1), (0, 1, 1), (8, 0, 0), (8, 1, 1)}


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_lost_store_takes_a_call_of_several_files_for_finished_only_with_all_of_them(
    tmp_path: Path, missing: int
) -> None:
    """Three masks, and the facts that say which is which and were written last."""
    parts = {"id": "parts", "kind": "image-recognize", "image": {"item": "hero"}}

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        paths = sorted(simulation.output_dir.glob("batch/parts-*"))
        assert [path.suffix for path in paths] == [".png", ".png", ".png", ".json"]
        for path in [*simulation.output_dir.glob("state.db*"), *paths[len(paths) - missing :]]:
            path.unlink()
        summary = await run(simulation)
        assert summary.requests.submit == 0
        assert rows(simulation)["parts"] == (("unknown", "unresolved") if missing else ("succeeded", None))
        told = {row["id"]: [file["path"] for file in row["files"]] for row in simulation.results()}
        assert told["parts"] == ([] if missing else [f"batch/{path.name}" for path in paths])

    simulate(scenario(PICTURE, parts), tmp_path, work)


@pytest.mark.parametrize("with_sources", [True, False])
def test_a_lost_store_finds_tasks_whose_lists_do_not_say_whose_they_are(tmp_path: Path, *, with_sources: bool) -> None:
    """Answers about advanced-lip-sync repeat no external id; its paid task is found whatever its sources came to."""
    face = {"id": "face", "kind": "identify-face", "video_url": "https://example.com/a.mp4?sandbox-seconds=5"}
    chosen = {"face_id": {"item": "face"}, "sound_file": "https://example.com/a.mp3?sandbox-seconds=5"}
    times = {"sound_start_time": 0, "sound_end_time": 3000, "sound_insert_time": 500}
    talk = {"id": "talk", "kind": "advanced-lip-sync", "session_id": {"item": "face"}, "seconds": 5}
    talk["face_choose"] = [{**chosen, **times}]

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        gone = [] if with_sources else [simulation.output_dir / "batch" / "face.json"]
        for path in [*simulation.output_dir.glob("state.db*"), *gone]:
            path.unlink()
        summary = await run(simulation)
        assert (summary.requests.submit, rows(simulation)["talk"]) == (0, ("succeeded", None))

    simulate(scenario(face, talk, repeat_policy="second"), tmp_path, work)


def unanswered(monkeypatch: pytest.MonkeyPatch, is_it: Callable[[str], bool], answer: Answer | None) -> list[str]:
    """Questions of some paths are answered with that, or their answers are lost; returns the paths asked in vain."""
    exchange, asked = Transport.exchange, []

    async def troubled(self: Transport, method: str, path: str, *args: Any) -> Answer:
        if method != "GET" or not is_it(path):
            return await exchange(self, method, path, *args)
        asked.append(path)
        if answer is not None:
            return answer
        await asyncio.sleep(30)
        raise LostError("no answer within 30 s")

    monkeypatch.setattr(Transport, "exchange", troubled)
    return asked


TROUBLED = Answer(503, {}, b'{"code": 5001, "message": "maintenance"}')


@pytest.mark.parametrize("answer", [TROUBLED, None])
def test_after_a_loss_an_item_of_which_the_account_does_not_tell_keeps_no_other_one_waiting(
    tmp_path: Path, answer: Answer | None
) -> None:
    """No list tells whose a task of advanced-lip-sync is; one question that was never answered stopped the batch."""
    face = {"id": "face", "kind": "identify-face", "video_url": "https://example.com/a.mp4?sandbox-seconds=5"}
    talks = [
        {
            "id": f"talk{number}",
            "kind": "advanced-lip-sync",
            "session_id": {"item": "face"},
            "seconds": 5,
            "face_choose": [
                {
                    "face_id": {"item": "face"},
                    "sound_file": "https://example.com/a.mp3?sandbox-seconds=5",
                    "sound_start_time": 0,
                    "sound_end_time": 3000,
                    "sound_insert_time": 500 + number,
                }
            ],
        }
        for number in range(3)
    ]

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        simulation.lose_store()
        simulation.manifest.write_text(
            "".join(json.dumps(line) + "\n" for line in [face, *talks, PICTURE]), encoding="utf-8"
        )
        name = next(row["external_task_id"] for row in simulation.results() if row["id"] == "talk1")
        began_s = simulation.clock.wall_s()
        with pytest.MonkeyPatch.context() as patch:
            asked = unanswered(patch, lambda path: name in path, answer)
            summary = await run(simulation)
        assert len(asked) >= 2
        assert (summary.exit_code, summary.requests.submit) == (ExitCode.STOPPED, 1), "the new picture alone"
        stands = rows(simulation)
        assert stands.pop("talk1") == ("pending", "stopped")
        assert set(stands.values()) == {("succeeded", None)}
        assert simulation.world.tasks[-1].created_at_s - began_s < 150
        [told] = [event.text for event in simulation.events if isinstance(event, Notice) and "talk1" in event.text]
        assert "does not tell whether it has a task" in told
        assert "run the same command again" in told
        again = await run(simulation)
        assert (again.exit_code, again.requests.submit) == (ExitCode.OK, 0)

    simulate(scenario(face, *talks, repeat_policy="second"), tmp_path, work)


def test_after_a_loss_the_task_of_an_item_that_is_taken_up_already_is_no_other_items(tmp_path: Path) -> None:
    """The answer about the second item's task is lost in one run; in the next one it tells of the first one's."""
    talks = [{"id": f"talk{number}", "kind": "advanced-lip-sync", **spoken(500 + number)} for number in range(2)]
    face = {"id": "face", "kind": "identify-face", "video_url": "https://example.com/a.mp4?sandbox-seconds=5"}
    exchange = Transport.exchange

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        names = {row["id"]: row["external_task_id"] for row in simulation.results()}
        made = {row["id"]: row["task_id"] for row in simulation.results()[1:]}
        simulation.lose_store()
        with pytest.MonkeyPatch.context() as patch:
            unanswered(patch, lambda path: names["talk1"] in path, TROUBLED)
            assert (await run(simulation)).exit_code == ExitCode.STOPPED

        async def strayed(self: Transport, method: str, path: str, *args: Any) -> Answer:
            return await exchange(self, method, path.replace(names["talk1"], names["talk0"]), *args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Transport, "exchange", strayed)
            summary = await run(simulation)
        assert (summary.exit_code, rows(simulation)["talk1"]) == (ExitCode.STOPPED, ("pending", "stopped"))
        told = [event.text for event in simulation.events if isinstance(event, Notice) and "talk1" in event.text]
        assert "is about another item's task too" in told[-1]
        again = await run(simulation)
        assert (again.exit_code, again.requests.submit) == (ExitCode.OK, 0)
        assert {row["id"]: row["task_id"] for row in simulation.results()[1:]} == made

    simulate(scenario(face, *talks, repeat_policy="second"), tmp_path, work)


def spoken(at_ms: int) -> dict[str, object]:
    """What advanced-lip-sync is to put into the mouth of the face, from a moment on."""
    chosen = {"face_id": {"item": "face"}, "sound_file": "https://example.com/a.mp3?sandbox-seconds=5"}
    times = {"sound_start_time": 0, "sound_end_time": 3000, "sound_insert_time": at_ms}
    return {"session_id": {"item": "face"}, "seconds": 5, "face_choose": [chosen | times]}


def test_what_is_finished_needs_no_api_key_any_more(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        simulation.manifest.write_text("".join(json.dumps(line) + "\n" for line in [TURBO, PICTURE]), encoding="utf-8")
        summary = await simulation.run()  # with a key pair
        assert summary is not None
        assert (summary.exit_code, summary.items.succeeded, summary.requests.submit) == (ExitCode.OK, 2, 1)

    simulate(scenario(TURBO), tmp_path, work)


def test_after_a_loss_answers_that_were_exchanged_are_taken_for_nobodys(tmp_path: Path) -> None:
    """Asked at the same time, one item was answered with the other's task: none of both answers is believed."""
    tasks = {task_id: Task(task_id, None, TaskStatus.SUCCEEDED) for task_id in ("a", "b")}
    asked: list[str] = []

    class Client:
        async def find(self, route: Route, name: str, *, by_external_id: bool) -> Task:
            assert by_external_id
            assert not route.tells_external_id
            asked.append(name)
            await asyncio.sleep(len(asked) % 3)
            return tasks["a"] if len(asked) <= 2 else tasks[owned[name]]

    async def nobody(_batch: Batch, _task_ids: Collection[str]) -> dict[str, set[str]]:
        return {}

    lines = [Line("one", "1" * 8), Line("two", "2" * 8)]
    owned = {str(ExternalId.of("batch", "one", 1, "1" * 8)): "a", str(ExternalId.of("batch", "two", 1, "2" * 8)): "b"}

    async def work(_: Simulation) -> None:
        context = SimpleNamespace(
            client=Client(),
            store=SimpleNamespace(owners=nobody),
            batch=SimpleNamespace(name="batch"),
            rng=random.Random(0),
            halt=Halt(),
            well=lambda: None,
            trouble=lambda _: None,
        )
        await ask_by_name(cast("Context", context), catalog.route("advanced-lip-sync", ""), lines)

    simulate(scenario(SAY), tmp_path, work)
    assert [[task.task_id for _, task in line.found] for line in lines] == [["a"], ["b"]]
    assert all(line.is_settled for line in lines)
    assert len(asked) == 4


@pytest.mark.parametrize("answer", [TROUBLED, None])
def test_a_list_that_is_never_shown_stops_nothing_but_its_own_product(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer | None
) -> None:
    unanswered(monkeypatch, lambda path: path.startswith("/v1/images/generations?"), answer)

    async def work(simulation: Simulation) -> None:
        began_s = simulation.clock.wall_s()
        summary = await run(simulation)
        assert rows(simulation) == {"hero": ("pending", "stopped"), "film": ("succeeded", None)}
        assert (summary.exit_code, summary.requests.submit) == (ExitCode.STOPPED, 1)
        assert simulation.world.tasks[-1].created_at_s - began_s < 150
        told = [event.text for event in simulation.events if isinstance(event, Notice) and event.urgent]
        assert len(told) == 1
        assert told[0].startswith("hero: the account does not tell whether it has a task of an earlier run")

    simulate(scenario(PICTURE, {"id": "film", "prompt": "a fox"}), tmp_path, work)


def test_where_no_list_is_ever_shown_nothing_is_submitted_and_it_is_said_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can see from a new folder whether an earlier one, now gone, had its tasks made already."""
    unanswered(monkeypatch, lambda path: "?pageNum=" in path, TROUBLED)

    async def work(simulation: Simulation) -> None:
        summary = await run(simulation)
        assert (summary.exit_code, summary.requests.submit) == (ExitCode.STOPPED, 0)
        assert rows(simulation) == {"hero": ("pending", "stopped")}
        [told] = [event.text for event in simulation.events if isinstance(event, Notice) and event.urgent]
        assert "/v1/images/generations, which has to tell what earlier runs made before anything is submitted" in told
        assert "5001" in told
        assert "run the same command again later" in told

    simulate(scenario(PICTURE), tmp_path, work)


def test_a_chain_of_products_runs_in_its_own_order(tmp_path: Path) -> None:
    longer = {"id": "longer", "kind": "video-extend", "video_id": {"item": "walk"}}
    face = {"id": "face", "kind": "identify-face", "video_id": {"item": "walk"}}

    async def work(simulation: Simulation) -> None:
        summary = await run(simulation)
        assert summary.exit_code == ExitCode.OK, rows(simulation)
        kinds = [task.kind for task in simulation.world.tasks]
        assert kinds.index("images") < kinds.index("image2video") < kinds.index("video-extend")
        assert names(simulation) == ["hero.png", "longer.mp4", "walk.mp4"]
        found = json.loads((simulation.output_dir / "batch" / "face.json").read_text(encoding="utf-8"))
        assert found["face_data"][0]["face_id"]
        before, requests = simulation.tree(), len(simulation.world.request_stamps)
        await run(simulation)
        assert simulation.tree() == before, "promise 6"
        assert len(simulation.world.request_stamps) == requests

    simulate(scenario(longer, face, WALK, PICTURE), tmp_path, work)


def test_what_hangs_on_a_failed_item_is_not_submitted_until_it_succeeds(tmp_path: Path) -> None:
    bad = {**PICTURE, "prompt": "a fox [sandbox:fail]"}

    async def work(simulation: Simulation) -> None:
        summary = await run(simulation)
        assert summary.exit_code == ExitCode.ITEMS_FAILED
        assert rows(simulation)["walk"] == ("failed", "source")
        assert {row["id"]: row["attempts"] for row in simulation.results()}["walk"] == 0
        assert len(simulation.world.tasks) == 1
        simulation.manifest.write_text("".join(json.dumps(item) + "\n" for item in (PICTURE, WALK)), encoding="utf-8")
        mended = await run(simulation)
        assert mended.exit_code == ExitCode.OK, rows(simulation)

    simulate(scenario(bad, WALK), tmp_path, work)


def test_a_task_of_several_images_never_finds_the_account_full(tmp_path: Path) -> None:
    many = [{**PICTURE, "id": f"p{number}", "n": count} for number, count in enumerate((3, 1, 4, 2, 4, 1))]

    async def work(simulation: Simulation) -> None:
        summary = await run(simulation)
        assert summary.exit_code == ExitCode.OK
        assert len(names(simulation)) == 15
        assert simulation.world.peak_in_flight == 4

    simulate(scenario(*many, slots=4), tmp_path, work)


def test_more_images_than_slots_are_a_problem_before_anything_is_sent(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        with pytest.raises(ManifestError, match=r"line 1, n: .*9 .*4"):
            await run(simulation)
        assert not simulation.world.request_stamps

    simulate(scenario({**PICTURE, "n": 9}, slots=4), tmp_path, work)


@pytest.mark.parametrize("repeat", ["refuse", "same", "second"])
@pytest.mark.parametrize("fault", ["lost_answer", "server_error_before", "server_error_after", "html_200"])
def test_the_second_generation_never_pays_twice_either(tmp_path: Path, repeat: RepeatPolicy, fault: str) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await run(simulation)
        assert summary.exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 1
        assert names(simulation) == ["turbo.mp4"]

    faults = FaultPlan(script={"create": [fault]})
    simulate(scenario(TURBO, faults=faults, repeat_policy=repeat, visible_after_s=3.0), tmp_path, work)


def test_a_lost_store_finds_the_tasks_of_the_second_generation_again(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        environ = {"KLING_API_KEY": simulation.sandbox.api_key}
        await simulation.run(environ=environ, max_runtime_s=10.0)
        simulation.lose_store()
        summary = await run(simulation)
        assert summary.exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 2

    other = {"id": "other", "model_name": "kling-v1", "prompt": "a fox"}
    simulate(scenario(TURBO, other, repeat_policy="second"), tmp_path, work)


def test_many_tasks_of_the_second_generation_are_asked_for_in_few_requests(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        summary = await run(simulation)
        assert summary.items.succeeded == 30
        assert summary.requests.poll < 150

    items = [{**TURBO, "id": f"t{number}"} for number in range(30)]
    simulate(scenario(*items, slots=30), tmp_path, work)


def test_a_submission_without_an_id_of_ours_is_not_repeated_by_itself(tmp_path: Path) -> None:
    """Old lip-sync: nothing documents that the service knows our id for it, so absence proves nothing."""
    talk = {
        "id": "talk",
        "kind": "lip-sync",
        "input": {
            "mode": "text2video",
            "video_id": {"item": "clip"},
            "text": "hello",
            "voice_id": "genshin_vindi2",
            "voice_language": "en",
        },
        "seconds": 5,
    }
    clip = {"id": "clip", "model_name": "kling-v1-6", "prompt": "a fox"}

    async def work(simulation: Simulation) -> None:
        summary = await run(simulation)
        assert (summary.exit_code, summary.items.unknown) == (ExitCode.UNRESOLVED, 1)
        creates = summary.requests.submit
        assert creates == 2, "the clip, and the lip-sync once"
        assert (await run(simulation)).requests.submit == 0
        environ = {"KLING_API_KEY": simulation.sandbox.api_key}
        repeated = await simulation.run(environ=environ, repeat_lost=True)
        assert repeated is not None
        assert repeated.exit_code == ExitCode.OK
        assert repeated.credits["video"].consumed == Decimal(3), "given up counts as paid: 2 + 0.5 + 0.5"

    faults = FaultPlan(script={"create": ["", "reset_before"]})
    simulate(scenario(clip, talk, faults=faults), tmp_path, work)


def test_a_lost_submission_is_looked_for_before_the_users_word_makes_it_again(tmp_path: Path) -> None:
    """The run died when the old lip-sync was made; the account shows the task, so that nothing is to be paid twice."""
    words = {"mode": "text2video", "text": "hello", "voice_id": "genshin_vindi2", "voice_language": "en"}
    film = {"video_url": "https://example.com/a.mp4?sandbox-seconds=5"}
    talk = {"id": "talk", "kind": "lip-sync", "input": {**film, **words}, "seconds": 5}

    def dies(moment: int, work: Callable[[Simulation], Any]) -> Any:
        async def die(simulation: Simulation) -> Any:
            assert await simulation.run(die_at=moment) is None
            return await work(simulation)

        return simulate(scenario(talk), Path(mkdtemp(dir=tmp_path)), die)

    async def has_task(simulation: Simulation) -> bool:
        return bool(simulation.world.tasks)

    async def play_on(simulation: Simulation) -> None:
        assert (await run(simulation, repeat_lost=True)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 1

    dies(bisect_left(range(200), x=True, lo=1, key=lambda moment: dies(moment, has_task)), play_on)


def test_paid_tasks_of_lines_that_are_gone_are_told_when_the_store_is_lost_too(tmp_path: Path) -> None:
    kept, gone = ({"id": name, "prompt": name} for name in ("kept", "gone"))

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).items.succeeded == 2
        simulation.lose_store()
        simulation.manifest.write_text(json.dumps(kept) + "\n", encoding="utf-8")
        await simulation.run()
        told = [event.text for event in simulation.events if isinstance(event, Notice) and event.urgent]
        assert any("1 task of this batch" in text and "put the line back" in text for text in told)

    simulate(scenario(kept, gone), tmp_path, work)


def test_a_source_that_the_account_may_not_ask_for_leaves_no_hold(tmp_path: Path) -> None:
    """Its link is asked for before anything is submitted, and the keys are refused by then."""
    walk = {"id": "walk", "kind": "text2video", "model_name": "kling-v1-6", "prompt": "it walks", "duration": 5}
    moved = {
        "id": "moved",
        "kind": "motion-control",
        "model_name": "kling-v2-6",
        "mode": "std",
        "seconds": 5,
        "image_url": "https://example.com/a.png",
        "character_orientation": "image",
        "video_url": {"item": "walk"},
    }

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation, budget=["2"])).exit_code == ExitCode.BUDGET
        summary = await simulation.run(environ={"KLING_API_KEY": "x" * 32})
        assert summary is not None
        assert (summary.exit_code, rows(simulation)["moved"]) == (ExitCode.ACCOUNT, ("pending", "account"))
        assert not summary.credits["video"].held
        assert (await run(simulation)).exit_code == ExitCode.OK

    simulate(scenario(walk, moved), tmp_path, work)


def test_submissions_sent_again_keep_to_a_limit_that_was_lowered(tmp_path: Path) -> None:
    """Four submissions that never arrived, a kill, and a next run that may have one task at a time."""
    items = [{"id": f"i{number}", "prompt": "x", "model_name": "kling-v2-5-turbo"} for number in range(4)]

    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=8.0) is None
        assert not simulation.world.tasks
        environ = {"KLING_API_KEY": simulation.sandbox.api_key}
        summary = await simulation.run(environ=environ, max_concurrent=1)
        assert summary is not None
        assert (summary.exit_code, summary.items.succeeded) == (ExitCode.OK, 4)
        assert simulation.world.peak_in_flight == 1

    faults = FaultPlan(script={"create": ["reset_before"] * 4})
    simulate(scenario(*items, slots=4, faults=faults), tmp_path, work)


def test_a_lost_store_holds_no_more_for_lost_calls_than_the_budget_allows(tmp_path: Path) -> None:
    calls = [{**SAY, "id": f"say{number}"} for number in range(4)]

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).items.succeeded == 4
        for path in [*simulation.output_dir.glob("state.db*"), *simulation.output_dir.glob("batch/*.mp3")]:
            path.unlink()
        summary = await run(simulation, budget={"video": "0.1"})
        assert summary.credits["video"].held == Decimal("0.1")
        assert (summary.items.unknown, summary.items.pending, summary.requests.submit) == (2, 2, 0)
        assert summary.exit_code == ExitCode.UNRESOLVED

    simulate(scenario(*calls), tmp_path, work)


def test_the_users_word_counts_in_the_first_run_after_a_loss(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        await run(simulation)
        for path in [*simulation.output_dir.glob("state.db*"), *simulation.output_dir.glob("batch/*.mp3")]:
            path.unlink()
        assert (await run(simulation, repeat_lost=True)).exit_code == ExitCode.OK

    simulate(scenario(SAY), tmp_path, work)


@pytest.mark.parametrize("order", [(2, 1), (1, 2)])
@pytest.mark.parametrize("is_finished", [True, False])
def test_a_line_whose_file_would_be_called_like_that_of_a_removed_line_is_refused(
    tmp_path: Path,
    order: tuple[int, int],
    is_finished: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """It was paid for, and then waited for ever for its name; the other's line had left the manifest before."""
    several, one = {**PICTURE, "id": "a", "n": 2}, {**PICTURE, "id": "a-2", "n": 1}
    before, after = (several, one) if order == (2, 1) else (one, several)

    async def work(simulation: Simulation) -> None:
        await run(simulation, **({} if is_finished else {"max_runtime_s": 2}))
        simulation.manifest.write_text(json.dumps(after), encoding="utf-8")
        with pytest.raises(ManifestError, match=r"may both make a file called 'a-2\.png'") as caught:
            await run(simulation)
        assert [(problem.line, problem.field) for problem in caught.value.problems] == [(1, "id")]
        assert len(simulation.world.tasks) == 1

    simulate(scenario(before), tmp_path, work)


def test_two_items_of_one_name_that_an_earlier_version_took_in_do_not_stop_a_rerun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one's file waits for its name, as it did then; a third one is refused as ever."""
    pair, third = [{**PICTURE, "id": "a", "n": 2}, {**PICTURE, "id": "a-2", "n": 1}], {**PICTURE, "id": "a-1", "n": 1}

    async def work(simulation: Simulation) -> None:
        with monkeypatch.context() as earlier:
            earlier.setattr(Registry, "rivals", lambda *_: iter(()))
            assert (await run(simulation)).exit_code == ExitCode.DISK
        assert (await run(simulation)).exit_code == ExitCode.DISK
        lines = [json.dumps(line) for line in (*pair, third)]
        simulation.manifest.write_text("\n".join(lines), encoding="utf-8")
        with pytest.raises(ManifestError, match=r"may both make a file called 'a-1\.png'"):
            await run(simulation)
        edited = [json.dumps(line) for line in ({**pair[0], "n": 2}, pair[1])]
        simulation.manifest.write_text("\n".join(edited), encoding="utf-8")
        (simulation.output_dir / "batch" / "a-2.png").rename(simulation.output_dir / "batch" / "moved.png")
        assert (await run(simulation)).exit_code == ExitCode.OK
        assert len(simulation.world.tasks) == 2

    simulate(scenario(*pair, slots=3), tmp_path, work)


def test_a_line_that_is_edited_into_a_rival_is_refused_although_nothing_was_paid(tmp_path: Path) -> None:
    before = [{**PICTURE, "id": "a", "n": 1}, {**PICTURE, "id": "a-2", "n": 1}]

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation, budget={"image": "0"})).items.pending == 2
        edited = [json.dumps({**before[0], "n": 2}), json.dumps(before[1])]
        simulation.manifest.write_text("\n".join(edited), encoding="utf-8")
        with pytest.raises(ManifestError, match=r"'a' and 'a-2' may both make a file called 'a-2\.png'"):
            await run(simulation)

    simulate(scenario(*before), tmp_path, work)


def test_a_lost_store_takes_a_picture_in_which_nothing_was_found_for_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then there is one file alone, which is called neither like a picture nor by a number."""
    monkeypatch.setattr(results, "MASKS", ("object_seg",))
    parts = {"id": "parts", "kind": "image-recognize", "image": {"item": "hero"}}

    async def work(simulation: Simulation) -> None:
        assert (await run(simulation)).exit_code == ExitCode.OK
        assert [path.name for path in simulation.output_dir.glob("batch/parts*")] == ["parts.json"]
        simulation.lose_store()
        summary = await run(simulation)
        assert (summary.requests.submit, summary.exit_code) == (0, ExitCode.OK)

    simulate(scenario(PICTURE, parts), tmp_path, work)


def test_a_run_that_dies_while_a_call_waits_for_its_turn_leaves_nothing_in_doubt(tmp_path: Path) -> None:
    """The intent was recorded before the wait for the minute's next request, so that its fate read as unknown."""

    async def work(simulation: Simulation) -> None:
        assert await simulation.run(rpm=2, die_after_s=40.0) is None
        assert 0 < len(simulation.world.tasks) < 4, "some were made, and some waited"
        summary = await run(simulation)
        assert (summary.exit_code, summary.items.succeeded, len(simulation.world.tasks)) == (ExitCode.OK, 4, 4)

    says = [{**SAY, "id": f"say{number}", "text": f"a fox, {number}"} for number in range(4)]
    simulate(scenario(*says, slots=4), tmp_path, work)
