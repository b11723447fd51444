"""Auto-renewal: access is extended from the balance shortly before its end, for customers who asked for it (product.md#subscription).

What is bought again is what was bought last and not given back, at today's price. No customer is charged a price that they don't know:
it is what they paid last, what they agreed to when they turned it on, or what they were told of in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lib.db import StatementFailed
from lib.domain import balance, flags, messages, pricing, subscriptions
from lib.domain.balance import Purchase
from lib.domain.ledger import BalanceTooLow
from lib.domain.pricelist import UnknownTariff

if TYPE_CHECKING:
    from collections.abc import Collection

    from lib.db import Transaction
    from lib.domain.orders import Replaced
    from lib.domain.outbox import Item
    from lib.domain.pricelist import PriceList
    from lib.domain.pricing import Quote

KIND = "renewal"
"""Of messages about what keeps access from being renewed, and about a price that rises."""
ANNOUNCED_WITHIN_H = 12
"""A higher price is announced within so many hours before the last moment for it: a night passes, a sweep may be late."""
LAST_H = 1
"""In the last hours before the end a renewal waits for nothing any more: an invoice that is open makes way."""


class Outcome(StrEnum):
    """What became of an end that was to be renewed.

    renewed; nothing (not due any more, renewed before, or another transaction is at work on the account: the next run looks again);
    waits (an invoice for access is being paid, or nothing is sold at this moment). Told to the customer, once for each end: closed
    (nothing is sold), not_sold (this is sold no more), price (it is higher than they know), low (there is too little on the balance).
    """

    RENEWED = "renewed"
    NOTHING = "nothing"
    WAITS = "waits"
    CLOSED = "closed"
    NOT_SOLD = "not_sold"
    PRICE = "price"
    LOW = "low"


ANNOUNCED = "announced"
"""What is told before an end whose price will be higher."""
TOLD = (ANNOUNCED, Outcome.CLOSED, Outcome.NOT_SOLD, Outcome.PRICE, Outcome.LOW)
"""What messages of this kind say."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """What `renew` did.

    Attributes:
        order_id: of the purchase, when it was made.
        replaced: open orders that made way, whose invoices may still be paid.
        follow_up: work to enqueue: the node's, the messages'.
    """

    outcome: Outcome
    order_id: int | None = None
    replaced: tuple[Replaced, ...] = ()
    follow_up: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of ends stops: microseconds since 1970, and the subscription."""

    end_us: int = 0
    id: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """An end that is to be renewed, or of which something may have to be told."""

    id: int
    account_id: int
    end_us: int

    @property
    def place(self) -> Place:
        """After which the next page begins."""
        return Place(self.end_us, self.id)


@dataclass(frozen=True, slots=True)
class Upcoming:
    """What auto-renewal would do at the end of running access, for the customer's screen.

    Attributes:
        is_on: they asked for it.
        order_id: what was bought last, and would be bought again.
        price: None when it is sold no more.
        agreed: whether that price may be charged: they know it.
        charged_from: when the first attempt is made.
        held: what is on the balance.
    """

    is_on: bool
    expires_at: datetime
    charged_from: datetime
    order_id: int
    tariff: str
    period_days: int
    price: int | None
    currency: str
    agreed: bool
    held: int

    @property
    def missing(self) -> int:
        """What the balance lacks for it."""
        return max((self.price or 0) - self.held, 0)


@dataclass(frozen=True, slots=True)
class _Held:
    """A subscription that is locked, with its account."""

    account_id: int
    id: int
    expires_at: datetime
    end_s: int
    is_last_hour: bool


@dataclass(frozen=True, slots=True)
class _Terms:
    """What would be bought again, and which prices of it the customer knows.

    Attributes:
        known: the highest that they paid last or agreed to.
        announced: told in time before this end, or None.
        being_paid: an order for access is open.
    """

    account_id: int
    order_id: int
    tariff: str
    period_days: int
    known: int
    announced: int | None
    being_paid: bool


# In the index's own order, so that a page reads a page.
_DUE = """
select id, account_id, cast(extract(epoch from expires_at) * 1000000 as bigint) as end_us from subscriptions
where auto_renew and status = 'active'
  and (expires_at, id) > (timestamptz 'epoch' + cast(:end_us as bigint) * interval '1 microsecond', cast(:id as bigint))
  and expires_at > atlas.now() + make_interval(hours => :from_h) and expires_at <= atlas.now() + make_interval(hours => :to_h)
order by expires_at, id limit :page
"""

