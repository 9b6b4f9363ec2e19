"""The API's address, checked once, so that keys can only ever travel to it, and never in the clear."""

from __future__ import annotations

from ipaddress import ip_address

from yarl import URL

from batch_runner.errors import UsageError


def api_origin(base_url: str) -> URL:
    """The scheme, host and port of the API.

    Raises:
        UsageError: it is no plain ``https`` address; ``http`` is for a test server on this machine only.
    """
    url = _parsed(base_url.strip())
    if url is None or url.scheme not in {"http", "https"} or not url.host:
        raise UsageError("the base URL is not an address such as https://api-singapore.klingai.com")
    if url.user or url.password or url.raw_query_string or url.raw_fragment or url.raw_path.strip("/"):
        raise UsageError("the base URL must be scheme, host and port alone, without path, query or password")
    if url.scheme == "http" and not is_loopback(url.host):
        raise UsageError("the base URL must begin with https://; http:// is for a test server on this machine")
    return url.origin()


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _parsed(text: str) -> URL | None:
    try:
        return URL(text)
    except ValueError:
        return None
