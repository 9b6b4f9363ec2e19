"""What a later try makes of the part that an earlier one left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from download_kit import (
    CLIP,
    ETAG,
    WHOLE,
    Reply,
    Request,
    answer,
    fetch,
    head_bytes,
    leave,
    left_in,
    one_failure,
    one_try,
    rest,
    serving,
    sha256,
    tiny_mp4,
    whole,
)

from batch_runner.download import BadDownload, Downloaded, move_part, sidecar_of
from batch_runner.virtual_time import run_virtual


@pytest.fixture
def part_path(tmp_path: Path) -> Path:
    return tmp_path / "clip.mp4.part"


def test_a_cut_download_goes_on_where_it_stopped(part_path: Path) -> None:
    async def main() -> tuple[Downloaded, list[Request]]:
        async with serving(whole(CLIP, cut_at=200_000, pause_s=1.0), rest(CLIP)) as server:
            with pytest.raises(BadDownload, match="cut the file off") as caught:
                await fetch(server.url(), part_path)
            assert not caught.value.is_spoiled
            assert left_in(part_path) == CLIP[:200_000]
            return await fetch(server.url(), part_path), server.requests

    found, requests = run_virtual(main)
    assert found == WHOLE
    assert (requests[1].headers["range"], requests[1].headers["if-range"]) == ("bytes=200000-", ETAG)


def test_the_sidecar_holds_the_etag_and_no_link(part_path: Path) -> None:
    one_failure(part_path, whole(CLIP, cut_at=200_000, pause_s=1.0))
    assert json.loads(sidecar_of(part_path).read_text()) == {
        "etag": ETAG,
        "total": len(CLIP),
        "epoch": "boot",
    }


def test_a_cancelled_download_goes_on_where_it_stopped(part_path: Path) -> None:
    async def main() -> Downloaded:
        async with serving(whole(CLIP, cut_at=150_000, pause_s=20.0), rest(CLIP)) as server:
            first = asyncio.create_task(fetch(server.url(), part_path))
            await asyncio.sleep(5.0)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert left_in(part_path) == CLIP[:150_000]
            return await fetch(server.url(), part_path)

    assert run_virtual(main) == WHOLE


@pytest.mark.parametrize(
    ("job", "left_bytes"), [(1, 0), (2, 0), (3, 0), (4, 0), (5, 60_000), (8, 240_000), (10, 300_200), (11, 300_200)]
)
def test_a_cancellation_during_any_disk_job_leaves_what_was_written(
    part_path: Path, monkeypatch: pytest.MonkeyPatch, job: int, left_bytes: int
) -> None:
    async def main() -> tuple[bytes, Downloaded]:
        async with serving(pieces(CLIP), rest(CLIP)) as server:
            first = asyncio.create_task(fetch(server.url(), part_path))
            cancel_at_job(monkeypatch, job, first)
            with pytest.raises(asyncio.CancelledError):
                await first
            left = left_in(part_path)
            return left, await fetch(server.url(), part_path)

    left, found = run_virtual(main)
    assert CLIP.startswith(left)
    assert len(left) == left_bytes
    assert found == WHOLE


def pieces(body: bytes) -> Reply:
    """Send the body in pieces of 60 000 bytes, a second apart."""

    async def reply(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head_bytes(200, {"Content-Length": str(len(body)), "ETag": ETAG}))
        for at in range(0, len(body), 60_000):
            writer.write(body[at : at + 60_000])
            await writer.drain()
            await asyncio.sleep(1.0)

    return reply


def cancel_at_job(monkeypatch: pytest.MonkeyPatch, job: int, task: asyncio.Task[Downloaded]) -> None:
    """Cancel the task while its n-th job is in a thread: look, clear, remember, open, write..., close, seal."""
    loop, count = asyncio.get_running_loop(), 0
    start = loop.run_in_executor

    def run_in_executor(*job_: Any) -> asyncio.Future[Any]:
        nonlocal count
        count += 1
        if count == job:
            loop.call_soon(task.cancel)
        return start(*job_)

    monkeypatch.setattr(loop, "run_in_executor", run_in_executor)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: sidecar_of(path).unlink(),
        lambda path: sidecar_of(path).write_text("{"),
        lambda path: sidecar_of(path).write_text("[1]"),
        lambda path: sidecar_of(path).write_text("[" * 4000),
        lambda path: sidecar_of(path).write_text('{"etag": 1, "total": 2, "epoch": "boot"}'),
        lambda path: leave(path, CLIP[:1000], epoch="before the loss of power"),
        lambda path: leave(path, CLIP[:1000], total=999),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
    ],
)
def test_a_part_that_cannot_be_trusted_is_begun_anew(part_path: Path, spoil: Callable[[Path], object]) -> None:
    leave(part_path, b"?" * 1000)
    spoil(part_path)
    found, requests = one_try(part_path, whole(CLIP))
    assert found == WHOLE
    assert "range" not in requests[0].headers


def test_a_weak_etag_is_not_kept(part_path: Path) -> None:
    one_failure(part_path, whole(CLIP, 'W/"one"', cut_at=200_000, pause_s=1.0))
    assert not sidecar_of(part_path).exists()
    found, requests = one_try(part_path, whole(CLIP))
    assert found == WHOLE
    assert "range" not in requests[0].headers


def test_a_server_that_ignores_the_range_sends_all_of_it(part_path: Path) -> None:
    leave(part_path, b"?" * 1000)
    assert one_try(part_path, whole(CLIP, '"two"'))[0] == WHOLE
    assert part_path.read_bytes() == CLIP


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": f"bytes 1000-{len(CLIP) - 1}/{len(CLIP)}", "ETag": '"two"'},
        {"Content-Range": f"bytes 1000-{len(CLIP) - 1}/{len(CLIP)}"},
        {"Content-Range": f"bytes 999-{len(CLIP) - 1}/{len(CLIP)}", "ETag": ETAG},
        {"Content-Range": f"bytes 1000-{len(CLIP)}/{len(CLIP) + 1}", "ETag": ETAG},
        {"Content-Range": f"bytes 1000-{len(CLIP)}/{len(CLIP)}", "ETag": ETAG},
        {"Content-Range": "bytes 1000-999/*", "ETag": ETAG},
        {"Content-Range": "bytes */300", "ETag": ETAG},
        {"Content-Range": f"bytes 1000-{len(CLIP) - 1}/{len(CLIP)}", "ETag": ETAG, "Content-Length": "5"},
        {"Content-Type": "multipart/byteranges; boundary=x", "ETag": ETAG},
    ],
    ids=["other etag", "no etag", "start", "total", "end", "backwards", "unsatisfied", "length", "multipart"],
)
def test_a_rest_that_does_not_fit_spoils_the_part(part_path: Path, headers: dict[str, str]) -> None:
    leave(part_path, CLIP[:1000])
    failure = one_failure(
        part_path, answer(206, headers, CLIP[1000 : 1000 + int(headers.get("Content-Length", len(CLIP)))])
    )
    assert failure.is_spoiled
    assert not part_path.exists()
    assert one_try(part_path, whole(CLIP))[0] == WHOLE


def test_a_part_of_the_rest_is_kept_and_gone_on_from(part_path: Path) -> None:
    leave(part_path, CLIP[:1000])
    some = {"Content-Range": f"bytes 1000-1999/{len(CLIP)}", "ETag": ETAG, "Content-Length": "1000"}
    failure = one_failure(part_path, answer(206, some, CLIP[1000:2000]))
    assert "2000 of" in str(failure)
    found, requests = one_try(part_path, rest(CLIP))
    assert found == WHOLE
    assert requests[0].headers["range"] == "bytes=2000-"


def test_a_rest_longer_than_its_range_spoils_the_part(part_path: Path) -> None:
    leave(part_path, CLIP[:1000])
    headers = {"Content-Range": f"bytes 1000-{len(CLIP) - 1}/{len(CLIP)}", "ETag": ETAG}
    failure = one_failure(part_path, answer(206, headers, CLIP[1000:] + b"more"))
    assert failure.is_spoiled
    assert "more bytes" in str(failure)


def test_a_range_past_the_end_spoils_the_part(part_path: Path) -> None:
    leave(part_path, CLIP[:1000], total=None)
    assert one_failure(part_path, answer(416, {"Content-Range": "bytes */500"})).is_spoiled
    assert not part_path.exists()
    assert one_try(part_path, whole(CLIP))[0] == WHOLE


def test_a_complete_part_is_confirmed_with_its_last_byte(part_path: Path) -> None:
    leave(part_path, CLIP)
    found, requests = one_try(part_path, rest(CLIP))
    assert found == WHOLE
    assert requests[0].headers["range"] == f"bytes={len(CLIP) - 1}-"


def test_a_complete_part_of_another_file_is_replaced(part_path: Path) -> None:
    other = tiny_mp4(300_000, b"another take")
    leave(part_path, CLIP, etag='"old"')
    assert one_try(part_path, whole(other))[0].sha256 == sha256(other)


def test_a_partial_answer_nobody_asked_for_is_refused(part_path: Path) -> None:
    headers = {"Content-Range": f"bytes 0-99/{len(CLIP)}", "ETag": ETAG}
    assert "all of it was asked for" in str(one_failure(part_path, answer(206, headers, CLIP[:100])))


def test_a_part_that_becomes_anothers_leaves_no_note_of_either(tmp_path: Path) -> None:
    """A note beside bytes that it does not describe would have the rest of another file put after them."""
    part_path, other_path = tmp_path / "a.mp4.part", tmp_path / "b.mp4.part"
    for path in (part_path, other_path):
        path.write_bytes(path.name.encode())
        sidecar_of(path).write_text("{}")
    move_part(part_path, other_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"b.mp4.part": b"a.mp4.part"}
    move_part(other_path, other_path)
    assert other_path.read_bytes() == b"a.mp4.part"
