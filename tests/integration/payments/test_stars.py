"""Telegram Stars: what no update told of is found in the list, whatever became of its order (N-21), and once (money.md)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from functions.sweeps import sweep_payments
from lib import bootstrap
from lib.bot.callbacks import Go, Place
from lib.bot.services import Services
from lib.domain import balance, inbox, listings, orders, suspense_by_hand
from lib.domain.checkout import LEASE_S, Checkout, Refusal, decide
from lib.domain.ledger import Wallets
from lib.domain.orders import CHARGED_WITHIN_S
from lib.domain.postings import Amount
from lib.domain.refund_requests import Charge
from lib.payments import giving_back, stars, telegram_charges
from lib.payments.provider import Answer, GivenBack, Invoice
from lib.payments.reconciling import reconcile
from tests.integration.bot.conftest import TELEGRAM
from tests.integration.bot.customer import Customer, FakeProvider
from tests.integration.by_the_owner import travel
from tests.integration.payments.test_contract import PRICES, booked, ordered
from tests.integration.payments.tills import StarsTill
from tests.integration.statement_faults import all_or_nothing
from tests.integration.sweeps.runs import sweep_run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lib.db import Database, Transaction
    from lib.domain.settlement import Event, Received
    from lib.sweeps.runner import Run

NANO = 10**9

pytestmark = pytest.mark.usefixtures("queue")


@pytest.fixture
async def till(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StarsTill]:
    made = StarsTill(monkeypatch)
    monkeypatch.setattr(bootstrap, "invoices", lambda: {stars.NAME: made.invoices})
    monkeypatch.setattr(bootstrap, "giving_back", lambda: {stars.NAME: made.giver})
    yield made
    await made.close()


async def swept(db: Database) -> Run:
    run = sweep_run(db, "payments")
    await sweep_payments._work(run)
    return run


def events(tx: Transaction) -> list[str]:
    return tx.values("select kind || ' ' || status from payment_events order by id")


def listed(side: str = "source", **changed: Any) -> dict[str, Any]:
    """A line of the list, as Telegram writes it."""
    partner = {"type": "user", "transaction_type": "invoice_payment", "user": {"id": 1}, "invoice_payload": "x"}
    line = {"id": "stx1", "amount": 100, "date": 1_700_000_000, side: partner}
    return {name: value for name, value in (line | changed).items() if value is not None}


@pytest.mark.proves("N-21.stars")
async def test_what_no_update_told_of_is_settled_by_the_sweep(db: Database, till: StarsTill) -> None:
    """Of an order that is open, of one that is over, a second charge of one link, and money for nothing of ours."""
    first, invoice = await ordered(db, till, 1)
    await till.pay(invoice, first)
    over, invoice = await ordered(db, till, 2)
    await db.run(orders.close_at_provider, [over.id])
    await till.pay(invoice, over)
    await till.pay(invoice, over)
    foreign = replace(first, purchase_id=over.purchase_id, price=first.price - 1)
    await till.pay(await till.invoice(foreign), foreign)
    run = await swept(db)
    assert await db.run(lambda tx: tx.values("select status from orders")) == ["paid", "paid"]
    told = ["charge settled", "charge settled", "charge duplicate", "charge duplicate"]
    assert await db.run(events) == [*told, "refund settled", "refund settled"], "what was charged again goes back"
    assert (run.broken, await db.run(listings.read_to, stars.NAME)) == (0, 4)
    await db.run(travel, LATE)
    again = await swept(db)
    assert (again.done, again.failed) == (0, 0)
    held = await till.stand_in_balance()
    assert await db.run(booked, "clearing:stars") == {"XTR": held}


async def test_the_list_is_read_on_from_where_it_was_read_to(db: Database, till: StarsTill) -> None:
    """A list that grows while it is read, page by page; each line once; one that came to stand in between is found in its turn."""
    till.stand_in.payments._transactions += [listed(id=f"old-{number}") for number in range(120)]
    await swept(db)
    assert await db.run(listings.read_to, stars.NAME) == 120
    till.stand_in.payments._transactions += [listed(id=f"new-{number}") for number in range(5)]
    asked = len(till.stand_in.calls)
    run = await swept(db)
    assert run.failed == 5, "each fits no order"
    assert await db.run(listings.read_to, stars.NAME) == 125
    assert len(till.stand_in.calls) - asked <= 4, "no more than the end of it and a page in its turn"
    till.stand_in.payments._transactions.insert(3, listed(id="in between"))
    for _ in range(3):
        await swept(db)
        await db.run(travel, timedelta(minutes=1))
    assert await db.run(lambda tx: tx.value("select count(*) from payment_events")) == 126


async def test_a_list_that_became_shorter_is_read_from_its_beginning(db: Database, till: StarsTill) -> None:
    """Another bot's token, or the test environment's."""
    till.stand_in.payments._transactions += [listed(id=f"old-{number}") for number in range(101)]
    await swept(db)
    till.stand_in.payments._transactions[:] = [listed(id="another's")]
    await swept(db)
    await swept(db)
    assert await db.run(listings.read_to, stars.NAME) == 1
    assert await db.run(lambda tx: tx.value("select count(*) from payment_events")) == 102


async def test_telegram_away_loses_nothing(db: Database, till: StarsTill) -> None:
    order, invoice = await ordered(db, till)
    await till.pay(invoice, order)
    till.break_down()
    assert (await swept(db)).failed > 0
    assert await db.run(listings.read_to, stars.NAME) == 0
    till.stand_in.forget_failures()
    await swept(db)
    assert await db.run(lambda tx: tx.values("select status from orders")) == ["paid"]


@pytest.mark.parametrize("first", ["update", "list"])
async def test_an_affiliates_part_is_booked_once(db: Database, till: StarsTill, first: str) -> None:
    """Of the charge as a whole, whichever news came first: the list's amount is without it."""
    till.stand_in.refer(till.stand_in.user(1), till.stand_in.user(7, "Boris"), per_mille=15)
    order, invoice = await ordered(db, till)
    paid = await till.pay(invoice, order)
    part = order.price * NANO * 15 // 1000
    assert part % NANO, "in nanostars"
    if first == "update":
        await db.run(inbox.receive, paid.told, PRICES)
    await swept(db)
    await swept(db)
    if first == "list":
        assert (await db.run(inbox.receive, paid.told, PRICES)).outcome == "repeated"
    assert await db.run(lambda tx: tx.values("select status from orders")) == ["paid"]
    assert await db.run(booked, "provider_fees") == {"XTR": part}
    assert await db.run(booked, "clearing:stars") == {"XTR": await till.stand_in_balance()}


