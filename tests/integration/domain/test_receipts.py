"""Every payment from outside leaves one receipt in its own transaction; it is told of once, and a refund takes it back."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lib.domain import inbox, ledger, receipts
from lib.domain.settlement import Event, Money
from lib.receipts import csv_file, registry
from lib.settings import pricelist
from tests.integration.by_the_owner import by_the_owner
from tests.integration.domain.test_balance import buy, customer, purchase
from tests.integration.domain.test_settlement import open_order, paid
from tests.integration.domain.test_top_up import open_top_up
from tests.integration.domain.test_top_up import paid as topped_up
from tests.integration.statement_faults import all_or_nothing

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from lib.domain.receipts import Line

ROOT = Path(__file__).resolve().parents[3]
PRICES = pricelist.load()
RUB: dict[str, Any] = {"paid_asset": None, "paid_amount": None, "fee_asset": None, "fee_amount": None}


def rows(tx: Transaction) -> list[Any]:
    return tx.values("select status || ' ' || amount from receipts order by payment_id")


def today(tx: Transaction) -> date:
    found: date = tx.value("select cast(atlas.now() at time zone books_zone as date) from deployment")
    return found


def give_back(tx: Transaction, payment_id: int | None = None, kind: str = "refund") -> bool:
    """A refund of the newest payment, as it is told to receipts."""
    payment_id = payment_id or tx.value("select max(id) from payments")
    refund_id = tx.value(
        "insert into refunds (payment_id, kind, provider, external_id, route, amount, currency)"
        " select id, :kind, provider, :kind || charge_id, case :kind when 'refund' then 'bank' else 'provider' end, amount, currency"
        " from payments where id = :id returning id",
        id=payment_id,
        kind=kind,
    )
    order_id = tx.value("select order_id from payments where id = :id", id=payment_id)
    sides = ("refunds", "bank") if kind == "refund" else ("chargebacks", "clearing:card")
    entry = ledger.Entry(*sides, 1, "RUB")
    key = f"refund:card:{refund_id}"
    ledger.post(
        tx,
        ledger.Posting(kind, key, (entry,), order_id=order_id, payment_id=payment_id, refund_id=refund_id),
    )
    return receipts.annul(tx, int(payment_id or 0), refund_id)


async def sold(db: Database, person: int = 1, **changes: Any) -> None:
    order = await db.run(open_order, person)
    assert (await db.run(inbox.receive, paid(order, **changes), PRICES)).outcome == "settled"


async def later(db: Database, days: int = 1) -> tuple[date, date]:
    """The day it was, and the last day that is over once it is four o'clock so many days later."""
    day = await db.run(today)
    then = f"cast(date '{day}' + {days} as timestamp) at time zone books_zone + interval '4 hours'"
    await db.run(by_the_owner, f"update deployment set clock_offset = clock_offset + ({then} - atlas.now())")  # noqa: S608 -- a day
    return day, day + timedelta(days=days - 1)


async def test_a_sale_a_top_up_and_what_was_more_are_told_as_they_came(db: Database) -> None:
    await sold(db, 1)
    await sold(db, 2, amount=20_000, **RUB)
    order = await db.run(open_top_up)
    await db.run(inbox.receive, topped_up(order), PRICES)
    assert await db.run(rows) == ["due 14900", "due 20000", "due 25000"]


async def test_stars_are_told_at_the_value_of_the_order(db: Database) -> None:
    order = await db.run(open_top_up, 25_000, "stars")
    assert order.currency == "XTR"
    charge = Event("stars", "charge-1", b"{}", "update", "c", Money(order.price, "XTR", "", order.purchase_id))
    assert (await db.run(inbox.receive, charge, PRICES)).outcome == "settled"
    assert await db.run(rows) == ["due 25000"]


async def test_neither_the_balance_nor_a_further_charge_nor_suspense_is_told(db: Database) -> None:
    anna = await customer(db, 20_000)
    await db.run(buy, purchase(anna))
    order = await db.run(open_order, 2)
    stray = paid(order, invoice_id="other", purchase_id=None, amount=10_000, **RUB)
    assert (await db.run(inbox.receive, stray, PRICES)).outcome == "unmatched"
    assert await db.run(rows) == []
    await db.run(inbox.receive, paid(order), PRICES)
    again = Event("cryptobot", "again", b"{}", "webhook", "c", Money(14_900, "RUB", "again", order.purchase_id))
    assert (await db.run(inbox.receive, again, PRICES)).outcome == "duplicate"
    assert await db.run(rows) == ["due 14900"]


async def test_days_are_told_once_they_are_over_and_the_same_again(db: Database) -> None:
    await sold(db)
    day = await db.run(today)
    with pytest.raises(receipts.NotOver):
        await db.run(receipts.told, day, day)
    with pytest.raises(ValueError, match="before the first"):
        await db.run(receipts.told, day, day - timedelta(days=1))
    await later(db)
    lines = await db.run(receipts.told, day, day)
    assert [(line.kind, line.amount, line.currency, line.what, line.tariff) for line in lines] == [
        ("receipt", 14_900, "RUB", "subscription", "basic")
    ]
    assert await db.run(rows) == ["issued 14900"]
    await later(db, 40)
    assert await db.run(receipts.told, day, day) == lines
    assert await db.run(receipts.told, day + timedelta(days=1), day + timedelta(days=1)) == []


