"""Defaults, samples, templates and the manifest's own words: what they make of a line, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from doors_kit import run_here
from manifest_kit import as_asked, expanded_again, items, manifest, only, told, write_lines

from batch_runner.errors import ExitCode
from batch_runner.manifest.own_words import OWN_WORDS
from batch_runner.model import Pack

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes lines as a manifest and returns its path."""
    return lambda *content: write_lines(tmp_path / "shots.jsonl", *content)


# --- defaults -------------------------------------------------------------------------------------------------


def test_defaults_are_for_the_lines_that_do_not_set_them(write: Write) -> None:
    path = write(
        {"defaults": {"model_name": "kling-v2-6", "mode": "pro", "priority": 3}},
        "",
        {"id": "a", "prompt": "x"},
        {"id": "b", "prompt": "x", "mode": "std", "priority": 0},
    )
    one, two = items(path)
    assert one.body == '{"mode":"pro","model_name":"kling-v2-6","prompt":"x"}'
    assert (one.line, one.priority, two.priority) == (3, 3, 0)
    assert two.body == '{"mode":"std","model_name":"kling-v2-6","prompt":"x"}'


def test_a_line_with_defaults_is_the_item_it_would_be_without(write: Write, tmp_path: Path) -> None:
    with_defaults = write({"defaults": {"duration": 10, "kind": "text2video"}}, {"prompt": "a heron"})
    without = write_lines(tmp_path / "plain.jsonl", {"prompt": "a heron", "duration": "10"})
    assert [as_asked(item) for item in items(with_defaults)] == [as_asked(item) for item in items(without)]


def test_null_on_a_line_takes_no_default(write: Write) -> None:
    path = write({"defaults": {"duration": 10}}, {"id": "a", "prompt": "x", "duration": None}, {"prompt": "y"})
    assert items(path)[0].body == '{"prompt":"x"}'


def test_a_default_goes_where_the_product_has_its_field(write: Write) -> None:
    path = write(
        {"defaults": {"aspect_ratio": "9:16", "mode": "pro"}},
        {"id": "a", "prompt": "x"},
        {"id": "b", "prompt": "x", "image": "https://example.com/a.png"},
    )
    one, two = items(path)
    assert one.body == '{"aspect_ratio":"9:16","mode":"pro","prompt":"x"}'
    assert two.body == '{"image":"https://example.com/a.png","mode":"pro","prompt":"x"}'


def test_a_default_model_is_for_the_products_it_makes(write: Write) -> None:
    lines = [{"id": "a", "kind": "images", "prompt": "x"}, {"id": "b", "prompt": "x"}]
    assert [item.model for item in items(write({"defaults": {"model_name": "kling-v1-6"}}, *lines))] == [
        "kling-v3",
        "kling-v1-6",
    ]
    (wrong, _) = told(write({"defaults": {"model_name": "kling-v1-7"}}, *lines))
    assert wrong.startswith("line 2, model_name: 'kling-v1-7' is no model of images")
    assert (
        "no line of the manifest has a place for it"
        in told(write({"defaults": {"model_name": "kling-v1-6"}}, lines[0]))[0]
    )


def test_a_default_of_the_older_generation_leaves_the_newer_one_alone(write: Write) -> None:
    path = write(
        {"defaults": {"mode": "pro"}}, {"id": "a", "prompt": "x"}, {"id": "b", "prompt": "x", "model_name": "kling-2.6"}
    )
    assert ['"mode"' in item.body for item in items(path)] == [True, False]


def test_a_default_image_decides_the_kind(write: Write) -> None:
    path = write({"defaults": {"image": "https://example.com/a.png"}}, {"prompt": "x"})
    assert items(path)[0].kind == "image2video"


