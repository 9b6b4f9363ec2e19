"""Signals outside of a run's middle: at its end, to commands that submit nothing, and to programs that call ``run``."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import select
import signal
import socket
import sqlite3
import struct
import subprocess
import termios
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from doors_kit import (
    FAST,
    KEYS,
    clean_environ,
    few,
    process_args,
    run_here,
    run_process,
    served_sandbox,
    snapshot,
    until,
    write_manifest,
)
from signal_moments import Start, play

from batch_runner import run_sync
from batch_runner.errors import ExitCode, StoppedError
from batch_runner.interruption import Interruption
from batch_runner.runner import Halt
from batch_runner.stopping import in_steps

STOPPED = ExitCode.STOPPED
SAID = "batch-runner: stopped: run the same command again to go on\n"
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PAGE = 4096


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_DFL) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def started(cwd: Path, *args: str, env: Mapping[str, str] = KEYS, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """The program with all signals as a terminal leaves them, in a process group of its own; killed in the end."""
    default = ["env", "--default-signal=INT,TERM,HUP", *process_args(*args)]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    process = subprocess.Popen(default, cwd=cwd, env=clean_environ(cwd, env), text=True, start_new_session=True,
                               **streams)  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def end_of(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@contextmanager
def silence() -> Iterator[tuple[dict[str, str], Callable[[], object]]]:
    """Keys and the address of a service that never answers; and whether it was asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        yield {**KEYS, "KLING_BASE_URL": url}, lambda: select.select([server], [], [], 0)[0]


def films(cwd: Path, count: int = 1) -> None:
    write_manifest(cwd / "films.jsonl", few(count))


# --- the end of a run -------------------------------------------------------------------------------------------------


def starts(cwd: Path, moments: Iterable[int], **options: Any) -> list[Start]:
    """Starts of a small simulated batch, each in a folder of its own."""
    made = []
    for moment in moments:
        folder = cwd / f"{options.get('since')}-{moment}"
        films(folder)
        made.append(Start(folder, ["films.jsonl", *FAST, "--json"], moment, **options))
    return made


def test_from_the_first_record_of_its_end_to_the_last_call_no_signal_changes_how_a_run_ends(tmp_path: Path) -> None:
    """The old end is a loop that closes, and takes every handler back that was told to it."""
    recording = starts(tmp_path, range(1, 108, 8), since="_record")
    closing = starts(tmp_path, range(34, 62, 2), since="_close_self_pipe", every_call=True)
    for start, end in zip([*recording, *closing], play([*recording, *closing]), strict=True):
        assert end.code == 0, f"{start.moment}: {end}"
        assert json.loads(end.out) == json.loads((start.folder / "outputs/films-sandbox/summary.json").read_text())
        assert len((start.folder / "outputs/films-sandbox/results.jsonl").read_text().splitlines()) == 1
        assert "Traceback" not in end.err
        assert "stopped" not in end.err


@pytest.mark.parametrize("count", [1, 2, 3])
def test_signals_at_any_write_of_a_run_end_it_with_a_true_word(tmp_path: Path, count: int) -> None:
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[:count]
    played = starts(tmp_path, range(5 + count, 180, 25), since="_run", signals=signals)
    for start, end in zip(played, play(played), strict=True):
        assert end.place
        assert end.code in {0, STOPPED}, f"{start.moment}: {end}"
        told = json.loads(end.out)
        assert told["exit_code"] == end.code
        assert "Traceback" not in end.err
        if "items" in told:
            assert told == json.loads((start.folder / "outputs/films-sandbox/summary.json").read_text())
        else:
            assert end.code == STOPPED
            assert "run the same command again" in told["error"]


@pytest.mark.usefixtures("handlers")
def test_the_first_signal_to_a_run_that_leaves_already_is_not_its_second() -> None:
    halt, interruption = Halt(), Interruption()
    stages: list[bool] = []
    interruption.install()

    async def work() -> None:
        halt.leave(StoppedError("the --max-runtime is over"))
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.05)
            stages.append(halt.is_abandoned)

    with pytest.raises(StoppedError, match="at once"):
        asyncio.run(in_steps(work(), halt, interruption))
    assert stages == [False, True], "left already, abandoned, cancelled"
    assert str(halt.error) == "the --max-runtime is over"


