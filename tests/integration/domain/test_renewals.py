"""Auto-renewal from the balance: once for each end, never for a price that is not known, never for access that is over."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from lib.db import Database
from lib.db.invariants import violations
from lib.domain import (
    accounts,
    adjustments,
    balance,
    flags,
    freezing,
    inbox,
    orders,
    refunds_by_hand,
    renewals,
    revoking,
    subscriptions,
    trial,
)
from lib.domain.accounts import Person
from lib.domain.adjustments import Adjustment
from lib.domain.ledger import Wallets
from lib.domain.refunds_by_hand import Route, Wanted
from lib.domain.renewals import Outcome, Place, Renewed
from lib.domain.settlement import Event, Money
from lib.settings import pricelist
from tests.integration.by_the_owner import by_the_owner, travel
from tests.integration.domain.test_adjustments import earn
from tests.integration.domain.test_balance import OWNER, buy, counts, purchase
from tests.integration.domain.test_refunds import BY
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from lib.db import Transaction
    from lib.domain.pricelist import PriceList
    from lib.domain.subscriptions import Subscription

PRICES = pricelist.load()
PRICE = PRICES.tariffs["basic"].prices[30]
NEAR = timedelta(days=30, hours=-5)
"""From the purchase of 30 days into the window."""


def costing(price: int, tariff: str = "basic", days: int = 30) -> PriceList:
    """Today's list with another price."""
    listed = PRICES.tariffs[tariff]
    return replace(PRICES, tariffs=PRICES.tariffs | {tariff: replace(listed, prices=listed.prices | {days: price})})


def credit(tx: Transaction, account_id: int, amount: int) -> None:
    given = Adjustment(
        account_id, amount, OWNER, "for a test", str(uuid.uuid5(uuid.NAMESPACE_OID, f"{account_id} {amount}"))
    )
    adjustments.credit(tx, given, {OWNER}, currency="RUB", correlation_id="c-0")


def debit(tx: Transaction, account_id: int, amount: int) -> None:
    taken = Adjustment(account_id, amount, OWNER, "for a test", f"taken-{amount}")
    adjustments.debit(tx, taken, {OWNER}, currency="RUB", correlation_id="c-0")


def subscribed(tx: Transaction, left: int, *, telegram_id: int = 1, earned: int = 0, tariff: str = "basic") -> int:
    """A customer who bought 30 days from the balance, has so much left on it, and asked for renewals; their account."""
    account_id = accounts.meet(tx, Person(telegram_id, "Anna", None, "ru")).id
    if earned:
        earn(tx, account_id, earned)
    price = PRICES.tariffs[tariff].prices[30]
    credit(tx, account_id, price + left)
    order = buy(tx, purchase(account_id, f"tap:{telegram_id}", tariff)).order
    assert renewals.turn_on(tx, account_id, order.id, price, PRICES)
    return account_id


async def near_the_end(db: Database, left: int, by: timedelta = NEAR, **how: Any) -> int:
    """As `subscribed`, when the end is near."""
    await db.run(lambda tx: subscribed(tx, left, **how) and None)
    await db.run(travel, by)
    telegram_id = how.get("telegram_id", 1)
    return int(await db.run(lambda tx: tx.value("select id from accounts where telegram_id = :id", id=telegram_id)))


def renew(tx: Transaction, account_id: int, prices: PriceList = PRICES) -> Renewed:
    return renewals.renew(tx, account_id, prices, "c-1")


async def held_by(db: Database, account_id: int) -> Subscription:
    held = await db.run(subscriptions.current, account_id)
    assert held is not None
    return held


def switched(tx: Transaction, name: str, to: str) -> None:
    """A flag, `on` or `off`."""
    tx.execute(
        "insert into flags (name, enabled) values (:name, :enabled)"
        " on conflict (name) do update set enabled = excluded.enabled",
        name=name,
        enabled=to == "on",
    )


def said(tx: Transaction) -> list[str]:
    """What was told of renewals, in order."""
    return tx.values("select params ->> 'why' from messages where kind = 'renewal' order by id")


