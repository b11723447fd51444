"""An order keeps its price and its rate: what the price list says when the money comes settles, books and grants nothing (N-22)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from lib.db.invariants import violations
from lib.domain import accounts, balance, inbox, orders, pricing, suspense_by_hand
from lib.domain.accounts import Person
from lib.domain.pricing import Customer, Surface
from lib.domain.settlement import Event, Money
from lib.domain.suspense_by_hand import By
from lib.settings import pricelist

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from lib.domain.ledger import Wallets
    from lib.domain.orders import Order
    from lib.domain.pricelist import PriceList

pytestmark = pytest.mark.proves("N-22")

PRICES = pricelist.load()
OWNER = 11


def _times(factor: float) -> PriceList:
    """Everything costs so many times as much, Stars as well, and one Star is worth so many times as much."""
    tariffs = {
        name: replace(
            tariff,
            prices={days: int(price * factor) for days, price in tariff.prices.items()},
            stars={days: int(stars * factor) for days, stars in tariff.stars.items()},
        )
        for name, tariff in PRICES.tariffs.items()
    }
    assert PRICES.top_up is not None
    return replace(
        PRICES, tariffs=tariffs, top_up=replace(PRICES.top_up, star_value=int(PRICES.top_up.star_value * factor))
    )


# What the list may say by then.
LATER = {
    "twice as much": _times(2),
    "half as much": _times(0.5),
    "nothing is sold": replace(
        PRICES, tariffs={name: replace(one, sold=False) for name, one in PRICES.tariffs.items()}, top_up=None
    ),
    "no tariff of before": replace(PRICES, tariffs={}, top_up=None),
    "another discount, higher minimums": replace(
        PRICES, vip_percent=1, minimums=dict.fromkeys(("cryptobot", "stars", "balance"), 10**7)
    ),
}
# More than the price, or less: then an operator assigns it.
CAME = {"as agreed": 0, "more": 777, "less, assigned": -1}


@dataclass(frozen=True)
class Became:
    """What of an order's money came of it, without the ids."""

    outcome: str
    entries: list[Any]
    wallets: Wallets
    payments: list[Any]
    days: list[Any]
    receipts: list[Any]


def _open(tx: Transaction, person: int, kind: str, method: str) -> Order:
    account_id = accounts.meet(tx, Person(person, "Anna", None, "ru")).id
    if kind == "top_up":
        quote = pricing.top_up(PRICES, 25_001, method=method, surface=Surface.CHAT).quote
        opened = orders.open_top_up(tx, account_id, quote=quote, provider=method, minutes=30)
    else:
        quote = pricing.price(
            PRICES, "basic", 30, customer=Customer(vip=True), promo=None, method=method, surface=Surface.CHAT
        ).quote
        opened = orders.open_subscription(
            tx, account_id, tariff="basic", period_days=30, quote=quote, provider=method, minutes=30
        )
    return orders.attach_invoice(tx, opened.order.id, f"inv-{person}", "https://pay.example/1")


def _became(tx: Transaction, order: Order, outcome: str) -> Became:
    return Became(
        outcome,
        tx.values(
            "select d.code || '>' || c.code || ' ' || e.amount || ' ' || e.currency"
            " from ledger_entries e join ledger_transfers t on t.id = e.transfer_id"
            " join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id"
            " where t.order_id = :id order by e.transfer_id, e.number",
            id=order.id,
        ),
        balance.of(tx, order.account_id),
        tx.values("select kind || ' ' || amount || ' ' || currency from payments where order_id = :id", id=order.id),
        tx.values(
            "select tariff || ' ' || round(extract(epoch from expires_at - started_at)) from subscriptions"
            " where account_id = :id",
            id=order.account_id,
        ),
        tx.values(
            "select cast(params - 'order_id' - 'expires_at' as text) from messages where account_id = :id",
            id=order.account_id,
        ),
    )


async def _pay(db: Database, order: Order, more: int, prices: PriceList) -> Became:
    money = Money(order.price + more, order.currency, order.invoice_id or "", order.purchase_id)
    event = Event(order.provider, money.invoice_id, b"{}", "webhook", "c-1", money)
    received = await db.run(inbox.receive, event, prices)
    if more < 0:
        by = By(OWNER, {OWNER}, "a Star too few", "op-1")
        await db.run(suspense_by_hand.assign, received.event_id, order.id, by, prices)
    return await db.run(_became, order, received.outcome)


@pytest.mark.parametrize("came", CAME)
@pytest.mark.parametrize(
    ("kind", "method"), [("subscription", "cryptobot"), ("subscription", "stars"), ("top_up", "stars")]
)
async def test_the_price_list_of_later_changes_nothing_of_an_order(
    db: Database, database_url: str, kind: str, method: str, came: str
) -> None:
    """Each customer's money comes under another list; all became what the list of the order says."""
    bought = [await db.run(_open, person, kind, method) for person in range(1, len(LATER) + 2)]
    as_agreed = await _pay(db, bought[0], CAME[came], PRICES)
    assert as_agreed.outcome == ("unmatched" if CAME[came] < 0 else "settled")
    assert len(as_agreed.payments) == 1
    assert bool(as_agreed.days) == (kind == "subscription")
    assert any("discounts>" in entry for entry in as_agreed.entries) == (kind == "subscription")
    for order, (name, prices) in zip(bought[1:], LATER.items(), strict=True):
        assert await _pay(db, order, CAME[came], prices) == as_agreed, name
    assert violations(database_url) == []
