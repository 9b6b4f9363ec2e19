"""The program as a process among others: signals, closed streams, a closed terminal, cron, and who holds the folder."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from doors_kit import KEYS, clean_environ, few, process_args, run_process, served_sandbox, until, write_manifest
from simulation import Scenario, Simulation, audit, simulate

from batch_runner.errors import ExitCode, OutputFolderLockedError
from batch_runner.sandbox import FaultPlan, Sandbox, WorldConfig

STOPPED, LOCKED = ExitCode.STOPPED, ExitCode.LOCKED


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture(autouse=True)
def nothing_is_ignored() -> Iterator[None]:
    """A ``nohup``, or a shell's ``&``, somewhere above may have switched signals off for everything below it."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def running(cwd: Path, *args: str, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """The program under way, with keys; killed in the end if it still is."""
    process = subprocess.Popen(process_args(*args), cwd=cwd, env=clean_environ(cwd, KEYS), text=True,
                               **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
                                  **streams})  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.communicate()


def films(cwd: Path, count: int = 2) -> str:
    return write_manifest(cwd / "films.jsonl", few(count)).name


def row(cwd: Path, number: int = 0) -> Any:
    return json.loads((cwd / "outputs/films/results.jsonl").read_text().splitlines()[number])


def finish(cwd: Path, sandbox: Sandbox) -> Any:
    """A last run, which has to end the batch; its summary."""
    ended = run_process(cwd, "films.jsonl", "--base-url", sandbox.base_url, "--rpm", "0", "--json", env=KEYS)
    assert ended.code == 0, ended.err
    assert run_process(cwd, "verify", "films.jsonl").code == 0
    return ended.json


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_during_a_submission_waits_for_its_answer_and_records_it(cwd: Path, number: signal.Signals) -> None:
    manifest = films(cwd)
    faults = FaultPlan(slow_s=2.0, script={"create": ["slow"]})
    with served_sandbox(faults=faults) as sandbox:
        options = ("--base-url", sandbox.base_url, "--max-concurrent", "1", "--json")
        with running(cwd, manifest, *options) as process:
            until(lambda: sandbox.world.tasks)
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
        assert process.returncode == json.loads(out)["exit_code"] == STOPPED, err
        assert row(cwd)["task_id"] == sandbox.world.tasks[0].task_id, "the answer was waited for"
        assert len(sandbox.world.tasks) == 1
        assert finish(cwd, sandbox)["requests"]["submit"] == 1, "only the other item's"
        assert len(sandbox.world.tasks) == 2


def test_a_process_that_was_stopped_for_a_while_makes_no_burst(cwd: Path) -> None:
    manifest = films(cwd, 8)
    config = WorldConfig(speed=60, max_concurrent=4, rpm=100)
    with served_sandbox(config=config) as sandbox:
        options = ("--base-url", sandbox.base_url, "--max-concurrent", "4", "--rpm", "100")
        with running(cwd, manifest, *options) as process:
            until(lambda: len(sandbox.world.tasks) >= 2)
            for _ in range(2):
                process.send_signal(signal.SIGSTOP)
                time.sleep(2.5)
                process.send_signal(signal.SIGCONT)
                time.sleep(0.5)
            _, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        assert "attention" not in err
        assert len(sandbox.world.tasks) == 8
        assert sandbox.world.most_requests_in_window() <= 100
        assert not sandbox.world.refusals


def test_a_second_signal_waits_for_no_answer_and_records_how_everything_stands(cwd: Path) -> None:
    manifest = films(cwd)
    faults = FaultPlan(slow_s=600.0, script={"create": ["slow"]})
    with served_sandbox(faults=faults) as sandbox:
        options = ("--base-url", sandbox.base_url, "--max-concurrent", "1", "--json")
        with running(cwd, manifest, *options) as process:
            until(lambda: sandbox.world.tasks)
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        assert process.returncode == STOPPED, err
        assert json.loads(out) == json.loads((cwd / "outputs/films/summary.json").read_text())
        assert "run the same command again" in err
        assert "Traceback" not in err
        assert [row(cwd, number)["status"] for number in range(2)] == ["unknown", "pending"]
        [hold] = (cwd / "outputs/films/ledger.jsonl").read_text().splitlines()
        assert json.loads(hold)["entry"] == "hold"
        assert finish(cwd, sandbox)["requests"]["submit"] == 1, "only the other item's"
        assert len(sandbox.world.tasks) == 2


