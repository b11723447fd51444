"""Every provider's own account against the books: equal after whatever was paid; what is planted is named (N-30)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from functions.sweeps import sweep_money
from lib import bootstrap
from lib.domain import inbox, ledger, reconciliation
from lib.domain.postings import About, Amount, posting, table
from lib.domain.reconciliation import CHARGE, MOVEMENT, REFUND, Compared, Line, compare, gather
from lib.domain.refund_requests import Charge
from lib.payments.reconciling import reconcile
from tests.integration.by_the_owner import travel
from tests.integration.payments.planted import Planted, least, listed
from tests.integration.payments.test_contract import PRICES, ordered
from tests.integration.sweeps.runs import sweep_run

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from lib.domain.postings import Fact
    from lib.payments.provider import ProviderAccount
    from lib.payments.reconciling import Reconciled
    from tests.integration.payments.tills import Paid, Till

AN_HOUR = timedelta(hours=1)
of_each = pytest.mark.parametrize("till", ["cryptobot", "stars", "sample"], indirect=True)


@pytest.fixture
def account(till: Till) -> Planted:
    assert till.account is not None
    return Planted(till.account)


async def compared(db: Database, till: Till, account: ProviderAccount) -> Reconciled:
    found = await reconcile(db, till.provider.NAME, account, anyway=True)
    assert found is not None
    return found


async def sold(db: Database, till: Till, number: int, *, told: bool = True) -> Paid:
    order, invoice = await ordered(db, till, number)
    paid = await till.pay(invoice, order)
    if told:
        await db.run(inbox.receive, paid.told, PRICES)
    return paid


def told(found: Reconciled) -> list[tuple[str, str, str, bool, Decimal]]:
    """What differs, and by how much."""
    return [
        (one.state, one.kind, one.external_id, one.of_fee, (one.said or Decimal(0)) - (one.booked or Decimal(0)))
        for one in found.outcome.differences
    ]


@of_each
async def test_what_was_told_is_matched_line_by_line(db: Database, till: Till, account: Planted) -> None:
    for number in range(1, 4):
        await sold(db, till, number)
    found = await compared(db, till, account)
    assert found.outcome.differences == []
    assert (found.outcome.lines, found.outcome.matched, found.outcome.under_way) == (3, 3, 0)
    assert (found.outcome.complete, found.outcome.balance_judged) == (True, True)
    assert await reconcile(db, till.provider.NAME, account) is None, "once a day"


@of_each
async def test_one_minor_unit_of_a_line_or_of_what_is_held_is_named(db: Database, till: Till, account: Planted) -> None:
    for number in range(1, 3):
        await sold(db, till, number)
    await db.run(travel, AN_HOUR)
    (name, line), *_ = (await listed(account)).items()
    unit = least(line.asset)
    state = "differs"
    cases: dict[str, tuple[Line | None, list[tuple[str, str, str, bool, Decimal]]]] = {
        "amount": (replace(line, amount=line.amount + unit), [(state, CHARGE, name, False, unit)]),
        "fee": (replace(line, fee=line.fee - unit), [(state, CHARGE, name, True, -unit)]),
        "missing": (
            None,
            [
                ("missing_there", CHARGE, name, False, -reconciliation.rounded(line.amount, line.asset)),
                ("missing_there", CHARGE, name, True, -reconciliation.rounded(line.fee, line.asset)),
            ][: 2 if line.fee else 1],  # Stars are charged without one
        ),
    }
    for planted, wanted in cases.values():
        account.changed = {name: planted}
        assert told(await compared(db, till, account)) == wanted
    account.changed.clear()
    account.more = {line.asset: unit}
    assert told(await compared(db, till, account)) == [("balance", "", "", False, unit)]
    account.more.clear()
    assert told(await compared(db, till, account)) == []


@of_each
async def test_a_difference_alarms_once_and_ends_when_it_is_mended(
    db: Database, till: Till, account: Planted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bootstrap, "provider_accounts", lambda: {till.provider.NAME: account})

    async def alarms() -> int:
        await sweep_money._work(sweep_run(db, "money"))
        found = [record.message for record in caplog.records].count("books_differ")
        caplog.clear()
        return found

    paid = await sold(db, till, 1, told=False)
    assert await alarms() == 0, "its news is under way"
    await db.run(travel, timedelta(days=1))
    assert [await alarms(), await alarms()] == [1, 0]
    for _ in range(3):
        await db.run(travel, timedelta(hours=2))
        assert await alarms() == 0, "the same difference"
    open_now = await db.run(reconciliation.open_differences)
    assert {(one.state, one.kind, one.external_id) for one in open_now} == {
        ("missing_here", CHARGE, paid.told.external_id),
        *((("balance", "", ""),) if any(one.state == "balance" for one in open_now) else ()),
    }
    await db.run(inbox.receive, paid.told, PRICES)
    await db.run(travel, timedelta(hours=2))
    assert await alarms() == 0
    assert await db.run(reconciliation.open_differences) == []
    account.more = {line.asset: least(line.asset) for line in (await listed(account)).values()}
    await db.run(travel, timedelta(days=1))
    assert await alarms() == 1
    account.more = {asset: 2 * amount for asset, amount in account.more.items()}
    await db.run(travel, timedelta(hours=2))
    assert await alarms() == 1, "another amount is another difference"


@of_each
async def test_a_list_with_holes_makes_no_line_missing(db: Database, till: Till, account: Planted) -> None:
    paid = await sold(db, till, 1)
    await db.run(travel, AN_HOUR)
    account.changed, account.complete = {paid.told.external_id: None}, False
    found = await compared(db, till, account)
    assert (told(found), found.outcome.complete) == ([], False)
    account.complete = True
    assert {state for state, *_ in told(await compared(db, till, account))} == {"missing_there"}
    account.complete = False
    assert (await compared(db, till, account)).new == []
    assert len(await db.run(reconciliation.open_differences)) > 0, "what was not seen is not mended"


@of_each
async def test_one_that_is_down_holds_up_no_other(
    db: Database, till: Till, account: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sold(db, till, 1)
    dead = Planted(account)
    dead.down = True
    monkeypatch.setattr(bootstrap, "provider_accounts", lambda: {"card": dead, till.provider.NAME: account})
    run = sweep_run(db, "money")
    await asyncio.wait_for(sweep_money._work(run), 60)
    last = {one.provider: one.lines for one in await db.run(reconciliation.last_comparisons)}
    assert (last, run.failed, run.broken) == ({till.provider.NAME: 1}, 1, 0)


def moved(tx: Transaction, fact: Fact, provider: str, name: str, amount: int) -> None:
    """An operator books what is not the shop's, in roubles."""
    about = About(provider=provider, operation=name, actor_id=1, reason="not the shop's")
    ledger.post(tx, posting(fact, about, moved=Amount(amount, "RUB")))


