"""The operators' desk: what waits and every way out of it, customers, credit and debit, books; each act once, as it was shown."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from lib.bot.finance import acts, callbacks, desk
from lib.bot.finance.callbacks import Act
from lib.bot.update_context import UpdateContext, take_effect
from lib.domain import (
    accounts,
    adjustments,
    balance,
    inbox,
    operators,
    orders,
    reconciliation,
    reports,
    suspense,
    suspense_by_hand,
)
from lib.domain.accounts import Person
from lib.domain.adjustments import Adjustment
from lib.domain.ledger import Wallets
from lib.domain.operators import Role
from lib.domain.reconciliation import Difference, Outcome
from lib.domain.settlement import Event, Money
from lib.domain.updates import Incoming
from sandbox.telegram.text.html_markup import parse_html
from tests.integration.bot.conftest import services_over
from tests.integration.bot.customer import Customer
from tests.integration.bot.test_buttons import both_at_once
from tests.integration.bot.test_money_screens import PRICES, comes
from tests.integration.by_the_owner import travel
from tests.integration.domain.test_top_up import open_top_up
from tests.integration.statement_faults import all_or_nothing
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from lib.domain.orders import Order
    from lib.domain.settlement import Received
    from tests.integration.bot.customer import FakeProvider

OWNER = 700_000_011
REASON = "the provider's cabinet says so"


@pytest.fixture
def boss(racing_db: Database, provider: FakeProvider) -> Customer:
    """An owner, in English; every transaction runs twice, and numbers of rows go on counting."""
    services = replace(services_over(racing_db, provider), owners=frozenset({OWNER}), giving_back=tuple)
    return Customer(services, OWNER, name="Olga", language="en")


def open_order(tx: Transaction, telegram_id: int = 21) -> Order:
    """An unpaid order of Anna, whose @name is anna_k."""
    account = accounts.meet(tx, Person(telegram_id, "Anna <b>", "anna_k", "ru"))
    return orders.open_subscription(
        tx,
        account.id,
        tariff="basic",
        period_days=30,
        quote=at_list_price(PRICES, "basic", 30),
        provider="cryptobot",
        minutes=30,
    ).order


def audited(tx: Transaction) -> list[Any]:
    return tx.values("select actor || ' ' || action || ' ' || subject_key from audit_log order by id")


def last_audit(tx: Transaction) -> tuple[Any, Any, str]:
    found = tx.value("select jsonb_build_array(before, after, correlation_id) from audit_log order by id desc limit 1")
    before, after, correlation_id = found if isinstance(found, list) else json.loads(found)
    return before, after, correlation_id


def resolution(tx: Transaction, event_id: int) -> Any:
    return tx.value("select resolution from payment_events where id = :id", id=event_id)


def everything(tx: Transaction) -> list[int]:
    tables = ("ledger_transfers", "ledger_entries", "audit_log", "payments", "messages", "outbox")
    return [int(tx.value(f"select count(*) from {table}")) for table in tables]  # noqa: S608 -- constants


async def waits(db: Database, amount: int = 100, currency: str = "RUB", invoice: str = "less") -> tuple[Order, int]:
    """An unpaid order, and money for it that does not fit."""
    order = await db.run(open_order)
    return order, await db.run(comes, order, invoice, amount, currency)


async def walk(boss: Customer, *steps: str) -> None:
    """Press buttons, and type what is asked for: a step that begins with `>`."""
    for step in steps:
        await (boss.say(step[1:]) if step.startswith(">") else boss.press(step))


# Who may ---------------------------------------------------------------------------------------------------------


def test_nothing_of_it_is_loaded_for_a_customer() -> None:
    """In a process of its own: this one has loaded it."""
    import subprocess

    code = (
        "import sys, lib.bot.dispatcher as d; d.the_dispatcher();"
        "print([name for name in sys.modules if name.startswith(('lib.bot.finance', 'lib.domain.suspense_by_hand',"
        " 'lib.domain.adjustments', 'lib.domain.money_desk', 'lib.domain.operators', 'lib.domain.books'))])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]"


ALL_DATA = [
    "fin",
    "fin_waits:0",
    "fin_event:1",
    "fin_find",
    "fin_card:1",
    *(f"fin_act:{act.value}:1:1" for act in Act),
    "fin_pay:1",
    "fin_pick:wallet:1",
    "fin_no_fee:1",
    "fin_do:1",
    "fin_books",
    "fin_month:0",
    "fin_lines:1:0",
    "fin_differ:0",
]


def test_every_button_is_tried_below() -> None:
    assert {one.partition(":")[0] for one in ALL_DATA} == set(callbacks._BUTTONS)


async def test_a_stranger_is_told_what_any_unknown_button_is_told(boss: Customer) -> None:
    db = boss.services.db
    await waits(db)
    anna = Customer(boss.services, 700_000_001)
    await anna.say("/finance")
    assert anna.button("Купить")
    before = await db.run(everything)
    for data in ALL_DATA:
        await anna.tap(data)
        assert anna.button("Купить"), data
        assert anna.toast.startswith("Эта кнопка устарела"), data
    assert await db.run(everything) == before


# without an act under way they lead to the desk, by every role
OF_A_FORM = ("fin_pick:wallet:1", "fin_no_fee:1", "fin_do:1")
ALLOWED = {
    Role.FINANCE: set(ALL_DATA),
    Role.SUPPORT: {"fin", "fin_find", "fin_card:1", *OF_A_FORM},
    Role.MARKETING: {"fin", *OF_A_FORM},
    Role.OBSERVER: {"fin", *OF_A_FORM},
}


@pytest.mark.parametrize("role", ALLOWED)
async def test_each_button_asks_for_its_role(boss: Customer, role: Role) -> None:
    db = boss.services.db
    await waits(db)
    await db.run(lambda tx: operators.grant(tx, OWNER, 700_000_001, role, "c"))
    clerk = Customer(boss.services, 700_000_001, language="en")
    before = await db.run(everything)
    for data in ALL_DATA:
        await clerk.tap(data)
        assert (clerk.toast != "Your role may not do that.") is (data in ALLOWED[role]), data
    assert await db.run(everything) == before


async def test_a_role_that_is_lost_ends_at_once_on_the_buttons_that_are_there(boss: Customer) -> None:
    db = boss.services.db
    order, _ = await waits(db)
    await db.run(lambda tx: operators.grant(tx, OWNER, 700_000_001, Role.FINANCE, "c"))
    clerk = Customer(boss.services, 700_000_001, language="en")
    await clerk.tap(f"fin_card:{order.account_id}")
    await walk(clerk, "Credit", ">300")
    await db.run(lambda tx: operators.revoke(tx, OWNER, 700_000_001, Role.FINANCE, "c"))
    await clerk.say(f">{REASON}")
    assert clerk.button("Buy")
    await db.run(lambda tx: operators.grant(tx, OWNER, 700_000_001, Role.FINANCE, "c"))
    await clerk.say(REASON)
    confirm = clerk.data("Confirm")
    await db.run(lambda tx: operators.revoke(tx, OWNER, 700_000_001, Role.FINANCE, "c"))
    await clerk.tap(confirm)
    assert clerk.button("Buy")
    assert await db.run(balance.of, order.account_id) == Wallets(0, 0)


# Out of suspense -------------------------------------------------------------------------------------------------


WAYS: dict[str, tuple[tuple[str, ...], str, str, Act]] = {
    "assign": (("To order", f">{REASON}"), "suspense.assigned", "assigned", Act.ASSIGN),
    "assign-typed": (("To an order", ">{order}", f">{REASON}"), "suspense.assigned", "assigned", Act.ASSIGN),
    "credit": (("To the balance", f">{REASON}"), "suspense.credited", "credited", Act.CREDIT),
    "credit-typed": (("To a customer", ">@Anna_K", f">{REASON}"), "suspense.credited", "credited", Act.CREDIT),
    "given-back": (("The provider gave", f">{REASON}"), "suspense.given_back", "refunded", Act.GIVEN_BACK),
    "paid-back": (("We paid", "No fee", f">{REASON}"), "suspense.paid_back", "refunded", Act.PAID_BACK),
}


@pytest.mark.proves("N-23.operator")
@pytest.mark.parametrize("way", WAYS)
async def test_each_way_out_of_suspense_is_confirmed_and_goes_once(boss: Customer, way: str) -> None:
    """Shown before it is done; four taps at once, one more, and an update that comes again: one effect, one row of the audit."""
    db = boss.services.db
    order, event_id = await waits(db)
    steps, action, ended, _ = WAYS[way]
    await boss.say("/finance")
    assert "Waiting: 1; further charges: 0" in boss.text
    await walk(boss, "Waiting", f"Event {event_id}", *(step.format(order=order.id) for step in steps))
    assert REASON in boss.text
    assert f"event {event_id}: fits nothing → " in boss.text
    assert "<code>suspense → " in boss.text
    assert await db.run(resolution, event_id) is None
    assert await db.run(audited) == []
    tap = boss.data("Confirm")
    await both_at_once(boss, tap, 4)
    first = boss.tap_of(tap)
    shown = await boss.give(first)
    assert (await boss.give(first)).reply == shown.reply
    assert "Done" in boss.text
    assert boss.toast == ""
    assert await db.run(resolution, event_id) == ended
    assert await db.run(audited) == [f"{OWNER} {action} {event_id}"]
    before, after, correlation_id = await db.run(last_audit)
    assert before["status"] == "unmatched"
    assert after["reason"] == REASON
    assert correlation_id.startswith("tg-")
    assert await db.run(suspense.lying, event_id) is None
    credited = 100 if way.startswith("credit") else 0
    assert await db.run(balance.of, order.account_id) == Wallets(credited, 0)
    told = await db.run(lambda tx: tx.values("select kind from messages"))
    assert told == {"assign": ["receipt"], "credit": ["credited"]}.get(way.removesuffix("-typed"), [])
    await boss.tap(f"fin_event:{event_id}")
    assert not [button for button in boss.buttons if button["text"].startswith(("🧾", "💰", "↩️", "🏛"))]


async def test_what_is_paid_back_in_another_currency_is_said_with_its_fee(boss: Customer) -> None:
    db = boss.services.db
    _, event_id = await waits(db, 5_00, "USD")
    await boss.tap(f"fin_event:{event_id}")
    await walk(boss, "We paid", ">five", ">480", ">1,50", f">{REASON}", "Confirm")
    assert await db.run(resolution, event_id) == "refunded"
    entries = await db.run(
        lambda tx: tx.values(
            "select d.code || '>' || c.code || ' ' || e.amount || ' ' || e.currency from ledger_entries e"
            " join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id"
            " join ledger_transfers t on t.id = e.transfer_id where t.kind = 'suspense_resolved' order by e.number"
        )
    )
    assert entries == ["suspense>exchange 500 USD", "exchange>bank 48000 RUB", "provider_fees>bank 150 RUB"]


async def test_money_in_another_currency_counts_for_what_an_operator_says(boss: Customer) -> None:
    db = boss.services.db
    order, event_id = await waits(db, 5_00, "USD")
    await boss.tap(f"fin_event:{event_id}")
    await walk(boss, "To order", ">149", f">{REASON}", "Confirm")
    assert await db.run(resolution, event_id) == "assigned"
    assert (await db.run(orders.of_account, order.account_id, order.id)).status == "paid"  # type: ignore[union-attr] # it is there


async def test_two_operators_on_one_event_end_it_once(boss: Customer) -> None:
    db = boss.services.db
    _, event_id = await waits(db)
    await db.run(lambda tx: operators.grant(tx, OWNER, 700_000_001, Role.FINANCE, "c"))
    clerk = Customer(boss.services, 700_000_001, language="en")
    await boss.tap(f"fin_event:{event_id}")
    await walk(boss, "The provider gave", f">{REASON}")
    await clerk.tap(f"fin_event:{event_id}")
    await walk(clerk, "To the balance", f">{REASON}")
    await asyncio.gather(boss.press("Confirm"), clerk.press("Confirm"))
    assert sorted("Done" in one.text for one in (boss, clerk)) == [False, True]
    loser = clerk if "Done" in boss.text else boss
    assert "Refused" in loser.text
    assert "ended before" in loser.text
    assert len(await db.run(audited)) == 2  # the role, and one end


async def test_what_changed_since_it_was_shown_is_shown_again(boss: Customer) -> None:
    db = boss.services.db
    order, event_id = await waits(db)
    await boss.tap(f"fin_card:{order.account_id}")
    await walk(boss, "Credit", ">300", f">{REASON}")
    old = boss.data("Confirm")
    assert "0 ₽ → <b>300 ₽</b>" in boss.text
    by = suspense_by_hand.By(OWNER, {OWNER}, REASON, "c")
    await db.run(suspense_by_hand.credit, event_id, order.account_id, by, "RUB")
    await boss.tap(old)
    assert boss.toast.startswith("Things changed")
    assert "1 ₽ → <b>301 ₽</b>" in boss.text
    assert await db.run(balance.of, order.account_id) == Wallets(100, 0)
    await boss.tap(old)
    assert await db.run(balance.of, order.account_id) == Wallets(100, 0)
    await boss.press("Confirm")
    assert await db.run(balance.of, order.account_id) == Wallets(30_100, 0)


async def test_a_further_charge_that_no_one_was_credited_with_waits_too(boss: Customer) -> None:
    db = boss.services.db
    order = await db.run(open_order)
    await db.run(comes, order, "paid")
    event_id = await db.run(comes, order, "further", 5_00, "USD")
    await boss.say("/finance")
    assert "further charges: 1" in boss.text
    await boss.tap(f"fin_event:{event_id}")
    assert not [button for button in boss.buttons if "rder" in button["text"]]
    await walk(boss, "To the balance", ">149", f">{REASON}", "Confirm")
    assert await db.run(balance.of, order.account_id) == Wallets(14_900, 0)
    await boss.tap(f"fin_act:assign:{event_id}:{order.id}")
    await boss.say(REASON)
    assert "Refused" in boss.text


async def test_news_without_money_is_noted(boss: Customer) -> None:
    db = boss.services.db
    event_id = await db.run(
        lambda tx: tx.value(
            "insert into payment_events (provider, external_id, body, meaning, via, correlation_id, status, processed_at, reason)"
            " values ('cryptobot', 'odd', '', 'm', 'webhook', 'c', 'unmatched', atlas.now(), 'not JSON') returning id"
        )
    )
    await boss.tap(f"fin_event:{event_id}")
    await walk(boss, "No money", f">{REASON}")
    await both_at_once(boss, boss.data("Confirm"), 2)
    assert await db.run(resolution, event_id) == "no_money"
    assert await db.run(audited) == [f"{OWNER} suspense.noted {event_id}"]
    _, other = await waits(db)
    await boss.tap(f"fin_act:note:{other}:0")
    await boss.say(REASON)
    assert "Refused" in boss.text


_LEFT = """
insert into payment_events (provider, external_id, body, meaning, via, correlation_id, status, processed_at, reason)
values ('stars', 'line-1', cast(:body as bytea), 'm', 'sweep', 'c', 'unmatched', atlas.now(), 'withdrawn: 50 XTR') returning id
"""
MOVED = {
    "paid-out": (("A payout", ">sixty", ">60"), "suspense.paid_out", "clearing:stars"),
    "owners": (("The owner",), "suspense.taken_by_owner", "clearing:stars"),
}


@pytest.mark.proves("N-23.operator")
@pytest.mark.parametrize("way", MOVED)
async def test_what_left_a_provider_by_itself_is_booked_once(boss: Customer, way: str) -> None:
    db = boss.services.db
    line = {"id": "w1", "amount": 50, "date": 1_790_000_000, "receiver": {"type": "fragment"}}
    body = json.dumps(line).encode()
    event_id = await db.run(lambda tx: tx.value(_LEFT, body=body))
    steps, action, account = MOVED[way]
    await boss.tap(f"fin_event:{event_id}")
    assert "Left the provider's account: <b>50 ⭐</b>" in boss.text
    assert not [one for one in boss.buttons if "No money" in one["text"]]
    await walk(boss, *steps, f">{REASON}")
    assert account in boss.text
    await both_at_once(boss, boss.data("Confirm"), 4)
    assert "Done" in boss.text
    assert await db.run(audited) == [f"{OWNER} {action} {event_id}"]
    assert await db.run(resolution, event_id) == "moved"
    await boss.tap(f"fin_event:{event_id}")
    assert len(boss.buttons) == 2
    # noted as news without money it would leave the books with more Stars than there are
    await boss.tap(f"fin_act:note:{event_id}:0")
    await boss.say(REASON)
    assert "Refused" in boss.text


async def test_acts_on_what_left_are_refused_for_all_other_news(boss: Customer) -> None:
    db = boss.services.db
    _, event_id = await waits(db)
    before = await db.run(everything)
    for act in ("paid-out", "owners"):
        await boss.tap(f"fin_act:{act}:{event_id}:0")
        await walk(boss, *((">60",) if act == "paid-out" else ()), f">{REASON}")
        assert "does not tell of anything that left" in boss.text
    assert await db.run(everything) == before


# What goes back --------------------------------------------------------------------------------------------------


def refunded(tx: Transaction) -> list[Any]:
    return tx.values("select route || ' ' || amount || ' ' || reverses_access from refunds order by id")


def asked_back(tx: Transaction) -> list[Any]:
    return tx.values("select event_id from refund_requests order by id")


async def sold(db: Database) -> tuple[Order, int, int]:
    """A paid order of Anna, its payment and its event."""
    order = await db.run(open_order)
    event_id = await db.run(comes, order, "paid")
    payment = await db.run(lambda tx: tx.value("select id from payments where event_id = :id", id=event_id))
    return order, int(payment), event_id


async def bought(db: Database) -> tuple[int, int]:
    """Anna buys from a balance that was given to her: her account, the payment."""
    order = await db.run(open_order)

    def buy(tx: Transaction) -> int:
        given = Adjustment(order.account_id, 20_000, OWNER, "for a test", "test")
        adjustments.credit(tx, given, {OWNER}, currency="RUB", correlation_id="c")
        quote = at_list_price(PRICES, "basic", 30)
        made = balance.buy(tx, balance.Purchase(order.account_id, "k", "basic", 30, quote), PRICES, "c")
        return int(tx.value("select id from payments where order_id = :id", id=made.order.id))

    return order.account_id, await db.run(buy)


BACK = {
    "balance-keep": (("To the customer's balance", "Keep"), "balance 14900 false", 14_900),
    "balance-take": (("To the customer's balance", "Take off"), "balance 14900 true", 14_900),
    "bank": (("From the bank", "Take off", "No fee"), "bank 14900 true", 0),
    "bank-fee": (("From the bank", "Keep", ">1.50"), "bank 14900 false", 0),
}


@pytest.mark.proves("N-23.operator")
@pytest.mark.parametrize("way", BACK)
async def test_a_payment_goes_back_once_by_the_way_that_was_picked(boss: Customer, way: str) -> None:
    db = boss.services.db
    order, payment, _ = await sold(db)
    steps, refund, credited = BACK[way]
    await boss.tap(f"fin_card:{order.account_id}")
    await walk(boss, f"Payment {payment}", "Give it back")
    assert not [one for one in boss.buttons if "By the provider" in one["text"]]  # it gives nothing back
    await boss.say("by the bank")
    assert "choose by a button" in boss.text
    await walk(boss, *steps, f">{REASON}")
    assert f"payment {payment}: paid ✅ → " in boss.text
    ends = f"access of customer {order.account_id}: "
    assert (ends in boss.text) is refund.endswith("true")
    assert await db.run(refunded) == []
    tap = boss.data("Confirm")
    await both_at_once(boss, tap, 4)
    again = boss.tap_of(tap)
    assert (await boss.give(again)).reply == (await boss.give(again)).reply
    assert "Done" in boss.text
    assert await db.run(refunded) == [refund]
    assert await db.run(audited) == [f"{OWNER} refund.made {payment}"]
    assert await db.run(balance.of, order.account_id) == Wallets(credited, 0)
    assert (await db.run(lambda tx: tx.values("select kind from messages order by id")))[-1] == "refund"
    await boss.press(f"Payment {payment}")
    assert not [one for one in boss.buttons if "Give it back" in one["text"]]
    await boss.tap(f"fin_act:refund:{payment}:0")
    assert not [one for one in boss.buttons if one["text"].startswith(("↩️", "💰"))]
    anna = Customer(boss.services, 21)
    await anna.say("/paysupport")
    assert ("возвращён на баланс" if credited else "— возвращён") in anna.text
    await anna.tap("moves:0")
    assert ("+149 ₽</b> · возврат" in anna.text) is bool(credited)


async def test_what_the_balance_paid_goes_back_to_it(boss: Customer) -> None:
    db = boss.services.db
    account_id, payment = await bought(db)
    await boss.tap(f"fin_pay:{payment}")
    await walk(boss, "Give it back", "To the balance that paid", "Keep", f">{REASON}", "Confirm")
    assert "Done" in boss.text
    assert await db.run(refunded) == ["wallet 14900 false"]
    assert await db.run(balance.of, account_id) == Wallets(20_000, 0)


async def test_a_top_up_that_was_spent_does_not_go_back(boss: Customer) -> None:
    db = boss.services.db
    order = await db.run(open_top_up)
    await db.run(comes, order, "topped-up")
    spent = Adjustment(order.account_id, 1, OWNER, "for a test", "test")
    await db.run(lambda tx: adjustments.debit(tx, spent, {OWNER}, currency="RUB", correlation_id="c"))
    payment = await db.run(lambda tx: tx.value("select id from payments where order_id = :id", id=order.id))
    await boss.tap(f"fin_pay:{payment}")
    await walk(boss, "Give it back", "From the bank", "No fee", f">{REASON}")
    assert "has spent this money" in boss.text
    assert await db.run(refunded) == []


@pytest.mark.proves("N-23.operator")
async def test_a_provider_that_gives_back_is_asked_once(boss: Customer) -> None:
    boss.services = replace(boss.services, giving_back=lambda: ("cryptobot",))
    db = boss.services.db
    order, payment, event_id = await sold(db)
    await boss.tap(f"fin_pay:{payment}")
    await walk(boss, "Give it back", "By the provider", "Take off", f">{REASON}")
    assert "on its way back" in boss.text
    await both_at_once(boss, boss.data("Confirm"), 4)
    assert await db.run(asked_back) == [event_id]
    assert await db.run(audited) == [f"{OWNER} refund.asked {payment}"]
    assert await db.run(refunded) == []
    await boss.tap(f"fin_card:{order.account_id}")
    assert "on its way back" in boss.text
    anna = Customer(boss.services, 21)
    await anna.say("/paysupport")
    assert "возвращается" in anna.text
    # a route that is forged, or that another configuration had
    boss.services = replace(boss.services, giving_back=tuple)
    await boss.tap(f"fin_act:refund:{payment}:0")
    version = await db.run(lambda tx: tx.value("select max(version) from fsm"))
    for value in ("provider", "wallet", "anything", "keep"):
        await boss.tap(f"fin_pick:{value}:{version}")
    assert await db.run(asked_back) == [event_id]


async def test_a_provider_is_asked_for_money_that_fits_nothing(boss: Customer) -> None:
    boss.services = replace(boss.services, giving_back=lambda: ("cryptobot",))
    db = boss.services.db
    _, event_id = await waits(db)
    await boss.tap(f"fin_event:{event_id}")
    await walk(boss, "Ask the provider", f">{REASON}", "Confirm")
    assert await db.run(asked_back) == [event_id]
    await boss.tap(f"fin_event:{event_id}")
    assert "asked to give it back" in boss.text
    assert not [one for one in boss.buttons if one["text"].startswith(("🧾", "💰", "↩️", "🏛"))]


def in_another_currency(tx: Transaction, charge: int, kind: str) -> Received:
    """News that so many dollars of a charge in roubles went back."""
    name = tx.value("select external_id from payment_events where id = :id", id=charge)
    told = Event("cryptobot", "re-1", b"{}", "webhook", "c", Money(500, "USD", "", None), kind=kind, charge_id=name)
    return inbox.receive(tx, told, PRICES)


@pytest.mark.proves("N-23.operator", "N-33")
@pytest.mark.parametrize("kind", ["refund", "chargeback"])
async def test_a_return_told_in_another_currency_is_booked_as_its_charge_once(boss: Customer, kind: str) -> None:
    db = boss.services.db
    _, _, charge = await sold(db)

    received = await db.run(in_another_currency, charge, kind)
    assert (received.outcome, received.reason) == ("unmatched", "not in the currency of its charge")
    await boss.say("/finance")
    await walk(boss, "Waiting")
    assert "not in the currency of its charge" in boss.text or f"{received.event_id}" in boss.text
    await boss.tap(f"fin_event:{received.event_id}")
    await walk(boss, "whole charge", f">{REASON}")
    await both_at_once(boss, boss.data("Confirm"), 2)
    assert await db.run(resolution, received.event_id) == "refunded"
    rows = await db.run(lambda tx: tx.values("select kind || ' ' || amount || ' ' || currency from refunds"))
    assert rows == [f"{kind} 14900 RUB"]
    await boss.tap(f"fin_event:{received.event_id}")
    assert not [one for one in boss.buttons if "whole charge" in one["text"]]
    await boss.tap(f"fin_act:as-charge:{received.event_id}:0")
    await boss.say(REASON)
    assert "Refused" in boss.text
    # of a charge's own news it is no way
    await boss.tap(f"fin_act:as-charge:{charge}:0")
    await boss.say(REASON)
    assert "no such payment" in boss.text


@pytest.mark.proves("N-23.operator")
async def test_what_a_provider_took_by_force_is_booked_once(boss: Customer) -> None:
    db = boss.services.db
    _, payment, _ = await sold(db)
    await boss.tap(f"fin_pay:{payment}")
    await walk(boss, "The provider took", f">{REASON}")
    await both_at_once(boss, boss.data("Confirm"), 4)
    assert await db.run(refunded) == ["provider 14900 false"]
    assert await db.run(audited) == [f"{OWNER} refund.told {payment}"]
    await boss.tap(f"fin_pay:{payment}")
    assert "taken back through the bank" in boss.text
    assert not [one for one in boss.buttons if one["text"].startswith(("↩️", "⚠️"))]


# Customers -------------------------------------------------------------------------------------------------------


@pytest.mark.proves("N-23.operator")
@pytest.mark.parametrize(("button", "action"), [("Credit", "balance.credited"), ("Debit", "balance.debited")])
async def test_credit_and_debit_are_confirmed_and_go_once(boss: Customer, button: str, action: str) -> None:
    db = boss.services.db
    order, event_id = await waits(db, 10_000)
    by = suspense_by_hand.By(OWNER, {OWNER}, REASON, "c")
    await db.run(suspense_by_hand.credit, event_id, order.account_id, by, "RUB")
    await boss.tap(f"fin_card:{order.account_id}")
    await walk(boss, button, ">30,50", f">{REASON}")
    after = 10_000 + (3_050 if button == "Credit" else -3_050)
    assert "100 ₽ → <b>" in boss.text
    tap = boss.data("Confirm")
    await both_at_once(boss, tap, 4)
    again = boss.tap_of(tap)
    assert (await boss.give(again)).reply == (await boss.give(again)).reply
    assert "Done" in boss.text
    assert await db.run(balance.of, order.account_id) == Wallets(after, 0)
    assert (await db.run(audited))[1:] == [f"{OWNER} {action} {order.account_id}"]
    was, now, _ = await db.run(last_audit)
    assert (was["topped_up"], now["topped_up"], now["reason"]) == (10_000, after, REASON)


REFUSED = [
    ("-300", "negative"),
    ("0", "above zero"),
    ("0.00", "above zero"),
    ("NaN", "no amount"),
    ("inf", "no amount"),
    ("1e9", "no amount"),
    ("1000000000", "too much"),
    ("1000000.01", "too much"),
    ("0.1+0.2", "no amount"),
    ("0.12345678901234567", "Too many digits"),
    ("1.999", "Too many digits"),
    ("٣٠٠", "plain digits"),
    ("300 USD", "in RUB only"),
    ("$300", "in RUB only"),
    ("300 ⭐", "no amount"),
    ("", "no amount"),
    ("9" * 4000, "no amount"),
]


@pytest.mark.parametrize("button", ["Credit", "Debit"])
async def test_what_is_no_amount_is_refused_with_the_reason(boss: Customer, button: str) -> None:
    db = boss.services.db
    order, _ = await waits(db)
    await boss.tap(f"fin_card:{order.account_id}")
    await boss.press(button)
    before = await db.run(everything)
    for typed, said in REFUSED:
        await boss.say(typed or " ")
        assert said in boss.text, typed
        assert not [one for one in boss.buttons if "Confirm" in one["text"]]
    for reason in ("short", "x" * 501, "\x07" * 20):
        await walk(boss, ">300")
        await boss.say(reason)
        assert "plain text" in boss.text
        await boss.tap(f"fin_card:{order.account_id}")
        await boss.press(button)
    assert await db.run(everything) == before


async def test_more_than_there_is_is_refused_before_it_is_confirmed(boss: Customer) -> None:
    db = boss.services.db
    order, _ = await waits(db)
    await boss.tap(f"fin_card:{order.account_id}")
    await walk(boss, "Debit", ">1", f">{REASON}")
    assert "Refused, nothing was changed" in boss.text
    assert "does not hold that much" in boss.text
    assert not [one for one in boss.buttons if "Confirm" in one["text"]]
    assert await db.run(audited) == []


@pytest.mark.parametrize("by", ["telegram", "account", "order", "name", "purchase", "charge", "invoice", "event"])
async def test_a_customer_is_found_by_whatever_is_known_of_them(boss: Customer, by: str) -> None:
    db = boss.services.db
    order, _ = await waits(db)
    await db.run(orders.attach_invoice, order.id, "IV-17", "https://pay.example/1")
    await db.run(comes, order, "charge-9")
    asked = {
        "telegram": "21",
        "account": str(order.account_id),
        "order": str(order.id),
        "name": "@ANNA_K",
        "purchase": str(order.purchase_id).upper(),
        "charge": "charge-9",
        "invoice": "IV-17",
        "event": "less",
    }[by]
    await boss.say("/finance")
    await boss.press("Find")
    for odd in ("nothing of the kind", "@", "'; drop table accounts", "9" * 40, "\x00"):
        await boss.say(odd)
        assert "Nothing was found" in boss.text
    await boss.say(asked)
    assert f"Customer {order.account_id}" in boss.text or "Several match" in boss.text
    if "Several" in boss.text:
        await boss.press(f"Customer {order.account_id}")
    shown, _ = parse_html(boss.text)
    for part in ("Anna <b>", "@anna_k", "charge-9", "paid", "149 ₽"):
        assert part in shown


# Books -----------------------------------------------------------------------------------------------------------


async def test_the_books_are_told_to_the_kopeck_and_by_pages(boss: Customer) -> None:
    db = boss.services.db
    order, _ = await waits(db)
    for number in range(9):
        await db.run(comes, order, f"further-{number}", 100 + number)
    await boss.say("/finance")
    await boss.press("Books")
    shown, _ = parse_html(boss.text)
    assert "clearing:cryptobot" in shown
    assert "✅ RUB: debits 10.36 ₽ = credits 10.36 ₽" in shown
    assert "suspense −10.36 ₽" in shown  # noqa: RUF001 -- a minus
    await boss.press("suspense · RUB")
    pages = [boss.text]
    while any("Earlier" in button["text"] for button in boss.buttons):
        await boss.press("Earlier")
        pages.append(boss.text)
    assert [page.count("· clearing:cryptobot ·") for page in pages] == [8, 2]
    wallet = await db.run(lambda tx: tx.value("select coalesce(max(id), 0) + 1 from ledger_accounts"))
    for forged in (f"fin_lines:{wallet}:0", f"fin_lines:{2**63 - 1}:1"):
        await boss.tap(forged)
        assert "Nothing was found" in boss.text


async def test_a_month_says_what_was_sold_given_back_and_held_before_and_after(boss: Customer) -> None:
    db = boss.services.db
    _, event_id = await waits(db)
    await sold(db)
    await boss.say("/finance")
    await walk(boss, "Books", "Month")
    now, _ = parse_html(boss.text)
    assert ", so far" in now
    assert "Money that fits nothing waits since" in now
    found = await db.run(reports.month)
    (sale,) = [one for one in found.results if one.code == "revenue"]
    assert f"{sale.method} · {sale.tariff}: 149 ₽ (1)" in now
    assert "suspense 0 ₽ → −1 ₽" in now  # noqa: RUF001 -- a minus
    assert "clearing:cryptobot" in now
    assert not [one for one in boss.buttons if "◀" in one["text"]], "nothing is before it"
    await db.run(travel, timedelta(days=40))
    await walk(boss, "Books", "Month")
    later, _ = parse_html(boss.text)
    assert "149 ₽ (1)" not in later
    assert "suspense −1 ₽ → −1 ₽" in later  # noqa: RUF001 -- as above
    await boss.press("◀")
    await boss.press("◀") if f"{found.first:%Y-%m}" not in boss.text else None
    assert parse_html(boss.text)[0].partition(",")[0] == now.partition(",")[0]
    assert "149 ₽ (1)" in boss.text
    await boss.press("▶")
    for forged in ("fin_month:999912", "fin_month:202613", "fin_month:1", "fin_month:999999"):
        await boss.tap(forged)
        assert boss.text
    assert event_id


async def test_differences_against_the_providers_are_told_by_pages(boss: Customer) -> None:
    db = boss.services.db
    await boss.say("/finance")
    await walk(boss, "Books", "Against")
    assert "Nothing differs" in boss.text
    assert "Nothing was compared yet" in boss.text

    def compared(tx: Transaction) -> None:
        due = reconciliation.due(tx, "cryptobot", anyway=True)
        assert due is not None
        lines = [
            Difference("differs", "charge", f"<{number}>", "USDT", of_fee=False, said=Decimal("1.50"), booked=None)
            for number in range(8)
        ]
        held = Difference("balance", "", "", "DOGE2", of_fee=False, said=Decimal(7), booked=Decimal(8))
        outcome = Outcome(due.day, 20, 11, 0, [*lines, held], None, None, complete=True, balance_judged=True)
        reconciliation.record(tx, "cryptobot", outcome)

    await db.run(compared)
    await walk(boss, "Books", "Against")
    first, _ = parse_html(boss.text)
    assert "20 lines, 11 match" in first
    await boss.press("More")
    both = first + parse_html(boss.text)[0]
    assert both.count("provider: 1.5 USDT, books: —") == 8
    assert both.count("provider: 7 DOGE2, books: 8 DOGE2") == 1
    assert not [one for one in boss.buttons if "More" in one["text"]]


# Faults ----------------------------------------------------------------------------------------------------------


def context_of(boss: Customer, tap: dict[str, Any]) -> UpdateContext:
    number = tap["update_id"]
    return UpdateContext(
        Incoming(number, json.dumps(tap), f"tg-{number}"),
        Person(OWNER, "Olga", None, "en"),
        OWNER,
        11,
        tap["callback_query"]["id"],
        prices=boss.services.prices,
        zone=boss.services.zone,
        support_url="",
        methods={},
        balance_offered=True,
        owners=boss.services.owners,
    )


ACTS = {
    **{way: WAYS[way][0] for way in ("assign", "credit", "given-back", "paid-back")},
    "give": ("Customer", "Credit", ">300", f">{REASON}"),
    "take": ("Customer", "Debit", ">1", f">{REASON}"),
    "refund": ("To the customer's balance", "Take off", f">{REASON}"),
    "ask-back": ("By the provider", "Keep", f">{REASON}"),
    "taken": (f">{REASON}",),
    "as-charge": (f">{REASON}",),
}


OF_SOLD = {"refund", "ask-back", "taken", "as-charge"}


@pytest.mark.proves("S4-2.1.operator-act")
@pytest.mark.parametrize("act", ACTS)
async def test_a_fault_at_any_statement_of_an_act_leaves_nothing(boss: Customer, functions_url: str, act: str) -> None:
    """The update that confirms it, whole: what is shown, the act, its audit row, the operator's place and the reply."""
    db = boss.services.db
    _, event_id = await waits(db)
    if act in OF_SOLD:
        boss.services = replace(boss.services, giving_back=lambda: ("cryptobot",))
        _, payment, paid = await sold(db)
        told = (await db.run(in_another_currency, paid, "refund")).event_id if act == "as-charge" else 0
        of = {"taken": f"taken:{paid}", "as-charge": f"as-charge:{told}"}.get(act, f"refund:{payment}")
        await boss.tap(f"fin_act:{of}:0")
    elif act == "take":
        by = suspense_by_hand.By(OWNER, {OWNER}, REASON, "c")
        order = await db.run(open_order)
        await db.run(suspense_by_hand.credit, event_id, order.account_id, by, "RUB")
    if act not in OF_SOLD:
        await boss.tap(f"fin_event:{event_id}")
    await walk(boss, *ACTS[act])
    tap = boss.tap_of(boss.data("Confirm"))
    handled = await all_or_nothing(
        functions_url, take_effect, context_of(boss, tap), desk.press, (tap["callback_query"]["data"],)
    )
    assert "Done" in str(handled)


