"""A process of its own that buys from the balance: `python -m tests.integration.domain.buy_and_die URL ACCOUNT`.

A failpoint ends it (lib/failpoints.py): of the purchase, or `after-commit`, which is here.
"""

from __future__ import annotations

import asyncio
import sys

from lib import failpoints
from lib.db import Database
from lib.domain import balance
from lib.domain.balance import Purchase
from lib.settings import pricelist
from tests.quoting import at_list_price


async def main(url: str, account_id: int) -> None:
    prices = pricelist.load()
    quote = at_list_price(prices, "basic", 30, method="balance")
    database = Database(url, connections=1, application="dying", guards=False)
    await database.run(balance.buy, Purchase(account_id, "tap:1", "basic", 30, quote), prices, "c-1")
    failpoints.reach("after-commit")
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