def test_defaults_need_a_line_to_serve_but_not_an_item(write: Write) -> None:
    assert told(write({"defaults": {"image": "https://example.com/a.png"}}, {"kind": "text2video", "prompt": "x"})) == [
        "line 1, defaults.image: no line of the manifest has a place for it (leave it out)"
    ]
    assert told(write({"defaults": {"mode": "pro"}}, {"prompt": "x", "mode": "std"})) == []


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ['{"defaults": {"promt": "x"}}'],
            'line 1, defaults.promt: no product has such a field (did you mean "prompt"',
        ),
        (['{"defaults": {"id": "x"}}'], "line 1, defaults.id: names one item"),
        (['{"defaults": {"defaults": {}}}'], "line 1, defaults.defaults: no product has such a field"),
        (['{"defaults": []}'], "line 1, defaults: must be an object, not a list"),
        (['{"defaults": {}, "prompt": "x"}'], "line 1, defaults: stands alone on its line, not beside prompt"),
        (['{"prompt": "x"}', '{"defaults": {}}'], "line 2, defaults: stands on the first line"),
        (['{"', '{"defaults": {}}'], "line 2, defaults: stands on the first line"),
        (
            ['{"defaults": {"mode": "best"}}', '{"prompt": "x"}'],
            "line 2, mode: 'best' is none of std, pro and 4k (did you mean \"std\"? it stands in the defaults, line 1)",
        ),
    ],
)
def test_defaults_that_will_not_do(write: Write, lines: list[str], words: str) -> None:
    assert words in "\n".join(told(write(*lines)))


def test_a_line_of_an_unknown_kind_leaves_the_defaults_in_peace(write: Write) -> None:
    path = write({"defaults": {"image": "https://example.com/a.png"}}, {"kind": "image2vido", "prompt": "x"})
    assert "image2vido" in str(only(path))


def test_defaults_alone_are_an_empty_manifest(write: Write) -> None:
    path = write({"defaults": {"vars": {"style": "ink"}}})
    assert (told(path), items(path)) == ([], [])


# --- samples --------------------------------------------------------------------------------------------------


def test_samples_are_items_of_their_own(write: Write) -> None:
    path = write({"id": "hero", "prompt": "x", "samples": 3}, {"prompt": "x"}, {"prompt": "x", "samples": 2})
    found = items(path)
    slug = found[3].id
    assert [item.id for item in found] == ["hero-1", "hero-2", "hero-3", slug, f"{slug}-1", f"{slug}-2"]
    assert [item.line for item in found] == [1, 1, 1, 2, 3, 3]
    assert len({item.body for item in found}) == 1
    assert found[0].fingerprint == found[4].fingerprint
    assert len({item.fingerprint for item in found}) == 4


def test_more_samples_touch_none_of_the_earlier_ones(write: Write) -> None:
    four = items(write({"id": "hero", "prompt": "x", "samples": 4}))
    six = items(write({"id": "hero", "prompt": "x", "samples": 6}))
    assert six[:4] == four
    assert [item.id for item in six[4:]] == ["hero-5", "hero-6"]


@pytest.mark.parametrize("samples", [0, -1, 1.5, True, "many", 10_001, [2]])
def test_numbers_of_samples_that_will_not_do(write: Write, samples: object) -> None:
    problem = only(write({"prompt": "x", "samples": samples}))
    assert problem.field == "samples"
    assert problem.what.startswith("must be a whole number from 1 to 10000, not ")


def test_the_id_of_a_sample_must_be_an_id_too(write: Write) -> None:
    assert "has 102 characters; at most 100" in str(only(write({"id": "x" * 99, "prompt": "x", "samples": 20})))
    assert "'' is empty" in str(only(write({"id": "", "prompt": "x", "samples": 2})))


def test_a_sample_may_not_have_the_id_of_another_line(write: Write) -> None:
    path = write({"id": "hero-2", "prompt": "x"}, {"id": "hero", "prompt": "y", "samples": 2})
    assert told(path) == ["line 2, id: 'hero-2' is already the id of line 1 (an id names one item)"]


def test_one_item_is_not_several(write: Write) -> None:
    assert "sample: is one item" in str(only(write({"prompt": "x", "sample": 2, "samples": 3})))


# --- templates ------------------------------------------------------------------------------------------------


def test_variables_go_into_every_text_of_a_line(write: Write, tmp_path: Path) -> None:
    (tmp_path / "oslo.png").write_text("pixels")
    line = {
        "prompt": "{{city}} at {{ hour }}, {{ hour }}",
        "negative_prompt": "no {{ what }}",
        "image": "{{ town }}.png",
        "vars": {"city": "Oslo", "hour": 7, "what": "cars {}", "town": "oslo"},
    }
    (item,) = items(write(line))
    assert '"prompt":"Oslo at 7, 7"' in item.body
    assert '"negative_prompt":"no cars {}"' in item.body
    assert f'"path":"{tmp_path}/oslo.png"' in item.body


