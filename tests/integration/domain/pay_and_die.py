"""A process of its own that moves a customer's money: `python -m tests.integration.domain.pay_and_die URL WHAT ACCOUNT ORDER`.

WHAT is `balance`, a purchase from the balance, `top-up`, money that came for an order, or `stars`, Telegram's update about a charge. A failpoint ends it (lib/failpoints.py): of
the code, or one of those around the transaction, which are here: `settle.before-claim`, as in the webhook, and `after-commit`.
"""

from __future__ import annotations

import asyncio
import sys

from lib import failpoints
from lib.db import Database
from lib.domain import balance, inbox, orders
from lib.settings import pricelist
from lib.telegram import payments
from tests.integration.domain import test_balance, test_checkout, test_top_up


async def main(url: str, what: str, account_id: int, order_id: int) -> None:
    prices = pricelist.load()
    database = Database(url, connections=1, application="dying", guards=False)
    if what == "balance":
        await database.run(balance.buy, test_balance.purchase(account_id), prices, "c-1")
    else:
        order = await database.run(orders.of_account, account_id, order_id)
        assert order is not None
        failpoints.reach("settle.before-claim")
        if what == "stars":
            await database.run(payments.record_charge, *test_checkout.update_of(order), prices)
        else:
            await database.run(inbox.receive, test_top_up.paid(order), prices)
    failpoints.reach("after-commit")
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
