"""Every case of the table of what came (product.md, Payment methods), and how what waits for an operator ends: N-2."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from lib import currencies, log
from lib.bot.notifications import Facts, compose
from lib.db import StatementFailed
from lib.db.invariants import violations
from lib.domain import accounts, health_snapshot, inbox, ledger, operators, orders, suspense_by_hand
from lib.domain.accounts import Person
from lib.domain.effects import EFFECTS
from lib.domain.postings import About, Amount, posting, table
from lib.domain.suspense_by_hand import By, Refused
from lib.payments import cryptopay_news, reporting
from lib.settings import plain
from tests.integration.by_the_owner import by_the_owner
from tests.integration.domain.test_settlement import PRICES, open_order, paid

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database, Transaction
    from lib.domain.orders import Order
    from lib.domain.settlement import Event, Received

pytestmark = pytest.mark.proves("N-2")

RUB: dict[str, Any] = {"paid_asset": None, "paid_amount": None, "fee_asset": None, "fee_amount": None}
TOPPED_UP, CLEARING = "user:topped_up", "clearing:cryptobot"
SET_BACK = """
update payment_events set status = 'new', reason = null, processed_at = null
where status in ('unmatched', 'duplicate') and resolved_at is null
"""
OWNER = 17
BY = By(OWNER, {OWNER}, "as the customer wrote", "op-1")


def books(tx: Transaction) -> dict[str, int]:
    """Debit less credit of every account that holds anything, by code and currency."""
    found = tx.value(
        "select coalesce(jsonb_object_agg(code || ' ' || currency, amount), '{}') from ("
        " select a.code, a.currency, sum(case when e.debit_account_id = a.id then e.amount else -e.amount end) as amount"
        " from ledger_accounts a join ledger_entries e on a.id in (e.debit_account_id, e.credit_account_id)"
        " group by a.code, a.currency) held where amount <> 0"
    )
    return {name: int(amount) for name, amount in found.items()}


def state(tx: Transaction) -> str:
    """Of the newest event: its status, and how it was resolved."""
    return str(tx.value("select concat_ws(' ', status, resolution) from payment_events order by id desc limit 1"))


def told(tx: Transaction) -> dict[str, Any]:
    """The messages' parameters, by kind."""
    found: dict[str, Any] = tx.value("select coalesce(jsonb_object_agg(kind, params), '{}') from messages")
    return found


async def receive(db: Database, event: Event) -> Received:
    return await db.run(inbox.receive, event, PRICES)


def charged(order: Order, charge: str, **changes: Any) -> Event:
    """Another charge, under a key of its own."""
    return replace(paid(order, **changes), external_id=charge)


# What came -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["open", "expired", "replaced"])
async def test_the_right_amount_settles_whatever_became_of_the_order(db: Database, status: str) -> None:
    order = await db.run(open_order, 1)
    await db.run(lambda tx: tx.execute("update orders set status = :status", status=status))
    assert (await receive(db, paid(order, **RUB))).outcome == "settled"
    assert await db.run(books) == {f"{CLEARING} RUB": 14_900, "revenue RUB": -14_900}


@pytest.mark.parametrize("by", ["an asset", "the currency of the price"])
async def test_what_came_beyond_the_price_is_on_the_balance(db: Database, by: str) -> None:
    order = await db.run(open_order, 1)
    changes: dict[str, Any] = RUB if by != "an asset" else {"paid_amount": "1.9875"}
    assert (await receive(db, paid(order, amount=15_900, **changes))).outcome == "settled"
    held = await db.run(books)
    assert (held["revenue RUB"], held[f"{TOPPED_UP} RUB"]) == (-14_900, -1_000)
    receipt = (await db.run(told))["receipt"]
    assert receipt["to_balance"] == {"amount": 1_000, "currency": "RUB"}
    for language, words in (("ru", "10 ₽ зачислено на ваш баланс"), ("en", "10 ₽ came to your balance")):
        (call,) = compose("receipt", receipt, language, chat_id=1, zone=plain.zone(), current=Facts(None, None))
        assert words in call["text"].replace("\u00a0", " ")


