"""However a file server behaves, and for however long: every item has its decided end, in bounded time, paid once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from download_kit import CLIP, ETAG, Reply, Request, answer, head_bytes, rest, serving, whole
from simulation import Scenario, Simulation, simulate

from batch_runner.errors import ExitCode
from batch_runner.events import Notice
from batch_runner.sandbox import WorldConfig
from batch_runner.sandbox.cdn import Cdn

LOST = (ExitCode.ITEMS_FAILED, "failed", "asset")
"""The server does not hand the file out: told as failed, still paid; ``--retry-failed`` asks again."""
LATER = (ExitCode.STOPPED, "pending", "asset")
"""Not now: the next run tries again."""
HERE = (ExitCode.OK, "succeeded", None)


def unmeasured(body: bytes) -> Reply:
    return answer(200, {"Content-Type": "video/mp4"}, body)


def dripping() -> Reply:
    async def reply(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head_bytes(200, {"Content-Length": str(len(CLIP)), "ETag": ETAG}))
        for byte in CLIP:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1)

    return reply


def hanging_up() -> Reply:
    async def reply(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    return reply


def changing() -> Reply:
    """Another file each time, and never all of it."""
    count = 0

    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        await whole(CLIP, f'"{count}"', cut_at=1000)(request, writer)

    return reply


def never_the_same() -> Reply:
    """Something that is no film, and something else each time."""
    count = 0

    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        await whole(f"no film, number {count}".encode())(request, writer)

    return reply


def out_of_range() -> Reply:
    """Half of it, and never the rest."""

    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        status = 416 if "range" in request.headers else 200
        await (answer(416, {}) if status == 416 else whole(CLIP, cut_at=1000))(request, writer)

    return reply


def redirecting() -> Reply:
    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        there = request.target == "/other.mp4"
        await (whole(CLIP) if there else answer(302, {"Location": "/other.mp4"}))(request, writer)

    return reply


@dataclass(frozen=True)
class Way:
    """How a file server behaves, and the end that has been decided for it."""

    name: str
    reply: Reply
    end: tuple[ExitCode, str, str | None]


WAYS = [
    Way("the link is refused", answer(403, {}), LOST),
    Way("the link has expired", answer(401, {}), LOST),
    Way("the file is gone", answer(404, {}), LOST),
    Way("the file is gone for ever", answer(410, {}), LOST),
    Way("a redirect into a private network", answer(302, {"Location": "https://10.0.0.1/clip.mp4"}), LOST),
    Way("a redirect to this machine's files", answer(302, {"Location": "file:///etc/passwd"}), LOST),
    Way("a redirect to a metadata service", answer(302, {"Location": "http://169.254.169.254/"}), LOST),
    Way("a redirect to itself", answer(302, {"Location": "/clip.mp4"}), LATER),
    Way("a redirect to nowhere", answer(302, {}), LATER),
    Way("an error", answer(500, {}), LATER),
    Way("busy, and asking for a day of patience", answer(503, {"Retry-After": "86400"}), LATER),
    Way("no such range at all", answer(416, {}), LATER),
    Way("no such range any more", out_of_range(), LATER),
    Way("a part that nobody asked for", answer(206, {"Content-Range": "bytes 0-9/10"}, b"0123456789"), LATER),
    Way("a page with status 200", answer(200, {"Content-Type": "text/html"}, b"<html>busy</html>"), LATER),
    Way("a page that is called a video", unmeasured(b"<!doctype html><p>busy</p>"), LATER),
    Way("nothing", answer(200, {"Content-Length": "0"}), LATER),
    Way("too short", answer(200, {"Content-Length": str(len(CLIP) + 9), "ETag": ETAG}, CLIP), LATER),
    Way("too long", unmeasured(CLIP + b"more"), LATER),
    Way("cut, with a length that agrees", whole(CLIP[:-100]), LATER),
    Way("cut, without a length", unmeasured(CLIP[:-100]), LATER),
    Way("another file each time", changing(), LATER),
    Way("one byte a second", dripping(), LATER),
    Way("silent after a while", whole(CLIP, cut_at=1000, pause_s=10_000), LATER),
    Way("silent from the beginning", answer(200, {}, pause_s=10_000, cut_at=0), LATER),
    Way("hanging up", hanging_up(), LATER),
    Way("no film, of no known length", unmeasured(b"no film at all"), LATER),
    Way("no film, and another each time", never_the_same(), LATER),
    Way("without a length", unmeasured(CLIP), HERE),
    Way("one that knows no ranges and no tags", answer(200, {"Content-Length": str(len(CLIP))}, CLIP), HERE),
    Way("a redirect to the file", redirecting(), HERE),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_every_way_a_file_server_can_be_has_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Way) -> None:
    """First for ever that way; then the server is well again, and whatever was paid for is had without a submission."""
    code, status, reason = way.end

    async def work(simulation: Simulation) -> None:
        async with serving(way.reply) as ill, serving(rest(CLIP)) as well:
            server = ill
            monkeypatch.setattr(Cdn, "link", lambda *_: server.url())
            began_s = simulation.clock.wall_s()
            summary = await simulation.run()
            assert summary is not None
            row = simulation.results()[0]
            assert (summary.exit_code, row["status"], row["reason"]) == (code, status, reason)
            assert (row["credits_charged"], len(simulation.world.tasks)) == ("1", 1)
            assert simulation.clock.wall_s() - began_s < 2 * 3600
            assert len(ill.requests) <= 8 * 6
            names = {path.name for path in simulation.output_dir.glob("batch/i0.mp4")}
            assert names == ({"i0.mp4"} if status == "succeeded" else set()), "no file but a whole one has the name"
            server = well
            again = await simulation.run(retry_failed=True)
            assert again is not None
            assert (again.exit_code, len(simulation.world.tasks)) == (ExitCode.OK, 1)
            assert (simulation.output_dir / "batch/i0.mp4").read_bytes() == CLIP

    lines = (json.dumps({"id": "i0", "prompt": "a scene"}),)
    world = WorldConfig(max_concurrent=1, rpm=60, speed=20.0)
    simulate(Scenario(slots=1, lines=lines, world=world), tmp_path, work)


def test_bytes_of_no_known_kind_that_come_twice_the_same_are_what_was_paid_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has to look at it, and what lies between them on the way may have had it in store the first time."""
    body, pause_s = b"no film that anybody here can read", 60.0

    async def work(simulation: Simulation) -> None:
        async with serving(whole(body)) as server:
            links = count(1)
            monkeypatch.setattr(Cdn, "link", lambda *_: f"{server.url()}?link={next(links)}")
            began_s = simulation.clock.wall_s()
            summary = await simulation.run()
            assert summary is not None
            assert (summary.exit_code, len(server.requests)) == (ExitCode.OK, 2)
            assert len({request.target for request in server.requests}) == 2, "the second one came by a link of its own"
            assert simulation.clock.wall_s() - began_s >= pause_s
            [told] = [event for event in simulation.events if isinstance(event, Notice) and "i0" in event.text]
            assert told.urgent
            assert "twice" in told.text
            again = await simulation.run()
            assert again is not None
            assert (again.exit_code, len(server.requests)) == (ExitCode.OK, 2)
        assert (simulation.output_dir / "batch/i0.mp4").read_bytes() == body
        assert [row["status"] for row in simulation.results()] == ["succeeded"]

    lines = (json.dumps({"id": "i0", "prompt": "a scene"}),)
    simulate(Scenario(slots=1, lines=lines), tmp_path, work)


def test_one_bad_file_server_neither_delays_nor_fails_the_other_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(simulation: Simulation) -> None:
        async with serving(dripping()) as ill, serving(rest(CLIP)) as well:

            def link(_cdn: Cdn, _origin: object, task_id: str, _name: str) -> str:
                return (ill if task_id == simulation.world.tasks[0].task_id else well).url()

            monkeypatch.setattr(Cdn, "link", link)
            summary = await simulation.run()
        assert summary is not None
        statuses = [row["status"] for row in simulation.results()]
        assert sorted(statuses) == ["pending", "succeeded", "succeeded", "succeeded"]
        last = max(row["finished_at"] for row in simulation.results() if row["status"] == "succeeded")
        assert last < summary.finished_at[: len(last)]

    lines = tuple(json.dumps({"id": f"i{number}", "prompt": "a scene"}) for number in range(4))
    world = WorldConfig(max_concurrent=2, rpm=60, speed=20.0)
    simulate(Scenario(slots=2, lines=lines, world=world), tmp_path, work)
