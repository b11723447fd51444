"""Access that an operator ends, and bans: what moves, what stands still, what an unban gives back."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from functions.sweeps import sweep_payments
from lib import bootstrap
from lib.db import Database, StatementFailed
from lib.domain import (
    adjustments,
    balance,
    checkout,
    inbox,
    money_desk,
    orders,
    refunds_by_hand,
    revoking,
    subscriptions,
    suspense_by_hand,
    trial,
)
from lib.domain.adjustments import Adjustment
from lib.domain.balance import Purchase
from lib.domain.checkout import Checkout
from lib.domain.refunds_by_hand import Route, Wanted
from lib.domain.revoking import Done, Refusal
from lib.domain.settlement import Event
from lib.domain.suspense_by_hand import By, Refused, Why
from lib.payments.provider import PaidPage
from tests.integration.bot.customer import FakeProvider
from tests.integration.sweeps.grants import PRICES, at_the_start, open_order, pay, start_trial
from tests.integration.sweeps.lives import DAY, OPERATOR, bought, customer, order
from tests.integration.sweeps.runs import sweep_run
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Transaction
    from tests.integration.sweeps.lives import Customer
    from tests.integration.sweeps.nodes import Network

WHY = "resold their key"


def revoke(tx: Transaction, account: int) -> Done | Refusal:
    return revoking.revoke(tx, account, actor_id=OPERATOR, correlation_id="c")


def ban(tx: Transaction, account: int) -> Done | Refusal:
    return revoking.ban(tx, account, actor_id=OPERATOR, reason=WHY, correlation_id="c")


def unban(tx: Transaction, account: int) -> Done | Refusal:
    return revoking.unban(tx, account, actor_id=OPERATOR, conversion=PRICES.conversion, correlation_id="c")


def give_money(tx: Transaction, account: int) -> None:
    given = Adjustment(account, 100_000, OPERATOR, "a test's own money", "life-1")
    adjustments.credit(tx, given, {OPERATOR}, currency="RUB", correlation_id="c")


def told(tx: Transaction) -> list[str]:
    return tx.values("select kind from messages where kind not in ('key', 'receipt') order by id")


@pytest.fixture
async def anna(processes: Callable[[int], list[Database]], two_nodes: Network) -> Customer:
    return await customer(processes(1)[0], two_nodes)


@pytest.mark.proves("N-37")
async def test_a_revoke_ends_access_now_and_forbids_nothing(anna: Customer) -> None:
    before = await anna.held()
    moved = await anna.db.run(money_desk.last_transfer)
    assert isinstance(await anna.db.run(revoke, anna.account), Done)
    held = await anna.held()
    assert (held.status, held.uuid) == ("expired", None)
    assert held.expires_at <= await anna.db.run(subscriptions.now)
    await anna.settle()
    assert (anna.keys(), await anna.link()) == ([set(), set()], None)
    assert await anna.db.run(revoke, anna.account) is Refusal.NO_ACCESS
    assert await anna.db.run(money_desk.last_transfer) == moved
    assert await anna.db.run(told) == ["revoked"]
    # bought again: a new key, as after any end
    await anna.db.run(bought)
    await anna.settle()
    after = await anna.held()
    assert after.uuid not in {None, before.uuid}
    assert anna.keys() == [{str(after.uuid)}] * 2
    assert await anna.history() == ["granted", f"revoked {OPERATOR}", "granted"]


@pytest.mark.proves("N-37")
async def test_who_is_banned_has_no_access_orders_nothing_and_is_given_nothing(anna: Customer) -> None:
    late = await anna.db.run(order, "late")
    await anna.db.run(give_money, anna.account)
    wallets = await anna.db.run(balance.of, anna.account)
    assert isinstance(await anna.db.run(ban, anna.account), Done)
    assert await anna.db.run(ban, anna.account) is Refusal.BANNED
    await anna.settle()
    assert anna.keys() == [set(), set()]
    assert await anna.db.run(told) == ["banned"]
    found = await anna.db.run(revoking.ban_of, anna.account)
    assert found is not None
    assert (found.reason, found.by) == (WHY, OPERATOR)
    # no order by any way, not even one that another screen would make; no trial; no checkout of an order of before
    with pytest.raises(StatementFailed):
        await anna.db.run(lambda tx: open_order(tx, 1, "plus", 30, "another"))
    purchase = Purchase(anna.account, "buy:1:1", "basic", 30, at_list_price(PRICES, "basic", 30))
    with pytest.raises(StatementFailed):
        await anna.db.run(balance.buy, purchase, PRICES, "c")
    with pytest.raises(StatementFailed):
        await anna.db.run(
            lambda tx: subscriptions.grant(
                tx, anna.account, tariff="basic", seconds=60, source="admin", actor_id=OPERATOR
            )
        )
    assert await anna.db.run(start_trial, 1) is trial.Refusal.NOT_ELIGIBLE
    order_id = await anna.db.run(lambda tx: tx.value("select max(id) from orders"))
    opened = await anna.db.run(orders.of_account, anna.account, order_id)
    assert opened is not None
    asked = Checkout("q1", "cryptobot", opened.purchase_id, 1, opened.price, opened.currency)
    assert (await anna.db.run(checkout.decide, asked)).refusal is checkout.Refusal.BANNED
    # money that comes lies in suspense, and what was on the balance stays there
    received = await anna.db.run(pay, late)
    assert (received.outcome, received.reason) == ("unmatched", "its customer is banned")
    assert await anna.db.run(money_desk.lying, received.event_id) is not None
    assert await anna.db.run(balance.of, anna.account) == wallets
    assert (await anna.held()).status == "expired"
    by = By(OPERATOR, frozenset({OPERATOR}), "they paid for it", "c")
    with pytest.raises(Refused) as refused:
        await anna.db.run(suspense_by_hand.assign, received.event_id, order_id, by, PRICES)
    assert refused.value.why is Why.BANNED
    # after the ban it can be assigned
    assert isinstance(await anna.db.run(unban, anna.account), Done)
    await anna.db.run(suspense_by_hand.assign, received.event_id, order_id, by, PRICES)
    assert (await anna.held()).status == "active"


def open_top_up(tx: Transaction, account: int, invoice: str) -> None:
    quote = replace(at_list_price(PRICES, "basic", 30), list_price=25_000, price=25_000, value=25_000)
    opened = orders.open_top_up(tx, account, quote=quote, provider="cryptobot", minutes=30)
    orders.attach_invoice(tx, opened.order.id, invoice, "https://pay.example/2")


@pytest.mark.proves("N-37")
async def test_a_ban_closes_what_was_open_and_its_invoices_are_taken_back(
    anna: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tap finds an order of before the ban, by any way, and nothing of it is open when the ban is over."""
    late = await anna.db.run(order, "101")
    await anna.db.run(open_top_up, anna.account, "102")
    await anna.db.run(lambda tx: open_order(tx, 2, "basic", 30, "103"))
    await anna.db.run(ban, anna.account)
    statuses = "select invoice_id || ' ' || status from orders where invoice_id like '10%' order by invoice_id"
    assert await anna.db.run(lambda tx: tx.values(statuses)) == ["101 replaced", "102 replaced", "103 open"]
    provider = FakeProvider()
    monkeypatch.setattr(bootstrap, "invoices", lambda: {provider.name: provider})
    monkeypatch.setattr(provider, "listed", nothing_listed)
    await sweep_payments._work(sweep_run(anna.db, "payments"))
    assert sorted(provider.deleted) == ["101", "102"]
    # what was paid before it could be taken back lies in suspense all the same
    assert (await anna.db.run(pay, late)).outcome == "unmatched"
    await anna.db.run(unban, anna.account)
    assert await anna.db.run(lambda tx: tx.values(statuses)) == ["101 replaced", "102 replaced", "103 open"]
    again = await anna.db.run(order, "104")
    assert (await anna.db.run(pay, again)).outcome == "settled"


