"""What the page says went wrong: told once for all the items it happened to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batch_runner.inert import inert
from batch_runner.records import ResultRecord
from batch_runner.report.words import advice
from batch_runner.wording import plural

STATUS_ORDER = {"failed": 0, "unknown": 1, "pending": 2, "succeeded": 3}
"""What needs somebody comes first."""
_TEXT_LIMIT = 600
_MOST_NAMES = 12


@dataclass(frozen=True, slots=True)
class Trouble:
    """Items that stand at the same place for the same reason, with the server's words."""

    status: str
    reason: str
    message: str
    code: int | None
    count: str
    names: tuple[str, ...]
    more: int
    advice: str


def _trouble_key(result: ResultRecord) -> tuple[int, str, str, int | None, str]:
    code, message = (result.error.code, result.error.message) if result.error else (None, "")
    return STATUS_ORDER.get(result.status, 1), result.status, result.reason or "", code, message


def troubles(results: Sequence[ResultRecord]) -> list[Trouble]:
    """What went wrong, told once for all the items it happened to; failures first, then the most frequent."""
    groups: dict[tuple[int, str, str, int | None, str], list[ResultRecord]] = {}
    for result in results:
        if result.status != "succeeded" or result.error is not None:
            groups.setdefault(_trouble_key(result), []).append(result)
    ordered = sorted(groups.items(), key=lambda group: (group[0][0], -len(group[1]), group[1][0].line))
    return [_trouble(status, reason, code, message, members) for (_, status, reason, code, message), members in ordered]


def _trouble(status: str, reason: str, code: int | None, message: str, members: Sequence[ResultRecord]) -> Trouble:
    told = inert(message, _TEXT_LIMIT)
    is_ours = status == "succeeded"  # then nobody refused anything, and the words are no quotation
    return Trouble(
        status=status,
        reason=inert(reason, 60),
        message="" if is_ours else told,
        code=code,
        count=plural(len(members), "item"),
        names=tuple(inert(member.id, 60) for member in members[:_MOST_NAMES]),
        more=max(len(members) - _MOST_NAMES, 0),
        advice=told if is_ours else advice(status, reason),
    )
