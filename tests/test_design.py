"""``docs/design.md`` names the tests that fail when a promise breaks: they are there, and no promise is left out."""

from __future__ import annotations

import re

import pytest
from doors_kit import ROOT

DESIGN = (ROOT / "docs/design.md").read_text(encoding="utf-8")
TABLE = DESIGN[DESIGN.index("## Which test fails if a promise breaks") :]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_[a-z0-9_*]+(?:::\w+)?)`", DESIGN))))
def test_every_test_that_the_design_names_is_there(name: str) -> None:
    file, _, test = name.partition("::")
    found = sorted((ROOT / "tests").glob(f"{file}.py"))
    assert found
    assert all(f"def {test or 'test_'}" in path.read_text(encoding="utf-8") for path in found)


def test_every_promise_has_its_tests() -> None:
    rows = re.findall(r"^\| ([0-9]+) [^|]+ \| [^|]+ \| `test_\w+::test_\w+` \|$", TABLE, re.MULTILINE)
    assert rows == [str(number) for number in range(1, 12)]
