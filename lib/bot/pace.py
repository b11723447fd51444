"""A slot of Telegram's budget for one call, waited for as long as the caller may wait (lib/domain/telegram_budget.py)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lib.domain import telegram_budget

if TYPE_CHECKING:
    from lib.db import Database

sleep = asyncio.sleep
"""Between two leases; of a test, its clock."""
_A_BIT_LATER_S = 0.01


async def slot(db: Database, patience_s: float) -> float:
    """0: one call may be made now. Else in so many seconds there is a chance again: longer than the caller would wait.

    Raises:
        DatabaseError: the budget can't be asked.
    """
    lease = await db.run(telegram_budget.lease, 1)
    while not lease.count and (wait_s := lease.wait_s + _A_BIT_LATER_S) <= patience_s:
        patience_s -= wait_s
        await sleep(wait_s)
        lease = await db.run(telegram_budget.lease, 1)
    return 0.0 if lease.count else lease.wait_s + _A_BIT_LATER_S