def history(tx: Transaction) -> list[Any]:
    return tx.values(
        "select h.event || ' ' || h.source || ' ' || (h.payment_id is not null) || ' ' || coalesce(cast(h.actor_id as text), '-')"
        " from subscription_history h order by h.id"
    )


@pytest.fixture
async def processes(functions_url: str) -> AsyncIterator[Callable[[int], list[Database]]]:
    """Make so many databases with connections of their own, as processes have them."""
    made: list[Database] = []

    def make(count: int) -> list[Database]:
        made.extend(Database(functions_url, connections=4, application=f"p{n}", guards=False) for n in range(count))
        return made

    yield make
    for one in made:
        await one.close()


# What a renewal is --------------------------------------------------------------------------------------------------


@pytest.mark.proves("N-12.once")
async def test_access_is_extended_from_the_balance_and_the_key_stays(db: Database) -> None:
    anna = await near_the_end(db, 10_000, earned=10_000)
    before = await held_by(db, anna)
    renewed = await db.run(renew, anna)
    assert renewed.outcome is Outcome.RENEWED
    assert {item.target for item in renewed.follow_up} == {"task_provision", "task_notify"}
    after = await held_by(db, anna)
    assert (after.uuid, after.source, after.auto_renew) == (before.uuid, "renewal", True)
    assert after.expires_at == before.expires_at + timedelta(days=30)
    assert await db.run(balance.of, anna) == Wallets(0, 20_000 - PRICE)
    assert await db.run(history) == ["granted payment true -", "renewed renewal true -"]
    receipt = await db.run(
        lambda tx: tx.value("select params from messages where kind = 'receipt' order by id desc limit 1")
    )
    assert (receipt["by_itself"], receipt["amount"], receipt["expires_at"]) == (
        True,
        PRICE,
        after.expires_at.isoformat(),
    )
    last = await db.run(lambda tx: tx.value("select last_auto_renewal_at from subscriptions"))
    assert last == before.expires_at


@pytest.mark.proves("N-12.once")
async def test_an_end_is_renewed_once_and_the_next_one_again(db: Database) -> None:
    anna = await near_the_end(db, 3 * PRICE)
    ends = (await held_by(db, anna)).expires_at
    assert [(await db.run(renew, anna)).outcome for _ in range(3)] == [
        Outcome.RENEWED,
        Outcome.NOTHING,
        Outcome.NOTHING,
    ]
    assert (await held_by(db, anna)).expires_at == ends + timedelta(days=30)
    await db.run(travel, timedelta(days=30))
    assert (await db.run(renew, anna)).outcome is Outcome.RENEWED
    assert await db.run(balance.of, anna) == Wallets(PRICE, 0)


async def test_an_end_that_a_refund_brings_back_is_not_renewed_again(db: Database) -> None:
    """The renewal was given back with its access: who wants it again buys it."""
    anna = await near_the_end(db, PRICE)
    ends = (await held_by(db, anna)).expires_at
    await db.run(renew, anna)

    def give_back(tx: Transaction) -> None:
        payment = tx.value("select max(id) from payments")
        refunds_by_hand.refund(tx, Wanted(Route.WALLET, payment, reverses_access=True), BY, PRICES)

    await db.run(give_back)
    assert (await held_by(db, anna)).expires_at == ends
    assert (await db.run(renew, anna)).outcome is Outcome.NOTHING
    # nor after a ban that took it and an unban that gave it back
    await db.run(lambda tx: revoking.ban(tx, anna, actor_id=OWNER, reason="a test", correlation_id="c"))
    await db.run(lambda tx: revoking.unban(tx, anna, actor_id=OWNER, conversion=PRICES.conversion, correlation_id="c"))
    assert (await held_by(db, anna)).expires_at == ends
    assert (await db.run(renew, anna)).outcome is Outcome.NOTHING
    assert await db.run(balance.of, anna) == Wallets(PRICE, 0)


@pytest.mark.parametrize(
    ("by", "outcome"),
    [(-7, Outcome.NOTHING), (-6.5, Outcome.NOTHING), (-5.9, Outcome.RENEWED), (-0.01, Outcome.RENEWED)],
)
async def test_it_happens_within_the_window_before_the_end(db: Database, by: float, outcome: Outcome) -> None:
    anna = await near_the_end(db, PRICE, timedelta(days=30, hours=by))
    assert (await db.run(renew, anna)).outcome is outcome


