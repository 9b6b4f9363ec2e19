"""The running loop's clock, on which intervals are measured: nobody sets it."""

from __future__ import annotations

import asyncio


def loop_now_s() -> float:
    """Seconds on it; which moment it counts from, ``Clock.epoch`` names."""
    return asyncio.get_running_loop().time()
