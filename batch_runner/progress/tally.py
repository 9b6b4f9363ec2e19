"""Where a run stands and how long it may still take, from its events alone. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from batch_runner.events import Balance, BatchStarted, Event, InFlight, ItemFinished, ItemSubmitted
from batch_runner.inert import inert
from batch_runner.model import Pack
from batch_runner.records import credits_text
from batch_runner.wording import by_count

_NAME_LIMIT = 160
_MINUTE_S = 60
_HOUR_S = 3600


def _duration_text(seconds: float) -> str:
    """A length of time in two words at most: ``45 s``, ``4 min``, ``2 h 05 min``."""
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    hours, rest = divmod(int(seconds), _HOUR_S)
    return f"{hours} h {rest // _MINUTE_S:02d} min"


def _pack_text(pack: str, figure: Decimal) -> str:
    noun = by_count(figure, "credit", "credits")
    return noun if pack == Pack.VIDEO else f"{pack} {noun}"


@dataclass(slots=True)
class Tally:
    """The figures of a run; ``now_s`` is any clock that only moves forward."""

    """Where a run stands, from its events alone."""

    now_s: Callable[[], float]
    batch: str = ""
    sandbox: bool = False
    total: int = 0
    settled: int = 0
    left_over: int = 0
    failed: int = 0
    in_flight: int = 0
    peak: int = 1
    balances: dict[str, Balance] = field(default_factory=dict)
    begun_at_s: dict[str, float] = field(default_factory=dict)
    timed: int = 0
    timed_s: float = 0.0

    def note(self, event: Event) -> None:
        """Take an event into account."""
        match event:
            case BatchStarted():
                self.batch, self.sandbox = inert(event.batch, _NAME_LIMIT), event.sandbox
                self.total, self.settled = event.total, event.done
            case ItemSubmitted():
                self.begun_at_s[event.item] = self.now_s()
            case ItemFinished():
                self._note_finished(event)
            case Balance():
                self.balances[event.pack] = event
            case InFlight():
                self.in_flight = event.count
                self.peak = max(self.peak, event.count)
            case _:
                pass

    def _note_finished(self, event: ItemFinished) -> None:
        if event.status in {"succeeded", "failed"}:
            self.settled += 1
        else:
            self.left_over += 1
        self.failed += event.status == "failed"
        begun_at_s = self.begun_at_s.pop(event.item, None)
        if begun_at_s is not None:
            self.timed += 1
            self.timed_s += self.now_s() - begun_at_s

    @property
    def title(self) -> str:
        """The batch's name, marked when nothing about it is real."""
        return f"SIMULATED {self.batch}" if self.sandbox else self.batch

    def time_left_s(self) -> float | None:
        """Seconds to go: the work that is left, shared among the slots that have been in use."""
        remaining = self.total - self.settled - self.left_over
        if not self.timed or remaining <= 0:
            return None
        mean_s, now_s = self.timed_s / self.timed, self.now_s()
        under_way_s = sum(min(now_s - begun, mean_s) for begun in self.begun_at_s.values())
        return max(remaining * mean_s - under_way_s, 0.0) / min(self.peak, remaining)

    def facts(self) -> list[str]:
        """What there is to say, in the order of its weight."""
        facts = [f"{self.in_flight} in flight"]
        if self.failed:
            facts.append(f"{self.failed} failed")
        facts += [self._balance_text(balance) for _, balance in sorted(self.balances.items(), reverse=True)]
        left_s = self.time_left_s()
        return facts if left_s is None else [*facts, f"about {_duration_text(left_s)} left"]

    @staticmethod
    def _balance_text(balance: Balance) -> str:
        of = "" if balance.budget is None else f" of {credits_text(balance.budget)}"
        held = f" (+{credits_text(balance.held)} held)" if balance.held else ""
        last = balance.held or balance.consumed if balance.budget is None else balance.budget
        return f"{credits_text(balance.consumed)}{of}{held} {_pack_text(balance.pack, last)}"
