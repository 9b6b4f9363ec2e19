"""The rows of the derived files, field by field in the order they are written. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from batch_runner.wording import by_count


def credits_text(credits_: Decimal) -> str:
    """Credits as people and files read them: plain decimal, no exponent, no trailing zeros (``"3.5"``)."""
    text = format(credits_, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def credits_named(credits_: Decimal) -> str:
    """Credits with their noun: ``1 credit``, ``3.5 credits``."""
    return f"{credits_text(credits_)} {by_count(credits_, 'credit', 'credits')}"


def _plain(value: Any) -> Any:
    """The JSON value of a record's field: credits as text, records and containers part by part.

    Not ``dataclasses.asdict``, which copies deeply: that was most of the time of a batch of 100,000 items.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Decimal):
        return credits_text(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class _Record:
    def as_json(self) -> dict[str, Any]:
        """The record as a JSON object, fields in the contract's order."""
        return {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One finished file: ``path`` is relative to the output folder, with forward slashes."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """What the server (or the runner) said about a failed item; ``code`` is Kling's, or null."""

    code: int | None
    message: str


@dataclass(frozen=True, slots=True)
class ResultRecord(_Record):
    """One line of ``results.jsonl``. Times are ISO 8601 UTC text or None."""

    id: str
    line: int
    kind: str
    status: str
    reason: str | None
    task_id: str | None
    external_task_id: str | None
    attempts: int
    credits_estimated: Decimal
    credits_charged: Decimal | None
    pack: str
    files: tuple[FileRecord, ...]
    error: ErrorRecord | None
    submitted_at: str | None
    finished_at: str | None


@dataclass(frozen=True, slots=True)
class LedgerRecord(_Record):
    """One line of ``ledger.jsonl``; ``consumed``, ``held`` and ``budget`` stand as after the entry."""

    seq: int
    at: str
    entry: str
    pack: str
    credits: Decimal
    item: str
    attempt: int
    external_task_id: str
    task_id: str | None
    consumed: Decimal
    held: Decimal
    budget: Decimal | None


@dataclass(frozen=True, slots=True)
class CreditsRecord:
    """Credits of one pack; ``available`` and ``budget`` are None where no budget was given."""

    budget: Decimal | None
    consumed: Decimal
    held: Decimal
    available: Decimal | None


@dataclass(frozen=True, slots=True)
class SpentRecord(_Record):
    """What tasks of one realm, batch, day, model and pack were charged, and what is held for others.

    ``day`` is the UTC day of the charges, empty for holds; ``model`` is empty where the product has none. ``drift`` is
    what was charged beyond the estimates.
    """

    realm: str
    batch: str
    day: str
    model: str
    kind: str
    pack: str
    tasks: int
    estimated: Decimal
    consumed: Decimal
    drift: Decimal
    held: Decimal


@dataclass(frozen=True, slots=True)
class CaseRecord(_Record):
    """One attempt whose money is not as plain as "charged what it was to cost, and its files are here".

    ``case`` is a word of ``statement.CASES``; ``at`` is the time of the attempt's newest entry.
    """

    case: str
    realm: str
    batch: str
    item: str
    attempt: int
    model: str
    kind: str
    pack: str
    estimated: Decimal
    charged: Decimal | None
    held: Decimal
    task_id: str | None
    external_task_id: str
    at: str


@dataclass(frozen=True, slots=True)
class WindowRecord(_Record):
    """A rolling budget as it stands for one realm; ``frees_at`` is when its oldest charge leaves, if there is one."""

    realm: str
    pack: str
    window: str
    budget: Decimal
    consumed: Decimal
    held: Decimal
    available: Decimal
    frees_at: str | None


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """How many items stand where; the last four add up to ``total``."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    pending: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """API requests of one run; ``total`` counts every one, ``refused`` those the server turned away."""

    total: int = 0
    submit: int = 0
    poll: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class SummaryRecord(_Record):
    """``summary.json``, what ``--json`` prints, and what ``batch_runner.run`` returns."""

    batch: str
    manifest: str
    sandbox: bool
    exit_code: int
    items: ItemCounts
    credits: dict[str, CreditsRecord] = field(default_factory=dict)
    requests: RequestCounts = field(default_factory=RequestCounts)
    started_at: str = ""
    finished_at: str = ""
    wall_s: float = 0.0
