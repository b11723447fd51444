"""A top-up is an order: whatever its provider, its money comes to the balance, and so does what was more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from lib.db.invariants import violations
from lib.domain import accounts, balance, inbox, operators, orders, pricing, renewals, suspense_by_hand
from lib.domain.accounts import Person
from lib.domain.ledger import Wallets
from lib.domain.pricing import Surface
from lib.domain.settlement import Event, Money, Received
from lib.settings import pricelist
from tests.integration.by_the_owner import by_the_owner
from tests.integration.statement_faults import all_or_nothing

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from lib.domain.orders import Order

PRICES = pricelist.load()


def open_top_up(tx: Transaction, amount: int = 25_000, method: str = "cryptobot") -> Order:
    account = accounts.meet(tx, Person(1, "Anna", None, "ru"))
    quote = pricing.top_up(PRICES, amount, method=method, surface=Surface.CHAT).quote
    opened = orders.open_top_up(tx, account.id, quote=quote, provider=method, minutes=30)
    number = tx.value("select count(*) from orders")
    return orders.attach_invoice(tx, opened.order.id, f"inv-{number}", "https://pay.example/1")


def paid(order: Order, **changes: Any) -> Event:
    money = Money(order.price, order.currency, order.invoice_id or "", order.purchase_id)
    return Event(order.provider, money.invoice_id, b"{}", "webhook", "c-1", replace(money, **changes))


@dataclass(frozen=True)
class Moved:
    entries: list[Any]
    held: Wallets
    said: list[Any]


def moved(tx: Transaction) -> Moved:
    entries = tx.values(
        "select d.code || '>' || c.code || ' ' || e.amount || ' ' || e.currency from ledger_entries e"
        " join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id"
        " order by e.transfer_id, e.number"
    )
    said = tx.values("select params ->> 'credited' from messages where kind = 'receipt' order by id")
    return Moved(entries, balance.of(tx, tx.value("select id from accounts")), said)


def receive(tx: Transaction, event: Event) -> Received:
    return inbox.receive(tx, event, PRICES)


receive.idempotent = True  # type: ignore[attr-defined] # its first statement is that of inbox.receive


async def test_the_agreed_amount_comes_to_the_balance(db: Database) -> None:
    order = await db.run(open_top_up)
    assert (order.kind, order.tariff, order.value) == ("top_up", None, 25_000)
    received = await db.run(inbox.receive, paid(order), PRICES)
    assert received.outcome == "settled"
    assert [item.target for item in received.follow_up] == ["task_notify"]
    assert await db.run(moved) == Moved(["clearing:cryptobot>user:topped_up 25000 RUB"], Wallets(25_000, 0), ["25000"])
    assert await db.run(lambda tx: tx.value("select count(*) from subscriptions")) == 0


async def test_another_asset_passes_exchange_and_its_fee_is_the_shops(db: Database) -> None:
    order = await db.run(open_top_up)
    in_usdt = {"paid_asset": "USDT", "paid_amount": "3.125", "fee_asset": "USDT", "fee_amount": "0.09"}
    await db.run(inbox.receive, paid(order, **in_usdt), PRICES)
    assert (await db.run(moved)).entries == [
        "clearing:cryptobot>exchange 3125000 USDT",
        "exchange>user:topped_up 25000 RUB",
        "provider_fees>clearing:cryptobot 90000 USDT",
    ]


async def test_stars_bring_the_orders_value(db: Database) -> None:
    order = await db.run(open_top_up, 25_001, "stars")
    assert (order.price, order.currency) == (201, "XTR")
    await db.run(inbox.receive, paid(order), PRICES)
    assert await db.run(moved) == Moved(
        ["clearing:stars>exchange 201000000000 XTR", "exchange>user:topped_up 25001 RUB"], Wallets(25_001, 0), ["25001"]
    )


@pytest.mark.parametrize(
    "case", [("cryptobot", 25_000, 25_001, 25_001), ("stars", 25_001, 202, 25_125)], ids=["cryptobot", "stars"]
)
async def test_more_than_agreed_comes_to_the_balance_too(
    db: Database, database_url: str, case: tuple[str, int, int, int]
) -> None:
    method, amount, came, credited = case
    order = await db.run(open_top_up, amount, method)
    assert (await db.run(inbox.receive, paid(order, amount=came), PRICES)).outcome == "settled"
    found = await db.run(moved)
    assert (found.held, found.said) == (Wallets(credited, 0), [str(credited)])
    assert violations(database_url) == []


@pytest.mark.parametrize("over", [-40, 0, 40])
async def test_roubles_from_suspense_come_to_the_balance_as_themselves_for_a_top_up_in_stars(
    db: Database, database_url: str, over: int
) -> None:
    order = await db.run(open_top_up, 25_000, "stars")
    received = await db.run(
        inbox.receive, paid(order, amount=30_000, currency="RUB", invoice_id="x", purchase_id=None), PRICES
    )
    by = suspense_by_hand.By(1, {1}, "they paid in roubles", "c")
    await db.run(suspense_by_hand.assign, received.event_id, order.id, by, PRICES, worth=order.price + over)
    found = await db.run(moved)
    assert (found.held, found.said) == (Wallets(30_000, 0), ["30000"])
    assert violations(database_url) == []


async def test_less_than_agreed_is_credited_by_an_operator_with_what_came(db: Database, database_url: str) -> None:
    order = await db.run(open_top_up)
    received = await db.run(inbox.receive, paid(order, amount=20_000), PRICES)
    assert (received.outcome, (await db.run(moved)).held) == ("unmatched", Wallets())

    def assign(tx: Transaction) -> None:
        operators.grant(tx, 1, 12, operators.Role.FINANCE, "c")
        by = suspense_by_hand.By(12, {1}, "they paid less", "c")
        suspense_by_hand.assign(tx, received.event_id, order.id, by, PRICES)

    await db.run(assign)
    found = await db.run(moved)
    assert found.entries == ["clearing:cryptobot>suspense 20000 RUB", "suspense>user:topped_up 20000 RUB"]
    assert (found.held, found.said) == (Wallets(20_000, 0), ["20000"])
    assert violations(database_url) == []


async def test_it_settles_late_and_once(racing_db: Database, database_url: str) -> None:
    order = await racing_db.run(open_top_up)

    def time_is_up(tx: Transaction) -> None:
        by_the_owner(tx, "update orders set expires_at = atlas.now() - interval '1 second'")
        assert orders.expire_due(tx, 10) == 1

    await racing_db.run(time_is_up)
    copies = await asyncio.gather(*(racing_db.run(inbox.receive, paid(order), PRICES) for _ in range(8)))
    assert sorted(copy.outcome for copy in copies) == ["repeated"] * 7 + ["settled"]
    assert (await racing_db.run(moved)).held == Wallets(25_000, 0)
    assert violations(database_url) == []


@pytest.mark.proves("S4-2.1.top-up")
@pytest.mark.parametrize("changes", [{}, {"amount": 30_000}], ids=["agreed", "more"])
async def test_a_fault_at_any_statement_of_a_top_up_leaves_nothing(
    db: Database, functions_url: str, changes: dict[str, Any]
) -> None:
    order = await db.run(open_top_up)
    received = await all_or_nothing(functions_url, receive, paid(order, **changes), refusals=False)
    assert received.outcome == "settled"
    assert (await db.run(moved)).held == Wallets(changes.get("amount", 25_000), 0)


@pytest.mark.proves("S4-2.1.top-up")
async def test_a_refusal_at_any_statement_of_its_second_try_leaves_nothing(
    db: Database, functions_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await db.run(open_top_up)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("of tomorrow")

    with monkeypatch.context() as broken:
        broken.setattr(inbox, "settle", fail)
        kept = await db.run(inbox.receive, paid(order), PRICES)
    assert kept.outcome == "kept"
    (work,) = kept.follow_up
    # what a top-up would renew is looked up after it: `test_renewals` sees that no refusal of that keeps money from settling
    settled = await all_or_nothing(
        functions_url, inbox.settle_again, kept.event_id, paid(order), PRICES, work.id, lives_without={renewals._TAKE}
    )
    assert settled.outcome == "settled"
    assert (await db.run(moved)).held == Wallets(25_000, 0)
