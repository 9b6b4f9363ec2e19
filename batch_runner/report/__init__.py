"""The derived files of a batch: ``results.jsonl``, ``ledger.jsonl``, ``summary.json`` and the page."""

from batch_runner.report.files import inert_json, ledger_lines, results_lines, summary_bytes
from batch_runner.report.inert import inert
from batch_runner.report.page import render_page

__all__ = ["inert", "inert_json", "ledger_lines", "render_page", "results_lines", "summary_bytes"]