async def nothing_listed(_start: int) -> PaidPage:
    return PaidPage({}, 0)


@pytest.mark.proves("N-37")
async def test_a_further_charge_of_the_banned_is_not_credited(anna: Customer) -> None:
    first = await anna.db.run(order, "first")
    await anna.db.run(pay, first)
    await anna.db.run(ban, anna.account)
    again = Event("cryptobot", "first-2", b"{}", "webhook", "t", first.money)
    received = await anna.db.run(lambda tx: inbox.receive(tx, again, PRICES))
    assert received.outcome == "unmatched"
    assert (await anna.db.run(balance.of, anna.account)).total == 0


@pytest.mark.proves("N-37")
async def test_an_unban_gives_back_what_would_still_run_to_its_own_end(anna: Customer) -> None:
    before = await anna.held()
    await anna.db.run(ban, anna.account)
    await anna.settle()
    await anna.passes(10 * DAY)
    assert isinstance(await anna.db.run(unban, anna.account), Done)
    assert await anna.db.run(unban, anna.account) is Refusal.NOT_BANNED
    await anna.settle()
    after = await anna.held()
    assert (after.status, after.expires_at, after.source) == ("active", before.expires_at, "payment")
    assert after.uuid != before.uuid
    assert anna.keys() == [{str(after.uuid)}] * 2
    assert await anna.db.run(told) == ["banned", "unbanned"]
    assert await anna.history() == ["granted", f"revoked {OPERATOR}", f"restored {OPERATOR}"]
    # a ban that outlasts the access, and one after a revoke, give nothing back
    await anna.db.run(ban, anna.account)
    await anna.passes(21 * DAY)
    await anna.db.run(unban, anna.account)
    assert (await anna.held()).status == "expired"
    await anna.db.run(bought)
    await anna.db.run(revoke, anna.account)
    await anna.db.run(ban, anna.account)
    await anna.db.run(unban, anna.account)
    assert (await anna.held()).status == "expired"


