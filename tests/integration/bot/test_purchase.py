from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from lib.domain import accounts, consents, orders, settlement, subscriptions, updates
from lib.domain.accounts import Person
from lib.payments.provider import Invoice
from lib.settings import pricelist
from tests.integration.bot.conftest import services_over
from tests.integration.bot.customer import Customer
from tests.integration.by_the_owner import by_the_owner
from tests.waiting import until

if TYPE_CHECKING:
    from uuid import UUID

    from lib.db import Database, Transaction
    from lib.domain.accounts import Account
    from tests.integration.bot.customer import FakeProvider

PRICES = pricelist.load()


@dataclass(frozen=True)
class OrderRow:
    id: int
    tariff: str
    period_days: int
    price: int
    currency: str
    status: str
    invoice_id: str | None
    purchase_id: UUID


def order_rows(tx: Transaction) -> list[OrderRow]:
    return tx.rows(
        OrderRow,
        "select id, tariff, period_days, price, currency, status, invoice_id, purchase_id from orders order by id",
    )


def count(tx: Transaction, table: str) -> int:
    return int(tx.value(f"select count(*) from {table}"))  # noqa: S608 -- a constant of the test


def sql(tx: Transaction, statement: str) -> int:
    return tx.execute(statement)


async def test_from_start_to_a_paid_order(anna: Customer, provider: FakeProvider) -> None:
    db = anna.services.db
    await anna.say("/start")
    await anna.press("Купить")
    assert "3 устройства" in anna.text
    await anna.press("Basic")
    assert [b["text"] for b in anna.buttons][:4] == [
        "30 дней · 149 ₽",
        "90 дней · 399 ₽",
        "180 дней · 749 ₽",
        "365 дней · 1\u00a0399 ₽",
    ]
    await anna.press("30 дней")
    expected = await db.run(subscriptions.now) + timedelta(days=30)
    assert "149 ₽" in anna.text
    assert f"{expected.astimezone(anna.services.zone):%d.%m.%Y}" in anna.text
    assert "/terms" in anna.text
    assert await db.run(count, "orders") == 0
    await anna.press("оплатить 149 ₽")
    [order] = await db.run(order_rows)
    assert (order.tariff, order.period_days, order.price, order.currency) == ("basic", 30, 14_900, "RUB")
    assert (order.status, order.invoice_id) == ("open", "inv-1")
    assert anna.button("Оплатить 149 ₽")["url"] == "https://t.me/CryptoBot?start=inv1"
    assert "в CryptoBot, любой" in anna.text
    assert provider.descriptions == ["Atlas: Basic, 30 дней"]
    assert await db.run(
        lambda tx: consents.answered(tx, tx.value("select telegram_id from accounts"), consents.Kind.TERMS)
    )
    await anna.press("Проверить")
    assert anna.toast == "Оплата пока не пришла"
    provider.pay(provider.created[0], "inv-1")
    handled = await anna.press("Проверить")
    assert anna.toast == "Оплачено ✅"
    assert "Ключ готовится и придёт сюда сам" in anna.text
    assert {item.target for item in handled.follow_up} == {"task_provision", "task_notify"}
    await anna.press("Мой ключ")
    assert "Ключ готовится" in anna.text
    assert provider.asked == ["inv-1", "inv-1"]


async def test_a_paid_order_is_settled_once_however_often_it_is_checked(anna: Customer, provider: FakeProvider) -> None:
    await anna.go_to_confirm()
    await anna.press("оплатить")
    check = anna.data("Проверить")
    provider.pay(provider.created[0], "inv-1")
    for _ in range(3):
        await anna.tap(check)
    assert await anna.services.db.run(count, "payments") == 1
    assert await anna.services.db.run(count, "messages") == 1


@pytest.mark.parametrize("outside", [False, True])
async def test_the_same_choice_again_is_the_same_invoice(
    anna: Customer,
    provider: FakeProvider,
    outside: bool,  # noqa: FBT001 -- a parameter
) -> None:
    await anna.go_to_confirm()
    await anna.press("оплатить")
    if outside:
        await anna.say("/start")
    await anna.go_to_confirm()
    await anna.press("оплатить")
    assert len(provider.created) == 1
    assert "start=inv1" in anna.button("Оплатить")["url"]


