"""The manifest's own words beside the API's fields, and what their values may be. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, NamedTuple

from batch_runner.catalog.problems import json_type, shown
from batch_runner.manifest.names import composed, id_trouble

OWN_WORDS: Final = (
    *("id", "kind", "priority", "credits", "seconds", "samples", "sample"),
    *("prompt_file", "vars", "allow_unknown_model"),
)
OF_ONE_ITEM: Final = frozenset({"id", "sample"})
"""Words that no two lines can share, so that defaults cannot hold them."""
MAX_PRIORITY: Final = 1_000_000_000
MAX_SAMPLES: Final = 10_000
MAX_SECONDS: Final = 36_000
"""Ten hours: nothing that Kling takes or makes is that long."""

WORDS: Final = frozenset(OWN_WORDS)
_COMMON: Final = frozenset({"id", "kind", "priority"})
_PLAIN_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,10}")

Tell = Callable[[str | None, str, str], None]
"""Takes the field, what is wrong with it, and a hint."""


class OwnWords(NamedTuple):
    """What a line says of its item in the manifest's own words; a wrong value was told and reads as absent.

    Attributes:
        id: the given id in composed form; None when there is none, or none that will do.
        has_id: whether the line gives one, good or not.
        kind: as it stands there.
        priority: higher is submitted first.
        credits: what one item is expected to consume, decimal.
        seconds: the length of a source whose length cannot be read.
        samples: how many items the line makes, or None for one without a number.
        sample: which of several this one is, as ``plan --expand`` writes it.
        allow_unknown_model: whether a model nobody knows here is let through.
    """

    id: str | None
    has_id: bool
    kind: Any
    priority: int = 0
    credits: Decimal | None = None
    seconds: Decimal | None = None
    samples: int | None = None
    sample: int | None = None
    allow_unknown_model: bool = False

    @property
    def numbers(self) -> list[int | None]:
        """The numbers of the items the line makes."""
        return [self.sample] if self.samples is None else list(range(1, self.samples + 1))

    def as_record(self) -> dict[str, Any]:
        """What a line that asks for one of these items says, without its id, kind and number."""
        said: dict[str, Any] = {}
        if self.priority:
            said["priority"] = self.priority
        for name in ("credits", "seconds"):
            if (value := getattr(self, name)) is not None:
                said[name] = str(value)
        if self.allow_unknown_model:
            said["allow_unknown_model"] = True
        return said


def taken(record: dict[str, Any], tell: Tell) -> OwnWords:
    """The own words of a record, which loses them; what is wrong with them is told."""
    given = {name: record.pop(name) for name in WORDS & record.keys()}
    if given.keys() <= _COMMON:  # most lines of a long manifest
        id_, priority = _id(given.get("id"), None, tell), _priority(given, tell)
        return OwnWords(id_, given.get("id") is not None, given.get("kind"), priority)
    given = dict.fromkeys(OWN_WORDS) | given
    samples = _whole("samples", given["samples"], 1, MAX_SAMPLES, tell)
    sample = _whole("sample", given["sample"], 1, MAX_SAMPLES, tell)
    if samples is not None and sample is not None:
        tell("sample", "is one item, and samples makes several", "leave one of them out")
    return OwnWords(
        id=_id(given["id"], samples, tell),
        has_id=given["id"] is not None,
        kind=given["kind"],
        priority=_priority(given, tell),
        credits=_decimal("credits", given["credits"], "credits, such as 3.5", tell),
        seconds=_seconds(given["seconds"], tell),
        samples=samples,
        sample=sample,
        allow_unknown_model=_switch("allow_unknown_model", given["allow_unknown_model"], tell),
    )


def _priority(given: dict[str, Any], tell: Tell) -> int:
    return _whole("priority", given.get("priority"), -MAX_PRIORITY, MAX_PRIORITY, tell) or 0


def _id(value: Any, samples: int | None, tell: Tell) -> str | None:
    """The id in composed form, or None when there is none or it will not do."""
    if value is None:
        return None
    if not isinstance(value, str):
        hint = f'write "{value}"' if type(value) is int and abs(value) < 10**20 else ""
        tell("id", f"must be text, not {json_type(value)}", hint)
        return None
    id_ = composed(value)
    longest = id_ if samples is None or not id_ else numbered(id_, samples)
    if trouble := id_trouble(longest):
        tell("id", f"{shown(longest)} {trouble}", "an id is the name of a file")
        return None
    return id_


def numbered(id_: str, sample: int | None) -> str:
    """The id of one of several items that one line makes."""
    return id_ if sample is None else f"{id_}-{sample}"


def _whole(name: str, value: Any, least: int, most: int, tell: Tell) -> int | None:
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value.strip()):
        value = int(value)  # a cell of a table
    if value is None or (type(value) is int and least <= value <= most):
        return value
    bounds = f"up to {most}" if least < 0 else f"from {least} to {most}"
    tell(name, f"must be a whole number {bounds}, not {json_type(value)}", "")
    return None


def _decimal(name: str, value: Any, what: str, tell: Tell) -> Decimal | None:
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else str(value)
    if isinstance(value, bool) or not _PLAIN_NUMBER.fullmatch(text):
        tell(name, f"must be a plain number of {what}, not {shown(value)}", "")
        return None
    return Decimal(text)


def _seconds(value: Any, tell: Tell) -> Decimal | None:
    seconds = _decimal("seconds", value, "seconds, such as 12.5", tell)
    if seconds is not None and not 0 < seconds <= MAX_SECONDS:
        tell("seconds", f"{shown(value)} is outside 0 to {MAX_SECONDS}", "")
        return None
    return seconds


def _switch(name: str, value: Any, tell: Tell) -> bool:
    word = value.strip().lower() if isinstance(value, str) else value
    if word is None or word is False or word == "false":
        return False
    if word is not True and word != "true":
        tell(name, f"must be true or false, not {json_type(value)}", "")
    return True
