"""Telegram's last question before it charges (N-4): of whom, for what, one at a time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from lib.domain import accounts, checkout, inbox, listings, orders
from lib.domain.accounts import Person
from lib.domain.checkout import LEASE_S, Checkout, Refusal
from lib.domain.settlement import Event, Money
from lib.domain.updates import Incoming
from lib.settings import pricelist
from lib.telegram import payments
from tests.integration.by_the_owner import by_the_owner, travel
from tests.integration.statement_faults import all_or_nothing
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from lib.domain.orders import Order

PRICES = pricelist.load()
ANNA, BORIS = 1, 2

pytestmark = pytest.mark.proves("N-4")


def open_order(tx: Transaction, telegram_id: int = ANNA, days: int = 30) -> Order:
    account = accounts.meet(tx, Person(telegram_id, "Anna", None, "ru"))
    quote = at_list_price(PRICES, "basic", days, method="stars")
    opened = orders.open_subscription(
        tx, account.id, tariff="basic", period_days=days, quote=quote, provider="stars", minutes=PRICES.order_minutes
    )
    return opened.order


def about(order: Order, query_id: str = "q1", payer: int = ANNA) -> Checkout:
    return Checkout(query_id, order.provider, order.purchase_id, payer, order.price, order.currency)


def charge(order: Order, charge_id: str = "c1") -> Event:
    money = Money(order.price, order.currency, "", order.purchase_id)
    return Event(order.provider, charge_id, b"{}", "update", "c", money)


def update_of(order: Order) -> tuple[Incoming, Event]:
    """What Telegram tells of a charge of this order."""
    paid = {
        "currency": order.currency,
        "total_amount": order.price,
        "invoice_payload": str(order.purchase_id),
        "telegram_payment_charge_id": "stx" * 50,
    }
    event = payments.read_charge({"message": {"from": {"id": ANNA}, "successful_payment": paid}}, incoming(1))
    assert event is not None
    return incoming(1), event


async def refusal(db: Database, asked: Checkout) -> Refusal | None:
    return (await db.run(checkout.decide, asked)).refusal


async def test_an_open_order_of_its_owner_is_accepted(db: Database) -> None:
    order = await db.run(open_order)
    assert await db.run(checkout.decide, about(order)) == checkout.Verdict(None, "ru")


async def test_what_was_not_agreed_is_refused(db: Database) -> None:
    order = await db.run(open_order)
    await db.run(open_order, BORIS)
    right = about(order)
    for asked, why in (
        (replace(right, purchase_id=uuid4()), Refusal.UNKNOWN),
        (replace(right, purchase_id=None), Refusal.UNKNOWN),
        (replace(right, provider="card"), Refusal.UNKNOWN),
        (replace(right, payer_telegram_id=BORIS), Refusal.NOT_YOURS),
        (replace(right, payer_telegram_id=0), Refusal.NOT_YOURS),
        (replace(right, amount=right.amount - 1), Refusal.AMOUNT),
        (replace(right, amount=right.amount + 1), Refusal.AMOUNT),
        (replace(right, amount=0), Refusal.AMOUNT),
        (replace(right, currency="RUB"), Refusal.AMOUNT),
        (replace(right, currency=""), Refusal.AMOUNT),
    ):
        assert await refusal(db, asked) == why
    # none of them kept the order's own customer out
    assert await refusal(db, replace(right, query_id="q2")) is None


async def test_one_at_a_time_for_a_minute(db: Database) -> None:
    order = await db.run(open_order)
    assert await refusal(db, about(order, "q1")) is None
    await db.run(travel, timedelta(seconds=LEASE_S - 1))
    assert await refusal(db, about(order, "q2")) == Refusal.BUSY
    assert await refusal(db, about(order, "q1")) is None, "delivered again, it is the same question"
    await db.run(travel, timedelta(seconds=1))
    assert await refusal(db, about(order, "q2")) is None, "and gets no new minute by it"
    assert await refusal(db, about(order, "q1")) == Refusal.BUSY


async def test_of_twenty_at_once_one_is_accepted(racing_db: Database) -> None:
    order = await racing_db.run(open_order)
    found = await asyncio.gather(*(refusal(racing_db, about(order, f"q{number}")) for number in range(20)))
    assert sorted(str(one) for one in found) == ["None", *["busy"] * 19]


async def test_an_order_that_is_over_is_refused(db: Database) -> None:
    order = await db.run(open_order)
    other = await db.run(open_order, ANNA, 90)
    assert await refusal(db, about(order)) == Refusal.OVER, "replaced"
    await db.run(travel, timedelta(minutes=PRICES.order_minutes))
    assert await refusal(db, about(other)) == Refusal.OVER, "out of time, though no sweep has said so"
    await db.run(orders.expire_due, 10)
    assert await refusal(db, about(other)) == Refusal.OVER


async def test_a_paid_order_is_refused_and_a_charge_after_a_refusal_still_settles(db: Database) -> None:
    order = await db.run(open_order)
    await db.run(travel, timedelta(minutes=PRICES.order_minutes))
    assert await refusal(db, about(order)) == Refusal.OVER
    assert (await db.run(inbox.receive, charge(order), PRICES)).outcome == "settled"
    assert await refusal(db, about(order)) == Refusal.PAID


async def test_what_was_accepted_stays_so_for_its_minute(db: Database) -> None:
    """The answer may have been lost, and the half hour ended meanwhile."""
    order = await db.run(open_order)
    await db.run(travel, timedelta(minutes=PRICES.order_minutes) - timedelta(seconds=1))
    assert await refusal(db, about(order)) is None
    await db.run(travel, timedelta(seconds=2))
    assert await refusal(db, about(order)) is None
    assert await refusal(db, about(order, "q2")) == Refusal.BUSY
    await db.run(inbox.receive, charge(order), PRICES)
    assert await refusal(db, about(order)) == Refusal.PAID


@pytest.mark.breaks_invariants  # the code's own count is not kept here
async def test_a_code_that_is_no_longer_reserved_is_refused(db: Database) -> None:
    def by_code(tx: Transaction, status: str | None) -> Order:
        order = open_order(tx)
        by_the_owner(
            tx,
            "update orders set discount = 'promo', discount_percent = 10, price = list_price - list_price * 10 / 100",
        )
        if status:
            by_the_owner(tx, "insert into promo_codes (code, percent) values ('SPRING', 10)")
            by_the_owner(
                tx,
                "insert into promo_uses (order_id, account_id, promo_code_id)"
                " select o.id, o.account_id, c.id from orders o cross join promo_codes c",
            )
        price: int = tx.value("select price from orders where id = :id", id=order.id)
        return replace(order, price=price)

    assert await refusal(db, about(await db.run(by_code, None))) == Refusal.CODE
    assert await refusal(db, about(await db.run(by_code, "reserved"))) is None


async def test_nothing_is_charged_while_payments_are_switched_off(db: Database) -> None:
    order = await db.run(open_order)
    await db.run(lambda tx: by_the_owner(tx, "insert into flags (name, enabled) values ('payments', false)"))
    assert await refusal(db, about(order)) == Refusal.PAUSED


@pytest.mark.proves("S4-2.1.stars")
async def test_a_fault_at_any_statement_of_a_checkout_leaves_nothing(db: Database, functions_url: str) -> None:
    order = await db.run(open_order)
    verdict = await all_or_nothing(functions_url, checkout.decide, about(order))
    assert verdict.refusal is None
    assert await refusal(db, about(order, "q2")) == Refusal.BUSY


@pytest.mark.proves("S4-2.1.stars")
async def test_a_fault_at_any_statement_of_a_charge_leaves_nothing(db: Database, functions_url: str) -> None:
    """Telegram tells it again, so the update is not done either."""
    order = await db.run(open_order)
    received = await all_or_nothing(functions_url, payments.record_charge, *update_of(order), PRICES, refusals=False)
    assert received is not None
    assert received.outcome == "settled"
    assert await db.run(lambda tx: tx.values("select status from orders")) == ["paid"]


@pytest.mark.proves("S4-2.1.stars")
async def test_a_fault_at_any_statement_of_a_commission_leaves_nothing(db: Database, functions_url: str) -> None:
    part = listings.Commission("c1", 1_500_000_000, "XTR")
    assert await all_or_nothing(functions_url, listings.book_commission, "stars", part)
    assert not await db.run(listings.book_commission, "stars", part)
    booked = await db.run(lambda tx: tx.values("select amount from ledger_entries"))
    assert booked == [1_500_000_000]


# By the update -----------------------------------------------------------------------------------------------------


def incoming(number: int) -> Incoming:
    return Incoming(number, "{}", f"tg-{number}")


async def test_an_update_is_answered_the_same_when_it_comes_again(db: Database) -> None:
    order = await db.run(open_order)
    query = {
        "id": "q1",
        "from": {"id": ANNA, "language_code": "en"},
        "currency": "XTR",
        "total_amount": order.price,
        "invoice_payload": str(order.purchase_id),
    }
    yes = [{"method": "answerPreCheckoutQuery", "pre_checkout_query_id": "q1", "ok": True}]
    assert await db.run(payments.answer_checkout, incoming(1), query) == yes
    await db.run(travel, timedelta(hours=1))
    assert await db.run(payments.answer_checkout, incoming(1), query) == yes
    (no,) = await db.run(payments.answer_checkout, incoming(2), query | {"id": "q2"})
    assert no == {
        "method": "answerPreCheckoutQuery",
        "pre_checkout_query_id": "q2",
        "ok": False,
        "error_message": payments.REFUSALS[Refusal.OVER]["ru"],  # the language that they chose, not the app's
    }
    (no,) = await db.run(payments.answer_checkout, incoming(3), query | {"from": {"id": 9, "language_code": "de"}})
    assert no["error_message"] == payments.REFUSALS[Refusal.NOT_YOURS]["en"]
    assert await db.run(payments.answer_checkout, incoming(4), {"id": 17}) == []


@pytest.mark.proves("N-5.ids")
async def test_charge_ids_of_any_length_are_told_apart(db: Database) -> None:
    """Stars' are longer than 128 characters today; what no index takes is digested."""
    base = ["c", "stx" + "a" * 141, "x" * 512, "y" * 513, "z" * 100_000, "карта", "7"]
    ids = [*base, *(one[:-1] + "0" for one in base if len(one) > 1)]
    for number, charge_id in enumerate(ids, 1):
        paid = {"currency": "XTR", "total_amount": 1, "telegram_payment_charge_id": charge_id}
        for again in (0, 1):
            update = incoming(10 * number + again)
            event = payments.read_charge({"message": {"successful_payment": paid}}, update)
            assert event is not None
            received = await db.run(payments.record_charge, update, event, PRICES)
            assert received is not None
            assert received.outcome == ("repeated" if again else "unmatched")
    assert await db.run(lambda tx: tx.value("select count(distinct external_id) from payment_events")) == len(ids)


