"""What a lost ``state.db`` leaves behind while its batch goes on: removed and edited lines, runs that die or stop."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from simulation import Simulation
from simulation_books import BatchBooks
from test_run import done, lines, notices, play, rows
from test_run_products import SAY, TROUBLED, unanswered

from batch_runner.errors import DiskFullError, ExitCode, ManifestError
from batch_runner.events import BatchFinished, Notice
from batch_runner.folder import held_folder
from batch_runner.kling import KlingClient
from batch_runner.kling.transport import Answer, Transport
from batch_runner.lifecycle import ExternalId
from batch_runner.model import Page, Realm, Route, Task, TaskStatus
from batch_runner.runner import Run
from batch_runner.runner import lists as noted_lists
from batch_runner.runner.inquiry import Line
from batch_runner.runner.lists import LISTS, BatchLists
from batch_runner.store import Batch

IN_FLIGHT_S = 25.0
"""By then the lines were submitted, and no task has ended."""


async def lost_in_flight(simulation: Simulation) -> None:
    """The program dies with every line's task in flight, and its store is lost."""
    assert await simulation.run(die_after_s=IN_FLIGHT_S) is None
    assert simulation.world.tasks
    lose(simulation)


def lose(simulation: Simulation) -> None:
    simulation.lose_store()
    simulation.has_lost = True


def write(simulation: Simulation, *kept: str) -> None:
    simulation.manifest.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


@pytest.mark.parametrize("ending", [{"die_after_s": 3}, {"max_runtime_s": 3}], ids=["killed", "stopped"])
def test_a_line_that_left_after_a_run_which_did_not_come_to_its_search_is_told(
    tmp_path: Path, ending: dict[str, Any]
) -> None:
    async def work(simulation: Simulation) -> None:
        await lost_in_flight(simulation)
        await simulation.run(**ending)
        write(simulation, lines("a", "b")[1])
        assert (await done(simulation)).exit_code == ExitCode.UNRESOLVED
        assert "belongs to a line that is not in the manifest any more" in notices(simulation)
        assert (await done(simulation)).exit_code == ExitCode.OK, "told once"
        write(simulation, *lines("a", "b"))
        summary = await done(simulation)
        assert (summary.exit_code, summary.items.succeeded, len(simulation.world.tasks)) == (ExitCode.OK, 2, 2)

    play(tmp_path, work, "a", "b")


@pytest.mark.parametrize("stop_after_s", [3, 70, 100, 130])
def test_what_has_no_line_is_news_until_a_run_has_ended_with_it(tmp_path: Path, stop_after_s: float) -> None:
    """A run that is stopped before its search is over, and one that is after it, leave the news to the next one."""

    async def work(simulation: Simulation) -> None:
        await lost_in_flight(simulation)
        write(simulation, lines("a", "b")[1])
        assert (await done(simulation, max_runtime_s=stop_after_s)).exit_code == ExitCode.STOPPED
        summary = await done(simulation)
        assert (summary.exit_code, summary.items.succeeded) == (ExitCode.UNRESOLVED, 1)
        last = await done(simulation)
        assert (last.exit_code, last.requests.total) == (ExitCode.OK, 0), "told, and a finished batch costs nothing"

    play(tmp_path, work, "a", "b")


def test_a_run_that_dies_when_every_item_is_finished_leaves_the_news_to_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(simulation: Simulation) -> None:
        await lost_in_flight(simulation)
        write(simulation, lines("a", "b")[1])
        with monkeypatch.context() as patch:
            patch.setattr(Run, "_record", lambda *_: asyncio.sleep(1e6))
            assert await simulation.run(die_after_s=1000) is None
        assert (await done(simulation)).exit_code == ExitCode.UNRESOLVED

    play(tmp_path, work, "a", "b")


PICTURE = json.dumps({"id": "pic", "kind": "images", "prompt": "p"})