# Both rows at once and without waiting for either: who has one of them is buying, ending or changing this very access, and the next
# run looks again. What was changed meanwhile is compared again when it is locked, so a renewal never begins on access that ended.
_TAKE = """
select a.id as account_id, s.id, s.expires_at, cast(extract(epoch from s.expires_at) as bigint) as end_s,
       s.expires_at <= atlas.now() + make_interval(hours => :last_h) as is_last_hour
from accounts a join subscriptions s on s.account_id = a.id
where a.id = :account_id and s.auto_renew and s.status = 'active'
  and s.expires_at > atlas.now() and s.expires_at <= atlas.now() + make_interval(hours => :window_h)
  and s.last_auto_renewal_at is distinct from s.expires_at
for no key update of a, s skip locked
"""

# Bought last: by the payment that came last and did not go back. A month of a Stars subscription renews by itself.
_TERMS = """
select s.account_id, o.id as order_id, o.tariff, o.period_days,
       greatest(o.value, case when s.renewal_order_id = o.id then s.renewal_price end) as known,
       (select cast(m.params ->> 'price' as bigint) from messages m
        where m.key = 'renewal:' || s.id || ':' || cast(extract(epoch from s.expires_at) as bigint) || ':announced'
          and m.status = 'sent' and m.finished_at <= s.expires_at - make_interval(hours => :notice_h)) as announced,
       exists (select from orders u where u.account_id = s.account_id and u.kind = 'subscription' and u.status = 'open'
               and u.parent_id is null and u.expires_at > atlas.now()) as being_paid
from subscriptions s cross join lateral (
    select o.id, o.tariff, o.period_days, o.value, o.recurring from payments p join orders o on o.id = p.order_id
    where p.account_id = s.account_id and p.kind = 'settling' and o.kind = 'subscription'
      and not exists (select from refunds r where r.payment_id = p.id)
    order by p.id desc limit 1
) o
where s.account_id = any(cast(:account_ids as bigint[])) and not o.recurring
"""

# Of these, the ends that a renewal has still before it.
_TO_RENEW = """
select account_id from subscriptions
where id = any(cast(:ids as bigint[])) and auto_renew and status = 'active' and expires_at > atlas.now()
  and last_auto_renewal_at is distinct from expires_at
"""

_TURN_ON = """
update subscriptions
set auto_renew = true, renewal_price = :price, renewal_order_id = :order_id, renewal_agreed_at = atlas.now(), updated_at = atlas.now()
where account_id = :account_id and status <> 'expired' and expires_at > atlas.now()
"""
_TURN_OFF = """
update subscriptions
set auto_renew = false, renewal_price = null, renewal_order_id = null, renewal_agreed_at = null, updated_at = atlas.now()
where account_id = :account_id and auto_renew
"""


def upcoming(tx: Transaction, account_id: int, prices: PriceList) -> Upcoming | None:
    """What would be renewed; None when no access runs or none was bought: there is nothing to renew."""
    held = subscriptions.current(tx, account_id)
    if held is None or not held.is_current or (terms := _terms(tx, account_id, prices)) is None:
        return None
    quote = _quote(prices, terms)
    return Upcoming(
        is_on=held.auto_renew,
        expires_at=held.expires_at,
        charged_from=held.expires_at - timedelta(hours=prices.auto_renewal.window_hours),
        order_id=terms.order_id,
        tariff=terms.tariff,
        period_days=terms.period_days,
        price=None if quote is None else quote.price,
        currency=prices.currency,
        agreed=quote is not None and _is_known(terms, quote),
        held=balance.of(tx, account_id).total,
    )


def turn_on(tx: Transaction, account_id: int, order_id: int, price: int, prices: PriceList) -> bool:
    """The customer asks for it, and agrees to the price they were shown for what that order bought.

    Returns:
        False, and nothing is changed, when this is not what would be renewed now, or not for that price: it is to be shown again.
    """
    tx.execute("select id from accounts where id = :id for no key update", id=account_id)
    terms = _terms(tx, account_id, prices)
    quote = None if terms is None else _quote(prices, terms)
    if terms is None or quote is None or (terms.order_id, quote.price) != (order_id, price):
        return False
    return bool(tx.execute(_TURN_ON, account_id=account_id, order_id=order_id, price=price))