async def test_what_is_no_charge_is_kept_for_an_operator(db: Database, till: StarsTill) -> None:
    """Withdrawn, spent, and what came by no invoice of ours, to the nanostar; each once."""
    till.stand_in.withdraw(50 * NANO)
    till.stand_in.move_stars("receiver", "telegram_ads", 3 * NANO)
    till.stand_in.move_stars("source", "other", 12 * NANO + 345_678_901)
    await swept(db)
    await swept(db)
    found = await db.run(
        lambda tx: tx.values("select kind || ' ' || status || ' ' || reason from payment_events order by reason")
    )
    assert found == [
        "charge unmatched no payment of an invoice",
        "other unmatched spent by telegram_ads: 3 XTR",
        "other unmatched withdrawn: 50 XTR",
    ]
    assert await db.run(booked, "suspense") == {"XTR": -(12 * NANO + 345_678_901)}


async def test_an_order_that_is_over_takes_no_more_money(db: Database, till: StarsTill) -> None:
    """By our own word: its watch ends with its half hour, once nothing that was accepted can still be charged."""
    order, _ = await ordered(db, till)
    other, _ = await ordered(db, till, 2)
    await db.run(travel, timedelta(minutes=PRICES.order_minutes - 1))
    asked = Checkout("q", stars.NAME, order.purchase_id, 1, order.price, order.currency)
    assert (await db.run(decide, asked)).refusal is None
    await db.run(travel, timedelta(minutes=1))
    await swept(db)
    closed = "select id from orders where provider_closed_at is not null order by id"
    assert await db.run(lambda tx: tx.values(closed)) == [other.id]
    await db.run(travel, timedelta(seconds=LEASE_S + CHARGED_WITHIN_S - 60))
    await swept(db)
    assert await db.run(lambda tx: tx.values(closed)) == [order.id, other.id]


