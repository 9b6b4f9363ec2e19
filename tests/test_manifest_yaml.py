"""YAML manifests: what is read of them, as JSON would read it, and what is not."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_kit import as_asked, items, only, problems, told, write_lines

from batch_runner.manifest import yaml_records


def write(folder: Path, text: str, name: str = "shots.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


LIST = """\
# what we want
- defaults:
    model_name: kling-v2-6
    mode: pro

- id: heron
  prompt: >-
    A heron lifts off,
    slowly
  sound: on
  aspect_ratio: 9:16
  duration: 10
- id: "7"
  prompt: 'no'
  watermark_info: {enabled: true}
  negative_prompt: ~
"""


def test_a_list_of_objects(tmp_path: Path) -> None:
    path = write(tmp_path, LIST)
    same = write_lines(
        tmp_path / "same.jsonl",
        {"defaults": {"model_name": "kling-v2-6", "mode": "pro"}},
        {"id": "heron", "prompt": "A heron lifts off, slowly", "sound": "on", "aspect_ratio": "9:16", "duration": 10},
        {"id": "7", "prompt": "no", "watermark_info": {"enabled": True}, "negative_prompt": None},
    )
    assert told(path) == []
    assert [as_asked(item) for item in items(path)] == [as_asked(item) for item in items(same)]
    assert [item.line for item in items(path)] == [6, 13]


def test_a_document_an_object(tmp_path: Path) -> None:
    path = write(
        tmp_path, "---\nprompt: one\n---\n---\n- prompt: two\n- prompt: three\n...\n---\nprompt: four\n", "a.yml"
    )
    assert [(item.line, item.body) for item in items(path)] == [
        (2, '{"prompt":"one"}'),
        (5, '{"prompt":"two"}'),
        (6, '{"prompt":"three"}'),
        (9, '{"prompt":"four"}'),
    ]


def test_json_is_yaml(tmp_path: Path) -> None:
    text = json.dumps([{"prompt": 'a "b" \\ é', "cfg_scale": 0.25, "model_name": "kling-v1-6"}], indent=2)
    (item,) = items(write(tmp_path, text))
    assert json.loads(item.body) == json.loads(text)[0]


@pytest.mark.parametrize(
    ("scalar", "meant"),
    [
        *(
            (word, word)
            for word in ("on", "yes", "No", "16:9", "007", "1_000", "0x10", "2026-11-25", ".5", "+5", ".inf")
        ),
        ('"5"', "5"),
        ("'true'", "true"),
    ],
)
def test_scalars_that_yaml_once_read_otherwise_are_text(tmp_path: Path, scalar: str, meant: str) -> None:
    (item,) = items(write(tmp_path, f"prompt: {scalar}"))
    assert json.loads(item.body)["prompt"] == meant


@pytest.mark.parametrize(("scalar", "meant"), [("5", "5"), ("-1.5", "-1.5"), ("1e3", "1000.0"), ("true", "true")])
def test_scalars_that_are_no_text(tmp_path: Path, scalar: str, meant: str) -> None:
    told = str(only(write(tmp_path, f"prompt: {scalar}")))
    assert told.startswith(f"line 1, prompt: must be text, not {meant} [")


def test_an_anchor_is_a_copy(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").write_text(name)
    text = """\
- &masks
  prompt: x
  image: a.png
  dynamic_masks: &list
  - {mask: b.png, trajectories: [{x: 1, y: 1}, {x: 2, y: 2}]}
