"""How the program starts: a command loads what it needs, all of it before it holds or sends anything."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from doors_kit import FAST, KEYS, clean_environ, few, free_port, run_here, served_sandbox, write_manifest

LOADED = """
import json, sys
from batch_runner.cli import main
main(sys.argv[1:])
print(json.dumps(list(sys.modules)), file=sys.stderr)
"""

LATE = """
import json, sys
import filelock
from batch_runner.cli import main

late = []

class Watch:
    def find_spec(self, name, path=None, target=None):
        late.append(name)

acquire = filelock.FileLock.acquire

def watched(self):
    sys.meta_path.insert(0, Watch())
    return acquire(self)

filelock.FileLock.acquire = watched
code = main(sys.argv[1:])
print(json.dumps({"code": code, "held": "Watch" in map(lambda each: type(each).__name__, sys.meta_path), "late": late}),
      file=sys.stderr)
"""


def told(code: str, cwd: Path, *args: str, env: Mapping[str, str] = KEYS) -> Any:
    """What a script says last on standard error."""
    done = subprocess.run([sys.executable, "-c", code, *args], cwd=cwd, env=clean_environ(cwd, env),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr.splitlines()[-1])


def films(cwd: Path) -> None:
    write_manifest(cwd / "films.jsonl", few(1))


@pytest.mark.parametrize("args", [["--version"], ["--help"], ["run", "--help"], ["sandbox", "--help"], ["run"]])
def test_words_alone_load_none_of_the_libraries(tmp_path: Path, args: list[str]) -> None:
    loaded = set(told(LOADED, tmp_path, *args))
    assert not loaded & {"aiohttp", "asyncio", "filelock", "jinja2", "PIL", "pydantic", "sqlite3", "tqdm", "yaml"}


@pytest.mark.parametrize("args", [["status"], ["status", "films.jsonl", "--sandbox"], ["ledger"], ["prices"]])
def test_a_look_at_what_runs_left_loads_nothing_to_run_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    films(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run_here("films.jsonl", *FAST).code == 0
    loaded = set(told(LOADED, tmp_path, *args))
    assert not loaded & {"aiohttp", "batch_runner.runner", "filelock", "jinja2", "PIL", "tqdm", "yaml"}


def test_a_run_at_an_address_loads_neither_the_simulated_service_nor_a_server(tmp_path: Path) -> None:
    films(tmp_path)
    loaded = told(LOADED, tmp_path, "films.jsonl", "--base-url", f"http://127.0.0.1:{free_port()}",
                  "--max-runtime", "0.1", "--quiet")  # fmt: skip
    assert "batch_runner.runner" in loaded
    assert not set(loaded) & {"aiohttp.web", "batch_runner.sandbox.server", "PIL", "yaml"}


@pytest.mark.parametrize("options", [[], ["--callback-url", "http://127.0.0.1/calls", "--callback-listen", "[::1]:0"]])
@pytest.mark.parametrize("is_embedded", [True, False])
def test_once_a_run_holds_its_folder_it_loads_nothing_more(
    tmp_path: Path, options: list[str], *, is_embedded: bool
) -> None:
    """An import that fails for want of memory or of descriptors must not come between paying and recording."""
    films(tmp_path)
    env = {**KEYS, "KLING_WEBHOOK_SECRET": "whsec_c2VjcmV0"}
    with served_sandbox() as sandbox:
        place = FAST if is_embedded else ("--base-url", sandbox.base_url, "--rpm", "0")
        found = told(LATE, tmp_path, "films.jsonl", *place, *options, "--quiet", env=env)
    assert found["code"] == 0
    assert found["held"]
    assert [name for name in found["late"] if not name.startswith("encodings.")] == []


AT_THE_END = """
import atexit, gc, sys
import batch_runner.__main__ as program
atexit.register(lambda: print([gc.isenabled(), gc.get_freeze_count() > 0], file=sys.stderr))
sys.argv = ["batch_runner", *sys.argv[1:]]
program.start()
"""


@pytest.mark.parametrize(
    "args", [["run", "films.jsonl", *FAST], ["plan", "films.jsonl"], ["plan", "films.jsonl", "--expand"]]
)
def test_once_a_command_is_loaded_garbage_is_looked_for_but_not_in_what_was_loaded(
    tmp_path: Path, args: list[str]
) -> None:
    films(tmp_path)
    done = subprocess.run([sys.executable, "-c", AT_THE_END, *args], cwd=tmp_path, env=clean_environ(tmp_path),
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "[True, True]")


AT_AN_IMPORT = """
import os, signal, sys
import batch_runner.__main__ as program

class Killer:
    def find_spec(self, name, path=None, target=None):
        if name == "NAME":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Killer())
sys.argv = ["batch_runner", *sys.argv[1:]]
program.start()
"""


@pytest.mark.parametrize("name", ["batch_runner.commands", "COMMAND", "batch_runner.store.sqlite"])
@pytest.mark.parametrize(("command", "args"), [("running", ["run"]), ("verifying", ["verify", "--repair"])])
def test_a_signal_while_a_command_is_loaded_ends_it_before_it_does_anything(
    tmp_path: Path, name: str, command: str, args: list[str]
) -> None:
    films(tmp_path)
    code = AT_AN_IMPORT.replace("NAME", name.replace("COMMAND", f"batch_runner.{command}"))
    done = subprocess.run([sys.executable, "-c", code, args[0], "films.jsonl", *args[1:], "--sandbox"], cwd=tmp_path,
                          env=clean_environ(tmp_path), capture_output=True, text=True, check=False)  # fmt: skip
    said = "batch-runner: stopped: run the same command again to go on\n"
    assert (done.returncode, done.stdout, done.stderr) == (7, "", said)
    assert not (tmp_path / "outputs").exists()


def test_the_served_sandbox_ends_well_at_a_signal_that_came_while_it_was_loaded(tmp_path: Path) -> None:
    code = AT_AN_IMPORT.replace("NAME", "batch_runner.serving")
    done = subprocess.run([sys.executable, "-c", code, "sandbox", "--port", "0"], cwd=tmp_path,
                          env=clean_environ(tmp_path), capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "batch-runner: the simulated service has stopped, as it was told to\n")
