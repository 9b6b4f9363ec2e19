"""docs/manifest.md shows the files of prompts/ as they are, and every manifest there runs to its end on the sandbox."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from doors_kit import FAST, ROOT, run_here

from batch_runner.manifest.own_words import OWN_WORDS

PAGE = (ROOT / "docs" / "manifest.md").read_text(encoding="utf-8")
SHOWN = dict(re.findall(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
MANIFESTS = sorted(path.name for path in (ROOT / "prompts").iterdir() if path.is_file())


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_the_page_shows_the_file(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == SHOWN[name]


def test_every_block_of_the_page_is_a_file() -> None:
    assert PAGE.count("\n```") == 2 * len(SHOWN)


def test_every_manifest_but_the_demo_is_on_the_page() -> None:
    assert {f"prompts/{name}" for name in MANIFESTS} - {"prompts/demo.jsonl"} <= set(SHOWN)


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_manifest_runs_on_the_sandbox(name: str, tmp_path: Path) -> None:
    ended = run_here("run", str(ROOT / "prompts" / name), *FAST, "--output-dir", str(tmp_path), "--json")
    assert ended.code == 0, ended.err
    counts = ended.json["items"]
    assert counts["succeeded"] == counts["total"] > 2


def test_the_page_tells_every_word() -> None:
    assert [word for word in OWN_WORDS if f"`{word}`" not in PAGE] == []
