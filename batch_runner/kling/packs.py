"""The account's resource packs as ``GET /account/costs`` lists them (kling-api 3.21). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from batch_runner.kling.cleaning import clean_text
from batch_runner.kling.envelope import MalformedAnswer, list_at, quantity

COSTS_PATH = "/account/costs"


@dataclass(frozen=True, slots=True)
class AccountPack:
    """One resource pack. The remaining quantity may lag up to 12 hours, says the vendor.

    Attributes:
        name: the pack's name, which often tells its concurrency (``Trial-Video-100Units-5Con-1Months``).
        status: ``toBeOnline``, ``online``, ``expired`` or ``runOut``.
        total: credits it began with, or None if not said.
        remaining: credits left, or None if not said.
        expires_at_s: wall time at which the rest lapses, in seconds since 1970, or None if not said.
    """

    name: str
    status: str
    total: Decimal | None
    remaining: Decimal | None
    expires_at_s: float | None


def costs_path(start_ms: int, end_ms: int) -> str:
    """The path that asks for the packs of a time span, both ends in milliseconds since 1970."""
    return f"{COSTS_PATH}?start_time={start_ms}&end_time={end_ms}"


def parse_packs(data: dict[str, Any]) -> list[AccountPack]:
    """The packs of an inner envelope. Raises MalformedAnswer if its shape is not as documented."""
    return [_pack(row) for row in list_at(data, "resource_pack_subscribe_infos")]


def _pack(row: Any) -> AccountPack:
    if not isinstance(row, dict):
        raise MalformedAnswer("a resource pack is not an object")
    invalid_ms = quantity(row.get("invalid_time"))
    return AccountPack(
        name=_word(row.get("resource_pack_name")),
        status=_word(row.get("status")),
        total=quantity(row.get("total_quantity")),
        remaining=quantity(row.get("remaining_quantity")),
        expires_at_s=None if invalid_ms is None else float(invalid_ms) / 1000,
    )


def _word(value: Any) -> str:
    return clean_text(value) if isinstance(value, str) else ""
