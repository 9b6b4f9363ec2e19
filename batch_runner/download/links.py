"""Which links may be followed: only public https ones, whatever a server's answer says."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from yarl import URL

from batch_runner.download.failures import BadLink

_MAX_LINK_CHARS = 8192
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

_IP = ipaddress.IPv4Address | ipaddress.IPv6Address

_CONNECT_S = 15.0
_SILENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """Which links may be fetched.

    Attributes:
        allow_local: the API itself is a test server on this machine, so plain http and loopback addresses
            are fine too; private networks never are.
    """

    allow_local: bool = False

    def check(self, url: str) -> None:
        """Raise ``BadLink`` unless the link may be fetched (names are checked again when resolved)."""
        self.parsed(url)

    def parsed(self, url: str) -> URL:
        """The link, checked and byte for byte as signed. Raises ``BadLink``."""
        link = _parse(url)
        if link.scheme != "https" and not (self.allow_local and link.scheme == "http"):
            raise BadLink(f"a link of the scheme {link.scheme[:20]!r} is not followed")
        if link.raw_user is not None or link.raw_password is not None:
            raise BadLink("a link that carries a user name is not followed")
        self._check_host(link.raw_host or "")
        return link

    def check_address(self, host: str, address: str) -> None:
        """Raise ``BadLink`` unless ``address``, to which ``host`` resolved, may be connected to."""
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            raise BadLink(f"{host} has no usable address") from None
        if not (_is_public(ip) or (self.allow_local and ip.is_loopback)):
            raise BadLink(f"{host} is not a public address, so the link is not followed")

    def _check_host(self, host: str) -> None:
        name = host.rstrip(".").lower()
        if not name:
            raise BadLink("a link without a host is not followed")
        if ":" in name or name.replace(".", "").isdigit():
            # Odd spellings such as 2130706433 or 127.1 fail here, which is wanted: some resolvers take them.
            self.check_address(host, host)
        elif (name == "localhost" or name.endswith(".localhost")) and not self.allow_local:
            raise BadLink(f"{host} is this machine, so the link is not followed")


def _parse(url: str) -> URL:
    if len(url) > _MAX_LINK_CHARS or _UNSAFE.search(url):
        raise BadLink("the link is malformed")
    try:
        # Re-quoting could change what was signed; only a link that needs quoting gets it.
        link = URL(url, encoded=url.isascii())
        _ = link.explicit_port  # an already quoted link is only split, and found wrong, when it is looked at
    except ValueError:
        raise BadLink("the link is malformed") from None
    return link


def _is_public(ip: _IP) -> bool:
    if isinstance(ip, ipaddress.IPv6Address):
        inner = _embedded(ip)
        if inner is not None:
            return _is_public(inner)
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a packet to this IPv6 address would end at, if it is such a one."""
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    teredo_client = ip.teredo[1] if ip.teredo else None
    return ip.ipv4_mapped or ip.sixtofour or teredo_client


class PublicResolver(AbstractResolver):
    """Resolves names as usual and refuses those that lead into a private network.

    The connection is made to the very addresses checked here, so a name that changes its answer between
    check and use gains nothing.
    """

    def __init__(self, policy: LinkPolicy, inner: AbstractResolver | None = None) -> None:
        self._policy = policy
        self._inner = inner or DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of ``host``. Raises ``BadLink`` if any of them is off limits."""
        results = await self._inner.resolve(host, port, family)
        for result in results:
            self._policy.check_address(host, result["host"])
        return results

    async def close(self) -> None:
        """Release the wrapped resolver."""
        await self._inner.close()


def open_download_session(policy: LinkPolicy, *, resolver: AbstractResolver | None = None) -> aiohttp.ClientSession:
    """A session for result links alone: no API header or cookie can reach them through it.

    Must be called inside a running loop; close it as any session. Bodies arrive as sent, undecoded.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=PublicResolver(policy, resolver)),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity", "User-Agent": "batch-runner"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S),
        auto_decompress=False,
        trust_env=False,
    )