async def test_what_was_told_is_reversed_on_the_day_it_was_given_back(db: Database) -> None:
    await sold(db)
    day, over = await later(db)
    first = await db.run(receipts.told, day, over)
    back = await db.run(today)
    assert await db.run(give_back)
    assert await db.run(rows) == ["annulling 14900"]
    assert await db.run(receipts.told, day, over) == first, "the days before stay as they were told"
    assert await db.run(rows) == ["annulling 14900"], "and their file takes nothing back"
    _, over = await later(db)
    reversal = await db.run(receipts.told, back, over)
    assert [(line.kind, line.payment_id, line.amount) for line in reversal] == [
        ("reversal", first[0].payment_id, 14_900)
    ]
    assert await db.run(rows) == ["annulled 14900"]
    assert await db.run(receipts.told, back, over) == reversal
    assert [line.kind for line in await db.run(receipts.told, day, over)] == ["receipt", "reversal"]


async def test_what_was_given_back_before_it_was_told_is_not_told(db: Database) -> None:
    await sold(db)
    assert await db.run(give_back)
    assert await db.run(rows) == ["annulled 14900"]
    day, over = await later(db)
    assert await db.run(receipts.told, day, over) == []


async def test_a_receipt_is_annulled_once_and_what_has_none_is_none(db: Database) -> None:
    await sold(db)
    assert await db.run(give_back)
    assert not await db.run(lambda tx: give_back(tx, kind="chargeback")), "refunded, then charged back"
    anna = await customer(db, 14_900)
    await db.run(buy, purchase(anna))
    assert not await db.run(give_back), "bought from the balance"


async def test_a_refund_at_the_moment_of_telling_is_seen_by_one_of_them(racing_db: Database) -> None:
    """Told and to be reversed, or neither; never told of what does not stand."""
    for person in range(1, 7):
        await sold(racing_db, person)
    day, over = await later(racing_db)
    payments = await racing_db.run(lambda tx: tx.values("select id from payments order by id"))
    ended = await asyncio.gather(
        *(racing_db.run(receipts.told, day, over) for _ in range(3)),
        *(racing_db.run(give_back, payment) for payment in payments),
    )
    told = [[line.payment_id for line in one if line.kind == "receipt"] for one in ended[:3] if isinstance(one, list)]
    held = dict(
        zip(
            payments,
            await racing_db.run(lambda tx: tx.values("select status from receipts order by payment_id")),
            strict=True,
        )
    )
    assert set(held.values()) <= {"annulling", "annulled"}
    for one in told:
        assert {payment for payment in one if held[payment] == "annulled"} == set()
    assert await racing_db.run(lambda tx: [line.payment_id for line in receipts.told(tx, day, over)]) == [
        payment for payment in payments if held[payment] == "annulling"
    ]


@pytest.mark.proves("S4-2.1.receipts")
async def test_a_fault_at_any_statement_of_telling_leaves_nothing(db: Database, functions_url: str) -> None:
    """A receipt and a reversal; a receipt counts as told with all the others of its days, or not at all."""
    await sold(db, 1)
    day, over = await later(db)
    await db.run(receipts.told, day, over)
    back = await db.run(today)
    await db.run(give_back)
    await sold(db, 2)
    _, over = await later(db)
    lines = await all_or_nothing(functions_url, receipts.told, back, over)
    assert [line.kind for line in lines] == ["reversal", "receipt"]
    assert await db.run(rows) == ["annulled 14900", "issued 14900"]


@pytest.mark.proves("S4-2.1.receipts")
async def test_a_settlement_that_fails_leaves_no_receipt(db: Database, functions_url: str) -> None:
    order = await db.run(open_order, 1)
    await all_or_nothing(functions_url, lambda tx: inbox.receive(tx, paid(order), PRICES), refusals=False)
    assert await db.run(rows) == ["due 14900"]


async def test_payments_from_before_there_were_receipts_get_theirs(db: Database) -> None:
    """As the migration finds them; a second time it adds nothing."""
    await sold(db)
    await db.run(lambda tx: by_the_owner(tx, "delete from receipts"))
    text = next((ROOT / "lib/db/migrations").glob("*_pre_receipts.sql")).read_text()
    backfill = text[text.index("insert into receipts (payment_id, amount, next_attempt_at") :]
    for _ in range(2):
        await db.run(lambda tx: by_the_owner(tx, backfill.rstrip().rstrip(";")))
        assert await db.run(rows) == ["due 14900"]


# The file ---------------------------------------------------------------------------------------------------------


def line(**changes: Any) -> Line:
    said: dict[str, Any] = {
        "kind": "receipt", "payment_id": 7, "moment": "2026-11-30 12:00:01", "amount": 14_905, "currency": "RUB", "order_id": 3,
        "what": "subscription", "tariff": "basic", "period_days": 30, "provider": "card", "charge_id": "ch;1", "paid_amount": 14_905,
        "paid_currency": "RUB",
    }  # fmt: skip
    return receipts.Line(**said | changes)


def test_the_file_is_what_a_spreadsheet_opens_and_the_same_bytes_again() -> None:
    lines = [
        line(),
        line(
            kind="reversal",
            amount=5,
            paid_amount=1,
            paid_currency="XTR",
            charge_id="=1+1",
            tariff=None,
            period_days=None,
        ),
    ]
    body = csv_file.write(lines)
    assert body == csv_file.write(lines)
    assert (
        body
        == (
            "\ufeffkind;receipt;moment;amount;currency;order;what;tariff;days;method;charge;paid;paid_currency\r\n"
            'receipt;7;2026-11-30 12:00:01;149.05;RUB;3;subscription;basic;30;card;"ch;1";149.05;RUB\r\n'
            "reversal;7;2026-11-30 12:00:01;-0.05;RUB;3;subscription;;;card;'=1+1;-1;XTR\r\n"
        ).encode()
    )


def test_the_first_form_is_the_file() -> None:
    assert next(iter(registry.forms())) == "csv"
