"""The command line: what people's scripts, cron lines and fingers meet."""

from __future__ import annotations

import base64
import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from doors_kit import (
    FAST,
    KEYS,
    Ended,
    Trap,
    clean_environ,
    few,
    process_args,
    run_here,
    run_process,
    served_sandbox,
    snapshot,
    write_manifest,
)
from filelock import FileLock
from sandbox_kit import picture

from batch_runner import __version__, planning

GOOD = {"id": "good", "prompt": "a paper boat"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, which is also the home; no keys and no settings from outside."""
    environ = clean_environ(tmp_path)
    for name in set(os.environ) - set(environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    trap.close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a simulated batch of two items has finished; tests only look at it."""
    cwd = tmp_path_factory.mktemp("finished")
    write_manifest(cwd / "two.jsonl", few(2))
    assert run_process(cwd, "two.jsonl", *FAST).code == 0
    return cwd


# --- bad input: one report, exit 2, nothing sent, nothing made ----------------------------------------------

BAD_LINES: dict[str, tuple[str, str]] = {
    "no object": ("[1, 2]", "line 2"),
    "no JSON": ("{nonsense", "line 2"),
    "id that climbs": (json.dumps({"id": "../x", "prompt": "p"}), "line 2, id"),
    "id of 5,000 characters": (json.dumps({"id": "i" * 5000, "prompt": "p"}), "line 2, id"),
    "duplicate id": (json.dumps(GOOD), "line 2, id"),
    "unknown field": (json.dumps({"id": "b", "promt": "p"}), "prompt"),
    "duration the API has not": (json.dumps({"id": "b", "prompt": "p", "duration": 7}), "line 2, duration"),
    "prompt of 2,501 characters": (json.dumps({"id": "b", "prompt": "p" * 2501}), "line 2, prompt"),
    "missing image": (json.dumps({"id": "b", "prompt": "p", "image": "none.png"}), "line 2, image"),
    "image outside of any folder": (json.dumps({"id": "b", "prompt": "p", "image": "\0"}), "line 2, image"),
}


def refused(trap: Trap, *manifest: str) -> Ended:
    """Try to run it against the trap, and see that nothing happened."""
    ended = run_here(*manifest, "--base-url", trap.base_url, "--output-dir", "out")
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.count("batch-runner:") == 1
    assert "Traceback" not in ended.err
    assert not trap.was_asked()
    assert not Path("out").exists()
    return ended


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_is_told_and_nothing_is_sent(folder: Path, trap: Trap, case: str) -> None:
    line, told = BAD_LINES[case]
    (folder / "films.jsonl").write_text(f"{json.dumps(GOOD)}\n{line}\n", encoding="utf-8")
    ended = refused(trap, "films.jsonl")
    assert "films.jsonl: " in ended.err
    assert told in ended.err
    assert len(ended.err) < 2000, "a report, not a copy of the manifest"


@pytest.mark.usefixtures("keys")
def test_all_bad_lines_are_told_in_one_report(folder: Path, trap: Trap) -> None:
    lines = [json.dumps(GOOD), *(line for line, _ in BAD_LINES.values())]
    (folder / "films.jsonl").write_text("\n".join(lines), encoding="utf-8")
    ended = refused(trap, "films.jsonl")
    for number in range(2, len(lines) + 1):
        assert f"line {number}" in ended.err


@pytest.mark.usefixtures("keys")
def test_a_misspelt_field_is_answered_with_the_right_one(folder: Path, trap: Trap) -> None:
    (folder / "films.jsonl").write_text('{"id": "b", "promt": "p"}', encoding="utf-8")
    assert "did you mean" in refused(trap, "films.jsonl").err


@pytest.mark.usefixtures("keys")
def test_a_manifest_that_is_not_there_or_no_text(folder: Path, trap: Trap) -> None:
    (folder / "folder.jsonl").mkdir()
    (folder / "latin.jsonl").write_bytes('{"prompt": "Füchse"}'.encode("latin-1"))
    assert "no such file" in refused(trap, "none.jsonl").err
    assert "folder" in refused(trap, "folder.jsonl").err
    assert "UTF-8" in refused(trap, "latin.jsonl").err


def test_an_empty_manifest_is_a_finished_batch(folder: Path) -> None:
    (folder / "empty.jsonl").touch()
    ended = run_here("empty.jsonl", "--sandbox", "--json")
    assert ended.code == 0
    assert ended.json["items"] == {"total": 0, "succeeded": 0, "failed": 0, "pending": 0, "unknown": 0}
    again = run_here("empty.jsonl", "--sandbox")
    assert "empty-sandbox: the manifest has no items" in again.err
    batch = folder / "outputs/empty-sandbox"
    assert sorted(path.name for path in batch.iterdir()) == [
        "ledger.jsonl", "report.html", "results.jsonl", "summary.json",
    ]  # fmt: skip
    assert json.loads((batch / "summary.json").read_bytes()) == ended.json
    looked = {name: run_here(name, "empty.jsonl", "--sandbox").out for name in ("status", "ledger", "verify", "plan")}
    assert looked["status"] == "empty-sandbox (SIMULATED): 0 items: none; credits: none\n"
    assert looked["ledger"] == "nothing was charged or held yet\n"
    assert looked["verify"] == "no file is finished yet\n"
    assert looked["plan"].startswith("empty-sandbox: 0 items: none\n")


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("run",),
        ("films.jsonl", "--frobnicate"),
        ("films.jsonl", "--budget", "much"),
        ("films.jsonl", "--sandb"),
        ("films.jsonl", "--tier", "gold-plated"),
        ("films.jsonl", "--base-url", "http://example.com"),
        ("films.jsonl", "--name", "../up"),
        ("status",),
        ("sandbox", "--port", "99999"),
        ("sandbox", "--fault", "earthquake=1"),
        ("sandbox", "--fault", "lost_answer=nan"),
        ("sandbox", "--slots", "0"),
    ],
)
def test_wrong_usage_is_exit_2_with_words(folder: Path, args: tuple[str, ...]) -> None:
    write_manifest(folder / "films.jsonl", few(1))
    ended = run_here(*args)
    assert ended.code == 2
    assert ended.err.startswith("batch-runner: ")
    assert "fault of the program" not in ended.err
    assert not Path("outputs").exists()


