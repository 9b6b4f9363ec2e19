"""What becomes of a task, decided once and for all at its creation.

The draws depend on the seed and the task's key alone, so that the order of creation changes nothing.
A prompt may steer its task, for demonstrations and tests:

| in the prompt | what happens |
|---|---|
| ``[sandbox:fail]`` | the task fails for the service's own reasons |
| ``[sandbox:policy]`` | the create is refused by content policy |
| ``[sandbox:late-policy]`` | the task fails by content policy |
| ``[sandbox:slow]`` | the task takes five times as long |
| ``[sandbox:stuck]`` | the task never ends and keeps its slot |
| ``[sandbox:fewer]`` | one of several pictures is not made, and charged all the same |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from batch_runner.sandbox.config import WorldConfig

FAIL = "[sandbox:fail]"
POLICY = "[sandbox:policy]"
LATE_POLICY = "[sandbox:late-policy]"
SLOW = "[sandbox:slow]"
STUCK = "[sandbox:stuck]"
FEWER = "[sandbox:fewer]"

RISK_CONTROL = "Failure to pass the risk control system"
SERVICE_FAILURES = ("generation time out", "internal error", "system error", "service busy")

_SPREAD = 0.35
_TAIL_SHARE = 0.03
_TAIL_FACTOR = 5.0
_QUEUED_SHARE = (0.05, 0.25)


@dataclass(frozen=True, slots=True)
class Fate:
    """How a task will go.

    Attributes:
        queued_s: seconds from creation until work on it starts.
        working_s: seconds of work after that; infinite when it never ends.
        failure: the text it fails with, or empty when it succeeds.
        failure_charged: whether it is charged although it fails.
    """

    queued_s: float
    working_s: float
    failure: str
    failure_charged: bool = False


AT_ONCE = Fate(0.0, 0.0, "")
"""How a call goes that is answered with its result."""


def refused_by_policy(config: WorldConfig, key: str, prompt: str) -> bool:
    """Whether content policy refuses the create."""
    draw = Random(f"{config.seed}:policy:{key}").random()
    return POLICY in prompt or draw < config.moderation_create_rate


def made_of(count: int, prompt: str) -> int:
    """How many of the ordered pictures are made."""
    return count - 1 if count > 1 and FEWER in prompt else count


def decide(config: WorldConfig, key: str, prompt: str, median_s: float, trouble: str) -> Fate:
    """A task's fate.

    Args:
        config: rates, seed and speed.
        key: the external id, or whatever names the task.
        prompt: may hold markers.
        median_s: the usual time from creation to the end.
        trouble: the text of a failure that the input makes certain, or empty.
    """
    draws = Random(f"{config.seed}:fate:{key}")
    total_s = median_s * math.exp(draws.gauss(0.0, _SPREAD))
    total_s *= _TAIL_FACTOR if draws.random() < _TAIL_SHARE else 1.0
    total_s *= _TAIL_FACTOR if SLOW in prompt else 1.0
    queued_s = total_s * draws.uniform(*_QUEUED_SHARE) / config.speed
    working_s = math.inf if STUCK in prompt else total_s / config.speed - queued_s
    failure = trouble or _failure(config, draws, prompt)
    is_charged = bool(failure) and Random(f"{config.seed}:charged:{key}").random() < config.charged_failures
    return Fate(queued_s, working_s, failure, is_charged)


def _failure(config: WorldConfig, draws: Random, prompt: str) -> str:
    policy, service, text = draws.random(), draws.random(), draws.choice(SERVICE_FAILURES)
    if LATE_POLICY in prompt or policy < config.moderation_late_rate:
        return RISK_CONTROL
    return text if FAIL in prompt or service < config.failure_rate else ""
