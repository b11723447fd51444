"""Money that fits nothing, and how it leaves suspense by itself (money.md, Postings). By an operator: `suspense_by_hand`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib import currencies
from lib.domain import ledger, messages
from lib.domain.postings import About, Amount, posting, table

if TYPE_CHECKING:
    from lib.db import Transaction
    from lib.domain import outbox
    from lib.domain.bookings import PayableOrder
    from lib.domain.ledger import Posting

_SUPERSEDED = "what the provider said later of the same charge"
_DUPLICATE = "a further charge of an order that was paid"


@dataclass(frozen=True, slots=True)
class InSuspense:
    """What lies in suspense of one event, as it was booked; the fee was kept by the provider."""

    received: Amount
    fee: Amount | None


@dataclass(frozen=True, slots=True)
class _Entry:
    is_fee: bool
    minor: int
    currency: str


# The entries by which it came, unless it has left.
_LYING = """
select d.code = 'provider_fees' as is_fee, e.amount as minor, e.currency
from ledger_transfers t
join ledger_entries e on e.transfer_id = t.id
join ledger_accounts d on d.id = e.debit_account_id
where t.key = 'event:' || cast(:id as text)
  and not exists (select from ledger_transfers r where r.key = 'event:' || cast(:id as text) || ':resolved')
order by e.number
"""

RESOLVE = """
update payment_events set resolved_at = atlas.now(), resolution = :resolution where id = :id
"""


def lying(tx: Transaction, event_id: int) -> InSuspense | None:
    """What lies there of this event; None when nothing does, or does any more. The event's row is locked."""
    entries = tx.rows(_Entry, _LYING, id=event_id)
    found = {one.is_fee: Amount(int(one.minor), one.currency) for one in entries}
    return InSuspense(found[False], found.get(True)) if False in found else None


def of(posted: Posting) -> InSuspense:
    """What a transfer of `table.SUSPENSE` has put there."""
    found = {one.debit == "provider_fees": Amount(one.amount, one.currency) for one in posted.entries}
    return InSuspense(found[False], found.get(True))


def superseded(held: InSuspense, event_id: int, provider: str) -> Posting:
    """It never was what the first news said: it leaves by the way it came, and what was said later is booked in its place."""
    return posting(
        table.SUSPENSE_SUPERSEDED,
        About(event_id=event_id, provider=provider, reason=_SUPERSEDED),
        received=held.received,
        fee=held.fee,
    )


def credit_duplicate(
    tx: Transaction,
    held: InSuspense,
    order: PayableOrder,
    *,
    event_id: int,
    payment_id: int,
    agreed: int,
    books: str,
    correlation_id: str,
) -> list[outbox.Item]:
    """A further charge of a paid order goes to its customer's balance, who is told; the work to enqueue.

    Args:
        tx: of the settlement.
        held: its money.
        order: that was paid.
        event_id: of the charge.
        payment_id: of the charge.
        agreed: what it was said to be, in minor units of prices in the books' currency.
        books: the books' currency.
        correlation_id: of the news.
    """
    counted = held.received if held.received.currency == books else Amount(currencies.of(books).booked(agreed), books)
    ledger.post(
        tx,
        posting(
            table.SUSPENSE_CREDITED,
            About(
                event_id=event_id,
                payment_id=payment_id,
                order_id=order.id,
                account_id=order.account_id,
                reason=_DUPLICATE,
            ),
            received=held.received,
            counted=counted,
        ),
    )
    tx.execute(RESOLVE, id=event_id, resolution="credited")
    return tell_credited(tx, order.account_id, event_id, counted, correlation_id)


def tell_credited(
    tx: Transaction, account_id: int, event_id: int, amount: Amount, correlation_id: str
) -> list[outbox.Item]:
    """The customer hears once that so much came to their balance; the work to enqueue."""
    told = {"amount": amount.minor, "currency": amount.currency}
    return messages.queue(
        tx,
        key=f"credited:{event_id}",
        account_id=account_id,
        kind="credited",
        params=told,
        correlation_id=correlation_id,
    )