def test_a_prompt_may_stand_in_a_file_beside_the_manifest(write: Write, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "city.txt").write_text("\ufeff{{ city }} in the rain,\nseen from above\n\n")
    path = write({"prompt_file": "texts/city.txt", "vars": {"city": "Oslo"}})
    (item,) = items(path)
    assert item.body == '{"prompt":"Oslo in the rain,\\nseen from above"}'
    plain = write_lines(tmp_path / "plain.jsonl", {"prompt": "Oslo in the rain,\nseen from above"})
    assert as_asked(items(plain)[0]) == as_asked(item)
    (tmp_path / "texts" / "city.txt").write_text("{{ city }} in the snow")
    assert items(path)[0].fingerprint != item.fingerprint


def test_variables_of_the_defaults_serve_the_lines_that_use_them(write: Write, tmp_path: Path) -> None:
    (tmp_path / "ink.txt").write_text("{{ what }}, ink on {{ paper }}")
    path = write(
        {
            "defaults": {
                "prompt_file": "{{ style }}.txt",
                "vars": {"style": "ink", "paper": "silk", "what": "a cat"},
            }
        },
        {"id": "a"},
        {"id": "b", "vars": {"what": "a heron"}},
        {"id": "c", "prompt": "plain"},
    )
    assert [item.body for item in items(path)] == [
        '{"prompt":"a cat, ink on silk"}',
        '{"prompt":"a heron, ink on silk"}',
        '{"prompt":"plain"}',
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            {"prompt": "{{ city }}"},
            'line 1, prompt: names the variable city, which has no value (give it one: "vars": {"city": "..."})',
        ),
        ({"prompt": "{{ city }}", "vars": {"citty": "Oslo"}}, 'has no value (did you mean "citty"?)'),
        ({"prompt": "{{ city }}", "vars": {"citty": "Oslo"}}, "vars.citty: no text of this line uses it"),
        (
            {"prompt": "x", "negative_prompt": "{{ a }}", "vars": {"b": 1}},
            "negative_prompt: names the variable a",
        ),
        ({"prompt": "x", "vars": {"city": "Oslo"}}, "line 1, vars.city: no text of this line uses it"),
        (
            {"prompt": "{{ a", "vars": {}},
            "prompt: holds {{ that belongs to no variable (a variable is",
        ),
        ({"prompt": "{{ a }} }}", "vars": {"a": 1}}, "prompt: holds }} that belongs to no variable"),
        ({"prompt": "{{ 2nd }}", "vars": {}}, "prompt: holds {{ that belongs to no variable"),
        ({"prompt": "{{ a }}", "vars": {"a": "{{ b }}"}}, "prompt: names a variable even when it is filled"),
        ({"prompt": "{{ a }}", "vars": {"a": None}}, "vars.a: must be text or a number, not null"),
        ({"prompt": "{{ a }}", "vars": {"a": True}}, "vars.a: must be text or a number, not true"),
        ({"prompt": "x", "vars": {"a b": "y"}}, "vars.a b: is no name"),
        ({"prompt": "x", "vars": ["a"]}, "vars: must be an object, not a list"),
        ({"prompt_file": "none.txt"}, "prompt_file: 'none.txt' is no file that exists (relative to the manifest)"),
        ({"prompt_file": "."}, "prompt_file: '.' is a folder"),
        ({"prompt_file": "a\x00b"}, "prompt_file: 'a\\x00b' cannot be read"),
        ({"prompt_file": 7}, "prompt_file: must be the path of a text file, not 7"),
        ({"prompt_file": "latin.txt"}, "prompt_file: 'latin.txt' is not UTF-8"),
        ({"prompt_file": "empty.txt"}, "prompt_file: 'empty.txt' is empty"),
        ({"prompt_file": "big.txt"}, "prompt_file: 'big.txt' has 70000 bytes; at most 65536"),
        ({"prompt_file": "good.txt", "prompt": "x"}, "prompt_file: gives the prompt, and so does prompt"),
    ],
)
def test_templates_that_cannot_be_filled(write: Write, tmp_path: Path, line: dict[str, object], words: str) -> None:
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe\xfd")
    (tmp_path / "empty.txt").write_bytes(b" \n")
    (tmp_path / "big.txt").write_bytes(b"x" * 70_000)
    (tmp_path / "good.txt").write_bytes(b"x")
    found = told(write(line))
    assert words in "\n".join(found)
    assert not any("prompt: is required" in problem for problem in found)


