"""``python -m batch_runner`` and the console script: signals are heard from here on, while the rest is being loaded."""

from __future__ import annotations

import gc

from batch_runner.interruption import Interruption


def start() -> None:
    """Load the program and run it; a signal that comes meanwhile ends it as soon as it can say so properly."""
    interruption = Interruption()
    interruption.install()
    gc.disable()  # what is loaded stays, and looking for garbage in it takes a fifth of a start; see ``commands``
    from batch_runner.cli import entry  # noqa: PLC0415 - loading takes a while, in which signals come too

    entry(interruption)


if __name__ == "__main__":
    start()