FITS_NOTHING: dict[str, tuple[dict[str, Any], str]] = {
    "less": ({"amount": 14_899}, "not the amount agreed"),
    "another currency": ({"currency": "USD"}, "not the amount agreed"),
    "an unknown order": ({"invoice_id": "other", "purchase_id": None}, "no such order"),
    "another purchase": ({"invoice_id": "other", "purchase_id": uuid4()}, "no such order"),
}


@pytest.mark.parametrize("name", FITS_NOTHING)
async def test_what_fits_nothing_is_in_suspense_at_once_with_its_fee(db: Database, name: str) -> None:
    order = await db.run(open_order, 1)
    changes, reason = FITS_NOTHING[name]
    for outcome in ("unmatched", "repeated"):
        received = await receive(db, paid(order, **changes))
        assert (received.outcome, received.reason) == (outcome, reason)
    assert await db.run(books) == {
        "suspense USDT": -1_862_500,
        f"{CLEARING} USDT": 1_862_500 - 55_875,
        "provider_fees USDT": 55_875,
    }
    assert await db.run(lambda tx: tx.values("select status from orders")) == ["open"]
    assert await db.run(told) == {}


NOT_OURS: dict[str, dict[str, Any]] = {
    "a crypto invoice": {"currency_type": "crypto", "asset": "USDT", "amount": "50"},
    "a crypto invoice of an order that is paid": {"currency_type": "crypto", "asset": "USDT", "amount": "50"},
    "unknown fiat": {"fiat": "XYZ"},
    "a fraction of a kopeck": {"amount": "149.001"},
    "no amount": {"amount": None},
    "a type that is new": {"currency_type": "shells"},
}


@pytest.mark.parametrize("name", NOT_OURS)
async def test_what_moved_is_in_suspense_also_where_no_one_agreed_on_it(
    db: Database, database_url: str, name: str
) -> None:
    """Whatever the invoice was made in, its asset came and lies at the provider; an operator can end it."""
    order = await db.run(open_order, 1)
    before = {}
    if "paid" in name:
        await receive(db, paid(order, **RUB))
        before = await db.run(books)
    invoice = {
        "invoice_id": 77,
        "status": "paid",
        "currency_type": "fiat",
        "fiat": "RUB",
        "amount": "149",
        "payload": str(order.purchase_id),
        "paid_asset": "USDT",
        "paid_amount": "50",
        "fee_asset": "USDT",
        "fee_amount": "1.5",
    } | NOT_OURS[name]
    body = json.dumps({"update_type": "invoice_paid", "payload": invoice}).encode()
    received = await receive(db, cryptopay_news.read_webhook(body, "c-1"))
    assert (received.outcome, bool(received.reason)) == ("unmatched", True)
    usdt = {"suspense USDT": -50_000_000, f"{CLEARING} USDT": 48_500_000, "provider_fees USDT": 1_500_000}
    assert await db.run(books) == before | usdt
    assert violations(database_url) == []
    await db.run(suspense_by_hand.credit, received.event_id, order.account_id, BY, "RUB", worth=400_000)
    assert (await db.run(books))[f"{TOPPED_UP} RUB"] == -400_000
    assert violations(database_url) == []


async def test_a_kind_of_order_that_is_not_sold_waits_for_an_operator_and_is_never_tried_for_ever(db: Database) -> None:
    """Of a release that is newer, or was put back: gifts are orders of the schema already."""
    order = await db.run(open_order, 1)
    await db.run(by_the_owner, "update orders set kind = 'gift'")
    received = await receive(db, paid(order, **RUB))
    assert (received.outcome, received.reason, received.follow_up) == ("unmatched", "gift is not sold", ())
    assert (await db.run(books))["suspense RUB"] == -14_900
    with pytest.raises(Refused, match="not sold"):
        await db.run(suspense_by_hand.assign, received.event_id, order.id, BY, PRICES)


def test_no_order_is_opened_of_a_kind_that_has_no_effect() -> None:
    opened = re.findall(r'_wanted\(account_id, "(\w+)"', inspect.getsource(orders))
    assert set(opened) == EFFECTS.keys()


