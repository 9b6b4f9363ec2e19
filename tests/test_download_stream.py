"""One try at a download, against scripted servers over real sockets under virtual time."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from download_kit import (
    CLIP,
    ETAG,
    LOCAL,
    SECRET,
    WHOLE,
    Reply,
    Request,
    answer,
    fetch,
    head_bytes,
    leave,
    one_failure,
    one_try,
    rest,
    serving,
    sha256,
    tiny_mp4,
    whole,
)

from batch_runner.download import (
    BadDownload,
    BadLink,
    Downloaded,
    Downloader,
    DownloadFailure,
    LinkExpired,
    LinkPolicy,
    open_download_session,
    publish,
    sidecar_of,
)
from batch_runner.errors import DiskError
from batch_runner.virtual_time import run_virtual


@pytest.fixture
def part_path(tmp_path: Path) -> Path:
    return tmp_path / "clip.mp4.part"


# the whole file at once


def test_a_file_arrives_with_exactly_the_servers_bytes(part_path: Path) -> None:
    assert one_try(part_path, whole(CLIP))[0] == WHOLE
    assert part_path.read_bytes() == CLIP


def test_a_file_from_an_ordinary_server_can_be_published(part_path: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "clip.mp4").write_bytes(CLIP)

    async def main() -> Downloaded:
        app = web.Application()
        app.router.add_static("/", tmp_path / "source")
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            return await fetch(f"http://127.0.0.1:{runner.addresses[0][1]}/clip.mp4", part_path)
        finally:
            await runner.cleanup()

    assert run_virtual(main) == WHOLE
    publish(part_path, tmp_path / "clip.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "source"]


def test_no_header_of_the_api_and_no_cookie_is_sent(part_path: Path) -> None:
    cookie = answer(302, {"Location": "/b.mp4", "Set-Cookie": "a=1; Path=/"})
    _, requests = one_try(part_path, cookie, whole(CLIP))
    assert [set(request.headers) for request in requests] == [{"host", "accept", "accept-encoding", "user-agent"}] * 2
    assert requests[0].headers["accept-encoding"] == "identity"


def test_bytes_are_taken_as_sent_even_if_called_compressed() -> None:
    async def main() -> bytes:
        squeezed = answer(200, {"Content-Encoding": "gzip", "Content-Length": "3"}, b"\x1f\x8b\x08")
        async with serving(squeezed) as server, open_download_session(LOCAL) as session:
            return await (await session.get(server.url())).read()

    assert run_virtual(main) == b"\x1f\x8b\x08"


def test_chunks_without_a_length_are_judged_by_their_content(part_path: Path) -> None:
    async def chunked(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head_bytes(200, {"Transfer-Encoding": "chunked", "ETag": ETAG}))
        for at in range(0, len(CLIP), 50_000):
            chunk = CLIP[at : at + 50_000]
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    assert one_try(part_path, chunked)[0] == WHOLE


def test_a_body_that_ends_with_the_connection_is_judged_by_its_content(part_path: Path) -> None:
    assert one_try(part_path, answer(200, {}, CLIP))[0] == WHOLE
    failure = one_failure(part_path, answer(200, {"ETag": ETAG}, CLIP, cut_at=200_000))
    assert "not a whole MP4" in str(failure)
    assert not part_path.exists()
    assert not sidecar_of(part_path).exists()


MP3_FRAME = b"\xff\xfb\x90\x00" + bytes(413)


@pytest.mark.parametrize(("content", "is_kept"), [(MP3_FRAME + b"more", True), (b"?" * 40, False)], ids=["mp3", "none"])
def test_a_sound_without_a_length_that_ends_oddly_may_come_twice(
    part_path: Path, content: bytes, *, is_kept: bool
) -> None:
    """It was never kept: how an MP3 ends is custom. Of what is no sound nothing tells that it is whole."""
    failure = one_failure(part_path, answer(200, {}, content), suffix=".mp3")
    assert (failure.odd_sha256 == sha256(content)) is is_kept


def test_an_image_is_checked_as_an_image(part_path: Path) -> None:
    image = b"\x89PNG\r\n\x1a\n" + bytes(38) + b"\x00\x00\x00\x00IEND\xaeB`\x82"
    found, _ = one_try(part_path, answer(200, {"Content-Length": "58"}, image), suffix=".png")
    assert found == Downloaded(58, sha256(image))


# answers of no use


@pytest.mark.parametrize(
    "reply",
    [
        answer(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>busy</html>"),
        answer(200, {"Content-Type": "application/json"}, b'{"code": 1}'),
        answer(200, {"Content-Type": "application/problem+json"}, b'{"code": 1}'),
        answer(200, {"Content-Type": "application/xml"}, b"<Error/>"),
        answer(200, {"Content-Type": "video/mp4"}, b"<!doctype html><p>busy"),
        answer(200, {"Content-Type": "video/mp4", "Content-Length": "0"}),
        answer(200, {}, b""),
        answer(200, {"Content-Encoding": "gzip"}, b"\x1f\x8b"),
        answer(204, {}),
        answer(302, {}),
        answer(400, {}),
        answer(500, {}),
        answer(200, {"Content-Length": "x"}, CLIP),
        whole(CLIP, cut_at=0),
        whole(CLIP[:-1]),
        answer(200, {"Content-Length": str(len(CLIP) - 5)}, CLIP),
    ],
)
def test_an_answer_that_is_no_whole_file_leaves_nothing_under_any_name(part_path: Path, reply: Reply) -> None:
    one_failure(part_path, reply)
    assert not part_path.exists() or part_path.stat().st_size == 0


def test_a_text_page_does_not_cost_the_part(part_path: Path) -> None:
    leave(part_path, CLIP[:1000])
    one_failure(part_path, answer(200, {"Content-Type": "text/html"}, b"<html>busy</html>"))
    assert one_try(part_path, rest(CLIP))[0] == WHOLE


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_an_expired_link_is_told_apart_and_keeps_the_part(part_path: Path, status: int) -> None:
    leave(part_path, CLIP[:1000])
    with pytest.raises(LinkExpired) as caught:
        one_try(part_path, answer(status, {}))
    assert caught.value.http_status == status
    assert one_try(part_path, rest(CLIP))[0] == WHOLE


@pytest.mark.parametrize(
    ("headers", "least_s"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "99999999999"}, 600.0),
        (
            {"Retry-After": "Thu, 01 Jan 2026 00:00:30 GMT", "Date": "Thu, 01 Jan 2026 00:00:00 GMT"},
            30.0,
        ),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:30 GMT", "Date": "Fri, 02 Jan 2026 00:00:00 GMT"}, 0.0),
    ],
)
def test_the_wait_a_server_asks_for_is_handed_on(part_path: Path, headers: dict[str, str], least_s: float) -> None:
    retry_after_s = one_failure(part_path, answer(503, headers)).retry_after_s
    assert retry_after_s is not None
    assert least_s <= retry_after_s <= least_s + 2.0


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "soon"}, {"Retry-After": "-5"}, {"Date": "x"}])
def test_no_wait_is_made_up(part_path: Path, headers: dict[str, str]) -> None:
    assert one_failure(part_path, answer(429, headers)).retry_after_s is None


def test_waits_are_spread_by_the_given_seed(part_path: Path) -> None:
    async def wait_s(seed: int) -> float:
        async with serving(answer(503, {"Retry-After": "7"})) as server, open_download_session(LOCAL) as session:
            downloader = Downloader(session, LOCAL, rng=random.Random(seed), epoch="boot")
            with pytest.raises(BadDownload) as caught:
                await downloader.fetch(server.url(), part_path, ".mp4")
            return caught.value.retry_after_s or 0.0

    waits = [run_virtual(lambda seed=seed: wait_s(seed)) for seed in (1, 1, 2)]  # type: ignore[misc]  # default
    assert waits[0] == waits[1] != waits[2]


def test_nobody_listening_is_a_bad_download(part_path: Path) -> None:
    async def main() -> None:
        async with serving(whole(CLIP)) as server:
            url = server.url()
        with pytest.raises(BadDownload, match="no usable answer"):
            await fetch(url, part_path)

    run_virtual(main)


def test_a_file_beyond_the_largest_size_is_refused(part_path: Path) -> None:
    async def main(reply: Reply) -> None:
        async with serving(reply) as server:
            with pytest.raises(BadDownload, match="larger than 1000"):
                await fetch(server.url(), part_path, max_bytes=1000)

    for reply in (whole(CLIP), answer(200, {}, CLIP)):
        run_virtual(lambda reply=reply: main(reply))  # type: ignore[misc]  # default
        assert not part_path.exists()


# slow servers, under virtual time


def timed_failure(part_path: Path, reply: Reply) -> tuple[BadDownload, float]:
    async def main() -> tuple[BadDownload, float]:
        async with serving(reply) as server:
            started_s = asyncio.get_running_loop().time()
            with pytest.raises(BadDownload) as caught:
                await fetch(server.url(), part_path)
            return caught.value, asyncio.get_running_loop().time() - started_s

    return run_virtual(main)


def dripping(chunk_bytes: int, every_s: float) -> Reply:
    async def reply(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head_bytes(200, {"Content-Length": str(len(CLIP)), "ETag": ETAG}))
        for at in range(0, len(CLIP), chunk_bytes):
            writer.write(CLIP[at : at + chunk_bytes])
            await writer.drain()
            await asyncio.sleep(every_s)

    return reply


def test_a_trickle_is_given_up_after_a_minute_and_gone_on_from(part_path: Path) -> None:
    failure, waited_s = timed_failure(part_path, dripping(1000, 10.0))
    assert "too slowly" in str(failure)
    assert waited_s == pytest.approx(60.0, abs=0.1)
    assert part_path.stat().st_size == 6000
    assert one_try(part_path, rest(CLIP))[0] == WHOLE


def test_a_slow_but_steady_server_is_waited_for(part_path: Path) -> None:
    assert one_try(part_path, dripping(24_000, 10.0))[0] == WHOLE


def test_a_silent_server_is_given_up_after_half_a_minute(part_path: Path) -> None:
    failure, waited_s = timed_failure(part_path, whole(CLIP, cut_at=100_000, pause_s=500.0))
    assert "fell silent" in str(failure)
    assert waited_s == pytest.approx(30.0, abs=0.1)
    assert part_path.stat().st_size == 100_000


def test_headers_that_trickle_are_given_up_too(part_path: Path) -> None:
    async def reply(_: Request, writer: asyncio.StreamWriter) -> None:
        for byte in head_bytes(200, {"X-Slow": "a" * 1000}):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(10.0)

    failure, waited_s = timed_failure(part_path, reply)
    assert "fell silent" in str(failure)
    assert waited_s == pytest.approx(60.0, abs=0.1)


# redirects and secrecy


def test_redirects_are_followed_a_few_times(part_path: Path) -> None:
    hops = [answer(302, {"Location": f"/{number}.mp4"}) for number in range(5)]
    found, requests = one_try(part_path, *hops, whole(CLIP))
    assert found == WHOLE
    assert [request.target for request in requests][1:] == [f"/{number}.mp4" for number in range(5)]


def test_redirects_without_end_are_not(part_path: Path) -> None:
    async def main() -> int:
        async with serving(answer(307, {"Location": "/again.mp4"})) as server:
            with pytest.raises(BadDownload, match="redirects"):
                await fetch(server.url(), part_path)
            return len(server.requests)

    assert run_virtual(main) == 6


@pytest.mark.parametrize(
    "location",
    ["http://10.0.0.1/a", "http://169.254.169.254/", "file:///etc/passwd", "http://u:p@127.0.0.1/", "http://["],
)
def test_a_redirect_off_limits_is_refused(part_path: Path, location: str) -> None:
    with pytest.raises(BadLink):
        one_try(part_path, answer(301, {"Location": f"{location}?{SECRET}"}))


def test_a_link_off_limits_is_never_asked_for(part_path: Path) -> None:
    async def main() -> int:
        strict = LinkPolicy(allow_local=False)
        async with serving(whole(CLIP)) as server, open_download_session(strict) as session:
            with pytest.raises(BadLink):
                await Downloader(session, strict).fetch(server.url(), part_path, ".mp4")
            return len(server.requests)

    assert run_virtual(main) == 0


@pytest.mark.parametrize(
    "reply",
    [
        answer(403, {}),
        answer(500, {}),
        answer(302, {"Location": f"http://10.0.0.1/?{SECRET}"}),
        answer(302, {"Location": f"/b?{SECRET}"}),
        answer(200, {"X": "a" * 20_000}),
        answer(200, {"Content-Type": "text/html"}),
        whole(CLIP, cut_at=100, pause_s=1.0),
        whole(CLIP, cut_at=100, pause_s=100.0),
        answer(200, {"Content-Length": "-1"}, CLIP),
    ],
)
def test_no_failure_tells_the_signature(part_path: Path, reply: Reply) -> None:
    with pytest.raises(DownloadFailure) as caught:
        one_try(part_path, reply)
    told = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert "SECRET" not in told
    assert all(b"SECRET" not in path.read_bytes() for path in part_path.parent.iterdir())


# the disk


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outside") / "precious"
    path.write_bytes(b"precious")
    return path


@pytest.mark.parametrize("has_sidecar", [True, False])
def test_a_link_planted_under_the_part_name_is_refused(
    part_path: Path,
    outside: Path,
    has_sidecar: bool,  # noqa: FBT001 - parameter
) -> None:
    if has_sidecar:
        leave(part_path, b"x")
        part_path.unlink()
    part_path.symlink_to(outside)
    with pytest.raises(DiskError, match="symbolic link"):
        one_try(part_path, whole(CLIP))
    assert outside.read_bytes() == b"precious"


def test_a_link_planted_under_the_sidecars_name_is_refused(part_path: Path, outside: Path) -> None:
    sidecar_of(part_path).symlink_to(outside)
    with pytest.raises(DiskError, match="symbolic link"):
        one_try(part_path, whole(CLIP))
    assert outside.read_bytes() == b"precious"


def test_a_hard_link_under_the_part_name_is_never_written_through(part_path: Path, outside: Path) -> None:
    outside.write_bytes(CLIP[:1000])
    leave(part_path, b"")
    part_path.unlink()
    os.link(outside, part_path)
    assert one_try(part_path, rest(CLIP))[0] == WHOLE
    assert outside.read_bytes() == CLIP[:1000]


def test_a_pipe_planted_under_the_part_name_holds_nobody(part_path: Path) -> None:
    os.mkfifo(part_path)
    with pytest.raises(DiskError, match="regular"):
        one_try(part_path, whole(CLIP))


def test_a_missing_folder_is_a_disk_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError):
        one_try(tmp_path / "missing" / "clip.part", whole(CLIP))


def test_a_failed_sync_is_fatal_and_its_bytes_are_not_trusted(part_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DiskError, match="durable"):
        one_try(part_path, whole(CLIP))
    assert len(calls) == 1
    assert list(part_path.parent.iterdir()) == []


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let the kernel itself refuse to let any file grow beyond ``size``."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_takes_no_more_is_a_disk_error(part_path: Path) -> None:
    big = tiny_mp4(3_000_000)
    with files_up_to(2_000_000), pytest.raises(DiskError, match="larger than the file system") as caught:
        one_try(part_path, whole(big))
    assert str(part_path) in str(caught.value)
    assert one_try(part_path, rest(big))[0].sha256 == sha256(big)