@pytest.mark.proves("S2-2.6")
async def test_access_that_is_over_is_not_renewed(db: Database) -> None:
    """Neither before the sweep of ends came by, nor after; and what is bought anew begins without it."""
    anna = await near_the_end(db, 2 * PRICE, timedelta(days=30, seconds=1))
    assert (await db.run(renew, anna)).outcome is Outcome.NOTHING
    await db.run(subscriptions.expire, 10, "c")
    assert (await db.run(renew, anna)).outcome is Outcome.NOTHING
    assert await db.run(balance.of, anna) == Wallets(2 * PRICE, 0)
    await db.run(buy, purchase(anna, "again"))
    held = await held_by(db, anna)
    assert (held.is_current, held.auto_renew) == (True, False)


async def test_what_was_bought_last_is_bought_again(db: Database) -> None:
    anna = await near_the_end(db, 200_000, timedelta(days=1))
    await db.run(buy, purchase(anna, "more", "plus", 90))
    upcoming = await db.run(renewals.upcoming, anna, PRICES)
    assert upcoming is not None
    assert (upcoming.tariff, upcoming.period_days, upcoming.price) == ("plus", 90, PRICES.tariffs["plus"].prices[90])
    await db.run(travel, upcoming.expires_at - await db.run(subscriptions.now) - timedelta(hours=1))
    await db.run(renew, anna)
    held = await held_by(db, anna)
    assert (held.tariff, held.expires_at) == ("plus", upcoming.expires_at + timedelta(days=90))


async def test_a_tariff_that_was_given_is_left_for_the_one_that_was_bought(db: Database) -> None:
    """An operator's grant is no purchase; what is left of it is converted by value, as ever."""
    anna = await near_the_end(db, PRICE)

    def give(tx: Transaction) -> None:
        value = PRICES.conversion("basic", "plus")
        subscriptions.grant(tx, anna, tariff="plus", seconds=60, source="admin", actor_id=OWNER, value=value)

    await db.run(give)
    before = await held_by(db, anna)
    assert (await db.run(renew, anna)).outcome is Outcome.RENEWED
    held = await held_by(db, anna)
    assert held.tariff == "basic"
    assert held.expires_at > before.expires_at + timedelta(days=30)


async def test_time_that_another_tariff_shortens_to_before_an_end_that_was_renewed_can_be_given(db: Database) -> None:
    """A gift of a far dearer tariff leaves so little of the month that the end comes before the one that was renewed."""
    early = replace(PRICES, auto_renewal=replace(PRICES.auto_renewal, window_hours=23))
    anna = await near_the_end(db, PRICE, timedelta(days=30, hours=-22))
    assert (await db.run(renew, anna, early)).outcome is Outcome.RENEWED
    renewed = (await held_by(db, anna)).expires_at

    def give(tx: Transaction) -> None:
        value = Fraction(1, 100)
        subscriptions.grant(tx, anna, tariff="plus", seconds=60, source="admin", actor_id=OWNER, value=value)

    await db.run(give)
    held = await held_by(db, anna)
    assert held.tariff == "plus"
    assert held.expires_at < renewed - timedelta(days=30)
    assert await db.run(balance.of, anna) == Wallets(0, 0)


async def test_a_purchase_that_went_back_is_not_what_was_bought_last(db: Database) -> None:
    anna = await near_the_end(db, 50_000, timedelta(days=1))
    bought = await db.run(buy, purchase(anna, "more", "plus", 30))

    def give_back(tx: Transaction) -> None:
        payment = tx.value("select id from payments where order_id = :id", id=bought.order.id)
        refunds_by_hand.refund(tx, Wanted(Route.WALLET, payment, reverses_access=True), BY, PRICES)

    await db.run(give_back)
    upcoming = await db.run(renewals.upcoming, anna, PRICES)
    assert upcoming is not None
    assert (upcoming.tariff, upcoming.price, upcoming.agreed) == ("basic", PRICE, True)