# --- keys, folder, lock ---------------------------------------------------------------------------------------


def test_without_keys_both_ways_on_are_told(folder: Path, trap: Trap) -> None:
    write_manifest(folder / "films.jsonl", few(1))
    ended = run_here("films.jsonl", "--base-url", trap.base_url)
    assert ended.code == 5
    assert "KLING_ACCESS_KEY" in ended.err
    assert "--sandbox" in ended.err
    assert not trap.was_asked()


def test_refused_keys_end_the_run_at_once_and_fail_no_item(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(folder / "films.jsonl", few(3))
    monkeypatch.setenv("KLING_ACCESS_KEY", KEYS["KLING_ACCESS_KEY"])
    monkeypatch.setenv("KLING_SECRET_KEY", "another-secret-key-of-enough-bytes")
    with served_sandbox() as sandbox:
        began_s = time.monotonic()
        ended = run_here("films.jsonl", "--base-url", sandbox.base_url, "--json")
        assert time.monotonic() - began_s < 10
        assert sandbox.world.tasks == []
        assert len(sandbox.world.request_stamps) <= 4
    assert ended.code == ended.json["exit_code"] == 5
    assert ended.json["items"] == {"total": 3, "succeeded": 0, "failed": 0, "pending": 3, "unknown": 0}
    assert "another-secret-key" not in ended.out + ended.err


@pytest.mark.usefixtures("keys")
def test_a_model_that_only_an_api_key_reaches_is_told_before_anything_is_sent(
    folder: Path, trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = [{"id": name, "prompt": "a paper boat", "model_name": "kling-3.0-turbo"} for name in ("new", "newer")]
    write_manifest(folder / "films.jsonl", [*few(1), *newer])
    ended = run_here("films.jsonl", "--base-url", trap.base_url, "--json")
    assert ended.code == 5
    assert "new (line 2, kling-3.0-turbo) and 1 more" in ended.json["error"]
    assert "KLING_API_KEY" in ended.json["error"]
    assert not trap.was_asked()
    monkeypatch.setenv("KLING_API_KEY", "an-api-key-that-nobody-checks-here")
    run_here("films.jsonl", "--base-url", trap.base_url, "--max-runtime", "1")
    assert trap.was_asked()


@pytest.mark.parametrize("place", ["file", "/proc/none", "file/below"])
def test_an_output_folder_that_cannot_be_is_exit_6(folder: Path, place: str) -> None:
    write_manifest(folder / "films.jsonl", few(1))
    (folder / "file").touch()
    ended = run_here("films.jsonl", *FAST, "--output-dir", place, "--json")
    assert ended.code == ended.json["exit_code"] == 6
    assert place in ended.err
    assert "fault of the program" not in ended.err
    assert run_here("doctor", "--sandbox", "--output-dir", place).code == 6


def test_a_folder_that_another_run_holds_is_exit_11(folder: Path) -> None:
    write_manifest(folder / "films.jsonl", few(1))
    (folder / "outputs").mkdir()
    with FileLock(folder / "outputs/.lock", fallback_to_soft=False):
        ended = run_process(folder, "films.jsonl", *FAST, "--json")
        quiet = run_process(folder, "films.jsonl", *FAST, "--quiet")
    assert ended.code == ended.json["exit_code"] == 11
    assert "another run" in ended.err
    assert (quiet.code, quiet.out, quiet.err) == (11, "", "")
    assert run_process(folder, "films.jsonl", *FAST).code == 0


# --- what is printed where ------------------------------------------------------------------------------------


def test_json_is_one_object_and_the_summary(folder: Path) -> None:
    write_manifest(folder / "films.jsonl", few(2))
    ended = run_process(folder, "films.jsonl", *FAST, "--json", "--budget", "10")
    assert ended.code == 0
    assert ended.json == json.loads((folder / "outputs/films-sandbox/summary.json").read_bytes())
    assert ended.json["sandbox"] is True
    assert ended.json["credits"]["video"] == {"budget": "10", "consumed": "2", "held": "0", "available": "8"}


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("run", "none.jsonl"), 2),
        (("run",), 2),
        (("films.jsonl", "--frobnicate"), 2),
        (("films.jsonl", "--budget", "much"), 2),
        (("films.jsonl",), 5),
        (("films.jsonl", "--sandbox", "--output-dir", "films.jsonl"), 6),
        (("status",), 2),
        (("verify", "films.jsonl"), 2),
        (("report", "films.jsonl"), 2),
        (("plan", "none.jsonl"), 2),
    ],
)
def test_json_is_one_object_in_every_error(folder: Path, args: tuple[str, ...], code: int) -> None:
    write_manifest(folder / "films.jsonl", few(1))
    ended = run_here(*args, "--json")
    assert ended.code == ended.json["exit_code"] == code
    assert ended.json["error"]
    assert ended.err.startswith("batch-runner: ")