# Money that left -----------------------------------------------------------------------------------------------------


async def sold(db: Database, till: StarsTill) -> Event:
    order, invoice = await ordered(db, till)
    paid = await till.pay(invoice, order)
    await db.run(inbox.receive, paid.told, PRICES)
    return paid.told


async def told_of(db: Database, kind: str) -> int:
    return len([one for one in await db.run(events) if one.startswith(f"{kind} ")])


LATE = timedelta(seconds=listings.TOLD_WITHIN_S + 1)


async def test_a_debit_that_only_the_list_tells_of_is_a_chargeback_once_no_update_can_come(
    db: Database, till: StarsTill
) -> None:
    charge = await sold(db, till)
    await swept(db)
    till.stand_in.charge_back(charge.external_id)
    await swept(db)
    assert await told_of(db, "chargeback") == 0
    assert await db.run(listings.read_to, stars.NAME) == 1, "it will be read again"
    other, invoice = await ordered(db, till, 2)
    await till.pay(invoice, other)
    await swept(db)
    assert await db.run(lambda tx: tx.values("select status from orders")) == ["paid", "paid"], (
        "what follows waits for none"
    )
    await db.run(travel, LATE)
    for _ in range(3):
        await swept(db)
    assert await told_of(db, "chargeback") == 1
    assert await db.run(listings.read_to, stars.NAME) == 3
    assert await db.run(booked, "chargebacks") == {"XTR": 120 * NANO}
    assert await db.run(booked, "clearing:stars") == {"XTR": await till.stand_in_balance()}


async def test_a_refund_that_an_update_told_of_is_no_second_one_in_the_list(db: Database, till: StarsTill) -> None:
    charge = await sold(db, till)
    till.stand_in.refund(charge.external_id)
    (update,) = [one for one in till._updates("message") if "refunded_payment" in one["message"]]
    told = telegram_charges.read_update(update, json.dumps(update).encode(), "told")
    assert told is not None
    await db.run(inbox.receive, told, PRICES)
    await db.run(travel, LATE)
    for _ in range(2):
        await swept(db)
    assert (await told_of(db, "refund"), await told_of(db, "chargeback")) == (1, 0)
    assert await db.run(booked, "write_offs") == {}
    assert await db.run(booked, "refunds") == {"XTR": 120 * NANO}
    assert await db.run(booked, "clearing:stars") == {}


async def test_an_affiliates_part_comes_back_with_its_charge(db: Database, till: StarsTill) -> None:
    """What the bot loses is less by it, so the cost of it is undone, once."""
    till.stand_in.refer(till.stand_in.user(1), till.stand_in.user(7, "Boris"), per_mille=15)
    charge = await sold(db, till)
    await swept(db)
    part = 120 * NANO * 15 // 1000
    assert await db.run(booked, "provider_fees") == {"XTR": part}
    till.stand_in.charge_back(charge.external_id)
    await db.run(travel, LATE)
    for _ in range(2):
        await swept(db)
    assert await db.run(booked, "provider_fees") == {}
    assert await db.run(booked, "clearing:stars") == {}
    assert await till.stand_in_balance() == 0
    await db.run(travel, timedelta(hours=1))
    assert till.account is not None
    compared = await reconcile(db, stars.NAME, till.account, anyway=True)
    assert compared is not None
    assert compared.outcome.differences == []


async def test_a_second_debit_of_one_charge_is_lost_money(db: Database, till: StarsTill) -> None:
    """Given back, and taken back by force as well; in one second or later, each once."""
    charge = await sold(db, till)
    till.stand_in.charge_back(charge.external_id)
    till.stand_in.charge_back(charge.external_id, again=True)
    await db.run(travel, LATE)
    for _ in range(3):
        await swept(db)
    assert await told_of(db, "chargeback") == 2
    assert await db.run(booked, "write_offs") == {"XTR": 120 * NANO}
    assert await db.run(booked, "clearing:stars") == {"XTR": await till.stand_in_balance()}
    await db.run(travel, timedelta(hours=1))
    assert till.account is not None
    compared = await reconcile(db, stars.NAME, till.account, anyway=True)
    assert compared is not None
    assert compared.outcome.differences == []


