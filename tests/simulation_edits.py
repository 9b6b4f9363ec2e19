"""What people do to the manifest of a simulated batch between two runs."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

from simulation import Simulation

Line = dict[str, Any]

_KINDS: tuple[Line, ...] = (
    {"model_name": "kling-v2-5-turbo", "duration": "5"},
    {"model_name": "kling-v2-6", "duration": "10"},
    {"model_name": "kling-v1", "mode": "pro"},
    {"model_name": "kling-v3", "duration": 3, "aspect_ratio": "9:16"},
    {"kind": "image2video", "model_name": "kling-v2-1", "image": "media/start.png"},
)


class EditedManifest:
    """Lines that are edited, added, removed, put back and reordered; an edit that is refused is taken back."""

    tally: Counter[str]

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._dice = simulation.dice("story")
        self._lines = self._first_lines()
        self._removed: list[Line] = []
        self._versions: list[tuple[list[Line], list[Line]]] = [(list(self._lines), [])]

    def _first_lines(self) -> list[Line]:
        return [_line(number, self._dice) for number in range(self._simulation.scenario.items)]

    def _edit(self) -> None:
        change = self._dice.choice([self._edit_line, self._add_line, self._remove_line, self._put_back, self._reorder])
        change()
        self._versions.append((list(self._lines), list(self._removed)))
        self._write()

    def _edit_line(self) -> None:
        if self._lines:
            at = self._dice.randrange(len(self._lines))
            take = self._dice.randrange(1000)
            self._lines[at] = self._retold(self._lines[at], take)
            self.tally["edited lines"] += 1

    def _retold(self, line: Line, take: int) -> Line:
        return {**line, "prompt": f"scene of {line['id']}, take {take}"}

    def _add_line(self) -> None:
        number = len(self._lines) + len(self._removed)
        self._lines.insert(self._dice.randint(0, len(self._lines)), _line(number, self._dice))
        self.tally["added lines"] += 1

    def _remove_line(self) -> None:
        if self._lines:
            self._removed.append(self._lines.pop(self._dice.randrange(len(self._lines))))
            self._simulation.budget_was_lowered |= self._simulation.has_lost
            self.tally["removed lines"] += 1

    def _put_back(self) -> None:
        self._lines += self._removed
        self._removed = []

    def _reorder(self) -> None:
        self._dice.shuffle(self._lines)
        self.tally["reordered manifests"] += 1

    def _write(self) -> None:
        text = "".join(json.dumps(line) + "\n" for line in self._lines)
        self._simulation.manifest.write_text(text, encoding="utf-8")

    def _take_back(self) -> None:
        """The way out that the program names: the manifest as it was before."""
        assert len(self._versions) > 1, "an edit that was never made is refused"
        self._versions.pop()
        self._lines, self._removed = (list(lines) for lines in self._versions[-1])
        self._write()
        self.tally["edits refused"] += 1


def _line(number: int, dice: random.Random) -> Line:
    line = {"id": f"item-{number}", "prompt": f"scene {number}", **dice.choice(_KINDS)}
    if dice.random() < 0.1:
        line["priority"] = dice.randrange(3)
    return line