@pytest.mark.parametrize("amount", [1, 14_899, 14_900, 14_901])
async def test_a_further_charge_of_a_paid_order_is_a_duplicate_whatever_its_amount(db: Database, amount: int) -> None:
    order = await db.run(open_order, 1)
    await receive(db, paid(order, **RUB))
    received = await receive(db, charged(order, "again", amount=amount, **RUB))
    assert received.outcome == "duplicate"
    assert {item.target for item in received.follow_up} == {"task_notify"}
    assert await db.run(books) == {
        f"{CLEARING} RUB": 14_900 + amount,
        "revenue RUB": -14_900,
        f"{TOPPED_UP} RUB": -amount,
    }
    assert await db.run(state) == "duplicate credited"
    assert (await db.run(told))["credited"] == {"amount": amount, "currency": "RUB"}
    assert (await receive(db, charged(order, "again", amount=amount, **RUB))).outcome == "repeated"
    assert await db.run(lambda tx: tx.value("select count(*) from subscription_history")) == 1


async def test_a_further_charge_in_an_asset_is_credited_as_it_was_agreed(db: Database) -> None:
    order = await db.run(open_order, 1)
    await receive(db, paid(order))
    await receive(db, charged(order, "again"))
    held = await db.run(books)
    assert (held[f"{TOPPED_UP} RUB"], "suspense USDT" in held) == (-14_900, False)
    assert held["provider_fees USDT"] == 2 * 55_875


async def test_a_further_charge_in_another_currency_waits_for_an_operator(db: Database) -> None:
    order = await db.run(open_order, 1)
    await receive(db, paid(order, **RUB))
    received = await receive(db, charged(order, "again", currency="USD", **RUB))
    assert (received.outcome, await db.run(state)) == ("duplicate", "duplicate")
    assert (await db.run(books))["suspense USD"] == -14_900
    with pytest.raises(Refused, match="further charge"):
        await db.run(suspense_by_hand.assign, received.event_id, order.id, BY, PRICES)
    await db.run(suspense_by_hand.credit, received.event_id, order.account_id, BY, "RUB", worth=900_000)
    assert (await db.run(books))[f"{TOPPED_UP} RUB"] == -900_000
    assert await db.run(state) == "duplicate credited"


async def test_twenty_copies_of_a_further_charge_credit_once(racing_db: Database) -> None:
    order = await racing_db.run(open_order, 1)
    await receive(racing_db, paid(order, **RUB))
    copies = await asyncio.gather(*(receive(racing_db, charged(order, "again", **RUB)) for _ in range(20)))
    assert sorted(copy.outcome for copy in copies) == ["duplicate"] + ["repeated"] * 19
    assert (await racing_db.run(books))[f"{TOPPED_UP} RUB"] == -14_900


async def test_what_the_provider_says_later_takes_the_place_of_what_was_put_aside(db: Database) -> None:
    """Other amounts, another asset, another fee: the books hold what was said last, and the fee once."""
    order = await db.run(open_order, 1)
    assert (await receive(db, paid(order, amount=1, paid_asset="TON", paid_amount="3"))).outcome == "unmatched"
    assert (await receive(db, paid(order, amount=2))).outcome == "unmatched"
    assert await db.run(books) == {
        "suspense USDT": -1_862_500,
        f"{CLEARING} USDT": 1_862_500 - 55_875,
        "provider_fees USDT": 55_875,
    }
    assert (await receive(db, paid(order))).outcome == "settled"
    assert await db.run(books) == {
        "exchange RUB": 14_900,
        "exchange USDT": -1_862_500,
        f"{CLEARING} USDT": 1_862_500 - 55_875,
        "provider_fees USDT": 55_875,
        "revenue RUB": -14_900,
    }


