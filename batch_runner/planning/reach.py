"""How much of a batch a budget does, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from batch_runner.model import Item


@dataclass(frozen=True, slots=True)
class Reach:
    """What a budget does.

    Attributes:
        done: ids of the items it pays for, in the order they are submitted.
        left_out: ids of those it does not, in the same order.
    """

    done: tuple[str, ...]
    left_out: tuple[str, ...]


def reach(items: Sequence[Item], available: Mapping[str, Decimal]) -> Reach:
    """Which of the items that are left a budget pays for, as a run would take them.

    Highest priority first, then manifest order; one that does not fit does not delay cheaper ones behind it, and one
    whose source is left out is left out too. ``available`` is what the budget leaves by pack; a pack without one has
    no limit.
    """
    left = dict(available)
    ids = {item.id for item in items}
    done: list[str] = []
    taken: set[str] = set()
    todo = sorted(items, key=lambda item: (-item.priority, item.line))
    while todo:
        later = []
        for item in todo:
            if any(source in ids and source not in taken for source in item.sources):
                later.append(item)
            elif item.price.pack not in left or left[item.price.pack] >= item.price.credits:
                if item.price.pack in left:
                    left[item.price.pack] -= item.price.credits
                taken.add(item.id)
                done.append(item.id)
        if len(later) == len(todo) or not any(set(item.sources) & taken for item in later):
            break
        todo = later
    left_out = tuple(
        item.id for item in sorted(items, key=lambda item: (-item.priority, item.line)) if item.id not in taken
    )
    return Reach(tuple(done), left_out)
