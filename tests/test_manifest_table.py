"""Tables: what their rows mean, and which of them mean nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_kit import as_asked, expanded_again, items, only, problems, told, write_lines


def write(folder: Path, *rows: str, name: str = "shots.csv") -> Path:
    path = folder / name
    path.write_bytes("\n".join(rows).encode())
    return path


def test_rows_are_the_items_that_the_same_objects_would_be(tmp_path: Path) -> None:
    table = write(
        tmp_path,
        "id,prompt,model_name,mode,duration,cfg_scale,camera_control.type,camera_control.config.zoom,priority,credits",
        'a,"a heron, lifting off",kling-v1-6,pro,10,0.5,,,-3,',
        "b,x,,,,,simple,-2.5,,",
        '"c","two\nlines",kling-v2-6,,5,,,,,2.50',
    )
    objects = write_lines(
        tmp_path / "shots.jsonl",
        {"id": "a", "prompt": "a heron, lifting off", "model_name": "kling-v1-6", "mode": "pro", "duration": 10,
         "cfg_scale": 0.5, "priority": -3},
        {"id": "b", "prompt": "x", "camera_control": {"type": "simple", "config": {"zoom": -2.5}}},
        {"id": "c", "prompt": "two\nlines", "model_name": "kling-v2-6", "duration": "5", "credits": "2.50"},
    )  # fmt: skip
    assert told(table) == []
    assert [as_asked(item) for item in items(table)] == [as_asked(item) for item in items(objects)]
    assert [item.line for item in items(table)] == [2, 3, 4]


def test_lists_are_columns_with_numbers_or_cells_of_json(tmp_path: Path) -> None:
    masks = '"[{""mask"": ""https://example.com/m"", ""trajectories"": [{""x"": 1, ""y"": 2}, {""x"": 3, ""y"": 4}]}]"'
    rows = [
        "prompt,image,model_name,mode,element_list[0].element_id,element_list[1].element_id,dynamic_masks,duration",
        "x,https://example.com/a.png,kling-v3,,7,8,,",
        f"y,https://example.com/a.png,kling-v1-5,pro,,,{masks},5",
    ]
    one, two = items(write(tmp_path, *rows))
    assert json.loads(one.body)["element_list"] == [{"element_id": 7}, {"element_id": 8}]
    assert json.loads(two.body)["dynamic_masks"][0]["trajectories"][1] == {"x": 3, "y": 4}


def test_an_empty_cell_is_absent_and_an_empty_row_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "", "prompt,negative_prompt,image,multi_shot", "x, ,,FALSE", ",,,", "", 'y,"",,')
    assert [(item.line, item.body) for item in items(path)] == [
        (3, '{"multi_shot":false,"prompt":"x"}'),
        (6, '{"prompt":"y"}'),
    ]


@pytest.mark.parametrize(
    ("name", "delimiter"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t"), ("A.CSV", ","), ("a.csv", "\t")]
)
def test_cells_are_parted_by_comma_semicolon_or_tab(tmp_path: Path, name: str, delimiter: str) -> None:
    path = write(
        tmp_path, "\ufeffid;prompt;duration".replace(";", delimiter), "a; x ;10\r".replace(";", delimiter), name=name
    )
    (item,) = items(path)
    assert (item.id, item.body) == ("a", '{"duration":"10","prompt":"x"}')


def test_own_words_have_columns_too(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "id,prompt,samples,vars.city,vars,allow_unknown_model",
        "a,{{ city }},2,Oslo,,",
        'b,{{ hour }},,,"{""hour"": 7}",false',
    )
    assert [(item.id, item.body) for item in items(path)] == [
        ("a-1", '{"prompt":"Oslo"}'),
        ("a-2", '{"prompt":"Oslo"}'),
        ("b", '{"prompt":"7"}'),
    ]


def test_a_table_expands_to_lines_of_json(tmp_path: Path) -> None:
    path = write(tmp_path, "prompt,duration,samples", "x,10,2", "y,,")
    again = expanded_again(path, tmp_path / "elsewhere")
    assert [as_asked(item) for item in items(again)] == [as_asked(item) for item in items(path)]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["id,promt", "a,x"], 'line 1, promt: no product has such a field (did you mean "prompt"?)'),
        (["id,id,prompt", "a,b,x"], "line 1, id: stands twice in the first row"),
        (["prompt,camera_control.", "x,y"], "line 1, camera_control.: is no name of a field"),
        (["prompt,[0]", "x,y"], "line 1, [0]: is no name of a field"),
        (["prompt", "x,y"], "line 2: has 2 cells, and the first row 1 (a cell with a comma in it stands in double"),
        (["prompt,", "x,y"], "line 2: holds something in a column without a name"),
        (["prompt,duration", "x,seven"], "line 2, duration: 'seven' is no whole number of seconds"),
        (["prompt,cfg_scale", "x,half"], "line 2, cfg_scale: must be a number, not text"),
        (["prompt,priority", "x,1.5"], "line 2, priority: must be a whole number up to 1000000000, not text"),
        (["prompt,samples", "x,0"], "line 2, samples: must be a whole number from 1 to 10000, not 0"),
        (["prompt,kind", "x,text3video"], "line 2, kind: 'text3video' is no product"),
        (["prompt,watermark_info.enabled", "x,perhaps"], "line 2, watermark_info.enabled: must be true or false"),
        (["prompt,camera_control,camera_control.type", 'x,"{}",simple'], "camera_control.type: is filled, and so is"),
        (["prompt,voice_list[0].voice_id,voice_list.x", "x,a,b"], "line 2, voice_list.x: is filled, and so is"),
        (
            ["prompt,voice_list[0].voice_id,voice_list[1].voice_id", "x,,b"],
            "line 2, voice_list[0]: is empty, and voice",
        ),
        (["prompt,camera_control", 'x,"{nope}"'], "line 2, camera_control: is not JSON"),
        (["prompt", 'x "y"', '"a" b'], "line 3: is no row of a table: a double quote inside a cell is written twice"),
        (
            ["prompt", '"never closed', "x"],
            "line 2: is no row of a table: a double quote is never closed",
        ),
        (["prompt", "x" * 140_000], "line 2: is no row of a table: field larger than field limit"),
    ],
)
def test_tables_that_will_not_do(tmp_path: Path, rows: list[str], words: str) -> None:
    assert words in "\n".join(told(write(tmp_path, *rows)))


def test_a_wrong_column_is_told_once(tmp_path: Path) -> None:
    assert len(problems(write(tmp_path, "prompt,promt", "x,1", "y,2", "z,3"))) == 1
    assert len(problems(write(tmp_path, "id,promt", "a,1", "b,2", "c,3"))) == 1, "every row has what is misspelt"
    assert len(problems(write(tmp_path, "id,promt,prompte", "a,1,", "b,2,", "c,,3"))) == 3, "the third row lacks it"


@pytest.mark.parametrize(
    ("column", "cell"), [("ratio", "16:9"), ("description", "a fox"), ("type", "loop"), ("tags", "x")]
)
def test_what_stands_under_a_column_that_is_none_is_not_judged_under_another_ones_name(
    tmp_path: Path, column: str, cell: str
) -> None:
    assert len(problems(write(tmp_path, f"prompt,{column}", *[f"x {row},{cell}" for row in range(3)]))) == 1


def test_text_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"prompt\nx\n\xff\n")
    assert str(only(path)) == "line 3: is not UTF-8 at byte 1 of the line (save the manifest as UTF-8)"
    path.write_bytes("prompt\nx\n".encode("utf-16"))
    assert "is UTF-16, not UTF-8" in str(only(path))


@pytest.mark.parametrize("rows", [[], [""], ["", "  "], ["prompt,duration"]])
def test_a_table_without_rows_is_an_empty_manifest(tmp_path: Path, rows: list[str]) -> None:
    path = write(tmp_path, *rows)
    assert (told(path), items(path)) == ([], [])


@settings(max_examples=150)
@given(st.binary(max_size=200) | st.text(alphabet='prompt,;"\n\r[0].{}x\0', max_size=120).map(str.encode))
def test_no_bytes_at_all_break_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "m.csv"
    path.write_bytes(content)
    found = problems(path)
    assert all(len(str(problem)) < 400 for problem in found)
    if not found:
        assert len(items(path)) <= content.count(b"\n") + 1