@pytest.mark.parametrize("left", [PICTURE, None], ids=["another product", "no line"])
def test_a_loss_is_followed_by_a_search_of_lists_that_no_line_is_left_of(tmp_path: Path, left: str | None) -> None:
    async def work(simulation: Simulation) -> None:
        whole = (*lines("a"), PICTURE)
        write(simulation, *whole)
        await lost_in_flight(simulation)
        write(simulation, *([left] if left else []))
        assert (await done(simulation)).exit_code == ExitCode.UNRESOLVED
        assert (await done(simulation)).requests.total == 0
        write(simulation, *whole)
        summary = await done(simulation)
        assert (summary.exit_code, summary.items.succeeded, len(simulation.world.tasks)) == (ExitCode.OK, 2, 2)

    play(tmp_path, work, "a")


@pytest.mark.parametrize("is_away_first", [False, True])
def test_a_line_that_became_another_product_after_a_loss_is_not_paid_again(
    tmp_path: Path, *, is_away_first: bool
) -> None:
    async def work(simulation: Simulation) -> None:
        await lost_in_flight(simulation)
        if is_away_first:
            write(simulation, PICTURE)
            assert (await done(simulation)).exit_code == ExitCode.UNRESOLVED
        write(simulation, OMNI)
        with pytest.raises(ManifestError, match="earlier text"):
            await simulation.run()
        assert len([task for task in simulation.world.tasks if task.kind != "images"]) == 1
        write(simulation, *lines("a"))
        assert (await done(simulation)).exit_code == ExitCode.OK

    play(tmp_path, work, "a")


FILMS, PICTURES = "/v1/videos/text2video", "/v1/images/generations"
OMNI = json.dumps({"id": "i0", "kind": "omni-video", "prompt": "a", "aspect_ratio": "16:9", "duration": "5"})


def urgent(simulation: Simulation) -> list[str]:
    return [event.text for event in simulation.events if isinstance(event, Notice) and event.urgent]


@pytest.mark.parametrize("others", [(), ("b",)], ids=["no line left", "a line left"])
def test_a_line_that_became_another_product_waits_where_the_list_of_the_old_one_does_not_tell(
    tmp_path: Path, others: tuple[str, ...]
) -> None:
    async def work(simulation: Simulation) -> None:
        await lost_in_flight(simulation)
        made = len(simulation.world.tasks)
        write(simulation, OMNI, *lines("a", *others)[1:])
        with pytest.MonkeyPatch.context() as patch:
            unanswered(patch, lambda path: path.startswith(FILMS), TROUBLED)
            summary = await done(simulation)
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.STOPPED, made)
        assert rows(simulation)["i0"] == ("pending", "stopped")
        [told] = urgent(simulation)
        assert told.startswith(f"{FILMS} does not tell whether it has tasks of lines that are gone or were edited")
        assert "5001" in told
        assert (LISTS in told) == (not others), "only where nothing else is searched for there"
        with pytest.raises(ManifestError, match="earlier text"):
            await simulation.run()
        assert len(simulation.world.tasks) == made

    play(tmp_path, work, "a", *others)


def test_a_list_that_never_tells_is_not_searched_any_more_when_its_line_is_taken_out(tmp_path: Path) -> None:
    """What the lists that tell have is collected meanwhile, and a call that is new waits as other lines do."""

    async def work(simulation: Simulation) -> None:
        write(simulation, *lines("a"), PICTURE, json.dumps(SAY))
        await lost_in_flight(simulation)
        late = json.dumps({**SAY, "id": "late", "text": "a hen"})
        write(simulation, *lines("a", "new"), json.dumps(SAY), late)
        path = simulation.batch_dir / LISTS
        with pytest.MonkeyPatch.context() as patch:
            unanswered(patch, lambda path: path.startswith(PICTURES), TROUBLED)
            summary = await done(simulation)
            assert summary.exit_code == ExitCode.STOPPED
            pending = ("pending", "stopped")
            stands = rows(simulation)
            assert [stands[name] for name in ("i0", "i1", "late")] == [("succeeded", None), pending, pending]
            told = next(text for text in urgent(simulation) if text.startswith(PICTURES))
            line = told.partition("take the line ")[2].partition(" out of ")[0]
            never = "if this batch never had a task there, also none of lines that are gone"
            assert f"or, {never}, take the line {line} out of {path}; " in told
            path.write_text(path.read_text(encoding="utf-8").replace(f"{line}\n", ""), encoding="utf-8")
            last = await simulation.run()
            assert last is not None
            assert last.exit_code == ExitCode.OK, "the user's word is taken: the picture is given up"
            assert {rows(simulation)[name] for name in ("i0", "i1", "late")} == {("succeeded", None)}

    play(tmp_path, work, "-")