def undo(tx: Transaction, key: str) -> None:
    number = tx.value("select id from ledger_transfers where key = :key", key=key)
    ledger.reverse(tx, number, actor_id=1, reason="by mistake")


@pytest.mark.parametrize("till", ["sample"], indirect=True)
async def test_what_is_not_ours_is_matched_once_it_is_booked_under_its_name(
    db: Database, till: Till, account: Planted
) -> None:
    account.added = [Line(MOVEMENT, "transfer:7", "RUB", Decimal("-5.00"), at=datetime(2026, 1, 1, tzinfo=UTC))]
    account.more = {"RUB": Decimal("-5.00")}
    found = await compared(db, till, account)
    assert {(one.state, one.kind, one.external_id) for one in found.outcome.differences} == {
        ("missing_here", MOVEMENT, "transfer:7"),
        ("balance", "", ""),
    }
    await db.run(moved, table.OWNER_TAKES_FROM_PROVIDER, till.provider.NAME, "transfer:7", 500)
    await db.run(travel, AN_HOUR)
    assert told(await compared(db, till, account)) == []
    await db.run(undo, "owner_movement:transfer:7")
    await db.run(travel, AN_HOUR)
    assert {state for state, *_ in told(await compared(db, till, account))} == {"missing_here", "balance"}


