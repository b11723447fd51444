"""The inbox: a key is used up by an effect alone, and what differs is kept and told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.domain import accounts, inbox, orders
from lib.domain.accounts import Person
from lib.domain.updates import Incoming
from lib.payments import cryptopay_news, registry
from lib.settings import pricelist
from lib.telegram import payments
from tests.integration.by_the_owner import by_the_owner
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from lib.db import Database, Transaction
    from lib.domain.orders import Order
    from lib.domain.settlement import Event

PRICES = pricelist.load()


def open_order(tx: Transaction) -> Order:
    account = accounts.meet(tx, Person(1, "Anna", None, "ru"))
    opened = orders.open_subscription(
        tx,
        account.id,
        tariff="basic",
        period_days=30,
        quote=at_list_price(PRICES, "basic", 30),
        provider="cryptobot",
        minutes=30,
    )
    return orders.attach_invoice(tx, opened.order.id, "528", "https://pay.example/1")


def invoice(**changes: Any) -> dict[str, Any]:
    return {"invoice_id": 528, "status": "paid", "currency_type": "fiat", "fiat": "RUB", "amount": "149"} | changes


def webhook(**changes: Any) -> Event:
    body = {"update_id": 1, "update_type": "invoice_paid", "payload": invoice(**changes)}
    return cryptopay_news.read_webhook(json.dumps(body).encode(), "c-1")


@dataclass(frozen=True)
class Kept:
    status: str
    bodies: int


def kept(tx: Transaction) -> Kept:
    return tx.one(
        Kept,
        "select status, (select count(*) from payment_event_bodies b where b.event_id = e.id) as bodies from payment_events e",
    )


@pytest.mark.proves("G-8")
async def test_what_is_said_by_turns_is_kept_and_settles_in_the_end(db: Database) -> None:
    """The functions' login may only add to what is kept of an event."""
    await db.run(open_order)
    for amount in ("1.49", "1.50", "1.49", "1.50"):
        assert (await db.run(inbox.receive, webhook(amount=amount), PRICES)).outcome == "unmatched"
    assert await db.run(kept) == Kept("unmatched", 2)
    assert (await db.run(inbox.receive, webhook(), PRICES)).outcome == "settled"
    assert await db.run(kept) == Kept("settled", 2)


@pytest.mark.proves("G-14")
@pytest.mark.parametrize(
    "first",
    [
        {"status": "active"},
        {"status": None},
        {"amount": "149.0000000000000000000000001"},
        {"amount": "what"},
        {"amount": None},
        {"amount": "1.49"},
        {"fiat": "EUR"},
        {"fiat": "XXX"},
        {"fiat": None},
        {"fiat": "R\x00B"},
        {"currency_type": "crypto", "asset": "TON"},
    ],
)
async def test_news_without_an_effect_leaves_the_key_to_what_comes_after(db: Database, first: dict[str, Any]) -> None:
    await db.run(open_order)
    assert (await db.run(inbox.receive, webhook(**first), PRICES)).outcome in {"unmatched", "no_money"}
    assert (await db.run(inbox.receive, webhook(), PRICES)).outcome == "settled"
    assert await db.run(kept) == Kept("settled", 1), "what was said first is kept beside it"
    assert (await db.run(inbox.receive, webhook(), PRICES)).outcome == "repeated"


@pytest.mark.proves("G-14")
async def test_an_invoice_that_is_not_paid_alarms_no_operator(db: Database) -> None:
    await db.run(open_order)
    assert (await db.run(inbox.receive, webhook(status="active"), PRICES)).outcome == "no_money"
    assert (await db.run(inbox.receive, webhook(status="active"), PRICES)).outcome == "repeated"