FORBIDDEN = Answer(403, {}, b'{"code": 1103, "message": "no permission", "request_id": "x"}')


NO_KEYS = Answer(401, {}, b'{"code": 1002, "message": "invalid key", "request_id": "x"}')


@pytest.mark.parametrize("manifest", [[], [json.dumps(SAY), json.dumps({**SAY, "id": "late", "text": "a hen"})]])
def test_a_list_that_the_account_may_not_see_says_that_the_keys_are_good(tmp_path: Path, manifest: list[str]) -> None:
    async def work(simulation: Simulation) -> None:
        write(simulation, PICTURE, json.dumps(SAY))
        await lost_in_flight(simulation)
        write(simulation, *manifest)
        with pytest.MonkeyPatch.context() as patch:
            unanswered(patch, lambda path: path.startswith(PICTURES), FORBIDDEN)
            summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.STOPPED
        [told] = [text for text in urgent(simulation) if text.startswith(PICTURES)]
        assert "1103" in told
        assert f"out of {simulation.batch_dir / LISTS}" in told

    play(tmp_path, work, "-")


def test_a_list_that_contradicts_itself_says_that_the_keys_are_good(tmp_path: Path) -> None:
    """Another one, of no line either, is refused for a reason that may be one of the keys."""

    async def work(simulation: Simulation) -> None:
        write(simulation, *lines("a"), PICTURE)
        await lost_in_flight(simulation)
        write(simulation)
        shown = itertools.count(1)

        page = KlingClient.page

        async def other_at_each_look(client: KlingClient, route: Route, number: int, size: int) -> Page:
            if route.list_path != FILMS:
                return await page(client, route, number, size)
            return Page([Task(f"{next(shown)}", None, TaskStatus.FAILED)] if number == 1 else [])

        with pytest.MonkeyPatch.context() as patch:
            unanswered(patch, lambda path: path.startswith(PICTURES), NO_KEYS)
            patch.setattr(KlingClient, "page", other_at_each_look)
            summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.STOPPED
        assert any("contradict" in text for text in urgent(simulation))

    play(tmp_path, work, "-")


@pytest.mark.parametrize("is_heard", [True, False])
def test_a_list_of_no_line_that_is_refused_ends_the_run_only_where_no_other_one_tells(
    tmp_path: Path, *, is_heard: bool
) -> None:
    async def work(simulation: Simulation) -> None:
        write(simulation, *lines("a"), PICTURE)
        await lost_in_flight(simulation)
        write(simulation, *(lines("a", "new") if is_heard else ()))
        with pytest.MonkeyPatch.context() as patch:
            unanswered(patch, lambda path: path.startswith(PICTURES) or not is_heard, NO_KEYS)
            summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == (ExitCode.STOPPED if is_heard else ExitCode.ACCOUNT)
        assert "1002" in " ".join(urgent(simulation))
        if is_heard:
            assert [rows(simulation)[name][0] for name in ("i0", "i1")] == ["succeeded", "pending"]

    play(tmp_path, work, "-")