@pytest.mark.parametrize("till", ["sample"], indirect=True)
async def test_an_opening_balance_is_no_line(db: Database, till: Till, account: Planted) -> None:
    await db.run(moved, table.OPENING_AT_PROVIDER, till.provider.NAME, "opening", 12345)
    await db.run(travel, AN_HOUR)
    account.more = {"RUB": Decimal("123.45")}
    found = await compared(db, till, account)
    assert (found.outcome.differences, found.outcome.lines) == ([], 0)


@pytest.mark.parametrize("till", ["stars", "sample"], indirect=True)
async def test_a_charge_that_went_back_is_matched_under_its_own_id(db: Database, till: Till, account: Planted) -> None:
    assert till.giver is not None
    paid = await sold(db, till, 1)
    money = paid.told.money
    assert money is not None
    charge = Charge(till.provider.NAME, paid.told.external_id, money.amount, money.currency, payer_telegram_id=1)
    given = await till.giver.give_back(charge, "c")
    assert given.news is not None
    await db.run(travel, AN_HOUR)
    assert {(state, kind) for state, kind, *_ in told(await compared(db, till, account))} == {
        ("missing_here", REFUND),
        ("balance", ""),
    }
    await db.run(inbox.receive, given.news, PRICES)
    await db.run(travel, AN_HOUR)
    assert told(await compared(db, till, account)) == []


# Without a database ---------------------------------------------------------------------------------------------------

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _only_said(*lines: Line) -> Compared:
    return compare(gather(lines), {}, now=NOON)


def test_news_is_under_way_for_a_quarter_of_an_hour() -> None:
    line = Line(CHARGE, "1", "RUB", Decimal("149.00"), at=NOON)
    assert _only_said(replace(line, at=NOON - timedelta(minutes=14))).under_way == 1
    assert len(_only_said(replace(line, at=NOON - timedelta(minutes=16))).differences) == 1
    assert len(_only_said(replace(line, at=None)).differences) == 1, "what says no time is not young"


def test_a_refund_under_its_charges_id_is_another_line() -> None:
    found = _only_said(
        Line(CHARGE, "1", "XTR", Decimal(100)),
        Line(REFUND, "1", "XTR", Decimal(-100)),
        Line(REFUND, "1", "XTR", Decimal(-100)),
    )
    assert [(one.kind, one.said) for one in found.differences] == [(REFUND, Decimal(-200)), (CHARGE, Decimal(100))]


def test_what_rounding_leaves_out_is_no_difference_of_what_is_held() -> None:
    held = reconciliation.balances(
        {"USDT": Decimal("2.0000008")}, {"USDT": Decimal("2.000000")}, {"USDT": Decimal("0.0000008")}
    )
    assert held == []
    (one,) = reconciliation.balances({"USDT": Decimal("2.000001")}, {"USDT": Decimal(2)}, {})
    assert (one.state, one.asset) == ("balance", "USDT")


async def test_until_all_was_compared_once_all_is(db: Database) -> None:
    """What differs in the part of a list that was read says nothing of the part before it."""
    now = await db.run(lambda tx: tx.value("select atlas.now()"))
    found = reconciliation.Difference(
        "missing_here", CHARGE, "inv-9", "USDT", of_fee=False, said=Decimal(5), booked=None, order_id=None, at=now
    )
    part = reconciliation.Outcome(
        day=now.date() - timedelta(days=1), lines=1, matched=0, under_way=0, differences=[found],
        begins=None, ends=None, complete=False, balance_judged=True,
    )  # fmt: skip
    assert await db.run(reconciliation.record, "cryptobot", part)
    due = await db.run(reconciliation.due, "cryptobot", anyway=True)
    assert due is not None
    assert due.since is None
    await db.run(reconciliation.record, "cryptobot", replace(part, complete=True))
    due = await db.run(reconciliation.due, "cryptobot", anyway=True)
    assert due is not None
    assert due.since is not None
    assert due.since < now - timedelta(hours=1)
