"""Some days of a shop's books, by the code that really posts, and their copy."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lib.domain import accounts, adjustments, balance, books, inbox, ledger_export, orders, pricing
from lib.domain.accounts import Person
from lib.domain.adjustments import Adjustment
from lib.domain.balance import Purchase
from lib.domain.pricing import Surface
from lib.domain.settlement import Event, Money
from lib.off_site.copy import copy_day
from lib.settings import pricelist
from tests.integration.by_the_owner import travel
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from datetime import date

    from lib.db import Database, Transaction
    from lib.domain.orders import Order
    from lib.off_site.store import Store

PRICES = pricelist.load()
OWNER = 987_654_321
NAME = "Annabella"
_NUMBERS = itertools.count(1)


def meet(tx: Transaction, telegram_id: int) -> int:
    return accounts.meet(tx, Person(telegram_id, NAME, None, "ru")).id


def open_top_up(tx: Transaction, account_id: int, amount: int, method: str) -> Order:
    quote = pricing.top_up(PRICES, amount, method=method, surface=Surface.CHAT).quote
    opened = orders.open_top_up(tx, account_id, quote=quote, provider=method, minutes=30)
    return orders.attach_invoice(tx, opened.order.id, f"inv-{opened.order.id}", "https://pay.example/1")


async def top_up(db: Database, account_id: int, amount: int, method: str = "cryptobot", **paid: Any) -> None:
    order = await db.run(open_top_up, account_id, amount, method)
    money = Money(order.price, order.currency, order.invoice_id or "", order.purchase_id, **paid)
    event = Event(order.provider, money.invoice_id, b"{}", "webhook", "c-1", money)
    await db.run(inbox.receive, event, PRICES)


async def buy(db: Database, account_id: int) -> None:
    quote = at_list_price(PRICES, "basic", 30, method="balance")
    await db.run(balance.buy, Purchase(account_id, f"tap:{next(_NUMBERS)}", "basic", 30, quote), PRICES, "c-1")


async def credit(db: Database, account_id: int, amount: int) -> None:
    given = Adjustment(account_id, amount, OWNER, f"for {NAME}", f"sorry {NAME} {next(_NUMBERS)}")
    await db.run(adjustments.credit, given, {OWNER}, currency="RUB", correlation_id="c-0")


async def a_day_passes(db: Database) -> None:
    await db.run(travel, timedelta(days=1))


async def open_days(db: Database) -> int:
    """Three days with movements of every sort, open still. The number of a customer."""
    anna, boris = await db.run(meet, 111_222_333), await db.run(meet, 444_555_666)
    await top_up(db, anna, 25_000)
    await credit(db, boris, 20_000)
    await a_day_passes(db)
    await top_up(db, boris, 30_000, paid_asset="USDT", paid_amount="3.750", fee_asset="USDT", fee_amount="0.09")
    await buy(db, anna)
    await top_up(db, anna, 25_001, "stars")
    await a_day_passes(db)
    await buy(db, boris)
    await db.run(open_top_up, anna, 10_000, "cryptobot")  # never paid
    return anna


async def close_all(db: Database) -> list[date]:
    """Each day that is due, as `sweep_money` does."""
    await db.run(travel, timedelta(days=1, hours=4))
    closed = []
    while day := await db.run(books.close_next_day):
        closed.append(day)
    return closed


async def alive() -> None:
    """It does."""


async def copy_all(db: Database, store: Store) -> int:
    """As `export_ledger` does; how many days were copied."""
    count = 0
    while due := await db.run(ledger_export.due, store.address):
        await copy_day(db, store, due, "versioned", alive)
        count += 1
    return count
