"""What the files of an item are called, and which items would make files of one name. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from batch_runner.catalog import MadeFiles

DERIVED_NAMES: Final = frozenset({"results.jsonl", "ledger.jsonl", "report.html", "summary.json"})
"""The files that every run writes anew in the batch's folder: no item's file has one of these names."""
_MOST_DIGITS: Final = 3


def file_names(id_: str, endings: Sequence[str]) -> list[str]:
    """The names of an item's files with these endings: plain for one, numbered from 1 for several or a derived name."""
    if len(endings) == 1 and not _is_derived(id_ + endings[0]):
        return [id_ + endings[0]]
    return [_numbered(id_, number) + ending for number, ending in enumerate(endings, start=1)]


def plain_names(id_: str, made: MadeFiles) -> list[str]:
    """The names that the file of an item which makes these may have where it is the only one, the usual one first."""
    return [name for ending in made.endings_alone() if not _is_derived(name := id_ + ending)]


def numbered_names(id_: str, made: MadeFiles, number: int) -> list[str]:
    """The names that the file of this number of an item which makes these may have, the usual one first."""
    endings = made.endings_at(number)
    if number == 1:
        endings += tuple(ending for ending in made.endings_alone() if _is_derived(id_ + ending))
    return [_numbered(id_, number) + ending for ending in dict.fromkeys(endings)]


def rivals(id_: str, made: MadeFiles, made_by: Callable[[str], MadeFiles | None]) -> Iterator[tuple[str, str]]:
    """Other items that may make a file which is called like one of this item's: the id of each, and the file's name.

    Only a plain name can be another item's numbered one. What a run writes beside a file while it is fetched or
    restored is called like the file with something after its ending, and so differs wherever the files do.

    Args:
        id_: the item.
        made: what it makes.
        made_by: what an item of an id makes, None where there is none.
    """
    if (parts := _parts(id_)) is not None and (other := made_by(parts[0])) is not None:
        names = numbered_names(parts[0], other, parts[1])
        yield from ((parts[0], name) for name in plain_names(id_, made) if name in names)
    for number in range(1, max(made.most, 1) + 1):
        if (other := made_by(_numbered(id_, number))) is not None:
            plain = plain_names(_numbered(id_, number), other)
            names = numbered_names(id_, made, number)
            yield from ((_numbered(id_, number), name) for name in names if name in plain)


def _numbered(id_: str, number: int) -> str:
    return f"{id_}-{number}"


def _parts(id_: str) -> tuple[str, int] | None:
    """The id and the number that a numbered name of this kind was made of, if it can be such a one."""
    base, _, digits = id_.rpartition("-")
    is_number = base and digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS and digits[0] != "0"
    return (base, int(digits)) if is_number else None


def _is_derived(name: str) -> bool:
    return name.casefold() in DERIVED_NAMES
