"""A line that a provider lists and no one can read: kept, told once, and the rest is read (G-4, G-16; product.md, Bad input)."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lib import currencies
from lib.domain import inbox, reconciliation
from lib.domain.settlement import Event
from lib.payments import cryptopay_account, cryptopay_news, registry, stars, stars_account
from lib.payments.reconciling import reconcile
from tests.integration.by_the_owner import travel
from tests.integration.payments.test_contract import booked, ordered
from tests.integration.payments.test_stars import LATE, listed, swept, till

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from tests.integration.payments.tills import StarsTill

__all__ = ["till"]

pytestmark = pytest.mark.usefixtures("queue")

GARBAGE: tuple[Any, ...] = (
    None, "", "1e9", "NaN", -1, 0, 1.5, True, [], {}, "\u0661", "\x00", "\ud800", 10**40, "x" * 3000, -(10**40), "0001-01-01",
)  # fmt: skip
SENT = tuple(one for one in GARBAGE if one != "\ud800")
"""What the stand-in can send: its answers are UTF-8."""
FIELDS = ("amount", "nanostar_amount", "date", "id")


def _kept(tx: Transaction) -> list[str]:
    return tx.values("select kind || ' ' || status || ' ' || coalesce(reason, '') from payment_events order by id")


@pytest.mark.proves("N-33")
async def test_a_second_debit_whose_amount_can_not_be_read_is_kept_and_told_once(
    db: Database, till: StarsTill, caplog: pytest.LogCaptureFixture
) -> None:
    order, invoice = await ordered(db, till)
    charge = (await till.pay(invoice, order)).told
    till.stand_in.charge_back(charge.external_id)
    till.stand_in.charge_back(charge.external_id, again=True)
    till.stand_in.payments._transactions[-1]["amount"] = "1e9"
    other, invoice = await ordered(db, till, 2)
    await till.pay(invoice, other)
    await db.run(travel, LATE)
    for _ in range(3):
        run = await swept(db)
        assert run.broken == 0
    assert await db.run(_kept) == [
        "charge settled ",
        "charge settled ",
        "chargeback settled ",
        "chargeback unmatched how many Stars left can't be read",
    ]
    assert [record.message for record in caplog.records].count("payment_unmatched") == 1
    assert await db.run(booked, "write_offs") == {}
    # and when its body is read again, as after a failure, it is the same news
    stored = await db.run(lambda tx: inbox.read_event(tx, tx.value("select max(id) from payment_events")))
    assert stored is not None
    assert registry.read_again(stored).external_id == stored.external_id


@pytest.mark.proves("N-33")
async def test_every_further_debit_of_one_charge_is_lost_money(db: Database, till: StarsTill) -> None:
    order, invoice = await ordered(db, till)
    charge = (await till.pay(invoice, order)).told
    till.stand_in.charge_back(charge.external_id)
    for _ in range(3):
        till.stand_in.charge_back(charge.external_id, again=True)
    till.stand_in.payments._transactions[-1]["nanostar_amount"] = 5
    await db.run(travel, LATE)
    for _ in range(3):
        await swept(db)
    assert await db.run(booked, "write_offs") == {"XTR": 3 * 120 * 10**9 + 5}
    assert await db.run(lambda tx: tx.value("select count(*) from payment_events where kind = 'chargeback'")) == 4
    await db.run(travel, timedelta(hours=1))
    assert till.account is not None
    compared = await reconcile(db, stars.NAME, till.account, anyway=True)
    assert compared is not None
    assert [one for one in compared.outcome.differences if one.state != "balance"] == []


@pytest.mark.proves("N-30")
async def test_lines_with_any_nonsense_hold_up_no_other(db: Database, till: StarsTill) -> None:
    """Each field of a line, of either side, with each kind of nonsense: read to the end, nothing broken, told once."""
    order, invoice = await ordered(db, till)
    charge = (await till.pay(invoice, order)).told
    lines = till.stand_in.payments._transactions
    for number, (side, field, nonsense) in enumerate(itertools.product(("source", "receiver"), FIELDS, SENT)):
        lines.append(listed(side, **({"id": f"bad-{number}"} | {field: nonsense})))
        if side == "receiver" and field != "id":
            lines.append(listed(side, **({"id": charge.external_id, "amount": 120} | {field: nonsense})))
    for nonsense in SENT:
        lines.append({"id": "odd", "amount": 1, "source": nonsense, "receiver": nonsense})
        affiliate = {"amount": nonsense, "nanostar_amount": nonsense, "commission_per_mille": nonsense}
        partner = {"type": nonsense, "transaction_type": nonsense, "user": nonsense, "affiliate": affiliate}
        lines += [listed("source", id="odd", source=partner), listed("receiver", id="odd", receiver=partner)]
        lines.append(listed("receiver", receiver={"type": "fragment", "withdrawal_state": nonsense}))
    last, invoice = await ordered(db, till, 2)
    await till.pay(invoice, last)
    await db.run(travel, LATE)
    seen = []
    for _ in range(14):
        run = await swept(db)
        assert run.broken == 0
        seen.append(await db.run(lambda tx: tx.value("select count(*) from payment_events")))
        await db.run(travel, timedelta(minutes=1))
    # a page of what was read is read again each minute, each in its turn: after the first round, no round brings news
    assert seen[-1] == seen[-6], f"told once: {seen}"
    assert await db.run(lambda tx: tx.values("select status from orders")) == ["paid", "paid"]
    # the comparison reads the same list
    found = reconciliation.gather(one for line in lines for one in stars_account.lines_of(line))
    assert (True, charge.external_id) in found


@pytest.mark.proves("N-30")
async def test_nonsense_in_a_providers_own_account_is_compared_all_the_same(db: Database) -> None:
    """What Crypto Pay's account lists goes into the comparison, whose differences the database must take."""
    rows: list[dict[str, Any]] = []
    for number, nonsense in enumerate(GARBAGE):
        for field in (
            "amount",
            "asset",
            "paid_asset",
            "paid_amount",
            "fee_amount",
            "fee_asset",
            "paid_at",
            "invoice_id",
            "fiat",
        ):
            rows.append(
                {"invoice_id": 1000 + number, "status": "paid", "currency_type": "fiat", "fiat": "RUB", "amount": "5"}
            )
            rows[-1] |= {
                "paid_asset": "USDT",
                "paid_amount": "1",
                "fee_amount": "0.1",
                "fee_asset": "USDT",
                field: nonsense,
            }
    lines = [one for row in rows if (one := cryptopay_account.charge(row)) is not None]
    for nonsense in GARBAGE:
        for field in ("amount", "asset", "transfer_id", "completed_at"):
            row = {"transfer_id": 7, "status": "completed", "asset": "USDT", "amount": "1", field: nonsense}
            lines += [one] if (one := cryptopay_account.transfer(row)) is not None else []
    assert {*currencies.ALL} & {line.asset for line in lines}
    found = reconciliation.compare(reconciliation.gather(lines), {}, now=await db.run(_now))
    outcome = reconciliation.Outcome(
        day=(await db.run(_now)).date(), lines=len(lines), matched=0, under_way=0, differences=found.differences,
        begins=None, ends=None, complete=True, balance_judged=True,
    )  # fmt: skip
    assert len(await db.run(reconciliation.record, cryptopay_news.NAME, outcome)) == len(found.differences)


def _now(tx: Transaction) -> Any:
    return tx.value("select atlas.now()")


@pytest.mark.parametrize("name", sorted(registry.providers("local")))
def test_whatever_was_stored_is_read_again(name: str) -> None:
    """A body with nonsense in any place makes an event, for money is never refused."""
    provider = registry.providers("local")[name]
    for nonsense, via, kind in itertools.product(
        GARBAGE, ("webhook", "sweep", "command"), ("charge", "refund", "chargeback", "other")
    ):
        for body in (nonsense, [nonsense], {"id": nonsense, "amount": nonsense, "source": nonsense}, {"message": nonsense},
                     {"kind": kind, "id": nonsense, "amount": nonsense, "fee": nonsense, "currency": nonsense, "charge": nonsense, "purchase": nonsense},
                     {"update_type": "invoice_paid", "payload": {"invoice_id": nonsense, "status": "paid", "amount": nonsense, "fiat": nonsense}},
                     {"message": {"successful_payment": {"currency": nonsense, "total_amount": nonsense, "telegram_payment_charge_id": nonsense}}}):  # fmt: skip
            stored = inbox.StoredEvent(name, "key", json.dumps(body).encode(), via, "c-1", "new", kind)
            assert isinstance(provider.read(stored), Event)
