"""Items that take the results of others: what may be taken, and every way in which it may not."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_kit import as_asked, expanded_again, items, manifest, problems, told, write_lines

Write = Callable[..., Path]
PICTURE = "https://example.com/a.png"
HERO = {"id": "hero", "kind": "images", "prompt": "a hero"}
WALK = {"id": "walk", "prompt": "walks", "model_name": "kling-v1-6", "mode": "pro"}
SPEECH = {"id": "speech", "kind": "tts", "text": "hello", "voice_id": "v", "voice_language": "en"}
FACE = {"id": "face", "kind": "identify-face", "video_id": {"item": "walk"}}


def animated(id_: str, source: object) -> dict[str, object]:
    return {"id": id_, "prompt": "x", "image": source}


def extended(id_: str, source: object) -> dict[str, object]:
    return {"id": id_, "kind": "video-extend", "video_id": source}


def moved(id_: str, source: object, **fields: object) -> dict[str, object]:
    return {"id": id_, "kind": "motion-control", "image_url": PICTURE, "video_url": source,
            "character_orientation": "image", "mode": "std", **fields}  # fmt: skip


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes lines as a manifest and returns its path."""
    return lambda *content: write_lines(tmp_path / "shots.jsonl", *content)


# --- what may be taken ----------------------------------------------------------------------------------------


def test_an_item_may_take_the_result_of_another(write: Write) -> None:
    hero, walk, more = items(write(HERO, animated("walk", {"item": "hero"}), extended("more", {"item": "walk"})))
    assert (hero.sources, walk.sources, more.sources) == ((), ("hero",), ("walk",))
    assert json.loads(walk.body)["image"] == {"item": "hero"}
    assert walk.kind == "image2video"
    assert more.body == '{"video_id":{"item":"walk"}}'


def test_the_order_of_lines_does_not_matter(write: Write) -> None:
    lines = [
        HERO,
        animated("walk", {"item": "hero"}),
        extended("more", {"item": "walk"}),
        extended("on", {"item": "more"}),
    ]
    forwards = {item.id: as_asked(item) for item in items(write(*lines))}
    assert {item.id: as_asked(item) for item in items(write(*lines[::-1]))} == forwards


def test_the_first_file_needs_no_number(write: Write) -> None:
    lines = [HERO | {"n": 3}, animated("a", {"item": "hero", "asset": 1}), animated("b", {"item": "hero"}),
             animated("c", {"item": "hero", "asset": 3}), animated("d", {"asset": "2", "item": "hero"})]  # fmt: skip
    _, a, b, c, d = items(write(*lines))
    assert a.fingerprint == b.fingerprint != c.fingerprint
    assert json.loads(d.body)["image"] == {"asset": 2, "item": "hero"}


def test_an_item_may_take_several(write: Write) -> None:
    images = [{"image": {"item": id_}} for id_ in ("hero", "b", "hero")]
    line = {"id": "all", "kind": "multi-image2video", "prompt": "x", "image_list": images}
    assert items(write(HERO, HERO | {"id": "b", "n": 2}, line))[2].sources == ("hero", "b")


def test_letters_typed_in_two_ways_name_one_item(write: Write) -> None:
    path = write(HERO | {"id": "caf\u00e9"}, animated("b", {"item": "cafe\u0301"}))
    assert items(path)[1].sources == ("caf\u00e9",)


def test_a_sample_may_be_taken(write: Write) -> None:
    path = write(HERO | {"samples": 2}, animated("b", {"item": "hero-2"}) | {"samples": 2})
    assert [item.sources for item in items(path)] == [(), (), ("hero-2",), ("hero-2",)]


def test_a_default_may_name_an_item(write: Write) -> None:
    path = write({"defaults": {"image": {"item": "hero"}}}, HERO | {"image": None}, {"id": "b", "prompt": "x"})
    assert items(path)[1].sources == ("hero",)


def test_a_chain_survives_expansion(write: Write, tmp_path: Path) -> None:
    path = write(extended("more", {"item": "b"}), HERO, animated("b", {"item": "hero"}), moved("m", {"item": "b"}))
    again = expanded_again(path, tmp_path / "elsewhere")
    assert [as_asked(item) for item in items(again)] == [as_asked(item) for item in items(path)]


