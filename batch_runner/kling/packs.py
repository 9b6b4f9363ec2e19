"""The account's resource packs as ``GET /account/costs`` lists them (kling-api 3.21). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from batch_runner.kling.cleaning import clean_text
from batch_runner.kling.envelope import MalformedAnswer, list_at, quantity
from batch_runner.model import Pack

COSTS_PATH = "/account/costs"
_YEAR_9999_S = 253_000_000_000

_CONCURRENCY = re.compile(r"(?<![A-Za-z0-9])(\d{1,4}) ?Con(?:current|currency)?(?![A-Za-z])", re.IGNORECASE)
_WORDS = (
    (re.compile(r"try[ _-]?on", re.IGNORECASE), Pack.TRY_ON),
    (re.compile(r"image", re.IGNORECASE), Pack.IMAGE),
    (re.compile(r"video", re.IGNORECASE), Pack.VIDEO),
)


@dataclass(frozen=True, slots=True)
class AccountPack:
    """One resource pack. The remaining quantity may lag up to 12 hours, says the vendor.

    Attributes:
        name: the pack's name, which often tells its concurrency (``Trial-Video-100Units-5Con-1Months``).
        status: ``toBeOnline``, ``online``, ``expired`` or ``runOut``.
        total: credits it began with, or None if not said.
        remaining: credits left, or None if not said.
        expires_at_s: wall time at which the rest lapses, in seconds since 1970, or None if not said.
        effective_at_s: wall time from which it can be used, likewise.
        type: ``decreasing_total`` or ``constant_period``.
    """

    name: str
    status: str
    total: Decimal | None
    remaining: Decimal | None
    expires_at_s: float | None
    effective_at_s: float | None = None
    type: str = ""

    @property
    def pack(self) -> Pack | None:
        """The currency it holds, which only its name tells; None if it does not."""
        return next((pack for word, pack in _WORDS if word.search(self.name)), None)

    @property
    def concurrency(self) -> int | None:
        """The account's tasks at a time while this pack is active, if its name tells them."""
        found = _CONCURRENCY.search(self.name)
        return int(found[1]) if found else None

    @property
    def lapses_at_s(self) -> float | None:
        """When the rest lapses, or None where that is not said, or said as a date that no calendar has."""
        is_dated = self.expires_at_s is not None and self.expires_at_s < _YEAR_9999_S
        return self.expires_at_s if is_dated else None

    def is_active(self, wall_s: float) -> bool:
        """Whether it can be drawn on at this moment."""
        begun = self.effective_at_s is None or self.effective_at_s <= wall_s
        over = self.expires_at_s is not None and self.expires_at_s <= wall_s
        return self.status == "online" and begun and not over and self.remaining != 0


def account_concurrency(packs: Iterable[AccountPack], pack: Pack, wall_s: float) -> int | None:
    """Tasks at a time that the active packs of a currency allow: the largest of theirs, not their sum (5.3).

    None if no active pack's name tells.
    """
    active = [one for one in packs if one.pack is pack and one.is_active(wall_s)]
    return max((one.concurrency for one in active if one.concurrency is not None), default=None)


def costs_path(start_ms: int, end_ms: int) -> str:
    """The path that asks for the packs of a time span, both ends in milliseconds since 1970."""
    return f"{COSTS_PATH}?start_time={start_ms}&end_time={end_ms}"


def parse_packs(data: dict[str, Any]) -> list[AccountPack]:
    """The packs of an inner envelope. Raises MalformedAnswer if its shape is not as documented."""
    return [_pack(row) for row in list_at(data, "resource_pack_subscribe_infos")]


def _pack(row: Any) -> AccountPack:
    if not isinstance(row, dict):
        raise MalformedAnswer("a resource pack is not an object")
    return AccountPack(
        name=_word(row.get("resource_pack_name")),
        status=_word(row.get("status")),
        total=quantity(row.get("total_quantity")),
        remaining=quantity(row.get("remaining_quantity")),
        expires_at_s=seconds(row.get("invalid_time")),
        effective_at_s=seconds(row.get("effective_time")),
        type=_word(row.get("resource_pack_type")),
    )


def seconds(milliseconds: Any) -> float | None:
    """A moment in seconds since 1970 from one in milliseconds; None if it is absent or cannot be one."""
    number = quantity(milliseconds)
    return None if number is None else float(number) / 1000


def _word(value: Any) -> str:
    return clean_text(value) if isinstance(value, str) else ""