def test_a_line_that_became_a_call_after_a_loss_is_not_paid_again(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        write(simulation, *lines("a"), json.dumps(SAY))
        await lost_in_flight(simulation)
        write(simulation, json.dumps({**SAY, "id": "i0"}), json.dumps(SAY))
        with pytest.raises(ManifestError, match="earlier text"):
            await simulation.run()
        assert [task.kind for task in simulation.world.tasks].count("tts") == 1

    play(tmp_path, work, "-")


@pytest.mark.parametrize("content", [b"", b"\xff\n", b"[" * 9999 + b"\n", b'["of-a-later-version", "x"]\n{}\n[1, 2]\n'])
def test_lists_that_nobody_can_read_leave_those_of_the_manifest(tmp_path: Path, content: bytes) -> None:
    async def work(simulation: Simulation) -> None:
        await lost_in_flight(simulation)
        path = simulation.batch_dir / LISTS
        whole = path.read_bytes()
        path.write_bytes(content)
        summary = await done(simulation)
        assert (summary.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)
        assert path.read_bytes() == content + whole

    play(tmp_path, work, "a")


def test_names_in_a_folder_that_was_copied_are_another_batchs(tmp_path: Path) -> None:
    ours, theirs = (str(ExternalId.of(name, "i0", 1, "f" * 64)) for name in ("batch", "other"))
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / LISTS).write_text("".join(f'"{name}"\n' for name in (theirs, ours)), encoding="utf-8")
    names = asyncio.run(BatchLists(tmp_path, Batch(1, "batch", Realm.LOCAL)).names())
    assert [str(name) for name in names] == [ours]


def test_a_full_disk_on_which_no_list_can_be_noted_collects_what_is_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _: object) -> None:
        raise DiskFullError(f"cannot write {path}: the disk is full")

    async def work(simulation: Simulation) -> None:
        assert await simulation.run(die_after_s=IN_FLIGHT_S) is None
        picture = json.dumps({"id": "picture", "kind": "images", "model_name": "kling-v2-1", "prompt": "a fox"})
        write(simulation, *lines("a"), picture)
        with monkeypatch.context() as patched:
            patched.setattr(noted_lists, "write_atomically", full)
            summary = await done(simulation)
        assert (summary.exit_code, summary.items.succeeded, summary.items.pending) == (ExitCode.DISK, 1, 1)
        assert len(simulation.world.tasks) == 1, "nothing was submitted"
        assert (await done(simulation)).items.succeeded == 2

    play(tmp_path, work, "a")


def test_a_list_that_these_keys_do_not_reach_keeps_new_lines_waiting_and_collects_the_others(tmp_path: Path) -> None:
    newer = json.dumps({"id": "newer", "prompt": "n", "model_name": "kling-3.0-turbo"})

    async def work(simulation: Simulation) -> None:
        by_pair, by_key = simulation.environ, {"KLING_API_KEY": simulation.sandbox.api_key}
        write(simulation, *lines("a"), newer)
        simulation.environ = by_key
        await lost_in_flight(simulation)
        write(simulation, *lines("a", "new"))
        simulation.environ = by_pair
        summary = await done(simulation)
        assert (summary.exit_code, summary.items.succeeded) == (ExitCode.STOPPED, 1)
        assert rows(simulation)["i1"] == ("pending", "stopped"), "it may have been a line of that list"
        assert "does not tell whether it has tasks of lines that are gone" in notices(simulation)
        simulation.environ = by_key
        summary = await done(simulation)
        assert (summary.exit_code, summary.items.succeeded) == (ExitCode.UNRESOLVED, 2)

    play(tmp_path, work, "a")


FACE = {"id": "face", "kind": "identify-face", "video_url": "https://example.com/a.mp4?sandbox-seconds=5"}


