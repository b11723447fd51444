"""Money that fits nothing, and how it leaves suspense by itself (money.md, Postings). By an operator: `suspense_by_hand`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from lib import currencies
from lib.domain import ledger, messages
from lib.domain.postings import About, Amount, posting, table

if TYPE_CHECKING:
    from decimal import Decimal

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


class _Rest(NamedTuple):
    is_fee: bool
    minor: Decimal
    currency: str


# What all transfers of this event have left there, whatever undid which; and the fee that came with it. A fee that was known only
# later is of the charge, and stays.
_LYING = """
select a.is_fee, sum(a.amount) as minor, e.currency
from ledger_transfers t
left join ledger_transfers o on o.id = t.reverses_id
join ledger_entries e on e.transfer_id = t.id
join ledger_accounts d on d.id = e.debit_account_id
join ledger_accounts c on c.id = e.credit_account_id
cross join lateral (values
    (false, case when c.code = 'suspense' then e.amount when d.code = 'suspense' then -e.amount end),
    (true, case when d.code = 'provider_fees' then e.amount when c.code = 'provider_fees' then -e.amount end)
) a (is_fee, amount)
where t.event_id = :id and a.amount is not null and coalesce(o.kind, t.kind) <> 'fee'
group by a.is_fee, e.currency having sum(a.amount) > 0
"""

_POSTED_BEFORE = """
select count(*) from ledger_transfers where event_id = :id and kind = :kind
"""

RESOLVE = """
update payment_events set resolved_at = atlas.now(), resolution = :resolution where id = :id
"""


def lying(tx: Transaction, event_id: int) -> InSuspense | None:
    """What lies there of this event; None when nothing does, or does any more. The event's row is locked."""
    found = {one.is_fee: Amount(int(one.minor), one.currency) for one in tx.rows(_Rest, _LYING, id=event_id)}
    return InSuspense(found[False], found.get(True)) if False in found else None


def is_in_part(tx: Transaction, event_id: int) -> bool:
    """Whether a part of what came by this event went back: then what is left is no more what its news says."""
    parts = "select exists (select from refunds where charge_event_id = :id and part_of_charge is not null)"
    return bool(tx.value(parts, id=event_id))


_LATE_FEE = """
select exists (select from ledger_transfers t left join ledger_transfers undone on undone.reverses_id = t.id
               where t.event_id = :id and t.kind = 'fee' and undone.id is null)
"""


def late_fee_is_booked(tx: Transaction, event_id: int) -> bool:
    """Whether what a charge cost was booked by itself, after its news. The event's row is locked."""
    return bool(tx.value(_LATE_FEE, id=event_id))


def post(tx: Transaction, posted: Posting) -> None:
    """Write a transfer to suspense or out of it. The event's row is locked: from the second of its kind on the key has a number.

    Raises:
        PostedBefore, StatementFailed: as `ledger.post`.
    """
    before = tx.value(_POSTED_BEFORE, id=posted.event_id, kind=posted.kind)
    ledger.post(tx, replace(posted, key=f"{posted.key}:{before + 1}") if before else posted)


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
    post(
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
