"""A manifest file as a whole: its items in order, or its problems."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from batch_runner.catalog.problems import FieldProblem, nearest, shown
from batch_runner.errors import ManifestError, Problem
from batch_runner.manifest.chains import Chain
from batch_runner.manifest.draft import Draft, Made, Surroundings
from batch_runner.manifest.expansion import Entry, Expansion
from batch_runner.manifest.media_fields import Inspect, MediaReader, load_body
from batch_runner.manifest.own_words import numbered
from batch_runner.manifest.records import records
from batch_runner.manifest.registry import Facts, Registry
from batch_runner.manifest.source import Source, format_of
from batch_runner.model import Item
from batch_runner.wording import by_count

MOST_COMPARED: Final = 10_000
"""Items among which the one is looked for that a wrong name meant."""
MAX_PROBLEMS: Final = 1000
"""Problems told one by one; the rest is counted."""


class Manifest:
    """A manifest. Nothing is read before it is asked for; every question reads its text anew.

    Args:
        source: the file, or text that was read already.
        inspect: looks at the local files that lines name.
        most_slots: a task that needs more slots at once than this could never be submitted; None for no limit.
        standing: the ids that earlier runs of the batch took in, and whether each is finished, paid or under way;
            asked for only where they make a difference.
    """

    def __init__(
        self,
        source: Path | Source,
        inspect: Inspect,
        most_slots: int | None = None,
        standing: Callable[[], Mapping[str, bool]] = dict,
    ) -> None:
        self._most_slots = most_slots
        self._standing = cache(standing)
        self._source = source if isinstance(source, Source) else Source(source, format_of(source))
        self._media = MediaReader(self._source.folder, inspect)
        self._index: Registry | None = None
        self._named: Registry | None = None

    @property
    def path(self) -> Path:
        """The file, or what stands for its name."""
        return self._source.path

    def problems(self) -> tuple[list[Problem], int]:
        """The first thousand problems in the order of the file, and how many more there are."""
        self._index = self._named = None
        told: list[Problem] = []
        omitted = 0
        for outcome in self._outcomes():
            if not isinstance(outcome, Made):
                room = MAX_PROBLEMS - len(told)
                told += outcome[:room]
                omitted += len(outcome[room:])
        return sorted(told, key=lambda problem: problem.line or 0), omitted

    def check(self) -> None:
        """Raises ManifestError with all problems, if there are any."""
        found, omitted = self.problems()
        if found:
            raise ManifestError(str(self.path), found, omitted)

    def items(self) -> Iterator[Item]:
        """The items in the order of the file; raises ManifestError at the first line with a problem."""
        return (made.item for made in self._made())

    def expanded(self) -> Iterator[str]:
        """The items as lines of a manifest with nothing left out; raises like ``items``."""
        return (expanded(made) for made in self._made())

    def _made(self) -> Iterator[Made]:
        for outcome in self._outcomes():
            if not isinstance(outcome, Made):
                raise ManifestError(str(self.path), outcome)
            yield outcome

    def _outcomes(self) -> Iterator[Made | list[Problem]]:
        """What became of each line that is not blank, and of the manifest as a whole."""
        registry = Registry()
        for outcome in self._read(registry, lambda id_: registry.facts(id_) or self._facts_of(id_)):
            yield self._too_wide(outcome.item) or outcome if isinstance(outcome, Made) else outcome
        if late := list(self._late(registry)):
            yield late

    def _too_wide(self, item: Item) -> list[Problem]:
        if self._most_slots is None or item.slots <= self._most_slots or self._standing().get(item.id):
            return []
        are = by_count(self._most_slots, "is", "are")
        what = (
            f"makes {item.slots} pictures at once, each of which takes a slot, and there {are} only {self._most_slots}"
        )
        return [Problem(item.line, "n", what, "ask for fewer, or raise --max-concurrent where the account allows it",
                        "concurrency rules of the vendor, 2026-09")]  # fmt: skip

    def _read(self, registry: Registry, facts_of: Callable[[str], Facts | None]) -> Iterator[Made | list[Problem]]:
        """What became of each line, while its items are kept in the registry."""
        around = Surroundings(self._media, registry, facts_of, self._has_stood)
        expansion = Expansion(self._source.folder)
        for line, record in records(self._source):
            if isinstance(record, Problem):
                expansion.unreadable()
                yield [record]
                continue
            entry = expansion.entry(line, record)
            if isinstance(entry, Entry):
                yield from Draft(entry, around).outcomes()
            elif entry:
                yield entry
        if problems := expansion.leftovers():
            yield problems

    def _has_stood(self, id_: str) -> bool:
        return id_ in self._standing()

    def _facts_of(self, id_: str) -> Facts | None:
        """What is known of an item that may come later: all lines are read for it, once."""
        if self._index is None:
            self._index = self._read_through(Registry())
        return self._index.facts(id_)

    def _read_through(self, registry: Registry) -> Registry:
        """The registry with all items of the manifest in it."""
        for _ in self._read(registry, registry.facts):
            pass
        return registry

    def _late(self, registry: Registry) -> Iterator[Problem]:
        """What is wrong with references, once all items have come."""
        for line, chain in registry.waiting:
            if registry.has(chain.item):
                problem = registry.problem(chain)
            else:
                problem = FieldProblem(
                    chain.field, f"no item is called {shown(chain.item)}", self._meant(chain, registry)
                )
            if problem is not None:
                yield Problem(line, problem.field, problem.what, problem.hint, problem.source)
        for circle in self._cycles(registry):
            names = self._names()
            way = " -> ".join(names[key] for key in (*circle, circle[0]))
            yield Problem(registry.line_of(circle[0]), None, f"takes its own result: {way}", "one of them must not")

    def _cycles(self, registry: Registry) -> Iterator[list[int]]:
        """The circles of references; whose every item names only earlier ones has none."""
        return self._read_through(Registry(keeps_sources=True)).cycles() if registry.has_forward else iter(())

    def _meant(self, chain: Chain, registry: Registry) -> str:
        """A hint at the item that was probably meant."""
        if registry.has(numbered(chain.item, 1)):
            return f'its line makes several: name one, such as "{numbered(chain.item, 1)}"'
        return nearest(chain.item, self._names().values()) if len(registry) <= MOST_COMPARED else ""

    def _names(self) -> dict[int, str]:
        """The ids of all items; the reading that found something wrong with them kept none."""
        if self._named is None:
            self._named = self._read_through(Registry(keeps_names=True))
        assert self._named.names is not None
        return self._named.names


def expanded(made: Made) -> str:
    """An item as a line that gives the same item and fingerprint, whatever folder it stands in."""
    body = load_body(made.item.body, lambda path, _: str(path))
    return json.dumps({"id": made.item.id, "kind": made.item.kind, **made.words, **body}, ensure_ascii=False)