def talk(inserted_at_ms: int = 0, *, name: str = "talk", ends_ms: int = 3000) -> dict[str, Any]:
    """A line of advanced-lip-sync, whose answers never say whose a task is."""
    chosen = {"face_id": {"item": "face"}, "sound_file": "https://example.com/a.mp3?sandbox-seconds=5"}
    times = {"sound_start_time": 0, "sound_end_time": ends_ms, "sound_insert_time": inserted_at_ms}
    face = {"session_id": {"item": "face"}, "face_choose": [{**chosen, **times}]}
    return {"id": name, "kind": "advanced-lip-sync", "seconds": 5, **face}


def refuse_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first submission of an advanced-lip-sync is refused, and makes no task."""
    exchange = Transport.exchange
    refused: list[str] = []

    async def refusing(self: Transport, method: str, path: str, *args: Any) -> Answer:
        if method == "POST" and path.endswith("advanced-lip-sync") and not refused:
            refused.append(path)
            return Answer(400, {}, b'{"code": 1301, "message": "content safety", "request_id": "x"}')
        return await exchange(self, method, path, *args)

    monkeypatch.setattr(Transport, "exchange", refusing)


@pytest.mark.parametrize("is_edited", [False, True])
def test_a_second_attempt_after_a_refused_one_is_found_where_no_list_says_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_edited: bool
) -> None:
    refuse_once(monkeypatch)

    async def work(simulation: Simulation) -> None:
        write(simulation, json.dumps(FACE), json.dumps(talk(500)))
        assert (await simulation.run()) is not None
        line = json.dumps(talk(700 if is_edited else 500))
        write(simulation, json.dumps(FACE), line)
        assert await simulation.run(retry_failed=not is_edited, die_after_s=IN_FLIGHT_S) is None
        lose(simulation)
        summary = await simulation.run()
        assert summary is not None
        assert (summary.exit_code, made(simulation)) == (ExitCode.OK, 1)

    play(tmp_path, work, "-")


def test_an_edited_line_is_not_paid_again_where_no_list_says_whose_a_task_is(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        write(simulation, json.dumps(FACE), json.dumps(talk(500)))
        assert await simulation.run() is not None
        lose(simulation)
        write(simulation, json.dumps(FACE), json.dumps(talk(700)))
        with pytest.raises(ManifestError, match="earlier text"):
            await simulation.run()
        assert made(simulation) == 1

    play(tmp_path, work, "-")


FILM = json.dumps({"id": "talk", "prompt": "t"})


async def lost_talk(simulation: Simulation) -> str:
    """A talk is paid for, and its store is lost; returns its name on the account."""
    write(simulation, json.dumps(FACE), json.dumps(talk(500)))
    assert await simulation.run() is not None
    name = next(row["external_task_id"] for row in simulation.results() if row["id"] == "talk")
    lose(simulation)
    return str(name)


def test_a_line_that_became_another_product_is_asked_for_by_the_names_that_were_sent(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        name = await lost_talk(simulation)
        write(simulation, json.dumps(FACE), FILM, PICTURE)
        with pytest.MonkeyPatch.context() as patch:
            unanswered(patch, lambda path: name in path, TROUBLED)
            summary = await simulation.run()
        assert summary is not None
        assert (summary.exit_code, rows(simulation)["talk"]) == (ExitCode.STOPPED, ("pending", "stopped"))
        assert rows(simulation)["pic"] == ("succeeded", None), "no other line was ever sent there"
        assert "talk: the account does not tell whether it has a task" in notices(simulation)
        with pytest.raises(ManifestError, match="earlier text"):
            await simulation.run()
        assert {task.kind for task in simulation.world.tasks} == {"identify-face", "advanced-lip-sync", "images"}

    play(tmp_path, work, "-")


def test_a_paid_task_whose_line_is_gone_is_told_where_no_list_says_whose_it_is(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        name = await lost_talk(simulation)
        write(simulation, json.dumps(FACE))
        with pytest.MonkeyPatch.context() as patch:
            unanswered(patch, lambda path: name in path, TROUBLED)
            summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.STOPPED, "the next run has to ask"
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.UNRESOLVED
        assert "belongs to a line that is not in the manifest any more" in notices(simulation)
        write(simulation, json.dumps(FACE), json.dumps(talk(500)))
        summary = await simulation.run()
        assert summary is not None
        assert (summary.exit_code, made(simulation)) == (ExitCode.OK, 1)

    play(tmp_path, work, "-")


def test_an_attempt_that_was_refused_and_whose_line_is_gone_keeps_no_run_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name was noted, and no task bears it; a name that was never sent is not made up."""
    refuse_once(monkeypatch)

    async def work(simulation: Simulation) -> None:
        await lost_talk(simulation)
        write(simulation, json.dumps(FACE))
        summary = await simulation.run()
        assert summary is not None
        assert (summary.exit_code, made(simulation)) == (ExitCode.OK, 0)

    play(tmp_path, work, "-")