async def test_a_fault_at_any_statement_of_a_second_debit_leaves_nothing(
    db: Database, till: StarsTill, functions_url: str
) -> None:
    charge = await sold(db, till)
    line = listed("receiver", id=charge.external_id, amount=120)
    debit = listings.Debit(charge.external_id, stars.moment_of(line), 1, 120 * NANO, stars.STAR, 0)
    await db.run(listings.take_up_debit, read(line), debit, PRICES)
    again = replace(debit, number=2)
    received = await all_or_nothing(functions_url, listings.take_up_debit, read(line), again, PRICES, refusals=False)
    assert received.outcome == "second_debit"
    assert (await db.run(listings.take_up_debit, read(line), again, PRICES)).outcome == "repeated"


async def paid_twice(db: Database, till: StarsTill) -> Event:
    """The second charge of an order's link, which lies in suspense."""
    order, invoice = await ordered(db, till)
    first, second = [(await till.pay(invoice, order)).told for _ in range(2)]
    assert [(await db.run(inbox.receive, one, PRICES)).outcome for one in (first, second)] == ["settled", "duplicate"]
    return second


@pytest.mark.proves("N-5.duplicate")
async def test_a_second_charge_is_given_back_at_once(db: Database, till: StarsTill) -> None:
    """To who paid, by Telegram; the books have what Telegram holds, and its list tells nothing new of it."""
    await paid_twice(db, till)
    had = till.stand_in.user(1).account.stars
    await swept(db)
    assert till.stand_in.user(1).account.stars - had == 120
    assert await db.run(booked, "suspense") == {}
    assert await db.run(booked, "clearing:stars") == {"XTR": await till.stand_in_balance()}
    await db.run(travel, LATE)
    for _ in range(2):
        await swept(db)
    assert await told_of(db, "refund") == 1
    assert await told_of(db, "chargeback") == 0
    assert [call.method for call in till.stand_in.calls].count("refundStarPayment") == 1


@pytest.mark.proves("N-5.duplicate")
@pytest.mark.parametrize("executed", [True, False], ids=["it had its effect", "it had none"])
async def test_a_call_whose_outcome_is_unknown_is_asked_about_and_not_repeated_blindly(
    db: Database, till: StarsTill, monkeypatch: pytest.MonkeyPatch, *, executed: bool
) -> None:
    charge = await paid_twice(db, till)

    async def lost(_self: object, charge: Charge, _id: str) -> GivenBack:
        if executed:
            till.stand_in.refund(charge.charge_id)
        return GivenBack(Answer.UNKNOWN, reason="the answer was lost")

    with monkeypatch.context() as broken:
        broken.setattr(stars.GivesBack, "give_back", lost)
        await swept(db)
        await swept(db)  # claimed: no one asks again yet
    assert await db.run(booked, "suspense") == {"XTR": -120 * NANO}
    await db.run(travel, timedelta(seconds=giving_back._FIRST_S * 2))
    await swept(db)
    assert await db.run(booked, "suspense") == {}
    refunds = [one for one in till.stand_in.payments.transactions if "receiver" in one]
    assert [one["id"] for one in refunds] == [charge.external_id]


async def test_a_debit_of_a_moment_that_can_not_be_holds_up_no_line_after_it(db: Database, till: StarsTill) -> None:
    """Only a debit of the last minutes is waited for."""
    lines = till.stand_in.payments._transactions
    lines += [listed("receiver", id="odd", date=2**33 - 1)]
    lines += [listed(id=f"new-{number}") for number in range(stars.PAGE + 1)]
    await swept(db)
    assert await db.run(listings.read_to, stars.NAME) == stars.PAGE + 2
    assert await told_of(db, "charge") == stars.PAGE + 1
    assert await told_of(db, "chargeback") == 1