SLOWLY = """
import pathlib, time
from batch_runner.manifest import Manifest

read = Manifest.METHOD

def slowly(self):
    for number, line in enumerate(read(self)):
        if number:
            pathlib.Path("reading").touch()
            time.sleep(0.1)
        yield line

Manifest.METHOD = slowly
"""


@pytest.mark.parametrize("method", ["_outcomes", "items"])
def test_a_manifest_that_takes_long_to_check_or_to_load_is_given_up_at_the_first_signal(
    tmp_path: Path, method: str
) -> None:
    films(tmp_path, 20)
    (tmp_path / "sitecustomize.py").write_text(SLOWLY.replace("METHOD", method))
    with started(tmp_path, "films.jsonl", *FAST, env={"PYTHONPATH": str(tmp_path)}) as process:
        until((tmp_path / "reading").exists)
        process.send_signal(signal.SIGTERM)
        said = "batch-runner: stopped by SIGTERM: run the same command again to go on\n"
        assert end_of(process) == (STOPPED, "", said)
    state_path = tmp_path / "outputs/state.db"
    assert state_path.exists() == (method == "items")
    if state_path.exists():
        with closing(sqlite3.connect(state_path)) as db:
            assert db.execute("SELECT count(*) FROM items").fetchall() == [(0,)], "rolled back"


# --- commands that submit nothing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("args", [["doctor"], ["plan", "films.jsonl", "--account"]])
def test_a_command_that_waits_for_an_answer_is_ended_by_a_signal(
    tmp_path: Path, args: list[str], number: signal.Signals
) -> None:
    films(tmp_path)
    with silence() as (env, was_asked), started(tmp_path, *args, env=env) as process:
        until(was_asked)
        process.send_signal(number)
        assert end_of(process) == (STOPPED, "", SAID)


def test_commands_that_hold_the_output_folder_leave_it_as_it_was(tmp_path: Path) -> None:
    films(tmp_path, 2)
    with served_sandbox() as sandbox:
        done = run_process(tmp_path, "films.jsonl", "--base-url", sandbox.base_url, "--rpm", "0", env=KEYS)
        assert done.code == 0, done.err
    (tmp_path / "outputs/films/i0.mp4").write_bytes(b"not a film")
    before = snapshot(tmp_path / "outputs/films")
    repair, reconcile = ["verify", "films.jsonl", "--repair"], ["ledger", "--reconcile"]
    for args, number in ((repair, signal.SIGTERM), (reconcile, signal.SIGINT), (reconcile, signal.SIGTERM)):
        with silence() as (env, was_asked), started(tmp_path, *args, "--rpm", "0", env=env) as process:
            until(was_asked)
            process.send_signal(number)
            assert end_of(process) == (STOPPED, "", SAID)
        assert snapshot(tmp_path / "outputs/films") == before


@pytest.mark.parametrize("number", NUMBERS)
def test_the_served_sandbox_ends_well_and_says_so(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path, "sandbox", "--port", "0") as process:
        assert process.stdout is not None
        assert "Ctrl-C stops it" in process.stdout.readline()
        process.send_signal(number)
        code, _, err = end_of(process)
        assert (code, err) == (0, "batch-runner: the simulated service has stopped, as it was told to\n")