def test_of_a_product_that_is_no_lines_any_more_only_the_names_that_were_sent_are_asked_for() -> None:
    name = ExternalId.of("batch", "talk", 1, "f" * 64)
    line = Line("", None, [name])
    line.take(name, Task("t", None, TaskStatus.FAILED))
    assert line.is_settled
    assert line.found


def made(simulation: Simulation) -> int:
    return sum(task.kind == "advanced-lip-sync" for task in simulation.world.tasks)


@pytest.mark.parametrize("way", ["all gone", "folder moved", "folder moved to a store of its own"])
def test_a_batchs_notes_are_proof_of_a_loss_where_the_lock_is_gone_too(tmp_path: Path, way: str) -> None:
    async def work(simulation: Simulation) -> None:
        await lost_in_flight(simulation)
        if way == "all gone":
            (simulation.output_dir / ".lock").unlink()
        else:
            simulation.output_dir.rename(tmp_path / "old")
            simulation.output_dir.mkdir()
            if way == "folder moved to a store of its own":
                simulation.batch = BatchBooks("other", tmp_path / "other.jsonl")
                write(simulation, *lines("another"))
                assert await simulation.run() is not None
                simulation.batch = simulation.batches[0]
            (tmp_path / "old" / "batch").rename(simulation.batch_dir)
        write(simulation, OMNI)
        for _ in range(2):
            with pytest.raises(ManifestError, match="earlier text"):
                await simulation.run()
        assert "omni-video" not in {task.kind for task in simulation.world.tasks}

    play(tmp_path, work, "a")


def test_a_list_that_told_once_after_a_loss_keeps_no_line_waiting_when_it_does_not_tell_later(tmp_path: Path) -> None:
    async def work(simulation: Simulation) -> None:
        write(simulation, *lines("a"), PICTURE)
        await lost_in_flight(simulation)
        assert (await done(simulation)).exit_code == ExitCode.OK
        late = json.dumps({"id": "late", "kind": "images", "prompt": "l"})
        write(simulation, *lines("a", "new"), PICTURE)
        with pytest.MonkeyPatch.context() as patch:
            unanswered(patch, lambda path: path.startswith(PICTURES), FORBIDDEN)
            assert (await done(simulation)).exit_code == ExitCode.OK
        write(simulation, *lines("a", "new", "newer"), PICTURE, late)
        with pytest.MonkeyPatch.context() as patch:
            unanswered(patch, lambda path: path.startswith(PICTURES), TROUBLED)
            assert (await done(simulation)).exit_code == ExitCode.STOPPED
        assert (rows(simulation)["i2"], rows(simulation)["late"]) == (("succeeded", None), ("pending", "stopped"))

    play(tmp_path, work, "-")


