"""A statement's lines become news, fees and payouts once; what they say otherwise than the books changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lib.domain import accounts, inbox, orders, refunds_by_hand, statements
from lib.domain.accounts import Person
from lib.domain.settlement import Event, Money
from lib.domain.statements import CHARGE, CHARGEBACK, FEE, PAYOUT, REFUND, Said
from lib.domain.suspense_by_hand import By
from lib.settings import pricelist
from tests.integration.statement_faults import all_or_nothing
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from lib.domain.orders import Order

PRICES = pricelist.load()


def said(kind: str, key: str, amount: int, **more: Any) -> Said:
    at = datetime(2026, 11, 30, 9, tzinfo=UTC)
    return replace(Said(2, kind, key, "", amount, 0, "RUB", at), **more)


def open_order(tx: Transaction, person: int = 1) -> Order:
    account = accounts.meet(tx, Person(person, "Anna", None, "ru"))
    quote = at_list_price(PRICES, "basic", 30, method="card")
    return orders.open_subscription(
        tx, account.id, tariff="basic", period_days=30, quote=quote, provider="card", minutes=30
    ).order


def news(order: Order, charge: str = "ch-1", **changes: Any) -> Event:
    """As Telegram's update tells it."""
    money = replace(Money(order.price, order.currency, "", order.purchase_id), **changes)
    return Event("card", charge, b"{}", "update", "c", money)


async def take(db: Database, *lines: Said) -> list[str]:
    taken = [await db.run(statements.take, "card", line, PRICES, f"s:{line.number}") for line in lines]
    return [one.outcome for one in taken]


def moves(tx: Transaction) -> list[Any]:
    return tx.values(
        "select d.code || '>' || c.code || ' ' || e.amount from ledger_entries e"
        " join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id"
        " order by e.transfer_id, e.number"
    )


SALE = "clearing:card>revenue 14900"
SUSPENSE = "clearing:card>suspense 14900"
FEE_MOVE = "provider_fees>clearing:card 522"


@pytest.mark.proves("N-5.statement")
async def test_a_fee_that_is_known_later_is_booked_once_a_charge(db: Database) -> None:
    order = await db.run(open_order)
    await db.run(inbox.receive, news(order), PRICES)
    line = said(CHARGE, "ch-1", 14_900, fee=522)
    assert await take(db, line, line, said(FEE, "f-1", 522, charge="ch-1")) == ["booked", "known", "known"]
    assert await db.run(moves) == [SALE, FEE_MOVE]
    assert await take(db, replace(line, fee=500), said(FEE, "f-2", 1, charge="ch-1")) == ["differs", "differs"]
    assert await take(db, replace(line, fee=0), said(CHARGE, "ch-1", 14_800)) == ["known", "differs"]
    assert await take(db, said(FEE, "f-3", 1, charge="never")) == ["lacking"]
    assert await db.run(moves) == [SALE, FEE_MOVE]


@pytest.mark.proves("N-2.statement")
async def test_money_that_was_never_heard_of_lies_in_suspense_until_its_news_comes(db: Database) -> None:
    order = await db.run(open_order)
    line = said(CHARGE, "ch-1", 14_900, fee=522)
    assert await take(db, line, line) == ["unmatched", "known"]
    assert await db.run(moves) == [SUSPENSE, FEE_MOVE]
    received = await db.run(inbox.receive, news(order), PRICES)
    assert received.outcome == "settled"
    assert await db.run(moves) == [SUSPENSE, FEE_MOVE, "suspense>clearing:card 14900", SALE]
    assert await take(db, line) == ["known"]


@pytest.mark.proves("N-2.statement")
async def test_a_lost_charge_that_names_its_purchase_settles_and_its_news_comes_to_nothing_more(db: Database) -> None:
    order = await db.run(open_order)
    line = said(CHARGE, "ch-1", 14_900, purchase_id=order.purchase_id)
    assert await take(db, line, line) == ["settled", "known"]
    assert (await db.run(inbox.receive, news(order), PRICES)).outcome == "repeated"
    assert await db.run(moves) == [SALE]


async def test_news_that_differs_from_a_line_changes_nothing(db: Database) -> None:
    order = await db.run(open_order)
    await db.run(inbox.receive, news(order, amount=100), PRICES)
    assert await take(db, said(CHARGE, "ch-1", 14_900, fee=522)) == ["differs"]
    assert await db.run(moves) == ["clearing:card>suspense 100"]


@pytest.mark.proves("N-5.statement")
async def test_a_payout_is_booked_once_with_what_was_kept(db: Database) -> None:
    line = said(PAYOUT, "po-1", 14_378, fee=100)
    assert await take(db, line, line, replace(line, amount=1), replace(line, fee=1)) == [
        "booked",
        "known",
        "differs",
        "differs",
    ]
    assert await db.run(moves) == ["bank>clearing:card 14378", "provider_fees>clearing:card 100"]


