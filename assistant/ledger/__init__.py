"""What the cloud costs: every response in a SQLite file, sums by day and month, and caps.

::

    usage of a response ──> Bookkeeper ──(scribe's thread)──> Ledger <── Budget.check <── before a session is opened
                                                                 ^── assistant cost
"""

from __future__ import annotations

from assistant.ledger.bookkeeper import Bookkeeper
from assistant.ledger.budget import Budget, BudgetState, Caps, amount
from assistant.ledger.store import Entry, Ledger, LedgerUnusable, Total, open_ledger

__all__ = [
    "Bookkeeper",
    "Budget",
    "BudgetState",
    "Caps",
    "Entry",
    "Ledger",
    "LedgerUnusable",
    "Total",
    "amount",
    "open_ledger",
]
