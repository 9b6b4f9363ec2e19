"""Checks that many products share, each made for its fields; unknown fields are never looked at."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from typing import Any

from batch_runner.sandbox.codes import (
    MODEL_UNSUPPORTED,
    VOICE_UNKNOWN,
    Denied,
    empty,
    invalid,
    unknown_model,
    unknown_source,
)
from batch_runner.sandbox.products.models import EVERY
from batch_runner.sandbox.products.product import Request, Rule

LONGEST_TEXT = 2500
_ID = re.compile(r"-?\d{1,19}")


def model(request: Request) -> Denied | None:
    """A model of this product; one of another product and one nobody knows are told apart."""
    name = request.given("model_name")
    if name is None or str(name) in request.product.models:
        return None
    return MODEL_UNSUPPORTED if str(name) in EVERY else unknown_model(str(name))


def choice(field: str, *legal: str) -> Rule:
    """One of some words."""

    def rule(request: Request) -> Denied | None:
        value = request.given(field)
        return None if value is None or value in legal else invalid(field, value)

    return rule


def text(field: str, most: int = LONGEST_TEXT) -> Rule:
    """A text of so many characters at most."""

    def rule(request: Request) -> Denied | None:
        value = request.given(field)
        fits = value is None or (isinstance(value, str) and len(value) <= most)
        return None if fits else invalid(field, value)

    return rule


def needed(*fields: str) -> Rule:
    """Fields that must be there."""

    def rule(request: Request) -> Denied | None:
        return next((empty(field) for field in fields if request.given(field) is None), None)

    return rule


def one_of(*fields: str) -> Rule:
    """Exactly one of some fields."""

    def rule(request: Request) -> Denied | None:
        there = [field for field in fields if request.given(field) is not None]
        if not there:
            return empty(fields[0])
        return None if len(there) == 1 else invalid(there[1], f"with {there[0]}")

    return rule


def number(field: str, low: float, high: float) -> Rule:
    """A number between two, both included."""

    def rule(request: Request) -> Denied | None:
        value = request.given(field)
        return None if value is None or is_number(value, low, high) else invalid(field, value)

    return rule


def whole(field: str, low: int, high: int) -> Rule:
    """A whole number; the vendor's samples also send it as text."""

    def rule(request: Request) -> Denied | None:
        value = request.given(field)
        return None if value is None or is_whole(value, low, high) else invalid(field, value)

    return rule


def flag(field: str) -> Rule:
    """True or false; the vendor's samples also send the words."""

    def rule(request: Request) -> Denied | None:
        value = request.given(field)
        return None if value is None or value in (True, False, "true", "false") else invalid(field, value)

    return rule


def rows(field: str, least: int, most: int, fits: Callable[[Any], bool] = lambda _: True) -> Rule:
    """A list of so many objects; absent is legal unless it is ``needed``."""

    def rule(request: Request) -> Denied | None:
        value = request.given(field)
        if value is None:
            return None
        return None if is_rows(value, least, most, fits) else invalid(field, value)

    return rule


def is_rows(value: Any, least: int, most: int, fits: Callable[[Any], bool]) -> bool:
    """A list of so many objects, each of which fits."""
    right = isinstance(value, list) and least <= len(value) <= most
    return right and all(isinstance(row, dict) and fits(row) for row in value)


def has_text(key: str) -> Callable[[Any], bool]:
    """Whether a row has some text under the key."""
    return lambda row: isinstance(row.get(key), str) and bool(row[key])


def is_word(value: Any, words: Container[str]) -> bool:
    """One of some words; what is no text is none of them."""
    return isinstance(value, str) and value in words


def is_number(value: Any, low: float, high: float) -> bool:
    """A number, not a truth value, within two bounds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def is_whole(value: Any, low: int, high: int) -> bool:
    """A whole number within two bounds, also as digits."""
    digits = isinstance(value, str) and _ID.fullmatch(value) is not None
    return is_number(int(value) if digits else value, low, high) and (digits or isinstance(value, int))


def elements_exist(request: Request) -> Denied | None:
    """Every element named is one of the account's or a preset one."""
    for row in request.given("element_list") or ():
        element_id = str(row.get("element_id", ""))
        if request.known.element(element_id) is None:
            return unknown_source("Element", element_id)
    return None


def voices_exist(request: Request) -> Denied | None:
    """Every voice named is one of the account's or a preset one; voices for reading texts are other ones."""
    for row in request.given("voice_list") or ():
        if request.known.voice(str(row.get("voice_id", ""))) is None:
            return VOICE_UNKNOWN
    return None


def own_words(request: Request) -> Denied | None:
    """The caller's own id and the address to call: printable texts."""
    for field in ("external_task_id", "callback_url"):
        value = request.given(field)
        if value is not None and not (isinstance(value, str) and value.isprintable()):
            return invalid(field, value)
    return None