# Old and forged buttons ------------------------------------------------------------------------------------------


FORGED = [
    "fin:x",
    "fin_x",
    "finance",
    "fin_waits:",
    "fin_waits:-1",
    "fin_waits:1e9",
    "fin_event:0",
    "fin_event:9223372036854775808",
    "fin_event:9223372036854775807",
    "fin_card:9223372036854775807",
    "fin_act:steal:1:0",
    "fin_act:give:0:0",
    "fin_act:give:1",
    "fin_act:give:9223372036854775807:0",
    "fin_act:credit:9223372036854775807:9223372036854775807",
    "fin_do:0",
    "fin_do:1",
    "fin_do:9223372036854775807",
    "fin_no_fee:3",
    "fin_lines:0:0",
]


async def test_forged_data_leads_somewhere_and_changes_nothing(boss: Customer) -> None:
    db = boss.services.db
    await waits(db)
    before = await db.run(everything)
    for data in FORGED:
        handled = await boss.tap(data)
        assert handled.reply[0]["reply_markup"]["inline_keyboard"], data
        assert await db.run(everything) == before, data


async def test_an_act_of_one_operator_is_no_act_of_another(boss: Customer) -> None:
    """The button carries a version alone: what is done is what stands at the tapper's own place."""
    db = boss.services.db
    order, _ = await waits(db)
    await db.run(lambda tx: operators.grant(tx, OWNER, 700_000_001, Role.FINANCE, "c"))
    clerk = Customer(boss.services, 700_000_001, language="en")
    await boss.tap(f"fin_card:{order.account_id}")
    await walk(boss, "Credit", ">300", f">{REASON}")
    await clerk.tap(boss.data("Confirm"))
    assert "no such act" in clerk.text
    assert await db.run(balance.of, order.account_id) == Wallets(0, 0)


async def test_every_button_holds_the_largest_numbers(boss: Customer) -> None:
    most = 2**63 - 1
    for one in (
        *(callbacks.Begin(act=act, subject=most, target=most) for act in Act),
        callbacks.Statement(ledger_account=most, before=most),
        callbacks.Confirm(version=most),
    ):
        assert len(one.pack().encode()) <= 64
    assert set(acts.FIELDS) == set(acts.NEEDS) == set(acts._DO) == set(Act)
    await boss.say("/finance")
    assert boss.button("Books")