@pytest.mark.parametrize("thawed", ["by-itself", "sooner"])
@pytest.mark.proves("N-12.once")
async def test_frozen_access_renews_when_it_runs_again(db: Database, thawed: str) -> None:
    anna = await near_the_end(db, PRICE)
    frozen = await db.run(lambda tx: freezing.freeze(tx, anna, 1, PRICES.access, correlation_id="c"))
    assert isinstance(frozen, freezing.Frozen)
    await db.run(travel, timedelta(hours=2))
    assert (await db.run(renew, anna)).outcome is Outcome.NOTHING
    if thawed == "sooner":
        await db.run(lambda tx: freezing.thaw_now(tx, anna, correlation_id="c"))
    else:
        await db.run(travel, timedelta(days=1))
        await db.run(freezing.thaw_due, 10, "c")
    assert (await db.run(renew, anna)).outcome is Outcome.RENEWED


@pytest.mark.proves("N-12.once")
async def test_an_end_that_a_refund_brings_nearer_is_renewed(db: Database) -> None:
    """It was never renewed, whatever was bought beyond it and went back."""
    anna = await near_the_end(db, 2 * PRICE, timedelta(days=1))
    ends = (await held_by(db, anna)).expires_at
    await db.run(buy, purchase(anna, "more"))

    def give_back(tx: Transaction) -> None:
        payment = tx.value("select max(id) from payments")
        refunds_by_hand.refund(tx, Wanted(Route.WALLET, payment, reverses_access=True), BY, PRICES)

    await db.run(give_back)
    assert (await held_by(db, anna)).expires_at == ends
    await db.run(travel, NEAR - timedelta(days=1))
    assert (await db.run(renew, anna)).outcome is Outcome.RENEWED
    assert (await held_by(db, anna)).expires_at == ends + timedelta(days=30)


# Too little money ---------------------------------------------------------------------------------------------------


@pytest.mark.proves("N-12.low")
async def test_too_little_is_told_once_and_takes_nothing(db: Database) -> None:
    anna = await near_the_end(db, PRICE - 1)
    assert [(await db.run(renew, anna)).outcome for _ in range(3)] == [Outcome.LOW] * 3
    assert await db.run(said) == ["low"]
    told = await db.run(lambda tx: tx.value("select params from messages where kind = 'renewal'"))
    assert (told["missing"], told["price"]) == (1, PRICE)
    assert await db.run(balance.of, anna) == Wallets(PRICE - 1, 0)
    assert (await db.run(counts))["orders"] == 1


@pytest.mark.proves("N-12.low")
async def test_the_next_period_is_told_again(db: Database) -> None:
    anna = await near_the_end(db, PRICE)
    await db.run(renew, anna)
    await db.run(travel, timedelta(days=30))
    assert (await db.run(renew, anna)).outcome is Outcome.LOW
    assert await db.run(said) == ["low"]
    await db.run(credit, anna, PRICE)
    assert (await db.run(renew, anna)).outcome is Outcome.RENEWED
    await db.run(travel, timedelta(days=30))
    assert (await db.run(renew, anna)).outcome is Outcome.LOW
    assert await db.run(said) == ["low", "low"]


def topped_up(tx: Transaction, account_id: int, amount: int = 25_000) -> Event:
    """An order for a top-up, and the news that it was paid."""
    quote = replace(at_list_price(PRICES, "basic", 30), list_price=amount, price=amount, value=amount)
    opened = orders.open_top_up(tx, account_id, quote=quote, provider="cryptobot", minutes=30)
    order = orders.attach_invoice(tx, opened.order.id, "inv-top-up", "https://pay.example/1")
    return Event(
        "cryptobot", "inv-top-up", b"{}", "webhook", "c-7", Money(amount, "RUB", "inv-top-up", order.purchase_id)
    )