@pytest.mark.proves("N-37")
async def test_a_ban_and_a_payment_at_once_leave_no_access(
    processes: Callable[[int], list[Database]], two_nodes: Network
) -> None:
    one, other = processes(2)
    anna = await customer(one, two_nodes)
    await at_the_start([one, other])
    for number in range(4):
        event = await one.run(order, f"race-{number}")
        await asyncio.gather(one.run(ban, anna.account), other.run(pay, event), anna.step(), anna.step(wanted=False))
        assert (await anna.held()).status == "expired"
        await anna.passes(DAY / 24)
        await anna.settle()
        assert anna.keys() == [set(), set()]
        await one.run(unban, anna.account)
        await anna.settle()


@pytest.mark.proves("N-37")
@pytest.mark.parametrize("all_of_it", [False, True])
async def test_an_unban_gives_nothing_back_of_what_was_refunded_meanwhile(anna: Customer, *, all_of_it: bool) -> None:
    """The refund found no access to take off: the ban had ended it."""
    await anna.db.run(bought)
    await anna.db.run(ban, anna.account)
    payments = await anna.db.run(lambda tx: tx.values("select id from payments order by id"))
    by = By(OPERATOR, frozenset({OPERATOR}), "they asked for their money", "c")
    for payment in payments if all_of_it else payments[:1]:
        wanted = Wanted(Route.BALANCE, payment, reverses_access=True)
        await anna.db.run(refunds_by_hand.refund, wanted, by, PRICES)
    await anna.passes(DAY)
    await anna.db.run(unban, anna.account)
    held = await anna.held()
    await anna.settle()
    if all_of_it:
        assert held.status == "expired"
        assert anna.keys() == [set(), set()]
    else:
        # a day of the first month went by, the rest of it was refunded, and the second one is still to come
        assert abs(held.expires_at - await anna.db.run(subscriptions.now) - 30 * DAY) < DAY / 24
        assert anna.keys() == [{str(held.uuid)}] * 2


@pytest.mark.proves("N-37")
async def test_a_revoke_that_began_after_a_ban_and_came_before_it_stays(
    processes: Callable[[int], list[Database]], two_nodes: Network
) -> None:
    """A transaction's time is that of its beginning: the ban's is earlier, and it finds the access ended by the revoke."""
    one, other = (Database(db._url, connections=2, application="late", guards=False) for db in processes(2))
    anna = await customer(one, two_nodes)
    began, go_on = threading.Event(), threading.Event()

    def late_ban(tx: Transaction) -> Done | Refusal:
        tx.value("select atlas.now()")
        began.set()
        go_on.wait(30)
        return ban(tx, anna.account)

    banning = asyncio.create_task(other.run(late_ban))
    assert await asyncio.to_thread(began.wait, 30)
    assert isinstance(await one.run(revoke, anna.account), Done)
    go_on.set()
    assert isinstance(await banning, Done)
    await one.run(unban, anna.account)
    assert (await anna.held()).status == "expired"
    for database in (one, other):
        await database.close()