# --- streams and terminals --------------------------------------------------------------------------------------------


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = clean_environ(cwd, {**KEYS, "PY": sys.executable})
    return subprocess.run(["bash", "-c", command], cwd=cwd, env=environ, capture_output=True, text=True, timeout=90,
                          check=False)  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        "{run} 2>&-",
        "{run} <&- >&- 2>&-",
        "{run} 2>&1 | head -1; exit ${{PIPESTATUS[0]}}",
        "{run} --json | head -c 1; exit ${{PIPESTATUS[0]}}",
        "{run} > /dev/null 2> /dev/full",
    ],
)
def test_a_run_whose_streams_are_closed_does_its_work_all_the_same(cwd: Path, command: str) -> None:
    manifest = films(cwd, 3)
    with served_sandbox() as sandbox:
        run = f'"$PY" -m batch_runner {manifest} --rpm 0 --base-url {sandbox.base_url}'
        done = shell(command.format(run=run), cwd)
        assert done.returncode == 0, done.stderr
        assert "Exception" not in done.stderr
        assert "Traceback" not in done.stderr
        assert len(sandbox.world.tasks) == 3
    for number in range(3):
        [file] = row(cwd, number)["files"]
        content = (cwd / "outputs" / file["path"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])


def test_files_never_take_the_place_of_closed_streams(cwd: Path) -> None:
    """Else a stray message, a crash report of the interpreter say, would be written into a video or into state.db."""
    manifest = films(cwd, 1)
    with served_sandbox(speed=20) as sandbox:
        run = f'exec "$PY" -m batch_runner {manifest} --base-url {sandbox.base_url} <&- >&- 2>&-'
        environ = clean_environ(cwd, {**KEYS, "PY": sys.executable})
        process = subprocess.Popen(["bash", "-c", run], cwd=cwd, env=environ)
        try:
            until(lambda: sandbox.world.tasks)
            streams = [Path(f"/proc/{process.pid}/fd/{number}").readlink() for number in range(3)]
            assert streams == [Path(os.devnull)] * 3
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()


def test_a_closed_terminal_stops_a_run_and_the_next_one_goes_on(cwd: Path) -> None:
    manifest = films(cwd, 3)
    with served_sandbox(speed=20) as sandbox:
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(cwd)
            args = process_args(manifest, "--base-url", sandbox.base_url)
            os.execve(args[0], args, clean_environ(cwd, KEYS))
        try:
            until(lambda: sandbox.world.tasks)
        finally:
            os.close(terminal)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == STOPPED
        assert row(cwd)["reason"] == "stopped"
        submitted = len(sandbox.world.tasks)
        assert finish(cwd, sandbox)["requests"]["submit"] == 3 - submitted
        assert len(sandbox.world.tasks) == 3


