"""Money that arrives: one event, one effect, whoever brings the news (product.md#payment-methods).

The webhook, the sweep and the buyer's "check" button all call `receive` with the same natural key, so they settle by the
same one transaction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.db import StatementFailed, TooSlow, keyed
from lib.domain import ledger, outbox, subscriptions
from lib.domain.ledger import Entry

if TYPE_CHECKING:
    from uuid import UUID

    from lib.db import Transaction
    from lib.domain.pricelist import PriceList

_RERUN_WHOLE = frozenset({"40001", "40P01"})
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Money:
    """What a provider says was paid.

    Attributes:
        amount: minor units of `currency`: the agreement.
        invoice_id: the provider's.
        purchase_id: ours, as the invoice carried it; None when it carried something else.
        paid_*, fee_*: what really moved, decimal strings, booked in its own currency.
    """

    amount: int
    currency: str
    invoice_id: str
    purchase_id: UUID | None
    paid_asset: str | None = None
    paid_amount: str | None = None
    paid_rate: str | None = None
    fee_asset: str | None = None
    fee_amount: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """News about money, as it came.

    Attributes:
        external_id: natural key at the provider, the same by whichever way the news comes.
        body: raw bytes, kept for ever.
        money: None when the event says nothing we know how to settle; `reason` tells why.
    """

    provider: str
    external_id: str
    body: bytes
    via: str
    correlation_id: str
    money: Money | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """What became of an event.

    Attributes:
        outcome: settled, duplicate (a second charge on a paid order), unmatched, repeated (known already) or
            kept (settling failed: `task_settle` tries again).
    """

    outcome: str
    event_id: int
    order_id: int | None = None
    reason: str = ""
    error: str = ""
    follow_up: tuple[outbox.Item, ...] = ()


@dataclass(frozen=True, slots=True)
class _Stored:
    id: int
    status: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class _Order:
    id: int
    account_id: int
    kind: str
    tariff: str
    period_days: int
    price: int
    currency: str
    status: str


# The idempotency key. A second delivery at the same moment waits here for the first one's commit.
_RECORD = """
insert into payment_events (provider, external_id, body, via, correlation_id)
values (:provider, :external_id, :body, :via, :correlation_id)
on conflict (provider, external_id) do update set attempts = payment_events.attempts + 1
returning id, status, xmax = 0 as is_new
"""

# The account's row first, as everywhere, so that grants to one account queue up in one order.
# By the invoice we made; else by our purchase id inside a signed event, whose amount is checked like any other.
_FIND_ORDER = """
select o.id, o.account_id, o.kind, o.tariff, o.period_days, o.price, o.currency, o.status
from accounts a join orders o on o.account_id = a.id
where o.provider = :provider
  and (o.invoice_id = :invoice_id or o.purchase_id = cast(:purchase_id as uuid))
order by o.invoice_id = :invoice_id desc nulls last
limit 1
for no key update of a, o
"""

# Payment, order and event change together; the partial unique index payments_one_settling backs the status check up.
_BOOK = """
with payment as (
    insert into payments (provider, charge_id, kind, order_id, account_id, event_id, amount, currency,
                          paid_asset, paid_amount, paid_rate, fee_asset, fee_amount)
    values (:provider, :charge_id, :kind, :order_id, :account_id, :event_id, :amount, :currency,
            :paid_asset, :paid_amount, :paid_rate, :fee_asset, :fee_amount)
    returning id
), paid as (
    update orders set status = 'paid', paid_at = atlas.now(), provider_closed_at = atlas.now(),
        invoice_id = coalesce(invoice_id, :invoice_id), invoice_url = coalesce(invoice_url, '')
    where id = :order_id and :kind = 'settling'
), processed as (
    update payment_events set status = :status, processed_at = atlas.now() where id = :event_id
)
select id from payment
"""

_UNMATCHED = """
update payment_events set status = 'unmatched', reason = :reason, processed_at = atlas.now() where id = :id
"""

# Two pieces of follow-up work: apply the client, and say that the money came (the key says whose and which order).
_FOLLOW_UP = """
with receipt as (
    insert into messages (key, account_id, kind, delivery, params)
    values (:key, :account_id, 'receipt', 'must', cast(:params as jsonb))
    on conflict (key) do nothing
    returning id
)
insert into outbox (queue, target, payload, correlation_id)
select 'nodes', 'task_provision', jsonb_build_object('subscription_id', cast(:subscription_id as bigint)), :correlation_id
union all
select 'messages', 'task_notify', jsonb_build_object('message_id', id), :correlation_id from receipt
returning id, queue, target, payload, attempt, correlation_id
"""


@keyed
def receive(tx: Transaction, event: Event, prices: PriceList) -> Received:
    """Record the event and settle it, in one transaction (docs/architecture.md, rule 3).

    When settling fails the event stays, with a task to try again. Money is never refused: an event that fits no order
    is recorded as unmatched.
    """
    stored = tx.one(
        _Stored,
        _RECORD,
        provider=event.provider,
        external_id=event.external_id,
        body=event.body,
        via=event.via,
        correlation_id=event.correlation_id,
    )
    tx.reach("settle.after-claim")
    if stored.status != "new":
        return Received("repeated", stored.id)
    try:
        with tx.savepoint("settlement"):
            return _settle(tx, stored.id, event, prices)
    except TooSlow as error:
        return _keep(tx, stored, event, error)
    except StatementFailed as error:
        if error.code in _RERUN_WHOLE:
            raise
        return _keep(tx, stored, event, error)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        return _keep(tx, stored, event, error)


def _keep(tx: Transaction, stored: _Stored, event: Event, error: Exception) -> Received:
    """The event stays. Who brought it first notes the work; the same news again, every half minute, notes no more."""
    follow_up = (
        (outbox.add(tx, "payments", "task_settle", {"event_id": stored.id}, event.correlation_id),)
        if stored.is_new
        else ()
    )
    return Received("kept", stored.id, error=f"{type(error).__name__}: {error}", follow_up=follow_up)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event read back from the inbox."""

    provider: str
    external_id: str
    body: bytes
    via: str
    correlation_id: str
    status: str


