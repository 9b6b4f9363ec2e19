"""Manifests as people write them, good and bad, and what the reader makes of each."""

from __future__ import annotations

import codecs
import json
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from manifest_kit import content_of, items, manifest, only, problems, write_lines

from batch_runner import catalog
from batch_runner.errors import ExitCode, ManifestError
from batch_runner.manifest import MAX_PROBLEMS, Format, Manifest, MediaFacts, Source, lines, load_body
from batch_runner.manifest.file_names import numbered_names, plain_names, rivals
from batch_runner.model import Pack

PROMPT = '{"prompt": "a heron lifts off"}'
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes lines (text, bytes or objects) as a manifest and returns its path."""

    def written(*content: object) -> Path:
        return write_lines(tmp_path / "shots.jsonl", *content)

    return written


# what a good line becomes


def test_a_line_becomes_an_item(write: Write) -> None:
    path = write("", {"id": "Heron 1", "prompt": "a heron", "duration": 10, "priority": -2}, "  \t")
    assert problems(path) == []
    (item,) = items(path)
    assert (item.id, item.line, item.kind, item.priority) == ("Heron 1", 2, "text2video", -2)
    assert item.body == '{"duration":"10","prompt":"a heron"}'
    assert (item.price.pack, item.price.credits) == (Pack.VIDEO, Decimal(2))
    assert len(bytes.fromhex(item.fingerprint)) == 32


def test_order_of_keys_and_form_of_duration_do_not_matter(write: Write) -> None:
    one, two, three = items(
        write(
            {"id": "1", "prompt": "å", "duration": 5},
            {"duration": "5", "prompt": "å", "id": "2", "kind": "text2video"},
            {"id": "3", "prompt": "å", "duration": 10},
        )
    )
    assert one.body == two.body == '{"duration":"5","prompt":"å"}'
    assert one.fingerprint == two.fingerprint != three.fingerprint


def test_kind_follows_the_image_unless_it_is_said(write: Write, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("pixels")
    path = write(
        {"prompt": "x", "image": "a.png"},
        {"prompt": "x", "image_tail": "https://example.com/t.png", "model_name": "kling-v1-6", "mode": "pro"},
        {"prompt": "x", "kind": "text2video"},
    )
    assert [item.kind for item in items(path)] == ["image2video", "image2video", "text2video"]


def test_byte_order_mark_and_windows_line_ends_are_tolerated(write: Write) -> None:
    path = write(codecs.BOM_UTF8 + PROMPT.encode() + b"\r", b"\r", b'{"prompt": "two"}\r')
    assert [item.line for item in items(path)] == [1, 3]


def test_a_last_line_needs_no_line_end(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(PROMPT)
    assert len(items(path)) == 1


# ids nobody gave


def test_a_default_id_is_readable_and_stable(write: Write) -> None:
    long = "A cat, walking -- over the HILLS at dawn while the others are still asleep"
    first = [item.id for item in items(write({"prompt": long}, {"prompt": "猫が歩く"}, {"prompt": "!?"}))]
    assert first[0].startswith("a-cat-walking-over-the-hills-at-dawn-")
    assert first[1].startswith("猫が歩く-")
    assert first[2].startswith("item-")
    again = write({"prompt": "!?"}, {"duration": 10, "prompt": long}, {"prompt": long, "id": None})
    assert [item.id for item in items(again)][::2] == [first[2], first[0]]
    assert items(again)[1].id != first[0]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300).filter(str.strip))
def test_every_default_id_is_a_legal_id(tmp_path_factory: pytest.TempPathFactory, prompt: str) -> None:
    path = tmp_path_factory.mktemp("ids") / "m.jsonl"
    path.write_text(json.dumps({"prompt": prompt}))
    (derived,) = items(path)
    path.write_text(json.dumps({"prompt": prompt, "id": derived.id}))
    assert items(path)[0].id == derived.id


def test_shots_name_an_item_without_a_prompt(write: Write) -> None:
    shots = [{"index": 1, "prompt": "Rain falls", "duration": 5}]
    line = {"model_name": "kling-v3", "multi_shot": True, "shot_type": "customize", "multi_prompt": shots}
    assert items(write(line))[0].id.startswith("rain-falls-")


def test_two_equal_lines_without_ids_are_one_too_many(write: Write) -> None:
    problem = only(write(PROMPT, {"prompt": "other"}, PROMPT))
    assert str(problem) == 'line 3: asks for the same as line 1 (give one of them an "id" of its own)'


# ids somebody gave


@pytest.mark.parametrize("id_", ["a", "x" * 100, "naïve 猫 🎬", "a.b-c_d", "com10", "nul-1", "50%", "ä" * 100])
def test_good_ids_stay_as_they_are(write: Write, id_: str) -> None:
    assert items(write({"id": id_, "prompt": "x"}))[0].id == id_


@pytest.mark.parametrize(
    ("id_", "words"),
    [
        ("", "'' is empty"),
        ("../../etc/passwd", "holds '/'"),
        ("..", "begins with a dot"),
        (".hidden", "begins with a dot"),
        ("-rf", "begins with a dot, dash or space"),
        (" a", "begins with"),
        ("a ", "ends with a dot or space"),
        ("a.", "ends with a dot or space"),
        ("a\\b", "holds '\\\\'"),
        ("c:d", "holds ':'"),
        ("what?", "holds '?'"),
        ("a\x00b", "holds '\\x00'"),
        ("a\nb", "holds '\\n'"),
        ("a\x85b", "holds '\\x85'"),
        ("a\ud800", "holds '\\ud800'"),
        ("x" * 101, "has 101 characters; at most 100"),
        ("x" * 5000, "has 5000 characters; at most 100"),
        ("猫" * 67, "has 201 bytes as UTF-8; at most 200"),
        ("CON", "Windows"),
        ("nul.mp4", "Windows"),
        ("Lpt9", "Windows"),
        (7, "must be text, not 7"),
        (["a"], "must be text, not a list"),
        (True, "must be text, not true"),
    ],
)
def test_bad_ids_are_told_shortly(write: Write, id_: object, words: str) -> None:
    problem = only(write({"id": id_, "prompt": "x"}))
    assert (problem.line, problem.field) == (1, "id")
    assert words in problem.what
    assert len(str(problem)) < 200


def test_a_duplicate_id_names_the_first_line(write: Write) -> None:
    path = write({"id": "a", "prompt": "1"}, {"id": "b", "prompt": "2"}, {"id": "a", "prompt": "3"}, PROMPT)
    problem = only(path)
    assert (problem.line, problem.field) == (3, "id")
    assert "'a' is already the id of line 1" in problem.what


def test_letters_typed_in_two_ways_are_one_id(write: Write) -> None:
    path = write({"id": "caf\u00e9", "prompt": "1"}, {"id": "cafe\u0301", "prompt": "2"})
    assert "already the id of line 1" in only(path).what
    assert items(write({"id": "cafe\u0301", "prompt": "2"}))[0].id == "caf\u00e9"


# whole files that will not do


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(
        ManifestError, match=r"no\.jsonl: 1 problem, nothing was sent\n  manifest: no such file"
    ) as caught:
        manifest(tmp_path / "no.jsonl").check()
    assert caught.value.exit_code == ExitCode.USAGE
    with pytest.raises(ManifestError, match="no such file"):
        items(tmp_path / "no.jsonl")


def test_a_folder(tmp_path: Path) -> None:
    assert "is a folder, not a file" in str(only(tmp_path))


def test_what_can_be_read_only_once_is_refused() -> None:
    assert "is no regular file" in str(only(Path("/dev/null")))


def test_a_path_that_is_none() -> None:
    assert "no such file" in str(only(Path("a\x00b")))
    assert "cannot be read" in str(only(Path("x" * 5000)))


@pytest.mark.parametrize("content", [[], ["", "   ", "\t"], [codecs.BOM_UTF8]])
def test_an_empty_manifest(write: Write, content: list[object]) -> None:
    path = write(*content)
    assert problems(path) == []
    assert items(path) == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_other_encodings_are_told_by_line(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes('{"prompt": "één reiger"}\n{"prompt": "två"}\n'.encode(encoding))
    found = problems(path)
    assert found
    assert found[0].line == 1
    if encoding != "utf-16-le":  # without its mark it reads as text with zeros in between
        assert "not UTF-8" in found[0].what


def test_only_the_bad_line_is_refused(write: Write) -> None:
    problem = only(write(PROMPT, b'{"prompt": "\xff"}', {"prompt": "fine"}))
    assert str(problem) == "line 2: is not UTF-8 at byte 13 of the line (save the manifest as UTF-8)"


# lines that will not do


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[1]", "must be an object, not a list"),
        ('"text"', "must be an object, not text"),
        ("7", "must be an object, not 7"),
        ("null", "must be an object, not null"),
        ('{"prompt": "x"', "is not JSON: Expecting ',' delimiter, column 15"),
        ('{"prompt": "x",}', "is not JSON: a comma stands before the closing }, column 16"),
        ('{"prompt": "x", "element_list": [1,]}', "is not JSON: a comma stands before the closing ], column 36"),
        ('{"prompt": "x"},', "is not JSON: a comma stands behind the object, column 16"),
        ("{'prompt': 'x'}", "is not JSON: Expecting property name enclosed in double quotes, column 2"),
        ('{"prompt": "x"} {"prompt": "y"}', "is not JSON: Extra data, column 17"),
        ('{"prompt": "x", "prompt": "y"}', "the key 'prompt' stands twice in one object (leave one of them out)"),
        ('{"prompt": "x", "watermark_info": {"enabled": true, "enabled": false}}', "the key 'enabled' stands twice"),
        ('{"prompt": "x", "cfg_scale": NaN}', "NaN is no JSON number (write a figure, or leave the field out)"),
        ('{"prompt": "x", "cfg_scale": -Infinity}', "-Infinity is no JSON number"),
        ('{"prompt": "x", "cfg_scale": ' + "9" * 5000 + "}", "a number too long"),
        ("[" * 100_000, "too many levels"),
        ('{"prompt": "x", "cfg_scale": 1e999}', "cfg_scale: must be a number"),
        ('{"prompt": "\\ud800"}', "half of a surrogate pair"),
        ('{"prompt": "x", "kind": "text3video"}', 'did you mean "text2video"?'),
        ('{"prompt": "x", "kind": "karaoke"}', "there are text2video, image2video"),
        ('{"prompt": "x", "kind": 5}', "kind: 5 is no product"),
        ('{"prompt": "x", "priority": 1.5}', "priority: must be a whole number"),
        ('{"prompt": "x", "priority": true}', "priority: must be a whole number"),
        ('{"prompt": "x", "priority": 1e99}', "priority: must be a whole number"),
        ('{"prompt": "x", "pirority": 1}', 'did you mean "priority"?'),
        ('{"prompt": "x", "promt": "y"}', 'promt: text2video has no such field (did you mean "prompt"?)'),
        ('{"prompt": "x", "duration": 7}', "duration: kling-v1 makes clips of 5 or 10 s, not 7"),
        ('{"prompt": "' + "x" * 2501 + '"}', "prompt: has 2501 characters; at most 2500"),
        ("{}", "prompt: is required"),
        ('{"promt": "x"}', 'promt: text2video has no such field (did you mean "prompt"?)'),
        ('{"prompt": "x", "modle_name": "kling-v2-6", "sound": "on"}', 'did you mean "model_name"?'),
        ('{"prompt": "x", "seed": 5}', "seed: text2video has no such field [Kling"),
        ('{"prompt": "x", "model_name": "sora"}', "is no model of text2video (there are kling-v1, kling-v1-6, "),
        ('{"items": [{"prompt": "x"}]}', "items: is a list of items, which stand by themselves"),
    ],
)
def test_bad_lines_are_told_with_place_and_reason(write: Write, line: str, words: str) -> None:
    problem = only(write(PROMPT, "", line))
    assert problem.line == 3
    assert words in str(problem)
    assert len(str(problem)) < 500


@pytest.mark.parametrize(
    "lines",
    [
        ["[", '  {"prompt": "x"},', '  {"prompt": "y"}', "]"],
        ['[{"prompt": "x"},', ' {"prompt": "y"}]'],
        ['[{"prompt": "x"}, {"prompt": "y"}]'],
        ["", "{", '  "prompt": "x"', "}"],
    ],
)
def test_a_json_text_as_a_whole_is_one_problem_and_can_be_read_as_yaml(write: Write, lines: list[str]) -> None:
    path = write(*lines)
    problem = only(path)
    assert problem.line == (1 if lines[0] else 2)
    assert "begins a list, or an object over several lines (write one object a line, or have it" in str(problem)
    again = Manifest(Source(path, Format.YAML), content_of)
    assert '"prompt":"x"' in next(again.items()).body.replace(" ", "")


def test_everything_wrong_is_told_together(write: Write) -> None:
    path = write({"id": "a/b", "kind": "txt2video"}, "nope", {"promt": "x", "priority": "high", "duration": 4})
    found = [(problem.line, problem.field) for problem in problems(path)]
    assert found == [
        (1, "id"), (1, "kind"), (2, None), (3, "priority"), (3, "promt"), (3, "duration"),
    ]  # fmt: skip
    with pytest.raises(ManifestError) as caught:
        manifest(path).check()
    assert str(caught.value).count("\n") == 6


def test_a_thousand_problems_are_told_and_the_rest_counted(write: Write) -> None:
    path = write(*[{"promt": "x"}] * 1020, "{", *[PROMPT])
    told, omitted = manifest(path).problems()
    assert (len(told), omitted) == (MAX_PROBLEMS, 21)
    with pytest.raises(ManifestError, match="1,021 problems, nothing was sent"):
        manifest(path).check()


def test_items_stop_at_a_line_that_went_bad(write: Write) -> None:
    stream = manifest(write(PROMPT, "{")).items()
    assert next(stream).line == 1
    with pytest.raises(ManifestError, match="line 2: is not JSON"):
        next(stream)


def test_an_endless_line_is_refused_and_passed_over(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1024**2)
    long = json.dumps({"prompt": "x" * 3 * 1024**2})
    (problem, other) = problems(write(PROMPT, long, "{"))
    assert (problem.line, problem.what) == (2, "is longer than 1 MiB")
    assert other.line == 3


@settings(max_examples=150)
@given(st.binary(max_size=400) | st.text(alphabet='{}[]":,\\u0d1prompt \n', max_size=200).map(str.encode))
def test_no_bytes_at_all_break_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "m.jsonl"
    path.write_bytes(content)
    found, _ = manifest(path).problems()
    for problem in found:
        assert len(str(problem)) < 500
    if not found:
        assert len(items(path)) <= content.count(b"\n") + 1


# media


def test_a_local_image_is_named_by_path_and_known_by_content(write: Write, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_text("pixels")
    (tmp_path / "b.png").write_text("pixels")
    one, two = items(
        write({"id": "1", "prompt": "x", "image": "images/a.png"}, {"id": "2", "prompt": "x", "image": "b.png"})
    )
    assert json.loads(one.body)["image"] == {
        "path": str(tmp_path / "images" / "a.png"),
        "sha256": "digest-of-pixels",
    }
    assert one.fingerprint == two.fingerprint
    (tmp_path / "b.png").write_text("other pixels")
    assert items(tmp_path / "shots.jsonl")[1].fingerprint != two.fingerprint


def test_moving_the_folder_changes_no_item(tmp_path: Path) -> None:
    found = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_text("pixels")
        (tmp_path / name / "m.jsonl").write_text('{"prompt": "x", "image": "a.png"}')
        found += items(tmp_path / name / "m.jsonl")
    assert found[0].id == found[1].id
    assert found[0].fingerprint == found[1].fingerprint
    assert found[0].body != found[1].body


def test_paths_are_relative_to_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").write_text("pixels")
    (tmp_path / "sub" / "m.jsonl").write_text('{"prompt": "x", "image": "a.png"}')
    monkeypatch.chdir(tmp_path)
    (item,) = items(Path("sub/m.jsonl"))
    assert json.loads(item.body)["image"]["path"] == str(tmp_path / "sub" / "a.png")


def test_load_body_reads_every_local_file(write: Write, tmp_path: Path) -> None:
    for name in ("i", "m1", "m2"):
        (tmp_path / f"{name}.png").write_text(name)
    points = [{"x": 1, "y": 2}, {"x": 3, "y": 4}]
    masks = [{"mask": "m1.png", "trajectories": points}, {"mask": "https://example.com/m", "trajectories": points}]
    (item,) = items(write({"prompt": "x", "image": "i.png", "static_mask": "m2.png", "dynamic_masks": masks}))
    body = load_body(item.body, lambda path, _: f"base64 of {path.read_text()}")
    assert body == {
        "prompt": "x",
        "image": "base64 of i",
        "static_mask": "base64 of m2",
        "dynamic_masks": [
            {"mask": "base64 of m1", "trajectories": points},
            {"mask": "https://example.com/m", "trajectories": points},
        ],
    }


@pytest.mark.parametrize("image", ["https://example.com/a.png?sig=s3cret", "HTTP://example.com/a", "iVBORw0KGgo" * 40])
def test_addresses_and_base64_go_as_they_are(write: Write, image: str) -> None:
    (item,) = items(write({"prompt": "x", "image": image}))
    assert load_body(item.body, lambda _path, _digest: str(1 / 0))["image"] == image


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"image": "none.png"}, "image", "'none.png' is no file that exists (relative to the manifest)"),
        ({"image": "data:image/png;base64,AAAA"}, "image", "is a data: address; Kling wants the raw base64 (leave out"),
        ({"image": "ftp://example.com/a.png"}, "image", "'ftp://' begins no address that Kling reads"),
        ({"image": "https:///a.png"}, "image", "is an address without a host"),
        ({"image": "https://[bad/a.png"}, "image", "is an address without a host"),
        ({"image": "x", "static_mask": "y"}, "static_mask", "'y' is no file that exists"),
        (
            {"image": "https://e.com/a", "dynamic_masks": [{"mask": "n", "trajectories": [{"x": 1, "y": 1}] * 2}]},
            "dynamic_masks[0].mask",
            "'n' is no file that exists",
        ),
    ],
)
def test_media_that_will_not_do(write: Write, fields: dict[str, object], field: str, words: str) -> None:
    found = {problem.field: str(problem) for problem in problems(write({"prompt": "x"} | fields))}
    assert words in found[field]


def test_every_problem_of_a_file_is_told_and_no_address_with_its_signature(write: Write) -> None:
    path = write(
        {"prompt": "x", "image": "a.png", "duration": 7},
        {"prompt": "x", "image": "ftp://example.com/a?sig=s3cret"},
    )
    facts = MediaFacts("d", ("is too small", "is too wide"))
    found, _ = Manifest(path, lambda *_: facts).problems()
    assert [problem.field for problem in found] == ["duration", "image", "image", "image"]
    assert "s3cret" not in "".join(map(str, found))


# size


def test_memory_stays_bounded_over_many_lines(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    count = 3_000
    with path.open("w") as file:
        for i in range(count):
            file.write(json.dumps({"id": f"clip-{i}", "prompt": f"heron {i} " + "x" * 500}) + "\n")
    manifest(path).problems()  # what is cached once is not the lines' doing
    tracemalloc.start()
    try:
        assert manifest(path).problems() == ([], 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / count < 250


# names of files


def pictures(id_: str, number: int = 2) -> dict[str, object]:
    return {"id": id_, "kind": "images", "prompt": id_, "n": number}


@pytest.mark.parametrize("rivals", [(pictures("a"), pictures("a-2", 1)), (pictures("a-2", 1), pictures("a"))])
def test_two_items_that_would_make_a_file_of_one_name_are_a_problem_of_the_later_line(
    write: Write, rivals: tuple[dict[str, object], dict[str, object]]
) -> None:
    """The second one was paid for, and its file then found its name taken."""
    problem = only(write(rivals[0], PROMPT, rivals[1]))
    assert (problem.line, problem.field) == (3, "id")
    assert "of line 1 may both make a file called 'a-2.png'" in problem.what


def test_numbers_that_no_file_gets_are_free(write: Write) -> None:
    lines_ = [pictures("a"), pictures("a-3", 1), pictures("a-02", 1), pictures("b", 1), pictures("b-1", 1)]
    assert problems(write(*lines_)) == []


def test_facts_are_one_file_so_that_their_numbered_names_are_free(write: Write) -> None:
    faces = {"id": "face", "kind": "identify-face", "video_url": "https://example.com/a.mp4"}
    assert problems(write(faces, pictures("face-1", 1))) == []


def test_samples_of_a_line_may_be_the_rivals(write: Write) -> None:
    several = {"kind": "images", "prompt": "x"}
    both = write({**several, "id": "a", "samples": 3}, {**several, "id": "a", "n": 2})
    assert "may both make a file called 'a-1.png'" in only(both).what


RECOGNISED = {"id": "a", "kind": "image-recognize", "image": "https://example.com/a.png"}
SHOTS = {"id": "a", "kind": "ai-multi-shot", "element_frontal_image": "https://example.com/a.png"}
SERIES = {"id": "a", "kind": "omni-image", "prompt": "x", "result_type": "series", "series_amount": "auto"}
SOUNDS = {"id": "a", "kind": "text-to-audio", "prompt": "rain", "duration": 5}
FACE = {"kind": "identify-face", "video_url": "https://example.com/a.mp4"}
SAY = {"kind": "tts", "text": "a", "voice_id": "v", "voice_language": "en"}
FILM = {"prompt": "x"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pictures("a"), {**FILM, "id": "a-2"}),
        (pictures("a", 9), {**FACE, "id": "a-1"}),
        (SOUNDS, pictures("a-1", 1)),
        (RECOGNISED, {**FILM, "id": "a-4"}),
        (RECOGNISED, pictures("a-5", 1)),
        (pictures("a", 9), pictures("a-2", 2)),
        (SERIES, {**FILM, "id": "a-3"}),
        ({**FACE, "id": "summary"}, {**FILM, "id": "summary-1"}),
    ],
)
def test_files_of_one_number_and_other_endings_are_no_rivals(
    write: Write, first: dict[str, object], second: dict[str, object]
) -> None:
    """A film beside the pictures it was made of was refused."""
    assert problems(write(first, second)) == []
    assert problems(write(second, first)) == []


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        (RECOGNISED, {**FACE, "id": "a-5"}, "a-5.json"),
        (RECOGNISED, pictures("a-4", 1), "a-4.png"),
        (SHOTS, pictures("a-9", 1), "a-9.png"),
        (SERIES, pictures("a-9", 1), "a-9.png"),
        (SOUNDS, {**SAY, "id": "a-2"}, "a-2.mp3"),
        (pictures("a-2", 3), {**SERIES, "id": "a-2-3"}, "a-2-3.png"),
        ({**FACE, "id": "Summary"}, {**FACE, "id": "Summary-1"}, "Summary-1.json"),
    ],
)
def test_files_of_one_number_and_perhaps_one_ending_are_rivals(
    write: Write, first: dict[str, object], second: dict[str, object], name: str
) -> None:
    assert repr(name) in only(write(first, second)).what
    assert repr(name) in only(write(second, first)).what


@pytest.mark.parametrize(
    ("kind", "fields", "most"),
    [
        ("image-recognize", {}, 5),
        ("ai-multi-shot", {}, 9),
        ("video-to-audio", {}, 3),
        ("text-to-audio", {}, 2),
        ("images", {"n": 3}, 3),
        ("identify-face", {}, 1),
        ("text2video", {}, 1),
        ("omni-image", {"result_type": "series", "series_amount": "auto"}, 9),
    ],
)
def test_every_file_of_a_task_is_counted(kind: str, fields: dict[str, object], most: int) -> None:
    """Of a recognised picture the file that tells its parts apart was not; the disk needs room for all of them."""
    assert catalog.made_files(kind, fields).most == most
    per_kind = {"image": 3_200_000, "video": 2_400_000, "audio": 1_000_000, "facts": 2**16}
    counts = catalog.made_files(kind, fields).kinds
    assert catalog.expected_bytes(kind, fields) >= sum(count * per_kind[name] for name, count in counts)


_MADE = st.builds(
    catalog.MadeFiles,
    st.lists(st.tuples(st.sampled_from(["image", "video", "audio", "facts"]), st.integers(1, 3)), max_size=2).map(
        tuple
    ),
    st.integers(1, 2),
)
_RIVAL_IDS = st.sampled_from(
    ["a", "a-1", "a-2", "a-1-1", "a-02", "summary", "Summary", "summary-1", "a.mp4", "a.png.part"]
)


@given(_RIVAL_IDS, _MADE, _RIVAL_IDS, _MADE)
def test_two_items_that_are_no_rivals_share_no_name_on_the_disk(
    one: str, made: catalog.MadeFiles, other: str, made_by_other: catalog.MadeFiles
) -> None:
    assume(one != other)
    found = {name for _, name in rivals(one, made, {other: made_by_other}.get)}
    names, others = all_names(one, made), all_names(other, made_by_other)
    assert found == names & others
    assert (names | parts(names)) & (others | parts(others)) == found | parts(found)


def all_names(id_: str, made: catalog.MadeFiles) -> set[str]:
    names = set(plain_names(id_, made))
    names |= {name for number in range(1, made.most + 2) for name in numbered_names(id_, made, number)}
    return names


def parts(names: set[str]) -> set[str]:
    return {f"{name}.part" for name in names}


def test_a_task_that_makes_files_of_several_types_numbers_all_of_them(write: Write) -> None:
    sound = {"id": "loud", "kind": "video-to-audio", "video_id": "1", "sound_effect_prompt": "steps", "seconds": 5}
    assert "'loud-3.mp3'" in only(write(sound, {**SAY, "id": "loud-3"})).what


def test_a_field_that_stands_one_level_down_is_named_with_its_place(write: Write) -> None:
    """Other products that have such a field were named, and not the place in this one."""
    lines_ = {"kind": "lip-sync", "video_url": "https://example.com/a.mp4"}
    told = {problem.field: problem.hint for problem in problems(write(lines_))}
    assert told["video_url"] == 'did you mean "input.video_url"?'
