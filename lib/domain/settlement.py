"""What money is for: an event meets its order, and the order has its effect (product.md#payment-methods).

The webhook, the sweep and the customer's "check" button all bring their news to `inbox.receive` under the same natural key, so
they settle by the same one transaction.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from lib.domain import bookings, ledger, messages, outbox, subscriptions
from lib.domain.bookings import Money, PayableOrder

if TYPE_CHECKING:
    from lib.db import Transaction
    from lib.domain.pricelist import PriceList

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Event:
    """News about money, as it came.

    Attributes:
        external_id: natural key at the provider, the same by whichever way the news comes.
        body: raw bytes, kept for ever.
        money: None when the event says nothing that can be settled; `reason` tells why.
        kind: charge, refund, chargeback or other; part of the key.
        payer_telegram_id: who paid, where the provider says it.
        concerns_money: False for news in which no money is told of (another kind of update, an invoice that is not paid): it is
            recorded, and alarms no operator.
    """

    provider: str
    external_id: str
    body: bytes
    via: str
    correlation_id: str
    money: Money | None
    reason: str = ""
    kind: str = "charge"
    concerns_money: bool = True
    payer_telegram_id: int | None = None

    @property
    def meaning(self) -> str:
        """What the event says as far as money goes: two bodies of one meaning are the same news (SHA-256, hex)."""
        money = () if self.money is None else astuple(self.money)
        said = (self.kind, self.concerns_money, self.reason, *(_normal(value) for value in money))
        return hashlib.sha256(repr(said).encode()).hexdigest()


def _normal(value: object) -> str:
    """1.50 and 1.5 say the same."""
    try:
        return str(Decimal(value).normalize()) if isinstance(value, str) else str(value)
    except InvalidOperation:
        return str(value)


@dataclass(frozen=True, slots=True)
class Received:
    """What became of an event.

    Attributes:
        outcome: settled, duplicate (a second charge on a paid order), unmatched, no_money (nothing to settle, no alarm), repeated
            (known already), differs (its key had its effect, and now something else is said under it: kept, for an operator) or
            kept (settling failed: `task_settle` tries again).
    """

    outcome: str
    event_id: int
    order_id: int | None = None
    reason: str = ""
    error: str = ""
    follow_up: tuple[outbox.Item, ...] = ()


# The account's row first, as everywhere, so that grants to one account queue up in one order.
# By the invoice we made; else by our purchase id inside a signed event, whose amount is checked like any other.
_FIND_ORDER = """
select o.id, o.account_id, o.kind, o.tariff, o.period_days, o.list_price, o.price, o.currency, o.status
from accounts a join orders o on o.account_id = a.id
where o.provider = :provider
  and (o.invoice_id = :invoice_id or o.purchase_id = cast(:purchase_id as uuid))
order by o.invoice_id = :invoice_id desc nulls last
limit 1
for no key update of a, o
"""

_WITHOUT_EFFECT = """
update payment_events
set status = :status, reason = :reason, processed_at = atlas.now(), order_id = :order_id
where id = :id
"""

# Two pieces of follow-up work: apply the client, and say that the money came (the key says whose and which order).
_FOLLOW_UP = f"""
with told as (
    select cast(:key as text) as key, cast(:account_id as bigint) as account_id, 'receipt' as kind, 'must' as delivery,
           cast(:params as jsonb) as params
), {messages.QUEUE_TOLD}, provision as (
    insert into outbox (queue, target, payload, correlation_id)
    select 'nodes', 'task_provision', jsonb_build_object('subscription_id', cast(:subscription_id as bigint)), :correlation_id
    returning id, queue, target, payload, attempt, correlation_id
)
select id, queue, target, payload, attempt, correlation_id from provision
union all
select id, queue, target, payload, attempt, correlation_id from message_work
"""  # noqa: S608 -- a constant fragment


def settle(tx: Transaction, event_id: int, event: Event, prices: PriceList) -> Received:
    """Give the event its effect: the order it pays for, or the reason why it pays for none.

    Raises:
        StatementFailed, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError: nothing was changed that the caller's
            savepoint does not undo.
    """
    money = event.money
    if money is None:
        return _without_effect(tx, event_id, event)
    order = tx.row(
        PayableOrder, _FIND_ORDER, provider=event.provider, invoice_id=money.invoice_id, purchase_id=money.purchase_id
    )
    if order is None:
        return _without_effect(tx, event_id, event, "no such order")
    if (money.amount, money.currency) != (order.price, order.currency):
        return _without_effect(tx, event_id, event, "not the amount agreed", order.id)
    if order.status == "paid":
        _book(tx, event_id, event, money, order, kind="duplicate")
        return Received("duplicate", event_id, order.id)
    payment_id = _book(tx, event_id, event, money, order, kind="settling")
    tx.reach("settle.mid-transaction")
    # Read by a statement of its own, now that the account is ours: the one above may have waited for another settlement
    # and would still have seen the tariff of before it.
    held = subscriptions.locked(tx, order.account_id)
    running = subscriptions.running_tariff(held, order.tariff)
    grant = subscriptions.grant(
        tx,
        order.account_id,
        tariff=order.tariff,
        seconds=order.period_days * _DAY_S,
        source="payment",
        value=prices.conversion(running, order.tariff),
        payment_id=payment_id,
    )
    ledger.post(
        tx,
        bookings.sale(event.provider, money, payment_id=payment_id, order_id=order.id, list_price=order.list_price),
    )
    receipt = {
        "order_id": order.id,
        "tariff": order.tariff,
        "period_days": order.period_days,
        "amount": order.price,
        "currency": order.currency,
        "expires_at": grant.expires_at.isoformat(),
        "renewed": grant.renewed and grant.activation_status == "active",
    }
    follow_up = tx.rows(
        outbox.Item,
        _FOLLOW_UP,
        key=f"receipt:{payment_id}",
        account_id=order.account_id,
        params=json.dumps(receipt),
        subscription_id=grant.subscription_id,
        correlation_id=event.correlation_id,
    )
    return Received("settled", event_id, order.id, follow_up=tuple(follow_up))


def _book(tx: Transaction, event_id: int, event: Event, money: Money, order: PayableOrder, *, kind: str) -> int:
    return bookings.book(
        tx, event_id, provider=event.provider, charge_id=event.external_id, money=money, order=order, kind=kind
    )


def _without_effect(
    tx: Transaction, event_id: int, event: Event, reason: str | None = None, order_id: int | None = None
) -> Received:
    outcome = "unmatched" if event.concerns_money else "no_money"
    why = event.reason if reason is None else reason
    tx.execute(_WITHOUT_EFFECT, id=event_id, status=outcome, reason=why, order_id=order_id)
    return Received(outcome, event_id, order_id, reason=why)


__all__ = ["Event", "Money", "Received", "settle"]
