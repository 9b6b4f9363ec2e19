"""How the catalog says what is wrong with a field, and finds what was probably meant."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHOWN_CHARS = 40
LIKE_A_NAME = 0.6
"""A misspelt field is so much like the one that was meant; values (``standard`` for ``std``) may be less so."""
MOST_LISTED = 8
"""More values or products than these are not told one by one."""
SHOWN_NAME_CHARS = 60
"""As long as a message bears."""

_PART_ENDS = re.compile(r"[-_]")


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing wrong with the fields of an item.

    Attributes:
        field: the field's path (``camera_control.config.pan``, ``multi_prompt[0].prompt``).
        what: what is wrong, and the rule it breaks.
        hint: the nearest right name or value, or what to do; may be empty.
        source: where the rule stands that it breaks, and of when; empty for what needs no source.
    """

    field: str
    what: str
    hint: str = ""
    source: str = ""


def shown(value: object) -> str:
    """A value as a message may show it: short, on one line, cut in the middle when long."""
    if isinstance(value, list | dict):
        return json_type(value)
    if value is None or isinstance(value, bool):
        return str(json.dumps(value))
    if isinstance(value, str) and len(value) > 3 * SHOWN_CHARS:
        value = value[: 2 * SHOWN_CHARS] + value[-SHOWN_CHARS:]
    text = repr(value)
    half = (SHOWN_CHARS - 3) // 2
    return text if len(text) <= SHOWN_CHARS else f"{text[:half]}...{text[-half:]}"


def label(name: str) -> str:
    """A name out of somebody's file as a message may show it."""
    return name if name.isprintable() and len(name) <= SHOWN_NAME_CHARS else shown(name)


def json_type(value: object) -> str:
    """What a JSON value is, for "must be a list, not ..."."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else shown(value)


def nearest(word: object, known: Iterable[str], likeness: float = 0.5) -> str:
    """``did you mean "..."`` for the known word most like this one, or an empty text."""
    meant = nearest_name(word, known, likeness)
    return f'did you mean "{meant}"?' if meant else ""


def nearest_name(word: object, known: Iterable[str], likeness: float) -> str | None:
    """The known word most like this one, if any is as much like it as ``likeness`` from 0 to 1 says."""
    names = {name.lower(): name for name in known}
    if not isinstance(word, str) or len(word) > SHOWN_CHARS:
        return None
    holding = [name for name in names if word.lower() in _PART_ENDS.split(name)]
    close = holding if len(holding) == 1 else difflib.get_close_matches(word.lower(), names, n=1, cutoff=likeness)
    return names[close[0]] if close else None


def listed(words: Iterable[object], last: str = "or") -> str:
    """``std, pro or 4k``."""
    texts = [str(word) for word in words]
    return f" {last} ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))


def few(words: Sequence[str], most: int = MOST_LISTED) -> str:
    """The words, or the first of them where there are too many to tell."""
    return listed(words) if len(words) <= most else f"{', '.join(words[:most])} and others"


def seconds_listed(durations: Iterable[int]) -> str:
    """Clip lengths in words: ``5 or 10 s``, ``3 to 15 s``."""
    lengths = sorted(set(durations))
    is_range = len(lengths) > 2 and lengths == list(range(lengths[0], lengths[-1] + 1))  # noqa: PLR2004 - two are a pair
    return f"{lengths[0]} to {lengths[-1]} s" if is_range else f"{listed(lengths)} s"