async def test_another_choice_replaces_the_invoice(anna: Customer, provider: FakeProvider) -> None:
    await anna.go_to_confirm()
    await anna.press("оплатить")
    await anna.go_to_confirm("Plus", "90 дней")
    await anna.press("оплатить 699 ₽")
    assert provider.deleted == ["inv-1"]
    assert [row.status for row in await anna.services.db.run(order_rows)] == ["replaced", "open"]


async def test_an_invoice_that_cant_be_withdrawn_stops_nothing(anna: Customer, provider: FakeProvider) -> None:
    await anna.go_to_confirm()
    await anna.press("оплатить")
    await anna.go_to_confirm("Plus", "90 дней")

    async def refuse(invoice_id: str) -> None:
        provider.deleted.append(invoice_id)
        raise TimeoutError

    provider.withdraw = refuse  # type: ignore[method-assign] # for this test
    await anna.press("оплатить 699 ₽")
    assert provider.deleted == ["inv-1"]
    assert "inv2" in anna.button("Оплатить")["url"]


async def test_a_provider_that_fails_is_told_and_tried_again(anna: Customer, provider: FakeProvider) -> None:
    await anna.go_to_confirm()
    provider.down = True
    await anna.press("оплатить")
    assert "через минуту" in anna.text
    assert [row.invoice_id for row in await anna.services.db.run(order_rows)] == [None]
    provider.down = False
    await anna.press("Попробовать ещё раз")
    assert "start=inv2" in anna.button("Оплатить")["url"]
    assert await anna.services.db.run(count, "orders") == 1


async def test_an_invoice_of_unknown_outcome_is_adopted(anna: Customer, provider: FakeProvider) -> None:
    await anna.go_to_confirm()
    provider.down = True
    await anna.press("оплатить")
    provider.down = False
    made = provider.created[0]
    provider.hidden[made.purchase_id] = Invoice("inv-lost", "https://t.me/CryptoBot?start=lost")
    await anna.press("Попробовать ещё раз")
    assert len(provider.created) == 1
    assert "start=lost" in anna.button("Оплатить")["url"]


async def test_a_provider_that_cant_be_asked_shows_the_order_as_it_is(anna: Customer, provider: FakeProvider) -> None:
    await anna.go_to_confirm()
    await anna.press("оплатить")
    provider.down = True
    await anna.press("Проверить")
    assert anna.toast == "Оплата пока не пришла"
    assert anna.button("Оплатить")


async def test_a_handler_that_dies_between_its_two_steps_is_carried_on(anna: Customer, provider: FakeProvider) -> None:
    db = anna.services.db
    await anna.go_to_confirm()
    tap = anna.tap_of(anna.data("оплатить"))
    create = provider.make

    async def die(*_: object) -> Invoice:
        raise ConnectionResetError

    provider.make = die  # type: ignore[method-assign,assignment] # for this test
    with pytest.raises(ConnectionResetError):
        await anna.give(tap)
    assert not await db.run(
        lambda tx: tx.value("select done_at is not null from updates order by update_id desc limit 1")
    )
    provider.make = create  # type: ignore[method-assign] # as it was
    with pytest.raises(
        updates.NotYet
    ) as later:  # the one that died may still be at it: "is being prepared" would be the last word
        await anna.give(tap)
    assert 0 < later.value.seconds <= orders.INVOICE_LEASE_S
    await db.run(sql, "update orders set invoice_claimed_until = atlas.now()")
    await anna.give(tap)
    assert "start=inv1" in anna.button("Оплатить")["url"]
    assert await db.run(count, "orders") == 1


async def test_while_another_makes_the_invoice_the_wait_is_told(racer: Customer, provider: FakeProvider) -> None:
    await racer.go_to_confirm()
    pay = racer.data("оплатить")
    provider.gate = asyncio.Event()
    first = asyncio.create_task(Customer.tap(racer, pay))
    await until(lambda: provider.created)
    second = Customer(racer.services, racer.telegram_id)
    await second.tap(pay)
    assert "Счёт готовится" in second.text
    provider.gate.set()
    await first
    await second.press("Обновить")
    assert "start=inv1" in second.button("Оплатить")["url"]
    assert len(provider.created) == 1


