"""What ``plan`` found, as an object for programs. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any

from batch_runner.budgets import Window
from batch_runner.planning.app import PlanCost
from batch_runner.planning.findings import Planned, Planning, price_rows
from batch_runner.planning.purchase import Purchase, usd
from batch_runner.planning.standing import Standing
from batch_runner.planning.timing import Timing
from batch_runner.records import credits_text


def data(planning: Planning) -> dict[str, Any]:
    """The object for programs."""
    counts = Counter(each.standing for each in planning.planned)
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    for each in planning.planned:
        totals[each.item.price.pack] += each.item.price.credits
    return {
        "batch": planning.name,
        "items": len(planning.planned),
        "credits": {pack: credits_text(total) for pack, total in sorted(totals.items())},
        "to_spend": {pack: credits_text(total) for pack, total in planning.needed.items()},
        "problems": [str(problem) for problem in planning.problems],
        "standing": {stands.value: counts[stands] for stands in Standing},
        "rows": [dict(zip(_ROW_KEYS, row, strict=True)) for row in list(price_rows(planning.planned))[1:]],
        "budget": _budget_data(planning),
        "time": None if planning.timing is None else _time_data(planning.timing),
        "what_if": {text: _time_data(timing) for text, timing in planning.what_if.items() if timing is not None},
        "packages": {pack: [_purchase_data(each) for each in found] for pack, found in planning.buying.items()},
        "cheapest": {pack: _purchase_data(each) for pack, each in planning.best.items()},
        "app": _app_data(planning),
        "each": [_item_data(each) for each in planning.planned],
    }


_ROW_KEYS = ("items", "kind", "model", "mode", "pack", "credits_each", "credits", "price_row")


def _item_data(each: Planned) -> dict[str, Any]:
    item = each.item
    return {
        "id": item.id,
        "line": item.line,
        "kind": item.kind,
        "model": item.model,
        "mode": each.mode,
        "standing": each.standing.value,
        "pack": item.price.pack,
        "credits": credits_text(item.price.credits),
        "price_row": item.price.source,
        "usual_s": round(each.usual_s, 1),
    }


def _budget_data(planning: Planning) -> dict[str, Any] | None:
    if planning.reach is None:
        return None
    budget = {pack: credits_text(credits_) for pack, credits_ in planning.settings.budget.items()}
    spent = {pack: credits_text(credits_) for pack, credits_ in planning.spent.items()}
    return {
        "budget": budget,
        "spent": spent,
        "rolling": [_window_data(window) for window in planning.windows],
        "does": list(planning.reach.done),
        "leaves_out": list(planning.reach.left_out),
    }


def _window_data(window: Window) -> dict[str, str]:
    named = {"pack": window.budget.pack, "window": window.budget.window}
    figures = {
        "budget": window.budget.credits,
        "consumed": window.consumed,
        "held": window.held,
        "available": window.available,
    }
    return named | {name: credits_text(value) for name, value in figures.items()}


def _time_data(timing: Timing) -> dict[str, Any]:
    forecast = timing.forecast
    return {
        "median_s": round(forecast.median_s, 1),
        "low_s": round(forecast.low_s, 1),
        "high_s": round(forecast.high_s, 1),
        "busy_share": round(forecast.busy_share, 4),
        "rehearsals": forecast.rehearsals,
        "rehearsed_share": round(timing.share, 4),
        "max_concurrent": timing.limits.max_concurrent,
        "rpm": timing.limits.rpm,
    }


def _purchase_data(purchase: Purchase) -> dict[str, Any]:
    return {
        "packages": {package.name: count for package, count in purchase.counts},
        "usd": usd(purchase.price_usd),
        "units_left": credits_text(purchase.units_left),
        "valid_days": purchase.valid_days,
        "max_concurrent": purchase.max_concurrent,
        "warnings": list(purchase.warnings),
    }


def _app_data(planning: Planning) -> dict[str, Any]:
    need = planning.app
    return {
        "credits": credits_text(need.credits),
        "buffer_pct": credits_text(need.buffer_pct),
        "unpriced": need.unpriced,
        "plans": [_plan_data(cost) for cost in planning.plan_costs],
    }


def _plan_data(cost: PlanCost) -> dict[str, Any]:
    return {
        "plan": cost.plan.name,
        "months": cost.months,
        "monthly_usd": None if cost.monthly_usd is None else usd(cost.monthly_usd),
        "annual_usd": None if cost.annual_usd is None else usd(cost.annual_usd),
        "each": [
            {"credits": credits_text(credits_), "results": count, "usd": None if price is None else usd(price)}
            for credits_, count, price in cost.each
        ],
    }