def receipt(tx: Transaction) -> list[Any]:
    return tx.values("select status from receipts order by payment_id")


@pytest.mark.proves("N-5.statement")
async def test_a_refund_in_the_providers_cabinet_is_booked_once_and_its_receipt_annulled(db: Database) -> None:
    order = await db.run(open_order)
    await db.run(inbox.receive, news(order), PRICES)
    line = said(REFUND, "r-1", 14_900, charge="ch-1", fee=100)
    assert await take(db, line, line) == ["settled", "known"]
    fee = said(FEE, "f-1", 100, charge="r-1")
    assert await take(db, fee, replace(fee, amount=99)) == ["known", "differs"]
    assert await db.run(moves) == [SALE, "refunds>clearing:card 14900", "provider_fees>clearing:card 100"]
    assert await db.run(receipt) == ["annulled"]
    assert await db.run(lambda tx: tx.values("select route || ' ' || external_id from refunds")) == ["provider r-1"]


@pytest.mark.proves("N-5.statement")
async def test_a_chargeback_is_booked_and_its_fee_that_is_known_only_later(db: Database) -> None:
    order = await db.run(open_order)
    await db.run(inbox.receive, news(order), PRICES)
    fee = said(FEE, "f-1", 150_000, charge="cb-1")
    assert await take(db, fee) == ["lacking"]
    assert await take(db, said(CHARGEBACK, "cb-1", 14_900, charge="ch-1"), fee, fee) == ["settled", "booked", "known"]
    assert await db.run(moves) == [SALE, "chargebacks>clearing:card 14900", "provider_fees>clearing:card 150000"]
    assert await db.run(receipt) == ["annulled"]


@pytest.mark.proves("N-5.statement")
@pytest.mark.parametrize("beside", [True, False])
async def test_the_fee_of_a_chargeback_that_an_operator_booked_before_it_was_told(
    db: Database, *, beside: bool
) -> None:
    order = await db.run(open_order)
    await db.run(inbox.receive, news(order), PRICES)
    event_id = await db.run(lambda tx: tx.value("select id from payment_events"))
    by = By(12, {12}, "its balance shows it", "c-9")
    await db.run(refunds_by_hand.taken_by_provider, event_id, by, PRICES)
    line = said(CHARGEBACK, "cb-1", 14_900, charge="ch-1", fee=150_000 if beside else 0)
    assert await take(db, line, line) == ["settled", "known"]
    fee = said(FEE, "f-1", 150_000, charge="cb-1")
    assert await take(db, fee, fee) == ["known" if beside else "booked", "known"]
    assert await db.run(moves) == [SALE, "chargebacks>clearing:card 14900", "provider_fees>clearing:card 150000"]


async def test_a_refund_of_less_than_its_charge_is_a_part_of_it(db: Database) -> None:
    order = await db.run(open_order)
    await db.run(inbox.receive, news(order), PRICES)
    line = said(REFUND, "r-1", 14_899, charge="ch-1")
    assert await take(db, line, line) == ["settled", "known"]
    assert await db.run(moves) == [SALE, "refunds>clearing:card 14899"]
    assert await db.run(receipt) == ["due"]


@pytest.mark.proves("S4-2.1.statement")
@pytest.mark.parametrize("known", [True, False])
async def test_a_fault_at_any_statement_of_a_charges_line_leaves_nothing(
    db: Database, functions_url: str, *, known: bool
) -> None:
    order = await db.run(open_order)
    if known:
        await db.run(inbox.receive, news(order), PRICES)
    line = said(CHARGE, "ch-1", 14_900, fee=522)
    taken = await all_or_nothing(
        functions_url, lambda tx: statements.take(tx, "card", line, PRICES, "s"), refusals=False
    )
    assert taken.outcome == ("booked" if known else "unmatched")
    assert await db.run(moves) == [SALE if known else SUSPENSE, FEE_MOVE]


@pytest.mark.proves("S4-2.1.statement")
async def test_a_fault_at_any_statement_of_a_refund_leaves_nothing(db: Database, functions_url: str) -> None:
    order = await db.run(open_order)
    await db.run(inbox.receive, news(order), PRICES)
    line = said(REFUND, "r-1", 14_900, charge="ch-1", fee=100)
    taken = await all_or_nothing(
        functions_url, lambda tx: statements.take(tx, "card", line, PRICES, "s"), refusals=False
    )
    assert taken.outcome == "settled"
    assert await db.run(receipt) == ["annulled"]


@pytest.mark.proves("S4-2.1.statement")
async def test_a_fault_at_any_statement_of_a_payout_leaves_nothing(functions_url: str) -> None:
    line = said(PAYOUT, "po-1", 14_378, fee=100)
    taken = await all_or_nothing(functions_url, lambda tx: statements.take(tx, "card", line, PRICES, "s"))
    assert taken.outcome == "booked"
