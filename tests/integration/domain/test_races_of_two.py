from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from lib.db import Database
from lib.domain import accounts, inbox, orders, outbox, provisioning, subscriptions
from lib.domain.accounts import Person
from lib.domain.settlement import Event, Money
from lib.settings import pricelist
from tests.integration.by_the_owner import by_the_owner, travel
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lib.db import Transaction

PRICES = pricelist.load()
ROUNDS = 25


@pytest.fixture
async def two(functions_url: str) -> AsyncIterator[tuple[Database, Database]]:
    """Two processes' connections, open already, without the guards: what races here is what races in production."""
    pair = tuple(Database(functions_url, connections=2, application=name, guards=False) for name in ("one", "other"))
    one, other = pair
    await asyncio.gather(*(db.run(lambda tx: tx.value("select 1")) for db in pair))
    yield one, other
    await one.close()
    await other.close()


def order(tx: Transaction, telegram_id: int, tariff: str, days: int) -> Event:
    account = accounts.meet(tx, Person(telegram_id, "Anna", None, "ru"))
    price = at_list_price(PRICES, tariff, days).price
    opened = orders.open_subscription(
        tx,
        account.id,
        tariff=tariff,
        period_days=days,
        quote=at_list_price(PRICES, tariff, days),
        provider="cryptobot",
        minutes=30,
    )
    invoice = f"{telegram_id}-{tariff}-{days}"
    orders.attach_invoice(tx, opened.order.id, invoice, "https://pay.example/1")
    money = Money(price, "RUB", invoice, opened.order.purchase_id)
    return Event("cryptobot", invoice, b"{}", "webhook", "c", money)


def days_left(tx: Transaction, telegram_id: int) -> tuple[str, int]:
    tariff = tx.value(
        "select tariff from subscriptions s join accounts a on a.id = s.account_id where a.telegram_id = :t",
        t=telegram_id,
    )
    days = tx.value(
        "select cast(round(extract(epoch from s.expires_at - atlas.now()) / 86400) as integer)"
        " from subscriptions s join accounts a on a.id = s.account_id where a.telegram_id = :t",
        t=telegram_id,
    )
    return tariff, days


@pytest.mark.proves("S1-5")
async def test_two_payments_at_once_end_as_one_after_the_other(two: tuple[Database, Database]) -> None:
    """The second settlement converts what the first one left, never what was there before it."""
    one, other = two
    basic_then_plus = ("plus", round(365 * 14900 / 29900) + 30)
    plus_then_basic = ("basic", round(30 * 1199 / 749) + 365)
    for customer in range(1, ROUNDS + 1):
        year = await one.run(order, customer, "basic", 365)
        month = await one.run(order, customer, "plus", 30)
        both = await asyncio.gather(one.run(inbox.receive, year, PRICES), other.run(inbox.receive, month, PRICES))
        assert {received.outcome for received in both} == {"settled"}
        assert await one.run(days_left, customer) in {basic_then_plus, plus_then_basic}


def grant_many(tx: Transaction, count: int) -> None:
    for telegram_id in range(1, count + 1):
        account = accounts.meet(tx, Person(telegram_id, "Anna", None, "ru"))
        subscriptions.grant(tx, account.id, tariff="basic", seconds=1, source="admin", actor_id=1)
    travel(tx, timedelta(days=1))


@pytest.mark.proves("S1-1")
async def test_a_node_that_joins_is_given_no_client_whose_access_ends_at_that_moment(
    two: tuple[Database, Database],
) -> None:
    one, other = two
    await one.run(grant_many, 200)
    await one.run(provisioning.ensure_first_node, "http://127.0.0.1", "XRAY_API_KEY")
    await asyncio.gather(
        one.run(provisioning.place, subscription_id=None, page=400), other.run(subscriptions.expire, 400, "c")
    )
    await other.run(subscriptions.expire, 400, "c")
    wanted = await one.run(
        lambda tx: tx.value(
            "select count(*) from node_clients c join subscriptions s on s.id = c.subscription_id"
            " where c.wanted and s.status = 'expired'"
        )
    )
    assert wanted == 0


async def test_news_that_cannot_be_settled_notes_its_work_once(two: tuple[Database, Database]) -> None:
    one, _ = two
    event = await one.run(order, 1, "basic", 30)
    await one.run(
        lambda tx: by_the_owner(tx, "alter table payments add constraint broken check (amount < 0) not valid")
    )
    try:
        outcomes = [(await one.run(inbox.receive, event, PRICES)).outcome for _ in range(5)]
    finally:
        await one.run(lambda tx: by_the_owner(tx, "alter table payments drop constraint broken"))
    assert outcomes == ["kept"] * 5
    assert await one.run(lambda tx: tx.value("select count(*) from outbox where target = 'task_settle'")) == 1


async def test_a_slow_queue_is_not_buried_in_second_tasks(two: tuple[Database, Database]) -> None:
    one, _ = two

    def fill(tx: Transaction) -> None:
        for _ in range(50):
            outbox.add(tx, "messages", "task_notify", {"message_id": 1}, "c")
        tx.execute("update outbox set enqueued_at = atlas.now() - interval '1 hour'")

    await one.run(fill)
    first = await one.run(outbox.stuck, "messages", 20, 300)
    await one.run(outbox.mark_enqueued, first)
    second = await one.run(outbox.stuck, "messages", 20, 300)
    assert [len(first), len(second)] == [20, 20]
    assert not {item.id for item in first} & {item.id for item in second}
    assert await one.run(outbox.stuck, "nodes", 20, 300) == []


async def test_an_invoice_of_unknown_outcome_is_looked_for_even_after_the_claim_was_given_back(
    two: tuple[Database, Database],
) -> None:
    one, _ = two

    def lose(tx: Transaction) -> None:
        account = accounts.meet(tx, Person(1, "Anna", None, "ru"))
        opened = orders.open_subscription(
            tx,
            account.id,
            tariff="basic",
            period_days=30,
            quote=at_list_price(PRICES, "basic", 30),
            provider="cryptobot",
            minutes=30,
        )
        assert opened.claim is not None
        orders.release_claim(tx, opened.order.id, opened.claim)

    await one.run(lose)
    assert len(await one.run(orders.without_known_invoice, "cryptobot", 10)) == 1