@pytest.mark.proves("N-5.duplicate")
@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        pytest.param(timedelta(hours=2), Answer.NOT, id="all since then was read"),
        pytest.param(timedelta(hours=-2), Answer.UNKNOWN, id="not all since then"),
        pytest.param(None, Answer.UNKNOWN, id="no one knows since when"),
    ],
)
async def test_a_charge_that_stands_far_back_was_not_given_back_when_nothing_since_it_was_asked_for_says_so(
    till: StarsTill, monkeypatch: pytest.MonkeyPatch, asked: timedelta | None, answer: Answer
) -> None:
    """A shop of many charges: else a refund whose call was lost would wait for ever, and hold the customer's balance."""
    monkeypatch.setattr(stars, "_MOST_BACK", 1)
    moment = datetime(2026, 6, 1, tzinfo=UTC)
    lines = till.stand_in.payments._transactions
    lines += [listed(id=f"old-{number}", date=int(moment.timestamp()) + number) for number in range(stars.PAGE + 5)]
    assert till.giver is not None
    charge = Charge(stars.NAME, "old-1", 100, "XTR", 1, asked_at=None if asked is None else moment + asked)
    assert (await till.giver.outcome(charge, "c")).answer is answer
    lines += [listed("receiver", id="old-1", date=int(moment.timestamp()) + 200)]
    assert (await till.giver.outcome(charge, "c")).answer is Answer.DONE


@pytest.mark.proves("N-5.duplicate")
async def test_what_telegram_refuses_to_give_back_waits_for_an_operator(
    db: Database, till: StarsTill, monkeypatch: pytest.MonkeyPatch
) -> None:
    await paid_twice(db, till)

    async def refused(*_: object) -> GivenBack:
        return GivenBack(Answer.REFUSED, reason="refundStarPayment: HTTP 400 USER_BOT_INVALID")

    monkeypatch.setattr(stars.GivesBack, "give_back", refused)
    for _ in range(2):
        await swept(db)
        await db.run(travel, timedelta(hours=1))
    found = await db.run(lambda tx: tx.values("select status || ' ' || last_answer from refund_requests"))
    assert found == ["refused refundStarPayment: HTTP 400 USER_BOT_INVALID"]
    assert (
        await db.run(lambda tx: tx.value("select resolved_at from payment_events where status = 'duplicate'")) is None
    )


async def test_telegram_away_is_asked_again(db: Database, till: StarsTill) -> None:
    await paid_twice(db, till)
    till.stand_in.fail_next("refundStarPayment", 429, "Too Many Requests", times=2)
    for _ in range(3):
        await swept(db)
        await db.run(travel, timedelta(seconds=giving_back._FIRST_S * 4 + 1))
    assert await db.run(booked, "suspense") == {}


@pytest.mark.proves("S4-2.1.stars")
async def test_a_fault_at_any_statement_of_a_second_charge_leaves_nothing(
    db: Database, till: StarsTill, functions_url: str
) -> None:
    order, invoice = await ordered(db, till)
    first, second = [(await till.pay(invoice, order)).told for _ in range(2)]
    await db.run(inbox.receive, first, PRICES)
    received = await all_or_nothing(functions_url, inbox.receive, second, PRICES, refusals=False)
    assert received.outcome == "duplicate"
    asked = await db.run(lambda tx: tx.values("select status from refund_requests"))
    assert asked == ["requested"], "and told again it is asked for once"
    assert (await db.run(inbox.receive, replace(second, via="sweep"), PRICES)).outcome == "repeated"


BY = suspense_by_hand.By(17, [17], "seen in the bank's statement", "c")


