"""One HTTP exchange with the API: sent at most once, bounded in time and size, its troubles in words."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp import hdrs
from yarl import URL

from batch_runner.kling.address import api_origin
from batch_runner.kling.auth import TokenSource

CONNECT_TIMEOUT_S = 15.0
"""Some networks need longer than the vendor's own 5 s (kling-api 9, item 8)."""
_CHUNK_BYTES = 64 * 1024
_KEPT_HEADERS = (hdrs.DATE, hdrs.RETRY_AFTER)


class NotConnectedError(Exception):
    """No connection came about: no byte of the request reached the API."""


class LostError(Exception):
    """The request may have reached the API, and no usable answer came back."""


class _ConnectionLostError(aiohttp.ClientError):
    """Stands in for the errors upon which aiohttp would send a GET a second time, unseen by the gate."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``headers`` holds only ``Date`` and ``Retry-After``."""

    http_status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Sends requests to one API origin with the account's authorization.

    Args:
        session: see ``open_session``; any session is safe, for nothing here relies on its settings.
        base_url: the API's address. Raises UsageError if it is not fit for keys.
        tokens: the authorization.
        max_body_bytes: a longer answer is given up.
    """

    def __init__(self, session: aiohttp.ClientSession, base_url: str, tokens: TokenSource, max_body_bytes: int) -> None:
        self._session = session
        self._origin = api_origin(base_url)
        self._tokens = tokens
        self._max_body_bytes = max_body_bytes

    async def exchange(self, method: str, path: str, body: bytes | None, timeout_s: float) -> Answer:
        """Send one request and read its answer, whatever its status.

        Args:
            method: the HTTP method.
            path: begins with a slash, is percent-encoded already, and may have a query.
            body: JSON, or None.
            timeout_s: for everything from the connection to the answer's last byte.

        Raises:
            NotConnectedError, LostError: see there; their text is safe to show.
        """
        try:
            return await self._exchange(method, path, body, timeout_s)
        except (aiohttp.ClientError, OSError) as exc:
            trouble = explained(exc, timeout_s)
        # Raised out here: aiohttp's exceptions carry the request's headers and must not stay attached.
        raise trouble

    async def _exchange(self, method: str, path: str, body: bytes | None, timeout_s: float) -> Answer:
        async with self._session.request(
            method,
            self._url(path),
            # aiohttp wants large bodies as files, so that it can write them piece by piece.
            data=None if body is None else io.BytesIO(body),
            headers={} if body is None else {hdrs.CONTENT_TYPE: "application/json"},
            allow_redirects=False,
            raise_for_status=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s, connect=CONNECT_TIMEOUT_S),
            middlewares=(self._authorized_once,),
        ) as response:
            headers = {str(name): response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
            return Answer(response.status, headers, await self._read(response))

    def _url(self, path: str) -> URL:
        if not path.startswith("/"):
            raise ValueError("a path begins with a slash")
        return URL(f"{self._origin}{path}", encoded=True)

    async def _authorized_once(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Add the authorization, and keep aiohttp from sending a GET again behind the gate's back."""
        # Set here and not in the call: an entry in ~/.netrc would clash with it there.
        request.headers[hdrs.AUTHORIZATION] = self._tokens.authorization()
        try:
            return await handler(request)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            pass
        raise _ConnectionLostError

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            body += chunk
            if len(body) > self._max_body_bytes:
                response.close()
                raise aiohttp.ClientPayloadError
        return bytes(body)


def explained(exc: aiohttp.ClientError | OSError, timeout_s: float) -> NotConnectedError | LostError:
    """What happened and what to check, in our own words: those of an exception may hold headers or a signed URL."""
    for kind, words in _NO_CONNECTION:
        if isinstance(exc, kind):
            return NotConnectedError(f"no connection to the API: {words.format(errno=_errno_words(exc))}")
    for kind, words in _NO_ANSWER:
        if isinstance(exc, kind):
            return LostError(words.format(timeout_s=timeout_s))
    return LostError(f"the exchange with the API broke off ({type(exc).__name__})")


def _errno_words(exc: Exception) -> str:
    number = getattr(getattr(exc, "os_error", None), "errno", None)
    return f" ({os.strerror(number)})" if isinstance(number, int) and number > 0 else ""


_ADDRESS = "check the base URL and the network"
_NO_CONNECTION: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ClientConnectorDNSError, f"its name could not be resolved; {_ADDRESS}"),
    (
        aiohttp.ClientConnectorCertificateError,
        "its certificate is not trusted; check the base URL and the clock",
    ),
    (aiohttp.ClientConnectorSSLError, f"no secure connection came about; {_ADDRESS}"),
    (aiohttp.ClientProxyConnectionError, "the proxy could not be reached{errno}"),
    (aiohttp.ClientHttpProxyError, "the proxy refused"),
    (aiohttp.ClientConnectorError, f"it could not be reached{{errno}}; {_ADDRESS}"),
    (aiohttp.ConnectionTimeoutError, f"none within {CONNECT_TIMEOUT_S:.0f} s; {_ADDRESS}"),
)
_NO_ANSWER: tuple[tuple[type[Exception], str], ...] = (
    (_ConnectionLostError, "the connection was lost before the answer"),
    (TimeoutError, "no complete answer within {timeout_s:.0f} s"),
    (aiohttp.ClientPayloadError, "the answer was cut short or too long"),
    (aiohttp.ClientResponseError, "the answer was not valid HTTP"),
)
