"""What a paid order brings, by what was bought. A kind that is not here is not sold, and money for it waits for an operator."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lib.domain import bookings, messages, outbox, subscriptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lib.db import Transaction
    from lib.domain.bookings import PayableOrder
    from lib.domain.ledger import Posting
    from lib.domain.pricelist import PriceList

_DAY_S = 86_400

# Two pieces of follow-up work: apply the client, and say that the money came (the key says whose and which order).
_FOLLOW_UP = f"""
with told as (
    select cast(:key as text) as key, cast(:account_id as bigint) as account_id, 'receipt' as kind, 'must' as delivery,
           cast(null as timestamptz) as due_at, cast(null as timestamptz) as not_after, cast(:params as jsonb) as params
), {messages.QUEUE_TOLD}, provision as (
    insert into outbox (queue, target, payload, correlation_id)
    select 'nodes', 'task_provision', jsonb_build_object('subscription_id', cast(:subscription_id as bigint)), :correlation_id
    returning id, queue, target, payload, attempt, correlation_id
)
select id, queue, target, payload, attempt, correlation_id from provision
union all
select id, queue, target, payload, attempt, correlation_id from message_work
"""  # noqa: S608 -- a constant fragment


class Deliver(Protocol):
    """Gives what was bought, in the transaction of its payment; the work that follows.

    `paid` is what came for it, in minor units of the order's price: by itself never less, out of suspense maybe. `credited` is what
    a top-up brings, in minor units of the books, where it is not what `paid` is worth. `source` is `renewal` when access renews by
    itself.
    """

    def __call__(  # noqa: D102 -- said above
        self,
        tx: Transaction,
        order: PayableOrder,
        payment_id: int,
        prices: PriceList,
        *,
        paid: int,
        correlation_id: str,
        credited: int | None = None,
        source: str = "payment",
    ) -> list[outbox.Item]: ...


class BookSale(Protocol):
    """The transfer of money from outside; see `bookings.sale`."""

    def __call__(  # noqa: D102 -- said above
        self, provider: str, money: bookings.Money, order: PayableOrder, payment_id: int, *, books: str
    ) -> Posting: ...


class BookAssigned(Protocol):
    """The transfer of money from suspense; see `bookings.assigned_sale`."""

    def __call__(  # noqa: D102 -- said above
        self, assigned: bookings.Assigned, order: PayableOrder, payment_id: int, *, books: str
    ) -> Posting: ...


@dataclass(frozen=True, slots=True)
class Effect:
    """How an order of one kind is delivered, and how its money is booked: from outside, and from suspense."""

    deliver: Deliver
    sale: BookSale
    assigned: BookAssigned


def _give_access(
    tx: Transaction,
    order: PayableOrder,
    payment_id: int,
    prices: PriceList,
    *,
    paid: int,
    correlation_id: str,
    credited: int | None = None,  # noqa: ARG001 -- of a top-up
    source: str = "payment",
) -> list[outbox.Item]:
    # Read by a statement of its own, now that the account is ours: the one that found the order may have waited for another
    # settlement and would still have seen the tariff of before it.
    held = subscriptions.locked(tx, order.account_id)
    running = subscriptions.running_tariff(held, order.tariff)
    grant = subscriptions.grant(
        tx,
        order.account_id,
        tariff=order.tariff,
        seconds=order.period_days * _DAY_S,
        source=source,
        value=prices.conversion(running, order.tariff),
        payment_id=payment_id,
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
    if source == "renewal":
        receipt["by_itself"] = True
    if held is not None and held.frozen_until is not None:
        receipt["frozen_until"] = held.frozen_until.isoformat()
    if (rest := bookings.rest(order, paid, prices.currency)).minor:
        receipt["to_balance"] = {"amount": rest.minor, "currency": rest.currency}
    return tx.rows(
        outbox.Item,
        _FOLLOW_UP,
        key=f"receipt:{payment_id}",
        account_id=order.account_id,
        params=json.dumps(receipt),
        subscription_id=grant.subscription_id,
        correlation_id=correlation_id,
    )


def _top_up(
    tx: Transaction,
    order: PayableOrder,
    payment_id: int,
    prices: PriceList,
    *,
    paid: int,
    correlation_id: str,
    credited: int | None = None,
    source: str = "payment",  # noqa: ARG001 -- of access
) -> list[outbox.Item]:
    """The money itself moves by its posting; here the customer is told."""
    receipt = {
        "kind": order.kind,
        "order_id": order.id,
        "amount": paid,
        "currency": order.currency,
        "credited": bookings.credited(order, paid) if credited is None else credited,
        "books": prices.currency,
    }
    return messages.queue(
        tx,
        key=f"receipt:{payment_id}",
        account_id=order.account_id,
        kind="receipt",
        params=receipt,
        correlation_id=correlation_id,
    )


EFFECTS: Mapping[str, Effect] = {
    "subscription": Effect(_give_access, bookings.sale, bookings.assigned_sale),
    "top_up": Effect(_top_up, bookings.top_up, bookings.assigned_top_up),
}
