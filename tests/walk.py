"""What the facts call legal, row by row with its price, and what they call illegal. Typed in by hand, not read from
the catalogue: a mistake in one of them shows as a difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from clip_facts import PICTURE

VIDEO = "https://media.example.org/clip.mp4"
SOUND = "https://media.example.org/speech.mp3"
PROMPT = "a heron lifts off the water"


@dataclass(frozen=True, slots=True)
class Legal:
    """An item that the facts allow.

    Attributes:
        name: which row of the facts it is.
        kind: its product.
        fields: what it asks for.
        credits: the price of its row; None where no table has one.
        pack: the currency.
        source_s: the length of its source, where that decides the price.
        inherited: model and mode of the clip that it goes on with.
        slots: how many of the account's slots its task holds.
    """

    name: str
    kind: str
    fields: dict[str, Any]
    credits: Decimal | None
    pack: str = "video"
    source_s: Decimal | None = None
    inherited: Mapping[str, str] = field(default_factory=dict)
    slots: int = 1


@dataclass(frozen=True, slots=True)
class Illegal:
    """An item that the facts forbid, and the field a problem must name."""

    name: str
    kind: str
    fields: dict[str, Any]
    field: str


Step = Legal | Illegal


def made_by(provider: str) -> dict[str, str]:
    """Stands where the result of another item is taken."""
    return {"item": provider}


def walk() -> Iterator[Step]:
    """Every row of the facts."""
    import walk_clips  # noqa: PLC0415 - these modules take their words from this one
    import walk_edits  # noqa: PLC0415 - as above
    import walk_images  # noqa: PLC0415 - as above
    import walk_omni  # noqa: PLC0415 - as above
    import walk_v2  # noqa: PLC0415 - as above

    for rows in (walk_clips, walk_omni, walk_edits, walk_images, walk_v2):
        yield from rows.steps()


__all__ = ["PICTURE", "PROMPT", "SOUND", "VIDEO", "Illegal", "Legal", "Step", "made_by", "walk"]