def test_a_fault_is_one_object_too_and_tells_no_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = "https://cdn.example/clip.mp4?signature=secret"

    def fault(*_: object) -> None:
        raise LookupError(link)

    write_manifest(folder / "films.jsonl", few(1))
    monkeypatch.setattr(planning, "plan", fault)
    ended = run_here("plan", "films.jsonl", "--json")
    assert ended.code == ended.json["exit_code"] == 1
    assert "LookupError" in ended.err
    assert "signature" not in ended.out + ended.err


def test_quiet_says_nothing_when_all_is_well(folder: Path) -> None:
    write_manifest(folder / "films.jsonl", few(2))
    ended = run_process(folder, "films.jsonl", *FAST, "--quiet")
    assert (ended.code, ended.err) == (0, "")
    assert "2 succeeded" in ended.out


def test_settings_come_from_file_and_environment_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(folder / "films.jsonl", few(1))
    (folder / "batch_runner.toml").write_text('output_dir = "elsewhere"\njson = true\nsandbox = true\n')
    monkeypatch.setenv("BATCH_RUNNER_SANDBOX_SPEED", "500")
    monkeypatch.setenv("BATCH_RUNNER_NAME", "reel")
    ended = run_here("films.jsonl")
    assert ended.code == 0
    assert ended.json["batch"] == "reel-sandbox"
    assert (folder / "elsewhere/reel-sandbox/i0.mp4").is_file()


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", command], cwd=cwd, env={**clean_environ(cwd), "PY": sys.executable},
                          capture_output=True, text=True, timeout=60, check=False)  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        '"$PY" -m batch_runner two.jsonl --sandbox | head -0; exit ${PIPESTATUS[0]}',
        '"$PY" -m batch_runner two.jsonl --sandbox --json >&-',
        '"$PY" -m batch_runner two.jsonl --sandbox 2>&- >/dev/null',
        '"$PY" -m batch_runner two.jsonl --sandbox 2>/dev/full',
        '"$PY" -m batch_runner --help | head -0; exit ${PIPESTATUS[0]}',
        'PYTHONIOENCODING=ascii "$PY" -m batch_runner ledger two.jsonl --sandbox',
    ],
)
def test_a_reader_who_left_changes_no_exit_code(finished: Path, command: str) -> None:
    done = shell(command, finished)
    assert done.returncode == 0
    assert "fault of the program" not in done.stderr
    assert "Exception" not in done.stderr


