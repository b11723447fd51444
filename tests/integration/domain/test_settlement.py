from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from lib.db import Database
from lib.domain import accounts, inbox, orders, subscriptions
from lib.domain.accounts import Person
from lib.domain.settlement import Event, Money
from lib.settings import pricelist
from tests.integration.by_the_owner import by_the_owner
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from lib.db import Transaction
    from lib.domain.orders import Order
    from tests.integration.database_proxy import DatabaseProxy

PRICES = pricelist.load()


def open_order(tx: Transaction, telegram_id: int, tariff: str = "basic", days: int = 30) -> Order:
    account = accounts.meet(tx, Person(telegram_id, "Anna", None, "ru"))
    opened = orders.open_subscription(
        tx,
        account.id,
        tariff=tariff,
        period_days=days,
        quote=at_list_price(PRICES, tariff, days),
        provider="cryptobot",
        minutes=30,
    )
    number = tx.value("select count(*) from orders")
    return orders.attach_invoice(tx, opened.order.id, f"inv-{number}", "https://pay.example/1")


def paid(order: Order, **changes: object) -> Event:
    money = Money(
        amount=order.price,
        currency=order.currency,
        invoice_id=order.invoice_id or "",
        purchase_id=order.purchase_id,
        paid_asset="USDT",
        paid_amount="1.862500",
        paid_rate="80.00",
        fee_asset="USDT",
        fee_amount="0.055875",
    )
    return Event("cryptobot", money.invoice_id, b"{}", "webhook", "c-1", replace(money, **changes))  # type: ignore[arg-type] # names are checked by replace


async def test_a_paid_order_grants_and_is_booked(db: Database) -> None:
    order = await db.run(open_order, 1)
    received = await db.run(inbox.receive, paid(order), PRICES)
    assert received.outcome == "settled"
    assert {item.target for item in received.follow_up} == {"task_provision", "task_notify"}
    subscription = await db.run(subscriptions.current, order.account_id)
    assert subscription is not None
    assert subscription.is_current
    assert subscription.activation_status == "pending"


@pytest.mark.proves("S1-5")
async def test_twenty_copies_at_once_have_one_effect(racing_db: Database) -> None:
    order = await racing_db.run(open_order, 1)
    copies = await asyncio.gather(*(racing_db.run(inbox.receive, paid(order), PRICES) for _ in range(20)))
    assert sorted(copy.outcome for copy in copies) == ["repeated"] * 19 + ["settled"]


@pytest.mark.proves("N-1")
async def test_a_late_payment_settles(db: Database) -> None:
    order = await db.run(open_order, 1)

    def time_is_up(tx: Transaction) -> None:
        by_the_owner(tx, "update orders set expires_at = atlas.now() - interval '1 second'")
        assert orders.expire_due(tx, 10) == 1

    await db.run(time_is_up)
    assert (await db.run(inbox.receive, paid(order), PRICES)).outcome == "settled"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"amount": 14899}, "not the amount agreed"),
        ({"currency": "USD"}, "not the amount agreed"),
        ({"invoice_id": "other", "purchase_id": None}, "no such order"),
    ],
)
async def test_money_that_fits_no_order_is_recorded(db: Database, changes: dict[str, object], reason: str) -> None:
    order = await db.run(open_order, 1)
    received = await db.run(inbox.receive, paid(order, **changes), PRICES)
    assert (received.outcome, received.reason) == ("unmatched", reason)
    assert await db.run(subscriptions.current, order.account_id) is None


async def test_a_second_purchase_keeps_the_uuid_and_adds_its_time(db: Database) -> None:
    first = await db.run(open_order, 1)
    await db.run(inbox.receive, paid(first), PRICES)
    before = await db.run(subscriptions.current, first.account_id)
    second = await db.run(open_order, 1)
    received = await db.run(inbox.receive, paid(second), PRICES)
    assert received.outcome == "settled", received
    after = await db.run(subscriptions.current, first.account_id)
    assert before is not None
    assert after is not None
    assert after.uuid == before.uuid
    assert (after.expires_at - before.expires_at).days == 30


async def test_another_tariff_converts_what_is_left_by_value(db: Database) -> None:
    first = await db.run(open_order, 1)
    await db.run(inbox.receive, paid(first), PRICES)
    before = await db.run(subscriptions.current, first.account_id)
    second = await db.run(open_order, 1, "plus")
    received = await db.run(inbox.receive, paid(second), PRICES)
    assert received.outcome == "settled", received
    after = await db.run(subscriptions.current, first.account_id)
    assert before is not None
    assert after is not None
    assert after.tariff == "plus"
    # a minute of basic is worth 149/299 of one of plus
    moment = await db.run(lambda tx: tx.value("select max(created_at) from subscription_history"))
    # whole minutes of what was left at the moment of the second payment, and the period that was bought
    left = before.expires_at - moment
    kept = timedelta(minutes=left // timedelta(microseconds=1) * 149 // (299 * 60_000_000))
    assert after.expires_at == moment + kept + timedelta(days=30)


async def test_a_settlement_is_at_most_twelve_statements_each_one_round_trip(
    proxy: DatabaseProxy, db: Database
) -> None:
    """Also when the customer is known and has access: over a network each costs its way there and back (performance.md, P3)."""
    wired = Database(proxy.url, connections=1, application="test", guards=False)
    try:
        for person in (1, 1, 2, 2):  # the first two prepare the statements
            order = await db.run(open_order, person)
            before = proxy.sent
            assert (await wired.run(inbox.receive, paid(order), PRICES)).outcome == "settled"
            taken = proxy.sent - before
            if person == 2:
                assert taken <= 12, f"{taken} round trips"
    finally:
        await wired.close()