@pytest.mark.parametrize(
    ("first", "last", "credited"),
    [
        ({"amount": 100, **RUB}, {"amount": 20_000, **RUB}, 20_000),
        (
            {"amount": 100, "paid_asset": "USDT", "paid_amount": "0.01"},
            {"amount": 10_000_000, "paid_amount": "1250"},
            10_000_000,
        ),
        ({"amount": 100, "paid_asset": "TON", "paid_amount": "1"}, {"amount": 20_000, **RUB}, 20_000),
    ],
)
async def test_a_further_charge_is_credited_with_what_was_said_last(
    db: Database, database_url: str, first: dict[str, Any], last: dict[str, Any], credited: int
) -> None:
    """What its key had put into suspense before the order was paid leaves it by the way it came."""
    order = await db.run(open_order, 1)
    assert (await receive(db, charged(order, "x", **first))).outcome == "unmatched"
    await receive(db, paid(order, **RUB))
    assert (await receive(db, charged(order, "x", **last))).outcome == "duplicate"
    held = await db.run(books)
    assert held[f"{TOPPED_UP} RUB"] == -credited
    assert not any(name.startswith("suspense") or "TON" in name for name in held)
    assert await db.run(lambda tx: tx.value("select resolution from payment_events where status = 'duplicate'")) == (
        "credited"
    )
    assert (await db.run(told))["credited"] == {"amount": credited, "currency": "RUB"}
    assert violations(database_url) == []


async def test_a_correction_brings_money_back_to_suspense_and_it_ends_anew(
    racing_db: Database, database_url: str
) -> None:
    order = await racing_db.run(open_order, 1)
    event_id = await waiting(racing_db, order, **RUB)
    await racing_db.run(suspense_by_hand.credit, event_id, order.account_id, BY, "RUB")

    def undo(tx: Transaction) -> None:
        ledger.reverse(
            tx, tx.value("select max(id) from ledger_transfers"), actor_id=OWNER, reason="another customer's"
        )
        tx.execute("update payment_events set resolved_at = null, resolution = null")

    await racing_db.run(undo)
    assert (await racing_db.run(books))["suspense RUB"] == -14_900
    await racing_db.run(suspense_by_hand.given_back, event_id, BY)
    assert await racing_db.run(books) == {}
    assert violations(database_url) == []


async def test_what_a_correction_took_out_of_suspense_is_credited_to_no_one(racing_db: Database) -> None:
    order = await racing_db.run(open_order, 1)
    event_id = await waiting(racing_db, order, **RUB)
    await racing_db.run(
        lambda tx: ledger.reverse(tx, tx.value("select id from ledger_transfers"), actor_id=OWNER, reason="a slip")
    )
    with pytest.raises(Refused, match="nothing of event"):
        await racing_db.run(suspense_by_hand.credit, event_id, order.account_id, BY, "RUB")
    assert await racing_db.run(books) == {}
    # the provider says more of it: it is put aside anew
    await receive(racing_db, paid(order, invoice_id="other", purchase_id=None, amount=15_000, **RUB))
    assert (await racing_db.run(books))["suspense RUB"] == -15_000


async def test_an_asset_that_no_list_has_is_told_and_not_booked(db: Database) -> None:
    order = await db.run(open_order, 1)
    received = await receive(db, paid(order, amount=1, paid_asset="NEWCOIN"))
    assert (received.outcome, "not booked" in received.reason) == ("unmatched", True)
    await receive(db, paid(order))
    further = await receive(db, charged(order, "again", paid_asset="NEWCOIN"))
    assert (further.outcome, "not booked" in further.reason) == ("duplicate", True)
    held = await db.run(books)
    assert not any(name.startswith("suspense") for name in held)
    # it was agreed in the books' currency: the customer has that, and only what the asset is worth is open
    assert held[f"{TOPPED_UP} RUB"] == -14_900
    assert held["exchange RUB"] == 2 * 14_900
    assert (await db.run(told))["credited"] == {"amount": 14_900, "currency": "RUB"}


