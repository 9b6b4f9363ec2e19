"""Opens the HTTP session for API calls. Downloads use a session of their own, which knows no key."""

from __future__ import annotations

import aiohttp

from batch_runner.kling.address import api_origin

KEEPALIVE_S = 15.0
"""Well below the 60 s and more after which servers close idle connections, so that few creates meet one."""


def open_session(base_url: str) -> aiohttp.ClientSession:
    """A session for ``KlingClient``; close it with ``async with``. Raises UsageError for a bad address.

    Proxies named in the environment are used, as studios expect: over https the proxy only ever sees a
    tunnel. A test server on this machine is asked directly, since plain http would show a proxy the key.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(keepalive_timeout=KEEPALIVE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=api_origin(base_url).scheme == "https",
    )
