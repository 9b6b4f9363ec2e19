"""Reads the text of a failed task: whose doing it was and whether another attempt may fare better. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple


class Failure(NamedTuple):
    """Why a task failed.

    Attributes:
        reason: ``policy`` or ``generation``, as ``results.jsonl`` names it.
        is_transient: whether the same request may succeed when it is attempted again.
    """

    reason: str
    is_transient: bool


_POLICY = re.compile(
    r"risk[ _-]?control|content (?:safety|policy)|safety (?:policy|system|check)|polic(?:y|ies)\b|moderation"
    r"|sensitive|prohibited|inappropriate|nsfw",
    re.IGNORECASE,
)
_TRANSIENT = re.compile(
    r"tim(?:e|ed)[ -]?out|internal (?:server )?error|system (?:error|busy)"
    r"|(?:service|server) (?:is )?(?:busy|unavailable)|try again later",
    re.IGNORECASE,
)


def failure_of(message: str) -> Failure:
    """Classify ``task_status_msg``; a failed task carries no code, only this text (kling-api 4.2, 5.2)."""
    if _POLICY.search(message):
        return Failure("policy", is_transient=False)
    return Failure("generation", is_transient=bool(_TRANSIENT.search(message)))
