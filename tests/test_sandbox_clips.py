"""Made-up clips: playable, exact in length and shape, told apart by their wish, and made quickly."""

from __future__ import annotations

import io
import itertools
import math
import time

import av
import pytest

from batch_runner.sandbox.canvas import Canvas, Colour
from batch_runner.sandbox.clips import FRAME_RATE, SIZES, ClipWish, render
from batch_runner.sandbox.h264 import delta_picture, key_picture, picture_parameters, sequence_parameters
from batch_runner.sandbox.mp4 import Track, movie


def decoded(data: bytes) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(data), mode="r", options={"err_detect": "explode"}) as container:
        return list(container.decode(video=0))


def plane(frame: av.VideoFrame, number: int) -> bytes:
    """One plane without the decoder's padding."""
    source = frame.planes[number]
    data = bytes(source)
    return b"".join(
        data[row * source.line_size : row * source.line_size + source.width] for row in range(source.height)
    )


def distance(one: bytes, other: bytes) -> float:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


@pytest.mark.parametrize("aspect", SIZES)
@pytest.mark.parametrize("length_s", [1, 3, 5, 10, 15])
def test_a_clip_lasts_and_measures_what_was_asked_for(aspect: str, length_s: int) -> None:
    data = render(ClipWish("a fox\nid", aspect, length_s))
    with av.open(io.BytesIO(data), mode="r") as container:
        assert container.duration == length_s * 1_000_000
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.average_rate == FRAME_RATE
    frames = decoded(data)
    assert len(frames) == length_s * FRAME_RATE
    width, height = (int(number) for number in aspect.split(":"))
    assert frames[0].width * height == pytest.approx(frames[0].height * width, rel=0.01)
    assert [round(float(frame.time or 0) * FRAME_RATE) for frame in frames] == list(range(len(frames)))


def test_every_sample_survives_the_coding() -> None:
    ground = Canvas(64, 48)
    for index in range(12):
        ground.tile(index, bytes(16 + (index * 37 + n) % 220 for n in range(256)), Colour(0, 60 + index, 200))
    first = [ground.block(index) for index in range(12)]
    changes = {0: first[11], 7: first[3], 11: first[0]}
    pictures = [key_picture(first)]
    pictures += [delta_picture(1, changes, 12), delta_picture(2, {5: first[6]}, 12)]
    pictures += [delta_picture(number, {5: first[number % 12]}, 12) for number in range(3, 40)]
    sets = sequence_parameters(64, 48), picture_parameters()
    frames = decoded(movie(Track(64, 48, FRAME_RATE, *sets, pictures)))
    assert len(frames) == 40
    assert plane(frames[0], 0) == bytes(ground._luma)
    assert (plane(frames[0], 1), plane(frames[0], 2)) == tuple(map(bytes, ground._chroma))
    expected = dict(enumerate(first)) | changes
    assert [block(frames[1], index) for index in range(12)] == [expected[index] for index in range(12)]
    assert block(frames[2], 5) == first[6]
    assert block(frames[39], 5) == first[3]
    assert block(frames[39], 7) == first[3]


def block(frame: av.VideoFrame, index: int) -> bytes:
    left, top = index % 4 * 16, index // 4 * 16
    parts = []
    for number, size in ((0, 16), (1, 8), (2, 8)):
        data, width = plane(frame, number), 4 * size
        x, y = left * size // 16, top * size // 16
        parts += [data[row * width + x : row * width + x + size] for row in range(y, y + size)]
    return b"".join(parts)


def test_bytes_that_look_like_start_codes_survive() -> None:
    blocks = [bytes(384), bytes((0, 0, 1)) * 128, bytes((0, 0, 0, 3)) * 96, bytes(383) + b"\x01"]
    sets = sequence_parameters(32, 32), picture_parameters()
    unit = key_picture(blocks)
    assert not any(bytes((0, 0, tail)) in unit for tail in (0, 1, 2))
    [frame] = decoded(movie(Track(32, 32, FRAME_RATE, *sets, [unit])))
    assert plane(frame, 0)[:16] == bytes(16)
    assert plane(frame, 0)[16:32] == (bytes((0, 0, 1)) * 6)[:16]


def test_things_move_and_samples_stay_legal() -> None:
    frames = decoded(render(ClipWish("motion", "16:9", 3)))
    pairs = itertools.pairwise(frames)
    moved = [distance(plane(one, 0), plane(other, 0)) for one, other in pairs]
    assert sum(change > 0.1 for change in moved) > len(moved) * 0.9
    for frame in frames[::9]:
        assert 16 <= min(plane(frame, 0)) <= max(plane(frame, 0)) <= 235
        assert 16 <= min(plane(frame, 1)) <= max(plane(frame, 2)) <= 240


def test_another_wish_looks_different_and_the_same_one_is_the_same_bytes() -> None:
    looks = ["a red fox in snow\nitem-1", "a red fox in snow\nitem-2", "city at night\nitem-1"]
    clips = [render(ClipWish(look, "16:9", 1)) for look in looks]
    frames = [decoded(clip)[0] for clip in clips]
    for one in range(3):
        for other in range(one):
            apart = [distance(plane(frames[one], n), plane(frames[other], n)) for n in range(3)]
            assert math.fsum(apart) > 10
    render.cache_clear()
    assert render(ClipWish(looks[0], "16:9", 1)) == clips[0]


def test_the_longest_clip_is_made_at_once() -> None:
    spent_s = []
    for number in range(3):
        began_s = time.process_time()
        data = render(ClipWish(f"speed {number}", "16:9", 15))
        spent_s.append(time.process_time() - began_s)
    # Ample, for a busy machine: it takes about 0.07.
    assert min(spent_s) < 0.3
    assert 100_000 < len(data) < 4_000_000


def test_the_index_comes_before_the_data() -> None:
    data = render(ClipWish("order", "1:1", 1))
    assert data[4:8] == b"ftyp"
    assert data.index(b"moov") < data.index(b"mdat")