- *masks
- {id: other, prompt: x, image: b.png, dynamic_masks: *list}
"""
    assert told(write(tmp_path, text)) == ['line 6: asks for the same as line 1 (give one of them an "id" of its own)']
    one, other = items(write(tmp_path, text.replace("- *masks\n", "")))
    assert json.loads(one.body)["dynamic_masks"] == json.loads(other.body)["dynamic_masks"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "prompt: a: b",
            "line 1: is not YAML: mapping values are not allowed in this context (nothing after it was read)",
        ),
        ("- prompt: x\n- [a", "line 3: is not YAML: while parsing a flow sequence"),
        ("- prompt: ! 5", "line 1: has the tag '!', which is not read"),
        ("- prompt: \x01", "is not YAML, here or below: unacceptable character #x0001"),
        ("- prompt: x\n  prompt: y", "line 2: the key 'prompt' stands twice in one object"),
        ("- prompt: x\n  camera_control: {type: a,\n    type: b}", "line 3: the key 'type' stands twice"),
        ("- !!python/object/apply:os.system [ls]", "has the tag '!!python/object/apply:os.system', which is not read"),
        ("- prompt: !!str 5", "line 1: has the tag '!!str', which is not read (quote what is text)"),
        ("- *base", "line 1: *base names nothing that stands before it"),
        ("- &a [*a]", "line 1: *a names nothing that stands before it"),
        ("- &a {prompt: x}\n---\n- *a", "line 3: *a names nothing"),
        ("- &a {prompt: x}\n- {<<: *a, duration: 5}", "line 2: << merges nothing here (defaults stand in"),
        ("- [1, 2]", "line 1: must be an object, not a list"),
        ("-\n- prompt: x", "line 1: must be an object, not null"),
        ("just text", "line 1: must be an object, not text"),
        ("- ? [a]\n  : b", "line 1: has a key that is no text"),
        ("- a: " + "[" * 40 + "]" * 40, "line 1: has more than 30 levels"),
        ("- prompt: x\n- defaults: {mode: pro}", "line 2, defaults: stands on the first line"),
        ("%YAML 9.1\n--- {}", "line 1: is not YAML: found incompatible YAML document"),
    ],
)
def test_yaml_that_will_not_do(tmp_path: Path, text: str, words: str) -> None:
    assert words in "\n".join(told(write(tmp_path, text)))


def test_a_refused_object_costs_the_others_nothing(tmp_path: Path) -> None:
    text = "- {prompt: x, prompt: [1, [2]], id: {a: b}}\n- promt: y\n- !x {a: [b, {c: d}]}\n- prompt: z\n  mode: best\n"
    assert [problem.line for problem in problems(write(tmp_path, text))] == [1, 2, 3, 4]


def test_a_few_anchors_do_not_fill_the_memory(tmp_path: Path) -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" if n else "l0: &l0 [1]" for n in range(12)]
    path = write(tmp_path, "- {" + ", ".join(levels) + "}")
    tracemalloc.start()
    try:
        assert "has more than 20000 parts" in str(only(path))
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


def test_an_object_with_too_many_parts_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, f"- {{a: [{', '.join(['1'] * 60_000)}]}}\n- promt: x\n")
    assert [str(problem)[:35] for problem in problems(path)][:2] == [
        "line 1: has more than 20000 parts",
        "line 2, promt: text2video has no su",
    ]


def test_yaml_is_no_form_for_enormous_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_records, "MAX_BYTES", 1024**2)
    path = write(tmp_path, "- prompt: x\n" * 200_000)
    assert str(only(path)) == "manifest: has 2 MiB; at most 1 as YAML (JSON Lines may have any length)"


def test_without_the_c_library_the_same_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, LIST)
    with_library = items(path)
    monkeypatch.setattr(yaml_records, "_LOADER", yaml.SafeLoader)
    assert items(path) == with_library
    assert "line 1: is not YAML" in str(only(write(tmp_path, "prompt: a: b")))


@settings(max_examples=150)
@given(st.binary(max_size=150) | st.text(alphabet="-: \n[]{}&*!'\"|>?a1,#%\t", max_size=120).map(str.encode))
def test_no_bytes_at_all_break_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "m.yaml"
    path.write_bytes(content)
    found = problems(path)
    assert all(len(str(problem)) < 400 for problem in found)
    if not found:
        items(path)
