"""The account's prepaid packs: what they hold, set aside and have paid, the slots they give, and when they lapse."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from batch_runner.model import Pack
from batch_runner.sandbox.config import DAY_S, PackConfig, WorldConfig
from batch_runner.sandbox.task import SandboxTask

_TOLD_VALID_S = 30 * DAY_S
_NOTHING = Decimal(0)
_WORDS = {Pack.VIDEO: "Video", Pack.IMAGE: "Image", Pack.TRY_ON: "TryOn"}


@dataclass(frozen=True, slots=True)
class PackState:
    """A prepaid pack as the account page tells it; times in wall seconds."""

    name: str
    pack_id: str
    pack: Pack
    total_credits: Decimal
    remaining_credits: Decimal
    purchased_at_s: float
    invalid_at_s: float
    status: str


@dataclass(frozen=True, slots=True)
class Deduction:
    """What a pack paid for a task, and when."""

    task: SandboxTask
    name: str
    pack_id: str
    credits: Decimal
    before: Decimal
    after: Decimal
    at_s: float


class _Purse:
    """One pack at work."""

    def __init__(self, config: PackConfig, pack_id: str) -> None:
        self.config = config
        self.pack_id = pack_id
        self.held = self.charged = _NOTHING

    @property
    def name(self) -> str:
        config = self.config
        units = f"{config.credits.normalize():f}"
        made_up = f"Sandbox-{_WORDS[config.pack]}-{units}Units-{config.max_concurrent}Con-1Months"
        return config.name or made_up

    @property
    def remaining(self) -> Decimal:
        return self.config.credits - self.charged

    @property
    def free(self) -> Decimal:
        return self.remaining - self.held

    def times(self, opened_at_s: float, now_s: float) -> tuple[float, float]:
        """When it begins and ends; one that never lapses is told to last another month."""
        begins_s = opened_at_s if self.config.bought_at_s is None else self.config.bought_at_s
        valid_s = self.config.valid_s
        return begins_s, now_s + _TOLD_VALID_S if valid_s is None else begins_s + valid_s

    def status(self, opened_at_s: float, now_s: float) -> str:
        begins_s, ends_s = self.times(opened_at_s, now_s)
        if now_s < begins_s:
            return "toBeOnline"
        if now_s >= ends_s:
            return "expired"
        return "online" if self.remaining > 0 else "runOut"


class Purses:
    """All packs of the account.

    Attributes:
        deductions: every payment, oldest first.
    """

    def __init__(self, config: WorldConfig) -> None:
        self.deductions: list[Deduction] = []
        self._purses = [
            _Purse(pack, hashlib.sha256(f"pack:{config.seed}:{number}".encode()).hexdigest()[:32])
            for number, pack in enumerate(config.all_packs())
        ]
        self._held: dict[str, list[tuple[_Purse, Decimal]]] = {}
        self._opened_at_s = float("inf")

    def open_at(self, now_s: float) -> None:
        """The account is used at that moment; packs without a date of their own begin with its first use."""
        self._opened_at_s = min(self._opened_at_s, now_s)

    def _active(self, pack: Pack, now_s: float) -> list[_Purse]:
        """The packs of a currency that can pay, soonest to lapse first."""
        own = [purse for purse in self._purses if purse.config.pack is pack]
        usable = [purse for purse in own if purse.status(self._opened_at_s, now_s) in {"online", "runOut"}]
        return sorted(usable, key=lambda purse: purse.times(self._opened_at_s, now_s)[1])

    def can_pay(self, pack: Pack, credits_due: Decimal, now_s: float) -> bool:
        """Whether the packs of a currency together hold that much beyond what is set aside."""
        active = self._active(pack, now_s)
        return bool(active) and credits_due <= sum((purse.free for purse in active), _NOTHING)

    def slots(self, pack: Pack, now_s: float) -> int:
        """The slots of a currency: the highest number of its packs, not their sum."""
        return max((purse.config.max_concurrent for purse in self._active(pack, now_s)), default=0)

    def hold(self, task: SandboxTask) -> None:
        """Set a task's price aside."""
        parts: list[tuple[_Purse, Decimal]] = []
        due = task.credits
        usable = self._active(task.pack, task.created_at_s) or self._purses
        for purse in usable:
            part = due if purse is usable[-1] else min(due, purse.free)
            if part or purse is usable[-1]:
                parts.append((purse, part))
                purse.held += part
                due -= part
        self._held[task.task_id] = parts

    def settle(self, task: SandboxTask) -> None:
        """Take a task's price for good when it is due, else give it back."""
        is_due = task.charged_at(task.ended_at_s) > 0
        for purse, part in self._held.pop(task.task_id):
            purse.held -= part
            if is_due and part:
                before = purse.remaining
                purse.charged += part
                row = Deduction(task, purse.name, purse.pack_id, part, before, purse.remaining, task.ended_at_s)
                self.deductions.append(row)

    def states(self, now_s: float) -> Sequence[PackState]:
        """Every pack, in the order it was given."""
        self.open_at(now_s)
        return [self._state(purse, now_s) for purse in self._purses]

    def _state(self, purse: _Purse, now_s: float) -> PackState:
        begins_s, ends_s = purse.times(self._opened_at_s, now_s)
        return PackState(
            name=purse.name,
            pack_id=purse.pack_id,
            pack=purse.config.pack,
            total_credits=purse.config.credits,
            remaining_credits=purse.remaining,
            purchased_at_s=begins_s,
            invalid_at_s=ends_s,
            status=purse.status(self._opened_at_s, now_s),
        )
