"""Runs the cells of ``cells.json`` in a notebook kernel and prints, as JSON, what each of them printed.

A process of its own: the notebook client's libraries warn and leave sockets behind, and warnings are errors in tests.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def printed_by(cells: list[str]) -> list[str]:
    """The text that each cell wrote to its standard streams; raises what a cell raises."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="here").execute()
    return ["".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells]


if __name__ == "__main__":
    json.dump(printed_by(json.loads(Path("cells.json").read_text())), sys.stdout)
