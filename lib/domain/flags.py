"""Switches that an operator flips at run time (lib/domain/operators.py). No row means on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.db import Transaction

PAYMENTS = "payments"
"""Off: no new orders, and no checkout is accepted. Webhooks still record and settle: money that arrives is never refused."""
TRIAL = "trial"
RENEWALS = "sweep.renewals"
"""Off: the sweep of renewals does not run, and no money that comes renews anything at once either."""


def enabled(tx: Transaction, name: str) -> bool:
    """Whether the path behind the switch is open."""
    return tx.value("select enabled from flags where name = :name", name=name) is not False