def read_event(tx: Transaction, event_id: int) -> StoredEvent | None:
    """For `task_settle`: the raw event, to be read again by its provider's own reader."""
    return tx.row(
        StoredEvent,
        "select provider, external_id, body, via, correlation_id, status from payment_events where id = :id",
        id=event_id,
    )


def settle_again(tx: Transaction, event_id: int, event: Event, prices: PriceList, outbox_id: int) -> Received:
    """`task_settle`: settle what could not be settled when it came; a failure fails the whole transaction this time."""
    status = tx.value("select status from payment_events where id = :id for no key update", id=event_id)
    outbox.finish(tx, outbox_id)
    if status != "new":
        return Received("repeated", event_id)
    return _settle(tx, event_id, event, prices)


def _settle(tx: Transaction, event_id: int, event: Event, prices: PriceList) -> Received:
    money = event.money
    if money is None:
        return _unmatched(tx, event_id, event.reason)
    order = tx.row(
        _Order, _FIND_ORDER, provider=event.provider, invoice_id=money.invoice_id, purchase_id=money.purchase_id
    )
    if order is None:
        return _unmatched(tx, event_id, "no such order")
    if (money.amount, money.currency) != (order.price, order.currency):
        return _unmatched(tx, event_id, "not the amount agreed")
    if order.status == "paid":
        _book(tx, event_id, event, money, order, kind="duplicate")
        return Received("duplicate", event_id, order.id)
    payment_id = _book(tx, event_id, event, money, order, kind="settling")
    tx.reach("settle.mid-transaction")
    # Read by a statement of its own, now that the account is ours: the one above may have waited for another settlement
    # and would still have seen the tariff of before it.
    held = subscriptions.locked(tx, order.account_id)
    running = held.tariff if held is not None and held.status == "active" else order.tariff
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
        f"payment:{payment_id}",
        "settlement",
        _entries(event.provider, money, _exponents(tx, money)),
        payment_id=payment_id,
        order_id=order.id,
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


def _unmatched(tx: Transaction, event_id: int, reason: str) -> Received:
    tx.execute(_UNMATCHED, id=event_id, reason=reason)
    return Received("unmatched", event_id, reason=reason)


def _book(tx: Transaction, event_id: int, event: Event, money: Money, order: _Order, *, kind: str) -> int:
    payment_id: int = tx.value(
        _BOOK,
        provider=event.provider,
        charge_id=event.external_id,
        kind=kind,
        order_id=order.id,
        account_id=order.account_id,
        event_id=event_id,
        amount=money.amount,
        currency=money.currency,
        paid_asset=money.paid_asset,
        paid_amount=money.paid_amount,
        paid_rate=money.paid_rate,
        fee_asset=money.fee_asset,
        fee_amount=money.fee_amount,
        invoice_id=money.invoice_id,
        status="settled" if kind == "settling" else "duplicate",
    )
    return payment_id


def _exponents(tx: Transaction, money: Money) -> dict[str, int]:
    """Digits of the assets that moved; only asked for when a foreign asset did."""
    codes = sorted({code for code in (money.paid_asset, money.fee_asset) if code})
    if not codes:
        return {}
    found = tx.value(
        "select coalesce(jsonb_object_agg(code, exponent), '{}') from currencies where code = any(cast(:codes as text[]))",
        codes=codes,
    )
    return {code: int(found.get(code, 18)) for code in codes}


def _entries(provider: str, money: Money, exponents: dict[str, int]) -> list[Entry]:
    """A settlement's entries. A foreign asset passes an exchange account, so each currency sums to zero by itself."""
    clearing, exchange = f"clearing:{provider}", "exchange"
    if not money.paid_asset or not money.paid_amount:
        return [Entry(clearing, "revenue", money.amount, money.currency)]
    asset = money.paid_asset
    entries = [
        Entry(clearing, exchange, ledger.minor_units(money.paid_amount, exponents[asset]), asset),
        Entry(exchange, "revenue", money.amount, money.currency),
    ]
    if money.fee_asset and money.fee_amount:
        fee = ledger.minor_units(money.fee_amount, exponents[money.fee_asset])
        if fee > 0:
            entries.append(Entry("provider_fees", clearing, fee, money.fee_asset))
    return [entry for entry in entries if entry.amount > 0]