def test_a_summary_that_cannot_be_written_out_is_told(finished: Path) -> None:
    done = shell('"$PY" -m batch_runner two.jsonl --sandbox --json >/dev/full', finished)
    assert done.returncode == 6
    assert "standard output cannot be written" in done.stderr


def test_an_error_does_not_land_on_standard_output(finished: Path) -> None:
    done = shell('"$PY" -m batch_runner plan none.jsonl --json 2>&-', finished)
    assert done.returncode == 2
    assert json.loads(done.stdout)["exit_code"] == 2


def test_json_stays_json_where_the_terminal_knows_no_umlauts(folder: Path) -> None:
    write_manifest(folder / "films.jsonl", [{"id": "Füchse", "prompt": "p"}])
    ended = run_process(folder, "films.jsonl", *FAST, "--quiet", env={"PYTHONIOENCODING": "ascii"})
    assert ended.code == 0
    ended = run_process(folder, "status", "films.jsonl", "--sandbox", "--json", env={"PYTHONIOENCODING": "ascii"})
    assert ended.json["results"][0]["id"] == "Füchse"
    ended = run_process(folder, "status", "films.jsonl", "--sandbox", env={"PYTHONIOENCODING": "ascii"})
    assert (ended.code, "F\\xfcchse" in ended.out) == (0, True)


