"""Runs the cells of ``cells.json`` in a notebook kernel and prints, as JSON, what each of them printed.

A process of its own: the notebook client's libraries warn and leave sockets behind, and warnings are errors in tests.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient


def printed_by(cells: list[str]) -> list[str]:
    """The text that each cell wrote to its standard streams; raises what a cell raises."""
    bare: dict[str, Any] = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    rows = [{**bare, "id": f"cell-{number}", "source": cell} for number, cell in enumerate(cells)]
    text = json.dumps({"cells": rows, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]  # the library has no types here
    NotebookClient(notebook, timeout=120, kernel_name="here").execute()
    return ["".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells]


if __name__ == "__main__":
    json.dump(printed_by(json.loads(Path("cells.json").read_text())), sys.stdout)