async def test_a_price_that_changed_is_shown_before_it_is_agreed_to(anna: Customer, provider: FakeProvider) -> None:
    await anna.go_to_confirm()
    pay = anna.data("оплатить")
    basic = PRICES.tariffs["basic"]
    dearer = replace(PRICES, tariffs=PRICES.tariffs | {"basic": replace(basic, prices=basic.prices | {30: 15_900})})
    anna.services = replace(anna.services, prices=dearer)
    await anna.tap(pay)
    assert "159 ₽" in anna.text
    assert anna.toast == "Цена изменилась, проверьте заказ."
    assert provider.created == []
    await anna.press("оплатить 159 ₽")
    assert [order.price for order in provider.created] == [15_900]


async def test_a_tariff_no_longer_sold_begins_again(anna: Customer, provider: FakeProvider) -> None:
    await anna.go_to_confirm("Plus")
    pay = anna.data("оплатить")
    only_basic = replace(PRICES, tariffs={"basic": PRICES.tariffs["basic"]})
    anna.services = replace(anna.services, prices=only_basic)
    await anna.tap(pay)
    assert "Выберите тариф" in anna.text
    assert provider.created == []


async def test_payments_off_means_no_new_orders_and_old_ones_settle(anna: Customer, provider: FakeProvider) -> None:
    db = anna.services.db
    await anna.go_to_confirm()
    await anna.press("оплатить")
    check = anna.data("Проверить")
    await db.run(sql, "insert into flags (name, enabled) values ('payments', false)")
    await anna.say("/buy")
    assert "Сейчас заказы не принимаются" in anna.text
    provider.pay(provider.created[0], "inv-1")
    await anna.tap(check)
    assert anna.toast == "Оплачено ✅"


async def test_payments_off_stops_an_order_at_its_last_step(anna: Customer, provider: FakeProvider) -> None:
    await anna.go_to_confirm()
    await anna.services.db.run(sql, "insert into flags (name, enabled) values ('payments', false)")
    await anna.press("оплатить")
    assert "Сейчас заказы не принимаются" in anna.text
    assert provider.created == []
    assert await anna.services.db.run(count, "orders") == 0


@pytest.mark.parametrize("by", ["its own button", "a second tap"])
async def test_payments_off_makes_no_invoice_of_an_order_that_is_open(
    anna: Customer, provider: FakeProvider, by: str
) -> None:
    db = anna.services.db
    await anna.go_to_confirm()
    data = anna.data("оплатить")
    provider.down = True
    await anna.tap(data)
    provider.down = False
    again = anna.buttons[0]["callback_data"] if by == "its own button" else data
    await db.run(sql, "insert into flags (name, enabled) values ('payments', false)")
    await anna.tap(again)
    assert "Сейчас заказы не принимаются" in anna.text
    assert len(provider.created) == 1  # the one that failed
    await db.run(sql, "delete from flags")
    await anna.tap(again)
    assert anna.button("Оплатить")["url"]


@pytest.mark.parametrize("by", ["its own button", "a second tap"])
async def test_an_invoice_is_not_made_by_a_method_that_is_offered_no_more(
    anna: Customer, provider: FakeProvider, by: str
) -> None:
    await anna.go_to_confirm()
    data = anna.data("оплатить")
    provider.down = True
    await anna.tap(data)
    provider.down = False
    again = anna.buttons[0]["callback_data"] if by == "its own button" else data
    anna.services = replace(anna.services, wanted=("balance",))
    await anna.tap(again)
    assert len(provider.created) == 1  # the one that failed


async def test_without_a_provider_nothing_is_offered(db: Database) -> None:
    anna = Customer(services_over(db, None), 700_000_009)
    await anna.say("/buy")
    assert "Сейчас заказы не принимаются" in anna.text


async def test_an_order_whose_time_is_over_can_still_be_checked(anna: Customer, provider: FakeProvider) -> None:
    db = anna.services.db
    await anna.go_to_confirm()
    await anna.press("оплатить")
    await db.run(by_the_owner, "update orders set expires_at = atlas.now()")
    await anna.press("Проверить")
    assert "время на оплату вышло" in anna.text
    provider.pay(provider.created[0], "inv-1")
    await anna.press("Проверить")
    assert anna.toast == "Оплачено ✅"