# --- again ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("keys")
def test_a_rerun_of_a_finished_batch_is_free(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(folder / "films.jsonl", few(3))
    with served_sandbox() as sandbox:
        first = run_here("films.jsonl", "--base-url", sandbox.base_url, "--rpm", "0", "--json")
        assert first.code == 0
        asked = len(sandbox.world.request_stamps)
        before = snapshot(folder / "outputs")
        again = run_here("films.jsonl", "--base-url", sandbox.base_url, "--rpm", "0", "--json")
        assert len(sandbox.world.request_stamps) == asked
    for name in KEYS:
        monkeypatch.delenv(name)
    without_keys = run_here("films.jsonl", "--base-url", "http://127.0.0.1:9", "--json")
    assert (again.code, without_keys.code) == (0, 0)
    assert again.json == without_keys.json == first.json
    assert snapshot(folder / "outputs") == before


@pytest.mark.usefixtures("keys")
def test_a_batch_of_a_test_server_is_never_taken_for_a_real_one(folder: Path) -> None:
    write_manifest(folder / "films.jsonl", few(1))
    with served_sandbox() as sandbox:
        assert run_here("films.jsonl", "--base-url", sandbox.base_url, "--rpm", "0").code == 0
    real = run_here("films.jsonl", "--json")
    assert real.code == 2
    assert "test server" in real.json["error"]


def test_without_keys_nothing_is_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(folder / "films.jsonl", few(1))
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    assert run_here("films.jsonl").code == 5
    assert not (folder / "outputs").exists()


def test_a_path_that_is_no_text_is_no_fault(folder: Path) -> None:
    path = Path(os.fsdecode(b"films-\xff.jsonl"))
    write_manifest(folder / path, few(1))
    assert run_here(str(path), "--name", "films", *FAST, "--json").json["manifest"] == "films-\\xff.jsonl"


def test_the_budget_stops_it_and_more_budget_goes_on(folder: Path) -> None:
    write_manifest(folder / "films.jsonl", few(3))
    short = run_here("films.jsonl", *FAST, "--json", "--budget", "2")
    assert short.code == short.json["exit_code"] == 4
    assert (short.json["items"]["succeeded"], short.json["items"]["pending"]) == (2, 1)
    assert run_here("films.jsonl", *FAST, "--json", "--budget", "3").code == 0


# --- signals --------------------------------------------------------------------------------------------------

_WITH_SIGNALS = (
    "import signal, sys\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's "&" above us may have switched it off
    "from batch_runner.cli import entry\n"
    "entry()\n"
)


def started(cwd: Path, *args: str) -> subprocess.Popen[str]:
    """A run under way: its first tasks are accepted."""
    process = subprocess.Popen([sys.executable, "-c", _WITH_SIGNALS, *args], cwd=cwd, env=clean_environ(cwd),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)  # fmt: skip
    journal = cwd / "outputs/.sandbox.jsonl"
    deadline_s = time.monotonic() + 30
    while not (journal.is_file() and journal.stat().st_size):
        assert process.poll() is None, said(process.stderr)
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    return process


def said(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_soon_and_the_next_one_finishes(folder: Path, number: signal.Signals) -> None:
    write_manifest(folder / "films.jsonl", few(3))
    with started(folder, "films.jsonl", "--sandbox", "--sandbox-speed", "40", "--json") as process:
        began_s = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - began_s < 10
    assert process.returncode == 7
    summary = json.loads(out)
    assert summary["exit_code"] == 7
    assert summary["items"]["pending"]
    assert number.name in err
    ended = run_here("films.jsonl", *FAST, "--json")
    assert (ended.code, ended.json["items"]["succeeded"]) == (0, 3)
    assert ended.json["credits"]["video"]["consumed"] == "3"


def test_a_second_signal_ends_it_at_once(folder: Path) -> None:
    write_manifest(folder / "films.jsonl", few(4))
    with started(folder, "films.jsonl", "--sandbox", "--sandbox-speed", "1", "--json") as process:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        began_s = time.monotonic()
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - began_s < 2
    assert process.returncode == json.loads(out)["exit_code"] == 7
    assert "Traceback" not in err


def test_an_ignored_signal_stays_ignored(folder: Path) -> None:
    write_manifest(folder / "films.jsonl", few(2))
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *process_args("films.jsonl", *FAST[:-2], "--quiet")]
    with subprocess.Popen(command, cwd=folder, env=clean_environ(folder), stdout=subprocess.DEVNULL) as process:
        journal = folder / "outputs/.sandbox.jsonl"
        while not (journal.is_file() and journal.stat().st_size):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 0


def test_a_call_of_a_later_run_on_the_sandbox_is_not_taken_for_that_of_an_earlier_one(folder: Path) -> None:
    """The simulated service counts its requests anew at every start, so that it gives the same ids for them."""
    faces = [
        {"id": name, "kind": "identify-face", "video_url": f"https://example.com/{name}.mp4?sandbox-seconds=5"}
        for name in ("a", "b", "c")
    ]
    for number in (1, 2, 3):
        write_manifest(folder / "faces.jsonl", faces[:number])
        ended = run_here("faces.jsonl", "--sandbox", "--json")
        assert (ended.code, ended.json["items"]["succeeded"]) == (0, number)


def test_max_runtime_leaves_the_rest_to_the_next_run(folder: Path) -> None:
    write_manifest(folder / "films.jsonl", few(2))
    ended = run_here("films.jsonl", "--sandbox", "--sandbox-speed", "1", "--max-runtime", "0.5", "--json")
    assert ended.code == ended.json["exit_code"] == 7
    assert ended.json["items"]["succeeded"] == 0


# --- the other commands ---------------------------------------------------------------------------------------


def look(cwd: Path, monkeypatch: pytest.MonkeyPatch, *args: str) -> Ended:
    monkeypatch.chdir(cwd)
    return run_here(*args)


def test_status_and_ledger_of_all_batches(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "two-sandbox (SIMULATED): 2 items: 2 succeeded" in look(finished, monkeypatch, "status").out
    ledger = look(finished, monkeypatch, "ledger").out
    assert ledger.splitlines()[1].split() == ["two-sandbox", "(SIMULATED)", "video", "2", "0", "none", "no", "limit"]


def test_status_and_ledger_of_one_batch(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status: Any = look(finished, monkeypatch, "status", "two.jsonl", "--sandbox", "--json").json
    assert [row["status"] for row in status["results"]] == ["succeeded", "succeeded"]
    ledger: Any = look(finished, monkeypatch, "ledger", "two.jsonl", "--sandbox", "--json").json
    entries = ledger["batches"][0]["entries"]
    assert [entry["seq"] for entry in entries] == [1, 2, 3, 4]
    assert (entries[-1]["consumed"], entries[-1]["held"]) == ("2", "0")


def test_a_second_start_after_a_failure_says_how_to_try_it_again_and_the_status_that_it_cost_nothing(
    folder: Path,
) -> None:
    write_manifest(folder / "films.jsonl", [GOOD, {"id": "bad", "prompt": "p [sandbox:fail]"}])
    assert run_here("films.jsonl", *FAST).code == 3
    again = run_here("films.jsonl", *FAST)
    assert (again.code, "nothing is left to do, but 1 item failed" in again.err) == (3, True)
    assert "--retry-failed" in again.err
    rows = run_here("status", "films.jsonl", "--sandbox").out.splitlines()
    assert [row.split()[1:5] for row in rows[1:3]][1] == ["bad", "failed", "generation", "0"]


def test_the_real_batch_is_not_the_simulated_one(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = look(finished, monkeypatch, "status", "two.jsonl")
    assert ended.code == 2
    assert "add --sandbox" in ended.err


def test_verify_finds_a_changed_and_a_missing_file(folder: Path) -> None:
    write_manifest(folder / "films.jsonl", few(3))
    assert run_here("films.jsonl", *FAST).code == 0
    verify = ("verify", "films.jsonl", "--sandbox", "--json")
    assert run_here(*verify).json == {"batch": "films-sandbox", "files": 3, "wrong": {}}
    clip = folder / "outputs/films-sandbox/i1.mp4"
    clip.write_bytes(clip.read_bytes()[:-1] + b"!")
    (folder / "outputs/films-sandbox/i2.mp4").unlink()
    ended = run_here(*verify)
    assert ended.code == 6
    assert set(ended.json["wrong"]) == {"films-sandbox/i1.mp4", "films-sandbox/i2.mp4"}
    told = run_here(*verify[:-1]).out.splitlines()
    assert "films-sandbox/i2.mp4: is missing" in told
    assert told[-2] == "1 of 3 files is as recorded"
    assert "verify --repair" in told[-1]


def test_report_makes_the_derived_files_again(folder: Path) -> None:
    write_manifest(folder / "films.jsonl", few(1))
    assert run_here("films.jsonl", *FAST).code == 0
    batch = folder / "outputs/films-sandbox"
    names = ("results.jsonl", "ledger.jsonl", "summary.json", "report.html")
    before = {name: (batch / name).read_bytes() for name in names}
    for name in names:
        (batch / name).unlink()
    ended = run_here("report", "films.jsonl", "--sandbox")
    assert (ended.code, ended.out.strip()) == (0, "outputs/films-sandbox/report.html")
    assert {name: (batch / name).read_bytes() for name in names} == before


def test_plan_prices_and_sends_and_writes_nothing(folder: Path, trap: Trap) -> None:
    write_manifest(folder / "films.jsonl", [*few(2), {"id": "long", "prompt": "p", "duration": 10, "mode": "pro"}])
    ended = run_here("plan", "films.jsonl", "--budget", "1", "--base-url", trap.base_url)
    assert ended.code == 0
    assert "more than the budget of 1" in ended.out
    data: Any = run_here("plan", "films.jsonl", "--json").json
    assert data["items"] == 3
    assert data["credits"].keys() == {"video"}
    assert not trap.was_asked()
    assert [path.name for path in folder.iterdir()] == ["films.jsonl"]


def test_doctor(folder: Path) -> None:
    well = run_here("doctor", "--sandbox", "--json")
    assert well.code == 0
    assert well.json["keys"] == {"ok": True, "text": "accepted; they reach every model"}
    packs = [finding["text"] for name, finding in well.json.items() if name.startswith("pack ")]
    assert len(packs) == 3
    assert all(text.endswith(" tasks at a time") for text in packs)
    ill = run_here("doctor")
    assert ill.code == 5
    assert "KLING_ACCESS_KEY" in ill.out
    assert any(line.startswith("  without one ") for line in ill.out.splitlines())
    assert list(folder.iterdir()) == []


def test_a_store_whose_making_was_cut_off_is_told_by_whoever_looks_and_finished_by_a_run(folder: Path) -> None:
    """SQLite's word for it is an attempt to write a readonly database."""
    write_manifest(folder / "films.jsonl", [GOOD])
    (folder / "outputs").mkdir()
    path = folder / "outputs/state.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    undo_all = bytes.fromhex("d9d505f920a163d7") + struct.pack(">5I", 0, 1, 0, 512, 4096)
    path.with_name("state.db-journal").write_bytes(undo_all.ljust(512, b"\0"))
    before = {each.name: each.read_bytes() for each in path.parent.glob("state.db*")}
    for command in ("status", "ledger", "verify films.jsonl", "report films.jsonl", "plan films.jsonl"):
        looked = run_here(*command.split())
        assert looked.code == 6
        assert "state.db is half-made" in looked.err
        assert "start that run again" in looked.err
    examined = run_here("doctor", "--sandbox")
    assert (examined.code, "!!  state: outputs/state.db is half-made" in examined.out) == (6, True)
    assert {each.name: each.read_bytes() for each in path.parent.glob("state.db*")} == before
    assert run_here("films.jsonl", *FAST).code == 0
    assert run_here("status").code == 0
    assert "state.db can be read and holds 1 batch" in run_here("doctor", "--sandbox").out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("films.jsonl --max-concurent 3", "unrecognized arguments: --max-concurent (did you mean --max-concurrent?)"),
        ("run films.jsonl --sandbx --rpm=9", "(did you mean --sandbox?)"),
        ("verify films.jsonl --repiar", "(did you mean --repair?)"),
        ("verfy films.jsonl", "(did you mean the command verify?)"),
        ("statsu", "there is no manifest statsu (did you mean the command status?); see"),
        ("--json help", "there is no manifest help (did you mean --help?); see"),
        ("films.jsonl --qqqq", "unrecognized arguments: --qqqq; see"),
        ("run .", ". is a folder, not a manifest; name a file of items"),
        ("plan ..", "is a folder, not a file"),
    ],
)
def test_a_mistyped_word_is_told_with_the_right_one(folder: Path, args: str, words: str) -> None:
    write_manifest(folder / "films.jsonl", [GOOD])
    ended = run_here(*args.split())
    assert ended.code == 2
    assert words in ended.err
    assert [path.name for path in folder.iterdir()] == ["films.jsonl"]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("--api-key sk-HUNTER2", "--api-key (keys are never an argument: put them in the environment"),
        ("--secret-key=HUNTER2", "--secret-key (keys are never an argument: put them in the environment"),
        ("-kHUNTER2", "unrecognized arguments: -k"),
        ("--key HUNTER2 HUNTER2", "unrecognized arguments: --key"),
    ],
)
def test_a_key_that_was_given_as_an_argument_is_not_repeated(folder: Path, words: str, hint: str) -> None:
    write_manifest(folder / "films.jsonl", [GOOD])
    ended = run_here("films.jsonl", *words.split(), "--json")
    assert ended.code == 2
    assert "HUNTER2" not in ended.out + ended.err
    assert hint in ended.err


