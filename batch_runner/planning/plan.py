"""``plan``: problems, price, packages, reach of the budget and time of a manifest, before anything is spent."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from batch_runner import catalog
from batch_runner.answer import Answer, Ask
from batch_runner.errors import ExitCode, UsageError
from batch_runner.intake import manifest_of
from batch_runner.model import NOTHING, Item
from batch_runner.naming import batch_name
from batch_runner.planning import answers, pages
from batch_runner.planning.account import account_data, account_lines, account_packs
from batch_runner.planning.app import app_credits, app_need, plan_cost
from batch_runner.planning.findings import Planned, Planning
from batch_runner.planning.purchase import cheapest, offers, single_purchases
from batch_runner.planning.reach import reach
from batch_runner.planning.standing import Past, past_of
from batch_runner.planning.timing import Timing, timing
from batch_runner.service import Limits, limits_of, price_book_of
from batch_runner.settings import Settings
from batch_runner.store import LeftRow

_WHAT_IF = ("max_concurrent", "rpm", "tier")


@dataclass(frozen=True, slots=True)
class Questions:
    """What else ``plan`` is asked.

    Attributes:
        what_if: settings to rehearse with, such as ``max_concurrent=10``; several stand for themselves each.
        with_items: whether every item is shown, however many there are.
        with_account: whether the account is asked for its packs, which is the only thing that is sent then.
    """

    what_if: tuple[str, ...] = ()
    with_items: bool = False
    with_account: bool = False


def plan(
    manifest: Path,
    settings: Settings,
    questions: Questions = Questions(),
    environ: Mapping[str, str] = NOTHING,
    ask: Ask = asyncio.run,
) -> Answer:
    """What a manifest costs and takes; nothing is written, and nothing is sent unless the account is asked for.

    Lines that a run would refuse, for they were edited after their video was paid, are told with the rest: exit code 2.

    Raises:
        ManifestError: the manifest has problems.
        UsageError: a question is none.
        AccountError, StoppedError: the account was to be asked, and does not answer.
    """
    settings_if = {text: _settings_if(settings, text) for text in questions.what_if}
    checked = manifest_of(manifest, settings)
    checked.check()
    planning = _planning(manifest, list(checked.items()), settings, settings_if, ask)
    lines, data = pages.lines(planning, with_items=questions.with_items), answers.data(planning)
    if questions.with_account:
        packs = ask(account_packs(settings, environ))
        lines += ["", *account_lines(packs, _left_rows(planning), limits_of(settings).max_concurrent)]
        data["account"] = account_data(packs)
    return Answer(lines, data, ExitCode.USAGE if planning.problems else ExitCode.OK)


def _left_rows(planning: Planning) -> list[LeftRow]:
    items = (each.item for each in planning.planned if each.standing.is_left)
    return [LeftRow(item.kind, item.model, item.price.pack, item.price.credits, item.slots, 1) for item in items]


def expanded(manifest: Path, settings: Settings) -> Iterator[str]:
    """The items as lines of a manifest that leaves nothing to defaults, samples, templates or other files.

    Raises:
        ManifestError: the manifest has problems.
    """
    checked = manifest_of(manifest, settings)
    checked.check()
    return checked.expanded()


def _planning(
    manifest: Path, items: list[Item], settings: Settings, settings_if: Mapping[str, Settings], ask: Ask
) -> Planning:
    past = past_of(manifest, settings)
    planned = [_planned(item, past, settings) for item in items]
    left = [each.item for each in planned if each.standing.is_left]
    book = price_book_of(settings)
    available = past.available(settings.budget)
    name, usual_s = batch_name(manifest, settings), {each.item.id: each.usual_s for each in planned}

    def timed(limits: Limits) -> Timing | None:
        return timing(left, usual_s, limits, name, available, ask)

    needed = _needed(left, book)
    work_s = sum(each.usual_s * each.item.slots for each in planned if each.standing.is_left)
    packages = catalog.packages().values()
    buying = {pack: single_purchases(offers(packages, pack), units, work_s) for pack, units in needed.items()}
    best = {
        pack: cheapest([offer for offer in offers(packages, pack) if offer.dated == _newest(pack)], units, work_s)
        for pack, units in needed.items()
    }
    need = app_need(each.app_credits for each in planned if each.standing.is_left)
    return Planning(
        name=name,
        settings=settings,
        planned=planned,
        problems=[problem for problem in map(past.problem, items) if problem is not None],
        book=book,
        needed=needed,
        spent=past.spent,
        windows=past.windows,
        reach=reach(left, available) if available else None,
        timing=timed(limits_of(settings)),
        what_if={text: timed(limits_of(other)) for text, other in settings_if.items()},
        buying=buying,
        best={pack: purchase for pack, purchase in best.items() if purchase is not None},
        app=need,
        plan_costs=[plan_cost(row, need) for row in catalog.plans().values()] if need.credits_each else [],
    )


def _planned(item: Item, past: Past, settings: Settings) -> Planned:
    body = json.loads(item.body)
    usual_s = catalog.expected_duration_s(item.kind, body)
    standing = past.of(item, retry_failed=settings.retry_failed)
    mode = body.get("mode") or body.get("resolution") or ""
    return Planned(replace(item, body="{}"), standing, str(mode), usual_s, app_credits(item.kind, body))


def _needed(left: Sequence[Item], book: catalog.PriceBook) -> dict[str, Decimal]:
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    for item in left:
        totals[item.price.pack] += item.price.credits
    return {pack: book.with_buffer(total) for pack, total in sorted(totals.items())}


def _newest(pack: str) -> str:
    """The date of the newest packages that are priced."""
    return max((row.dated for row in offers(catalog.packages().values(), pack)), default="")


def _settings_if(settings: Settings, text: str) -> Settings:
    key, equals, value = text.partition("=")
    key = key.strip().replace("-", "_")
    if not equals or key not in _WHAT_IF:
        raise UsageError(f"--what-if {text!r} is none; write one of {', '.join(_WHAT_IF)}, such as max_concurrent=10")
    if key == "tier":
        return replace(settings, tier=value.strip(), max_concurrent=None, rpm=None)
    least = 1 if key == "max_concurrent" else 0
    if not value.strip().isascii() or not value.strip().isdigit() or int(value) < least:
        raise UsageError(f"--what-if {text!r}: {value.strip()!r} is not a whole number, {least} or more")
    return (
        replace(settings, max_concurrent=int(value)) if key == "max_concurrent" else replace(settings, rpm=int(value))
    )
