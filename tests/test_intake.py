"""What the doors take a manifest from: files by their ending, and standard input."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from doors_kit import FAST, Ended, clean_environ, process_args, run_here

from batch_runner import intake
from batch_runner.errors import ExitCode
from batch_runner.settings import resolve

LINES = '{"id": "a", "prompt": "x"}\n{"id": "b", "prompt": "y"}\n'
TABLE = "id,prompt\na,x\nb,y\n"
YAML = "- {id: a, prompt: x}\n- {id: b, prompt: y}\n"


def piped(cwd: Path, text: str, *args: str) -> Ended:
    """The program as a process of its own, with text on its standard input."""
    done = subprocess.run(process_args(*args), cwd=cwd, env=clean_environ(cwd), input=text,
                          capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def as_stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_a_manifest_may_come_through_a_pipe(tmp_path: Path) -> None:
    first = piped(tmp_path, LINES, "run", "-", "--name", "piped", *FAST, "--json")
    assert (first.code, first.json["batch"], first.json["manifest"]) == (0, "piped-sandbox", "-")
    assert sorted(path.name for path in tmp_path.glob("outputs/piped-sandbox/*.mp4")) == ["a.mp4", "b.mp4"]
    again = piped(tmp_path, LINES, "-", "--name", "piped", *FAST, "--json")
    assert (again.code, "nothing is left to do" in again.err) == (0, True)
    assert piped(tmp_path, "", "status", "-", "--name", "piped", "--sandbox").out.count("succeeded") == 3
    assert {path.name for path in tmp_path.iterdir()} == {"outputs"}


@pytest.mark.parametrize(("form", "text"), [("jsonl", LINES), ("csv", TABLE), ("yaml", YAML), ("YAML", YAML)])
def test_standard_input_may_have_every_form(monkeypatch: pytest.MonkeyPatch, form: str, text: str) -> None:
    as_stdin(monkeypatch, text)
    ended = run_here("plan", "-", "--name", "n", "--format", form, "--json")
    assert (ended.code, ended.json.get("items")) == (0, 2), ended.out + ended.err


def test_paths_on_standard_input_begin_in_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text("x")
    as_stdin(monkeypatch, '{"prompt_file": "t.txt"}')
    assert json.loads(run_here("plan", "-", "--name", "n", "--expand").out)["prompt"] == "x"


def test_standard_input_needs_a_name_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=None))
    for command in ("run", "plan"):
        ended = run_here(command, "-", "--sandbox")
        assert ended.code == ExitCode.USAGE
        assert "standard input has no name that the batch could take: add --name NAME" in ended.err


def test_standard_input_that_will_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert "there is no standard input here" in run_here("plan", "-", "--name", "n").err
    monkeypatch.setattr(intake, "MAX_STDIN_BYTES", 10)
    as_stdin(monkeypatch, "x" * 11)
    assert "standard input is longer than 0 MiB" in run_here("plan", "-", "--name", "n").err
    as_stdin(monkeypatch, TABLE[:9])
    ended = run_here("plan", "-", "--name", "n")
    assert ended.code == ExitCode.USAGE
    assert "-: 1 problem, nothing was sent\n  line 1: is not JSON" in ended.err


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.jsonl", LINES), ("a.csv", TABLE), ("a.yaml", YAML), ("a.YML", YAML), ("a.txt", LINES), ("a", LINES)],
)
def test_the_ending_tells_the_form(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    manifest = intake.manifest_of(tmp_path / name, resolve({}, {}, None))
    assert [item.id for item in manifest.items()] == ["a", "b"]


def test_the_form_may_be_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(YAML)
    assert run_here("plan", str(tmp_path / "a.txt"), "--format", "yaml", "--json").json["items"] == 2
    ended = run_here("plan", str(tmp_path / "a.txt"), "--format", "xml")
    assert (ended.code, "'xml' is none of jsonl, csv, yaml" in ended.err) == (ExitCode.USAGE, True)