@pytest.mark.parametrize(("value", "out"), [("1", "{"), ("no", ""), ("what", "")])
def test_json_from_the_environment_has_its_object_for_a_wrong_option_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, value: str, out: str
) -> None:
    write_manifest(folder / "films.jsonl", [GOOD])
    monkeypatch.setenv("BATCH_RUNNER_JSON", value)
    ended = run_here("films.jsonl", "--budget", "foo")
    assert ended.code == 2
    assert ended.out[:1] == out


def test_a_repair_asks_nothing_of_the_lines(folder: Path) -> None:
    """A picture that was sent may be gone, and a line under way may have been edited: the film was paid for."""
    (folder / "start.png").write_bytes(base64.b64decode(picture(320, 320)))
    write_manifest(folder / "films.jsonl", [{**GOOD, "image": "start.png"}])
    assert run_here("films.jsonl", *FAST).code == 0
    (folder / "start.png").unlink()
    (folder / "outputs/films-sandbox" / f"{GOOD['id']}.mp4").unlink()
    repaired = run_here("verify", "films.jsonl", "--repair", *FAST)
    assert (repaired.code, "1 file was fetched again" in repaired.out) == (0, True)
    elsewhere = run_here(
        "verify", "films.jsonl", "--repair", "--name", "films-sandbox", "--base-url", "http://127.0.0.1:9"
    )
    assert elsewhere.code == 2


