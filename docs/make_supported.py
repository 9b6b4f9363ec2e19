"""Writes ``supported.md``: what the catalogue knows, as tables. Run it after an edit of ``catalog/data``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from batch_runner import catalog
from batch_runner.catalog.book import fields_of_product
from batch_runner.catalog.load import packaged
from batch_runner.catalog.model_rows import GrantRow, ModelRow
from batch_runner.catalog.price_rows import PriceRow
from batch_runner.catalog.problems import listed, seconds_listed
from batch_runner.catalog.schema import FieldRow, FieldType, MediaLimits, ProductRow
from batch_runner.model import Generation

PAGE = Path(__file__).with_name("supported.md")
_HEAD = """# What is supported

Written by `docs/make_supported.py` from `batch_runner/catalog/data`; a test fails when it is out of date. Where facts
were uncertain, [uncertain.md](uncertain.md) says what was chosen. An item names its product in `kind` and its model in
`model_name`; models of the *new standard* need an API key. `python -m batch_runner prices` prints every price row.
"""
_FEW = 12


def page() -> str:
    """The whole page."""
    data = packaged()
    parts = [_HEAD, *_overview(), *(line for row in data.products.product for line in _product(row))]
    return "\n".join(parts) + "\n"


def _table(heading: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(heading)} |"
    yield f"|{'---|' * len(heading)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
    yield ""


def _overview() -> Iterator[str]:
    rows = packaged().products.product
    heading = ("kind", "generation", "paid with", "answered", "gives later items")
    cells = (
        (
            f"[{row.kind}](#{_anchor(row)})",
            _generation(row),
            row.pack,
            "at once" if row.sync else "later",
            ", ".join(row.makes),
        )
        for row in rows
    )
    yield from _table(heading, cells)


def _generation(row: ProductRow) -> str:
    return "new standard" if row.generation is Generation.V2 else "v1"


def _title(row: ProductRow) -> str:
    return row.kind if row.generation is Generation.V1 else f"{row.kind}, new standard"


def _anchor(row: ProductRow) -> str:
    return _title(row).replace(",", "").replace(" ", "-")


def _product(row: ProductRow) -> Iterator[str]:
    yield f"## {_title(row)}\n"
    yield f"`POST {row.create_path}` ({row.source})\n"
    yield from _models(row)
    yield from _table(("field", "holds"), _fields(row))
    if rules := list(_rules(row)):
        yield from _table(("rule", "source"), iter(rules))
    yield from _table(("credits", "for", "source"), _prices(row))


def _models(row: ProductRow) -> Iterator[str]:
    models = [
        model for model in packaged().models.model if row.kind in model.kinds and model.generation is row.generation
    ]
    if models:
        heading = ("model", row.grade, "lengths", "options", "output", "source")
        yield from _table(heading, ((*_model(row, model),) for model in models))


def _makers(row: ProductRow) -> list[ModelRow]:
    models = packaged().models.model
    return [model for model in models if row.kind in model.kinds and model.generation is row.generation]


def _model(row: ProductRow, model: ModelRow) -> Iterator[str]:
    grants = [grant for grant in model.grants if row.kind in (grant.kinds or model.kinds)]
    yield f"`{model.name}`"
    yield ", ".join(model.modes) or "-"
    yield seconds_listed(model.durations) if model.durations else "-"
    yield "; ".join(_grant(grant) for grant in grants) or "-"
    yield model.output
    yield f"{model.source}, {model.dated}"


def _grant(grant: GrantRow) -> str:
    words = catalog.feature_words()
    terms = [
        listed(grant.modes) if grant.modes else "",
        seconds_listed(grant.durations) if grant.durations else "",
        *(f"{path} {listed(values)}" for path, values in grant.only.items()),
        *(f"without {words[name]}" for name in grant.without),
    ]
    told = ", ".join(filter(None, terms))
    return f"{words[grant.feature]} ({told})" if told else words[grant.feature]


def _fields(row: ProductRow) -> Iterator[tuple[str, str]]:
    for name, field in fields_of_product(row, packaged()).items():
        yield from _field(name, field)


def _field(path: str, field: FieldRow) -> Iterator[tuple[str, str]]:
    if field.item is not None and field.item.type is FieldType.OBJECT:
        yield f"`{path}[]`", _holds(field)
        for name, inner in field.item.fields.items():
            yield from _field(f"{path}[].{name}", inner)
    else:
        yield f"`{path}`", _holds(field)
        for name, inner in field.fields.items():
            yield from _field(f"{path}.{name}", inner)


def _holds(field: FieldRow) -> str:
    words = [field.type.value if field.item is None else f"list of {field.item.type.value}", *_limits(field)]
    if field.required:
        words.append("required")
    if field.default is not None:
        words.append(f"default {str(field.default).lower() if isinstance(field.default, bool) else field.default}")
    if field.ref:
        words.append(f"{field.ref} of an earlier item")
    return ", ".join(words)


def _limits(field: FieldRow) -> Iterator[str]:
    if field.values:
        yield listed(field.values) if len(field.values) <= _FEW else f"{len(field.values)} values"
    if field.min is not None or field.max is not None:
        yield f"{'any' if field.min is None else field.min} to {'any' if field.max is None else field.max}"
    if field.words:
        yield f"or {listed(field.words)}"
    if field.max_chars is not None:
        yield f"{field.max_chars} characters at most"
    if field.item is not None and (field.min_items or field.max_items):
        yield f"{field.min_items or 0} to {field.max_items or 'any'} entries"
    named = {row.name: row for row in packaged().products.media}
    for name in dict.fromkeys([*filter(None, [field.media]), *(use.media for use in field.media_when)]):
        yield _media(named[name])


def _media(limits: MediaLimits) -> str:
    forms = "address" if limits.forms == ("address",) else "file" if limits.forms == ("file",) else "file or address"
    parts = [f"{limits.type} ({forms}): {'/'.join(limits.formats)}"]
    if limits.max_bytes is not None:
        parts.append(f"{limits.max_bytes // 1024**2} MB")
    if limits.min_side_px is not None or limits.max_side_px is not None:
        upper = f" to {limits.max_side_px}" if limits.max_side_px is not None else " or more"
        parts.append(f"sides {limits.min_side_px or 0}{upper} px")
    if limits.max_ratio is not None:
        parts.append(f"1:{limits.max_ratio} to {limits.max_ratio}:1")
    parts += [f"{low} to {high} s" for low, high in limits.seconds]
    return " ".join(parts)


def _rules(row: ProductRow) -> Iterator[tuple[str, str]]:
    for rule in packaged().rules.rule:
        if row.kind in rule.kinds and rule.generation is row.generation:
            fields = getattr(rule, "fields", None) or [getattr(rule, "field", None) or getattr(rule, "end", "")]
            place = ", ".join(f"`{field}`" for field in fields if field)
            yield f"{place} {rule.what}".strip(), rule.source


def _prices(row: ProductRow) -> Iterator[tuple[str, str, str]]:
    models = {model.name: model for model in _makers(row)}
    for price in catalog.price_rows_of(catalog.default_price_book().name):
        is_about = not price.models or not models or not models.keys().isdisjoint(price.models)
        if row.kind in price.kinds and is_about:
            credits_ = f"{price.words} ({price.pack or row.pack})"
            yield credits_, _covers(price, models), f"{price.source}, {price.dated}"


def _covers(price: PriceRow, models: dict[str, ModelRow]) -> str:
    words = catalog.feature_words()
    makers = [name for name in price.models if name in models] or [name or "a clip not known" for name in price.models]
    grades = {grade for name in makers if name in models for grade in models[name].modes}
    parts = [
        listed(makers, "and"),
        listed([mode for mode in price.modes if mode in grades or not grades]),
        *(words[name] for name in price.with_),
        *(f"without {words[name]}" for name in price.without),
    ]
    return ", ".join(filter(None, parts)) or "any"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
