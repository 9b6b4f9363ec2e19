"""Answers that went wrong on the wire: what stands between the simulated service and whoever asked."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from fuzz_kit import texts, values
from hypothesis import strategies as st

from batch_runner.sandbox.app import make_app

KINDS = ("create", "read", "account", "download")
"""What an answer answers: a create, a query or list, a question about the account, or for a file."""

_PAGE = b"<!doctype html><html><body><h1>Please stand by</h1></body></html>"
_JUNK = (
    *(b"", b" ", b"null", b"[]", b"{}", b"0", b'"code"', b"\xff\xfe\x00", b"\xef\xbb\xbf{}", _PAGE),
    *(b"[" * 3000, b'{"code":' * 300, b'{"code":0,"data":' + b"9" * 5000 + b"}", b'{"code":0,"data":NaN}'),
    *(b'{"code":0,"data":{"task_id":1e999999}}', b'{"code":0,"data":{"task_id":"\\ud800"}}', b'{"code":0}'),
)
_LINKS = (
    *("", " ", "clip.mp4", "file:///etc/passwd", "http://169.254.169.254/latest", "https://10.0.0.1/clip.mp4"),
    *("javascript:alert(1)", "//[::1", "http://[::1", "https://user:word@10.0.0.1/a.mp4", "http://127.0.0.1:99999/"),
    *("ftp://127.0.0.1/clip.mp4", "data:video/mp4;base64,AAAA", "http://127.0.0.1:1/\r\nX: y", "https://\udcff/a.mp4"),
)
_ODD = st.one_of(
    values(),
    texts,
    st.sampled_from([None, True, -1, 0, 10**18, 10**30, 1e308, float("nan"), float("inf"), "9" * 400, [[]], {"": {}}]),
    st.sampled_from(_LINKS),
)
_STATUSES = (201, 204, 206, 301, 307, 400, 404, 405, 409, 418, 500, 502, 503, 504)
_HEADERS: tuple[tuple[str, str], ...] = (
    (hdrs.CONTENT_TYPE, "text/html"),
    (hdrs.CONTENT_TYPE, "application/octet-stream; charset=\x80"),
    (hdrs.CONTENT_ENCODING, "gzip"),
    (hdrs.CONTENT_ENCODING, "br"),
    (hdrs.CONTENT_RANGE, "bytes 5-9/10"),
    (hdrs.CONTENT_RANGE, "bytes */*"),
    (hdrs.ETAG, '"another"'),
    (hdrs.LOCATION, "http://169.254.169.254/"),
    (hdrs.LOCATION, "file:///etc/passwd"),
    (hdrs.DATE, "yesterday"),
    (hdrs.RETRY_AFTER, "99999999999999999999"),
    (hdrs.RETRY_AFTER, "-1"),
    (hdrs.SET_COOKIE, "a=" + "b" * 5000),
)


@dataclass(frozen=True)
class Damage:
    """What happens to one answer; ``place`` says where in it, as a share of the whole."""

    how: str
    place: float = 0.0
    value: Any = None

    def done_to(self, response: web.Response, earlier: bytes | None) -> web.Response:
        """The answer that arrives instead."""
        body = response.body if isinstance(response.body, bytes) else b""
        status, headers = response.status, dict(response.headers)
        headers.pop(hdrs.CONTENT_LENGTH, None)
        if self.how == "status":
            status = self.value
        elif self.how == "header":
            headers[self.value[0]] = self.value[1]
        else:
            body = self._body(body, earlier)
        return web.Response(status=status, headers=headers, body=body)

    def _body(self, body: bytes, earlier: bytes | None) -> bytes:
        at = int(self.place * len(body))
        changed: dict[str, Callable[[], bytes]] = {
            "cut": lambda: body[:at],
            "insert": lambda: body[:at] + self.value + body[at:],
            "append": lambda: body + self.value,
            "instead": lambda: bytes(self.value),
            "earlier": lambda: body if earlier is None else earlier,
            "encoded": lambda: body.decode("utf-8", "replace").encode(self.value),
        }
        return changed[self.how]() if self.how in changed else self._value_changed(body)

    def _value_changed(self, body: bytes) -> bytes:
        """The same JSON, of which one value is another, stands elsewhere, twice, or is not there."""
        document = json.loads(body)
        spots = list(_spots(document))
        if not spots:
            return body
        parent, key = spots[int(self.place * len(spots))]
        if self.how == "drop":
            del parent[key]
        elif self.how == "wrap":
            parent[key] = [parent[key]]
        elif self.how == "text":
            parent[key] = str(parent[key])
        elif self.how == "long":
            parent[key] = "x" * 1_000_000
        elif self.how == "twice" and isinstance(parent, list):
            parent.insert(0, parent[key])
        else:
            parent[key] = self.value
        return json.dumps(document).encode()


def _spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value at which something stands."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        yield value, key
        yield from _spots(inner)


_PLACES = st.floats(0, 1, exclude_max=True, width=32)
_of_texts = st.one_of(
    st.builds(Damage, st.sampled_from(["cut", "drop", "wrap", "text", "twice", "long"]), _PLACES),
    st.builds(Damage, st.just("change"), _PLACES, _ODD),
    st.builds(Damage, st.just("change"), _PLACES, _ODD),
    st.builds(Damage, st.just("insert"), _PLACES, st.binary(min_size=1, max_size=4)),
    st.builds(Damage, st.just("instead"), st.just(0.0), st.sampled_from(_JUNK)),
    st.builds(Damage, st.just("encoded"), st.just(0.0), st.sampled_from(["utf-16", "utf-32", "utf-8-sig"])),
    st.builds(Damage, st.just("append"), st.just(0.0), st.sampled_from([b"{}", b"\x00", b',"data":1}', _PAGE])),
    st.just(Damage("earlier")),
    st.builds(Damage, st.just("status"), st.just(0.0), st.sampled_from(_STATUSES)),
    st.builds(Damage, st.just("header"), st.just(0.0), st.sampled_from(_HEADERS)),
)
_of_files = st.one_of(
    st.builds(Damage, st.just("cut"), _PLACES),
    st.builds(Damage, st.just("instead"), st.just(0.0), st.sampled_from(_JUNK)),
    st.builds(Damage, st.just("append"), st.just(0.0), st.sampled_from([b"\x00", _PAGE, b"x" * 500])),
    st.builds(Damage, st.just("status"), st.just(0.0), st.sampled_from(_STATUSES)),
    st.builds(Damage, st.just("header"), st.just(0.0), st.sampled_from(_HEADERS)),
)
Plan = Mapping[str, list[Damage | None]]
"""By kind, what happens to its first answers; None is nothing."""


def plans(most: int = 4) -> st.SearchStrategy[Plan]:
    """Damage to some of the first answers of each kind."""

    answers = st.lists(st.one_of(st.none(), _of_texts, _of_texts), max_size=most)
    # What arrives twice the same way is what the service made: nobody could tell that it is not.
    files = st.lists(st.one_of(st.none(), _of_files), max_size=most, unique_by=_kind_of_damage)
    return st.fixed_dictionaries({kind: files if kind == "download" else answers for kind in KINDS})


def _kind_of_damage(damage: Damage | None) -> object:
    return damage if damage is None or damage.how != "cut" else "cut"


class Wire:
    """Does to answers what a plan says.

    Attributes:
        done: how often each damage was done, by kind and name.
    """

    def __init__(self, plan: Plan) -> None:
        self._left = {kind: deque(damages) for kind, damages in plan.items()}
        self._earlier: dict[str, bytes] = {}
        self.done: Counter[str] = Counter()

    def mend(self) -> None:
        """From now on every answer arrives as it was given."""
        self._left.clear()

    def damage(self, plan: Plan) -> None:
        """Do from now on what another plan says."""
        self._left = {kind: deque(damages) for kind, damages in plan.items()}

    @contextmanager
    def before(self) -> Iterator[None]:
        """Every sandbox that is made within answers through here."""
        with pytest.MonkeyPatch.context() as patch:

            @web.middleware
            async def passed(request: web.Request, handler: Handler) -> web.StreamResponse:
                return self._passed(request, await handler(request))

            def made(*args: Any) -> web.Application:
                app = make_app(*args)
                app.middlewares.append(passed)
                return app

            patch.setattr("batch_runner.sandbox.server.make_app", made)
            yield

    def _passed(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        if not isinstance(response, web.Response):
            return response
        kind = _kind_of(request)
        damages = self._left.get(kind)
        damage = damages.popleft() if damages else None
        earlier = self._earlier.get(kind)
        self._earlier[kind] = response.body if isinstance(response.body, bytes) else b""
        if damage is None:
            return response
        self.done[f"{kind} {damage.how}"] += 1
        return damage.done_to(response, earlier)


def _kind_of(request: web.Request) -> str:
    if request.path.startswith("/cdn/"):
        return "download"
    if request.path.startswith("/account"):
        return "account"
    return "create" if request.method == hdrs.METH_POST and request.path != "/tasks" else "read"


def names(done: Iterable[str]) -> set[str]:
    """The kinds that met damage."""
    return {each.split(" ")[0] for each in done}
