"""Observers that show a run to a person."""

from batch_runner.progress.displays import (
    PlainProgress,
    Progress,
    QuietProgress,
    TqdmProgress,
    choose,
    running_in_notebook,
)

__all__ = ["PlainProgress", "Progress", "QuietProgress", "TqdmProgress", "choose", "running_in_notebook"]