def test_a_run_under_nohup_outlives_its_terminal(cwd: Path) -> None:
    manifest = films(cwd, 2)
    with served_sandbox(speed=40) as sandbox:
        args = ["nohup", *process_args(manifest, "--base-url", sandbox.base_url)]
        process = subprocess.Popen(args, cwd=cwd, env=clean_environ(cwd, KEYS), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            until(lambda: sandbox.world.tasks)
            process.send_signal(signal.SIGHUP)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
        assert len(sandbox.world.tasks) == 2


# --- who holds the folder ---------------------------------------------------------------------------------------------


def test_starts_that_overlap_leave_at_once_and_send_nothing(cwd: Path) -> None:
    manifest = films(cwd, 3)
    with served_sandbox(speed=25) as sandbox:
        options = ("--base-url", sandbox.base_url, "--rpm", "0", "--max-concurrent", "1")
        with running(cwd, manifest, *options) as first:
            until(lambda: sandbox.world.tasks)
            others = [run_process(cwd, manifest, *options, "--json", env=KEYS) for _ in range(2)]
            report = run_process(cwd, "report", manifest)
            repair = run_process(cwd, "verify", "--repair", manifest, "--base-url", sandbox.base_url, env=KEYS)
            assert first.poll() is None, "they came while it ran"
            _, err = first.communicate(timeout=60)
        assert [other.code for other in others] == [LOCKED] * 2
        assert all(other.json["exit_code"] == LOCKED for other in others)
        assert report.code in {LOCKED, ExitCode.USAGE}
        assert repair.code in {LOCKED, 0}
        assert first.returncode == 0, err
        assert len(sandbox.world.tasks) == 3


def test_a_stopped_owner_keeps_the_folder_and_a_killed_one_does_not(cwd: Path) -> None:
    manifest = films(cwd, 2)
    with served_sandbox(speed=20) as sandbox:
        options = ("--base-url", sandbox.base_url, "--rpm", "0", "--json")
        with running(cwd, manifest, *options) as owner:
            until(lambda: sandbox.world.tasks)
            owner.send_signal(signal.SIGSTOP)
            assert run_process(cwd, manifest, *options, env=KEYS).code == LOCKED
            owner.kill()
            owner.wait()
            assert (cwd / "outputs/.lock").exists(), "what it left behind locks nobody out"
            finish(cwd, sandbox)
        assert len(sandbox.world.tasks) == 2


def test_a_start_every_minute_is_one_run_after_the_other(tmp_path: Path) -> None:
    """As cron does it: starts meet the running one, or go on where it stopped, or have nothing to do."""

    async def work(simulation: Simulation) -> None:
        ends: list[int] = []

        async def start() -> None:
            try:
                summary = await simulation.run(max_runtime_s=150)
            except OutputFolderLockedError as error:
                ends.append(error.exit_code)
            else:
                assert summary is not None
                ends.append(summary.exit_code)

        starts = []
        for _ in range(25):
            starts.append(asyncio.ensure_future(start()))
            await asyncio.sleep(60)
        await asyncio.gather(*starts)
        assert ends[-1] == 0
        assert {LOCKED, STOPPED, 0} == set(ends)
        requests = len(simulation.world.request_stamps)
        summary = await simulation.run()
        assert summary is not None
        audit(simulation, summary)
        assert (len(simulation.world.tasks), len(simulation.world.request_stamps)) == (8, requests)

    lines = tuple(json.dumps({"id": f"i{number}", "prompt": f"scene {number}"}) for number in range(8))
    world = WorldConfig(max_concurrent=2, rpm=60)
    simulate(Scenario(slots=2, rpm=60, lines=lines, world=world), tmp_path, work)


# --- the first moments ------------------------------------------------------------------------------------------------

WHILE_LOADING = """
import os, signal, sys
import batch_runner.__main__ as program
assert "batch_runner.cli" not in sys.modules, "what takes long to load is not loaded yet"

class Killer:
    def find_spec(self, name, path=None, target=None):
        if name == "batch_runner.cli":
            os.kill(os.getpid(), NUMBER)

# Tests that run in the background of a shell would hand down an ignored one.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Killer())
sys.argv = ["batch_runner", *sys.argv[1:]]
program.start()
"""


@pytest.mark.parametrize(
    ("number", "options"),
    [(signal.SIGINT, ()), (signal.SIGTERM, ("--quiet",)), (signal.SIGHUP, ("--json",))],
)
def test_a_signal_while_the_program_is_loaded_is_heard_and_said(
    cwd: Path, number: signal.Signals, options: tuple[str, ...]
) -> None:
    manifest = films(cwd, 1)
    code = WHILE_LOADING.replace("NUMBER", str(int(number)))
    done = subprocess.run([sys.executable, "-c", code, "run", str(manifest), "--sandbox", *options], cwd=cwd,
                          env=clean_environ(cwd), capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    assert done.returncode == 7, done.stderr
    said = "batch-runner: stopped: run the same command again to go on\n"
    assert done.stderr == ("" if "--quiet" in options else said)
    assert json.loads(done.stdout or "{}").get("exit_code") == (7 if "--json" in options else None)
    assert not (cwd / "outputs").exists()


def test_ignored_signals_stay_ignored_while_the_program_is_loaded(cwd: Path) -> None:
    manifest = films(cwd, 1)
    code = WHILE_LOADING.replace("NUMBER", str(int(signal.SIGHUP)))
    command = f'trap \'\' HUP; exec "$PY" -c "$CODE" plan {manifest} --sandbox'
    environ = clean_environ(cwd, {"PY": sys.executable, "CODE": code})
    done = subprocess.run(["bash", "-c", command], cwd=cwd, env=environ, capture_output=True, text=True, timeout=60,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
