"""What a finished task left behind, in both API generations: files, facts without addresses, ids. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from batch_runner.kling.envelope import MalformedAnswer, id_at, quantity
from batch_runner.model import FACTS_SUFFIX, SUFFIXES, Asset

_LONGEST_URL = 8192
_DEEPEST = 40
"""Documented results are four levels deep; what lies deeper than this is left out of the facts."""
_GONE = object()
_ELEMENT_ID = re.compile(r"\d{1,19}")


def file_asset(url: Any, duration_s: Any, default_suffix: str, asset_id: str | None) -> Asset:
    """A file of the task. One without a usable link counts too: the task was paid, and its end must be told.

    Its ending is that of its link if a file of this kind may have it: what items may be called rests on that.
    """
    path = _path_of(url)
    if path is None:
        return Asset("", default_suffix, quantity(duration_s), asset_id)
    suffix = PurePosixPath(path).suffix.lower()
    return Asset(url, suffix if suffix in _alike(default_suffix) else default_suffix, quantity(duration_s), asset_id)


@cache
def _alike(suffix: str) -> tuple[str, ...]:
    """The endings that a file may have whose usual ending this is."""
    return next(suffixes for suffixes in SUFFIXES.values() if suffix in suffixes)


def facts_asset(facts: Any) -> Asset:
    """A result that is ids and facts, as a JSON file of its own with every address taken out."""
    text = json.dumps(_bare(facts, _DEEPEST), default=_plain, ensure_ascii=False, sort_keys=True, indent=2)
    # A lone surrogate becomes the JSON escape it came from: no UTF-8 file could hold the character itself.
    return Asset("", FACTS_SUFFIX, content=text.encode("utf-8", "backslashreplace") + b"\n")


def made(found: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Ids that later items may name: the first of each under its own name, all of them under its plural.

    Args:
        found: name (``video_id``) and id as it came; what cannot be an id is left out.
    """
    ids: dict[str, list[Any]] = {}
    for name, value in found:
        known, one = ids.setdefault(name, []), _id(name, value)
        if one is not None and one not in known:
            known.append(one)
    first = {name: known[0] for name, known in ids.items() if known}
    return first | {f"{name}s": known for name, known in ids.items() if known}


def soft_id(row: dict[str, Any], key: str) -> str | None:
    """The id under ``key``, None also for what is no id: a paid result is not given up for a detail."""
    try:
        return id_at(row, key)
    except MalformedAnswer:
        return None


def _id(name: str, value: Any) -> str | int | None:
    text = soft_id({name: value}, name)
    if text is not None and name == "element_id" and text.isascii() and _ELEMENT_ID.fullmatch(text):
        return int(text)  # requests take it as a number (kling-api 3.2), answers give it as either
    return None if text is None or _is_address(text) else text


def _bare(value: Any, depth: int) -> Any:
    """A JSON value without its addresses; what is nothing else than an address goes with its key."""
    if isinstance(value, str):
        return _without_addresses(value)
    if isinstance(value, dict) and depth:
        bare = {key: _bare(each, depth - 1) for key, each in value.items() if not _is_address(key)}
        return {key: each for key, each in bare.items() if each is not _GONE}
    if isinstance(value, list) and depth:
        return [each for each in (_bare(one, depth - 1) for one in value) if each is not _GONE]
    return _GONE if isinstance(value, dict | list) else value


def _without_addresses(text: str) -> Any:
    words = text.split()
    kept = [word for word in words if not _is_address(word)]
    if len(kept) == len(words):
        return text
    return " ".join(kept) if kept else _GONE


def _is_address(word: str) -> bool:
    """Whether a word could lead somewhere. Masks of images hold ``?`` and ``=`` as well, but no slash before them."""
    place, _, query = word.partition("?")
    return "://" in word or word.startswith("//") or ("/" in place and "=" in query)


def _plain(value: Any) -> float | str:
    """A fraction of an answer as a JSON number, or as text where a binary fraction would alter it."""
    assert isinstance(value, Decimal)
    number = float(value) if value.is_finite() else None
    return str(value) if number is None or Decimal(repr(number)) != value else number


def _path_of(url: Any) -> str | None:
    """The path of an http address, None for what is none."""
    if not isinstance(url, str) or len(url) > _LONGEST_URL or not url.isprintable():
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.path if parts.scheme in {"http", "https"} and parts.netloc else None
