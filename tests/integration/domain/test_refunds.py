"""What goes back of a payment: once, by whichever way it is told, booked as it had come; access only when asked to (N-5, N-33)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lib.db import StatementFailed
from lib.db.invariants import violations
from lib.domain import (
    accounts,
    balance,
    freezing,
    inbox,
    operators,
    orders,
    pricing,
    refund_requests,
    refunds,
    refunds_by_hand,
    subscriptions,
    suspense_by_hand,
)
from lib.domain.accounts import Person
from lib.domain.ledger import BalanceTooLow, Wallets
from lib.domain.postings import Amount
from lib.domain.pricing import Surface
from lib.domain.refund_requests import NotRefunded
from lib.domain.refunds_by_hand import Made, Route, Wanted
from lib.domain.settlement import Event, Money, Received
from lib.domain.suspense_by_hand import By
from lib.settings import pricelist
from tests.integration.by_the_owner import travel
from tests.integration.domain.test_balance import purchase
from tests.integration.statement_faults import all_or_nothing
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from lib.domain.orders import Order

PRICES = pricelist.load()
BY = By(12, {12}, "they asked for it", "c-9")
IN_USDT = {"paid_asset": "USDT", "paid_amount": "3.125", "fee_asset": "USDT", "fee_amount": "0.09"}


def ordered(
    tx: Transaction, method: str = "card", days: int = 30, telegram_id: int = 1, tariff: str = "basic"
) -> Order:
    account = accounts.meet(tx, Person(telegram_id, "Anna", None, "ru"))
    return orders.open_subscription(
        tx,
        account.id,
        tariff=tariff,
        period_days=days,
        quote=at_list_price(PRICES, tariff, days, method=method),
        provider=method,
        minutes=30,
    ).order


def top_up(tx: Transaction, amount: int = 25_000, method: str = "card") -> Order:
    account = accounts.meet(tx, Person(1, "Anna", None, "ru"))
    quote = pricing.top_up(PRICES, amount, method=method, surface=Surface.CHAT).quote
    return orders.open_top_up(tx, account.id, quote=quote, provider=method, minutes=30).order


def paid(order: Order, key: str = "", **changes: Any) -> Event:
    key = key or f"ch-{order.id}"
    money = Money(order.price, order.currency, "", order.purchase_id)
    return Event(order.provider, key, b"{}", "webhook", "c-1", replace(money, **changes), payer_telegram_id=1)


def went_back(charge: Event, refund_id: str = "", kind: str = "refund", **changes: Any) -> Event:
    """News that a charge went back."""
    assert charge.money is not None
    money = Money(charge.money.amount, charge.money.currency, "", None)
    body = json.dumps({"refund": refund_id, "kind": kind}).encode()
    return Event(
        charge.provider,
        refund_id or charge.external_id,
        body,
        "sweep",
        "c-2",
        replace(money, **changes),
        kind=kind,
        charge_id=charge.external_id,
    )


def receive(tx: Transaction, event: Event) -> Received:
    return inbox.receive(tx, event, PRICES)


receive.idempotent = True  # type: ignore[attr-defined] # its first statement is that of inbox.receive


def entries(tx: Transaction, kind: str = "") -> list[Any]:
    """What was posted last, or all of a kind."""
    return tx.values(
        "select d.code || '>' || c.code || ' ' || e.amount || ' ' || e.currency from ledger_entries e"
        " join ledger_transfers t on t.id = e.transfer_id"
        " join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id"
        " where (:kind = '' and t.id = (select max(id) from ledger_transfers)) or t.kind = :kind"
        " order by e.transfer_id, e.number",
        kind=kind,
    )


def count(tx: Transaction, table: str) -> int:
    return int(tx.value(f"select count(*) from {table}"))  # noqa: S608 -- a constant of the test


def refund(tx: Transaction, wanted: Wanted, by: By = BY) -> Made:
    return refunds_by_hand.refund(tx, wanted, by, PRICES)


def payment_of(tx: Transaction, order: Order) -> int:
    found = refunds_by_hand.settling_payment(tx, order.id)
    assert found is not None
    return found


def event_of(tx: Transaction, charge: Event) -> int:
    found = refunds_by_hand.charge(tx, charge.provider, charge.external_id)
    assert found is not None
    return found


def said(tx: Transaction) -> list[Any]:
    return tx.values("select params from messages where kind = 'refund' order by id")


async def bought(db: Database, method: str = "card", **changes: Any) -> tuple[Order, Event]:
    order = await db.run(ordered, method)
    charge = paid(order, **changes)
    assert (await db.run(inbox.receive, charge, PRICES)).outcome == "settled"
    return order, charge


async def topped_up(db: Database, **changes: Any) -> tuple[Order, Event]:
    order = await db.run(top_up)
    charge = paid(order, **changes)
    assert (await db.run(inbox.receive, charge, PRICES)).outcome == "settled"
    return order, charge


# From outside --------------------------------------------------------------------------------------------------------


@pytest.mark.proves("N-33")
@pytest.mark.proves("N-5")
@pytest.mark.parametrize(
    ("kind", "account"), [("refund", "refunds"), ("chargeback", "chargebacks")], ids=["refund", "chargeback"]
)
async def test_a_sale_goes_back_once_by_what_its_provider_tells(
    db: Database, database_url: str, kind: str, account: str
) -> None:
    order, charge = await bought(db)
    news = went_back(charge, "re-1", kind, fee_asset="RUB", fee_amount="15.5")
    for outcome in ("settled", "repeated"):
        assert (await db.run(inbox.receive, news, PRICES)).outcome == outcome
    assert await db.run(entries, kind) == [
        f"{account}>clearing:card {order.price} RUB",
        "provider_fees>clearing:card 1550 RUB",
    ]
    rows = await db.run(lambda tx: tx.values("select kind || ' ' || route || ' ' || external_id from refunds"))
    assert rows == [f"{kind} provider re-1"]
    held = await db.run(subscriptions.current, order.account_id)
    assert held is not None
    assert held.is_current, "access stays unless it is asked for"
    assert len(await db.run(said)) == (kind == "refund")
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_what_came_in_another_asset_goes_back_at_the_amounts_it_was_booked_at(
    db: Database, database_url: str
) -> None:
    order, charge = await bought(db, "cryptobot", **IN_USDT)
    assert (await db.run(inbox.receive, went_back(charge, "re-1"), PRICES)).outcome == "settled"
    assert await db.run(entries) == [f"refunds>exchange {order.price} RUB", "exchange>clearing:cryptobot 3125000 USDT"]
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_what_was_more_is_had_back_from_the_balance_as_far_as_it_is_there(
    db: Database, database_url: str
) -> None:
    order = await db.run(ordered)
    charge = paid(order, amount=order.price + 20_000)
    await db.run(inbox.receive, charge, PRICES)
    await db.run(balance.buy, purchase(order.account_id), PRICES, "c-3")  # 149 of the 200 RUB are spent
    assert (await db.run(inbox.receive, went_back(charge, "re-1"), PRICES)).outcome == "settled"
    assert await db.run(entries) == [
        f"refunds>clearing:card {order.price} RUB",
        "user:topped_up>clearing:card 5100 RUB",
        "chargebacks>clearing:card 14900 RUB",
    ]
    assert await db.run(balance.of, order.account_id) == Wallets(0, 0)
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
@pytest.mark.parametrize("kind", ["refund", "chargeback"])
async def test_a_top_up_that_was_spent_is_a_loss(db: Database, database_url: str, kind: str) -> None:
    order, charge = await topped_up(db)
    await db.run(balance.buy, purchase(order.account_id), PRICES, "c-3")
    assert (await db.run(inbox.receive, went_back(charge, "re-1", kind), PRICES)).outcome == "settled"
    assert await db.run(entries) == ["user:topped_up>clearing:card 10100 RUB", "chargebacks>clearing:card 14900 RUB"]
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_a_credited_further_charge_is_had_back_from_the_balance(db: Database, database_url: str) -> None:
    order, _ = await bought(db)
    again = paid(order, "ch-again")
    assert (await db.run(inbox.receive, again, PRICES)).outcome == "duplicate"
    assert (await db.run(inbox.receive, went_back(again), PRICES)).outcome == "settled"
    assert await db.run(entries) == [f"user:topped_up>clearing:card {order.price} RUB"]
    assert await db.run(balance.of, order.account_id) == Wallets(0, 0)
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_money_that_fits_nothing_leaves_suspense_when_its_provider_gives_it_back(
    db: Database, database_url: str
) -> None:
    order = await db.run(ordered)
    stray = paid(order, amount=order.price - 1)
    assert (await db.run(inbox.receive, stray, PRICES)).outcome == "unmatched"
    assert (await db.run(inbox.receive, went_back(stray), PRICES)).outcome == "settled"
    assert await db.run(entries) == [f"suspense>clearing:card {order.price - 1} RUB"]
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_a_refund_that_is_told_before_its_charge_waits_for_it(db: Database, database_url: str) -> None:
    order = await db.run(ordered)
    charge = paid(order)
    early = await db.run(inbox.receive, went_back(charge, "re-1"), PRICES)
    assert (early.outcome, early.reason) == ("unmatched", refunds.WAITS)
    assert await db.run(refunds.wake, 10) == []
    await db.run(inbox.receive, charge, PRICES)
    (work,) = await db.run(refunds.wake, 10)
    assert await db.run(refunds.wake, 10) == [], "once"
    received = await db.run(inbox.settle_again, work.payload["event_id"], went_back(charge, "re-1"), PRICES, work.id)
    assert received.outcome == "settled"
    assert await db.run(entries) == [f"refunds>clearing:card {order.price} RUB"]
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_a_second_debit_of_one_charge_is_lost(db: Database, database_url: str) -> None:
    order, charge = await bought(db)
    await db.run(inbox.receive, went_back(charge, "re-1"), PRICES)
    assert (await db.run(inbox.receive, went_back(charge, "re-2", "chargeback"), PRICES)).outcome == "settled"
    assert await db.run(entries) == [f"write_offs>clearing:card {order.price} RUB"]
    assert (await db.run(inbox.receive, went_back(charge, "re-1", "chargeback"), PRICES)).outcome == "settled"
    assert await db.run(entries, "second_debit") == [f"write_offs>clearing:card {order.price} RUB"]
    assert await db.run(count, "refunds") == 1
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_already_given_back_moves_nothing(db: Database, database_url: str) -> None:
    _, charge = await bought(db)
    before = await db.run(count, "ledger_transfers")
    news = replace(went_back(charge), money=None, concerns_money=False, reason="given back already")
    assert (await db.run(inbox.receive, news, PRICES)).outcome == "no_money"
    assert await db.run(count, "ledger_transfers") == before
    # what is listed later under the same key says more
    assert (await db.run(inbox.receive, went_back(charge), PRICES)).outcome == "settled"
    assert await db.run(count, "ledger_transfers") == before + 1
    assert violations(database_url) == []


# By an operator ------------------------------------------------------------------------------------------------------


@pytest.mark.proves("N-33")
@pytest.mark.parametrize("route", [Route.BALANCE, Route.BANK])
async def test_a_sale_is_given_back_to_the_balance_or_by_hand(db: Database, database_url: str, route: Route) -> None:
    order, charge = await bought(db, "cryptobot", **IN_USDT)
    wanted = Wanted(route, await db.run(payment_of, order))
    if route is Route.BANK:
        wanted = replace(wanted, paid=Amount(order.price, "RUB"), fee=Amount(500, "RUB"))
    made = await db.run(refund, wanted)
    assert (made.amount, made.currency, made.request_id) == (order.price, "RUB", None)
    assert (
        await db.run(entries)
        == {
            Route.BALANCE: [f"refunds>user:topped_up {order.price} RUB"],
            Route.BANK: [f"refunds>bank {order.price} RUB", "provider_fees>bank 500 RUB"],
        }[route]
    )
    with pytest.raises(NotRefunded, match="before"):
        await db.run(refund, wanted)
    assert [one["amount"] for one in await db.run(said)] == [order.price]
    assert await db.run(lambda tx: tx.values("select action from audit_log")) == ["refund.made"]
    # taken by force after all: what is in the balance is had back, what was paid by hand is gone
    assert (await db.run(inbox.receive, went_back(charge, "cb", "chargeback"), PRICES)).outcome == "settled"
    assert (
        await db.run(entries)
        == {
            Route.BALANCE: [f"user:topped_up>exchange {order.price} RUB", "exchange>clearing:cryptobot 3125000 USDT"],
            Route.BANK: ["write_offs>clearing:cryptobot 3125000 USDT"],
        }[route]
    )
    assert await db.run(balance.of, order.account_id) == Wallets(0, 0)
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_what_was_bought_from_the_balance_goes_back_to_the_wallets_that_paid(
    db: Database, database_url: str
) -> None:
    order, _ = await topped_up(db)
    made = await db.run(balance.buy, purchase(order.account_id), PRICES, "c-3")
    wanted = Wanted(Route.WALLET, await db.run(payment_of, made.order), reverses_access=True)
    await db.run(refund, wanted)
    assert await db.run(entries) == ["refunds>user:topped_up 14900 RUB"]
    assert await db.run(balance.of, order.account_id) == Wallets(25_000, 0)
    with pytest.raises(NotRefunded):
        await db.run(refund, wanted)
    again = await db.run(balance.buy, purchase(order.account_id, "tap:2"), PRICES, "c-4")
    with pytest.raises(NotRefunded, match="by wallet"):
        await db.run(refund, replace(wanted, route=Route.PROVIDER, payment_id=await db.run(payment_of, again.order)))
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_a_top_up_that_was_spent_is_not_given_back_by_us(db: Database, database_url: str) -> None:
    order, charge = await topped_up(db)
    await db.run(balance.buy, purchase(order.account_id), PRICES, "c-3")
    for wanted in (
        Wanted(Route.PROVIDER, event_id=await db.run(event_of, charge)),
        Wanted(Route.BANK, await db.run(payment_of, order), paid=Amount(25_000, "RUB")),
    ):
        with pytest.raises(NotRefunded, match=r"holds 101\.00 RUB of 250\.00 RUB"):
            await db.run(refund, wanted)
    assert await db.run(count, "refund_requests") == 0
    assert violations(database_url) == []


async def test_only_owners_and_finance_give_back(db: Database) -> None:
    order, charge = await bought(db)
    payment_id, event_id = await db.run(payment_of, order), await db.run(event_of, charge)
    for role in (None, operators.Role.SUPPORT):
        if role is not None:
            await db.run(lambda tx: operators.grant(tx, 1, 77, operators.Role.SUPPORT, "c"))
        other = replace(BY, actor_id=77)
        with pytest.raises(NotRefunded, match="may not"):
            await db.run(refund, Wanted(Route.BALANCE, payment_id), other)
        with pytest.raises(NotRefunded, match="may not"):
            await db.run(refunds_by_hand.taken_by_provider, event_id, other, PRICES)
    await db.run(lambda tx: operators.grant(tx, 1, 77, operators.Role.FINANCE, "c"))
    await db.run(refund, Wanted(Route.BALANCE, payment_id), replace(BY, actor_id=77))


@pytest.mark.proves("N-33")
async def test_a_debit_that_an_operator_booked_is_the_first_one_listed(db: Database, database_url: str) -> None:
    order, charge = await bought(db)
    event_id = await db.run(event_of, charge)
    await db.run(refunds_by_hand.taken_by_provider, event_id, BY, PRICES)
    assert await db.run(entries) == [f"chargebacks>clearing:card {order.price} RUB"]
    with pytest.raises(NotRefunded):
        await db.run(refunds_by_hand.taken_by_provider, event_id, BY, PRICES)
    before = await db.run(count, "ledger_transfers")
    assert (await db.run(inbox.receive, went_back(charge, "re-1"), PRICES)).outcome == "settled"
    assert await db.run(count, "ledger_transfers") == before, "it is that one"
    assert (await db.run(inbox.receive, went_back(charge, "re-2"), PRICES)).outcome == "settled"
    assert await db.run(entries) == [f"write_offs>clearing:card {order.price} RUB"]
    assert violations(database_url) == []


# By the provider, asked by us ------------------------------------------------------------------------------------------


def claim(tx: Transaction) -> list[refund_requests.Claimed]:
    return refund_requests.claim(tx, ["card", "stars", "cryptobot"], 10, 120.0)


@pytest.mark.proves("N-33")
async def test_a_refund_of_ours_is_a_row_before_it_is_made_and_ends_with_its_news(
    db: Database, database_url: str
) -> None:
    order, charge = await bought(db)
    wanted = Wanted(Route.PROVIDER, await db.run(payment_of, order), reverses_access=True)
    made = await db.run(refund, wanted)
    assert made.request_id is not None
    assert await db.run(count, "refunds") == 0
    with pytest.raises(NotRefunded, match="under way"):
        await db.run(refund, replace(wanted, route=Route.BALANCE))
    (claimed,) = await db.run(claim)
    assert (claimed.charge.charge_id, claimed.charge.amount, claimed.may_be_made) == (
        charge.external_id,
        order.price,
        False,
    )
    assert claimed.payer_telegram_id == 1
    assert await db.run(claim) == [], "one at a time"
    for outcome in ("settled", "repeated"):
        assert (await db.run(inbox.receive, went_back(charge, "re-1"), PRICES)).outcome == outcome
    rows = await db.run(lambda tx: tx.values("select made_by || ' ' || reason || ' ' || reverses_access from refunds"))
    assert rows == ["12 they asked for it true"]
    assert await db.run(lambda tx: tx.values("select status from refund_requests")) == ["done"]
    assert await db.run(entries) == [f"refunds>clearing:card {order.price} RUB"]
    held = await db.run(subscriptions.current, order.account_id)
    assert held is not None
    assert not held.is_current
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_a_debit_that_is_listed_while_we_wait_for_the_answer_is_our_refund(
    db: Database, database_url: str
) -> None:
    order, charge = await bought(db)
    await db.run(refund, Wanted(Route.PROVIDER, await db.run(payment_of, order)))
    await db.run(claim)
    assert (await db.run(inbox.receive, went_back(charge, kind="chargeback"), PRICES)).outcome == "settled"
    assert await db.run(entries) == [f"refunds>clearing:card {order.price} RUB"]
    assert (await db.run(inbox.receive, went_back(charge), PRICES)).outcome == "settled", "its answer comes too"
    assert await db.run(count, "refunds") == 1
    assert await db.run(entries, "second_debit") == []
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
@pytest.mark.parametrize("by_operator", [False, True])
async def test_what_is_taken_by_force_before_we_ask_for_it_is_a_chargeback(
    db: Database, database_url: str, *, by_operator: bool
) -> None:
    order, charge = await bought(db)
    await db.run(refund, Wanted(Route.PROVIDER, await db.run(payment_of, order), reverses_access=True))
    if by_operator:
        await db.run(refunds_by_hand.taken_by_provider, await db.run(event_of, charge), BY, PRICES)
    else:
        assert (await db.run(inbox.receive, went_back(charge, "re-1", "chargeback"), PRICES)).outcome == "settled"
    assert await db.run(entries) == [f"chargebacks>clearing:card {order.price} RUB"]
    assert await db.run(lambda tx: tx.values("select status from refund_requests")) == ["done"], "it is not asked for"
    assert await db.run(said) == []
    held = await db.run(subscriptions.current, order.account_id)
    assert held is not None
    assert not held.is_current, "as was asked for"
    assert violations(database_url) == []


def assign(tx: Transaction, charge: Event, order: Order) -> None:
    suspense_by_hand.assign(tx, event_of(tx, charge), order.id, BY, PRICES, worth=order.price)


@pytest.mark.proves("N-33")
@pytest.mark.parametrize("asked", [False, True])
async def test_what_an_operator_assigned_goes_back_as_it_was_charged(
    db: Database, database_url: str, *, asked: bool
) -> None:
    """Its payment says what the money counted for; its provider knows what it charged."""
    order = await db.run(ordered)
    charge = Event("stars", "st-1", b"{}", "update", "c-1", Money(100, "XTR", "", None), payer_telegram_id=1)
    assert (await db.run(inbox.receive, charge, PRICES)).outcome == "unmatched"
    await db.run(assign, charge, order)
    if asked:
        await db.run(refund, Wanted(Route.PROVIDER, await db.run(payment_of, order)))
        (claimed,) = await db.run(claim)
        assert (claimed.charge.amount, claimed.charge.currency) == (100, "XTR")
    assert (await db.run(inbox.receive, went_back(charge), PRICES)).outcome == "settled"
    assert await db.run(entries) == [
        f"refunds>exchange {order.price} RUB",
        "exchange>clearing:stars 100000000000 XTR",
    ]
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_what_is_being_given_back_pays_for_nothing_meanwhile(db: Database, database_url: str) -> None:
    """What is told later of the charge may fit an order: it is not delivered beside its refund."""
    order = await db.run(top_up)
    stray = replace(paid(order), reason="no payment of an invoice")
    assert (await db.run(inbox.receive, stray, PRICES)).outcome == "unmatched"
    await db.run(refund, Wanted(Route.PROVIDER, event_id=await db.run(event_of, stray)))
    await db.run(claim)
    assert (await db.run(inbox.receive, paid(order), PRICES)).outcome == "unmatched"
    assert await db.run(balance.of, order.account_id) == Wallets(0, 0)
    assert (await db.run(inbox.receive, went_back(stray), PRICES)).outcome == "settled"
    assert await db.run(entries) == [f"suspense>clearing:card {order.price} RUB"]
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_a_run_that_died_leaves_a_refund_whose_outcome_is_asked_for(db: Database) -> None:
    order, _ = await bought(db)
    await db.run(refund, Wanted(Route.PROVIDER, await db.run(payment_of, order)))
    (first,) = await db.run(claim)
    await db.run(travel, timedelta(seconds=121))
    (second,) = await db.run(claim)
    assert (first.may_be_made, second.may_be_made) == (False, True)
    await db.run(refund_requests.put_off, first, 1.0, "late", may_be_made=False)
    assert await db.run(lambda tx: tx.values("select status from refund_requests")) == ["sent"], (
        "not its claim any more"
    )
    await db.run(refund_requests.put_off, second, 1.0, "not reached", may_be_made=False)
    await db.run(travel, timedelta(seconds=2))
    (third,) = await db.run(claim)
    assert not third.may_be_made


@pytest.mark.proves("N-33")
async def test_what_is_being_given_back_can_not_be_spent_meanwhile(db: Database, database_url: str) -> None:
    order, charge = await topped_up(db)
    await db.run(refund, Wanted(Route.PROVIDER, await db.run(payment_of, order)))
    assert await db.run(balance.of, order.account_id) == Wallets(0, 0)
    with pytest.raises(BalanceTooLow):
        await db.run(balance.buy, purchase(order.account_id), PRICES, "c-3")
    (claimed,) = await db.run(claim)
    await db.run(refund_requests.refused, claimed, "CHARGE_TOO_OLD")
    assert await db.run(balance.of, order.account_id) == Wallets(25_000, 0)
    assert await db.run(lambda tx: tx.values("select status || ' ' || last_answer from refund_requests")) == [
        "refused CHARGE_TOO_OLD"
    ]
    # asked for again, and made
    await db.run(refund, Wanted(Route.PROVIDER, await db.run(payment_of, order)))
    await db.run(claim)
    assert (await db.run(inbox.receive, went_back(charge), PRICES)).outcome == "settled"
    assert await db.run(entries) == ["user:topped_up>clearing:card 25000 RUB"]
    assert await db.run(balance.of, order.account_id) == Wallets(0, 0)
    assert violations(database_url) == []


# Access --------------------------------------------------------------------------------------------------------------


async def ends_of(db: Database, account_id: int) -> timedelta:
    def left(tx: Transaction) -> timedelta:
        held = subscriptions.current(tx, account_id)
        assert held is not None
        return held.expires_at - subscriptions.now(tx)

    return await db.run(left)


def near(found: timedelta, days: float) -> bool:
    return abs(found - timedelta(days=days)) < timedelta(minutes=2)


@pytest.mark.proves("N-33")
@pytest.mark.parametrize("which", [0, 1, 2])
async def test_the_time_of_the_payment_that_goes_back_is_taken_off_and_no_other(
    db: Database, database_url: str, which: int
) -> None:
    """30 days, after 20 of them 90 more, after 5 more 30 again: at that moment 5, 90 and 30 are left of each."""
    made = []
    for number, days in enumerate((30, 90, 30)):
        order = await db.run(ordered, "card", days)
        await db.run(inbox.receive, paid(order), PRICES)
        made.append(order)
        await db.run(travel, timedelta(days=(20, 5, 0)[number]))
    anna = made[0].account_id
    assert near(await ends_of(db, anna), 125)
    await db.run(refund, Wanted(Route.BALANCE, await db.run(payment_of, made[which]), reverses_access=True))
    assert near(await ends_of(db, anna), (120, 35, 95)[which])
    nodes_are_told = await db.run(lambda tx: tx.value("select count(*) from outbox where target = 'task_provision'"))
    assert nodes_are_told == 4
    other = made[(which + 1) % 3]
    before = await ends_of(db, anna)
    await db.run(refund, Wanted(Route.BALANCE, await db.run(payment_of, other), reverses_access=True))
    gone = {0: 5, 1: 90, 2: 30}[(which + 1) % 3]
    assert near(before - await ends_of(db, anna), gone)
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_what_is_left_after_a_refund_is_paid_time_and_no_trial(db: Database, database_url: str) -> None:
    """It is converted by value with the next tariff, and may be frozen."""
    made = []
    for _ in range(2):
        order = await db.run(ordered, "card", 30, 1, "basic")
        await db.run(inbox.receive, paid(order), PRICES)
        made.append(order)
    anna = made[0].account_id
    await db.run(refund, Wanted(Route.BALANCE, await db.run(payment_of, made[1]), reverses_access=True))
    held = await db.run(subscriptions.current, anna)
    assert held is not None
    assert held.trial_until is None
    assert await db.run(freezing.refusal, held, PRICES.access) is None
    dearer = await db.run(ordered, "card", 30, 1, "plus")
    await db.run(inbox.receive, paid(dearer), PRICES)
    assert await ends_of(db, anna) < timedelta(days=30 + 20)
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_time_that_was_converted_is_taken_off_as_it_counts_now(db: Database, database_url: str) -> None:
    tariffs = list(PRICES.tariffs)
    first = await db.run(ordered, "card", 30, 1, "basic")
    await db.run(inbox.receive, paid(first), PRICES)
    other = next(name for name in tariffs if name != "basic")
    second = await db.run(ordered, "card", 30, 1, other)
    await db.run(inbox.receive, paid(second), PRICES)
    converted = await ends_of(db, first.account_id) - timedelta(days=30)
    assert timedelta() < converted < timedelta(days=30)
    await db.run(refund, Wanted(Route.BALANCE, await db.run(payment_of, first), reverses_access=True))
    assert near(await ends_of(db, first.account_id), 30)
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_access_that_is_over_by_a_refund_ends_as_any_other(db: Database, database_url: str) -> None:
    order, _ = await bought(db)
    await db.run(refund, Wanted(Route.BALANCE, await db.run(payment_of, order), reverses_access=True))
    assert near(await ends_of(db, order.account_id), 0)
    assert (await db.run(said))[0]["until"]
    ended = await db.run(subscriptions.expire, 10, "c-5")
    assert ended.count == 1
    history = await db.run(lambda tx: tx.values("select event from subscription_history order by id"))
    assert history == ["granted", "refunded", "expired"]
    assert violations(database_url) == []


# Races ---------------------------------------------------------------------------------------------------------------


@pytest.mark.proves("N-33")
async def test_a_refund_and_a_chargeback_of_one_charge_at_once(racing_db: Database, database_url: str) -> None:
    order, charge = await bought(racing_db)
    news = [went_back(charge, "re-1"), went_back(charge, "cb-1", "chargeback")] * 3
    outcomes = await asyncio.gather(*(racing_db.run(inbox.receive, one, PRICES) for one in news))
    assert sorted(one.outcome for one in outcomes) == ["repeated"] * 4 + ["settled"] * 2
    assert await racing_db.run(count, "refunds") == 1
    assert await racing_db.run(entries, "second_debit") == [f"write_offs>clearing:card {order.price} RUB"]
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_two_operators_at_once_give_back_once(racing_db: Database, database_url: str) -> None:
    order, charge = await bought(racing_db)
    payment_id = await racing_db.run(payment_of, order)
    ways = [
        Wanted(Route.BALANCE, payment_id),
        Wanted(Route.PROVIDER, payment_id),
        Wanted(Route.BANK, payment_id, paid=Amount(order.price, "RUB")),
        Wanted(Route.PROVIDER, event_id=await racing_db.run(event_of, charge)),
    ]
    done = await asyncio.gather(*(racing_db.run(refund, one) for one in ways), return_exceptions=True)
    assert sum(isinstance(one, Made) for one in done) == 1
    assert all(isinstance(one, Made | NotRefunded) for one in done), done
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_a_purchase_and_a_refund_of_the_same_balance_at_once(racing_db: Database, database_url: str) -> None:
    order, _ = await topped_up(racing_db)
    payment_id = await racing_db.run(payment_of, order)
    refunded, purchased = await asyncio.gather(
        racing_db.run(refund, Wanted(Route.PROVIDER, payment_id)),
        racing_db.run(balance.buy, purchase(order.account_id), PRICES, "c-3"),
        return_exceptions=True,
    )
    assert isinstance(refunded, Made) != isinstance(purchased, balance.Bought), (refunded, purchased)
    assert isinstance(refunded, Made | NotRefunded)
    assert isinstance(purchased, balance.Bought | BalanceTooLow)
    assert violations(database_url) == []


@pytest.mark.proves("N-33")
async def test_a_further_charge_and_its_refund_at_once(racing_db: Database, database_url: str) -> None:
    order, _ = await bought(racing_db)
    again = paid(order, "ch-again")
    await asyncio.gather(*(racing_db.run(inbox.receive, one, PRICES) for one in (again, went_back(again)) * 2))
    for work in await racing_db.run(refunds.wake, 10):
        await racing_db.run(inbox.settle_again, work.payload["event_id"], went_back(again), PRICES, work.id)
    assert await racing_db.run(count, "refunds") == 1
    assert await racing_db.run(balance.of, order.account_id) == Wallets(0, 0)
    assert violations(database_url) == []


# Faults --------------------------------------------------------------------------------------------------------------


@pytest.mark.proves("S4-2.1.refund")
@pytest.mark.parametrize("what", ["sale", "more", "top-up"])
async def test_a_fault_at_any_statement_of_a_refund_that_is_told_leaves_nothing(
    db: Database, functions_url: str, what: str
) -> None:
    if what == "top-up":
        _, charge = await topped_up(db)
    else:
        order = await db.run(ordered)
        charge = paid(order, amount=order.price + (500 if what == "more" else 0))
        await db.run(inbox.receive, charge, PRICES)
    payment_id = await db.run(lambda tx: tx.value("select id from payments"))
    await db.run(refund, Wanted(Route.PROVIDER, payment_id, reverses_access=True))
    received = await all_or_nothing(functions_url, receive, went_back(charge, "re-1"), refusals=False)
    assert received.outcome == "settled"


@pytest.mark.proves("S4-2.1.refund")
@pytest.mark.parametrize("route", list(Route))
async def test_a_fault_at_any_statement_of_an_operators_refund_leaves_nothing(
    db: Database, functions_url: str, route: Route
) -> None:
    if route is Route.WALLET:
        order, _ = await topped_up(db)
        order = (await db.run(balance.buy, purchase(order.account_id), PRICES, "c-3")).order
    elif route is Route.PROVIDER:
        order, _ = await topped_up(db)
    else:
        order, _ = await bought(db)
    paid_by_hand = Amount(order.price, "RUB") if route is Route.BANK else None
    wanted = Wanted(route, await db.run(payment_of, order), reverses_access=True, paid=paid_by_hand)
    made = await all_or_nothing(functions_url, refund, wanted)
    assert (made.request_id is not None) == (route is Route.PROVIDER)


@pytest.mark.proves("S4-2.1.refund-refused")
async def test_a_fault_at_any_statement_of_a_refusal_leaves_nothing(db: Database, functions_url: str) -> None:
    order, _ = await topped_up(db)
    await db.run(refund, Wanted(Route.PROVIDER, await db.run(payment_of, order)))
    (claimed,) = await db.run(claim)
    await all_or_nothing(functions_url, refund_requests.refused, claimed, "too old")
    assert await db.run(balance.of, order.account_id) == Wallets(25_000, 0)


@pytest.mark.proves("S4-2.1.chargeback")
@pytest.mark.parametrize("what", ["sale", "top-up", "second"])
async def test_a_fault_at_any_statement_of_a_chargeback_leaves_nothing(
    db: Database, functions_url: str, what: str
) -> None:
    _, charge = await (topped_up(db) if what == "top-up" else bought(db))
    if what == "second":
        await db.run(inbox.receive, went_back(charge), PRICES)
    news = went_back(charge, "cb-1", "chargeback", fee_asset="RUB", fee_amount="2")
    assert (await all_or_nothing(functions_url, receive, news, refusals=False)).outcome == "settled"


@pytest.mark.proves("S4-2.1.chargeback")
async def test_a_fault_at_any_statement_of_a_chargeback_that_an_operator_tells_of_leaves_nothing(
    db: Database, functions_url: str
) -> None:
    _, charge = await topped_up(db)
    event_id = await db.run(event_of, charge)
    await all_or_nothing(functions_url, refunds_by_hand.taken_by_provider, event_id, BY, PRICES)


async def test_the_database_lets_no_held_money_go(db: Database) -> None:
    order, _ = await topped_up(db)
    await db.run(refund, Wanted(Route.PROVIDER, await db.run(payment_of, order)))
    with pytest.raises(StatementFailed) as refused:
        await db.run(lambda tx: tx.execute("update ledger_accounts set balance = 24999 where code = 'user:topped_up'"))
    assert refused.value.constraint == "held_is_there"
