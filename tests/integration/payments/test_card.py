"""Cards by Telegram Payments, over the sandbox's Telegram: what the provider is told, what is offered, and how orders end."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lib.domain import accounts, inbox, orders, pricing, statements
from lib.domain.accounts import Person
from lib.domain.inbox import StoredEvent
from lib.domain.pricing import Surface
from lib.payments import card, registry, telegram_charges
from lib.payments.provider import ProviderError
from lib.settings import plain, pricelist
from tests.integration.payments.test_contract import card_statement_line, ordered
from tests.integration.payments.tills import CardTill

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lib.db import Database, Transaction
    from lib.domain.orders import Order

PRICES = pricelist.load()


@pytest.fixture
async def till(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CardTill]:
    made = CardTill(monkeypatch)
    yield made
    await made.close()


def open_top_up(tx: Transaction) -> Order:
    account = accounts.meet(tx, Person(1, "Anna", None, "ru"))
    quote = pricing.top_up(PRICES, 25_050, method="card", surface=Surface.CHAT).quote
    return orders.open_top_up(tx, account.id, quote=quote, provider="card", minutes=30).order


async def told_to_provider(till: CardTill, order: Order) -> dict[str, str]:
    assert till.invoices is not None
    invoice = await till.invoices.make(order, "Basic, 30 days")
    await till.pay(invoice, order)
    return till.stand_in.payments.charges[-1].to_provider


async def test_the_provider_is_told_what_the_receipt_needs(db: Database, till: CardTill) -> None:
    order, _ = await ordered(db, till)
    told = await told_to_provider(till, order)
    assert "@" in told["email"]
    assert json.loads(told["provider_data"]) == {
        "receipt": {
            "items": [
                {
                    "description": "Basic, 30 days",
                    "quantity": "1.00",
                    "amount": {"value": "149.00", "currency": "RUB"},
                    "vat_code": 1,
                    "payment_subject": "service",
                    "payment_mode": "full_payment",
                }
            ],
            "tax_system_code": 2,
        }
    }


async def test_a_top_up_is_an_advance_on_the_receipt(db: Database, till: CardTill) -> None:
    told = await told_to_provider(till, await db.run(open_top_up))
    (item,) = json.loads(told["provider_data"])["receipt"]["items"]
    assert (item["payment_subject"], item["payment_mode"]) == ("payment", "advance")
    assert item["amount"]["value"] == "250.50"


async def test_without_the_setting_nothing_is_asked_or_told(
    db: Database, till: CardTill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CARD_RECEIPT")
    plain.card.cache_clear()
    till.invoices = card.connect(lambda: till.client)
    order, _ = await ordered(db, till)
    assert await told_to_provider(till, order) == {}


async def test_a_token_that_telegram_refuses_is_one_error_that_does_not_name_it(
    db: Database, till: CardTill, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, _ = await ordered(db, till)
    monkeypatch.setenv("TELEGRAM_PROVIDER_TOKEN", "3:LIVE:another-secret")
    plain.card.cache_clear()
    other = card.connect(lambda: till.client)
    assert other is not None
    with pytest.raises(ProviderError, match="PAYMENT_PROVIDER_INVALID") as refused:
        await other.make(order, "Basic")
    assert "secret" not in str(refused.value)
    till.break_down()
    with pytest.raises(ProviderError) as refused:
        await other.make(order, "Basic")
    assert "secret" not in str(refused.value)


def test_without_a_token_cards_are_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TELEGRAM_PROVIDER_TOKEN", raising=False)
    plain.card.cache_clear()
    assert card.connect(lambda: None) is None  # type: ignore[arg-type,return-value] # it is never called


@pytest.mark.parametrize("price", [6_399, 6_400])
def test_below_what_cards_take_at_least_it_is_not_offered_and_the_price_is_not_raised(price: int) -> None:
    percent = 100 - price * 100 // 14_900
    promo = pricing.Promo(percent)
    offer = pricing.price(
        PRICES, "basic", 30, customer=pricing.Customer(), promo=promo, method="card", surface=Surface.CHAT
    )
    assert offer.minimum == 6_400
    assert offer.is_payable == (offer.quote.price >= 6_400)
    exact = pricing.Offer(replace(offer.quote, price=price), offer.minimum)
    assert exact.is_payable == (price == 6_400)


@pytest.mark.proves("N-5.card")
async def test_a_charge_has_one_key_by_its_update_and_by_the_providers_statement(db: Database, till: CardTill) -> None:
    order, invoice = await ordered(db, till)
    told = (await till.pay(invoice, order)).told
    charge = till.stand_in.payments.charges[-1]
    assert told.external_id == charge.provider_charge_id
    assert json.loads(told.body)["message"]["successful_payment"]["telegram_payment_charge_id"] == charge.charge_id
    received = await db.run(inbox.receive, card_statement_line(told), PRICES)
    assert received.outcome == "settled", "its update was lost"
    assert (await db.run(inbox.receive, told, PRICES)).outcome == "repeated"
    kept = await db.run(lambda tx: tx.values("select charge_id || ' ' || amount from payments"))
    assert kept == [f"{charge.provider_charge_id} {order.price}"]


def successful(**said: Any) -> dict[str, Any]:
    payment = {"currency": "RUB", "total_amount": 100, "telegram_payment_charge_id": "tg-1"} | said
    return {"message": {"successful_payment": payment}}


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ({"provider_payment_charge_id": "p-1"}, "p-1"),
        ({"provider_payment_charge_id": ""}, "tg-1"),
        ({}, "tg-1"),
        ({"provider_payment_charge_id": 17}, "tg-1"),
        ({"provider_payment_charge_id": "p-1", "currency": "XTR"}, "tg-1"),
    ],
)
def test_where_the_provider_has_no_id_telegrams_is_the_key(said: dict[str, Any], key: str) -> None:
    event = telegram_charges.read_update(successful(**said), b"{}", "c")
    assert event is not None
    assert event.external_id == key


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": -1}, {"amount": 0}, {"amount": "100"}, {"amount": True}, {"currency": "XXX"}, {"currency": None}, {"kind": "payout"},
        {"id": 17}, {"id": "other"}, {"purchase": "no uuid"}, {"purchase": 17}, {"fee": "x"}, {"kind": "refund"},
    ],
)  # fmt: skip
def test_a_stored_line_that_is_none_is_news_without_money(changes: dict[str, Any]) -> None:
    line = {"kind": "charge", "id": "p-1", "charge": "", "amount": 100, "fee": 0, "currency": "RUB", "purchase": None}
    body = json.dumps(line | changes).encode()
    event = registry.read_again(StoredEvent("card", "p-1", body, statements.VIA, "c", "new"))
    assert (event.provider, event.kind, event.external_id, event.money, bool(event.reason)) == (
        "card", "charge", "p-1", None, True,
    )  # fmt: skip


async def test_orders_that_are_over_end_without_a_list(db: Database, till: CardTill) -> None:
    order, _ = await ordered(db, till)
    assert till.invoices is not None
    assert till.invoices.asks_first
    assert (await till.invoices.listed(0)).length == 0
    assert await db.run(orders.close_unasked, "card", 10) == 0
    await db.run(lambda tx: tx.execute("update orders set status = 'expired' where id = :id", id=order.id))
    assert await db.run(orders.close_unasked, "card", 10) == 1