async def test_the_books_say_what_telegram_says(db: Database, till: StarsTill) -> None:
    """Charges, an affiliate's part, a withdrawal and the owner's own spending: each line matched, and what is held."""
    till.stand_in.refer(till.stand_in.user(1), till.stand_in.user(7, "Boris"), per_mille=15)
    await sold(db, till)
    till.stand_in.withdraw(50 * NANO)
    till.stand_in.move_stars("receiver", "telegram_ads", 3 * NANO)
    await swept(db)
    number = "select id from payment_events where reason like :what"
    withdrawn = await db.run(lambda tx: tx.value(number, what="withdrawn%"))
    spent = await db.run(lambda tx: tx.value(number, what="spent%"))
    for event, how in ((withdrawn, "paid out"), (spent, "owner's")):
        stored = await db.run(inbox.read_event, event)
        assert stored is not None
        found = stars.debit_of(stored)
        assert found is not None
        left = suspense_by_hand.Left(found[0], Amount(found[1], stars.STAR))
        if how == "paid out":
            arrived = Amount(6_000, "RUB")
            for wrong in (Amount(0, "RUB"), Amount(51 * NANO, "XTR")):
                with pytest.raises(suspense_by_hand.Refused):
                    await db.run(suspense_by_hand.paid_out, event, BY, left, wrong)
            await db.run(suspense_by_hand.paid_out, event, BY, left, arrived)
            with pytest.raises(suspense_by_hand.Refused, match="before"):
                await db.run(suspense_by_hand.paid_out, event, BY, left, arrived)
        else:
            await db.run(suspense_by_hand.taken_by_owner, event, BY, left)
    assert await db.run(booked, "bank") == {"RUB": 6_000}
    assert await db.run(booked, "clearing:stars") == {"XTR": await till.stand_in_balance()}
    await db.run(travel, timedelta(hours=1))
    assert till.account is not None
    compared = await reconcile(db, stars.NAME, till.account, anyway=True)
    assert compared is not None
    assert (compared.outcome.differences, compared.outcome.matched, compared.outcome.under_way) == ([], 4, 0)


async def test_a_customers_money_is_no_owners(db: Database, till: StarsTill) -> None:
    till.stand_in.move_stars("source", "other", 12 * NANO)
    await swept(db)
    event = await db.run(lambda tx: tx.value("select id from payment_events"))
    left = suspense_by_hand.Left("x", Amount(12 * NANO, stars.STAR))

    def out(tx: Transaction) -> None:
        suspense_by_hand.paid_out(tx, event, BY, left, Amount(1, "RUB"))

    def taken(tx: Transaction) -> None:
        suspense_by_hand.taken_by_owner(tx, event, BY, left)

    for end in (out, taken):
        with pytest.raises(suspense_by_hand.Refused, match="a customer's money"):
            await db.run(end)


# Lines of the list ---------------------------------------------------------------------------------------------------


def read(line: dict[str, Any]) -> Any:
    return stars.event_of(line, json.dumps(line).encode(), "sweep", "c")


def affiliate(amount: int, nanostars: int, per_mille: int = 150) -> dict[str, Any]:
    partner: dict[str, Any] = listed()["source"]
    part = {"commission_per_mille": per_mille, "amount": amount, "nanostar_amount": nanostars}
    return {**partner, "affiliate": part}


@pytest.mark.parametrize(
    ("line", "amount"),
    [
        (listed(), 100),
        (listed(amount=85, source=affiliate(15, 0)), 100),
        (listed(amount=100, source=affiliate(15, 0)), 100),  # were the whole in it after all
        (listed(amount=98, nanostar_amount=500_000_000, source=affiliate(1, 500_000_000, 15)), 100),
        (listed(amount=99, source=affiliate(1, 0, 10)), 100),
        (listed(source={"type": "user", "user": {"id": 1}, "invoice_payload": "x"}), 100),
    ],
)
def test_a_charge_is_read_as_a_whole(line: dict[str, Any], amount: int) -> None:
    event = read(line)
    assert (event.kind, event.external_id, event.money.amount, event.money.currency) == (
        "charge",
        "stx1",
        amount,
        "XTR",
    )
    assert event.money.paid_amount is None


@pytest.mark.parametrize(
    "line",
    [
        *(listed(amount=amount) for amount in (0, -1, True, "100", 1.5, None, 10**400)),
        *(listed(nanostar_amount=part) for part in (-1, NANO, "1", 0.5, None) if part is not None),
        listed(source=None),
        listed(receiver=listed()["source"]),
        listed(source=[1]),
        {"unreadable": [1]},
        {},
    ],
)
def test_a_line_of_another_shape_is_news_for_an_operator(line: dict[str, Any]) -> None:
    event = read(line)
    assert (event.money, event.concerns_money, bool(event.reason)) == (None, True, True)
    assert event == read(line), "and the same news each time"