@pytest.mark.parametrize(
    ("moved", "reason"),
    [
        ({"paid_amount": None}, "not booked: its provider does not say how much USDT came"),
        ({"paid_amount": "0.0000001"}, "not booked: less than the least amount of USDT came"),
        ({"paid_asset": "NEWCOIN"}, "not booked: the list of currencies lacks what came"),
        ({}, ""),
    ],
)
async def test_what_cannot_be_counted_says_why_whatever_becomes_of_it(
    db: Database, monkeypatch: pytest.MonkeyPatch, moved: dict[str, Any], reason: str
) -> None:
    order = await db.run(open_order, 1)
    changes = {"fee_asset": None, "fee_amount": None} | moved
    unmatched = await receive(db, paid(order, invoice_id="other", purchase_id=None, **changes))
    assert (unmatched.outcome, unmatched.reason) == (
        "unmatched",
        f"no such order; {reason}" if reason else "no such order",
    )
    settled = await receive(db, charged(order, "settles", **changes))
    assert (settled.outcome, settled.reason) == ("settled", reason)
    further = await receive(db, charged(order, "again", **changes))
    assert (further.outcome, further.reason) == ("duplicate", reason)
    logged: list[tuple[str, str, str]] = []

    def at(level: str) -> Callable[..., None]:
        return lambda event, **said: logged.append((level, event, said["reason"]))

    for level in ("error", "info"):
        monkeypatch.setattr(log, level, at(level))
    reporting.report("cryptobot", "webhook", settled)
    assert logged == [("error" if reason else "info", "payment_settled", reason)]


