"""The page of what is supported is what the catalogue says today."""

from __future__ import annotations

import runpy
from pathlib import Path

from batch_runner import catalog

DOCS = Path(__file__).parent.parent / "docs"


def test_the_page_is_up_to_date() -> None:
    script = runpy.run_path(str(DOCS / "make_supported.py"))
    assert (DOCS / "supported.md").read_text("utf-8") == script["page"](), "run: python docs/make_supported.py"


def test_the_page_names_every_product_and_model() -> None:
    text = (DOCS / "supported.md").read_text("utf-8")
    for kind in catalog.kinds():
        assert f"## {kind}\n" in text
        assert all(f"| `{model}` |" in text for model in catalog.models(kind))
