"""How fast and how many: requests in any minute, tasks in flight, and how long to hold back."""

from batch_runner.limits.backoff import Backoff
from batch_runner.limits.loop_time import loop_now_s
from batch_runner.limits.rate import MINUTE_S, RateLimitMonitor
from batch_runner.limits.slots import TaskLimiter
from batch_runner.limits.window import SlidingWindow

__all__ = ["MINUTE_S", "Backoff", "RateLimitMonitor", "SlidingWindow", "TaskLimiter", "loop_now_s"]