async def test_a_further_charge_of_an_asset_is_booked_once_the_list_has_it(
    db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set back to `new` as the runbook says: its payment is there already."""
    order = await db.run(open_order, 1)
    await receive(db, paid(order))
    news = charged(order, "again", currency="USD", paid_asset="NEWCOIN", paid_amount="5", fee_asset=None)
    first = await receive(db, news)
    assert (first.outcome, "not booked" in first.reason, await db.run(state)) == ("duplicate", True, "duplicate")
    monkeypatch.setitem(currencies.ALL, "NEWCOIN", currencies.Currency("NEWCOIN", 3, 3))
    await db.run(by_the_owner, "insert into currencies (code, exponent, price_exponent) values ('NEWCOIN', 3, 3)")
    await db.run(by_the_owner, SET_BACK)
    assert (await receive(db, news)).outcome == "duplicate"
    assert (await db.run(books))["suspense NEWCOIN"] == -5_000
    assert await db.run(lambda tx: tx.value("select count(*) from payments where kind = 'duplicate'")) == 1
    await db.run(suspense_by_hand.given_back, first.event_id, BY)
    assert await db.run(state) == "duplicate refunded"
    assert violations(database_url) == []


async def test_a_further_charge_that_is_not_credited_by_itself_is_counted_until_it_is_ended(db: Database) -> None:
    """Another currency, by an asset that no list has too; one in the currency of the books was ended at once."""

    def counts(tx: Transaction) -> tuple[int, int]:
        waiting = health_snapshot.take(tx).waiting  # without the ages, which differ from one attempt to the next
        return waiting.events_unmatched, waiting.events_duplicate

    order = await db.run(open_order, 1)
    await receive(db, paid(order, **RUB))
    await receive(db, charged(order, "roubles", **RUB))
    assert await db.run(counts) == (0, 0)
    dollars = await receive(db, charged(order, "dollars", amount=200, currency="USD", **RUB))
    await receive(db, charged(order, "new", currency="USD", paid_asset="NEWCOIN"))
    assert await db.run(counts) == (0, 2)
    await db.run(suspense_by_hand.given_back, dollars.event_id, BY)
    assert await db.run(counts) == (0, 1)


# How it ends ---------------------------------------------------------------------------------------------------------


async def waiting(db: Database, order: Order, **changes: Any) -> int:
    """The event of money that does not fit this order."""
    received = await receive(db, paid(order, invoice_id="other", purchase_id=None, **changes))
    assert received.outcome == "unmatched"
    return received.event_id


@dataclass(frozen=True)
class _Audited:
    actor: int
    action: str
    subject: str
    reason: str


def audited(tx: Transaction) -> list[_Audited]:
    return tx.rows(
        _Audited,
        "select actor, action, subject_kind || ' ' || subject_key as subject, after ->> 'reason' as reason from audit_log"
        " order by id",
    )


@pytest.mark.parametrize(
    ("amount", "more"),
    [
        (14_900, {}),
        (10_000, {"goodwill RUB": 4_900}),
        (15_900, {f"{TOPPED_UP} RUB": -1_000}),
    ],
)
async def test_it_is_assigned_to_an_order(db: Database, amount: int, more: dict[str, int]) -> None:
    order = await db.run(open_order, 1)
    event_id = await waiting(db, order, amount=amount, **RUB)
    work = await db.run(suspense_by_hand.assign, event_id, order.id, BY, PRICES)
    assert {item.target for item in work} == {"task_provision", "task_notify"}
    assert await db.run(books) == {f"{CLEARING} RUB": amount, "revenue RUB": -14_900} | more
    assert await db.run(state) == "unmatched assigned"
    assert await db.run(lambda tx: tx.values("select status from orders")) == ["paid"]
    assert await db.run(lambda tx: tx.value("select count(*) from subscription_history")) == 1
    assert await db.run(audited) == [
        _Audited(OWNER, "suspense.assigned", f"payment_event {event_id}", "as the customer wrote")
    ]
    # what more is said of it changes nothing, and a further charge of the order is one
    assert (await receive(db, paid(order, amount=amount, invoice_id="other", purchase_id=None, **RUB))).outcome in {
        "repeated",
        "differs",
    }
    assert (await receive(db, charged(order, "late", **RUB))).outcome == "duplicate"


@pytest.mark.parametrize(("worth", "beyond"), [(75, 0), (70, 0), (80, 993)])
async def test_roubles_are_assigned_to_an_order_in_stars_and_the_rest_is_credited_as_itself(
    db: Database, database_url: str, worth: int, beyond: int
) -> None:
    order = await db.run(open_order, 1)
    await db.run(by_the_owner, "update orders set provider = 'stars', currency = 'XTR', price = 75, list_price = 75")
    event_id = await waiting(db, order, **RUB)
    with pytest.raises(Refused, match="more than that"):
        await db.run(suspense_by_hand.assign, event_id, order.id, BY, PRICES, worth=75 * 3)
    await db.run(suspense_by_hand.assign, event_id, order.id, BY, PRICES, worth=worth)
    held = await db.run(books)
    assert held["revenue XTR"] == -75 * 10**9
    assert (held.get(f"{TOPPED_UP} RUB", 0), held["exchange RUB"]) == (-beyond, beyond - 14_900)
    assert "suspense RUB" not in held
    assert violations(database_url) == []


async def test_another_asset_counts_for_what_its_provider_said(db: Database) -> None:
    order = await db.run(open_order, 1)
    event_id = await waiting(db, order)
    with pytest.raises(Refused, match=r"counts for 149\.00 RUB"):
        await db.run(suspense_by_hand.assign, event_id, order.id, BY, PRICES, worth=1)
    await db.run(suspense_by_hand.assign, event_id, order.id, BY, PRICES)
    held = await db.run(books)
    assert (held["exchange USDT"], held["exchange RUB"], held["revenue RUB"]) == (-1_862_500, 14_900, -14_900)


async def test_what_no_one_said_an_operator_has_to_say(db: Database) -> None:
    order = await db.run(open_order, 1)
    event_id = await waiting(db, order, currency="USD", **RUB)
    for worth in (None, 0, -1):
        with pytest.raises(Refused, match="say what"):
            await db.run(suspense_by_hand.assign, event_id, order.id, BY, PRICES, worth=worth)
    await db.run(suspense_by_hand.assign, event_id, order.id, BY, PRICES, worth=14_900)
    assert (await db.run(books))["exchange USD"] == -14_900


async def test_it_is_credited_to_a_customer_who_is_told(db: Database) -> None:
    order = await db.run(open_order, 1)
    event_id = await waiting(db, order)
    work = await db.run(suspense_by_hand.credit, event_id, order.account_id, BY, "RUB")
    assert {item.target for item in work} == {"task_notify"}
    assert (await db.run(books))[f"{TOPPED_UP} RUB"] == -14_900
    params = (await db.run(told))["credited"]
    for language in accounts.LANGUAGES:
        assert compose("credited", params, language, chat_id=1, zone=plain.zone(), current=Facts(None, None))
    assert await db.run(state) == "unmatched credited"


async def test_its_provider_gave_it_back(db: Database) -> None:
    order = await db.run(open_order, 1)
    event_id = await waiting(db, order)
    await db.run(suspense_by_hand.given_back, event_id, BY)
    assert await db.run(books) == {f"{CLEARING} USDT": -55_875, "provider_fees USDT": 55_875}
    assert await db.run(state) == "unmatched refunded"


async def test_it_was_given_back_by_hand(db: Database) -> None:
    order = await db.run(open_order, 1)
    event_id = await waiting(db, order)
    await db.run(suspense_by_hand.paid_back, event_id, BY, Amount(14_800, "RUB"), Amount(50, "RUB"))
    held = await db.run(books)
    assert (held["bank RUB"], held["exchange RUB"], held["exchange USDT"]) == (-14_850, 14_800, -1_862_500)
    assert "suspense USDT" not in held


REFUSED: dict[str, tuple[str, Callable[[Transaction, int, Order], object]]] = {
    "by one who may not": (
        "may not",
        lambda tx, event_id, _: suspense_by_hand.given_back(tx, event_id, replace(BY, actor_id=18)),
    ),
    "of no event": ("no event", lambda tx, _, __: suspense_by_hand.given_back(tx, 10**6, BY)),
    "to no order": ("no order", lambda tx, event_id, _: suspense_by_hand.assign(tx, event_id, 10**6, BY, PRICES)),
    "to no account": ("no account", lambda tx, event_id, _: suspense_by_hand.credit(tx, event_id, 10**6, BY, "RUB")),
    "a part of it": (
        "all of it",
        lambda tx, event_id, _: suspense_by_hand.paid_back(tx, event_id, BY, Amount(1, "RUB")),
    ),
    "nothing of it": (
        "above zero",
        lambda tx, event_id, _: suspense_by_hand.paid_back(tx, event_id, BY, Amount(0, "USD")),
    ),
    "a fee below zero": (
        "above zero",
        lambda tx, event_id, _: suspense_by_hand.paid_back(tx, event_id, BY, Amount(14_900, "RUB"), Amount(-1, "RUB")),
    ),
    "what it did not come to": (
        "counts for",
        lambda tx, event_id, order: suspense_by_hand.credit(tx, event_id, order.account_id, BY, "RUB", worth=15_000),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_changes_nothing(db: Database, name: str) -> None:
    order = await db.run(open_order, 1)
    event_id = await waiting(db, order, **RUB)
    before = await db.run(books)
    words, act = REFUSED[name]
    with pytest.raises(Refused, match=words):
        await db.run(act, event_id, order)
    assert (await db.run(books), await db.run(state), await db.run(audited)) == (before, "unmatched", [])


async def test_an_order_that_is_paid_takes_nothing_more(db: Database) -> None:
    order = await db.run(open_order, 1)
    event_id = await waiting(db, order, **RUB)
    await receive(db, charged(order, "right", **RUB))
    with pytest.raises(Refused, match="is paid"):
        await db.run(suspense_by_hand.assign, event_id, order.id, BY, PRICES)
    assert await db.run(state) == "settled" or await db.run(lambda tx: tx.value("select count(*) from payments")) == 1


async def test_finance_may_and_support_may_not(db: Database) -> None:
    order = await db.run(open_order, 1)
    event_id = await waiting(db, order, **RUB)
    await db.run(operators.grant, OWNER, 18, operators.Role.SUPPORT, "op-0")
    with pytest.raises(Refused, match="may not"):
        await db.run(suspense_by_hand.given_back, event_id, replace(BY, actor_id=18))
    await db.run(operators.grant, OWNER, 18, operators.Role.FINANCE, "op-0")
    await db.run(suspense_by_hand.given_back, event_id, replace(BY, actor_id=18))


async def test_of_all_ways_at_once_one_is_taken_and_the_others_are_told(racing_db: Database) -> None:
    order = await racing_db.run(open_order, 1)
    event_id = await waiting(racing_db, order, **RUB)
    other = await racing_db.run(lambda tx: accounts.meet(tx, Person(2, "Boris", None, "ru")).id)

    async def tried(act: Callable[..., object], *arguments: Any) -> str:
        try:
            await racing_db.run(act, *arguments)
        except Refused as refused:
            return str(refused)
        return "done"

    ends = await asyncio.gather(
        *(
            one
            for _ in range(3)
            for one in (
                tried(suspense_by_hand.assign, event_id, order.id, BY, PRICES),
                tried(suspense_by_hand.credit, event_id, other, BY, "RUB"),
                tried(suspense_by_hand.given_back, event_id, BY),
                tried(suspense_by_hand.paid_back, event_id, BY, Amount(14_900, "RUB")),
                tried(inbox.receive, paid(order, invoice_id="other", purchase_id=None, **RUB), PRICES),
            )
        )
    )
    outcomes = [end for index, end in enumerate(ends) if index % 5 != 4]
    assert outcomes.count("done") == 1
    assert all("before" in end for end in outcomes if end != "done")
    assert not any(name.startswith("suspense") for name in await racing_db.run(books))
    assert len(await racing_db.run(audited)) == 1


async def test_what_an_operator_saw_no_money_in_is_open_to_money(db: Database, database_url: str) -> None:
    """The runbook's `no_money` ends the body that it was said of, not the key; what comes then waits, or settles."""
    order = await db.run(open_order, 1)
    unread = replace(paid(order, **RUB), money=None, reason="no amount or currency", body=b"?")
    event_id = (await receive(db, unread)).event_id
    noted = "update payment_events set resolved_at = atlas.now(), resolution = 'no_money' where amount is null"
    await db.run(by_the_owner, noted)
    assert (await receive(db, unread)).outcome == "repeated"
    assert (await receive(db, replace(unread, reason="not JSON"))).outcome == "differs"
    assert await db.run(state) == "unmatched no_money"
    assert (await receive(db, paid(order, amount=100, **RUB))).outcome == "unmatched"
    assert (await db.run(state), await db.run(books)) == ("unmatched", {f"{CLEARING} RUB": 100, "suspense RUB": -100})
    settled = await receive(db, paid(order, **RUB))
    assert (settled.outcome, settled.event_id) == ("settled", event_id)
    assert violations(database_url) == []


async def test_what_was_written_of_it_stays(db: Database) -> None:
    """A resolution is final: the database itself refuses a second one."""
    order = await db.run(open_order, 1)
    event_id = await waiting(db, order, **RUB)
    await db.run(suspense_by_hand.given_back, event_id, BY)
    with pytest.raises(StatementFailed):
        await db.run(lambda tx: tx.execute("update payment_events set status = 'settled' where id = :id", id=event_id))


@pytest.mark.parametrize("fits", [False, True], ids=["still fits nothing", "settles"])
async def test_a_fee_that_was_booked_by_itself_is_not_booked_again_with_later_news(
    db: Database, database_url: str, *, fits: bool
) -> None:
    """It fitted nothing and named no fee; the fee came alone; then the same charge is told of with its fee."""
    order = await db.run(open_order, 1)
    first = await receive(db, paid(order, amount=1, fee_asset=None, fee_amount=None))
    assert first.outcome == "unmatched"

    def late(tx: Transaction) -> None:
        about = About(event_id=first.event_id, provider="cryptobot")
        ledger.post(tx, posting(table.FEE, about, fee=Amount(55_875, "USDT")))

    await db.run(late)
    again = await receive(db, paid(order, **({} if fits else {"amount": 2})))
    assert again.outcome == ("settled" if fits else "unmatched")
    assert (await db.run(books))["provider_fees USDT"] == 55_875
    assert violations(database_url) == []