@pytest.mark.parametrize(
    ("text", "out"), [("json = true", "{"), ("json = false", ""), ("json = 3", ""), ("json = true\n[", "")]
)
def test_json_from_the_settings_file_has_its_object_for_a_wrong_option_too(folder: Path, text: str, out: str) -> None:
    (folder / "batch_runner.toml").write_text(text, encoding="utf-8")
    ended = run_here("films.jsonl", "--budget", "foo")
    assert ended.code == 2
    assert ended.out[:1] == out


def test_verify_looks_at_finished_files_whose_lines_are_gone_too(folder: Path) -> None:
    write_manifest(folder / "films.jsonl", [GOOD, {**GOOD, "id": "gone"}])
    assert run_here("films.jsonl", *FAST).code == 0
    write_manifest(folder / "films.jsonl", [GOOD])
    assert run_here("films.jsonl", *FAST).code == 0
    (folder / "outputs/films-sandbox/gone.mp4").unlink()
    ended = run_here("verify", "films.jsonl", "--sandbox")
    assert ended.code == 6
    assert "gone.mp4: is missing" in ended.out
    repaired = run_here("verify", "films.jsonl", "--repair", *FAST)
    assert (repaired.code, "1 file was fetched again" in repaired.out) == (0, True)
    assert "2 of 2 files are as recorded" in repaired.out