def turn_off(tx: Transaction, account_id: int) -> bool:
    """They don't want it any more; whether it was on. What is being renewed at this very moment is renewed before."""
    tx.execute("select id from accounts where id = :id for no key update", id=account_id)
    return bool(tx.execute(_TURN_OFF, account_id=account_id))


def due(tx: Transaction, after: Place, page: int, prices: PriceList) -> list[Due]:
    """Ends within the window of renewals, a keyset page, the first ends first."""
    return _page(tx, after, page, 0, prices.auto_renewal.window_hours)


def to_announce(tx: Transaction, after: Place, page: int, prices: PriceList) -> list[Due]:
    """Ends before which a higher price is to be announced now, a keyset page."""
    notice = prices.auto_renewal.notice_hours
    return _page(tx, after, page, notice, notice + ANNOUNCED_WITHIN_H)


def _page(tx: Transaction, after: Place, page: int, from_h: int, to_h: int) -> list[Due]:
    return tx.rows(Due, _DUE, end_us=after.end_us, id=after.id, page=page, from_h=from_h, to_h=to_h)


def renew(tx: Transaction, account_id: int, prices: PriceList, correlation_id: str) -> Renewed:
    """Renew the access of one customer if its end is near, in one transaction: debit, order, payment, extension, books, messages.

    Args:
        tx: one per subscription; whose savepoint undoes everything when this raises.
        account_id: whose.
        prices: of today.
        correlation_id: of the sweep's run, or of the money that came.
    """
    window = prices.auto_renewal.window_hours
    held = tx.row(_Held, _TAKE, account_id=account_id, window_h=window, last_h=LAST_H)
    tx.reach("renewal.after-claim")
    if held is None:
        return Renewed(Outcome.NOTHING)
    return _kept_back(tx, held, correlation_id) or _buy_again(tx, held, prices, correlation_id)


def _kept_back(tx: Transaction, held: _Held, correlation_id: str) -> Renewed | None:
    """Nothing renews now; None when it may. Switched off for a while most often: only who would lose access meanwhile is told."""
    if not flags.enabled(tx, flags.RENEWALS):
        return Renewed(Outcome.WAITS)
    if flags.enabled(tx, flags.PAYMENTS):
        return None
    return _told(tx, held, Outcome.CLOSED, {}, correlation_id) if held.is_last_hour else Renewed(Outcome.WAITS)


def _buy_again(tx: Transaction, held: _Held, prices: PriceList, correlation_id: str) -> Renewed:
    terms = _terms(tx, held.account_id, prices)
    quote = None if terms is None else _quote(prices, terms)
    if terms is None or quote is None:
        return _told(tx, held, Outcome.NOT_SOLD, {}, correlation_id)
    if terms.being_paid and not held.is_last_hour:
        return Renewed(Outcome.WAITS)
    said = _said(terms, quote)
    if not _is_known(terms, quote):
        return _told(tx, held, Outcome.PRICE, said, correlation_id)
    try:
        if (missing := quote.price - balance.of(tx, held.account_id).total) > 0:
            raise BalanceTooLow(missing)  # before an order uses up its number
        with tx.savepoint("renewal"):
            bought = balance.buy(tx, _purchase(held, terms, quote), prices, correlation_id)
    except BalanceTooLow as error:
        return _told(tx, held, Outcome.LOW, said | {"missing": error.missing}, correlation_id)
    except UnknownTariff:  # what is left of running time can't be converted
        return _told(tx, held, Outcome.NOT_SOLD, {}, correlation_id)
    # it may have been bought and given back: the end is the one before again
    outcome = Outcome.NOTHING if bought.already else Outcome.RENEWED
    return Renewed(outcome, bought.order.id, bought.replaced, bought.follow_up)


def _purchase(held: _Held, terms: _Terms, quote: Quote) -> Purchase:
    """Its key is the end that it renews: an end is renewed once."""
    return Purchase(
        held.account_id,
        f"{KIND}:{held.id}:{held.end_s}",
        terms.tariff,
        terms.period_days,
        quote,
        renews=True,
    )


