"""Faults on order: what may go wrong with a request, how often, and which one comes next.

Draws depend on the seed, the class of the request and its number within the class, nothing else.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random


class RequestClass(StrEnum):
    """Requests are counted, and faults drawn, per class."""

    CREATE = "create"
    QUERY = "query"
    LIST = "list"
    ACCOUNT = "account"
    DOWNLOAD = "download"
    CALLBACK = "callback"


class Fault(StrEnum):
    """What can go wrong; the names are also the words of ``FaultPlan.script``."""

    RESET_BEFORE = "reset_before"
    """The connection is reset; the service did nothing."""
    SERVER_ERROR_BEFORE = "server_error_before"
    """500/5000; the service did nothing."""
    RATE_429 = "rate_429"
    """429 with ``Retry-After: 1`` and no code in the body; the service did nothing."""
    SLOW = "slow"
    """The service acts at once and answers ``slow_s`` later; a download stalls that long half-way."""
    LOST_ANSWER = "lost_answer"
    """The service acts and the connection closes without an answer."""
    SERVER_ERROR_AFTER = "server_error_after"
    """The service acts and answers 500/5000."""
    HTML_200 = "html_200"
    """The service acts; somebody on the way answers 200 with a page of HTML."""
    CUT_ANSWER = "cut_answer"
    """The service acts; the body of its answer ends half-way."""
    OTHER_ANSWER = "other_answer"
    """The service acts; the answer is what an earlier request of the class got, or 500/5000 where there was none."""
    CUT_DOWNLOAD = "cut_download"
    """The body ends half-way."""
    HTML_DOWNLOAD = "html_download"
    """200 with a page of HTML."""
    RANGE_IGNORED = "range_ignored"
    """A wish for a part gets 200 and the whole."""
    ETAG_CHANGED = "etag_changed"
    """The file bears another entity tag than before."""
    EXPIRED_LINK = "expired_link"
    """403, as if the link had run out."""
    CALLBACK_LOST = "callback_lost"
    """A callback is never made."""
    CALLBACK_TWICE = "callback_twice"
    """A callback is made twice."""
    CALLBACK_LATE = "callback_late"
    """A callback is made after the next one of its task, or ``slow_s`` later when it is the last."""


_API = frozenset(
    {
        Fault.RESET_BEFORE,
        Fault.SERVER_ERROR_BEFORE,
        Fault.RATE_429,
        Fault.SLOW,
        Fault.LOST_ANSWER,
        Fault.SERVER_ERROR_AFTER,
        Fault.HTML_200,
        Fault.CUT_ANSWER,
        Fault.OTHER_ANSWER,
    }
)
_CALLBACK = frozenset({Fault.CALLBACK_LOST, Fault.CALLBACK_TWICE, Fault.CALLBACK_LATE})
_DOWNLOAD = frozenset(Fault) - _API - _CALLBACK | {Fault.SLOW, Fault.RESET_BEFORE}

POSSIBLE: Mapping[RequestClass, frozenset[Fault]] = {
    **dict.fromkeys(RequestClass, _API),
    RequestClass.DOWNLOAD: _DOWNLOAD,
    RequestClass.CALLBACK: _CALLBACK,
}
"""Which faults make sense for which requests."""


_NAMED: Mapping[RequestClass, Sequence[Fault]] = {
    RequestClass.DOWNLOAD: (
        Fault.CUT_DOWNLOAD,
        Fault.HTML_DOWNLOAD,
        Fault.RANGE_IGNORED,
        Fault.ETAG_CHANGED,
        Fault.EXPIRED_LINK,
        Fault.SLOW,
    ),
    RequestClass.CALLBACK: (Fault.CALLBACK_LOST, Fault.CALLBACK_TWICE, Fault.CALLBACK_LATE),
}
"""Classes whose faults are shares of their own, in the order in which they are drawn."""


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Which faults to inject; the default is none.

    Attributes:
        seed: decides the draws.
        lost_answer, reset_before, server_error_before, server_error_after, html_200: shares of creates.
        read_error: share of queries and lists that meet a 5xx or a reset, half of each.
        cut_answer, other_answer: shares of creates, queries and lists.
        rate_429: share of all API requests.
        slow: share of all requests but callbacks.
        slow_s: how long a slow one takes.
        cut_download, html_download, range_ignored, etag_changed, expired_link: shares of downloads.
        callback_lost, callback_twice, callback_late: shares of callbacks.
        script: by request class, the faults of its first requests in order, ``""`` for none; rates
            apply after its end. Unknown or unfitting names raise ValueError.
    """

    seed: int = 0
    lost_answer: float = 0.0
    reset_before: float = 0.0
    server_error_before: float = 0.0
    server_error_after: float = 0.0
    html_200: float = 0.0
    read_error: float = 0.0
    cut_answer: float = 0.0
    other_answer: float = 0.0
    rate_429: float = 0.0
    slow: float = 0.0
    slow_s: float = 30.0
    cut_download: float = 0.0
    html_download: float = 0.0
    range_ignored: float = 0.0
    etag_changed: float = 0.0
    expired_link: float = 0.0
    callback_lost: float = 0.0
    callback_twice: float = 0.0
    callback_late: float = 0.0
    script: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, words in self.script.items():
            possible = POSSIBLE[RequestClass(name)]
            for word in words:
                if word and Fault(word) not in possible:
                    raise ValueError(f"{word} cannot happen to a {name}")

    def rates(self, request_class: RequestClass) -> Sequence[tuple[Fault, float]]:
        """The faults of a class and their shares, in a fixed order."""
        if request_class in _NAMED:
            return [(fault, getattr(self, fault)) for fault in _NAMED[request_class]]
        common = [(Fault.RATE_429, self.rate_429), (Fault.SLOW, self.slow)]
        return common + self._api_rates(request_class)

    def _api_rates(self, request_class: RequestClass) -> list[tuple[Fault, float]]:
        if request_class is RequestClass.ACCOUNT:
            return []
        mangled = [(Fault.CUT_ANSWER, self.cut_answer), (Fault.OTHER_ANSWER, self.other_answer)]
        if request_class is RequestClass.CREATE:
            return [
                *mangled,
                (Fault.LOST_ANSWER, self.lost_answer),
                (Fault.RESET_BEFORE, self.reset_before),
                (Fault.SERVER_ERROR_BEFORE, self.server_error_before),
                (Fault.SERVER_ERROR_AFTER, self.server_error_after),
                (Fault.HTML_200, self.html_200),
            ]
        half = self.read_error / 2
        return [*mangled, (Fault.SERVER_ERROR_BEFORE, half), (Fault.RESET_BEFORE, half)]


class Faults:
    """A plan at work.

    Attributes:
        injected: how often each fault came up.
    """

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.injected: Counter[Fault] = Counter()
        self._seen: dict[RequestClass, int] = defaultdict(int)

    def draw(self, request_class: RequestClass) -> Fault | None:
        """The fate of the next request of a class."""
        number = self._seen[request_class]
        self._seen[request_class] += 1
        fault = self._chosen(request_class, number)
        if fault is not None:
            self.injected[fault] += 1
        return fault

    def _chosen(self, request_class: RequestClass, number: int) -> Fault | None:
        script = self.plan.script.get(request_class, ())
        if number < len(script):
            return Fault(script[number]) if script[number] else None
        mark = Random(f"{self.plan.seed}:{request_class}:{number}").random()
        for fault, share in self.plan.rates(request_class):
            if mark < share:
                return fault
            mark -= share
        return None