@pytest.mark.proves("N-12.top-up")
async def test_a_top_up_in_the_window_renews_at_once(db: Database) -> None:
    """In the very transaction that settles it: no sweep has to come by."""
    anna = await near_the_end(db, 0)
    ends = (await held_by(db, anna)).expires_at
    await db.run(renew, anna)
    event = await db.run(topped_up, anna)
    received = await db.run(inbox.receive, event, PRICES)
    assert (received.outcome, received.error) == ("settled", "")
    assert sorted(item.target for item in received.follow_up) == ["task_notify", "task_notify", "task_provision"]
    assert (await held_by(db, anna)).expires_at == ends + timedelta(days=30)
    assert await db.run(balance.of, anna) == Wallets(25_000 - PRICE, 0)
    assert (await db.run(renew, anna)).outcome is Outcome.NOTHING


@pytest.mark.proves("N-12.top-up")
@pytest.mark.parametrize("why", ["early", "off", "switched off", "still too little"])
async def test_a_top_up_that_renews_nothing_is_a_top_up(db: Database, why: str) -> None:
    anna = await near_the_end(db, 0, timedelta(days=1) if why == "early" else NEAR)
    if why == "off":
        await db.run(renewals.turn_off, anna)
    if why == "switched off":
        await db.run(switched, flags.RENEWALS, "off")
    amount = PRICE - 1 if why == "still too little" else 25_000
    event = await db.run(topped_up, anna, amount)
    received = await db.run(inbox.receive, event, PRICES)
    assert (received.outcome, received.error) == ("settled", "")
    assert await db.run(balance.of, anna) == Wallets(amount, 0)
    assert await db.run(said) == (["low"] if why == "still too little" else [])