def test_a_run_whose_derived_files_cannot_be_written_is_recorded_as_it_ended(folder: Path) -> None:
    write_manifest(folder / "films.jsonl", [GOOD])
    (folder / "outputs/films-sandbox/results.jsonl").mkdir(parents=True)
    ended = run_here("films.jsonl", *FAST)
    assert ended.code == 6
    assert "a folder stands there; move it away and run again" in ended.err
    (folder / "outputs/films-sandbox/results.jsonl").rmdir()
    assert run_here("report", "films.jsonl", "--sandbox").code == 0
    summary = json.loads((folder / "outputs/films-sandbox/summary.json").read_text())
    assert (summary["exit_code"], summary["items"]["succeeded"]) == (6, 1)
    assert run_here("films.jsonl", *FAST).code == 0


def test_a_command_without_a_word_names_them_all() -> None:
    ended = run_here()
    assert ended.code == 2
    assert ended.err.startswith("batch-runner: name a manifest, or a command (run, plan, status, ledger, ")


def test_doctor_says_what_is_wrong_with_keys_and_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLING_ACCESS_KEY", KEYS["KLING_ACCESS_KEY"])
    monkeypatch.setenv("KLING_SECRET_KEY", "another-secret-key-of-enough-bytes")
    with served_sandbox() as sandbox:
        refused_keys = run_here("doctor", "--base-url", sandbox.base_url)
        monkeypatch.setenv("KLING_ACCESS_KEY", sandbox.access_key)
        monkeypatch.setenv("KLING_SECRET_KEY", sandbox.secret_key)
        pair = run_here("doctor", "--base-url", sandbox.base_url)
    assert pair.code == 0
    assert "need KLING_API_KEY" in pair.out
    assert refused_keys.code == 5
    assert "another-secret-key" not in refused_keys.out
    gone = run_here("doctor", "--base-url", "http://127.0.0.1:9", "--json")
    assert gone.code == 7
    assert not gone.json["connection"]["ok"]
    assert "it could not be reached (Connection refused); check the base URL" in gone.json["connection"]["text"]
    assert "account" not in gone.json, "what cannot be reached is not asked a second time"


def test_version_and_help(folder: Path) -> None:
    assert run_here("--version").out == f"batch_runner {__version__}\n"
    overview = run_here("--help")
    assert overview.code == 0
    for command in ("run", "plan", "status", "ledger", "verify", "report", "sandbox", "doctor", "prices"):
        assert f"\n    {command} " in overview.out
        assert run_here(command, "--help").code == 0
    assert list(folder.iterdir()) == []


# --- odd places -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("extra", "code"),
    [
        (["--output-dir", "x" * 300], 6),
        (["--base-url", "https://a..com"], 2),
        (["--base-url", "https://" + "a" * 80], 2),
    ],
)
def test_odd_places_are_told_without_a_fault(folder: Path, extra: list[str], code: int) -> None:
    write_manifest(folder / "films.jsonl", few(1))
    ended = run_here("films.jsonl", *extra)
    assert ended.code == code
    assert "fault of the program" not in ended.err


def test_somebodys_notes_are_no_journal(folder: Path) -> None:
    notes = folder / "notes.txt"
    notes.write_text("my notes, without a newline at the end")
    assert run_here("sandbox", "--port", "0", "--journal", str(notes)).code == 6
    assert notes.read_text() == "my notes, without a newline at the end"
    (folder / "link.jsonl").symlink_to(folder / "elsewhere")
    assert run_here("sandbox", "--port", "0", "--journal", str(folder / "link.jsonl")).code == 6
    assert not (folder / "elsewhere").exists()


def test_the_help_of_a_command_lists_what_matters_to_it_and_every_option_of_run_is_taken() -> None:
    assert "--max-concurrent" in run_here("run", "--help").out
    shown = run_here("prices", "--help").out
    assert "--json" in shown
    assert "--max-concurrent" not in shown
    assert run_here("prices", "--max-concurrent", "2", "--repeat-lost").code == 0


@pytest.mark.parametrize("line", [{"id": "ünï", "prompt": "snow"}, {"prompt": "雪が降る"}])
def test_a_locale_that_cannot_name_the_files_is_told_before_anything_is_sent(
    folder: Path, line: dict[str, Any]
) -> None:
    manifest = write_manifest(folder / "snow.jsonl", [line])
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = run_process(folder, "run", str(manifest), "--sandbox", env=ascii_only)
    assert ended.code == 2
    assert "line 1, id" in ended.err
    assert "LC_ALL=C.UTF-8" in ended.err
    (folder / "batch_runner.toml").write_text('name = "ünï"\n', encoding="utf-8")
    named = run_process(folder, "run", str(manifest), "--sandbox", env=ascii_only)
    assert named.code == 2
    assert "locale" in named.err
    assert not (folder / "outputs").exists()
