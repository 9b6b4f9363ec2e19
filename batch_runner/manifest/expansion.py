"""What a line leaves to its manifest: defaults, the file its prompt stands in, and the variables of its texts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batch_runner.errors import Problem
from batch_runner.manifest import defaults
from batch_runner.manifest.defaults import Defaults
from batch_runner.manifest.own_words import WORDS
from batch_runner.manifest.templates import Filler, may_name_variables, prompt_of, variables

_PATH_STEP = re.compile(r"[.\[]")


@dataclass(slots=True)
class Entry:
    """One line with everything in place, and what was found wrong with it so far.

    Attributes:
        line: its number.
        record: its words and fields, which its reader may use up.
        inherited: the names of the fields that came from the defaults.
        defaults_line: where those stand.
        problems: what is wrong.
    """

    line: int
    record: dict[str, Any]
    inherited: frozenset[str] = frozenset()
    defaults_line: int | None = None
    problems: list[Problem] = field(default_factory=list)

    def tell(self, field_path: str | None, what: str, hint: str = "", source: str = "") -> None:
        """Note a problem; where the value came from the defaults, it says so."""
        if field_path is not None and _PATH_STEP.split(field_path, 1)[0] in self.inherited:
            joint = " " if hint.endswith("?") else "; " if hint else ""
            hint = f"{hint}{joint}it stands in the defaults, line {self.defaults_line}"
        self.problems.append(Problem(self.line, field_path, what, hint, source))


class Expansion:
    """Puts the lines of one manifest in place, from the first to the last."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._defaults = Defaults()
        self._is_first = True

    def entry(self, line: int, record: dict[str, Any]) -> Entry | list[Problem]:
        """The line in place; for the line of the defaults, what is wrong with it."""
        is_first, self._is_first = self._is_first, False
        if defaults.WORD in record:
            return self._defaults.read(line, record, is_first=is_first)
        merged, inherited = self._defaults.under(record)
        entry = Entry(line, merged, inherited, self._defaults.line)
        own = record.get("vars")
        self._fill(entry, frozenset(own) if isinstance(own, dict) else frozenset())
        return entry

    def unreadable(self) -> None:
        """A line could not be read at all."""
        self._is_first = False
        self._defaults.unjudged()

    def leftovers(self) -> list[Problem]:
        """What is wrong with the manifest as a whole, once all lines were read."""
        return self._defaults.untaken()

    def _fill(self, entry: Entry, own: frozenset[str]) -> None:
        """Put the prompt's file and the variables into the texts."""
        record = entry.record
        given, file = record.pop("vars", None), record.pop("prompt_file", None)
        filler = Filler(variables(given, entry.tell), entry.tell, is_strict=given is not None or file is not None)
        if file is not None:
            self._put_prompt(entry, filler.filled(file, "prompt_file"))
        for name, value in record.items():
            if name not in WORDS and may_name_variables(value):
                record[name] = filler.filled(value, name)
        self._defaults.used(filler.used)
        for name in sorted(own - filler.used):
            entry.tell(f"vars.{name}", "no text of this line uses it", "leave it out, or write {{ " + name + " }}")

    def _put_prompt(self, entry: Entry, file: Any) -> None:
        if entry.record.get("prompt") is not None:
            entry.tell("prompt_file", "gives the prompt, and so does prompt", "leave one of them out")
            return
        text = prompt_of(self._folder, file, entry.tell)
        if text is None:
            self._defaults.unjudged()
        entry.record["prompt"] = text or "?"  # a text of its own would be one more problem
