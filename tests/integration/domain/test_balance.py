"""Buying from the balance: one transaction, once under its key, and no debit without what it pays for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lib.db.invariants import violations
from lib.domain import accounts, adjustments, balance, orders, provisioning, subscriptions
from lib.domain.accounts import Person
from lib.domain.adjustments import Adjustment
from lib.domain.balance import Bought, Purchase
from lib.domain.ledger import BalanceTooLow, Wallets
from lib.domain.pricelist import UnknownTariff
from lib.settings import pricelist
from tests.integration.domain.test_adjustments import earn
from tests.integration.statement_faults import all_or_nothing, everything
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from lib.db import Database, Transaction

PRICES = pricelist.load()
OWNER = 11


def meet(tx: Transaction, topped_up: int, earned: int) -> None:
    """A customer with so much on the balance."""
    account_id = accounts.meet(tx, Person(1, "Anna", None, "ru")).id
    if earned:
        earn(tx, account_id, earned)
    if topped_up:
        given = Adjustment(account_id, topped_up, OWNER, "for a test", "test")
        adjustments.credit(tx, given, {OWNER}, currency="RUB", correlation_id="c-0")


async def customer(db: Database, topped_up: int, earned: int = 0) -> int:
    await db.run(meet, topped_up, earned)
    return int(await db.run(lambda tx: tx.value("select id from accounts where telegram_id = 1")))


def purchase(account_id: int, key: str = "tap:1", tariff: str = "basic", days: int = 30) -> Purchase:
    return Purchase(account_id, key, tariff, days, at_list_price(PRICES, tariff, days, method="balance"))


def buy(tx: Transaction, wanted: Purchase) -> Bought:
    return balance.buy(tx, wanted, PRICES, "c-1")


def moves(tx: Transaction) -> list[Any]:
    return tx.values(
        "select d.code || '>' || c.code || ' ' || e.amount from ledger_entries e join ledger_transfers t on t.id = e.transfer_id"
        " join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id"
        " where t.kind = 'sale' order by e.transfer_id, e.number"
    )


def counts(tx: Transaction) -> dict[str, int]:
    tables = ("orders", "payments", "subscription_history", "messages", "outbox")
    return {table: tx.value(f"select count(*) from {table}") for table in tables}  # noqa: S608 -- constants of the test


ONE = {"orders": 1, "payments": 1, "subscription_history": 1, "messages": 1, "outbox": 2}
NONE = dict.fromkeys(ONE, 0)


@pytest.mark.proves("N-9.purchase")
async def test_a_purchase_spends_what_was_topped_up_first_and_gives_access(db: Database) -> None:
    anna = await customer(db, 10_000, 10_000)
    bought = await db.run(buy, purchase(anna))
    assert (bought.already, bought.order.status, bought.order.provider) == (False, "paid", "balance")
    assert {item.target for item in bought.follow_up} == {"task_provision", "task_notify"}
    assert await db.run(balance.of, anna) == Wallets(0, 5_100)
    assert await db.run(moves) == ["user:topped_up>revenue 10000", "user:earned>revenue 4900"]
    assert await db.run(counts) == ONE
    held = await db.run(subscriptions.current, anna)
    assert held is not None
    assert (held.is_current, held.tariff, held.source) == (True, "basic", "payment")


async def test_a_discount_is_shown_beside_revenue_at_list_price(db: Database) -> None:
    anna = await customer(db, 14_900)
    vip = replace(purchase(anna).quote, price=10_430, value=10_430, discount="vip", discount_percent=30)
    await db.run(buy, replace(purchase(anna), quote=vip))
    assert await db.run(moves) == ["user:topped_up>revenue 10430", "discounts>revenue 4470"]
    assert await db.run(balance.of, anna) == Wallets(4_470, 0)


@pytest.mark.proves("N-9.key")
async def test_under_one_key_it_is_bought_once(racing_db: Database) -> None:
    anna = await customer(racing_db, 100_000)
    several = await asyncio.gather(*(racing_db.run(buy, purchase(anna)) for _ in range(20)))
    assert sorted(one.already for one in several) == [False] + [True] * 19
    assert len({one.order.id for one in several}) == 1
    assert await racing_db.run(counts) == ONE
    assert await racing_db.run(balance.of, anna) == Wallets(85_100, 0)


@pytest.mark.proves("N-9.node-away")
async def test_without_a_node_that_answers_it_is_pending_and_paid(db: Database) -> None:
    """No node is asked on the way; the work that does it waits in the outbox."""
    await db.run(provisioning.ensure_first_node, "http://127.0.0.1:9", "XRAY_API_KEY")
    await db.run(lambda tx: tx.execute("update nodes set lost_since = atlas.now()"))
    anna = await customer(db, 14_900)
    await db.run(buy, purchase(anna))
    held = await db.run(subscriptions.current, anna)
    assert held is not None
    assert (held.is_current, held.activation_status) == (True, "pending")
    assert await db.run(lambda tx: tx.value("select count(*) from outbox where target = 'task_provision'")) == 1


@pytest.mark.proves("S4-7")
@pytest.mark.parametrize("enough", [14_899, 0])
async def test_too_little_buys_nothing_and_takes_nothing(db: Database, enough: int) -> None:
    anna = await customer(db, enough)
    before = await db.run(everything)
    with pytest.raises(BalanceTooLow) as refused:
        await db.run(buy, purchase(anna))
    assert refused.value.missing == 14_900 - enough
    assert await db.run(everything) == before


@pytest.mark.proves("S4-7")
async def test_purchases_that_race_for_the_last_money_never_take_it_twice(racing_db: Database) -> None:
    """Each with a key of its own: as many are bought as were paid for, and every debit has its extension."""
    anna = await customer(racing_db, 20_000, 14_900)
    keys = [purchase(anna, f"tap:{number}") for number in range(6)]
    ended = await asyncio.gather(*(racing_db.run(buy, one) for one in keys), return_exceptions=True)
    assert [type(one) for one in ended].count(Bought) == 2
    assert {type(one) for one in ended} == {Bought, BalanceTooLow}
    assert await racing_db.run(balance.of, anna) == Wallets(0, 5_100)
    days = await racing_db.run(
        lambda tx: tx.value(
            "select cast(round(extract(epoch from expires_at - atlas.now()) / 86400) as integer) from subscriptions"
        )
    )
    assert days == 60


@pytest.mark.proves("S4-7")
async def test_a_debit_by_an_operator_at_that_moment_takes_no_money_that_is_spent(racing_db: Database) -> None:
    anna = await customer(racing_db, 14_900)
    taken = Adjustment(anna, 14_900, OWNER, "for a test", "back")
    ended = await asyncio.gather(
        racing_db.run(buy, purchase(anna)),
        racing_db.run(lambda tx: adjustments.debit(tx, taken, {OWNER}, currency="RUB", correlation_id="c")),
        return_exceptions=True,
    )
    assert sum(isinstance(one, Exception) for one in ended) == 1
    assert await racing_db.run(balance.of, anna) == Wallets(0, 0)


@pytest.mark.proves("S4-2.1.balance-purchase")
@pytest.mark.parametrize("kind", ["first", "again", "another tariff"])
async def test_a_fault_at_any_statement_of_a_purchase_leaves_nothing(
    db: Database, database_url: str, functions_url: str, kind: str
) -> None:
    await db.run(provisioning.ensure_first_node, "http://127.0.0.1:9", "XRAY_API_KEY")
    anna = await customer(db, 100_000, 5_000)
    wanted = purchase(anna)
    if kind != "first":
        await db.run(buy, purchase(anna, "before"))
        wanted = purchase(anna, tariff="plus" if kind == "another tariff" else "basic")
    bought = await all_or_nothing(functions_url, buy, wanted)
    assert not bought.already
    assert violations(database_url) == []


async def test_an_open_invoice_makes_way_and_is_named_to_be_withdrawn(db: Database) -> None:
    anna = await customer(db, 14_900)

    def with_invoice(tx: Transaction) -> None:
        opened = orders.open_subscription(
            tx,
            anna,
            tariff="basic",
            period_days=30,
            quote=at_list_price(PRICES, "basic", 30),
            provider="cryptobot",
            minutes=30,
        )
        orders.attach_invoice(tx, opened.order.id, "inv-1", "https://pay.example/1")

    await db.run(with_invoice)
    bought = await db.run(buy, purchase(anna))
    assert [one.invoice_id for one in bought.replaced] == ["inv-1"]
    assert await db.run(lambda tx: tx.values("select status from orders order by id")) == ["replaced", "paid"]


@pytest.mark.parametrize("changes", [{"currency": "XTR"}, {"currency": "USD"}, {"price": 0}, {"price": -14_900}])
async def test_only_a_price_in_the_books_currency_is_paid_from_it(db: Database, changes: dict[str, Any]) -> None:
    anna = await customer(db, 100_000)
    with pytest.raises(ValueError, match="in the currency of the books"):
        await db.run(buy, replace(purchase(anna), quote=replace(purchase(anna).quote, **changes)))
    assert await db.run(balance.of, anna) == Wallets(100_000, 0)


async def test_time_of_unknown_worth_is_not_sold_over(db: Database) -> None:
    anna = await customer(db, 100_000)
    await db.run(buy, purchase(anna, tariff="plus"))
    gone = replace(PRICES, tariffs={"basic": PRICES.tariffs["basic"]})
    before = await db.run(everything)
    with pytest.raises(UnknownTariff):
        await db.run(lambda tx: balance.buy(tx, purchase(anna, "tap:2"), gone, "c"))
    assert await db.run(everything) == before


async def test_a_key_of_another_customer_is_refused(db: Database) -> None:
    anna = await customer(db, 100_000)
    await db.run(buy, purchase(anna))
    with pytest.raises(ValueError, match="another customer's"):
        await db.run(lambda tx: buy(tx, purchase(accounts.meet(tx, Person(2, "Boris", None, "ru")).id)))
