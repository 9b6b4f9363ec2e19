"""Nothing outside of the output folder is created, changed or followed, whoever chose the names."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import unicodedata
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from doors_kit import FAST, few, run_here, run_process, write_manifest
from simulation import Scenario, Simulation, simulate

from batch_runner.download import Downloaded, Downloader
from batch_runner.errors import DiskError, ExitCode
from batch_runner.manifest.file_names import file_names
from batch_runner.model import Realm
from batch_runner.naming import realm_of
from batch_runner.sandbox import SandboxTask, WorldConfig, wire
from batch_runner.sandbox.faults import RequestClass
from batch_runner.settings import resolve

Work = Callable[[Simulation], Coroutine[Any, Any, None]]
PRECIOUS = b"precious"


def play(tmp_path: Path, work: Work, count: int = 2) -> None:
    lines = tuple(json.dumps({"id": f"i{number}", "prompt": f"scene {number}"}) for number in range(count))
    folder = tmp_path / "work"
    folder.mkdir()
    simulate(Scenario(slots=2, lines=lines, world=WorldConfig(max_concurrent=2, rpm=60)), folder, work)


def looks(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything below a folder: kind, mode, times and content."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""  # noqa: PTH115
        found[str(path)] = (status.st_mode, status.st_mtime_ns, status.st_ino, content)
    return found


# --- links planted under every name a run uses ------------------------------------------------------------------------

REFUSED = [".lock", "state.db", "state.db-wal", "state.db-shm", "state.db-journal", "batch"]
"""Nothing is sent: the run stops before it."""
HELD_UP = ["batch/i0.mp4", "batch/i0.mp4.part", "batch/i0.mp4.part.meta"]
"""That item's file cannot be put there; exit 6 until the link is removed."""
REPLACED = ["batch/results.jsonl", "batch/ledger.jsonl", "batch/summary.json", "batch/report.html"]
"""Made anew at every end of a run: the link itself gives way."""


def plant(simulation: Simulation, name: str, target: Path) -> Path:
    link = simulation.output_dir / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    return link


