"""Every command of README.md is run here as it stands; a block without a test, or a test without a block, fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import av
import pytest
from doors_kit import ROOT, clean_environ, free_port, readme_blocks, run_cells, run_here, served_sandbox, write_manifest
from filelock import FileLock

from batch_runner import ExitCode
from batch_runner.settings import resolve

Test = TypeVar("Test", bound=Callable[..., None])

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = {block.name: block.text for block in readme_blocks() if block.language != "text"}
QUICK = {"BATCH_RUNNER_RPM": "0", "BATCH_RUNNER_SANDBOX_SPEED": "500", "BATCH_RUNNER_TASK_SETTLE": "2"}
_tested: set[str] = set()


def runs(*names: str) -> Callable[[Test], Test]:
    """Marks the test that runs these blocks."""
    _tested.update(names)
    return lambda test: test


def test_every_block_of_the_readme_has_a_test() -> None:
    assert "" not in BLOCKS, "a fenced block needs a line <!-- run: NAME --> above it"
    assert set(BLOCKS) == _tested
    assert README.count("\n```") == 2 * len(readme_blocks())


def bash(command: str, cwd: Path, env: dict[str, str], timeout_s: float = 120) -> str:
    """Run a block, stopping at the first command that fails; what it printed."""
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=timeout_s, check=False)  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder as a reader has it after the first command: prompts, and an environment with the program."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "prompts", folder / "prompts")
    (folder / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    return folder


# --- the commands ---------------------------------------------------------------------------------------------


def fresh_clone(target: Path) -> Path:
    unwanted = shutil.ignore_patterns(".*", "outputs", "__pycache__", "*.egg-info", "build", "dist")
    shutil.copytree(ROOT, target, ignore=unwanted)
    return target


def decoded_frames(path: Path) -> int:
    with av.open(str(path)) as film:
        return sum(1 for _ in film.decode(video=0))


@runs("demo", "looking")
def test_a_fresh_clone_has_playable_films_after_one_command(tmp_path: Path) -> None:
    clone = fresh_clone(tmp_path / "clone")
    home = Path.home()  # pip's settings and cache stay those of this machine; the program finds no keys there
    environ = {name: value for name, value in clean_environ(home).items() if not name.startswith("VIRTUAL_ENV")}
    bash(BLOCKS["demo"], clone, environ, timeout_s=300)
    films = sorted((clone / "outputs/demo-sandbox").glob("*.mp4"))
    assert len(films) == len((clone / "prompts/demo.jsonl").read_text().splitlines())
    assert all(decoded_frames(film) for film in films)
    assert "6 of 6 files are as recorded" in bash(BLOCKS["looking"], clone, environ)
    elsewhere = tmp_path / "elsewhere"  # where no source lies about: the installed package is complete by itself
    write_manifest(elsewhere / "one.jsonl", [{"prompt": "a paper boat"}])
    bash(f"{clone}/.venv/bin/batch-runner one.jsonl --sandbox", elsewhere, {**environ, **QUICK})
    assert len(list(elsewhere.glob("outputs/one-sandbox/*.mp4"))) == 1


@runs("tests")
def test_the_test_command_is_what_the_checks_run() -> None:
    command = BLOCKS["tests"].strip()
    assert "\n" not in command
    assert command in (ROOT / ".ci/run").read_text().splitlines()
    assert command.endswith("-m pytest -q -n auto"), "no test is left out by the command"


@runs("keys", "first")
def test_the_first_real_run(checkout: Path, tmp_path: Path) -> None:
    access_key, secret_key = re.findall(r'_key = "(.+)"', BLOCKS["keys"])
    environ = clean_environ(tmp_path, {"BATCH_RUNNER_RPM": "0"})
    bash(BLOCKS["keys"], checkout, environ)
    assert (tmp_path / ".config/batch_runner/keys.toml").stat().st_mode & 0o777 == 0o600
    with served_sandbox(access_key=access_key, secret_key=secret_key) as service:
        printed = bash(BLOCKS["first"], checkout, {**environ, "KLING_BASE_URL": service.base_url})
    assert "fits the budget of 5" in printed
    assert "first: 1 item: 1 succeeded" in printed
    assert (checkout / "outputs/first/first.mp4").is_file()
    assert secret_key not in printed


@runs("budgets")
def test_the_budgets_of_the_settings_file(checkout: Path, tmp_path: Path) -> None:
    tight = BLOCKS["budgets"].replace("credits = 50", "credits = 4")
    assert tight != BLOCKS["budgets"]
    command = [".venv/bin/python", "-m", "batch_runner", "prompts/demo.jsonl", "--sandbox", "--json"]
    for text, code in ((tight, 4), (BLOCKS["budgets"], 0)):
        (checkout / "batch_runner.toml").write_text(text, encoding="utf-8")
        done = subprocess.run(command, cwd=checkout, env=clean_environ(tmp_path, QUICK), capture_output=True, text=True,
                              timeout=60, check=False)  # fmt: skip
        assert done.returncode == code, done.stderr
        assert ("room appears at" in done.stderr) == (code == 4)
        assert json.loads(done.stdout)["credits"]["video"]["budget"] == "100"


@runs("cron")
def test_the_cron_line(checkout: Path, tmp_path: Path) -> None:
    access_key, secret_key = re.findall(r'_key = "(.+)"', BLOCKS["keys"])
    schedule, command = re.fullmatch(r"((?:[*/\d]+ ){5})(.+)\n", BLOCKS["cron"], re.DOTALL).groups()  # type: ignore[union-attr]  # None fails the test
    assert schedule
    assert "%" not in command, "cron takes it for the end of a line"
    films = checkout.rename(tmp_path / "films")
    write_manifest(films / "prompts/films.jsonl", [{"id": "one", "prompt": "a paper boat"}])
    bash(BLOCKS["keys"], films, clean_environ(tmp_path))
    cron = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}

    def at_the_hour() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, env=cron, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, check=False)  # fmt: skip

    with served_sandbox(access_key=access_key, secret_key=secret_key) as service:
        (films / "batch_runner.toml").write_text(f'base_url = "{service.base_url}"\nrpm = 0\n')
        first = at_the_hour()
        asked = len(service.world.request_stamps)
        again = at_the_hour()
        with FileLock(films / "outputs/.lock", fallback_to_soft=False):
            overlapping = at_the_hour()
        assert len(service.world.request_stamps) == asked
    assert [done.returncode for done in (first, again, overlapping)] == [0, 0, 11]
    assert "".join(done.stdout + done.stderr for done in (first, again, overlapping)) == "", "cron would send mail"
    assert "films: 1 item: 1 succeeded" in (films / "films.log").read_text()


@runs("notebook")
def test_the_notebook_cell(checkout: Path) -> None:
    (printed,) = run_cells(checkout, BLOCKS["notebook"], env=QUICK)
    assert printed.endswith("6 of 6 succeeded, exit code 0\n")
    assert (checkout / "outputs/demo-sandbox/report.html").is_file()


@contextmanager
def in_another_terminal(command: str, cwd: Path) -> Iterator[None]:
    process = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=cwd, env=clean_environ(cwd),
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert process.stdout is not None
    try:
        told = [process.stdout.readline() for _ in range(3)]
        assert all(line.strip() in BLOCKS["faults-run"] for line in with_documented_port(told[1:]))
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0


def with_documented_port(lines: list[str]) -> list[str]:
    return [re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8799", line) for line in lines]


@runs("faults-server", "faults-run")
def test_a_run_against_a_misbehaving_service(checkout: Path) -> None:
    port = str(free_port())  # another program may have the documented one
    server, run = (BLOCKS[name].replace("8799", port) for name in ("faults-server", "faults-run"))
    with in_another_terminal(server.replace("--speed 20", "--speed 500"), checkout):
        bash(run, checkout, clean_environ(checkout, QUICK))
    assert len(list((checkout / "outputs/faults/demo").glob("*.mp4"))) == 6


# --- what it says ---------------------------------------------------------------------------------------------


def test_the_table_of_exit_codes_is_complete() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    assert told == {code.value for code in ExitCode}


def test_every_named_option_exists() -> None:
    flag = r"(?<![\w-])--[a-z][a-z-]+"
    commands = re.findall(r"^    (\w+) ", run_here("--help").out, re.MULTILINE)
    known = {found for command in commands for found in re.findall(flag, run_here(command, "--help").out)}
    assert set(re.findall(flag, README)) <= known
    assert resolve({}, {"BATCH_RUNNER_BUDGET": "5"}, None).budget


def test_the_files_it_lists_are_the_files_a_run_leaves(checkout: Path, tmp_path: Path) -> None:
    write_manifest(checkout / "one.jsonl", [{"id": "one", "prompt": "a paper boat"}])
    environ = clean_environ(tmp_path, {**QUICK, "PATH": os.environ["PATH"]})
    bash(".venv/bin/python -m batch_runner one.jsonl --sandbox", checkout, environ)
    (listed,) = (block.text for block in readme_blocks() if block.language == "text")
    promised = {
        line.split()[0].replace("<batch>", "one-sandbox").replace("<item>", "one") for line in listed.splitlines()
    }
    found = (path.relative_to(checkout) for path in (checkout / "outputs").rglob("*") if path.is_file())
    assert {str(path) for path in found if not path.name.startswith(".")} == promised
    assert json.loads((checkout / "outputs/one-sandbox/summary.json").read_bytes())["sandbox"] is True