def after_top_up(tx: Transaction, account_id: int, prices: PriceList, correlation_id: str) -> tuple[Renewed, str]:
    """Renew at once what waited for this money, and why it could not be: the money is there all the same, the sweep tries again.

    The transaction holds the account, so its wallets wait for no other; neither row that `renew` takes is waited for.
    """
    try:
        with tx.savepoint("after_top_up"):
            return renew(tx, account_id, prices, correlation_id), ""
    except StatementFailed as error:
        if error.must_rerun:
            raise
        return Renewed(Outcome.NOTHING), f"not renewed: {error}"
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        return Renewed(Outcome.NOTHING), f"not renewed: {type(error).__name__}: {error}"


def announce(tx: Transaction, account_id: int, prices: PriceList, correlation_id: str) -> tuple[Item, ...]:
    """Tell the customer of a price that is higher than the one they know, once for each end; the work to enqueue."""
    held = tx.row(
        _Held,
        _TAKE,
        account_id=account_id,
        window_h=prices.auto_renewal.notice_hours + ANNOUNCED_WITHIN_H,
        last_h=LAST_H,
    )
    terms = None if held is None else _terms(tx, account_id, prices)
    quote = None if terms is None else _quote(prices, terms)
    if held is None or terms is None or quote is None or _is_known(terms, quote):
        return ()
    charged_from = held.expires_at - timedelta(hours=prices.auto_renewal.window_hours)
    params = _said(terms, quote) | {"known": terms.known, "charged_from": charged_from.isoformat()}
    return _tell(tx, held, ANNOUNCED, params, correlation_id, delivery="must")


def renewing(tx: Transaction, subscription_ids: Collection[int], prices: PriceList) -> frozenset[int]:
    """Of these, the accounts whose access renews by itself as things stand now: there is enough, at a price that they know.

    To tell them that it ends would not be true (lib/domain/reminders.py). Nothing is locked: what changes afterwards is told by the
    next reminder, and by `renew` itself.
    """
    account_ids = tx.values(_TO_RENEW, ids=sorted(subscription_ids)) if subscription_ids else []
    if not (account_ids and flags.enabled(tx, flags.RENEWALS) and flags.enabled(tx, flags.PAYMENTS)):
        return frozenset()
    held = balance.of_several(tx, account_ids)
    return frozenset(
        terms.account_id
        for terms in _terms_of(tx, account_ids, prices)
        if (quote := _quote(prices, terms)) is not None
        and _is_known(terms, quote)
        and held.get(terms.account_id, 0) >= quote.price
    )


def _terms(tx: Transaction, account_id: int, prices: PriceList) -> _Terms | None:
    found = _terms_of(tx, [account_id], prices)
    return found[0] if found else None


def _terms_of(tx: Transaction, account_ids: list[int], prices: PriceList) -> list[_Terms]:
    return tx.rows(_Terms, _TERMS, account_ids=account_ids, notice_h=prices.auto_renewal.notice_hours)


def _quote(prices: PriceList, terms: _Terms) -> Quote | None:
    """Today's price, without a code; None when it is sold no more."""
    try:
        offer = pricing.price(
            prices,
            terms.tariff,
            terms.period_days,
            customer=pricing.Customer(),
            promo=None,
            method=balance.PROVIDER,
            surface=pricing.Surface.CHAT,
        )
    except pricing.NotSold:
        return None
    return offer.quote if offer.is_payable else None


def _is_known(terms: _Terms, quote: Quote) -> bool:
    return quote.price <= max(terms.known, terms.announced or 0)


def _said(terms: _Terms, quote: Quote) -> dict[str, Any]:
    return {
        "tariff": terms.tariff,
        "period_days": terms.period_days,
        "price": quote.price,
        "currency": quote.currency,
    }


def _told(tx: Transaction, held: _Held, outcome: Outcome, params: dict[str, Any], correlation_id: str) -> Renewed:
    return Renewed(outcome, follow_up=_tell(tx, held, outcome.value, params, correlation_id))


def _tell(
    tx: Transaction, held: _Held, why: str, params: dict[str, Any], correlation_id: str, *, delivery: str = "once"
) -> tuple[Item, ...]:
    return tuple(
        messages.queue(
            tx,
            # the key holds the end it speaks of: each end is told of once
            key=f"{KIND}:{held.id}:{held.end_s}:{why}",
            account_id=held.account_id,
            kind=KIND,
            delivery=delivery,
            not_after=held.expires_at,
            params=params | {"why": why, "expires_at": held.expires_at.isoformat()},
            correlation_id=correlation_id,
        )
    )