def test_a_list_that_told_of_a_task_without_a_line_keeps_new_lines_waiting_until_the_line_is_back(
    tmp_path: Path,
) -> None:
    async def work(simulation: Simulation) -> None:
        write(simulation, *lines("a"), PICTURE)
        await lost_in_flight(simulation)
        write(simulation, PICTURE)
        assert (await done(simulation)).exit_code == ExitCode.UNRESOLVED
        write(simulation, OMNI, PICTURE)
        with pytest.MonkeyPatch.context() as patch:
            unanswered(patch, lambda path: path.startswith(FILMS), FORBIDDEN)
            assert (await done(simulation)).exit_code == ExitCode.STOPPED
        [told] = [text for text in urgent(simulation) if text.startswith(FILMS)]
        assert told.endswith("a line that was never part of this batch can run at once from a manifest of its own")
        write(simulation, *lines("a"), PICTURE)
        assert (await done(simulation)).exit_code == ExitCode.OK
        write(simulation, *lines("a"), PICTURE, OMNI.replace("i0", "i1"))
        with pytest.MonkeyPatch.context() as patch:
            unanswered(patch, lambda path: path.startswith(FILMS), FORBIDDEN)
            assert (await done(simulation)).exit_code == ExitCode.OK

    play(tmp_path, work, "-")


@pytest.mark.parametrize("is_gone_too", [True, False])
def test_an_earlier_text_of_a_line_that_was_made_anew_is_told_by_its_task_id(
    tmp_path: Path, *, is_gone_too: bool
) -> None:
    """Where the lists were lost too, so that nothing kept it from being made anew; putting it back cannot help."""

    async def work(simulation: Simulation) -> None:
        await lost_in_flight(simulation)
        digest = ExternalId.of("batch", "i0", 1, "").item
        first = next(task.task_id for task in simulation.world.tasks if digest in str(task.external_task_id))
        (simulation.batch_dir / LISTS).unlink()
        write(simulation, OMNI)
        assert (await simulation.run()) is not None
        added = lines("-", "b", "new")[1:]
        kept = added[1:] if is_gone_too else added
        write(simulation, OMNI, *kept)
        simulation.events.clear()
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.UNRESOLVED
        [told] = [text for text in urgent(simulation) if first in text]
        assert "has an earlier text of a line that was made anew since" in told
        last = next(event.text for event in simulation.events if isinstance(event, BatchFinished))
        assert "for an earlier text of a line that was made anew since: fetch it by the task id" in last
        assert ("put it back" in last) == is_gone_too
        write(simulation, OMNI, *kept, lines("-", "-", "-", "newer")[3])
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.OK, "told once"

    play(tmp_path, work, "a", "b")


def test_the_notes_of_a_folder_that_is_only_linked_prove_no_loss_here(tmp_path: Path) -> None:
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
    (elsewhere / "batch").mkdir(parents=True)
    (elsewhere / "batch" / LISTS).touch()
    here.mkdir()
    (here / "batch").symlink_to(elsewhere / "batch")
    for folder, has_past in ((here, False), (elsewhere, True)):
        with held_folder(folder, [LISTS]) as said:
            assert said is has_past


PICTURE_READ = json.dumps({"id": "pic", "kind": "image-recognize", "image": "https://example.com/a.png"})


@pytest.mark.parametrize("is_list_known", [True, False])
def test_a_file_of_another_product_is_not_taken_for_a_calls_result(tmp_path: Path, *, is_list_known: bool) -> None:
    async def work(simulation: Simulation) -> None:
        write(simulation, PICTURE, json.dumps(SAY))
        assert await simulation.run() is not None
        lose(simulation)
        if not is_list_known:
            (simulation.batch_dir / LISTS).unlink()
        write(simulation, PICTURE_READ, json.dumps(SAY))
        if is_list_known:
            with pytest.raises(ManifestError, match="earlier text"):
                await simulation.run()
            assert {task.kind for task in simulation.world.tasks} == {"tts", "images"}
        else:
            assert await simulation.run() is not None
            [read] = [row for row in simulation.results() if row["id"] == "pic"]
            assert "batch/pic.png" not in {file["path"] for file in read["files"]}, "its own are numbered"
            assert [task.kind for task in simulation.world.tasks].count("image-recognize") == 1

    play(tmp_path, work, "-")