def test_a_table_may_hold_chains(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,kind,prompt,n,image.item,image.asset\nhero,images,x,2,,\nwalk,image2video,x,,hero,2\n")
    assert json.loads(items(path)[1].body)["image"] == {"asset": 2, "item": "hero"}


# --- what it costs --------------------------------------------------------------------------------------------


def test_an_extension_has_the_model_and_mode_of_what_it_extends(write: Write) -> None:
    std = WALK | {"id": "std", "mode": "std"}
    lines = [extended("c", {"item": "b"}), extended("a", {"item": "std"}), extended("b", {"item": "walk"}), WALK, std]
    prices = {item.id: item.price.credits for item in items(write(*lines))}
    assert (prices["a"], prices["b"], prices["c"]) == (Decimal(2), Decimal("3.5"), Decimal("3.5"))


def test_a_length_may_be_that_of_the_source(write: Write) -> None:
    ten = WALK | {"duration": 10}
    five_s, ten_s = (items(write(moved("m", {"item": "walk"}), line))[0].price.credits for line in (WALK, ten))
    assert (five_s, ten_s) == (Decimal("2.5"), Decimal(5))


def test_a_length_may_come_from_far(write: Write) -> None:
    lips = {"id": "lips", "kind": "advanced-lip-sync", "session_id": {"item": "face"}, "face_choose": [
        {"face_id": {"item": "face"}, "audio_id": {"item": "speech"}, "sound_start_time": 0, "sound_end_time": 3000,
         "sound_insert_time": 0}]}  # fmt: skip
    found = items(write(lips, SPEECH, FACE, WALK | {"duration": 10}))
    assert (found[0].id, found[0].price.credits, found[0].sources) == ("lips", Decimal(1), ("face", "speech"))


def test_a_length_that_nobody_can_say_is_asked_for(write: Write) -> None:
    avatar = {"id": "a", "kind": "avatar", "image": PICTURE, "audio_id": {"item": "speech"}}
    assert told(write(SPEECH, avatar)) == [
        'line 2, audio_id: its length decides the price, and cannot be read from here (say it: "seconds": 12.5)'
    ]
    assert items(write(SPEECH, avatar | {"seconds": 7.4}))[1].price.credits == Decimal("2.8")
    assert items(write(SPEECH, avatar | {"credits": 9}))[1].price.credits == Decimal(9)


# --- what may not be taken ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([animated("b", {"item": "hero"})], "line 1, image: no item is called 'hero'"),
        ([HERO, animated("b", {"item": "heroes"})], "image: no item is called 'heroes' (did you mean \"hero\"?)"),
        (
            [HERO | {"samples": 2}, animated("b", {"item": "hero"})],
            'image: no item is called \'hero\' (its line makes several: name one, such as "hero-1")',
        ),
        ([HERO | {"samples": 2}, animated("b", {"item": "hero-3"})], "image: no item is called 'hero-3'"),
        ([WALK, animated("b", {"item": "walk"})], "line 2, image: takes an image, and 'walk' (text2video) makes none"),
        ([animated("b", {"item": "walk"}), WALK], "line 1, image: takes an image, and 'walk' (text2video) makes none"),
        ([HERO, extended("b", {"item": "hero"})], "line 2, video_id: takes a video_id, and 'hero' (images) makes none"),
        ([SPEECH, extended("b", {"item": "speech"})], "video_id: takes a video_id, and 'speech' (tts) makes none"),
        ([moved("m", PICTURE, seconds=5), extended("b", {"item": "m"})], "takes a video_id made by text2video"),
        (
            [WALK | {"model_name": "kling-v2-6"}, extended("b", {"item": "walk"})],
            "takes a video_id made by kling-v1, kling-v1-5 or kling-v1-6, and 'walk' by kling-v2-6 [Kling API",
        ),
        (
            [WALK | {"model_name": "kling-v2-6"}, extended("a", {"item": "walk"}), extended("b", {"item": "a"})],
            "line 3, video_id: takes a video_id made by kling-v1, kling-v1-5 or kling-v1-6, and 'a' by",
        ),
        ([HERO | {"n": 2}, animated("b", {"item": "hero", "asset": 3})], "names file 3 of 'hero', which makes 2"),
        ([WALK, moved("b", {"item": "walk", "asset": 2})], "video_url: names file 2 of 'walk', which makes 1"),
        (
            [WALK | {"model_name": "kling-v3", "duration": 15}, moved("b", {"item": "walk"})],
            "video_url: the result of 'walk' is 15 s long; 3 to 10 s [Kling API reference, motion-control",
        ),
        (
            [SPEECH, {"id": "b", "kind": "lip-sync", "input": {"mode": "audio2video", "video_url": PICTURE,
                      "audio_type": "url", "audio_url": {"item": "speech"}}, "seconds": 5}],
            "input.audio_url: Kling reads only an address here, and nobody can ask again for that of what tts",
        ),
        ([animated("b", {"item": "b"})], "line 1: takes its own result: b -> b (one of them must not)"),
        ([animated("b", {"item": ""})], "line 1, image.item: is no id that an item could have"),
        ([animated("b", {"item": "https://e.com/?sig=s3cret"})], "image.item: is no id that an item could have\n"),
        ([animated("b", {"item": 7})], "line 1, image.item: must be the id of an item, not 7"),
        ([animated("b", {"item": "x", "aset": 2})], 'image.aset: no such word beside item (did you mean "asset"?)'),
        ([animated("b", {"item": "x", "asset": 0})], "image.asset: must be the number of a file, from 1, not 0"),
        ([animated("b", {"item": "x", "asset": True})], "image.asset: must be the number of a file, from 1, not true"),
        ([{"id": "b", "prompt": {"item": "x"}}], "line 1, prompt: must be text, not an object"),
    ],
)  # fmt: skip
def test_references_that_will_not_do(write: Write, lines: list[object], words: str) -> None:
    found = told(write(*lines))
    assert words in "".join(f"{problem}\n" for problem in found)
    assert not any("no price is known" in problem for problem in found)