@contextmanager
def full_pipe(filled: int) -> Iterator[tuple[int, Callable[[], bytes]]]:
    """A pipe of one page that nobody reads, with so many bytes in it; and what it holds beyond them in the end."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PAGE)
    os.write(writing, b" " * filled)
    try:
        yield writing, lambda: os.read(reading, PAGE)[filled:]
    finally:
        os.close(reading)
        os.close(writing)


def held(pipe: int) -> int:
    """How many bytes wait in it."""
    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0])


def test_an_answer_that_nobody_reads_is_cut_off_by_a_signal_and_followed_by_no_other(tmp_path: Path) -> None:
    with full_pipe(0) as (pipe, content), started(tmp_path, "prices", "--json", stdout=pipe) as process:
        until(lambda: held(pipe) == PAGE)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == STOPPED
        assert process.stderr is not None
        assert process.stderr.read() == SAID
        assert b'"error"' not in content()


def is_ended_by(number: signal.Signals, process: subprocess.Popen[str]) -> bool:
    process.send_signal(number)
    return process.poll() is not None


def test_last_words_that_nobody_reads_are_cut_off_by_a_later_signal(tmp_path: Path) -> None:
    with (
        silence() as (env, was_asked),
        full_pipe(PAGE) as (pipe, content),
        started(tmp_path, "doctor", "--json", env=env, stdout=pipe) as process,
    ):
        until(was_asked)
        until(lambda: is_ended_by(signal.SIGTERM, process))
        assert process.returncode == STOPPED
        assert content() == b""


def test_a_manifest_that_does_not_come_to_its_end_is_no_longer_waited_for(tmp_path: Path) -> None:
    args = ("run", "-", "--name", "piped", "--sandbox")
    with started(tmp_path, *args, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write('{"prompt": "the first of many"}\n')
        process.stdin.flush()
        pipe = process.stdin.fileno()
        until(lambda: not held(pipe))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == STOPPED
        assert process.stderr is not None
        assert process.stderr.read() == SAID
    assert not (tmp_path / "outputs").exists()


NO_NAME_SERVER = """
import pathlib, socket, threading

def getaddrinfo(*_, **__):
    pathlib.Path("asked").touch()
    threading.Event().wait()

socket.getaddrinfo = getaddrinfo
"""


@pytest.mark.parametrize("args", [["doctor"], ["films.jsonl"]])
def test_a_name_server_that_does_not_answer_is_not_waited_for(tmp_path: Path, args: list[str]) -> None:
    films(tmp_path)
    (tmp_path / "sitecustomize.py").write_text(NO_NAME_SERVER)
    env = {**KEYS, "KLING_BASE_URL": "https://nowhere.example", "PYTHONPATH": str(tmp_path)}
    with started(tmp_path, *args, env=env) as process:
        until((tmp_path / "asked").exists)
        process.send_signal(signal.SIGTERM)
        code, _, err = end_of(process)
    assert code == STOPPED
    assert "Traceback" not in err
    assert "run the same command again" in err


def children(process: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


@pytest.mark.skipif(os.cpu_count() == 1, reason="rehearses in a thread")
def test_a_rehearsal_on_many_cores_ends_in_silence_with_its_terminal(tmp_path: Path) -> None:
    films(tmp_path, 500)
    with started(tmp_path, "plan", "films.jsonl") as process:
        until(lambda: children(process))
        os.killpg(process.pid, signal.SIGINT)
        assert end_of(process) == (STOPPED, "", SAID)


@pytest.mark.skipif(os.cpu_count() == 1, reason="rehearses in a thread")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_terminal_does_not_end_what_a_rehearsal_needs_while_it_is_handed_out(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A pool whose processes died in that moment lost jobs, and `plan` waited for them for ever."""
    films(tmp_path, 20)
    with started(tmp_path, "plan", "films.jsonl") as process:
        until(lambda: children(process))
        for child in children(process):
            os.kill(child, number)
        code, out, _ = end_of(process)
    assert code == 0
    assert "time: " in out


@pytest.mark.skipif(os.cpu_count() == 1, reason="rehearses in a thread")
def test_a_rehearsal_is_not_waited_for(tmp_path: Path) -> None:
    films(tmp_path, 500)
    with started(tmp_path, "plan", "films.jsonl") as process:
        until(lambda: len(children(process)) >= 2)
        for child in children(process):
            os.kill(child, signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        assert end_of(process) == (STOPPED, "", SAID)


# --- programs of others -----------------------------------------------------------------------------------------------


def test_programs_that_call_a_run_keep_their_handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    films(tmp_path)
    before = {number: signal.signal(number, lambda *_: None) for number in NUMBERS}
    own = [signal.getsignal(number) for number in NUMBERS]
    try:
        assert run_sync("films.jsonl", sandbox=True, sandbox_speed=500, rpm=0).exit_code == 0
        assert run_here("films.jsonl", *FAST).code == 0
        assert run_here("doctor", "--sandbox").code == 0
        assert [signal.getsignal(number) for number in NUMBERS] == own
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
