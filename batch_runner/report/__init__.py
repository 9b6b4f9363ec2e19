"""The derived files of a batch: ``results.jsonl``, ``ledger.jsonl``, ``summary.json`` and the page."""

from batch_runner.report.files import ledger_lines, results_lines, summary_bytes
from batch_runner.report.page import render_page

__all__ = ["ledger_lines", "render_page", "results_lines", "summary_bytes"]
