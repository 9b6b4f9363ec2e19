"""A service that puts submissions off (429, 1302, 1303): told when it goes on, and not borne for ever. Pure."""

from __future__ import annotations

from batch_runner.schedule import Patience

TOLD_AFTER_S = 60.0
"""Being put off for a moment is the rule; what lasts longer is for a person to know."""
LIMIT_S = 7200.0
"""As long as a task is waited for: by then whoever held the slots has let them go."""


class PutOff:
    """One spell of refusals after another, each from the first submission put off to the next one taken in."""

    def __init__(self) -> None:
        self._silence = Patience(TOLD_AFTER_S, TOLD_AFTER_S)
        self._patience = Patience(LIMIT_S, LIMIT_S)
        self._is_told = False

    def over(self) -> None:
        """A submission was taken in."""
        self._silence.well()
        self._patience.well()
        self._is_told = False

    def is_news(self, now_s: float) -> bool:
        """Note a refusal at ``now_s``; True once a spell, when it has lasted for a while."""
        is_long = self._silence.trouble(now_s)
        is_news, self._is_told = is_long and not self._is_told, is_long or self._is_told
        return is_news

    def is_unbearable(self, now_s: float) -> bool:
        """Note a refusal at ``now_s``; True when nothing was taken in for longer than anybody's task may take."""
        return self._patience.trouble(now_s)