def test_circles_are_named(write: Write) -> None:
    path = write(extended("a", {"item": "b"}), extended("b", {"item": "c"}), WALK, extended("c", {"item": "a"}),
                 extended("d", {"item": "c"}))  # fmt: skip
    (problem,) = [problem for problem in told(path) if "own result" in problem]
    assert problem == "line 1: takes its own result: a -> b -> c -> a (one of them must not)"


def test_a_sample_does_not_take_itself(write: Write) -> None:
    path = write(extended("a", {"item": "a-1"}) | {"samples": 2})
    assert [problem for problem in told(path) if "own result" in problem] == [
        "line 1: takes its own result: a-1 -> a-1 (one of them must not)"
    ]


def test_an_item_with_problems_of_its_own_causes_no_others(write: Write) -> None:
    path = write(HERO | {"prompt": None}, animated("b", {"item": "hero"}), extended("c", {"item": "b"}))
    assert [problem.line for problem in problems(path)] == [1]


def test_items_are_refused_when_a_reference_leads_nowhere(write: Write) -> None:
    stream = manifest(write(HERO, animated("b", {"item": "c"}))).items()
    assert [next(stream).id, next(stream).id] == ["hero", "b"]
    with pytest.raises(Exception, match="no item is called 'c'"):
        next(stream)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 9)), max_size=16))
def test_every_graph_is_refused_exactly_when_it_has_a_circle(
    tmp_path_factory: pytest.TempPathFactory, edges: list[tuple[int, int]]
) -> None:
    sources: dict[int, set[int]] = {item: set() for item in range(8)}
    for item, source in edges:
        sources[item].add(source % 8)
    lines = [{"id": f"i{item}", "kind": "omni-image", "prompt": "x",
              "image_list": [{"image": {"item": f"i{source}"}} for source in sorted(found)]}
             for item, found in sources.items()]  # fmt: skip
    path = write_lines(tmp_path_factory.mktemp("graph") / "m.jsonl", *lines)
    has_circle = any("own result" in problem for problem in told(path))
    left = dict(sources)
    while free := [item for item, found in left.items() if not found & left.keys()]:
        for item in free:
            del left[item]
    assert has_circle is bool(left)


def test_memory_stays_bounded_over_many_chains(tmp_path: Path) -> None:
    count = 2_000
    lines = [WALK | {"id": "0"}, *(extended(str(i), {"item": str(i - 1)}) for i in range(1, count))]
    path = write_lines(tmp_path / "many.jsonl", *lines)
    assert problems(path) == []  # what is cached once is not the lines' doing
    tracemalloc.start()
    try:
        assert manifest(path).problems() == ([], 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / count < 250
