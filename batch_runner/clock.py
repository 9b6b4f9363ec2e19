"""Wall time, handed to whoever stamps or signs; intervals use the event loop's clock instead."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Protocol):
    """Wall time and the identity of the interval clock."""

    def wall_s(self) -> float:
        """Seconds since 1970-01-01 UTC, as the machine believes."""

    def epoch(self) -> str:
        """Names the origin of the loop's clock: equal names mean comparable ``loop.time()`` values."""

    def uptime_s(self) -> float:
        """Seconds since some moment of the epoch, on a clock that nobody sets; suspended ones count where possible."""


class SystemClock:
    """The machine's clock; its epoch is the boot, because the monotonic clock counts from there."""

    def wall_s(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time()

    def epoch(self) -> str:
        """The boot's id, or a value no other process shares where the kernel offers none."""
        try:
            return _BOOT_ID.read_text(encoding="ascii").strip()
        except OSError:
            return f"process-{time.time_ns()}"

    def uptime_s(self) -> float:
        """Seconds since the boot, those of suspension included where the kernel counts them."""
        return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)


def iso_utc(wall_s: float) -> str:
    """ISO 8601 in UTC with milliseconds: ``2026-11-21T09:30:00.000Z``."""
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