@pytest.mark.proves("N-12.top-up")
async def test_what_can_not_be_renewed_keeps_no_money_from_being_settled(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = await near_the_end(db, 0)

    def broken(*_: object) -> None:
        raise ArithmeticError("planted")

    event = await db.run(topped_up, anna)
    monkeypatch.setattr(balance, "buy", broken)
    received = await db.run(inbox.receive, event, PRICES)
    assert (received.outcome, received.error) == ("settled", "not renewed: ArithmeticError: planted")
    assert await db.run(balance.of, anna) == Wallets(25_000, 0)
    monkeypatch.undo()
    assert (await db.run(renew, anna)).outcome is Outcome.RENEWED


# Prices -------------------------------------------------------------------------------------------------------------


async def sent(db: Database) -> None:
    """The messages that are queued reach the customer, as `task_notify` notes it."""
    await db.run(
        by_the_owner,
        "update messages set status = 'sent', finished_at = atlas.now() where status = 'queued'",
    )


@pytest.mark.proves("N-12.price")
async def test_a_higher_price_that_was_announced_in_time_is_charged(db: Database) -> None:
    anna = await near_the_end(db, 2 * PRICE, timedelta(days=27, hours=-6))
    dearer = costing(PRICE + 100)
    told = [await db.run(renewals.announce, anna, dearer, "c") for _ in range(3)]
    assert [len(items) for items in told] == [1, 0, 0]
    params = await db.run(lambda tx: tx.value("select params from messages where kind = 'renewal'"))
    assert (params["why"], params["known"], params["price"]) == ("announced", PRICE, PRICE + 100)
    await sent(db)
    await db.run(travel, timedelta(days=3, hours=1))
    assert (await db.run(renew, anna, dearer)).outcome is Outcome.RENEWED
    assert await db.run(balance.of, anna) == Wallets(PRICE - 100, 0)


@pytest.mark.proves("N-12.price")
@pytest.mark.parametrize("why", ["never", "not sent", "too late", "dearer still"])
async def test_a_higher_price_that_is_not_known_is_not_charged(db: Database, why: str) -> None:
    anna = await near_the_end(db, 3 * PRICE, timedelta(days=27, hours=-6))
    dearer = costing(PRICE + 100)
    if why != "never":
        await db.run(renewals.announce, anna, dearer, "c")
    if why == "too late":
        await db.run(travel, timedelta(hours=7))
    if why in {"too late", "dearer still"}:
        await sent(db)
    await db.run(travel, timedelta(days=3, hours=-6 if why == "too late" else 1))
    charged = costing(PRICE + 101) if why == "dearer still" else dearer
    assert [(await db.run(renew, anna, charged)).outcome for _ in range(2)] == [Outcome.PRICE] * 2
    assert (await db.run(said)).count("price") == 1
    assert await db.run(balance.of, anna) == Wallets(3 * PRICE, 0)
    # they agree to it on the screen, and then it is charged
    upcoming = await db.run(renewals.upcoming, anna, charged)
    assert upcoming is not None
    assert not upcoming.agreed
    assert await db.run(renewals.turn_on, anna, upcoming.order_id, charged.tariffs["basic"].prices[30], charged)
    assert (await db.run(renew, anna, charged)).outcome is Outcome.RENEWED


@pytest.mark.proves("N-12.price")
async def test_a_discount_that_is_over_is_a_higher_price(db: Database) -> None:
    """They paid less last time, so the list price is one that they do not know; what they agreed to was for the purchase before."""
    anna = await near_the_end(db, 2 * PRICE, timedelta(days=1))
    half = replace(
        purchase(anna).quote,
        price=PRICE - PRICE // 2,
        value=PRICE - PRICE // 2,
        discount="personal",
        discount_percent=50,
    )
    await db.run(buy, replace(purchase(anna, "for less"), quote=half))
    await db.run(travel, timedelta(days=59, hours=-5))
    assert (await db.run(renew, anna)).outcome is Outcome.PRICE


@pytest.mark.proves("N-12.price")
async def test_a_lower_price_is_charged_as_it_is(db: Database) -> None:
    anna = await near_the_end(db, PRICE)
    assert await db.run(renewals.announce, anna, costing(PRICE - 500), "c") == ()
    assert (await db.run(renew, anna, costing(PRICE - 500))).outcome is Outcome.RENEWED
    assert await db.run(balance.of, anna) == Wallets(500, 0)


async def test_what_was_agreed_to_for_one_purchase_counts_for_no_other(db: Database) -> None:
    anna = await near_the_end(db, 200_000, timedelta(days=1), tariff="plus")
    await db.run(buy, purchase(anna, "less", "basic", 30))
    ends = (await held_by(db, anna)).expires_at
    await db.run(travel, ends - await db.run(subscriptions.now) - timedelta(hours=1))
    assert (await db.run(renew, anna, costing(PRICE + 1))).outcome is Outcome.PRICE


@pytest.mark.parametrize("gone", ["tariff", "period", "worth"])
async def test_what_is_sold_no_more_is_told_once(db: Database, gone: str) -> None:
    anna = await near_the_end(db, PRICE)
    basic = PRICES.tariffs["basic"]
    if gone == "tariff":
        prices = replace(PRICES, tariffs=PRICES.tariffs | {"basic": replace(basic, sold=False)})
    elif gone == "period":
        prices = replace(PRICES, tariffs=PRICES.tariffs | {"basic": replace(basic, prices={90: 39_900})})
    else:
        await db.run(by_the_owner, "update subscriptions set tariff = 'forgotten'")
        prices = PRICES
    assert [(await db.run(renew, anna, prices)).outcome for _ in range(2)] == [Outcome.NOT_SOLD] * 2
    assert await db.run(said) == ["not_sold"]
    assert await db.run(balance.of, anna) == Wallets(PRICE, 0)


async def test_while_nothing_is_sold_it_waits_and_tells_only_whose_access_ends(db: Database) -> None:
    anna = await near_the_end(db, PRICE)
    await db.run(switched, flags.PAYMENTS, "off")
    assert (await db.run(renew, anna)).outcome is Outcome.WAITS
    assert await db.run(said) == []
    await db.run(travel, timedelta(hours=4, minutes=30))
    assert [(await db.run(renew, anna)).outcome for _ in range(2)] == [Outcome.CLOSED] * 2
    assert await db.run(said) == ["closed"]
    await db.run(switched, flags.PAYMENTS, "on")
    assert (await db.run(renew, anna)).outcome is Outcome.RENEWED


async def test_an_invoice_that_is_being_paid_is_not_replaced_until_the_last_hour(db: Database) -> None:
    anna = await near_the_end(db, PRICE)

    def open_invoice(tx: Transaction) -> None:
        quote = at_list_price(PRICES, "plus", 30)
        opened = orders.open_subscription(
            tx, anna, tariff="plus", period_days=30, quote=quote, provider="cryptobot", minutes=600
        )
        orders.attach_invoice(tx, opened.order.id, "inv-1", "https://pay.example/1")

    await db.run(open_invoice)
    assert (await db.run(renew, anna)).outcome is Outcome.WAITS
    await db.run(travel, timedelta(hours=4, minutes=30))
    renewed = await db.run(renew, anna)
    assert (renewed.outcome, [one.invoice_id for one in renewed.replaced]) == (Outcome.RENEWED, ["inv-1"])


# On and off ---------------------------------------------------------------------------------------------------------


async def test_it_is_off_until_it_is_asked_for(db: Database) -> None:
    anna = await near_the_end(db, 2 * PRICE)
    await db.run(renewals.turn_off, anna)
    assert (await db.run(renew, anna)).outcome is Outcome.NOTHING
    upcoming = await db.run(renewals.upcoming, anna, PRICES)
    assert upcoming is not None
    assert not upcoming.is_on
    agreed = await db.run(lambda tx: tx.value("select renewal_agreed_at from subscriptions"))
    assert agreed is None


@pytest.mark.parametrize(("order", "price"), [(0, 0), (1, -1), (7, 0)])
async def test_only_what_was_shown_is_agreed_to(db: Database, order: int, price: int) -> None:
    anna = await near_the_end(db, PRICE)
    await db.run(renewals.turn_off, anna)
    upcoming = await db.run(renewals.upcoming, anna, PRICES)
    assert upcoming is not None
    if (order, price) == (0, 0):
        await db.run(subscriptions.expire, 10, "c")
        await db.run(travel, timedelta(days=1))
    assert not await db.run(renewals.turn_on, anna, upcoming.order_id + order, PRICE + price, PRICES)


async def test_a_free_start_and_a_gift_of_time_renew_nothing(db: Database) -> None:
    def begin(tx: Transaction) -> None:
        trial.start(tx, accounts.meet(tx, Person(1, "Anna", None, "ru")).id, PRICES.trial, "c")

    await db.run(begin)
    anna = int(await db.run(lambda tx: tx.value("select id from accounts")))
    assert await db.run(renewals.upcoming, anna, PRICES) is None
    assert not await db.run(renewals.turn_on, anna, 1, PRICE, PRICES)


@pytest.mark.breaks_invariants
@pytest.mark.parametrize(
    "planted",
    [
        "update subscription_history set created_at = expires_before + interval '1 hour' where event = 'renewed'",
        "update subscription_history set expires_before = null where event = 'renewed'",
        "update subscription_history set event = 'frozen' where event = 'granted'",
        "update accounts set banned_at = atlas.now() - interval '1 day', banned_by = 1, ban_reason = 'because'",
    ],
    ids=["over", "none", "frozen", "banned"],
)
async def test_a_renewal_that_should_not_have_been_is_seen(db: Database, database_url: str, planted: str) -> None:
    """The invariant `renewal_is_of_running_access`, each of its parts."""
    anna = await near_the_end(db, PRICE)
    await db.run(renew, anna)
    assert violations(database_url) == []
    await db.run(by_the_owner, planted)
    assert "renewal_is_of_running_access" in [one.invariant for one in violations(database_url)]


# Pages --------------------------------------------------------------------------------------------------------------


async def test_pages_hold_every_end_of_the_window_once_in_its_order(db: Database) -> None:
    for one in range(1, 6):
        await near_the_end(db, PRICE, timedelta(), telegram_id=one)
        await db.run(travel, timedelta(minutes=1))
    await db.run(travel, NEAR)
    found, place = [], Place()
    while page := await db.run(renewals.due, place, 2, PRICES):
        found += page
        place = page[-1].place
    assert [one.account_id for one in found] == sorted(one.account_id for one in found)
    assert len({one.id for one in found}) == 5
    assert await db.run(renewals.to_announce, Place(), 10, PRICES) == []
    await db.run(travel, timedelta(days=-3))
    assert await db.run(renewals.due, Place(), 10, PRICES) == []
    assert len(await db.run(renewals.to_announce, Place(), 10, PRICES)) == 5
