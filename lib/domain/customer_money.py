"""What one customer's money did, for them and for an operator to read: charges with what became of them, moves of the balance.

Reading changes nothing. Pages go backwards from a row: what comes meanwhile moves none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from lib.db import Transaction

FIRST = 2**63 - 1
"""Before which the newest page begins."""


class State(StrEnum):
    """What became of a charge; the end of its text's name."""

    PAID = "paid"
    WAITING = "waiting"
    CREDITED = "credited"
    REFUNDED = "refunded"
    PARTLY_BACK = "partly-back"
    TO_BALANCE = "to-balance"
    CHARGED_BACK = "charged-back"
    ASKED_BACK = "asked-back"


@dataclass(frozen=True, slots=True)
class Charge:
    """Money that a customer paid.

    Attributes:
        payment_id: None while it fits no order.
        event_id: of the provider's news; None of what was paid from the balance.
        amount: minor units of prices; None where what came is in no currency of prices.
        state: `WAITING`: it lies in suspense until an operator ends it; `ASKED_BACK`: its provider is asked to give it back.
        order_kind, tariff, period_days, value: of its order, None without one.
    """

    payment_id: int | None
    event_id: int | None
    at: datetime
    provider: str
    charge_id: str
    amount: int | None
    currency: str | None
    state: State
    order_id: int | None
    order_kind: str | None
    tariff: str | None
    period_days: int | None
    value: int | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", State(self.state))
        if self.amount is not None:
            object.__setattr__(self, "amount", int(self.amount))


# Each payment, and news without one: of this customer's orders, or of what waits and says that they paid it. What an operator ended
# has a payment of its own (assigned), or stands among the moves of the balance. A chargeback says more than the refund beside it.
_PAYMENT = """
    select p.id as payment_id, p.event_id, p.created_at as at, p.provider, p.charge_id, p.amount, p.currency,
           case when exists (select from refunds r where r.payment_id = p.id and r.kind = 'chargeback' and r.part_of_charge is null) then 'charged-back'
                when exists (select from refunds r where r.payment_id = p.id and r.route in ('wallet', 'balance')) then 'to-balance'
                when exists (select from refunds r where r.payment_id = p.id and r.part_of_charge is null) then 'refunded'
                when exists (select from refund_requests q where q.event_id = p.event_id and q.ended_at is null) then 'asked-back'
                when exists (select from refunds r where r.payment_id = p.id) then 'partly-back'
                when p.kind = 'settling' then 'paid'
                when n.resolution = 'refunded' then 'refunded'
                when n.resolution = 'credited' then 'credited'
                else 'waiting' end as state,
           p.order_id
    from payments p left join payment_events n on n.id = p.event_id
"""
_CHARGES = f"""
with of_payments as (
    {_PAYMENT}
    where p.account_id = :account_id
    order by p.id desc limit :most
), waiting as (
    select n.id from payment_events n join orders o on o.id = n.order_id
    where o.account_id = :account_id and n.status = 'unmatched'
    union
    select n.id from payment_events n join accounts a on a.telegram_id = n.payer_telegram_id
    where a.id = :account_id and n.status = 'unmatched' and n.resolved_at is null
), of_events as (
    select cast(null as bigint) as payment_id, n.id as event_id, n.received_at as at, n.provider, n.external_id as charge_id,
           n.amount, n.currency,
           case when exists (select from refunds r where r.charge_event_id = n.id and r.part_of_charge is null) then 'refunded'
                when exists (select from refund_requests q where q.event_id = n.id and q.ended_at is null) then 'asked-back'
                when n.resolution in ('credited', 'refunded') then n.resolution
                when exists (select from refunds r where r.charge_event_id = n.id) then 'partly-back'
                else 'waiting' end as state,
           n.order_id
    from payment_events n join waiting w on w.id = n.id
    where n.kind = 'charge' and n.amount is not null and coalesce(n.resolution, '') not in ('assigned', 'no_money')
      and not exists (select from payments p where p.event_id = n.id)
    order by n.id desc limit :most
)
select c.payment_id, c.event_id, c.at, c.provider, c.charge_id, c.amount, c.currency, c.state, c.order_id, o.kind as order_kind,
       o.tariff, o.period_days, o.value
from (select * from of_payments union all select * from of_events) c left join orders o on o.id = c.order_id
order by c.at desc, c.event_id desc nulls last, c.payment_id desc limit :most
"""  # noqa: S608 -- a constant fragment
_ONE = f"""
select c.*, o.kind as order_kind, o.tariff, o.period_days, o.value
from ({_PAYMENT} where p.id = :payment_id) c left join orders o on o.id = c.order_id
"""  # noqa: S608 -- a constant fragment


def charges(tx: Transaction, account_id: int, most: int) -> list[Charge]:
    """The newest charges of a customer, those that wait in suspense as well, newest first."""
    return tx.rows(Charge, _CHARGES, account_id=account_id, most=most)


def payment(tx: Transaction, payment_id: int) -> Charge | None:
    """One payment."""
    return tx.row(Charge, _ONE, payment_id=payment_id)


@dataclass(frozen=True, slots=True)
class Move:
    """What one transfer did to a balance.

    Attributes:
        amount: minor units of the books' currency, above zero what came.
        reason: in the operator's words, who did it; not for the customer.
        of_duplicate: it was a further charge of what was paid.
    """

    transfer_id: int
    kind: str
    booked_at: datetime
    amount: int
    order_id: int | None
    of_duplicate: bool
    actor_id: int | None
    reason: str | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "amount", int(self.amount))


# Both wallets together: spending takes from the one and the other, which is one move to the customer.
_MOVES = """
with wallets as (
    select id from ledger_accounts where coalesce(account_id, 0) = :account_id
), sides as (
    select e.transfer_id, e.amount from ledger_entries e join wallets w on w.id = e.credit_account_id
    union all
    select e.transfer_id, -e.amount from ledger_entries e join wallets w on w.id = e.debit_account_id
), moved as (
    select transfer_id, sum(amount) as amount from sides where transfer_id < :before
    group by transfer_id having sum(amount) <> 0 order by transfer_id desc limit :most
)
select t.id as transfer_id, t.kind, t.booked_at, m.amount, t.order_id, coalesce(n.status = 'duplicate', false) as of_duplicate,
       t.actor_id, t.reason
from moved m join ledger_transfers t on t.id = m.transfer_id left join payment_events n on n.id = t.event_id
order by t.id desc
"""


def moves(tx: Transaction, account_id: int, *, before: int = FIRST, most: int) -> list[Move]:
    """What moved the balance before that transfer, newest first."""
    return tx.rows(Move, _MOVES, account_id=account_id, before=before, most=most)
