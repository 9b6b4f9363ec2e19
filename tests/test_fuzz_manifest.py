"""Whatever stands in a manifest becomes items or problems.

The only exception allowed is ``ManifestError``, and it must name at least one problem.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from doors_kit import run_here
from fuzz_kit import fuzzing, joined, scalars, spoilt, texts, values
from hypothesis import given
from hypothesis import strategies as st
from manifest_kit import content_of
from products_kit import SIMPLE

from batch_runner import catalog
from batch_runner.errors import ExitCode, ManifestError
from batch_runner.lifecycle import ExternalId
from batch_runner.manifest import Format, Manifest, Source, load_body
from batch_runner.model import Item, Pack

_OWN = [
    "id",
    "kind",
    "priority",
    "credits",
    "seconds",
    "samples",
    "prompt_file",
    "vars",
    "allow_unknown_model",
    "defaults",
]


def _names() -> list[str]:
    """Every field that some product has, with the words of a manifest's own."""
    found = set(_OWN)
    for kind in catalog.kinds():
        found |= {field.split(".")[0].removesuffix("[]") for field in _fields(kind)}
    return sorted(found)


def _fields(kind: str) -> Iterator[str]:
    product = catalog.product(kind)
    yield from ("prompt", "model_name", "mode", "image", "image_tail", "negative_prompt", "multi_prompt", "image_list")
    yield from (str(each).split(" ")[0] for each in getattr(product, "media_fields", ()))


field_names = st.one_of(st.sampled_from(_names()), texts)
kinds = st.sampled_from(catalog.kinds())
likely_words = ["kling-v3", "kling-v2-6", "kling-v1", "kling-3.0", "pro", "16:9", "10", "still.png", "https://a/b.png"]
words = st.one_of(scalars, kinds, st.sampled_from(likely_words), st.just({"item": "a"}))
records = st.dictionaries(field_names, values(words, field_names), max_size=6)
LONG = {"avatar", "lip-sync", "motion-control", "video-to-audio", "voices"}
"""Products that are priced by the length of a source, which nobody can read from an address."""
good = st.builds(
    lambda kind, id_, more: {
        "id": id_,
        "kind": kind,
        "credits": "1",
        **({"seconds": 8} if kind in LONG else {}),
        **SIMPLE[kind],
        **more,
    },
    st.sampled_from(sorted(SIMPLE)),
    st.sampled_from("abcdefgh"),
    st.one_of(st.just({}), st.dictionaries(field_names, values(words), max_size=1)),
)
json_lines = st.one_of(good, good, records, values(words, field_names)).map(
    lambda record: json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")
)
jsonl = st.one_of(st.lists(json_lines, max_size=5).map(joined), spoilt(st.lists(json_lines, max_size=4).map(joined)))
rows = st.lists(st.lists(st.one_of(field_names, texts, st.just('"'), st.just("{}")), max_size=5), max_size=4)
tables = rows.map(lambda found: "\n".join(",".join(row) for row in found).encode("utf-8", "surrogatepass"))
yaml_words = st.one_of(
    st.sampled_from(
        ["- id: a", "  prompt: x", "---", "&a [*a]", "<<: *a", "!!python/object:os.system", "? [x]", "- {", "a: b: c"]
    ),
    st.builds(lambda name, word: f"{name}: {json.dumps(word)}", field_names, words),
)
documents = st.lists(yaml_words, max_size=8).map(lambda found: "\n".join(found).encode("utf-8", "surrogatepass"))


def read(folder: Path, content: bytes, format_: Format) -> tuple[list[Item], list[str]]:
    """The items, or the problems as they are told; anything else fails the test."""
    manifest = Manifest(Source(folder / "fuzz", format_, content), content_of)
    told = _told(manifest)
    if told:
        with pytest.raises(ManifestError):
            list(manifest.items())
        return [], told
    items = list(manifest.items())
    assert list(manifest.items()) == items, "a second reading tells the same"
    return items, []


def _told(manifest: Manifest) -> list[str]:
    try:
        manifest.check()
    except ManifestError as error:
        refused = error
    else:
        return []
    assert refused.problems
    assert all(problem.what for problem in refused.problems)
    assert str(refused).encode(), "it can be written to a terminal"
    return [str(problem) for problem in refused.problems]


def require_sound(items: list[Item]) -> None:
    """What the rest of the program relies on."""
    assert len({item.id.casefold() for item in items}) == len(items)
    for item in items:
        assert item.id
        assert not set(item.id) & set("/\\\0\n\r")
        assert item.id not in {".", ".."}
        assert len(item.id.encode()) <= 200
        assert item.kind in catalog.kinds()
        assert item.price.credits.is_finite()
        assert item.price.credits >= Decimal(0)
        assert item.price.pack in Pack
        assert item.slots >= 1
        int(item.fingerprint, 16)
        assert ExternalId.parse(str(ExternalId.of("batch", item.id, 1, item.fingerprint)))
        body: Any = load_body(item.body, lambda path, _: str(path))
        json.dumps(body, allow_nan=False).encode()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "still.png").write_text("picture")
        yield Path(name)


CONTENTS = {
    Format.JSONL: jsonl,
    Format.CSV: st.one_of(tables, spoilt(tables)),
    Format.YAML: st.one_of(documents, spoilt(documents)),
}


@pytest.mark.parametrize("format_", Format)
def test_a_manifest_becomes_items_or_problems(folder: Path, monkeypatch: pytest.MonkeyPatch, format_: Format) -> None:
    monkeypatch.chdir(folder)
    seen = Counter[str]()

    @fuzzing(100)
    @given(CONTENTS[format_])
    def whatever_it_is(data: bytes) -> None:
        items, problems = read(folder, data, format_)
        require_sound(items)
        seen.update(items=bool(items), problems=bool(problems))

    whatever_it_is()
    assert seen["problems"] >= 10
    assert seen["items"] >= (10 if format_ is Format.JSONL else 0), "a target that sees no item shows little"


@pytest.mark.parametrize("format_", Format)
def test_bytes_that_are_no_text_at_all_are_problems(folder: Path, format_: Format) -> None:
    @fuzzing(100)
    @given(st.binary(max_size=200))
    def whatever_it_is(data: bytes) -> None:
        items, _ = read(folder, data, format_)
        require_sound(items)

    whatever_it_is()


def test_the_plan_of_whatever_it_is_is_told_in_words(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole command: a plan, or exit 2."""
    monkeypatch.chdir(folder)
    manifest = folder / "plan.jsonl"

    @fuzzing(60)
    @given(jsonl)
    def whatever_it_is(data: bytes) -> None:
        manifest.write_bytes(data)
        ended = run_here("plan", str(manifest), "--sandbox")
        assert ended.code in {ExitCode.OK, ExitCode.USAGE}, ended
        assert "Traceback" not in ended.err

    whatever_it_is()


@pytest.mark.parametrize("word", [{"item": "a"}, ["true"], 2])
def test_a_switch_that_is_no_word_is_a_problem(folder: Path, word: object) -> None:
    """Found by the fuzzing: it ended in a traceback."""
    line = {"prompt": "a", "allow_unknown_model": word}
    _, problems = read(folder, json.dumps(line).encode(), Format.JSONL)
    assert [problem for problem in problems if "must be true or false" in problem]
