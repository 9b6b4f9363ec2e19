"""``python -m batch_runner`` and the console script: signals are heard from here on, while the rest is being loaded."""

from __future__ import annotations

from batch_runner.signals import on_signals


def start() -> None:
    """Load the program and run it; a signal that comes meanwhile ends it as soon as it can say so properly."""
    heard: list[int] = []
    on_signals(lambda number, _frame: heard.append(number))
    from batch_runner.cli import entry  # noqa: PLC0415 - loading takes half a second, in which signals come too

    entry(heard)


if __name__ == "__main__":
    start()