def test_braces_of_a_line_without_variables_are_text(write: Write) -> None:
    (item,) = items(write({"prompt": "a sign that reads {{, {x} and }}"}))
    assert item.body == '{"prompt":"a sign that reads {{, {x} and }}"}'


def test_a_variable_that_no_line_uses_is_told_once(write: Write) -> None:
    path = write({"defaults": {"vars": {"a": 1, "b": 2}}}, {"id": "1", "prompt": "{{ a }}"}, {"id": "2", "prompt": "x"})
    assert told(path) == ["line 1, defaults.vars.b: no line of the manifest has a place for it (leave it out)"]


# --- own words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "figure"), [("3.5", "3.5"), (3, "3"), (0.1, "0.1"), ("0", "0")])
def test_credits_on_the_item_win(write: Write, given: object, figure: str) -> None:
    (item,) = items(write({"prompt": "x", "credits": given}))
    assert (item.price.pack, item.price.credits) == (Pack.VIDEO, Decimal(figure))
    assert item.price.source == "given on the item"


@pytest.mark.parametrize("given", ["", "free", -1, "1e3", float("1e20"), True, [1], "3,5", "1234567890"])
def test_credits_that_are_none(write: Write, given: object) -> None:
    problem = only(write({"prompt": "x", "credits": given}))
    assert (problem.field, problem.what[:40]) == ("credits", "must be a plain number of credits, such ")


@pytest.mark.parametrize("word", [*OWN_WORDS, "prompt", "defaults", "image", "camera_control", "multi_prompt"])
@pytest.mark.parametrize("value", [[], [[]], {}, {"a": {"b": []}}, {"item": {}}, 10**18, -1e308, "", " ", "\x00", True])
def test_no_value_of_any_word_is_a_fault_of_the_program(write: Write, word: str, value: object) -> None:
    for lines in ([{"prompt": "x", word: value}], [{"defaults": {word: value}}, {"prompt": "x"}]):
        assert all(len(problem) < 300 for problem in told(write(*lines)))


def test_credits_change_no_content(write: Write) -> None:
    one, two = items(write({"id": "a", "prompt": "x", "credits": 7}, {"id": "b", "prompt": "x"}))
    assert one.fingerprint == two.fingerprint


# --- expanded -------------------------------------------------------------------------------------------------


def test_the_expanded_manifest_gives_the_same_items(write: Write, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("pixels")
    (tmp_path / "t.txt").write_text('"{{ a }}" \\ é')
    path = write(
        {"defaults": {"mode": "pro", "model_name": "kling-v1-6", "samples": 2, "priority": 4}},
        {"id": "a", "prompt_file": "t.txt", "vars": {"a": "\u2028"}, "credits": 0.5},
        {"prompt": "x", "image": "a.png", "duration": 10.0, "cfg_scale": 0.30000000000000004},
        {"id": "c", "kind": "image2video", "prompt": "y", "image": "https://example.com/?a=b&c", "priority": 0},
        {"id": "d", "prompt": "y", "samples": None, "watermark_info": {"enabled": "true"}},
    )
    first = items(path)
    again = expanded_again(path, tmp_path / "elsewhere")
    assert [as_asked(item) for item in items(again)] == [as_asked(item) for item in first]
    assert again.read_text() == expanded_again(again, tmp_path / "third").read_text()
    assert [item.id for item in first][:2] == ["a-1", "a-2"]


def test_plan_prints_the_expanded_lines(write: Write, tmp_path: Path) -> None:
    path = write({"defaults": {"duration": 10}}, {"id": "a", "prompt": "x", "samples": 2})
    ended = run_here("plan", str(path), "--expand")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == list(manifest(path).expanded())
    assert ended.out.splitlines()[1] == (
        '{"id": "a-2", "kind": "text2video", "sample": 2, "duration": "10", "prompt": "x"}'
    )
    refused = run_here("plan", str(path), "--expand", "--json")
    assert (refused.code, refused.json["error"][:8]) == (ExitCode.USAGE, "--expand")
    bad = run_here("plan", str(write({"promt": "x"})), "--expand")
    assert (bad.code, bad.out) == (ExitCode.USAGE, "")
    assert not list(tmp_path.glob("outputs"))