def grant_first(tx: Transaction, tariff: str, source: str, *, ended: bool) -> Account:
    account = accounts.meet(tx, Person(1, "Anna", None, "ru"))
    if source != "none":
        subscriptions.grant(tx, account.id, tariff=tariff, seconds=20 * 86_400 + 12_345, source=source)
    if ended:
        tx.execute(
            "update subscriptions set started_at = atlas.now() - interval '9 days', expires_at = atlas.now() - interval '1 day'"
        )
    return account


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("source", ["none", "payment", "trial"])
@pytest.mark.parametrize(("old", "new"), [("basic", "basic"), ("basic", "plus"), ("plus", "basic")])
async def test_the_end_shown_is_the_end_granted(
    db: Database,
    old: str,
    new: str,
    source: str,
    ended: bool,  # noqa: FBT001 -- a parameter
) -> None:
    def both(tx: Transaction, account_id: int) -> timedelta:
        held = subscriptions.current(tx, account_id)
        value = PRICES.conversion(held.tariff if held else new, new)
        shown = subscriptions.end_after(held, subscriptions.now(tx), value, timedelta(days=30))
        given = subscriptions.grant(tx, account_id, tariff=new, seconds=30 * 86_400, source="payment", value=value)
        return shown - given.expires_at

    account = await db.run(grant_first, old, source, ended=ended)
    assert await db.run(both, account.id) == timedelta(0)


async def test_a_conversion_is_explained_before_paying(anna: Customer) -> None:
    db = anna.services.db
    await anna.say("/start")
    await db.run(
        lambda tx: subscriptions.grant(
            tx, tx.value("select id from accounts"), tariff="basic", seconds=86_400 * 20, source="payment"
        )
    )
    await anna.go_to_confirm("Plus")
    assert "Оставшееся время тарифа Basic будет пересчитано" in anna.text
    await anna.go_to_confirm("Basic")
    assert "пересчитано" not in anna.text


async def test_trial_time_is_kept_and_no_conversion_is_told_of(anna: Customer) -> None:
    await anna.say("/start")
    await anna.press("Попробовать")
    await anna.press("Начать")
    await anna.go_to_confirm("Plus")
    assert "пересчитано" not in anna.text


async def test_a_failure_to_settle_is_no_failure_to_answer(anna: Customer, provider: FakeProvider) -> None:
    """A wrong amount is recorded as unmatched, and the order stays what it is."""
    await anna.go_to_confirm()
    await anna.press("оплатить")
    provider.paid["inv-1"] = settlement.Money(100, "RUB", "inv-1", provider.created[0].purchase_id)
    await anna.press("Проверить")
    assert anna.toast == "Оплата пока не пришла"
    statuses = await anna.services.db.run(lambda tx: tx.values("select status from payment_events"))
    assert statuses == ["unmatched"]


async def test_a_second_delivery_gets_the_stored_reply(anna: Customer, provider: FakeProvider) -> None:
    await anna.go_to_confirm()
    tap = anna.tap_of(anna.data("оплатить"))
    first = await anna.give(tap)
    second = await anna.give(tap)
    assert second.reply == first.reply
    assert second.follow_up == ()
    assert len(provider.created) == 1
    stored = await anna.services.db.run(
        lambda tx: tx.value("select reply from updates where update_id = :id", id=tap["update_id"])
    )
    assert stored == first.reply


async def test_an_invoice_closed_early_at_the_provider_is_no_dead_end(anna: Customer, provider: FakeProvider) -> None:
    await anna.go_to_confirm()
    await anna.press("оплатить")
    provider.over.add("inv-1")
    await anna.press("Проверить")
    assert "закрыт" in anna.text
    await anna.go_to_confirm()
    await anna.press("оплатить")
    assert "start=inv2" in anna.button("Оплатить")["url"]
    assert await anna.services.db.run(lambda tx: tx.values("select status from orders order by id")) == [
        "expired",
        "open",
    ]
