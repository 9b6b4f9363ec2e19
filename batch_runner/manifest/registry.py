"""What is kept of every item while a manifest is read: enough to judge whether others may take its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from batch_runner import catalog
from batch_runner.catalog import MadeFiles, MediaLimits
from batch_runner.catalog.problems import FieldProblem, few, listed, shown
from batch_runner.manifest.chains import Chain
from batch_runner.manifest.file_names import rivals
from batch_runner.manifest.media_fields import length_problem

_LINE_BITS: Final = 40
_LINE_MASK: Final = (1 << _LINE_BITS) - 1


class Facts(NamedTuple):
    """What others may want to know of an item; a manifest has few different ones.

    Attributes:
        kind: its product; empty for an item that has problems of its own, of which nothing is known.
        model: its model.
        mode: its mode, where it has one.
        files: how many it asks for.
        length_s: seconds of what it makes, or None when nobody can say.
        made: which files it may make.
    """

    kind: str = ""
    model: str = ""
    mode: str = ""
    files: int = 1
    length_s: Decimal | None = None
    made: MadeFiles = MadeFiles()


class Reference(NamedTuple):
    """A reference to an item that had not come yet, with the line it stands on."""

    line: int
    chain: Chain


class Registry:
    """The items of one reading of a manifest, each as two numbers.

    Their names and what each takes are kept only where that is asked for, so that a long manifest of items that take
    the results of earlier ones needs no more memory than another.
    """

    def __init__(self, *, keeps_names: bool = False, keeps_sources: bool = False) -> None:
        self.names: dict[int, str] | None = {} if keeps_names else None
        self._items: dict[int, int] = {}
        self._facts: list[Facts] = [Facts()]
        self._codes: dict[Facts, int] = {Facts(): 0}
        self._sources: dict[int, tuple[int, ...]] | None = {} if keeps_sources else None
        self._models_of: dict[int, int] = {}
        self._lengths_of: dict[int, int] = {}
        self.has_forward = False
        self.waiting: list[Reference] = []

    def note(self, id_: str, line: int, facts: Facts) -> int | None:
        """Keep an item; the line of an earlier one of the same id, if there is one."""
        if self.names is not None:
            self.names[hash(id_)] = id_
        code = self._codes.setdefault(facts, len(self._facts))
        if code == len(self._facts):
            self._facts.append(facts)
        first = self._items.setdefault(hash(id_), line | code << _LINE_BITS) & _LINE_MASK
        return None if first == line else first

    def rivals(self, id_: str, made: MadeFiles) -> Iterator[tuple[str, int, str]]:
        """Items that have come and may make a file that is called like one of this item's, which makes these.

        The id and line of each, and the name of the file.
        """
        for other, name in rivals(id_, made, self._made_by):
            yield other, self.line_of(hash(other)), name

    def _made_by(self, id_: str) -> MadeFiles | None:
        facts = self._own(hash(id_))
        return None if facts is None else facts.made

    def refer(self, ids: Sequence[str], line: int, chains: Sequence[Chain]) -> Iterator[FieldProblem]:
        """Keep what the items of a line take; what is wrong with those references.

        A reference to an item that has not come yet is judged when all have.
        """
        if self._sources is not None:
            self._sources.update((hash(id_), tuple(hash(chain.item) for chain in chains)) for id_ in ids)
        for chain in chains:
            known = self._items.get(hash(chain.item))
            if known is None or known & _LINE_MASK >= line:
                self.has_forward = True
            if self.facts(chain.item) is None:
                self.waiting.append(Reference(line, chain))
            elif (problem := self.problem(chain)) is not None:
                yield problem

    def supplied(self, facts: Facts, *, model_of: str | None, length_of: str | None) -> Facts:
        """The facts with what sources that have come say of model and mode, and of the length."""
        model, length = (None if id_ is None else self.facts(id_) for id_ in (model_of, length_of))
        if model is not None:
            facts = facts._replace(model=model.model, mode=model.mode)
        return facts if length is None else facts._replace(length_s=length.length_s)

    def inherit(self, id_: str, *, model_of: str | None, length_of: str | None) -> None:
        """Whose model and mode, and whose length, an item has that does not say its own; of those that are to come."""
        if model_of is not None and self.facts(model_of) is None:
            self._models_of[hash(id_)] = hash(model_of)
        if length_of is not None and self.facts(length_of) is None:
            self._lengths_of[hash(id_)] = hash(length_of)

    def __len__(self) -> int:
        return len(self._items)

    def has(self, id_: str) -> bool:
        """Whether an item of this id has come."""
        return hash(id_) in self._items

    def facts(self, id_: str) -> Facts | None:
        """What is known of an item, from its sources too; None when it, or one of those, has not come."""
        key = hash(id_)
        own, model, length = self._own(key), self._end(key, self._models_of), self._end(key, self._lengths_of)
        if own is None or model is None or length is None:
            return None
        return own._replace(model=model.model, mode=model.mode, length_s=length.length_s)

    def _own(self, key: int) -> Facts | None:
        known = self._items.get(key)
        return None if known is None else self._facts[known >> _LINE_BITS]

    def _end(self, key: int, links: Mapping[int, int]) -> Facts | None:
        """The facts at the end of a way along these links; one that goes in a circle knows nothing."""
        seen = set()
        while key in links:
            if key in seen:
                return Facts()
            seen.add(key)
            key = links[key]
        return self._own(key)

    def problem(self, chain: Chain) -> FieldProblem | None:
        """Why the item, which has come, cannot give what the field wants; None if it can, or nobody can say."""
        facts = self.facts(chain.item)
        return next(_refusals(chain, facts), None) if facts is not None and facts.kind else None

    def cycles(self) -> Iterator[list[int]]:
        """The circles in which items wait for each other, each as the keys of its items; sources must be kept."""
        assert self._sources is not None
        sources = self._sources
        done: set[int] = set()
        for start in sources:
            path: dict[int, Iterator[int]] = {}
            key: int | None = start
            while key is not None:
                if key not in done and key not in path:
                    path[key] = iter(sources.get(key, ()))
                elif key in path:
                    yield list(path)[list(path).index(key) :]
                key = self._next(path, done)

    @staticmethod
    def _next(path: dict[int, Iterator[int]], done: set[int]) -> int | None:
        """The next key to look at on a walk along sources; keys without one left are done."""
        while path:
            last = next(reversed(path))
            following = next(path[last], None)
            if following is not None:
                return following
            done.add(last)
            del path[last]
        return None

    def line_of(self, key: int) -> int:
        """The line of an item that has come, by its key."""
        return self._items[key] & _LINE_MASK


def _refusals(chain: Chain, facts: Facts) -> Iterator[FieldProblem]:
    """Every reason why an item with these facts cannot give what the field wants."""
    product, want, name = catalog.product(facts.kind, facts.model), chain.want, shown(chain.item)
    if want.made not in product.makes:
        makers = [kind for kind in catalog.kinds() if want.made in catalog.product(kind).makes]
        what = f"takes {_a(want.made)}, and {name} ({facts.kind}) makes none"
        yield FieldProblem(chain.field, what, f"made by {few(makers, 3)}")
    if want.origin.kinds and facts.kind not in want.origin.kinds:
        what = f"takes {_a(want.made)} made by {listed(want.origin.kinds)}, and {name} is {facts.kind}"
        yield FieldProblem(chain.field, what, "", want.source)
    if want.origin.models and facts.model not in want.origin.models:
        what = f"takes {_a(want.made)} made by {listed(want.origin.models)}, and {name} by {facts.model}"
        yield FieldProblem(chain.field, what, "", want.source)
    if chain.asset > facts.files:
        yield FieldProblem(chain.field, f"names file {chain.asset} of {name}, which makes {facts.files}")
    if want.limits is not None:
        yield from _file_refusals(chain, facts, want.limits, is_sync=product.is_sync)


def _file_refusals(chain: Chain, facts: Facts, limits: MediaLimits, *, is_sync: bool) -> Iterator[FieldProblem]:
    """Every reason why a file that an item with these facts makes will not do."""
    if is_sync and "file" not in limits.forms:
        what = f"Kling reads only an address here, and nobody can ask again for that of what {facts.kind} makes"
        yield FieldProblem(chain.field, what, "put the file where Kling can fetch it", limits.source)
    if facts.length_s is not None and (rule := length_problem(facts.length_s, limits)):
        yield FieldProblem(chain.field, f"the result of {shown(chain.item)} {rule}", "", limits.source)


def _a(made: str) -> str:
    return f"an {made}" if made[0] in "aeiou" else f"a {made}"
