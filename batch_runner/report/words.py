"""The page's sentences and figures: what happened, what to do about it, and how amounts are written. Pure."""

from __future__ import annotations

from decimal import Decimal

from batch_runner.records import ItemCounts, SummaryRecord
from batch_runner.wording import by_count, plural

_MINUTE_S = 60
_HOUR_S = 3600
_KILO = 1000
_STATUS_WORDS = (("failed", "failed"), ("unknown", "could not be settled"), ("pending", "{} still pending"))

_NEXT_BY_EXIT_CODE = {
    0: "Nothing is left to do; running it again costs nothing.",
    1: "The program itself went wrong. Running it again continues where it stopped.",
    2: "Nothing was sent: the settings or the manifest need a correction first.",
    3: "The failures below say why; correct the manifest, or run again with --retry-failed.",
    4: "A budget (--budget or --rolling-budget) stopped it: raise it, or run it again when it has room.",
    5: "The account needs a look (keys, permission, arrears or an empty pack); then run it again.",
    6: "The disk or the output folder refused; make room and run it again.",
    7: "It was stopped before the end: run it again to go on.",
    8: "Some items may or may not have a task; nothing is submitted again for them until a later run knows.",
    11: "Another run holds this output folder; wait for it.",
}

_ADVICE_BY_REASON = {
    "policy": "Change the prompt or the image: the same input is refused again.",
    "rejected": "The request can never succeed as it is: correct this line of the manifest.",
    "generation": "The service could not make it. --retry-failed submits it anew, which may cost credits.",
    "budget": "A budget has no room for it: raise --budget or --rolling-budget, or run it again when there is room.",
    "account": "Look at the account (keys, permission, arrears, empty pack), then run it again.",
    "stopped": "Run it again: it goes on from here.",
    "asset": "The task succeeded but its file could not be fetched. Run it again soon (if it failed, with"
    " --retry-failed, which asks for the same file and pays nothing): the service keeps files for a limited time.",
    "unresolved": "Run it again later: the service is asked for the task, and nothing is submitted twice. What a run"
    " says cannot be asked for is made again only with --repeat-lost, which may pay twice.",
    "overdue": "The task runs unusually long. Run it again later: the same task is asked for, not a second one.",
    "disk": "Make room or mend the output folder, then run it again.",
}

_ADVICE_BY_STATUS = {
    "failed": "Correct the cause and run it again with --retry-failed.",
    "unknown": _ADVICE_BY_REASON["unresolved"],
    "pending": _ADVICE_BY_REASON["stopped"],
}


def advice(status: str, reason: str | None) -> str:
    """What a person can do about items that stand at ``status`` for ``reason``."""
    return _ADVICE_BY_REASON.get(reason or "") or _ADVICE_BY_STATUS.get(status, "")


def amount_text(credits_: Decimal) -> str:
    """Credits with their thousands set apart: ``26,218.5``."""
    text = format(credits_, ",f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def pack_credits(credits_: Decimal, pack: str, *, simulated: bool = False) -> str:
    """An amount with its currency; the usual pack needs no name, simulated credits always say so."""
    kind = "simulated " if simulated else ""
    name = "" if pack == "video" else f"{pack.replace('_', '-')} "
    return f"{amount_text(credits_)} {kind}{name}{by_count(credits_, 'credit', 'credits')}"


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _rest(items: ItemCounts) -> str:
    counts = [(getattr(items, status), words) for status, words in _STATUS_WORDS]
    parts = [f"{count:,} {words.format(by_count(count, 'is', 'are'))}" for count, words in counts if count]
    return f"; {_joined(parts)}" if parts else ""


def headline(summary: SummaryRecord) -> str:
    """What happened, in one sentence."""
    items = summary.items
    consumed = [
        pack_credits(record.consumed, pack, simulated=summary.sandbox)
        for pack, record in summary.credits.items()
        if record.consumed
    ]
    cost = f" for {_joined(consumed)}" if consumed else ""
    if items.total and items.succeeded == items.total:
        done = "The one item is finished" if items.total == 1 else f"All {items.total:,} items are finished"
    else:
        verb = by_count(items.succeeded, "is", "are")
        done = f"{items.succeeded:,} of {plural(items.total, 'item')} {verb} finished"
    return f"{done}{cost}{_rest(items)}."


def next_step(summary: SummaryRecord) -> str:
    """What to do now, by the exit code."""
    return _NEXT_BY_EXIT_CODE.get(summary.exit_code, "")


def size_text(size: int) -> str:
    """A size in bytes as people read it: ``812 B``, ``3.4 MB``."""
    amount, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while amount >= _KILO and len(units) > 1:
        amount, units = amount / _KILO, units[1:]
    return f"{amount:.0f} {units[0]}" if units[0] == "B" else f"{amount:.1f} {units[0]}"


def duration_text(seconds: float) -> str:
    """A length of time: ``8.2 s``, ``2 min 05 s``, ``3 h 12 min``."""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    if seconds < _HOUR_S:
        minutes, rest = divmod(round(seconds), _MINUTE_S)
        return f"{minutes} min {rest:02d} s"
    hours, rest = divmod(int(seconds), _HOUR_S)
    return f"{hours:,} h {rest // _MINUTE_S:02d} min"
