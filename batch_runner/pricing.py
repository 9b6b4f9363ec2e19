"""``prices``: the price books with their rows and sources, packages and plans, and what wins where they disagree."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from batch_runner import catalog
from batch_runner.answer import Answer, table
from batch_runner.records import credits_text


def prices() -> Answer:
    """Everything the catalogue knows of prices; needs no keys, no network and no folder."""
    books = list(catalog.price_books().values())
    lines = [line for book in books for line in _book_lines(book)]
    lines += ["Packages of the API (units)", *table(_package_cells()), ""]
    lines += ["Plans of the app (credits)", *table(_plan_cells()), ""]
    lines += ["Where sources disagree", *_dispute_lines(books)]
    data = {
        "books": [_book_data(book) for book in books],
        "packages": [_plain(package) for package in catalog.packages().values()],
        "plans": [_plain(plan) for plan in catalog.plans().values()],
        "disputes": [*_price_dispute_data(books), *_package_dispute_data()],
    }
    return Answer(lines, data)


def _book_lines(book: catalog.PriceBook) -> Iterator[str]:
    use = "prices every run" if book == catalog.default_price_book() else "for comparing plans only"
    failures = "costs its price" if book.failures_charged else "costs nothing"
    buffer = f"a buffer of {credits_text(book.buffer_pct)} %" if book.buffer_pct else "no buffer"
    yield f"Price book {book.name}: {use}; a failed generation {failures}, {buffer} ({book.source})"
    yield from table([("product", "models", "mode", "options", "credits", "source"), *_row_cells(book.name)])
    yield ""


def _row_cells(book: str) -> Iterator[tuple[str, ...]]:
    for row in catalog.price_rows_of(book):
        yield (_listed(row.kinds), _models(row), _listed(row.modes), _options(row), _credits(row), _source(row))


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(words) or "any"


def _models(row: catalog.PriceRow) -> str:
    return "not known" if row.models == ("",) else _listed(row.models)


def _options(row: catalog.PriceRow) -> str:
    words = catalog.feature_words()
    return (
        ", ".join([*(words[name] for name in row.with_), *(f"without {words[name]}" for name in row.without)]) or "any"
    )


def _credits(row: catalog.PriceRow) -> str:
    return row.words if row.pack is None else f"{row.words} ({row.pack})"


def _source(row: catalog.PriceRow) -> str:
    return f"{row.source}, {row.dated}"


def _package_cells() -> Iterator[tuple[str, ...]]:
    yield "package", "pack", "units", "USD", "USD a unit", "days", "tasks at once", "", "source"
    for row in catalog.packages().values():
        terms = ["once an account"] if row.once else []
        terms += [f"{row.min_periods} at least"] if row.min_periods > 1 else []
        unit_usd = "-" if row.unit_usd is None else f"{row.unit_usd.normalize():.4g}"
        figures = map(_figure, (row.units, row.price_usd))
        limits = map(_figure, (row.valid_days, row.max_concurrent))
        yield (row.name, row.pack, *figures, unit_usd, *limits, ", ".join(terms), f"{row.source}, {row.dated}")


def _plan_cells() -> Iterator[tuple[str, ...]]:
    yield "plan", "credits a month", "USD", "USD a 100", "renewal USD", "annual USD a month", "USD a 100", "source"
    for row in catalog.plans().values():
        credits_ = f"{row.daily_credits} a day" if row.monthly_credits is None else str(row.monthly_credits)
        by_month, by_year = _by_100(row, row.price_usd), _by_100(row, row.annual_usd)
        renewal, annual = _figure(row.renewal_usd), _figure(row.annual_usd)
        yield row.name, credits_, str(row.price_usd), by_month, renewal, annual, by_year, f"{row.source}, {row.dated}"


def _by_100(plan: catalog.Plan, price_usd: Decimal | None) -> str:
    each_usd = None if price_usd is None else plan.credit_usd(price_usd)
    return "-" if each_usd is None else f"{100 * each_usd:.2f}"


def _figure(value: Decimal | int | None) -> str:
    return "-" if value is None else str(value)


def _dispute_lines(books: list[catalog.PriceBook]) -> Iterator[str]:
    for book in books:
        for found in catalog.price_disputes(book.name):
            won, lost = (f"{_credits(row)} ({_source(row)})" for row in (found.winner, found.loser))
            yield f"{book.name}, {_listed(found.kinds)}: {won} wins over {lost}, {found.why}"
    for pair in catalog.package_disputes():
        names = f"{pair.winner.name} ({pair.winner.source}) wins over {pair.loser.name} ({pair.loser.source})"
        yield f"package of {pair.winner.units} {pair.winner.pack} units: {names}, {pair.why}; both can be named"
    yield "a finished task's own deduction wins over every book"


def _book_data(book: catalog.PriceBook) -> dict[str, Any]:
    return {**_plain(book), "rows": [_row_data(row) for row in catalog.price_rows_of(book.name)]}


def _row_data(row: catalog.PriceRow) -> dict[str, Any]:
    """The row as it stands in the data, credits as text."""
    return {key: _json(value) for key, value in row.model_dump(by_alias=True, exclude_defaults=True).items()}


def _price_dispute_data(books: list[catalog.PriceBook]) -> Iterator[dict[str, Any]]:
    for book in books:
        for found in catalog.price_disputes(book.name):
            yield {
                "book": book.name,
                "kinds": list(found.kinds),
                "winner": _row_data(found.winner),
                "loser": _row_data(found.loser),
                "why": found.why,
            }


def _package_dispute_data() -> Iterator[dict[str, Any]]:
    for pair in catalog.package_disputes():
        yield {"packages": [pair.winner.name, pair.loser.name], "winner": pair.winner.name, "why": pair.why}


def _plain(record: Any) -> dict[str, Any]:
    return {name: _json(getattr(record, name)) for name in record.__dataclass_fields__}


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return credits_text(value)
    if isinstance(value, dict):
        return {str(key): _json(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_json(part) for part in value]
    return value
