"""Which links are followed, by spelling and by what their names resolve to."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from download_kit import LOCAL, SECRET
from hypothesis import given
from hypothesis import strategies as st

from batch_runner.download import BadLink, LinkPolicy, PublicResolver, open_download_session

STRICT = LinkPolicy(allow_local=False)


class _Book(AbstractResolver):
    """A resolver that knows the addresses it was given, and nothing else."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.is_closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.addresses
        ]

    async def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(
    "url",
    [
        "https://p1-kling.klingai.com/bs2/a.mp4?x-kcdn-pid=112452",
        "https://8.8.8.8/a.mp4",
        "https://[2001:4860:4860::8888]:8443/a.mp4",
        "https://[64:ff9b::808:808]/a.mp4",
        "https://bücher.example/a b.mp4".replace(" ", "%20"),
    ],
)
def test_public_https_links_are_followed(url: str) -> None:
    STRICT.check(url)
    LOCAL.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.mp4",
        "//cdn.example/a.mp4",
        "https://",
        "https:///a.mp4",
        "file:///etc/passwd",
        "ftp://cdn.example/a.mp4",
        "data:video/mp4;base64,AAAA",
        "https://user:word@cdn.example/a.mp4",
        "https://user@cdn.example/a.mp4",
        "https://:word@cdn.example/a.mp4",
        "https://10.0.0.1/a.mp4",
        "https://172.16.5.5/a.mp4",
        "https://192.168.1.1/a.mp4",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/a.mp4",
        "https://0.0.0.0/a.mp4",
        "https://224.0.0.1/a.mp4",
        "https://240.0.0.1/a.mp4",
        "https://255.255.255.255/a.mp4",
        "https://[fe80::1]/a.mp4",
        "https://[fe80::1%25eth0]/a.mp4",
        "https://[fc00::1]/a.mp4",
        "https://[ff02::1]/a.mp4",
        "https://[::]/a.mp4",
        "https://[::ffff:10.0.0.1]/a.mp4",
        "https://[64:ff9b::a00:1]/a.mp4",
        "https://[2002:a00:1::]/a.mp4",
        "https://2130706433/a.mp4",
        "https://10.1/a.mp4",
        "https://cdn.example:99999/a.mp4",
        "https://cdn.example/a b.mp4",
        "https://cdn.example/a\r\nHost: b",
        "https://cdn.example\\@10.0.0.1/",
        "https://cdn.example/" + "a" * 9000,
    ],
)
def test_other_links_are_never_followed(url: str) -> None:
    for policy in (STRICT, LOCAL):
        with pytest.raises(BadLink):
            policy.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/a.mp4",
        "http://localhost:8080/a.mp4",
        "https://127.8.9.1/a.mp4",
        "https://[::1]/a.mp4",
        "https://files.localhost./a.mp4",
    ],
)
def test_this_machine_is_reached_only_when_the_api_is_a_local_test_server(url: str) -> None:
    LOCAL.check(url)
    with pytest.raises(BadLink):
        STRICT.check(url)


def test_plain_http_is_refused_unless_local() -> None:
    with pytest.raises(BadLink, match="http"):
        STRICT.check("http://cdn.example/a.mp4")


def test_a_signed_link_reaches_the_wire_byte_for_byte() -> None:
    url = "https://cdn.example/a%7Eb+c.mp4?sig=a%2Bb%2fc==&t=%E4%BD%A0"
    assert str(STRICT.parsed(url)) == url


@given(st.text(max_size=60), st.booleans())
def test_any_text_is_a_link_or_a_bad_link(text: str, is_local: bool) -> None:  # noqa: FBT001 - drawn
    for url in (text, f"https://{text}", f"https://{text}/a?{SECRET}"):
        try:
            LinkPolicy(allow_local=is_local).check(url)
        except BadLink as error:
            assert SECRET not in str(error)  # noqa: PT017 - most texts raise, some do not


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "169.254.169.254", "fe80::1%eth0", "::1", "nonsense"])
def test_a_name_that_leads_into_a_private_network_is_refused(address: str) -> None:
    async def main() -> None:
        resolver = PublicResolver(STRICT, _Book("8.8.8.8", address))
        with pytest.raises(BadLink, match=r"cdn\.example"):
            await resolver.resolve("cdn.example", 443)

    asyncio.run(main())


def test_a_name_with_public_addresses_resolves() -> None:
    async def main() -> None:
        book = _Book("8.8.8.8", "2001:4860:4860::8888")
        resolver = PublicResolver(STRICT, book)
        assert [found["host"] for found in await resolver.resolve("cdn.example", 443)] == list(book.addresses)
        await resolver.close()
        assert book.is_closed

    asyncio.run(main())


def test_a_local_policy_lets_names_lead_to_this_machine_but_not_beyond() -> None:
    async def main() -> None:
        assert await PublicResolver(LOCAL, _Book("127.0.0.1")).resolve("files.test")
        with pytest.raises(BadLink):
            await PublicResolver(LOCAL, _Book("192.168.0.7")).resolve("files.test")

    asyncio.run(main())


def test_the_session_itself_refuses_a_name_that_turns_private_between_check_and_use() -> None:
    async def main() -> None:
        async with open_download_session(STRICT, resolver=_Book("10.0.0.1")) as session:
            with pytest.raises(BadLink):
                await session.get(f"https://cdn.example/a.mp4?{SECRET}")

    asyncio.run(main())