@pytest.mark.proves("G-8")
@pytest.mark.parametrize(
    "second",
    [
        {"amount": "150"},
        {"amount": "1"},
        {"fiat": "USD"},
        {"status": "expired"},
        {"paid_asset": "TON", "paid_amount": "3"},
        {"payload": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"},
    ],
)
async def test_other_content_under_a_key_that_had_its_effect_is_kept_and_told_once(
    db: Database, second: dict[str, Any]
) -> None:
    await db.run(open_order)
    assert (await db.run(inbox.receive, webhook(), PRICES)).outcome == "settled"
    assert (await db.run(inbox.receive, webhook(**second), PRICES)).outcome == "differs"
    assert (await db.run(inbox.receive, webhook(**second), PRICES)).outcome == "repeated"
    assert await db.run(kept) == Kept("settled", 1)


@pytest.mark.proves("G-8")
async def test_the_same_content_in_other_words_is_the_same_news(db: Database) -> None:
    await db.run(open_order)
    assert (await db.run(inbox.receive, webhook(amount="149", comment="hello"), PRICES)).outcome == "settled"
    for amount in ("149.00", 149, 149.0):
        assert (await db.run(inbox.receive, webhook(amount=amount), PRICES)).outcome == "repeated"
    listed = cryptopay_news.event_of(invoice(), b"{}", "sweep", "c-2")
    assert (await db.run(inbox.receive, listed, PRICES)).outcome == "repeated"
    assert await db.run(kept) == Kept("settled", 0)


async def test_money_that_fitted_no_order_settles_once_there_is_one(db: Database) -> None:
    assert (await db.run(inbox.receive, webhook(), PRICES)).outcome == "unmatched"
    assert (await db.run(inbox.receive, webhook(), PRICES)).outcome == "repeated"
    await db.run(open_order)
    assert (await db.run(inbox.receive, webhook(), PRICES)).outcome == "settled"


async def test_less_said_later_takes_nothing_back(db: Database) -> None:
    """Kept, since settling fails; then the provider says less."""
    await db.run(open_order)
    broken = "alter table payments add constraint broken check (amount < 0) not valid"
    await db.run(lambda tx: by_the_owner(tx, broken))
    first = await db.run(inbox.receive, webhook(), PRICES)
    assert (first.outcome, len(first.follow_up)) == ("kept", 1)
    assert (await db.run(inbox.receive, webhook(status="active"), PRICES)).outcome == "differs"
    await db.run(lambda tx: by_the_owner(tx, "alter table payments drop constraint broken"))
    assert (await db.run(inbox.receive, webhook(), PRICES)).outcome == "settled"


@pytest.mark.proves("G-8")
async def test_differing_news_at_once_settles_once(racing_db: Database) -> None:
    await racing_db.run(open_order)
    news = [webhook(), webhook(status="active"), webhook(amount="150"), webhook(amount="1"), webhook(fiat="EUR")] * 4
    outcomes = await asyncio.gather(*(racing_db.run(inbox.receive, event, PRICES) for event in news))
    assert [one.outcome for one in outcomes].count("settled") == 1
    assert await racing_db.run(lambda tx: tx.value("select count(*) from payments")) == 1
    assert (await racing_db.run(kept)).status == "settled"


_ANY_INVOICE = st.dictionaries(
    st.sampled_from(
        ["status", "amount", "fiat", "currency_type", "payload", "paid_asset", "paid_amount", "fee_asset", "fee_amount"]
    ),
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.lists(st.integers(), max_size=2),
)


@pytest.mark.proves("G-14")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(_ANY_INVOICE, max_size=4))
async def test_whatever_is_said_before_the_money_settles(db: Database, changes: list[dict[str, Any]]) -> None:
    await db.run(lambda tx: by_the_owner(tx, "truncate accounts, payment_events, ledger_transfers cascade"))
    await db.run(open_order)
    outcomes = [(await db.run(inbox.receive, webhook(**change), PRICES)).outcome for change in changes]
    last = (await db.run(inbox.receive, webhook(), PRICES)).outcome
    assert [*outcomes, last].count("settled") == 1
    assert "kept" not in outcomes


def charge(payment: dict[str, Any], *, where: str = "message", sender: object = None) -> Event | None:
    update = {"update_id": 7, where: {"chat": {"id": 1}, "from": sender, "successful_payment": payment}}
    return payments.read_charge(update, Incoming(7, json.dumps(update), "tg-7"))


@pytest.mark.parametrize(
    "where",
    ["message", "business_message", "edited_message", "edited_business_message", "channel_post", "a_kind_of_tomorrow"],
)
async def test_a_charge_is_recorded_wherever_it_stands(db: Database, where: str) -> None:
    event = charge({"currency": "XTR", "total_amount": 100, "telegram_payment_charge_id": "stx1"}, where=where)
    assert event is not None
    assert event.external_id == "stx1"
    assert (await db.run(inbox.receive, event, PRICES)).outcome == "unmatched"


@pytest.mark.parametrize(
    ("sender", "payer"),
    [
        ({"id": 17}, 17),
        ({"id": 2**63}, None),
        ({"id": -1}, None),
        ({"id": True}, None),
        ({"id": "17"}, None),
        ([], None),
    ],
)
async def test_who_paid_is_kept_with_the_news(db: Database, sender: object, payer: int | None) -> None:
    event = charge({"currency": "XTR", "total_amount": 100, "telegram_payment_charge_id": "stx1"}, sender=sender)
    assert event is not None
    assert (await db.run(inbox.receive, event, PRICES)).outcome == "unmatched"
    assert await db.run(lambda tx: tx.value("select payer_telegram_id from payment_events")) == payer


@pytest.mark.parametrize("charge_id", ["a\x00b", "a\ud800b", "x" * 5000, "", None, 17, ["x"]])
async def test_an_id_that_postgres_can_not_hold_is_recorded_by_its_digest(db: Database, charge_id: object) -> None:
    event = charge({"currency": "RUB", "total_amount": 100, "telegram_payment_charge_id": charge_id})
    assert event is not None
    assert event.external_id.startswith("sha256:")
    assert (await db.run(inbox.receive, event, PRICES)).outcome == "unmatched"
    assert (await db.run(inbox.receive, event, PRICES)).outcome == "repeated"


@pytest.mark.parametrize("later", [{"status": "active"}, {"status": "expired"}])
async def test_news_of_no_money_hides_none_that_waits_for_an_operator(db: Database, later: dict[str, Any]) -> None:
    assert (await db.run(inbox.receive, webhook(fiat="XXX"), PRICES)).outcome == "unmatched"
    await db.run(inbox.receive, webhook(**later), PRICES)
    assert (await db.run(kept)).status == "unmatched"


async def test_what_was_read_before_more_was_said_is_not_what_settles(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await db.run(open_order)
    with monkeypatch.context() as failing:
        failing.setattr(inbox, "settle", lambda *_: int("not now"))
        first = await db.run(inbox.receive, webhook(fiat="EUR"), PRICES)
        read = await db.run(inbox.read_event, first.event_id)
        assert (await db.run(inbox.receive, webhook(), PRICES)).outcome == "kept"
    assert read is not None
    task = first.follow_up[0].id
    with pytest.raises(RuntimeError, match="superseded"):
        await db.run(inbox.settle_again, first.event_id, registry.read_again(read), PRICES, task)
    again = await db.run(inbox.read_event, first.event_id)
    assert again is not None
    settled = await db.run(inbox.settle_again, first.event_id, registry.read_again(again), PRICES, task)
    assert settled.outcome == "settled"
