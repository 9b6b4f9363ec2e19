"""What a manifest will cost and take, before anything is spent."""

from batch_runner.planning.plan import Questions, expanded, plan

__all__ = ["Questions", "expanded", "plan"]
