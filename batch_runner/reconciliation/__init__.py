"""Compares the ledger of an output folder with what the account says. Decides only; careful not to claim too much.

The account tells two things: how much of each resource pack is left, for all who use it together and up to 12 hours
late; and, where it lists them, what it deducted for which task. From the first follow bounds, from the second a figure.
"""

from batch_runner.reconciliation.account import LAG_S, Account, Deductions
from batch_runner.reconciliation.comparison import Comparison, Finding, compare
from batch_runner.reconciliation.listing import Mismatch

__all__ = ["LAG_S", "Account", "Comparison", "Deductions", "Finding", "Mismatch", "compare"]
