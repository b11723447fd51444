"""One contract for every provider: whatever tells of money, it is the same news, and it settles by the same one way (N-32)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from lib import currencies, json_reader
from lib.domain import accounts, inbox, orders, statements
from lib.domain.accounts import Person
from lib.domain.inbox import StoredEvent
from lib.domain.refund_requests import Charge
from lib.domain.statements import Said
from lib.payments import card, provider, registry
from lib.payments.provider import Answer, InvoiceOver, ProviderError
from lib.settings import pricelist
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from lib.domain.orders import Order
    from lib.domain.settlement import Event
    from lib.payments.provider import GivesBack, Invoice, Invoices
    from tests.integration.payments.tills import Till

PRICES = pricelist.load()

pytestmark = pytest.mark.proves("N-32")


@pytest.fixture
def invoices(till: Till) -> Invoices:
    if till.invoices is None:
        pytest.fail("of a provider that makes invoices only")
    return till.invoices


with_invoices = pytest.mark.parametrize("till", ["cryptobot", "sample"], indirect=True)
with_lists = pytest.mark.parametrize("till", ["cryptobot", "stars", "sample"], indirect=True)


def open_order(tx: Transaction, name: str, telegram_id: int = 1) -> Order:
    account = accounts.meet(tx, Person(telegram_id, "Anna", None, "ru"))
    return orders.open_subscription(
        tx,
        account.id,
        tariff="basic",
        period_days=30,
        quote=at_list_price(PRICES, "basic", 30, method=name),
        provider=name,
        minutes=30,
    ).order


async def ordered(db: Database, till: Till, telegram_id: int = 1) -> tuple[Order, Invoice]:
    """An order with its invoice."""
    order = await db.run(open_order, till.provider.NAME, telegram_id)
    invoice = await till.invoice(order)
    if till.invoices is not None:
        order = await db.run(orders.attach_invoice, order.id, invoice.invoice_id, invoice.url)
    return order, invoice


async def every_way(till: Till, told: Event, invoice: Invoice) -> list[Event]:
    """The news by itself, by asking about its invoice, and by the list of all that was paid."""
    news = [told]
    if till.provider is card:
        news.append(card_statement_line(told))
    elif till.invoices is not None:
        listed = await till.invoices.listed(0)
        news.append(till.invoices.event(listed.paid[told.external_id], "sweep", "listed"))
    if till.invoices is not None and not till.invoices.asks_first:
        looked = await till.invoices.look([invoice.invoice_id])
        news.append(till.invoices.event(looked.paid[invoice.invoice_id], "sweep", "looked"))
    return news


def card_statement_line(told: Event) -> Event:
    """The news that the charge's line in the provider's statement is, when it names our purchase."""
    assert told.money is not None
    at = datetime(2026, 11, 30, tzinfo=UTC)
    amount, currency, purchase_id = told.money.amount, told.money.currency, told.money.purchase_id
    said = Said(2, "charge", told.external_id, "", amount, 522, currency, at, purchase_id)
    return statements.event_of(card.NAME, said, "stated")


def stored(event: Event) -> StoredEvent:
    return StoredEvent(event.provider, event.external_id, event.body, event.via, event.correlation_id, "new")


def booked(tx: Transaction, code: str) -> dict[str, int]:
    """What an account holds (debit less credit), by currency."""
    found = tx.value(
        "select coalesce(jsonb_object_agg(currency, amount), '{}') from ("
        " select a.currency, sum(case when e.debit_account_id = a.id then e.amount else -e.amount end) as amount"
        " from ledger_accounts a join ledger_entries e on a.id in (e.debit_account_id, e.credit_account_id)"
        " where a.code = :code group by a.currency) held where amount <> 0",
        code=code,
    )
    return {currency: int(amount) for currency, amount in found.items()}


async def test_every_way_tells_the_same_news(db: Database, till: Till) -> None:
    order, invoice = await ordered(db, till)
    paid = await till.pay(invoice, order)
    news = await every_way(till, paid.told, invoice)
    assert {(one.provider, one.kind, one.external_id, one.meaning) for one in news} == {
        (till.provider.NAME, "charge", paid.told.external_id, paid.told.meaning)
    }
    for one in news:
        assert one.money is not None
        assert (one.money.amount, one.money.currency) == (order.price, order.currency)
        assert one.money.purchase_id == order.purchase_id
        assert json_reader.is_storable(one.external_id)
        assert 0 < len(one.external_id) <= 512
        assert till.provider.read(stored(one)) == one, "as it was when it came"
        assert registry.read_again(stored(one)) == one


async def test_a_body_of_any_kind_is_news_without_money(till: Till) -> None:
    bodies = [b"", b"{", b"null", b"[]", b"{}", b'"x"', b"\xff", b'{"amount": "NaN"}', b'{"amount": -1}', b"[" * 9_999]
    for body in bodies:
        for via in ("webhook", "sweep", "command"):
            event = till.provider.read(StoredEvent(till.provider.NAME, "1", body, via, "c", "new"))
            assert (event.provider, event.money, event.body) == (till.provider.NAME, None, body)


async def test_what_was_paid_settles_once_by_whichever_way(db: Database, till: Till) -> None:
    order, invoice = await ordered(db, till)
    paid = await till.pay(invoice, order)
    outcomes = [(await db.run(inbox.receive, one, PRICES)).outcome for one in await every_way(till, paid.told, invoice)]
    assert outcomes == ["settled"] + ["repeated"] * (len(outcomes) - 1)
    assert await db.run(lambda tx: tx.values("select status from orders")) == ["paid"]
    assert await db.run(booked, "revenue") == {order.currency: -currencies.of(order.currency).booked(order.price)}
    clearing = f"clearing:{till.provider.NAME}"
    held = await db.run(booked, clearing)
    assert held
    assert all(amount > 0 for amount in held.values())


async def test_money_of_an_order_that_is_over_settles(db: Database, till: Till) -> None:
    order, invoice = await ordered(db, till)
    await db.run(orders.close_at_provider, [order.id])
    paid = await till.pay(invoice, order)
    assert (await db.run(inbox.receive, paid.told, PRICES)).outcome == "settled"


async def test_a_second_charge_is_a_duplicate_and_grants_nothing(db: Database, till: Till) -> None:
    order, invoice = await ordered(db, till)
    await db.run(inbox.receive, (await till.pay(invoice, order)).told, PRICES)
    again = await till.pay(await till.invoice(order), order)
    for one in (again.told, replace(again.told, via="sweep")):
        outcome = (await db.run(inbox.receive, one, PRICES)).outcome
        assert outcome == ("duplicate" if one is again.told else "repeated")
    assert await db.run(lambda tx: tx.value("select count(*) from subscription_history")) == 1


@pytest.mark.parametrize("case", ["less", "other currency", "unknown order"])
async def test_what_fits_nothing_is_kept_for_an_operator(db: Database, till: Till, case: str) -> None:
    order, _ = await ordered(db, till)
    other = {
        "less": replace(order, price=order.price - 1),
        "other currency": replace(order, currency="USD"),
        "unknown order": replace(order, purchase_id=uuid4()),
    }[case]
    paid = await till.pay(await till.invoice(other), other)
    received = await db.run(inbox.receive, paid.told, PRICES)
    assert (received.outcome, bool(received.reason)) == ("unmatched", True)
    assert await db.run(lambda tx: tx.values("select status from orders")) == ["open"]


# Asking ----------------------------------------------------------------------------------------------------------


@with_invoices
async def test_an_invoice_is_open_then_paid_or_over(db: Database, till: Till, invoices: Invoices) -> None:
    first, open_invoice = await ordered(db, till, 1)
    second, paid_invoice = await ordered(db, till, 2)
    _, over_invoice = await ordered(db, till, 3)
    await till.pay(paid_invoice, second)
    await till.expire(over_invoice)
    numbers = [one.invoice_id for one in (open_invoice, paid_invoice, over_invoice)]
    looked = await invoices.look([*numbers, "999999"])
    assert (set(looked.open), set(looked.paid), set(looked.over)) == ({numbers[0]}, {numbers[1]}, {numbers[2]})
    assert looked.complete
    assert not looked.lists("999999")
    asked = [await provider.ask(invoices, one, via="update", correlation_id="c") for one in numbers[:2]]
    assert [one and one.money and one.money.purchase_id for one in asked] == [None, second.purchase_id]
    with pytest.raises(InvoiceOver):
        await provider.ask(invoices, numbers[2], via="update", correlation_id="c")
    with pytest.raises(ProviderError):
        await provider.ask(invoices, "999999", via="update", correlation_id="c")
    for one in (open_invoice, paid_invoice, over_invoice):
        assert json_reader.is_storable(one.invoice_id)
        assert one.url.startswith("http")
    # one whose making was never heard of is found by what was agreed, and no other is taken for it
    assert await provider.find(invoices, first.purchase_id, first.price, first.currency) == open_invoice
    for other in (
        replace(first, price=first.price + 1),
        replace(first, currency="USD"),
        replace(first, purchase_id=uuid4()),
        second,
    ):
        assert await provider.find(invoices, other.purchase_id, other.price, other.currency) is None


@with_invoices
async def test_an_invoice_that_was_withdrawn_takes_no_money(db: Database, till: Till, invoices: Invoices) -> None:
    order, invoice = await ordered(db, till)
    await invoices.withdraw(invoice.invoice_id)
    looked = await invoices.look([invoice.invoice_id])
    assert invoice.invoice_id not in looked.open
    assert await provider.find(invoices, order.purchase_id, order.price, order.currency) is None


@with_lists
async def test_everything_that_was_paid_is_listed_page_by_page(db: Database, till: Till, invoices: Invoices) -> None:
    told = set()
    for number in range(1, 4):
        order, invoice = await ordered(db, till, number)
        told.add((await till.pay(invoice, order)).told.external_id)
    page = await invoices.listed(0)
    assert set(page.paid) == told
    assert page.following > 0
    assert set((await invoices.listed(10**6)).paid) == set()
    assert invoices.page >= invoices.stride > 0
    assert (invoices.name, bool(invoices.label)) == (till.provider.NAME, True)


@with_invoices
async def test_trouble_is_one_error_that_names_no_secret(db: Database, till: Till, invoices: Invoices) -> None:
    order, invoice = await ordered(db, till)
    till.break_down()
    for call in (
        invoices.make(order, "Basic"),
        invoices.look([invoice.invoice_id]),
        invoices.listed(0),
        invoices.withdraw(invoice.invoice_id),
        provider.find(invoices, order.purchase_id, order.price, order.currency),
    ):
        with pytest.raises(ProviderError) as refused:
            await call
        assert "secret" not in str(refused.value)
        assert "token" not in str(refused.value)


# Giving back -----------------------------------------------------------------------------------------------------


@pytest.fixture
def giver(till: Till) -> GivesBack:
    if till.giver is None:
        pytest.fail("of a provider that gives back only")
    return till.giver


with_giver = pytest.mark.parametrize("till", ["stars", "test", "sample"], indirect=True)


async def paid_charge(db: Database, till: Till) -> Charge:
    order, invoice = await ordered(db, till)
    told = (await till.pay(invoice, order)).told
    await db.run(inbox.receive, told, PRICES)
    return Charge(till.provider.NAME, told.external_id, order.price, order.currency, payer_telegram_id=1)


@with_giver
async def test_a_charge_is_given_back_as_news_of_its_own(db: Database, till: Till, giver: GivesBack) -> None:
    charge = await paid_charge(db, till)
    given = await giver.give_back(charge, "c")
    assert given.answer is Answer.DONE
    news = given.news
    assert news is not None
    assert (news.provider, news.kind, news.charge_id) == (charge.provider, "refund", charge.charge_id)
    assert news.money is not None
    assert (news.money.amount, news.money.currency) == (charge.amount, charge.currency)
    kept = StoredEvent(news.provider, news.external_id, news.body, news.via, news.correlation_id, "new", kind=news.kind)
    assert till.provider.read(kept) == news, "as it was when it came"
    assert (await giver.give_back(charge, "c")).answer in {Answer.ALREADY, Answer.DONE}
    looked = await giver.outcome(charge, "c")
    assert looked.news is not None
    assert (looked.answer, looked.news.external_id, looked.news.meaning) == (
        Answer.DONE,
        news.external_id,
        news.meaning,
    )


@pytest.mark.parametrize("till", ["stars", "sample"], indirect=True)
async def test_what_was_not_given_back_is_told_apart_from_what_is_not_known(
    db: Database, till: Till, giver: GivesBack
) -> None:
    charge = await paid_charge(db, till)
    assert (await giver.outcome(charge, "c")).answer is Answer.NOT
    assert (await giver.give_back(replace(charge, charge_id="no-such"), "c")).answer is Answer.REFUSED
    till.break_down()
    for call in (giver.give_back(charge, "c"), giver.outcome(charge, "c")):
        answered = await call
        assert answered.answer in {Answer.UNKNOWN, Answer.LATER}
        assert "secret" not in answered.reason