def test_a_part_of_a_star_settles_nothing_and_is_counted_exactly() -> None:
    event = read(listed(nanostar_amount=1))
    assert (event.reason, event.money.amount, event.money.paid_amount) == (
        "not a whole number of Stars",
        100,
        "100.000000001",
    )


def test_a_withdrawal_that_failed_is_no_alarm() -> None:
    event = read(listed("receiver", receiver={"type": "fragment", "withdrawal_state": {"type": "failed"}}))
    assert (event.kind, event.money, event.concerns_money) == ("other", None, False)


# In the chat ---------------------------------------------------------------------------------------------------------


def customer(db: Database, till: StarsTill, wanted: tuple[str, ...] | None = None) -> Customer:
    invoices = {"cryptobot": FakeProvider(), stars.NAME: till.invoices}
    services = Services(db, PRICES, TELEGRAM, invoices, ZoneInfo("Europe/Moscow"), wanted)  # type: ignore[arg-type] # of tests
    return Customer(services, telegram_id=1)


async def charged(db: Database, till: StarsTill, url: str) -> Received:
    """The customer pays at the link; the bot hears of it as Telegram tells it."""
    paid = await till.pay(Invoice("", url), None)
    return await db.run(inbox.receive, paid.told, PRICES)


async def test_access_is_bought_by_stars(db: Database, till: StarsTill) -> None:
    anna = customer(db, till)
    await anna.go_to_confirm()
    assert [one["text"] for one in anna.buttons if "оплатить" in one["text"]] == [
        "✅ Принимаю условия, оплатить 120 ⭐ · Telegram Stars",
        "✅ Принимаю условия, оплатить 149 ₽ · CryptoBot",
    ]
    await anna.press("Telegram Stars")
    url = anna.button("120 ⭐")["url"]
    assert url.startswith("https://t.me/$")
    # tapped again, it is the same link; another method makes the order another one, and there is nothing to take back
    await anna.go_to_confirm()
    await anna.press("Telegram Stars")
    assert anna.button("120 ⭐")["url"] == url
    await anna.press("Проверить")
    assert anna.toast == "Оплата пока не пришла"
    assert (await charged(db, till, url)).outcome == "settled"
    await anna.press("Проверить")
    assert anna.toast == "Оплачено ✅"
    assert await db.run(booked, "clearing:stars") == {"XTR": 120 * NANO}
    assert await db.run(booked, "revenue") == {"XTR": -120 * NANO}


async def test_another_method_makes_way_and_a_late_charge_of_the_old_link_still_settles(
    db: Database, till: StarsTill
) -> None:
    anna = customer(db, till)
    await anna.go_to_confirm()
    await anna.press("Telegram Stars")
    url = anna.button("120 ⭐")["url"]
    await anna.go_to_confirm()
    await anna.press("CryptoBot")
    assert await db.run(lambda tx: tx.values("select status from orders order by id")) == ["replaced", "open"]
    order = await db.run(lambda tx: tx.value("select purchase_id from orders where provider = 'stars'"))
    asked = Checkout("q", stars.NAME, order, 1, 120, "XTR")
    assert (await db.run(decide, asked)).refusal == Refusal.OVER
    assert (await charged(db, till, url)).outcome == "settled", "what was charged all the same"


async def test_the_balance_is_topped_up_by_stars_at_the_orders_value(db: Database, till: StarsTill) -> None:
    anna = customer(db, till, ("stars",))
    await anna.tap(Go(to=Place.BALANCE).pack())
    await anna.press("250 ₽")
    await anna.press("200 ⭐")
    assert (await charged(db, till, anna.button("200 ⭐")["url"])).outcome == "settled"
    assert await db.run(lambda tx: balance.of(tx, tx.value("select id from accounts"))) == Wallets(25_000, 0)
    assert await db.run(booked, "exchange") == {"XTR": -200 * NANO, "RUB": 25_000}


async def test_stars_are_offered_where_the_operator_lists_them(db: Database, till: StarsTill) -> None:
    for wanted, offered in ((("cryptobot",), False), (("stars",), True), (None, True)):
        anna = customer(db, till, wanted)
        await anna.go_to_confirm()
        assert any("⭐" in one["text"] for one in anna.buttons) is offered