@pytest.fixture(params=["to a file", "to a folder", "to nothing"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(PRECIOUS)
    (outside / "folder").mkdir()
    return outside / {"to a file": "file", "to a folder": "folder", "to nothing": "nothing"}[request.param]


@pytest.mark.parametrize("name", REFUSED)
def test_a_link_in_place_of_what_a_run_stands_on_ends_it_before_anything_is_sent(
    tmp_path: Path, target: Path, name: str
) -> None:
    async def work(simulation: Simulation) -> None:
        link = plant(simulation, name, target)
        before = looks(tmp_path / "outside")
        with pytest.raises(DiskError, match="link") as caught:
            await simulation.run()
        assert link.name in str(caught.value)
        assert looks(tmp_path / "outside") == before
        assert simulation.world.request_stamps == []
        link.unlink()
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.OK

    play(tmp_path, work)


@pytest.mark.parametrize("name", HELD_UP)
def test_a_link_in_place_of_a_file_holds_up_that_item_alone(tmp_path: Path, target: Path, name: str) -> None:
    async def work(simulation: Simulation) -> None:
        link = plant(simulation, name, target)
        before = looks(tmp_path / "outside")
        summary = await simulation.run()
        assert summary is not None
        assert (summary.exit_code, summary.items.succeeded) == (ExitCode.DISK, 1)
        assert link.is_symlink()
        assert looks(tmp_path / "outside") == before
        link.unlink()
        again = await simulation.run()
        assert again is not None
        assert (again.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 2)

    play(tmp_path, work)


def folder_at(path: Path) -> None:
    path.mkdir(parents=True)


def link_at(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.symlink_to(path.parent.parent)


@pytest.mark.parametrize("put", [folder_at, link_at])
@pytest.mark.parametrize("name", HELD_UP)
def test_what_stands_in_place_of_one_file_keeps_no_other_item_from_being_made(
    tmp_path: Path, name: str, put: Callable[[Path], None]
) -> None:
    """More items than slots: the last ones are submitted when the first one's file has found its name taken."""

    async def work(simulation: Simulation) -> None:
        put(simulation.output_dir / name)
        summary = await simulation.run()
        assert summary is not None
        assert (summary.exit_code, summary.items.succeeded, summary.items.pending) == (ExitCode.DISK, 5, 1)
        assert {row["id"]: row["reason"] for row in simulation.results() if row["reason"]} == {"i0": "asset"}

    play(tmp_path, work, 6)


@contextmanager
def losing_parts(monkeypatch: pytest.MonkeyPatch, of: str = "") -> Iterator[None]:
    """Somebody removes each downloaded part whose name begins so."""
    fetch = Downloader.fetch

    async def fetch_and_lose(downloader: Downloader, url: str, part_path: Path, *args: Any) -> Downloaded:
        done = await fetch(downloader, url, part_path, *args)
        if part_path.name.startswith(of):
            await asyncio.to_thread(part_path.unlink)
        return done

    with monkeypatch.context() as patch:
        patch.setattr(Downloader, "fetch", fetch_and_lose)
        yield


def test_where_every_part_is_removed_no_more_is_bought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(simulation: Simulation) -> None:
        with losing_parts(monkeypatch):
            summary = await simulation.run()
        assert summary is not None
        assert (summary.exit_code, len(simulation.world.tasks) < 12) == (ExitCode.DISK, True)
        again = await simulation.run()
        assert again is not None
        assert (again.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 12)

    play(tmp_path, work, 12)


def test_a_part_that_somebody_removes_keeps_no_other_item_from_being_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(simulation: Simulation) -> None:
        with losing_parts(monkeypatch, "i0."):
            summary = await simulation.run()
        assert summary is not None
        assert (summary.exit_code, summary.items.succeeded, summary.items.pending) == (ExitCode.DISK, 5, 1)
        again = await simulation.run()
        assert again is not None
        assert (again.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 6)

    play(tmp_path, work, 6)


@pytest.mark.parametrize("name", REPLACED)
def test_a_link_in_place_of_a_derived_file_gives_way(tmp_path: Path, target: Path, name: str) -> None:
    async def work(simulation: Simulation) -> None:
        link = plant(simulation, name, target)
        before = looks(tmp_path / "outside")
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.OK
        assert link.is_file()
        assert not link.is_symlink()
        assert looks(tmp_path / "outside") == before

    play(tmp_path, work)


@pytest.mark.parametrize("name", ["batch", "batch/i0.mp4", "batch/i0.mp4.part"])
def test_a_repair_follows_no_link(tmp_path: Path, target: Path, name: str) -> None:
    async def work(simulation: Simulation) -> None:
        await simulation.run()
        place = simulation.output_dir / name
        if name == "batch":
            place.rename(simulation.output_dir / "moved")
        else:
            (simulation.output_dir / "batch/i0.mp4").unlink()
        place.symlink_to(target)
        before = looks(tmp_path / "outside")
        try:
            reasons = await simulation.repair()
        except DiskError:
            reasons = {}
        assert looks(tmp_path / "outside") == before
        assert len(simulation.world.tasks) == 2
        if name == "batch/i0.mp4":
            assert reasons == {}
            assert place.is_file()
            assert not place.is_symlink()
            assert place.with_name("i0.mp4.damaged-1").is_symlink()

    play(tmp_path, work)


def test_a_journal_of_the_sandbox_that_is_a_link_is_not_followed(tmp_path: Path, target: Path) -> None:
    manifest = write_manifest(tmp_path / "films.jsonl", few(1))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.sandbox.jsonl").symlink_to(target)
    before = looks(tmp_path / "outside")
    ended = run_here(str(manifest), *FAST, "--output-dir", str(tmp_path / "out"), "--json")
    assert ended.code == ended.json["exit_code"] == ExitCode.DISK
    assert ".sandbox.jsonl" in ended.err
    assert looks(tmp_path / "outside") == before


@pytest.mark.parametrize("command", ["status", "ledger", "verify", "report"])
@pytest.mark.parametrize("name", ["state.db", "state.db-wal", "films-sandbox"])
def test_commands_that_look_follow_no_link(tmp_path: Path, command: str, name: str) -> None:
    manifest = write_manifest(tmp_path / "films.jsonl", few(1))
    out = tmp_path / "out"
    where = ("--sandbox", "--output-dir", str(out))
    assert run_here(str(manifest), *FAST, "--output-dir", str(out)).code == 0
    outside = tmp_path / "outside"
    outside.mkdir()
    (out / name).rename(outside / name) if (out / name).exists() else (outside / name).write_bytes(PRECIOUS)
    (out / name).symlink_to(outside / name)
    before = looks(outside)
    ended = run_here(command, str(manifest), *where)
    assert looks(outside) == before
    looks_at_files = command in {"verify", "report"}
    assert ended.code == (ExitCode.DISK if looks_at_files or name != "films-sandbox" else ExitCode.OK)
    assert "fault of the program" not in ended.err


# --- links that lead to this machine ----------------------------------------------------------------------------------


def test_links_to_this_machine_are_followed_only_where_the_api_is_a_test_server_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real API hands out the sandbox's links: what was paid for is told, and not one of them is asked for."""
    monkeypatch.setattr("batch_runner.service.realm_of", lambda _: Realm.REAL)

    async def work(simulation: Simulation) -> None:
        summary = await simulation.run()
        assert summary is not None
        assert (summary.exit_code, summary.items.failed, len(simulation.world.tasks)) == (ExitCode.ITEMS_FAILED, 2, 2)
        assert {row["reason"] for row in simulation.results()} == {"asset"}
        assert simulation.sandbox.faults._seen[RequestClass.DOWNLOAD] == 0

    play(tmp_path, work)


@pytest.mark.parametrize(
    ("base_url", "realm"),
    [
        ("https://api-singapore.klingai.com", Realm.REAL),
        ("https://127.0.0.1:8443", Realm.REAL),
        ("http://127.0.0.1:8799", Realm.LOCAL),
    ],
)
def test_an_api_is_a_test_server_only_where_its_address_says_so(base_url: str, realm: Realm) -> None:
    assert realm_of(resolve({"base_url": base_url}, {}, None)) is realm


# --- names that somebody else chose -----------------------------------------------------------------------------------

HOSTILE_IDS = ["../../x", "a/b?c=d#e", "..", ".", "%2e%2e%2f", "\\..\\x", "é☃", "x" * 60, "-rf", "a;b|c&d", " x"]


@pytest.mark.parametrize("hostile", HOSTILE_IDS)
def test_a_servers_ids_become_neither_paths_nor_other_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hostile: str
) -> None:
    asked: list[str] = []

    async def work(simulation: Simulation) -> None:
        common, find = wire._common, simulation.world.find

        def told(task: SandboxTask, *args: Any) -> dict[str, Any]:
            number = simulation.world.tasks.index(task) if task in simulation.world.tasks else 1
            return {**common(task, *args), "task_id": f"{hostile}{number or ''}"}

        def finding(kind: str, any_id: str, now_s: float) -> SandboxTask | None:
            asked.append(any_id)
            tasks = {f"{hostile}{number or ''}": task.task_id for number, task in enumerate(simulation.world.tasks)}
            return find(kind, tasks.get(any_id, any_id), now_s)

        monkeypatch.setattr(wire, "_common", told)
        monkeypatch.setattr(simulation.world, "find", finding)
        summary = await simulation.run()
        assert summary is not None
        assert summary.exit_code == ExitCode.OK
        for asset in simulation.output_dir.glob("batch/*.mp4"):
            asset.unlink()
        assert await simulation.repair() == {}, "asked for by its id, whatever that is"
        assert {hostile, f"{hostile}1"} <= set(asked)
        assert sorted(path.name for path in simulation.output_dir.glob("batch/*")) == [
            ".lists.jsonl", "i0.mp4", "i1.mp4", "ledger.jsonl", "report.html", "results.jsonl", "summary.json",
        ]  # fmt: skip
        assert sorted(path.name for path in simulation.folder.iterdir()) == ["batch.jsonl", "outputs"]

    play(tmp_path, work)


ITEM_IDS = ["a b", "Füchse ☃", "a.mp4.part", "results.jsonl", "x" * 100, "$(touch x)", "a;b&c", "..x"]


@pytest.mark.parametrize("item_id", ITEM_IDS)
def test_an_items_id_is_a_name_in_its_folder_or_no_id(tmp_path: Path, item_id: str) -> None:
    manifest = write_manifest(tmp_path / "work/films.jsonl", [{"id": item_id, "prompt": "p"}])
    ended = run_here(str(manifest), *FAST, "--output-dir", str(tmp_path / "work/out"))
    if item_id.startswith("."):
        assert ended.code == ExitCode.USAGE
        return
    assert ended.code == 0
    assert (tmp_path / f"work/out/films-sandbox/{item_id}.mp4").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work"]
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["films.jsonl", "out"]


@pytest.mark.parametrize("name", ["summary", "Summary", "SUMMARY"])
def test_a_result_never_gets_the_name_of_a_file_that_every_run_writes(name: str) -> None:
    assert file_names(name, [".json"]) == [f"{name}-1.json"]
    assert file_names("other", [".json"]) == ["other.json"]
    assert file_names(name, [".mp4"]) == [f"{name}.mp4"]


def test_a_whole_life_of_the_program_changes_nothing_outside_of_its_folder(tmp_path: Path) -> None:
    """Home, working folder and temporary folder, through every command, as processes."""
    places = {name: tmp_path / name for name in ("home", "cwd", "tmp", "out")}
    for place in places.values():
        place.mkdir()
    (places["home"] / "notes").write_bytes(PRECIOUS)
    write_manifest(places["cwd"] / "films.jsonl", few(2))
    (places["cwd"] / "films.mp4").write_bytes(PRECIOUS)
    env = {"HOME": str(places["home"]), "TMPDIR": str(places["tmp"]), "PYTHONDONTWRITEBYTECODE": "1"}
    outside = [places["home"], places["cwd"], places["tmp"]]
    before = [looks(place) for place in outside]
    where = ("--output-dir", str(places["out"] / "o"), "--sandbox")
    for args, code in [
        (("plan", "films.jsonl", *where), 0),
        (("films.jsonl", *FAST, *where[:2], "--max-runtime", "0.2"), 7),
        (("films.jsonl", *FAST, *where[:2]), 0),
        (("films.jsonl", *FAST, *where[:2]), 0),
        (("status", *where), 0),
        (("ledger", "films.jsonl", *where), 0),
        (("verify", "films.jsonl", *where), 0),
        (("report", "films.jsonl", *where), 0),
        (("doctor", *where), 0),
        (("films.jsonl", "--nonsense"), 2),
    ]:
        ended = run_process(places["cwd"], *args, env=env)
        assert ended.code == code, ended.err
        assert [looks(place) for place in outside] == before, args
    assert [path.name for path in places["out"].iterdir()] == ["o"]


# --- text from outside ----------------------------------------------------------------------------------------------

STEERING = "\x1b[2J\x9b31m\u202egnp.exe\u2066\x07\x00=cmd|' /C calc'!A0<script>alert(1)</script>"


def steers(text: str) -> list[str]:
    """The characters of a text that a terminal would obey, or that would reorder what it shows."""
    plain = text.replace("\r\n", "").replace("\n", "")
    return [char for char in plain if unicodedata.category(char) in {"Cc", "Cf", "Cs"}]


@pytest.mark.parametrize(
    "args",
    [
        ("status", "films.jsonl"),
        ("status", "films.jsonl", "--json"),
        ("ledger", "films.jsonl"),
        ("ledger", "films.jsonl", "--csv"),
        ("ledger", "films.jsonl", "--json"),
        ("verify", "films.jsonl"),
        ("verify", "films.jsonl", "--json"),
        ("plan", "films.jsonl"),
        ("plan", "films.jsonl", "--expand"),
        ("plan", "bad.jsonl"),
        ("plan", "bad.jsonl", "--json"),
        ("report", "films.jsonl"),
        ("run", f"{STEERING[:20]}.jsonl".replace("\0", "")),
    ],
)
def test_no_text_from_outside_steers_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    item_id = "=1+1 \u202egnp"
    items = [{"id": item_id, "prompt": STEERING}, {"id": "b", "prompt": f"[sandbox:fail] {STEERING}"}]
    write_manifest(tmp_path / "films.jsonl", items)
    write_manifest(tmp_path / "bad.jsonl", [{"id": STEERING, "prompt": "p", STEERING: STEERING, "mode": STEERING}])
    ran = run_here("films.jsonl", *FAST)
    assert ran.code == ExitCode.ITEMS_FAILED
    video = tmp_path / f"outputs/films-sandbox/{item_id}.mp4"
    video.write_bytes(b"altered")
    ended = run_here(*args, "--sandbox")
    assert not steers(ran.out + ran.err + ended.out + ended.err)
    assert "fault of the program" not in ended.err
    for path in (tmp_path / "outputs/films-sandbox").glob("*.[jh]*"):
        assert not steers(path.read_text(encoding="utf-8")), path.name
    page = (tmp_path / "outputs/films-sandbox/report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    if "--csv" in args:
        assert not any(cell.startswith("=") for row in csv.reader(ended.out.splitlines()) for cell in row)
