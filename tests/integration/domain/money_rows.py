"""Rows beside the books that transfers name: customers, orders, charges, refunds, withdrawals."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.db import Transaction

_NUMBERS = itertools.count(1)

_ORDER = """
insert into orders (account_id, kind, tariff, period_days, list_price, price, value, currency, discount, discount_percent, provider,
                    expires_at)
values (:account_id, :kind, case when :kind <> 'top_up' then 'basic' end, case when :kind <> 'top_up' then 30 end, :list_price,
        cast(:list_price as bigint) - cast(:list_price as bigint) * :percent / 100, :value, :currency,
        case when :percent > 0 then 'promo' end, nullif(cast(:percent as smallint), 0), :provider, atlas.now())
returning id
"""
_EVENT = """
insert into payment_events (provider, external_id, body, meaning, via, status, processed_at, correlation_id, order_id)
values (:provider, :external_id, '', '', 'sweep', :status, atlas.now(), 'c', :order_id) returning id
"""
_PAYMENT = """
with paid as (update orders set status = 'paid', paid_at = atlas.now() where id = :order_id and status = 'open')
insert into payments (provider, charge_id, kind, order_id, account_id, event_id, amount, currency)
select coalesce(:provider, o.provider), :charge_id, :kind, o.id, o.account_id, :event_id, o.price, o.currency from orders o where o.id = :order_id
returning id
"""
_REFUND = """
insert into refunds (payment_id, kind, provider, external_id, route, amount, currency, part_of_charge)
select p.id, :kind, :provider, :external_id, :route, p.amount, p.currency, :part from payments p where p.id = :payment_id returning id
"""
_WITHDRAWAL = """
insert into withdrawals (account_id, amount, destination_kind, destination) values (:account_id, :amount, 'card', '1') returning id
"""
_WITHDRAWAL_GOES_ON = {
    "returned": "update withdrawals set status = 'failed', ended_at = atlas.now(), reason = 'a test' where id = :id",
    "paid": "update withdrawals set status = 'approved', approved_by = 17, approved_at = atlas.now() where id = :id",
    "bounced": (
        "update withdrawals set status = 'returned', returned_at = atlas.now(), reason = 'a test' where id = :id"
        " and status = 'paid'"
    ),
}


def fresh(prefix: str) -> str:
    """A name that no row has."""
    return f"{prefix}-{next(_NUMBERS)}"


def customer(tx: Transaction) -> int:
    """A customer."""
    return int(tx.value("insert into accounts (telegram_id) values (:id) returning id", id=next(_NUMBERS)))


def order(
    tx: Transaction,
    account_id: int,
    *,
    kind: str = "subscription",
    listed: int = 14_900,
    value: int = 14_900,
    currency: str = "RUB",
    percent: int = 0,
    provider: str = "card",
) -> int:
    """An order; prices in the units of prices, whole Stars."""
    return int(
        tx.value(
            _ORDER,
            account_id=account_id,
            kind=kind,
            list_price=listed,
            value=value,
            currency=currency,
            percent=percent,
            provider=provider,
        )
    )


def event(tx: Transaction, provider: str = "card", *, status: str = "unmatched", order_id: int | None = None) -> int:
    """News of a charge."""
    return int(tx.value(_EVENT, provider=provider, external_id=fresh("charge"), status=status, order_id=order_id))


def event_is_settled(tx: Transaction, event_id: int) -> None:
    """It fits an order after all."""
    tx.execute("update payment_events set status = 'settled' where id = :id", id=event_id)


def payment(
    tx: Transaction,
    order_id: int,
    event_id: int | None = None,
    kind: str = "settling",
    provider: str | None = None,
) -> int:
    """What an event means for an order, which is paid by it."""
    return int(
        tx.value(
            _PAYMENT, order_id=order_id, charge_id=fresh("charge"), event_id=event_id, kind=kind, provider=provider
        )
    )


def refund(
    tx: Transaction,
    payment_id: int,
    *,
    provider: str,
    external_id: str,
    route: str,
    kind: str,
    part: int | None = None,
) -> int:
    """What went back of a payment; `part`: of a charge that stays."""
    row = {"provider": provider, "external_id": external_id, "route": route, "kind": kind, "part": part}
    return int(tx.value(_REFUND, payment_id=payment_id, **row))


def withdrawal(tx: Transaction, account_id: int, amount: int) -> int:
    """A request."""
    return int(tx.value(_WITHDRAWAL, account_id=account_id, amount=amount))


def withdrawal_goes_on(tx: Transaction, withdrawal_id: int, state: str) -> None:
    """It is returned, paid or bounces."""
    tx.execute(_WITHDRAWAL_GOES_ON[state], id=withdrawal_id)
    if state == "paid":
        tx.execute("update withdrawals set status = 'paid', ended_at = atlas.now() where id = :id", id=withdrawal_id)
