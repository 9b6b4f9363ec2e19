"""How many of a run's moments its tests let it die at."""

from __future__ import annotations

import os

_EVERY = int(os.environ.get("DEATHS_EVERY", "0"))


def stride(usual: int) -> int:
    """The moments from one death to the next: what is usual, or as ``DEATHS_EVERY=1`` says for all of them.

    A usual one is odd, so that deaths before and after a change of the disk take turns.
    """
    return _EVERY or usual
