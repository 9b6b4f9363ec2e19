"""The door for programs: a cell of a real notebook kernel, and a script without an event loop."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from doors_kit import FAST, clean_environ, few, run_cells, run_process, write_manifest

OPTIONS = "sandbox=True, sandbox_speed=500, rpm=0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_manifest(tmp_path / "films.jsonl", few(2))
    return tmp_path


def test_a_cell_awaits_a_run_and_sees_its_progress(folder: Path) -> None:
    cells = run_cells(
        folder,
        "import batch_runner",
        f"summary = await batch_runner.run('films.jsonl', {OPTIONS})",
        "print(summary.items.succeeded, int(summary.exit_code), summary.credits['video'].consumed, summary.sandbox)",
        f"again = await batch_runner.run('films.jsonl', {OPTIONS})\nprint(again == summary)",
    )
    assert "films-sandbox" in cells[1]
    assert cells[2] == "2 0 2 True\n"
    assert cells[3].endswith("True\n")
    assert (folder / "outputs/films-sandbox/i1.mp4").is_file()


def test_a_cell_meets_the_errors_as_exceptions(folder: Path) -> None:
    cells = run_cells(
        folder,
        "import batch_runner\n"
        "for name, options in (('none.jsonl', {}), ('films.jsonl', {}), ('films.jsonl', {'budgte': 5})):\n"
        "    try:\n"
        "        await batch_runner.run(name, **options)\n"
        "    except batch_runner.BatchRunnerError as error:\n"
        "        print(type(error).__name__, int(error.exit_code))",
    )
    assert cells[0].splitlines() == ["ManifestError 2", "AccountError 5", "UsageError 2"]


def test_an_interrupted_cell_leaves_a_batch_that_the_next_run_finishes(folder: Path) -> None:
    cells = run_cells(
        folder,
        "import asyncio, batch_runner\n"
        "slow = batch_runner.run('films.jsonl', sandbox=True, sandbox_speed=40)\n"
        "try:\n"
        "    async with asyncio.timeout(1.5):\n"
        "        await slow\n"
        "except TimeoutError:\n"
        "    print('cancelled')",
        f"summary = await batch_runner.run('films.jsonl', {OPTIONS})\n"
        "print(summary.items.succeeded, summary.credits['video'].consumed)",
    )
    assert cells[0].endswith("cancelled\n")
    assert cells[1].endswith("2 2\n")


def test_a_script_runs_without_a_loop(folder: Path) -> None:
    script = f"import batch_runner\nprint(batch_runner.run_sync('films.jsonl', {OPTIONS}).as_json()['exit_code'])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=folder, env=clean_environ(folder),
                          capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_command_line_and_script_are_doors_to_one_room(folder: Path) -> None:
    by_command = run_process(folder, "films.jsonl", *FAST, "--json").json
    script = f"import json, batch_runner\nprint(json.dumps(batch_runner.run_sync('films.jsonl', {OPTIONS}).as_json()))"
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, env=clean_environ(folder),
                          capture_output=True, text=True, timeout=120, check=True)  # fmt: skip
    assert json.loads(done.stdout) == by_command
