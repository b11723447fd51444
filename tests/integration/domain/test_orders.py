"""An order keeps what it was sold for, and picking the same again is the same order."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from lib.db.errors import StatementFailed
from lib.domain import accounts, orders
from lib.domain.accounts import Person
from lib.domain.pricing import Quote
from lib.settings import pricelist
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from lib.domain.orders import Order

PRICES = pricelist.load()
LIST = at_list_price(PRICES, "basic", 30)
PROMO = Quote(14900, 10430, "RUB", 10430, "promo", 30)


def choose(tx: Transaction, quote: Quote = LIST, tariff: str = "basic", days: int = 30) -> Order:
    account = accounts.meet(tx, Person(1, "Anna", None, "ru"))
    return orders.open_subscription(
        tx, account.id, tariff=tariff, period_days=days, quote=quote, provider="cryptobot", minutes=30
    ).order


def kept(tx: Transaction) -> Quote:
    return tx.one(
        Quote,
        "select list_price, price, currency, value, discount, discount_percent from orders where status = 'open'",
    )


def statuses(tx: Transaction) -> list[str]:
    return tx.values("select status from orders order by id")


@pytest.mark.parametrize("quote", [LIST, PROMO, Quote(14900, 10430, "RUB", 10430, "vip", 30)])
async def test_an_order_keeps_all_that_it_was_sold_for(db: Database, quote: Quote) -> None:
    await db.run(choose, quote)
    assert await db.run(kept) == quote
    again = await db.run(choose, quote)
    assert await db.run(statuses) == ["open"]
    assert again.price == quote.price


@pytest.mark.parametrize(
    "changes",
    [
        {"list_price": 29800, "discount_percent": 65},
        {"discount": "personal"},
        {"value": 10431},
        {"list_price": 10430, "discount": None, "discount_percent": None},
    ],
)
async def test_other_terms_at_the_same_price_are_another_order(db: Database, changes: dict[str, object]) -> None:
    await db.run(choose, PROMO)
    other = replace(PROMO, **changes)  # type: ignore[arg-type] # names are checked by replace
    assert other.price == PROMO.price
    await db.run(choose, other)
    assert await db.run(statuses) == ["replaced", "open"]
    assert await db.run(kept) == other


@pytest.mark.parametrize(
    "column", [*asdict(LIST), "account_id", "kind", "tariff", "purchase_id", "provider", "parent_id"]
)
async def test_functions_can_not_change_what_was_agreed(db: Database, column: str) -> None:
    def change(tx: Transaction) -> None:
        choose(tx)
        tx.execute("set local role atlas_app")
        tx.execute(f"update orders set {column} = {column}")  # noqa: S608 -- a constant of the test

    with pytest.raises(StatementFailed) as refused:
        await db.run(change)
    assert refused.value.code == "42501"
