"""What ``plan`` found, as lines for people. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal

from batch_runner import catalog
from batch_runner.answer import table
from batch_runner.inert import inert
from batch_runner.ledger import ZERO
from batch_runner.model import Pack
from batch_runner.planning.app import PlanCost
from batch_runner.planning.findings import Planned, Planning, price_rows
from batch_runner.planning.purchase import Purchase, usd, worth_showing
from batch_runner.planning.standing import Standing
from batch_runner.planning.timing import Timing
from batch_runner.records import credits_named, credits_text
from batch_runner.wording import by_count, plural, request_rate

_FEW_ITEMS = 40
"""So many items are shown one by one unasked."""


def lines(planning: Planning, *, with_items: bool) -> list[str]:
    """The page for people."""
    shown = []
    if planning.planned and (with_items or len(planning.planned) <= _FEW_ITEMS):
        shown += [*table(_item_rows(planning.planned)), ""]
    prices = table(price_rows(planning.planned))
    shown += [*prices, "", _standing_line(planning)] if prices else [_standing_line(planning)]
    shown += _money_lines(planning)
    shown += [*_reach_lines(planning), *_time_lines(planning)]
    for pack, purchases in planning.buying.items():
        shown += ["", *_buying_lines(planning, pack, purchases)]
    if planning.plan_costs:
        shown += ["", *_app_lines(planning)]
    return [*shown, *_problem_lines(planning)]


def _problem_lines(planning: Planning) -> list[str]:
    if not planning.problems:
        return []
    count = plural(len(planning.problems), "problem")
    return ["", f"a run would stop at {count} and send nothing:", *(f"  {problem}" for problem in planning.problems)]


def _item_rows(planned: Sequence[Planned]) -> Iterator[tuple[str, ...]]:
    yield ("line", "id", "stands", "credits", "price row")
    for each in planned:
        item = each.item
        yield (
            str(item.line),
            inert(item.id),
            each.standing.replace("_", " "),
            credits_text(item.price.credits),
            inert(item.price.source),
        )


def _standing_line(planning: Planning) -> str:
    counts = Counter(each.standing for each in planning.planned)
    told = ", ".join(f"{counts[stands]:,} {stands.replace('_', ' ')}" for stands in Standing if counts[stands])
    return f"{planning.name}: {plural(len(planning.planned), 'item')}: {told or 'none'}"


def _money_lines(planning: Planning) -> Iterator[str]:
    for pack, needed in planning.needed.items():
        spent = planning.spent.get(pack, Decimal(0))
        so_far = f", {credits_text(spent)} consumed or held so far" if spent else ""
        yield f"{pack}: {credits_named(needed)} to spend{so_far}{_verdict(planning, pack, needed + spent)}"
    for window in planning.windows:
        left = credits_text(max(window.available, ZERO))
        yield f"{window.budget} has {left} left now; a run stops there, and another one goes on when there is room"
    failures = "costs its price" if planning.book.failures_charged else "costs nothing"
    set_aside = f"{credits_text(planning.book.buffer_pct)} % more is" if planning.book.buffer_pct else "no buffer is"
    yield f"a failed generation {failures} ({planning.book.source}); {set_aside} set aside"


def _verdict(planning: Planning, pack: str, total: Decimal) -> str:
    budget = planning.settings.budget.get(pack)
    if budget is None:
        return ", no budget given"
    verdict = "fits" if total <= budget else f"{credits_text(total - budget)} more than"
    return f", {verdict} the budget of {credits_text(budget)}"


def _reach_lines(planning: Planning) -> Iterator[str]:
    found = planning.reach
    if found is not None and found.left_out:
        first = inert(found.left_out[0])
        total = len(found.done) + len(found.left_out)
        does = "the budgets do, as they stand now," if planning.windows else "the budget does"
        yield (
            f"{does} {len(found.done):,} of the {plural(total, 'item')} that {by_count(total, 'is', 'are')} left,"
            f" by priority and then in manifest order; the first one left out is {first}"
        )


def _time_lines(planning: Planning) -> Iterator[str]:
    if planning.timing is None:
        yield "time: nothing is left to be submitted"
        return
    yield f"time: {_time(planning.timing)} ({planning.timing.limits.source})"
    for text, timing in planning.what_if.items():
        if timing is not None:
            yield f"what if {inert(text)}: {_time(timing)}"


def _time(timing: Timing) -> str:
    forecast, limits = timing.forecast, timing.limits
    part = "" if timing.share == 1 else f" of {timing.share:.1%} of the items"
    low, high = _duration(forecast.low_s), _duration(forecast.high_s)
    return (
        f"{_duration(forecast.median_s)}, nine times of ten {low} to {high},"
        f" slots {forecast.busy_share:.0%} busy; {plural(forecast.rehearsals, 'rehearsal')}{part} at"
        f" {plural(limits.max_concurrent, 'task')} at a time, {request_rate(limits.rpm)}"
    )


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{round(seconds)} s"
    days, minutes = divmod(minutes, 1440)
    hours, minutes = divmod(minutes, 60)
    parts = [
        f"{days} d" if days else "",
        f"{hours} h" if hours else "",
        f"{minutes} min" if minutes and not days else "",
    ]
    return " ".join(filter(None, parts))


def _buying_lines(planning: Planning, pack: str, purchases: Sequence[Purchase]) -> Iterator[str]:
    needed = credits_named(planning.needed[pack])
    list_price = catalog.list_prices_usd().get(Pack(pack))
    at_list = "" if list_price is None else f", {usd(planning.needed[pack] * list_price)} USD at the list price"
    yield f"API packages for {needed} ({pack}){at_list}:"
    if not purchases:
        yield "  no package of this pack has a published price"
        return
    shown = worth_showing(purchases)
    yield from (f"  {line}" for line in table(_purchase_rows(shown)))
    if len(shown) < len(purchases):
        left_out = len(purchases) - len(shown)
        ones, are = by_count(left_out, "one", "ones"), by_count(left_out, "is", "are")
        yield f"  ({left_out} dearer {ones} that {are} better in nothing {are} left out; --json has all)"
    best = planning.best.get(pack)
    if best is not None:
        left = f"{credits_text(best.units_left)} {by_count(best.units_left, 'unit', 'units')}"
        yield f"cheapest of those sold now: {best.words}, {usd(best.price_usd)} USD, {left} left over"


def _purchase_rows(purchases: Sequence[Purchase]) -> Iterator[tuple[str, ...]]:
    yield ("buy", "USD", "left over", "valid days", "at a time", "dated", "note")
    for purchase in purchases:
        package, _ = purchase.counts[0]
        yield (
            purchase.words,
            usd(purchase.price_usd),
            credits_text(purchase.units_left),
            str(purchase.valid_days),
            str(purchase.max_concurrent),
            package.dated,
            "; ".join(purchase.warnings),
        )


def _app_lines(planning: Planning) -> Iterator[str]:
    need = planning.app
    some = f"{plural(need.unpriced, 'item')} {by_count(need.unpriced, 'has', 'have')}"
    without = f"; {some} no price there" if need.unpriced else ""
    yield (
        f"the app's plans for the same videos, {credits_text(need.credits)} of its credits with a buffer of"
        f" {credits_text(need.buffer_pct)} %, because a failure costs its credits there{without}:"
    )
    yield from (f"  {line}" for line in table(_plan_rows(planning.plan_costs)))


def _plan_rows(costs: Sequence[PlanCost]) -> Iterator[tuple[str, ...]]:
    columns = [f"of {credits_named(credits_)}" for credits_, _, _ in costs[0].each]
    yield ("plan", "months", "USD monthly", "USD by the year", *columns)
    for cost in costs:
        each = [_results(cost, count, price) for _, count, price in cost.each]
        yield (cost.plan.name, str(cost.months), _usd(cost.monthly_usd), _usd(cost.annual_usd), *each)


def _results(cost: PlanCost, count: int, price: Decimal | None) -> str:
    span = "a month" if cost.plan.monthly_credits else "a day"
    return f"{count} {span}" + (f", {usd(price)} USD each" if price is not None else "")


def _usd(amount: Decimal | None) -> str:
    return "-" if amount is None else usd(amount)
