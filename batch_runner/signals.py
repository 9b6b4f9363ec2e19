"""The signals that end the program. Loaded before everything else, so it needs next to nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], Any] | signal.Handlers


def on_signals(handler: Handler) -> None:
    """What each of them does from now on; those that whoever started the program wants ignored stay so."""
    for number in SIGNALS:
        if is_wanted(number):
            signal.signal(number, handler)


def is_wanted(number: signal.Signals) -> bool:
    """Whether it may end the program: ``nohup``, and a shell's ``&``, want some of them ignored."""
    return signal.getsignal(number) is not signal.SIG_IGN
