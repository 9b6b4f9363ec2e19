"""The simulated result files: links, tags, parts, expiry."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_kit import Client, serving

from batch_runner.sandbox import WorldConfig
from batch_runner.sandbox.parts import Part, UnsatisfiableError, wanted_part
from batch_runner.virtual_time import run_virtual


async def link(client: Client, name: str = "a", **fields: Any) -> str:
    await client.create(name, **fields)
    url: str = (await client.finished(name))["task_result"]["videos"][0]["url"]
    return url


def test_a_link_leads_to_a_playable_clip_of_the_ordered_length_and_shape() -> None:
    async def main() -> None:
        async with serving() as client:
            reply = await client.fetch(await link(client, duration="10", aspect_ratio="9:16"))
            assert reply.status == 200
            assert reply.headers["Content-Type"] == "video/mp4"
            assert int(reply.headers["Content-Length"]) == len(reply.body)
            with av.open(io.BytesIO(reply.body), mode="r") as container:
                assert container.duration == 10_000_000
                size = container.streams.video[0].codec_context
                assert (size.width, size.height) == (144, 256)

    run_virtual(main)


def test_two_prompts_make_two_files_and_one_task_always_the_same() -> None:
    async def main() -> None:
        async with serving() as client:
            url = await link(client, "a", prompt="fox")
            first, again = await client.fetch(url), await client.fetch(url)
            other = await client.fetch(await link(client, "b", prompt="owl"))
            assert first.body == again.body != other.body
            assert first.headers["ETag"] == again.headers["ETag"] != other.headers["ETag"]

    run_virtual(main)


def test_a_part_continues_a_file() -> None:
    async def main() -> None:
        async with serving() as client:
            url = await link(client)
            whole = await client.fetch(url)
            size, tag = len(whole.body), whole.headers["ETag"]
            rest = await client.fetch(url, Range="bytes=1000-", **{"If-Range": tag})
            assert (rest.status, rest.headers["ETag"]) == (206, tag)
            assert rest.headers["Content-Range"] == f"bytes 1000-{size - 1}/{size}"
            assert whole.body[:1000] + rest.body == whole.body
            changed = await client.fetch(url, Range="bytes=1000-", **{"If-Range": '"other"'})
            assert (changed.status, changed.body) == (200, whole.body)
            beyond = await client.fetch(url, Range=f"bytes={size}-")
            assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")

    run_virtual(main)


def test_a_link_expires_and_the_next_query_signs_a_new_one() -> None:
    async def main() -> None:
        async with serving(WorldConfig(link_ttl_s=100)) as client:
            url = await link(client)
            assert (await client.fetch(url)).status == 200
            await asyncio.sleep(101)
            assert (await client.fetch(url)).status == 403
            renewed = (await client.query("a")).data["task_result"]["videos"][0]["url"]
            assert (await client.fetch(renewed)).status == 200

    run_virtual(main)


def test_a_link_that_was_tampered_with_opens_nothing() -> None:
    async def main() -> None:
        async with serving() as client:
            url = await link(client)
            other = await link(client, "b")
            for wrong in (
                url.partition("?")[0],
                url.replace("Expires=1", "Expires=2"),
                url[:-1] + ("0" if url[-1] != "0" else "1"),
                other.partition("?")[0] + "?" + url.partition("?")[2],
            ):
                assert (await client.fetch(wrong)).status == 403

    run_virtual(main)


def test_a_purged_file_is_gone_even_for_a_valid_link() -> None:
    async def main() -> None:
        async with serving(WorldConfig(purge_after_s=100)) as client:
            url = await link(client)
            await asyncio.sleep(100)
            assert (await client.fetch(url)).status == 404
            assert (await client.query("a")).code == 1201

    run_virtual(main)


def test_only_the_head_of_a_file_can_be_asked_for() -> None:
    async def main() -> None:
        async with serving() as client:
            url = await link(client)
            async with client.session.head(url) as response:
                assert response.status == 200
                assert int(response.headers["Content-Length"]) == len((await client.fetch(url)).body)

    run_virtual(main)


def test_downloads_are_no_api_requests() -> None:
    async def main() -> None:
        async with serving() as client:
            url = await link(client)
            before = len(client.sandbox.world.request_stamps)
            await client.fetch(url)
            assert len(client.sandbox.world.request_stamps) == before

    run_virtual(main)


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-9", Part(0, 9, 100)),
        ("bytes=90-", Part(90, 99, 100)),
        ("bytes=90-500", Part(90, 99, 100)),
        ("bytes=-10", Part(90, 99, 100)),
        ("bytes=-500", Part(0, 99, 100)),
        ("bytes=-", None),
        ("bytes=9-3", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        (None, None),
    ],
)
def test_ranges_are_read_as_the_rfc_says(header: str | None, part: Part | None) -> None:
    assert wanted_part(header, None, '"t"', 100) == part


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_behind_the_end_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(UnsatisfiableError):
        wanted_part(header, None, '"t"', 100)


@given(size=st.integers(1, 50), first=st.integers(0, 60), last=st.integers(0, 60))
def test_a_part_never_leaves_the_file(size: int, first: int, last: int) -> None:
    try:
        part = wanted_part(f"bytes={first}-{last}", None, '"t"', size)
    except UnsatisfiableError:
        assert first >= size
    else:
        assert part == (Part(first, min(last, size - 1), size) if first <= last else None)