@pytest.mark.proves("N-18.unknown")
async def test_a_charge_of_an_unknown_order_is_kept_for_an_operator(db: Database) -> None:
    """It came with the secret, and names no order of ours, or another's money."""
    order = await db.run(open_order)
    right = {"currency": "XTR", "total_amount": order.price, "invoice_payload": str(order.purchase_id)}
    forged: list[dict[str, object]] = [
        right | {"invoice_payload": str(uuid4())},
        right | {"invoice_payload": "x"},
        right | {"currency": "RUB"},
        right | {"currency": "XXX"},
        right | {"total_amount": order.price - 1},
        right | {"total_amount": 0},
        {"currency": "XTR"},
    ]
    for number, payment in enumerate(forged, 1):
        update = {"message": {"successful_payment": payment | {"telegram_payment_charge_id": f"c{number}"}}}
        event = payments.read_charge(update, incoming(number))
        assert event is not None
        received = await db.run(payments.record_charge, incoming(number), event, PRICES)
        assert received is not None
        assert (received.outcome, bool(received.reason)) == ("unmatched", True)
        assert await db.run(payments.record_charge, incoming(number), event, PRICES) is None
    assert await db.run(lambda tx: tx.values("select status from orders")) == ["open"]
    assert await db.run(lambda tx: tx.value("select count(*) from subscriptions")) == 0
    booked = await db.run(
        lambda tx: tx.value("select count(*) from ledger_transfers where kind = 'suspense'"),
    )
    assert booked == 4, "what says how much came is in suspense"
